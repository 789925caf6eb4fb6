//! What is in the files: chains, and the times of their certificates.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::fixture::*;
use mtls_core::rustls::client::ResolvesClientCert;
use mtls_core::rustls::sign::CertifiedKey;
use mtls_core::rustls::{ClientConfig, SignatureScheme};
use mtls_core::testing::{LeafOptions, MountedDir, PlainDir, TestCa, handshake_with_foreign};
use mtls_core::{Health, Reason, Timestamp};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

/// Like a CA below the root that was certified once more: another certificate of the same name and key.
#[tokio::test]
async fn an_intermediate_that_alone_is_new_is_a_new_snapshot() {
    let ca = |params: &mut CertificateParams, name: &str, serial: u64| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.serial_number = Some(serial.into());
    };
    let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
    let [root_key, below_key, leaf_key] = &keys;
    let (mut root, mut below) = (CertificateParams::default(), CertificateParams::default());
    ca(&mut root, "root", 1);
    let root_pem = root.self_signed(root_key).unwrap().pem();
    let root = Issuer::from_params(&root, root_key);
    let belows = [2, 3].map(|serial| {
        ca(&mut below, "below", serial);
        below.signed_by(below_key, &root).unwrap()
    });
    let leaf = CertificateParams::new(["web.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(leaf_key, &Issuer::from_params(&below, below_key));
    let leaf = leaf.unwrap();

    let dir = PlainDir::empty();
    let chain = |below: &Certificate| leaf.pem() + &below.pem();
    dir.write_in_place("tls.crt", chain(&belows[0]));
    dir.write_in_place("tls.key", leaf_key.serialize_pem());
    dir.write_in_place("ca.crt", root_pem);
    let source = watch(dir.path()).await;
    let before = source.current();
    let mut changes = source.subscribe();
    dir.rename_over("tls.crt", chain(&belows[1]));
    assert_eq!(next(&mut changes).await, 2);
    let after = source.current();
    assert_eq!(
        after.credentials().chain(),
        [leaf.der(), belows[1].der()].map(Clone::clone)
    );
    assert_eq!(after.credentials().serial(), before.credentials().serial());
    assert!(std::ptr::eq(after.trust(), before.trust()));
    // Without any it is no chain that peers would accept.
    dir.rename_over("tls.crt", leaf.pem());
    let refused = refused_reload(&source).await;
    assert_eq!(refused.reason(), Reason::UnknownIssuer);
    assert_eq!(source.current().generation(), 2);
}

#[tokio::test]
async fn a_chain_in_any_order_is_presented_leaf_first_and_another_order_is_no_news() {
    let root = TestCa::new("example.org");
    let web = root.intermediate().intermediate().issue("/web");
    let dir = PlainDir::new(&web);
    let source = watch(dir.path()).await;
    let before = source.current();
    let pem = web.chain_pem();
    let mut blocks: Vec<_> = pem.split_inclusive(END).collect();
    for _ in 0..3 {
        blocks.rotate_left(1);
        dir.rename_over("tls.crt", blocks.concat());
        assert_eq!(reload(&source).await, 1);
        assert!(Arc::ptr_eq(&before, &source.current()));
    }
    blocks.reverse();
    fs::write(dir.file("tls.crt"), blocks.concat()).unwrap();
    let turned = watch(dir.path()).await;
    assert_eq!(turned.current().credentials().chain(), web.chain_der());
}

#[tokio::test]
async fn a_leaf_that_is_not_valid_yet_is_served_from_its_time_on() {
    let ca = TestCa::new("example.org");
    let old = ca.issue("/web");
    let dir = MountedDir::new(&old);
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    let now = u64::try_from(Timestamp::now().as_unix()).unwrap();
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(now + 4);
    let new = LeafOptions::service("/web").validity(begin, begin + HOUR);
    let new = ca.issue_with(new);
    dir.rotate(&new);
    let refused = refused_reload(&source).await;
    assert_eq!(refused.reason(), Reason::NotYetValid);
    assert_eq!(source.status().health, Health::Degraded);
    assert_eq!(source.current().credentials().serial(), old.serial());
    // Nobody asks and no event comes: the poll is an hour away.
    assert_eq!(next(&mut changes).await, 2);
    assert_eq!(source.current().credentials().serial(), new.serial());
    assert!(Timestamp::now() >= begin.into());
}

/// What a server has named to its clients, by handshake.
#[derive(Debug, Default)]
struct Hints(Mutex<Vec<Vec<Vec<u8>>>>);

impl ResolvesClientCert for Hints {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let hints = hints.iter().map(|hint| hint.to_vec()).collect();
        self.0.lock().unwrap().push(hints);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_new_bundle_alone_is_what_the_next_client_is_told_to_come_with() {
    let (ours, added) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = MountedDir::new(&ours.issue("/api"));
    let source = watch(dir.path()).await;
    let server = server(&source);
    let hints = Arc::new(Hints::default());
    let mut config = ClientConfig::clone(&foreign(&server, &[&ours], None));
    config.client_auth_cert_resolver = Arc::clone(&hints) as _;
    let config = Arc::new(config);
    let told = || {
        let nobody = handshake_with_foreign(&server, Arc::clone(&config), "localhost");
        assert_eq!(nobody.unwrap_err().reason(), Reason::NoPeerCertificate);
        hints.0.lock().unwrap().pop().unwrap()
    };
    let before = told();
    assert_eq!(before.len(), 1);
    let mut changes = source.subscribe();
    dir.write_bundle(ours.root_pem() + &added.root_pem());
    next(&mut changes).await;
    let both = told();
    assert!(both.len() == 2 && both.contains(&before[0]));
    dir.write_bundle(ours.root_pem());
    next(&mut changes).await;
    assert_eq!(told(), before);
}

const END: &str = "-----END CERTIFICATE-----\n";
