//! Servers of plain rustls, which can be told what to require, to say and to forget.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mtls_core::rustls::client::danger::HandshakeSignatureValid;
use mtls_core::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use mtls_core::rustls::pki_types::{CertificateDer, UnixTime};
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use mtls_core::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, Stream,
};
use mtls_core::testing::{Issued, LeafOptions};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::World;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Asks {
    Nobody,
    Optionally,
    Always,
    /// Always, and takes whoever names one of its CAs as the issuer.
    ByName,
}

/// A server of one, which says nothing but what TLS says, and reads until its client is gone.
pub(crate) fn server(world: &World, asks: Asks, tickets: usize) -> u16 {
    let own = world.ca.issue_with(LeafOptions::service("/server"));
    Serves::of(world, asks).tickets(tickets).start(&own)
}

/// What it serves.
pub(crate) struct Serves {
    asks: Asks,
    roots: RootCertStore,
    tickets: usize,
    ocsp: Vec<u8>,
    answer: Option<String>,
    /// How many have come.
    pub(crate) served: Arc<AtomicUsize>,
}

impl Serves {
    pub(crate) fn of(world: &World, asks: Asks) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(world.ca.root_der()).unwrap();
        Self {
            asks,
            roots,
            tickets: 2,
            ocsp: Vec::new(),
            answer: None,
            served: Arc::default(),
        }
    }

    pub(crate) fn tickets(mut self, tickets: usize) -> Self {
        self.tickets = tickets;
        self
    }

    pub(crate) fn ocsp(mut self, response: &[u8]) -> Self {
        self.ocsp = response.to_vec();
        self
    }

    /// In HTTP, to the first byte that comes.
    pub(crate) fn answer(mut self, answer: impl Into<String>) -> Self {
        self.answer = Some(answer.into());
        self
    }

    pub(crate) fn start(self, own: &Issued) -> u16 {
        self.start_with(own.chain_der(), own)
    }

    pub(crate) fn start_with(self, chain: Vec<CertificateDer<'static>>, own: &Issued) -> u16 {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(self.roots);
        let names = roots.subjects();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match self.asks {
            Asks::Nobody => builder.with_no_client_auth(),
            Asks::Optionally => {
                builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
            }
            Asks::Always => builder.with_client_cert_verifier(verifier.build().unwrap()),
            Asks::ByName => builder.with_client_cert_verifier(Arc::new(ByName { names, provider })),
        };
        let mut config = builder
            .with_single_cert_with_ocsp(chain, own.key_der(), self.ocsp)
            .unwrap();
        config.send_tls13_tickets = self.tickets;
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (served, answer) = (self.served, self.answer);
        std::thread::spawn(move || {
            for mut tcp in listener.incoming().flatten() {
                served.fetch_add(1, Ordering::SeqCst);
                let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = Stream::new(&mut tls, &mut tcp);
                let _ = stream.flush();
                if stream.read(&mut [0; 1]).is_ok_and(|read| read > 0)
                    && let Some(answer) = &answer
                {
                    let _ = stream.write_all(answer.as_bytes());
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
                // What is on its way to a refused client gets there.
                let _ = tcp.shutdown(std::net::Shutdown::Write);
                let _ = tcp.read_to_end(&mut Vec::new());
            }
        });
        port
    }
}

/// As some have been written: the issuer's name is one that is trusted, and who has signed is not looked at.
#[derive(Debug)]
struct ByName {
    names: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for ByName {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
        let issuer = leaf.issuer().as_raw();
        match self.names.iter().any(|name| name.as_ref() == issuer) {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 alone".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
