use std::fs;

use super::super::file_set::read_set;
use super::super::fixture::{tempdir, write_plain};
use super::super::layout::CredentialFiles;
use super::*;
use crate::testing::TestCa;

fn domain(name: &str) -> TrustDomain {
    name.parse().unwrap()
}

fn root(name: &str) -> String {
    TestCa::new(name).root_pem()
}

fn file(dir: &Path, domain: &str) -> PathBuf {
    dir.join(format!("{domain}.spiffe-trust-bundle.pem"))
}

fn all(files: &CredentialFiles) -> Federated {
    federated(&read_set(files).unwrap())
}

fn names(all: &Federated) -> Vec<&str> {
    all.domains.keys().map(TrustDomain::as_str).collect()
}

#[test]
fn a_directory_has_a_bundle_for_each_domain_and_a_broken_one_stands_alone() {
    let (_guard, dir) = tempdir();
    let files = write_plain(&dir, "own").federated_bundles(&dir);
    fs::write(file(&dir, "a.example"), root("a.example")).unwrap();
    fs::write(
        file(&dir, "b.example"),
        root("b.example") + &root("b.example"),
    )
    .unwrap();
    fs::write(file(&dir, "c.example"), "").unwrap();
    fs::write(file(&dir, "BAD"), root("a.example")).unwrap();
    fs::write(file(&dir, ".staged-a.example"), "half").unwrap();
    let all = all(&files);
    assert_eq!(names(&all), ["a.example", "b.example", "c.example"]);
    for (name, count) in [("a.example", 1), ("b.example", 2)] {
        let FederatedBundle::Found(bundle) = &all.domains[&domain(name)] else {
            panic!("{all:?}");
        };
        assert_eq!(bundle.certificates.len(), count);
        assert_eq!(bundle.path, file(&dir, name));
    }
    let broken = &all.domains[&domain("c.example")];
    assert!(matches!(
        broken,
        FederatedBundle::Broken(LoadError::BundleEmpty { .. })
    ));
    let [LoadError::BundleMisnamed { path, .. }] = all.faults.as_slice() else {
        panic!("{:?}", all.faults);
    };
    assert_eq!(*path, file(&dir, "BAD"));
    assert!(all.complete);
}

#[test]
fn what_is_gone_is_told_from_what_cannot_be_known() {
    let (_guard, dir) = tempdir();
    let sub = dir.join("sub");
    fs::create_dir(&sub).unwrap();
    let a = domain("a.example");
    let by_file = write_plain(&dir, "own").federated_bundle(a.clone(), file(&sub, "a.example"));
    let by_dir = write_plain(&dir, "own").federated_bundles(&sub);
    fs::write(file(&sub, "a.example"), root("a.example")).unwrap();
    let before = all(&by_dir).presence();
    assert!(matches!(
        all(&by_file).domains[&a],
        FederatedBundle::Found(_)
    ));

    assert!(all(&by_file).first_error().is_none());

    fs::remove_file(file(&sub, "a.example")).unwrap();
    let first = all(&by_file);
    assert!(matches!(
        first.first_error(),
        Some(LoadError::FileMissing { .. })
    ));
    assert!(matches!(
        all(&by_file).domains[&a],
        FederatedBundle::Gone(_)
    ));
    let gone = all(&by_dir);
    assert!(gone.complete && gone.domains.is_empty());
    for files in [&by_file, &by_dir] {
        assert!(all(files).presence().lacks_any_of(&before));
    }

    #[cfg(unix)]
    {
        let dangling = file(&sub, "a.example");
        std::os::unix::fs::symlink("nowhere", dangling).unwrap();
        assert!(matches!(
            all(&by_file).domains[&a],
            FederatedBundle::Broken(_)
        ));
        assert!(!all(&by_dir).presence().lacks_any_of(&before));
    }

    fs::remove_dir_all(&sub).unwrap();
    assert!(matches!(
        all(&by_file).domains[&a],
        FederatedBundle::Broken(_)
    ));
    let unknown = all(&by_dir);
    assert!(!unknown.complete);
    assert!(matches!(
        unknown.faults[..],
        [LoadError::FileMissing { .. }]
    ));
    assert!(!unknown.presence().lacks_any_of(&before));
    assert_eq!(unknown.presence().after(&before).domains, before.domains);
}

