use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::error::AnchorFault;
use crate::reason::Reason;
use crate::snapshot::OwnChain;
use crate::testing::{CaOptions, Issued, LeafOptions, TestCa};
use crate::tls::provider;
use crate::verify::{ChainFault, Role};

/// What a source serves, and what it makes of offers.
struct Served {
    settings: Arc<Settings>,
    snapshot: Snapshot,
    now: UnixTime,
}

impl Served {
    fn new(issued: &Issued, roots: &[&TestCa]) -> Self {
        Self::with(settings(), issued, roots)
    }

    fn with(settings: Settings, issued: &Issued, roots: &[&TestCa]) -> Self {
        let now = crate::clock::now();
        let verdict = first(&settings, issued.material(), &trust(roots), now).unwrap();
        let settings = Arc::new(settings);
        Self {
            snapshot: snapshot(&settings, verdict, now),
            settings,
            now,
        }
    }

    /// The verdict on these credentials and roots; `None` keeps what is served.
    fn judge(
        &self,
        issued: Option<&Issued>,
        roots: Option<&[&TestCa]>,
        patience: Patience,
    ) -> Verdict {
        self.judge_offer(
            Offer {
                credentials: issued.map(|issued| Ok(issued.material())),
                trust: roots.map(trust),
                aliases: None,
            },
            patience,
        )
    }

    fn judge_offer(&self, offer: Offer, patience: Patience) -> Verdict {
        next(&self.settings, &self.snapshot, offer, patience, self.now)
    }

    fn serve(&mut self, verdict: Verdict) {
        self.snapshot = snapshot(&self.settings, verdict, self.now);
    }

    fn after(&mut self, time: Duration) {
        self.now = later(self.now, time);
    }

    fn keeps_credentials(&self, verdict: &Verdict) -> bool {
        Arc::ptr_eq(&verdict.credentials, &self.snapshot.credentials)
    }

    fn keeps_trust(&self, verdict: &Verdict) -> bool {
        Arc::ptr_eq(&verdict.trust, &self.snapshot.trust)
    }
}

fn settings() -> Settings {
    Settings::of(provider::resolve(None).unwrap())
}

fn snapshot(settings: &Arc<Settings>, verdict: Verdict, now: UnixTime) -> Snapshot {
    Snapshot {
        trust_generation: 1,
        generation: 1,
        loaded_at: now.into(),
        credentials: verdict.credentials,
        trust: verdict.trust,
        settings: Arc::clone(settings),
        own_chain: verdict.own_chain,
        own_revoked: None,
        plays: verdict.plays,
    }
}

fn trust(roots: &[&TestCa]) -> TrustMaterial {
    TrustMaterial::new(roots.iter().map(|ca| ca.root_der()).collect())
}

fn unloaded(name: &str) -> LoadError {
    LoadError::FileEmpty {
        path: PathBuf::from(name),
    }
}

fn later(now: UnixTime, time: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + time)
}

/// Nothing was held back, and the own chain verifies.
#[track_caller]
fn assert_whole(verdict: &Verdict) {
    assert!(
        verdict.errors.is_empty() && verdict.own_chain.is_ok() && !verdict.trust_held,
        "{verdict:?}"
    );
}

#[track_caller]
fn assert_reason(verdict: &Verdict, reason: Reason) {
    let first = verdict.errors.first().map(LoadError::reason);
    assert_eq!(first, Some(reason), "{:?}", verdict.errors);
}

fn is_trusted(verdict: &Verdict, issued: &Issued, now: UnixTime) -> bool {
    let chain = issued.chain_der();
    verdict.trust.verify(&chain, Role::Client, now).is_ok()
}

fn ca() -> TestCa {
    TestCa::new("example.org")
}

#[test]
fn a_first_offer_is_served_if_all_of_it_holds() {
    let ca = ca();
    let served = Served::new(&ca.issue("/web"), &[&ca]);
    assert!(served.snapshot.own_chain.is_ok());
}

#[test]
fn a_first_offer_is_refused_for_the_half_that_does_not_hold() {
    let (ours, other) = (ca(), ca());
    let now = crate::clock::now();
    let refused = |issued: &Issued, roots: &[&TestCa]| {
        first(&settings(), issued.material(), &trust(roots), now)
            .unwrap_err()
            .reason()
    };
    let web = ours.issue("/web");
    assert_eq!(refused(&web, &[&other]), Reason::UnknownIssuer);
    assert_eq!(refused(&web, &[]), Reason::EmptyBundle);
    let late = ours.issue_with(LeafOptions::service("/web").expired());
    assert_eq!(refused(&late, &[&ours]), Reason::Expired);
}

