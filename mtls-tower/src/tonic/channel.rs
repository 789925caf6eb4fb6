//! A channel per snapshot, and which one is current.
//!
//! There is no task: each call asks whether the source has moved on, or whether the server's certificates are about to
//! end. tonic has no way to drain a channel but to drop it: what was sent by it finishes, then its connection closes.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use ::tonic::ConnectError as Unavailable;
use ::tonic::body::Body;
use ::tonic::transport::{Channel as Inner, Endpoint, Error, channel};
use http::{Request, Response, Uri};
use mtls_core::{Alert, ClientTls, PeerInfo, Timestamp};
use tower_service::Service;
use tracing::debug;

use crate::tonic::Http2Connector;
use crate::tonic::unsent::Unsent;
use crate::tonic::watched::{Refusal, Watched};

/// A channel to `endpoint`, an `https` URI, which connects when it is first used.
///
/// The endpoint's connect timeout is heeded, and what it says of calls and of HTTP/2. What it says of TLS and TCP is not:
/// that is `tls`'s to say, and the connector's. For timeouts of handshakes see [`Channel::new`].
#[must_use]
pub fn channel(tls: ClientTls, endpoint: Endpoint) -> Channel {
    let mut connector = Http2Connector::new(&tls);
    if let Some(limit) = endpoint.get_connect_timeout() {
        connector = connector.connect_timeout(limit);
    }
    Channel::new(tls, connector, endpoint)
}

/// A gRPC channel that follows rotation: generated clients take it as they take tonic's own.
///
/// The first call after a new snapshot goes by a new connection, with the new credentials and verified by the new trust.
/// Calls in flight finish on the old one, which then closes; if its server would no longer be accepted, it is cut. The
/// same happens shortly before the server's certificates end. A clone is another handle on the same.
///
/// A response that is sure to have come from one server has its [`PeerInfo`] among its extensions
/// ([`PeerExt::peer_info`](crate::tonic::PeerExt::peer_info)).
pub struct Channel {
    shared: Arc<Shared>,
    /// Held from `poll_ready` to `call` alone: an idle handle keeps no old connection open.
    ready: Option<Generation>,
}

struct Shared {
    tls: ClientTls,
    connector: Http2Connector,
    endpoint: Endpoint,
    current: Mutex<Option<Generation>>,
}

/// The channel of one snapshot.
#[derive(Clone)]
struct Generation {
    number: u64,
    channel: Inner,
    server: Arc<Mutex<Server>>,
}

/// What is known of whom a channel is connected to.
#[derive(Default)]
struct Server {
    /// How many connections were made: tonic makes one after the other.
    connections: u64,
    last: Option<PeerInfo>,
    /// Whether and why it was refused there.
    refusal: Refusal,
    /// When a new channel is to replace it, in UNIX seconds.
    leave: Option<i64>,
}

impl Channel {
    /// A channel whose connector was configured; it has to be one of `tls`.
    #[must_use]
    pub fn new(tls: ClientTls, connector: Http2Connector, endpoint: Endpoint) -> Self {
        Self {
            shared: Arc::new(Shared {
                tls,
                connector,
                endpoint,
                current: Mutex::new(None),
            }),
            ready: None,
        }
    }
}

impl Clone for Channel {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            ready: None,
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("uri", self.shared.endpoint.uri())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The channel that a call goes by now.
    fn current(&self, now: i64) -> Generation {
        let mut current = lock(&self.current);
        let newest = self.tls.source().current().generation();
        match &*current {
            Some(known) if known.serves(newest, now) => known.clone(),
            Some(_) | None => {
                let next = Generation::new(newest, self);
                debug!(
                    mtls.generation = newest,
                    mtls.first = current.is_none(),
                    "channel made"
                );
                *current = Some(next.clone());
                next
            }
        }
    }
}

