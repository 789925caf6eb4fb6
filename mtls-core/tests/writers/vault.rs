//! Templates of HashiCorp's tools, which are rendered one after the other, and Consul's own certificates.

use std::fs;

use mtls_core::CredentialFiles;
use mtls_core::testing::PlainDir;

use crate::disk::{Pace, Sync, append, in_place, renamed};
use crate::rig::{Changes, Habit, Set, Whole, rotate};

/// A template a file; each rendered file is synced and renamed, in whichever order they are done.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn vault_agent_renders_three_templates() {
    let dir = PlainDir::empty();
    let agent = |set: &Set, pace: &mut Pace| {
        let mut files = [
            ("cert.pem", set.chain()),
            ("key.pem", set.key().to_owned()),
            ("ca.pem", set.bundle().to_owned()),
        ];
        files.rotate_left(usize::try_from(pace.below(3)).unwrap());
        for (name, text) in files {
            renamed(&dir.file(name), &text, 0o644, Sync::Yes, pace);
        }
    };
    let files = CredentialFiles::vault_agent(dir.path());
    rotate(agent, files, Habit::new(Changes::Both, Whole::Halves)).await;
}

/// `format=pem_bundle`, by a template that names the CA before the leaf.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn vault_agent_renders_one_file_for_key_and_chain() {
    let dir = PlainDir::empty();
    let agent = |set: &Set, pace: &mut Pace| {
        let (leaf, issuer) = set.leaf_and_issuer();
        let both = format!("{issuer}{leaf}{}", set.key());
        renamed(&dir.file("web.pem"), &both, 0o644, Sync::Yes, pace);
        renamed(&dir.file("ca.pem"), set.bundle(), 0o644, Sync::Yes, pace);
    };
    let both = dir.file("web.pem");
    let files = CredentialFiles::paths(&both, &both, dir.file("ca.pem"));
    rotate(agent, files, Habit::new(Changes::Both, Whole::Halves)).await;
}

/// consul-template's `writeToFile`: each file in place, and what issued the leaf appended to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn consul_template_writes_in_place_and_appends_the_issuer() {
    let dir = PlainDir::empty();
    let template = |set: &Set, pace: &mut Pace| {
        let (leaf, issuer) = set.leaf_and_issuer();
        in_place(&dir.file("web.key"), set.key(), 0o600, pace);
        in_place(&dir.file("web.crt"), &leaf, 0o644, pace);
        append(&dir.file("web.crt"), &issuer, pace);
        in_place(&dir.file("roots.crt"), set.bundle(), 0o644, pace);
    };
    let [chain, key, bundle] = ["web.crt", "web.key", "roots.crt"].map(|name| dir.file(name));
    let files = CredentialFiles::paths(chain, key, bundle);
    rotate(template, files, Habit::new(Changes::Both, Whole::Halves)).await;
}

/// `consul tls cert create` makes a pair under the next number; somebody moves it over the one in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pair_of_consuls_is_moved_over_the_one_before() {
    let dir = PlainDir::empty();
    let ca = dir.file("consul-agent-ca.pem");
    let operator = |set: &Set, pace: &mut Pace| {
        if !ca.exists() {
            renamed(&ca, set.bundle(), 0o644, Sync::No, pace);
        }
        let (next, used) = ("dc1-server-consul-1", "dc1-server-consul-0");
        let pem = [next, used].map(|name| dir.file(&format!("{name}.pem")));
        let key = [next, used].map(|name| dir.file(&format!("{name}-key.pem")));
        renamed(&pem[0], &set.chain(), 0o644, Sync::No, pace);
        renamed(&key[0], set.key(), 0o600, Sync::No, pace);
        for [from, to] in [pem, key] {
            fs::rename(from, to).unwrap();
            pace.pause();
        }
    };
    let files = CredentialFiles::consul(dir.path(), "dc1-server-consul-0");
    rotate(operator, files, Habit::new(Changes::Leaf, Whole::Set)).await;
}
