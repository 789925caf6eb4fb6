//! One request by hyper's own connection, and all that is told when there is no answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

use crate::cell::Protocol;
use crate::clients::{Answer, Dial, Refused, body, judge, request};

/// What hyper says of a connection that ended under a request, in both places where it does: one has what the other lacks.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    request: Option<hyper::Error>,
    connection: Option<hyper::Error>,
}

impl Broken {
    /// What has the alert, or else what there is.
    pub(crate) fn judge(&self) -> Answer {
        let errors = [&self.request, &self.connection].into_iter().flatten();
        let mut answers: Vec<_> = errors.map(|error| judge(error)).collect();
        let has_alert =
            |answer: &Answer| matches!(answer, Answer::Refused(told) if told.alert.is_some());
        let best = answers.iter().position(has_alert).unwrap_or_default();
        if answers.is_empty() {
            let error = "the connection ended without an error".to_owned();
            return Answer::Refused(Refused {
                alert: None,
                error,
                status: None,
            });
        }
        answers.swap_remove(best)
    }
}

impl From<hyper::Error> for Broken {
    fn from(error: hyper::Error) -> Self {
        let request = Some(error);
        Self {
            request,
            ..Self::default()
        }
    }
}

/// One request by hyper's connection, which needs a task of its own.
pub(crate) async fn converse<IO>(io: IO, dial: &Dial<'_>) -> Result<String, Broken>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(io);
    let mut request = request(dial);
    if dial.protocol == Protocol::H1 {
        *request.uri_mut() = Uri::from_static("/");
        let host = dial.addr.to_string().parse().unwrap();
        request.headers_mut().insert(header::HOST, host);
        let (mut sender, connection) = http1::handshake(io).await?;
        let connection = tokio::spawn(connection);
        return answered(sender.send_request(request), connection, dial).await;
    }
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    let connection = tokio::spawn(connection);
    answered(sender.send_request(request), connection, dial).await
}

/// The answer, or the end of the connection: a request that came to it in that very moment can be left over there.
async fn answered(
    answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
    mut connection: JoinHandle<hyper::Result<()>>,
    dial: &Dial<'_>,
) -> Result<String, Broken> {
    let request = tokio::select! {
        biased;
        answer = answer => match answer {
            Ok(answer) => return Ok(body(answer, dial.protocol).await),
            Err(error) => Some(error),
        },
        ended = &mut connection => {
            let connection = ended.unwrap().err();
            return Err(Broken { request: None, connection });
        }
    };
    let connection = connection.await.unwrap().err();
    Err(Broken {
        request,
        connection,
    })
}

/// One request by hyper's connection on a stream of our own. What the stream was told is returned, whatever became of it
/// above.
pub(crate) async fn ask_and_listen(
    stream: TlsStream<TcpStream>,
    dial: &Dial<'_>,
) -> io::Result<String> {
    let heard = Arc::default();
    let stream = Listening {
        stream,
        heard: Arc::clone(&heard),
    };
    let broken = match converse(stream, dial).await {
        Ok(caller) => return Ok(caller),
        Err(broken) => broken,
    };
    let heard = heard.lock().unwrap().take();
    Err(heard.unwrap_or_else(|| io::Error::other(format!("{broken:?}"))))
}

/// Keeps the first error of reading.
#[derive(Debug)]
struct Listening {
    stream: TlsStream<TcpStream>,
    heard: Arc<Mutex<Option<io::Error>>>,
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        polled.map_err(|error| {
            let kind = error.kind();
            self.heard.lock().unwrap().get_or_insert(error);
            kind.into()
        })
    }
}

impl AsyncWrite for Listening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
