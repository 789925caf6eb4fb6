//! Our connections, as tonic's `Server` takes them.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tonic::transport::server::Connected;
use futures_core::Stream;
use tokio::net::TcpStream;

use crate::listener::MtlsListener;
use crate::stream::ServerStream;
use crate::tonic::ConnectInfo;

/// The connections of `listener`, for tonic's `serve_with_incoming`. Put a [`PeerLayer`](crate::tonic::PeerLayer) on that
/// server, and leave its `tls_config` alone.
///
/// tonic keeps no handle by which a connection could be drained: one whose client would no longer be let in is cut.
/// [`serve`](crate::tonic::serve()) drains. `tokio::spawn` what tonic returns: awaited in `main`, it hands each connection from
/// thread to thread.
pub fn incoming(listener: MtlsListener) -> Incoming {
    Incoming {
        next: Box::pin(accept(listener)),
    }
}

/// The stream that [`incoming`] makes. It never ends, and holds no error: refused clients are logged. Dropping it closes
/// the listener.
#[must_use = "a stream accepts when it is polled"]
pub struct Incoming {
    // Kept while it is pending: a future made anew for each poll would lose the wake-ups of the one before.
    next: Pin<Box<dyn Future<Output = (MtlsListener, ServerStream<TcpStream>)> + Send>>,
}

async fn accept(mut listener: MtlsListener) -> (MtlsListener, ServerStream<TcpStream>) {
    let (stream, _) = listener.accept().await;
    (listener, stream)
}

impl Stream for Incoming {
    type Item = Result<ServerStream<TcpStream>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (listener, stream) = ready!(self.next.as_mut().poll(cx));
        self.next = Box::pin(accept(listener));
        Poll::Ready(Some(Ok(stream)))
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

// In this crate, since the stream is: the orphan rule lets nobody else say it.
impl Connected for ServerStream<TcpStream> {
    type ConnectInfo = ConnectInfo;

    fn connect_info(&self) -> ConnectInfo {
        ConnectInfo::new(self)
    }
}
