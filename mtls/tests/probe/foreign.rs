//! nginx, haproxy, `openssl s_server` and Go, where they are here.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::server::{Asks, server};
use crate::{World, assert_verdict, lay_out, probe};

/// A running program, which ends with this.
struct Running {
    child: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a test has to be left out because a program is not here, which is said; where CI requires it, it fails.
fn absent(program: &str, version: &str) -> bool {
    let is_here = Command::new(program).arg(version).output().is_ok();
    if is_here {
        return false;
    }
    let said = format!("left out: no {program} on this machine\n");
    let required = std::env::var_os("MTLS_REQUIRE_FOREIGN").is_some_and(|value| value == "1");
    assert!(!required, "{said}");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    true
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits for the line by which a program says that it listens.
fn started(mut child: Child, is_ready: impl Fn(&str) -> bool) -> Option<Child> {
    let pipe: Box<dyn std::io::Read + Send> = match (child.stdout.take(), child.stderr.take()) {
        (Some(out), _) => Box::new(out),
        (None, Some(err)) => Box::new(err),
        (None, None) => panic!("nothing to read"),
    };
    let mut lines = BufReader::new(pipe).lines();
    loop {
        match lines.next() {
            Some(Ok(line)) if is_ready(&line) => break,
            Some(Ok(_)) => {}
            Some(Err(_)) | None => {
                let _ = child.wait();
                return None;
            }
        }
    }
    // Whatever it says later has a reader, so that it never waits for one.
    std::thread::spawn(move || lines.for_each(drop));
    Some(child)
}

fn nginx(world: &World, client_certificates: &str) -> Running {
    let server = world.text("server");
    loop {
        let port = free_port();
        let prefix = tempfile::TempDir::new_in(world.dir.path()).unwrap().keep();
        let config = prefix.join("nginx.conf");
        let text = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr notice;
             events {{}}
             http {{ access_log off;
               client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
               server {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.2 TLSv1.3;
                 ssl_certificate {server}/tls.crt; ssl_certificate_key {server}/tls.key;
                 ssl_client_certificate {server}/ca.crt; ssl_verify_client {client_certificates};
                 location / {{ return 200 \"hello\"; }} }} }}"
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(&prefix)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The line with its version comes after it has begun to listen; without it the port was taken meanwhile.
        if let Some(child) = started(child, |line| {
            line.contains("nginx/1.") && line.contains("[notice]")
        }) {
            return Running { child, port };
        }
    }
}

#[test]
fn nginx_accepts_us_and_refuses_others_in_http_alone() {
    if absent("nginx", "-V") {
        return;
    }
    let world = World::new();
    let nginx = nginx(&world, "on");
    let web = world.text("web");
    let all = ["--dir", &web, "--no-cert", "--stranger", "--http", "/"];
    let report = probe(nginx.port, &all);
    assert_verdict(&report, "accepted");
    assert_eq!(report.1["http_status"], 200);
    assert_eq!(
        report.1["without_certificate"]["how"],
        "in HTTP, by the status 400"
    );
    assert_eq!(report.1["stranger"]["how"], "in HTTP, by the status 400");
    assert_eq!(report.1["namesake"]["how"], "in HTTP, by the status 400");
    let ahead = report.1["drift"]["clock_ahead_s"].as_i64().unwrap();
    assert!(ahead.abs() < 180, "{ahead}");
    // In TLS it says nothing of it, and that is what is told.
    let tls_alone = probe(nginx.port, &["--dir", &web, "--no-cert"]);
    assert_verdict(&tls_alone, "not_enforced");
    let remedy = tls_alone.1["verdict"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("--http"), "{remedy}");
    // And of us, if we are the stranger.
    let stranger = world.text("stranger");
    let refused = probe(nginx.port, &["--dir", &stranger, "--http", "/"]);
    assert_verdict(&refused, "refused_in_http");
}

#[test]
fn nginx_that_does_not_verify_is_found_out() {
    if absent("nginx", "-V") {
        return;
    }
    let world = World::new();
    let web = world.text("web");
    let open = nginx(&world, "off");
    let report = probe(open.port, &["--dir", &web, "--no-cert", "--http", "/"]);
    assert_verdict(&report, "not_enforced");
    let unverified = nginx(&world, "optional_no_ca");
    let report = probe(
        unverified.port,
        &["--dir", &web, "--stranger", "--http", "/"],
    );
    assert_verdict(&report, "not_enforced");
    // It minds a signature, and not that nobody knows the CA: a namesake alone would have been refused.
    assert_eq!(report.1["stranger"]["let_in"], true);
    assert_eq!(report.1["namesake"]["let_in"], false);
}

#[test]
fn nginx_that_was_not_told_of_a_renewal_is_stale() {
    if absent("nginx", "-V") {
        return;
    }
    let world = World::new();
    let nginx = nginx(&world, "on");
    let (web, server) = (world.text("web"), world.text("server"));
    let ask = ["--dir", &web, "--http", "/", "--served", &server];
    assert_verdict(&probe(nginx.port, &ask), "accepted");
    lay_out(&world.path("server"), &world.ca.issue("/server"));
    assert_verdict(&probe(nginx.port, &ask), "stale");
}

/// It listens at what it finds as its standard input: a port that nobody can take from it, and where whoever comes early waits.
fn haproxy(world: &World, verify: &str) -> Running {
    let server = world.text("server");
    let config = world.path("haproxy.cfg");
    let text = format!(
        "global\n  log stdout format raw local0\n\
         defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 10s\n\
         frontend door\n  bind fd@0 ssl crt {server}/both.pem ca-file {server}/ca.crt verify {verify}\n  \
         http-request return status 200\n"
    );
    std::fs::write(&config, text).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let child = Command::new("haproxy")
        .args(["-db", "-f"])
        .arg(&config)
        .stdin(std::os::fd::OwnedFd::from(listener))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running { child, port }
}

#[test]
fn haproxy_accepts_us_and_refuses_others_in_tls() {
    if absent("haproxy", "-v") {
        return;
    }
    let world = World::new();
    let haproxy = haproxy(&world, "required");
    let web = world.text("web");
    let all = ["--dir", &web, "--no-cert", "--stranger"];
    let report = probe(haproxy.port, &all);
    assert_verdict(&report, "accepted");
    assert_eq!(report.1["without_certificate"]["let_in"], false);
    assert_eq!(
        report.1["namesake"]["how"], "by the alert decrypt_error",
        "{report:?}"
    );
    let refused = probe(haproxy.port, &["--dir", &world.text("stranger")]);
    assert_verdict(&refused, "refused_by_peer");
    assert_eq!(refused.1["verdict"]["alert"], "unknown_ca");
}

#[test]
fn haproxy_that_does_not_require_a_certificate_is_found_out() {
    if absent("haproxy", "-v") {
        return;
    }
    let world = World::new();
    let haproxy = haproxy(&world, "optional");
    let report = probe(haproxy.port, &["--dir", &world.text("web"), "--no-cert"]);
    assert_verdict(&report, "not_enforced");
}

fn s_server(world: &World, flags: &[&str]) -> Running {
    let server = world.text("server");
    let files = ["tls.crt", "tls.key", "ca.crt"].map(|name| format!("{server}/{name}"));
    let mut child = Command::new("openssl");
    child
        .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
        .args(["-cert", &files[0], "-key", &files[1], "-CAfile", &files[2]])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let port = std::sync::Arc::new(std::sync::Mutex::new(0));
    let found = std::sync::Arc::clone(&port);
    let child = started(child.spawn().unwrap(), move |line| {
        let Some((_, number)) = line.split_once("ACCEPT 127.0.0.1:") else {
            return false;
        };
        *found.lock().unwrap() = number.trim().parse().unwrap();
        true
    });
    let port = *port.lock().unwrap();
    Running {
        child: child.unwrap(),
        port,
    }
}

#[test]
fn openssl_accepts_us_and_refuses_others_in_both_versions() {
    if absent("openssl", "version") {
        return;
    }
    let world = World::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let flags = ["-Verify", "1", "-verify_return_error", version];
        let server = s_server(&world, &flags);
        let web = world.text("web");
        let all = ["--dir", &web, "--no-cert", "--stranger"];
        let report = probe(server.port, &all);
        assert_verdict(&report, "accepted");
        let refused = probe(server.port, &["--dir", &world.text("stranger")]);
        assert_verdict(&refused, "refused_by_peer");
    }
}

#[test]
fn the_line_by_hand_does_the_same_with_openssl() {
    if absent("openssl", "version") {
        return;
    }
    let world = World::new();
    let server = s_server(&world, &["-Verify", "1", "-verify_return_error"]);
    let odd = world.path("web's own (1)");
    lay_out(&odd, &world.ca.issue("/web"));
    let report = probe(server.port, &["--dir", odd.to_str().unwrap()]);
    assert_verdict(&report, "accepted");
    let line = report.1["by_hand"].as_str().unwrap();
    let output = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{line}: {output:?}");
    assert!(said.contains("Verification: OK"), "{line}: {said}");
    assert!(
        said.contains("Verified peername: localhost"),
        "{line}: {said}"
    );
}

#[test]
fn openssl_that_does_not_ask_is_found_out() {
    if absent("openssl", "version") {
        return;
    }
    let world = World::new();
    let server = s_server(&world, &[]);
    let report = probe(server.port, &["--dir", &world.text("web"), "--no-cert"]);
    assert_verdict(&report, "not_enforced");
    assert!(report.1["request"].is_null(), "{report:?}");
}

#[test]
fn go_sends_a_certificate_where_the_probe_says_that_it_would_and_nowhere_else() {
    if absent("go", "version") {
        return;
    }
    let world = World::new();
    let built = tempfile::tempdir().unwrap();
    std::fs::write(built.path().join("main.go"), include_str!("go/main.go")).unwrap();
    std::fs::write(built.path().join("go.mod"), "module dial\n\ngo 1.19\n").unwrap();
    let build = Command::new("go")
        .args(["build", "-o", "dial", "."])
        .current_dir(built.path())
        .output()
        .unwrap();
    assert!(build.status.success(), "{build:?}");
    let port = server(&world, Asks::Always, 2);
    let ask = |dir: &str| {
        let report = probe(port, &["--dir", dir]);
        let files = ["tls.crt", "tls.key"].map(|name| format!("{dir}/{name}"));
        let said = Command::new(built.path().join("dial"))
            .arg(format!("localhost:{port}"))
            .args(&files)
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        (report.1["request"]["go_would_send"].clone(), said)
    };
    let (sends, said) = ask(&world.text("web"));
    assert_eq!(sends, true);
    assert!(said.contains("EOF"), "{said}");
    // The probe has sent it all the same, and heard that its CA is not known.
    let (sends, said) = ask(&world.text("stranger"));
    assert_eq!(sends, false);
    assert!(said.contains("certificate required"), "{said}");
}