#[test]
fn credentials_that_verify_are_taken_and_the_trust_stays_the_same() {
    let ca = ca();
    let served = Served::new(&ca.issue("/web"), &[&ca]);
    let new = ca.issue("/web");
    let verdict = served.judge(Some(&new), Some(&[&ca]), Patience::Wait);
    assert_whole(&verdict);
    assert_eq!(verdict.credentials.serial(), new.serial());
    assert!(served.keeps_trust(&verdict));
}

#[test]
fn credentials_that_do_not_verify_are_not_taken() {
    let (ours, other) = (ca(), ca());
    let served = Served::new(&ours.issue("/web"), &[&ours]);
    let cases = [
        (other.issue("/web"), Reason::UnknownIssuer),
        (
            ours.issue_with(LeafOptions::service("/web").expired()),
            Reason::Expired,
        ),
        (
            ours.issue_with(LeafOptions::service("/web").not_yet_valid()),
            Reason::NotYetValid,
        ),
    ];
    for (issued, reason) in cases {
        for patience in [Patience::Wait, Patience::Exhausted] {
            let verdict = served.judge(Some(&issued), Some(&[&ours]), patience);
            assert_reason(&verdict, reason);
            assert!(served.keeps_credentials(&verdict) && served.keeps_trust(&verdict));
            assert!(verdict.own_chain.is_ok() && !verdict.trust_held);
        }
    }
}

#[test]
fn a_key_that_belongs_to_another_leaf_is_refused_and_the_trust_beside_it_taken() {
    let (ours, added) = (ca(), ca());
    let served = Served::new(&ours.issue("/web"), &[&ours]);
    let (chain, key) = (ours.issue("/web"), ours.issue("/web"));
    let offer = Offer {
        credentials: Some(Ok(CredentialMaterial::new(
            chain.chain_der(),
            key.key_der(),
        ))),
        trust: Some(trust(&[&ours, &added])),
        aliases: None,
    };
    let verdict = served.judge_offer(offer, Patience::Wait);
    assert_reason(&verdict, Reason::KeyMismatch);
    assert!(served.keeps_credentials(&verdict));
    assert_eq!(verdict.trust.bundle().anchors().len(), 2);
}

#[test]
fn credentials_that_play_another_role_besides_are_taken() {
    let ca = ca();
    let served = Served::new(
        &ca.issue_with(LeafOptions::service("/web").client_only()),
        &[&ca],
    );
    let both = ca.issue("/web");
    let verdict = served.judge(Some(&both), None, Patience::Wait);
    assert_whole(&verdict);
    assert_eq!(verdict.credentials.serial(), both.serial());
}

#[test]
fn credentials_that_lose_a_role_are_refused_and_the_trust_beside_them_taken() {
    let (ours, added) = (ca(), ca());
    let served = Served::new(&ours.issue("/web"), &[&ours]);
    let client = ours.issue_with(LeafOptions::service("/web").client_only());
    let server = ours.issue_with(LeafOptions::service("/web").server_only());
    for (issued, lost) in [(client, "server"), (server, "client")] {
        let verdict = served.judge(Some(&issued), Some(&[&ours, &added]), Patience::Wait);
        assert!(
            matches!(&verdict.errors[..], [LoadError::RoleLost { role, .. }] if *role == lost),
            "{:?}",
            verdict.errors
        );
        assert!(served.keeps_credentials(&verdict) && verdict.own_chain.is_ok());
        assert_eq!(verdict.trust.bundle().anchors().len(), 2);
    }
}

#[test]
fn an_expired_leaf_is_not_replaced_by_one_that_cannot_do_its_work() {
    let ca = ca();
    let minute = Duration::from_secs(60);
    let short = ca.issue_with(LeafOptions::service("/web").expires_in(minute));
    let mut served = Served::new(&short, &[&ca]);
    served.after(2 * minute);
    // As after a reload that noticed: what is served verifies in no role.
    let noticed = served.judge(Some(&short), Some(&[&ca]), Patience::Exhausted);
    assert_reason(&noticed, Reason::Expired);
    served.serve(noticed);

    let client = ca.issue_with(LeafOptions::service("/web").client_only());
    let verdict = served.judge(Some(&client), None, Patience::Wait);
    assert!(matches!(
        verdict.errors[..],
        [LoadError::RoleLost { role: "server", .. }]
    ));
    assert!(served.keeps_credentials(&verdict));

    let both = ca.issue("/web");
    let verdict = served.judge(Some(&both), None, Patience::Wait);
    assert_whole(&verdict);
    assert_eq!(verdict.credentials.serial(), both.serial());
}

