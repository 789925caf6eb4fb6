//! Lists that a test CA signs, and some that openssl does.

mod binding;
mod judging;
mod neighbours;
mod openssl;
mod reading;
mod rollback;

use std::time::{Duration, SystemTime};

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::{CrlFault, CrlMaterial, CrlsFound, Revocation, RevocationLists};
use crate::error::LoadError;
use crate::identity::Timestamp;
use crate::identity::certificate::Certificate;
use crate::testing::{TestCa, TestCrl};
use crate::tls::provider;
use crate::verify::ChainFault;

/// A load, in the words of a test.
#[derive(Default)]
struct Load<'a> {
    lists: Vec<CertificateRevocationListDer<'static>>,
    issuers: Vec<Certificate>,
    previous: Option<&'a RevocationLists>,
    settings: Revocation,
}

impl<'a> Load<'a> {
    fn of(lists: &[&TestCrl<'_>]) -> Self {
        Self {
            lists: lists.iter().map(|list| list.der()).collect(),
            ..Self::default()
        }
    }

    fn der(list: impl Into<Vec<u8>>) -> Self {
        Self {
            lists: vec![list.into().into()],
            ..Self::default()
        }
    }

    fn known(mut self, ca: &TestCa) -> Self {
        self.issuers.push(facts(&ca.certificate_der()));
        self
    }

    fn after(mut self, previous: &'a RevocationLists) -> Self {
        self.previous = Some(previous);
        self
    }

    fn settings(mut self, settings: Revocation) -> Self {
        self.settings = settings;
        self
    }

    /// Nothing is wrong with any of it.
    fn result(self) -> Result<RevocationLists, LoadError> {
        let (lists, errors) = self.loaded()?;
        errors.into_iter().next().map_or(Ok(lists), Err)
    }

    fn loaded(self) -> Result<(RevocationLists, Vec<LoadError>), LoadError> {
        let material = self.lists.into_iter().map(|der| CrlMaterial {
            der,
            origin: "ca.crl".into(),
        });
        let issuers: Vec<_> = self.issuers.iter().collect();
        RevocationLists::load(
            CrlsFound {
                lists: material.collect(),
                faults: Vec::new(),
            },
            &issuers,
            self.previous,
            self.settings,
            algorithms(),
            now(),
        )
    }

    fn taken(self) -> RevocationLists {
        self.result().unwrap()
    }

    fn fault(self) -> CrlFault {
        let refused = self.result().unwrap_err();
        let LoadError::CrlRefused { source, .. } = refused else {
            panic!("another error: {refused}");
        };
        *source
    }
}

/// The verdict on a path, leaf first and the anchor last, at a time.
fn judge_at(
    lists: &RevocationLists,
    path: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<Timestamp, ChainFault> {
    let path: Vec<_> = path.iter().map(facts).collect();
    lists.judge(path.iter().zip(path.iter().skip(1)), now)
}

fn judge(lists: &RevocationLists, path: &[CertificateDer<'_>]) -> Result<Timestamp, ChainFault> {
    judge_at(lists, path, now())
}

/// A leaf of this CA, which is a root, and the path to it.
fn issued(ca: &TestCa, path: &str) -> (crate::testing::Issued, Vec<CertificateDer<'static>>) {
    let issued = ca.issue(path);
    let mut chain = issued.chain_der();
    chain.push(ca.root_der());
    (issued, chain)
}

fn facts(der: &CertificateDer<'_>) -> Certificate {
    Certificate::parse(der).unwrap()
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    provider::resolve(None)
        .unwrap()
        .signature_verification_algorithms
}

fn now() -> Timestamp {
    Timestamp::from(crate::clock::now())
}

/// This many seconds after now; before it, if negative.
fn at(seconds: i64) -> SystemTime {
    let unix = u64::try_from(now().as_unix() + seconds).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix)
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_unix(time.as_unix() + seconds)
}

fn ca() -> TestCa {
    TestCa::new("example.org")
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
