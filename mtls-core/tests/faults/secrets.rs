//! Keys, and who never gets to see them.

use crate::fixture::*;
use mtls_core::testing::{Issued, PlainDir, TestCa};
use mtls_core::{Chained, CredentialSource, LoadError};
use tracing::Level;

/// Pieces of a key in each form in which it might be printed.
fn pieces(issued: &Issued) -> Vec<String> {
    let der = issued.key_der();
    let secret = der.secret_der();
    let mut pieces: Vec<_> = issued
        .key_pem()
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(|line| line.chars().take(16).collect())
        .collect();
    // What tells one key from another begins behind the header.
    for piece in secret.chunks(8).skip(5) {
        let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
        pieces.extend([hex.to_uppercase(), hex]);
        pieces.push(format!("{piece:?}").replace(['[', ']'], ""));
    }
    // The header, the same in every key, is no secret; a tail of a few characters would be found anywhere.
    pieces.remove(0);
    pieces.retain(|piece| piece.len() >= 12);
    assert!(pieces.len() > 10);
    pieces
}

fn shown(source: &CredentialSource, refused: Option<&LoadError>) -> String {
    let status = source.status();
    let mut shown = format!("{source:?} {:?} {status:?} {status}", source.current());
    if let Some(refused) = refused {
        shown += &format!("{refused:?} {refused} {}", Chained(refused));
    }
    shown
}

#[tokio::test]
async fn no_error_status_or_line_of_the_log_holds_a_key_whatever_is_wrong_with_its_file() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let (web, other) = (ca.issue("/web"), ca.issue("/web"));
    let dir = PlainDir::new(&web);
    let source = watch_with(builder().grace(std::time::Duration::ZERO), dir.path()).await;
    let key = other.key_pem();
    let faults = [
        ("tls.key", key.to_owned(), "another key"),
        ("tls.key", format!("{key}{}", web.key_pem()), "two keys"),
        ("tls.key", key.replace("PRIVATE", "PUBLIC"), "label"),
        ("tls.key", key.chars().take(key.len() / 2).collect(), "cut"),
        ("tls.key", key.replace('\n', "\n!"), "damaged"),
        ("tls.key", key.lines().collect(), "one line"),
        ("tls.key", key.replacen("-----", "", 1), "no begin"),
        ("tls.crt", key.to_owned(), "a key as the chain"),
        ("ca.crt", key.to_owned(), "a key as the bundle"),
        ("ca.crt", ca.root_pem() + key, "a key in the bundle"),
    ];
    let faults_count = faults.len();
    let mut all = shown(&source, None);
    for (name, text, what) in faults {
        dir.rename_over(name, text);
        let refused = refused_reload(&source).await;
        all += &shown(&source, Some(&refused));
        assert!(source.status().last_error.is_some(), "{what}");
        dir.rotate(&web);
        reload(&source).await;
    }
    for piece in pieces(&other).iter().chain(&pieces(&web)) {
        assert!(!all.contains(piece), "{piece}");
        for level in [
            Level::ERROR,
            Level::WARN,
            Level::INFO,
            Level::DEBUG,
            Level::TRACE,
        ] {
            assert_eq!(log.count(level, piece), 0, "{piece}");
        }
    }
    // One line at least about each.
    assert!(log.count(Level::DEBUG, "") + log.warnings() >= faults_count);
}
