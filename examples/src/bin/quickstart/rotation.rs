//! Rotation while requests run: leaves, then the CA itself, by overlap, move and removal.

use std::time::Duration;

use mtls_core::testing::{Issued, MountedDir, TestCa};
use mtls_core::{ClientTls, CredentialSource};
use tokio::time::timeout;

use super::Fallible;
use super::load::{Load, Seen};

/// The two services, and where their files are.
#[derive(Debug)]
pub(crate) struct Parties<'a> {
    pub(crate) orders: &'a CredentialSource,
    pub(crate) orders_dir: MountedDir,
    pub(crate) web: &'a CredentialSource,
    pub(crate) web_dir: MountedDir,
}

/// What was rotated, and what the callers saw of it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) leaves: u32,
    pub(crate) cas: u32,
    pub(crate) load: Seen,
    pub(crate) last_ca: TestCa,
}

/// Rotates everything several times while four callers make requests as fast as they can.
pub(crate) async fn under_load(
    mut ca: TestCa,
    parties: &Parties<'_>,
    tls: &ClientTls,
    url: &str,
) -> Fallible<Report> {
    println!(
        "Rotation, while three callers keep their connections and one connects anew each time"
    );
    let load = Load::start(tls, url)?;
    let (mut leaves, mut cas) = (0, 0);
    for _ in 0..CA_ROTATIONS {
        for _ in 0..LEAF_ROTATIONS {
            parties.leaves(&ca, &ca.bundle_pem()).await?;
            load.go_on_for(BETWEEN).await;
            leaves += 1;
        }
        // A CA goes in three steps, and nobody is ever left behind: everybody trusts both, everybody presents a leaf
        // of the new one, nobody trusts the old one.
        let next = TestCa::new("example.org");
        let both = format!("{}{}", ca.bundle_pem(), next.bundle_pem());
        for (issuer, bundle) in [(&ca, &both), (&next, &both), (&next, &next.bundle_pem())] {
            parties.leaves(issuer, bundle).await?;
            load.go_on_for(BETWEEN).await;
        }
        leaves += 3;
        cas += 1;
        println!(
            "  CA {cas}: every party trusts both, has moved, and has forgotten the old one; {} leaves so far",
            leaves
        );
        ca = next;
    }
    let load = load.stop().await;
    println!();
    Ok(Report {
        leaves,
        cas,
        load,
        last_ca: ca,
    })
}

impl Parties<'_> {
    /// Gives both services a new leaf of `ca` and this bundle, and waits until their status shows it.
    async fn leaves(&self, ca: &TestCa, bundle: &str) -> Fallible<()> {
        rotate(
            self.orders,
            &self.orders_dir,
            &ca.issue("/ns/shop/sa/orders"),
            bundle,
        )
        .await?;
        rotate(
            self.web,
            &self.web_dir,
            &ca.issue("/ns/shop/sa/web"),
            bundle,
        )
        .await
    }
}

async fn rotate(
    source: &CredentialSource,
    dir: &MountedDir,
    leaf: &Issued,
    bundle: &str,
) -> Fallible<()> {
    let mut changes = source.subscribe();
    dir.rotate_with(leaf.chain_pem(), leaf.key_pem(), bundle);
    let served = async {
        while source.current().credentials().serial() != leaf.serial() {
            changes.changed().await.ok_or("the source has ended")?;
        }
        Ok(())
    };
    timeout(PATIENCE, served)
        .await
        .map_err(|_| "a rotation was not noticed")?
}

const CA_ROTATIONS: u32 = 3;
const LEAF_ROTATIONS: u32 = 5;
/// Requests of each caller between two rotations.
const BETWEEN: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(20);
