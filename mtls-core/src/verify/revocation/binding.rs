//! Whose list is it: a signature that is verified once, and the key that it was made with.

use std::sync::{Mutex, OnceLock, PoisonError};

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use sha2::{Digest, Sha256};
use webpki::RawPublicKeyEntity;

use super::read::Signed;
use crate::identity::certificate::Certificate;

/// The key that signed a list, once it is known.
///
/// A list has one signer, so that what was signed is kept only until that is found.
#[derive(Debug)]
pub(super) struct Binding {
    /// DER of the signer's SubjectPublicKeyInfo.
    signer: OnceLock<Box<[u8]>>,
    pending: Mutex<Option<Pending>>,
}

#[derive(Debug)]
struct Pending {
    signed: Signed,
    /// SHA-256 of the keys that did not sign it.
    refused: Vec<[u8; 32]>,
}

impl Binding {
    pub(super) fn pending(signed: Signed) -> Self {
        Self {
            signer: OnceLock::new(),
            pending: Mutex::new(Some(Pending {
                signed,
                refused: Vec::new(),
            })),
        }
    }

    /// DER of the signer's SubjectPublicKeyInfo, if it is known.
    pub(super) fn signer(&self) -> Option<&[u8]> {
        self.signer.get().map(AsRef::as_ref)
    }

    /// Whether `issuer`, which a peer's verified path shows under the name that the list gives, signed it and may: binds
    /// the list to its key if so.
    ///
    /// At most one signature is verified per list and key, and at most [`MAX_REFUSED`] keys are asked: a CA that issues
    /// CAs can make up any number of them under one name.
    pub(super) fn bind_shown(
        &self,
        issuer: &Certificate,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        // An answer that is known needs no lock. The key was found by a certificate that may sign lists, and stays.
        if let Some(signer) = self.signer() {
            return signer == issuer.spki;
        }
        issuer.may_sign_crls() && self.ask(&issuer.spki, algorithms, MAX_REFUSED)
    }

    /// The same of an issuer that we were given: it is asked however many have been.
    pub(super) fn bind_known(
        &self,
        issuer: &Certificate,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        // RFC 5280 §6.3.3 (f): "If a key usage extension is present in the CRL issuer's certificate, verify that the
        // cRLSign bit is set."
        issuer.may_sign_crls() && self.ask(&issuer.spki, algorithms, usize::MAX)
    }

    /// The same of a key that signed a list before.
    pub(super) fn bind_key(&self, spki: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> bool {
        self.ask(spki, algorithms, usize::MAX)
    }

    fn ask(&self, spki: &[u8], algorithms: &WebPkiSupportedAlgorithms, limit: usize) -> bool {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        // None: the signer is known, perhaps since we waited for the lock.
        let Some(open) = pending.as_mut() else {
            return self.signer() == Some(spki);
        };
        let key: [u8; 32] = Sha256::digest(spki).into();
        if open.refused.contains(&key) || open.refused.len() >= limit {
            return false;
        }
        if !open.signed.is_signed_with(spki, algorithms) {
            open.refused.push(key);
            return false;
        }
        let _ = self.signer.set(spki.into());
        *pending = None;
        true
    }

    /// Whether this key signed the list, without binding it.
    pub(super) fn is_signed_with(
        &self,
        spki: &[u8],
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        match self
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            Some(open) => open.signed.is_signed_with(spki, algorithms),
            None => self.signer() == Some(spki),
        }
    }
}

impl Signed {
    fn is_signed_with(&self, spki: &[u8], algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let spki = SubjectPublicKeyInfoDer::from(spki);
        let Ok(key) = RawPublicKeyEntity::try_from(&spki) else {
            return false;
        };
        // One signature algorithm is listed several times where it fits several kinds of keys; webpki says which fits.
        let mut usable = self.algorithms(algorithms);
        usable.any(|algorithm| {
            key.verify_signature(algorithm, self.message(), self.signature())
                .is_ok()
        })
    }
}

/// Authorities of one name and with different keys, among those that the trust verified: two during a rollover.
pub(super) const MAX_REFUSED: usize = 64;
