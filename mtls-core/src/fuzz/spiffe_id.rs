//! SPIFFE IDs, trust domains, and the service accounts that they stand for.

use super::check;
use crate::identity::{KubernetesServiceAccount, SpiffeId, TrustDomain};

/// A text is read as a SPIFFE ID and as a trust domain. Bytes that are no UTF-8 never get as far as these parsers.
pub fn spiffe_id(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let parsed = text.parse::<SpiffeId>();
    assert_eq!(parsed.is_ok(), is_spiffe_id(text), "{text:?}: {parsed:?}");
    match parsed {
        Ok(id) => whole(&id, text),
        Err(error) => check::explained(&error, error.remedy(), text.len()),
    }
    match text.parse::<TrustDomain>() {
        Ok(domain) => {
            let of_id = text.parse::<SpiffeId>().map(|id| id.trust_domain());
            assert!(domain.as_str() == text || of_id.as_ref() == Ok(&domain));
            assert_eq!(domain.to_string().parse().as_ref(), Ok(&domain));
            assert!(is_spiffe_id(&format!("spiffe://{domain}")));
        }
        Err(error) => check::explained(&error, error.remedy(), text.len()),
    }
    if let Some(account) = KubernetesServiceAccount::from_linkerd_name(text) {
        let (name, namespace) = (account.name(), account.namespace());
        let start = format!("{name}.{namespace}.serviceaccount.identity.");
        assert!(text.starts_with(&start) && text.ends_with(account.domain()));
    }
}

/// An ID is its text, and the sum of its parts.
fn whole(id: &SpiffeId, text: &str) {
    assert_eq!(id.as_str(), text);
    assert_eq!(id.to_string(), text);
    let domain = id.trust_domain();
    assert!(id.is_member_of(&domain));
    assert_eq!(SpiffeId::new(&domain, id.path()).as_ref(), Ok(id));
    let segments: String = id.segments().map(|segment| format!("/{segment}")).collect();
    assert_eq!(format!("spiffe://{domain}{segments}"), text);
    if let Some(account) = KubernetesServiceAccount::from_spiffe_id(id) {
        let (namespace, name) = (account.namespace(), account.name());
        assert_eq!(id.path(), format!("/ns/{namespace}/sa/{name}"));
        assert_eq!(account.domain(), domain.as_str());
    }
}

/// SPIFFE-ID §2 once more, as plainly as it can be said.
fn is_spiffe_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("spiffe://") else {
        return false;
    };
    let mut parts = rest.split('/');
    let domain = parts.next().unwrap_or_default();
    let has_only = |part: &str, more: fn(&u8) -> bool| {
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(b);
        !part.is_empty() && part.as_bytes().iter().all(|b| plain(b) || more(b))
    };
    text.len() <= 2048
        && domain.len() <= 255
        && has_only(domain, |_| false)
        && parts.all(|part| has_only(part, u8::is_ascii_uppercase) && part != "." && part != "..")
}
