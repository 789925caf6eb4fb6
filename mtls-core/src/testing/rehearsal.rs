//! For each check rule, files that it finds something wrong with.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each function knows its own rules; a test says which none of them knows"
)]

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

mod der;

use super::broken::{Broken, BrokenSet, first_block};
use super::ca::{CaOptions, TestCa};
use super::crl::{TestCrl, pem};
use super::issued::Issued;
use super::key::KeyKind;
use super::leaf::LeafOptions;
use super::lifetime::now;
use super::mount::{BUNDLE, CHAIN, KEY};
use crate::check::{CheckOptions, CheckRule, DevelopmentCa, TlsStack};
use crate::files::CredentialFiles;
use crate::identity::Timestamp;

/// A directory that one check rule finds something wrong with, and no other, but for what follows from it: to try what a service, a
/// pipeline or an operator makes of it.
///
/// ```
/// # use mtls_core::check::{CheckRule, CheckSet, check};
/// # use mtls_core::testing::{Rehearsal, TestCa};
/// let dir = tempfile::tempdir()?;
/// let rehearsal = Rehearsal::of(CheckRule::Expired, &TestCa::new("example.org")).unwrap();
/// rehearsal.write(dir.path())?;
/// let report = check(&CheckSet::read(&rehearsal.credential_files(dir.path()))?, &rehearsal.options())?;
/// assert_eq!(report.findings()[0].rule, CheckRule::Expired);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What is `Debug`-printed holds no key.
pub struct Rehearsal {
    rule: CheckRule,
    files: Vec<(&'static str, Vec<u8>)>,
    server_name: Option<&'static str>,
    trust_domain: Option<String>,
}

impl Rehearsal {
    /// The files for a rule; none for a rule that is about more than the files of one set: about how they are mounted, about
    /// another side or a policy, or about a whole directory.
    ///
    /// # Panics
    ///
    /// If `ca` is not a root that issues as [`TestCa::new`] does.
    #[must_use]
    pub fn of(rule: CheckRule, ca: &TestCa) -> Option<Self> {
        let made = of_file(rule, ca)
            .or_else(|| of_chain(rule, ca))
            .or_else(|| of_leaf(rule, ca))
            .or_else(|| of_bundle(rule, ca))
            .or_else(|| of_list(rule, ca))
            .or_else(|| of_map(rule, ca))?;
        let trust_domain = matches!(rule, CheckRule::SpiffeTrustDomain);
        Some(Self {
            rule,
            files: made,
            server_name: matches!(rule, CheckRule::SanServerName).then_some("orders.example.org"),
            trust_domain: trust_domain.then(|| ca.trust_domain().to_owned()),
        })
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> CheckRule {
        self.rule
    }

    /// The names of the files and what they hold, keys included.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (*name, &**bytes))
    }

    /// Writes plain files into a directory that is there.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn write(&self, dir: &Path) -> std::io::Result<()> {
        for (name, bytes) in &self.files {
            super::mount::write_plain(&dir.join(name), bytes)?;
        }
        self.finish(dir)
    }

