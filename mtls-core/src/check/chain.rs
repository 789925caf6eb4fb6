//! The certificates of the chain's file: their order, what is missing and what is too much.

use super::facts::Seen;
use super::finding::{CheckPlace, Finding, Found};
use super::rule::CheckRule;
use super::run::Scene;
use super::set::path_of;
use crate::files;
use crate::snapshot::{Credentials, OwnChain};

/// The chain in order: the leaf, then each issuer that the file has, as the loader would present it.
pub(super) struct Path<'s> {
    pub(super) leaf: &'s Seen,
    pub(super) intermediates: Vec<&'s Seen>,
    /// The anchors of the bundle that have the name of the last issuer.
    pub(super) anchors: Vec<&'s Seen>,
}

impl<'s> Path<'s> {
    pub(super) fn of(scene: &'s Scene<'_>, paired: Option<&Credentials>) -> Self {
        let in_file = &scene.chain;
        let ordered: Vec<&Seen> = match paired {
            Some(paired) => paired
                .chain()
                .iter()
                .filter_map(|der| in_file.iter().find(|seen| seen.der == *der))
                .collect(),
            // Without its key nobody knows which is the leaf: the first that is no CA, or the first.
            None => {
                let leaf = in_file.iter().find(|seen| !seen.cert.is_ca);
                follow(leaf.or(in_file.first()), in_file)
            }
        };
        let mut ordered = ordered.into_iter();
        // The scene has at least one certificate, and the loader presents none that is not in the file.
        let leaf = ordered.next().unwrap_or_else(|| first(in_file));
        let intermediates: Vec<_> = ordered.collect();
        let last = intermediates.last().unwrap_or(&leaf);
        let anchors = scene.bundle.iter();
        let anchors =
            anchors.filter(|anchor| anchor.cert.is_ca && anchor.cert.subject == last.cert.issuer);
        Self {
            leaf,
            intermediates,
            anchors: anchors.collect(),
        }
    }

    /// Leaf first.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &'s Seen> + '_ {
        std::iter::once(self.leaf).chain(self.intermediates.iter().copied())
    }

    /// Each certificate with its issuer, where there is one.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'s Seen, &'s Seen)> + '_ {
        let issuers = self.intermediates.iter().copied();
        let last = self.intermediates.last().copied().unwrap_or(self.leaf);
        // Of two anchors of one name the one whose key it names, if it does.
        let named = self.anchors.iter().copied().find(|anchor| {
            anchor.cert.subject_key_id.is_some()
                && anchor.cert.subject_key_id == last.facts.authority_key_id
        });
        let anchor = named.or(self.anchors.first().copied());
        self.certificates().zip(issuers.chain(anchor))
    }
}

#[expect(
    clippy::expect_used,
    reason = "`credentials` returns before this where the chain is empty"
)]
fn first(all: &[Seen]) -> &Seen {
    all.first().expect("a chain of at least one certificate")
}

/// Each issuer after what it issued, by name.
fn follow<'s>(leaf: Option<&'s Seen>, all: &'s [Seen]) -> Vec<&'s Seen> {
    let mut path: Vec<&Seen> = leaf.into_iter().collect();
    while let Some(last) = path.last() {
        let next = all.iter().find(|seen| {
            seen.cert.subject == last.cert.issuer
                && !seen.cert.is_self_issued()
                && !path.iter().any(|known| known.block == seen.block)
        });
        match next {
            Some(next) => path.push(next),
            None => break,
        }
    }
    path
}

/// The certificates of the file that can be read, and what is wrong with the others.
pub(super) fn read(scene: &Scene<'_>, found: &mut Found) -> Vec<Seen> {
    let Ok(content) = &scene.set.files.chain else {
        return Vec::new();
    };
    // Whatever keeps it from being decoded has been said of the file.
    let Ok(certificates) = files::chain(content) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (block, der) in (1..).zip(&certificates) {
        match Seen::read(block, der) {
            Ok(seen) => all.push(seen),
            Err(detail) => {
                let place = CheckPlace::block(content.path(), block);
                found.add(Finding::new(CheckRule::CertMalformed, place, detail));
            }
        }
    }
    all
}

/// Says of a key that fits no certificate of the chain if it fits one of the bundle.
pub(super) fn explain_mismatch(scene: &Scene<'_>, mut finding: Finding) -> Finding {
    if finding.rule == CheckRule::KeyMismatch && scene.chain.len() > 1 {
        let names: Vec<_> = scene.chain.iter().map(Seen::name).collect();
        finding.found = format!("{}; it holds `{}`", finding.found, names.join("`, `"));
    }
    finding
}

