//! Below `reqwest-middleware`.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Server, client, credentials};
use http::Extensions;
use mtls_core::testing::TestCa;
use mtls_reqwest::{Client, ResponseExt, Retry, explain};
use reqwest::{Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next, Result};

/// The last of a stack: sends by the client that rotates.
struct SendBy(Client);

#[async_trait::async_trait]
impl Middleware for SendBy {
    async fn handle(&self, request: Request, _: &mut Extensions, _: Next<'_>) -> Result<Response> {
        Ok(self.0.execute(request).await?)
    }
}

/// Any other of the stack.
struct Count(Arc<AtomicUsize>);

#[async_trait::async_trait]
impl Middleware for Count {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        self.0.fetch_add(1, Ordering::Relaxed);
        next.run(request, extensions).await
    }
}

async fn presented(stack: &ClientWithMiddleware, server: &Server) -> String {
    let response = stack.get(server.url("/")).send().await.unwrap();
    response.text().await.unwrap()
}

#[tokio::test]
async fn a_stack_presents_the_new_credentials_and_knows_the_server() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (publisher, http) = client(&ca);
    let counted = Arc::new(AtomicUsize::new(0));
    let stack = ClientBuilder::new(http.placeholder().unwrap())
        .with(Count(Arc::clone(&counted)))
        .with(SendBy(http))
        .build();
    let before = presented(&stack, &server).await;
    let renewed = ca.issue("/web");
    publisher
        .publish_credentials(credentials(&renewed))
        .unwrap();
    assert_eq!(presented(&stack, &server).await, renewed.serial());
    assert_ne!(before, renewed.serial());
    let response = stack.get(server.url("/")).send().await.unwrap();
    assert!(response.peer_identity().is_some());
    assert_eq!(counted.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_stack_that_owns_the_current_client_stays_with_the_old_credentials() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (publisher, http) = client(&ca);
    let naive = ClientBuilder::new(http.current().unwrap()).build();
    let before = presented(&naive, &server).await;
    publisher
        .publish_credentials(credentials(&ca.issue("/web")))
        .unwrap();
    assert_eq!(presented(&naive, &server).await, before);
}

#[tokio::test]
async fn what_passes_by_the_client_is_sent_by_nobody() {
    let ca = TestCa::new("example.org");
    let mut server = Server::start(&ca).await;
    let (_publisher, http) = client(&ca);
    let stack = ClientBuilder::new(http.placeholder().unwrap()).build();
    let error = stack.get(server.url("/")).send().await.unwrap_err();
    let Error::Reqwest(error) = error else {
        panic!("{error}");
    };
    let refused = explain(&error);
    assert!(error.is_connect() && format!("{error:?}").contains("UnknownIssuer"));
    assert_eq!(refused.retry(), Retry::No);
    let plain = server.url("/").replace("https", "http");
    assert!(stack.get(plain).send().await.is_err());
    assert!(server.events.try_recv().is_err(), "no request arrived");
}
