//! One connection without a request: what reqwest forgets of a refusal is asked for again.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mtls_core::rustls::ProtocolVersion;
use mtls_core::rustls::client::Resumption;
use mtls_core::rustls::pki_types::ServerName;
use mtls_core::{ClientTls, PeerIdentity};
use reqwest::Url;
use tokio::io::AsyncBufRead;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::builder::CONNECT_TIMEOUT;
use crate::explain::Explanation;

/// Connects to the server of `url` and waits for its word.
pub(crate) async fn dial(tls: &ClientTls, url: &Url) -> Result<PeerIdentity, Explanation> {
    let host = url.host_str().filter(|_| url.scheme() == "https");
    let host = host.unwrap_or_default();
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| no_target(url))?;
    let port = url.port_or_known_default().ok_or_else(|| no_target(url))?;

    let handshake = tls.handshake();
    let mut config = (*handshake.config()).clone();
    // As reqwest connects: what a session of before stands for is not the question.
    config.resumption = Resumption::disabled();
    let connecting = async {
        let tcp = TcpStream::connect((host, port)).await;
        let tcp = tcp.map_err(|error| Explanation::Network {
            cause: error.to_string(),
        })?;
        TlsConnector::from(Arc::new(config))
            .connect(name.clone(), tcp)
            .await
            .map_err(|error| Explanation::from_handshake(handshake.explain(&error)))
    };
    let connected = timeout(CONNECT_TIMEOUT, connecting).await;
    let mut stream = connected.map_err(|_| Explanation::Timeout)??;
    let server = handshake
        .established(stream.get_ref().1, &name)
        .map_err(Explanation::from_handshake)?;
    // Who says nothing within the time has accepted us, as far as anybody knows.
    match timeout(CONFIRM_TIMEOUT, confirm(&mut stream)).await {
        Ok(Err(error)) => Err(Explanation::from_handshake(handshake.explain(&error))),
        Ok(Ok(())) | Err(_) => Ok(server.identity().clone()),
    }
}

/// Without the URL itself, in which there may be a password.
fn no_target(url: &Url) -> Explanation {
    Explanation::Setup {
        cause: format!(
            "the URL's scheme is {} and its host {}",
            url.scheme(),
            url.host_str().unwrap_or("missing")
        ),
    }
}

/// Waits for a session ticket or for data, which a server of TLS 1.3 sends when it has accepted us, or for its alert.
async fn confirm(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    if stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
        return Ok(());
    }
    poll_fn(|cx| {
        let ended = Pin::new(&mut *stream)
            .poll_fill_buf(cx)
            .map_ok(<[u8]>::is_empty);
        match ended {
            Poll::Ready(Ok(true)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(false)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if stream.get_ref().1.tls13_tickets_received() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// As long as `mtls_tower::Connector` waits.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);
