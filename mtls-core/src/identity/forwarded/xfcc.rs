//! Envoy's `x-forwarded-client-cert`.
//!
//! Elements are separated by `,` and their pairs by `;`. A proxy appends its own element to what came from before it,
//! and that may have come from anybody. So everything is read from the left by one strict grammar: a quote that was left
//! open before the last element is an error, and never moves the place where the last element begins.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::claims::{Claims, XFCC, joined};
use super::error::ForwardedError;
use crate::identity::certificate::{Certificate, UriName, hex};

/// What the last element claims; nothing without the header.
pub(super) fn read<'v>(
    lines: impl IntoIterator<Item = &'v [u8]>,
) -> Result<Option<Claims>, ForwardedError> {
    let Some(text) = joined(XFCC, lines)? else {
        return Ok(None);
    };
    last_element(&text)?.claims().map(Some)
}

/// What an element says, undecoded. `By` names the proxy, which the connection has proven; it is not looked at.
#[derive(Default)]
struct Element {
    hash: Option<String>,
    cert: Option<String>,
    chain: Option<String>,
    subject: Option<String>,
    uris: Vec<String>,
    dns: Vec<String>,
}

fn last_element(text: &str) -> Result<Element, ForwardedError> {
    let mut cursor = Cursor { text, at: 0 };
    let mut element = Element::default();
    loop {
        let key_at = cursor.at;
        let key = cursor.key()?;
        let value = cursor.value()?;
        element.add(key, value, key_at)?;
        match cursor.next() {
            None => return Ok(element),
            Some(b';') => {}
            Some(b',') => element = Element::default(),
            Some(_) => return Err(cursor.malformed("`;`, `,` or the end behind a value")),
        }
        cursor.at += 1;
    }
}

impl Element {
    fn add(&mut self, key: &str, value: String, at: usize) -> Result<(), ForwardedError> {
        let once = |place: &mut Option<String>, value| match place.replace(value) {
            None => Ok(()),
            // Which of two counts would depend on who reads.
            Some(_) => Err(malformed(at, "a key that was not there before")),
        };
        // "Each key is case-insensitive": so says Envoy's description of the header.
        match key.to_ascii_lowercase().as_str() {
            "hash" => once(&mut self.hash, value),
            "cert" => once(&mut self.cert, value),
            "chain" => once(&mut self.chain, value),
            "subject" => once(&mut self.subject, value),
            // Envoy writes `URI=` for a certificate without one.
            "uri" if !value.is_empty() => {
                self.uris.push(value);
                Ok(())
            }
            "dns" if !value.is_empty() => {
                self.dns.push(value);
                Ok(())
            }
            // `By`, and keys of later versions: nothing that says who the client is.
            _ => Ok(()),
        }
    }

    fn claims(self) -> Result<Claims, ForwardedError> {
        let hash = self.hash.as_deref().map(sha256).transpose()?;
        let subject = self.subject.filter(|subject| !subject.is_empty());
        let leaf = self.cert.as_deref().map(certificates).transpose()?;
        let chain = self.chain.as_deref().map(certificates).transpose()?;
        let chain = match (leaf, chain) {
            (None, None) => {
                let mut claims = Claims::of_names(&self.uris, &self.dns)?;
                if self.uris.is_empty()
                    && self.dns.is_empty()
                    && subject.is_none()
                    && hash.is_none()
                {
                    return Err(ForwardedError::Nobody);
                }
                claims.subject = subject;
                claims.sha256 = hash;
                return Ok(claims);
            }
            (Some(leaf), None) if leaf.len() > 1 => {
                let detail = format!("`Cert` holds {} certificates, expected one", leaf.len());
                return Err(ForwardedError::MalformedCertificate { detail });
            }
            (Some(leaf), None) => leaf,
            (None, Some(chain)) => chain,
            // The chain begins with the leaf.
            (Some(leaf), Some(chain)) if leaf.first() == chain.first() && leaf.len() == 1 => chain,
            (Some(_), Some(_)) => return Err(ForwardedError::Disagreement { key: "Chain" }),
        };
        let claims = Claims::of_chain(chain)?;
        if hash.is_some() && hash != claims.sha256 {
            return Err(ForwardedError::Disagreement { key: "Hash" });
        }
        agrees(&self.uris, &self.dns, &claims)?;
        Ok(claims)
    }
}

