//! Path validation of a presented chain, and what webpki leaves to its caller.
//!
//! Path building, signatures, validity, name constraints and extended key usage are webpki's (RFC 5280 §6). Its
//! `verify_path` callback adds what it does not look at, so that another path may still be found when one fails here:
//! the issuers' keyCertSign, the anchor's validity and path length, and revocation.

use std::cell::RefCell;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::error::{ChainError, ChainFault, Presented, Role};
use super::fault;
use super::issuers::Issuers;
use super::revocation::RevocationLists;
use crate::identity::certificate::{Certificate, sha256};
use crate::identity::{PeerIdentity, Timestamp, Validity};
use crate::snapshot::{Anchor, TrustBundle};

/// A chain that was presented: its leaf is read, and nothing is verified.
pub(crate) struct PresentedChain<'c> {
    pub(crate) leaf: Certificate,
    leaf_der: &'c CertificateDer<'c>,
    intermediates: &'c [CertificateDer<'c>],
}

/// What a chain is verified with.
pub(crate) struct Scope<'a> {
    pub(crate) bundle: &'a TrustBundle,
    /// The revocation lists of the bundle's trust domain, if they are to be asked.
    pub(crate) lists: Option<&'a RevocationLists>,
    pub(crate) issuers: &'a Issuers,
    pub(crate) algorithms: &'a WebPkiSupportedAlgorithms,
    pub(crate) role: Role,
    pub(crate) now: UnixTime,
}

/// A path from the leaf to an anchor of the bundle.
pub(crate) struct SoundPath {
    /// When all of it is valid, the anchor included.
    pub(crate) window: Validity,
    /// The last moment at which what the revocation lists say of it stands.
    pub(crate) until: Timestamp,
}

/// What rustls hands over in two parts, leaf first. Nothing is copied: of most chains nothing is kept.
pub(crate) fn in_one<'c>(
    leaf: &'c CertificateDer<'_>,
    intermediates: &'c [CertificateDer<'_>],
) -> Vec<CertificateDer<'c>> {
    let all = std::iter::once(leaf).chain(intermediates);
    all.map(|der| CertificateDer::from(der.as_ref())).collect()
}

/// Reads a chain, leaf first, within our limits.
pub(crate) fn read<'c>(
    chain: &'c [CertificateDer<'c>],
    role: Role,
) -> Result<PresentedChain<'c>, ChainError> {
    let refused = |presented, fault| ChainError {
        presented: Box::new(presented),
        role,
        fault,
    };
    let (leaf_der, intermediates) = within_limits(chain)
        .map_err(|fault| refused(Presented::unreadable(chain.first()), fault))?;
    let leaf = Certificate::parse(leaf_der).map_err(|detail| {
        let fault = ChainFault::Malformed { detail };
        refused(Presented::unreadable(Some(leaf_der)), fault)
    })?;
    Ok(PresentedChain {
        leaf,
        leaf_der,
        intermediates,
    })
}

impl PresentedChain<'_> {
    pub(crate) fn refused(&self, role: Role, fault: ChainFault) -> ChainError {
        ChainError {
            presented: Box::new(self.leaf.presented(&sha256(self.leaf_der))),
            role,
            fault,
        }
    }
}

/// Whether a verified server may answer to `name`: a DNS or an IP SAN says so (RFC 9525 §6); a common name never does.
pub(crate) fn verify_server_name(
    peer: &PeerIdentity,
    name: &ServerName<'_>,
) -> Result<(), ChainFault> {
    let mismatch = || ChainFault::NameMismatch {
        expected: name.to_str().into_owned(),
        found: peer.server_names(),
    };
    // A CA that we federate with must not mint our service names.
    if !peer.names_count() {
        return Err(mismatch());
    }
    let leaf = peer.chain().first().ok_or_else(mismatch)?;
    let leaf = EndEntityCert::try_from(leaf).map_err(|_| mismatch())?;
    leaf.verify_is_valid_for_subject_name(name)
        .map_err(|_| mismatch())
}

