//! The doors of a client, and what comes back through each.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Uri, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mtls_core::rustls::ClientConfig;
use mtls_core::rustls::pki_types::{CertificateDer, ServerName};
use mtls_core::{Alert, Chained, HandshakeError, PeerInfo, Reason};
use mtls_reqwest::{Explanation, ResponseExt, explain};
use mtls_tower::tonic::{Http2Connector, PeerExt, channel};
use mtls_tower::{Connector, RetireLayer};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::{Layer, Service, service_fn};

use crate::cell::Protocol;
use crate::conversation::{ask_and_listen, converse};
use crate::servers::CALLER;
use crate::world::ClientSide;

/// A way to call by mutual TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClientDoor {
    /// `mtls_reqwest::Client`.
    Reqwest,
    /// hyper-util's client, with a `Connector` below it and a `RetireLayer` around it.
    Pool,
    /// hyper's connection on a `Connector`'s stream.
    Connection,
    /// rustls and a `ClientHandshake`.
    ByHand,
    /// rustls without us, for whoever has no certificate.
    RustlsAlone,
    /// `mtls_tower::tonic::channel`.
    Channel,
    /// tonic's own channel, with an `Http2Connector`.
    TonicsChannel,
    /// tonic's own channel on rustls without us.
    RustlsChannel,
}

impl ClientDoor {
    pub(crate) const HTTP: [Self; 5] = [
        Self::Reqwest,
        Self::Pool,
        Self::Connection,
        Self::ByHand,
        Self::RustlsAlone,
    ];

    pub(crate) const GRPC: [Self; 3] = [Self::Channel, Self::TonicsChannel, Self::RustlsChannel];

    /// As the table says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reqwest => "`mtls_reqwest::Client`",
            Self::Pool => "hyper-util's client, `Connector`",
            Self::Connection => "hyper's connection, `Connector`",
            Self::ByHand => "rustls, `ClientTls`",
            Self::RustlsAlone => "rustls alone",
            Self::Channel => "`mtls_tower::tonic::channel`",
            Self::TonicsChannel => "tonic's channel, `Http2Connector`",
            Self::RustlsChannel => "tonic's channel, rustls alone",
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        !matches!(self, Self::RustlsAlone | Self::RustlsChannel)
    }

    /// Whether it can tell who its server is.
    pub(crate) fn knows_its_server(self) -> bool {
        // tonic passes nothing of a connection on to a response.
        self != Self::TonicsChannel
    }

    /// Connects anew and asks the server who we are.
    pub(crate) async fn ask(self, dial: &Dial<'_>) -> Answer {
        match self {
            Self::Reqwest => by_reqwest(dial).await,
            Self::Pool => by_pool(dial).await,
            Self::Connection => by_connection(dial).await,
            Self::ByHand => by_hand(dial).await,
            Self::RustlsAlone => alone(dial).await,
            Self::Channel => by_channel(dial).await,
            Self::TonicsChannel => by_tonics_channel(dial).await,
            Self::RustlsChannel => by_rustls_channel(dial).await,
        }
    }
}

/// Who dials where.
#[derive(Debug)]
pub(crate) struct Dial<'a> {
    pub(crate) addr: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) client: &'a ClientSide,
    /// For a client that knows names by leaves alone.
    pub(crate) server: (&'a CertificateDer<'static>, &'a str),
}

impl Dial<'_> {
    fn url(&self) -> String {
        format!("https://{}/", self.addr)
    }

    fn uri(&self) -> Uri {
        self.url().parse().unwrap()
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(self.url()).unwrap()
    }

    fn name(&self) -> ServerName<'static> {
        ServerName::from(self.addr.ip())
    }

    fn who(&self, leaf: Option<&CertificateDer<'_>>) -> String {
        let (known, name) = self.server;
        if leaf == Some(known) {
            name.to_owned()
        } else {
            "somebody else".to_owned()
        }
    }
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Answer {
    Served(Served),
    Refused(Refused),
    /// We refused the server.
    Distrusted(Reason),
    /// Nothing, for as long as it was waited for.
    Nothing,
    /// Nothing that anybody expects.
    Strange(String),
}

/// We were answered.
#[derive(Debug)]
pub(crate) struct Served {
    /// Whom the handler saw.
    pub(crate) caller: String,
    /// Who the server is, if we know.
    pub(crate) server: Option<String>,
}

