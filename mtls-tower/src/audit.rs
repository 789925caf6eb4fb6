//! What the observer of a server is told of requests.

use http::Request;
use mtls_core::{AuditEvent, AuditRequest, ForwardedIdentity, PeerInfo};

use crate::authorize::Denied;

/// A layer has decided about this request, by a policy of this version. A request without a peer came by no server of ours, so there is
/// nobody to tell.
pub(crate) fn decided<B>(
    request: &Request<B>,
    version: impl FnOnce() -> u64,
    decision: &Result<(), Denied>,
) {
    let Some(peer) = request.extensions().get::<PeerInfo>() else {
        return;
    };
    peer.audit().record(|| {
        let (event, version) = (of(request, peer), version());
        match decision {
            Ok(()) => event.policy_version(version),
            Err(Denied::NotAuthorized { denial, .. }) => {
                event.not_authorized(denial).policy_version(version)
            }
            Err(Denied::Lost { why, .. }) => event.lost(why),
            Err(Denied::Misdirected { .. }) => event.misdirected(),
            // There is a peer.
            Err(Denied::NoPeer) => event,
        }
    });
}

pub(crate) fn of<'a, B>(request: &'a Request<B>, peer: &'a PeerInfo) -> AuditEvent<'a> {
    let facts = AuditRequest::new(request.method().as_str(), request.uri().path());
    let client = request.extensions().get::<ForwardedIdentity>();
    AuditEvent::request(peer, facts).forwarded(client)
}
