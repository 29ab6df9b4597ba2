//! What a killed process left in a directory: files that never got their name. They are listed
//! to nobody, so that nobody else could find them.

use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Removes temporary files that were last written before `before`, since the epoch; says how
/// many. What cannot be read or removed stays.
pub(super) fn sweep(directory: &Path, before: Duration) -> io::Result<u64> {
    let mut removed = 0;
    let mut directories = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else if is_temporary(&entry.file_name().to_string_lossy()) && is_older(&entry, before) {
                match std::fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => removed += 1,
                }
            }
        }
    }
    Ok(removed)
}

/// A name as [`super::files::Staged`] gives it.
fn is_temporary(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_older(entry: &std::fs::DirEntry, before: Duration) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
    modified
        .and_then(|modified| modified.duration_since(UNIX_EPOCH).ok())
        .is_some_and(|modified| modified < before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_files_without_a_name_are_removed_wherever_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("spans/_delta_log");
        std::fs::create_dir_all(&below).expect("a folder");
        for name in ["1.json#42", "1.json", "issue #7 is open", "a#"] {
            std::fs::write(below.join(name), "x").expect("a file");
        }
        assert_eq!(sweep(folder.path(), Duration::ZERO).expect("it is swept"), 0);
        assert_eq!(sweep(folder.path(), Duration::MAX).expect("it is swept"), 1);
        assert!(!below.join("1.json#42").exists());
        assert!(below.join("1.json").exists() && below.join("a#").exists());
        assert_eq!(
            sweep(&folder.path().join("gone"), Duration::MAX).expect("nothing to sweep"),
            0
        );
    }
}
