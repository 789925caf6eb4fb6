//! All lists of a trust domain, and what they say of a path.

use std::fmt;
use std::path::PathBuf;
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
    ///
    /// # Errors
    ///
    /// [`LoadError::CrlsEmpty`] without a list, [`LoadError::CrlRefused`] for the first that cannot be used.
    pub(crate) fn load(
        material: Vec<CrlMaterial>,
        issuers: &[&Certificate],
        previous: Option<&Self>,
        settings: Revocation,
        algorithms: WebPkiSupportedAlgorithms,
        now: Timestamp,
    ) -> Result<Self, LoadError> {
        // Without a list every certificate is unknown, and where unknown is allowed, revocation is off.
        if material.is_empty() {
            return Err(LoadError::CrlsEmpty);
        }
        let mut served = previous.map(Self::marks).unwrap_or_default();
        let mut held: Vec<Held> = Vec::with_capacity(material.len());
        for CrlMaterial { der, origin } in material {
            let sha256 = fingerprint(&der);
            if held.iter().any(|known| known.list.sha256 == sha256) {
                continue;
            }
            let list = match previous.and_then(|previous| previous.find(&sha256)) {
                Some(unchanged) => Arc::clone(unchanged),
                None => Arc::new(
                    List::read(der, &algorithms, now)
                        .map_err(|fault| refused(&origin, None, fault))?,
                ),
            };
            list.bind(issuers, &served, &algorithms)
                .map_err(|fault| refused(&origin, Some(&list), fault))?;
            held.push(Held { origin, list });
        }
        let lists = Self {
            settings,
            algorithms,
            held,
            gone: Vec::new(),
        };
        let newest = lists.newest();
        for (mark, held) in &newest {
            let before = served.iter().find(|served| served.is_of_same_key(mark));
            if let Some(before) = before
                && mark.version.is_older_than(&before.version)
                && settings.rollback == CrlRollback::Refuse
            {
                let fault = CrlFault::Rollback {
                    issuer: held.list.contents.issuer.clone(),
                    found: mark.version.to_string(),
                    served: before.version.to_string(),
                };
                return Err(refused(&held.origin, Some(&held.list), fault));
            }
        }
        served.retain(|mark| !newest.iter().any(|(here, _)| here.is_of_same_key(mark)));
        Ok(Self {
            gone: served,
            ..lists
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
                    subject: subject.subject.clone(),
                    issuer: issuer.subject.clone(),
                }),
            };
        };
        // Of two that claim to be equally new and are not the same, both count: neither may hide what the other says.
        let version = newest.version();
        let counts = |list: &&&List| !list.version().is_older_than(&version);
        let mut entries = lists
            .iter()
            .filter(counts)
            .filter_map(|list| list.contents.entries.find(&subject.serial_bytes));
        // Asked before staleness: an old list does not say who is good, but whom it lists is not.
        if let Some(revoked) = entries.next() {
            return Err(ChainFault::Revoked {
                subject: subject.subject.clone(),
                serial: subject.serial.clone(),
                since: revoked.since,
                reason: revoked.reason,
            });
        }
        let until = newest.usable_until(self.settings.stale);
        if now > until {
            return Err(ChainFault::CrlStale {
                issuer: issuer.subject.clone(),
                next_update: newest.contents.next_update,
                now,
            });
        }
        Ok(until)
    }

    /// How each list is doing, in the order in which they were read.
    pub(crate) fn status(&self) -> Vec<CrlStatus> {
        let newest = self.newest();
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

    /// The newest list of each key that is known to have signed one.
    fn newest(&self) -> Vec<(Mark, &Held)> {
        let mut newest: Vec<(Mark, &Held)> = Vec::new();
        for held in &self.held {
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

    fn marks(&self) -> Vec<Mark> {
        let here = self.newest().into_iter().map(|(mark, _)| mark);
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

fn newer<'a>(a: &'a List, b: &'a List) -> &'a List {
    if a.version().is_older_than(&b.version()) {
        b
    } else {
        a
    }
}

fn refused(origin: &std::path::Path, list: Option<&Arc<List>>, source: CrlFault) -> LoadError {
    LoadError::CrlRefused {
        path: origin.to_owned(),
        issuer: list.map(|list| list.contents.issuer.clone()),
        source: Box::new(source),
    }
}
