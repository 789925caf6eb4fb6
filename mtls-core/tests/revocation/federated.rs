//! Peers of other trust domains, by bundles that come and go.

use std::fs;

use mtls_core::rustls::HandshakeKind;
use mtls_core::testing::{Issued, PlainDir, TestCa};
use mtls_core::{CredentialFiles, CredentialSource, Health, PeerInfo, Reason};
use tokio::time::timeout;

use crate::fixture::*;
use crate::site::{Caller, VERSIONS, accept, put, server_of};

/// A service of `a.example`, a peer of `b.example`, and a directory of bundles.
struct Border {
    ours: TestCa,
    theirs: TestCa,
    dir: PlainDir,
    peer: Issued,
}

const BUNDLE: &str = "bundles/b.example.spiffe-trust-bundle.pem";

impl Border {
    fn new() -> Self {
        let (ours, theirs) = (TestCa::new("a.example"), TestCa::new("b.example"));
        let dir = PlainDir::new(&ours.issue("/api"));
        fs::create_dir(dir.file("bundles")).unwrap();
        let peer = theirs.issue("/peer");
        Self {
            ours,
            theirs,
            dir,
            peer,
        }
    }

    fn files(&self) -> CredentialFiles {
        CredentialFiles::kubernetes(self.dir.path()).federated_bundles(self.dir.file("bundles"))
    }

    async fn open(&self) -> CredentialSource {
        builder().watch(self.files()).await.unwrap()
    }

    /// The foreign peer at our door, in both versions.
    fn admits(&self, source: &CredentialSource) -> Result<PeerInfo, Reason> {
        let server = server_of(source);
        let [one, other] = VERSIONS.map(|version| {
            let met = accept(&server, &Caller::new(version, &self.ours, &self.peer));
            met.peer.map_err(|refused| refused.reason())
        });
        assert_eq!(one.as_ref().map(drop), other.as_ref().map(drop));
        one
    }

    #[track_caller]
    fn is_let_in(&self, source: &CredentialSource) -> PeerInfo {
        let peer = self.admits(source).unwrap();
        assert_eq!(peer.to_string(), "spiffe://b.example/peer");
        peer
    }

    #[track_caller]
    fn is_foreign(&self, source: &CredentialSource) {
        assert_eq!(self.admits(source).unwrap_err(), Reason::WrongTrustDomain);
    }
}

#[tokio::test]
async fn a_bundle_that_appears_lets_its_domain_in_and_one_that_goes_ends_it() {
    let border = Border::new();
    let source = border.open().await;
    border.is_foreign(&source);
    let mut changes = source.subscribe();
    put(&border.dir, BUNDLE, border.theirs.root_pem());
    next(&mut changes).await;
    let peer = border.is_let_in(&source);
    let server = server_of(&source);
    let callers = VERSIONS.map(|version| Caller::new(version, &border.ours, &border.peer));
    for caller in &callers {
        assert_eq!(accept(&server, caller).kind, Some(HandshakeKind::Full));
        assert_eq!(accept(&server, caller).kind, Some(HandshakeKind::Resumed));
    }
    let own = accept(
        &server,
        &Caller::new(VERSIONS[0], &border.ours, &border.ours.issue("/web")),
    );
    let (own, lost) = (own.peer.unwrap(), peer.clone());
    let lost = tokio::spawn(async move { lost.lost().await.reason() });

    border.dir.remove(BUNDLE);
    let lost = timeout(DEADLINE, lost).await.expect("woken").unwrap();
    assert_eq!(lost, Reason::WrongTrustDomain);
    assert_eq!(peer.check().unwrap_err().reason(), Reason::WrongTrustDomain);
    border.is_foreign(&source);
    for caller in &callers {
        let met = accept(&server, caller);
        assert_ne!(met.kind, Some(HandshakeKind::Resumed));
        assert_eq!(met.refused().0, Reason::WrongTrustDomain);
    }
    own.check().unwrap();
    assert_eq!(source.status().health, Health::Healthy);
}

