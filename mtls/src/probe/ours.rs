//! A dial with our credentials, by the code that our clients dial with.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mtls_core::rustls::ProtocolVersion;
use mtls_core::{
    ClientTls, CredentialFiles, CredentialSource, HandshakeError, PeerInfo, Snapshot,
    SpiffePattern, Timestamp, TlsVersions,
};

use super::dial::{Dial, Word};
use super::look::{Answer, Target, alpn};
use crate::Failure;

/// Our credentials, and what keeps them.
pub(super) struct Ours {
    source: CredentialSource,
    tls: ClientTls,
    expected: Option<SpiffePattern>,
    // The source's task lives on it.
    _runtime: tokio::runtime::Runtime,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Outcome {
    Accepted {
        server: Box<PeerInfo>,
        answer: Option<Answer>,
        /// Whether it offers a session to resume; `None` in TLS 1.2, where that is not seen.
        resumes: Option<bool>,
    },
    /// The server is who it should be, the handshake was done, and it said nothing to our certificate.
    Unconfirmed {
        server: Box<PeerInfo>,
    },
    /// By us or by the server.
    Failed(HandshakeError),
    TimedOut,
}

impl Ours {
    /// Loads them as a client does, and expects the server by SPIFFE ID or by its name.
    pub(super) fn load(dir: &Path, server: Option<&str>, http: bool) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let could_not =
            |error: mtls_core::LoadError| Failure::new(format!("{error}; {}", error.remedy()));
        let files = CredentialFiles::detect(dir).map_err(could_not)?;
        let source = runtime
            .block_on(CredentialSource::watch(files))
            .map_err(could_not)?;
        let parse = |id: &str| {
            id.parse::<SpiffePattern>()
                .map_err(|error| Failure::new(format!("--as `{id}`: {error}")))
        };
        let expected = server.map(parse).transpose()?;
        let builder = ClientTls::builder(&source);
        let builder = match expected.clone() {
            None => builder.verify_server_name(),
            Some(pattern) => builder.expect_server(pattern).map_err(failure)?,
        };
        let tls = builder
            .versions(TlsVersions::Tls12AndTls13)
            .alpn(alpn(http))
            .build()
            .map_err(failure)?;
        Ok(Self {
            source,
            tls,
            expected,
            _runtime: runtime,
        })
    }

    /// Whom the server has to be, where it is not the name.
    pub(super) fn expected(&self) -> Option<&SpiffePattern> {
        self.expected.as_ref()
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.source.current()
    }

    pub(super) fn chain(&self) -> Vec<Vec<u8>> {
        let snapshot = self.source.current();
        let chain = snapshot.credentials().chain().iter();
        chain.map(|certificate| certificate.to_vec()).collect()
    }

    pub(super) fn dial(&self, target: &Target<'_>) -> Outcome {
        let ours = self.tls.handshake();
        let tcp = target.connect();
        let dialled = tcp.and_then(|tcp| Dial::over(tcp, target.name, ours.config(), target.limit));
        let mut dial = match dialled {
            Ok(dial) => dial,
            Err(error) => return failed(&ours, &error),
        };
        let word = match dial.confirmed() {
            Ok(word) => word,
            Err(error) => return failed(&ours, &error),
        };
        let server = match ours.established(&dial.tls, target.name) {
            Ok(server) => Box::new(server),
            Err(error) => return Outcome::Failed(error),
        };
        let answer = match target.http.map(|path| dial.get(target.host, path)) {
            Some(Ok(text)) => Some(Answer {
                text,
                at: Timestamp::now(),
            }),
            Some(Err(error)) => return failed(&ours, &error),
            None => None,
        };
        if answer.is_none() && word == Word::Nothing {
            return Outcome::Unconfirmed { server };
        }
        let is_1_3 = dial.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        Outcome::Accepted {
            server,
            answer,
            resumes: is_1_3.then(|| dial.tls.tls13_tickets_received() > 0),
        }
    }
}

fn failed(ours: &mtls_core::rustls::ClientHandshake, error: &io::Error) -> Outcome {
    if error.kind() == io::ErrorKind::TimedOut {
        return Outcome::TimedOut;
    }
    Outcome::Failed(ours.explain(error))
}

fn failure(error: mtls_core::ConfigError) -> Failure {
    Failure::new(format!("{error}; {}", error.remedy()))
}