impl Generation {
    fn new(number: u64, shared: &Shared) -> Self {
        let server = Arc::default();
        let connector = Recorded {
            connector: shared.connector.clone(),
            server: Arc::clone(&server),
        };
        Self {
            number,
            channel: Inner::new(connector, shared.endpoint.clone()),
            server,
        }
    }

    fn serves(&self, newest: u64, now: i64) -> bool {
        self.number >= newest && lock(&self.server).leave.is_none_or(|leave| now < leave)
    }
}

impl Server {
    fn connected(&mut self, peer: PeerInfo, now: i64) -> Refusal {
        // A server that did not renew is met again with less time left, and then a quarter of that: so the channels that
        // are made for it while its certificates end are few.
        let ends = peer.deadline().as_unix();
        let left = ends.saturating_sub(now).max(0);
        let leave = ends
            .saturating_sub((left / 4).min(LEAD))
            .max(now.saturating_add(1));
        self.leave = Some(self.leave.map_or(leave, |known| known.min(leave)));
        self.connections += 1;
        self.last = Some(peer);
        self.refusal = Refusal::default();
        Arc::clone(&self.refusal)
    }

    /// tonic forgets why a connection ended under a call that had not been sent.
    fn explain(&self, source: Error) -> CallError {
        if Alert::find(&source).is_some() {
            return CallError::Transport { source };
        }
        match self.refusal.get() {
            Some(refused) => CallError::Refused {
                source: Unavailable(Box::new(refused.clone())),
            },
            None => CallError::Transport { source },
        }
    }

    /// Who answered a call, if only one connection can have carried it.
    fn who_answered(&self, connections_at_call: u64) -> Option<&PeerInfo> {
        // The one that stood when the call was made; or, if there was none ever, the first.
        let only = connections_at_call.max(1);
        self.last.as_ref().filter(|_| self.connections == only)
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = CallError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let now = Timestamp::now().as_unix();
        let mut current = self.shared.current(now);
        // Polled again: what waits for room in the same channel keeps its place.
        if let Some(waiting) = &self.ready
            && Arc::ptr_eq(&waiting.server, &current.server)
        {
            current = self.ready.take().unwrap_or(current);
        }
        let polled = current.channel.poll_ready(cx);
        let polled = polled.map_err(|error| lock(&current.server).explain(error));
        self.ready = Some(current);
        polled
    }

    #[expect(
        clippy::expect_used,
        reason = "a call without readiness is its caller's bug"
    )]
    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        let ready = self.ready.take().expect("`poll_ready` comes first");
        let (request, unsent) = Unsent::split(request);
        let first = Attempt::start(ready, request);
        let shared = Arc::clone(&self.shared);
        ResponseFuture(Box::pin(async move {
            let (error, server) = match first.finish().await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            // A server that refused us would do it again.
            let refused = lock(&server).refusal.get().is_some();
            match unsent.after(&error).filter(|_| !refused) {
                Some(request) => shared.send_again(request).await,
                None => Err(lock(&server).explain(error)),
            }
        }))
    }
}

/// The future of a [`Channel`].
#[must_use = "futures do nothing unless they are polled"]
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Outcome> + Send>>);

type Outcome = Result<Response<Body>, CallError>;

impl Future for ResponseFuture {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.0.as_mut().poll(cx)
    }
}

/// A request on its way.
struct Attempt {
    answer: channel::ResponseFuture,
    server: Arc<Mutex<Server>>,
    connections_at_call: u64,
}

impl Attempt {
    /// Sends `request` by a channel that is ready for it.
    fn start(mut ready: Generation, request: Request<Body>) -> Self {
        let connections_at_call = lock(&ready.server).connections;
        Self {
            answer: ready.channel.call(request),
            server: ready.server,
            connections_at_call,
        }
    }

