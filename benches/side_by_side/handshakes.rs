//! Handshakes in memory, ours beside bare rustls, the server's CPU apart from the client's.

use mtls_core::rustls::HandshakeKind;
use mtls_core::rustls::crypto::ring;
use mtls_core::testing::KeyKind;

use crate::case::Case;
use benches::ends::{Client, Server, Setting, Tickets, Whose, shake};
use benches::measure::{Meter, Side, Sides};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = known_peers();
    cases.extend(strangers());
    cases.extend(revocation());
    cases.extend(resumption());
    cases
}

/// No resumption; the peer's chain is remembered from the handshake before.
fn known_peers() -> Vec<Case> {
    let p256 = || Setting::new(KeyKind::EcdsaP256);
    let known = |id, name, bar, whose, setting: fn() -> Setting| {
        let case = Case::new(id, name, bar, move |_| known_peer(&setting(), whose)).counted();
        match whose {
            Whose::Server => case.floor(move |_| floor(&setting())),
            Whose::Client => case,
        }
    };
    let server = Whose::Server;
    vec![
        known(
            "full-p256",
            "known peer, P-256 and an intermediate",
            0.68,
            server,
            p256,
        ),
        known(
            "full-p256-leaf",
            "known peer, P-256 below the root",
            0.80,
            server,
            || Setting::new(KeyKind::EcdsaP256).below_the_root(),
        ),
        known(
            "full-p384",
            "known peer, P-384 and an intermediate",
            0.55,
            server,
            || Setting::new(KeyKind::EcdsaP384),
        ),
        known(
            "full-rsa",
            "known peer, RSA-2048 and an intermediate",
            1.0,
            server,
            || Setting::new(KeyKind::Rsa2048),
        ),
        known(
            "full-ed25519",
            "known peer, Ed25519 and an intermediate",
            1.0,
            server,
            || Setting::new(KeyKind::Ed25519),
        ),
        known(
            "full-ring",
            "known peer, P-256 and an intermediate, ring",
            1.0,
            server,
            || Setting::new(KeyKind::EcdsaP256).on(ring::default_provider()),
        ),
        known(
            "client-p256",
            "client: known server, P-256 and an intermediate",
            1.0,
            Whose::Client,
            p256,
        ),
        known(
            "client-p256-leaf",
            "client: known server, P-256 below the root",
            1.0,
            Whose::Client,
            || Setting::new(KeyKind::EcdsaP256).below_the_root(),
        ),
        known(
            "client-p384",
            "client: known server, P-384 and an intermediate",
            1.0,
            Whose::Client,
            || Setting::new(KeyKind::EcdsaP384),
        ),
        known(
            "client-ring",
            "client: known server, ring",
            1.0,
            Whose::Client,
            || Setting::new(KeyKind::EcdsaP256).on(ring::default_provider()),
        ),
    ]
}

/// Each handshake is the first one with its leaf.
fn strangers() -> Vec<Case> {
    vec![
        Case::new(
            "first-p256",
            "first contact, P-256 and an intermediate",
            1.06,
            |runs| first_contacts(&Setting::new(KeyKind::EcdsaP256), runs),
        )
        .floor(|runs| reading(&Setting::new(KeyKind::EcdsaP256), runs))
        .counted(),
        Case::new(
            "first-p256-leaf",
            "first contact, P-256 below the root",
            1.06,
            |runs| first_contacts(&Setting::new(KeyKind::EcdsaP256).below_the_root(), runs),
        )
        .floor(|runs| reading(&Setting::new(KeyKind::EcdsaP256).below_the_root(), runs))
        .counted(),
        Case::new(
            "first-many",
            "first contact, when as many are known as are remembered, beside when none is",
            1.05,
            |runs| {
                let setting = Setting::new(KeyKind::EcdsaP256);
                let many = first_contacts(&setting, runs + MORE_THAN_ARE_REMEMBERED).ours;
                Sides {
                    ours: after(MORE_THAN_ARE_REMEMBERED, many),
                    beside: first_contacts(&setting, runs).ours,
                }
            },
        ),
    ]
}

