//! Volumes that go and come, and files that are mounted by themselves.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::alone::{As, alone, run};
use crate::fixture::*;
use crate::{SHORT, put};
use mtls_core::check::{CheckOptions, CheckRule, CheckSet, DevelopmentCa, check};
use mtls_core::testing::{LeafOptions, PlainDir, TestCa};
use mtls_core::{CredentialFiles, Health, Reason, Timestamp};

fn mount_volume(at: &Path) {
    let args = ["-t", "tmpfs", "none"].map(OsStr::new);
    run("mount", &[&args[..], &[at.as_os_str()]].concat());
}

fn unmount(at: &Path) {
    run("umount", &[at.as_os_str()]);
}

#[test]
fn a_volume_that_is_unmounted_leaves_the_last_good_and_mounted_again_is_read() {
    let name = "mounts::a_volume_that_is_unmounted_leaves_the_last_good_and_mounted_again_is_read";
    alone(name, As::Root, async {
        let ca = TestCa::new("example.org");
        let outer = PlainDir::empty();
        let certs = outer.file("certs");
        fs::create_dir(&certs).unwrap();
        mount_volume(&certs);
        let mut served = ca.issue("/web");
        write(&certs, &served);
        // That a volume is gone is told by no event, and if the next has the same numbers the old watches seem to stand.
        let source = watch_with(builder().poll_interval(SHORT), &certs).await;
        let mut changes = source.subscribe();
        for generation in [2, 4] {
            unmount(&certs);
            until("degraded", || source.status().health == Health::Degraded).await;
            let refused = refused_reload(&source).await;
            assert_eq!(refused.reason(), Reason::FileMissing);
            assert_eq!(source.current().credentials().serial(), served.serial());

            mount_volume(&certs);
            for generation in [generation, generation + 1] {
                served = ca.issue("/web");
                write(&certs, &served);
                assert_eq!(next(&mut changes).await, generation);
                assert_eq!(source.current().credentials().serial(), served.serial());
            }
            until("healthy", || source.status().health == Health::Healthy).await;
        }
        drop(source);
        unmount(&certs);
    });
}

/// Nothing can be read where the kernel shows the old file: what remains is to say so, and the alarm.
#[test]
fn a_file_that_is_mounted_by_itself_stays_as_it_was_and_its_end_is_told_of() {
    let name = "mounts::a_file_that_is_mounted_by_itself_stays_as_it_was_and_its_end_is_told_of";
    alone(name, As::Root, async {
        let (log, _guard) = Log::start();
        let ca = TestCa::new("example.org");
        let short = LeafOptions::service("/web").expires_in(Duration::from_secs(4));
        let short = ca.issue_with(short);
        let volume = PlainDir::new(&short);
        let inside = PlainDir::empty();
        for name in FILES {
            inside.write_in_place(name, "");
            bind(&volume.file(name), &inside.file(name));
        }
        let rhythm = builder().poll_interval(SHORT).grace(Duration::ZERO);
        let source = watch_with(rhythm, inside.path()).await;
        let status = source.status();
        assert_eq!(status.health, Health::Degraded);
        let paths: Vec<_> = status.stuck_mounts.iter().map(|m| &m.path).collect();
        assert_eq!(paths, FILES.map(|name| inside.file(name)).each_ref());
        assert!(status.stuck_mounts.iter().all(|mount| !mount.is_outdated));
        assert!(status.to_string().contains("never updated"), "{status}");

        volume.rotate(&ca.issue("/web"));
        assert_eq!(
            reload(&source).await,
            1,
            "the file of before is what is there"
        );
        let status = source.status();
        assert!(status.stuck_mounts.iter().all(|mount| mount.is_outdated));
        assert_eq!(log.count(tracing::Level::WARN, "will not be seen"), 1);
        assert_eq!(log.count(tracing::Level::WARN, "mount the directory"), 1);

        until("expired", || source.status().health == Health::Expired).await;
        until("an error", || source.status().last_error.is_some()).await;
        let failure = source.status().last_error.unwrap();
        assert_eq!(failure.reason(), Reason::Expired);
        assert_eq!(
            log.count(tracing::Level::WARN, "mtls.reason=\"expired\""),
            1
        );
        assert_eq!(source.current().credentials().serial(), short.serial());

        for name in FILES {
            unmount(&inside.file(name));
        }
        put(inside.path(), &ca.issue("/web"));
        until("healthy", || source.status().health == Health::Healthy).await;
        assert!(source.status().stuck_mounts.is_empty());
    });
}

#[test]
fn a_file_that_is_mounted_by_itself_is_a_finding_of_the_check() {
    let name = "mounts::a_file_that_is_mounted_by_itself_is_a_finding_of_the_check";
    alone(name, As::Root, async {
        let volume = PlainDir::new(&TestCa::new("example.org").issue("/web"));
        let inside = PlainDir::empty();
        for name in FILES {
            inside.write_in_place(name, "");
            bind(&volume.file(name), &inside.file(name));
        }
        let found = |dir: &Path| {
            let set = CheckSet::read(&CredentialFiles::kubernetes(dir)).unwrap();
            let options = CheckOptions::new(Timestamp::now());
            let report = check(&set, &options.development_ca(DevelopmentCa::Allowed)).unwrap();
            let findings = report.findings().iter();
            let places = findings.map(|finding| (finding.rule, finding.place.file.clone()));
            places.collect::<Vec<_>>()
        };
        let mut expected = FILES.map(|name| (CheckRule::MountSubpath, inside.file(name)));
        expected.sort();
        assert_eq!(found(inside.path()), expected);
        assert_eq!(found(volume.path()), []);
        for name in FILES {
            unmount(&inside.file(name));
        }
    });
}

#[test]
fn files_whose_directory_is_mounted_are_not_taken_to_be_stuck() {
    let name = "mounts::files_whose_directory_is_mounted_are_not_taken_to_be_stuck";
    alone(name, As::Root, async {
        let (log, _guard) = Log::start();
        let ca = TestCa::new("example.org");
        let volume = PlainDir::new(&ca.issue("/web"));
        let inside = PlainDir::empty();
        bind(volume.path(), inside.path());
        let source = watch_with(builder().poll_interval(SHORT), inside.path()).await;
        volume.rotate(&ca.issue("/web"));
        assert_eq!(reload(&source).await, 2);
        let status = source.status();
        assert!(status.stuck_mounts.is_empty(), "{status}");
        assert_eq!(status.health, Health::Healthy, "{status}");
        assert_eq!(log.warnings(), 0);
        drop(source);
        unmount(inside.path());
    });
}

fn bind(from: &Path, to: &Path) {
    run("mount", &["--bind".as_ref(), from.as_ref(), to.as_ref()]);
}

const FILES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];

/// A rename does not lead from one file system to another.
fn write(volume: &Path, issued: &mtls_core::testing::Issued) {
    let set = volume.join("set");
    fs::create_dir_all(&set).unwrap();
    put(&set, issued);
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        fs::rename(set.join(name), volume.join(name)).unwrap();
    }
}
