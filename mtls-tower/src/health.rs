//! Probes of a kubelet, which has no certificate: a plaintext port that serves nothing else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::{self, Write};
use std::future::{Future, IntoFuture, Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mtls_core::{CredentialSource, Health, Part, Status, Timestamp};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::{debug, warn};

/// Answers the probes of a kubelet by plaintext HTTP/1.1, on a port of its own: it knows no router, and reaches nothing else.
///
/// | path | says 200 | says 503 |
/// |---|---|---|
/// | `/livez`, `/healthz` | always: a new process would find the same certificates | never |
/// | `/readyz` | while a new handshake can succeed | our chain has expired, or will within [`Probes::ready_margin`]; or no trust anchor is valid |
///
/// GET and HEAD are answered there, everything else is 404, and no body is read. With `?verbose` the answer has a line for each
/// thing that was looked at, as `kubectl get --raw '/readyz?verbose'` prints them; it names no file, identity or date, since anybody who reaches
/// the port may ask. What is worth a warning and no reason to take traffic away (a renewal that is late, a list that is stale) is
/// `[+]` with a word.
///
/// A connection is good for one request within 5 s, with 8 KiB of head; of 64 connections the oldest gives way to a new one.
/// Bind it where probes come from and clients do not: it tells whoever asks whether this instance is ready.
///
/// What it answers is [`Probes`], which a router of your own can answer too. A service that is a server by one source and a client
/// by another has both in it: `Probes::of(&server).and(&client)`.
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
pub fn health(listener: TcpListener, probes: impl Into<Probes>) -> HealthServer {
    HealthServer {
        listener,
        probes: probes.into(),
    }
}

/// The answers to a kubelet's probes about a source or several, as [`health`] gives them: a tower service, for whoever has a
/// plaintext port of their own for metrics and the like. `mtls_axum::probes` makes routes of it.
///
/// Liveness never depends on certificates: a new process would find the same ones. A renewal that is late, a list that is stale or
/// files that do not hold are a word in the verbose answer, and no reason to take traffic away.
#[derive(Debug, Clone)]
pub struct Probes {
    /// At least one.
    sources: Vec<CredentialSource>,
    ready_margin: Duration,
}

impl Probes {
    /// About this source, with no margin.
    #[must_use]
    pub fn of(source: &CredentialSource) -> Self {
        Self {
            sources: vec![source.clone()],
            ready_margin: Duration::ZERO,
        }
    }

    /// About this source as well: ready is who is ready by each. With several the verbose answer has lines for each of them,
    /// under its name (`[+]orders/credentials ok`): give it one by `SourceBuilder::name`. Of equal names the second is
    /// `default-2`.
    ///
    /// Whatever a service cannot do without belongs here. What it could do without, such as a client for a log, would take
    /// it out of traffic for nothing.
    ///
    /// ```no_run
    /// # async fn run(listener: tokio::net::TcpListener, server: mtls_core::CredentialSource, client: mtls_core::CredentialSource) {
    /// use mtls_tower::{Probes, health};
    ///
    /// health(listener, Probes::of(&server).and(&client)).await;
    /// # }
    /// ```
    #[must_use]
    pub fn and(mut self, source: &CredentialSource) -> Self {
        self.sources.push(source.clone());
        self
    }

    /// How long before the end of our own chain, of any source, `/readyz` begins to say no, so that traffic has left when peers
    /// begin to refuse us. Default: zero, which is when a new handshake can no longer succeed.
    ///
    /// Where all instances have one certificate they all say so at the same moment: no margin then makes an outage later, and
    /// any makes it begin sooner.
    #[must_use]
    pub fn ready_margin(mut self, margin: Duration) -> Self {
        self.ready_margin = margin;
        self
    }

    /// The answer to a request: to `/livez`, `/readyz` and `/healthz` by GET and HEAD, and 404 to all else.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<String> {
        let asks = [Method::GET, Method::HEAD].contains(request.method());
        let now = Timestamp::now();
        let (name, looks) = match request.uri().path() {
            "/livez" if asks => ("livez", Vec::new()),
            "/healthz" if asks => ("healthz", Vec::new()),
            "/readyz" if asks => ("readyz", self.looks(now)),
            _ => {
                let mut response = Response::new(String::new());
                *response.status_mut() = StatusCode::NOT_FOUND;
                return response;
            }
        };
        let failed = looks.iter().any(|look| look.fault.is_some());
        let verbose = request.uri().query().is_some_and(|query| {
            let mut options = query.split('&');
            options.any(|option| option.split('=').next() == Some("verbose"))
        });
        let mut body = String::new();
        if verbose || failed {
            body.push_str("[+]ping ok\n");
            for look in &looks {
                look.write(&mut body, now);
            }
            let outcome = if failed { "failed" } else { "passed" };
            // A String takes whatever is written.
            let _ = writeln!(body, "{name} check {outcome}");
        } else {
            body.push_str("ok");
        }
        let mut response = Response::new(body);
        if failed {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// At each source, and what it is called in the answer: nothing, if it is the only one.
    fn looks(&self, now: Timestamp) -> Vec<Look> {
        let several = self.sources.len() > 1;
        let mut looks: Vec<Look> = Vec::new();
        for source in &self.sources {
            let status = source.status();
            let namesakes = looks.iter().filter(|look| look.status.name == status.name);
            let prefix = match (several, namesakes.count()) {
                (false, _) => String::new(),
                (true, 0) => format!("{}/", status.name),
                (true, before) => format!("{}-{}/", status.name, before + 1),
            };
            let fault = self.fault(&status, now);
            looks.push(Look {
                prefix,
                status,
                fault,
            });
        }
        looks
    }

    /// Why it is not ready, in a word.
    fn fault(&self, status: &Status, now: Timestamp) -> Option<&'static str> {
        if status.health == Health::Expired {
            return Some("expired");
        }
        let own = status.expiries.iter().filter(|it| it.part != Part::Anchor);
        let end = own.map(|it| it.validity.not_after).min()?;
        let ends_soon = end.saturating_since(now) < self.ready_margin;
        ends_soon.then_some("about to expire")
    }
}

impl From<&CredentialSource> for Probes {
    fn from(source: &CredentialSource) -> Self {
        Self::of(source)
    }
}

impl<B> Service<Request<B>> for Probes {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(&request)))
    }
}

