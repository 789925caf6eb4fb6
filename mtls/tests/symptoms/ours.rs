//! What our own errors print, for people and for programmers, leads to the section of their reason.

use mtls_core::check::CheckRule;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use mtls_core::testing::{
    Broken, LeafOptions, Rehearsal, TestCa, handshake, handshake_with_foreign,
};
use mtls_core::{
    Chained, ClientTls, CredentialFiles, CredentialSource, HandshakeError, Policy, Reason,
    ServerTls,
};

use crate::explained;
use crate::plain::{Own, client};

/// Of what a log has of it, and of what Rust prints of it if `main` returns it, whatever leads elsewhere.
fn astray(error: &(dyn std::error::Error + 'static), reason: Reason) -> Vec<String> {
    let mut printed = vec![Chained(error).to_string()];
    // No variant stands for that one alone.
    if reason != Reason::NoSan {
        printed.push(format!("Error: {error:?}"));
    }
    let is_astray =
        |text: &String| explained(text).first().map(String::as_str) != Some(reason.as_str());
    let printed = printed.into_iter().filter(is_astray);
    printed
        .map(|text| format!("not to {reason}: {text}"))
        .collect()
}

#[tokio::test]
async fn whatever_keeps_a_source_from_starting_leads_to_its_reason() {
    let ca = TestCa::new("example.org");
    let (mut refused, mut wrong) = (0, Vec::new());
    for rule in CheckRule::ALL {
        let Some(rehearsal) = Rehearsal::of(*rule, &ca) else {
            continue;
        };
        let dir = tempfile::tempdir().unwrap();
        rehearsal.write(dir.path()).unwrap();
        let files = rehearsal.credential_files(dir.path());
        if let Err(error) = CredentialSource::watch(files).await {
            wrong.extend(astray(&error, error.reason()));
            refused += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused > 40, "{refused}");
}

#[tokio::test]
async fn a_directory_without_credentials_leads_to_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("gone")] {
        let error = CredentialFiles::detect(path).unwrap_err();
        assert_eq!(astray(&error, error.reason()), [""; 0]);
    }
}

fn server(source: &CredentialSource) -> ServerTls {
    let web = Policy::spiffe_id("spiffe://example.org/web").unwrap();
    ServerTls::builder(source).authorize(web).build().unwrap()
}

#[track_caller]
fn leads_to_its_reason(error: &HandshakeError) {
    assert_eq!(astray(error, error.reason()), [""; 0]);
}

#[test]
fn whatever_a_server_refuses_a_chain_for_leads_to_its_reason() {
    let ca = TestCa::new("example.org");
    let server = server(&ca.source(&ca.issue("/server")));
    let refused = |own: Option<Own>| {
        let client = client(&ca, own).ok()?;
        handshake_with_foreign(&server, client.into(), "localhost").err()
    };
    let mut count = 0;
    for broken in Broken::ALL {
        let set = broken.make(&ca);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&set.chain_pem).collect();
        let (Ok(chain), Ok(key)) = (chain, PrivateKeyDer::from_pem_slice(&set.key_pem)) else {
            continue;
        };
        // Some of them rustls does not present.
        let Some(error) = refused(Some(Own { chain, key })) else {
            continue;
        };
        leads_to_its_reason(&error);
        count += 1;
    }
    assert!(count >= 12, "{count}");
    leads_to_its_reason(&refused(None).unwrap());
    // Somebody who is known, and may not.
    leads_to_its_reason(&refused(Some(Own::of(&ca.issue("/batch")))).unwrap());
}

#[test]
fn whatever_a_client_refuses_a_server_for_leads_to_its_reason() {
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let web = ca.source(&ca.issue("/web"));
    let client = ClientTls::builder(&web)
        .verify_server_name()
        .build()
        .unwrap();
    let leaf = LeafOptions::new;
    let anew = ca.same_name_other_key();
    for (of, leaf, name) in [
        (&ca, leaf().dns("api.test"), "other.test"),
        (&ca, leaf().common_name("api.test"), "api.test"),
        (&stranger, LeafOptions::service("/server"), "localhost"),
        (&anew, LeafOptions::service("/server"), "localhost"),
    ] {
        let source = of.source(&of.issue_with(leaf));
        let outcome = handshake(&server(&source), &client, name);
        leads_to_its_reason(&outcome.client.unwrap_err());
        // And the alert for it, which the server reads.
        leads_to_its_reason(&outcome.server.unwrap_err());
    }
}
