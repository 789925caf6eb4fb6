//! Peers that are let in and misbehave over HTTP/2. What ends them are the limits of h2 and hyper, which are ours to show.

use std::time::Duration;

use tokio::time::timeout;

use crate::common::within;
use crate::frames::{
    ACK, Attack, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS,
    INITIAL_WINDOW_SIZE, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, field, frame, get, get_fields,
    setting,
};
use crate::target::{Options, PIECE, Proper, Target, target};

/// hyper's bound on requests of one connection at a time.
const STREAMS: u32 = 200;

/// The odd numbers, which are the client's.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|n| 2 * n + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_end_their_connection() {
    // CVE-2023-44487: a request that is taken back at once costs its sender nothing, and counts as none of those at a time.
    let target = target!();
    let proper = Proper::start(&target).await;
    let mut attack = Attack::start(&target, &setting(INITIAL_WINDOW_SIZE, 0)).await;
    let cancel = 8_u32.to_be_bytes();
    let mut goaway = None;
    for round in 0..100 {
        let resets: Vec<u8> = streams(500)
            .map(|stream| stream + round * 1000)
            .flat_map(|stream| {
                [
                    get(stream, "/endless"),
                    frame(RST_STREAM, 0, stream, &cancel),
                ]
            })
            .flatten()
            .collect();
        if attack.send(&resets).await.is_err() {
            break;
        }
    }
    if let Some(code) = attack.goaway().await {
        goaway = Some(code);
    }
    // A reset of the connection may have overtaken it.
    assert!(
        matches!(goaway, None | Some(ENHANCE_YOUR_CALM)),
        "{goaway:?}"
    );
    assert!(target.seen.most_at_a_time() <= STREAMS as usize);
    proper.goes_on().await;
    // The attacker's connection is gone, though the attacker is not.
    proper.end().await;
    target.settles_at(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuations_without_end_end_their_connection() {
    let target = target!();
    let proper = Proper::start(&target).await;
    for field in [Vec::new(), field("x-a", 100)] {
        let first = [
            setting(INITIAL_WINDOW_SIZE, 0),
            frame(HEADERS, END_STREAM, 1, &get_fields("/")),
        ];
        let mut attack = Attack::start(&target, &first.concat()).await;
        let more = frame(CONTINUATION, 0, 1, &field).repeat(100);
        within(async { while attack.send(&more).await.is_ok() {} }).await;
        let goaway = attack.goaway().await;
        assert!(
            matches!(goaway, None | Some(ENHANCE_YOUR_CALM)),
            "{goaway:?}"
        );
        proper.goes_on().await;
        target.settles_at(2).await;
    }
    proper.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_beyond_16_kib_are_answered_with_431_or_a_reset_and_the_connection_serves_on() {
    let target = target!();
    let mut attack = Attack::start(&target, &frame(SETTINGS, 0, 0, &[])).await;
    let fields: Vec<u8> = (0..200).flat_map(|_| field("x-a", 100)).collect();
    let (first, rest) = fields.split_at(10_000);
    let block = [get_fields("/"), first.to_vec()].concat();
    attack
        .send(&frame(HEADERS, END_STREAM, 1, &block))
        .await
        .unwrap();
    attack
        .send(&frame(CONTINUATION, END_HEADERS, 1, rest))
        .await
        .unwrap();
    // `:status 431` has no index, `:status 200` is 0x88.
    let first = answer(&mut attack, 1).await;
    assert!(
        first.is_some_and(|(kind, block)| kind == RST_STREAM || block.first() != Some(&0x88)),
        "the request was served"
    );
    attack.send(&get(3, "/")).await.unwrap();
    let (_, block) = answer(&mut attack, 3).await.unwrap();
    assert_eq!(block.first(), Some(&0x88));
}

/// The first frame on a stream: its kind and payload.
async fn answer(attack: &mut Attack, wanted: u32) -> Option<(u8, Vec<u8>)> {
    while let Ok((kind, _, stream, payload)) = attack.next().await {
        if stream == wanted && kind != WINDOW_UPDATE && kind != DATA {
            return Some((kind, payload));
        }
    }
    None
}

/// Sends this again and again, reads nothing, and is there until the end.
async fn flood(target: &Target, frames: Vec<u8>) -> tokio::task::JoinHandle<u64> {
    let mut attack = Attack::start(target, &setting(INITIAL_WINDOW_SIZE, 0)).await;
    tokio::spawn(async move {
        let mut sent = 0;
        // Until the server takes no more: what it owes an answer for, it does not read on behind.
        while let Ok(Ok(())) = timeout(A_WHILE, attack.send(&frames)).await {
            sent += frames.len() as u64;
            if sent > A_LOT {
                break;
            }
        }
        drop(attack);
        sent
    })
}

const A_WHILE: Duration = Duration::from_millis(500);
const A_LOT: u64 = 256 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_with_settings_or_pings_and_reads_no_answer_is_read_no_further() {
    let target = target!();
    let proper = Proper::start(&target).await;
    let settings = setting(INITIAL_WINDOW_SIZE, 0).repeat(1000);
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(1000);
    for frames in [settings, pings] {
        let flood = flood(&target, frames).await;
        proper.goes_on().await;
        let sent = flood.await.unwrap();
        assert!(sent < A_LOT, "the server has read on: {sent} bytes");
    }
    proper.goes_on().await;
    proper.end().await;
    target.settles_at(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_of_zero_costs_a_piece_of_each_body_and_no_more_requests_than_may_be_at_a_time() {
    let target = target!();
    let proper = Proper::start(&target).await;
    let mut attack = Attack::start(&target, &setting(INITIAL_WINDOW_SIZE, 0)).await;
    let requests: Vec<u8> = streams(2 * STREAMS)
        .flat_map(|stream| get(stream, "/endless"))
        .collect();
    attack.send(&requests).await.unwrap();
    // One more than may be is refused: by then the others are being answered.
    while !matches!(attack.next().await.unwrap(), (RST_STREAM, ..)) {}
    proper.goes_on().await;
    // hyper asks each body for its first piece, and for no second one.
    let asked = target.seen.asked();
    assert!(asked <= u64::from(STREAMS) * PIECE as u64, "{asked} bytes");
    let most = target.seen.most_at_a_time();
    assert!((1..=STREAMS as usize).contains(&most), "{most}");
    proper.end().await;
}

/// As many requests as may be, over windows that never close.
async fn greedy(target: &Target) -> Attack {
    let (window, more) = (0x7fff_ffff_u32, 0x7fff_0000_u32.to_be_bytes());
    let open = [
        setting(INITIAL_WINDOW_SIZE, window),
        frame(WINDOW_UPDATE, 0, 0, &more),
        frame(SETTINGS, ACK, 0, &[]),
    ];
    let mut attack = Attack::start(target, &open.concat()).await;
    let requests: Vec<u8> = streams(STREAMS)
        .flat_map(|stream| get(stream, "/endless"))
        .collect();
    attack.send(&requests).await.unwrap();
    attack
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_cut_by_age_since_no_ping_can_be_sent_to_it() {
    let target = target!(|options| Options {
        http2_keep_alive: Duration::from_millis(300),
        max_age: Some(Duration::from_secs(2)),
        lost_peer_deadline: Duration::from_millis(300),
        ..options
    });
    let proper = Proper::start(&target).await;
    let _greedy = greedy(&target).await;
    within(async {
        while target.seen.most_at_a_time() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(async {
        while target.seen.answering() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    proper.goes_on().await;
    proper.end().await;
    target.settles_at(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_opens_its_windows_and_never_reads_is_given_what_buffers_hold() {
    // As `ConnectionLimits` has it: hyper buffers so much for each request.
    const BUFFERED: usize = 400 * 1024 + PIECE;
    let target = target!();
    let proper = Proper::start(&target).await;
    let _greedy = greedy(&target).await;
    // Until no more is asked for.
    let mut last = u64::MAX;
    within(async {
        while target.seen.asked() != last || last == 0 {
            last = target.seen.asked();
            proper.goes_on().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let most = STREAMS as usize * BUFFERED + SOCKETS;
    assert!(last <= most as u64, "{last} bytes");
    proper.end().await;
}

/// The system's buffers, at both ends: what they grow to on loopback.
const SOCKETS: usize = 10 * 1024 * 1024;