/// The server refused us.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Why, if that is not lost.
    pub(crate) alert: Option<String>,
    pub(crate) error: String,
    /// What a gRPC call came to.
    pub(crate) status: Option<Code>,
}

/// What an error has to say of a refusal, whichever library wraps it.
pub(crate) fn judge(error: &(dyn Error + 'static)) -> Answer {
    let text = Chained(error).to_string();
    match HandshakeError::find(error) {
        Some(why) => return of_handshake(why),
        None if Alert::find(error).is_none() && !Chained(error).causes().any(went_away) => {
            return Answer::Strange(format!("{error:?}"));
        }
        None => {}
    }
    let alert = Alert::find(error).map(|alert| alert.to_string());
    Answer::Refused(Refused {
        alert,
        error: text,
        status: None,
    })
}

fn of_handshake(why: &HandshakeError) -> Answer {
    let alert = match why {
        HandshakeError::RefusedByPeer { alert, .. } => Some(alert.to_string()),
        HandshakeError::PeerClosed | HandshakeError::Io { .. } => None,
        _ => return Answer::Distrusted(why.reason()),
    };
    Answer::Refused(Refused {
        alert,
        error: Chained(why).to_string(),
        status: None,
    })
}

/// What a library says whose connection ended under it.
fn went_away(cause: &(dyn Error + 'static)) -> bool {
    let by_hyper = cause.downcast_ref().is_some_and(|error: &hyper::Error| {
        error.is_closed() || error.is_canceled() || error.is_incomplete_message()
    });
    let by_system = cause.downcast_ref().is_some_and(|error: &io::Error| {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
        };
        [
            BrokenPipe,
            ConnectionAborted,
            ConnectionReset,
            NotConnected,
            UnexpectedEof,
        ]
        .contains(&error.kind())
    });
    by_hyper || by_system
}

async fn by_reqwest(dial: &Dial<'_>) -> Answer {
    let http = mtls_reqwest::Client::builder(dial.client.tls.clone());
    let http = match dial.protocol {
        Protocol::H1 => http.http1_only(),
        Protocol::H2 | Protocol::Grpc => http,
    };
    let error = match http.build().unwrap().get(dial.url()).send().await {
        Ok(answer) => {
            let server = answer.peer_identity().map(ToString::to_string);
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.version(), version(dial.protocol));
            return Answer::Served(Served {
                caller: answer.text().await.unwrap(),
                server,
            });
        }
        Err(error) => error,
    };
    let alert = match explain(&error) {
        Explanation::RefusedByPeer { alert } => Some(alert.to_string()),
        Explanation::ClosedByPeer => None,
        Explanation::PeerNotTrusted { error } => return of_handshake(&error),
        other => return Answer::Strange(format!("{other}: {error:?}")),
    };
    Answer::Refused(Refused {
        alert,
        error: Chained(&error).to_string(),
        status: None,
    })
}

async fn by_pool(dial: &Dial<'_>) -> Answer {
    let mut http = RetireLayer::new().layer(
        Pool::builder(TokioExecutor::new())
            .http2_only(dial.protocol == Protocol::H2)
            .build::<_, Empty<Bytes>>(Connector::new(dial.client.tls.clone())),
    );
    match http.call(request(dial)).await {
        Ok(answer) => {
            let server = answer.extensions().get().map(PeerInfo::to_string);
            Answer::Served(Served {
                caller: body(answer, dial.protocol).await,
                server,
            })
        }
        Err(error) => judge(&error),
    }
}

async fn by_connection(dial: &Dial<'_>) -> Answer {
    let stream = match Connector::new(dial.client.tls.clone())
        .connect(&dial.uri())
        .await
    {
        Ok(stream) => stream,
        Err(error) => return judge(&error),
    };
    let server = Some(stream.peer().to_string());
    match converse(stream, dial).await {
        Ok(caller) => Answer::Served(Served { caller, server }),
        Err(broken) => broken.judge(),
    }
}

async fn by_hand(dial: &Dial<'_>) -> Answer {
    let handshake = dial.client.tls.handshake();
    let stream = match connect(handshake.config(), dial).await {
        Ok(stream) => stream,
        Err(error) => return of_handshake(&handshake.explain(&error)),
    };
    let server = match handshake.established(stream.get_ref().1, &dial.name()) {
        Ok(peer) => Some(peer.to_string()),
        Err(why) => return of_handshake(&why),
    };
    match ask_and_listen(stream, dial).await {
        Ok(caller) => Answer::Served(Served { caller, server }),
        Err(heard) => of_handshake(&handshake.explain(&heard)),
    }
}

