//! The process of the clients: as many connections as it is told to, each with one request behind it, then idle.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use benches::ends::Setting;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mtls_core::rustls::crypto::aws_lc_rs::default_provider;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use mtls_core::rustls::{ClientConfig, RootCertStore, version};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The argument that makes this program the clients; after it the server's address, the directory of credentials, the
/// protocol, the number of peers and that of connections.
pub(crate) const FLAG: &str = "--clients";

/// What it says when its connections are idle.
pub(crate) const READY: &str = "ready";

/// A directory with credentials of some clients.
pub(crate) struct Credentials(tempfile::TempDir);

impl Credentials {
    pub(crate) fn write(setting: &Setting, peers: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for peer in 0..peers {
            let issued = setting.issue(&format!("/web/{peer}"));
            let file = |end| dir.path().join(format!("{peer}.{end}"));
            fs::write(file("chain"), issued.chain_pem()).unwrap();
            fs::write(file("key"), issued.key_pem()).unwrap();
            fs::write(dir.path().join("root"), issued.bundle_pem()).unwrap();
        }
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

pub(crate) fn run(arguments: &[String]) {
    let [addr, dir, protocol, peers, connections] = arguments else {
        return;
    };
    let (peers, connections): (usize, usize) =
        (peers.parse().unwrap(), connections.parse().unwrap());
    let configs: Vec<_> = (0..peers)
        .map(|peer| config(Path::new(dir), peer, protocol))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut open = Vec::new();
    for count in [peers, connections] {
        for n in 0..count {
            let config = Arc::clone(&configs[n % peers]);
            open.push(runtime.block_on(connect(addr, config, protocol)));
        }
        println!("{READY}");
        // What is left to be read is: window updates and the like.
        io::stdin().lock().read_line(&mut String::new()).unwrap();
    }
}

fn config(dir: &Path, peer: usize, protocol: &str) -> Arc<ClientConfig> {
    let file = |end| dir.join(format!("{peer}.{end}"));
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(dir.join("root")).unwrap())
        .unwrap();
    let chain = CertificateDer::pem_file_iter(file("chain")).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            chain.map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_file(file("key")).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    // Each connection is a full handshake.
    config.resumption = mtls_core::rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// What keeps a connection open.
enum Open {
    Http1(#[expect(dead_code, reason = "held")] http1::SendRequest<Empty<Bytes>>),
    Http2(#[expect(dead_code, reason = "held")] http2::SendRequest<Empty<Bytes>>),
}

async fn connect(addr: &str, config: Arc<ClientConfig>, protocol: &str) -> Open {
    let tcp = TcpStream::connect(addr).await.unwrap();
    // Else each request waits for the acknowledgement of the handshake.
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = TlsConnector::from(config).connect(name, tcp).await.unwrap();
    let io = TokioIo::new(tls);
    let request = Request::get("https://localhost/").header("host", "localhost");
    let request = request.body(Empty::new()).unwrap();
    if protocol == "h2" {
        let (mut send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let response = send.send_request(request).await.unwrap();
        response.into_body().collect().await.unwrap();
        Open::Http2(send)
    } else {
        let (mut send, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let response = send.send_request(request).await.unwrap();
        response.into_body().collect().await.unwrap();
        Open::Http1(send)
    }
}
