//! A thousand connections of a hundred peers, of which one after the other loses what let it in.

use std::sync::Arc;
use std::time::Duration;

use mtls_core::testing::{Issued, LeafOptions};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clients::{Conn, Kind, Outcome, config};
use crate::server::{Authorities, Live};

/// What ends the connections of one peer. A further one is a further row.
struct Cause {
    name: &'static str,
    issue: fn(&Authorities) -> Arc<Issued>,
    take_away: fn(&mut Live),
    status: u16,
    grpc_status: &'static str,
}

const CAUSES: &[Cause] = &[
    Cause {
        name: "a line of policy",
        issue: |from| Arc::new(from.ca.issue("/banned")),
        take_away: |server| server.policy.ban("spiffe://example.org/banned"),
        status: 403,
        grpc_status: "7",
    },
    Cause {
        name: "its certificate, which is revoked",
        issue: |from| Arc::clone(&from.doomed),
        take_away: Live::revoke,
        status: 401,
        grpc_status: "16",
    },
    Cause {
        name: "its CA",
        issue: |from| Arc::new(from.second.issue("/of-second")),
        take_away: Live::remove_second_ca,
        status: 401,
        grpc_status: "16",
    },
    Cause {
        name: "its trust domain",
        issue: |from| Arc::new(from.partner.issue("/of-partner")),
        take_away: Live::remove_partner,
        status: 401,
        grpc_status: "16",
    },
    Cause {
        name: "the name of its trust domain",
        issue: |from| Arc::new(from.alias.issue("/of-alias")),
        take_away: Live::remove_alias,
        status: 401,
        grpc_status: "16",
    },
];

const PEERS: usize = 100;
const KINDS: [Kind; 10] = [
    Kind::Http1,
    Kind::Http1,
    Kind::Http1,
    Kind::Http1,
    Kind::Http2,
    Kind::Http2,
    Kind::Http2,
    Kind::Grpc,
    Kind::Grpc,
    Kind::Grpc,
];

const DEADLINE: Duration = Duration::from_secs(1);

/// What a machine may take to notice, beyond what it is given.
const SLACK: Duration = Duration::from_secs(10);

/// Opens the ten connections of one peer.
async fn ten(server: &Live, issued: &Issued) -> Vec<Conn> {
    let mut opening = JoinSet::new();
    for kind in KINDS {
        let config = config(issued, &server.authorities.ca, kind);
        let (addr, serial) = (server.addr, issued.serial());
        opening.spawn(Conn::with(addr, config, serial, kind));
    }
    let mut conns = opening.join_all().await;
    for conn in &mut conns {
        assert!(conn.is_untouched().await);
    }
    conns
}

/// How many connections of how many are as good as ever.
async fn untouched(conns: &mut [Vec<Conn>]) -> (usize, usize) {
    let mut asking = JoinSet::new();
    for (peer, conns) in conns.iter_mut().enumerate() {
        let mut conns = std::mem::take(conns);
        asking.spawn(async move {
            let mut good = 0;
            for conn in &mut conns {
                good += usize::from(conn.is_untouched().await);
            }
            (peer, good, conns)
        });
    }
    let (mut all_good, mut all) = (0, 0);
    for (peer, good, back) in asking.join_all().await {
        all_good += good;
        all += back.len();
        conns[peer] = back;
    }
    (all_good, all)
}

/// Two sockets for each connection, and some for the rest.
#[expect(
    clippy::disallowed_methods,
    reason = "a file of the kernel's, and short"
)]
fn has_descriptors() -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    soft.is_none_or(|soft| soft >= 2 * PEERS * KINDS.len() + 200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_loses_what_let_it_in_is_refused_and_ended_and_nobody_else_notices() {
    if !has_descriptors() {
        eprintln!("left out: a process may open too few files here for a thousand connections");
        return;
    }
    let mut server = Live::start(DEADLINE);
    let mut victims = Vec::new();
    for cause in CAUSES {
        let issued = (cause.issue)(&server.authorities);
        victims.push(ten(&server, &issued).await);
    }
    let mut others = Vec::new();
    for peer in CAUSES.len()..PEERS - 1 {
        let issued = server.issue(&format!("/peer-{peer}"));
        others.push(ten(&server, &issued).await);
    }
    // Its end comes by itself, while the others' is made.
    let short_lived = server
        .authorities
        .ca
        .issue_with(LeafOptions::service("/short").expires_in(Duration::from_secs(4)));
    let short = ten(&server, &short_lived).await;
    let all = (PEERS - 1 - CAUSES.len()) * KINDS.len();
    assert_eq!(untouched(&mut others).await, (all, all));

    for cause in CAUSES {
        let lost = victims.remove(0);
        (cause.take_away)(&mut server);
        ends(cause, lost).await;
        assert_eq!(
            untouched(&mut victims).await,
            counted(&victims),
            "{}",
            cause.name
        );
        assert_eq!(untouched(&mut others).await, (all, all), "{}", cause.name);
    }

    for conn in short {
        let (kind, ended) = (conn.kind, tokio::time::timeout(SLACK, conn.task).await);
        let ended = ended.expect("its time is over").unwrap();
        // Whoever was idle was not cut. A call that goes on has had its time.
        assert!(ended.is_ok() || kind == Kind::Grpc, "{ended:?}");
    }
    assert_eq!(untouched(&mut others).await, (all, all), "notAfter");
}

fn counted(conns: &[Vec<Conn>]) -> (usize, usize) {
    let all = conns.iter().map(Vec::len).sum();
    (all, all)
}

/// Ten connections of one peer that has just lost what let it in.
async fn ends(cause: &'static Cause, conns: Vec<Conn>) {
    let lost = Instant::now();
    let mut ending = JoinSet::new();
    for (n, conn) in conns.into_iter().enumerate() {
        ending.spawn(one_ends(cause, conn, n % 2 == 0, lost));
    }
    let refused = ending.join_all().await;
    let refused = refused.into_iter().filter(|refused| *refused).count();
    assert!(refused > 0, "{}: nobody was refused", cause.name);
}

/// Some ask and some are idle; some calls go on and some end. Returns whether a request was refused, and not only too late
/// for a connection that had been closed by then.
async fn one_ends(cause: &Cause, mut conn: Conn, asks: bool, lost: Instant) -> bool {
    let mut refused = false;
    if asks {
        let outcome = conn.ask("/").await;
        refused = outcome != Outcome::Closed;
        let as_expected = match (&outcome, conn.kind) {
            (Outcome::Refused(status), Kind::Http1 | Kind::Http2) => *status == cause.status,
            (Outcome::RefusedCall(status), Kind::Grpc) => status == cause.grpc_status,
            (Outcome::Closed, _) => true,
            _ => false,
        };
        assert!(as_expected, "{}: {outcome:?}", cause.name);
        // What was begun may end.
        conn.end_call().await;
    }
    let is_cut = conn.kind == Kind::Grpc && !asks;
    let ended = tokio::time::timeout(DEADLINE + SLACK, &mut conn.task).await;
    let ended = ended.expect("ended").unwrap();
    if is_cut {
        // It had until the deadline.
        assert!(!conn.call_goes_on().await, "{}", cause.name);
        assert!(lost.elapsed() >= DEADLINE.mul_f64(0.9), "{}", cause.name);
    } else {
        assert!(
            ended.is_ok(),
            "{}: {:?} {asks} {:?} {ended:?}",
            cause.name,
            conn.kind,
            lost.elapsed()
        );
    }
    refused
}