#[test]
fn a_narrower_trust_under_which_the_own_chain_still_verifies_is_taken_at_once() {
    let (ours, gone) = (ca(), ca());
    let served = Served::new(&ours.issue("/web"), &[&ours, &gone]);
    let verdict = served.judge(None, Some(&[&ours]), Patience::Wait);
    assert_whole(&verdict);
    assert!(served.keeps_credentials(&verdict));
    assert!(!is_trusted(&verdict, &gone.issue("/peer"), served.now));
}

#[test]
fn a_trust_without_our_own_root_is_held_while_there_is_patience() {
    let (ours, next_one) = (ca(), ca());
    let web = ours.issue("/web");
    let served = Served::new(&web, &[&ours]);
    for credentials in [None, Some(&web)] {
        let verdict = served.judge(credentials, Some(&[&next_one]), Patience::Wait);
        assert!(verdict.trust_held);
        assert_reason(&verdict, Reason::UnknownIssuer);
        assert!(served.keeps_credentials(&verdict) && served.keeps_trust(&verdict));
        assert!(verdict.own_chain.is_ok());
    }
}

#[test]
fn a_trust_without_our_own_root_is_taken_with_the_last_good_credentials_when_patience_ends() {
    let (ours, next_one) = (ca(), ca());
    let web = ours.issue("/web");
    let mut served = Served::new(&web, &[&ours]);
    for credentials in [None, Some(&web)] {
        let verdict = served.judge(credentials, Some(&[&next_one]), Patience::Exhausted);
        assert!(!verdict.trust_held && served.keeps_credentials(&verdict));
        assert!(!is_trusted(&verdict, &web, served.now));
        assert!(is_trusted(&verdict, &next_one.issue("/peer"), served.now));
        assert_reason(&verdict, Reason::UnknownIssuer);
        let own = verdict.own_chain.unwrap_err();
        assert_eq!(own.reason(), Reason::UnknownIssuer);
    }
    // From then on it is what is served, told of again and again, and never held.
    let taken = served.judge(None, Some(&[&next_one]), Patience::Exhausted);
    served.serve(taken);
    let again = served.judge(Some(&web), Some(&[&next_one]), Patience::Wait);
    assert!(served.keeps_trust(&again) && served.keeps_credentials(&again));
    assert!(!again.trust_held && again.own_chain.is_err());
    assert_reason(&again, Reason::UnknownIssuer);
    // And the chain that fits ends it.
    let fitting = next_one.issue("/web");
    let healed = served.judge(Some(&fitting), Some(&[&next_one]), Patience::Wait);
    assert_whole(&healed);
    assert!(served.keeps_trust(&healed));
}

#[test]
fn a_trust_that_was_held_is_taken_with_the_chain_that_fits_it() {
    let (ours, next_one) = (ca(), ca());
    let mut served = Served::new(&ours.issue("/web"), &[&ours]);
    let held = served.judge(None, Some(&[&next_one]), Patience::Wait);
    assert!(held.trust_held);
    served.serve(held);
    let fitting = next_one.issue("/web");
    let verdict = served.judge(Some(&fitting), Some(&[&next_one]), Patience::Wait);
    assert_whole(&verdict);
    assert_eq!(verdict.credentials.serial(), fitting.serial());
    assert!(!is_trusted(&verdict, &ours.issue("/peer"), served.now));
}

#[test]
fn a_new_leaf_and_a_new_root_that_come_together_are_taken_together() {
    let (old, new) = (ca(), ca());
    let served = Served::new(&old.issue("/web"), &[&old]);
    let web = new.issue("/web");
    let verdict = served.judge(Some(&web), Some(&[&new]), Patience::Wait);
    assert_whole(&verdict);
    assert_eq!(verdict.credentials.serial(), web.serial());
    assert!(!is_trusted(&verdict, &old.issue("/peer"), served.now));
}