/// A server of probes, ready to run: `.await` it. Made by [`health`].
#[must_use = "a server runs when it is awaited"]
pub struct HealthServer {
    listener: TcpListener,
    probes: Probes,
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
                        let probes = self.probes.clone();
                        oldest_first.push_back(connections.spawn(answer(tcp, probes)));
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

async fn answer(tcp: TcpStream, probes: Probes) {
    let service = service_fn(move |request: Request<Incoming>| {
        ready(Ok::<_, Infallible>(probes.answer(&request)))
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

/// What was seen of a source.
struct Look {
    /// What its lines begin with.
    prefix: String,
    status: Status,
    /// Why it is not ready.
    fault: Option<&'static str>,
}

impl Look {
    /// In the form of Kubernetes' own components.
    fn write(&self, body: &mut String, now: Timestamp) {
        let status = &self.status;
        let credentials = match self.fault {
            Some(fault) => ('-', fault),
            None if status.late_renewal.is_some() => ('+', "due for renewal"),
            None => ('+', "ok"),
        };
        let source = match status.last_error {
            Some(_) => "stuck",
            None => "ok",
        };
        let mut lists = status.revocation_lists.iter();
        let lists = match (lists.len(), lists.any(|list| list.is_stale(now))) {
            (0, _) => None,
            (_, true) => Some("stale"),
            (_, false) => Some("ok"),
        };
        let lines = [
            Some(("credentials", credentials)),
            Some(("source", ('+', source))),
            lists.map(|word| ("crl", ('+', word))),
        ];
        for (what, (sign, word)) in lines.into_iter().flatten() {
            let _ = writeln!(body, "[{sign}]{}{what} {word}", self.prefix);
        }
    }
}

/// A kubelet has one probe of each kind in flight.
const CONNECTIONS: usize = 64;

/// Of a connection. A probe's timeout is one second by default.
const LIFETIME: Duration = Duration::from_secs(5);

/// The least that hyper takes.
const HEAD: usize = 8 * 1024;

const BACK_OFF: Duration = Duration::from_millis(50);
