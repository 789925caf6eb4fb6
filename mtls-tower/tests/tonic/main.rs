//! gRPC by tonic, real servers and clients: who called, who may, and what rotation and lost trust do to open calls.

#![allow(
    unreachable_pub,
    clippy::panic,
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "a panic is how a test fails; a status is as large as tonic made it"
)]

#[path = "../common/mod.rs"]
mod common;
mod echo;
mod identity;
mod plaintext;
mod rotation;

use std::future::IntoFuture;
use std::net::SocketAddr;

use bytes::Bytes;
use common::{listen, patient};
use echo::BoxError;
use http::{Request, Response};
use mtls_core::testing::TestCa;
use mtls_core::{ClientTls, CredentialSource, Policy, ServerNames, ServerTls};
use mtls_tower::tonic::{Channel, PeerLayer, channel, incoming, serve};
use mtls_tower::{MtlsListener, Permissive};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::transport::{Endpoint, Server};
use tower::Service;

/// The two ways to serve.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Ours,
    Tonics,
}

const EITHER: [By; 2] = [By::Ours, By::Tonics];

/// Runs until it is dropped.
#[derive(Debug)]
struct Serving {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl By {
    fn start<S, B>(self, tls: impl Into<ServerNames>, services: S) -> Serving
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError> + Send,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.permissive(tls, services, None)
    }

    /// The same, with plaintext where that is permitted.
    fn permissive<S, B>(
        self,
        tls: impl Into<ServerNames>,
        services: S,
        permissive: Option<&Permissive>,
    ) -> Serving
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError> + Send,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let tcp = listen();
        let addr = tcp.local_addr().unwrap();
        let task = match self {
            Self::Ours => {
                let mut server = serve(tcp, tls, services)
                    .limits(patient())
                    .lost_peer_deadline(common::HOUR);
                if let Some(permissive) = permissive {
                    server = server.permissive(permissive.clone());
                }
                let server = server.into_future();
                tokio::spawn(async move { server.await.unwrap() })
            }
            Self::Tonics => {
                let mut listener = MtlsListener::new(tcp, tls).with_limits(patient());
                if let Some(permissive) = permissive {
                    listener = listener.with_permissive(permissive.clone());
                }
                let server = Server::builder()
                    .layer(PeerLayer::new())
                    .serve_with_incoming(services, incoming(listener));
                tokio::spawn(async move { server.await.unwrap() })
            }
        };
        Serving { addr, task }
    }
}

fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("https://{addr}")).unwrap()
}

fn client_of(source: &CredentialSource) -> ClientTls {
    ClientTls::builder(source)
        .verify_server_name()
        .build()
        .unwrap()
}

fn dial(serving: &Serving, ca: &TestCa, path: &str) -> Channel {
    channel(common::client(ca, path), endpoint(serving.addr))
}

/// A server of this source that lets in whom it verifies.
fn open_to_all(source: &CredentialSource) -> ServerTls {
    ServerTls::builder(source)
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap()
}
