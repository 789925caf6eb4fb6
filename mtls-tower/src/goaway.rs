//! How a client's HTTP/2 connection comes to take no new requests, whatever pool it is in.
//!
//! hyper has no word by which a connector could say so, but every HTTP/2 client heeds a server that says it: by GOAWAY. So
//! when a connection is to be retired, one is read from it that the server did not send. Requests in flight finish, the
//! next one makes a new connection, and the client closes the old one when it is done.
//!
//! A pool that a [`RetireLayer`](crate::RetireLayer) tells is told in a better way, and not in this one. It is not said
//! before the first response has begun: a request whose connection was made for it is not tried again on another by hyper's
//! pool.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mtls_core::PeerInfo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::lifeline::Lifeline;
use crate::retire::Pooled;
use crate::stream::ClientStream;

/// A client's stream that says by itself when it is to be retired.
#[derive(Debug)]
pub(crate) struct SaysGoaway<IO> {
    stream: ClientStream<IO>,
    pooled: Arc<Pooled>,
    /// Without HTTP/2 there is nothing to say it by.
    frames: Option<Frames>,
    unsaid: &'static [u8],
    /// From when it could be said.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<IO> SaysGoaway<IO> {
    pub(crate) fn new(stream: ClientStream<IO>) -> Self {
        let is_http2 = stream.peer().alpn() == Some(b"h2");
        let pooled = Pooled::new(stream.lifeline().clone());
        Self {
            stream,
            pooled,
            frames: is_http2.then(Frames::default),
            unsaid: GOAWAY,
            patience: None,
        }
    }

    pub(crate) fn pooled(&self) -> &Arc<Pooled> {
        &self.pooled
    }

    pub(crate) fn peer(&self) -> &PeerInfo {
        self.stream.peer()
    }

    pub(crate) fn lifeline(&self) -> &Lifeline {
        self.stream.lifeline()
    }

    /// Says what is left to say, if it is time and there is room.
    fn say(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> bool {
        let begun = self.unsaid.len() < GOAWAY.len();
        let may_begin = self.frames.as_ref().is_some_and(Frames::is_between);
        let may_begin = may_begin && self.stream.lifeline().is_ending() && !self.pooled.is_known();
        if self.unsaid.is_empty() || !(begun || may_begin) {
            return false;
        }
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        if !begun && patience.as_mut().poll(cx).is_pending() {
            return false;
        }
        let (now, later) = self.unsaid.split_at(self.unsaid.len().min(buf.remaining()));
        buf.put_slice(now);
        self.unsaid = later;
        !now.is_empty()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for SaysGoaway<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.say(cx, buf) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Some(frames) = &mut this.frames {
            frames.follow(buf.filled().get(before..).unwrap_or_default());
        }
        // It may have become time while the stream found nothing to read; nobody would come back for it.
        if polled.is_pending() && this.say(cx, buf) {
            return Poll::Ready(Ok(()));
        }
        polled
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SaysGoaway<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Follows the frames that a server sends, to know where another may stand.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; FRAME_HEADER],
    /// How much of the header is there; all of it, while the payload passes.
    read: usize,
    payload: usize,
    /// A response has begun.
    answered: bool,
    /// RFC 9113 §6.10: nothing may come between HEADERS and its CONTINUATION.
    continues: bool,
}

impl Frames {
    fn is_between(&self) -> bool {
        self.answered && self.read == 0 && !self.continues
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = if self.read < FRAME_HEADER {
                self.follow_header(bytes)
            } else {
                self.follow_payload(bytes)
            };
            if self.read == FRAME_HEADER && self.payload == 0 {
                self.read = 0;
                self.answered |= matches!(self.header, [_, _, _, HEADERS, ..]);
            }
        }
    }

    fn follow_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (here, rest) = bytes.split_at(bytes.len().min(FRAME_HEADER - self.read));
        for (known, byte) in self.header.iter_mut().skip(self.read).zip(here) {
            *known = *byte;
        }
        self.read += here.len();
        if self.read == FRAME_HEADER {
            let [high, middle, low, kind, flags, ..] = self.header;
            let length = u32::from_be_bytes([0, high, middle, low]);
            self.payload = usize::try_from(length).unwrap_or(usize::MAX);
            self.continues =
                matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) && flags & END_HEADERS == 0;
        }
        rest
    }

    fn follow_payload<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (here, rest) = bytes.split_at(bytes.len().min(self.payload));
        self.payload -= here.len();
        rest
    }
}

/// A [`RetireLayer`](crate::RetireLayer) learns of a connection when its first response gets there: it is given time for that.
const PATIENCE: Duration = Duration::from_secs(1);

/// RFC 9113 §4.1.
const FRAME_HEADER: usize = 9;

/// RFC 9113 §6.
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// RFC 9113 §6.8: whatever was sent will be answered, since the last stream is the greatest that there may be, and nothing
/// is wrong (`NO_ERROR`). The server's own GOAWAY may follow, and says less or the same.
const GOAWAY: &[u8] = &[
    0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u8::try_from(payload).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEADER + payload, 0xff);
        frame
    }

    #[test]
    fn another_frame_may_stand_behind_a_whole_one_and_nowhere_else() {
        // SETTINGS, HEADERS that a CONTINUATION ends, DATA that is empty, DATA that is not.
        let frames = [
            (frame(4, 0, 0), false),
            (frame(1, 0, 20), false),
            (frame(9, 0, 3), false),
            (frame(9, 4, 3), true),
            (frame(0, 1, 0), true),
            (frame(0, 0, 200), true),
            (frame(1, 4, 7), true),
        ];
        for step in [1, 2, 9, 10, 1000] {
            let mut seen = Frames::default();
            assert!(!seen.is_between());
            for (frame, between) in &frames {
                let (last, but_last) = frame.split_last().unwrap();
                for part in but_last.chunks(step) {
                    seen.follow(part);
                    assert!(!seen.is_between());
                }
                seen.follow(&[*last]);
                assert_eq!(seen.is_between(), *between, "{frame:?} by {step}");
            }
            let all: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.clone()).collect();
            seen.follow(&all);
            assert!(seen.is_between());
        }
    }
}
