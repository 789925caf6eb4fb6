//! Streams whose peer is known, and trusted for as long as they last.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use mtls_core::metrics::alert_received;
use mtls_core::{Alert, AnonymousClient, Client, PeerInfo, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{client, server};

use crate::admission::Admission;
use crate::lifeline::{Lifeline, Poller};
use crate::permissive::PlaintextConnection;

/// An accepted connection: bytes, and who sends them, as far as that is known.
///
/// When the client would no longer be let in, reading and writing fail with [`io::ErrorKind::ConnectionAborted`] and the
/// [`HandshakeError`](mtls_core::HandshakeError) that says why; whoever waits for either is woken.
/// [`serve`](crate::serve()) drains the connection first.
#[derive(Debug)]
pub struct ServerStream<IO> {
    io: ServerIo<IO>,
    admission: Admission,
    lifeline: Lifeline,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are of the large kind"
)]
enum ServerIo<IO> {
    Tls(server::TlsStream<IO>),
    Plaintext {
        io: IO,
        // Counted for as long as this lives.
        _place: PlaintextConnection,
    },
}

impl<IO> ServerStream<IO> {
    pub(crate) fn new(tls: server::TlsStream<IO>, client: Client) -> Self {
        let admission = Admission::new(client);
        Self {
            io: ServerIo::Tls(tls),
            lifeline: Lifeline::new(admission.clone()),
            admission,
        }
    }

    pub(crate) fn in_plaintext(
        io: IO,
        client: AnonymousClient,
        place: PlaintextConnection,
    ) -> Self {
        let admission = Admission::in_plaintext(client, place.permissive().clone());
        Self {
            io: ServerIo::Plaintext { io, _place: place },
            lifeline: Lifeline::new(admission.clone()),
            admission,
        }
    }

    /// The client of this connection.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.admission.client()
    }

    /// The verified peer. There always is one where the [`ServerTls`](mtls_core::ServerTls) requires certificates, which is
    /// its default.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.client().peer()
    }

    #[cfg(feature = "server")]
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &IO {
        match &self.io {
            ServerIo::Tls(tls) => tls.get_ref().0,
            ServerIo::Plaintext { io, .. } => io,
        }
    }

    #[cfg(feature = "tonic")]
    pub(crate) fn tls(&self) -> Option<&server::TlsStream<IO>> {
        match &self.io {
            ServerIo::Tls(tls) => Some(tls),
            ServerIo::Plaintext { .. } => None,
        }
    }
}

/// A connection that we made: bytes, and who sends them.
///
/// When the server would no longer be accepted, reading and writing fail as those of a [`ServerStream`] do.
#[derive(Debug)]
pub struct ClientStream<IO> {
    io: client::TlsStream<IO>,
    peer: PeerInfo,
    lifeline: Lifeline,
}

impl<IO> ClientStream<IO> {
    // Without a connector, nobody makes one: the type is there for whoever names it.
    #[cfg_attr(
        not(feature = "client"),
        expect(dead_code, reason = "made by the connector")
    )]
    pub(crate) fn new(tls: client::TlsStream<IO>, peer: PeerInfo) -> Self {
        let lifeline = Lifeline::new(Admission::new(Client::Peer(peer.clone())));
        Self {
            io: tls,
            peer,
            lifeline,
        }
    }

    /// The server.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &IO {
        self.io.get_ref().0
    }
}

macro_rules! stream {
    ($stream:ident, $ours:expr, $feature:literal) => {
        impl<IO> $stream<IO> {
            #[cfg(feature = $feature)]
            pub(crate) fn lifeline(&self) -> &Lifeline {
                &self.lifeline
            }

            /// Nobody waits for a peer, be it to take what it is sent, longer than the connection lasts.
            fn or_cut<T>(
                &self,
                who: Poller,
                cx: &mut Context<'_>,
                polled: Poll<io::Result<T>>,
            ) -> Poll<io::Result<T>> {
                if polled.is_pending() {
                    self.lifeline.heed_while_waiting(who, cx)?;
                }
                polled
            }
        }

        impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for $stream<IO> {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let this = self.get_mut();
                this.lifeline.heed()?;
                let polled = Pin::new(&mut this.io).poll_read(cx, buf);
                // In TLS 1.3 a client is refused after its own handshake is done.
                if let Poll::Ready(Err(error)) = &polled
                    && let Some(alert) = Alert::find(error)
                {
                    alert_received($ours, alert);
                }
                this.or_cut(Poller::Reader, cx, polled)
            }
        }

        impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for $stream<IO> {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                let this = self.get_mut();
                this.lifeline.heed()?;
                let polled = Pin::new(&mut this.io).poll_write(cx, buf);
                this.or_cut(Poller::Writer, cx, polled)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let this = self.get_mut();
                this.lifeline.heed()?;
                let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
                this.or_cut(Poller::Writer, cx, polled)
            }

            fn is_write_vectored(&self) -> bool {
                self.io.is_write_vectored()
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let this = self.get_mut();
                this.lifeline.heed()?;
                let polled = Pin::new(&mut this.io).poll_flush(cx);
                this.or_cut(Poller::Writer, cx, polled)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let this = self.get_mut();
                // A connection that is over is closed in order all the same, where its peer takes that much.
                let polled = Pin::new(&mut this.io).poll_shutdown(cx);
                this.or_cut(Poller::Writer, cx, polled)
            }
        }
    };
}

stream!(ServerStream, Role::Server, "server");
stream!(ClientStream, Role::Client, "client");

macro_rules! either {
    ($self:ident, $io:ident => $polled:expr) => {
        match $self.get_mut() {
            ServerIo::Tls(io) => {
                let $io = Pin::new(io);
                $polled
            }
            ServerIo::Plaintext { io, .. } => {
                let $io = Pin::new(io);
                $polled
            }
        }
    };
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for ServerIo<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_read(cx, buf))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ServerIo<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tls(io) => io.is_write_vectored(),
            Self::Plaintext { io, .. } => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_shutdown(cx))
    }
}
