//! A server's configs.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;
use tracing::debug;

use super::{Chains, Proven, Under};
use crate::audit::{AuditEvent, ConnectionFacts, JudgedUnder};
use crate::clock;
use crate::error::Chained;
use crate::identity::PeerIdentity;
use crate::snapshot::Current;
use crate::tls::error::HandshakeError;
use crate::tls::explain::{alert_for, presented};
use crate::tls::posture::restrict_server;
use crate::tls::server::{ServerSettings, ServerTls};
use crate::verify::chain::in_one;
use crate::verify::{Role, VerifiedPeer};

/// The rustls configs of a [`ServerTls`] for code that is not ours: the [current](Self::current) one, and each
/// [next](Self::changed).
///
/// A client is let in by such a config if its chain verifies, its key is proven and the authorizer says yes, in this order.
/// What is less than in a [`ServerHandshake`](crate::rustls::ServerHandshake): sessions are not resumed, a connection that is
/// open is not asked again, a refusal is told to rustls as an alert alone (to us by the audit, and the log at debug), and who
/// the client is has to be asked, by [`identify`](Self::identify). The audit's events have no address. The authorizer is asked
/// about a verified chain with the client's leaf, which need not be the very one of the connection; `identify` asks about that.
///
/// A config that is used on when there is a newer one presents its old certificate, and lets nobody in whom the current trust
/// refuses.
///
/// ```
/// # use std::sync::Arc;
/// # use mtls_core::testing::TestCa;
/// # use mtls_core::{Policy, ServerTls};
/// # let ca = TestCa::new("example.org");
/// # let (publisher, source) = ca.publish(&ca.issue("/api"));
/// # let rt = tokio::runtime::Builder::new_current_thread().build()?;
/// # rt.block_on(async {
/// let tls = ServerTls::builder(&source)
///     .authorize(Policy::trust_domain("example.org")?)
///     .alpn(["h3"])
///     .build()?;
/// let mut configs = tls.configs();
/// let first = configs.current(); // for `quinn::Endpoint::server`, say
/// publisher.publish_credentials(ca.issue("/api").material())?;
/// let next = configs.changed().await; // for `quinn::Endpoint::set_server_config`
/// # assert!(!Arc::ptr_eq(&first, &next));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ServerConfigs {
    tls: ServerTls,
    changes: watch::Receiver<u64>,
    proven: Arc<Proven>,
}

/// The configs of a server that give something up.
#[derive(Debug)]
pub struct DangerousServerConfigs<'a>(&'a ServerConfigs);

impl ServerTls {
    /// rustls configs for code that is not ours: a library that makes connections by itself.
    ///
    /// Prefer [`handshake`](Self::handshake) where the connection is yours.
    #[must_use]
    pub fn configs(&self) -> ServerConfigs {
        ServerConfigs {
            tls: self.clone(),
            changes: self.source().cell().subscribe(),
            proven: Arc::default(),
        }
    }
}

impl ServerConfigs {
    /// The config of the current snapshot.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        let current = Arc::clone(self.tls.source().cell());
        let snapshot = current.load();
        self.config(Under::One { snapshot, current })
    }

    /// Waits for a snapshot that this has not told of since it was made, and returns its config; for ever, if none comes: a
    /// task around it has to be ended with what it serves. Changes of the authorizer take hold by themselves.
    ///
    /// Cancel safe. Several changes between two calls are told as one.
    pub async fn changed(&mut self) -> Arc<ServerConfig> {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.current()
    }

    /// Who the client of a connection is that was completed with one of these configs, by the chain that the connection has
    /// (rustls' and quinn's `peer_certificates` and `peer_identity`).
    ///
    /// The chain is verified by the trust of now, and the authorizer is asked again: to be called when the connection is made,
    /// and again whenever somebody wants to know whether its client would still be let in. A chain whose holder has proven
    /// nothing to these configs, or a clone of them, is nobody's identity. Of the holders that have, the last 32,768 are known.
    ///
    /// # Errors
    ///
    /// Why its client would be refused.
    pub fn identify(&self, chain: &[CertificateDer<'_>]) -> Result<PeerIdentity, HandshakeError> {
        let snapshot = self.tls.source().current();
        let now = clock::now();
        let peer = snapshot
            .trust()
            .verify(chain, Role::Client, now)
            .map_err(Box::new)?;
        if !self.proven.has(&peer) {
            return Err(HandshakeError::NoProofOfPossession {
                presented: presented(chain.first()),
                role: Role::Client,
            });
        }
        self.tls.settings.admit(peer.identity())?;
        Ok(peer.identity().clone())
    }

    /// What gives something up, by name.
    #[must_use]
    pub fn dangerous(&self) -> DangerousServerConfigs<'_> {
        DangerousServerConfigs(self)
    }

    fn config(&self, under: Under) -> Arc<ServerConfig> {
        let settings = Arc::clone(&self.tls.settings);
        let (hints, resolver): (_, Arc<dyn ResolvesServerCert>) = match &under {
            Under::One { snapshot, .. } => {
                let resolver = Arc::clone(snapshot.credentials.resolver());
                (snapshot.trust().hints().to_vec(), resolver)
            }
            Under::Whichever(current) => (Vec::new(), Arc::new(Presents(Arc::clone(current)))),
        };
        let (configs, alpn) = (settings.configs.clone(), settings.alpn.clone());
        let verifier = Verifier {
            under,
            settings,
            hints,
            chains: Chains::default(),
            proven: Arc::clone(&self.proven),
        };
        let mut config = configs
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(resolver);
        config.alpn_protocols = alpn;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        restrict_server(&mut config);
        Arc::new(config)
    }
}

