//! A tool that rotates a hundred times under a load of handshakes, and what has to hold of that:
//!
//! * Each handshake succeeds, on both ends.
//! * Credentials are served as they were written: one leaf, its intermediate and its key. A bundle is served whole.
//! * Where both are replaced in one step, none is served beside one that it was not written with.
//! * The last set is what is served in the end.
//!
//! That no handshake may fail is fair, since every bundle holds the roots of all leaves. What tells one bundle from
//! another, and a whole one from the half, is the third root in it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mtls_core::rustls::pki_types::CertificateDer;
use mtls_core::testing::{Issued, LeafOptions, TestCa, handshake};
use mtls_core::{CredentialFiles, CredentialSource, Snapshot};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::disk::Pace;
use crate::fixture::{StopOnDrop, builder, client, reload, server, until};

/// What a tool is to put on disk.
#[derive(Clone)]
pub(crate) struct Set {
    pub(crate) issued: Arc<Issued>,
    pub(crate) bundle: Arc<Bundle>,
}

impl Set {
    pub(crate) fn chain(&self) -> String {
        self.issued.chain_pem()
    }

    /// The chain in its two parts: the leaf, and what issued it.
    pub(crate) fn leaf_and_issuer(&self) -> (String, String) {
        const END: &str = "-----END CERTIFICATE-----\n";
        let mut chain = self.chain();
        let issuer = chain.split_off(chain.find(END).unwrap() + END.len());
        (chain, issuer)
    }

    pub(crate) fn key(&self) -> &str {
        self.issued.key_pem()
    }

    pub(crate) fn bundle(&self) -> &str {
        &self.bundle.pem
    }

    fn is_served(&self, snapshot: &Snapshot) -> bool {
        snapshot.credentials().serial() == self.issued.serial() && self.bundle.is_in(snapshot)
    }
}

pub(crate) struct Bundle {
    pem: String,
    roots: HashSet<CertificateDer<'static>>,
}

impl Bundle {
    fn of(cas: [&TestCa; 3]) -> Self {
        Self {
            pem: cas.map(TestCa::root_pem).concat(),
            roots: cas.map(TestCa::root_der).into(),
        }
    }

    fn is_in(&self, snapshot: &Snapshot) -> bool {
        let anchors = snapshot.trust().bundle().anchors();
        anchors.len() == self.roots.len()
            && anchors
                .iter()
                .all(|anchor| self.roots.contains(anchor.der()))
    }
}

/// Whoever puts a set on disk, by its own steps.
pub(crate) trait Tool {
    /// Puts it in the place of what is there.
    fn write(&mut self, set: &Set, pace: &mut Pace);
}

impl<F: FnMut(&Set, &mut Pace)> Tool for F {
    fn write(&mut self, set: &Set, pace: &mut Pace) {
        self(set, pace);
    }
}

/// What a tool replaces, how, and what is known of it afterwards.
pub(crate) struct Habit {
    changes: Changes,
    whole: Whole,
    leaf: LeafOptions,
    then: Then,
}

/// What is new in a rotation.
#[derive(Clone, Copy)]
pub(crate) enum Changes {
    /// The leaf, and the bundle too in one rotation of three.
    Both,
    /// The leaf or the bundle.
    Either,
    /// The leaf; the bundle is somebody else's.
    Leaf,
}

/// What a reader may see at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    /// Credentials and bundle that were written together.
    Set,
    /// Credentials of one set beside the bundle of another.
    Halves,
}

/// What happens when all is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing; the source has to notice.
    Nothing,
    /// The tool runs a command, which has the source reload.
    Reload,
}

impl Habit {
    pub(crate) fn new(changes: Changes, whole: Whole) -> Self {
        Self {
            changes,
            whole,
            leaf: LeafOptions::service("/web"),
            then: Then::Nothing,
        }
    }

