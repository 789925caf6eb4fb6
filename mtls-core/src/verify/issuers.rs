//! What intermediates say, read once.
//!
//! A trust meets few intermediates, and each of them with many leaves. Only those of a path that webpki has verified come
//! here, so that nobody but an authority that we trust can add one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls_pki_types::CertificateDer;

use crate::identity::certificate::Certificate;

/// The intermediates of one trust, by their exact bytes. In order: two that differ do so in their serial numbers, near the
/// beginning, where a hash reads all of one.
#[derive(Debug, Default)]
pub(crate) struct Issuers(Mutex<BTreeMap<Vec<u8>, Arc<Certificate>>>);

impl Issuers {
    /// Reads an intermediate of a verified path; the error is what the decoder found.
    pub(super) fn read(&self, der: &CertificateDer<'_>) -> Result<Arc<Certificate>, String> {
        let known = |known: &BTreeMap<Vec<u8>, Arc<Certificate>>| known.get(der.as_ref()).cloned();
        // A panic while it was locked leaves one fewer.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known(&lock()) {
            return Ok(known);
        }
        let read = Arc::new(Certificate::parse(der)?);
        let mut all = lock();
        // Beyond, each is read anew.
        if all.len() < MAX_ISSUERS {
            all.insert(der.to_vec(), Arc::clone(&read));
        }
        Ok(read)
    }
}

/// More than any PKI has at a time; at about five kilobytes each, a good megabyte.
const MAX_ISSUERS: usize = 256;

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::testing::TestCa;

    #[test]
    fn an_intermediate_is_read_once_and_another_by_itself() {
        let root = TestCa::new("example.org");
        let issuers = Issuers::default();
        let ders = [&root.intermediate(), &root.intermediate()].map(|ca| ca.certificate_der());
        let read = |index: usize| issuers.read(&ders[index]).unwrap();
        assert!(Arc::ptr_eq(&read(0), &read(0)));
        assert!(!Arc::ptr_eq(&read(0), &read(1)));
        assert_eq!(*read(1), Certificate::parse(&ders[1]).unwrap());
        assert!(issuers.read(&CertificateDer::from(vec![0x30])).is_err());
    }

    #[test]
    fn beyond_the_bound_an_intermediate_is_read_each_time() {
        let root = TestCa::new("example.org");
        let issuers = Issuers::default();
        let any = Arc::new(Certificate::parse(&root.certificate_der()).unwrap());
        for n in 0..MAX_ISSUERS {
            let key = n.to_be_bytes().to_vec();
            issuers.0.lock().unwrap().insert(key, Arc::clone(&any));
        }
        let der = root.intermediate().certificate_der();
        let read = || issuers.read(&der).unwrap();
        assert!(!Arc::ptr_eq(&read(), &read()));
        assert_eq!(issuers.0.lock().unwrap().len(), MAX_ISSUERS);
    }
}
