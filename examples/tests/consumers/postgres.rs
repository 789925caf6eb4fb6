//! tokio-postgres, which is given a config once and connects by it for life, against PostgreSQL's own server.

use std::error::Error;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use mtls_core::testing::{Issued, LeafOptions, TestCa};
use mtls_core::{Alert, ClientTls, CredentialSource, HandshakeError, OwnChain, Publisher, Reason};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tools::{Tool, absent, postgresql};
use crate::within;

/// A server that lets in the user `web` by a certificate with that common name, and nobody otherwise.
struct Postgres {
    port: u16,
    _server: Child,
    _dir: TempDir,
}

/// PostgreSQL runs as anybody but root.
const NOBODY: u32 = 65_534;

impl Postgres {
    async fn start(ca: &TestCa) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let is_root = dir.path().metadata().unwrap().uid() == 0;
        let data = dir.path().join("data");
        let own = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
            if is_root {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        };
        own(dir.path(), 0o700);
        let command = |name: &str| {
            let mut command = Command::new(postgresql().unwrap().join(name));
            command.current_dir(dir.path()).kill_on_drop(true);
            if is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        let made = command("initdb")
            .args(["-N", "-A", "reject", "-U", "web", "-D"])
            .arg(&data)
            .output();
        let made = within(made).await.unwrap();
        assert!(made.status.success(), "{made:?}");
        let leaf = ca.issue_with(LeafOptions::service("/db"));
        for (name, text) in [
            ("server.crt", leaf.chain_pem().as_str()),
            ("server.key", leaf.key_pem()),
            ("root.crt", ca.root_pem().as_str()),
            ("pg_hba.conf", "hostssl all web 127.0.0.1/32 cert\n"),
        ] {
            let path = data.join(name);
            std::fs::write(&path, text).unwrap();
            own(&path, 0o600);
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let port_is = format!("port={port}");
        let settings = [
            "ssl=on",
            "ssl_ca_file=root.crt",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            &port_is,
        ];
        let mut server = command("postgres");
        server.arg("-D").arg(&data).stderr(Stdio::piped());
        for setting in settings {
            server.args(["-c", setting]);
        }
        let mut server = server.spawn().unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
        let ready = async {
            let mut said = Vec::new();
            while let Some(line) = log.next_line().await.unwrap() {
                if line.contains("ready to accept connections") {
                    return log;
                }
                said.push(line);
            }
            panic!("the server has ended: {said:#?}");
        };
        let mut log = within(ready).await;
        // Nobody waits for what it says from here on; it must not wait for us.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self {
            port,
            _server: server,
            _dir: dir,
        }
    }

    /// The serial number of the client's certificate, as the server knows it.
    async fn serial_by(&self, tls: &MakeRustlsConnect) -> Result<String, tokio_postgres::Error> {
        let to = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=web dbname=postgres sslmode=require",
            self.port
        );
        let connecting = tokio_postgres::connect(&to, tls.clone());
        let (client, connection) = within(connecting).await?;
        tokio::spawn(connection);
        let asked = "SELECT client_serial::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(within(client.query_one(asked, &[])).await?.get(0))
    }
}

/// What is handed over once, and what rotates behind it.
fn handed_over(issued: &Issued, trusts: &TestCa) -> (Publisher, MakeRustlsConnect) {
    let (publisher, source) = CredentialSource::builder()
        .own_chain(OwnChain::FromAnotherPki)
        .publish(issued.material(), trusts.trust_material())
        .unwrap();
    let tls = ClientTls::builder(&source)
        .verify_server_name()
        .alpn(Vec::<Vec<u8>>::new())
        .build()
        .unwrap();
    let config = tls.configs().dangerous().self_updating();
    (
        publisher,
        MakeRustlsConnect::new(Arc::unwrap_or_clone(config)),
    )
}

fn web(ca: &TestCa) -> Issued {
    ca.issue_with(LeafOptions::service("/web").common_name("web"))
}

/// As PostgreSQL prints it.
fn serial(issued: &Issued) -> String {
    let serial = u128::from_str_radix(&issued.serial(), 16).unwrap();
    serial.to_string()
}

#[tokio::test]
async fn one_config_for_life_presents_what_was_rotated_and_strangers_are_refused_on_both_sides() {
    if absent(&[Tool::Postgresql]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let postgres = Postgres::start(&ca).await;
    let first = web(&ca);
    let (publisher, tls) = handed_over(&first, &ca);
    assert_eq!(postgres.serial_by(&tls).await.unwrap(), serial(&first));

    let next = web(&ca);
    publisher.publish_credentials(next.material()).unwrap();
    assert_eq!(postgres.serial_by(&tls).await.unwrap(), serial(&next));

    // The server's no, to a stranger's certificate.
    let another = TestCa::new("example.org");
    let (_publisher, strangers) = handed_over(&web(&another), &ca);
    let refused = postgres.serial_by(&strangers).await.unwrap_err();
    let alert = Alert::find(&refused).map(|alert| alert.to_string());
    assert_eq!(alert.as_deref(), Some("unknown_ca"), "{refused:?}");

    // Ours, to a server that is trusted no more; the config is the one from before.
    let trust = another.trust_material();
    publisher.publish(web(&another).material(), trust).unwrap();
    let refused = postgres.serial_by(&tls).await.unwrap_err();
    let ours = refused
        .source()
        .and_then(|error| HandshakeError::find(error));
    assert_eq!(
        ours.map(HandshakeError::reason),
        Some(Reason::UnknownIssuer)
    );
}
