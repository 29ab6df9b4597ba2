//! The seam between the processes and the network: listeners and connections, which are the
//! machine's, or those of a simulation that runs whole processes on one thread.
//!
//! It knows no protocol and sets no limit. How a simulated network delays, holds and cuts
//! connections is the simulation's business.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::either::Either;

/// The network as one machine sees it; clones see the same.
#[derive(Clone, Debug, Default)]
pub enum Network {
    /// That of the operating system.
    #[default]
    System,
    /// That of a simulation.
    Simulated(Arc<dyn Simulated>),
}

/// A simulated network as one simulated machine sees it.
pub trait Simulated: fmt::Debug + Send + Sync {
    /// Listens; a port of zero becomes a free one.
    fn bind(&self, address: SocketAddr) -> io::Result<(SocketAddr, mpsc::Receiver<Arrived>)>;
    /// Connects to `host:port`.
    fn connect(&self, authority: String) -> BoxFuture<'static, io::Result<DuplexStream>>;
}

/// A connection that came in, and who made it.
pub type Arrived = (DuplexStream, SocketAddr);

/// A bound port.
#[derive(Debug)]
pub enum Listener {
    /// Of the operating system.
    System(TcpListener),
    /// Of a simulation.
    Simulated {
        /// Where it listens.
        address: SocketAddr,
        /// Who comes.
        arrivals: mpsc::Receiver<Arrived>,
    },
}

/// A connection: of the operating system, or of a simulation.
pub type Stream = Either<TcpStream, DuplexStream>;

/// Sends small pieces at once; a simulated connection does so anyway.
pub fn set_nodelay(stream: &Stream) -> io::Result<()> {
    match stream {
        Either::Left(stream) => stream.set_nodelay(true),
        Either::Right(_) => Ok(()),
    }
}

impl Network {
    /// Listens on this address.
    pub async fn bind(&self, address: SocketAddr) -> io::Result<Listener> {
        match self {
            Self::System => TcpListener::bind(address).await.map(Listener::System),
            Self::Simulated(network) => {
                let (address, arrivals) = network.bind(address)?;
                Ok(Listener::Simulated { address, arrivals })
            }
        }
    }
}

impl Listener {
    /// Where it listens; the port is a real one also if zero was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::System(listener) => listener.local_addr(),
            Self::Simulated { address, .. } => Ok(*address),
        }
    }

    /// Waits for the next connection.
    pub async fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        std::future::poll_fn(|context| self.poll_accept(context)).await
    }

    /// The same for those who poll.
    pub fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Stream, SocketAddr)>> {
        match self {
            Self::System(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(context))?;
                Poll::Ready(Ok((Either::Left(stream), peer)))
            }
            Self::Simulated { arrivals, .. } => match ready!(arrivals.poll_recv(context)) {
                Some((stream, peer)) => Poll::Ready(Ok((Either::Right(stream), peer))),
                // The network is gone, and with it everybody who could come.
                None => Poll::Pending,
            },
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::System(listener)
    }
}