#[test]
fn a_new_leaf_and_a_new_root_that_do_not_fit_are_not_served_together() {
    let (old, new, strange) = (ca(), ca(), ca());
    let served = Served::new(&old.issue("/web"), &[&old]);
    let web = new.issue("/web");
    let held = served.judge(Some(&web), Some(&[&strange]), Patience::Wait);
    assert!(held.trust_held && served.keeps_credentials(&held) && served.keeps_trust(&held));
    let taken = served.judge(Some(&web), Some(&[&strange]), Patience::Exhausted);
    assert!(served.keeps_credentials(&taken) && taken.own_chain.is_err());
    assert!(is_trusted(&taken, &strange.issue("/peer"), served.now));
}

#[test]
fn a_leaf_under_a_new_root_waits_for_the_bundle_that_has_it() {
    let (old, new) = (ca(), ca());
    let mut served = Served::new(&old.issue("/web"), &[&old]);
    let web = new.issue("/web");
    let early = served.judge(Some(&web), Some(&[&old]), Patience::Wait);
    assert_reason(&early, Reason::UnknownIssuer);
    assert!(served.keeps_credentials(&early) && served.keeps_trust(&early));
    // It is the leaf that waits; no trust does.
    assert!(!early.trust_held && early.own_chain.is_ok());
    served.serve(early);
    let verdict = served.judge(Some(&web), Some(&[&old, &new]), Patience::Wait);
    assert_whole(&verdict);
    assert_eq!(verdict.credentials.serial(), web.serial());
}

#[test]
fn roots_that_overlap_carry_peers_from_the_old_to_the_new() {
    let (old, new) = (ca(), ca());
    let mut served = Served::new(&old.issue("/web"), &[&old]);
    let web = new.issue("/web");
    let steps: [(Option<&Issued>, &[&TestCa]); 3] = [
        (None, &[&old, &new]),
        (Some(&web), &[&old, &new]),
        (Some(&web), &[&new]),
    ];
    for (credentials, roots) in steps {
        let verdict = served.judge(credentials, Some(roots), Patience::Wait);
        assert_whole(&verdict);
        for root in [&old, &new] {
            let listed = roots.iter().any(|ca| ca.root_der() == root.root_der());
            assert_eq!(
                is_trusted(&verdict, &root.issue("/peer"), served.now),
                listed
            );
        }
        served.serve(verdict);
    }
    assert_eq!(served.snapshot.credentials.serial(), web.serial());
}

#[test]
fn a_new_leaf_under_the_old_root_is_served_while_a_trust_without_that_root_is_held() {
    let (old, new) = (ca(), ca());
    let served = Served::new(&old.issue("/web"), &[&old]);
    let web = old.issue("/web");
    let held = served.judge(Some(&web), Some(&[&new]), Patience::Wait);
    assert!(held.trust_held && held.own_chain.is_ok() && served.keeps_trust(&held));
    assert_eq!(held.credentials.serial(), web.serial());
    let taken = served.judge(Some(&web), Some(&[&new]), Patience::Exhausted);
    assert!(!taken.trust_held && taken.own_chain.is_err());
    assert_eq!(taken.credentials.serial(), web.serial());
    assert!(taken.plays.server && taken.plays.client);
}

#[test]
fn an_expired_own_leaf_does_not_hold_back_a_narrower_trust() {
    let (ours, other) = (ca(), ca());
    let minute = Duration::from_secs(60);
    let short = ours.issue_with(LeafOptions::service("/web").expires_in(minute));
    let mut served = Served::new(&short, &[&ours, &other]);
    served.after(2 * minute);
    for roots in [&[&ours][..], &[&other][..]] {
        let verdict = served.judge(Some(&short), Some(roots), Patience::Wait);
        assert!(!verdict.trust_held && served.keeps_credentials(&verdict));
        assert_eq!(verdict.trust.bundle().anchors().len(), 1);
        assert_reason(&verdict, Reason::Expired);
        assert!(verdict.own_chain.is_err());
    }
}

