//! The program behind `make bench`. Everything that it does is in the library.

fn main() -> anyhow::Result<()> {
    system_tests::bench::run::run(std::env::args().skip(1))
}
