//! Headers that say who stands behind a proxy: taken out of every request, and believed of listed proxies alone.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is how a test fails"
)]

mod common;

use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;

use bytes::Bytes;
use common::{https, listen, patient, server, within};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mtls_core::testing::TestCa;
use mtls_core::{
    ClientTls, ForwardAs, Forwarded, ForwardedError, ForwardedFormat, ForwardedIdentity, PeerInfo,
    Policy,
};
use mtls_tower::{Connector, ForwardedLayer, PeerInfoLayer, forward, serve};
use tower::{Layer, Service, ServiceExt, service_fn};

const XFCC: &str = "x-forwarded-client-cert";
const SPOOFED: &str = "By=spiffe://example.org/proxy;URI=spiffe://example.org/admin";

/// What many handlers do: the header says who it is. Then what ours sees.
fn naive<B>(request: &Request<B>) -> String {
    let header = request.headers().iter().find_map(|(name, value)| {
        let name = name.as_str().replace('_', "-");
        (name == XFCC).then(|| value.to_str().unwrap().to_owned())
    });
    let claimed = header
        .as_deref()
        .and_then(|value| value.split("URI=").nth(1));
    let forwarded = request.extensions().get::<ForwardedIdentity>();
    let forwarded = forwarded.map(ToString::to_string);
    format!(
        "{}; {}",
        claimed.unwrap_or("nobody"),
        forwarded.unwrap_or("nobody".into())
    )
}

fn handler<B: Send + 'static>()
-> impl Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send {
    service_fn(|request: Request<B>| async move { Ok(Response::new(Full::from(naive(&request)))) })
}

fn believe_proxy(format: ForwardedFormat) -> Forwarded {
    Forwarded::accept_from(
        Policy::spiffe_id("spiffe://example.org/proxy").unwrap(),
        format,
    )
}

