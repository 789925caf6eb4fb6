//! Probes of a kubelet, which has no certificate: a plaintext port that serves nothing else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::{self, Write};
use std::future::{Future, IntoFuture, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mtls_core::{CredentialSource, Health, Status, Timestamp};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// Answers the probes of a kubelet by plaintext HTTP/1.1, on a port of its own: it knows no router, and reaches nothing else.
///
/// | path | says 200 | says 503 |
/// |---|---|---|
/// | `/livez`, `/healthz` | always: a new process would find the same certificates | never |
/// | `/readyz` | while a new handshake can succeed | our chain has expired, or no trust anchor is valid |
///
/// GET and HEAD are answered there, everything else is 404, and no body is read. With `?verbose` the answer has a line for each
/// thing that was looked at, as `kubectl get --raw '/readyz?verbose'` prints them; it names no file, identity or date, since anybody who reaches
/// the port may ask. What is worth a warning and no reason to take traffic away (a renewal that is late, a list that is stale) is
/// `[+]` with a word.
///
/// A connection is good for one request within 5 s, with 8 KiB of head; of 64 connections the oldest gives way to a new one.
/// Bind it where probes come from and clients do not: it tells whoever asks whether this instance is ready.
///
/// `.await` it, beside the server; it ends when it is dropped.
///
/// ```no_run
/// # async fn run(source: mtls_core::CredentialSource) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:8081").await?;
/// tokio::spawn(mtls_tower::health(listener, &source).into_future());
/// # Ok(())
/// # }
/// # use std::future::IntoFuture;
/// ```
pub fn health(listener: TcpListener, source: &CredentialSource) -> HealthServer {
    HealthServer {
        listener,
        source: source.clone(),
    }
}

/// A server of probes, ready to run: `.await` it. Made by [`health`].
#[must_use = "a server runs when it is awaited"]
pub struct HealthServer {
    listener: TcpListener,
    source: CredentialSource,
}

impl HealthServer {
    /// The address that it listens at.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    async fn run(self) -> Infallible {
        // INVARIANT: every connection's task is in here, so that dropping the server ends them all.
        let mut connections = JoinSet::new();
        let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((tcp, _)) => {
                        oldest_first.retain(|task| !task.is_finished());
                        // Whoever holds connections open keeps no probe out: a kubelet that is not answered restarts us.
                        if oldest_first.len() >= CONNECTIONS
                            && let Some(oldest) = oldest_first.pop_front()
                        {
                            oldest.abort();
                        }
                        let source = self.source.clone();
                        oldest_first.push_back(connections.spawn(answer(tcp, source)));
                    }
                    Err(error) => {
                        warn!(%error, "cannot accept probes; retrying");
                        sleep(BACK_OFF).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

impl IntoFuture for HealthServer {
    type Output = Infallible;
    type IntoFuture = Pin<Box<dyn Future<Output = Infallible> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for HealthServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthServer")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

async fn answer(tcp: TcpStream, source: CredentialSource) {
    let service = service_fn(move |request: Request<Incoming>| {
        ready(Ok::<_, Infallible>(respond(&request, &source)))
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIFETIME)
        .keep_alive(false)
        .max_buf_size(HEAD)
        .max_headers(64)
        .serve_connection(TokioIo::new(tcp), service);
    // No upgrades, and no more time than that for whatever it does.
    match timeout(LIFETIME, http).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "probe ended"),
        Err(_) => debug!("a probe was not done in time"),
    }
}

fn respond<B>(request: &Request<B>, source: &CredentialSource) -> Response<String> {
    let asks = [Method::GET, Method::HEAD].contains(request.method());
    let (name, checked) = match request.uri().path() {
        "/livez" if asks => ("livez", None),
        "/healthz" if asks => ("healthz", None),
        "/readyz" if asks => ("readyz", Some(source.status())),
        _ => {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
    };
    let is_ready = checked
        .as_ref()
        .is_none_or(|status| status.health != Health::Expired);
    let verbose = request.uri().query().is_some_and(|query| {
        let mut options = query.split('&');
        options.any(|option| option.split('=').next() == Some("verbose"))
    });
    let mut body = String::new();
    if verbose || !is_ready {
        lines(&mut body, name, checked.as_ref(), is_ready);
    } else {
        body.push_str("ok");
    }
    let mut response = Response::new(body);
    if !is_ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// In the form of Kubernetes' own components.
fn lines(body: &mut String, name: &str, checked: Option<&Status>, is_ready: bool) {
    body.push_str("[+]ping ok\n");
    if let Some(status) = checked {
        let now = Timestamp::now();
        let credentials = match status.health {
            Health::Expired => "[-]credentials expired",
            Health::Healthy | Health::Degraded if status.late_renewal.is_some() => {
                "[+]credentials due for renewal"
            }
            Health::Healthy | Health::Degraded => "[+]credentials ok",
        };
        let source = match status.last_error {
            Some(_) => "[+]source stuck",
            None => "[+]source ok",
        };
        let mut lists = status.revocation_lists.iter();
        let lists = match (lists.len(), lists.any(|list| list.is_stale(now))) {
            (0, _) => None,
            (_, true) => Some("[+]crl stale"),
            (_, false) => Some("[+]crl ok"),
        };
        for line in [Some(credentials), Some(source), lists]
            .into_iter()
            .flatten()
        {
            body.push_str(line);
            body.push('\n');
        }
    }
    let outcome = if is_ready { "passed" } else { "failed" };
    // A String takes whatever is written.
    let _ = writeln!(body, "{name} check {outcome}");
}

/// A kubelet has one probe of each kind in flight.
const CONNECTIONS: usize = 64;

/// Of a connection. A probe's timeout is one second by default.
const LIFETIME: Duration = Duration::from_secs(5);

/// The least that hyper takes.
const HEAD: usize = 8 * 1024;

const BACK_OFF: Duration = Duration::from_millis(50);
