//! The peer of a gRPC call: where it is found, and whether it would still be let in.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tonic::body::Body;
use ::tonic::transport::server::{Connected, TcpConnectInfo};
use http::{Extensions, Request, Response};
use mtls_core::{Client, PeerInfo, Reason};
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tower_layer::Layer;
use tower_service::Service;
use tracing::debug;

use crate::admission::{Admission, introduce};
use crate::authorize::{Denied, misdirected, refusal};
use crate::forwarded::strip;
use crate::stream::ServerStream;

/// The peer of a call: in a service, in an interceptor, in a client.
pub trait PeerExt {
    /// Who sent this request or response. A request that came by [`serve`](crate::tonic::serve()) or a [`PeerLayer`] has
    /// a peer. A response has one if it came by a [`Channel`](crate::tonic::Channel) and it is sure which connection it
    /// came on; right after a reconnect it may have none, though its server was verified like any other.
    fn peer_info(&self) -> Option<&PeerInfo>;
}

impl<T> PeerExt for ::tonic::Request<T> {
    fn peer_info(&self) -> Option<&PeerInfo> {
        self.extensions().get()
    }
}

impl<T> PeerExt for ::tonic::Response<T> {
    fn peer_info(&self) -> Option<&PeerInfo> {
        self.extensions().get()
    }
}

/// What tonic knows of a connection of ours; a [`PeerLayer`] takes it apart.
#[derive(Clone)]
pub struct ConnectInfo {
    admission: Admission,
    tcp: TcpConnectInfo,
    tls: Option<TlsConnectInfo>,
}

/// tonic's type, which has a name under its `tls-…` features alone.
type TlsConnectInfo = <TlsStream<TcpStream> as Connected>::ConnectInfo;

impl ConnectInfo {
    pub(crate) fn new(stream: &ServerStream<TcpStream>) -> Self {
        Self {
            admission: stream.admission().clone(),
            tcp: stream.get_ref().connect_info(),
            tls: stream.tls().map(Connected::connect_info),
        }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.admission.client()
    }

    /// The verified peer. There always is one where the [`ServerTls`](mtls_core::ServerTls) requires certificates, which is
    /// its default.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.client().peer()
    }

    /// For `remote_addr` and `peer_certs` of a `tonic::Request`.
    pub(super) fn add_addresses_and_chain(&self, extensions: &mut Extensions) {
        extensions.insert(self.tcp.clone());
        if let Some(tls) = &self.tls {
            extensions.insert(tls.clone());
        }
    }
}

impl fmt::Debug for ConnectInfo {
    // tonic's own would print whole certificates.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectInfo")
            .field("client", self.client())
            .field("remote_addr", &self.tcp.remote_addr)
            .finish_non_exhaustive()
    }
}

/// For tonic's own server: asks before each call whether the client would still be let in, and puts its [`PeerInfo`]
/// among the call's extensions; of one without a certificate, where that is optional, the
/// [`AnonymousClient`](mtls_core::AnonymousClient).
///
/// A call for a host of another of the server's identities is refused as a misdirected one.
/// A client that would not is answered `UNAUTHENTICATED` or `PERMISSION_DENIED`, as the reason has it; so is a call
/// without a client, since the layer then stands where no mutual TLS is. It has to be the outermost layer: those inside
/// of it find the client.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct PeerLayer;

impl PeerLayer {
    /// The layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for PeerLayer {
    type Service = CheckedPeer<S>;

    fn layer(&self, inner: S) -> CheckedPeer<S> {
        CheckedPeer { inner }
    }
}

/// The service of a [`PeerLayer`].
#[derive(Debug, Clone)]
pub struct CheckedPeer<S> {
    inner: S,
}

// Any body is made tonic's own: that of an interceptor has no empty value, which a refusal needs.
impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for CheckedPeer<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: http_body::Body<Data = <Body as http_body::Body>::Data> + Send + 'static,
    ResBody::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = CheckedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let Some(info) = request.extensions().get::<ConnectInfo>().cloned() else {
            debug!(
                mtls.reason = Reason::NoPeerCertificate.as_str(),
                "call refused: it came by no connection of ours"
            );
            return CheckedFuture::refused(refusal(&request, Denied::NoPeer));
        };
        if let Err(why) = info.admission.check() {
            debug!(
                mtls.peer_id = info.peer().map(tracing::field::display),
                mtls.reason = why.reason().as_str(),
                error = %why,
                "call refused: its client is let in no more"
            );
            let denied = match info.client().clone() {
                Client::Peer(peer) => Denied::Lost { peer, why },
                Client::Anonymous(client) => Denied::TlsRequired { client },
            };
            return CheckedFuture::refused(refusal(&request, denied));
        }
        if let Some(denied) = misdirected(&request, info.client()) {
            return CheckedFuture::refused(refusal(&request, denied));
        }
        info.add_addresses_and_chain(request.extensions_mut());
        if info.peer().is_none() {
            strip(request.headers_mut());
        }
        introduce(info.client(), request.extensions_mut());
        CheckedFuture {
            kind: Kind::Inner {
                future: self.inner.call(request),
            },
        }
    }
}

pin_project! {
    /// The future of a [`CheckedPeer`].
    #[derive(Debug)]
    pub struct CheckedFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProj]
    enum Kind<F> {
        Inner { #[pin] future: F },
        Refused { response: Option<Response<Body>> },
    }
}

impl<F> CheckedFuture<F> {
    fn refused(response: Response<Body>) -> Self {
        let kind = Kind::Refused {
            response: Some(response),
        };
        Self { kind }
    }
}

impl<F, B, E> Future for CheckedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = <Body as http_body::Body>::Data> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(Body::new)))
            }
            #[expect(
                clippy::expect_used,
                reason = "polling a finished future is its caller's bug"
            )]
            KindProj::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("polled after it was ready")))
            }
        }
    }
}
