//! Everything that is wrong with the chain that a server presents, by the rules of `mtls check` and with the bundle that we verify
//! it with. A verifier stops at the first fault, and whoever mends that one finds the next.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mtls_core::check::{
    Caller, CheckOptions, CheckRole, CheckRule, CheckSet, DevelopmentCa, Finding, Severity, check,
};
use mtls_core::rustls::client::WebPkiServerVerifier;
use mtls_core::rustls::client::danger::ServerCertVerifier;
use mtls_core::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::rustls::{CertificateError, Error, RootCertStore};
use mtls_core::{SpiffeId, SpiffePattern, Timestamp, Trust, TrustBundle};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::look;
use super::ours::Ours;
use crate::Failure;

/// What is wrong, and by which rule.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) rule: CheckRule,
    pub(super) found: String,
    pub(super) remedy: &'static str,
}

/// What there is to say of a chain that was presented.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The worst first.
    pub(super) all: Vec<Fault>,
    /// Whether it has the name that was asked for, which matters where that is expected.
    pub(super) name_matches: bool,
}

impl Fault {
    fn new(rule: CheckRule, found: impl Into<String>) -> Self {
        Self {
            rule,
            found: found.into(),
            remedy: rule.remedy(),
        }
    }

    pub(super) fn severity(&self) -> Severity {
        self.rule.severity(Caller::Command)
    }
}

