//! All lists of a trust domain, and what they say of a path.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::CertificateRevocationListDer;

use super::fault::CrlFault;
use super::list::{List, Mark, fingerprint};
#[cfg(doc)]
use super::settings::StaleCrl;
use super::settings::{CrlRollback, Revocation, RevocationDepth, UnknownRevocation};
use crate::error::LoadError;
use crate::identity::Timestamp;
use crate::identity::certificate::Certificate;
use crate::verify::ChainFault;

/// A list as it was read; nothing about it is verified.
#[derive(Debug, Clone)]
pub(crate) struct CrlMaterial {
    pub(crate) der: CertificateRevocationListDer<'static>,
    /// The file that it is from.
    pub(crate) origin: PathBuf,
}

/// What was found where the lists of a trust domain should be.
#[derive(Debug, Clone, Default)]
pub(crate) struct CrlsFound {
    pub(crate) lists: Vec<CrlMaterial>,
    /// What could not be read. It holds back none of the lists that could.
    pub(crate) faults: Vec<LoadError>,
}

/// The revocation lists that one trust looks into.
///
/// Made anew at each load; a list that has not changed is the same value as before, with what is known of its signer.
#[derive(Debug)]
pub(crate) struct RevocationLists {
    settings: Revocation,
    algorithms: WebPkiSupportedAlgorithms,
    held: Vec<Held>,
    /// The newest list of each key whose list has gone: an older one must not slip in through the gap.
    gone: Vec<Mark>,
}

/// A list, and where it lies now.
#[derive(Debug, Clone)]
struct Held {
    origin: PathBuf,
    list: Arc<List>,
}

impl RevocationLists {
    /// Reads and judges every list, and binds those whose signer is among `issuers`: the anchors, and the intermediates
    /// of our own chain. The others wait until a verified path shows their issuer.
    ///
    /// `previous` is what was served until now: for its unchanged lists, and so that none is replaced by an older one.
    /// Where something is wrong, its lists stay beside those that are sound, for a broken list must neither forget whom it
    /// revoked nor hold back whom its neighbour revokes. Only what was read anew in full, or has a newer list of its key
    /// here, is replaced. What is wrong is returned too.
    ///
    /// # Errors
    ///
    /// Without anything before, the first that is wrong: [`LoadError::CrlsEmpty`] without a list,
    /// [`LoadError::CrlRefused`] for one that cannot be used, or what kept one from being read.
    pub(crate) fn load(
        found: CrlsFound,
        issuers: &[&Certificate],
        previous: Option<&Self>,
        settings: Revocation,
        algorithms: WebPkiSupportedAlgorithms,
        now: Timestamp,
    ) -> Result<(Self, Vec<LoadError>), LoadError> {
        let CrlsFound { lists, faults } = found;
        let mut errors = faults;
        // Without a list every certificate is unknown, and where unknown is allowed, revocation is off.
        if lists.is_empty() && errors.is_empty() {
            errors.push(LoadError::CrlsEmpty);
        }
        let mut served = previous.map(Self::marks).unwrap_or_default();
        let mut files = Files::default();
        let mut held: Vec<Held> = Vec::with_capacity(lists.len());
        for CrlMaterial { der, origin } in lists {
            files.read.insert(origin.clone());
            let sha256 = fingerprint(&der);
            if held.iter().any(|known| known.list.sha256 == sha256) {
                continue;
            }
            let list = match previous.and_then(|previous| previous.find(&sha256)) {
                Some(unchanged) => Ok(Arc::clone(unchanged)),
                None => List::read(der, &algorithms, now)
                    .map(Arc::new)
                    .map_err(|fault| refused(&origin, None, fault)),
            };
            let bound = list.and_then(|list| match list.bind(issuers, &served, &algorithms) {
                Ok(()) => Ok(list),
                Err(fault) => Err(refused(&origin, Some(&list), fault)),
            });
            match bound {
                Ok(list) => held.push(Held { origin, list }),
                Err(error) => {
                    errors.push(error);
                    files.refused.insert(origin);
                }
            }
        }
        if settings.rollback == CrlRollback::Refuse {
            refuse_rollbacks(&mut held, &served, &mut files, &mut errors);
        }
        match (errors.first(), previous) {
            (None, _) => {}
            (Some(first), None) => return Err(first.clone()),
            (Some(_), Some(previous)) => {
                let kept: Vec<_> = previous.kept_beside(&held, &files).cloned().collect();
                held.extend(kept);
            }
        }
        let newest = newest(&held);
        served.retain(|mark| !newest.iter().any(|(here, _)| here.is_of_same_key(mark)));
        let lists = Self {
            settings,
            algorithms,
            held,
            gone: served,
        };
        Ok((lists, errors))
    }

