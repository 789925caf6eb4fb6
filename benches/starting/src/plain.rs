//! axum, without TLS.

use std::io;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let app = Router::new().route("/", get(|| async { "hello" }));
    axum::serve(TcpListener::bind("127.0.0.1:8080").await?, app).await
}
