//! Whether a server has accepted us, which in TLS 1.3 it says after our own handshake is done.
//!
//! The client's certificate is in its last flight, so that a refusal arrives where the answer to the first request is
//! expected, and may be lost under that request. A server that has accepted us most often says something by itself: a
//! session ticket, or what its application protocol begins with. Whoever waits for the one or the other before it sends
//! anything learns of a refusal as an error of connecting.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::pki_types::ServerName;

/// What a server has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It has accepted us.
    Accepted,
    /// Nothing, in this time.
    Nothing,
}

/// Waits until the server has accepted us, which is at once in TLS 1.2. No plaintext is taken out of the stream.
///
/// # Errors
///
/// The alert by which it refuses us, or the end of the connection.
pub(crate) async fn confirm<IO>(tls: &mut TlsStream<IO>, limit: Duration) -> io::Result<Word>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    // RFC 5246 §7.3: there the server's Finished is the last message, and comes after it has judged our certificate.
    if tls.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
        return Ok(Word::Accepted);
    }
    let word = poll_fn(|cx| {
        // This reads all that there is to read, and stops at plaintext.
        let read = Pin::new(&mut *tls).poll_fill_buf(cx);
        let word = match read.map_ok(<[u8]>::is_empty) {
            Poll::Ready(Ok(true)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Ok(false)) => Ok(Word::Accepted),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(Word::Nothing),
        };
        let ticket = tls.get_ref().1.tls13_tickets_received() > 0;
        match word {
            // One that has accepted us may hang up all the same: that is for whoever reads next.
            Err(error) if ticket && error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(Word::Accepted))
            }
            Ok(Word::Nothing) if ticket => Poll::Ready(Ok(Word::Accepted)),
            Ok(Word::Nothing) => Poll::Pending,
            word => Poll::Ready(word),
        }
    });
    timeout(limit, word).await.unwrap_or(Ok(Word::Nothing))
}

/// The servers that have said nothing, so that not every connection waits for them in vain. A clone is another handle on
/// the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Silent(Arc<Mutex<HashMap<Name, Instant>>>);

/// The name that was dialled, and the port where it is known.
pub(crate) type Name = (ServerName<'static>, Option<u16>);

impl Silent {
    /// Whether to wait for a word of this server. Of one that has been silent once, one connection asks again now and then:
    /// it may have been slow, or be another by now.
    pub(crate) fn is_asked(&self, server: &Name) -> bool {
        let now = Instant::now();
        self.with(|servers| match servers.get_mut(server) {
            Some(until) if now < *until => false,
            Some(until) => {
                *until = now + ASK_AGAIN;
                true
            }
            None => true,
        })
    }

    /// This server has said nothing, or something.
    pub(crate) fn note(&self, server: Name, word: Word) {
        let now = Instant::now();
        self.with(|servers| match word {
            Word::Accepted => {
                servers.remove(&server);
            }
            Word::Nothing => {
                if servers.len() >= MOST {
                    servers.retain(|_, until| now < *until);
                }
                // It is no more than a wait that is spared: whoever finds no room waits.
                if servers.len() < MOST || servers.contains_key(&server) {
                    servers.insert(server, now + ASK_AGAIN);
                }
            }
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<Name, Instant>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Seldom enough that a server without tickets costs nobody anything, and often enough that one which has got them since is
/// noticed.
const ASK_AGAIN: Duration = Duration::from_secs(600);

/// As many as a client remembers sessions of.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn name(number: usize) -> Name {
        let name = format!("h{number}.example");
        (ServerName::try_from(name).unwrap(), Some(443))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_waited_for_once_in_ten_minutes() {
        let silent = Silent::default();
        assert!(silent.is_asked(&name(1)));
        silent.note(name(1), Word::Nothing);
        assert!(!silent.is_asked(&name(1)));
        assert!(silent.is_asked(&name(2)));
        tokio::time::advance(ASK_AGAIN).await;
        assert!(silent.is_asked(&name(1)));
        // The others do not wait meanwhile.
        assert!(!silent.is_asked(&name(1)));
        silent.note(name(1), Word::Accepted);
        assert!(silent.is_asked(&name(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_makes_room_in_time() {
        let silent = Silent::default();
        for number in 0..=MOST {
            silent.note(name(number), Word::Nothing);
        }
        assert_eq!(silent.with(|servers| servers.len()), MOST);
        assert!(silent.is_asked(&name(MOST)));
        tokio::time::advance(ASK_AGAIN).await;
        silent.note(name(MOST), Word::Nothing);
        assert!(!silent.is_asked(&name(MOST)));
        assert_eq!(silent.with(|servers| servers.len()), 1);
    }
}
