//! Arguments, and what the command exits with.

use mtls_core::testing::{LeafOptions, TestCa};

use crate::{lay_out, mtls};

#[test]
fn good_credentials_exit_with_0_and_bad_ones_with_1_and_say_why() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    lay_out(&dir.path().join("good"), &ca.issue("/web"));
    let expired = ca.issue_with(LeafOptions::service("/web").expired());
    lay_out(&dir.path().join("bad"), &expired);

    let good = mtls(dir.path(), &["check", "good", "--dev"]);
    assert_eq!(good.code, 0, "{good:?}");
    assert_eq!(good.out, "ok good\n0 errors, 0 warnings, 0 notes\n");

    let bad = mtls(dir.path(), &["check", "bad", "good", "--dev"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(
        bad.out.contains("error expired bad/tls.crt (block 1)"),
        "{bad:?}"
    );
    assert!(
        bad.out.contains("remedy    renew the certificate"),
        "{bad:?}"
    );
    assert!(
        bad.out.contains("see       docs/runbook.md#expired"),
        "{bad:?}"
    );
    assert!(bad.out.contains("ok good"), "{bad:?}");
    // No terminal, no colours.
    assert!(!bad.out.contains('\u{1b}'));
}

#[test]
fn a_development_ca_is_refused_unless_it_is_said_to_be_fine() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), &TestCa::new("example.org").issue("/web"));
    let refused = mtls(dir.path(), &["check", "."]);
    assert_eq!(refused.code, 1);
    assert!(refused.out.contains("dev-ca"), "{refused:?}");
    assert_eq!(mtls(dir.path(), &["check", ".", "--dev"]).code, 0);
}

#[test]
fn what_cannot_be_run_exits_with_2_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, why) in [
        (&["check"][..], "name a directory"),
        (
            &["check", "nowhere"],
            "`nowhere` is no directory and no manifest",
        ),
        (&["check", ".", "--at", "tomorrow"], "RFC 3339"),
        (
            &["check", ".", "--peers", "gnutls"],
            "expected one of go, java",
        ),
        (
            &["check", ".", "--allow", "expired"],
            "expected RULE=REASON",
        ),
        (
            &["check", ".", "--allow", "expired= "],
            "expected RULE=REASON",
        ),
        (&["check", ".", "--allow", "late=x"], "no rule of this name"),
        (&["check", ".", "--trust-domain", "UPPER"], "--trust-domain"),
        (&["check", "--policy", "absent.toml"], "cannot be read"),
        (&["check", ".", "--chain", "c"], "--key"),
        (&["check", "gone.yaml"], "cannot be read"),
        (&["check", ".", "--format", "xml"], "xml"),
        (&["dev", "break", "nonsense", "d"], "no rule of this name"),
        (&["dev", "Not A Domain", "web"], "no trust domain"),
        (&["dev", "example.org", "a.b/../c"], "a.b/../c"),
        (&["fly"], "fly"),
    ] {
        let said = mtls(dir.path(), arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        assert!(said.err.contains(why), "{arguments:?}: {said:?}");
        assert!(said.out.is_empty(), "{said:?}");
    }
    // To be asked for help is no failure.
    assert_eq!(mtls(dir.path(), &["--help"]).code, 0);
    assert_eq!(mtls(dir.path(), &["check", "--help"]).code, 0);
}

#[test]
fn an_empty_directory_is_an_error_and_not_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let said = mtls(dir.path(), &["check", "."]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("error layout-unknown"), "{said:?}");
}

#[test]
fn a_warning_fails_only_where_that_is_asked_for_and_what_is_allowed_never() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let soon = LeafOptions::service("/web").expires_in(std::time::Duration::from_secs(600));
    lay_out(dir.path(), &ca.issue_with(soon));
    let check = |more: &[&str]| mtls(dir.path(), &[&["check", ".", "--dev"], more].concat());
    assert_eq!(check(&[]).code, 0);
    assert!(check(&[]).out.contains("warn expires-soon"));
    assert_eq!(check(&["--fail-on", "warn"]).code, 1);
    let allowed = check(&[
        "--fail-on",
        "warn",
        "--allow",
        "expires-soon=renewed at noon",
    ]);
    assert_eq!(allowed.code, 0);
    assert!(
        allowed
            .out
            .contains("allowed expires-soon (renewed at noon)")
    );
}

