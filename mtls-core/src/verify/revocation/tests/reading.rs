//! What a list may be, each with a list beside it that differs in that alone and is taken.

use super::*;
use crate::reason::Reason;
use crate::testing::{CaOptions, KeyKind};
use crate::verify::RevocationReason;

/// Takes the sound list, then refuses the other and says why.
fn refused(sound: &TestCrl<'_>, ca: &TestCa, other: &TestCrl<'_>) -> CrlFault {
    Load::of(&[sound]).known(ca).taken();
    let fault = Load::of(&[other]).known(ca).fault();
    assert!(!fault.remedy().is_empty());
    fault
}

#[test]
fn a_sound_list_is_taken_and_tells_its_facts() {
    let ca = ca();
    let (web, _) = issued(&ca, "/web");
    let list = ca.crl().number(0x1ff).revoke(&web);
    let lists = Load::of(&[&list]).known(&ca).taken();
    let [status] = lists.status().try_into().unwrap();
    assert_eq!(status.number.as_deref(), Some("01ff"));
    assert_eq!(status.entries, 1);
    assert!(status.is_bound && !status.is_superseded);
    assert!(status.issuer.contains("mtls test CA"));
    let life = status.next_update.as_unix() - status.this_update.as_unix();
    assert_eq!(life, 25 * HOUR);
    assert_eq!(status.warn_from, later(status.next_update, -life / 3));
}

#[test]
fn lists_signed_by_every_kind_of_key_are_taken() {
    for kind in [
        KeyKind::EcdsaP256,
        KeyKind::EcdsaP384,
        KeyKind::Ed25519,
        KeyKind::Rsa2048,
    ] {
        let ca = TestCa::with_options("example.org", CaOptions::new().key(kind));
        let lists = Load::of(&[&ca.crl()]).known(&ca).taken();
        assert!(lists.status()[0].is_bound, "{kind:?}");
        let fault = Load::of(&[&ca.crl().bad_signature()]).known(&ca).fault();
        assert!(matches!(fault, CrlFault::BadSignature { .. }), "{kind:?}");
    }
}

#[test]
fn no_list_at_all_is_an_error() {
    let refused = Load::default().known(&ca()).result().unwrap_err();
    assert!(matches!(refused, LoadError::CrlsEmpty));
    assert_eq!(refused.reason(), Reason::CrlUnusable);
    assert!(refused.is_transient());
}

#[test]
fn a_list_that_is_cut_short_anywhere_or_goes_on_is_malformed() {
    let ca = ca();
    let der = ca.crl().revoke_many(3).der();
    Load::der(&*der).known(&ca).taken();
    for len in 0..der.len() {
        let fault = Load::der(&der[..len]).known(&ca).fault();
        assert!(
            matches!(fault, CrlFault::Malformed { .. }),
            "{len}: {fault}"
        );
        assert!(fault.is_transient());
    }
    let longer = [&*der, b"\0"].concat();
    let fault = Load::der(longer).known(&ca).fault();
    assert!(matches!(fault, CrlFault::Malformed { .. }));
}

#[test]
fn no_changed_byte_is_taken() {
    let ca = ca();
    let der = ca.crl().revoke_many(2).der();
    Load::der(&*der).known(&ca).taken();
    for at in 0..der.len() {
        let mut changed = der.to_vec();
        changed[at] ^= 0x04;
        // A changed issuer's name is somebody else's list: it waits, and is never bound.
        if let Ok(lists) = Load::der(changed).known(&ca).result() {
            assert!(!lists.status()[0].is_bound, "byte {at}");
        }
    }
}

#[test]
fn a_list_that_its_issuer_did_not_sign_is_refused() {
    let ca = ca();
    let fault = refused(&ca.crl(), &ca, &ca.crl().bad_signature());
    assert!(matches!(fault, CrlFault::BadSignature { .. }));
    assert_eq!(fault.reason(), Reason::CrlUnusable);
    let fault = refused(&ca.crl(), &ca, &ca.crl().bad_signature().without_key_id());
    assert!(matches!(fault, CrlFault::BadSignature { .. }));
}

#[test]
fn an_issuer_without_crl_sign_is_refused_and_one_without_key_usage_is_not() {
    let free = TestCa::with_options("example.org", CaOptions::new().without_key_usage());
    assert!(Load::of(&[&free.crl()]).known(&free).taken().status()[0].is_bound);
    let bound = TestCa::with_options("example.org", CaOptions::new().without_crl_sign());
    let fault = Load::of(&[&bound.crl()]).known(&bound).fault();
    assert!(matches!(fault, CrlFault::IssuerMayNotSign { .. }));
}