    /// Does what takes more than bytes, after the files have been written.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn finish(&self, dir: &Path) -> std::io::Result<()> {
        match self.rule {
            CheckRule::FileUnreadable => {
                let _ = fs::remove_file(dir.join(BUNDLE));
                fs::create_dir(dir.join(BUNDLE))
            }
            #[cfg(unix)]
            CheckRule::MountSplit => {
                // Two volumes, as a kubelet would fill them, below links by the usual names.
                for (name, volume) in [(CHAIN, "..chain"), (KEY, "..key")] {
                    let generation = Path::new(volume).join("..2026_11_26");
                    let (path, of_its_own) = (dir.join(name), dir.join(&generation));
                    fs::create_dir_all(&of_its_own)?;
                    fs::copy(&path, of_its_own.join(name))?;
                    fs::remove_file(&path)?;
                    std::os::unix::fs::symlink(generation.join(name), path)?;
                }
                Ok(())
            }
            #[cfg(unix)]
            CheckRule::KeyPermissions => {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(dir.join(KEY), fs::Permissions::from_mode(0o644))
            }
            _ => Ok(()),
        }
    }

    /// Which files of the directory make up the set.
    #[must_use]
    pub fn credential_files(&self, dir: &Path) -> CredentialFiles {
        let files = CredentialFiles::kubernetes(dir);
        let has = |wanted| self.files.iter().any(|(name, _)| *name == wanted);
        #[cfg(feature = "spiffe-json")]
        let files = match has(MAP) {
            true => files.bundle_map(dir.join(MAP)),
            false => files,
        };
        match has(LISTS) {
            true => files.revocation_lists(dir.join(LISTS)),
            false => files,
        }
    }

    /// What a check has to be told for the rule to apply. A development CA is fine, but for the rule about those.
    pub fn options(&self) -> CheckOptions {
        let options = CheckOptions::new(Timestamp::from(now()));
        let options = match self.rule {
            CheckRule::DevCa => options,
            CheckRule::KeyInterop => options
                .development_ca(DevelopmentCa::Allowed)
                .peers([TlsStack::Java]),
            _ => options.development_ca(DevelopmentCa::Allowed),
        };
        let options = match self.server_name {
            Some(name) => options.server_name(name),
            None => options,
        };
        match self.trust_domain.as_ref().and_then(|td| td.parse().ok()) {
            Some(trust_domain) => options.trust_domain(trust_domain),
            None => options,
        }
    }

    /// The trust domain that a source has to be told for the rule to apply.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&str> {
        self.trust_domain.as_deref()
    }
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.files.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Rehearsal")
            .field("rule", &self.rule)
            .field("files", &names)
            .finish_non_exhaustive()
    }
}

