//! Who called, and who may.

use std::error::Error;
use std::sync::atomic::Ordering;

use http::Request;
use mtls_core::testing::TestCa;
use mtls_core::{
    AccessPolicy, Effect, Fact, Otherwise, Policy, Reason, Rule, ServerNames, ServerTls,
};
use mtls_tower::tonic::{Http2Connector, NotHttp2, PeerExt, PeerLayer};
use mtls_tower::{AuthorizeLayer, ConnectError};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};
use tonic::{Code, Status};
use tower::{Layer, ServiceExt};

use crate::common::{
    Accepting, Foreign, alert, client, listen, patient, refusal, server, server_for, within,
};
use crate::echo::{Echo, ask, open};
use crate::{By, EITHER, Serving, client_of, dial, endpoint, open_to_all};

#[tokio::test]
async fn a_call_knows_its_client_and_an_answer_its_server() {
    let ca = TestCa::new("example.org");
    for by in EITHER {
        let serving = by.start(server(&ca), Routes::new(Echo::default()));
        for path in ["/web", "/batch"] {
            let issued = ca.issue(path);
            let tls = client_of(&ca.source(&issued));
            let channel = mtls_tower::tonic::channel(tls, endpoint(serving.addr));
            let answer = within(ask(channel.clone())).await.unwrap();
            let seen = answer.get_ref();
            assert_eq!(seen.peer, ca.spiffe_id(path), "{by:?}");
            assert_eq!(seen.addr, "127.0.0.1");
            let leaf = issued.chain_der().into_iter().next().unwrap();
            assert_eq!(seen.leaf, format!("{:?}", leaf.as_ref()));
            let server = answer.peer_info().unwrap();
            assert_eq!(server.to_string(), ca.spiffe_id("/api"));
            assert_eq!(server.alpn(), Some(&b"h2"[..]));

            let mut talk = within(open(channel)).await.unwrap();
            for word in ["one", "two"] {
                within(talk.echo(word)).await;
            }
        }
    }
}

/// Whoever dials an address comes to the one identity; the other lets nobody in.
#[tokio::test]
async fn a_call_for_a_host_of_another_identity_is_denied() {
    let ca = TestCa::new("example.org");
    let nobody = Policy::spiffe_id("spiffe://example.org/nobody").unwrap();
    let names = ServerNames::named("admin.example.org", &server_for(&ca, nobody))
        .unwrap()
        .otherwise(Otherwise::Serve(server(&ca)));
    for by in EITHER {
        let serving = by.start(names.clone(), Routes::new(Echo::default()));
        let channel = |authority: &'static str| {
            let origin = http::Uri::from_static(authority);
            let endpoint = endpoint(serving.addr).origin(origin);
            mtls_tower::tonic::channel(client(&ca, "/web"), endpoint)
        };
        let answer = within(ask(channel("https://orders.example.org"))).await;
        assert_eq!(answer.unwrap().get_ref().peer, ca.spiffe_id("/web"));
        let denied = within(ask(channel("https://admin.example.org"))).await;
        let denied = denied.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{by:?}");
        assert!(denied.message().contains("another server name"));
    }
}

#[tokio::test]
async fn tonics_own_channel_takes_the_connector() {
    let ca = TestCa::new("example.org");
    let serving = By::Tonics.start(server(&ca), Echo::default());
    let connector = Http2Connector::new(&client(&ca, "/web"));
    let channel = tonic::transport::Channel::new(connector, endpoint(serving.addr));
    let seen = within(ask(channel)).await.unwrap().into_inner();
    assert_eq!(seen.peer, ca.spiffe_id("/web"));
}

