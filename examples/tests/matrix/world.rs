//! Both parties of a cell, with credentials of their own, and what the server tells of the client.

use std::sync::Arc;
use std::time::Duration;

use mtls_core::rustls::crypto::CryptoProvider;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::rustls::version::{TLS12, TLS13};
use mtls_core::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use mtls_core::testing::{Issued, LeafOptions, TestCa};
use mtls_core::{
    AuditEvent, AuditStage, AuditSubject, ClientTls, CredentialSource, HandshakeError, Observer,
    Policy, Reason, ServerTls, TlsVersions, TrustMaterial,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::cell::{Caller, Protocol, Tls};
use crate::servers::Serving;

/// The CA that everybody trusts, and one that only a stranger does.
#[derive(Debug)]
pub(crate) struct World {
    ca: TestCa,
    strange: TestCa,
}

/// Who a server is to a client of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Presents {
    Proper,
    Stranger,
    Expired,
    AnotherName,
}

impl Presents {
    /// Why our clients refuse it.
    pub(crate) fn refused_for(self) -> Option<Reason> {
        match self {
            Self::Proper => None,
            Self::Stranger => Some(Reason::UnknownIssuer),
            Self::Expired => Some(Reason::Expired),
            Self::AnotherName => Some(Reason::NameMismatch),
        }
    }
}

/// A server, before its door is open.
#[derive(Debug)]
pub(crate) struct ServerSide {
    pub(crate) id: String,
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) serving: Serving,
    pub(crate) told: mpsc::UnboundedReceiver<Decision>,
}

/// A client.
#[derive(Debug)]
pub(crate) struct ClientSide {
    pub(crate) id: String,
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) tls: ClientTls,
    pub(crate) foreign: Arc<ClientConfig>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            ca: TestCa::new("example.org"),
            strange: TestCa::new("example.org"),
        }
    }

    /// The client of the `number`th cell. Its certificate and its name are nobody else's.
    pub(crate) fn client(
        &self,
        number: usize,
        caller: Caller,
        protocol: Protocol,
        tls: Tls,
    ) -> ClientSide {
        let path = match caller {
            Caller::NotAuthorized => format!("/elsewhere/{number}"),
            Caller::Accepted | Caller::NoCertificate | Caller::Stranger | Caller::Expired => {
                format!("/callers/{number}")
            }
        };
        let leaf = LeafOptions::service(&path);
        let issued = match caller {
            Caller::Stranger => self.strange.issue_with(leaf),
            Caller::Expired => self.ca.issue_with(leaf.expires_in(SHORT)),
            Caller::Accepted | Caller::NoCertificate | Caller::NotAuthorized => {
                self.ca.issue_with(leaf)
            }
        };
        let versions = match tls {
            Tls::V12 => TlsVersions::Tls12AndTls13,
            Tls::V13 => TlsVersions::Tls13,
        };
        let source = match caller {
            Caller::Stranger => self.strangers_source(&issued),
            _ => self.ca.source(&issued),
        };
        let ours = ClientTls::builder(&source)
            .verify_server_name()
            .alpn([protocol.alpn()])
            .versions(versions)
            .build();
        let presented = (caller != Caller::NoCertificate).then_some(&issued);
        ClientSide {
            id: self.ca.spiffe_id(&path),
            leaf: issued.chain_der().remove(0),
            tls: ours.unwrap(),
            foreign: Arc::new(self.foreign_client(presented, protocol, tls)),
        }
    }

    /// The server of the `number`th cell, which lets in `/callers` and knows `client`.
    pub(crate) fn server(
        &self,
        number: usize,
        presents: Presents,
        tls: Tls,
        client: &ClientSide,
    ) -> ServerSide {
        let path = format!("/servers/{number}");
        let leaf = LeafOptions::service(&path);
        let issued = match presents {
            Presents::Proper => self.ca.issue_with(leaf),
            Presents::Stranger => self.strange.issue_with(leaf),
            Presents::Expired => self.ca.issue_with(leaf.expires_in(SHORT)),
            Presents::AnotherName => self.ca.issue_with(
                LeafOptions::new()
                    .spiffe(&path)
                    .dns("elsewhere.example.org"),
            ),
        };
        let (teller, told) = Teller::new();
        let versions = match tls {
            Tls::V12 => TlsVersions::Tls12AndTls13,
            Tls::V13 => TlsVersions::Tls13,
        };
        let source = match presents {
            Presents::Stranger => self.strangers_source(&issued),
            _ => self.ca.source(&issued),
        };
        let ours = ServerTls::builder(&source)
            .authorize(Policy::pattern("spiffe://example.org/callers/*").unwrap())
            .versions(versions)
            .audit(teller.clone())
            .build();
        ServerSide {
            id: self.ca.spiffe_id(&path),
            leaf: issued.chain_der().remove(0),
            serving: Serving {
                tls: ours.unwrap(),
                foreign: Arc::new(self.foreign_server(&issued)),
                teller,
                known: (client.leaf.clone(), client.id.clone()),
            },
            told,
        }
    }

    /// A stranger trusts both CAs: its own, or it would not start, and that of whoever is to refuse it.
    fn strangers_source(&self, issued: &Issued) -> CredentialSource {
        let trust = TrustMaterial::new(vec![self.ca.root_der(), self.strange.root_der()]);
        let published = CredentialSource::builder().publish(issued.material(), trust);
        published.unwrap().1
    }

    /// A client that never heard of us: from PEM, and trusting the CA by its root.
    fn foreign_client(
        &self,
        presented: Option<&Issued>,
        protocol: Protocol,
        tls: Tls,
    ) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version(tls)])
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match presented {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let (chain, key) = from_pem(issued);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.alpn().into()];
        config
    }

    fn foreign_server(&self, issued: &Issued) -> ServerConfig {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider());
        let (chain, key) = from_pem(issued);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.root_der()).unwrap();
        roots
    }
}

