//! Our client dials servers that we did not write: what has to hold of each of them.

use std::net::TcpListener;

use axum::http::Uri;
use mtls_core::{ClientTls, CredentialFiles, CredentialSource};
use mtls_reqwest::{Client, ResponseExt};
use mtls_tower::Connector;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::openssl_server::assert_explained;
use crate::pki::{Ca, Issued, Leaf};
use crate::process::Process;
use crate::rotation::Mount;
use crate::tools::{LIMIT, Said, run};

/// A server of somebody else's, which wants a client certificate and answers with a page that tells of it.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) process: Process,
    pub(crate) port: String,
    /// What it reads and writes.
    dir: Option<TempDir>,
}

impl Serving {
    pub(crate) fn new(process: Process, port: String) -> Self {
        let dir = None;
        Self { process, port, dir }
    }

    pub(crate) fn with_dir(mut self, dir: TempDir) -> Self {
        self.dir = Some(dir);
        self
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/", self.port)
    }
}

/// A port that was free a moment ago, for a server that has to be told one. Whoever uses it tries again if it is taken.
pub(crate) fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// Our client, as a process, gets the page of a server.
async fn get(server: &Serving, ca: &Ca, client: &Issued, flags: &[&str]) -> Said {
    let dir = TempDir::new().unwrap();
    client.lay_out(ca, dir.path());
    let url = server.url();
    let arguments = [&[dir.path().to_str().unwrap(), &url], flags].concat();
    let program = env!("CARGO_BIN_EXE_reqwest_client");
    run(program, arguments, dir.path(), "").await
}

const BY_ID: [&str; 2] = ["--expect", "spiffe://example.org/api"];

/// Whether the page names the serial number of the client that it is for; each server writes it in its own way.
fn names(page: &str, client: &Issued) -> bool {
    let page = page.to_lowercase().replace(':', "");
    page.contains(client.serial.trim_start_matches('0'))
}

#[track_caller]
fn assert_names(page: &str, client: &Issued) {
    assert!(names(page, client), "no {} in {page}", client.serial);
}

/// Each side knows the other by its certificate. The page is returned.
pub(crate) async fn both_know_each_other(start: impl AsyncFn(&Issued, &Ca) -> Serving) -> String {
    let ca = Ca::new("foreign-ca").await;
    let leaf = ca.issue(&Leaf::server()).await;
    let client = ca.issue(&Leaf::client("/web")).await;
    let server = start(&leaf, &ca).await;
    let mut page = String::new();
    for flags in [&[][..], &BY_ID] {
        let said = get(&server, &ca, &client, flags).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
        said.line("status: 200 OK");
        let who = said.line("server: ");
        assert!(who.contains("spiffe://example.org/api"), "{said:#?}");
        assert!(who.contains(&leaf.serial), "{said:#?}");
        assert_names(&said.stdout, &client);
        page = said.stdout;
    }
    page
}

/// A stranger, an expired certificate and another's name: our client says which it was, and gets no page.
pub(crate) async fn improper_servers_are_refused(start: impl AsyncFn(&Issued, &Ca) -> Serving) {
    let (ca, stranger) = (Ca::new("foreign-ca").await, Ca::new("strange-ca").await);
    let client = ca.issue(&Leaf::client("/web")).await;

    let leaf = stranger.issue(&Leaf::server()).await;
    let server = start(&leaf, &ca).await;
    let said = get(&server, &ca, &client, &[]).await;
    let why = ["no trust anchor leads to its issuer", "strange-ca"];
    assert_explained(&said, &[&why[..], &[&leaf.serial]].concat());

    let leaf = ca.issue(&Leaf::server().expired()).await;
    let server = start(&leaf, &ca).await;
    let said = get(&server, &ca, &client, &[]).await;
    let why = ["server presented", "expired at 2021-01-01T00:00:00Z"];
    assert_explained(&said, &[&why[..], &[&leaf.serial]].concat());

    let names = "DNS:elsewhere.example.org, URI:spiffe://example.org/elsewhere";
    let leaf = ca.issue(&Leaf::server().names(names)).await;
    let server = start(&leaf, &ca).await;
    for (flags, expected) in [
        (&[][..], "`localhost`"),
        (&BY_ID, "`spiffe://example.org/api`"),
    ] {
        let said = get(&server, &ca, &client, flags).await;
        assert_explained(&said, &["elsewhere.example.org", "expected", expected]);
    }
}

