//! tonic with its own TLS, at both ends.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use mtls_core::rustls::crypto::aws_lc_rs;
use mtls_core::testing::{Issued, TestCa};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::leads_to;
use crate::plain::server;
use crate::sockets::{chained, drops_the_refused};

fn identity(issued: &Issued) -> Identity {
    Identity::from_pem(issued.chain_pem(), issued.key_pem())
}

fn trusting(ca: &TestCa) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.bundle_pem()))
}

/// One call over a connection of its own; if it fails, what a log would have: the error and its sources, and its `Debug`.
async fn call(port: u16, tls: ClientTlsConfig) -> Result<(), [String; 2]> {
    let endpoint = Endpoint::from_shared(format!("https://localhost:{port}")).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await;
    let channel = channel.map_err(|error| [chained(&error), format!("{error:?}")])?;
    let request = HealthCheckRequest::default();
    match HealthClient::new(channel).check(request).await {
        Ok(_) => Ok(()),
        Err(status) => Err([chained(&status), format!("{status:?}")]),
    }
}

/// tonic's server, which requires certificates of this CA.
async fn tonics_server(ca: &TestCa) -> u16 {
    // Its server asks for that of the process, unlike its client, and panics where two are built in: `providers.rs`.
    let _ = aws_lc_rs::default_provider().install_default();
    let tls = ServerTlsConfig::new()
        .identity(identity(&ca.issue("/server")))
        .client_ca_root(Certificate::from_pem(ca.bundle_pem()));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().tls_config(tls).unwrap();
    tokio::spawn(async move {
        server
            .serve_with_incoming(health, TcpIncoming::from(listener))
            .await
    });
    port
}

/// As since tonic 0.12 everybody is who does not say where the roots come from.
#[tokio::test]
async fn a_channel_that_was_given_no_roots_knows_no_issuer() {
    let port = tonics_server(&TestCa::new("example.org")).await;
    for text in call(port, ClientTlsConfig::new()).await.unwrap_err() {
        assert!(text.contains("UnknownIssuer"), "{text}");
        leads_to(&text, "unknown_issuer");
    }
}

#[tokio::test]
async fn whatever_tonic_says_of_a_refusal_leads_to_it() {
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let mut config = server(&ca);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let port = drops_the_refused(config).await;
    for _ in 0..10 {
        let tls = trusting(&ca).identity(identity(&stranger.issue("/web")));
        for text in call(port, tls).await.unwrap_err() {
            leads_to(&text, "refused_by_peer");
        }
    }
}

#[tokio::test]
async fn tonics_server_goes_on_after_a_failed_handshake() {
    let ca = TestCa::new("example.org");
    let port = tonics_server(&ca).await;
    assert!(call(port, trusting(&ca)).await.is_err());
    let known = trusting(&ca).identity(identity(&ca.issue("/web")));
    assert_eq!(call(port, known).await, Ok(()));
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// On one thread, so that what is set for it hears of all its tasks.
#[tokio::test]
async fn tonics_log_has_a_refusal_at_debug_and_nothing_of_it_above() {
    let ca = TestCa::new("example.org");
    for (level, is_told) in [(LevelFilter::INFO, false), (LevelFilter::DEBUG, true)] {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(move || writer.clone());
        let listening = subscriber.set_default();
        let port = tonics_server(&ca).await;
        assert!(call(port, trusting(&ca)).await.is_err());
        // The server is past the first one when it answers the second.
        let known = trusting(&ca).identity(identity(&ca.issue("/web")));
        assert_eq!(call(port, known).await, Ok(()));
        drop(listening);
        let text = log.text();
        assert_eq!(
            text.contains("peer sent no certificates"),
            is_told,
            "{text}"
        );
    }
    leads_to("not_logged", "not_logged");
}