impl Faults {
    /// Of this chain, as it was sent by a server that was asked for by this name.
    pub(super) fn of(
        chain: &[CertificateDer<'static>],
        ours: &Ours,
        name: &ServerName<'static>,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let snapshot = ours.snapshot();
        let id = spiffe_id(chain);
        let bundle = bundle_for(snapshot.trust(), id.as_ref());
        let mut faults = Self {
            all: by_the_rules(chain, bundle, name, now)?,
            name_matches: true,
        };
        faults.all.retain(|fault| {
            let is_name = fault.rule == CheckRule::SanServerName;
            faults.name_matches &= !is_name;
            !is_name || ours.expected().is_none()
        });
        if let Some(expected) = ours.expected() {
            faults.all.extend(other_identity(id.as_ref(), expected));
        }
        faults.all.extend(order(chain));
        let has = |rule| faults.all.iter().any(|fault| fault.rule == rule);
        // webpki takes an RSA key that is too short for one that did not sign.
        let is_said = has(CheckRule::IssuerOtherKey) || has(CheckRule::SigWeak);
        if !is_said && other_key(chain, bundle, name)? {
            let what = "its issuer has the name of a CA in our bundle, and another key";
            let fault = Fault::new(CheckRule::IssuerOtherKey, what);
            faults.all.push(fault);
        }
        faults
            .all
            .sort_by_key(|fault| std::cmp::Reverse(fault.severity()));
        Ok(faults)
    }
}

/// The rules for files, on files that hold what was presented. There is no key, and what is said of that is left out, as is what is
/// said of our own bundle by itself.
fn by_the_rules(
    chain: &[CertificateDer<'static>],
    bundle: &TrustBundle,
    name: &ServerName<'static>,
    now: Timestamp,
) -> Result<Vec<Fault>, Failure> {
    let anchors: Vec<_> = bundle.anchors().iter().map(|it| it.der().clone()).collect();
    let (chain, anchors) = (pem(chain), pem(&anchors));
    let set = CheckSet::of_credentials((PRESENTED, chain.as_bytes()), (NO_KEY, b""));
    let set = set.with_bundle(BUNDLE, anchors.as_bytes());
    let options = CheckOptions::new(now)
        .role(CheckRole::Server)
        .server_name(name.to_str())
        .development_ca(DevelopmentCa::Allowed)
        .provider(look::provider()?);
    let report = check(&set, &options).map_err(|error| Failure::new(error.to_string()))?;
    let is_of_the_chain = |finding: &&Finding| {
        let file = finding.place.file.as_os_str();
        file == PRESENTED || (file == BUNDLE && !finding.rule.as_str().starts_with("bundle-"))
    };
    let all = report.findings().iter().filter(is_of_the_chain);
    let all = all.filter(|finding| finding.severity > Severity::Info);
    let all = all.map(|finding| Fault {
        rule: finding.rule,
        found: finding.found.clone(),
        // Of a chain of our own it would be another.
        remedy: match finding.rule == CheckRule::BundleMissingOwn {
            true => "add its CA to our bundle, if it is one to trust",
            false => finding.remedy,
        },
    });
    Ok(all.collect())
}

fn other_identity(id: Option<&SpiffeId>, expected: &SpiffePattern) -> Option<Fault> {
    if id.is_some_and(|id| expected.matches(id)) {
        return None;
    }
    let who = match id {
        Some(id) => format!("it is `{id}`"),
        None => "it has no SPIFFE ID".to_owned(),
    };
    let what = format!("{who}, and `{}` is expected", expected.as_str());
    Some(Fault {
        rule: CheckRule::IdentityUnmatched,
        found: what,
        remedy: "dial the right server, or expect the SPIFFE ID that it has",
    })
}

/// The order in which they were sent: each has to have issued the one before. And nobody needs the root.
fn order(chain: &[CertificateDer<'static>]) -> Vec<Fault> {
    let names = chain.iter().map(|der| {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let names = (parsed.subject().as_raw(), parsed.issuer().as_raw());
        Some((names.0.to_vec(), names.1.to_vec()))
    });
    let Some(names) = names.collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    let is_next = |pair: &[(Vec<u8>, Vec<u8>)]| match pair {
        [(_, issuer), (subject, _)] => issuer == subject,
        _ => true,
    };
    let wrong = names.windows(2).position(|pair| !is_next(pair));
    let wrong = wrong.map(|at| {
        let what = format!("certificate {} has not issued the one before it", at + 2);
        Fault::new(CheckRule::ChainOrder, what)
    });
    let root = names.iter().skip(1);
    let root = root
        .zip(2..)
        .find(|((subject, issuer), _)| subject == issuer)
        .map(|(_, number): (_, usize)| {
            let what = format!("certificate {number} is its own issuer");
            Fault::new(CheckRule::ChainRootIncluded, what)
        });
    wrong.into_iter().chain(root).collect()
}

/// Whether a signature in it is not by the CA that it names. Every other fault would hide that one, an end above all: so it is
/// looked at as of a moment at which all that takes part was valid.
fn other_key(
    chain: &[CertificateDer<'static>],
    bundle: &TrustBundle,
    name: &ServerName<'static>,
) -> Result<bool, Failure> {
    let Some((leaf, rest)) = chain.split_first() else {
        return Ok(false);
    };
    let Some(at) = a_valid_moment(chain) else {
        return Ok(false);
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(bundle.anchors().iter().map(|it| it.der().clone()));
    let (roots, provider) = (Arc::new(roots), look::provider()?);
    // In both roles: what a leaf is not for hides who has signed, too.
    let server =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let server = server
        .build()
        .map_err(|error| Failure::new(error.to_string()))?;
    let client = WebPkiClientVerifier::builder_with_provider(roots, provider);
    let client = client
        .build()
        .map_err(|error| Failure::new(error.to_string()))?;
    let refusals = [
        server.verify_server_cert(leaf, rest, name, &[], at).err(),
        client.verify_client_cert(leaf, rest, at).err(),
    ];
    let bad = Error::InvalidCertificate(CertificateError::BadSignature);
    Ok(refusals.contains(&Some(bad)))
}

/// The last beginning, if nothing has ended by then.
fn a_valid_moment(chain: &[CertificateDer<'static>]) -> Option<UnixTime> {
    let spans = chain.iter().map(|der| {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let span = parsed.validity();
        Some((span.not_before.timestamp(), span.not_after.timestamp()))
    });
    let spans: Vec<_> = spans.collect::<Option<_>>()?;
    let begun = spans.iter().map(|span| span.0).max()?;
    let seconds = u64::try_from(begun).ok()?;
    let all_valid = spans.iter().all(|span| begun <= span.1);
    all_valid.then(|| UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

/// What it claims to be; it is proven by nobody.
fn spiffe_id(chain: &[CertificateDer<'static>]) -> Option<SpiffeId> {
    let leaf = crate::inspect::certificate(chain.first()?, Timestamp::now())?;
    let ids = leaf.get("spiffe_id")?.as_array()?;
    ids.first()?.as_str()?.parse().ok()
}

/// The one of its trust domain, if we have it, and ours if not.
fn bundle_for<'t>(trust: &'t Trust, id: Option<&SpiffeId>) -> &'t TrustBundle {
    let domain = id.map(SpiffeId::trust_domain);
    let mut federated = trust.federated();
    let its_own =
        federated.find(|bundle| domain.is_some() && bundle.trust_domain() == domain.as_ref());
    its_own.unwrap_or_else(|| trust.bundle())
}

fn pem(chain: &[CertificateDer<'static>]) -> String {
    let blocks = chain.iter().map(|der| {
        let text = STANDARD.encode(der);
        let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
        let lines: Vec<_> = lines.collect();
        let body = lines.join("\n");
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    });
    blocks.collect()
}

const PRESENTED: &str = "(presented)";
const NO_KEY: &str = "(no key)";
const BUNDLE: &str = "(our bundle)";
