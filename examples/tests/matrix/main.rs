//! Every door of a server by every door of a client, in every protocol, for everybody who may come: who is let in and
//! known, who is refused and for what, and whether who is refused learns it.
//!
//! `MTLS_MATRIX_ROUNDS=200 cargo test --workspace --test matrix -- --nocapture` measures the table of `docs/refusals.md`.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is how a test fails; files of the repository are no peer's; errors of others are open lists"
)]

mod cell;
mod clients;
mod conversation;
mod servers;
mod table;
mod world;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cell::{Caller, Cell, Learns, Protocol, Tls};
use clients::{Answer, ClientDoor, Dial};
use mtls_core::Reason;
use servers::ServerDoor;
use table::{Rate, Table};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use world::{About, ClientSide, Decision, Presents, ServerSide, World, expired};

/// Nothing takes as long unless it hangs, and then it is the cell that says so.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a client waits that may have no answer. hyper hands a request to the task of its connection; when that ends in
/// the very moment, the request can be left over, and then nobody answers it as long as it is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Cells at a time.
const AT_A_TIME: usize = 8;

/// How often a client is refused in a cell.
fn rounds() -> usize {
    let said = std::env::var("MTLS_MATRIX_ROUNDS").ok();
    said.map_or(20, |rounds| rounds.parse().unwrap())
}

/// How often a client is let in: by a full handshake, and by a session that is resumed where sessions are.
const WELCOMES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn every_client_at_every_server_is_known_or_learns_why_it_is_refused() {
    let world = World::new();
    let cells: Vec<_> = (Cell::all().into_iter().enumerate())
        .map(|(number, cell)| {
            let client = world.client(number, cell.caller, cell.protocol, cell.tls);
            let server = world.server(number, Presents::Proper, cell.tls, &client);
            (cell, server, client)
        })
        .collect();
    let all_issued = Instant::now();
    let (late, early) = cells
        .into_iter()
        .partition(|(cell, ..)| cell.caller == Caller::Expired);
    let mut rates = each(early, |(cell, server, client)| meet(cell, server, client)).await;
    expired(all_issued).await;
    rates.extend(each(late, |(cell, server, client)| meet(cell, server, client)).await);
    let rates: BTreeMap<_, _> = rates
        .into_iter()
        .filter(|(cell, _)| cell.caller != Caller::Accepted)
        .collect();
    let table = Table::of(&rates);
    println!("{table}");
    // Of a client that may lose an alert nothing is promised but that it knows one when it has one.
    assert_eq!(table.deaf(), Vec::<String>::new());
}

/// A client comes to a door again and again.
async fn meet(
    cell: Cell,
    mut server: ServerSide,
    client: ClientSide,
) -> Result<(Cell, Rate), String> {
    let open = cell.server.open(server.serving.clone()).await;
    let dial = Dial {
        addr: open.addr,
        protocol: cell.protocol,
        client: &client,
        server: (&server.leaf, &server.id),
    };
    let refusal = cell.caller.refusal();
    let rounds = if refusal.is_some() {
        rounds()
    } else {
        WELCOMES
    };
    let mut rate = Rate {
        rounds,
        ..Rate::default()
    };
    let mut unanswered = 0;
    for _ in 0..rounds {
        let asked = Box::pin(cell.client.ask(&dial));
        let answer = match (refusal, cell.learns()) {
            (None, _) | (_, Learns::Always) => within("the client's answer", asked).await?,
            (_, Learns::Mostly) => {
                let answer = timeout(PATIENCE, asked).await;
                answer.unwrap_or(Answer::Nothing)
            }
        };
        match (refusal, answer) {
            (None, Answer::Served(served)) => {
                expect("whom the handler saw", served.caller, client.id.clone())?;
                let its_name = cell.client.knows_its_server().then(|| server.id.clone());
                expect("whom the client met", served.server, its_name)?;
            }
            (Some(refusal), Answer::Refused(told)) => match told.alert {
                Some(alert) => {
                    expect("the alert", alert.as_str(), refusal.alert)?;
                    rate.learned += 1;
                }
                None if cell.learns() == Learns::Mostly => {
                    let told = told.error.replace(&open.addr.to_string(), "ADDR");
                    rate.losses.insert(told);
                }
                None => return Err(format!("no alert in {}", told.error)),
            },
            (Some(_), Answer::Nothing) if unanswered < rounds.div_ceil(10) => {
                unanswered += 1;
                rate.losses.insert(format!("no answer within {PATIENCE:?}"));
            }
            (_, Answer::Strange(error)) => return Err(error),
            (_, answer) => return Err(format!("the client's answer is {answer:?}")),
        }
        let decision = within("the server's decision", server.told.recv()).await?;
        expect(
            "the server's decision",
            decision,
            Some(decision_on(cell, &client)),
        )?;
    }
    // A client may have tried again by itself.
    while let Ok(decision) = server.told.try_recv() {
        expect(
            "the server's decision on another try",
            decision,
            decision_on(cell, &client),
        )?;
    }
    let calls = if refusal.is_some() { 0 } else { rounds };
    expect(
        "how many requests reached the handler",
        open.calls.so_far(),
        calls,
    )?;
    Ok((cell, rate))
}

fn decision_on(cell: Cell, client: &ClientSide) -> Decision {
    let name = client.id.clone();
    let about = match cell.caller {
        _ if cell.server == ServerDoor::RustlsAlone => None,
        Caller::Accepted | Caller::NotAuthorized => Some(About::Peer(name)),
        Caller::Expired | Caller::Stranger => Some(About::Presented(name)),
        Caller::NoCertificate => Some(About::Nobody),
    };
    let reason = cell.caller.refusal().map(|refusal| refusal.reason);
    Decision {
        reason,
        about,
        alert: None,
    }
}

