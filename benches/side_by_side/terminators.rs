//! Other people's programs that terminate mutual TLS in front of a plaintext service: how each is told to, as its manual
//! says, with what is asked of ours: TLS 1.3, client certificates required, no sessions, connections kept on both sides.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminator {
    Nginx,
    Haproxy,
    Envoy,
}

impl Terminator {
    pub(crate) const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Envoy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        let version = if self == Self::Envoy {
            "--version"
        } else {
            "-v"
        };
        let mut command = Command::new(self.name());
        let quiet = command.arg(version).stdout(Stdio::null());
        let status = quiet.stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// In front of `app`, with `tls.crt`, `tls.key` and `ca.crt` of `credentials`.
    pub(crate) fn start(self, credentials: &Path, app: SocketAddr) -> Running {
        let dir = tempfile::tempdir().unwrap();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            fs::copy(credentials.join(name), dir.path().join(name)).unwrap();
        }
        let addr = free_address();
        let config = self.config(addr, app, dir.path());
        let file = dir.path().join(format!("{}.yaml", self.name()));
        fs::write(&file, config).unwrap();
        let child = self
            .command(&file, dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Running {
            child,
            addr,
            _dir: dir,
        };
        running.wait_until_it_listens(self.name());
        running
    }

    fn command(self, config: &Path, dir: &Path) -> Command {
        let mut command = Command::new(self.name());
        match self {
            Self::Nginx => command.arg("-p").arg(dir).arg("-c").arg(config),
            Self::Haproxy => command.arg("-db").arg("-f").arg(config),
            Self::Envoy => command
                .args(["--disable-hot-restart", "--log-level", "critical"])
                .args(["--concurrency", &threads()])
                .arg("--config-path")
                .arg(config),
        };
        command
    }

    fn config(self, addr: SocketAddr, app: SocketAddr, dir: &Path) -> String {
        let dir = dir.display();
        match self {
            Self::Nginx => nginx(addr, app),
            Self::Haproxy => {
                let part = |name| fs::read_to_string(format!("{dir}/{name}")).unwrap();
                let both = part("tls.crt") + &part("tls.key");
                fs::write(format!("{dir}/both.pem"), both).unwrap();
                format!(
                    "global
  nbthread {threads}
  maxconn 8192
  tune.ssl.cachesize 0
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 300s
  timeout server 300s
frontend mutual
  bind {addr} backlog 4096 ssl crt {dir}/both.pem ca-file {dir}/ca.crt verify required
  http-request set-header x-client %[ssl_c_sha1,hex]
  default_backend app
backend app
  server app {app}
",
                    threads = threads()
                )
            }
            Self::Envoy => envoy(addr, app, &dir.to_string()),
        }
    }
}

/// Its own processes stay below the one that is started. What it writes goes to its prefix.
fn nginx(addr: SocketAddr, app: SocketAddr) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("  {name}_temp_path {name};\n"))
        .collect();
    // As root its workers would be another user's, who may not read the prefix.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "{user}
daemon off;
worker_processes {threads};
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
{temporary}  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  upstream app {{ server {app}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen {addr} ssl backlog=4096;
    ssl_certificate tls.crt;
    ssl_certificate_key tls.key;
    ssl_client_certificate ca.crt;
    ssl_verify_client on;
    ssl_verify_depth 2;
    ssl_protocols TLSv1.3;
    ssl_session_cache off;
    ssl_session_tickets off;
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header x-client $ssl_client_fingerprint;
    }}
  }}
}}
",
        threads = threads()
    )
}

fn envoy(addr: SocketAddr, app: SocketAddr, dir: &str) -> String {
    let address = |of: SocketAddr| {
        format!(
            "{{socket_address: {{address: {}, port_value: {}}}}}",
            of.ip(),
            of.port()
        )
    };
    format!(
        "static_resources:
  listeners:
  - address: {listens}
    tcp_backlog_size: 4096
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          disable_stateless_session_resumption: true
          disable_stateful_session_resumption: true
          common_tls_context:
            alpn_protocols: [http/1.1]
            tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
            tls_certificates:
            - certificate_chain: {{filename: {dir}/tls.crt}}
              private_key: {{filename: {dir}/tls.key}}
            validation_context: {{trusted_ca: {{filename: {dir}/ca.crt}}}}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: mutual
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            request_headers_to_add:
            - header: {{key: x-client, value: \"%DOWNSTREAM_PEER_URI_SAN%\"}}
              append_action: OVERWRITE_IF_EXISTS_OR_ADD
            virtual_hosts:
            - name: app
              domains: [\"*\"]
              routes:
              - match: {{prefix: /}}
                route: {{cluster: app}}
  clusters:
  - name: app
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {app}}}
",
        listens = address(addr),
        app = address(app)
    )
}

/// A program that listens, until it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) addr: SocketAddr,
    _dir: TempDir,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_listens(&self, name: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.addr).is_err() {
            assert!(Instant::now() < deadline, "{name} does not listen");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // By its own word to whom it started: nginx's workers would outlive a kill.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// As many as ours has.
fn threads() -> String {
    available_parallelism().map_or(1, usize::from).to_string()
}

/// Nobody's at this moment: these programs cannot be asked for the port that the system gave them.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
