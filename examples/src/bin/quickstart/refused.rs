//! Two who are refused, and what each side learns.

use std::time::Duration;

use mtls_core::testing::{LeafOptions, TestCa};
use mtls_core::{Chained, ClientTls, CredentialSource, Health, OwnChain, ServerTls};
use mtls_reqwest::{Client, explain};
use mtls_tower::Acceptor;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::Fallible;

/// A stranger, and a caller whose certificate has run out, try to connect.
pub(crate) async fn show(ca: &TestCa, server: &ServerTls) -> Fallible<()> {
    let stranger = TestCa::new("example.org").issue("/ns/shop/sa/web");
    let (_publisher, source) = CredentialSource::builder()
        .own_chain(OwnChain::FromAnotherPki)
        .publish(stranger.material(), ca.trust_material())?;
    let who = "A stranger, whose own CA wrote our caller's name into its leaf";
    attempt(who, &client(&source)?, server).await?;

    let brief = LeafOptions::service("/ns/shop/sa/web").expires_in(Duration::from_secs(1));
    let source = ca.source(&ca.issue_with(brief));
    let client = client(&source)?;
    while source.status().health != Health::Expired {
        sleep(Duration::from_millis(100)).await;
    }
    attempt(
        "Our caller, with a certificate that nobody renewed",
        &client,
        server,
    )
    .await
}

async fn attempt(who: &str, client: &Client, server: &ServerTls) -> Fallible<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://localhost:{}/whoami", listener.local_addr()?.port());
    let acceptor = Acceptor::new(server.clone());
    let accepting = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await?;
        Ok::<_, std::io::Error>(acceptor.accept(tcp).await.map(drop))
    });
    let told = call(client, &url).await?;
    let Err(refused) = accepting.await?? else {
        return Err("it was let in".into());
    };
    println!("{who}, is refused: {}", refused.reason());
    println!("  the server learns   {}", Chained(&refused));
    println!("  what to do          {}", refused.remedy());
    println!("  the client learns   {told}\n");
    Ok(())
}

/// Over HTTP/1.1: over HTTP/2 the alert is now and then lost inside hyper, and there would be less to tell.
fn client(source: &CredentialSource) -> Fallible<Client> {
    let tls = ClientTls::builder(source).verify_server_name().build()?;
    Ok(Client::builder(tls).http1_only().build()?)
}

async fn call(client: &Client, url: &str) -> Fallible<String> {
    match client.get(url).send().await {
        Ok(response) => Err(format!("it was answered: {}", response.status()).into()),
        Err(error) => Ok(explain(&error).to_string()),
    }
}
