use std::sync::Barrier;
use std::thread;

use super::*;
use crate::identity::certificate::Certificate;
use crate::identity::{Validity, Verified};
use crate::verify::ChainFault;

const NOW: Timestamp = Timestamp::from_unix(100);

/// A leaf, and what follows it.
fn chain(leaf: &str, rest: &[&str]) -> Vec<CertificateDer<'static>> {
    let certificates = std::iter::once(leaf).chain(rest.iter().copied());
    certificates
        .map(|text| CertificateDer::from(text.as_bytes().to_vec()))
        .collect()
}

fn peer(chain: &[CertificateDer<'static>], role: Role, not_after: i64) -> VerifiedPeer {
    let window = Validity {
        not_before: Timestamp::from_unix(0),
        not_after: Timestamp::from_unix(not_after),
    };
    let identity = PeerIdentity::verified(Verified {
        leaf: Certificate::empty(window),
        spiffe_id: None,
        presented_id: None,
        names_count: true,
        chain: chain.to_vec(),
        window,
    });
    VerifiedPeer::new(identity, role, Timestamp::MAX)
}

fn refusal() -> ChainError {
    ChainError {
        presented: Box::new(crate::verify::Presented::unreadable(None)),
        role: Role::Client,
        fault: ChainFault::UndecodableUri,
    }
}

/// The peer of a chain that verifies, and whether that took a verification.
fn get(
    peers: &VerifiedPeers,
    chain: &[CertificateDer<'static>],
    role: Role,
) -> (Arc<VerifiedPeer>, bool) {
    let before = peers.verifications();
    let got = peers.get_or(chain, role, NOW, || Ok(peer(chain, role, 1000)));
    (got.unwrap(), peers.verifications() > before)
}

fn is_known(peers: &VerifiedPeers, chain: &[CertificateDer<'static>]) -> bool {
    let known = peers.get_or(chain, Role::Client, NOW, || Err(refusal()));
    known.is_ok()
}

fn len(peers: &VerifiedPeers) -> usize {
    let lens = peers.shards.iter().map(|shard| lock(shard).slots.len());
    lens.sum()
}

#[test]
fn a_chain_is_verified_once_for_a_role_and_byte_by_byte() {
    let peers = VerifiedPeers::new();
    let web = chain("web", &["ca"]);
    assert!(get(&peers, &web, Role::Client).1);
    assert!(!get(&peers, &web, Role::Client).1);
    // What was verified as a client's is no server's.
    assert!(get(&peers, &web, Role::Server).1);
    // The same bytes, cut elsewhere.
    for other in [
        chain("webc", &["a"]),
        chain("web", &["c", "a"]),
        chain("web", &[]),
    ] {
        assert!(get(&peers, &other, Role::Client).1);
    }
    assert_eq!(len(&peers), 5);
}

#[test]
fn who_is_refused_leaves_nothing_behind() {
    let peers = VerifiedPeers::new();
    for stranger in 0..5000 {
        let chain = chain(&format!("stranger {stranger}"), &[]);
        let refused = peers.get_or(&chain, Role::Client, NOW, || Err(refusal()));
        assert!(refused.is_err());
    }
    assert_eq!((len(&peers), peers.verifications()), (0, 5000));
    assert!(lock(&peers.flights).is_empty());
}

#[test]
fn a_peer_that_appends_junk_takes_four_places_and_no_one_elses() {
    let peers = VerifiedPeers::new();
    let others: Vec<_> = (0..300)
        .map(|n| chain(&format!("other {n}"), &[]))
        .collect();
    for other in &others {
        get(&peers, other, Role::Client);
    }
    let plain = chain("mallory", &[]);
    let resting = LivePeer::new(get(&peers, &plain, Role::Client).0);
    for junk in 0..10_000 {
        let chain = chain("mallory", &[&format!("junk {junk}")]);
        assert!(get(&peers, &chain, Role::Client).1);
    }
    assert_eq!(len(&peers), 304);
    assert!(others.iter().all(|other| is_known(&peers, other)));
    // What its own connection rests on stays too; without one it would be the oldest, and gone.
    assert!(is_known(&peers, &plain));
    drop(resting);
    for junk in 0..4 {
        get(
            &peers,
            &chain("mallory", &[&format!("more {junk}")]),
            Role::Client,
        );
    }
    assert!(!is_known(&peers, &plain));
}

#[test]
fn a_leaf_whose_four_chains_are_all_in_use_is_verified_each_time_in_a_fifth() {
    let peers = VerifiedPeers::new();
    let variants: Vec<_> = (0..5).map(|n| chain("web", &[&format!("{n}")])).collect();
    let _live: Vec<_> = variants[..4]
        .iter()
        .map(|chain| LivePeer::new(get(&peers, chain, Role::Client).0))
        .collect();
    assert!(get(&peers, &variants[4], Role::Client).1);
    assert!(get(&peers, &variants[4], Role::Client).1);
    assert_eq!((len(&peers), peers.live().len()), (4, 4));
}

#[test]
fn it_holds_a_stated_number_the_longest_unused_go_first_and_the_live_stay() {
    let peers = VerifiedPeers::new();
    let name = |n: usize| chain(&format!("peer {n}"), &[]);
    let live: Vec<_> = (0..100)
        .map(|n| LivePeer::new(get(&peers, &name(n), Role::Client).0))
        .collect();
    for n in 100..20_000 {
        get(&peers, &name(n), Role::Client);
        // Somebody who comes all the time is not displaced by those who come once.
        get(&peers, &name(100), Role::Client);
    }
    assert_eq!(len(&peers), SHARDS * PER_SHARD);
    assert!((0..=100).all(|n| is_known(&peers, &name(n))));
    assert!(!is_known(&peers, &name(101)));
    assert_eq!(peers.live().len(), live.len());
    // The bound that the constants state.
    assert_eq!(SHARDS * PER_SHARD * MAX_BYTES, 32 << 20);
}

#[test]
fn a_thousand_live_peers_find_room_however_their_hashes_fall() {
    let peers = VerifiedPeers::new();
    let name = |n: usize| chain(&format!("peer {n}"), &[]);
    let live: Vec<_> = (0..1000)
        .map(|n| LivePeer::new(get(&peers, &name(n), Role::Client).0))
        .collect();
    assert!((0..1000).all(|n| is_known(&peers, &name(n))));
    assert_eq!(peers.live().len(), live.len());
}

#[test]
fn where_everybody_is_live_a_newcomer_is_let_in_and_not_remembered() {
    let peers = VerifiedPeers::new();
    let mut live = Vec::new();
    for n in 0..4000 {
        let chain = chain(&format!("peer {n}"), &[]);
        live.push(LivePeer::new(get(&peers, &chain, Role::Client).0));
    }
    assert_eq!(len(&peers), SHARDS * PER_SHARD);
    let newcomer = chain("newcomer", &[]);
    assert!(get(&peers, &newcomer, Role::Client).1);
    assert!(get(&peers, &newcomer, Role::Client).1);
    drop(live);
    assert!(get(&peers, &newcomer, Role::Client).1);
    assert!(!get(&peers, &newcomer, Role::Client).1);
}

#[test]
fn too_large_a_chain_is_told_by_count_and_by_size() {
    let large = "x".repeat(MAX_BYTES);
    for (chain, expected) in [
        (chain("leaf", &["ca"; 5]), CacheUse::Remembered),
        (chain("leaf", &["ca"; 6]), CacheUse::TooLarge),
        (chain(&large, &[]), CacheUse::Remembered),
        (chain(&large, &["1"]), CacheUse::TooLarge),
    ] {
        assert_eq!(VerifiedPeers::fits(&chain), expected);
    }
}

#[test]
fn an_entry_whose_time_is_over_or_has_not_come_is_verified_again() {
    let peers = VerifiedPeers::new();
    let web = chain("web", &[]);
    let at = |now: i64, not_after: i64| {
        let now = Timestamp::from_unix(now);
        let before = peers.verifications();
        let verify = || Ok(peer(&web, Role::Client, not_after));
        let got = peers.get_or(&web, Role::Client, now, verify);
        (
            got.unwrap().deadline().as_unix(),
            peers.verifications() > before,
        )
    };
    assert_eq!(at(100, 200), (200, true));
    assert_eq!(at(200, 300), (200, false));
    // The last second is over: another path may be longer.
    assert_eq!(at(201, 300), (300, true));
    assert_eq!(at(300, 999), (300, false));
    // A clock that is set back before it.
    assert_eq!(at(-1, 300), (300, true));
    assert_eq!(len(&peers), 1);
}

#[test]
fn many_who_present_one_chain_at_once_share_one_verification() {
    const THREADS: usize = 16;
    let (peers, web) = (VerifiedPeers::new(), chain("web", &["ca"]));
    let barrier = Barrier::new(THREADS);
    let come = || {
        barrier.wait();
        let verify = || {
            // Long enough for all others to arrive: none of them may begin one of its own.
            thread::sleep(std::time::Duration::from_millis(50));
            Ok(peer(&web, Role::Client, 1000))
        };
        peers.get_or(&web, Role::Client, NOW, verify).unwrap()
    };
    let first = thread::scope(|scope| {
        let all: Vec<_> = (0..THREADS).map(|_| scope.spawn(come)).collect();
        let all: Vec<_> = all.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(all.iter().all(|peer| Arc::ptr_eq(peer, &all[0])));
        Arc::clone(&all[0])
    });
    assert_eq!(peers.verifications(), 1);
    assert!(lock(&peers.flights).is_empty());
    assert!(Arc::ptr_eq(&get(&peers, &web, Role::Client).0, &first));
}

#[test]
fn many_who_are_refused_at_once_are_all_told_why() {
    const THREADS: usize = 8;
    let (peers, stranger) = (VerifiedPeers::new(), chain("stranger", &[]));
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                let refused = peers.get_or(&stranger, Role::Client, NOW, || Err(refusal()));
                assert!(matches!(
                    refused.unwrap_err().fault,
                    ChainFault::UndecodableUri
                ));
            });
        }
    });
    assert_eq!(len(&peers), 0);
    assert!(lock(&peers.flights).is_empty());
}

