//! step-ca's command line, which writes in place.

use mtls_core::CredentialFiles;
use mtls_core::testing::{KeyKind, LeafOptions, PlainDir};

use crate::disk::{Pace, in_place};
use crate::rig::{Changes, Habit, Set, Then, Whole, rotate};

/// `step ca renew --daemon --exec`, as autocert runs it beside a program: the certificate alone, for the key that is
/// there. RSA leaves of the test CA have one key.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn step_renews_the_certificate_in_place_and_runs_a_command() {
    let dir = PlainDir::empty();
    let renew = |set: &Set, pace: &mut Pace| {
        if !dir.file("site.key").exists() {
            in_place(&dir.file("site.key"), set.key(), 0o600, pace);
            in_place(&dir.file("root.crt"), set.bundle(), 0o600, pace);
        }
        in_place(&dir.file("site.crt"), &set.chain(), 0o600, pace);
    };
    let files = CredentialFiles::step(dir.path());
    let habit = Habit::new(Changes::Leaf, Whole::Set)
        .leaf(LeafOptions::service("/web").key(KeyKind::Rsa2048))
        .then(Then::Reload);
    rotate(renew, files, habit).await;
}

/// `step ca rekey`: the certificate, then its new key.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn step_rekeys_in_place() {
    let dir = PlainDir::empty();
    let [chain, key, bundle] = ["svc.crt", "svc.key", "root_ca.crt"].map(|name| dir.file(name));
    let rekey = |set: &Set, pace: &mut Pace| {
        if !bundle.exists() {
            in_place(&bundle, set.bundle(), 0o600, pace);
        }
        in_place(&chain, &set.chain(), 0o600, pace);
        in_place(&key, set.key(), 0o600, pace);
    };
    let files = CredentialFiles::paths(&chain, &key, &bundle);
    rotate(rekey, files, Habit::new(Changes::Leaf, Whole::Set)).await;
}
