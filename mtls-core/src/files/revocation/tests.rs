use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList,
    CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    SerialNumber, date_time_ymd,
};

use super::super::file_set::read_set;
use super::super::fixture::{tempdir, write_plain};
use super::super::pem;
use super::*;
use crate::testing::TestCa;

fn list() -> CertificateRevocationList {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let issuer = Issuer::new(params, KeyPair::generate().unwrap());
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2026, 2, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, LoadError> {
    let lists = revocation_lists(&FileContent::of("ca.crl", bytes))?;
    Ok(lists.iter().map(|der| der.to_vec()).collect())
}

#[test]
fn lists_are_read_from_pem_and_der_however_they_are_written() {
    let (a, b) = (list(), list());
    let (pem, both) = (a.pem().unwrap(), a.pem().unwrap() + &b.pem().unwrap());
    let [a, b] = [a.der().to_vec(), b.der().to_vec()];
    for one in [pem.as_bytes(), &a] {
        assert_eq!(read(one).unwrap(), std::slice::from_ref(&a));
    }
    for text in [
        both.clone(),
        both.replace('\n', "\r\n"),
        format!("\u{feff}{both}"),
        format!("Certificate Revocation List (CRL):\n  Version 2\n{both}\n"),
    ] {
        assert_eq!(read(text.as_bytes()).unwrap(), [a.clone(), b.clone()]);
    }
}

#[test]
fn what_is_no_list_is_refused_by_name_even_beside_one() {
    let ca = TestCa::new("example.org");
    let issued = ca.issue("/web");
    let good = list().pem().unwrap();
    let beside = |other: &str| (good.clone() + other).into_bytes();
    let rows = [
        (beside(issued.key_pem()), "a private key at line"),
        (beside(&ca.root_pem()), "a certificate at line"),
        (
            beside("-----BEGIN PKCS7-----\nMAAA\n-----END PKCS7-----\n"),
            "PKCS#7 at line",
        ),
        (
            beside("-----BEGIN DH PARAMETERS-----\nMAAA\n-----END DH PARAMETERS-----\n"),
            "a PEM block of another kind at line",
        ),
        (ca.root_der().to_vec(), "a certificate in DER"),
        (
            issued.key_der().secret_der().to_vec(),
            "a private key in DER",
        ),
        (b"{}".to_vec(), "JSON"),
        (b"<html>".to_vec(), "HTML or XML"),
    ];
    for (bytes, expected) in rows {
        match read(&bytes) {
            Err(LoadError::CrlUnexpected { found, .. }) => {
                assert!(found.starts_with(expected), "{found}, expected {expected}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn a_file_without_a_list_or_with_half_of_one_is_an_error() {
    for nothing in ["", "\n\n", "no list today\n"] {
        let refused = read(nothing.as_bytes()).unwrap_err();
        assert!(
            matches!(refused, LoadError::CrlMissing { .. }),
            "{nothing:?}"
        );
        assert_eq!(refused.reason().as_str(), "crl_unusable");
    }
    let list = list();
    let (pem, der) = (list.pem().unwrap(), list.der());
    let half = read(&pem.as_bytes()[..pem.len() / 2]);
    assert!(matches!(half, Err(LoadError::PemTruncated { .. })));
    let half = read(&der[..der.len() / 2]);
    assert!(matches!(half, Err(LoadError::DerTruncated { .. })));
}

#[test]
fn a_list_in_the_place_of_a_bundle_is_named() {
    let list = list();
    for bytes in [list.der().to_vec(), list.pem().unwrap().into_bytes()] {
        let refused = pem::bundle(&FileContent::of("ca.crt", &bytes)).unwrap_err();
        let found = FileFormat::RevocationList;
        assert!(
            matches!(refused, LoadError::WrongFormat { found: f, .. } if f == found),
            "{refused:?}"
        );
    }
}

#[test]
fn a_directory_gives_the_lists_of_all_its_files_and_an_error_for_each_that_is_none() {
    let (_guard, dir) = tempdir();
    let lists = dir.join("crl");
    fs::create_dir(&lists).unwrap();
    let other: TrustDomain = "b.example".parse().unwrap();
    fs::write(dir.join("b.crl"), list().der()).unwrap();
    let files = write_plain(&dir, "")
        .revocation_lists(&lists)
        .revocation_lists_for(other.clone(), dir.join("b.crl"));
    let counts = || {
        let all = revocation(&read_set(&files).unwrap());
        assert_eq!(all[&Some(other.clone())].lists.len(), 1);
        let local = &all[&None];
        (local.lists.len(), local.faults.clone())
    };
    assert!(
        matches!(counts(), (0, faults) if matches!(faults[..], [LoadError::CrlMissing { .. }]))
    );
    for name in ["ca.crl", "crl.pem", "ca-crl.pem", "ca.crl.pem"] {
        fs::write(lists.join(name), list().pem().unwrap()).unwrap();
    }
    for passed in ["README", ".staged.pem", "ca.crl.old"] {
        fs::write(lists.join(passed), "no list").unwrap();
    }
    assert!(matches!(counts(), (4, faults) if faults.is_empty()));
    fs::write(
        lists.join("root.pem"),
        TestCa::new("example.org").root_pem(),
    )
    .unwrap();
    let unexpected = |fault: &[_]| matches!(fault, [LoadError::CrlUnexpected { .. }]);
    assert!(matches!(counts(), (4, faults) if unexpected(&faults)));
    fs::write(lists.join("root.pem"), "").unwrap();
    fs::write(lists.join("another.pem"), "no list").unwrap();
    let missing = |fault: &LoadError| matches!(fault, LoadError::CrlMissing { .. });
    assert!(matches!(counts(), (4, faults) if faults.len() == 2 && faults.iter().all(missing)));
    fs::remove_dir_all(&lists).unwrap();
    assert!(
        matches!(counts(), (0, faults) if matches!(faults[..], [LoadError::FileMissing { .. }]))
    );
}

#[test]
fn several_paths_of_one_domain_are_added_up_and_each_fails_by_itself() {
    let (_guard, dir) = tempdir();
    for name in ["a.crl", "b.crl"] {
        fs::write(dir.join(name), list().der()).unwrap();
    }
    let files = write_plain(&dir, "")
        .revocation_lists(dir.join("a.crl"))
        .revocation_lists(dir.join("b.crl"));
    let local = || {
        revocation(&read_set(&files).unwrap())
            .remove(&None)
            .unwrap()
    };
    let paths = |found: &RevocationFound| -> Vec<_> {
        found.lists.iter().map(|list| list.path.clone()).collect()
    };
    let both = local();
    assert_eq!(paths(&both), [dir.join("a.crl"), dir.join("b.crl")]);
    assert!(both.faults.is_empty());
    fs::remove_file(dir.join("a.crl")).unwrap();
    let one = local();
    assert_eq!(paths(&one), [dir.join("b.crl")]);
    assert!(matches!(one.faults[..], [LoadError::FileMissing { .. }]));
}

#[test]
fn a_list_may_be_larger_than_a_certificate_file_and_all_have_a_limit() {
    let (_guard, dir) = tempdir();
    let text = "#".repeat(2 * 1024 * 1024) + "\n" + &list().pem().unwrap();
    fs::write(dir.join("large.crl"), text).unwrap();
    let files = write_plain(&dir, "").revocation_lists(dir.join("large.crl"));
    let local = |files: &_| revocation(&read_set(files).unwrap()).remove(&None).unwrap();
    assert_eq!(local(&files).lists.len(), 1);
    // A hole: it has a size, and takes no space.
    let hole = fs::File::create(dir.join("large.crl")).unwrap();
    hole.set_len(64 * 1024 * 1024 + 1).unwrap();
    let refused = local(&files).faults;
    assert!(
        matches!(refused[..], [LoadError::FileTooLarge { limit, .. }] if limit == 64 * 1024 * 1024)
    );
}
