//! Handshakes in memory: no socket, no runtime, both ends' results.

use std::io;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, ServerConnection};
use rustls_pki_types::ServerName;

use super::ca::TestCa;
use super::issued::Issued;
use crate::check::in_memory;
use crate::policy::Policy;
use crate::snapshot::{CredentialMaterial, CredentialSource, Publisher, TrustMaterial};
use crate::tls::{ClientHandshake, ClientTls, HandshakeError, PeerInfo, ServerTls};

/// What became of a handshake, on both ends.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// Who the client is, by the server.
    pub server: Result<PeerInfo, HandshakeError>,
    /// Who the server is, by the client, once the client has heard whether it was accepted. In TLS 1.3 a refused client
    /// finishes its own handshake first, and `connect` alone would have returned `Ok`.
    pub client: Result<PeerInfo, HandshakeError>,
}

/// A handshake between a client and a server of ours; the client dials `name`.
///
/// ```
/// use mtls_core::testing::{TestCa, handshake};
/// use mtls_core::{ClientTls, Policy, Reason, ServerTls};
///
/// let ca = TestCa::new("example.org");
/// let server = ServerTls::builder(&ca.source(&ca.issue("/api")))
///     .authorize(Policy::spiffe_id("spiffe://example.org/web")?)
///     .build()?;
/// let client = |path| ClientTls::builder(&ca.source(&ca.issue(path))).verify_server_name().build();
///
/// let accepted = handshake(&server, &client("/web")?, "localhost");
/// assert_eq!(accepted.server?.to_string(), "spiffe://example.org/web");
///
/// let refused = handshake(&server, &client("/batch")?, "localhost");
/// assert_eq!(refused.server.unwrap_err().reason(), Reason::NotAuthorized);
/// assert_eq!(refused.client.unwrap_err().reason(), Reason::RefusedByPeer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn handshake(server: &ServerTls, client: &ClientTls, name: &str) -> Outcome {
    let client = client.handshake();
    let config = client.config();
    let (server, client) = run(server, config, Some(&client), name);
    Outcome {
        server,
        client: client.expect("a client of ours tells who its server is"),
    }
}

/// A handshake of our server with a foreign rustls client, which may do what ours never would. Only the server's result
/// is known.
///
/// # Errors
///
/// Why the server refused.
pub fn handshake_with_foreign(
    server: &ServerTls,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<PeerInfo, HandshakeError> {
    run(server, client, None, name).0
}

type Side = Result<PeerInfo, HandshakeError>;

fn run(
    server: &ServerTls,
    config: Arc<ClientConfig>,
    ours: Option<&ClientHandshake>,
    name: &str,
) -> (Side, Option<Side>) {
    let accept = server.handshake();
    let name = ServerName::try_from(name.to_owned()).expect("a DNS name or an IP address");
    let mut client = ClientConnection::new(config, name.clone()).expect("a client connection");
    let mut server = ServerConnection::new(accept.config()).expect("a server connection");
    let (server_error, client_error) = in_memory(&mut server, &mut client);
    let server_side = match server_error {
        Some(error) => Err(accept.explain(&wrap(error))),
        None => accept.established(&server),
    };
    let client_side = ours.map(|ours| match client_error {
        Some(error) => Err(ours.explain(&wrap(error))),
        None => ours.established(&client, &name),
    });
    (server_side, client_side)
}

/// As a stream hands it on.
fn wrap(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl TestCa {
    /// A source that serves `issued` and trusts this CA's root.
    #[must_use]
    pub fn source(&self, issued: &Issued) -> CredentialSource {
        self.publish(issued).1
    }

    /// Such a source, with the publisher that rotates it.
    #[must_use]
    pub fn publish(&self, issued: &Issued) -> (Publisher, CredentialSource) {
        CredentialSource::builder()
            .publish(issued.material(), self.trust_material())
            .expect("the source verifies")
    }

    /// This CA's root, as trust to publish.
    #[must_use]
    pub fn trust_material(&self) -> TrustMaterial {
        TrustMaterial::new(vec![self.root_der()])
    }

    /// The peer that presents `issued`, for tests of handlers: a handshake is made in memory, and this is what the server
    /// learned in it.
    ///
    /// # Panics
    ///
    /// A server that trusts this CA refuses `issued`.
    #[must_use]
    pub fn peer(&self, issued: &Issued) -> PeerInfo {
        let server = ServerTls::builder(&self.source(&self.issue("/mtls-test-server")))
            .authorize(Policy::any_verified_peer())
            .build()
            .expect("a server");
        // Said, because a peer without a SPIFFE ID brings no trust domain, and the server has one.
        let domain = self.trust_domain().parse().expect("a trust domain");
        let (_, source) = CredentialSource::builder()
            .trust_domain(domain)
            .publish(issued.material(), self.trust_material())
            .expect("the peer's own source verifies");
        let client = ClientTls::builder(&source)
            .verify_server_name()
            .build()
            .expect("credentials of a client");
        handshake(&server, &client, "localhost")
            .server
            .expect("the server accepts it")
    }
}

impl Issued {
    /// This chain and its key, as credentials to publish.
    #[must_use]
    pub fn material(&self) -> CredentialMaterial {
        CredentialMaterial::new(self.chain_der(), self.key_der())
    }
}