fn from_pem(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let pem = issued.chain_pem();
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem().as_bytes());
    (chain.unwrap(), key.unwrap())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(mtls_core::rustls::crypto::aws_lc_rs::default_provider())
}

fn version(tls: Tls) -> &'static SupportedProtocolVersion {
    match tls {
        Tls::V12 => &TLS12,
        Tls::V13 => &TLS13,
    }
}

/// No source takes a certificate that has expired, so those that are to be expired are issued for this long, to who is
/// built with them at once. `expired` waits for the rest of it, which other cells pass.
const SHORT: Duration = Duration::from_secs(5);

/// Waits until whatever was issued for [`SHORT`] before `since` is over: a certificate is valid in its last second too.
pub(crate) async fn expired(since: Instant) {
    sleep_until(since + SHORT + Duration::from_secs(1)).await;
}

/// What a server has decided about a handshake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Why not.
    pub(crate) reason: Option<Reason>,
    /// About whom; unknown where the server is not ours.
    pub(crate) about: Option<About>,
    /// The alert by which the client refused the server, if it was the client.
    pub(crate) alert: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    Nobody,
    Peer(String),
    Presented(String),
}

/// Tells a cell of each decision.
#[derive(Debug, Clone)]
pub(crate) struct Teller(mpsc::UnboundedSender<Decision>);

impl Teller {
    fn new() -> (Self, mpsc::UnboundedReceiver<Decision>) {
        let (tell, told) = mpsc::unbounded_channel();
        (Self(tell), told)
    }

    pub(crate) fn tell(&self, decision: Decision) {
        // A cell that has seen enough hears no more.
        let _ = self.0.send(decision);
    }
}

impl Observer for Teller {
    fn observe(&self, event: &AuditEvent<'_>) {
        if event.stage != AuditStage::Handshake {
            return;
        }
        let about = match event.who {
            AuditSubject::Peer(peer) => About::Peer(peer.to_string()),
            AuditSubject::Presented(presented) => About::Presented(presented.name.clone()),
            _ => About::Nobody,
        };
        let alert = match event.cause.and_then(HandshakeError::find) {
            Some(HandshakeError::RefusedByPeer { alert, .. }) => Some(alert.to_string()),
            _ => None,
        };
        self.tell(Decision {
            reason: event.reason,
            about: Some(about),
            alert,
        });
    }
}
