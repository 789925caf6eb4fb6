//! An answer in the place of the service's own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;

/// How a request is refused: over plain HTTP, and in gRPC's form.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The status code of gRPC, in digits as it travels.
    pub(crate) grpc_status: &'static str,
    /// What gRPC tells the peer: no more than the status does.
    pub(crate) message: &'static str,
}

impl Refusal {
    /// The response to this request.
    pub(crate) fn of<ReqBody, ResBody: Default>(
        &self,
        request: &Request<ReqBody>,
    ) -> Response<ResBody> {
        let mut response = Response::new(ResBody::default());
        // gRPC reads its status from trailers, or from the headers of a response without a body; the HTTP status is 200
        // either way.
        if is_grpc(request) {
            let headers = response.headers_mut();
            let content_type = HeaderValue::from_static("application/grpc");
            headers.insert(CONTENT_TYPE, content_type);
            headers.insert("grpc-status", HeaderValue::from_static(self.grpc_status));
            headers.insert("grpc-message", HeaderValue::from_static(self.message));
        } else {
            *response.status_mut() = self.status;
        }
        response
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

pin_project! {
    /// The future of a service that may refuse a request, and else hands it on.
    #[derive(Debug)]
    pub struct ResponseFuture<F, ResBody> {
        #[pin]
        kind: Kind<F, ResBody>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProj]
    enum Kind<F, ResBody> {
        Inner { #[pin] future: F },
        Refused { response: Option<Response<ResBody>> },
    }
}

impl<F, ResBody> ResponseFuture<F, ResBody> {
    pub(crate) fn inner(future: F) -> Self {
        let kind = Kind::Inner { future };
        Self { kind }
    }

    pub(crate) fn refused(response: Response<ResBody>) -> Self {
        let response = Some(response);
        let kind = Kind::Refused { response };
        Self { kind }
    }
}

impl<F, ResBody, E> Future for ResponseFuture<F, ResBody>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = Result<Response<ResBody>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { future } => Poll::Ready(ready!(future.poll(cx))),
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
