//! What lists say of a path, and the choices.

use super::*;
use crate::reason::Reason;
use crate::verify::revocation::{RevocationDepth, StaleCrl, UnknownRevocation};

#[test]
fn a_listed_certificate_is_revoked_and_its_neighbour_is_not() {
    let ca = ca();
    let (web, path) = issued(&ca, "/web");
    let (_, other) = issued(&ca, "/api");
    let lists = Load::of(&[&ca.crl().revoke(&web)]).known(&ca).taken();
    assert_eq!(judge(&lists, &other), Ok(lists.status()[0].next_update));
    let fault = judge(&lists, &path).unwrap_err();
    assert_eq!(fault.reason(), Reason::Revoked);
    assert!(fault.to_string().contains(&web.serial()), "{fault}");
}

#[test]
fn an_entry_dated_in_the_future_counts() {
    let ca = ca();
    let (_, path) = issued(&ca, "/web");
    let serial = facts(&path[0]).serial.bytes().to_vec();
    let entry = |serial: &[u8]| ca.crl().revoke_because(serial, at(DAY), 1);
    let other = Load::of(&[&entry(&[1])]).known(&ca).taken();
    assert!(judge(&other, &path).is_ok());
    let lists = Load::of(&[&entry(&serial)]).known(&ca).taken();
    assert!(matches!(
        judge(&lists, &path),
        Err(ChainFault::Revoked { .. })
    ));
}

#[test]
fn two_authorities_of_one_name_answer_each_for_its_own_key() {
    let old = ca();
    let new = old.same_name_other_key();
    let (web, path) = issued(&old, "/web");
    let twin = facts(&path[0]).serial.bytes().to_vec();
    // The new one revokes the serial number of the old one's leaf, and the old one does not.
    let lists = Load::of(&[&old.crl(), &new.crl().revoke_serial(&twin)])
        .known(&old)
        .known(&new)
        .taken();
    assert!(
        lists
            .status()
            .iter()
            .all(|list| list.is_bound && !list.is_superseded)
    );
    assert!(judge(&lists, &path).is_ok());
    let lists = Load::of(&[&old.crl().revoke(&web), &new.crl()])
        .known(&old)
        .known(&new)
        .taken();
    assert!(matches!(
        judge(&lists, &path),
        Err(ChainFault::Revoked { .. })
    ));
    assert!(judge(&lists, &issued(&new, "/web").1).is_ok());
}

#[test]
fn a_certificate_of_an_issuer_without_a_list_is_refused_unless_allowed() {
    let (with, without) = (ca(), ca());
    let (_, path) = issued(&without, "/web");
    let load = || Load::of(&[&with.crl()]).known(&with).known(&without);
    assert!(judge(&load().taken(), &issued(&with, "/web").1).is_ok());
    let fault = judge(&load().taken(), &path).unwrap_err();
    assert_eq!(fault.reason(), Reason::RevocationUnknown);
    let allow = Revocation::new().unknown(UnknownRevocation::Allow);
    let lists = load().settings(allow).taken();
    assert_eq!(judge(&lists, &path), Ok(Timestamp::MAX));
}

#[test]
fn a_stale_list_refuses_once_its_grace_has_passed_unless_allowed() {
    let ca = ca();
    let (_, path) = issued(&ca, "/web");
    let load = |choice| {
        let settings = Revocation::new().stale(choice);
        Load::of(&[&ca.crl()]).known(&ca).settings(settings).taken()
    };
    let strict = load(StaleCrl::default());
    let due = strict.status()[0].next_update;
    assert_eq!(judge_at(&strict, &path, due), Ok(due));
    let fault = judge_at(&strict, &path, later(due, 1)).unwrap_err();
    assert_eq!(fault.reason(), Reason::CrlStale);
    let patient = load(StaleCrl::Deny {
        grace: Duration::from_secs(60),
    });
    assert_eq!(
        judge_at(&patient, &path, later(due, 60)),
        Ok(later(due, 60))
    );
    assert!(matches!(
        judge_at(&patient, &path, later(due, 61)),
        Err(ChainFault::CrlStale { .. })
    ));
    let lax = load(StaleCrl::Allow);
    assert_eq!(judge_at(&lax, &path, later(due, DAY)), Ok(Timestamp::MAX));
}

