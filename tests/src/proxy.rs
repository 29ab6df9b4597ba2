//! A TCP proxy that a test puts between two processes: it passes bytes, holds them back
//! without a word (a network that drops packets), or cuts every connection and refuses new
//! ones. It knows no protocol.

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
    let Line::Pass(target) = state else {
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
        Line::Pass(now) => *now != target,
        Line::Hold => false,
        Line::Cut => true,
    };
    tokio::select! {
        _ = line.wait_for(gone) => {}
        () = carry(from_client, to_server, up) => {}
        () = carry(from_server, to_client, down) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        let passing = line.wait_for(|line| matches!(line, Line::Pass(_))).await.is_ok();
        if count == 0 || !passing || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
