//! Bytes that are wrong as they are.

pub(in crate::testing) const NO_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
dGhpcyBpcyBubyBjZXJ0aWZpY2F0ZQ==
-----END CERTIFICATE-----
";

pub(super) const NO_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
dGhpcyBpcyBubyBwcml2YXRlIGtleQ==
-----END PRIVATE KEY-----
";

/// A P-256 key made by OpenSSL for this file and used nowhere; the password is `secret`.
pub(super) const ENCRYPTED_KEY: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiQftsyMMLihQICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEL879bf6QA2c0SorrzIQVDkEgZDn
aq6vRxXsl8sbYah0va3Y6+Ioi5b7m2D1QbTqAf5WqlK+yhnjkllO/0v1TadQeKp6
bkXW/x+1Y0PFUMWP2X/M6DZPey8eOOJfLQd75KuJxkhBDXKnh48OCEZ7wQn8VSK0
a6VI6DyAM1ILqFEfjkLcQX1lySaf70Fvkpf6MsxWC6Q2bU9V+gymNkvqj4igCUs=
-----END ENCRYPTED PRIVATE KEY-----
";

/// Another, likewise.
pub(super) const ENCRYPTED_KEY_LEGACY: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,ADD008DAB1A9151D310029849DB30672

A3MVeACuH6cQw0mXoTHGnNrKnjjsTa9U365hvryvEdXzT65/SlE/KmRzNfnQfIGX
y5dhfRYU8BfxFhrkLWiY7q1QredBqxvInxRiPDauAKScXnghfe3wuk5Xk+7NwMEL
QBL38FlaoVgnpt1oj2hVIklEPkpp1307d97PuB0pb9s=
-----END EC PRIVATE KEY-----
";

/// Of an Ed25519 key the first line, which says so: `openssh-key-v1`. There is no key in it.
pub(super) const OPENSSH_KEY: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB
-----END OPENSSH PRIVATE KEY-----
";

/// The line `-----BEGIN CERTIFICATE-----` in base64.
pub(super) const CERTIFICATE_MARKER_IN_BASE64: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==\n";

// Of the keystores the beginning of one that keytool or OpenSSL wrote, by which all of them are known.

/// Magic number, version 2, one entry.
pub(super) const JCEKS: &[u8] = b"\xce\xce\xce\xce\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\x01a";
/// Magic number, version 2, one entry.
pub(super) const JKS: &[u8] = b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\x01a";
/// Version 3, then a ContentInfo of the type data.
pub(super) const PKCS12: &[u8] =
    b"\x30\x82\x03\xfc\x02\x01\x03\x30\x82\x03\xb2\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
