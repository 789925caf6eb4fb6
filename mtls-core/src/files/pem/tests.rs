use super::*;

fn file(text: impl AsRef<[u8]>) -> FileContent {
    FileContent::of("test.pem", text.as_ref())
}

fn key_pem(algorithm: &'static rcgen::SignatureAlgorithm) -> String {
    rcgen::KeyPair::generate_for(algorithm)
        .unwrap()
        .serialize_pem()
}

fn certificate_pem() -> String {
    let made = rcgen::generate_simple_self_signed(["test".to_owned()]).unwrap();
    made.cert.pem()
}

fn malformed(text: &str) -> String {
    let outcome = bundle(&file(text));
    let Err(LoadError::PemMalformed { detail, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    detail
}

#[test]
fn a_key_is_read_whatever_its_kind() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let read = key(&file(pair.serialize_pem())).unwrap();
        assert!(matches!(*read, PrivateKeyDer::Pkcs8(_)));
        assert_eq!(read.secret_der(), pair.serialize_der());
    }
    assert!(matches!(
        *key(&file(SEC1_WITH_PARAMETERS)).unwrap(),
        PrivateKeyDer::Sec1(_)
    ));
    assert!(matches!(
        *key(&file(PKCS1)).unwrap(),
        PrivateKeyDer::Pkcs1(_)
    ));
}

#[test]
fn a_key_under_a_wrong_label_is_read_for_what_it_is() {
    let pkcs8 = key_pem(&rcgen::PKCS_ECDSA_P256_SHA256);
    let relabelled = pkcs8.replace("PRIVATE KEY", "EC PRIVATE KEY");
    assert!(matches!(
        *key(&file(relabelled)).unwrap(),
        PrivateKeyDer::Pkcs8(_)
    ));
    let relabelled = PKCS1.replace("RSA PRIVATE KEY", "PRIVATE KEY");
    assert!(matches!(
        *key(&file(relabelled)).unwrap(),
        PrivateKeyDer::Pkcs1(_)
    ));
}

#[test]
fn byte_order_mark_crlf_blanks_and_text_between_blocks_are_tolerated() {
    let (one, two) = (certificate_pem(), certificate_pem());
    let plain = bundle(&file(format!("{one}{two}"))).unwrap();
    assert_eq!(plain.len(), 2);
    let dressed = format!("\u{feff}# CN=one -----\n\n{one}\n-- CN=two\n{two}\n\n-- the end");
    assert_eq!(bundle(&file(&dressed)).unwrap(), plain);
    assert_eq!(bundle(&file(dressed.replace('\n', "\r\n"))).unwrap(), plain);
    assert_eq!(
        bundle(&file(dressed.replace("-----\n", "-----  \n"))).unwrap(),
        plain
    );
    assert_eq!(
        bundle(&file(format!("{one}{two}").trim_end())).unwrap(),
        plain
    );
}

#[test]
fn chain_and_key_may_share_a_file() {
    let (leaf, own) = (certificate_pem(), key_pem(&rcgen::PKCS_ED25519));
    for both in [
        format!("{leaf}{own}"),
        format!("{own}{leaf}"),
        format!("{own}{leaf}{own}"),
    ] {
        assert_eq!(chain(&file(&both)).unwrap().len(), 1);
        key(&file(&both)).unwrap();
    }
}

#[test]
fn a_key_in_a_bundle_is_refused() {
    for secret in [PKCS1, PKCS8_ENCRYPTED, SEC1_ENCRYPTED] {
        let mixed = file(format!("{}{secret}", certificate_pem()));
        let refused = bundle(&mixed).unwrap_err();
        assert!(
            matches!(refused, LoadError::KeyInBundle { .. }),
            "{refused}"
        );
        assert!(!refused.is_transient());
    }
}

#[test]
fn an_encrypted_key_is_refused_by_name() {
    for encrypted in [PKCS8_ENCRYPTED, SEC1_ENCRYPTED] {
        assert!(matches!(
            key(&file(encrypted)),
            Err(LoadError::KeyEncrypted { .. })
        ));
    }
}

#[test]
fn several_different_keys_are_refused_and_copies_are_one() {
    let (one, two) = (key_pem(&rcgen::PKCS_ED25519), key_pem(&rcgen::PKCS_ED25519));
    key(&file(format!("{one}{one}"))).unwrap();
    let refused = key(&file(format!("{one}{two}{one}"))).unwrap_err();
    assert!(
        matches!(refused, LoadError::KeySeveral { count: 2, .. }),
        "{refused}"
    );
}