#[test]
fn delta_indirect_and_partial_lists_are_refused_by_name() {
    let ca = ca();
    let sound = ca.crl();
    assert_eq!(refused(&sound, &ca, &ca.crl().delta(1)), CrlFault::Delta);
    assert_eq!(
        refused(&sound, &ca, &ca.crl().indirect()),
        CrlFault::Indirect
    );
    let true_at = |tag: u8| vec![tag, 1, 0xff];
    // distributionPoint { fullName { URI "a" } }, then the flags, then onlySomeReasons { keyCompromise }.
    let fields = [
        ("distributionPoint", b"\xa0\x05\xa0\x03\x86\x01a".to_vec()),
        ("onlyContainsUserCerts", true_at(0x81)),
        ("onlyContainsCACerts", true_at(0x82)),
        ("onlyContainsAttributeCerts", true_at(0x85)),
        ("onlySomeReasons", vec![0x83, 2, 6, 0x40]),
        ("distributionPoint", Vec::new()),
    ];
    for (by, field) in fields {
        let partial = ca.crl().issuing_distribution_point(&field);
        assert_eq!(refused(&sound, &ca, &partial), CrlFault::Partitioned { by });
    }
    let fault = refused(&sound, &ca, &ca.crl().leaves_only());
    assert!(fault.to_string().contains("onlyContainsUserCerts"));
}

#[test]
fn an_entry_of_another_issuer_makes_a_list_indirect() {
    let ca = ca();
    let entry = |id| ca.crl().revoke_with_extension(&[7], id, true, &[0x30, 0]);
    let invalidity = b"\x18\x0f20260101000000Z";
    let sound = ca.crl().revoke_with_extension(&[7], 24, false, invalidity);
    assert_eq!(refused(&sound, &ca, &entry(29)), CrlFault::Indirect);
}

#[test]
fn unknown_extensions_are_refused_where_critical_and_skipped_where_not() {
    let ca = ca();
    let list = |critical| ca.crl().extension(99, critical, &[5, 0]);
    let fault = refused(&list(false), &ca, &list(true));
    let oid = String::from("2.5.29.99");
    let expected = |place| CrlFault::CriticalExtension {
        oid: oid.clone(),
        place,
    };
    assert_eq!(fault, expected("list"));
    let entry = |critical| ca.crl().revoke_with_extension(&[7], 99, critical, &[5, 0]);
    assert_eq!(refused(&entry(false), &ca, &entry(true)), expected("entry"));
}

#[test]
fn an_extension_that_is_there_twice_is_refused() {
    let ca = ca();
    let once = ca.crl().without_number().extension(20, false, &[2, 1, 9]);
    let twice = ca.crl().extension(20, false, &[2, 1, 9]);
    let fault = refused(&once, &ca, &twice);
    assert!(matches!(fault, CrlFault::Malformed { .. }));
}

#[test]
fn remove_from_crl_is_refused_and_other_reasons_are_kept() {
    let ca = ca();
    let (web, path) = issued(&ca, "/web");
    let serial = facts(&path[0]).serial.bytes().to_vec();
    let entry = |reason| ca.crl().revoke_because(&serial, at(-HOUR), reason);
    let fault = refused(&entry(1), &ca, &entry(8));
    assert_eq!(
        fault,
        CrlFault::RemovesEntry {
            serial: web.serial()
        }
    );
    let lists = Load::of(&[&entry(6)]).known(&ca).taken();
    let Err(ChainFault::Revoked { reason, serial, .. }) = judge(&lists, &path) else {
        panic!("not revoked");
    };
    assert_eq!(reason, RevocationReason::CertificateHold);
    assert_eq!(serial, web.serial());
}

#[test]
fn a_list_without_next_update_is_refused() {
    let ca = ca();
    let fault = refused(&ca.crl(), &ca, &ca.crl().without_next_update());
    assert_eq!(fault, CrlFault::NoNextUpdate);
}

#[test]
fn a_list_of_version_1_or_without_extensions_is_refused() {
    let ca = ca();
    let fault = refused(&ca.crl(), &ca, &ca.crl().version_1());
    assert_eq!(fault, CrlFault::UnsupportedVersion { found: 1 });
    let bare = ca.crl().without_number().without_key_id();
    let fault = refused(&ca.crl().without_number(), &ca, &bare);
    assert_eq!(fault, CrlFault::NoExtensions);
}

