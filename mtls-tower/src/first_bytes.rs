//! A deadline where hyper has none: until a connection has said which HTTP it speaks.
//!
//! hyper-util reads up to 24 bytes to tell HTTP/2 from HTTP/1.1, for as long as that takes; only then does the timer of
//! the HTTP/1.1 request head begin. A client that finished its handshake and fell silent would be held forever.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream whose reads fail after a while, if until then it has neither sent the preface of HTTP/2 nor anything else: for
/// whoever serves connections by a hyper of their own. [`serve`](crate::serve()) has it.
#[derive(Debug)]
pub struct FirstBytes<IO> {
    io: IO,
    awaited: Option<Awaited>,
}

#[derive(Debug)]
struct Awaited {
    deadline: Pin<Box<Sleep>>,
    rest_of_preface: &'static [u8],
}

impl<IO> FirstBytes<IO> {
    /// Gives `io` this long, from now on.
    #[must_use]
    pub fn within(limit: Duration, io: IO) -> Self {
        let awaited = Awaited {
            deadline: Box::pin(sleep(limit)),
            rest_of_preface: PREFACE,
        };
        Self {
            io,
            awaited: Some(awaited),
        }
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }
}

impl Awaited {
    /// Whether it still is not clear which HTTP this is.
    fn goes_on_after(&mut self, bytes: &[u8]) -> bool {
        match self.rest_of_preface.strip_prefix(bytes) {
            Some(rest) => {
                self.rest_of_preface = rest;
                !rest.is_empty()
            }
            None => false,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for FirstBytes<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        if let Some(awaited) = &mut this.awaited {
            if polled.is_pending() {
                ready!(awaited.deadline.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let read = buf.filled().get(before..).unwrap_or_default();
            if !awaited.goes_on_after(read) {
                this.awaited = None;
            }
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for FirstBytes<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// RFC 9113 §3.4: "In HTTP/2, each endpoint is required to send a connection preface".
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, advance};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    async fn after_the_deadline(sent: &[&[u8]]) -> (FirstBytes<DuplexStream>, DuplexStream) {
        let (near, mut far) = duplex(64);
        let mut stream = FirstBytes::within(LIMIT, near);
        for part in sent {
            far.write_all(part).await.unwrap();
            stream.read_exact(&mut vec![0; part.len()]).await.unwrap();
        }
        advance(LIMIT * 2).await;
        (stream, far)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_a_part_of_the_preface_end_at_the_deadline() {
        for sent in [&[][..], &[&b"P"[..], b"RI * HT"], &[&PREFACE[..23]]] {
            let (mut stream, _far) = after_the_deadline(sent).await;
            let error = stream.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        let begun = Instant::now();
        let (near, _far) = duplex(64);
        let error = FirstBytes::within(LIMIT, near).read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_said_which_http_may_take_its_time() {
        for sent in [
            &[&b"G"[..]][..],
            &[&b"PRI"[..], b"SM"],
            &[PREFACE],
            &[&PREFACE[..20], &PREFACE[20..]],
        ] {
            let (mut stream, mut far) = after_the_deadline(sent).await;
            far.write_u8(7).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), 7);
        }
    }
}
