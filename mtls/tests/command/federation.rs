//! `mtls check` with the bundles of other trust domains beside a set.

use mtls_core::testing::{CaOptions, TestCa};

use crate::{lay_out, mtls};

#[test]
fn bundles_of_other_trust_domains_are_looked_at_beside_a_set_and_a_map_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new("example.org");
    let (partner, late) = (
        TestCa::new("partner.test"),
        TestCa::with_options("partner.test", CaOptions::new().expired()),
    );
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    lay_out(&path("web"), &ca.issue("/web"));
    std::fs::create_dir(path("others")).unwrap();
    write(
        "others/partner.test.spiffe-trust-bundle.pem",
        &partner.root_pem(),
    );
    write("good.pem", &partner.root_pem());
    write("late.pem", &late.root_pem());
    write(
        "map.json",
        r#"{"trust_domains": {"partner.test": {"keys": []}}}"#,
    );
    write("broken.json", r#"{"trust_domains": {"partner.test": []}}"#);
    let check = |more: &[&str]| mtls(dir.path(), &[&["check", "--dev"], more].concat());
    for good in [
        &["web", "--federated", "partner.test=good.pem"][..],
        &["web", "--federated", "others"],
    ] {
        let said = check(good);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(
            said.out.contains("0 errors, 0 warnings, 0 notes"),
            "{said:?}"
        );
    }
    for (bad, rule) in [
        (
            &["web", "--federated", "partner.test=late.pem"][..],
            "error bundle-empty late.pem",
        ),
        (
            &["web", "--federated", "partner.test=absent.pem"],
            "error file-missing absent.pem",
        ),
        (
            &["web", "--federated", "absent"],
            "error file-missing absent",
        ),
        (
            &["web", "--bundle-map", "map.json"],
            "warn bundle-federated-empty map.json",
        ),
        (
            &["--bundle-map", "map.json"],
            "warn bundle-federated-empty map.json",
        ),
        (
            &["--bundle-map", "broken.json"],
            "error bundle-federated broken.json",
        ),
    ] {
        let said = check(&[bad, &["--fail-on", "warn"]].concat());
        assert_eq!(said.code, 1, "{bad:?}: {said:?}");
        assert!(said.out.contains(rule), "{bad:?}: {said:?}");
    }
    for (wrong, words) in [
        (
            &["web", "--federated", "Partner=good.pem"][..],
            "--federated `Partner=good.pem`",
        ),
        (
            &[
                "--bundle",
                "good.pem",
                "--federated",
                "partner.test=good.pem",
            ],
            "--bundle-map",
        ),
        (&["--bundle-map", "absent.json"], "cannot be read"),
    ] {
        let said = check(wrong);
        assert_eq!(said.code, 2, "{wrong:?}: {said:?}");
        assert!(said.err.contains(words), "{wrong:?}: {said:?}");
    }
}