#[test]
fn a_verification_that_panics_keeps_nobody_waiting() {
    let (peers, web) = (VerifiedPeers::new(), chain("web", &[]));
    let verify = || -> Result<VerifiedPeer, ChainError> { panic!("on purpose") };
    let come = || peers.get_or(&web, Role::Client, NOW, verify).map(drop);
    let panicked = thread::scope(|scope| scope.spawn(come).join().is_err());
    assert!(panicked);
    assert!(lock(&peers.flights).is_empty());
    assert!(get(&peers, &web, Role::Client).1);
    assert!(lock(&peers.flights).is_empty());
}

#[test]
fn a_no_is_asked_once_a_generation_for_all_connections_of_a_peer() {
    let web = chain("web", &[]);
    let known = peer(&web, Role::Client, 1000);
    let asked = AtomicU64::new(0);
    let again_at = |generation, now, yes: bool| {
        known.again(generation, Timestamp::from_unix(now), || {
            asked.fetch_add(1, Ordering::Relaxed);
            if yes {
                Ok(Arc::new(peer(&web, Role::Client, 2000)))
            } else {
                Err(refusal())
            }
        })
    };
    let again = |generation, yes| again_at(generation, 500, yes);
    for _ in 0..1000 {
        assert!(again(2, false).is_err());
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(again(3, true).is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    // That a list was late says nothing of what is past the end of the certificate.
    assert!(again_at(3, 1000, false).is_err());
    for _ in 0..1000 {
        assert!(again_at(3, 1001, false).is_err());
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}