impl Scope<'_> {
    /// Verifies that the chain leads to an anchor of the bundle, for the role, at this time.
    pub(crate) fn verify(&self, chain: &PresentedChain<'_>) -> Result<SoundPath, ChainFault> {
        let explain = |error: &webpki::Error| {
            let PresentedChain {
                leaf,
                intermediates,
                ..
            } = chain;
            fault::from_webpki(error, leaf, intermediates, self.bundle, self.role, self.now)
        };
        let end_entity = EndEntityCert::try_from(chain.leaf_der).map_err(|e| explain(&e))?;
        let usage = match self.role {
            Role::Client => KeyUsage::client_auth(),
            Role::Server => KeyUsage::server_auth(),
        };
        let judged = RefCell::new(Err(None));
        let judge = |path: &VerifiedPath<'_>| {
            let result = self.judge_path(path, &chain.leaf);
            let refused = result.is_err();
            *judged.borrow_mut() = result.map_err(Some);
            if refused {
                Err(webpki::Error::UnknownIssuer)
            } else {
                Ok(())
            }
        };
        let verified = end_entity.verify_for_usage(
            self.algorithms.all,
            self.bundle.webpki_anchors(),
            chain.intermediates,
            self.now,
            usage,
            None,
            Some(&judge),
        );
        let error = verified.err();
        match (error, judged.into_inner()) {
            (None, Ok(path)) => Ok(path),
            // A path was found and refused by us: that says more than whatever the other paths failed at.
            (_, Err(Some(fault))) => Err(fault),
            (Some(error), _) => Err(explain(&error)),
            (None, Err(None)) => Err(ChainFault::Malformed {
                detail: "path validation did not judge its path".into(),
            }),
        }
    }

    /// What webpki does not check of a path that it has otherwise verified; returns how long it stands.
    fn judge_path(
        &self,
        path: &VerifiedPath<'_>,
        leaf: &Certificate,
    ) -> Result<SoundPath, ChainFault> {
        let now = Timestamp::from(self.now);
        let mut issuers = Vec::new();
        for issuer in path.intermediate_certificates() {
            let issuer = self
                .issuers
                .read(&issuer.der())
                .map_err(|detail| ChainFault::Malformed { detail })?;
            // RFC 5280 §4.2.1.3: where keyUsage is present, an issuer needs keyCertSign. webpki takes the CA flag
            // for enough, so that a CA restricted to CRLs or to nothing could issue identities.
            if !issuer.may_sign_certificates() {
                let detail = format!("`{}` has a keyUsage without keyCertSign", issuer.subject);
                return Err(ChainFault::CaConstraint { detail });
            }
            issuers.push(issuer);
        }
        let anchor = self.anchor(path, now)?;
        let intermediates = u32::try_from(issuers.len()).unwrap_or(u32::MAX);
        if anchor.path_len().is_some_and(|limit| intermediates > limit) {
            let detail = format!(
                "`{}` allows no {intermediates} intermediates",
                anchor.subject()
            );
            return Err(ChainFault::CaConstraint { detail });
        }
        let spans = issuers.iter().map(|issuer| issuer.validity);
        let window = spans.fold(leaf.validity, Validity::intersect);
        // Each certificate with its issuer, the leaf first; the anchor is trusted, and no list speaks of it.
        let issuers = issuers.iter().map(|issuer| &**issuer);
        let subjects = std::iter::once(leaf).chain(issuers.clone());
        let pairs = subjects.zip(issuers.chain(std::iter::once(anchor.facts())));
        let until = match self.lists {
            Some(lists) => lists.judge(pairs, now)?,
            None => Timestamp::MAX,
        };
        Ok(SoundPath {
            window: window.intersect(anchor.validity()),
            until,
        })
    }

    /// Two certificates of one CA (same name, same key) may be in the bundle: the one that is valid longest counts.
    fn anchor<'s>(
        &'s self,
        path: &'s VerifiedPath<'_>,
        now: Timestamp,
    ) -> Result<&'s Anchor, ChainFault> {
        let anchors = self.bundle.anchors_like(path.anchor());
        let in_time = anchors.clone().filter(|a| a.validity().contains(now));
        let longest = in_time.max_by_key(|a| a.validity().not_after);
        let out_of_time = |a: &Anchor| a.out_of_time(now);
        longest.ok_or_else(|| {
            anchors
                .last()
                .map_or(ChainFault::anchor_unknown(), out_of_time)
        })
    }
}

/// A chain is read in full and compared in full: its size is the peer's choice, so it has a limit.
fn within_limits<'c, 'd>(
    chain: &'c [CertificateDer<'d>],
) -> Result<(&'c CertificateDer<'d>, &'c [CertificateDer<'d>]), ChainFault> {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(ChainFault::Malformed {
            detail: "the chain is empty".into(),
        });
    };
    if chain.len() > MAX_CERTIFICATES {
        return Err(ChainFault::TooLarge {
            found: format!("{} certificates", chain.len()),
            limit: MAX_CERTIFICATES.to_string(),
        });
    }
    let bytes: usize = chain.iter().map(|der| der.len()).sum();
    if bytes > MAX_CHAIN_BYTES {
        return Err(ChainFault::TooLarge {
            found: format!("{bytes} bytes"),
            limit: MAX_CHAIN_BYTES.to_string(),
        });
    }
    Ok((leaf, intermediates))
}

/// webpki builds paths of at most six intermediates; a leaf, those, a root, and room for a duplicate or two.
const MAX_CERTIFICATES: usize = 10;

/// rustls accepts a certificate message of 64 KiB; a chain of ten certificates with RSA-4096 keys takes a third.
const MAX_CHAIN_BYTES: usize = 64 * 1024;