#[test]
fn another_time_another_role_and_a_name_are_asked_about() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    lay_out(
        dir.path(),
        &ca.issue_with(LeafOptions::service("/web").server_only()),
    );
    let check = |more: &[&str]| mtls(dir.path(), &[&["check", ".", "--dev"], more].concat());
    assert!(check(&[]).out.contains("eku-missing-role"));
    assert_eq!(check(&["--role", "client"]).code, 1);
    assert_eq!(check(&["--role", "server"]).code, 0);
    let later = check(&["--role", "server", "--at", "+2d"]);
    assert_eq!(later.code, 1);
    assert!(later.out.contains("error expired"), "{later:?}");
    let before = check(&["--role", "server", "--at", "2020-01-01T00:00:00Z"]);
    assert!(before.out.contains("error not-yet-valid"), "{before:?}");
    let named = |name| check(&["--role", "server", "--server-name", name]);
    assert_eq!(named("localhost").code, 0);
    assert!(
        named("web.example.org")
            .out
            .contains("error san-server-name")
    );
}

#[test]
fn single_files_are_checked_with_and_without_a_bundle_and_lists() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let web = ca.issue("/web");
    lay_out(dir.path(), &web);
    let files = ["check", "--dev", "--chain", "tls.crt", "--key", "tls.key"];
    let check = |more: &[&str]| mtls(dir.path(), &[&files[..], more].concat());
    assert_eq!(check(&[]).code, 0);
    assert_eq!(check(&["--bundle", "ca.crt"]).code, 0);
    let other = TestCa::new("example.org").root_pem();
    std::fs::write(dir.path().join("other.crt"), other).unwrap();
    let refused = check(&["--bundle", "other.crt"]);
    assert!(
        refused.out.contains("error chain-incomplete"),
        "{refused:?}"
    );
    std::fs::write(dir.path().join("list.crl"), ca.crl().revoke(&web).pem()).unwrap();
    let revoked = check(&["--bundle", "ca.crt", "--crl", "list.crl"]);
    assert!(
        revoked.out.contains("error crl-revokes-self"),
        "{revoked:?}"
    );
    let bundle = |name| mtls(dir.path(), &["check", "--dev", "--bundle", name]);
    assert_eq!(bundle("ca.crt").code, 0);
    assert!(bundle("tls.crt").out.contains("error bundle-leaf"));
}

#[test]
fn two_directories_are_put_through_handshakes_and_a_policy_decides() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    for name in ["web", "api"] {
        lay_out(&dir.path().join(name), &ca.issue(&format!("/{name}")));
    }
    let stranger = TestCa::new("example.org").issue("/web");
    lay_out(&dir.path().join("stranger"), &stranger);
    let against = |more: &[&str]| {
        let all = [&["check", "web", "--dev", "--against"], more].concat();
        mtls(dir.path(), &all)
    };
    let agreed = against(&["api"]);
    assert_eq!(agreed.code, 0, "{agreed:?}");
    assert!(agreed.out.contains("ok web and api"), "{agreed:?}");
    let refused = against(&["stranger"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.out.contains("error handshake-refused"),
        "{refused:?}"
    );
    assert!(refused.out.contains("unknown_issuer"), "{refused:?}");

    let policy = |who: &str| {
        format!(
            "trust_domain = \"example.org\"\notherwise = \"deny\"\n\n[[allow]]\nname = \"{who}\"\npeer = {{ spiffe = \"spiffe://example.org/{who}\" }}\n"
        )
    };
    std::fs::write(dir.path().join("web.toml"), policy("web")).unwrap();
    std::fs::write(dir.path().join("batch.toml"), policy("batch")).unwrap();
    let allowed = against(&["api", "--against-policy", "web.toml"]);
    assert_eq!(allowed.code, 0, "{allowed:?}");
    let denied = against(&["api", "--against-policy", "batch.toml"]);
    assert_eq!(denied.code, 1);
    assert!(
        denied.out.contains("error identity-unmatched"),
        "{denied:?}"
    );
}

#[test]
fn a_policy_file_is_checked_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("p.toml"),
        "otherwise = \"deny\"\n\n[[alow]]\n",
    )
    .unwrap();
    let said = mtls(dir.path(), &["check", "--policy", "p.toml"]);
    assert_eq!(said.code, 1);
    assert!(
        said.out.contains("error policy-unreadable p.toml:3"),
        "{said:?}"
    );
}
