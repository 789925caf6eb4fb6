//! Who answered.

use mtls_core::PeerIdentity;

use crate::rotation::Peer;

/// What a response from a [`Client`](crate::Client) knows beyond reqwest.
pub trait ResponseExt: sealed::Sealed {
    /// The server that sent it: the verifier has accepted it before anything was sent to it.
    ///
    /// `None` means unknown, and never "nobody in particular": a response that came by another way than through
    /// [`Client::execute`](crate::Client::execute) or [`RequestBuilder::send`](crate::RequestBuilder::send), or from the
    /// least recent of more than a thousand servers. Whom to talk to at all is said in the
    /// [`ClientTls`](mtls_core::ClientTls), and is enforced there.
    fn peer_identity(&self) -> Option<&PeerIdentity>;
}

impl ResponseExt for reqwest::Response {
    fn peer_identity(&self) -> Option<&PeerIdentity> {
        self.extensions().get().map(|Peer(identity)| identity)
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for reqwest::Response {}
}