    pub(crate) fn leaf(mut self, leaf: LeafOptions) -> Self {
        self.leaf = leaf;
        self
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// The first set, and one for each rotation.
    fn sets(&self, pace: &mut Pace) -> Vec<Set> {
        let roots = [(); 2].map(|()| TestCa::new("example.org"));
        let [one, two] = &roots;
        let [even, odd] = roots.each_ref().map(TestCa::intermediate);
        let issue = |n: usize| {
            let issuer = if n.is_multiple_of(2) { &even } else { &odd };
            Arc::new(issuer.issue_with(self.leaf.clone()))
        };
        let new_bundle = || Arc::new(Bundle::of([one, two, &TestCa::new("example.org")]));
        let mut set = Set {
            issued: issue(0),
            bundle: new_bundle(),
        };
        let mut sets = vec![set.clone()];
        for n in 1..=ROTATIONS {
            let in_three = pace.below(3);
            let (leaf, bundle) = match self.changes {
                Changes::Both => (true, in_three == 0),
                Changes::Either => (in_three != 0, in_three == 0),
                Changes::Leaf => (true, false),
            };
            if leaf {
                set.issued = issue(n);
            }
            if bundle {
                set.bundle = new_bundle();
            }
            sets.push(set.clone());
        }
        sets
    }
}

/// Has the tool rotate, and checks what is served meanwhile and in the end.
pub(crate) async fn rotate(mut tool: impl Tool, files: CredentialFiles, habit: Habit) {
    let mut pace = Pace::seeded(SEED);
    let sets = habit.sets(&mut pace);
    let (first, last) = (sets.first().unwrap(), sets.last().unwrap());
    tool.write(first, &mut Pace::none());
    let source = builder().quiet_time(QUIET).watch(files).await.unwrap();
    assert!(first.is_served(&source.current()));
    let done = AtomicBool::new(false);
    let runtime = Handle::current();
    let loads = block_in_place(|| {
        thread::scope(|scope| {
            let load = || load(&source, &sets, habit.whole, &done);
            let loads = [(); 2].map(|()| scope.spawn(load));
            let stopped = StopOnDrop(&done);
            for set in sets.iter().skip(1) {
                tool.write(set, &mut pace);
                if habit.then == Then::Reload {
                    runtime.block_on(reload(&source));
                    assert!(set.is_served(&source.current()), "at once when it is told");
                }
                pace.pause();
            }
            runtime.block_on(until("the last set is served", || {
                last.is_served(&source.current())
            }));
            drop(stopped);
            loads.map(|load| load.join().unwrap())
        })
    });
    let handshakes: usize = loads.iter().map(|load| load.handshakes).sum();
    assert!(handshakes > ROTATIONS, "hardly a load: {handshakes}");
    let served: HashSet<_> = loads.iter().flat_map(|load| &load.served).collect();
    assert!(served.len() > 2, "hardly a rotation: {}", served.len());
    assert!(source.status().last_error.is_none(), "all is well again");
}

/// What a load has met.
struct Load {
    handshakes: usize,
    served: HashSet<(usize, usize)>,
}

/// Handshakes of the source with itself, one after the other, until it is said to be enough.
fn load(source: &CredentialSource, sets: &[Set], whole: Whole, done: &AtomicBool) -> Load {
    let (server, client) = (server(source), client(source));
    let mut load = Load {
        handshakes: 0,
        served: HashSet::new(),
    };
    while !done.load(Ordering::Relaxed) {
        load.served
            .insert(find(&source.current(), sets, whole).expect("a set that was written"));
        let outcome = handshake(&server, &client, "localhost");
        for peer in [outcome.server, outcome.client] {
            let peer = peer.expect("no handshake fails");
            let serial = peer.identity().serial();
            assert!(sets.iter().any(|set| set.issued.serial() == serial));
        }
        load.handshakes += 1;
        // The tool gets its turn on a small machine.
        thread::sleep(BREATH);
    }
    load
}

/// Whose credentials and whose bundle are served, or what was never written so.
fn find(snapshot: &Snapshot, sets: &[Set], whole: Whole) -> Result<(usize, usize), String> {
    let credentials = snapshot.credentials();
    let mut numbered = sets.iter().enumerate();
    let leaf = numbered.clone().find(|(_, set)| {
        set.issued.serial() == credentials.serial() && set.issued.chain_der() == credentials.chain()
    });
    let bundle = numbered.find(|(_, set)| set.bundle.is_in(snapshot));
    let (Some((leaf, first)), Some((bundle, second))) = (leaf, bundle) else {
        return Err(format!("half of something: {snapshot:?}"));
    };
    let together = |set: &Set| {
        Arc::ptr_eq(&set.issued, &first.issued) && Arc::ptr_eq(&set.bundle, &second.bundle)
    };
    match whole {
        Whole::Set if !sets.iter().any(together) => {
            Err(format!("mixed: leaf {leaf}, bundle {bundle}"))
        }
        Whole::Set | Whole::Halves => Ok((leaf, bundle)),
    }
}

#[test]
fn what_was_never_written_so_is_told() {
    let sets = Habit::new(Changes::Both, Whole::Set).sets(&mut Pace::seeded(SEED));
    let (first, last) = (sets.first().unwrap(), sets.last().unwrap());
    let snapshot = |issued: &Issued, roots: Vec<CertificateDer<'static>>| {
        let trust = mtls_core::TrustMaterial::new(roots);
        let builder = CredentialSource::builder();
        let (_, source) = builder.publish(issued.material(), trust).unwrap();
        source.current()
    };
    let roots = |set: &Set| set.bundle.roots.iter().cloned().collect::<Vec<_>>();
    let whole = snapshot(&last.issued, roots(last));
    assert!(find(&whole, &sets, Whole::Set).is_ok());
    let mixed = snapshot(&first.issued, roots(last));
    assert!(find(&mixed, &sets, Whole::Halves).is_ok());
    assert!(
        find(&mixed, &sets, Whole::Set)
            .unwrap_err()
            .contains("mixed")
    );
    let shared = roots(first)
        .into_iter()
        .filter(|root| last.bundle.roots.contains(root));
    let half = snapshot(&first.issued, shared.collect());
    assert!(
        find(&half, &sets, Whole::Halves)
            .unwrap_err()
            .contains("half")
    );
}

const ROTATIONS: usize = 100;

const SEED: u64 = 0x6d74_6c73;

/// Between two handshakes of one thread.
const BREATH: Duration = Duration::from_micros(500);

/// Shorter than many a pause of a tool, so that sets are read that are not finished.
const QUIET: Duration = Duration::from_millis(10);
