//! A client's configs.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::sync::watch;
use tracing::debug;

use super::{Chains, Proven, Under};
use crate::clock;
use crate::error::Chained;
use crate::identity::PeerIdentity;
use crate::snapshot::Current;
use crate::tls::client::ClientTls;
use crate::tls::error::HandshakeError;
use crate::tls::expected::Expected;
use crate::tls::explain::presented;
use crate::tls::posture::restrict_client;
use crate::tls::verifier::{carry, unproven};
use crate::verify::chain::in_one;
use crate::verify::{ChainError, Role, VerifiedPeer};

/// The rustls configs of a [`ClientTls`] for code that is not ours: the [current](Self::current) one, and each
/// [next](Self::changed).
///
/// What is less than in a [`ClientHandshake`](crate::rustls::ClientHandshake): sessions are not resumed, a connection that is
/// open is not asked again, and who the server is has to be asked, by [`identify`](Self::identify). Our error is found in what
/// the library makes of a failed handshake, by [`HandshakeError::find`], if it keeps the cause; the log has it at debug.
///
/// A config that is used on when there is a newer one presents its old certificate, and takes nobody for a server whom the
/// current trust refuses.
///
/// ```
/// # use mtls_core::testing::TestCa;
/// # let ca = TestCa::new("example.org");
/// # let source = ca.source(&ca.issue("/web"));
/// use mtls_core::ClientTls;
///
/// let tls = ClientTls::builder(&source).verify_server_name().alpn(["h3"]).build()?;
/// let mut configs = tls.configs();
/// let config = configs.current(); // for `quinn::Endpoint::set_default_client_config`, say; then `configs.changed().await`
/// # assert!(!config.enable_early_data);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClientConfigs {
    tls: ClientTls,
    changes: watch::Receiver<u64>,
    proven: Arc<Proven>,
}

/// The configs of a client that give something up.
#[derive(Debug)]
pub struct DangerousClientConfigs<'a>(&'a ClientConfigs);

impl ClientTls {
    /// rustls configs for code that is not ours: a library that makes connections by itself.
    ///
    /// Prefer [`handshake`](Self::handshake) where the connection is yours.
    #[must_use]
    pub fn configs(&self) -> ClientConfigs {
        ClientConfigs {
            tls: self.clone(),
            changes: self.source().cell().subscribe(),
            proven: Arc::default(),
        }
    }
}

impl ClientConfigs {
    /// The config of the current snapshot.
    #[must_use]
    pub fn current(&self) -> Arc<ClientConfig> {
        let current = Arc::clone(self.tls.source().cell());
        let snapshot = current.load();
        self.config(Under::One { snapshot, current })
    }

    /// Waits for a snapshot that this has not told of since it was made, and returns its config; for ever, if none comes: a
    /// task around it has to be ended with what it serves.
    ///
    /// Cancel safe. Several changes between two calls are told as one.
    pub async fn changed(&mut self) -> Arc<ClientConfig> {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.current()
    }

    /// Who the server of a connection is that was completed with one of these configs, dialling `name`, by the chain that the
    /// connection has.
    ///
    /// It is judged by the trust of now, and has to be who is expected at `name`. A chain whose holder has proven nothing to
    /// these configs, or a clone of them, is nobody's identity. Of the holders that have, the last 32,768 are known.
    ///
    /// # Errors
    ///
    /// Why the server would be refused.
    pub fn identify(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Result<PeerIdentity, HandshakeError> {
        let snapshot = self.tls.source().current();
        let verify = || snapshot.trust().verify(chain, Role::Server, clock::now());
        let peer = met(&self.tls.0.expected, name, verify()).map_err(Box::new)?;
        if !self.proven.has(&peer) {
            return Err(HandshakeError::NoProofOfPossession {
                presented: presented(chain.first()),
                role: Role::Server,
            });
        }
        Ok(peer.identity().clone())
    }

    /// What gives something up, by name.
    #[must_use]
    pub fn dangerous(&self) -> DangerousClientConfigs<'_> {
        DangerousClientConfigs(self)
    }

    fn config(&self, under: Under) -> Arc<ClientConfig> {
        let resolver: Arc<dyn ResolvesClientCert> = match &under {
            Under::One { snapshot, .. } => Arc::clone(snapshot.credentials.resolver()) as _,
            Under::Whichever(current) => Arc::new(Presents(Arc::clone(current))),
        };
        let verifier = Verifier {
            under,
            expected: self.tls.0.expected.clone(),
            chains: Chains::default(),
            proven: Arc::clone(&self.proven),
        };
        let configs = self.tls.0.configs.clone();
        let mut config = configs
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&self.tls.0.alpn);
        config.resumption = Resumption::disabled();
        restrict_client(&mut config);
        Arc::new(config)
    }
}

impl DangerousClientConfigs<'_> {
    /// One config for life, for code that takes a config once: it presents, and verifies by, what is current at each step of a
    /// handshake.
    ///
    /// What it gives up, besides what all of these configs do: a handshake during which the snapshot changes presents our
    /// certificate of the old one and verifies its server by the new one. Never the other way about.
    #[must_use]
    pub fn self_updating(&self) -> Arc<ClientConfig> {
        let current = Arc::clone(self.0.tls.source().cell());
        self.0.config(Under::Whichever(current))
    }
}

fn met(
    expected: &Expected,
    name: &ServerName<'_>,
    verified: Result<Arc<VerifiedPeer>, ChainError>,
) -> Result<Arc<VerifiedPeer>, ChainError> {
    let peer = verified?;
    let identity = peer.identity();
    expected
        .met_by(identity, name)
        .map_err(|fault| ChainError::of(identity, Role::Server, fault))?;
    Ok(peer)
}

/// Our error travels in rustls', which some libraries make a text of.
fn refuse(error: HandshakeError) -> rustls::Error {
    debug!(
        mtls.side = "client",
        mtls.reason = error.reason().as_str(),
        mtls.remedy = error.remedy(),
        error = %Chained(&error),
        "handshake refused"
    );
    carry(error)
}

/// Presents what is current.
#[derive(Debug)]
struct Presents(Arc<Current>);

impl ResolvesClientCert for Presents {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let snapshot = self.0.load();
        let resolver = Arc::clone(snapshot.credentials.resolver()) as Arc<dyn ResolvesClientCert>;
        resolver.resolve(root_hint_subjects, schemes)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Verifies servers of any number of connections.
#[derive(Debug)]
struct Verifier {
    under: Under,
    expected: Expected,
    chains: Chains,
    proven: Arc<Proven>,
}

impl Verifier {
    fn prove(
        &self,
        leaf: &CertificateDer<'_>,
        valid: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = valid.map_err(|error| unproven(error, leaf))?;
        if let Some(peer) = self.chains.of(leaf) {
            self.proven.insert(&peer);
        }
        Ok(valid)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = in_one(end_entity, intermediates);
        let verified = self.under.verify(&chain, Role::Server, now);
        let peer = met(&self.expected, server_name, verified)
            .map_err(|error| refuse(Box::new(error).into()))?;
        self.chains.insert(end_entity, peer);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let snapshot = self.under.snapshot();
        let valid = verify_tls12_signature(message, cert, dss, snapshot.trust().algorithms());
        self.prove(cert, valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let snapshot = self.under.snapshot();
        let valid = verify_tls13_signature(message, cert, dss, snapshot.trust().algorithms());
        self.prove(cert, valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let snapshot = self.under.snapshot();
        snapshot.trust().algorithms().supported_schemes()
    }
}