async fn text(answer: Response<Full<Bytes>>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// What a service answers to a request with these headers.
async fn ask<S>(service: S, headers: &[(&str, &str)]) -> Response<Full<Bytes>>
where
    S: Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible>,
{
    let mut request = Request::post("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.oneshot(request.body(()).unwrap()).await.unwrap()
}

fn peer(path: &str) -> PeerInfo {
    let ca = TestCa::new("example.org");
    ca.peer(&ca.issue(path))
}

#[tokio::test]
async fn a_spoofed_header_makes_an_admin_of_anybody_without_the_layer_and_of_nobody_with_it() {
    let web = PeerInfoLayer::new(peer("/web"));
    let spellings = [
        XFCC,
        "X-Forwarded-Client-Cert",
        "x_forwarded_client_cert",
        "x-forwarded_client-cert",
    ];
    for name in spellings {
        let headers = [(name, SPOOFED)];
        // The control: this is what the attack looks like when it works.
        let answer = ask(web.layer(handler()), &headers).await;
        assert_eq!(text(answer).await, "spiffe://example.org/admin; nobody");
        for layer in [
            ForwardedLayer::strip(),
            ForwardedLayer::default(),
            ForwardedLayer::new(believe_proxy(ForwardedFormat::Xfcc)),
        ] {
            let answer = ask(web.layer(layer.layer(handler())), &headers).await;
            assert_eq!(text(answer).await, "nobody; nobody", "{name}");
        }
    }
}

#[tokio::test]
async fn all_four_headers_are_taken_out_and_no_others() {
    let headers = [
        (XFCC, SPOOFED),
        ("client-cert", ":YQ==:"),
        ("client-cert-chain", ":YQ==:"),
        ("l5d-client-id", "admin"),
        ("client_cert", ":YQ==:"),
        ("x-forwarded-for", "192.0.2.1"),
        ("accept", "text/plain"),
        (XFCC, SPOOFED),
    ];
    let names = service_fn(|request: Request<()>| async move {
        let mut names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        names.sort();
        Ok::<_, Infallible>(Response::new(Full::from(names.join(" "))))
    });
    let all = text(ask(names, &headers).await).await;
    assert_eq!(all.split(' ').count(), 7, "{all}");
    // A request without any peer is no exception.
    let answer = ask(ForwardedLayer::strip().layer(names), &headers).await;
    assert_eq!(text(answer).await, "accept x-forwarded-for");
}

#[tokio::test]
async fn a_listed_proxy_is_believed_and_its_header_goes_all_the_same() {
    let proxy = PeerInfoLayer::new(peer("/proxy"));
    let layer = ForwardedLayer::new(believe_proxy(ForwardedFormat::Xfcc));
    let service = || proxy.layer(layer.layer(handler::<()>()));
    let headers = [(XFCC, SPOOFED), (XFCC, "URI=spiffe://example.org/web")];
    assert_eq!(
        text(ask(service(), &headers).await).await,
        "nobody; spiffe://example.org/web (forwarded by spiffe://example.org/proxy)"
    );
    // A request of its own.
    assert_eq!(text(ask(service(), &[]).await).await, "nobody; nobody");
    // Without the connection's peer nobody is a proxy.
    let answer = ask(layer.layer(handler()), &headers).await;
    assert_eq!(text(answer).await, "nobody; nobody");
}

#[tokio::test]
async fn what_cannot_be_read_is_a_bad_request_and_never_one_of_the_proxys_own() {
    let layer = ForwardedLayer::new(believe_proxy(ForwardedFormat::Xfcc));
    let service = |path| PeerInfoLayer::new(peer(path)).layer(layer.layer(handler::<()>()));
    let broken = (XFCC, "URI=spiffe://example.org/web;Subject=\"");
    let answer = ask(service("/proxy"), &[broken]).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let why = answer.extensions().get::<ForwardedError>();
    assert!(matches!(why, Some(ForwardedError::MalformedHeader { .. })));
    assert_eq!(text(answer).await, "");
    let grpc = ("content-type", "application/grpc");
    let answer = ask(service("/proxy"), &[broken, grpc]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["grpc-status"], "3");
    // Of anybody else it is not read at all.
    let answer = ask(service("/web"), &[broken]).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_identity_that_is_there_already_does_not_stay() {
    let layer = ForwardedLayer::new(believe_proxy(ForwardedFormat::Xfcc));
    // Behind the first layer there is one; behind the second, which believes nobody, there is none.
    let inner = ForwardedLayer::strip().layer(handler());
    let service = PeerInfoLayer::new(peer("/proxy")).layer(layer.layer(inner));
    let answer = ask(service, &[(XFCC, "URI=spiffe://example.org/web")]).await;
    assert_eq!(text(answer).await, "nobody; nobody");
}

async fn start(ca: &TestCa, forwarded: Option<Forwarded>) -> SocketAddr {
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let serve = serve(listener, server(ca), handler()).limits(patient());
    let serve = match forwarded {
        Some(forwarded) => serve.forwarded(forwarded),
        None => serve,
    };
    tokio::spawn(serve.into_future());
    addr
}

async fn get(
    ca: &TestCa,
    path: &str,
    alpn: &str,
    addr: SocketAddr,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let tls = ClientTls::builder(&ca.source(&ca.issue(path)))
        .verify_server_name()
        .alpn([alpn])
        .build()
        .unwrap();
    let http: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(Connector::new(tls));
    let mut request = Request::get(https(addr)).body(Empty::new()).unwrap();
    *request.headers_mut() = headers;
    let answer = within(http.request(request)).await.unwrap();
    let status = answer.status();
    let body = within(answer.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_server_takes_the_headers_out_by_default_and_believes_whom_it_was_told_to() {
    let ca = TestCa::new("example.org");
    let web = ca.peer(&ca.issue("/web"));
    let by_default = start(&ca, None).await;
    for how in [
        ForwardAs::Xfcc,
        ForwardAs::XfccWithCertificates,
        ForwardAs::ClientCertWithChain,
    ] {
        let format = match how {
            ForwardAs::ClientCertWithChain => ForwardedFormat::ClientCert,
            _ => ForwardedFormat::Xfcc,
        };
        let believing = start(&ca, Some(believe_proxy(format))).await;
        for alpn in ["http/1.1", "h2"] {
            let mut headers = HeaderMap::new();
            forward(&mut headers, Some(&web), None, how);
            let ask = async |path, addr| get(&ca, path, alpn, addr, headers.clone()).await.1;
            for (path, addr) in [
                ("/proxy", by_default),
                ("/web", believing),
                ("/admin", believing),
            ] {
                assert_eq!(ask(path, addr).await, "nobody; nobody");
            }
            assert_eq!(
                ask("/proxy", believing).await,
                "nobody; spiffe://example.org/web (forwarded by spiffe://example.org/proxy)"
            );
            let mut broken = HeaderMap::new();
            for name in [XFCC, "client-cert"] {
                broken.insert(name, "=".parse().unwrap());
            }
            let (status, _) = get(&ca, "/proxy", alpn, believing, broken.clone()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            let (status, _) = get(&ca, "/web", alpn, believing, broken).await;
            assert_eq!(status, StatusCode::OK);
        }
    }
}

#[test]
fn a_proxy_of_ours_replaces_what_its_client_sent() {
    let by = "spiffe://example.org/proxy".parse().unwrap();
    let mut headers = HeaderMap::new();
    for name in [XFCC, "client-cert", "client_cert", "l5d-client-id"] {
        headers.append(name, SPOOFED.parse().unwrap());
        headers.append(name, SPOOFED.parse().unwrap());
    }
    headers.insert("accept", "text/plain".parse().unwrap());
    let without = {
        let mut headers = headers.clone();
        forward(&mut headers, None, Some(&by), ForwardAs::Xfcc);
        headers
    };
    assert_eq!(without.len(), 1);
    forward(
        &mut headers,
        Some(&peer("/web")),
        Some(&by),
        ForwardAs::Xfcc,
    );
    assert_eq!(headers.len(), 2);
    let value = headers[XFCC].to_str().unwrap();
    assert!(
        value.starts_with("By=spiffe://example.org/proxy;Hash="),
        "{value}"
    );
    assert!(value.contains(";URI=spiffe://example.org/web") && !value.contains("admin"));
}
