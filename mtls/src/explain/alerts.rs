//! TLS alerts, by every name that somebody may have read.

/// An alert (RFC 8446 §6.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) code: u8,
    /// As the RFC writes it.
    pub(super) name: &'static str,
    /// As Go and GnuTLS print it, where their words are not the name's.
    others: &'static [&'static str],
    pub(super) means: &'static str,
    pub(super) sections: &'static [&'static str],
}

/// By name or number alone.
pub(super) fn named(text: &str) -> Option<&'static Alert> {
    let name = squeezed(text);
    let name = name.strip_prefix("alert").unwrap_or(&name);
    let number = name.strip_prefix("number").unwrap_or(name);
    let code = number.parse().ok();
    ALERTS.iter().find(|alert| {
        Some(alert.code) == code
            || squeezed(alert.name) == name
            || alert.others.iter().any(|other| squeezed(other) == name)
    })
}

/// Within an error's text.
pub(super) fn within(text: &str) -> Option<&'static Alert> {
    let squeezed_text = squeezed(text);
    let is_there = |words: &str, before: &[&str]| {
        let words = squeezed(words);
        before
            .iter()
            .any(|before| squeezed_text.contains(&format!("{before}{words}")))
    };
    // `alert bad certificate`, and rustls' `fatal alert: BadCertificate`; Go's `remote error: tls: bad certificate`. The
    // longest, since Go's `unknown certificate authority` begins as `unknown certificate` does.
    let length = |alert: &Alert| {
        let name = is_there(alert.name, &["alert", "remoteerrortls"]).then_some(alert.name);
        let others = alert.others.iter().copied();
        let others = others.filter(|other| is_there(other, &["alert", "remoteerrortls"]));
        name.into_iter().chain(others).map(str::len).max()
    };
    let found = ALERTS
        .iter()
        .filter_map(|alert| Some((length(alert)?, alert)));
    let by_name = found
        .max_by_key(|(length, _)| *length)
        .map(|(_, alert)| alert);
    by_name.or_else(|| {
        // `SSL alert number 48`, `Received alert [48]`.
        let mut numbers = text.to_ascii_lowercase();
        numbers.retain(|c| c.is_ascii_alphanumeric() || c == '[');
        let after = numbers
            .split_once("alertnumber")
            .or_else(|| numbers.split_once("alert["))?
            .1;
        let end = after.find(|c: char| !c.is_ascii_digit());
        let code: u8 = after.get(..end.unwrap_or(after.len()))?.parse().ok()?;
        ALERTS.iter().find(|alert| alert.code == code)
    })
}

