//! Kubernetes manifests that ask for credentials, before anybody has issued or mounted them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Said, mtls, mtls_with};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kubernetes")
}

fn example(name: &str) -> String {
    fs::read_to_string(examples().join(name)).unwrap()
}

/// What `mtls check -` finds: rules and places.
fn found(manifest: &str, more: &[&str]) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [&["check", "-", "--format", "json"], more].concat();
    let said = mtls_with(dir.path(), &arguments, manifest.as_bytes());
    assert_ne!(said.code, 2, "{said:?}");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let sets = report["sets"].as_array().unwrap().iter();
    let findings = sets.flat_map(|set| set["findings"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings
        .map(|finding| (text(&finding["rule"]), text(&finding["file"])))
        .collect()
}

/// The example with one part of it replaced, which has to be there.
fn twin(example: &str, part: &str, by: &str) -> String {
    assert_eq!(example.matches(part).count(), 1, "{part}");
    example.replace(part, by)
}

#[test]
fn the_examples_for_kubernetes_yield_nothing() {
    let mut files: Vec<_> = fs::read_dir(examples())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut arguments = vec!["check".into(), "--fail-on".into(), "warn".into()];
    arguments.extend(files);
    let Said { code, out, err } = mtls(&examples(), &arguments);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    // One that could not be told from an empty file would be here too.
    for object in [
        "cert-manager.yaml#Certificate/shop/orders-tls",
        "cert-manager.yaml#Deployment/shop/orders",
        "csi-driver-spiffe.yaml#Deployment/shop/orders",
        "istio-output-certs.yaml#Deployment/shop/orders",
        "pod-certificates.yaml#Deployment/shop/orders",
        "spiffe-helper.yaml#Deployment/shop/orders",
    ] {
        let line = out.lines().find(|line| line.ends_with(object));
        assert!(line.is_some_and(|line| line.starts_with("ok ")), "{out}");
    }
    assert!(out.ends_with("\n0 errors, 0 warnings, 0 notes\n"), "{out}");
}

#[test]
fn each_broken_twin_of_the_example_yields_its_rule_and_no_other() {
    let good = example("cert-manager.yaml");
    assert_eq!(found(&good, &[]), []);
    let usages = "    - server auth\n    - client auth\n";
    let certificate = "(stdin)#Certificate/shop/orders-tls";
    let volume = "(stdin)#Deployment/shop/orders/tls";
    let container = "(stdin)#Deployment/shop/orders/orders";
    let mount = "mountPath: /var/run/secrets/tls, readOnly: true}";
    let subpath = "mountPath: /etc/tls.crt, subPath: tls.crt}";
    let image = "          image: registry.example.org/shop/orders:1\n";
    let variable = |of: &str| {
        format!("{image}          env:\n            - {{name: TLS_KEY, valueFrom: {{{of}}}}}\n")
    };
    let all =
        format!("{image}          envFrom:\n            - {{secretRef: {{name: orders-tls}}}}\n");
    let of_secret = variable("secretKeyRef: {name: orders-tls, key: tls.key}");
    let of_map = variable("configMapKeyRef: {name: shop-trust, key: ca.crt}");
    let item = "{key: tls.key, path: tls.key}";
    let twins = [
        (
            usages,
            "    - server auth\n",
            "eku-missing-role",
            certificate,
        ),
        (
            usages,
            "    - client auth\n",
            "eku-missing-role",
            certificate,
        ),
        (usages, "    - any\n", "eku-any", certificate),
        (usages, "    - code signing\n", "eku-no-role", certificate),
        (mount, subpath, "mount-subpath", container),
        (
            mount,
            "mountPath: /x, subPath: a}",
            "mount-subpath",
            container,
        ),
        (image, &of_secret, "mount-env", container),
        (image, &of_map, "mount-env", container),
        (image, &all, "mount-env", container),
        (
            "            defaultMode: 0440\n",
            "",
            "key-permissions",
            volume,
        ),
        (
            "defaultMode: 0440",
            "defaultMode: 0644",
            "key-permissions",
            volume,
        ),
        (
            "defaultMode: 0440",
            "defaultMode: 420",
            "key-permissions",
            volume,
        ),
        (
            item,
            "{key: tls.key, path: tls.key, mode: 0444}",
            "key-permissions",
            volume,
        ),
    ];
    for (part, by, rule, place) in twins {
        let broken = twin(&good, part, by);
        assert_eq!(
            found(&broken, &[]),
            [(rule.to_owned(), place.to_owned())],
            "{by}"
        );
    }
}

#[test]
fn a_plain_secret_volume_and_the_csi_drivers_attributes_are_judged_as_well() {
    let certificate = "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: web}\nspec: {secretName: web}\n---\n";
    let pod = |volume: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  containers: [{{name: web}}]\n  \
             volumes: [{{name: tls, {volume}}}]\n"
        )
    };
    let plain = |mode: &str| {
        let pod = pod(&format!("secret: {{secretName: web{mode}}}"));
        found(&format!("{certificate}{pod}"), &[])
    };
    let place = "(stdin)#Pod/web/tls".to_owned();
    assert_eq!(plain(""), [("key-permissions".to_owned(), place.clone())]);
    assert_eq!(plain(", defaultMode: 0400"), []);
    let driver = |usages: &str| {
        let attributes = format!("{{csi.cert-manager.io/key-usages: '{usages}'}}");
        let csi = format!("csi: {{driver: csi.cert-manager.io, volumeAttributes: {attributes}}}");
        found(&pod(&csi), &[])
    };
    assert_eq!(
        driver("server auth"),
        [("eku-missing-role".to_owned(), place)]
    );
    assert_eq!(driver("digital signature, server auth, client auth"), []);
}

