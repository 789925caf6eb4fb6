//! `openssl s_server`, as a process.

use crate::pki::{Ca, Issued};
use crate::process::Process;

/// A running `openssl s_server`, which wants a client certificate and answers with a page of its own.
#[derive(Debug)]
pub(crate) struct OpensslServer {
    _process: Process,
    pub(crate) port: String,
}

impl OpensslServer {
    /// Starts one that presents `leaf` and trusts the clients of `trusted`, at a port of the system's choice.
    pub(crate) async fn start(leaf: &Issued, trusted: &Ca, flags: &[&str]) -> Self {
        let bundle = trusted.bundle();
        let mut arguments = vec!["s_server", "-accept", "127.0.0.1:0", "-www"];
        arguments.extend(["-Verify", "1", "-verify_return_error"]);
        arguments.extend(["-CAfile", bundle.to_str().unwrap()]);
        arguments.extend(["-cert", leaf.chain.to_str().unwrap()]);
        arguments.extend(["-key", leaf.key.to_str().unwrap()]);
        arguments.extend(flags);
        let mut process = Process::start("openssl", arguments);
        let ready = process.stdout.line(&["ACCEPT 127.0.0.1:"]).await;
        let port = ready.rsplit(':').next().unwrap().to_owned();
        Self {
            _process: process,
            port,
        }
    }
}
