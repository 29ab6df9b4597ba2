//! The connections of agents: accepted while there is a place for one more, because each may
//! hold a window of unread bytes. What is said on them is not known here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use meridian_runtime::net;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;
use tonic::transport::server::Connected;

/// Accepts connections; at most so many are open at the same time.
#[derive(Debug)]
pub(super) struct Connections {
    listener: net::Listener,
    places: PollSemaphore,
    place: Option<OwnedSemaphorePermit>,
}

impl Connections {
    pub(super) fn new(listener: net::Listener, connections_max: usize) -> Self {
        let places = Semaphore::new(connections_max);
        Self {
            listener,
            places: PollSemaphore::new(std::sync::Arc::new(places)),
            place: None,
        }
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.place.is_none() {
            self.place = ready!(self.places.poll_acquire(context));
        }
        let (io, _) = ready!(self.listener.poll_accept(context))?;
        net::set_nodelay(&io)?;
        let place = self.place.take();
        Poll::Ready(Some(Ok(Connection { io, _place: place })))
    }
}

/// One connection, and its place.
#[derive(Debug)]
pub(super) struct Connection {
    io: net::Stream,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connected for Connection {
    /// Nobody asks who a peer is: an agent says so in its Hello.
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
