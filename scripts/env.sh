# Where things go; sourced by the other scripts. Everything lives outside the checkout, so
# that a second clean checkout compiles and installs nothing again.
export MERIDIAN_CACHE="${MERIDIAN_CACHE:-$HOME/.cache/meridian}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$MERIDIAN_CACHE/target}"
mkdir -p "$MERIDIAN_CACHE" "$CARGO_TARGET_DIR"

say() { printf '%s\n' "==> $*" >&2; }

need() {
    command -v "$1" >/dev/null 2>&1 || { say "$1 is not installed: $2"; exit 1; }
}
need cargo "get the Rust toolchain from https://rustup.rs"
need python3 "install Python 3.9 or newer"

# Builds the two binaries. The tidy test is built with them because Cargo then counts the
# development dependencies' features in, as it does for `make test`: one set of features,
# and the dependencies are compiled once for both.
build_binaries() {
    say "building (the first time takes about 15 minutes on 2 cores, then seconds)"
    cargo build --locked --workspace --bins --test tidy
}
