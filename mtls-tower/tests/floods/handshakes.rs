//! Before the handshake is done: many who say nothing, little, or one byte at a time, and many who are refused.

use std::io::ErrorKind;

use mtls_core::rustls::ClientConnection;
use mtls_core::testing::TestCa;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::common::{Foreign, connect, within};
use crate::target::{Options, Proper, Target, target};

const PENDING: usize = 32;
const ATTACKERS: usize = 4 * PENDING;

fn few_at_a_time(options: Options) -> Options {
    Options {
        limits: options.limits.pending_handshakes(PENDING),
        ..options
    }
}

/// What one of our clients would begin with.
pub fn client_hello(ca: &TestCa) -> Vec<u8> {
    let config = Foreign::presenting(&ca.issue("/attacker")).config(ca);
    let name = "localhost".try_into().unwrap();
    let mut tls = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}

/// From an address of the attacker's own: the proper client is at another.
async fn dial(target: &Target) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 66], 0).into()).unwrap();
    let tcp = within(socket.connect(target.addr)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// Whether the server's end is open. What it has sent is read away.
fn is_open(tcp: &TcpStream) -> bool {
    loop {
        match tcp.try_read(&mut [0; 4096]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// They are there, as many as the bound lets, and the others were given up; the kept connection of the proper client and the
/// one that it is making come on top.
async fn the_bound_holds(target: &Target, attackers: &[TcpStream]) {
    target.settles_at(PENDING + 2).await;
    let open = attackers.iter().filter(|tcp| is_open(tcp)).count();
    assert!(open <= PENDING, "{open} unfinished handshakes");
    assert!(open > PENDING / 2, "{open}: the flood was not there");
    let shed = target.seen.refused("shed");
    assert!(shed >= ATTACKERS - PENDING, "{:?}", target.seen.reasons());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_flood_holds_as_many_handshakes_as_may_be_pending() {
    let target = target!(few_at_a_time);
    let proper = Proper::start(&target).await;
    let mut silent = Vec::new();
    for _ in 0..ATTACKERS {
        silent.push(dial(&target).await);
    }
    proper.goes_on().await;
    the_bound_holds(&target, &silent).await;
    proper.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handshake_flood_holds_as_many_handshakes_as_may_be_pending() {
    let target = target!(few_at_a_time);
    let hello = client_hello(&target.ca);
    let proper = Proper::start(&target).await;
    let mut slow = Vec::new();
    for _ in 0..ATTACKERS {
        // The server has answered, has done the costly half of a key exchange, and waits for the client's certificate.
        let mut tcp = dial(&target).await;
        tcp.write_all(&hello).await.unwrap();
        slow.push(tcp);
    }
    proper.goes_on().await;
    the_bound_holds(&target, &slow).await;
    proper.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_send_a_byte_at_a_time_hold_as_many_handshakes_as_may_be_pending() {
    let target = target!(few_at_a_time);
    let hello = client_hello(&target.ca);
    let proper = Proper::start(&target).await;
    let mut slow = Vec::new();
    for _ in 0..ATTACKERS {
        slow.push(dial(&target).await);
    }
    // Progress is no reason to be kept: whoever came first still is the first to go.
    for byte in hello.iter().take(100) {
        for tcp in &mut slow {
            let _ = tcp.write_u8(*byte).await;
        }
        if byte % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    proper.goes_on().await;
    the_bound_holds(&target, &slow).await;
    proper.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_address_takes_no_place_of_anothers_however_old() {
    let target = target!(few_at_a_time);
    // The oldest of all, and slower than the whole flood.
    let proper = within(TcpStream::connect(target.addr)).await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..ATTACKERS {
        flood.push(dial(&target).await);
    }
    within(async {
        while target.seen.refused("shed") < ATTACKERS + 1 - PENDING {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(is_open(&proper));
    let config = Foreign::presenting(&target.ca.issue("/web")).config(&target.ca);
    connect(config, proper).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_clients_that_do_not_leave_linger_in_a_bounded_number() {
    // As `Limits::linger` has it; this server would wait for an hour.
    const LINGERING: usize = 256;
    let target = target!();
    let proper = Proper::start(&target).await;
    let mut refused = Vec::new();
    for _ in 0..2 * LINGERING {
        let mut tcp = dial(&target).await;
        tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        refused.push(tcp);
    }
    within(async {
        while target.seen.refused("plaintext_peer") < refused.len() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    proper.goes_on().await;
    target.settles_at(LINGERING + 2).await;
    let held = target.held();
    assert!(held >= LINGERING, "{held}: nobody lingers");
    proper.end().await;
    drop(refused);
    target.settles_at(0).await;
}
