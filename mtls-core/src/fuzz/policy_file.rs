//! Policy files.

use super::{check, pieces};
use crate::policy::{PolicyDocument, PolicyFileError, RequestFacts};
use crate::verify::Role;

/// Bytes are read as a policy in TOML and in JSON; one that holds decides about a peer and some requests.
pub fn policy_file(bytes: &[u8]) {
    for read in [PolicyDocument::from_toml, PolicyDocument::from_json] {
        match read(bytes) {
            Ok(document) => holds(&document, bytes),
            Err(error) => refused(&error, bytes),
        }
    }
}

fn holds(document: &PolicyDocument, bytes: &[u8]) {
    let printed = document.to_string();
    let again = PolicyDocument::from_toml(printed.as_bytes()).expect("what it prints is a policy");
    assert_eq!(again, *document, "it prints as what it says");
    assert_eq!(again.to_string(), printed);
    match document.access_policy() {
        // What holds where there is no request holds where there is one.
        Ok(_) => assert!(document.request_policy().is_ok()),
        Err(error) => refused(&error, bytes),
    }
    let policy = match document.request_policy() {
        Ok(policy) => policy,
        Err(error) => return refused(&error, bytes),
    };
    let peer = pieces::trust().map(|trust| {
        let verified = trust.verify(&[pieces::leaf()], Role::Client, pieces::now());
        verified
            .expect("the piece is of this trust")
            .identity()
            .clone()
    });
    for path in ["/", "/orders", "/orders/7", "/a/../b", "/%2e", "//"] {
        let request = RequestFacts::new("GET", path).authority("api.test");
        for peer in [None, peer.as_ref()] {
            let decided = policy.decide(peer, &request).is_ok();
            let explained = policy.explain(peer, &request).to_string();
            assert_eq!(policy.decide(peer, &request).is_ok(), decided);
            assert!(!explained.is_empty());
        }
    }
}

fn refused(error: &PolicyFileError, bytes: &[u8]) {
    check::explained(error, error.remedy(), bytes.len());
}
