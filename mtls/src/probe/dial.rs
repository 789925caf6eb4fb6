//! One connection, as far as its handshake and the server's word on it. Blocking, with a deadline for each wait.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mtls_core::rustls::pki_types::ServerName;
use mtls_core::rustls::{ClientConfig, ClientConnection, ProtocolVersion};

/// Where the server was found.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) address: SocketAddr,
    /// What the name resolved to, this one among them.
    pub(super) all: Vec<SocketAddr>,
    pub(super) took: Duration,
    /// For the first dial, so that finding it costs the server no connection.
    pub(super) tcp: Option<TcpStream>,
}

/// Resolves and tries each address.
///
/// # Errors
///
/// The last one's.
pub(super) fn reach(target: &str, limit: Duration) -> io::Result<Reached> {
    let addresses: Vec<_> = target.to_socket_addrs()?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in &addresses {
        let begun = now();
        match TcpStream::connect_timeout(address, limit) {
            Ok(tcp) => {
                return Ok(Reached {
                    address: *address,
                    took: begun.elapsed(),
                    tcp: Some(tcp),
                    all: addresses.clone(),
                });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What a server has said to a finished handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It has accepted us: by its last message in TLS 1.2, by a ticket or by data in TLS 1.3.
    Accepted,
    /// Nothing, in this time.
    Nothing,
}

/// A connection to the server.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) tls: ClientConnection,
    /// What came first, if anything did: what is no TLS is known by it.
    pub(super) first: Vec<u8>,
    /// How long the handshake took, once it is done.
    pub(super) took: Option<Duration>,
    tcp: TcpStream,
    limit: Duration,
}

impl Dial {
    pub(super) fn over(
        tcp: TcpStream,
        name: &ServerName<'static>,
        config: Arc<ClientConfig>,
        limit: Duration,
    ) -> io::Result<Self> {
        tcp.set_write_timeout(Some(limit))?;
        let tls = ClientConnection::new(config, name.clone()).map_err(io::Error::other)?;
        Ok(Self {
            tls,
            first: Vec::new(),
            took: None,
            tcp,
            limit,
        })
    }

    /// Completes the handshake, and waits for the server's word on our certificate.
    ///
    /// # Errors
    ///
    /// Ours, the server's alert, the end of the connection, or [`io::ErrorKind::TimedOut`] before the handshake was done.
    pub(super) fn confirmed(&mut self) -> io::Result<Word> {
        let begun = now();
        let deadline = begun + self.limit;
        while self.tls.is_handshaking() {
            self.turn(deadline)?;
        }
        self.flush()?;
        self.took = Some(begun.elapsed());
        // RFC 5246 §7.3: there the server's Finished is the last message, and comes after it has judged our certificate.
        if self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
            return Ok(Word::Accepted);
        }
        let deadline = now() + self.limit.min(WAIT_FOR_WORD);
        loop {
            if self.has_word() {
                return Ok(Word::Accepted);
            }
            match self.turn(deadline) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(Word::Nothing),
                // One that has accepted us may hang up all the same.
                Err(_) if self.has_word() => return Ok(Word::Accepted),
                Err(error) => return Err(error),
            }
        }
    }

    fn has_word(&mut self) -> bool {
        let data = self.tls.reader().fill_buf_is_some();
        data || self.tls.tls13_tickets_received() > 0
    }

    /// Writes what there is to write, and reads once.
    fn turn(&mut self, deadline: Instant) -> io::Result<()> {
        self.flush()?;
        let rest = deadline.saturating_duration_since(now());
        if rest.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.tcp.set_read_timeout(Some(rest))?;
        if self.first.is_empty() {
            let mut first = [0; FIRST];
            let seen = self.tcp.peek(&mut first).map_err(in_time)?;
            let first = first.get(..seen).unwrap_or_default();
            self.first.extend_from_slice(first);
        }
        if self.tls.read_tls(&mut self.tcp).map_err(in_time)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Err(error) = self.tls.process_new_packets() {
            // The server is told why.
            let _ = self.flush();
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.tcp)?;
        }
        Ok(())
    }

    /// A request of HTTP/1.1, and as much of what comes back as tells what it is.
    pub(super) fn get(&mut self, host: &str, path: &str) -> io::Result<String> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: mtls-probe\r\nConnection: close\r\n\r\n"
        );
        self.tls.writer().write_all(request.as_bytes())?;
        let deadline = now() + self.limit;
        let mut answer = Vec::new();
        while answer.len() < MOST_READ {
            let mut bytes = [0; 4096];
            match self.tls.reader().read(&mut bytes) {
                Ok(0) => break,
                Ok(read) => answer.extend_from_slice(bytes.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.turn(deadline) {
                        Ok(()) => {}
                        Err(_) if !answer.is_empty() => break,
                        Err(error) => return Err(error),
                    }
                }
                Err(_) if !answer.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        if answer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "sockets that block, and no runtime whose clock could be paused"
)]
fn now() -> Instant {
    Instant::now()
}

/// A read that had to wait for too long, which each system has a word of its own for.
fn in_time(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::ErrorKind::TimedOut.into();
    }
    error
}

/// Whether a reader has data, without taking it.
trait HasData {
    fn fill_buf_is_some(self) -> bool;
}

impl HasData for mtls_core::rustls::Reader<'_> {
    fn fill_buf_is_some(mut self) -> bool {
        use std::io::BufRead;
        self.fill_buf().is_ok_and(|data| !data.is_empty())
    }
}

/// A server of TLS 1.3 that has anything to say of our certificate has said it by then; most say it in a round trip.
const WAIT_FOR_WORD: Duration = Duration::from_secs(2);

/// As much as tells a protocol by its greeting.
const FIRST: usize = 8;

const MOST_READ: usize = 16 * 1024;
