//! What depends on the crypto provider: the kinds of keys that it knows, and that somebody has to say which one it is.

use std::process::Command;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use mtls_core::rustls::ClientConfig;
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::testing::{KeyKind, LeafOptions, TestCa};
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::leads_to;
use crate::plain::{Own, client, provider, ring, roots, server_by, shake};

/// A client goes on without a certificate where no signature scheme of the server's fits its key.
#[test]
fn a_client_whose_kind_of_key_the_server_does_not_know_seems_to_have_none() {
    let ca = TestCa::new("example.org");
    let issued = ca.issue_with(LeafOptions::service("/web").key(KeyKind::EcdsaP521));
    let told = |provider: fn() -> _| {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(&ca), provider());
        let server = server_by(provider(), verifier, Own::of(&ca.issue("/server")));
        let client = client(&ca, Some(Own::of(&issued))).unwrap();
        shake(server, client, "localhost")
    };
    let knows_it = told(provider);
    assert!(knows_it.server.is_none(), "{knows_it:?}");
    let told = told(ring);
    assert!(told.server().contains("peer sent no certificates"));
    leads_to(told.server(), "no_peer_certificate");
    assert!(told.client().contains("CertificateRequired"), "{told:?}");
    leads_to(told.client(), "refused_by_peer");
}

/// What somebody does who asks for the provider of the process.
#[derive(Debug, Clone, Copy)]
enum Asks {
    Metrics,
    Reqwest,
    Rustls,
    Tonic,
}

impl Asks {
    async fn ask(self) {
        match self {
            Self::Metrics => {
                let (at, every) = ("https://localhost:9091/", Duration::from_secs(60));
                let builder = PrometheusBuilder::new();
                let builder = builder.with_push_gateway(at, every, None, None, false);
                let (_recorder, pushing) = builder.unwrap().build().unwrap();
                let _ = pushing.await;
            }
            Self::Reqwest => drop(reqwest::Client::builder().build()),
            Self::Rustls => drop(ClientConfig::builder()),
            // Its client takes the one that it was built with.
            Self::Tonic => {
                let issued = TestCa::new("example.org").issue("/server");
                let identity = Identity::from_pem(issued.chain_pem(), issued.key_pem());
                let tls = ServerTlsConfig::new().identity(identity);
                drop(Server::builder().tls_config(tls));
            }
        }
    }

    /// What is printed of it, in a process of its own, where nobody has said which provider it uses.
    fn printed(self) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "providers::in_a_process_of_its_own",
                "--ignored",
                "--nocapture",
            ])
            .env(ASKS, format!("{self:?}"))
            .output()
            .unwrap();
        assert!(!output.status.success(), "{self:?}: {output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }
}

#[tokio::test]
#[ignore = "the next one starts it"]
async fn in_a_process_of_its_own() {
    let Ok(name) = std::env::var(ASKS) else {
        return;
    };
    let all = [Asks::Metrics, Asks::Reqwest, Asks::Rustls, Asks::Tonic];
    let asks = all.iter().find(|asks| format!("{asks:?}") == name);
    asks.unwrap().ask().await;
}

/// Both providers are built into these tests.
#[test]
fn whoever_asks_for_the_provider_of_the_process_panics_where_nobody_has_said_it() {
    for (asks, words) in [
        (Asks::Rustls, "determine the process-level CryptoProvider"),
        (Asks::Tonic, "determine the process-level CryptoProvider"),
        (Asks::Reqwest, "No rustls crypto provider is configured"),
        // In words that rustls had before.
        (Asks::Metrics, "no process-level CryptoProvider available"),
    ] {
        let printed = asks.printed();
        assert!(printed.contains(words), "{asks:?}: {printed}");
        leads_to(&printed, "crypto_provider");
    }
    // What is told which one it is asks for none.
    assert!(client(&TestCa::new("example.org"), None).is_ok());
}

const ASKS: &str = "MTLS_TEST_ASKS";
