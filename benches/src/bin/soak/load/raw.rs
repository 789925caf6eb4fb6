//! Callers without HTTP: a line, and a line in answer.

use std::net::SocketAddr;

use mtls_core::ClientTls;
use mtls_tower::{ClientStream, Connector};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::{Answer, BoxError, told};

/// A connection that is kept until our credentials are others.
pub struct Kept {
    connector: Connector,
    url: http::Uri,
    stream: Mutex<Option<BufStream<ClientStream<TcpStream>>>>,
}

impl Kept {
    pub fn new(tls: &ClientTls, addr: SocketAddr) -> Self {
        let url = format!("https://localhost:{}", addr.port());
        Self {
            connector: Connector::new(tls.clone()),
            url: url.parse().unwrap(),
            stream: Mutex::new(None),
        }
    }

    pub async fn ask(&self) -> Result<Answer, BoxError> {
        let mut kept = self.stream.lock().await;
        let current = kept
            .take()
            .filter(|it| !it.get_ref().peer().is_superseded());
        let mut stream = match current {
            Some(stream) => stream,
            None => BufStream::new(self.connector.connect(&self.url).await?),
        };
        stream.write_all(b"who?\n").await?;
        stream.flush().await?;
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err("the server has closed".into());
        }
        let answer = Answer::from(Some(told(stream.get_ref().peer())), &line);
        *kept = Some(stream);
        Ok(answer)
    }
}
