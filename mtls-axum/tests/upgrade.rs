//! WebSockets, by an upgrade of HTTP/1.1 and by HTTP/2's extended CONNECT (RFC 8441), through both doors: who is at the
//! other end, and what ends it.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod common;

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use axum::routing::{any, get as on_get};
use common::{Http, get, within};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mtls_axum::{Listener, Peer, make_service, require};
use mtls_core::testing::{Issued, TestCa};
use mtls_core::{
    Authorizer, ClientTls, CredentialSource, Denial, PeerIdentity, Publisher, ServerTls,
    TrustMaterial,
};
use mtls_tower::Connector;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

#[derive(Debug, Clone, Copy)]
enum Door {
    Serve,
    Listener,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

const WAYS: [(Door, Protocol); 4] = [
    (Door::Serve, Protocol::Http1),
    (Door::Serve, Protocol::Http2),
    (Door::Listener, Protocol::Http1),
    (Door::Listener, Protocol::Http2),
];

/// A running server, and what it lets in by.
struct Live {
    addr: SocketAddr,
    ca: TestCa,
    /// A second CA of the same trust domain.
    second: TestCa,
    publisher: Publisher,
    policy: Arc<Switch>,
    /// What handlers have done, in their order.
    done: mpsc::UnboundedReceiver<String>,
    /// Of our own `serve`.
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

type Tell = mpsc::UnboundedSender<String>;

impl Live {
    async fn start(door: Door, lost_peer_deadline: Duration) -> Self {
        let (ca, second) = (TestCa::new("example.org"), TestCa::new("example.org"));
        let (publisher, source) = CredentialSource::builder()
            .publish(ca.issue("/api").material(), both(&ca, &second))
            .unwrap();
        let policy = Arc::new(Switch::default());
        let tls = ServerTls::builder(&source)
            .authorize(Arc::clone(&policy))
            .build()
            .unwrap();
        let (tell, done) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = match door {
            Door::Serve => {
                let serve = mtls_axum::serve(listener, tls, app(tell))
                    .lost_peer_deadline(lost_peer_deadline)
                    .drain_deadline(HOUR)
                    .with_graceful_shutdown(async { stopped.await.unwrap() });
                tokio::spawn(serve.into_future())
            }
            Door::Listener => {
                let make = make_service(app(tell)).lost_peer_deadline(lost_peer_deadline);
                let listener = Listener::new(listener, tls);
                tokio::spawn(axum::serve(listener, make).into_future())
            }
        };
        Self {
            addr,
            ca,
            second,
            publisher,
            policy,
            done,
            stop,
            serving,
        }
    }

    fn connector(&self, issued: &Issued, alpn: &str) -> Connector {
        let (_, source) = CredentialSource::builder()
            .publish(issued.material(), both(&self.ca, &self.second))
            .unwrap();
        let tls = ClientTls::builder(&source).verify_server_name();
        Connector::new(tls.alpn([alpn]).build().unwrap())
    }

    /// A client that keeps its HTTP/2 connection, and has seen on it that the server speaks extended CONNECT.
    async fn http2(&self, issued: &Issued) -> Http {
        let http = Client::builder(TokioExecutor::new()).build(self.connector(issued, "h2"));
        assert_eq!(get(&http, self.addr, "/plain").await.body(), "false");
        http
    }

    async fn open(
        &self,
        issued: &Issued,
        protocol: Protocol,
        path: &str,
    ) -> Result<Socket, StatusCode> {
        match protocol {
            Protocol::Http1 => self.upgrade(issued, path).await,
            Protocol::Http2 => self.connect(self.http2(issued).await, path).await,
        }
    }

    /// RFC 6455 §4.1, with a header that nobody but a proxy should send.
    async fn upgrade(&self, issued: &Issued, path: &str) -> Result<Socket, StatusCode> {
        let url = format!("https://{}{path}", self.addr);
        let connector = self.connector(issued, "http/1.1");
        let stream = within(connector.connect(&url.parse().unwrap())).await;
        let url = url.replacen("https", "wss", 1);
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert(XFCC, CLAIM.parse().unwrap());
        let stream: Box<dyn Io> = Box::new(stream.unwrap());
        match within(client_async(request, stream)).await {
            Ok((socket, _)) => Ok(Socket {
                socket,
                _http: None,
            }),
            Err(Error::Http(answer)) => Err(answer.status()),
            Err(other) => panic!("{other}"),
        }
    }

