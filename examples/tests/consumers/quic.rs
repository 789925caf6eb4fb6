//! quinn, whose endpoints take a new config while they run.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use mtls_core::rustls::pki_types::{CertificateDer, ServerName};
use mtls_core::rustls::{self, ClientConfigs, ServerConfigs};
use mtls_core::testing::{Issued, TestCa};
use mtls_core::{AuditEvent, ClientTls, Observer, Policy, Publisher, Reason, ServerTls};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, Endpoint, TransportErrorCode};

use crate::within;

#[derive(Debug, Default)]
struct Told(Mutex<Vec<Option<Reason>>>);

impl Observer for Told {
    fn observe(&self, event: &AuditEvent<'_>) {
        self.0.lock().unwrap().push(event.reason);
    }
}

/// A QUIC server with `/api` that lets in `/web`.
struct Server {
    publisher: Publisher,
    configs: ServerConfigs,
    endpoint: Endpoint,
    told: Arc<Told>,
}

impl Server {
    fn start(ca: &TestCa, leaf: &Issued) -> Self {
        let (publisher, source) = ca.publish(leaf);
        let told = Arc::new(Told::default());
        let tls = ServerTls::builder(&source)
            .authorize(Policy::spiffe_id("spiffe://example.org/web").unwrap())
            .alpn(["echo"])
            .audit(Arc::clone(&told))
            .build()
            .unwrap();
        let configs = tls.configs();
        let at = (Ipv4Addr::LOCALHOST, 0).into();
        let endpoint = Endpoint::server(server_config(configs.current()), at).unwrap();
        Self {
            publisher,
            configs,
            endpoint,
            told,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    async fn accept(&self) -> Result<Connection, ConnectionError> {
        within(within(self.endpoint.accept()).await.unwrap()).await
    }
}

struct Client {
    publisher: Publisher,
    configs: ClientConfigs,
    endpoint: Endpoint,
}

impl Client {
    fn new(ca: &TestCa, leaf: &Issued) -> Self {
        let (publisher, source) = ca.publish(leaf);
        let tls = ClientTls::builder(&source)
            .verify_server_name()
            .alpn(["echo"])
            .build()
            .unwrap();
        let configs = tls.configs();
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        endpoint.set_default_client_config(client_config(configs.current()));
        Self {
            publisher,
            configs,
            endpoint,
        }
    }

    async fn connect(&self, server: &Server) -> Result<Connection, ConnectionError> {
        within(self.endpoint.connect(server.addr(), "localhost").unwrap()).await
    }
}

fn server_config(config: Arc<rustls::ServerConfig>) -> quinn::ServerConfig {
    let crypto = QuicServerConfig::try_from(config).unwrap();
    quinn::ServerConfig::with_crypto(Arc::new(crypto))
}

fn client_config(config: Arc<rustls::ClientConfig>) -> quinn::ClientConfig {
    let crypto = QuicClientConfig::try_from(config).unwrap();
    quinn::ClientConfig::new(Arc::new(crypto))
}

fn chain(connection: &Connection) -> Vec<CertificateDer<'static>> {
    *connection.peer_identity().unwrap().downcast().unwrap()
}

/// Both ends of a connection that works.
async fn meet(server: &Server, client: &Client) -> (Connection, Connection) {
    let (ours, theirs) = tokio::join!(server.accept(), client.connect(server));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    let mut said = theirs.open_uni().await.unwrap();
    said.write_all(b"hello").await.unwrap();
    said.finish().unwrap();
    let mut heard = within(ours.accept_uni()).await.unwrap();
    assert_eq!(within(heard.read_to_end(16)).await.unwrap(), b"hello");
    (ours, theirs)
}

#[tokio::test]
async fn both_ends_know_each_other_and_new_connections_present_what_was_rotated() {
    let ca = TestCa::new("example.org");
    let (api, web) = (ca.issue("/api"), ca.issue("/web"));
    let (mut server, mut client) = (Server::start(&ca, &api), Client::new(&ca, &web));
    let name = ServerName::try_from("localhost").unwrap();

    let (at_server, at_client) = meet(&server, &client).await;
    let peer = server.configs.identify(&chain(&at_server)).unwrap();
    assert_eq!(peer.to_string(), "spiffe://example.org/web");
    let peer = client.configs.identify(&chain(&at_client), &name).unwrap();
    assert_eq!(peer.to_string(), "spiffe://example.org/api");
    assert_eq!(chain(&at_client), api.chain_der());

    let (next_api, next_web) = (ca.issue("/api"), ca.issue("/web"));
    let material = next_api.material();
    server.publisher.publish_credentials(material).unwrap();
    let material = next_web.material();
    client.publisher.publish_credentials(material).unwrap();
    let config = server_config(within(server.configs.changed()).await);
    server.endpoint.set_server_config(Some(config));
    let config = client_config(within(client.configs.changed()).await);
    client.endpoint.set_default_client_config(config);

    let (at_server, at_client) = meet(&server, &client).await;
    assert_eq!(chain(&at_server), next_web.chain_der());
    assert_eq!(chain(&at_client), next_api.chain_der());
    assert_eq!(*server.told.0.lock().unwrap(), [None, None]);
}

/// The client's own handshake is done before it hears of what its certificate came to.
async fn close_of(refused: Result<Connection, ConnectionError>) -> ConnectionError {
    match refused {
        Ok(connection) => within(connection.closed()).await,
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_client_that_may_not_come_is_refused_and_told_why() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca, &ca.issue("/api"));
    let another = TestCa::new("example.org");
    for (issued_by, path, alert, reason) in [
        (&another, "/web", 48, Reason::UnknownIssuer),
        (&ca, "/batch", 49, Reason::NotAuthorized),
    ] {
        // It trusts the server, whoever has issued its own certificate.
        let (publisher, source) = mtls_core::CredentialSource::builder()
            .own_chain(mtls_core::OwnChain::FromAnotherPki)
            .publish(issued_by.issue(path).material(), ca.trust_material())
            .unwrap();
        let tls = ClientTls::builder(&source)
            .verify_server_name()
            .alpn(["echo"]);
        let configs = tls.build().unwrap().configs();
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        endpoint.set_default_client_config(client_config(configs.current()));
        let client = Client {
            publisher,
            configs,
            endpoint,
        };
        let (ours, theirs) = tokio::join!(server.accept(), client.connect(&server));
        let refused = ours.unwrap_err();
        assert!(
            matches!(&refused, ConnectionError::TransportError(error) if error.code == TransportErrorCode::crypto(alert)),
            "{refused:?}"
        );
        let heard = close_of(theirs).await;
        assert!(
            matches!(&heard, ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::crypto(alert)),
            "{heard:?}"
        );
        let told = std::mem::take(&mut *server.told.0.lock().unwrap());
        assert_eq!(told, [Some(reason)]);
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_refused_by_the_client() {
    let ca = TestCa::new("example.org");
    let another = TestCa::new("example.org");
    let server = Server::start(&another, &another.issue("/api"));
    let client = Client::new(&ca, &ca.issue("/web"));
    let (_, refused) = tokio::join!(server.accept(), client.connect(&server));
    let ConnectionError::TransportError(refused) = refused.unwrap_err() else {
        panic!("refused by something else");
    };
    // quinn keeps the alert and a text, which is rustls' for the error that ours is a part of.
    assert_eq!(refused.code, TransportErrorCode::crypto(46));
    assert!(
        refused.reason.contains("UnknownIssuer"),
        "{}",
        refused.reason
    );
}