#[test]
fn usages_are_judged_for_the_role_that_is_asked_about() {
    let usages = "    - server auth\n    - client auth\n";
    let served = twin(&example("cert-manager.yaml"), usages, "    - server auth\n");
    assert_eq!(found(&served, &["--role", "server"]), []);
    let [(rule, _)] = &found(&served, &["--role", "client"])[..] else {
        panic!("one finding");
    };
    assert_eq!(rule, "eku-missing-role");
    assert_eq!(
        found(&served, &["--allow", "eku-missing-role=it calls nobody"]),
        []
    );
    // cert-manager's own default leaves the extension out, and both roles take that.
    let list = format!("  usages:\n    - digital signature\n{usages}");
    assert_eq!(
        found(&twin(&example("cert-manager.yaml"), &list, ""), &[]),
        []
    );
}

#[test]
fn what_is_no_credential_may_be_mounted_by_subpath_and_be_in_a_variable() {
    let pod = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: report}\nspec:\n  jobTemplate:\n    spec:\n      \
        template:\n        spec:\n          containers:\n            - name: report\n              env:\n                \
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: database, key: password}}}\n              volumeMounts:\n                \
        - {name: settings, mountPath: /etc/report.toml, subPath: report.toml}\n                \
        - {name: disk, mountPath: /etc/tls.crt, subPath: tls.crt}\n          volumes:\n            \
        - {name: settings, configMap: {name: report}}\n            - {name: database, secret: {secretName: database}}\n            \
        - {name: disk, persistentVolumeClaim: {claimName: disk}}\n";
    assert_eq!(found(pod, &[]), []);
    let mounted = twin(pod, "subPath: report.toml", "subPath: ca.crt");
    let place = "(stdin)#CronJob/report/report".to_owned();
    assert_eq!(found(&mounted, &[]), [("mount-subpath".to_owned(), place)]);
}

#[test]
fn a_service_among_manifests_is_fine_and_alone_it_is_not_what_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let service = dir.path().join("service.yaml");
    fs::write(&service, "apiVersion: v1\nkind: Service\n").unwrap();
    let service = service.into_os_string();
    let orders = examples().join("cert-manager.yaml").into_os_string();
    let both = mtls(dir.path(), &["check".into(), service.clone(), orders]);
    assert_eq!(both.code, 0, "{both:?}");
    let twice = mtls(dir.path(), &["check".into(), service.clone(), service]);
    assert_eq!(twice.code, 2, "{twice:?}");
}
