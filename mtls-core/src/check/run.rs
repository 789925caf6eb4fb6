//! From the files of a set to everything that is wrong with them.

use std::path::PathBuf;

use rustls_pki_types::UnixTime;

use super::chain::Path;
use super::facts::Seen;
use super::finding::{CheckPlace, Finding, Found, Report};
use super::options::{CheckOptions, DevelopmentCa};
use super::rule::CheckRule;
use super::set::{CheckSet, path_of};
use super::{beside, bundle, chain, crl, federated, files, issuers, leaf, load, time};
use crate::error::LoadError;
use crate::snapshot::{Credentials, Settings, judge_first, read_credentials, read_first_trust};
use crate::verify::{ChainFault, Role};

/// What all rules are told.
pub(super) struct Scene<'a> {
    pub(super) set: &'a CheckSet,
    pub(super) options: &'a CheckOptions,
    pub(super) settings: Settings,
    /// The certificates of the chain's file that can be read.
    pub(super) chain: Vec<Seen>,
    /// The certificates of the bundle that can be read.
    pub(super) bundle: Vec<Seen>,
}

impl Scene<'_> {
    pub(super) fn now(&self) -> UnixTime {
        self.options.now.to_unix_time()
    }

    /// Where a certificate of the chain is.
    pub(super) fn in_chain(&self, seen: &Seen) -> CheckPlace {
        CheckPlace::block(path_of(&self.set.files.chain), seen.block)
    }

    pub(super) fn in_bundle(&self, seen: &Seen) -> CheckPlace {
        CheckPlace::block(path_of(&self.set.files.bundle), seen.block)
    }
}

/// Looks at the files of a set and tells everything that is wrong with them.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use mtls_core::check::{CheckOptions, CheckRule, CheckSet, check};
/// use mtls_core::{CredentialFiles, Timestamp};
/// # use mtls_core::testing::{LeafOptions, MountedDir, TestCa};
///
/// # let ca = TestCa::new("example.org");
/// # let dir = MountedDir::new(&ca.issue_with(LeafOptions::service("/web").server_only()));
/// let set = CheckSet::read(&CredentialFiles::kubernetes(dir.path()))?;
/// let report = check(&set, &CheckOptions::new(Timestamp::now()))?;
/// for finding in report.findings() {
///     println!("{finding}; {}", finding.remedy);
/// }
/// let rules: Vec<_> = report.findings().iter().map(|finding| finding.rule).collect();
/// assert_eq!(rules, [CheckRule::DevCa, CheckRule::EkuMissingRole]);
/// # }
/// # Ok::<(), mtls_core::LoadError>(())
/// ```
///
/// # Errors
///
/// [`LoadError::NoCryptoProvider`]. Whatever is wrong with the files is a finding.
pub fn check(set: &CheckSet, options: &CheckOptions) -> Result<Report, LoadError> {
    let mut found = Found::default();
    let mut scene = Scene {
        set,
        options,
        settings: options.settings()?,
        chain: Vec::new(),
        bundle: Vec::new(),
    };
    files::check(set, &mut found);
    if set.has_bundle {
        scene.bundle = bundle::read(&scene, &mut found);
        bundle::check(&scene, &mut found);
    }
    if set.has_credentials {
        scene.chain = chain::read(&scene, &mut found);
        credentials(&scene, &mut found);
    }
    federated::check(&scene, &mut found);
    crl::check(&scene, &mut found);
    development_ca(&scene, &mut found);
    if set.has_credentials && set.has_bundle {
        verdict(&scene, &mut found);
    }
    Ok(Report::judged(found.into_vec(), options))
}

/// What keeps files from being looked at at all, as a finding: a directory whose layout is not known, for one.
#[must_use]
pub fn check_error(error: &LoadError, path: &std::path::Path, options: &CheckOptions) -> Report {
    let mut found = Found::default();
    found.add(load::finding(error, path));
    Report::judged(found.into_vec(), options)
}

/// What was found where no files are yet: rule, place and what it looks like there. A manifest tells how files will be issued and
/// mounted, for one.
#[must_use]
pub fn check_found(
    findings: impl IntoIterator<Item = (CheckRule, PathBuf, String)>,
    options: &CheckOptions,
) -> Report {
    let mut found = Found::default();
    for (rule, place, what) in findings {
        found.add(Finding::new(rule, CheckPlace::file(place), what));
    }
    Report::judged(found.into_vec(), options)
}