#[test]
fn a_bundle_follows_its_leaf_to_another_trust_domain_when_both_are_offered() {
    let ca = ca();
    let served = Served::new(&ca.issue("/web"), &[&ca]);
    let moved = ca.issue_with(LeafOptions::new().uri("spiffe://elsewhere.test/web"));
    let verdict = served.judge(Some(&moved), Some(&[&ca]), Patience::Wait);
    assert_whole(&verdict);
    let domain = verdict.trust.bundle().trust_domain().unwrap();
    assert_eq!(domain.as_str(), "elsewhere.test");
    assert!(!is_trusted(&verdict, &ca.issue("/peer"), served.now));
}

#[test]
fn trust_that_is_not_offered_does_not_follow_a_leaf_to_another_trust_domain() {
    let ca = ca();
    let served = Served::new(&ca.issue("/web"), &[&ca]);
    let moved = ca.issue_with(LeafOptions::new().uri("spiffe://elsewhere.test/web"));
    for trust in [None, Some(TrustMaterial::found(Err(unloaded("ca.crt"))))] {
        let offer = Offer {
            credentials: Some(Ok(moved.material())),
            trust,
            aliases: None,
        };
        let verdict = served.judge_offer(offer, Patience::Exhausted);
        let refused = verdict.errors.last().unwrap();
        assert_eq!(refused.reason(), Reason::WrongTrustDomain);
        assert!(served.keeps_credentials(&verdict) && served.keeps_trust(&verdict));
    }
}

#[test]
fn a_trust_domain_that_was_said_follows_no_leaf() {
    let ca = ca();
    let settings = Settings {
        trust_domain: Some("example.org".parse().unwrap()),
        ..settings()
    };
    let served = Served::with(settings, &ca.issue("/web"), &[&ca]);
    let moved = ca.issue_with(LeafOptions::new().uri("spiffe://elsewhere.test/web"));
    let verdict = served.judge(Some(&moved), Some(&[&ca]), Patience::Exhausted);
    assert_reason(&verdict, Reason::WrongTrustDomain);
    assert!(served.keeps_credentials(&verdict) && served.keeps_trust(&verdict));
}

#[test]
fn the_same_material_keeps_the_same_trust_and_the_same_credentials() {
    let ca = ca();
    let expired = TestCa::with_options("example.org", CaOptions::new().expired());
    let web = ca.issue("/web");
    let roots: &[&TestCa] = &[&expired, &ca];
    let served = Served::new(&web, roots);
    assert_eq!(served.snapshot.trust.bundle().skipped().len(), 1);
    let offers = [
        served.judge(Some(&web), Some(roots), Patience::Wait),
        served.judge(Some(&web), None, Patience::Wait),
        served.judge(None, Some(roots), Patience::Exhausted),
        served.judge(None, None, Patience::Exhausted),
    ];
    for verdict in offers {
        assert_whole(&verdict);
        assert!(served.keeps_credentials(&verdict) && served.keeps_trust(&verdict));
    }
    // What does not load is no other trust either.
    let offer = Offer {
        credentials: Some(Ok(web.material())),
        trust: Some(TrustMaterial::found(Err(unloaded("ca.crt")))),
        aliases: None,
    };
    assert!(served.keeps_trust(&served.judge_offer(offer, Patience::Exhausted)));
}

#[test]
fn other_material_is_another_trust_and_other_credentials() {
    let (ours, other) = (ca(), ca());
    let served = Served::new(&ours.issue("/web"), &[&ours]);
    let verdict = served.judge(
        Some(&ours.issue("/web")),
        Some(&[&ours, &other]),
        Patience::Wait,
    );
    assert!(!served.keeps_credentials(&verdict) && !served.keeps_trust(&verdict));
}

#[test]
fn a_root_that_is_not_valid_yet_is_kept_and_refused_until_its_time() {
    let ours = ca();
    let early = TestCa::with_options("example.org", CaOptions::new().not_yet_valid());
    let mut served = Served::new(&ours.issue("/web"), &[&ours]);
    let verdict = served.judge(None, Some(&[&ours, &early]), Patience::Wait);
    assert_whole(&verdict);
    let bundle = verdict.trust.bundle();
    assert_eq!(bundle.anchors().len(), 2);
    assert!(matches!(
        bundle.skipped(),
        [AnchorFault::NotYetValid { .. }]
    ));
    let chain = early.issue("/peer").chain_der();
    let at = |now| verdict.trust.verify(&chain, Role::Client, now);
    let refused = at(served.now).unwrap_err();
    assert!(matches!(refused.fault, ChainFault::NotYetValid { .. }));
    let two_hours = Duration::from_secs(2 * 60 * 60);
    assert!(at(later(served.now, two_hours)).is_ok());

    // Looked at again in its time, nothing of the bundle is skipped any more.
    served.serve(verdict);
    served.after(two_hours);
    let verdict = served.judge(None, Some(&[&ours, &early]), Patience::Wait);
    assert!(verdict.trust.bundle().skipped().is_empty());
    assert_whole(&verdict);
}

