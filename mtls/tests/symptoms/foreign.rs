//! What is not ours to produce: the texts as they were measured with other stacks, or reported, lead on all the same.

use crate::leads_to;

#[test]
fn the_words_of_other_stacks_lead_to_their_section() {
    for (text, section) in [
        // rustls with ring, or with a CA that no tool of ours makes.
        (
            "invalid peer certificate: UnsupportedSignatureAlgorithmContext { signature_algorithm_id: [6, 9, 42] }",
            "unsupported_algorithm",
        ),
        (
            "invalid peer certificate: UnsupportedSignatureAlgorithmForPublicKeyContext { .. }",
            "unsupported_algorithm",
        ),
        ("peer sent no certificates", "no_peer_certificate"),
        ("received fatal alert: InternalError", "refused_by_peer"),
        ("cannot decrypt peer's message", "refused_by_peer"),
        (
            "Could not automatically determine the process-level CryptoProvider from Rustls crate features",
            "crypto_provider",
        ),
        (
            "no process-level CryptoProvider available",
            "crypto_provider",
        ),
        ("incompatible TLS identity type", "identity_kind"),
        // tonic.
        (
            r#"Status { code: Unknown, message: "transport error" }"#,
            "refused_by_peer",
        ),
        (
            r#"Status { code: Cancelled, message: "operation was canceled" }"#,
            "refused_by_peer",
        ),
        // Go.
        (
            "x509: certificate relies on legacy Common Name field, use SANs instead",
            "no_san",
        ),
        (
            "x509: certificate signed by unknown authority",
            "unknown_issuer",
        ),
        (
            "tls: client didn't provide a certificate",
            "no_peer_certificate",
        ),
        ("remote error: tls: bad certificate", "refused_by_peer"),
        // OpenSSL, curl, Python.
        (
            "error:0A00045C:SSL routines::tlsv13 alert certificate required:SSL alert number 116",
            "refused_by_peer",
        ),
        (
            "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)",
            "refused_by_peer",
        ),
        ("Verify return code: 0 (ok)", "refused_by_peer"),
        (
            "certificate verify failed: Missing Authority Key Identifier (_ssl.c:1028)",
            "malformed_certificate",
        ),
        (
            "curl: (60) SSL certificate problem: unable to get local issuer certificate",
            "unknown_issuer",
        ),
        (
            "error:0A00010B:SSL routines::wrong version number",
            "plaintext_peer",
        ),
        // GnuTLS, nginx.
        (
            "Received alert [116]: Certificate is required",
            "refused_by_peer",
        ),
        (
            "400 No required SSL certificate was sent",
            "no_peer_certificate",
        ),
    ] {
        leads_to(text, section);
    }
}
