//! What the observer of a server is told of requests.

use http::Request;
use mtls_core::{
    AnonymousClient, Audit, AuditEvent, AuditRequest, ClientRef, ForwardedIdentity, PeerInfo,
};

use crate::authorize::Denied;

/// A layer has decided about this request, by a policy of this version. A request without a client came by no server of ours,
/// so there is nobody to tell.
pub(crate) fn decided<B>(
    request: &Request<B>,
    version: impl FnOnce() -> u64,
    decision: &Result<(), Denied>,
) {
    let Some((client, audit)) = client_of(request) else {
        return;
    };
    audit.record(|| {
        let (event, version) = (of(request, client), version());
        match decision {
            Ok(()) => event.policy_version(version),
            Err(Denied::NotAuthorized { denial, .. }) => {
                event.not_authorized(denial).policy_version(version)
            }
            Err(Denied::Lost { why, .. }) => event.lost(why),
            Err(Denied::Misdirected { .. }) => event.misdirected(),
            // The guard says so, and tells of it itself.
            Err(Denied::TlsRequired { .. }) => event.no_peer(),
            Err(Denied::NoPeer) => event.no_peer().policy_version(version),
        }
    });
}

fn client_of<B>(request: &Request<B>) -> Option<(ClientRef<'_>, &Audit)> {
    let extensions = request.extensions();
    if let Some(peer) = extensions.get::<PeerInfo>() {
        return Some((peer.into(), peer.audit()));
    }
    let client = extensions.get::<AnonymousClient>()?;
    Some((client.into(), client.audit()))
}

pub(crate) fn of<'a, B>(request: &'a Request<B>, client: ClientRef<'a>) -> AuditEvent<'a> {
    let facts = AuditRequest::new(request.method().as_str(), request.uri().path());
    let behind = request.extensions().get::<ForwardedIdentity>();
    AuditEvent::request(client, facts).forwarded(behind)
}
