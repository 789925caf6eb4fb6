//! What a file is that should have been something else.

use std::fmt;

/// What a file turned out to be, where a chain, a bundle or a private key was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileFormat {
    /// PEM that is encoded in base64 once more, as the `data` of a Secret manifest has it.
    Base64Pem,
    /// A request for a certificate (PKCS#10), not a certificate.
    CertificateRequest,
    /// PEM whose line breaks are a backslash and an `n`, as they are in JSON and in environment variables.
    EscapedNewlines,
    /// HTML or XML: often an error or a login page that was downloaded in place of the file.
    Html,
    /// PEM whose markers are indented, as it is within YAML.
    IndentedPem,
    /// A Java keystore with Sun's JCE encryption (JCEKS).
    Jceks,
    /// A Java keystore (JKS).
    Jks,
    /// JSON, which may hold PEM in one of its fields.
    Json,
    /// A private key in the format of OpenSSH.
    OpenSshKey,
    /// A keystore or truststore of the kind `.p12` or `.pfx` (PKCS#12).
    Pkcs12,
    /// Certificates in a `.p7b` (PKCS#7, CMS), in PEM or DER.
    Pkcs7,
    /// A public key, without a private one.
    PublicKey,
    /// A certificate revocation list.
    RevocationList,
    /// PEM under OpenSSL's label `TRUSTED CERTIFICATE`: a certificate, followed by what it is trusted for.
    TrustedCertificate,
    /// Text in UTF-16.
    Utf16,
    /// PEM under the obsolete label `X509 CERTIFICATE`.
    X509Certificate,
}

impl FileFormat {
    /// How to make of it what is needed, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Base64Pem => {
                "decode it once: `base64 -d FILE > FILE.pem`; in a Secret manifest use `stringData` for what is not encoded"
            }
            Self::CertificateRequest => {
                "put the certificate here that the CA issued for this request: `openssl req -in FILE -text` shows whose it is"
            }
            Self::EscapedNewlines => {
                "write real line breaks: `printf '%b' \"$(cat FILE)\" > FILE.pem`"
            }
            Self::Html => {
                "look at what it says, then fetch the file again so that errors are not saved: `curl --fail --location`"
            }
            Self::IndentedPem => {
                "remove the indentation: `sed 's/^[[:space:]]*//' FILE > FILE.pem`; in YAML, use a block scalar (`|`)"
            }
            Self::Jceks => {
                "export it: `keytool -importkeystore -srckeystore FILE -srcstoretype JCEKS -destkeystore FILE.p12 \
                 -deststoretype PKCS12`, then `openssl pkcs12 -in FILE.p12 -nodes -out FILE.pem`"
            }
            Self::Jks => {
                "export it: `keytool -importkeystore -srckeystore FILE -destkeystore FILE.p12 -deststoretype PKCS12`, then \
                 `openssl pkcs12 -in FILE.p12 -nodes -out FILE.pem`; cert-manager has PEM in the same Secret"
            }
            Self::Json => {
                "take the PEM out of it: `jq -r .FIELD FILE > FILE.pem`, in Vault's answers `.data.certificate`"
            }
            Self::OpenSshKey => {
                "convert it: `ssh-keygen -p -m PKCS8 -N '' -f FILE`, which changes the file; an Ed25519 key has to be issued anew"
            }
            Self::Pkcs12 => {
                "export it: `openssl pkcs12 -in FILE -nodes -out FILE.pem` (`-nokeys` for a truststore); cert-manager has \
                 PEM in the same Secret"
            }
            Self::Pkcs7 => {
                "export it: `openssl pkcs7 -print_certs -in FILE -out FILE.pem`, with `-inform DER` if it is not text"
            }
            Self::PublicKey => {
                "put the private key or the certificate here that this public key was taken from"
            }
            Self::RevocationList => {
                "name it with `CredentialFiles::revocation_lists`, and put certificates here"
            }
            Self::TrustedCertificate => {
                "write each certificate without its trust settings: `openssl x509 -in FILE -out FILE.pem`"
            }
            Self::Utf16 => "convert it to UTF-8: `iconv -f UTF-16 -t UTF-8 FILE > FILE.pem`",
            Self::X509Certificate => {
                "correct the label: `sed 's/X509 CERTIFICATE/CERTIFICATE/' FILE > FILE.pem`"
            }
        }
    }

    /// The format that a PEM label stands for, if it is one of those that are not taken.
    pub(super) fn of_label(label: &[u8]) -> Option<Self> {
        match label {
            b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => Some(Self::CertificateRequest),
            b"CMS" | b"PKCS #7 SIGNED DATA" | b"PKCS7" => Some(Self::Pkcs7),
            b"OPENSSH PRIVATE KEY" => Some(Self::OpenSshKey),
            b"PUBLIC KEY" | b"RSA PUBLIC KEY" => Some(Self::PublicKey),
            b"X509 CRL" => Some(Self::RevocationList),
            b"TRUSTED CERTIFICATE" => Some(Self::TrustedCertificate),
            b"X509 CERTIFICATE" => Some(Self::X509Certificate),
            _ => None,
        }
    }

    /// Whether there are certificates in it, which would be lost if it were passed over.
    pub(super) fn has_certificates(self) -> bool {
        match self {
            Self::Base64Pem
            | Self::EscapedNewlines
            | Self::IndentedPem
            | Self::Jceks
            | Self::Jks
            | Self::Pkcs12
            | Self::Pkcs7
            | Self::TrustedCertificate
            | Self::X509Certificate => true,
            Self::CertificateRequest
            | Self::Html
            | Self::Json
            | Self::OpenSshKey
            | Self::PublicKey
            | Self::RevocationList
            | Self::Utf16 => false,
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base64Pem => "PEM encoded in base64 once more",
            Self::CertificateRequest => "a certificate signing request",
            Self::EscapedNewlines => "PEM with `\\n` in place of line breaks",
            Self::Html => "HTML or XML",
            Self::IndentedPem => "indented PEM",
            Self::Jceks => "a Java keystore (JCEKS)",
            Self::Jks => "a Java keystore (JKS)",
            Self::Json => "JSON",
            Self::OpenSshKey => "a private key in OpenSSH's format",
            Self::Pkcs12 => "a PKCS#12 keystore",
            Self::Pkcs7 => "PKCS#7",
            Self::PublicKey => "a public key",
            Self::RevocationList => "a certificate revocation list",
            Self::TrustedCertificate => "PEM labelled `TRUSTED CERTIFICATE`",
            Self::Utf16 => "text in UTF-16",
            Self::X509Certificate => "PEM labelled `X509 CERTIFICATE`",
        })
    }
}

#[cfg(test)]
mod tests;