type Files = Vec<(&'static str, Vec<u8>)>;

fn of_set(set: BrokenSet) -> Files {
    vec![
        (CHAIN, set.chain_pem),
        (KEY, set.key_pem),
        (BUNDLE, set.bundle_pem),
    ]
}

fn issued(issued: &Issued) -> Files {
    files(issued, issued.chain_pem(), issued.bundle_pem())
}

fn files(issued: &Issued, chain: impl Into<Vec<u8>>, bundle: impl Into<Vec<u8>>) -> Files {
    vec![
        (CHAIN, chain.into()),
        (KEY, issued.key_pem().into()),
        (BUNDLE, bundle.into()),
    ]
}

/// What is wrong with a file by itself.
fn of_file(rule: CheckRule, ca: &TestCa) -> Option<Files> {
    let broken = |broken: Broken| of_set(broken.make(ca));
    let web = ca.issue("/web");
    let good = || issued(&web);
    Some(match rule {
        CheckRule::CertMalformed => broken(Broken::CertificateMalformed),
        CheckRule::FileEmpty => broken(Broken::ChainEmpty),
        CheckRule::FileMissing => {
            vec![(CHAIN, web.chain_pem().into()), (KEY, web.key_pem().into())]
        }
        CheckRule::DevCa
        | CheckRule::FileUnreadable
        | CheckRule::KeyPermissions
        | CheckRule::MountSplit => good(),
        CheckRule::KeyEncrypted => broken(Broken::KeyEncrypted),
        CheckRule::KeyInBundle => {
            let bundle = format!("{}{}", web.bundle_pem(), web.key_pem());
            files(&web, web.chain_pem(), bundle)
        }
        CheckRule::KeyInPublicFile => {
            let chain = format!("{}{}", web.chain_pem(), web.key_pem());
            files(&web, chain, web.bundle_pem())
        }
        CheckRule::KeyMany => broken(Broken::KeySeveral),
        CheckRule::KeyMismatch => broken(Broken::KeyMismatch),
        CheckRule::KeyMissing => broken(Broken::KeyMissing),
        CheckRule::KeyUnsupported => vec![
            (CHAIN, web.chain_pem().into()),
            (KEY, SECP256K1_KEY.into()),
            (BUNDLE, web.bundle_pem().into()),
        ],
        CheckRule::PemBase64 => {
            let chain = web.chain_pem().replacen("MII", "M!I", 1);
            files(&web, chain, web.bundle_pem())
        }
        CheckRule::PemBom => {
            let chain = format!("\u{feff}{}", web.chain_pem());
            files(&web, chain, web.bundle_pem())
        }
        CheckRule::PemEscapedNewlines => broken(Broken::ChainEscapedNewlines),
        CheckRule::PemIndented => broken(Broken::ChainIndented),
        CheckRule::PemLabel => broken(Broken::ChainOldLabel),
        CheckRule::PemNone => broken(Broken::ChainIsRequest),
        CheckRule::PemTruncated => broken(Broken::ChainTruncated),
        _ => return None,
    })
}

/// What is wrong between the leaf and the root.
fn of_chain(rule: CheckRule, ca: &TestCa) -> Option<Files> {
    let broken = |broken: Broken| of_set(broken.make(ca));
    let web = ca.issue("/web");
    let below = ca.intermediate();
    let other = TestCa::new(ca.trust_domain());
    Some(match rule {
        CheckRule::BcMissing => broken(Broken::IntermediateNotCa),
        CheckRule::BundleMissingOwn => {
            let chain = format!("{}{}", web.chain_pem(), ca.root_pem());
            files(&web, chain, other.root_pem())
        }
        CheckRule::ChainExtra => {
            let stranger = other.intermediate().certificate_pem();
            let chain = format!("{}{stranger}", web.chain_pem());
            files(&web, chain, web.bundle_pem())
        }
        CheckRule::ChainIncomplete => broken(Broken::IntermediateMissing),
        CheckRule::ChainOrder => {
            let web = below.issue("/web");
            let leaf = first_block(&web.chain_pem());
            let chain = format!("{}{leaf}\n", below.certificate_pem());
            files(&web, chain, web.bundle_pem())
        }
        CheckRule::ChainRootIncluded => {
            let chain = format!("{}{}", web.chain_pem(), ca.root_pem());
            files(&web, chain, web.bundle_pem())
        }
        CheckRule::ChainTooDeep => {
            let deep = (0..7).fold(ca.intermediate(), |ca, _| ca.intermediate());
            issued(&deep.issue("/web"))
        }
        CheckRule::ChainTooLarge => {
            let many = (0..1200).fold(LeafOptions::service("/web"), |leaf, n| {
                leaf.dns(format!("host-{n}.example.org"))
            });
            issued(&ca.issue_with(many))
        }
        CheckRule::IssuerOtherKey => broken(Broken::IssuerWithOtherKey),
        CheckRule::KuCertSign => broken(Broken::IntermediateMayNotSign),
        CheckRule::NameConstraint => broken(Broken::NameConstraint),
        CheckRule::OutlivesIssuer => {
            let soon = CaOptions::new().expires_in(12 * HOUR);
            issued(&ca.intermediate_with(soon).issue("/web"))
        }
        CheckRule::Pathlen => broken(Broken::PathTooLong),
        CheckRule::SigProvider => {
            let chain = web.chain_der().remove(0);
            // ecdsa-with-SHA256, with SHA-224 in its place: both object identifiers are as long.
            let chain = der::replaced(&chain, ECDSA_SHA256, ECDSA_SHA224);
            files(&web, chain, web.bundle_pem())
        }
        CheckRule::SigWeak => {
            let rsa = CaOptions::new().key(KeyKind::Rsa2048);
            let web = TestCa::with_options(ca.trust_domain(), rsa).issue("/web");
            let chain = der::replaced(&web.chain_der().remove(0), RSA_SHA256, RSA_SHA1);
            files(&web, chain, web.bundle_pem())
        }
        CheckRule::SkiAki => {
            let leaf = LeafOptions::service("/web").no_authority_key_id();
            issued(&ca.issue_with(leaf))
        }
        CheckRule::SpiffeCaPath => {
            let named = CaOptions::new().spiffe_id(ca.spiffe_id("/ca"));
            issued(&ca.intermediate_with(named).issue("/web"))
        }
        _ => return None,
    })
}

/// What is wrong with the leaf.
fn of_leaf(rule: CheckRule, ca: &TestCa) -> Option<Files> {
    let broken = |broken: Broken| of_set(broken.make(ca));
    let web = || LeafOptions::service("/web");
    let leaf = |options: LeafOptions| issued(&ca.issue_with(options));
    let now = now();
    Some(match rule {
        CheckRule::CertV1 => {
            let web = ca.issue("/web");
            let chain = pem("CERTIFICATE", &der::version_1(&web.chain_der().remove(0)));
            files(&web, chain, web.bundle_pem())
        }
        CheckRule::ClockSuspect => {
            let late = TestCa::with_options(ca.trust_domain(), CaOptions::new().not_yet_valid());
            issued(&late.issue_with(web().not_yet_valid()))
        }
        CheckRule::CrlDpUnused => {
            leaf(web().crl_distribution_point("http://crl.example.org/ca.crl"))
        }
        CheckRule::CriticalUnknown => leaf(web().critical_extension(&[1, 3, 6, 1, 4, 1, 99999, 1])),
        CheckRule::EkuAny => leaf(web().any_purpose()),
        CheckRule::EkuMissingRole => broken(Broken::LeafServerOnly),
        CheckRule::EkuNoRole => leaf(web().email_protection_only()),
        CheckRule::Expired => broken(Broken::LeafExpired),
        CheckRule::ExpiresSoon => leaf(web().expires_in(HOUR / 4)),
        CheckRule::KeyInterop => leaf(web().key(KeyKind::Ed25519)),
        CheckRule::KuDigitalSignature => leaf(web().key_usage_key_encipherment_only()),
        CheckRule::LeafIsCa => broken(Broken::LeafIsCa),
        CheckRule::LeafMaySign => leaf(LeafOptions::new().dns("web.test").key_usage_cert_sign()),
        CheckRule::LeafSelfSigned => {
            let own = CaOptions::new().ca_false().without_key_usage();
            let own = own.spiffe_id("https://web.test/");
            let own = TestCa::with_options(ca.trust_domain(), own);
            vec![
                (CHAIN, own.certificate_pem().into()),
                (KEY, own.signing_key().serialize_pem().into()),
                (BUNDLE, ca.root_pem().into()),
            ]
        }
        CheckRule::LifetimeLong => {
            let life = LeafOptions::service("/web").validity(now - HOUR, now + 500 * 24 * HOUR);
            let root = CaOptions::new().expires_in(3650 * 24 * HOUR);
            issued(&TestCa::with_options(ca.trust_domain(), root).issue_with(life))
        }
        CheckRule::NotYetValid => broken(Broken::LeafNotYetValid),
        CheckRule::SanK8s => leaf(web().dns("web").dns("web.shop.svc")),
        CheckRule::SanMissing => broken(Broken::SanMissing),
        CheckRule::SanServerName => leaf(web().dns("web.example.org").ip(Ipv4Addr::LOCALHOST)),
        CheckRule::SpiffeCount => broken(Broken::UriSansTwo),
        CheckRule::SpiffeMixed => leaf(LeafOptions::new().uri(ca.spiffe_id(""))),
        CheckRule::SpiffeTrustDomain => broken(Broken::TrustDomainOther),
        CheckRule::SpiffeUri => broken(Broken::SpiffeIdInvalid),
        CheckRule::SvidProfile => leaf(web().no_key_usage()),
        _ => return None,
    })
}

/// What is wrong with the bundle. The CA that issued the chain is in it and sound, but where none may be.
fn of_bundle(rule: CheckRule, ca: &TestCa) -> Option<Files> {
    let web = ca.issue("/web");
    let own = |options: CaOptions| TestCa::with_options(ca.trust_domain(), options);
    let beside = |pem: &str| files(&web, web.chain_pem(), format!("{}{pem}", ca.root_pem()));
    Some(match rule {
        CheckRule::BundleDuplicate => beside(&ca.root_pem()),
        CheckRule::BundleEmpty => of_set(Broken::BundleExpired.make(ca)),
        CheckRule::BundleExpired => beside(&own(CaOptions::new().expired()).root_pem()),
        CheckRule::BundleIntermediate => beside(&ca.intermediate().certificate_pem()),
        CheckRule::BundleLeaf => beside(&ca.issue("/other").chain_pem()),
        CheckRule::BundleMayNotSign => {
            beside(&own(CaOptions::new().without_key_cert_sign()).root_pem())
        }
        CheckRule::BundleNotYetValid => beside(&own(CaOptions::new().not_yet_valid()).root_pem()),
        CheckRule::BundlePublic => {
            beside(&own(CaOptions::new().common_name("ISRG Root X1")).root_pem())
        }
        CheckRule::BundleSameName => beside(&ca.same_name_other_key().root_pem()),
        CheckRule::BundleUnparsable => beside(super::broken::NO_CERTIFICATE),
        CheckRule::HintsLarge => {
            let many: String = (0..200).map(|_| own(CaOptions::new()).root_pem()).collect();
            beside(&many)
        }
        _ => return None,
    })
}

/// What is wrong with the revocation lists.
fn of_list(rule: CheckRule, ca: &TestCa) -> Option<Files> {
    let web = ca.issue("/web");
    let with = |web: &Issued, list: Vec<u8>| {
        let mut all = issued(web);
        all.push((LISTS, list));
        all
    };
    let list = |list: TestCrl<'_>| with(&web, list.pem().into());
    let now = now();
    Some(match rule {
        CheckRule::CrlIssuer => with(&ca.intermediate().issue("/web"), ca.crl().pem().into()),
        CheckRule::CrlNone => with(&web, b"# no list yet\n".to_vec()),
        CheckRule::CrlRevokesSelf => list(ca.crl().revoke(&web)),
        CheckRule::CrlSignature => list(ca.crl().bad_signature()),
        CheckRule::CrlSoon => list(
            ca.crl()
                .number(2)
                .this_update(now - 23 * HOUR)
                .next_update(now + HOUR),
        ),
        CheckRule::CrlStale => list(ca.crl().number(2).stale()),
        CheckRule::CrlUnsupported => list(ca.crl().delta(1)),
        CheckRule::KuCrlSign => {
            let silent = CaOptions::new().without_crl_sign();
            let ca = TestCa::with_options(ca.trust_domain(), silent);
            with(&ca.issue("/web"), ca.crl().pem().into())
        }
        _ => return None,
    })
}

/// What is wrong with the bundles of other trust domains, in a map of them.
fn of_map(rule: CheckRule, ca: &TestCa) -> Option<Files> {
    let entry = match rule {
        // A bundle without its keys is none.
        CheckRule::BundleFederated => "{}".to_owned(),
        CheckRule::BundleFederatedEmpty => r#"{"keys":[]}"#.to_owned(),
        CheckRule::BundlePassedOver => {
            let theirs = TestCa::new(PARTNER).root_pem();
            let base64 = theirs.lines().filter(|line| !line.starts_with('-'));
            let base64: String = base64.collect();
            let key = format!(r#"{{"kty":"EC","use":"x509-svid","x5c":["{base64}"]}}"#);
            // An underscore for a hyphen, and nobody reads it.
            format!(
                r#"{{"keys":[{key},{}]}}"#,
                key.replace("x509-svid", "x509_svid")
            )
        }
        _ => return None,
    };
    // Without the feature there is nobody to read a map.
    cfg!(feature = "spiffe-json").then_some(())?;
    let mut all = issued(&ca.issue("/web"));
    let map = format!(r#"{{"trust_domains":{{"{PARTNER}":{entry}}}}}"#);
    all.push((MAP, map.into()));
    Some(all)
}

/// The bundles of other trust domains.
const MAP: &str = "bundle-map.json";
/// Whose bundle is in it.
const PARTNER: &str = "partner.test";

/// Where the revocation lists are.
const LISTS: &str = "ca.crl";
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Object identifiers of signature algorithms, in DER.
const ECDSA_SHA256: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA224: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x01";
const RSA_SHA256: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b";
const RSA_SHA1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05";

/// A key made by OpenSSL for this file and used nowhere, on a curve that no TLS stack takes.
const SECP256K1_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQg4A0a3r0Ry2DH0nESCLWl
0tyLcY3qIDCeqlK3ssqxZ9ihRANCAASqqdLKvyRkG0oELzU3ZYv059Fo5hBuyKiU
iAB1BYCO2G4SPOwJwIWEty9zUQFf44USyu+OmoWflDY9RX76EvzT
-----END PRIVATE KEY-----
";
