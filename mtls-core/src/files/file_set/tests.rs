use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::fixture::{Mount, NAMES, rename_over, tempdir, write_plain};
use super::*;

fn text(file: &Result<FileContent, LoadError>) -> &str {
    std::str::from_utf8(file.as_ref().unwrap().bytes()).unwrap()
}

#[test]
fn a_missing_chain_does_not_hide_the_bundle() {
    let (_guard, dir) = tempdir();
    let files = write_plain(&dir, "a");
    fs::remove_file(files.chain_path()).unwrap();
    let set = read_set(&files).unwrap();
    assert!(matches!(set.chain, Err(LoadError::FileMissing { .. })));
    assert_eq!(text(&set.bundle), "a");
}

#[test]
fn one_file_for_chain_and_key_is_read_once() {
    let (_guard, dir) = tempdir();
    let files = write_plain(&dir, "both");
    let [chain, bundle] = [files.chain_path(), files.bundle_path()];
    let set = read_set(&CredentialFiles::paths(chain, chain, bundle)).unwrap();
    let at = |file: &Result<FileContent, LoadError>| file.as_ref().unwrap().bytes().as_ptr();
    assert_eq!(at(&set.chain), at(&set.key));
    assert_eq!(text(&set.key), "both");

    let apart = read_set(&files).unwrap();
    assert_ne!(at(&apart.chain), at(&apart.key));
    fs::remove_file(chain).unwrap();
    let set = read_set(&CredentialFiles::paths(chain, chain, bundle)).unwrap();
    for file in [&set.chain, &set.key] {
        assert!(matches!(file, Err(LoadError::FileMissing { .. })));
    }
}

#[test]
fn the_fingerprint_follows_contents_and_failures_and_nothing_else() {
    let (_guard, dir) = tempdir();
    let files = write_plain(&dir, "a");
    let print = || read_set(&files).unwrap().fingerprint;
    let first = print();
    rename_over(files.bundle_path(), "a");
    assert_eq!(print(), first, "the same bytes in another file");
    rename_over(files.bundle_path(), "b");
    assert_ne!(print(), first);
    rename_over(files.bundle_path(), "");
    let empty = print();
    fs::remove_file(files.bundle_path()).unwrap();
    let missing = print();
    assert_ne!(missing, empty);
    fs::create_dir(files.bundle_path()).unwrap();
    assert_ne!(print(), missing, "another failure");
}

#[test]
fn bytes_that_move_from_one_file_to_the_next_change_the_fingerprint() {
    let (_guard, dir) = tempdir();
    let files = write_plain(&dir, "ab");
    let first = read_set(&files).unwrap().fingerprint;
    fs::write(files.chain_path(), "a").unwrap();
    fs::write(files.key_path(), "bab").unwrap();
    assert_ne!(read_set(&files).unwrap().fingerprint, first);
}

#[test]
fn files_that_change_in_every_pass_are_reported_not_served() {
    let (_guard, dir) = tempdir();
    let files = write_plain(&dir, "0");
    let mut count = 0;
    let outcome = stable(&files, || {
        count += 1;
        rename_over(files.key_path(), &count.to_string());
        pass(&files)
    });
    assert!(matches!(
        outcome,
        Err(LoadError::UnstableFiles {
            passes: MAX_PASSES,
            ..
        })
    ));
    assert_eq!(count, MAX_PASSES);
}

#[test]
fn one_change_between_passes_costs_one_more_pass() {
    let (_guard, dir) = tempdir();
    let files = write_plain(&dir, "old");
    let mut count = 0;
    let set = stable(&files, || {
        count += 1;
        if count == 2 {
            rename_over(files.key_path(), "new");
        }
        pass(&files)
    });
    assert_eq!(text(&set.unwrap().key), "new");
    assert_eq!(count, 3);
}

#[test]
fn an_absence_during_a_swap_is_read_again_not_reported() {
    let mut mount = Mount::new();
    let files = mount.files();
    let mut count = 0;
    let set = stable(&files, || {
        count += 1;
        let mut set = pass(&files);
        if count <= 2 {
            // The same absence twice, each time because the generation went away under the reader.
            mount.swap("new");
            set.key = Err(LoadError::FileMissing {
                path: files.key_path().to_path_buf(),
                target: None,
            });
            set.fingerprint = Fingerprint([0; 32]);
        }
        set
    });
    assert_eq!(text(&set.unwrap().key), "new");
    assert_eq!(count, 4);
}

