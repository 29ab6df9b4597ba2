//! A TCP proxy that a test puts between two processes: it passes bytes, holds them back
//! without a word (a network that drops packets), or cuts every connection and refuses new
//! ones. Of protocols it knows only where a frame of HTTP/2 ends, so that it can let a server
//! greet and say no more.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ports::free_address;

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Pass(SocketAddr),
    Greet(SocketAddr),
    Hold,
    Cut,
}

/// A running proxy.
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    _acceptor: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy that passes everything to `target`.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let address = free_address();
        let listener = TcpListener::bind(address).await?;
        let (line, state) = watch::channel(Line::Pass(target));
        let mut acceptor = JoinSet::new();
        acceptor.spawn(accept(listener, state));
        Ok(Self {
            address,
            line,
            _acceptor: acceptor,
        })
    }

    /// Where to connect instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Keeps connections open and passes nothing.
    pub fn hold(&self) {
        self.line.send_replace(Line::Hold);
    }

    /// Passes everything to `target`, and of what it answers on each connection only the first
    /// HTTP/2 message: an agent gets its Welcome and no acknowledgement until [`Proxy::pass`].
    pub fn hold_after_greeting(&self, target: SocketAddr) {
        self.line.send_replace(Line::Greet(target));
    }

    /// Ends every connection; new ones are ended at once.
    pub fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// Passes everything; connections to another target than this are ended.
    pub fn pass(&self, target: SocketAddr) {
        self.line.send_replace(Line::Pass(target));
    }
}

async fn accept(listener: TcpListener, line: watch::Receiver<Line>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(client, line.clone()));
    }
}

/// Carries one connection until an end closes, or the line is cut or goes elsewhere.
async fn connection(client: TcpStream, mut line: watch::Receiver<Line>) {
    let state = *line.borrow_and_update();
    let (Line::Pass(target) | Line::Greet(target)) = state else {
        if state == Line::Hold {
            // As a dropped packet: the client waits until something changes.
            line.changed().await.ok();
        }
        return;
    };
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, down) = (line.clone(), line.clone());
    let gone = |line: &Line| match line {
        Line::Pass(now) | Line::Greet(now) => *now != target,
        Line::Hold => false,
        Line::Cut => true,
    };
    tokio::select! {
        _ = line.wait_for(gone) => {}
        () = carry(from_client, to_server, up, None) => {}
        () = carry(from_server, to_client, down, Some(Greeting::default())) => {}
    }
}

/// Carries one direction; a greeting is all that [`Line::Greet`] lets through of it.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    mut greeting: Option<Greeting>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        let (first, rest) = match &mut greeting {
            Some(greeting) => buffer[..count].split_at(greeting.end_in(&buffer[..count])),
            None => (&buffer[..count], &[][..]),
        };
        let passes = |line: &Line| matches!(line, Line::Pass(_) | Line::Greet(_));
        let greeted = line.wait_for(passes).await.is_ok() && to.write_all(first).await.is_ok();
        if count == 0 || !greeted {
            return;
        }
        let passes = |line: &Line| matches!(line, Line::Pass(_));
        if !rest.is_empty() && (line.wait_for(passes).await.is_err() || to.write_all(rest).await.is_err()) {
            return;
        }
    }
}

const FRAME_HEAD_BYTES: usize = 9;
const FRAME_TYPE_DATA: u8 = 0;

/// Finds the end of a server's first DATA frame (RFC 9113, section 4.1).
#[derive(Debug, Default)]
struct Greeting {
    head: Vec<u8>,
    /// Of the frame whose head is whole.
    body_left: usize,
    is_over: bool,
}

impl Greeting {
    /// How many of the next bytes belong to what ends with the first message.
    fn end_in(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && !self.is_over {
            let wanted = FRAME_HEAD_BYTES - self.head.len();
            let head = wanted.min(bytes.len() - at);
            self.head.extend_from_slice(&bytes[at..at + head]);
            at += head;
            if let (true, [a, b, c, ..]) = (head == wanted && head > 0, self.head.as_slice()) {
                self.body_left = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            }
            let body = self.body_left.min(bytes.len() - at);
            self.body_left -= body;
            at += body;
            if self.head.len() == FRAME_HEAD_BYTES && self.body_left == 0 {
                self.is_over = self.head[3] == FRAME_TYPE_DATA;
                self.head.clear();
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).expect("a short body");
        [&[0, 0, length, kind, 0, 0, 0, 0, 1], body].concat()
    }

    #[test]
    fn a_greeting_ends_with_the_first_data_frame_however_it_is_cut() {
        let greeting = [frame(4, &[]), frame(1, b"headers"), frame(0, b"welcome")].concat();
        let all = [greeting.clone(), frame(8, b"more"), frame(0, b"ack")].concat();
        for step in 1..=all.len() {
            let mut state = Greeting::default();
            let passed: usize = all.chunks(step).map(|chunk| state.end_in(chunk)).sum();
            assert_eq!(passed, greeting.len(), "in steps of {step}");
        }
    }
}
