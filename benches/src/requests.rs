//! A request as any server makes one, and as ours does.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use http::Request;
use mtls_core::testing::TestCa;
use mtls_core::{PeerInfo, Policy};

/// What axum's `ConnectInfo` is.
#[derive(Debug, Clone, Copy)]
struct ConnectInfo(
    #[expect(dead_code, reason = "what is in it is nothing to the insert")] SocketAddr,
);

/// With the address in it, which any server adds.
pub fn plain_request() -> impl FnMut() -> Request<()> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 443));
    move || {
        let mut request = Request::new(());
        request
            .extensions_mut()
            .insert(ConnectInfo(black_box(addr)));
        request
    }
}

/// With the least that tells a handler whose request it is.
pub fn least_request() -> impl FnMut() -> Request<()> {
    let mut plain = plain_request();
    move || {
        let mut request = plain();
        tell(&mut request);
        request
    }
}

/// A look at the clock, since nobody may ask for ever, and the insert of something shared. Nothing is decided.
pub fn tell<B>(request: &mut Request<B>) {
    static PEER: LazyLock<Arc<String>> =
        LazyLock::new(|| Arc::new("spiffe://example.org/ns/shop/sa/web".to_owned()));
    assert!(black_box(SystemTime::now()) > SystemTime::UNIX_EPOCH);
    request.extensions_mut().insert(Arc::clone(&PEER));
}

/// A plain one whose peer is still let in, has the right to ask, and is in it.
pub fn checked_request() -> impl FnMut() -> Request<()> {
    let peer = peer();
    let policy = Policy::pattern("spiffe://example.org/ns/shop/sa/*").unwrap();
    let mut plain = plain_request();
    move || {
        let mut request = plain();
        peer.check().unwrap();
        policy.decide(peer.identity()).unwrap();
        request.extensions_mut().insert(peer.clone());
        request
    }
}

pub fn peer() -> PeerInfo {
    let ca = TestCa::new("example.org");
    ca.peer(&ca.issue("/ns/shop/sa/web"))
}
