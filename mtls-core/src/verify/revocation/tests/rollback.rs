//! A newer list is not replaced by an older one.

use super::*;
use crate::reason::Reason;
use crate::verify::revocation::CrlRollback;

/// Whether the second list may replace the first.
fn replaced(ca: &TestCa, first: &TestCrl<'_>, second: &TestCrl<'_>) -> Result<(), CrlFault> {
    let before = Load::of(&[first]).known(ca).taken();
    let load = || Load::of(&[second]).known(ca).after(&before);
    load().result().map(|_| ()).map_err(|_| load().fault())
}

fn is_rollback(result: Result<(), CrlFault>) -> bool {
    matches!(result, Err(CrlFault::Rollback { .. }))
}

#[test]
fn a_lower_number_is_refused() {
    let ca = ca();
    let list = |number: &[u8]| ca.crl().number_bytes(number);
    assert!(replaced(&ca, &list(&[9]), &list(&[1, 0])).is_ok());
    let refused = replaced(&ca, &list(&[1, 0]), &list(&[9]));
    assert_eq!(refused.as_ref().unwrap_err().reason(), Reason::CrlRollback);
    let text = refused.unwrap_err().to_string();
    assert!(
        text.contains("number 09 of") && text.contains("number 0100 of"),
        "{text}"
    );
}

#[test]
fn a_higher_number_is_taken_whatever_its_date() {
    let ca = ca();
    let (early, late) = (at(-2 * HOUR), at(-HOUR));
    let list = |number, date| ca.crl().number(number).this_update(date);
    assert!(replaced(&ca, &list(1, late), &list(2, early)).is_ok());
    assert!(is_rollback(replaced(&ca, &list(2, early), &list(1, late))));
}

#[test]
fn where_numbers_do_not_tell_an_older_date_is_refused() {
    let ca = ca();
    let (early, late) = (at(-2 * HOUR), at(-HOUR));
    let same = |date| ca.crl().number(5).this_update(date);
    let without = |date| ca.crl().without_number().this_update(date);
    assert!(replaced(&ca, &same(early), &same(late)).is_ok());
    assert!(is_rollback(replaced(&ca, &same(late), &same(early))));
    assert!(replaced(&ca, &without(early), &without(late)).is_ok());
    assert!(is_rollback(replaced(&ca, &without(late), &without(early))));
    assert!(is_rollback(replaced(&ca, &same(late), &without(early))));
    // The same again, signed anew.
    assert!(replaced(&ca, &same(late), &same(late)).is_ok());
}

#[test]
fn a_rollback_is_taken_by_choice_and_counts_from_there() {
    let ca = ca();
    let before = Load::of(&[&ca.crl().number(9)]).known(&ca).taken();
    let accept = Revocation::new().rollback(CrlRollback::Accept);
    let old = Load::of(&[&ca.crl().number(2)]).known(&ca).after(&before);
    let old = old.settings(accept).taken();
    let next = Load::of(&[&ca.crl().number(3)]).known(&ca).after(&old);
    assert!(next.result().is_ok());
}

#[test]
fn an_older_list_does_not_slip_in_while_none_is_there() {
    let (ca, other) = (ca(), ca());
    let before = Load::of(&[&ca.crl().number(9)]).known(&ca).taken();
    let gap = Load::of(&[&other.crl()])
        .known(&other)
        .after(&before)
        .taken();
    let gap = Load::of(&[&other.crl()]).known(&other).after(&gap).taken();
    let load = |number| Load::of(&[&ca.crl().number(number)]).known(&ca).after(&gap);
    assert!(load(9).result().is_ok());
    assert!(matches!(load(8).fault(), CrlFault::Rollback { .. }));
}

#[test]
fn the_list_of_an_intermediate_is_not_rolled_back_either() {
    let root = ca();
    let below = root.intermediate();
    let (_, path) = issued(&below, "/web");
    let load = |number| Load::of(&[&root.crl(), &below.crl().number(number)]).known(&root);
    let before = load(5).taken();
    judge(&before, &path).unwrap();
    assert!(load(6).after(&before).result().is_ok());
    assert!(matches!(
        load(4).after(&before).fault(),
        CrlFault::Rollback { .. }
    ));
}

#[test]
fn an_old_list_left_beside_the_new_one_is_no_rollback() {
    let ca = ca();
    let before = Load::of(&[&ca.crl().number(9)]).known(&ca).taken();
    let both = [&ca.crl().number(3), &ca.crl().number(9)];
    assert!(Load::of(&both).known(&ca).after(&before).result().is_ok());
}

#[test]
fn a_namesake_counts_for_itself() {
    let old = ca();
    let new = old.same_name_other_key();
    let before = Load::of(&[&old.crl().number(9)])
        .known(&old)
        .known(&new)
        .taken();
    let lists = [&old.crl().number(9), &new.crl().number(1)];
    let after = Load::of(&lists).known(&old).known(&new).after(&before);
    assert!(after.result().is_ok());
}
