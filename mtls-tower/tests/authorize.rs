//! The layer that decides by identity.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use mtls_core::testing::TestCa;
use mtls_core::{AccessPolicy, Effect, Fact, PeerInfo, Policy, RequestPolicy, Rule};
use mtls_tower::{AuthorizeLayer, Denied, WithPeer};
use tower::{Layer, Service, ServiceExt, service_fn};

type Answer = Response<String>;

async fn ask(policy: Policy, peer: Option<PeerInfo>, content_type: &str) -> Answer {
    let handler = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new("handled".to_owned()))
    });
    let service = AuthorizeLayer::new(policy).layer(handler);
    let request = Request::post("/")
        .header("content-type", content_type)
        .body(())
        .unwrap();
    let answered = match peer {
        Some(peer) => WithPeer::new(service, peer).oneshot(request).await,
        None => service.oneshot(request).await,
    };
    answered.unwrap()
}

fn web_only() -> Policy {
    Policy::spiffe_id("spiffe://example.org/web").unwrap()
}

fn peer(path: &str) -> PeerInfo {
    let ca = TestCa::new("example.org");
    ca.peer(&ca.issue(path))
}

#[tokio::test]
async fn an_authorized_peer_passes() {
    for content_type in ["application/json", "application/grpc"] {
        let answer = ask(web_only(), Some(peer("/web")), content_type).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.body(), "handled");
        assert!(answer.extensions().get::<Denied>().is_none());
        assert!(answer.headers().get("grpc-status").is_none());
    }
}

#[tokio::test]
async fn another_peer_is_forbidden_and_the_response_knows_who_it_was() {
    let answer = ask(web_only(), Some(peer("/batch")), "application/json").await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(answer.headers().is_empty() && answer.body().is_empty());
    let Some(Denied::NotAuthorized { peer, denial }) = answer.extensions().get() else {
        panic!("{answer:?}");
    };
    assert_eq!(peer.to_string(), "spiffe://example.org/batch");
    assert!(denial.expectation().contains("spiffe://example.org/web"));
}

#[tokio::test]
async fn without_a_peer_the_answer_is_no_even_where_anyone_verified_may() {
    for policy in [web_only(), Policy::any_verified_peer()] {
        let answer = ask(policy, None, "application/json").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.body().is_empty());
        assert!(matches!(answer.extensions().get(), Some(Denied::NoPeer)));
    }
    let answer = ask(
        Policy::any_verified_peer(),
        Some(peer("/batch")),
        "application/json",
    )
    .await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_grpc_request_is_refused_in_grpcs_form() {
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc-web+proto",
    ] {
        for (peer, status) in [(Some(peer("/batch")), "7"), (None, "16")] {
            let answer = ask(web_only(), peer, content_type).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.headers()["content-type"], "application/grpc");
            assert_eq!(answer.headers()["grpc-status"], status);
            assert!(answer.headers().contains_key("grpc-message"));
            assert!(answer.body().is_empty());
            assert!(answer.extensions().get::<Denied>().is_some());
        }
    }
}

/// A service that has to be asked whether it is ready.
#[derive(Debug, Default)]
struct Busy {
    asked: bool,
}

impl Service<Request<()>> for Busy {
    type Response = Answer;
    type Error = &'static str;
    type Future = Ready<Result<Answer, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if std::mem::replace(&mut self.asked, true) {
            Poll::Ready(Err("overloaded"))
        } else {
            Poll::Pending
        }
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Err("called"))
    }
}

#[test]
fn the_service_behind_says_when_it_is_ready() {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let layered = AuthorizeLayer::new(web_only()).layer(Busy::default());
    let mut service = WithPeer::new(layered, peer("/web"));
    assert!(service.poll_ready(&mut cx).is_pending());
    assert_eq!(service.poll_ready(&mut cx), Poll::Ready(Err("overloaded")));
}

#[tokio::test]
async fn an_error_of_the_service_behind_stays_an_error() {
    let layered = AuthorizeLayer::new(web_only()).layer(Busy::default());
    let mut service = WithPeer::new(layered, peer("/web"));
    assert_eq!(service.call(Request::new(())).await.unwrap_err(), "called");
}

