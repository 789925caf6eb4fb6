//! What a request costs: the peer's standing, a policy, an insert; and what rules cost that are many.

use std::hint::black_box;

use crate::case::Case;
use benches::measure::{Samples, Side, Sides, Spread, effort};
use benches::report::{Bar, Row};
use benches::requests::{checked_request, least_request, peer, plain_request};
use mtls_core::{AccessPolicy, Effect, Fact, Rule};

/// What a request costs beyond the insert of a `ConnectInfo`, which any server does.
pub(crate) fn request_path() -> Vec<Row> {
    let mut sides = Sides {
        ours: many(checked_request()),
        beside: many(plain_request()),
    };
    let mut floor = many(least_request());
    let samples = Samples::of(&mut sides, Some(&mut floor), effort(100, 10), 1);
    let each = |spread: Spread| spread.map(|nanos| nanos / f64::from(MANY));
    let (beyond, least) = (samples.beyond(), samples.floor_beyond());
    let plain = Spread::of(samples.beside);
    let name = "request: check, pattern policy and insert, beyond and beside a plain one";
    // The plain one tells how fast the machine was at that moment.
    let row = Row::figure(name, "ns", each(beyond), Bar::Most(150.0));
    let row = row.beside(each(plain), beyond.map(|nanos| nanos / plain.median));
    vec![row.floor(least.map(each))]
}

/// The same for callgrind, each beside a plain request: it is none of ours, so a change of ours moves the ratio.
pub(crate) fn cases() -> Vec<Case> {
    let beside_plain = |id, make: fn() -> Side| {
        Case::new(id, id, None, move |_| Sides {
            ours: make(),
            beside: many(plain_request()),
        })
    };
    vec![
        beside_plain("request", || many(checked_request())),
        beside_plain("policy-10", || decisions_of(10)),
        beside_plain("policy-10k", || decisions_of(10_000)),
    ]
}

fn decisions_of(rules: usize) -> Side {
    let (peer, policy) = (peer(), rule_set(rules));
    many(move || policy.decide(Some(black_box(peer.identity()))).unwrap())
}

fn many<T>(mut make: impl FnMut() -> T + 'static) -> Side {
    Box::new(move |meter| {
        meter.run(|| {
            for _ in 0..MANY {
                drop(black_box(make()));
            }
        });
    })
}

/// The peer matches the rule in the middle; the others are other peers'.
pub(crate) fn decisions() -> Vec<Row> {
    let mut rows = Vec::new();
    for (rules, bar) in [
        (10, Bar::None),
        (1_000, Bar::None),
        (10_000, Bar::Most(300.0)),
    ] {
        let mut sides = Sides {
            ours: decisions_of(rules),
            beside: decisions_of(10),
        };
        let samples = Samples::of(&mut sides, None, effort(100, 10), 1);
        let each = |nanos: &Vec<f64>| Spread::of(nanos.iter().map(|nanos| nanos / f64::from(MANY)));
        let name = format!("policy: {rules} rules, beside 10");
        rows.push(
            Row::figure(name, "ns", each(&samples.ours), bar)
                .beside(each(&samples.beside), samples.ratio()),
        );
    }
    rows
}

fn rule_set(rules: usize) -> AccessPolicy {
    let mut builder = AccessPolicy::builder().trust_domain("example.org");
    for n in 0..rules {
        let account = match n {
            middle if middle == rules / 2 => "shop/web".to_owned(),
            other => format!("shop/other-{other}"),
        };
        builder =
            builder.allow(Rule::named(format!("rule {n}")).is(Fact::ServiceAccount, [account]));
    }
    builder.otherwise(Effect::Deny).build().unwrap()
}

const MANY: u32 = 1000;
