//! A connection of a channel, whose server's alert is kept.
//!
//! Most refusals are errors of connecting, for the connector waits until the server has accepted us. A server that takes too
//! long to say so, or changes its mind, ends the connection by an alert that a read meets. tonic may report a call that was
//! given up for it as cancelled, without a cause.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use mtls_core::Alert;

use crate::connect::Connected;

/// The alert by which a server ended a connection, once it has.
pub(super) type Refusal = Arc<OnceLock<Refused>>;

/// A connection, and where its alert is noted.
pub(super) struct Watched {
    io: Connected,
    refusal: Refusal,
}

impl Watched {
    pub(super) fn new(io: Connected, refusal: Refusal) -> Self {
        Self { io, refusal }
    }
}

/// The server ended the connection by an alert.
#[derive(Debug, Clone)]
pub(super) struct Refused(Arc<io::Error>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server ended the connection")
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl Read for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Pin::new(&mut this.io)
            .poll_read(cx, buf)
            .map_err(|error| this.note(error))
    }
}

impl Watched {
    fn note(&self, error: io::Error) -> io::Error {
        if Alert::find(&error).is_none() {
            return error;
        }
        let kind = error.kind();
        let refused = Refused(Arc::new(error));
        // The first counts: an alert that ends a connection is its last record.
        let _ = self.refusal.set(refused.clone());
        io::Error::new(kind, refused)
    }
}

impl Write for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }
}