#[test]
fn both_signature_algorithms_must_be_the_same() {
    let ca = ca();
    let fault = refused(&ca.crl(), &ca, &ca.crl().other_algorithm_inside());
    assert!(fault.to_string().contains("signature algorithm"), "{fault}");
}

#[test]
fn an_algorithm_that_the_provider_lacks_is_named() {
    let ca = ca();
    let der = ca.crl().der().to_vec();
    Load::der(der.clone()).known(&ca).taken();
    // ecdsa-with-SHA256 becomes ecdsa-with-SHA1's neighbour 1.2.840.10045.4.3.9, in both places.
    let known = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let mut other = der;
    while let Some(at) = other.windows(8).position(|bytes| bytes == known) {
        other[at + 7] = 9;
    }
    let fault = Load::der(other).known(&ca).fault();
    let oid = String::from("1.2.840.10045.4.3.9");
    assert_eq!(fault, CrlFault::UnsupportedAlgorithm { oid });
}

#[test]
fn a_list_from_the_future_is_refused_and_five_minutes_are_not_the_future() {
    let ca = ca();
    let soon = ca.crl().this_update(at(4 * 60));
    let fault = refused(&soon, &ca, &ca.crl().this_update(at(10 * 60)));
    assert!(matches!(fault, CrlFault::NotYetIssued { .. }));
}

#[test]
fn a_number_has_twenty_octets_at_most_and_may_be_critical_or_absent() {
    let ca = ca();
    let longest = ca.crl().number_bytes(&[0xff; 20]);
    let fault = refused(&longest, &ca, &ca.crl().number_bytes(&[0x7f; 21]));
    assert_eq!(fault, CrlFault::NumberTooLong { octets: 21 });
    Load::of(&[&ca.crl().critical_number()]).known(&ca).taken();
    let unnumbered = Load::of(&[&ca.crl().without_number()]).known(&ca).taken();
    assert_eq!(unnumbered.status()[0].number, None);
    let zero = Load::of(&[&ca.crl().number(0)]).known(&ca).taken();
    assert_eq!(zero.status()[0].number.as_deref(), Some("00"));
}

#[test]
fn a_hundred_thousand_entries_are_all_found() {
    let ca = ca();
    let (web, path) = issued(&ca, "/web");
    let list = ca.crl().revoke_many(100_000).revoke(&web);
    let lists = Load::of(&[&list]).known(&ca).taken();
    assert_eq!(lists.status()[0].entries, 100_001);
    assert!(matches!(
        judge(&lists, &path),
        Err(ChainFault::Revoked { .. })
    ));
    assert!(judge(&lists, &issued(&ca, "/api").1).is_ok());
    let entries = &lists.lists()[0].contents.entries;
    for n in 0..100_000_u64 {
        assert!(
            entries.find(&((1 << 56) + n).to_be_bytes()).is_some(),
            "{n}"
        );
    }
    assert!(
        entries
            .find(&((1_u64 << 56) + 100_000).to_be_bytes())
            .is_none()
    );
}

#[test]
fn entries_are_found_in_whatever_order_they_come() {
    let ca = ca();
    let serials: [&[u8]; 6] = [&[9], &[0xfe, 0xdc], &[1, 2, 3], &[3], &[0x80], &[1]];
    let list = serials
        .iter()
        .fold(ca.crl(), |list, serial| list.revoke_serial(serial));
    let lists = Load::of(&[&list]).known(&ca).taken();
    let entries = &lists.lists()[0].contents.entries;
    assert!(serials.iter().all(|serial| entries.find(serial).is_some()));
    assert!(entries.find(&[2]).is_none() && entries.find(&[]).is_none());
}

#[test]
fn pem_of_a_list_is_the_list() {
    use rustls_pki_types::pem::PemObject;

    // Ed25519 signs the same bytes the same way, and in one length: each of the three paddings is met.
    let ca = TestCa::with_options("example.org", CaOptions::new().key(KeyKind::Ed25519));
    for padding in 0..3_u8 {
        let value = [&[4, padding][..], &vec![0; usize::from(padding)]].concat();
        let list = ca.crl().extension(99, false, &value);
        let read = CertificateRevocationListDer::from_pem_slice(list.pem().as_bytes()).unwrap();
        assert_eq!(read, list.der());
    }
}