/// A server that trusts another CA than ours refuses us, and our client says `words` of it.
pub(crate) async fn we_are_refused(start: impl AsyncFn(&Issued, &Ca) -> Serving, words: &str) {
    assert_explained(&who_trusts_another_ca(start).await, &[words]);
}

/// What our client says of a server that trusts another CA than ours.
pub(crate) async fn who_trusts_another_ca(start: impl AsyncFn(&Issued, &Ca) -> Serving) -> Said {
    let (ca, other) = (Ca::new("foreign-ca").await, Ca::new("other-ca").await);
    let leaf = ca.issue(&Leaf::server()).await;
    let client = ca.issue(&Leaf::client("/web")).await;
    let server = start(&leaf, &other).await;
    for _ in 1..ATTEMPTS {
        let said = get(&server, &ca, &client, &[]).await;
        if !said.has("its alert is lost") {
            return said;
        }
    }
    get(&server, &ca, &client, &[]).await
}

/// A server that closes with our request unread sends a reset, which can overtake its alert. One of these tells why we
/// were refused.
pub(crate) const ATTEMPTS: usize = 10;

/// Our credentials, which rotate.
struct Ours {
    ca: Ca,
    mount: Mount,
    source: CredentialSource,
}

impl Ours {
    async fn new(client: &Issued, ca: Ca) -> Self {
        let mount = Mount::new(client, &ca).await;
        let files = CredentialFiles::detect(mount.path()).unwrap();
        let source = CredentialSource::watch(files).await.unwrap();
        Self { ca, mount, source }
    }

    async fn rotate(&self) -> Issued {
        let next = self.ca.issue(&Leaf::client("/web")).await;
        let mut changes = self.source.subscribe();
        self.mount.swap("..2", &next, &self.ca).await;
        let changed = timeout(LIMIT, changes.changed()).await;
        changed.unwrap().unwrap();
        next
    }
}

/// Our client goes on, and so does the server; the next request comes with the next certificate.
pub(crate) async fn our_rotation_shows(start: impl AsyncFn(&Issued, &Ca) -> Serving) {
    let ca = Ca::new("foreign-ca").await;
    let leaf = ca.issue(&Leaf::server()).await;
    let server = start(&leaf, &ca).await;
    let first = ca.issue(&Leaf::client("/web")).await;
    let ours = Ours::new(&first, ca).await;
    let tls = ClientTls::builder(&ours.source).verify_server_name();
    let http = Client::new(tls.build().unwrap()).unwrap();
    let get = async || {
        let response = http.get(server.url()).send().await.unwrap();
        let peer = response.peer_identity().unwrap();
        assert_eq!(peer.serial().to_string(), leaf.serial);
        response.text().await.unwrap()
    };

    assert_names(&get().await, &first);
    let next = ours.rotate().await;
    let page = get().await;
    assert_names(&page, &next);
    assert!(!names(&page, &first), "{page}");
}

/// How a server's page tells a new session from one that it has resumed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    pub(crate) new: &'static str,
    pub(crate) resumed: &'static str,
}

/// Our connector resumes the session of a server that takes it up; that is over when our certificate changes.
pub(crate) async fn sessions_are_resumed_until_we_rotate(
    start: impl AsyncFn(&Issued, &Ca) -> Serving,
    marks: Marks,
) {
    let ca = Ca::new("foreign-ca").await;
    let leaf = ca.issue(&Leaf::server()).await;
    let server = start(&leaf, &ca).await;
    let first = ca.issue(&Leaf::client("/web")).await;
    let ours = Ours::new(&first, ca).await;
    let tls = ClientTls::builder(&ours.source)
        .verify_server_name()
        .alpn(["http/1.1"]);
    let connector = Connector::new(tls.build().unwrap());
    let uri: Uri = server.url().parse().unwrap();
    let get = async || {
        let mut stream = connector.connect(&uri).await.unwrap();
        let serial = stream.peer().identity().serial().to_string();
        assert_eq!(serial, leaf.serial);
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut page = Vec::new();
        // Some servers hang up without a close_notify.
        let _ = timeout(LIMIT, stream.read_to_end(&mut page)).await.unwrap();
        String::from_utf8_lossy(&page).into_owned()
    };

    let page = get().await;
    assert!(page.contains(marks.new), "{page}");
    assert_names(&page, &first);
    let page = get().await;
    assert!(page.contains(marks.resumed), "{page}");
    assert!(!page.contains(marks.new), "{page}");

    let next = ours.rotate().await;
    let page = get().await;
    assert!(page.contains(marks.new), "{page}");
    assert_names(&page, &next);
}
