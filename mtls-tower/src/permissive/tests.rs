use std::net::Ipv6Addr;

use tokio::time::advance;

use super::addresses::BOUND;
use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A handle whose clock is set by the test, in seconds.
fn at(seconds: i64, end: Option<i64>) -> (Permissive, impl Fn(i64)) {
    let clock = Arc::new(Mutex::new(Timestamp::from_unix(seconds)));
    let set = Arc::clone(&clock);
    let end = end.map(Timestamp::from_unix);
    let permissive = Permissive::new(end, Clock::Set(clock));
    (permissive, move |seconds| {
        *set.lock().unwrap() = Timestamp::from_unix(seconds);
    })
}

fn ip(number: usize) -> IpAddr {
    let number = u128::try_from(number).unwrap();
    Ipv6Addr::from_bits((0x2001 << 112) | number).into()
}

#[test]
fn it_goes_strict_at_its_end_and_stays_so_when_the_clock_is_set_back() {
    let (permissive, set) = at(1_000, Some(2_000));
    assert!(permissive.admit(Some(ip(1))).is_some());
    set(1_999);
    assert!(!permissive.is_strict());
    set(2_000);
    assert!(permissive.is_strict());
    assert!(permissive.admit(Some(ip(1))).is_none());
    set(1_000);
    assert!(permissive.is_strict());
    assert!(permissive.admit(Some(ip(1))).is_none());
}

#[test]
fn an_end_that_has_passed_is_strict_from_the_beginning() {
    let permissive = Permissive::until(Timestamp::from_unix(Timestamp::now().as_unix() - 1));
    assert!(permissive.is_strict());
    assert!(permissive.admit(Some(ip(1))).is_none());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_end_hears_of_the_switch_and_of_the_date() {
    let (permissive, _set) = at(1_000, None);
    let handle = permissive.clone();
    let waiting = tokio::spawn(async move { handle.ended().await });
    tokio::task::yield_now().await;
    permissive.go_strict();
    waiting.await.unwrap();

    let (permissive, set) = at(1_000, Some(1_060));
    let handle = permissive.clone();
    let waiting = tokio::spawn(async move { handle.ended().await });
    advance(Duration::from_secs(40)).await;
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    set(1_060);
    advance(Duration::from_secs(31)).await;
    waiting.await.unwrap();
}

#[test]
fn it_is_safe_to_go_strict_when_nobody_has_been_in_plaintext_for_as_long_as_was_asked() {
    let day = i64::try_from(DAY.as_secs()).unwrap();
    let (permissive, set) = at(0, None);
    let is_safe = || permissive.report().is_safe_to_go_strict(DAY);
    assert!(!is_safe(), "nobody has looked for a day");
    set(day);
    assert!(is_safe());
    let open = permissive.admit(Some(ip(1))).unwrap();
    set(3 * day);
    assert!(!is_safe(), "it came long ago, and is still there");
    assert_eq!(
        permissive.report().plaintext[0].last_seen.as_unix(),
        3 * day
    );
    drop(open);
    assert!(!is_safe());
    set(4 * day - 1);
    assert!(!is_safe());
    set(4 * day);
    assert!(is_safe());
}

#[test]
fn a_downgrade_is_plaintext_from_an_address_that_has_come_in_by_tls() {
    let (permissive, _set) = at(0, None);
    permissive.note_tls(Some(ip(1)));
    drop(permissive.admit(Some(ip(2))));
    assert_eq!(permissive.report().downgrades, 0);
    drop(permissive.admit(Some(ip(1))));
    permissive.note_tls(Some(ip(2)));
    let report = permissive.report();
    assert_eq!(report.downgrades, 1);
    let of = |wanted| {
        let found = report.plaintext.iter().find(|it| it.ip == wanted);
        found.unwrap().downgrades
    };
    assert_eq!((of(ip(1)), of(ip(2))), (1, 0));
}

#[test]
fn an_ipv4_address_is_one_in_whichever_form_it_comes() {
    let (permissive, _set) = at(0, None);
    drop(permissive.admit(Some("::ffff:192.0.2.1".parse().unwrap())));
    drop(permissive.admit(Some("192.0.2.1".parse().unwrap())));
    let report = permissive.report();
    assert_eq!(report.plaintext.len(), 1);
    assert_eq!(report.plaintext[0].connections, 2);
    assert!(
        report
            .to_string()
            .contains("\n192.0.2.1: 2 connections, 0 open")
    );
}

#[test]
fn a_flood_of_addresses_forgets_the_oldest_counts_them_and_keeps_who_is_there() {
    let (permissive, set) = at(0, None);
    let open = permissive.admit(Some(ip(0))).unwrap();
    for number in 1..=BOUND + 10 {
        set(i64::try_from(number).unwrap());
        drop(permissive.admit(Some(ip(number))));
        permissive.note_tls(Some(ip(number)));
    }
    let report = permissive.report();
    assert_eq!(report.plaintext.len(), BOUND);
    assert_eq!(report.forgotten, 11 + 10);
    assert_eq!(report.connections, u64::try_from(BOUND).unwrap() + 11);
    let known = |number| report.plaintext.iter().any(|it| it.ip == ip(number));
    assert!(known(0) && known(BOUND + 10) && !known(1));
    drop(open);
    assert_eq!(permissive.report().open, 0);
}

#[tokio::test(start_paused = true)]
async fn it_warns_every_minute_without_an_end_every_hour_with_one_and_never_once_strict() {
    for (end, every) in [(None, LOUD), (Some(1), REMINDER)] {
        let (permissive, _set) = at(0, end);
        let next = Some(Instant::now() + every);
        assert_eq!(permissive.warn_if_due(), next);
        advance(every / 2).await;
        assert_eq!(permissive.warn_if_due(), next);
        advance(every / 2).await;
        assert_eq!(permissive.warn_if_due(), next.map(|at| at + every));
        permissive.go_strict();
        assert_eq!(permissive.warn_if_due(), None);
    }
}
