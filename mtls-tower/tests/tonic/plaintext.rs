//! gRPC in plaintext, while that is permitted.

use mtls_core::Policy;
use mtls_core::testing::TestCa;
use mtls_tower::{AuthorizeLayer, Permissive};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tower::Layer;

use crate::common::{server, within};
use crate::echo::{Echo, ask};
use crate::{EITHER, Serving, dial};

fn plaintext(serving: &Serving) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", serving.addr));
    endpoint.unwrap().connect_lazy()
}

#[tokio::test]
async fn a_call_in_plaintext_has_no_peer_meets_no_identity_rule_and_is_refused_once_it_is_strict() {
    let ca = TestCa::new("example.org");
    let peers = AuthorizeLayer::new(Policy::any_verified_peer());
    for by in EITHER {
        let permissive = Permissive::without_end();
        let for_all = by.permissive(server(&ca), Echo::default(), Some(&permissive));
        let guarded = peers.layer(Echo::default());
        let for_peers = by.permissive(server(&ca), guarded, Some(&permissive));
        let old = plaintext(&for_all);
        let seen = within(ask(old.clone())).await.unwrap().into_inner();
        assert_eq!((&*seen.peer, &*seen.leaf), ("unknown", "unknown"), "{by:?}");
        assert_eq!(seen.addr, "127.0.0.1");
        let refused = within(ask(plaintext(&for_peers))).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{by:?}");
        for serving in [&for_all, &for_peers] {
            let seen = within(ask(dial(serving, &ca, "/web"))).await.unwrap();
            assert_eq!(seen.get_ref().peer, ca.spiffe_id("/web"));
        }

        permissive.go_strict();
        for channel in [old, plaintext(&for_all)] {
            assert!(within(ask(channel)).await.is_err(), "{by:?}");
        }
        let seen = within(ask(dial(&for_peers, &ca, "/web"))).await.unwrap();
        assert_eq!(seen.get_ref().peer, ca.spiffe_id("/web"));
    }
}
