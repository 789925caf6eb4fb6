//! The catalogue of X509-SVIDs that identify somebody, and of those that must not: presented by a client, and presented by
//! a server. What the text of an ID may be stands in the unit tests of `SpiffeId`; here it is read from certificates.
//!
//! Beside each case stands whether bare webpki takes the chain for a client's: that is what it leaves to us.

use std::sync::Arc;

use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use mtls_core::rustls::sign::SingleCertAndKey;
use mtls_core::rustls::{ClientConnection, ServerConnection};
use mtls_core::testing::{CaOptions, Issued, LeafOptions, TestCa};
use mtls_core::{ClientTls, HandshakeError, Policy, Reason};

use crate::fixture::*;

/// What bare webpki says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naive {
    Takes,
    Refuses,
}

struct Case {
    name: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    naive: Naive,
    /// Who it is, or why it is nobody: as a client, and as a server.
    expected: [Result<&'static str, Reason>; 2],
}

struct Catalogue {
    ca: TestCa,
    cases: Vec<Case>,
}

const WEB: &str = "spiffe://example.org/web";

impl Catalogue {
    fn new() -> Self {
        Self {
            ca: TestCa::new("example.org"),
            cases: Vec::new(),
        }
    }

    fn add(
        &mut self,
        name: impl Into<String>,
        issued: &Issued,
        naive: Naive,
        expected: [Result<&'static str, Reason>; 2],
    ) {
        self.cases.push(Case {
            name: name.into(),
            chain: issued.chain_der(),
            key: issued.key_der(),
            naive,
            expected,
        });
    }

    fn leaf(
        &mut self,
        name: impl Into<String>,
        leaf: LeafOptions,
        naive: Naive,
        expected: Result<&'static str, Reason>,
    ) {
        let issued = self.ca.issue_with(leaf);
        self.add(name, &issued, naive, [expected, expected]);
    }

    /// A leaf with this one URI SAN.
    fn uri(&mut self, uri: &str, expected: Result<&'static str, Reason>) {
        let leaf = LeafOptions::new().uri(uri);
        self.leaf(uri.escape_debug().to_string(), leaf, Naive::Takes, expected);
    }

    /// A leaf with these URI SANs, whatever their bytes.
    fn uris(&mut self, name: &str, uris: &[&[u8]], expected: Result<&'static str, Reason>) {
        let leaf = LeafOptions::new().raw_san(uri_sans(uris));
        self.leaf(name, leaf, Naive::Takes, expected);
    }

    /// A chain through an intermediate of this kind.
    fn below(&mut self, name: &str, options: CaOptions, naive: Naive, expected: Reason) {
        let issued = self.ca.intermediate_with(options).issue("/web");
        self.add(name, &issued, naive, [Err(expected); 2]);
    }
}

/// DER of `GeneralNames` with a uniformResourceIdentifier each (RFC 5280 §4.2.1.6: tag 6).
fn uri_sans(uris: &[&[u8]]) -> Vec<u8> {
    let short = |bytes: &[u8]| {
        u8::try_from(bytes.len())
            .ok()
            .filter(|len| *len < 128)
            .unwrap()
    };
    let names: Vec<u8> = uris
        .iter()
        .flat_map(|uri| [&[0x86, short(uri)], *uri].concat())
        .collect();
    [&[0x30, short(&names)], names.as_slice()].concat()
}

/// What a server of ours makes of a client that presents this.
fn as_client(ca: &TestCa, case: &Case) -> Result<String, HandshakeError> {
    let server = server_for(
        &ca.source(&ca.issue("/api")),
        Policy::trust_domain("example.org").unwrap(),
    );
    let [modern, legacy] = VERSIONS.map(|version| {
        let client = holding(version, ca, case.chain.clone(), case.key.clone_key());
        meet(&server, &client).server.map(|peer| peer.to_string())
    });
    let reason = |result: &Result<String, HandshakeError>| {
        result.as_ref().map_err(HandshakeError::reason).cloned()
    };
    assert_eq!(reason(&modern), reason(&legacy), "{}", case.name);
    modern
}

/// What a client of ours makes of a server that presents this.
fn as_server(ca: &TestCa, case: &Case) -> Result<String, HandshakeError> {
    let client = ClientTls::builder(&ca.source(&ca.issue("/client")))
        .dangerous()
        .expect_anyone_in("example.org".parse().unwrap())
        .build()
        .unwrap()
        .handshake();
    let mut config = naive(webpki(&[ca]), &ca.issue("/any"));
    let key = certified(case.chain.clone(), case.key.clone_key());
    config.cert_resolver = Arc::new(SingleCertAndKey::from(key));
    let name: ServerName<'static> = "localhost".try_into().unwrap();
    let mut dialling = ClientConnection::new(client.config(), name.clone()).unwrap();
    let mut accepted = ServerConnection::new(Arc::new(config)).unwrap();
    match exchange_by_client(&mut dialling, &mut accepted) {
        Some(error) => Err(client.explain(&std::io::Error::other(error))),
        None => client
            .established(&dialling, &name)
            .map(|peer| peer.to_string()),
    }
}

fn hold(catalogue: &Catalogue) {
    let ca = &catalogue.ca;
    let mut wrong = Vec::new();
    for case in &catalogue.cases {
        let (leaf, rest) = case.chain.split_first().unwrap();
        let taken = webpki(&[ca]).verify_client_cert(leaf, rest, unix_now());
        if taken.is_ok() != (case.naive == Naive::Takes) {
            wrong.push(format!("{}: webpki says {taken:?}", case.name));
        }
        let found = [as_client(ca, case), as_server(ca, case)];
        for ((found, expected), role) in found.iter().zip(&case.expected).zip(["client", "server"])
        {
            let said = found.as_deref().map_err(HandshakeError::reason);
            if said != *expected {
                wrong.push(format!("{} as {role}: {found:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_x509_svid_identifies_a_client_and_a_server() {
    let mut all = Catalogue::new();
    let svid = || LeafOptions::new().spiffe("/web");
    all.leaf("one SPIFFE ID", svid(), Naive::Takes, Ok(WEB));
    // X509-SVID §2: "An X.509 SVID MAY contain any number of other SAN field types".
    let named = svid().dns("web").dns("*.shop.svc").email("a@b.example");
    all.leaf("beside other names", named, Naive::Takes, Ok(WEB));
    // What §4 asks of whoever issues and §5.2 does not of whoever verifies.
    all.leaf("no keyUsage", svid().no_key_usage(), Naive::Takes, Ok(WEB));
    // §4.3 and §4.1 bind issuers; §5.2 asks of a verifier only that it is no CA and signs no certificates and no lists.
    let enciphers = svid().key_usage_key_encipherment_only();
    all.leaf("keyEncipherment alone", enciphers, Naive::Takes, Ok(WEB));
    let unconstrained = svid().no_basic_constraints();
    all.leaf("no basicConstraints", unconstrained, Naive::Takes, Ok(WEB));
    // RFC 5280 §4.2.1.12: for no other purposes than those that are there.
    let mails = svid().email_protection_only();
    all.leaf(
        "emailProtection alone",
        mails,
        Naive::Refuses,
        Err(Reason::WrongUsage),
    );
    let bare = svid().no_extended_key_usage();
    all.leaf("no extendedKeyUsage", bare, Naive::Takes, Ok(WEB));
    let below = all.ca.intermediate().issue("/web");
    all.add("below an intermediate", &below, Naive::Takes, [Ok(WEB); 2]);
    let deep = all.ca.intermediate().intermediate().issue("/web");
    all.add("below two", &deep, Naive::Takes, [Ok(WEB); 2]);
    hold(&all);
}

#[test]
fn a_uri_that_is_no_spiffe_id_with_a_path_of_our_trust_domain_identifies_nobody() {
    let mut all = Catalogue::new();
    let invalid = Err(Reason::InvalidIdentity);
    all.uri(WEB, Ok(WEB));
    all.uri("spiffe://example.org/Web", Ok("spiffe://example.org/Web"));
    for uri in [
        // In another case or form: a malformed ID, and not a URI that means something else.
        "SPIFFE://example.org/web",
        "Spiffe://example.org/web",
        "sPiFfE://example.org/web",
        "spiffe:/example.org/web",
        "spiffe:example.org/web",
        "spiffe:",
        "spiffe://",
        "spiffe:///web",
        "spiffe://EXAMPLE.org/web",
        "spiffe://example.org:8443/web",
        "spiffe://user@example.org/web",
        "spiffe://user:pw@example.org/web",
        "spiffe://example%2eorg/web",
        "spiffe://[::1]/web",
        "spiffe://example.org/web?",
        "spiffe://example.org/web?q=1",
        "spiffe://example.org/web#",
        "spiffe://example.org/web#f",
        "spiffe://example.org/web/",
        "spiffe://example.org//web",
        "spiffe://example.org/./web",
        "spiffe://example.org/../web",
        "spiffe://example.org/web/..",
        "spiffe://example.org/%77eb",
        "spiffe://example.org/a%2f..%2fweb",
        "spiffe://example.org/web web",
        "spiffe://example.org/web\0",
        "spiffe://example.org/web\0.evil.example",
        "spiffe://example.org/web\n",
        "spiffe://example.org\\web",
        // X509-SVID §5.2: a leaf's ID has a path; without one it names the trust domain itself.
        "spiffe://example.org",
        "spiffe://example.org/",
    ] {
        all.uri(uri, invalid);
    }
    let long = format!("spiffe://example.org/{}", "a".repeat(3000));
    all.uri(&long, invalid);
    for uri in [
        "spiffe://other.example/web",
        "spiffe://example.org.evil.example/web",
        "spiffe://evil-example.org/web",
        "spiffe://example.or/web",
        "spiffe://sub.example.org/web",
    ] {
        all.uri(uri, Err(Reason::WrongTrustDomain));
    }
    hold(&all);
}

#[test]
fn a_leaf_outside_the_profile_is_nobody_of_the_trust_domain() {
    let mut all = Catalogue::new();
    let outside = [Err(Reason::NotAuthorized), Err(Reason::NameMismatch)];
    for uri in [
        "sparfe://example.org/web",
        "https://example.org/web",
        "xspiffe://example.org/web",
        " spiffe://example.org/web",
        "urn:spiffe://example.org/web",
    ] {
        let issued = all.ca.issue_with(LeafOptions::new().uri(uri));
        all.add(uri, &issued, Naive::Takes, outside);
    }
    let named = all
        .ca
        .issue_with(LeafOptions::new().dns("spiffe://example.org/web"));
    all.add("its ID as a DNS name", &named, Naive::Takes, outside);
    let dns = all.ca.issue_dns("web.example.org");
    all.add("a DNS name alone", &dns, Naive::Takes, outside);
    let common = all.ca.issue_with(LeafOptions::new().common_name(WEB));
    let nobody = [Err(Reason::NotAuthorized), Err(Reason::NoSan)];
    all.add("its ID as a common name", &common, Naive::Takes, nobody);
    hold(&all);
}

#[test]
fn several_uris_identify_nobody_whatever_they_are() {
    let mut all = Catalogue::new();
    let web = WEB.as_bytes();
    let admin = b"spiffe://example.org/admin";
    let (https, bad) = (b"https://example.org/", b"https://\xff\xfe/");
    let (ambiguous, invalid) = (Err(Reason::AmbiguousIdentity), Err(Reason::InvalidIdentity));
    all.uris("one, as the control", &[web], Ok(WEB));
    all.uris("two SPIFFE IDs", &[web, admin], ambiguous);
    all.uris("two, the other way about", &[admin, web], ambiguous);
    all.uris("the same twice", &[web, web], ambiguous);
    all.uris("one of another scheme behind it", &[web, https], ambiguous);
    all.uris("one of another scheme before it", &[https, web], ambiguous);
    all.uris("none of them a SPIFFE ID", &[https, https], ambiguous);
    // Many a reader skips what it cannot decode, and sees one name here.
    all.uris("one that is no text behind it", &[web, bad], ambiguous);
    all.uris("one that is no text before it", &[bad, web], ambiguous);
    all.uris("an empty one beside it", &[web, b""], ambiguous);
    all.uris("three", &[web, bad, https], ambiguous);
    all.uris("one that is no text alone", &[bad], invalid);
    all.uris(
        "an ID that is no text",
        &[b"spiffe://example.org/\xff"],
        invalid,
    );
    all.uris(
        "an ID in UTF-8",
        &["spiffe://example.org/wéb".as_bytes()],
        invalid,
    );
    hold(&all);
}

#[test]
fn a_certificate_that_could_sign_is_no_leaf() {
    let mut all = Catalogue::new();
    let svid = || LeafOptions::new().spiffe("/web");
    let refused = Err(Reason::NotEndEntity);
    all.leaf("CA:TRUE", svid().ca_true(), Naive::Refuses, refused);
    let signs = svid().key_usage_cert_sign();
    all.leaf("keyCertSign", signs, Naive::Takes, refused);
    all.leaf(
        "cRLSign",
        svid().key_usage_crl_sign(),
        Naive::Takes,
        refused,
    );
    hold(&all);
}

#[test]
fn a_leaf_for_one_role_is_nobody_in_the_other() {
    let mut all = Catalogue::new();
    let usage = Err(Reason::WrongUsage);
    let client = all
        .ca
        .issue_with(LeafOptions::new().spiffe("/web").client_only());
    all.add("for clients", &client, Naive::Takes, [Ok(WEB), usage]);
    let server = all
        .ca
        .issue_with(LeafOptions::new().spiffe("/web").server_only());
    all.add("for servers", &server, Naive::Refuses, [usage, Ok(WEB)]);
    hold(&all);
}

#[test]
fn a_chain_that_does_not_hold_identifies_nobody() {
    use Naive::{Refuses, Takes};
    let mut all = Catalogue::new();
    let svid = || LeafOptions::new().spiffe("/web");
    all.leaf("expired", svid().expired(), Refuses, Err(Reason::Expired));
    let early = svid().not_yet_valid();
    all.leaf("not yet valid", early, Refuses, Err(Reason::NotYetValid));

    let stranger = TestCa::new("example.org").issue("/web");
    let unknown = [Err(Reason::UnknownIssuer); 2];
    all.add(
        "another CA of the same trust domain",
        &stranger,
        Refuses,
        unknown,
    );
    let namesake = all.ca.same_name_other_key().issue("/web");
    let untrusted = [Err(Reason::UntrustedKey); 2];
    all.add("a CA of the same name", &namesake, Refuses, untrusted);

    let ca = CaOptions::new;
    all.below(
        "an intermediate that may not sign",
        ca().without_key_cert_sign(),
        Takes,
        Reason::CaConstraint,
    );
    all.below(
        "an intermediate that is no CA",
        ca().ca_false(),
        Refuses,
        Reason::CaConstraint,
    );
    all.below(
        "an expired intermediate",
        ca().expired(),
        Refuses,
        Reason::Expired,
    );
    all.below(
        "an intermediate of tomorrow",
        ca().not_yet_valid(),
        Refuses,
        Reason::NotYetValid,
    );
    let shallow = all.ca.intermediate_with(ca().path_len(0)).intermediate();
    let deep = shallow.issue("/web");
    all.add(
        "a CA too many",
        &deep,
        Refuses,
        [Err(Reason::CaConstraint); 2],
    );

    let web = all.ca.issue("/web");
    let by_leaf = (web.chain_der(), web.key_der());
    let mut alone = all.ca.intermediate().issue("/web").chain_der();
    alone.truncate(1);
    let mut cut = by_leaf.0.clone();
    cut[0] = CertificateDer::from(cut[0][..cut[0].len() - 1].to_vec());
    let mut flipped = by_leaf.0.clone();
    let mut der = flipped[0].to_vec();
    *der.last_mut().unwrap() ^= 1;
    flipped[0] = CertificateDer::from(der);
    let junk = vec![by_leaf.0[0].clone(), CertificateDer::from(vec![0x30, 0])];
    for (name, chain, naive, expected) in [
        (
            "without its intermediate",
            alone,
            Refuses,
            Err(Reason::UnknownIssuer),
        ),
        ("cut short", cut, Refuses, Err(Reason::MalformedCertificate)),
        (
            "with a bit turned in its signature",
            flipped,
            Refuses,
            Err(Reason::UntrustedKey),
        ),
        (
            "with junk behind it",
            junk,
            Takes,
            Ok("spiffe://example.org/web"),
        ),
    ] {
        all.cases.push(Case {
            name: name.into(),
            chain,
            key: by_leaf.1.clone_key(),
            naive,
            expected: [expected; 2],
        });
    }
    hold(&all);
}

#[test]
fn a_leaf_in_the_bundle_issues_neither_clients_nor_servers() {
    // rustls takes any certificate of a bundle for an authority: whoever holds its key could then issue identities.
    let ca = TestCa::new("example.org");
    let rogue = TestCa::with_options("example.org", CaOptions::new().ca_false());
    let web = rogue.issue("/web");
    let chain = web.chain_der();
    assert!(
        webpki(&[&ca, &rogue])
            .verify_client_cert(&chain[0], &[], unix_now())
            .is_ok()
    );
    let with_both = |issued: &Issued| {
        let published = mtls_core::CredentialSource::builder()
            .publish(issued.material(), trust(&[&ca, &rogue]));
        published.unwrap().1
    };
    let server = server(&with_both(&ca.issue("/api")));
    for version in VERSIONS {
        let client = holding(version, &ca, chain.clone(), web.key_der());
        assert_eq!(meet(&server, &client).refused(), Reason::UnknownIssuer);
        meet(&server, &foreign(version, &ca, &ca.issue("/web"))).full();
    }
    let client = client(&with_both(&ca.issue("/client"))).handshake();
    for (issued, expected) in [
        (&web, Err(Reason::UnknownIssuer)),
        (&ca.issue("/api"), Ok(())),
    ] {
        let config = Arc::new(naive(webpki(&[&ca]), issued));
        let name: ServerName<'static> = "localhost".try_into().unwrap();
        let mut dialling = ClientConnection::new(client.config(), name.clone()).unwrap();
        let mut accepted = ServerConnection::new(config).unwrap();
        let outcome = match exchange_by_client(&mut dialling, &mut accepted) {
            Some(error) => Err(client.explain(&std::io::Error::other(error)).reason()),
            None => client
                .established(&dialling, &name)
                .map(drop)
                .map_err(|e| e.reason()),
        };
        assert_eq!(outcome, expected);
    }
}
