//! Kubernetes manifests, before anything is mounted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mtls_core::testing::{Issued, LeafOptions, TestCa};

use crate::{mtls, mtls_with};

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn secret(name: &str, issued: &Issued) -> String {
    let encoded = |text: &str| STANDARD.encode(text);
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: shop\ntype: kubernetes.io/tls\ndata:\n  \
         tls.crt: {}\n  tls.key: {}\n  ca.crt: {}\n",
        encoded(&issued.chain_pem()),
        encoded(issued.key_pem()),
        encoded(issued.bundle_pem())
    )
}

fn string_data(name: &str, issued: &Issued) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indented(&issued.chain_pem()),
        indented(issued.key_pem()),
    )
}

fn config_map(name: &str, bundle: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  ca.crt: |\n{}",
        indented(bundle)
    )
}

#[test]
fn secrets_and_config_maps_of_a_manifest_are_each_a_set() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let all = [
        secret("web-tls", &ca.issue("/web")),
        string_data("api-tls", &ca.issue("/api")),
        config_map("trust", &ca.root_pem()),
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n".to_owned(),
    ];
    std::fs::write(dir.path().join("deploy.yaml"), all.join("---\n")).unwrap();
    let said = mtls(dir.path(), &["check", "deploy.yaml", "--dev"]);
    assert_eq!(said.code, 0, "{said:?}");
    let expected = "ok deploy.yaml#Secret/shop/web-tls\nok deploy.yaml#Secret/api-tls\n\
        ok deploy.yaml#ConfigMap/trust/ca.crt\n0 errors, 0 warnings, 0 notes\n";
    assert_eq!(said.out, expected);
}

#[test]
fn a_bundle_and_lists_are_put_beside_a_secret_that_has_none() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let web = ca.issue("/web");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("web.yaml", &string_data("web-tls", &web));
    write("ca.crt", &ca.root_pem());
    write("other.crt", &TestCa::new("example.org").root_pem());
    write("list.crl", &ca.crl().revoke(&web).pem());
    let check = |more: &[&str]| {
        mtls(
            dir.path(),
            &[&["check", "web.yaml", "--dev"], more].concat(),
        )
    };
    assert_eq!(check(&["--bundle", "ca.crt"]).code, 0);
    let refused = check(&["--bundle", "other.crt"]);
    assert!(
        refused.out.contains("error chain-incomplete"),
        "{refused:?}"
    );
    let revoked = check(&["--bundle", "ca.crt", "--crl", "list.crl"]);
    assert!(
        revoked.out.contains("error crl-revokes-self"),
        "{revoked:?}"
    );
}

#[test]
fn what_is_wrong_in_a_manifest_is_told_by_object_and_entry() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let expired = ca.issue_with(LeafOptions::service("/web").expired());
    let all = [
        secret("late", &expired),
        config_map("leaf", &ca.issue("/web").chain_pem()),
        config_map("empty", ""),
    ];
    std::fs::write(dir.path().join("bad.yml"), all.join("---\n")).unwrap();
    let said = mtls(dir.path(), &["check", "bad.yml", "--dev"]);
    assert_eq!(said.code, 1, "{said:?}");
    for line in [
        "error expired bad.yml#Secret/shop/late/tls.crt (block 1)",
        "error bundle-leaf bad.yml#ConfigMap/leaf/ca.crt (block 1)",
        "error file-empty bad.yml#ConfigMap/empty/ca.crt",
    ] {
        assert!(said.out.contains(line), "{line}: {said:?}");
    }
    let github = mtls(
        dir.path(),
        &["check", "bad.yml", "--dev", "--format", "github"],
    );
    assert!(
        github.out.starts_with("::error file=bad.yml,line=1,"),
        "{github:?}"
    );
}

#[test]
fn a_list_on_stdin_is_read_as_kubectl_prints_it() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let item = secret("web-tls", &ca.issue("/web"));
    let mut lines = item.lines();
    let first = format!("- {}\n", lines.next().unwrap());
    let rest: String = lines.map(|line| format!("  {line}\n")).collect();
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{first}{rest}");
    let said = mtls_with(dir.path(), &["check", "-", "--dev"], list.as_bytes());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.contains("ok (stdin)#Secret/shop/web-tls"),
        "{said:?}"
    );
}

#[test]
fn base64_that_is_none_is_a_finding_and_yaml_that_is_none_a_failure_that_quotes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "kind: Secret\nmetadata:\n  name: x\ndata:\n  tls.crt: '*'\n  tls.key: '*'\n";
    let said = mtls_with(dir.path(), &["check", "-"], secret.as_bytes());
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out
            .contains("error pem-base64 (stdin)#Secret/x/tls.crt"),
        "{said:?}"
    );

    let broken = "kind: Secret\nstringData:\n  tls.key: {MIGHAgEAMBMGByqGSM49AgEG\n";
    let said = mtls_with(dir.path(), &["check", "-"], broken.as_bytes());
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("is no YAML: line "), "{said:?}");
    assert!(!said.err.contains("MIGH"), "{said:?}");

    let nothing = mtls_with(dir.path(), &["check", "-"], b"kind: Service\n");
    assert_eq!(nothing.code, 2);
    assert!(
        nothing.err.contains("no Secret or ConfigMap"),
        "{nothing:?}"
    );
}

#[test]
fn a_private_key_in_a_config_map_is_an_error() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let both = format!("{}{}", ca.root_pem(), ca.issue("/web").key_pem());
    std::fs::write(dir.path().join("m.yaml"), config_map("trust", &both)).unwrap();
    let said = mtls(dir.path(), &["check", "m.yaml", "--dev"]);
    assert!(said.out.contains("error key-in-bundle"), "{said:?}");
}
