//! Agents of meshes and of SPIFFE, which write one file after the other.

use mtls_core::CredentialFiles;
use mtls_core::testing::PlainDir;

use crate::disk::{Pace, Sync, in_place, renamed};
use crate::rig::{Changes, Habit, Set, Whole, rotate};

/// istio-agent's `OUTPUT_CERTS`: key, chain, root, a rename each; of the set it says itself that it is not atomic.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn istio_agent_renames_key_chain_and_root() {
    let dir = PlainDir::empty();
    let agent = |set: &Set, pace: &mut Pace| {
        let put = |name, text: &str, pace: &mut Pace| {
            renamed(&dir.file(name), text, 0o600, Sync::No, pace);
        };
        put("key.pem", set.key(), pace);
        put("cert-chain.pem", &set.chain(), pace);
        put("root-cert.pem", set.bundle(), pace);
    };
    let files = CredentialFiles::istio(dir.path());
    rotate(agent, files, Habit::new(Changes::Both, Whole::Halves)).await;
}

/// In which order GKE's driver writes, and whether at once, is not documented: so in any, and not.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn gkes_driver_replaces_its_files_in_any_order() {
    let dir = PlainDir::empty();
    let driver = |set: &Set, pace: &mut Pace| {
        let mut files = [
            ("certificates.pem", set.chain()),
            ("private_key.pem", set.key().to_owned()),
            ("ca_certificates.pem", set.bundle().to_owned()),
        ];
        if pace.below(2) == 0 {
            files.reverse();
        }
        files.rotate_left(usize::try_from(pace.below(3)).unwrap());
        for (name, text) in files {
            renamed(&dir.file(name), &text, 0o644, Sync::No, pace);
        }
    };
    let files = CredentialFiles::gke_workload(dir.path());
    rotate(driver, files, Habit::new(Changes::Both, Whole::Halves)).await;
}

/// Certificate, key, bundle, each truncated and written in place.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn spiffe_helper_writes_three_files_in_place() {
    let dir = PlainDir::empty();
    let helper = |set: &Set, pace: &mut Pace| {
        in_place(&dir.file("svid.pem"), &set.chain(), 0o644, pace);
        in_place(&dir.file("svid_key.pem"), set.key(), 0o600, pace);
        in_place(&dir.file("svid_bundle.pem"), set.bundle(), 0o644, pace);
    };
    let files = CredentialFiles::spiffe_helper(dir.path());
    rotate(helper, files, Habit::new(Changes::Both, Whole::Halves)).await;
}