async fn alone(dial: &Dial<'_>) -> Answer {
    let stream = match connect(Arc::clone(&dial.client.foreign), dial).await {
        Ok(stream) => stream,
        Err(error) => return judge(&error),
    };
    let chain = stream.get_ref().1.peer_certificates();
    let server = Some(dial.who(chain.and_then(<[_]>::first)));
    match ask_and_listen(stream, dial).await {
        Ok(caller) => Answer::Served(Served { caller, server }),
        Err(heard) => judge(&heard),
    }
}

async fn by_channel(dial: &Dial<'_>) -> Answer {
    let channel = channel(dial.client.tls.clone(), dial.endpoint());
    let mut health = HealthClient::new(channel);
    let answer = health.check(HealthCheckRequest::default());
    match called(answer.await, None) {
        // What is refused is the connection and no call: it may be sent elsewhere.
        Answer::Refused(told) if told.status != Some(Code::Unavailable) => {
            Answer::Strange(format!("{told:?}"))
        }
        answer => answer,
    }
}

async fn by_tonics_channel(dial: &Dial<'_>) -> Answer {
    let connector = Http2Connector::new(&dial.client.tls);
    let channel = tonic::transport::Channel::new(connector, dial.endpoint());
    let mut health = HealthClient::new(channel);
    let answer = health.check(HealthCheckRequest::default());
    called(answer.await, None)
}

async fn by_rustls_channel(dial: &Dial<'_>) -> Answer {
    let (config, addr, name) = (Arc::clone(&dial.client.foreign), dial.addr, dial.name());
    let met = Arc::new(Mutex::new(None));
    let note = Arc::clone(&met);
    let connector = service_fn(move |_: Uri| {
        let (config, name, note) = (Arc::clone(&config), name.clone(), Arc::clone(&note));
        async move {
            let tcp = TcpStream::connect(addr).await?;
            let stream = TlsConnector::from(config).connect(name, tcp).await?;
            let leaf = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(<[_]>::first);
            *note.lock().unwrap() = leaf.map(|leaf| leaf.clone().into_owned());
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    let channel = tonic::transport::Channel::new(connector, dial.endpoint());
    let mut health = HealthClient::new(channel);
    let answer = health.check(HealthCheckRequest::default()).await;
    let leaf = met.lock().unwrap().clone();
    called(answer, Some(dial.who(leaf.as_ref())))
}

async fn connect(config: Arc<ClientConfig>, dial: &Dial<'_>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(dial.addr).await?;
    TlsConnector::from(config).connect(dial.name(), tcp).await
}

fn called(
    answer: Result<tonic::Response<HealthCheckResponse>, Status>,
    server: Option<String>,
) -> Answer {
    match answer {
        Ok(answer) => {
            let caller = answer.metadata().get(CALLER).unwrap();
            let caller = caller.to_str().unwrap().to_owned();
            let server = server.or_else(|| answer.peer_info().map(ToString::to_string));
            Answer::Served(Served { caller, server })
        }
        Err(status) => match judge(&status) {
            Answer::Refused(Refused { alert, error, .. }) => Answer::Refused(Refused {
                alert,
                error,
                status: Some(status.code()),
            }),
            // tonic may keep nothing but this of a connection that ended under a call.
            Answer::Strange(_)
                if matches!(
                    status.code(),
                    Code::Cancelled | Code::Unavailable | Code::Unknown
                ) =>
            {
                let error = status.to_string();
                Answer::Refused(Refused {
                    alert: None,
                    error,
                    status: Some(status.code()),
                })
            }
            other => other,
        },
    }
}

pub(crate) fn request(dial: &Dial<'_>) -> Request<Empty<Bytes>> {
    Request::get(dial.uri()).body(Empty::new()).unwrap()
}

fn version(protocol: Protocol) -> Version {
    match protocol {
        Protocol::H1 => Version::HTTP_11,
        Protocol::H2 | Protocol::Grpc => Version::HTTP_2,
    }
}

pub(crate) async fn body(answer: Response<Incoming>, protocol: Protocol) -> String {
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.version(), version(protocol));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
