//! What README tells people to type. Its Rust is compiled by `examples/src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mtls_core::rustls::crypto::aws_lc_rs;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::rustls::{RootCertStore, ServerConfig};

use crate::door::Door;
use crate::mtls;
use crate::tools::{Tool, absent, run};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The lines of its blocks of code in this language.
fn lines(language: &str) -> Vec<String> {
    let readme = readme();
    let fence = format!("```{language}\n");
    let blocks = readme.split(&fence).skip(1);
    let texts = blocks.filter_map(|block| block.split("\n```").next());
    let lines = texts.flat_map(str::lines).map(str::trim);
    lines.map(ToOwned::to_owned).collect()
}

/// As a shell splits it, which here has single quotes and comments to look after.
fn words(line: &str) -> Vec<String> {
    let code = line.split(" #").next().unwrap();
    let quoted = code.split('\'').enumerate();
    let words = quoted.flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(ToOwned::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

/// A server of plain rustls with what a directory holds, which requires certificates.
fn open(dir: &Path) -> Door {
    let path = |name: &str| dir.join(name);
    let read = |name: &str| CertificateDer::pem_file_iter(path(name)).unwrap();
    let mut roots = RootCertStore::empty();
    for anchor in read("ca.crt") {
        roots.add(anchor.unwrap()).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            read("tls.crt").map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_file(path("tls.key")).unwrap(),
        )
        .unwrap();
    Door::open(config)
}

/// Each in the directory that the one before has left; the service that is meant has been started by then.
#[test]
fn the_commands_of_the_readme_succeed_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut ran = Vec::new();
    for line in lines("console") {
        let words = words(&line);
        let Some((program, arguments)) = words.split_first() else {
            continue;
        };
        if program == "cargo" || program == "curl" && absent(&[Tool::CurlWithOpenssl3]) {
            continue;
        }
        let mut door = None;
        let here = |argument: &String| {
            if argument.starts_with("examples/") {
                return root().join(argument).display().to_string();
            }
            if !argument.contains(":8443") {
                return argument.clone();
            }
            let opened = door.insert(open(&dir.path().join(SERVES)));
            argument.replace(":8443", &format!(":{}", opened.port))
        };
        let arguments: Vec<_> = arguments.iter().map(here).collect();
        match program.as_str() {
            "mtls" => {
                let said = mtls(dir.path(), &arguments);
                assert_eq!(said.code, 0, "{line}: {said:?}");
            }
            "curl" => {
                let said = run("curl", &arguments, dir.path());
                assert!(said.success, "{line}: {said:?}");
            }
            _ => panic!("{line}"),
        }
        ran.push(words[..2].join(" "));
    }
    for command in [
        "mtls dev",
        "mtls check",
        "mtls policy",
        "mtls explain",
        "mtls probe",
    ] {
        assert!(ran.iter().any(|ran| ran == command), "{command}: {ran:?}");
    }
}

const SERVES: &str = "dev/orders";

/// What stands in the first quotes after a word; with no word, in the first of all.
fn quoted<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.split_once(word)?.1.split('"').nth(1)
}

#[test]
fn the_dependencies_of_the_readme_are_there_in_the_versions_that_we_build_with() {
    let root = root();
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let mut wanted = Vec::new();
    for line in lines("toml") {
        let Some((name, value)) = line.split_once(" = ") else {
            continue;
        };
        if let Some(path) = quoted(value, "path = ") {
            // Beside a checkout under the name that a clone has.
            let (_, member) = path.split_once("../mtls/").unwrap();
            assert!(root.join(member).join("Cargo.toml").exists(), "{path}");
            assert_eq!(member, name);
        } else {
            let version = quoted(value, "version = ").or_else(|| quoted(value, ""));
            let mut ours = workspace.lines();
            let ours = ours.find(|line| line.starts_with(&format!("{name} = ")));
            let ours = ours.and_then(|line| quoted(line, "version = ")).unwrap();
            assert!(ours.starts_with(version.unwrap()), "{name}: {ours}");
        }
        wanted.push(name.to_owned());
    }
    for name in ["axum", "mtls-axum", "mtls-core", "mtls-reqwest", "tokio"] {
        assert!(wanted.iter().any(|wanted| wanted == name), "{wanted:?}");
    }
}