/// Names beside a certificate are those of the certificate, or somebody has added to them.
fn agrees(uris: &[String], dns: &[String], claims: &Claims) -> Result<(), ForwardedError> {
    let Some(Ok(leaf)) = claims.chain.first().map(|der| Certificate::parse(der)) else {
        return Ok(());
    };
    let same_uri = |uri: &String| leaf.names.uris.contains(&UriName::Text(uri.clone()));
    if !uris.iter().all(same_uri) {
        return Err(ForwardedError::Disagreement { key: "URI" });
    }
    let same_dns = |name: &String| leaf.names.dns.contains(&name.to_ascii_lowercase());
    if !dns.iter().all(same_dns) {
        return Err(ForwardedError::Disagreement { key: "DNS" });
    }
    Ok(())
}

fn sha256(hash: &str) -> Result<[u8; 32], ForwardedError> {
    let digits = hash.to_ascii_lowercase();
    let pairs = digits.as_bytes().chunks_exact(2);
    let bytes: Vec<u8> = pairs
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    match <[u8; 32]>::try_from(bytes) {
        // The comparison refuses what is no digit to anybody else, such as a sign.
        Ok(sha256) if hex(&sha256) == digits => Ok(sha256),
        Ok(_) | Err(_) => Err(malformed(0, "64 hex digits in `Hash`")),
    }
}

/// PEM in percent-encoding, at least one certificate and nothing else.
fn certificates(value: &str) -> Result<Vec<CertificateDer<'static>>, ForwardedError> {
    let malformed = |detail: String| ForwardedError::MalformedCertificate { detail };
    let pem = percent_decoded(value).ok_or_else(|| malformed("no percent-encoding".into()))?;
    let begins = pem.split("-----BEGIN ").count() - 1;
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(format!("no PEM: {error}")))?;
    // The reader passes over blocks of another kind.
    if found.is_empty() || found.len() != begins {
        let detail = format!(
            "{begins} PEM blocks, of which {} are certificates",
            found.len()
        );
        return Err(malformed(detail));
    }
    Ok(found)
}

/// RFC 3986 §2.1; a `+` is a `+`.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded)
        .ok()
        .filter(|text| text.is_ascii())
}

fn hex_digit(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest().trim_start_matches([' ', '\t']);
        self.at = self.text.len() - rest.len();
    }

    /// A key and its `=`.
    fn key(&mut self) -> Result<&'t str, ForwardedError> {
        self.skip_blanks();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        let key = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if key.is_empty() {
            return Err(self.malformed("a key"));
        }
        self.at += key.len();
        if self.next() != Some(b'=') {
            return Err(self.malformed("`=` behind a key"));
        }
        self.at += 1;
        Ok(key)
    }

    /// A value, up to what has to be `;`, `,` or the end.
    fn value(&mut self) -> Result<String, ForwardedError> {
        if self.next() == Some(b'"') {
            self.at += 1;
            return self.quoted();
        }
        let rest = self.rest();
        let value = rest.split([';', ',']).next().unwrap_or_default();
        if let Some(quote) = value.find('"') {
            self.at += quote;
            return Err(self.malformed("no quote inside a value that is not quoted"));
        }
        self.at += value.len();
        Ok(value.trim_end_matches([' ', '\t']).to_owned())
    }

    /// Envoy escapes the quote and nothing else: any other backslash, of which distinguished names have many, is itself.
    fn quoted(&mut self) -> Result<String, ForwardedError> {
        let mut value = String::new();
        let mut characters = self.rest().char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    self.skip_blanks();
                    return Ok(value);
                }
                '\\' if characters.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
                other => value.push(other),
            }
        }
        self.at = self.text.len();
        Err(self.malformed("the quote that ends a value"))
    }

    fn malformed(&self, expected: &'static str) -> ForwardedError {
        malformed(self.at, expected)
    }
}

fn malformed(at: usize, expected: &'static str) -> ForwardedError {
    ForwardedError::MalformedHeader {
        header: XFCC,
        at,
        expected,
    }
}
