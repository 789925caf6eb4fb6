//! Revocation lists: can each be used, is it in time, and what do all of them say of our own chain.

use std::path::Path;

use super::facts::Seen;
use super::finding::{CheckPlace, Finding, Found};
use super::load;
use super::rule::CheckRule;
use super::run::Scene;
use super::set::path_of;
use crate::files;
use crate::identity::certificate::Certificate;
use crate::snapshot::Verdict;
use crate::verify::revocation::{CrlMaterial, CrlsFound, RevocationLists};
use crate::verify::{ChainFault, Role};

pub(super) fn check(scene: &Scene<'_>, found: &mut Found) {
    for (domain, lists) in files::revocation(&scene.set.files) {
        for fault in &lists.faults {
            found.add(load::finding(fault, Path::new("(revocation lists)")));
        }
        // Those of another domain are bound to its bundle, which the loader's verdict looks at.
        let issuers: Vec<&Certificate> = match domain {
            None => scene.bundle.iter().chain(&scene.chain).map(cert).collect(),
            Some(_) => Vec::new(),
        };
        let mut block = (std::path::PathBuf::new(), 0);
        for list in lists.lists {
            let material = CrlMaterial::from(list);
            block = match block {
                (file, n) if file == material.origin => (file, n + 1),
                _ => (material.origin.clone(), 1),
            };
            let place = CheckPlace::block(&block.0, block.1);
            one(scene, material, &issuers, place, found);
        }
    }
}

fn cert(seen: &Seen) -> &Certificate {
    &seen.cert
}

/// One list, read and bound as the loader does.
fn one(
    scene: &Scene<'_>,
    list: CrlMaterial,
    issuers: &[&Certificate],
    place: CheckPlace,
    found: &mut Found,
) {
    let lists = CrlsFound {
        lists: vec![list],
        faults: Vec::new(),
    };
    let now = scene.options.now;
    let algorithms = scene.settings.provider.signature_verification_algorithms;
    let revocation = scene.options.revocation;
    let loaded = RevocationLists::load(lists, issuers, None, revocation, algorithms, now);
    let loaded = match loaded {
        Ok((loaded, _)) => loaded,
        Err(error) => {
            let told = load::finding(&error, &place.file);
            found.add(Finding { place, ..told });
            return;
        }
    };
    for status in loaded.status() {
        let (rule, word) = if status.is_stale(now) {
            (CheckRule::CrlStale, "was")
        } else if status.is_due(now) {
            (CheckRule::CrlSoon, "is")
        } else {
            continue;
        };
        let text = format!(
            "the list of `{}` {word} due for renewal at {}",
            status.issuer, status.next_update
        );
        found.add(Finding::new(rule, place.clone(), text));
    }
}

/// What the lists say of our own chain, as a peer that has them would find.
pub(super) fn check_own(scene: &Scene<'_>, verdict: &Verdict, role: Role, found: &mut Found) {
    if verdict.trust.revocation_lists().is_empty() {
        return;
    }
    let chain = verdict.credentials.chain();
    let Err(error) = verdict.trust.verify(chain, role, scene.now()) else {
        return;
    };
    let rule = if matches!(error.fault, ChainFault::Revoked { .. }) {
        CheckRule::CrlRevokesSelf
    } else if matches!(error.fault, ChainFault::RevocationUnknown { .. }) {
        CheckRule::CrlIssuer
    } else {
        // That the list is stale has been said of the list, and the rest is no list's word.
        return;
    };
    let place = CheckPlace::file(path_of(&scene.set.files.chain));
    let told = Finding::new(rule, place, error.fault.to_string());
    found.add(told.remedy(error.fault.remedy()));
}
