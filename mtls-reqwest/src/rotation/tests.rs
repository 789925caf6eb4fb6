#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::future::IntoFuture as _;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use mtls_core::testing::{Issued, TestCa};
use mtls_core::{
    CredentialMaterial, CredentialSource, Policy, Publisher, ServerTls, TrustMaterial,
};
use mtls_tower::serve;
use tokio::net::TcpListener;
use tower::service_fn;

use super::*;
use crate::{Client, ResponseExt as _};

fn rotation(ca: &TestCa) -> (Publisher, Rotation) {
    let trust = TrustMaterial::new(vec![ca.root_der()]);
    let builder = CredentialSource::builder();
    let (publisher, source) = builder.publish(material(&ca.issue("/web")), trust).unwrap();
    let tls = ClientTls::builder(&source)
        .verify_server_name()
        .build()
        .unwrap();
    let recipe = Client::builder(tls.clone()).into_recipe();
    (publisher, Rotation::start(tls, recipe).unwrap())
}

/// A server with the client's own credentials.
fn serving(rotation: &Rotation) -> (tokio::task::JoinHandle<std::io::Result<()>>, String) {
    let server = ServerTls::builder(rotation.tls.source()).authorize(Policy::any_verified_peer());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let answer = service_fn(async |request: Request<Incoming>| {
        if request.uri().path() == "/hang" {
            std::future::pending::<()>().await;
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let serving = serve(listener, server.build().unwrap(), answer);
    (tokio::spawn(serving.into_future()), url)
}

fn material(issued: &Issued) -> CredentialMaterial {
    CredentialMaterial::new(issued.chain_der(), issued.key_der())
}

#[test]
fn a_client_serves_until_the_source_moves_on() {
    let ca = TestCa::new("example.org");
    let (publisher, rotation) = rotation(&ca);
    let first = rotation.current().unwrap();
    assert!(Arc::ptr_eq(&first, &rotation.current().unwrap()));
    publisher
        .publish_credentials(material(&ca.issue("/web")))
        .unwrap();
    let second = rotation.current().unwrap();
    assert_eq!((first.number(), second.number()), (1, 2));

    let wider = TrustMaterial::new(vec![ca.root_der(), TestCa::new("example.org").root_der()]);
    publisher.publish_trust(wider).unwrap();
    let third = rotation.current().unwrap();
    assert!(!Arc::ptr_eq(&second, &third));
    publisher
        .publish_trust(TrustMaterial::new(vec![ca.root_der()]))
        .unwrap();
    let fourth = rotation.current().unwrap();
    assert_eq!((third.number(), fourth.number()), (3, 4));
}

#[tokio::test]
async fn a_client_serves_until_the_first_of_its_servers_expires() {
    let ca = TestCa::new("example.org");
    let (_publisher, rotation) = rotation(&ca);
    let (server, url) = serving(&rotation);
    let first = rotation.current().unwrap();
    let mut response = first.http().get(&url).send().await.unwrap();
    first.identify(&mut response);
    let identity = response.peer_identity().unwrap();
    let expiry = identity.window().not_after.as_unix();
    let at = |seconds| rotation.current_at(Timestamp::from_unix(seconds)).unwrap();
    assert!(Arc::ptr_eq(&first, &at(expiry)), "its last second counts");
    let second = at(expiry + 1);
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(
        Arc::ptr_eq(&second, &at(expiry + 2)),
        "it has met nobody yet"
    );
    server.abort();
}

#[tokio::test]
async fn a_server_that_was_verified_and_never_answered_counts_too() {
    let ca = TestCa::new("example.org");
    let (_publisher, rotation) = rotation(&ca);
    let (_server, url) = serving(&rotation);
    let first = rotation.current().unwrap();
    let soon = Timestamp::now();
    assert!(first.handshake.first_deadline(soon).is_none());
    let hanging = first.http().get(format!("{url}hang")).send();
    let hanging = tokio::spawn(hanging);
    let met = async {
        while first.handshake.first_deadline(soon).is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), met)
        .await
        .unwrap();
    let end = first.handshake.first_deadline(soon).unwrap().as_unix();
    let at = |seconds| rotation.current_at(Timestamp::from_unix(seconds)).unwrap();
    assert!(Arc::ptr_eq(&first, &at(end)));
    assert!(!Arc::ptr_eq(&first, &at(end + 1)));
    hanging.abort();
}
