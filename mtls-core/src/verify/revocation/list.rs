//! One list: what it says, and whose it is.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::CertificateRevocationListDer;
use sha2::{Digest, Sha256};

use super::binding::Binding;
use super::fault::CrlFault;
use super::read::{self, Contents, Number};
use super::settings::StaleCrl;
use crate::identity::Timestamp;
use crate::identity::certificate::Certificate;

/// A list that was judged by itself, and bound to its signer as soon as that is known.
#[derive(Debug)]
pub(super) struct List {
    pub(super) contents: Contents,
    pub(super) binding: Binding,
    /// SHA-256 of all of it.
    pub(super) sha256: [u8; 32],
}

impl List {
    pub(super) fn read(
        der: CertificateRevocationListDer<'static>,
        algorithms: &WebPkiSupportedAlgorithms,
        now: Timestamp,
    ) -> Result<Self, CrlFault> {
        let sha256 = fingerprint(&der);
        let (contents, signed) = read::read(der, algorithms, now)?;
        Ok(Self {
            contents,
            binding: Binding::pending(signed),
            sha256,
        })
    }

    /// Binds the list to its signer, if that is among `issuers` or `keys`, which signed a list of this name before.
    ///
    /// A list that names an authority we know and that this authority did not sign is refused. One whose key identifier
    /// says that it is another authority of the same name waits for that one to appear.
    pub(super) fn bind(
        &self,
        issuers: &[&Certificate],
        keys: &[Mark],
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), CrlFault> {
        if self.binding.signer().is_some() {
            return Ok(());
        }
        let named = || {
            let names = issuers.iter().copied();
            names.filter(|issuer| issuer.subject.der() == self.contents.issuer_der)
        };
        let known = |mark: &&Mark| mark.issuer_der == self.contents.issuer_der;
        let mut earlier = keys.iter().filter(known);
        if named().any(|issuer| self.binding.bind_known(issuer, algorithms))
            || earlier.any(|mark| self.binding.bind_key(&mark.spki, algorithms))
        {
            return Ok(());
        }
        let issuer = || self.contents.issuer.clone();
        let silent = |issuer: &Certificate| !issuer.may_sign_crls();
        if named()
            .any(|issuer| silent(issuer) && self.binding.is_signed_with(&issuer.spki, algorithms))
        {
            return Err(CrlFault::IssuerMayNotSign { issuer: issuer() });
        }
        if named().any(|issuer| self.may_be_by(issuer)) {
            return Err(CrlFault::BadSignature { issuer: issuer() });
        }
        Ok(())
    }

    /// Whether this is a list of `issuer`, which the trust has verified.
    ///
    /// Names are compared byte by byte, as path building does: a list that spells its issuer otherwise is nobody's.
    pub(super) fn is_by(
        &self,
        issuer: &Certificate,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        self.contents.issuer_der == issuer.subject.der()
            && self.binding.bind_shown(issuer, algorithms)
    }

    /// RFC 5280 §5.2.1: the key identifier tells an issuer's keys apart. Nothing is trusted for it: it can only turn the
    /// refusal of a list into its waiting, and a list that waits vouches for nobody.
    fn may_be_by(&self, issuer: &Certificate) -> bool {
        match (&self.contents.key_id, &issuer.subject_key_id) {
            (Some(list), Some(issuer)) => list == issuer,
            (None, _) | (_, None) => true,
        }
    }

    pub(super) fn mark(&self) -> Option<Mark> {
        let spki = self.binding.signer()?;
        Some(Mark {
            issuer_der: self.contents.issuer_der.clone(),
            spki: spki.into(),
            version: self.version(),
        })
    }

    pub(super) fn version(&self) -> Version {
        Version {
            number: self.contents.number.clone(),
            this_update: self.contents.this_update,
        }
    }

    /// The last second at which the list is used.
    pub(super) fn usable_until(&self, choice: StaleCrl) -> Timestamp {
        match choice {
            StaleCrl::Allow => Timestamp::MAX,
            StaleCrl::Deny { grace } => {
                let grace = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
                let next_update = self.contents.next_update.as_unix();
                Timestamp::from_unix(next_update.saturating_add(grace))
            }
        }
    }

    /// A third of its life before `nextUpdate`: by then its successor should be here.
    pub(super) fn warn_from(&self) -> Timestamp {
        let Contents {
            this_update,
            next_update,
            ..
        } = &self.contents;
        let life = next_update
            .as_unix()
            .saturating_sub(this_update.as_unix())
            .max(0);
        Timestamp::from_unix(next_update.as_unix().saturating_sub(life / 3))
    }
}

/// The newest list of a key that was ever taken.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) issuer_der: Vec<u8>,
    /// DER of the signer's SubjectPublicKeyInfo.
    pub(super) spki: Box<[u8]>,
    pub(super) version: Version,
}

impl Mark {
    pub(super) fn is_of_same_key(&self, other: &Self) -> bool {
        self.issuer_der == other.issuer_der && self.spki == other.spki
    }
}

/// What tells which of two lists of one issuer is newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) number: Option<Number>,
    pub(super) this_update: Timestamp,
}

impl Version {
    /// RFC 5280 §5.2.3: numbers are "monotonically increasing", and of two lists "the one with the larger number" is the
    /// newer. Where they do not tell, being absent or the same, the date does.
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        match (&self.number, &other.number) {
            (Some(ours), Some(theirs)) if ours != theirs => ours < theirs,
            _ => self.this_update < other.this_update,
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.number {
            Some(number) => write!(f, "number {number} of {}", self.this_update),
            None => write!(f, "without a number, of {}", self.this_update),
        }
    }
}

pub(super) fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}