#[test]
fn two_bundles_of_one_domain_are_the_same_or_an_error_and_never_united() {
    let (_guard, dir) = tempdir();
    let a = domain("a.example");
    let (one, two) = (root("a.example"), root("a.example"));
    fs::write(file(&dir, "a.example"), one.clone() + &two).unwrap();
    let files = write_plain(&dir, "own")
        .federated_bundles(&dir)
        .federated_bundle(a.clone(), dir.join("a.pem"));
    fs::write(dir.join("a.pem"), two.clone() + "comment\n" + &one).unwrap();
    assert!(matches!(all(&files).domains[&a], FederatedBundle::Found(_)));
    fs::write(dir.join("a.pem"), two).unwrap();
    let FederatedBundle::Broken(LoadError::BundleTwice { first, second, .. }) =
        &all(&files).domains[&a]
    else {
        panic!("they differ");
    };
    assert_eq!(
        [first, second],
        [&file(&dir, "a.example"), &dir.join("a.pem")]
    );
}

#[test]
fn the_own_bundle_is_no_federated_one() {
    let (_guard, dir) = tempdir();
    let own = domain("own.example");
    let files = CredentialFiles::spiffe_filesystem(&dir, &own);
    let pem = root("own.example");
    fs::write(file(&dir, "own.example"), &pem).unwrap();
    fs::write(file(&dir, "a.example"), root("a.example")).unwrap();
    assert_eq!(names(&all(&files)), ["a.example"]);
    assert_eq!(bundle_domain(files.bundle_path()).unwrap(), Some(own));
}

#[cfg(feature = "spiffe-json")]
#[test]
fn a_bundle_in_json_is_told_by_its_contents() {
    let (_guard, dir) = tempdir();
    let a = domain("a.example");
    let files = write_plain(&dir, "own").federated_bundle(a.clone(), dir.join("a"));
    fs::write(dir.join("a"), r#"{"keys":[],"spiffe_sequence":3}"#).unwrap();
    let FederatedBundle::Found(bundle) = &all(&files).domains[&a] else {
        panic!("an empty bundle is one");
    };
    assert_eq!((bundle.certificates.len(), bundle.sequence), (0, Some(3)));
    fs::write(dir.join("a"), r#"{"keys":["#).unwrap();
    let FederatedBundle::Broken(error) = &all(&files).domains[&a] else {
        panic!("it is cut short");
    };
    assert!(matches!(error, LoadError::SpiffeBundleMalformed { .. }));
    assert!(error.is_transient());
    fs::write(dir.join("a"), r#"{"keys":[{"kty":"EC","d":""}]}"#).unwrap();
    let private = &all(&files).domains[&a];
    assert!(matches!(
        private,
        FederatedBundle::Broken(LoadError::KeyInBundle { .. })
    ));
}

#[cfg(not(feature = "spiffe-json"))]
#[test]
fn a_bundle_in_json_is_refused_with_the_name_of_the_feature() {
    let (_guard, dir) = tempdir();
    let a = domain("a.example");
    let files = write_plain(&dir, "own").federated_bundle(a.clone(), dir.join("a"));
    fs::write(dir.join("a"), r#"{"keys":[]}"#).unwrap();
    let FederatedBundle::Broken(error) = &all(&files).domains[&a] else {
        panic!("it is JSON");
    };
    assert!(error.to_string().contains("spiffe-json"), "{error}");
}

#[cfg(feature = "spiffe-json")]
#[test]
fn a_map_is_taken_as_a_whole_or_nothing_is_known_of_its_domains() {
    let (_guard, dir) = tempdir();
    let files = write_plain(&dir, "own").bundle_map(dir.join("map"));
    let good = r#"{"trust_domains":{"a.example":{"keys":[]},"b.example":{"keys":[]}}}"#;
    fs::write(dir.join("map"), good).unwrap();
    let map = all(&files);
    assert_eq!(names(&map), ["a.example", "b.example"]);
    let before = map.presence();
    fs::write(
        dir.join("map"),
        good.replace(r#","b.example":{"keys":[]}"#, ""),
    )
    .unwrap();
    assert!(all(&files).presence().lacks_any_of(&before));
    let bad = [
        good.replace("b.ex", "a.ex"),
        good.replacen("keys", "key", 1),
        String::new(),
    ];
    for text in bad {
        fs::write(dir.join("map"), text).unwrap();
        let map = all(&files);
        assert!(map.domains.is_empty() && !map.complete);
        assert_eq!(map.faults.len(), 1);
        assert!(!map.presence().lacks_any_of(&before));
    }
    fs::remove_file(dir.join("map")).unwrap();
    assert!(matches!(
        all(&files).faults[..],
        [LoadError::FileMissing { .. }]
    ));
    assert!(!all(&files).complete);
}
