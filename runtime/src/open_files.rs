//! How many files and sockets the process may have open.
//!
//! A shell and systemd give 1,024 unless told otherwise, for the sake of programs that use
//! `select`; two listeners and a spool need more, and without any left nobody can connect. The
//! hard limit is the administrator's and stays.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one.
pub(crate) fn raise_limit() -> std::io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let low = Rlimit {
            current: Some(256),
            maximum,
        };
        setrlimit(Resource::Nofile, low).expect("lower is allowed");
        raise_limit().expect("up to the hard limit is allowed");
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }
}