/// A server that a client of ours has to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Distrust {
    server: ServerDoor,
    client: ClientDoor,
    protocol: Protocol,
    presents: Presents,
}

impl Distrust {
    fn all() -> Vec<Self> {
        let http = [ServerDoor::Tower, ServerDoor::ByHand];
        let http = http.map(|server| (server, &ClientDoor::HTTP[..], &Protocol::HTTP[..]));
        let grpc =
            ServerDoor::GRPC.map(|server| (server, &ClientDoor::GRPC[..], &[Protocol::Grpc][..]));
        let mut cells = Vec::new();
        for (server, clients, protocols) in http.into_iter().chain(grpc) {
            for &client in clients.iter().filter(|client| client.is_ours()) {
                for &protocol in protocols {
                    let kinds = [Presents::Stranger, Presents::Expired, Presents::AnotherName];
                    cells.extend(kinds.map(|presents| Self {
                        server,
                        client,
                        protocol,
                        presents,
                    }));
                }
            }
        }
        cells
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_refuses_a_server_that_is_not_who_it_should_be_and_both_know_why() {
    let world = World::new();
    let cells: Vec<_> = (Distrust::all().into_iter().enumerate())
        .map(|(number, cell)| {
            let client = world.client(number, Caller::Accepted, cell.protocol, Tls::V13);
            let server = world.server(number, cell.presents, Tls::V13, &client);
            (cell, server, client)
        })
        .collect();
    let all_issued = Instant::now();
    let (late, early) = cells
        .into_iter()
        .partition(|(cell, ..)| cell.presents == Presents::Expired);
    each(early, |(cell, server, client)| refuse(cell, server, client)).await;
    expired(all_issued).await;
    each(late, |(cell, server, client)| refuse(cell, server, client)).await;
}

async fn refuse(
    cell: Distrust,
    mut server: ServerSide,
    client: ClientSide,
) -> Result<(Distrust, ()), String> {
    let open = cell.server.open(server.serving.clone()).await;
    let dial = Dial {
        addr: open.addr,
        protocol: cell.protocol,
        client: &client,
        server: (&server.leaf, &server.id),
    };
    for _ in 0..WELCOMES {
        match within("the client's answer", Box::pin(cell.client.ask(&dial))).await? {
            Answer::Distrusted(why) => {
                expect(
                    "the client's reason",
                    Some(why),
                    cell.presents.refused_for(),
                )?;
            }
            Answer::Strange(error) => return Err(error),
            answer => return Err(format!("the client's answer is {answer:?}")),
        }
        let decision = within("what the server was told", server.told.recv()).await?;
        let told = Decision {
            reason: Some(Reason::RefusedByPeer),
            about: Some(About::Nobody),
            // Whatever the reason: rustls has one alert for a verifier that is not its own.
            alert: Some("certificate_unknown".to_owned()),
        };
        expect("what the server was told", decision, Some(told))?;
    }
    expect(
        "how many requests reached the handler",
        open.calls.so_far(),
        0,
    )?;
    Ok((cell, ()))
}

/// Runs the cells, some at a time, and fails with all of those that failed.
async fn each<C, K, T, F>(cells: Vec<(K, ServerSide, ClientSide)>, run: C) -> BTreeMap<K, T>
where
    C: Fn((K, ServerSide, ClientSide)) -> F,
    F: Future<Output = Result<(K, T), String>> + Send + 'static,
    K: Copy + Debug + Ord + Send + 'static,
    T: Send + 'static,
{
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut running = JoinSet::new();
    for cell in cells {
        let (name, places) = (cell.0, Arc::clone(&places));
        let run = run(cell);
        running.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            // In a task of its own: a panic is this cell's.
            let done = tokio::spawn(run).await;
            done.unwrap_or_else(|error| Err(error.to_string()))
                .map_err(|why| format!("{name:?}: {why}"))
        });
    }
    let done = running.join_all().await;
    let failed: Vec<_> = done.iter().filter_map(|done| done.as_ref().err()).collect();
    assert!(
        failed.is_empty(),
        "{} cells failed: {failed:#?}",
        failed.len()
    );
    done.into_iter().map(Result::unwrap).collect()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, String> {
    timeout(LIMIT, future)
        .await
        .map_err(|_| format!("{what} is not there after {LIMIT:?}"))
}

fn expect<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} is {found:?}, expected {expected:?}"))
}

fn docs() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/refusals.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_table_of_the_docs_has_each_cell_and_no_other() {
    assert_eq!(table::faults(&docs()), Vec::<String>::new());
}

#[test]
fn a_row_too_few_or_too_many_and_a_rate_that_breaks_a_promise_are_told() {
    let docs = docs();
    let row = docs
        .lines()
        .find(|line| line.starts_with("| rustls, `ClientTls` | HTTP/2 | 1.3 |"));
    let row = format!("{}\n", row.unwrap());
    let (no_certificate, rates) = row.split_once(" — | ").unwrap();
    for wrong in [
        String::new(),
        row.repeat(2),
        row.replace("HTTP/2", "HTTP/3"),
        row.replace(" — ", " 1 of 1 "),
        row.replacen("200 of", "199 of", 1),
        row.replacen("1200 of 1200", "—", 1),
        row.replacen("1200 of 1200", "all", 1),
        format!("{no_certificate} {rates}"),
    ] {
        let told = table::faults(&docs.replace(&row, &wrong));
        assert!(!told.is_empty(), "{wrong}");
    }
}
