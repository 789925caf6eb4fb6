//! A revocation list.

use mtls_core::Timestamp;
use x509_parser::revocation_list::CertificateRevocationList;

use super::certificate::{left, percent};
use super::shown::{Item, hex};

pub(super) fn item(list: &CertificateRevocationList<'_>, now: Timestamp) -> Item {
    let this = Timestamp::from_unix(list.last_update().timestamp());
    let next = list
        .next_update()
        .map(|next| Timestamp::from_unix(next.timestamp()));
    let serials = list.iter_revoked_certificates().map(|revoked| {
        let raw = revoked.raw_serial();
        let start = raw.iter().position(|byte| *byte != 0);
        hex(raw.get(start.unwrap_or(raw.len())..).unwrap_or_default())
    });
    let serials: Vec<_> = serials.collect();
    Item::new("revocation list")
        .with("issuer", list.issuer().to_string())
        .with("number", list.crl_number().map(|number| number.to_string()))
        .with("this_update", this.to_string())
        .with("next_update", next.map(|next| next.to_string()))
        .with("left", next.map(|next| left(this, next, now)))
        .with("left_percent", next.map(|next| percent(this, next, now)))
        .with("revoked", serials.len())
        .with(
            "revoked_serials",
            serials.into_iter().take(MOST_SHOWN).collect::<Vec<_>>(),
        )
}

/// A list may have a hundred thousand.
const MOST_SHOWN: usize = 100;
