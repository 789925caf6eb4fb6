//! The same with OpenSSL, for whoever has to be shown it.

use std::path::Path;

use mtls_core::CredentialFiles;
use mtls_core::rustls::pki_types::ServerName;

use super::Arguments;

pub(super) fn line(arguments: &Arguments, name: &ServerName<'_>) -> String {
    let mut words = vec![
        "openssl s_client -connect".to_owned(),
        quoted(&arguments.target),
    ];
    let named = name.to_str();
    let is_dns = matches!(name, ServerName::DnsName(_));
    // RFC 6066 §3: no address is a server name.
    match is_dns {
        true => words.extend(["-servername".to_owned(), quoted(&named)]),
        false => words.push("-noservername".to_owned()),
    }
    let files = arguments.dir.as_ref().map(CredentialFiles::detect);
    if let Some(Ok(files)) = files {
        let (chain, key) = (path(files.chain_path()), path(files.key_path()));
        let bundle = path(files.bundle_path());
        words.push(format!(
            "-CAfile {bundle} -cert {chain} -cert_chain {chain} -key {key}"
        ));
        if arguments.expected.is_none() {
            let by = if is_dns {
                "-verify_hostname"
            } else {
                "-verify_ip"
            };
            words.extend([by.to_owned(), quoted(&named)]);
        }
    }
    words.join(" ")
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-:@%+=,".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
