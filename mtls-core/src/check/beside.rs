//! What the files say beside what they are used for: nothing of it keeps a handshake from being made today.

use super::chain::Path;
use super::facts::Seen;
use super::finding::{CheckPlace, Finding, Found};
use super::rule::CheckRule;
use super::run::Scene;
use super::set::path_of;
use crate::files;

pub(super) fn check(scene: &Scene<'_>, path: &Path<'_>, found: &mut Found) {
    clock(scene, found);
    unused_lists(scene, path.leaf, found);
    service_names(scene, path.leaf, found);
    if let Some((chain, key)) = &scene.set.split {
        let place = CheckPlace::file(path_of(&scene.set.files.key));
        let text = format!(
            "the chain is in the volume `{}`, and the key in `{}`",
            chain.display(),
            key.display()
        );
        found.add(Finding::new(CheckRule::MountSplit, place, text));
    }
}

/// An issuer that was set up today may be in the future of one clock; that all of a set is, is rather the clock.
fn clock(scene: &Scene<'_>, found: &mut Found) {
    let now = scene.options.now;
    let mut all = scene.chain.iter().chain(&scene.bundle);
    if scene.bundle.is_empty() || !all.all(|seen| now < seen.cert.validity.not_before) {
        return;
    }
    let count = scene.chain.len() + scene.bundle.len();
    let text = format!("at {now} none of {count} certificates is valid yet");
    let place = CheckPlace::file(path_of(&scene.set.files.chain));
    found.add(Finding::new(CheckRule::ClockSuspect, place, text));
}

fn unused_lists(scene: &Scene<'_>, leaf: &Seen, found: &mut Found) {
    let has_lists = files::revocation(&scene.set.files).into_iter().next();
    if has_lists.is_some() || leaf.facts.publishes.is_empty() {
        return;
    }
    let text = format!(
        "`{}` names {}, and no revocation list is configured",
        leaf.name(),
        leaf.facts.publishes.join(" and ")
    );
    let place = scene.in_chain(leaf);
    found.add(Finding::new(CheckRule::CrlDpUnused, place, text));
}

/// The names by which a Kubernetes service is dialled: from its own namespace, from another one, and in full.
fn service_names(scene: &Scene<'_>, leaf: &Seen, found: &mut Found) {
    let names = &leaf.cert.names.dns;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    for name in names {
        let Some((service, namespace)) = name
            .strip_suffix(".svc")
            .and_then(|rest| rest.split_once('.'))
            .filter(|(service, namespace)| *service != "*" && !namespace.contains('.'))
        else {
            continue;
        };
        let in_full = format!("{service}.{namespace}.svc.");
        let mut missing = vec![service.to_owned(), format!("{service}.{namespace}")];
        missing.retain(|name| !has(name));
        // Whatever the cluster's domain is.
        if !names.iter().any(|name| name.starts_with(&in_full)) {
            missing.push(format!("{in_full}cluster.local"));
        }
        if !missing.is_empty() {
            let text = format!(
                "`{}` has `{name}`, and not `{}`",
                leaf.name(),
                missing.join("`, `")
            );
            found.add(Finding::new(CheckRule::SanK8s, scene.in_chain(leaf), text));
        }
    }
}