#[tokio::test]
async fn a_foreign_ca_vouches_for_its_own_domain_alone() {
    let border = Border::new();
    put(&border.dir, BUNDLE, border.theirs.root_pem());
    let source = border.open().await;
    border.is_let_in(&source);
    let uri = |uri: &str| mtls_core::testing::LeafOptions::new().uri(uri);
    let posing = border.theirs.issue_with(uri("spiffe://a.example/web"));
    let caller = Caller::new(VERSIONS[0], &border.ours, &posing);
    assert_eq!(
        accept(&server_of(&source), &caller).refused().0,
        Reason::UnknownIssuer
    );
    let swapped = border.ours.issue_with(uri("spiffe://b.example/peer"));
    let caller = Caller::new(VERSIONS[0], &border.ours, &swapped);
    assert_eq!(
        accept(&server_of(&source), &caller).refused().0,
        Reason::UnknownIssuer
    );
}

#[tokio::test]
async fn a_directory_that_vanishes_says_nothing_of_its_domains() {
    let border = Border::new();
    put(&border.dir, BUNDLE, border.theirs.root_pem());
    let source = border.open().await;
    let peer = border.is_let_in(&source);
    fs::rename(border.dir.file("bundles"), border.dir.file("elsewhere")).unwrap();
    let refused = refused_reload(&source).await;
    assert_eq!(refused.reason(), Reason::FileMissing);
    border.is_let_in(&source);
    peer.check().unwrap();
    // Back, and without the file: that is said.
    fs::rename(border.dir.file("elsewhere"), border.dir.file("bundles")).unwrap();
    border.dir.remove(BUNDLE);
    reload(&source).await;
    border.is_foreign(&source);
}

#[tokio::test]
async fn nobody_is_cut_off_while_our_own_files_are_gone_too() {
    let border = Border::new();
    put(&border.dir, BUNDLE, border.theirs.root_pem());
    let source = border.open().await;
    let peer = border.is_let_in(&source);
    border.dir.remove("tls.crt");
    border.dir.remove(BUNDLE);
    refused_reload(&source).await;
    border.is_let_in(&source);
    peer.check().unwrap();
}

#[tokio::test]
async fn a_broken_bundle_keeps_its_last_good_and_holds_back_no_other() {
    let border = Border::new();
    let third = TestCa::new("c.example");
    let other = "bundles/c.example.spiffe-trust-bundle.pem";
    put(&border.dir, BUNDLE, border.theirs.root_pem());
    let source = border.open().await;
    border.is_let_in(&source);
    let from_third = Caller::new(VERSIONS[0], &border.ours, &third.issue("/c"));
    let third_is_let_in = || accept(&server_of(&source), &from_third).peer.is_ok();
    assert!(!third_is_let_in());

    border
        .dir
        .write_in_place(BUNDLE, "-----BEGIN CERTIFICATE-----\nMIIB");
    put(&border.dir, other, third.root_pem());
    let refused = refused_reload(&source).await;
    assert!(refused.to_string().contains("b.example"), "{refused}");
    border.is_let_in(&source);
    assert!(third_is_let_in());
    // Nor is the end of another federation held back.
    border.dir.remove(other);
    refused_reload(&source).await;
    assert!(!third_is_let_in());
    border.is_let_in(&source);
}

#[tokio::test]
async fn our_own_bundle_may_lie_among_the_foreign_ones_if_it_is_the_same() {
    let border = Border::new();
    let own = "bundles/a.example.spiffe-trust-bundle.pem";
    put(&border.dir, BUNDLE, border.theirs.root_pem());
    put(&border.dir, own, border.ours.root_pem());
    let source = border.open().await;
    border.is_let_in(&source);
    // Another one is no second bundle of ours: what it vouches for is refused, and the rest goes on.
    let stranger = TestCa::new("a.example");
    let web = Caller::new(VERSIONS[0], &border.ours, &border.ours.issue("/web"));
    let posing = Caller::new(VERSIONS[0], &border.ours, &stranger.issue("/web"));
    put(&border.dir, own, stranger.root_pem());
    let refused = refused_reload(&source).await;
    let both = ["ca.crt", "a.example.spiffe-trust-bundle.pem"];
    let text = refused.to_string();
    assert!(both.iter().all(|path| text.contains(path)), "{text}");
    assert_eq!(
        accept(&server_of(&source), &posing).refused().0,
        Reason::UnknownIssuer
    );
    assert!(accept(&server_of(&source), &web).peer.is_ok());
    border.is_let_in(&source);
}

