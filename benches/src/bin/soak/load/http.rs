//! Callers over HTTP: hyper-util's client, connections made by hand, and reqwest's client.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mtls_core::{ClientTls, PeerInfo};
use mtls_reqwest::ResponseExt;
use mtls_tower::{Connector, Retire, RetireLayer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt};

use super::{Answer, BoxError, told};

pub type Pool = Retire<Client<Connector, Empty<Bytes>>>;

/// A pool that speaks this protocol alone.
pub fn pool(tls: &ClientTls, protocol: &str) -> Pool {
    let client = Client::builder(TokioExecutor::new())
        .http2_only(protocol == "h2")
        .build(Connector::new(tls.with_alpn([protocol])));
    RetireLayer::new().layer(client)
}

pub async fn ask(client: &Pool, url: &str) -> Result<Answer, BoxError> {
    let request = Request::get(url).body(Empty::new())?;
    let answer = client.clone().oneshot(request).await?;
    let server = answer.extensions().get::<PeerInfo>();
    let server = server.map(told).ok_or("an answer from nobody")?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    text(status.as_u16(), &body).map(|who| Answer::from(Some(server), &who))
}

pub async fn ask_at_once(client: &Pool, url: String) -> Result<Vec<Answer>, BoxError> {
    let mut requests = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, url) = (client.clone(), url.clone());
        requests.spawn(async move { ask(&client, &url).await });
    }
    all(requests).await
}

/// A connection, a request by hand, and the end.
pub async fn connect_and_ask(tls: &ClientTls, addr: SocketAddr) -> Result<Answer, BoxError> {
    let connector = Connector::new(tls.with_alpn(["http/1.1"]));
    let url = format!("https://localhost:{}/who", addr.port()).parse()?;
    let mut stream = connector.connect(&url).await?;
    let request = b"GET /who HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(head.into());
    }
    Ok(Answer::from(Some(told(stream.peer())), body))
}

pub async fn get(client: &mtls_reqwest::Client, url: String) -> Result<Answer, BoxError> {
    let answer = client.get(url).send().await?;
    let server = answer.peer_identity();
    let server = server.map(|identity| format!("{identity} {}", identity.serial()));
    let server = server.ok_or("an answer from nobody")?;
    let status = answer.status().as_u16();
    text(status, &answer.bytes().await?).map(|who| Answer::from(Some(server), &who))
}

pub async fn get_at_once(
    client: &mtls_reqwest::Client,
    url: String,
) -> Result<Vec<Answer>, BoxError> {
    let mut requests = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, url) = (client.clone(), url.clone());
        requests.spawn(async move { get(&client, url).await });
    }
    all(requests).await
}

async fn all(requests: JoinSet<Result<Answer, BoxError>>) -> Result<Vec<Answer>, BoxError> {
    requests.join_all().await.into_iter().collect()
}

fn text(status: u16, body: &[u8]) -> Result<String, BoxError> {
    let text = String::from_utf8_lossy(body).into_owned();
    match status {
        200 => Ok(text),
        _ => Err(format!("{status}: {text}").into()),
    }
}

const AT_ONCE: usize = 4;
