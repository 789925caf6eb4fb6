//! What is new on disk, or in the trust, and is not what is presented, or asked.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use mtls_core::rustls::ServerConfig;
use mtls_core::rustls::pki_types::PrivateKeyDer;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::testing::{LeafOptions, MountedDir, TestCa};

use crate::plain::{
    Own, Told, certificates, client, client_by, provider, roots, server_by, shake_again, verifier,
};
use crate::{checked, explained, leads_to, shows};

/// A server of plain rustls with what these files hold now.
fn started_with(chain: &Path, key: &Path, ca: &TestCa) -> ServerConfig {
    let own = Own {
        chain: certificates(&fs::read(chain).unwrap()),
        key: PrivateKeyDer::from_pem_file(key).unwrap(),
    };
    server_by(provider(), verifier(ca), own)
}

fn dialled(server: &Arc<ServerConfig>, ca: &TestCa) -> Told {
    let web = client(ca, Some(Own::of(&ca.issue("/web")))).unwrap();
    shake_again(server, &Arc::new(web), "localhost")
}

/// The files of a service whose certificate has expired, and of the same service once it was renewed.
fn late(ca: &TestCa) -> MountedDir {
    MountedDir::new(&ca.issue_with(LeafOptions::service("/api").expired()))
}

#[test]
fn a_process_that_reads_its_files_once_presents_what_has_expired() {
    let ca = TestCa::new("example.org");
    let dir = late(&ca);
    let server = Arc::new(started_with(&dir.chain_path(), &dir.key_path(), &ca));
    dir.rotate(&ca.issue("/api"));
    // Nothing is wrong with what is on disk.
    assert_eq!(checked(dir.path()), [""; 0]);
    let told = dialled(&server, &ca);
    assert!(told.client().contains("certificate expired"), "{told:?}");
    shows(told.client(), "not_reloaded");
    let restarted = Arc::new(started_with(&dir.chain_path(), &dir.key_path(), &ca));
    let told = dialled(&restarted, &ca);
    assert!(told.client.is_none() && told.server.is_none(), "{told:?}");
}

/// What Kubernetes' `subPath` mounts is the file that was there at the start, whatever takes its name later: so is a hard link.
#[cfg(unix)]
#[test]
fn a_file_that_is_mounted_by_itself_stays_the_old_one_even_for_who_reads_it_again() {
    let ca = TestCa::new("example.org");
    let dir = late(&ca);
    let mounted = tempfile::tempdir().unwrap();
    let at = |name: &str| mounted.path().join(name);
    for (name, path) in [("tls.crt", dir.chain_path()), ("tls.key", dir.key_path())] {
        fs::hard_link(path.canonicalize().unwrap(), at(name)).unwrap();
    }
    dir.rotate(&ca.issue("/api"));
    assert_eq!(checked(dir.path()), [""; 0]);
    let server = Arc::new(started_with(&at("tls.crt"), &at("tls.key"), &ca));
    let told = dialled(&server, &ca);
    assert!(told.client().contains("certificate expired"), "{told:?}");
    shows(told.client(), "not_reloaded");
    // Where it is a mount, the rule tells it.
    shows("mount-subpath", "expired");
}

#[test]
fn a_session_outlives_the_trust_that_it_began_with() {
    let (servers, clients) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let own = || Own::of(&servers.issue("/server"));
    let before = Arc::new(server_by(provider(), verifier(&clients), own()));
    // The CA of the client is no longer in the bundle.
    let narrowed = || server_by(provider(), verifier(&servers), own());
    let mut with_its_sessions = narrowed();
    with_its_sessions.session_storage = Arc::clone(&before.session_storage);
    let web = client_by(roots(&servers), Some(Own::of(&clients.issue("/web"))));
    let web = Arc::new(web.unwrap());
    assert!(!shake_again(&before, &web, "localhost").is_resumed);
    let told = shake_again(&Arc::new(with_its_sessions), &web, "localhost");
    assert!(told.is_resumed, "{told:?}");
    assert!(told.server.is_none() && told.client.is_none(), "{told:?}");
    // Nobody prints anything: it is looked up by what one sees.
    leads_to(
        "a client removed from trust can still connect",
        "resumed_session",
    );
    leads_to("resumed_session", "resumed_session");
    // Without the sessions it is refused.
    let told = shake_again(&Arc::new(narrowed()), &web, "localhost");
    assert!(told.server().contains("UnknownIssuer"), "{told:?}");
}

#[test]
fn what_is_seen_and_not_read_is_found_by_plain_words() {
    for (seen, section) in [
        ("the expired certificate is still served", "not_reloaded"),
        ("a rotated Secret never reaches the process", "not_reloaded"),
        ("a revoked client is still accepted", "crl_unusable"),
        ("refusals do not appear in the server log", "not_logged"),
        ("the server stops accepting", "serving_stopped"),
    ] {
        leads_to(seen, section);
    }
    assert_eq!(explained("the server is painted blue"), [""; 0]);
}