    /// Which of these lists stay when something is wrong with those that were read in their place.
    fn kept_beside<'a>(
        &'a self,
        new: &'a [Held],
        files: &'a Files,
    ) -> impl Iterator<Item = &'a Held> {
        let newest = newest(new);
        self.held.iter().filter(move |before| {
            let is_here = || {
                new.iter()
                    .any(|held| held.list.sha256 == before.list.sha256)
            };
            let is_superseded = || {
                before.list.mark().is_some_and(|mark| {
                    newest.iter().any(|(here, _)| {
                        here.is_of_same_key(&mark) && mark.version.is_older_than(&here.version)
                    })
                })
            };
            !files.is_sound(&before.origin) && !is_here() && !is_superseded()
        })
    }

    /// Judges a verified path, leaf first: each certificate with its issuer, the anchor as the last issuer.
    ///
    /// Returns the last second at which the answer stands: from then on a list that was looked into is stale.
    ///
    /// # Errors
    ///
    /// [`ChainFault::Revoked`], wherever in the path; else the first [`ChainFault::RevocationUnknown`] or
    /// [`ChainFault::CrlStale`].
    pub(crate) fn judge<'c>(
        &self,
        path: impl Iterator<Item = (&'c Certificate, &'c Certificate)>,
        now: Timestamp,
    ) -> Result<Timestamp, ChainFault> {
        let depth = match self.settings.depth {
            RevocationDepth::Chain => usize::MAX,
            RevocationDepth::Leaf => 1,
        };
        let mut until = Timestamp::MAX;
        let mut first = None;
        for (subject, issuer) in path.take(depth) {
            match self.judge_one(subject, issuer, now) {
                Ok(stands) => until = until.min(stands),
                // That a certificate is revoked says more than that another one could not be looked up.
                Err(fault @ ChainFault::Revoked { .. }) => return Err(fault),
                Err(fault) => {
                    first.get_or_insert(fault);
                }
            }
        }
        first.map_or(Ok(until), Err)
    }

    fn judge_one(
        &self,
        subject: &Certificate,
        issuer: &Certificate,
        now: Timestamp,
    ) -> Result<Timestamp, ChainFault> {
        let lists: Vec<&List> = self
            .held
            .iter()
            .map(|held| held.list.as_ref())
            .filter(|list| list.is_by(issuer, &self.algorithms))
            .collect();
        let newest = lists.iter().copied().reduce(newer);
        let Some(newest) = newest else {
            return match self.settings.unknown {
                UnknownRevocation::Allow => Ok(Timestamp::MAX),
                UnknownRevocation::Deny => Err(ChainFault::RevocationUnknown {
                    subject: subject.subject.text().to_owned(),
                    issuer: issuer.subject.text().to_owned(),
                }),
            };
        };
        // Of two that claim to be equally new and are not the same, both count: neither may hide what the other says.
        let version = newest.version();
        let counts = |list: &&&List| !list.version().is_older_than(&version);
        let mut entries = lists
            .iter()
            .filter(counts)
            .filter_map(|list| list.contents.entries.find(subject.serial.bytes()));
        // Asked before staleness: an old list does not say who is good, but whom it lists is not.
        if let Some(revoked) = entries.next() {
            return Err(ChainFault::Revoked {
                subject: subject.subject.text().to_owned(),
                serial: subject.serial.text().to_owned(),
                since: revoked.since,
                reason: revoked.reason,
            });
        }
        let until = newest.usable_until(self.settings.stale);
        if now > until {
            return Err(ChainFault::CrlStale {
                issuer: issuer.subject.text().to_owned(),
                next_update: newest.contents.next_update,
                now,
            });
        }
        Ok(until)
    }

    /// How each list is doing, in the order in which they were read.
    pub(crate) fn status(&self) -> Vec<CrlStatus> {
        let newest = newest(&self.held);
        let is_newest =
            |list: &Arc<List>| newest.iter().any(|(_, held)| Arc::ptr_eq(&held.list, list));
        self.held
            .iter()
            .map(|Held { origin, list }| CrlStatus {
                path: origin.clone(),
                issuer: list.contents.issuer.clone(),
                number: list.contents.number.as_ref().map(ToString::to_string),
                this_update: list.contents.this_update,
                next_update: list.contents.next_update,
                warn_from: list.warn_from(),
                entries: list.contents.entries.len(),
                is_bound: list.binding.signer().is_some(),
                is_superseded: list.binding.signer().is_some() && !is_newest(list),
            })
            .collect()
    }

    /// Whether both hold the same lists, in the same order, under the same settings.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let lists = |lists: &Self| -> Vec<[u8; 32]> {
            lists.held.iter().map(|held| held.list.sha256).collect()
        };
        self.settings == other.settings && lists(self) == lists(other)
    }

    fn marks(&self) -> Vec<Mark> {
        let here = newest(&self.held).into_iter().map(|(mark, _)| mark);
        here.chain(self.gone.iter().cloned()).collect()
    }

    fn find(&self, sha256: &[u8; 32]) -> Option<&Arc<List>> {
        let mut lists = self.held.iter().map(|held| &held.list);
        lists.find(|list| list.sha256 == *sha256)
    }

    #[cfg(test)]
    pub(super) fn lists(&self) -> Vec<Arc<List>> {
        self.held
            .iter()
            .map(|held| Arc::clone(&held.list))
            .collect()
    }
}

