//! TLS or plaintext: the first byte tells.

use std::io;
use std::sync::Arc;

use mtls_core::{AuditEvent, ConnectionFacts, HandshakeError};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::Permissive;
use crate::accept::Acceptor;
use crate::stream::ServerStream;

impl Acceptor {
    /// The handshake, or none where plaintext is permitted and spoken.
    pub(crate) async fn handshake_or_plaintext(
        &self,
        permissive: Option<&Permissive>,
        tcp: TcpStream,
        connection: ConnectionFacts,
    ) -> Result<ServerStream<TcpStream>, (HandshakeError, Option<TcpStream>)> {
        let Some(permissive) = permissive.filter(|it| !it.is_strict()) else {
            return self.handshake(tcp, connection).await;
        };
        let begun = Instant::now();
        let ip = connection.remote_addr().map(|addr| addr.ip());
        let limit = self.limits.first_byte.min(self.limits.handshake_timeout);
        let refused = match timeout(limit, first_byte(&tcp)).await {
            Ok(Ok(first)) if speaks_http(first) => {
                if let Some(place) = permissive.admit(ip) {
                    let client = self.names.first().plaintext_client(connection);
                    let stream = ServerStream::in_plaintext(tcp, client, place);
                    self.audit()
                        .record(|| AuditEvent::handshake_allowed(stream.client()));
                    return Ok(stream);
                }
                HandshakeError::PlaintextPeer
            }
            // Whatever else it is: it gets what it would get without this.
            Ok(Ok(_)) => {
                let left = self
                    .limits
                    .handshake_timeout
                    .saturating_sub(begun.elapsed());
                let limits = self.limits.handshake_timeout(left);
                let acceptor = self.clone().with_limits(limits);
                let done = acceptor.handshake(tcp, connection).await;
                if done.is_ok() {
                    permissive.note_tls(ip);
                }
                return done;
            }
            Ok(Err(why)) => why,
            Err(_) => HandshakeError::Timeout { after: limit },
        };
        self.audit()
            .record(|| AuditEvent::handshake_refused(connection, None, &refused));
        Err((refused, None))
    }
}

/// Left where it is, for whoever reads next.
async fn first_byte(tcp: &TcpStream) -> Result<u8, HandshakeError> {
    let mut first = [0];
    match tcp.peek(&mut first).await {
        Ok(0) => Err(HandshakeError::PeerClosed),
        Ok(_) => Ok(first[0]),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Err(HandshakeError::PeerClosed)
        }
        Err(error) => Err(HandshakeError::Io {
            source: Arc::new(error),
        }),
    }
}

/// A method (RFC 9110 §9.1), and the preface of HTTP/2 too, begins with a capital letter. RFC 8446 §5.1: the type of a record
/// of a handshake is 22, which is none.
fn speaks_http(first: u8) -> bool {
    first.is_ascii_uppercase()
}