/// A leaf below the root, and a list of the root's.
fn revocation() -> Vec<Case> {
    let listed = |entries| {
        Setting::new(KeyKind::EcdsaP256)
            .below_the_root()
            .listing(entries)
    };
    let mut cases = vec![
        Case::new(
            "crl-known",
            "known peer, list of 100,000, beside the same of 100",
            1.05,
            move |_| Sides {
                ours: known_peer(&listed(100_000), Whose::Server).ours,
                beside: known_peer(&listed(100), Whose::Server).ours,
            },
        ),
        Case::new(
            "crl-known-10k",
            "known peer, list of 10,000, beside the same of 100",
            1.05,
            move |_| Sides {
                ours: known_peer(&listed(10_000), Whose::Server).ours,
                beside: known_peer(&listed(100), Whose::Server).ours,
            },
        ),
        Case::new(
            "crl-first",
            "first contact, list of 100,000, beside the same of 100",
            1.1,
            move |runs| Sides {
                ours: first_contacts(&listed(100_000), runs).ours,
                beside: first_contacts(&listed(100), runs).ours,
            },
        ),
    ];
    for (id, name, entries, bar) in [
        (
            "crl-100",
            "first contact, list of 100, beside rustls",
            100,
            None,
        ),
        (
            "crl-10k",
            "first contact, list of 10,000, beside rustls",
            10_000,
            None,
        ),
        (
            "crl-100k",
            "first contact, list of 100,000, beside rustls",
            100_000,
            Some(0.25),
        ),
    ] {
        cases.push(Case::new(id, name, bar, move |runs| {
            first_contacts(&listed(entries), runs)
        }));
    }
    cases.push(Case::new(
        "crl-known-beside",
        "known peer, list of 100,000, beside rustls",
        0.25,
        move |_| known_peer(&listed(100_000), Whose::Server),
    ));
    cases
}

fn resumption() -> Vec<Case> {
    let setting = || Setting::new(KeyKind::EcdsaP256);
    vec![
        Case::new(
            "resumed",
            "resumed and checked, one ticket each",
            1.05,
            move |_| resumed(&setting(), Tickets::One),
        )
        .counted(),
        Case::new(
            "resumed-default",
            "resumed and checked, rustls' default of two tickets",
            1.05,
            move |_| resumed(&setting(), Tickets::Default),
        )
        .counted(),
    ]
}

fn known_peer(setting: &Setting, whose: Whose) -> Sides {
    let (bare_server, tickets) = (setting.bare(Tickets::None), Tickets::None);
    let web = setting.issue("/web");
    let bare_client = setting.bare_client(&web, tickets);
    match whose {
        Whose::Server => Sides {
            ours: full(whose, bare_client.clone(), setting.ours(tickets)),
            beside: full(whose, bare_client, bare_server),
        },
        Whose::Client => Sides {
            ours: full(whose, setting.our_client(&web), bare_server.clone()),
            beside: full(whose, bare_client, bare_server),
        },
    }
}

/// The server's part of a handshake that asks nothing about the peer's chain.
fn floor(setting: &Setting) -> Side {
    let client = setting.bare_client(&setting.issue("/web"), Tickets::None);
    full(Whose::Server, client, setting.floor(Tickets::None))
}

fn full(whose: Whose, client: Client, server: Server) -> Side {
    Box::new(move |meter| {
        let kind = shake(meter, whose, &client, &server);
        assert_ne!(kind, HandshakeKind::Resumed);
    })
}

fn first_contacts(setting: &Setting, runs: usize) -> Sides {
    let clients = strange_clients(setting, runs);
    Sides {
        ours: each_once(clients.clone(), setting.ours(Tickets::None)),
        beside: each_once(clients, setting.bare(Tickets::None)),
    }
}

/// The least that tells who a stranger is.
fn reading(setting: &Setting, runs: usize) -> Side {
    each_once(strange_clients(setting, runs), setting.reading())
}

/// As many leaves as there will be runs.
fn strange_clients(setting: &Setting, runs: usize) -> Vec<Client> {
    let client = |_| setting.bare_client(&setting.issue("/web"), Tickets::None);
    (0..runs).map(client).collect()
}

fn each_once(clients: Vec<Client>, server: Server) -> Side {
    let mut clients = clients.into_iter();
    Box::new(move |meter| {
        let client = clients.next().unwrap();
        shake(meter, Whose::Server, &client, &server);
    })
}

fn after(runs: usize, mut side: Side) -> Side {
    for _ in 0..runs {
        side(&mut Meter::Off);
    }
    side
}

fn resumed(setting: &Setting, tickets: Tickets) -> Sides {
    let web = setting.issue("/web");
    // Each side has a client of its own: tickets of the one are nothing to the other.
    let side = |server: Server| -> Side {
        let client = setting.bare_client(&web, tickets);
        shake(&mut Meter::Off, Whose::Server, &client, &server);
        Box::new(move |meter| {
            let kind = shake(meter, Whose::Server, &client, &server);
            assert_eq!(kind, HandshakeKind::Resumed);
        })
    };
    Sides {
        ours: side(setting.ours(tickets)),
        beside: side(setting.bare(tickets)),
    }
}

/// A trust remembers 2,048 chains, in shards that do not all fill at once.
const MORE_THAN_ARE_REMEMBERED: usize = 3000;
