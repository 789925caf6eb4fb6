//! What a server serves, against what it should by now: its clock against ours, its certificate against the one on its disk, and
//! against what its other addresses serve.

use std::net::SocketAddr;
use std::path::Path;

use mtls_core::rustls::pki_types::CertificateDer;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::{CredentialFiles, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::look::{self, Answer, Target};
use crate::Failure;

/// What was compared; `None` where it was not.
#[derive(Debug, Default)]
pub(super) struct Drift {
    pub(super) clock: Option<Clock>,
    pub(super) disk: Option<Disk>,
    /// The others that the name has resolved to.
    pub(super) others: Vec<Other>,
    /// How many of them were not asked.
    pub(super) unasked: usize,
}

/// The server's clock, by the `Date` of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// How far it is ahead of ours, in seconds; behind, if negative.
    pub(super) ahead: i64,
}

/// The certificate that is served and the one in the server's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    /// Whether the file has the leaf that is served.
    pub(super) same: bool,
    /// Of the leaf in the file.
    pub(super) serial: Option<String>,
}

/// Another address of the name.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) address: SocketAddr,
    /// Of the leaf that is served there, if one is.
    pub(super) serial: Option<String>,
    pub(super) same: bool,
}

impl Clock {
    /// `None` without a `Date`, or with one that is none.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let (head, _) = answer.text.split_once("\r\n\r\n")?;
        let date = head.lines().skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("date").then_some(value.trim())
        })?;
        let date = OffsetDateTime::parse(date, &Rfc2822).ok()?;
        Some(Self {
            ahead: date.unix_timestamp().saturating_sub(answer.at.as_unix()),
        })
    }

    pub(super) fn is_off(self) -> bool {
        self.ahead.unsigned_abs() > TOLERANCE
    }
}

impl Disk {
    /// The chain in a directory of the server's, as any of the layouts has it. Its key is not looked at, and need not be there.
    pub(super) fn read(dir: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
        let files = CredentialFiles::detect(dir)
            .map_err(|error| Failure::new(format!("{error}; {}", error.remedy())))?;
        let path = files.chain_path();
        let unreadable = |why: &dyn std::fmt::Display| {
            Failure::new(format!("--served: `{}`: {why}", path.display()))
        };
        let read = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
        let chain: Vec<_> = read
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable(&error))?;
        match chain.is_empty() {
            true => Err(unreadable(&"there is no certificate in it")),
            false => Ok(chain),
        }
    }

    /// A file may have its certificates in any order: which of them is the leaf, its key decides.
    pub(super) fn of(served: &CertificateDer<'_>, on_disk: &[CertificateDer<'static>]) -> Self {
        let leaf = on_disk.iter().find(|der| !is_ca(der));
        Self {
            same: on_disk.iter().any(|der| der == served),
            serial: leaf.or(on_disk.first()).and_then(|der| serial(der)),
        }
    }
}

impl Drift {
    /// Asks the other addresses for their leaf, one dial for each and no more than [`MOST_OTHERS`].
    pub(super) fn ask(
        &mut self,
        target: &Target<'_>,
        all: &[SocketAddr],
        served: &CertificateDer<'_>,
    ) -> Result<(), Failure> {
        let others = all.iter().filter(|address| **address != target.address);
        let others: Vec<_> = others.collect();
        self.unasked = others.len().saturating_sub(MOST_OTHERS);
        for address in others.into_iter().take(MOST_OTHERS) {
            let target = Target {
                address: *address,
                http: None,
                ..*target
            };
            let look = look::look(&target, None, None)?;
            let leaf = look.chain.first();
            self.others.push(Other {
                address: *address,
                serial: leaf.and_then(|leaf| serial(leaf)),
                same: leaf == Some(served),
            });
        }
        Ok(())
    }
}

pub(super) fn serial(der: &[u8]) -> Option<String> {
    let item = crate::inspect::certificate(der, Timestamp::now())?;
    Some(item.get("serial")?.as_str()?.to_owned())
}

fn is_ca(der: &[u8]) -> bool {
    let item = crate::inspect::certificate(der, Timestamp::now());
    let ca = item.as_ref().and_then(|item| item.get("ca"));
    let ca = ca.and_then(|ca| ca.as_str());
    ca.is_some_and(|ca| ca.starts_with("yes"))
}

/// As the alert `MtlsClockOff` has it: what is issued is valid at once, or a few minutes before.
const TOLERANCE: u64 = 180;

pub(super) const MOST_OTHERS: usize = 3;

#[cfg(test)]
mod tests;
