//! Who could be asked about: somebody who is named, or whose certificate is in a file.

use std::fs;
use std::path::{Path, PathBuf};

use mtls_core::check::{self, CandidateError, CheckOptions};
use mtls_core::{CredentialFiles, PeerInfo, Timestamp};

use super::peer::Named;
use super::who::Server;
use crate::Failure;

/// Somebody to ask a policy about, by the name that the answer gives it.
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) who: Somebody,
}

pub(super) enum Somebody {
    /// A client without a certificate.
    Nobody,
    /// A name alone; a handshake has verified it.
    Named(Box<PeerInfo>),
    /// A chain that the bundle verifies.
    Verified(check::Candidate),
    /// A chain that a server would refuse, whatever its policy says.
    Refused { why: String, reason: &'static str },
}

pub(super) fn all(
    named: &[String],
    directories: &[PathBuf],
    server: &Server,
    domain: Option<&str>,
) -> Result<Vec<Candidate>, Failure> {
    let mut all = Vec::new();
    for text in named {
        all.push(one(text, server, domain)?);
    }
    for dir in directories {
        let before = all.len();
        directory(dir, server, domain, &mut all)?;
        if all.len() == before {
            return Err(Failure::new(format!(
                "`{}` holds no certificate, no credentials and no list of SPIFFE IDs",
                dir.display()
            )));
        }
    }
    Ok(all)
}

/// A SPIFFE ID, `nobody`, or a certificate's file.
pub(super) fn one(text: &str, server: &Server, domain: Option<&str>) -> Result<Candidate, Failure> {
    if text == "nobody" {
        let (name, who) = (text.to_owned(), Somebody::Nobody);
        return Ok(Candidate { name, who });
    }
    if text.starts_with("spiffe://") {
        let named = Named {
            spiffe: Some(text.to_owned()),
            ..Named::default()
        };
        let peer = named
            .verified(domain)
            .map_err(|what| Failure::new(format!("--peer: {what}")))?;
        let (name, who) = (text.to_owned(), Somebody::Named(Box::new(peer)));
        return Ok(Candidate { name, who });
    }
    let path = Path::new(text);
    if path.is_file() {
        return certificate(path, server, domain);
    }
    Err(Failure::new(format!(
        "--peer `{text}` is no SPIFFE ID, not `nobody`, and no file"
    )))
}

/// Its entries in the order of their names; what is neither a certificate nor a list is passed over.
fn directory(
    dir: &Path,
    server: &Server,
    domain: Option<&str>,
    all: &mut Vec<Candidate>,
) -> Result<(), Failure> {
    let cannot = |error| Failure::new(format!("`{}` cannot be listed: {error}", dir.display()));
    let entries = fs::read_dir(dir).map_err(cannot)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<_> = paths.collect::<Result<_, _>>().map_err(cannot)?;
    paths.sort();
    for path in paths {
        if is_hidden(&path) {
            continue;
        }
        if path.is_dir() {
            let files = CredentialFiles::detect_with_bundle(&path, "(the server's)");
            if let Ok(files) = files {
                all.push(certificate(files.chain_path(), server, domain)?);
            }
        } else if has_extension(&path, &["txt"]) {
            let text = String::from_utf8(crate::check::read(&path)?);
            let text = text
                .map_err(|_| Failure::new(format!("`{}` is no text in UTF-8", path.display())))?;
            let lines = text.lines().map(str::trim);
            for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let candidate = one(line, server, domain);
                all.push(
                    candidate
                        .map_err(|error| Failure::new(format!("`{}`: {error}", path.display())))?,
                );
            }
        } else if has_extension(&path, &["crt", "cer", "der", "pem"]) && path.is_file() {
            all.push(certificate(&path, server, domain)?);
        }
    }
    Ok(())
}

/// The chain in a file, as the server's bundle verifies it.
fn certificate(path: &Path, server: &Server, domain: Option<&str>) -> Result<Candidate, Failure> {
    let file = path.display().to_string();
    let bundle = server.bundle.as_deref().ok_or_else(|| {
        Failure::new(format!(
            "`{file}`: give the server's `--bundle`, which decides whether a certificate counts at all"
        ))
    })?;
    let mut options = CheckOptions::new(Timestamp::now());
    if let Some(domain) = domain {
        let domain = domain
            .parse()
            .map_err(|error| Failure::new(format!("`{domain}` is no trust domain: {error}")))?;
        options = options.trust_domain(domain);
    }
    let (chain, anchors) = (crate::check::read(path)?, crate::check::read(bundle)?);
    let bundle = bundle.display().to_string();
    match check::Candidate::verify((&file, &chain), (&bundle, &anchors), &options) {
        Ok(verified) => Ok(Candidate {
            name: format!("{file} ({verified})"),
            who: Somebody::Verified(verified),
        }),
        Err(CandidateError::Files(error)) => {
            Err(Failure::new(format!("{error}; {}", error.remedy())))
        }
        Err(error) => Ok(Candidate {
            who: Somebody::Refused {
                why: format!("{error}; {}", error.remedy()),
                reason: error.reason().as_str(),
            },
            name: file,
        }),
    }
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

fn has_extension(path: &Path, known: &[&str]) -> bool {
    path.extension().is_some_and(|extension| {
        let mut known = known.iter();
        known.any(|known| extension.eq_ignore_ascii_case(known))
    })
}
