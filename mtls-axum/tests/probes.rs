//! Routes for probes, beside others on a plaintext port.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use mtls_axum::{Probes, probes};
use mtls_core::testing::{LeafOptions, TestCa};
use tower::ServiceExt;

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn ask(router: &Router, method: &str, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_router_answers_probes_beside_what_else_it_has_and_below_a_path() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let router = probes(&source).route("/metrics", get("none"));
    let nested = Router::new().nest("/health", probes(&source));
    let ok = (StatusCode::OK, "ok".to_owned());
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(ask(&router, "GET", path).await, ok);
        assert_eq!(ask(&nested, "GET", &format!("/health{path}")).await, ok);
        assert_eq!(ask(&router, "HEAD", path).await.0, StatusCode::OK);
        assert_eq!(ask(&router, "POST", path).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(ask(&router, "GET", "/metrics").await.1, "none");
    let (status, body) = ask(&router, "GET", "/readyz?verbose").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("[+]credentials ok\n"), "{body}");
}

#[tokio::test]
async fn readiness_ends_a_margin_before_the_certificate_does_and_liveness_does_not() {
    let ca = TestCa::new("example.org");
    let leaf = LeafOptions::service("/api").expires_in(HOUR);
    let source = ca.source(&ca.issue_with(leaf));
    let with = |margin| probes(Probes::of(&source).ready_margin(margin));

    let late = with(2 * HOUR);
    let (status, body) = ask(&late, "GET", "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("[-]credentials about to expire\n"), "{body}");
    assert!(body.ends_with("readyz check failed\n"), "{body}");
    assert!(!body.contains("example.org"), "{body}");
    assert_eq!(ask(&late, "GET", "/livez").await.0, StatusCode::OK);
    assert_eq!(ask(&late, "GET", "/healthz").await.0, StatusCode::OK);

    for margin in [Duration::ZERO, HOUR / 2] {
        assert_eq!(ask(&with(margin), "GET", "/readyz").await.0, StatusCode::OK);
    }
}
