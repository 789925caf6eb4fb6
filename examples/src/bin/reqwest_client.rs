//! One GET by mutual TLS: what the server answered and who it is, or why it did not and what to do about it.
//!
//! `reqwest_client DIR URL [--expect SPIFFE_ID] [--crl PATH]...`

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use mtls_core::{Chained, ClientTls, CredentialFiles, CredentialSource, LoadError};
use mtls_reqwest::{Client, ResponseExt, explain};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run(std::env::args().skip(1)).await else {
        return ExitCode::SUCCESS;
    };
    let _ = writeln!(stderr(), "error: {}", Chained(&*error));
    if let Some(error) = error.downcast_ref::<LoadError>() {
        let _ = writeln!(stderr(), "remedy: {}", error.remedy());
    }
    ExitCode::FAILURE
}

async fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let dir = arguments.next().ok_or(USAGE)?;
    let url = arguments.next().ok_or(USAGE)?;
    let (mut expected, mut files) = (None, CredentialFiles::detect(dir)?);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match argument.as_str() {
            "--expect" => expected = Some(value.parse()?),
            "--crl" => files = files.revocation_lists(value),
            _ => return Err(USAGE.into()),
        }
    }

    let source = CredentialSource::watch(files).await?;
    let tls = match expected {
        Some(spiffe_id) => ClientTls::builder(&source).expect_server(spiffe_id)?,
        None => ClientTls::builder(&source).verify_server_name(),
    };
    let http = Client::new(tls.build()?)?;

    let response = http.get(url).send().await.map_err(|error| {
        let explanation = explain(&error);
        format!("{explanation}\nremedy: {}", explanation.remedy())
    })?;
    let mut out = stdout();
    writeln!(out, "status: {}", response.status())?;
    if let Some(server) = response.peer_identity() {
        writeln!(out, "server: {server}, serial {}", server.serial())?;
    }
    writeln!(out, "{}", response.text().await?)?;
    Ok(())
}

const USAGE: &str = "usage: reqwest_client DIR URL [--expect SPIFFE_ID] [--crl PATH]...";
