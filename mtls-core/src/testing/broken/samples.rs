//! Bytes that are wrong as they are.

pub(super) const NO_CERTIFICATE: &str = "\
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
