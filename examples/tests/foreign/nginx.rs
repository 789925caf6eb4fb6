//! nginx dials our server as a reverse proxy, and our client dials nginx.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::curl::Version;
use crate::dialing::{self, Marks, Serving, free_port};
use crate::door::{Caller, Door, documented};
use crate::pki::{Ca, Issued};
use crate::process::Process;
use crate::tools::Tool::{CurlWithOpenssl3AndHttp2, Nginx, Openssl3};
use crate::tools::{Said, absent, run};

/// Starts one as a single process, in a directory of its own.
async fn start(listen: &str, server: &str) -> Serving {
    loop {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let file = dir.path().join("nginx.conf");
        let server = format!("server {{ listen 127.0.0.1:{port} {listen}; {server} }}");
        fs::write(&file, COMMON.replace("SERVER", &server)).unwrap();
        let prefix = dir.path().to_str().unwrap();
        let arguments = ["-e", "stderr", "-p", prefix, "-c", file.to_str().unwrap()];
        let mut process = Process::start("nginx", arguments);
        // The line with its version comes after it has begun to listen.
        let said = ["nginx/1.", "[emerg]"];
        let said = process.stderr.one_of(&said).await;
        if said.contains("[notice]") {
            return Serving::new(process, port).with_dir(dir);
        }
        assert!(said.contains("Address already in use"), "{said}");
    }
}

/// A proxy in front of our server with one path for each caller.
async fn proxy(door: &Door, version: Version) -> Serving {
    let (port, ca) = (door.port(), door.world.ca.bundle());
    let (ca, version) = (ca.display(), version.name());
    let version = if version == "1.2" {
        "TLSv1.2"
    } else {
        "TLSv1.3"
    };
    let mut locations = String::new();
    for caller in Caller::ALL {
        let credentials = door.credentials(caller).map_or(String::new(), |leaf| {
            let (chain, key) = (leaf.chain.display(), leaf.key.display());
            format!("proxy_ssl_certificate {chain}; proxy_ssl_certificate_key {key};")
        });
        locations += &format!(
            "location = /{caller:?} {{
                proxy_pass https://127.0.0.1:{port}/whoami;
                proxy_ssl_protocols {version};
                proxy_ssl_verify on;
                proxy_ssl_trusted_certificate {ca};
                proxy_ssl_name localhost;
                proxy_ssl_server_name on;
                {credentials}
            }}\n"
        );
    }
    start("", &locations).await
}

async fn ask(proxy: &Serving, caller: Caller) -> Said {
    let url = format!("http://127.0.0.1:{}/{caller:?}", proxy.port);
    let arguments = ["-q", "-sSi", "--noproxy", "*", "--max-time", "25", &url];
    run("curl", arguments, Path::new("."), "").await
}

#[tokio::test]
async fn nginx_is_known_by_its_certificate_and_resumes_its_session() {
    if absent(&[Openssl3, Nginx, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let door = Door::new().await;
    for version in Version::BOTH {
        let mut proxy = proxy(&door, version).await;
        let said = ask(&proxy, Caller::Known).await;
        said.line("HTTP/1.1 200 OK");
        door.assert_let_in(&said, version);
        proxy.process.stderr.never_said(&["SSL reused session"]);

        let said = ask(&proxy, Caller::Known).await;
        door.assert_let_in(&said, version);
        proxy.process.stderr.line(&["SSL reused session"]).await;
    }
}

#[tokio::test]
async fn nginx_that_is_refused_answers_for_us_and_logs_the_alert() {
    if absent(&[Openssl3, Nginx, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    for version in Version::BOTH {
        let mut door = Door::new().await;
        let mut proxy = proxy(&door, version).await;
        for caller in Caller::REFUSED {
            let said = ask(&proxy, caller).await;
            let answer = "HTTP/1.1 502 Bad Gateway";
            door.assert_refused(caller, &said, answer).await;
            let (alert, number) = caller.alert();
            let words = format!("alert {alert}:SSL alert number {number}");
            let request = format!("request: \"GET /{caller:?} ");
            proxy.process.stderr.line(&[&words, &request]).await;
            documented("nginx", &words);
        }
    }
}

async fn server(leaf: &Issued, trusted: &Ca) -> Serving {
    let (chain, key, ca) = (leaf.chain.display(), leaf.key.display(), trusted.bundle());
    let ca = ca.display();
    let server = format!(
        "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {chain}; ssl_certificate_key {key};
         ssl_client_certificate {ca}; ssl_verify_client on;
         location / {{
             default_type text/plain;
             return 200 \"$server_protocol, verified: $ssl_client_verify, serial $ssl_client_serial, $ssl_client_s_dn, reused $ssl_session_reused\\n$ssl_client_escaped_cert\\n\";
         }}"
    );
    start("ssl http2", &server).await
}

#[tokio::test]
async fn nginx_and_our_client_know_each_other() {
    if absent(&[Openssl3, Nginx]) {
        return;
    }
    let page = dialing::both_know_each_other(server).await;
    assert!(page.contains("HTTP/2.0, verified: SUCCESS"), "{page}");
    assert!(page.contains("CN=caller"), "{page}");
    assert!(page.contains("BEGIN%20CERTIFICATE"), "{page}");
}

#[tokio::test]
async fn an_nginx_that_is_not_who_we_expect_is_refused() {
    if absent(&[Openssl3, Nginx]) {
        return;
    }
    dialing::improper_servers_are_refused(server).await;
}

#[tokio::test]
async fn an_nginx_that_trusts_another_ca_takes_our_connection_and_answers_400() {
    if absent(&[Openssl3, Nginx]) {
        return;
    }
    let said = dialing::who_trusts_another_ca(server).await;
    said.line("status: 400 Bad Request");
    let words = "The SSL certificate error";
    said.line(words);
    documented("nginx", words);
}

#[tokio::test]
async fn nginx_sees_our_next_certificate_at_the_next_connection() {
    if absent(&[Openssl3, Nginx]) {
        return;
    }
    dialing::our_rotation_shows(server).await;
}

#[tokio::test]
async fn nginx_resumes_our_sessions_until_we_rotate() {
    if absent(&[Openssl3, Nginx]) {
        return;
    }
    let marks = Marks {
        new: "reused .",
        resumed: "reused r",
    };
    dialing::sessions_are_resumed_until_we_rotate(server, marks).await;
}

/// Debian's build tells of resumed sessions among its `debug` lines.
const COMMON: &str = "
daemon off;
master_process off;
pid nginx.pid;
error_log stderr debug;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    SERVER
}
";