#[test]
fn a_bundle_in_which_no_root_is_usable_keeps_the_last_trust_and_the_new_leaf_is_taken() {
    let ours = ca();
    let served = Served::new(&ours.issue("/web"), &[&ours]);
    let early = TestCa::with_options("example.org", CaOptions::new().not_yet_valid());
    let late = TestCa::with_options("example.org", CaOptions::new().expired());
    for roots in [&[][..], &[&early][..], &[&late][..], &[&early, &late][..]] {
        let web = ours.issue("/web");
        let verdict = served.judge(Some(&web), Some(roots), Patience::Exhausted);
        assert_reason(&verdict, Reason::EmptyBundle);
        assert!(served.keeps_trust(&verdict) && verdict.own_chain.is_ok());
        assert_eq!(verdict.credentials.serial(), web.serial());
    }
}

#[test]
fn a_half_that_did_not_load_does_not_hold_back_the_other() {
    let (ours, added) = (ca(), ca());
    let served = Served::new(&ours.issue("/web"), &[&ours]);
    let web = ours.issue("/web");
    let no_bundle = Offer {
        credentials: Some(Ok(web.material())),
        trust: Some(TrustMaterial::found(Err(unloaded("ca.crt")))),
        aliases: None,
    };
    let verdict = served.judge_offer(no_bundle, Patience::Wait);
    assert!(
        matches!(&verdict.errors[..], [LoadError::FileEmpty { path }] if path.ends_with("ca.crt"))
    );
    assert_eq!(verdict.credentials.serial(), web.serial());
    assert!(served.keeps_trust(&verdict));

    let no_chain = Offer {
        credentials: Some(Err(unloaded("tls.crt"))),
        trust: Some(trust(&[&ours, &added])),
        aliases: None,
    };
    let verdict = served.judge_offer(no_chain, Patience::Wait);
    assert!(
        matches!(&verdict.errors[..], [LoadError::FileEmpty { path }] if path.ends_with("tls.crt"))
    );
    assert!(served.keeps_credentials(&verdict));
    assert_eq!(verdict.trust.bundle().anchors().len(), 2);

    let nothing = Offer {
        credentials: Some(Err(unloaded("tls.crt"))),
        trust: Some(TrustMaterial::found(Err(unloaded("ca.crt")))),
        aliases: None,
    };
    let verdict = served.judge_offer(nothing, Patience::Exhausted);
    assert_eq!(verdict.errors.len(), 2);
    assert!(served.keeps_credentials(&verdict) && served.keeps_trust(&verdict));
}

#[test]
fn a_chain_from_another_pki_holds_back_no_trust() {
    let (public, peers, others) = (ca(), ca(), ca());
    let settings = Settings {
        own_chain: OwnChain::FromAnotherPki,
        ..settings()
    };
    let served = Served::with(settings, &public.issue_dns("api.test"), &[&peers]);
    let verdict = served.judge(None, Some(&[&others]), Patience::Wait);
    assert_whole(&verdict);
    assert_eq!(verdict.trust.bundle().anchors().len(), 1);
    let new = ca().issue_dns("api.test");
    assert_whole(&served.judge(Some(&new), None, Patience::Wait));
}

#[test]
fn a_chain_from_another_pki_has_to_be_valid_all_the_same() {
    let (public, peers) = (ca(), ca());
    let settings = Settings {
        own_chain: OwnChain::FromAnotherPki,
        ..settings()
    };
    let served = Served::with(settings, &public.issue_dns("api.test"), &[&peers]);
    let leaf = || LeafOptions::new().dns("api.test");
    let cases = [
        (leaf().expired(), Reason::Expired),
        (leaf().not_yet_valid(), Reason::NotYetValid),
    ];
    for (leaf, reason) in cases {
        let issued = public.issue_with(leaf);
        let verdict = served.judge(Some(&issued), None, Patience::Exhausted);
        assert_reason(&verdict, reason);
        assert!(served.keeps_credentials(&verdict));
    }
}
