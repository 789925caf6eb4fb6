//! Volumes that are swapped in one step: what a kubelet mounts, and what CSI drivers do.

use mtls_core::CredentialFiles;
use mtls_core::testing::PlainDir;

use crate::disk::{Pace, Volume};
use crate::rig::{Changes, Habit, Set, Whole, rotate};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_kubelet_swaps_a_secret() {
    let dir = PlainDir::empty();
    let mut volume = Volume::new(dir.path());
    let kubelet = |set: &Set, pace: &mut Pace| {
        let files = [
            ("ca.crt", set.bundle()),
            ("tls.crt", &set.chain()),
            ("tls.key", set.key()),
        ];
        volume.swap(&files, pace);
    };
    let habit = Habit::new(Changes::Both, Whole::Set);
    rotate(kubelet, CredentialFiles::kubernetes(dir.path()), habit).await;
}

/// While it issues there is a key whose chain is empty; and the combined file stands beside the pair.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn cert_manager_issues_into_a_secret_with_a_combined_file() {
    let dir = PlainDir::empty();
    let mut volume = Volume::new(dir.path());
    let mut is_first = true;
    let cert_manager = |set: &Set, pace: &mut Pace| {
        let (chain, key) = (set.chain(), set.key());
        let combined = format!("{key}{chain}");
        let files = |chain| {
            [
                ("ca.crt", set.bundle()),
                ("tls-combined.pem", combined.as_str()),
                ("tls.crt", chain),
                ("tls.key", key),
            ]
        };
        if !std::mem::take(&mut is_first) {
            volume.swap(&files(""), pace);
        }
        volume.swap(&files(&chain), pace);
    };
    // The bundle comes with the empty chain already.
    let habit = Habit::new(Changes::Both, Whole::Halves);
    rotate(cert_manager, CredentialFiles::kubernetes(dir.path()), habit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_combined_file_alone_is_swapped() {
    let dir = PlainDir::empty();
    let mut volume = Volume::new(dir.path());
    let kubelet = |set: &Set, pace: &mut Pace| {
        let combined = format!("{}{}", set.key(), set.chain());
        let files = [("ca.crt", set.bundle()), ("tls-combined.pem", &combined)];
        volume.swap(&files, pace);
    };
    let files = CredentialFiles::cert_manager_combined(dir.path());
    rotate(kubelet, files, Habit::new(Changes::Both, Whole::Set)).await;
}

/// cert-manager's csi-driver lets a volume name its files.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_csi_driver_writes_under_names_of_the_volume() {
    let dir = PlainDir::empty();
    let mut volume = Volume::new(dir.path());
    let driver = |set: &Set, pace: &mut Pace| {
        let chain = set.chain();
        let files = [
            ("web.pem", chain.as_str()),
            ("web-key.pem", set.key()),
            ("web-ca.pem", set.bundle()),
        ];
        volume.swap(&files, pace);
    };
    let files = ["web.pem", "web-key.pem", "web-ca.pem"].map(|name| dir.file(name));
    let [chain, key, bundle] = files;
    let files = CredentialFiles::paths(chain, key, bundle);
    rotate(driver, files, Habit::new(Changes::Both, Whole::Set)).await;
}

/// csi-driver-spiffe renews the leaf, and writes a new bundle into every volume whenever there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_spiffe_csi_driver_renews_the_leaf_and_the_bundle_apart() {
    let dir = PlainDir::empty();
    let mut volume = Volume::new(dir.path());
    let driver = |set: &Set, pace: &mut Pace| {
        let chain = set.chain();
        let files = [
            ("tls.crt", chain.as_str()),
            ("tls.key", set.key()),
            ("ca.crt", set.bundle()),
        ];
        volume.swap(&files, pace);
    };
    let files = CredentialFiles::kubernetes(dir.path());
    rotate(driver, files, Habit::new(Changes::Either, Whole::Set)).await;
}

/// Key and chain in one file, and a ClusterTrustBundle in a volume of its own, which changes by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pod_certificate_and_its_bundle_are_swapped_in_two_volumes() {
    let dir = PlainDir::empty();
    let (certificate, trust) = (dir.file("certificate"), dir.file("trust"));
    let mut volumes = [Volume::new(&certificate), Volume::new(&trust)];
    let kubelet = |set: &Set, pace: &mut Pace| {
        let both = format!("{}{}", set.key(), set.chain());
        let [certificate, trust] = &mut volumes;
        if pace.below(2) == 0 {
            certificate.swap(&[("credentialbundle.pem", &both)], pace);
            trust.swap(&[("trust-bundle.pem", set.bundle())], pace);
        } else {
            trust.swap(&[("trust-bundle.pem", set.bundle())], pace);
            certificate.swap(&[("credentialbundle.pem", &both)], pace);
        }
    };
    let files = CredentialFiles::pod_certificate(&certificate, trust.join("trust-bundle.pem"));
    rotate(kubelet, files, Habit::new(Changes::Both, Whole::Halves)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_linkerd_issuers_secret_is_swapped() {
    let dir = PlainDir::empty();
    let mut volume = Volume::new(dir.path());
    let kubelet = |set: &Set, pace: &mut Pace| {
        let files = [
            ("ca.crt", set.bundle()),
            ("crt.pem", &set.chain()),
            ("key.pem", set.key()),
        ];
        volume.swap(&files, pace);
    };
    let files = CredentialFiles::linkerd_issuer(dir.path());
    rotate(kubelet, files, Habit::new(Changes::Both, Whole::Set)).await;
}