#[test]
fn a_stale_list_is_taken_at_load_and_still_revokes() {
    let ca = ca();
    let (web, path) = issued(&ca, "/web");
    let allow = Revocation::new().stale(StaleCrl::Allow);
    for settings in [Revocation::new(), allow] {
        let lists = Load::of(&[&ca.crl().stale().revoke(&web)])
            .known(&ca)
            .settings(settings)
            .taken();
        assert!(matches!(
            judge(&lists, &path),
            Err(ChainFault::Revoked { .. })
        ));
    }
}

#[test]
fn a_revoked_intermediate_is_refused_unless_the_leaf_alone_is_looked_up() {
    let root = ca();
    let below = root.intermediate();
    let (_, path) = issued(&below, "/web");
    let load = |list: &TestCrl<'_>, depth| {
        Load::of(&[list, &below.crl()])
            .known(&root)
            .known(&below)
            .settings(Revocation::new().depth(depth))
            .taken()
    };
    let (clean, revoking) = (root.crl(), root.crl().revoke_ca(&below));
    assert!(judge(&load(&clean, RevocationDepth::Chain), &path).is_ok());
    let fault = judge(&load(&revoking, RevocationDepth::Chain), &path).unwrap_err();
    let ChainFault::Revoked { subject, .. } = fault else {
        panic!("{fault}");
    };
    assert_eq!(subject, facts(&below.certificate_der()).subject.text());
    assert!(judge(&load(&revoking, RevocationDepth::Leaf), &path).is_ok());
}

#[test]
fn each_issuer_of_the_path_needs_a_list_unless_the_leaf_alone_is_looked_up() {
    let root = ca();
    let below = root.intermediate();
    let (web, path) = issued(&below, "/web");
    let load = || Load::of(&[&below.crl()]).known(&root).known(&below);
    assert!(matches!(
        judge(&load().taken(), &path),
        Err(ChainFault::RevocationUnknown { .. })
    ));
    let leaf = Revocation::new().depth(RevocationDepth::Leaf);
    assert!(judge(&load().settings(leaf).taken(), &path).is_ok());
    // Being revoked says more than the unknown beside it, whichever comes first.
    let lists = Load::of(&[&root.crl().revoke_ca(&below)])
        .known(&root)
        .taken();
    assert!(matches!(
        judge(&lists, &path),
        Err(ChainFault::Revoked { .. })
    ));
    let lists = Load::of(&[&below.crl().revoke(&web)]).known(&below).taken();
    assert!(matches!(
        judge(&lists, &path),
        Err(ChainFault::Revoked { .. })
    ));
}

#[test]
fn an_answer_stands_until_the_first_of_its_lists_is_stale() {
    let root = ca();
    let below = root.intermediate();
    let (_, path) = issued(&below, "/web");
    let short = root.crl().next_update(at(HOUR));
    let lists = Load::of(&[&below.crl(), &short])
        .known(&root)
        .known(&below)
        .taken();
    let until = lists.status()[1].next_update;
    assert!(until < lists.status()[0].next_update);
    assert_eq!(judge(&lists, &path), Ok(until));
}

#[test]
fn of_two_lists_of_one_key_the_newer_counts() {
    let ca = ca();
    let (web, path) = issued(&ca, "/web");
    let (old, new) = (ca.crl().number(1), ca.crl().number(2).revoke(&web));
    for lists in [[&old, &new], [&new, &old]] {
        let lists = Load::of(&lists).known(&ca).taken();
        assert!(matches!(
            judge(&lists, &path),
            Err(ChainFault::Revoked { .. })
        ));
        let superseded = lists.status().into_iter().find(|list| list.is_superseded);
        assert_eq!(superseded.unwrap().number.as_deref(), Some("01"));
    }
    let (old, new) = (ca.crl().number(1).revoke(&web), ca.crl().number(2));
    for lists in [[&old, &new], [&new, &old]] {
        assert!(judge(&Load::of(&lists).known(&ca).taken(), &path).is_ok());
    }
}

#[test]
fn of_two_lists_that_are_equally_new_both_count() {
    let ca = ca();
    let (web, path) = issued(&ca, "/web");
    let at = at(-HOUR);
    let (empty, full) = (
        ca.crl().this_update(at),
        ca.crl().this_update(at).revoke(&web),
    );
    for lists in [[&empty, &full], [&full, &empty]] {
        let lists = Load::of(&lists).known(&ca).taken();
        assert!(matches!(
            judge(&lists, &path),
            Err(ChainFault::Revoked { .. })
        ));
    }
}