#[test]
fn swaps_at_full_speed_never_give_a_mixed_set() {
    let mut mount = Mount::new();
    let files = mount.files();
    let done = AtomicBool::new(false);
    let mut whole = 0;
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut count = 0_usize;
            while !done.load(Ordering::Relaxed) {
                count += 1;
                mount.swap(&count.to_string());
            }
        });
        for _ in 0..300 {
            match read_set(&files) {
                Ok(set) => {
                    assert_eq!(text(&set.chain), text(&set.key));
                    assert_eq!(text(&set.chain), text(&set.bundle));
                    whole += 1;
                }
                Err(error) => assert!(matches!(error, LoadError::UnstableFiles { .. })),
            }
        }
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    assert!(whole > 0);
}

#[test]
fn only_a_set_wholly_behind_one_data_link_is_atomic() {
    let mount = Mount::new();
    let files = mount.files();
    assert!(is_atomic(&files));
    fs::remove_file(files.bundle_path()).unwrap();
    assert!(is_atomic(&files), "a Secret without a bundle");
    fs::write(files.bundle_path(), "put here by hand").unwrap();
    assert!(!is_atomic(&files));

    let other = Mount::new();
    let apart = CredentialFiles::paths(
        other.dir.join(NAMES[0]),
        other.dir.join(NAMES[1]),
        mount.dir.join(NAMES[0]),
    );
    assert!(!is_atomic(&apart), "each volume is swapped for itself");
    let (_guard, dir) = tempdir();
    assert!(!is_atomic(&write_plain(&dir, "plain")));
}

#[test]
fn bundles_of_other_domains_and_lists_count_by_name_and_contents() {
    let (_guard, dir) = tempdir();
    let other = dir.join("other");
    fs::create_dir(&other).unwrap();
    let files = write_plain(&dir, "a")
        .federated_bundles(&other)
        .revocation_lists(&other);
    let mut seen = vec![read_set(&files).unwrap().fingerprint];
    let mut changes = |what: &str| {
        let print = read_set(&files).unwrap().fingerprint;
        assert!(!seen.contains(&print), "{what}");
        seen.push(print);
    };
    let a = other.join("a.example.spiffe-trust-bundle.pem");
    fs::write(&a, "1").unwrap();
    changes("a file came");
    fs::write(&a, "2").unwrap();
    changes("it holds something else");
    fs::rename(&a, other.join("b.example.spiffe-trust-bundle.pem")).unwrap();
    changes("it has another name");
    fs::write(other.join("ca.crl"), "").unwrap();
    changes("a list came");
    fs::remove_dir_all(&other).unwrap();
    changes("the directory went");
}

#[test]
fn trust_of_its_own_may_be_behind_a_data_link_of_its_own() {
    let (mount, other) = (Mount::new(), Mount::new());
    let files = mount.files().federated_bundles(&other.dir);
    let files = files.revocation_lists(other.dir.join(NAMES[0]));
    assert!(is_atomic(&files));
    // A part of a volume, which is linked as a whole.
    let data = fs::read_link(other.dir.join("..data")).unwrap();
    fs::create_dir(other.dir.join(data).join("part")).unwrap();
    std::os::unix::fs::symlink("..data/part", other.dir.join("part")).unwrap();
    let part = mount.files().federated_bundles(other.dir.join("part"));
    fs::write(other.dir.join("part/a.spiffe-trust-bundle.pem"), "").unwrap();
    assert!(is_atomic(&part));

    fs::write(other.dir.join("a.spiffe-trust-bundle.pem"), "").unwrap();
    assert!(!is_atomic(&files), "put there by hand");
    let (_guard, plain) = tempdir();
    assert!(!is_atomic(&mount.files().federated_bundles(&plain)));
    assert!(!is_atomic(
        &mount.files().revocation_lists(plain.join("crl"))
    ));
}

#[test]
fn a_swap_of_the_other_volume_during_a_pass_is_read_again() {
    let (mount, mut other) = (Mount::new(), Mount::new());
    let files = mount.files().revocation_lists(other.dir.join(NAMES[0]));
    let mut count = 0;
    stable(&files, || {
        count += 1;
        if count <= 2 {
            // The same contents: only the link tells.
            other.swap("0");
        }
        pass(&files)
    })
    .unwrap();
    assert_eq!(count, 4);
}