    /// RFC 8441 §5, with the same header.
    async fn connect(&self, http: Http, path: &str) -> Result<Socket, StatusCode> {
        let mut request = Request::connect(format!("https://{}{path}", self.addr))
            .header("sec-websocket-version", "13")
            .header(XFCC, CLAIM)
            .body(Body::empty())
            .unwrap();
        let websocket = hyper::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(websocket);
        let answer = within(http.request(request)).await.unwrap();
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        let upgraded = within(hyper::upgrade::on(answer)).await.unwrap();
        let io: Box<dyn Io> = Box::new(TokioIo::new(upgraded));
        let socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
        let _http = Some(http);
        Ok(Socket { socket, _http })
    }

    async fn next_done(&mut self) -> String {
        within(self.done.recv()).await.unwrap()
    }
}

fn both(ca: &TestCa, second: &TestCa) -> TrustMaterial {
    TrustMaterial::new(vec![ca.root_der(), second.root_der()])
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A WebSocket that is open.
struct Socket {
    socket: WebSocketStream<Box<dyn Io>>,
    _http: Option<Http>,
}

impl Socket {
    async fn hear(&mut self) -> Option<String> {
        match within(self.socket.next()).await {
            Some(Ok(Message::Text(text))) => Some(text.to_string()),
            Some(Ok(other)) => panic!("{other:?}"),
            Some(Err(_)) | None => None,
        }
    }

    async fn echo(&mut self, text: &str) -> Option<String> {
        let sent = within(self.socket.send(Message::text(text))).await;
        sent.ok()?;
        self.hear().await
    }
}

fn app(tell: Tell) -> Router {
    let shop = require("spiffe://example.org/shop/**").unwrap();
    Router::new()
        .route("/ws", any(echo))
        // Not `route_layer`, which takes `any` for no route at all, and panics.
        .route("/shop/ws", any(echo).layer(shop))
        .route("/plain", on_get(plain))
        .with_state(tell)
}

async fn echo(
    State(tell): State<Tell>,
    Peer(peer): Peer,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let told = headers.contains_key(XFCC);
    tell.send(format!("upgrade of {peer}")).unwrap();
    upgrade.on_upgrade(move |mut socket| async move {
        let hello = axum::extract::ws::Message::text(format!("{peer} {told}"));
        let mut next = Some(Ok(hello));
        while let Some(Ok(message)) = next {
            if socket.send(message).await.is_err() {
                break;
            }
            next = socket.recv().await;
        }
        let _ = tell.send(format!("end of {peer}"));
    })
}

/// Says whether anybody has told of a client behind the peer.
async fn plain(State(tell): State<Tell>, headers: HeaderMap) -> String {
    if headers.contains_key("x-smuggled") {
        tell.send("smuggled".into()).unwrap();
    }
    headers.contains_key(XFCC).to_string()
}

/// Lets in everybody but the banned.
#[derive(Debug)]
struct Switch {
    banned: Mutex<BTreeSet<String>>,
    version: watch::Sender<u64>,
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            banned: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Switch {
    fn ban(&self, id: &str) {
        self.banned.lock().unwrap().insert(id.to_owned());
        self.version.send_modify(|version| *version += 1);
    }
}

impl Authorizer for Switch {
    fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
        match self.banned.lock().unwrap().contains(&peer.to_string()) {
            false => Ok(()),
            true => Err(Denial::expected("somebody who is not banned")),
        }
    }

    fn version(&self) -> u64 {
        *self.version.borrow()
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.version.subscribe())
    }
}

#[tokio::test]
async fn a_websocket_knows_its_peer_and_no_client_that_a_header_names() {
    for (door, protocol) in WAYS {
        let mut live = Live::start(door, HOUR).await;
        let web = live.ca.issue("/shop/web");
        let mut socket = live.open(&web, protocol, "/shop/ws").await.unwrap();
        let peer = "spiffe://example.org/shop/web";
        assert_eq!(live.next_done().await, format!("upgrade of {peer}"));
        assert_eq!(socket.hear().await.unwrap(), format!("{peer} false"));
        assert_eq!(socket.echo("ping").await.unwrap(), "ping");
        drop(socket);
        assert_eq!(live.next_done().await, format!("end of {peer}"));
    }
}

#[tokio::test]
async fn a_route_that_wants_another_peer_refuses_the_upgrade() {
    for (door, protocol) in WAYS {
        let mut live = Live::start(door, HOUR).await;
        let web = live.ca.issue("/web");
        let refused = live.open(&web, protocol, "/shop/ws").await.err();
        assert_eq!(
            refused,
            Some(StatusCode::FORBIDDEN),
            "{door:?} {protocol:?}"
        );
        assert!(live.done.try_recv().is_err(), "no handler ran");
    }
}

#[tokio::test]
async fn a_lost_peers_websocket_ends_by_the_deadline_and_anothers_goes_on() {
    let deadline = Duration::from_millis(300);
    for how in ["policy", "CA removed", "revoked"] {
        for (door, protocol) in WAYS {
            let mut live = Live::start(door, deadline).await;
            let lost = live.second.issue("/lost");
            let mut lost_socket = live.open(&lost, protocol, "/ws").await.unwrap();
            let good = live.ca.issue("/good");
            let mut good_socket = live.open(&good, protocol, "/ws").await.unwrap();
            for socket in [&mut lost_socket, &mut good_socket] {
                socket.hear().await.unwrap();
                assert_eq!(socket.echo("before").await.unwrap(), "before");
                live.next_done().await;
            }

            let since = Instant::now();
            let trust = match how {
                "policy" => {
                    live.policy.ban(LOST);
                    None
                }
                "CA removed" => Some(live.ca.trust_material()),
                _ => {
                    let lists = [
                        live.ca.crl().number(1).der(),
                        live.second.crl().number(1).revoke(&lost).der(),
                    ];
                    Some(both(&live.ca, &live.second).revoke(lists))
                }
            };
            if let Some(trust) = trust {
                live.publisher.publish_trust(trust).unwrap();
            }
            // Nobody says anything: what is idle ends all the same.
            let ended = lost_socket.hear().await;
            let (way, after) = (format!("{how}, {door:?}, {protocol:?}"), since.elapsed());
            assert_eq!(ended, None, "{way}");
            assert!(after >= deadline.mul_f64(0.9), "{way}: after {after:?}");
            assert!(after < WELL_AFTER, "{way}: after {after:?}");
            assert_eq!(live.next_done().await, format!("end of {LOST}"), "{way}");
            assert_eq!(lost_socket.echo("more").await, None, "{way}");
            assert_eq!(good_socket.echo("after").await.unwrap(), "after", "{way}");
            assert!(live.done.try_recv().is_err(), "{way}");
        }
    }
}

#[tokio::test]
async fn a_websocket_that_is_full_of_talk_ends_by_the_deadline_too() {
    for (door, protocol) in WAYS {
        let mut live = Live::start(door, Duration::from_millis(300)).await;
        let lost = live.ca.issue("/lost");
        let mut socket = live.open(&lost, protocol, "/ws").await.unwrap();
        socket.hear().await.unwrap();
        live.next_done().await;
        let since = Instant::now();
        live.policy.ban(LOST);
        while socket.echo("talk").await.is_some() {
            assert!(since.elapsed() < WELL_AFTER, "{door:?} {protocol:?}");
        }
        assert_eq!(live.next_done().await, format!("end of {LOST}"));
    }
}

#[tokio::test]
async fn a_lost_peer_opens_no_websocket_on_the_connection_that_it_has() {
    for door in [Door::Serve, Door::Listener] {
        let mut live = Live::start(door, HOUR).await;
        let lost = live.ca.issue("/lost");
        let http = live.http2(&lost).await;
        let uri = format!("https://{}/", live.addr).parse().unwrap();
        let connector = live.connector(&lost, "http/1.1");
        let mut http1 = within(connector.connect(&uri)).await.unwrap();
        http1.write_all(&plain_request("")).await.unwrap();
        let served = head(&mut http1).await;
        assert!(served.starts_with("HTTP/1.1 200"), "{served}");
        http1.read_exact(&mut [0; 5]).await.unwrap();

        live.policy.ban(LOST);
        let refused = live.connect(http, "/ws").await.err();
        assert_eq!(refused, Some(StatusCode::FORBIDDEN), "{door:?}");
        http1.write_all(UPGRADE).await.unwrap();
        let refused = head(&mut http1).await;
        assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
        assert!(refused.contains("connection: close"), "{refused}");
        assert!(live.done.try_recv().is_err(), "no handler ran");
    }
}

#[tokio::test]
async fn a_request_behind_an_upgrade_is_the_websockets_and_reaches_no_handler() {
    let smuggled = plain_request(&format!("x-smuggled: yes\r\n{XFCC}: {CLAIM}\r\n"));
    for door in [Door::Serve, Door::Listener] {
        for at_once in [true, false] {
            let mut live = Live::start(door, HOUR).await;
            let web = live.ca.issue("/web");
            let uri = format!("https://{}/", live.addr).parse().unwrap();
            let connector = live.connector(&web, "http/1.1");
            let mut stream = within(connector.connect(&uri)).await.unwrap();
            if at_once {
                stream
                    .write_all(&[UPGRADE, &smuggled].concat())
                    .await
                    .unwrap();
            } else {
                stream.write_all(UPGRADE).await.unwrap();
            }
            let switched = head(&mut stream).await;
            assert!(switched.starts_with("HTTP/1.1 101"), "{switched}");
            if !at_once {
                stream.write_all(&smuggled).await.unwrap();
            }
            let mut rest = Vec::new();
            let _ = within(stream.read_to_end(&mut rest)).await;
            let rest = String::from_utf8_lossy(&rest);
            assert!(!rest.contains("HTTP/1.1"), "{rest}");
            let peer = "spiffe://example.org/web";
            assert_eq!(live.next_done().await, format!("upgrade of {peer}"));
            assert_eq!(live.next_done().await, format!("end of {peer}"));
            assert!(live.done.try_recv().is_err());
        }
    }
}

#[tokio::test]
async fn a_request_behind_an_upgrade_that_was_declined_names_no_client_either() {
    for door in [Door::Serve, Door::Listener] {
        let live = Live::start(door, HOUR).await;
        let uri = format!("https://{}/", live.addr).parse().unwrap();
        let connector = live.connector(&live.ca.issue("/web"), "http/1.1");
        let mut stream = within(connector.connect(&uri)).await.unwrap();
        let declined = plain_request("connection: upgrade\r\nupgrade: websocket\r\n");
        let next = plain_request(&format!("connection: close\r\n{XFCC}: {CLAIM}\r\n"));
        stream.write_all(&[declined, next].concat()).await.unwrap();
        let mut answers = Vec::new();
        // hyper keeps an upgrade that was declined in mind, and closes such a connection without TLS's farewell.
        let _ = within(stream.read_to_end(&mut answers)).await;
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
        assert_eq!(answers.matches("\r\n\r\nfalse").count(), 2, "{answers}");
    }
}

#[tokio::test]
async fn at_shutdown_a_websocket_is_waited_for_over_http_2_and_is_its_handlers_over_http_1() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut live = Live::start(Door::Serve, HOUR).await;
        let web = live.ca.issue("/web");
        let mut socket = live.open(&web, protocol, "/ws").await.unwrap();
        socket.hear().await.unwrap();
        live.next_done().await;
        live.stop.send(()).unwrap();
        if protocol == Protocol::Http1 {
            within(&mut live.serving).await.unwrap().unwrap();
        } else {
            // Well after what a connection has for its first request.
            let ended = timeout(Duration::from_secs(2), &mut live.serving).await;
            assert!(ended.is_err(), "{ended:?}");
        }
        assert_eq!(socket.echo("still").await.unwrap(), "still");
        drop(socket);
        if protocol == Protocol::Http2 {
            within(live.serving).await.unwrap().unwrap();
        }
    }
}

fn plain_request(headers: &str) -> Vec<u8> {
    format!("GET /plain HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").into_bytes()
}

/// The head of a response, and nothing after it.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

const LOST: &str = "spiffe://example.org/lost";

const XFCC: &str = "x-forwarded-client-cert";
const CLAIM: &str = "URI=spiffe://example.org/admin";

const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const HOUR: Duration = Duration::from_secs(3600);

/// Far from a deadline of 300 ms, on any machine that runs tests, and as far from the default of 10 s.
const WELL_AFTER: Duration = Duration::from_secs(5);