    async fn finish(self) -> Result<Response<Body>, (Error, Arc<Mutex<Server>>)> {
        let mut response = match self.answer.await {
            Ok(response) => response,
            Err(error) => return Err((error, self.server)),
        };
        if let Some(peer) = lock(&self.server).who_answered(self.connections_at_call) {
            response.extensions_mut().insert(peer.clone());
        }
        Ok(response)
    }
}

impl Shared {
    /// Sends a request that was handed to a connection which took no more: tonic makes a new one. Once, so that a server
    /// that closes every connection at once is not asked forever.
    async fn send_again(&self, request: Request<Body>) -> Outcome {
        let mut current = self.current(Timestamp::now().as_unix());
        let ready = poll_fn(|cx| current.channel.poll_ready(cx)).await;
        if let Err(error) = ready {
            return Err(lock(&current.server).explain(error));
        }
        let failed = match Attempt::start(current, request).finish().await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let (error, server) = failed;
        Err(lock(&server).explain(error))
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server ended a connection that stood, by an alert. A status that is made of it is `UNAVAILABLE`; the [`Alert`] is
    /// found in it.
    #[error("the call was refused with its connection")]
    Refused {
        /// The alert is beneath it.
        source: Unavailable,
    },
    /// Anything else that tonic reports: among it that no connection could be made, as with a server that refuses us. A status
    /// is then `UNAVAILABLE`, too, and has the [`Alert`].
    #[error(transparent)]
    Transport {
        /// tonic's word.
        source: Error,
    },
}

/// Notes whom it connected to, before anything is sent there.
struct Recorded {
    connector: Http2Connector,
    server: Arc<Mutex<Server>>,
}

impl Service<Uri> for Recorded {
    type Response = Watched;
    type Error = <Http2Connector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Watched, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.connector.call(uri);
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            let connected = connecting.await?;
            let now = Timestamp::now().as_unix();
            let peer = connected.peer().clone();
            let refusal = lock(&server).connected(peer, now);
            Ok(Watched::new(connected, refusal))
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here is ever half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many seconds before the end of its server's certificates a connection takes no more calls: calls that take longer
/// than this are cut at that end.
const LEAD: i64 = 30;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::time::Duration;

    use mtls_core::testing::{LeafOptions, TestCa};

    use super::*;

    fn peer(valid: Duration) -> PeerInfo {
        let ca = TestCa::new("example.org");
        ca.peer(&ca.issue_with(LeafOptions::service("/api").expires_in(valid)))
    }

    #[test]
    fn a_server_is_left_before_its_certificates_end_and_seldom_if_it_does_not_renew() {
        let peer = peer(Duration::from_secs(3600));
        let ends = peer.deadline().as_unix();
        let mut now = ends - 3000;
        let mut leaves = Vec::new();
        while now < ends {
            let mut server = Server::default();
            let _ = server.connected(peer.clone(), now);
            let leave = server.leave.unwrap();
            assert!(leave > now, "{leave} {now}");
            leaves.push(ends - leave);
            now = leave;
        }
        assert_eq!(leaves.first(), Some(&30));
        assert_eq!(leaves.last(), Some(&0));
        assert!(leaves.len() < 10, "{leaves:?}");
    }

    #[test]
    fn an_answer_has_a_server_if_one_connection_alone_can_have_carried_it() {
        let (mut server, now) = (Server::default(), 0);
        let (first, second) = (peer(Duration::from_secs(60)), peer(Duration::from_secs(60)));
        let serial =
            |peer: Option<&PeerInfo>| peer.map(|peer| peer.identity().serial().to_string());
        assert_eq!(serial(server.who_answered(0)), None);
        let _ = server.connected(first.clone(), now);
        for at_call in [0, 1] {
            assert_eq!(serial(server.who_answered(at_call)), serial(Some(&first)));
        }
        let _ = server.connected(second.clone(), now);
        for at_call in [0, 1] {
            assert_eq!(serial(server.who_answered(at_call)), None);
        }
        assert_eq!(serial(server.who_answered(2)), serial(Some(&second)));
    }
}
