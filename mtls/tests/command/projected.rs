//! What a pod's volumes bring together, looked at as it will be mounted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mtls_core::testing::{Issued, LeafOptions, TestCa};
use serde_json::Value;

use crate::mtls_with;

fn secret(name: &str, issued: &Issued) -> String {
    let encoded = |text: &str| STANDARD.encode(text);
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: shop}}\ndata:\n  tls.crt: {}\n  tls.key: {}\n---\n",
        encoded(&issued.chain_pem()),
        encoded(issued.key_pem()),
    )
}

fn config_map(name: &str, entry: &str, text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop}}\ndata:\n  {entry}: |\n{lines}---\n"
    )
}

fn pod(sources: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop}}\nspec:\n  containers: [{{name: web}}]\n  \
         volumes:\n    - name: tls\n      projected:\n        defaultMode: 0400\n        sources:\n{sources}"
    )
}

/// The Secret's files under other names, and the ConfigMap's bundle.
const GOOD: &str = "          \
    - secret: {name: web-tls, items: [{key: tls.crt, path: cert.pem}, {key: tls.key, path: key.pem}]}\n          \
    - configMap: {name: trust, items: [{key: roots.pem, path: ca.pem}]}\n";

/// The sets that are looked at, and rule, place and text of each finding.
fn checked(manifest: &str) -> (Vec<String>, Vec<(String, String, String)>) {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["check", "-", "--dev", "--format", "json"];
    let said = mtls_with(dir.path(), &arguments, manifest.as_bytes());
    assert_ne!(said.code, 2, "{said:?}");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let sets = report["sets"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = sets
        .iter()
        .flat_map(|set| set["findings"].as_array().unwrap());
    let findings = findings.map(|found| {
        (
            text(&found["rule"]),
            text(&found["file"]),
            text(&found["found"]),
        )
    });
    let names = sets.iter().map(|set| text(&set["name"]));
    (names.collect(), findings.collect())
}

#[test]
fn a_projected_volume_is_a_set_of_its_own_and_a_good_one_yields_nothing() {
    let ca = TestCa::new("example.org");
    let parts = [
        secret("web-tls", &ca.intermediate().issue("/web")),
        config_map("trust", "roots.pem", &ca.root_pem()),
    ];
    let (sets, found) = checked(&format!("{}{}", parts.concat(), pod(GOOD)));
    assert_eq!(found, []);
    let volume = "(stdin)#Pod/shop/web/tls".to_owned();
    assert!(sets.contains(&volume), "{sets:?}");
    // What is in one object under its own names is looked at there, and once.
    let alone = pod("          - secret: {name: web-tls}\n");
    let (sets, found) = checked(&format!("{}{alone}", parts.concat()));
    assert_eq!(found, []);
    assert!(!sets.contains(&volume), "{sets:?}");
}

#[test]
fn what_does_not_fit_together_is_found_before_it_is_mounted() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let web = secret("web-tls", &ca.issue("/web"));
    let trust = |ca: &TestCa| config_map("trust", "roots.pem", &ca.root_pem());
    let place = |file: &str| format!("(stdin)#Pod/shop/web/tls{file}");
    // Each half is good by itself.
    let (_, found) = checked(&format!("{web}{}{}", trust(&other), pod(GOOD)));
    let [(rule, file, _)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (rule.as_str(), file),
        ("chain-incomplete", &place("/cert.pem"))
    );
    // The key of one Secret, the chain of another.
    let api = secret(
        "api-tls",
        &ca.issue_with(LeafOptions::service("/api").fresh_key()),
    );
    let mixed = "          \
        - secret: {name: web-tls, items: [{key: tls.crt, path: tls.crt}]}\n          \
        - secret: {name: api-tls, items: [{key: tls.key, path: tls.key}]}\n";
    let (_, found) = checked(&format!("{web}{api}{}", pod(mixed)));
    let [(rule, file, _)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((rule.as_str(), file), ("key-mismatch", &place("/tls.key")));
}

#[test]
fn an_item_that_its_object_does_not_have_is_named_and_what_it_has() {
    let ca = TestCa::new("example.org");
    let web = secret("web-tls", &ca.issue("/web"));
    let pod_with = |item: &str, optional: &str| {
        pod(&format!(
            "          - secret: {{name: web-tls, items: [{item}]{optional}}}\n"
        ))
    };
    let misspelt = "{key: tls.cert, path: tls.crt}";
    let (_, found) = checked(&format!("{web}{}", pod_with(misspelt, "")));
    let [(rule, file, text)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(rule, "file-missing");
    assert_eq!(file, "(stdin)#Pod/shop/web/tls");
    assert!(
        text.contains("`tls.cert` of the Secret `web-tls`, which has `tls.crt`, `tls.key`"),
        "{text}"
    );
    let optional = checked(&format!("{web}{}", pod_with(misspelt, ", optional: true")));
    assert_eq!(optional.1, []);
    // Of a Secret that is elsewhere, or in another namespace, nothing is known.
    assert_eq!(checked(&pod_with(misspelt, "")).1, []);
    let elsewhere = web.replace("namespace: shop", "namespace: mail");
    assert_eq!(
        checked(&format!("{elsewhere}{}", pod_with(misspelt, ""))).1,
        []
    );
}

#[test]
fn a_key_that_comes_by_a_config_map_is_an_error_wherever_it_is_seen() {
    let ca = TestCa::new("example.org");
    let key = config_map("keys", "tls.key", ca.issue("/web").key_pem());
    let (_, found) = checked(&key);
    let [(rule, file, _)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(rule, "key-in-public-file");
    assert_eq!(file, "(stdin)#ConfigMap/shop/keys/tls.key");
    // By its name, where the ConfigMap is not in the manifest.
    let mounted = "          - configMap: {name: keys, items: [{key: tls.key, path: key.pem}]}\n";
    let (_, found) = checked(&pod(mounted));
    let [(rule, file, text)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(rule, "key-in-public-file");
    assert_eq!(file, "(stdin)#Pod/shop/web/tls");
    assert!(text.contains("of the ConfigMap `keys`"), "{text}");
    let public = "          - configMap: {name: keys, items: [{key: ca.crt, path: ca.crt}]}\n";
    assert_eq!(checked(&pod(public)).1, []);
}

#[test]
fn a_file_of_a_projected_volume_that_is_mounted_by_subpath_is_found() {
    let ca = TestCa::new("example.org");
    let web = secret("web-tls", &ca.issue("/web"));
    let trust = config_map("trust", "roots.pem", &ca.root_pem());
    let whole = "{name: web, volumeMounts: [{name: tls, mountPath: /tls}]}";
    let part =
        "{name: web, volumeMounts: [{name: tls, mountPath: /tls/cert.pem, subPath: cert.pem}]}";
    let with = |container: &str| {
        let pod = pod(GOOD).replace("{name: web}]", &format!("{container}]"));
        checked(&format!("{web}{trust}{pod}")).1
    };
    assert_eq!(with(whole), []);
    let found = with(part);
    let [(rule, file, _)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(rule, "mount-subpath");
    assert_eq!(file, "(stdin)#Pod/shop/web/web");
}

#[test]
fn a_bundle_map_in_a_config_map_is_looked_at_as_one() {
    let empty = r#"{"trust_domains": {"partner.test": {"keys": []}}}"#;
    let (_, found) = checked(&config_map("partners", "map.json", empty));
    let [(rule, file, text)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(rule, "bundle-federated-empty");
    assert_eq!(file, "(stdin)#ConfigMap/shop/partners/map.json");
    assert!(text.contains("partner.test"), "{text}");
}