/// Letters and digits, in lower case: each stack has its own way with the rest.
fn squeezed(text: &str) -> String {
    let kept = text.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

pub(super) const ALERTS: &[Alert] = &[
    Alert {
        code: 49,
        name: "access_denied",
        others: &[],
        means: "the certificate is accepted and its identity is not authorized there; GnuTLS' own server says it of any fault",
        sections: &["refused_by_peer", "not_authorized"],
    },
    Alert {
        code: 42,
        name: "bad_certificate",
        others: &[],
        means: "a certificate is malformed or breaks a rule; older Go says it of any fault at all, a missing certificate included",
        sections: &["refused_by_peer", "malformed_certificate"],
    },
    Alert {
        code: 20,
        name: "bad_record_mac",
        others: &[],
        means: "bytes were changed on the way, or two programs write to one connection",
        sections: &["refused_by_peer", "tls_protocol"],
    },
    Alert {
        code: 45,
        name: "certificate_expired",
        others: &["expired certificate"],
        means: "a certificate has expired, or is not valid yet, by the peer's clock",
        sections: &["refused_by_peer", "expired", "not_yet_valid"],
    },
    Alert {
        code: 116,
        name: "certificate_required",
        others: &[],
        means: "a certificate is required and none was sent",
        sections: &["refused_by_peer", "no_peer_certificate"],
    },
    Alert {
        code: 44,
        name: "certificate_revoked",
        others: &["revoked certificate"],
        means: "the certificate is on the peer's revocation list",
        sections: &["refused_by_peer", "revoked"],
    },
    Alert {
        code: 46,
        name: "certificate_unknown",
        others: &["unknown certificate"],
        means: "the certificate was refused for a reason that is not told; rustls says it of a CA as leaf, of constraints and depth",
        sections: &[
            "refused_by_peer",
            "not_end_entity",
            "ca_constraint",
            "name_constraint",
        ],
    },
    Alert {
        code: 50,
        name: "decode_error",
        others: &["error decoding message"],
        means: "a message could not be read: another protocol, or a broken peer",
        sections: &["refused_by_peer", "tls_protocol"],
    },
    Alert {
        code: 51,
        name: "decrypt_error",
        others: &["error decrypting message"],
        means: "a signature did not verify; it is not about decryption. Two CAs of one name with different keys, most likely",
        sections: &["refused_by_peer", "untrusted_key", "unsupported_algorithm"],
    },
    Alert {
        code: 40,
        name: "handshake_failure",
        others: &[],
        means: "nothing in common to go on with; before TLS 1.3 also a missing certificate, and of rustls a broken revocation list",
        sections: &["refused_by_peer", "no_common_parameters", "crl_unusable"],
    },
    Alert {
        code: 47,
        name: "illegal_parameter",
        others: &[],
        means: "a value is out of range or contradicts another: a broken peer, or something between that changes bytes",
        sections: &["refused_by_peer", "tls_protocol"],
    },
    Alert {
        code: 71,
        name: "insufficient_security",
        others: &["insufficient security level"],
        means: "the peer wants stronger suites or keys than were offered",
        sections: &["refused_by_peer", "no_common_parameters"],
    },
    Alert {
        code: 80,
        name: "internal_error",
        others: &[],
        means: "the peer broke, in its verifier or by its own key; only its log knows",
        sections: &["refused_by_peer"],
    },
    Alert {
        code: 109,
        name: "missing_extension",
        others: &[],
        means: "the peer needs an extension that was not sent, such as the server's name (SNI)",
        sections: &["refused_by_peer", "unknown_server_name"],
    },
    Alert {
        code: 120,
        name: "no_application_protocol",
        others: &[],
        means: "the peer speaks none of the application protocols that were offered (ALPN)",
        sections: &["refused_by_peer", "no_common_protocol"],
    },
    Alert {
        code: 70,
        name: "protocol_version",
        others: &["protocol version not supported"],
        means: "one side speaks TLS 1.3 alone, the other 1.2 alone",
        sections: &["refused_by_peer", "no_common_parameters"],
    },
    Alert {
        code: 22,
        name: "record_overflow",
        others: &[],
        means: "a record is larger than TLS allows: plaintext on a TLS port, most likely",
        sections: &["refused_by_peer", "plaintext_peer"],
    },
    Alert {
        code: 10,
        name: "unexpected_message",
        others: &[],
        means: "a message came out of turn: another protocol on this port, or a broken peer",
        sections: &["refused_by_peer", "tls_protocol", "plaintext_peer"],
    },
    Alert {
        code: 48,
        name: "unknown_ca",
        others: &["unknown certificate authority"],
        means: "the peer has no CA that the chain leads to; rustls says it of a stale list and of unknown revocation too",
        sections: &[
            "refused_by_peer",
            "unknown_issuer",
            "crl_stale",
            "revocation_unknown",
        ],
    },
    Alert {
        code: 112,
        name: "unrecognized_name",
        others: &["unrecognised_name"],
        means: "the server has no identity for the name that was asked for (SNI)",
        sections: &["refused_by_peer", "unknown_server_name"],
    },
    Alert {
        code: 43,
        name: "unsupported_certificate",
        others: &[],
        means: "the certificate may not be used in this role, or its kind is not supported",
        sections: &["refused_by_peer", "wrong_usage"],
    },
    Alert {
        code: 90,
        name: "user_canceled",
        others: &[],
        means: "the peer gave up for a reason of its own",
        sections: &["refused_by_peer", "peer_closed"],
    },
];
