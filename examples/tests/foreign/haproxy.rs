//! haproxy dials our server as a reverse proxy, and our client dials haproxy.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;

use tempfile::TempDir;

use crate::curl::Version;
use crate::dialing::{self, Marks, Serving};
use crate::door::{Caller, Door, documented};
use crate::pki::{Ca, Issued};
use crate::process::Process;
use crate::tools::Tool::{CurlWithOpenssl3AndHttp2, Haproxy, Openssl3};
use crate::tools::{Said, absent, run};

/// Starts one that listens at what it finds as its standard input, which is a port that nobody can take from it.
fn start(config: &str) -> Serving {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("haproxy.cfg");
    fs::write(&file, [COMMON, config].concat()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let stdin = OwnedFd::from(listener).into();
    let arguments = ["-db", "-f", file.to_str().unwrap()];
    let process = Process::start_on(stdin, "haproxy", arguments);
    Serving::new(process, port).with_dir(dir)
}

/// The certificate and its key in one file, as haproxy wants them.
fn combined(leaf: &Issued) -> String {
    let file = leaf.chain.with_extension("pem");
    #[expect(clippy::disallowed_methods, reason = "files that this test has made")]
    let parts = [&leaf.chain, &leaf.key].map(|part| fs::read_to_string(part).unwrap());
    fs::write(&file, parts.concat()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A proxy in front of our server with one path for each caller.
fn proxy(door: &Door, version: Version, alpn: &str) -> Serving {
    let (port, ca) = (door.port(), door.world.ca.bundle());
    let (ca, version) = (ca.to_str().unwrap(), version.name().replace('.', ""));
    let mut frontend = FRONTEND.to_owned();
    let mut backends = String::new();
    for caller in Caller::ALL {
        let crt = door.credentials(caller).map(combined);
        let crt = crt.map_or(String::new(), |file| format!("crt {file}"));
        frontend += &format!("  use_backend {caller:?} if {{ path /{caller:?} }}\n");
        backends += &format!(
            "backend {caller:?}
  http-request set-path /whoami
  http-response set-header x-upstream \"HTTP/%[bc_http_major]\"
  server ours 127.0.0.1:{port} ssl verify required ca-file {ca} verifyhost localhost sni str(localhost) force-tlsv{version} alpn {alpn} {crt}\n"
        );
    }
    start(&(frontend + &backends))
}

async fn ask(proxy: &Serving, caller: Caller) -> Said {
    let url = format!("http://127.0.0.1:{}/{caller:?}", proxy.port);
    let arguments = ["-q", "-sSi", "--noproxy", "*", "--max-time", "25", &url];
    run("curl", arguments, Path::new("."), "").await
}

#[tokio::test]
async fn haproxy_is_known_by_its_certificate_over_http_1_and_2() {
    if absent(&[Openssl3, Haproxy, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let door = Door::new().await;
    for version in Version::BOTH {
        for (alpn, upstream) in [
            ("http/1.1", "x-upstream: HTTP/1"),
            ("h2", "x-upstream: HTTP/2"),
        ] {
            let proxy = proxy(&door, version, alpn);
            let said = ask(&proxy, Caller::Known).await;
            said.line("HTTP/1.1 200 ");
            said.line(upstream);
            door.assert_let_in(&said, version);
        }
    }
}

#[tokio::test]
async fn haproxy_resumes_its_session_and_is_still_known() {
    if absent(&[Openssl3, Haproxy, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let door = Door::new().await;
    for version in Version::BOTH {
        let mut proxy = proxy(&door, version, "http/1.1");
        for resumed in ["Known 200 -- resumed 0", "Known 200 -- resumed 1"] {
            let said = ask(&proxy, Caller::Known).await;
            door.assert_let_in(&said, version);
            proxy.process.stdout.line(&[resumed]).await;
        }
    }
}

#[tokio::test]
async fn haproxy_that_is_refused_answers_for_us_and_logs_the_alert() {
    if absent(&[Openssl3, Haproxy, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    // In TLS 1.3 its handshake is done before it is refused, and it takes the alert for a bad answer.
    for (version, answer) in [
        (Version::Tls12, "503 Service Unavailable"),
        (Version::Tls13, "502 Bad Gateway"),
    ] {
        let mut door = Door::new().await;
        let mut proxy = proxy(&door, version, "http/1.1");
        for caller in Caller::REFUSED {
            let (alert, _) = caller.alert();
            let words = format!("alert {alert}");
            let said = ask(&proxy, caller).await;
            door.assert_refused(caller, &said, answer).await;
            let logged = [&format!("{caller:?} {answer:.3} "), &*words];
            proxy.process.stdout.line(&logged).await;
            documented("haproxy", &words);
        }
    }
}

async fn server(leaf: &Issued, trusted: &Ca) -> Serving {
    let (crt, ca) = (combined(leaf), trusted.bundle());
    let ca = ca.display();
    start(&format!(
        "frontend them
  bind fd@0 ssl crt {crt} ca-file {ca} verify required alpn h2,http/1.1
  http-request return status 200 content-type text/plain lf-string \"HTTP %[req.ver], serial %[ssl_c_serial,hex], %[ssl_c_s_dn], resumed %[ssl_fc_is_resumed]\\n\"\n"
    ))
}

#[tokio::test]
async fn haproxy_and_our_client_know_each_other() {
    if absent(&[Openssl3, Haproxy]) {
        return;
    }
    let page = dialing::both_know_each_other(server).await;
    assert!(page.contains("HTTP 2.0"), "{page}");
    assert!(page.contains("/CN=caller"), "{page}");
}

#[tokio::test]
async fn a_haproxy_that_is_not_who_we_expect_is_refused() {
    if absent(&[Openssl3, Haproxy]) {
        return;
    }
    dialing::improper_servers_are_refused(server).await;
}

#[tokio::test]
async fn a_haproxy_that_trusts_another_ca_refuses_us_by_an_alert_that_we_name() {
    if absent(&[Openssl3, Haproxy]) {
        return;
    }
    let words = "refused us by the alert unknown_ca";
    dialing::we_are_refused(server, words).await;
    documented("haproxy", words);
}

#[tokio::test]
async fn haproxy_sees_our_next_certificate_at_the_next_connection() {
    if absent(&[Openssl3, Haproxy]) {
        return;
    }
    dialing::our_rotation_shows(server).await;
}

#[tokio::test]
async fn haproxy_resumes_our_sessions_until_we_rotate() {
    if absent(&[Openssl3, Haproxy]) {
        return;
    }
    let marks = Marks {
        new: "resumed 0",
        resumed: "resumed 1",
    };
    dialing::sessions_are_resumed_until_we_rotate(server, marks).await;
}

const COMMON: &str = "global
  log stdout format raw local0
  nbthread 1
defaults
  mode http
  log global
  http-reuse never
  timeout connect 10s
  timeout client 25s
  timeout server 25s
";

const FRONTEND: &str = "frontend us
  bind fd@0
  log-format \"%b %ST %ts resumed %[ssl_bc_is_resumed] error %[ssl_bc_err_str]\"
";
