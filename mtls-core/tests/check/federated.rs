//! The bundles of other trust domains, from a map, from files of JSON and PEM, from a directory.

use std::fs;

use mtls_core::check::{CheckRule, CheckSet, Report, check};
use mtls_core::testing::{CaOptions, MountedDir, TestCa};
use mtls_core::{CredentialFiles, TrustDomain};

use crate::{checked, options, rules};

/// The key of a CA in a SPIFFE bundle.
fn key(pem: &str) -> String {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    format!(r#"{{"kty":"EC","use":"x509-svid","x5c":["{base64}"]}}"#)
}

fn bundle(keys: &[String]) -> String {
    format!(
        r#"{{"keys":[{}],"spiffe_sequence":7,"spiffe_refresh_hint":300}}"#,
        keys.join(",")
    )
}

fn map(entries: &[(&str, String)]) -> String {
    let entries = entries
        .iter()
        .map(|(domain, bundle)| format!(r#""{domain}":{bundle}"#));
    let entries: Vec<_> = entries.collect();
    format!(r#"{{"trust_domains":{{{}}}}}"#, entries.join(","))
}

/// A good set, with this map beside it.
fn with_map(ca: &TestCa, map: &str) -> Report {
    let dir = MountedDir::new(&ca.issue("/web"));
    let path = dir.path().join("map.json");
    fs::write(&path, map).unwrap();
    checked(
        &CredentialFiles::kubernetes(dir.path()).bundle_map(path),
        &options(),
    )
}

fn partner() -> TrustDomain {
    "partner.test".parse().unwrap()
}

#[test]
fn a_good_map_and_good_bundles_of_every_form_yield_nothing() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("partner.test"));
    let third = TestCa::new("third.test");
    let jwt = r#"{"kty":"EC","use":"jwt-svid","kid":"a","x":"","y":""}"#.to_owned();
    let theirs = bundle(&[key(&other.root_pem()), jwt]);
    let good = map(&[
        ("partner.test", theirs.clone()),
        ("third.test", bundle(&[key(&third.root_pem())])),
        // The own one may be among them.
        ("example.org", bundle(&[key(&ca.root_pem())])),
    ]);
    assert_eq!(with_map(&ca, &good).findings(), []);
    let alone = CheckSet::of_bundle_map("map.json", good.as_bytes());
    assert_eq!(check(&alone, &options()).unwrap().findings(), []);

    let dir = MountedDir::new(&ca.issue("/web"));
    let files = || CredentialFiles::kubernetes(dir.path());
    let beside = tempfile::tempdir().unwrap();
    let (json, pem) = (beside.path().join("b.json"), beside.path().join("b.pem"));
    fs::write(&json, &theirs).unwrap();
    fs::write(&pem, other.root_pem()).unwrap();
    let named = beside.path().join("partner.test.spiffe-trust-bundle.pem");
    fs::write(named, other.root_pem()).unwrap();
    for files in [
        files().federated_bundle(partner(), json),
        files().federated_bundle(partner(), pem),
        files().federated_bundles(beside.path()),
    ] {
        assert_eq!(checked(&files, &options()).findings(), []);
    }
}

#[test]
fn what_is_wrong_with_a_domains_bundle_is_told_with_the_domain() {
    let ca = TestCa::new("example.org");
    let other = TestCa::new("partner.test");
    let good = || key(&other.root_pem());
    let expired = TestCa::with_options("partner.test", CaOptions::new().expired());
    let leaf = other.issue("/web").chain_pem();
    let below = other.intermediate().certificate_pem();
    let public = CaOptions::new().common_name("ISRG Root X1");
    let public = TestCa::with_options("partner.test", public).root_pem();
    for (keys, expected) in [
        (vec![], vec![CheckRule::BundleFederatedEmpty]),
        (
            vec![good(), key(&expired.root_pem())],
            vec![CheckRule::BundleExpired],
        ),
        (vec![good(), key(&leaf)], vec![CheckRule::BundleLeaf]),
        (vec![good(), good()], vec![CheckRule::BundleDuplicate]),
        (
            vec![good(), key(&below)],
            vec![CheckRule::BundleIntermediate],
        ),
        (vec![good(), key(&public)], vec![CheckRule::BundlePublic]),
        (
            vec![key(&expired.root_pem())],
            vec![CheckRule::BundleEmpty, CheckRule::BundleExpired],
        ),
    ] {
        let report = with_map(&ca, &map(&[("partner.test", bundle(&keys))]));
        assert_eq!(rules(&report), expected);
        for finding in report.findings() {
            assert!(
                finding.found.starts_with("bundle of `partner.test`: "),
                "{finding}"
            );
            assert!(finding.place.file.ends_with("map.json"), "{finding}");
        }
    }
}

#[test]
fn a_map_that_does_not_hold_is_told_with_the_place_in_it() {
    let ca = TestCa::new("example.org");
    for (map, words) in [
        (
            map(&[("partner.test", "{}".to_owned())]),
            r#"trust_domains["partner.test"].keys"#,
        ),
        (
            map(&[("partner.test", bundle(&[key("bm8gY2VydGlmaWNhdGU=")]))]),
            r#"trust_domains["partner.test"].keys[0].x5c[0]"#,
        ),
        (
            map(&[("Partner", bundle(&[]))]),
            r#"trust_domains["Partner"]"#,
        ),
        (
            map(&[("partner.test", bundle(&[])), ("partner.test", bundle(&[]))]),
            "for the second time",
        ),
        (r#"{"domains":{}}"#.to_owned(), "trust_domains"),
        ("{".to_owned(), "line 1"),
    ] {
        let report = with_map(&ca, &map);
        let mut found = rules(&report);
        // A key that nobody reads is told as well.
        found.retain(|rule| *rule != CheckRule::BundlePassedOver);
        assert_eq!(found, [CheckRule::BundleFederated], "{map}");
        let told = report.findings().iter();
        let told: Vec<_> = told.map(|finding| finding.found.as_str()).collect();
        assert!(
            told.iter().any(|text| text.contains(words)),
            "{map}: {told:?}"
        );
    }
    let empty = with_map(&ca, "  ");
    assert_eq!(rules(&empty), [CheckRule::FileEmpty]);
    let private =
        key(&TestCa::new("partner.test").root_pem()).replace("\"kty\"", "\"d\":\"\",\"kty\"");
    let private = with_map(&ca, &map(&[("partner.test", bundle(&[private]))]));
    assert_eq!(rules(&private), [CheckRule::KeyInBundle]);
}

#[test]
fn another_bundle_of_the_own_domain_is_told_once() {
    let ca = TestCa::new("example.org");
    let second = TestCa::new("example.org").root_pem();
    let report = with_map(&ca, &map(&[("example.org", bundle(&[key(&second)]))]));
    assert_eq!(rules(&report), [CheckRule::BundleFederated]);
    assert_eq!(report.findings().len(), 1, "{:#?}", report.findings());
    assert!(report.findings()[0].found.contains("example.org"));
}

#[test]
fn what_no_reader_knows_is_told_since_a_ca_may_be_missing_by_it() {
    let ca = TestCa::new("example.org");
    let good = key(&TestCa::new("partner.test").root_pem());
    let misspelt = good.replace("x509-svid", "x509_svid");
    let unused = good.replace(r#""use":"x509-svid","#, "");
    let bare = r#"{"kty":"EC","use":"x509-svid"}"#.to_owned();
    for (map, words) in [
        (
            map(&[("partner.test", bundle(&[good.clone(), misspelt]))]),
            r#"`trust_domains["partner.test"].keys[1]` has the `use` "x509_svid""#,
        ),
        (
            map(&[("partner.test", bundle(&[good.clone(), unused]))]),
            "has no `use`",
        ),
        (
            map(&[("partner.test", bundle(&[good.clone(), bare]))]),
            "has no certificate",
        ),
        (
            map(&[(
                "partner.test",
                bundle(std::slice::from_ref(&good)).replace("refresh", "refesh"),
            )]),
            r#"trust_domains["partner.test"] has the key "spiffe_refesh_hint""#,
        ),
        (
            map(&[("partner.test", bundle(&[good]))]).replacen('{', r#"{"v":1,"#, 1),
            r#"its top has the key "v""#,
        ),
    ] {
        let report = with_map(&ca, &map);
        assert_eq!(rules(&report), [CheckRule::BundlePassedOver], "{map}");
        let found = &report.findings()[0].found;
        assert!(found.contains(words), "{words}: {found}");
    }
}

#[test]
fn a_configured_bundle_that_is_not_there_is_told_with_its_domain_and_the_others_all_the_same() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let (absent, none) = (dir.path().join("absent.pem"), dir.path().join("none.pem"));
    fs::write(&none, "nothing\n").unwrap();
    let files = CredentialFiles::kubernetes(dir.path())
        .federated_bundle(partner(), &absent)
        .federated_bundle("third.test".parse().unwrap(), &none);
    let report = checked(&files, &options());
    assert_eq!(rules(&report), [CheckRule::FileMissing, CheckRule::PemNone]);
    let told: Vec<_> = report.findings().iter().map(|found| &found.found).collect();
    assert!(
        told.iter()
            .any(|text| text.starts_with("bundle of `partner.test`: ")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|text| text.starts_with("bundle of `third.test`: ")),
        "{told:?}"
    );
}
