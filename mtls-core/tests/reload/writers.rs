//! Writers that take several steps.

use std::fs;
use std::sync::Arc;

use crate::fixture::*;
use mtls_core::Reason;
use mtls_core::testing::{Issued, PlainDir, TestCa};

#[tokio::test]
async fn chain_and_key_may_come_one_after_the_other_in_either_order() {
    let ca = TestCa::new("example.org");
    for order in [["tls.crt", "tls.key"], ["tls.key", "tls.crt"]] {
        let old = ca.issue("/web");
        let dir = PlainDir::new(&old);
        let source = watch(dir.path()).await;
        let mut changes = source.subscribe();
        let new = ca.issue("/web");
        let bytes = |name| match name {
            "tls.crt" => new.chain_pem(),
            _ => new.key_pem().to_owned(),
        };
        let [first, second] = order;
        dir.rename_over(first, bytes(first));
        // Looked at between the two: nothing of it is served.
        let refused = refused_reload(&source).await;
        assert_eq!(refused.reason(), Reason::KeyMismatch);
        assert_eq!(source.current().credentials().serial(), old.serial());
        dir.rename_over(second, bytes(second));
        assert_eq!(next(&mut changes).await, 2);
        assert_eq!(source.current().credentials().serial(), new.serial());
    }
}

#[tokio::test]
async fn a_file_that_is_truncated_and_written_later_is_never_served_half() {
    let ca = TestCa::new("example.org");
    let (old, new) = (ca.issue("/web"), ca.issue("/web"));
    let dir = PlainDir::new(&old);
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    let bundle = old.bundle_pem();
    let files = [
        ("tls.crt", old.chain_pem(), new.chain_pem()),
        ("tls.key", old.key_pem().into(), new.key_pem().into()),
        ("ca.crt", bundle.into(), bundle.into()),
    ];
    for (name, before, _) in &files {
        dir.truncate(name);
        let refused = refused_reload(&source).await;
        assert!(refused.to_string().contains(name), "{refused}");
        dir.write_in_place(name, before);
        assert_eq!(reload(&source).await, 1);
    }
    for (name, ..) in &files {
        dir.truncate(name);
        refused_reload(&source).await;
    }
    for (name, _, after) in &files {
        assert_eq!(source.current().generation(), 1);
        dir.write_in_place(name, after);
    }
    assert_eq!(next(&mut changes).await, 2);
    assert_eq!(source.current().credentials().serial(), new.serial());
}

#[tokio::test]
async fn a_file_that_is_removed_and_made_again_is_picked_up() {
    let ca = TestCa::new("example.org");
    let (old, new) = (ca.issue("/web"), ca.issue("/web"));
    let dir = PlainDir::new(&old);
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    dir.remove("tls.crt");
    let refused = refused_reload(&source).await;
    assert_eq!(refused.reason(), Reason::FileMissing);
    assert_eq!(source.current().credentials().serial(), old.serial());
    dir.rename_over("tls.key", new.key_pem());
    dir.write_in_place("tls.crt", new.chain_pem());
    assert_eq!(next(&mut changes).await, 2);
    assert_eq!(source.current().credentials().serial(), new.serial());
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_followed_and_the_one_before_is_not() {
    let ca = TestCa::new("example.org");
    let outer = PlainDir::empty();
    let write = |name: &str, issued: &Issued| {
        let dir = outer.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("tls.crt"), issued.chain_pem()).unwrap();
        fs::write(dir.join("tls.key"), issued.key_pem()).unwrap();
        fs::write(dir.join("ca.crt"), issued.bundle_pem()).unwrap();
    };
    let certs = outer.path().join("certs");
    write("certs", &ca.issue("/web"));
    let source = watch(&certs).await;
    let mut changes = source.subscribe();
    for generation in 2..=3 {
        let old = outer.path().join(format!("old-{generation}"));
        let new = ca.issue("/web");
        write("next", &new);
        fs::rename(&certs, &old).unwrap();
        fs::rename(outer.path().join("next"), &certs).unwrap();
        assert_eq!(next(&mut changes).await, generation);
        assert_eq!(source.current().credentials().serial(), new.serial());
        write(&format!("old-{generation}"), &ca.issue("/web"));
        assert_eq!(reload(&source).await, generation);
    }
    // Removed and made again, too.
    let new = ca.issue("/web");
    fs::remove_dir_all(&certs).unwrap();
    assert_eq!(refused_reload(&source).await.reason(), Reason::FileMissing);
    write("certs", &new);
    assert_eq!(next(&mut changes).await, 4);
    assert_eq!(source.current().credentials().serial(), new.serial());
}

#[cfg(unix)]
#[tokio::test]
async fn new_modes_and_times_are_no_new_snapshot() {
    use std::os::unix::fs::PermissionsExt;
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    let before = source.current();
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        fs::set_permissions(dir.file(name), fs::Permissions::from_mode(0o400)).unwrap();
        fs::set_permissions(dir.file(name), fs::Permissions::from_mode(0o600)).unwrap();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(dir.file(name))
            .unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(reload(&source).await, 1);
    }
    // The same bytes in another file are no news either.
    let bundle = ca.root_pem();
    dir.rename_over("ca.crt", bundle);
    assert_eq!(reload(&source).await, 1);
    assert!(Arc::ptr_eq(&before, &source.current()));
}
