//! Layers that decide about routes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use axum::body::Body;
use axum::routing::get;
use axum::{Router, http};
use http::{Request, StatusCode};
use mtls_axum::{as_peer, authorize_requests};
use mtls_core::testing::TestCa;
use mtls_core::{AccessPolicy, Effect, Fact, RequestPolicy, Rule};
use tower::ServiceExt;

fn no_admin() -> RequestPolicy {
    AccessPolicy::builder()
        .deny(Rule::named("admin").anyone().is(Fact::Path, ["/admin/**"]))
        .allow(Rule::named("others").is(Fact::TrustDomain, ["example.org"]))
        .otherwise(Effect::Deny)
        .build_for_requests()
        .unwrap()
}

async fn status(app: Router, path: &str) -> StatusCode {
    let ca = TestCa::new("example.org");
    let app = as_peer(app, ca.peer(&ca.issue("/web")));
    let request = Request::get(path).body(Body::empty()).unwrap();
    app.oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn a_policy_sees_the_path_that_was_asked_for_wherever_its_layer_stands() {
    let users = || Router::new().route("/users", get(|| async {}));
    let layer = || authorize_requests(no_admin());
    let nested = |router: Router| {
        Router::new()
            .nest("/admin", router.clone())
            .nest("/shop", router)
    };
    for app in [
        nested(users().layer(layer())),
        nested(users().route_layer(layer())),
        nested(Router::new().route("/users", get(|| async {}).layer(layer()))),
        nested(users()).layer(layer()),
    ] {
        assert_eq!(
            status(app.clone(), "/admin/users").await,
            StatusCode::FORBIDDEN
        );
        assert_eq!(status(app.clone(), "/shop/users").await, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_policy_decides_about_paths_without_a_route_where_it_is_a_layer_of_the_whole() {
    let app = || Router::new().route("/a", get(|| async {}));
    let whole = app().layer(authorize_requests(no_admin()));
    let routes = app().route_layer(authorize_requests(no_admin()));
    assert_eq!(status(whole.clone(), "/a").await, StatusCode::OK);
    assert_eq!(status(whole, "/admin/x").await, StatusCode::FORBIDDEN);
    assert_eq!(status(routes, "/admin/x").await, StatusCode::NOT_FOUND);
}