/// How a revocation list is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrlStatus {
    /// The file that it is from.
    pub path: PathBuf,
    /// The issuer that it names.
    pub issuer: String,
    /// Its number in lowercase hex, if it has one (RFC 5280 §5.2.3 asks for it).
    pub number: Option<String>,
    /// When it was issued.
    pub this_update: Timestamp,
    /// When the next one is due.
    pub next_update: Timestamp,
    /// From when on its successor should be here: a third of its life is left.
    pub warn_from: Timestamp,
    /// How many certificates it revokes.
    pub entries: usize,
    /// Whether the key that signed it is known. If not, it waits for a peer whose chain shows its issuer.
    pub is_bound: bool,
    /// Whether a newer list of the same issuer is here, so that this one says nothing.
    pub is_superseded: bool,
}

impl CrlStatus {
    /// Whether its successor should be here by now.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        !self.is_superseded && self.warn_from <= now
    }

    /// Whether it is past its `nextUpdate`. What then becomes of new handshakes is [`StaleCrl`]'s choice.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        !self.is_superseded && self.next_update < now
    }
}

impl fmt::Display for CrlStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            issuer,
            entries,
            next_update,
            ..
        } = self;
        let path = path.display();
        write!(
            f,
            "`{path}` of `{issuer}`, {entries} revoked, the next is due at {next_update}"
        )?;
        if !self.is_bound {
            f.write_str(", signed by nobody we have seen")?;
        }
        if self.is_superseded {
            f.write_str(", superseded")?;
        }
        Ok(())
    }
}

/// What became of the files that lists were read from.
#[derive(Debug, Default)]
struct Files {
    read: BTreeSet<PathBuf>,
    refused: BTreeSet<PathBuf>,
}

impl Files {
    /// It was read, and all that is in it is used.
    fn is_sound(&self, origin: &Path) -> bool {
        self.read.contains(origin) && !self.refused.contains(origin)
    }
}

/// Takes out whatever would replace a newer list of the same key.
fn refuse_rollbacks(
    held: &mut Vec<Held>,
    served: &[Mark],
    files: &mut Files,
    errors: &mut Vec<LoadError>,
) {
    let mut older = Vec::new();
    for (mark, newest) in newest(held) {
        let before = served.iter().find(|served| served.is_of_same_key(&mark));
        if let Some(before) = before
            && mark.version.is_older_than(&before.version)
        {
            let fault = CrlFault::Rollback {
                issuer: newest.list.contents.issuer.clone(),
                found: mark.version.to_string(),
                served: before.version.to_string(),
            };
            errors.push(refused(&newest.origin, Some(&newest.list), fault));
            older.push(mark);
        }
    }
    let is_older = |held: &Held| {
        let mark = held.list.mark();
        mark.is_some_and(|mark| older.iter().any(|older| older.is_of_same_key(&mark)))
    };
    for held in held.iter().filter(|held| is_older(held)) {
        files.refused.insert(held.origin.clone());
    }
    held.retain(|held| !is_older(held));
}

/// The newest list of each key that is known to have signed one.
fn newest(all: &[Held]) -> Vec<(Mark, &Held)> {
    let mut newest: Vec<(Mark, &Held)> = Vec::new();
    for held in all {
        let Some(mark) = held.list.mark() else {
            continue;
        };
        match newest
            .iter_mut()
            .find(|(known, _)| known.is_of_same_key(&mark))
        {
            Some((known, _)) if !known.version.is_older_than(&mark.version) => {}
            Some(known) => *known = (mark, held),
            None => newest.push((mark, held)),
        }
    }
    newest
}

fn newer<'a>(a: &'a List, b: &'a List) -> &'a List {
    if a.version().is_older_than(&b.version()) {
        b
    } else {
        a
    }
}

fn refused(origin: &Path, list: Option<&Arc<List>>, source: CrlFault) -> LoadError {
    LoadError::CrlRefused {
        path: origin.to_owned(),
        issuer: list.map(|list| list.contents.issuer.clone()),
        source: Box::new(source),
    }
}
