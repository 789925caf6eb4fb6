//! Whose a list is.

use std::sync::Arc;

use super::*;
use crate::testing::CaOptions;
use crate::verify::revocation::binding::MAX_REFUSED;

#[test]
fn a_list_waits_for_its_issuer_and_is_bound_by_the_first_path_that_shows_it() {
    let root = ca();
    let below = root.intermediate();
    let (web, path) = issued(&below, "/web");
    let (_, other) = issued(&below, "/api");
    let lists = Load::of(&[&root.crl(), &below.crl().revoke(&web)])
        .known(&root)
        .taken();
    let bound = |lists: &RevocationLists| lists.status()[1].is_bound;
    assert!(!bound(&lists));
    assert!(judge(&lists, &other).is_ok());
    assert!(bound(&lists));
    assert!(matches!(
        judge(&lists, &path),
        Err(ChainFault::Revoked { .. })
    ));
}

#[test]
fn a_waiting_list_that_its_issuer_did_not_sign_leaves_its_certificates_unknown() {
    let root = ca();
    let below = root.intermediate();
    let (_, path) = issued(&below, "/web");
    let load = |list: TestCrl<'_>| Load::of(&[&root.crl(), &list]).known(&root).taken();
    assert!(judge(&load(below.crl()), &path).is_ok());
    let forged = load(below.crl().bad_signature());
    for _ in 0..2 {
        assert!(matches!(
            judge(&forged, &path),
            Err(ChainFault::RevocationUnknown { .. })
        ));
    }
    assert!(!forged.status()[1].is_bound);
}

#[test]
fn an_issuer_on_the_path_without_crl_sign_binds_no_list() {
    let root = ca();
    let verdict = |options: CaOptions| {
        let below = root.intermediate_with(options);
        let lists = Load::of(&[&root.crl(), &below.crl()]).known(&root).taken();
        judge(&lists, &issued(&below, "/web").1)
    };
    assert!(verdict(CaOptions::new()).is_ok());
    assert!(matches!(
        verdict(CaOptions::new().without_crl_sign()),
        Err(ChainFault::RevocationUnknown { .. })
    ));
}

#[test]
fn the_list_of_an_unknown_namesake_waits_instead_of_failing_the_load() {
    let known = ca();
    let namesake = known.same_name_other_key();
    let (_, path) = issued(&namesake, "/web");
    let lists = Load::of(&[&known.crl(), &namesake.crl()])
        .known(&known)
        .taken();
    assert!(!lists.status()[1].is_bound);
    assert!(judge(&lists, &issued(&known, "/web").1).is_ok());
    assert!(judge(&lists, &path).is_ok());
    // Without a key identifier nothing says that it is not the known one's, forged.
    let fault = Load::of(&[&namesake.crl().without_key_id()])
        .known(&known)
        .fault();
    assert!(matches!(fault, CrlFault::BadSignature { .. }));
}

#[test]
fn peers_cannot_have_keys_without_end_asked_nor_hold_back_an_issuer_that_is_known() {
    let first = ca();
    let (_, path) = issued(&first, "/web");
    let der = first.crl().der();
    let load = || Load::der(&*der);
    let lists = load().taken();
    let show = |lists: &RevocationLists, keys: usize| {
        for _ in 0..keys {
            let (_, namesake) = issued(&first.same_name_other_key(), "/web");
            for _ in 0..2 {
                assert!(judge(lists, &namesake).is_err());
            }
        }
    };
    show(&lists, MAX_REFUSED);
    assert!(matches!(
        judge(&lists, &path),
        Err(ChainFault::RevocationUnknown { .. })
    ));
    let reloaded = load().known(&first).after(&lists).taken();
    assert!(Arc::ptr_eq(&lists.lists()[0], &reloaded.lists()[0]));
    assert!(judge(&reloaded, &path).is_ok());
    // Below the bound, however often they come.
    let lists = load().taken();
    show(&lists, MAX_REFUSED - 1);
    assert!(judge(&lists, &path).is_ok());
}

#[test]
fn a_list_in_the_name_of_another_authority_is_nobodys() {
    let (signer, named) = (ca(), ca());
    let paths = [issued(&signer, "/web").1, issued(&named, "/web").1];
    let list = signer.crl().in_the_name_of(&named);
    let lists = Load::of(&[&list]).taken();
    for path in &paths {
        assert!(matches!(
            judge(&lists, path),
            Err(ChainFault::RevocationUnknown { .. })
        ));
    }
    assert!(!Load::of(&[&list]).known(&signer).taken().status()[0].is_bound);
    let fault = Load::of(&[&list.without_key_id()]).known(&named).fault();
    assert!(matches!(fault, CrlFault::BadSignature { .. }));
}

#[test]
fn a_list_that_is_there_twice_is_held_once() {
    let ca = ca();
    let der = ca.crl().der();
    let mut load = Load::der(&*der).known(&ca);
    load.lists.push(der);
    assert_eq!(load.taken().status().len(), 1);
}

#[test]
fn an_unchanged_list_is_not_read_again_and_stays_bound() {
    let root = ca();
    let below = root.intermediate();
    let (_, path) = issued(&below, "/web");
    let (ours, theirs) = (root.crl().der(), below.crl().der());
    let load = || Load {
        lists: vec![ours.clone(), theirs.clone()],
        ..Load::default()
    };
    let before = load().known(&root).taken();
    judge(&before, &path).unwrap();
    let after = load().known(&root).after(&before).taken();
    assert!(before.same_as(&after));
    let pairs = before.lists().into_iter().zip(after.lists());
    assert!(
        pairs
            .clone()
            .all(|(before, after)| Arc::ptr_eq(&before, &after))
    );
    assert_eq!(pairs.count(), 2);
    assert!(after.status().iter().all(|list| list.is_bound));
    let afresh = load().known(&root).taken();
    assert!(!Arc::ptr_eq(&before.lists()[0], &afresh.lists()[0]));
}

#[test]
fn a_new_list_of_an_intermediate_that_was_seen_is_bound_at_load() {
    let root = ca();
    let below = root.intermediate();
    let (_, path) = issued(&below, "/web");
    let before = Load::of(&[&root.crl(), &below.crl().number(1)])
        .known(&root)
        .taken();
    judge(&before, &path).unwrap();
    let after = Load::of(&[&root.crl(), &below.crl().number(2)])
        .known(&root)
        .after(&before)
        .taken();
    assert!(after.status()[1].is_bound);
}

#[test]
fn many_handshakes_at_once_bind_a_list_once() {
    let root = ca();
    let below = root.intermediate();
    let (_, path) = issued(&below, "/web");
    let lists = Load::of(&[&root.crl(), &below.crl()]).known(&root).taken();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(judge(&lists, &path).is_ok()));
        }
    });
    assert!(lists.status()[1].is_bound);
}
