//! No byte of a key is ever told.

use mtls_core::check::{CheckRule, CheckSet, check};
use mtls_core::testing::{Broken, MountedDir, Rehearsal, TestCa};
use mtls_core::{Chained, CredentialFiles};

use crate::{checked, mounted, options};

/// Every line of base64 in a key's file, in pieces too short to be told by chance.
fn pieces(key: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(key);
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let all = lines.flat_map(|line| {
        let bytes = line.as_bytes().chunks_exact(12);
        bytes.map(|piece| String::from_utf8_lossy(piece).into_owned())
    });
    all.collect()
}

#[test]
fn no_finding_about_any_broken_set_shows_a_piece_of_its_key() {
    let ca = TestCa::new("example.org");
    let holds = |text: &str, key: &[u8], what: &str| {
        for piece in pieces(key) {
            assert!(!text.contains(&piece), "{what} shows `{piece}`: {text}");
        }
    };
    for rule in CheckRule::ALL {
        let Some(rehearsal) = Rehearsal::of(*rule, &ca) else {
            continue;
        };
        let dir = mounted(&rehearsal);
        let set = CheckSet::read(&rehearsal.credential_files(dir.path())).unwrap();
        let report = check(&set, &rehearsal.options()).unwrap();
        let text = format!("{report:?} {set:?} {rehearsal:?}");
        for (name, bytes) in rehearsal.files() {
            if name == "tls.key" {
                holds(&text, bytes, rule.as_str());
            }
        }
    }
    let dir = MountedDir::new(&ca.issue("/web"));
    for broken in Broken::ALL {
        broken.write(&ca, &dir);
        let report = checked(&CredentialFiles::kubernetes(dir.path()), &options());
        let key = std::fs::read(dir.key_path()).unwrap();
        // A chain in the key's place is no secret.
        if *broken != Broken::KeyMissing && *broken != Broken::KeyPublic {
            holds(&format!("{report:?}"), &key, broken.name());
        }
    }
}

#[test]
fn a_piece_that_were_shown_would_be_found() {
    let key = TestCa::new("example.org").issue("/web");
    let pieces = pieces(key.key_pem().as_bytes());
    assert!(pieces.len() > 10);
    assert!(key.key_pem().contains(&pieces[3]));
    let error = mtls_core::LoadError::SourceEnded;
    assert!(!Chained(&error).to_string().contains(&pieces[3]));
}
