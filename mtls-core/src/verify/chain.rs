//! Path validation of a presented chain, and what webpki leaves to its caller.
//!
//! Path building, signatures, validity, name constraints and extended key usage are webpki's (RFC 5280 §6). Its
//! `verify_path` callback adds what it does not look at, so that another path may still be found when one fails here:
//! the issuers' keyCertSign, and the anchor's validity and path length.

use std::cell::RefCell;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::error::{ChainError, ChainFault, Presented, Role};
use super::fault;
use crate::identity::certificate::Certificate;
use crate::identity::{PeerIdentity, Timestamp, Validity, profile};
use crate::snapshot::{Anchor, TrustBundle};

/// Verifies that `chain` (leaf first) leads to an anchor of `bundle`, for `role`, at `now`, and says who it is.
///
/// The holder of the chain has not yet proven to hold its key.
pub(crate) fn verify(
    bundle: &TrustBundle,
    algorithms: &WebPkiSupportedAlgorithms,
    chain: &[CertificateDer<'_>],
    role: Role,
    now: UnixTime,
) -> Result<PeerIdentity, ChainError> {
    let refused = |presented, fault| ChainError {
        presented: Box::new(presented),
        role,
        fault,
    };
    let (leaf_der, intermediates) = within_limits(chain)
        .map_err(|fault| refused(Presented::unreadable(chain.first()), fault))?;
    let leaf = Certificate::parse(leaf_der).map_err(|detail| {
        refused(
            Presented::unreadable(Some(leaf_der)),
            ChainFault::Malformed { detail },
        )
    })?;
    match verify_leaf(
        bundle,
        algorithms,
        &leaf,
        leaf_der,
        intermediates,
        role,
        now,
    ) {
        Ok((spiffe_id, window)) => {
            let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
            Ok(PeerIdentity::verified(leaf, spiffe_id, chain, window))
        }
        Err(fault) => Err(refused(leaf.presented(), fault)),
    }
}

/// Whether a verified server may answer to `name`: a DNS or an IP SAN says so (RFC 9525 §6); a common name never does.
pub(crate) fn verify_server_name(
    peer: &PeerIdentity,
    name: &ServerName<'_>,
) -> Result<(), ChainFault> {
    let mismatch = || ChainFault::NameMismatch {
        expected: name.to_str().into_owned(),
        found: peer.names(),
    };
    let leaf = peer.chain().first().ok_or_else(mismatch)?;
    let leaf = EndEntityCert::try_from(leaf).map_err(|_| mismatch())?;
    leaf.verify_is_valid_for_subject_name(name)
        .map_err(|_| mismatch())
}

fn verify_leaf(
    bundle: &TrustBundle,
    algorithms: &WebPkiSupportedAlgorithms,
    leaf: &Certificate,
    leaf_der: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    role: Role,
    now: UnixTime,
) -> Result<(Option<crate::SpiffeId>, Validity), ChainFault> {
    let spiffe_id = profile::spiffe_id(leaf)?;
    // SPIFFE Federation §7.3: the bundle of the ID's own trust domain, and no other. What the leaf names is not yet
    // proven, and need not be: the anchors chosen by it must then have issued it.
    if let Some(id) = &spiffe_id
        && !bundle
            .trust_domain()
            .is_some_and(|domain| id.is_member_of(domain))
    {
        return Err(ChainFault::WrongTrustDomain {
            found: id.trust_domain(),
            expected: bundle.trust_domain().cloned(),
        });
    }
    let end_entity = EndEntityCert::try_from(leaf_der)
        .map_err(|error| fault::from_webpki(&error, leaf, intermediates, bundle, role, now))?;
    let usage = match role {
        Role::Client => KeyUsage::client_auth(),
        Role::Server => KeyUsage::server_auth(),
    };
    let judged = RefCell::new(Err(None));
    let judge = |path: &VerifiedPath<'_>| {
        let result = judge_path(path, leaf, bundle, Timestamp::from(now));
        let refused = result.is_err();
        *judged.borrow_mut() = result.map_err(Some);
        if refused {
            Err(webpki::Error::UnknownIssuer)
        } else {
            Ok(())
        }
    };
    let verified = end_entity.verify_for_usage(
        algorithms.all,
        bundle.webpki_anchors(),
        intermediates,
        now,
        usage,
        None,
        Some(&judge),
    );
    let error = verified.err();
    match (error, judged.into_inner()) {
        (None, Ok(window)) => Ok((spiffe_id, window)),
        // A path was found and refused by us: that says more than whatever the other paths failed at.
        (_, Err(Some(fault))) => Err(fault),
        (Some(error), _) => Err(fault::from_webpki(
            &error,
            leaf,
            intermediates,
            bundle,
            role,
            now,
        )),
        (None, Err(None)) => Err(ChainFault::Malformed {
            detail: "path validation did not judge its path".into(),
        }),
    }
}

/// What webpki does not check of a path that it has otherwise verified; returns when all of the path is valid.
fn judge_path(
    path: &VerifiedPath<'_>,
    leaf: &Certificate,
    bundle: &TrustBundle,
    now: Timestamp,
) -> Result<Validity, ChainFault> {
    let mut window = leaf.validity;
    let mut intermediates = 0;
    for issuer in path.intermediate_certificates() {
        let issuer =
            Certificate::parse(&issuer.der()).map_err(|detail| ChainFault::Malformed { detail })?;
        // RFC 5280 §4.2.1.3: where keyUsage is present, an issuer needs keyCertSign. webpki takes the CA flag
        // for enough, so that a CA restricted to CRLs or to nothing could issue identities.
        if !issuer.may_sign_certificates() {
            let detail = format!("`{}` has a keyUsage without keyCertSign", issuer.subject);
            return Err(ChainFault::CaConstraint { detail });
        }
        window = window.intersect(issuer.validity);
        intermediates += 1;
    }
    // Two certificates of one CA (same name, same key) may be in the bundle: the one that is valid longest counts.
    let anchors = bundle.anchors_like(path.anchor());
    let fits = |anchor: &&Anchor| anchor.validity().contains(now);
    let Some(anchor) = anchors
        .clone()
        .filter(fits)
        .max_by_key(|a| a.validity().not_after)
    else {
        return Err(anchors
            .last()
            .map_or(ChainFault::anchor_unknown(), |a| a.out_of_time(now)));
    };
    if anchor.path_len().is_some_and(|limit| intermediates > limit) {
        let detail = format!(
            "`{}` allows no {intermediates} intermediates",
            anchor.subject()
        );
        return Err(ChainFault::CaConstraint { detail });
    }
    Ok(window.intersect(anchor.validity()))
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