impl DangerousServerConfigs<'_> {
    /// One config for life, for code that takes a config once: it presents, and verifies by, what is current at each step of a
    /// handshake.
    ///
    /// What it gives up, besides what all of these configs do:
    ///
    /// - A handshake during which the snapshot changes presents our certificate of the old one and verifies its client by the
    ///   new one. Never the other way about: the client is verified, and again when it proves its key, by the trust of then.
    /// - Clients are not told which authorities may have issued theirs (no hints), so that one with several certificates may
    ///   choose the wrong one.
    #[must_use]
    pub fn self_updating(&self) -> Arc<ServerConfig> {
        let current = Arc::clone(self.0.tls.source().cell());
        self.0.config(Under::Whichever(current))
    }
}

/// Presents what is current.
#[derive(Debug)]
struct Presents(Arc<Current>);

impl ResolvesServerCert for Presents {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().credentials.resolver().resolve(hello)
    }
}

/// Verifies clients of any number of connections.
#[derive(Debug)]
struct Verifier {
    under: Under,
    settings: Arc<ServerSettings>,
    hints: Vec<DistinguishedName>,
    chains: Chains,
    proven: Arc<Proven>,
}

impl Verifier {
    /// The holder of the key of a chain that was verified in this handshake: rustls asks for the signature only behind that.
    fn prove(
        &self,
        leaf: &CertificateDer<'_>,
        valid: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = valid.map_err(|error| {
            if error == rustls::Error::InvalidCertificate(CertificateError::BadSignature) {
                self.told_of(&HandshakeError::NoProofOfPossession {
                    presented: presented(Some(leaf)),
                    role: Role::Client,
                });
            }
            error
        })?;
        let Some(peer) = self.chains.of(leaf) else {
            return Err(rustls::Error::General(
                "signature without a verified chain".into(),
            ));
        };
        // Once more, since what is trusted may have changed since: as a rule the trust remembers it.
        let peer = self
            .under
            .verify(peer.identity().chain(), Role::Client, clock::now())
            .map_err(|error| self.refuse(&Box::new(error).into()))?;
        self.settings
            .admit(peer.identity())
            .map_err(|refused| self.refuse(&refused))?;
        self.let_in(&peer);
        Ok(valid)
    }

    fn let_in(&self, peer: &VerifiedPeer) {
        self.proven.insert(peer);
        let connection = ConnectionFacts::new(None);
        self.settings.audit.record(|| {
            AuditEvent::handshake_proven(connection, self.judged_under(), peer.identity())
        });
    }

    fn refuse(&self, error: &HandshakeError) -> rustls::Error {
        self.told_of(error);
        alert_for(error)
    }

    /// rustls' error goes to code that is not ours, and has no place for ours without giving the wrong alert.
    fn told_of(&self, error: &HandshakeError) {
        debug!(
            mtls.side = "server",
            mtls.reason = error.reason().as_str(),
            mtls.remedy = error.remedy(),
            error = %Chained(error),
            "handshake refused"
        );
        let connection = ConnectionFacts::new(None);
        let judged = Some(self.judged_under());
        self.settings
            .audit
            .record(|| AuditEvent::handshake_refused(connection, judged, error));
    }

    fn judged_under(&self) -> JudgedUnder {
        JudgedUnder {
            generation: self.under.snapshot().generation(),
            policy_version: self.settings.authorizer.version(),
        }
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let chain = in_one(end_entity, intermediates);
        match self.under.verify(&chain, Role::Client, now) {
            Ok(peer) => {
                self.chains.insert(end_entity, peer);
                Ok(ClientCertVerified::assertion())
            }
            Err(error) => Err(self.refuse(&Box::new(error).into())),
        }
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