pub(super) fn check(scene: &Scene<'_>, path: &Path<'_>, paired: bool, found: &mut Found) {
    if paired {
        order(scene, path, found);
    }
    reach(scene, path, found);
    let place = || CheckPlace::file(path_of(&scene.set.files.chain));
    let depth = path.intermediates.len();
    if depth > MAX_INTERMEDIATES {
        let text = format!("{depth} intermediates");
        found.add(Finding::new(CheckRule::ChainTooDeep, place(), text));
    }
    let size: usize = path.certificates().map(|seen| seen.der.len()).sum();
    if size > LARGE_CHAIN {
        let text = format!("{size} bytes of certificates");
        found.add(Finding::new(CheckRule::ChainTooLarge, place(), text));
    }
}

fn order(scene: &Scene<'_>, path: &Path<'_>, found: &mut Found) {
    let ordered: Vec<_> = path.certificates().map(|seen| seen.block).collect();
    let mut extra = Vec::new();
    for seen in scene.chain.iter() {
        if ordered.contains(&seen.block) {
            continue;
        }
        if seen.cert.is_self_issued() {
            let text = format!("`{}` is its own issuer", seen.name());
            found.add(Finding::new(
                CheckRule::ChainRootIncluded,
                scene.in_chain(seen),
                text,
            ));
        } else {
            extra.push(seen);
        }
    }
    for seen in extra {
        let text = format!(
            "`{}` is in no path from the leaf `{}`",
            seen.name(),
            path.leaf.name()
        );
        found.add(Finding::new(
            CheckRule::ChainExtra,
            scene.in_chain(seen),
            text,
        ));
    }
    if !ordered.is_sorted() || path.leaf.block != 1 {
        let names: Vec<_> = path.certificates().map(Seen::name).collect();
        let place = CheckPlace::block(path_of(&scene.set.files.chain), path.leaf.block);
        let blocks: Vec<_> = ordered.iter().map(ToString::to_string).collect();
        let text = format!("the path is blocks {} of the file", blocks.join(", "));
        let expected = format!("`{}`", names.join("`, then `"));
        found.add(Finding::new(CheckRule::ChainOrder, place, text).expected(expected));
    }
}

/// Whether the names lead to the bundle. That the keys do, the verifier says.
fn reach(scene: &Scene<'_>, path: &Path<'_>, found: &mut Found) {
    let last = path.intermediates.last().copied().unwrap_or(path.leaf);
    let elsewhere = scene.options.own_chain == OwnChain::FromAnotherPki;
    if elsewhere || scene.bundle.is_empty() || !path.anchors.is_empty() || is_anchor(scene, last) {
        return;
    }
    let place = scene.in_chain(last);
    let root = scene
        .chain
        .iter()
        .find(|seen| seen.cert.is_self_issued() && seen.cert.subject == last.cert.issuer);
    let anchors: Vec<_> = scene.bundle.iter().map(Seen::name).take(LISTED).collect();
    let issuer = &last.cert.issuer;
    let finding = match root {
        Some(_) => {
            let text = format!("the chain's root `{issuer}` is not in the bundle");
            Finding::new(CheckRule::BundleMissingOwn, place, text)
        }
        None => {
            let key = last.facts.authority_key_id.as_deref();
            let key = key.map(|id| {
                let id = crate::identity::certificate::hex(id);
                format!(" (key identifier {id})")
            });
            let key = key.unwrap_or_default();
            let text = format!("missing: `{issuer}`{key}, the issuer of `{}`", last.name());
            Finding::new(CheckRule::ChainIncomplete, place, text)
        }
    };
    let expected = format!("a chain that leads to one of `{}`", anchors.join("`, `"));
    found.add(finding.expected(expected));
}

/// An intermediate may be an anchor itself.
fn is_anchor(scene: &Scene<'_>, seen: &Seen) -> bool {
    let mut bundle = scene.bundle.iter();
    bundle.any(|anchor| anchor.cert.is_ca && anchor.cert.subject == seen.cert.subject)
}

/// As webpki builds paths.
const MAX_INTERMEDIATES: usize = 6;
/// A TLS record, and what some proxies read of a handshake.
const LARGE_CHAIN: usize = 16 * 1024;
/// Enough to see whose bundle it is.
const LISTED: usize = 5;