#[tokio::test]
async fn a_foreign_domain_has_its_own_lists_and_is_not_let_in_before_they_are_sound() {
    let border = Border::new();
    let (dir, theirs) = (&border.dir, &border.theirs);
    let lists = border
        .files()
        .revocation_lists_for("b.example".parse().unwrap(), dir.file("b.crl"));
    // There is no bundle yet, so the broken list is nobody's.
    dir.rename_over("b.crl", theirs.crl().bad_signature().pem());
    let source = builder().watch(lists).await.unwrap();
    border.is_foreign(&source);
    put(dir, BUNDLE, theirs.root_pem());
    let refused = refused_reload(&source).await;
    assert_eq!(refused.reason(), Reason::CrlUnusable);
    border.is_foreign(&source);
    dir.remove("b.crl");
    refused_reload(&source).await;
    border.is_foreign(&source);

    dir.rename_over("b.crl", theirs.crl().pem());
    reload(&source).await;
    let peer = border.is_let_in(&source);
    dir.rename_over("b.crl", theirs.crl().number(2).revoke(&border.peer).pem());
    reload(&source).await;
    assert_eq!(border.admits(&source).unwrap_err(), Reason::Revoked);
    assert_eq!(peer.check().unwrap_err().reason(), Reason::Revoked);
    // A list of theirs says nothing of ours, and there is none of ours to ask.
    let web = Caller::new(VERSIONS[0], &border.ours, &border.ours.issue("/web"));
    assert!(accept(&server_of(&source), &web).peer.is_ok());
    dir.write_in_place("b.crl", "");
    refused_reload(&source).await;
    assert_eq!(border.admits(&source).unwrap_err(), Reason::Revoked);
}

#[cfg(feature = "spiffe-json")]
mod json {
    use super::*;

    /// A SPIFFE bundle of this CA.
    fn bundle(ca: &TestCa) -> String {
        let keys = ca.root_pem();
        let der: String = keys.lines().filter(|line| !line.starts_with('-')).collect();
        format!(
            r#"{{"spiffe_sequence":1,"keys":[{{"use":"x509-svid","kty":"EC","crv":"P-256","x":"AA","y":"AA","x5c":["{der}"]}}]}}"#
        )
    }

    #[tokio::test]
    async fn a_bundle_in_json_that_has_no_keys_any_more_ends_its_federation() {
        let border = Border::new();
        border.dir.rename_over("b.json", bundle(&border.theirs));
        let domain = "b.example".parse().unwrap();
        let files = border
            .files()
            .federated_bundle(domain, border.dir.file("b.json"));
        let source = builder().watch(files).await.unwrap();
        let peer = border.is_let_in(&source);
        border.dir.rename_over("b.json", r#"{"keys":"#);
        refused_reload(&source).await;
        border.is_let_in(&source);
        border
            .dir
            .rename_over("b.json", r#"{"spiffe_sequence":2,"keys":[]}"#);
        reload(&source).await;
        border.is_foreign(&source);
        assert!(peer.check().is_err());
        border.dir.rename_over("b.json", bundle(&border.theirs));
        reload(&source).await;
        border.is_let_in(&source);
        border.dir.remove("b.json");
        reload(&source).await;
        border.is_foreign(&source);
    }

    #[tokio::test]
    async fn a_bundle_map_lets_in_the_domains_that_are_in_it_and_keeps_them_while_it_is_gone() {
        let border = Border::new();
        let third = TestCa::new("c.example");
        let map = |domains: &[(&str, &TestCa)]| {
            let each = domains
                .iter()
                .map(|(name, ca)| format!(r#""{name}":{}"#, bundle(ca)));
            let each: Vec<_> = each.collect();
            format!(r#"{{"trust_domains":{{{}}}}}"#, each.join(","))
        };
        border
            .dir
            .rename_over("map.json", map(&[("c.example", &third)]));
        let files = CredentialFiles::kubernetes(border.dir.path());
        let files = files.bundle_map(border.dir.file("map.json"));
        let source = builder().watch(files).await.unwrap();
        border.is_foreign(&source);
        let both = map(&[("b.example", &border.theirs), ("c.example", &third)]);
        border.dir.rename_over("map.json", &both);
        reload(&source).await;
        let peer = border.is_let_in(&source);
        border.dir.remove("map.json");
        refused_reload(&source).await;
        border.is_let_in(&source);
        border
            .dir
            .rename_over("map.json", both.replace("\"c.example\"", "\"b.example\""));
        refused_reload(&source).await;
        border.is_let_in(&source);
        border
            .dir
            .rename_over("map.json", map(&[("c.example", &third)]));
        reload(&source).await;
        border.is_foreign(&source);
        assert!(peer.check().is_err());
    }
}