/// What there is to say of chain and key, which the loader pairs and puts in order.
fn credentials(scene: &Scene<'_>, found: &mut Found) {
    let set = &scene.set.files;
    if scene.chain.is_empty() {
        return;
    }
    let paired = read_credentials(set)
        .and_then(|material| Credentials::new(material, &scene.settings.provider));
    let paired = match paired {
        Ok(paired) => Some(paired),
        Err(error) => {
            let finding = load::finding(&error, path_of(&set.key));
            if !found.has_any(&[finding.rule]) {
                found.add(chain::explain_mismatch(scene, finding));
            }
            None
        }
    };
    let path = Path::of(scene, paired.as_ref());
    chain::check(scene, &path, paired.is_some(), found);
    time::check(scene, &path, found);
    issuers::check(scene, &path, found);
    leaf::check(scene, &path, found);
    beside::check(scene, &path, found);
    if let Some(paired) = &paired {
        leaf::check_profile(scene, &path, &paired.issuance_findings(), found);
    }
}

/// A CA by a name that tools for development give.
fn development_ca(scene: &Scene<'_>, found: &mut Found) {
    if scene.options.development == DevelopmentCa::Allowed {
        return;
    }
    let bundle = scene.bundle.iter().map(|seen| (seen, true));
    let all = bundle.chain(scene.chain.iter().map(|seen| (seen, false)));
    // Whoever issued the leaf says most, and once is enough.
    for (seen, in_bundle) in all {
        let names = [seen.cert.subject.text(), seen.cert.issuer.text()].into_iter();
        let mut names = names.chain(seen.facts.organizations.iter().map(String::as_str));
        let Some(name) = names.find(|name| is_of_development(name)) else {
            continue;
        };
        let place = match in_bundle {
            true => scene.in_bundle(seen),
            false => scene.in_chain(seen),
        };
        let text = format!("`{name}` is a name that development tools give");
        found.add(Finding::new(CheckRule::DevCa, place, text));
        return;
    }
}

fn is_of_development(name: &str) -> bool {
    let name = name.to_lowercase();
    DEVELOPMENT.iter().any(|part| name.contains(part))
}

/// mkcert, minica, trustme, rcgen's default, Go's `generate_cert`, our own test and development CAs.
const DEVELOPMENT: [&str; 7] = [
    "mkcert ",
    "minica root ca",
    "trustme",
    "rcgen self signed cert",
    "acme co",
    "mtls test ca",
    "mtls development ca",
];

/// The loader's own verdict, for each role and in all: whatever it says that no rule has said yet is said here, so that
/// nothing that it refuses passes.
fn verdict(scene: &Scene<'_>, found: &mut Found) {
    let set = &scene.set.files;
    let chain = path_of(&set.chain);
    let first = read_credentials(set).and_then(|credentials| {
        let trust = read_first_trust(set)?;
        let verdict = judge_first(&scene.settings, credentials, &trust, scene.now())?;
        let own = &verdict.credentials;
        let roles = scene
            .settings
            .judge_own_chain(own, &verdict.trust, scene.now());
        Ok((verdict, roles))
    });
    match first {
        Ok((verdict, roles)) => {
            for role in scene.options.role.roles() {
                let result = match role {
                    Role::Server => &roles.server,
                    Role::Client => &roles.client,
                };
                if let Err(error) = result {
                    add_fault(scene, &error.fault, found);
                }
                crl::check_own(scene, &verdict, *role, found);
            }
        }
        Err(error) => {
            let finding = load::finding(&error, chain);
            if !found.has_any(&load::said_by(finding.rule)) || !found.refuses() {
                found.add(finding);
            }
        }
    }
}

fn add_fault(scene: &Scene<'_>, fault: &ChainFault, found: &mut Found) {
    let rule = load::of_chain_fault(fault);
    if found.has_any(&load::said_by(rule)) {
        return;
    }
    let place = CheckPlace::file(path_of(&scene.set.files.chain));
    let finding = Finding::new(rule, place, fault.to_string()).remedy(fault.remedy());
    found.add(finding);
}
