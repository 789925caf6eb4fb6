//! A list that is broken, beside lists that are not.

use super::*;

/// Each list with the file that it is in, and what could not be read beside them.
fn found(lists: &[(&str, &TestCrl<'_>)], faults: &[LoadError]) -> CrlsFound {
    let lists = lists.iter().map(|(origin, list)| CrlMaterial {
        der: list.der(),
        origin: origin.into(),
    });
    CrlsFound {
        lists: lists.collect(),
        faults: faults.to_vec(),
    }
}

fn load(
    found: CrlsFound,
    issuers: &[&TestCa],
    previous: Option<&RevocationLists>,
) -> Result<(RevocationLists, Vec<LoadError>), LoadError> {
    let issuers: Vec<_> = issuers
        .iter()
        .map(|ca| facts(&ca.certificate_der()))
        .collect();
    let issuers: Vec<_> = issuers.iter().collect();
    let settings = Revocation::new();
    RevocationLists::load(found, &issuers, previous, settings, algorithms(), now())
}

/// What became of a list, by its file and number.
fn held(lists: &RevocationLists) -> Vec<String> {
    let all = lists.status().into_iter().map(|list| {
        let number = list.number.unwrap_or_default();
        format!("{} {}", list.path.display(), number.trim_start_matches('0'))
    });
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

#[test]
fn a_broken_list_keeps_its_last_good_and_holds_back_no_new_one_beside_it() {
    let (a, b) = (ca(), ca());
    let (caller, path) = issued(&a, "/web");
    let (revoked, gone) = issued(&b, "/gone");
    let cas = [&a, &b];
    let first = [("a.crl", &a.crl()), ("b.crl", &b.crl().revoke(&revoked))];
    let (before, errors) = load(found(&first, &[]), &cas, None).unwrap();
    assert!(errors.is_empty());
    judge(&before, &path).unwrap();
    assert!(matches!(
        judge(&before, &gone),
        Err(ChainFault::Revoked { .. })
    ));

    let news = a.crl().number(2).revoke(&caller);
    let unread = LoadError::CrlMissing {
        path: "b.crl".into(),
        found: "an empty file",
    };
    let truncated = found(&[("a.crl", &news)], &[unread]);
    let damaged = found(
        &[
            ("b.crl", &b.crl().number(2).bad_signature()),
            ("a.crl", &news),
        ],
        &[],
    );
    for wrong in [truncated, damaged] {
        let (after, errors) = load(wrong, &cas, Some(&before)).unwrap();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(held(&after), ["a.crl 2", "b.crl 1"]);
        for path in [&path, &gone] {
            assert!(matches!(
                judge(&after, path),
                Err(ChainFault::Revoked { .. })
            ));
        }
    }
}

#[test]
fn a_list_that_is_rolled_back_holds_back_no_new_one_beside_it() {
    let (a, b) = (ca(), ca());
    let cas = [&a, &b];
    let first = [("a.crl", &a.crl()), ("b.crl", &b.crl().number(9))];
    let (before, _) = load(found(&first, &[]), &cas, None).unwrap();
    let next = [("a.crl", &a.crl().number(2)), ("b.crl", &b.crl().number(8))];
    let (after, errors) = load(found(&next, &[]), &cas, Some(&before)).unwrap();
    let [LoadError::CrlRefused { source, .. }] = &errors[..] else {
        panic!("{errors:?}");
    };
    assert!(matches!(**source, CrlFault::Rollback { .. }));
    assert_eq!(held(&after), ["a.crl 2", "b.crl 9"]);
}

#[test]
fn with_nothing_before_one_broken_list_refuses_all() {
    let (a, b) = (ca(), ca());
    let broken = found(&[("a.crl", &a.crl()), ("b.crl", &b.crl().delta(1))], &[]);
    let refused = load(broken, &[&a, &b], None).unwrap_err();
    assert!(matches!(refused, LoadError::CrlRefused { .. }), "{refused}");
    let refused = load(found(&[], &[]), &[&a], None).unwrap_err();
    assert!(matches!(refused, LoadError::CrlsEmpty));
}

#[test]
fn however_long_a_neighbour_is_broken_lists_that_were_replaced_do_not_pile_up() {
    let (a, b) = (ca(), ca());
    let cas = [&a, &b];
    let first = [("1.crl", &a.crl()), ("b.crl", &b.crl())];
    let (mut lists, _) = load(found(&first, &[]), &cas, None).unwrap();
    for number in 2..20 {
        // The authority writes a file of another name each time.
        let (name, next) = (format!("{number}.crl"), a.crl().number(number));
        let wrong = found(&[(&name, &next), ("b.crl", &b.crl().delta(1))], &[]);
        lists = load(wrong, &cas, Some(&lists)).unwrap().0;
        assert_eq!(held(&lists).len(), 2, "{:?}", held(&lists));
    }
    // Sound again, it is as if nothing had been: what has gone is gone.
    let (lists, errors) = load(found(&[("b.crl", &b.crl())], &[]), &cas, Some(&lists)).unwrap();
    assert!(errors.is_empty());
    assert_eq!(held(&lists), ["b.crl 1"]);
    // And is remembered: an older one does not slip in.
    let old = found(&[("b.crl", &b.crl()), ("2.crl", &a.crl().number(2))], &[]);
    assert_eq!(load(old, &cas, Some(&lists)).unwrap().1.len(), 1);
}

#[test]
fn a_list_of_another_file_is_not_forgotten_while_something_is_wrong() {
    let (a, b) = (ca(), ca());
    let first = [("a.crl", &a.crl()), ("b.crl", &b.crl())];
    let (before, _) = load(found(&first, &[]), &[&a, &b], None).unwrap();
    // The directory cannot be listed: nothing is known of either.
    let unlisted = LoadError::FileMissing {
        path: "crl".into(),
        target: None,
    };
    let (after, errors) = load(found(&[], &[unlisted]), &[&a, &b], Some(&before)).unwrap();
    assert_eq!((errors.len(), held(&after)), (1, held(&before)));
    assert!(after.same_as(&before), "no new trust for that");
}
