//! How the simulation's program is linked: at a fixed address, because a process per seed would
//! else spend a fifth of its time on moving itself. It builds nothing.

use std::io::{Result, Write, stdout};

fn main() -> Result<()> {
    writeln!(stdout(), "cargo::rerun-if-changed=build.rs")?;
    writeln!(stdout(), "cargo::rustc-link-arg-bin=simulate=-no-pie")
}
