//! What the C library's allocator may keep instead of giving it back to the kernel.
//!
//! glibc takes large pieces from the kernel and gives them back when they are freed. A process
//! that moves buffers of megabytes all the time has each of their pages cleared and mapped
//! again, for nothing. The settings that change this are read from the environment at the start
//! of a process and nowhere else. It deliberately does not replace the allocator, and does
//! nothing where the C library is another one.

use std::convert::Infallible;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::config::environment;

/// A variable of the environment and its value (`man 3 mallopt`).
pub type Setting = (&'static str, &'static str);

/// Starts the program again in this process, with the settings that its environment lacks. What
/// the operator has set stays. Returns if there is nothing to set, or if it cannot be done.
pub(crate) fn settle(settings: &[Setting]) -> io::Result<()> {
    let missing = missing(settings, environment);
    if missing.is_empty() || !cfg!(target_env = "gnu") {
        return Ok(());
    }
    restart(&missing).map(|never| match never {})
}

fn missing(settings: &[Setting], variable: impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    let is_missing = |(name, _): &&Setting| variable(name).is_none();
    settings.iter().filter(is_missing).copied().collect()
}

fn restart(settings: &[Setting]) -> io::Result<Infallible> {
    let mut arguments = std::env::args_os();
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(command.args(arguments).envs(settings.iter().copied()).exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_has_set_stays_and_a_second_start_is_the_last() {
        let settings = [("A", "1"), ("B", "2")];
        let only_a = |name: &str| (name == "A").then(|| "9".to_owned());
        assert_eq!(missing(&settings, only_a), [("B", "2")]);
        assert_eq!(missing(&settings, |_| Some(String::new())), []);
    }
}
