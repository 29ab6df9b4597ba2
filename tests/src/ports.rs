//! Free ports on the loopback address. They lie below the range from which the kernel takes
//! the ports of outgoing connections, so that a listener may come back to its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 11_000;
const COUNT: u32 = 20_000;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A port that nobody listens on and that this process has not handed out before.
pub fn free_port() -> u16 {
    // Test processes that run at the same time begin at different places.
    let begin = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let next = begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST;
        let port = u16::try_from(next).expect("FIRST + COUNT fits");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    unreachable!("twenty thousand ports are taken");
}

/// The loopback address with a free port.
pub fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}