#[test]
fn a_key_of_no_known_kind_is_refused() {
    let unheard_of = PKCS1.replace("RSA PRIVATE KEY", "OTHER PRIVATE KEY");
    let damaged = PKCS1.replace("MII", "AII");
    for text in [unheard_of, damaged] {
        let refused = key(&file(text)).unwrap_err();
        assert!(
            matches!(refused, LoadError::KeyUnsupported { .. }),
            "{refused}"
        );
    }
}

#[test]
fn nothing_to_read_is_told_apart() {
    assert!(matches!(chain(&file("")), Err(LoadError::FileEmpty { .. })));
    assert!(matches!(key(&file("")), Err(LoadError::FileEmpty { .. })));
    // An issuer without a CA to give leaves its bundle empty: that is about the bundle, not about the writing.
    assert!(matches!(
        bundle(&file("")),
        Err(LoadError::BundleEmpty { .. })
    ));
    assert!(matches!(
        bundle(&file("\n")),
        Err(LoadError::BundleEmpty { .. })
    ));
    assert!(matches!(
        chain(&file(PKCS1)),
        Err(LoadError::ChainEmpty { .. })
    ));
    assert!(matches!(
        key(&file(certificate_pem())),
        Err(LoadError::KeyMissing { .. })
    ));
}

#[test]
fn a_file_cut_anywhere_in_its_last_block_is_truncated_never_shorter() {
    let (one, two) = (certificate_pem(), certificate_pem());
    let whole = format!("{one}{two}");
    // Five dashes into the second block it can be told that there is one.
    for cut in one.len() + 5..whole.trim_end().len() {
        let outcome = bundle(&file(&whole.as_bytes()[..cut]));
        assert!(
            matches!(outcome, Err(LoadError::PemTruncated { .. })),
            "cut at {cut}: {outcome:?}"
        );
    }
    let own = key_pem(&rcgen::PKCS_ED25519);
    let cut = key(&file(&own.as_bytes()[..own.len() - 10]));
    assert!(matches!(cut, Err(LoadError::PemTruncated { .. })));
}

#[test]
fn what_the_decoder_would_pass_over_is_refused() {
    let one = certificate_pem();
    let indented = format!("{one}  {}", one.replace('\n', "\n  "));
    let refused = bundle(&file(indented)).unwrap_err().to_string();
    assert!(refused.contains("is indented PEM"), "{refused}");
    let headless = format!("{}{one}", one.replace("-----BEGIN CERTIFICATE-----\n", ""));
    assert!(malformed(&headless).contains("an end without its beginning"));
    let endless = format!("{}{one}", one.replace("-----END CERTIFICATE-----\n", ""));
    assert!(malformed(&endless).contains("begins at line 1 has no end"));
    let crossed = one.replace("END CERTIFICATE", "END PUBLIC KEY");
    assert!(malformed(&crossed).contains("an end without its beginning"));
    let dashes = one.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE----");
    assert!(malformed(&dashes).starts_with("line 1: the marker"));
}

#[test]
fn damaged_base64_is_refused_with_its_line() {
    let one = certificate_pem();
    let mut lines: Vec<_> = one.lines().map(str::to_owned).collect();
    lines[2].replace_range(4..5, "!");
    let damaged = malformed(&format!("first line\n{}", lines.join("\n")));
    assert_eq!(
        damaged,
        "line 4, in the block that begins at line 2: no base64"
    );
    lines[2].replace_range(4..5, "");
    assert!(malformed(&lines.join("\n")).ends_with("its base64 is cut short"));
}

#[test]
fn an_error_about_a_key_never_quotes_it() {
    let damaged = PKCS1.replacen("MII", "*II", 1);
    let refused = key(&file(&damaged)).unwrap_err();
    let shown = format!("{refused} {refused:?}");
    for line in damaged.lines().filter(|line| line.len() == 64) {
        let (start, _) = line.split_at(8);
        assert!(!shown.contains(start));
    }
}

const SEC1_WITH_PARAMETERS: &str = include_str!("vectors/sec1_with_parameters.pem");
const SEC1_ENCRYPTED: &str = include_str!("vectors/sec1_encrypted.pem");
const PKCS1: &str = include_str!("vectors/pkcs1.pem");
const PKCS8_ENCRYPTED: &str = include_str!("vectors/pkcs8_encrypted.pem");