/// Everyone reads the health, the workloads of example.org everything but what is for admins; gRPC by service.
fn request_policy() -> RequestPolicy {
    let workloads = |name| Rule::named(name).is(Fact::TrustDomain, ["example.org"]);
    let admin = ["/admin", "/admin/**"];
    AccessPolicy::builder()
        .deny(Rule::named("admin").anyone().is(Fact::Path, admin))
        .allow(Rule::named("health").anyone().is(Fact::Path, ["/healthz"]))
        .allow(
            workloads("reads")
                .is(Fact::Method, ["GET"])
                .is(Fact::Host, ["a.test"]),
        )
        .allow(workloads("calls").is(Fact::GrpcService, ["shop.Orders"]))
        .otherwise(Effect::Deny)
        .build_for_requests()
        .unwrap()
}

async fn send(request: http::request::Builder, peer: Option<PeerInfo>) -> Answer {
    let handler = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new("handled".to_owned()))
    });
    let service = AuthorizeLayer::for_requests(request_policy()).layer(handler);
    let request = request.body(()).unwrap();
    let answered = match peer {
        Some(peer) => WithPeer::new(service, peer).oneshot(request).await,
        None => service.oneshot(request).await,
    };
    answered.unwrap()
}

#[tokio::test]
async fn a_request_policy_decides_by_method_path_and_host() {
    let web = peer("/web");
    for (method, uri, host, status) in [
        ("GET", "/orders?x=/admin", Some("a.test"), StatusCode::OK),
        ("GET", "https://a.test/orders", None, StatusCode::OK),
        (
            "GET",
            "https://a.test/orders",
            Some("a.test"),
            StatusCode::OK,
        ),
        (
            "GET",
            "https://a.test/orders",
            Some("b.test"),
            StatusCode::FORBIDDEN,
        ),
        ("GET", "/orders", Some("b.test"), StatusCode::FORBIDDEN),
        ("PUT", "/orders", Some("a.test"), StatusCode::FORBIDDEN),
        ("GET", "/admin/users", Some("a.test"), StatusCode::FORBIDDEN),
        (
            "GET",
            "/%61dmin/users",
            Some("a.test"),
            StatusCode::FORBIDDEN,
        ),
        (
            "GET",
            "/x/..%2fadmin",
            Some("a.test"),
            StatusCode::FORBIDDEN,
        ),
        ("GET", "//admin", Some("a.test"), StatusCode::FORBIDDEN),
    ] {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer = send(request, Some(web.clone())).await;
        assert_eq!(answer.status(), status, "{method} {uri} {host:?}");
    }
    let twice = Request::get("/orders")
        .header("host", "a.test")
        .header("host", "b.test");
    assert_eq!(send(twice, Some(web)).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn to_a_request_policy_whoever_has_no_certificate_is_anonymous() {
    let get = |path| Request::get(path).header("host", "a.test");
    assert_eq!(send(get("/healthz"), None).await.status(), StatusCode::OK);
    let answer = send(get("/orders"), None).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(matches!(answer.extensions().get(), Some(Denied::NoPeer)));
}

#[tokio::test]
async fn a_request_policy_allows_grpc_by_service_and_refuses_in_its_form() {
    let call = |path| {
        let request = Request::post(path).header("host", "a.test");
        request.header("content-type", "application/grpc")
    };
    let allowed = send(call("/shop.Orders/List"), Some(peer("/web"))).await;
    assert_eq!(allowed.body(), "handled");
    let refused = send(call("/shop.Admin/Drop"), Some(peer("/web"))).await;
    assert_eq!(refused.status(), StatusCode::OK);
    assert_eq!(refused.headers()["grpc-status"], "7");
    let Some(Denied::NotAuthorized { denial, .. }) = refused.extensions().get() else {
        panic!("{refused:?}");
    };
    assert!(denial.expectation().contains("`calls`"));
}