#[tokio::test]
async fn no_call_of_nobody_or_of_a_stranger_reaches_the_service() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    for by in EITHER {
        let echo = Echo::default();
        let serving = by.start(server(&ca), Routes::new(echo.clone()));
        let stranger = Foreign::presenting(&other.issue("/web"));
        for (client, expected) in [
            (Foreign::nobody(), "certificate_required"),
            (stranger, "unknown_ca"),
        ] {
            let config = client.alpn(&["h2"]).config(&ca);
            assert_eq!(refusal(config, serving.addr).await, expected, "{by:?}");
        }
        assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn whom_the_server_refuses_at_the_handshake_is_told_by_its_alert() {
    let ca = TestCa::new("example.org");
    let web = Policy::spiffe_id(ca.spiffe_id("/web")).unwrap();
    for by in EITHER {
        let serving = by.start(server_for(&ca, web.clone()), Echo::default());
        within(ask(dial(&serving, &ca, "/web"))).await.unwrap();
        let refused = within(ask(dial(&serving, &ca, "/batch"))).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{by:?}");
        assert_eq!(alert(&refused), "access_denied", "{by:?}");
    }
}

#[tokio::test]
async fn a_server_that_the_client_refuses_is_unavailable_and_the_status_says_why() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let serving = By::Ours.start(server(&other), Echo::default());
    let status = within(ask(dial(&serving, &ca, "/web"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let why: &ConnectError = find(&status);
    assert_eq!(why.reason(), Some(Reason::UnknownIssuer));
}

#[tokio::test]
async fn a_server_that_does_not_agree_to_http_2_is_refused() {
    let ca = TestCa::new("example.org");
    let speaking = |protocols: &[&str]| {
        ServerTls::builder(&ca.source(&ca.issue("/api")))
            .authorize(Policy::any_verified_peer())
            .alpn(protocols.iter().copied())
            .build()
            .unwrap()
    };
    let serving = By::Tonics.start(speaking(&["h2"]), Echo::default());
    within(ask(dial(&serving, &ca, "/web"))).await.unwrap();

    // tonic's client would speak HTTP/2 to it, unasked.
    let serving = By::Tonics.start(speaking(&[]), Echo::default());
    let status = within(ask(dial(&serving, &ca, "/web"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(find::<NotHttp2>(&status).found, None);

    let serving = By::Tonics.start(speaking(&["http/1.1"]), Echo::default());
    let status = within(ask(dial(&serving, &ca, "/web"))).await.unwrap_err();
    let why: &ConnectError = find(&status);
    assert_eq!(why.reason(), Some(Reason::RefusedByPeer));
}

#[tokio::test]
async fn calls_are_authorized_by_identity_and_method() {
    let ca = TestCa::new("example.org");
    let policy = AccessPolicy::builder()
        .allow(
            Rule::named("web asks")
                .is(Fact::Spiffe, [ca.spiffe_id("/web")])
                .is(Fact::GrpcService, ["test.Echo"])
                .is(Fact::GrpcMethod, ["Who"]),
        )
        .otherwise(Effect::Deny)
        .build_for_requests()
        .unwrap();
    for by in EITHER {
        let echo = Echo::default();
        let layer = AuthorizeLayer::for_requests(policy.clone());
        let serving = by.start(server(&ca), layer.layer(Routes::new(echo.clone())));
        let web = dial(&serving, &ca, "/web");
        within(ask(web.clone())).await.unwrap();
        assert_eq!(echo.calls.load(Ordering::SeqCst), 1);
        let denied = within(open(web)).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{by:?}: {denied:?}");
        let batch = dial(&serving, &ca, "/batch");
        let denied = within(ask(batch)).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{by:?}: {denied:?}");
        assert_eq!(echo.calls.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn an_interceptor_decides_by_identity() {
    let ca = TestCa::new("example.org");
    let web = ca.spiffe_id("/web");
    for by in EITHER {
        let web = web.clone();
        let services =
            InterceptedService::new(Echo::default(), move |call: tonic::Request<()>| match call
                .peer_info()
            {
                Some(peer) if peer.to_string() == web => Ok(call),
                Some(_) => Err(Status::permission_denied("web alone")),
                None => Err(Status::unauthenticated("nobody")),
            });
        let serving = by.start(server(&ca), services);
        within(ask(dial(&serving, &ca, "/web"))).await.unwrap();
        let denied = within(ask(dial(&serving, &ca, "/batch")))
            .await
            .unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{by:?}");
        assert_eq!(denied.message(), "web alone");
    }
}

#[tokio::test]
async fn where_no_mutual_tls_is_the_layers_let_nothing_through() {
    let ca = TestCa::new("example.org");
    // The layer of the peer, over plain TCP.
    let tcp = listen();
    let addr = tcp.local_addr().unwrap();
    let plain = Server::builder()
        .layer(PeerLayer::new())
        .serve_with_incoming(Echo::default(), TcpIncoming::from(tcp));
    let _plain = Serving {
        addr,
        task: tokio::spawn(async move { plain.await.unwrap() }),
    };
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let refused = within(ask(channel.connect_lazy())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);

    // Mutual TLS, without the layer that finds the peer.
    let tcp = listen();
    let addr = tcp.local_addr().unwrap();
    let listener = mtls_tower::MtlsListener::new(tcp, server(&ca)).with_limits(patient());
    let forgotten = Server::builder()
        .layer(AuthorizeLayer::new(Policy::any_verified_peer()))
        .serve_with_incoming(Echo::default(), mtls_tower::tonic::incoming(listener));
    let serving = Serving {
        addr,
        task: tokio::spawn(async move { forgotten.await.unwrap() }),
    };
    let refused = within(ask(dial(&serving, &ca, "/web"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

/// tonic's server cuts the connection of a lost client, so that the layer's answer rarely gets out: it is asked directly.
#[tokio::test]
async fn the_layer_refuses_the_next_call_of_a_lost_client() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (publisher, source) = ca.publish(&ca.issue("/api"));
    let both = mtls_core::TrustMaterial::new(vec![ca.root_der(), other.root_der()]);
    publisher.publish_trust(both).unwrap();
    let mut accepting = Accepting::start(open_to_all(&source), patient()).await;
    let tcp = accepting.dial().await;
    let config = Foreign::presenting(&other.issue("/web")).config(&ca);
    let _client = crate::common::connect(config, tcp).await.unwrap();
    let info = accepting.next().await.connect_info();

    let echo = Echo::default();
    let service = PeerLayer::new().layer(echo.clone());
    let call = || {
        let call = Request::post(crate::echo::WHO).header("content-type", "application/grpc");
        let mut call = call.body(Body::empty()).unwrap();
        call.extensions_mut().insert(info.clone());
        service.clone().oneshot(call)
    };
    call().await.unwrap();
    assert_eq!(echo.calls.load(Ordering::SeqCst), 1);

    publisher.publish_trust(ca.trust_material()).unwrap();
    let refused = call().await.unwrap();
    assert_eq!(refused.headers()["grpc-status"], "16");
    assert_eq!(echo.calls.load(Ordering::SeqCst), 1);
}

/// What is somewhere beneath a status.
pub(crate) fn find<T: Error + 'static>(status: &Status) -> &T {
    let mut next = Some(status as &(dyn Error + 'static));
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return found;
        }
        next = error.source();
    }
    panic!("{status:?}")
}
