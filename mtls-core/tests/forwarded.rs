//! Who stands behind a proxy: whom we believe, what we read, and what we write.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is how a test fails"
)]

use mtls_core::testing::{CaOptions, LeafOptions, TestCa};
use mtls_core::{
    ForwardAs, Forwarded, ForwardedError, ForwardedFormat, ForwardedIdentity, PeerInfo, Policy,
};

type Read = Result<Option<ForwardedIdentity>, ForwardedError>;

const PROXY: &str = "spiffe://example.org/proxy";
const VICTIM: &str = "spiffe://example.org/admin";

fn believe(format: ForwardedFormat) -> Forwarded {
    Forwarded::accept_from(Policy::spiffe_id(PROXY).unwrap(), format)
}

fn read(format: ForwardedFormat, peer: &PeerInfo, headers: &[(&str, &str)]) -> Read {
    let values = |name: &'static str| {
        let lines = headers.iter().filter(|(header, _)| *header == name);
        lines.map(|(_, value)| value.as_bytes()).collect::<Vec<_>>()
    };
    believe(format).read(Some(peer), values)
}

fn proxy() -> PeerInfo {
    let ca = TestCa::new("example.org");
    ca.peer(&ca.issue("/proxy"))
}

fn xfcc(peer: &PeerInfo, lines: &[&str]) -> Read {
    let headers: Vec<_> = lines
        .iter()
        .map(|line| ("x-forwarded-client-cert", *line))
        .collect();
    read(ForwardedFormat::Xfcc, peer, &headers)
}

fn spiffe(read: Read) -> Option<String> {
    read.unwrap().unwrap().spiffe_id().map(ToString::to_string)
}

/// Where the header is malformed.
fn malformed(read: Read) -> usize {
    let error = read.unwrap_err();
    let ForwardedError::MalformedHeader { at, .. } = error else {
        panic!("{error:?}");
    };
    at
}

#[test]
fn a_listed_proxy_is_believed_and_what_it_says_tells_who_said_it() {
    let proxy = proxy();
    let line = format!("By={PROXY};URI=spiffe://example.org/web;DNS=Web.example.org");
    let client = xfcc(&proxy, &[&line]).unwrap().unwrap();
    assert_eq!(
        client.spiffe_id().unwrap().as_str(),
        "spiffe://example.org/web"
    );
    assert_eq!(client.dns_names(), ["web.example.org"]);
    assert_eq!(client.by(), proxy.identity());
    assert_eq!(
        client.to_string(),
        "spiffe://example.org/web (forwarded by spiffe://example.org/proxy)"
    );
}

#[test]
fn nobody_else_is_believed_whatever_they_send() {
    let ca = TestCa::new("example.org");
    let line: &[u8] = b"URI=spiffe://example.org/admin";
    let values = |_: &'static str| [line];
    let believe = believe(ForwardedFormat::Xfcc);
    let proxy = ca.peer(&ca.issue("/proxy"));
    assert!(believe.read(Some(&proxy), values).unwrap().is_some());

    let stranger = ca.peer(&ca.issue("/web"));
    assert_eq!(believe.read(Some(&stranger), values).unwrap(), None);
    assert_eq!(believe.read(None, values).unwrap(), None);
    assert_eq!(Forwarded::strip().read(Some(&proxy), values).unwrap(), None);
    assert_eq!(
        Forwarded::default().read(Some(&proxy), values).unwrap(),
        None
    );
    // What it sends is not even looked at: it cannot have its requests refused as malformed, nor cost us a parse.
    let broken: &[u8] = b"\"";
    assert_eq!(believe.read(Some(&stranger), |_| [broken]).unwrap(), None);
    assert!(believe.read(Some(&proxy), |_| [broken]).is_err());
}

#[test]
fn a_proxy_that_was_let_in_and_would_not_be_now_is_not_believed() {
    let (ca, next) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (publisher, source) = ca.publish(&ca.issue("/api"));
    let server = mtls_core::ServerTls::builder(&source)
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let client = mtls_core::ClientTls::builder(&ca.source(&ca.issue("/proxy")))
        .verify_server_name()
        .build()
        .unwrap();
    let proxy = mtls_core::testing::handshake(&server, &client, "localhost")
        .server
        .unwrap();
    let line = "URI=spiffe://example.org/web";
    assert!(xfcc(&proxy, &[line]).unwrap().is_some());
    publisher
        .publish(next.issue("/api").material(), next.trust_material())
        .unwrap();
    assert!(proxy.check().is_err());
    assert_eq!(xfcc(&proxy, &[line]).unwrap(), None);
}

#[test]
fn the_last_element_counts_over_all_lines_of_the_header() {
    let proxy = proxy();
    let web = "By=spiffe://example.org/proxy;URI=spiffe://example.org/web";
    let victim = format!("URI={VICTIM}");
    let of_web = Some("spiffe://example.org/web".to_owned());
    assert_eq!(spiffe(xfcc(&proxy, &[&format!("{victim},{web}")])), of_web);
    assert_eq!(
        spiffe(xfcc(&proxy, &[&format!("{victim} , {web}")])),
        of_web
    );
    assert_eq!(spiffe(xfcc(&proxy, &[&victim, web])), of_web);
    // The twin: the order decides, and nothing else.
    assert_eq!(spiffe(xfcc(&proxy, &[web, &victim])), Some(VICTIM.into()));
}

#[test]
fn values_are_read_as_envoy_writes_them() {
    let proxy = proxy();
    // Keys in any case; a quoted name with separators, a quote and backslashes in it; an empty URI; a key of the future.
    let line = r#"BY=spiffe://a/b;hAsH=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688;subject="/C=US/O=a, b; c=d/CN=say \"hi\" \\5C\,";URI=;Next=x;DNS=a.example.org;dns=b.example.org"#;
    let client = xfcc(&proxy, &[line]).unwrap().unwrap();
    assert_eq!(client.spiffe_id(), None);
    assert_eq!(client.dns_names(), ["a.example.org", "b.example.org"]);
    let subject = r#"/C=US/O=a, b; c=d/CN=say "hi" \\5C\,"#;
    assert_eq!(client.subject(), Some(subject));
    assert_eq!(client.sha256().unwrap()[..2], [0x46, 0x8e]);
    // Names that Envoy does not quote may hold a `=`.
    let line = "Subject=\"\";URI=https://example.org/?a=b";
    let client = xfcc(&proxy, &[line]).unwrap().unwrap();
    assert_eq!((client.spiffe_id(), client.subject()), (None, None));
}

#[test]
fn an_open_quote_of_an_earlier_element_cannot_swallow_the_last() {
    let proxy = proxy();
    let ours = r#",By=spiffe://example.org/proxy;Subject="CN=web";URI=spiffe://example.org/web"#;
    let hostile = [
        format!("URI={VICTIM};Subject=\""),
        format!("URI={VICTIM};Subject=\"\\"),
        format!("URI={VICTIM};X=\"a\\\\"),
        format!("URI={VICTIM};\""),
    ];
    for start in hostile {
        malformed(xfcc(&proxy, &[&format!("{start}{ours}")]));
    }
    let plain = format!("URI={VICTIM};Subject=\"\"{ours}");
    assert_eq!(
        spiffe(xfcc(&proxy, &[&plain])),
        Some("spiffe://example.org/web".into())
    );
}

#[test]
fn what_is_no_xfcc_is_refused_where_it_goes_wrong() {
    let proxy = proxy();
    for (line, at) in [
        ("", 0),
        (" ", 1),
        (",", 0),
        (";", 0),
        ("URI", 3),
        ("URI =x", 3),
        ("=x", 0),
        ("URI=x,", 6),
        ("URI=x;", 6),
        ("URI=x,,URI=y", 6),
        ("URI=\"x", 6),
        ("URI=\"x\"y", 7),
        ("URI=a\"b", 5),
        ("URI=\u{e9}", 4),
        ("URI=\u{0}", 4),
        ("Hash=ab", 0),
        ("Hash=ab;Hash=ab", 8),
        ("Subject=a;subject=b", 10),
        ("{\"URI\": 1}", 0),
    ] {
        assert_eq!(malformed(xfcc(&proxy, &[line])), at, "{line:?}");
    }
}

#[test]
fn a_client_without_one_clear_name_is_refused() {
    let proxy = proxy();
    let two = format!("URI=https://example.org/x;URI={VICTIM}");
    for line in [
        &two,
        "URI=spiffe://example.org",
        "URI=spiffe://Example.org/a",
        "URI=SPIFFE://example.org/a",
        "URI=spiffe://example.org/a//b",
        "URI=spiffe://example.org/a b",
    ] {
        let refused = xfcc(&proxy, &[line]).unwrap_err();
        assert!(
            matches!(refused, ForwardedError::Profile { .. }),
            "{line}: {refused:?}"
        );
        assert!(!refused.remedy().is_empty());
    }
    for line in [
        "By=spiffe://example.org/proxy",
        "URI=",
        "Subject=\"\";URI=;DNS=",
        "x=y",
    ] {
        let refused = xfcc(&proxy, &[line]).unwrap_err();
        assert!(
            matches!(refused, ForwardedError::Nobody),
            "{line}: {refused:?}"
        );
    }
}

#[test]
fn a_header_beyond_its_bounds_is_refused() {
    let proxy = proxy();
    let name = "a".repeat(60 * 1024);
    let line = format!("URI=spiffe://example.org/a;Subject=\"{name}\"");
    assert!(xfcc(&proxy, &[&line]).unwrap().is_some());
    let refused = xfcc(&proxy, &[&line, &line]).unwrap_err();
    assert!(matches!(
        refused,
        ForwardedError::TooLarge { limit: 65536, .. }
    ));

    let ca = TestCa::new("example.org");
    let leaf = ForwardAs::ClientCert.headers(ca.peer(&ca.issue("/web")).identity(), None);
    let leaf = &leaf[0].1;
    let chain = |count| vec![leaf.as_str(); count].join(",");
    let with = |chain: &str| {
        let headers = [("client-cert", leaf.as_str()), ("client-cert-chain", chain)];
        read(ForwardedFormat::ClientCert, &proxy, &headers)
    };
    assert_eq!(with(&chain(15)).unwrap().unwrap().chain().len(), 16);
    let refused = with(&chain(16)).unwrap_err();
    assert!(matches!(
        refused,
        ForwardedError::TooLarge {
            found: 17,
            limit: 16,
            ..
        }
    ));
}

/// Peers of many kinds, with and without intermediates.
fn peers() -> Vec<PeerInfo> {
    let root = TestCa::new("example.org");
    let intermediate = root.intermediate_with(CaOptions::new());
    let mut peers = Vec::new();
    for ca in [&root, &intermediate] {
        for leaf in [
            LeafOptions::new().spiffe("/web"),
            LeafOptions::new()
                .spiffe("/ns/shop/sa/web")
                .dns("web.shop.svc")
                .dns("*.shop.svc"),
            LeafOptions::new().dns("web.example.org"),
            LeafOptions::new()
                .dns("web.example.org")
                .uri("https://example.org/a"),
            LeafOptions::new()
                .spiffe("/web")
                .common_name("a \"b\", c;d=e\\"),
            LeafOptions::new().spiffe("/web").common_name("\\\""),
            LeafOptions::new()
                .spiffe("/web")
                .common_name("Gr\u{fc}n\r\nURI=spiffe://example.org/admin"),
        ] {
            peers.push(root.peer(&ca.issue_with(leaf)));
        }
    }
    peers
}

#[test]
fn what_we_render_reads_as_the_same_client() {
    let proxy = proxy();
    let by = PROXY.parse().unwrap();
    for peer in peers() {
        let peer = peer.identity();
        for how in [
            ForwardAs::ClientCert,
            ForwardAs::ClientCertWithChain,
            ForwardAs::Xfcc,
            ForwardAs::XfccWithCertificates,
        ] {
            let format = match how {
                ForwardAs::ClientCert | ForwardAs::ClientCertWithChain => {
                    ForwardedFormat::ClientCert
                }
                _ => ForwardedFormat::Xfcc,
            };
            let headers = how.headers(peer, Some(&by));
            for (name, value) in &headers {
                assert!(Forwarded::is_header(name));
                assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)), "{value}");
            }
            let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let client = read(format, &proxy, &headers).unwrap().unwrap();
            assert_eq!(client.spiffe_id(), peer.spiffe_id());
            assert_eq!(client.dns_names(), peer.dns_names());
            assert_eq!(client.sha256(), Some(peer.sha256()));
            let chain = match how {
                ForwardAs::ClientCert => &peer.chain()[..1],
                ForwardAs::Xfcc => &[],
                _ => peer.chain(),
            };
            assert_eq!(client.chain(), chain);
        }
    }
}

#[test]
fn names_that_somebody_added_beside_a_certificate_are_refused() {
    let proxy = proxy();
    let ca = TestCa::new("example.org");
    let web = ca.peer(&ca.issue_with(LeafOptions::new().spiffe("/web").dns("web.svc")));
    let other = ca.peer(&ca.issue("/other"));
    let whole = ForwardAs::XfccWithCertificates.headers(web.identity(), None);
    let whole = &whole[0].1;
    assert!(xfcc(&proxy, &[whole]).unwrap().is_some());
    for (added, found) in [
        (format!("URI={VICTIM}"), "URI"),
        ("DNS=admin.svc".to_owned(), "DNS"),
    ] {
        let refused = xfcc(&proxy, &[&format!("{added};{whole}")]).unwrap_err();
        assert!(matches!(refused, ForwardedError::Disagreement { key } if key == found));
    }
    let hash = web.identity().fingerprint();
    let swapped = whole.replace(&hash, &other.identity().fingerprint());
    let refused = xfcc(&proxy, &[&swapped]).unwrap_err();
    assert!(matches!(
        refused,
        ForwardedError::Disagreement { key: "Hash" }
    ));
    // A chain that begins with another leaf.
    let other = ForwardAs::XfccWithCertificates.headers(other.identity(), None);
    let cert = |whole: &str| whole.split("Cert=").nth(1).unwrap().to_owned();
    let line = format!("Cert={};Chain={}", cert(whole), cert(&other[0].1));
    let refused = xfcc(&proxy, &[&line]).unwrap_err();
    assert!(matches!(
        refused,
        ForwardedError::Disagreement { key: "Chain" }
    ));
}

#[test]
fn a_forwarded_certificate_counts_only_in_its_time_and_as_a_leaf() {
    let proxy = proxy();
    let ca = TestCa::new("example.org");
    let client_cert = |der: &[u8]| {
        // Rendered from a peer that was verified, then exchanged: no peer can be made of these.
        let value = format!(":{}:", base64(der));
        read(
            ForwardedFormat::ClientCert,
            &proxy,
            &[("client-cert", &value)],
        )
    };
    let leaf = |options| ca.issue_with(options).chain_der()[0].clone();
    assert_eq!(
        spiffe(client_cert(&leaf(LeafOptions::new().spiffe("/web")))),
        Some("spiffe://example.org/web".into())
    );
    for late in [
        LeafOptions::new().expired(),
        LeafOptions::new().not_yet_valid(),
    ] {
        let refused = client_cert(&leaf(late.spiffe("/web"))).unwrap_err();
        assert!(matches!(refused, ForwardedError::OutsideValidity { .. }));
    }
    for wrong in [
        LeafOptions::new().spiffe("/web").ca_true(),
        LeafOptions::new().spiffe("/web").uri(VICTIM),
        LeafOptions::new().uri("spiffe://example.org"),
    ] {
        let refused = client_cert(&leaf(wrong)).unwrap_err();
        assert!(
            matches!(refused, ForwardedError::Profile { .. }),
            "{refused:?}"
        );
    }
    let mut cut = leaf(LeafOptions::new().spiffe("/web")).to_vec();
    cut.push(0);
    for der in [&cut[..], &cut[..100], b""] {
        let refused = client_cert(der).unwrap_err();
        assert!(
            matches!(refused, ForwardedError::MalformedCertificate { .. }),
            "{refused:?}"
        );
    }
}

#[test]
fn what_is_no_byte_sequence_is_refused() {
    let proxy = proxy();
    let ca = TestCa::new("example.org");
    let good = ForwardAs::ClientCert.headers(ca.peer(&ca.issue("/web")).identity(), None);
    let good = good[0].1.as_str();
    let leaf = |lines: &[&str]| {
        let headers: Vec<_> = lines.iter().map(|line| ("client-cert", *line)).collect();
        read(ForwardedFormat::ClientCert, &proxy, &headers)
    };
    assert!(leaf(&[good]).is_ok() && leaf(&[&format!(" {good} ")]).is_ok());
    let bare = good.trim_matches(':');
    for line in [
        "".to_owned(),
        bare.to_owned(),
        format!(":{bare}"),
        format!("{bare}:"),
        format!("{good};a=1"),
        format!("{good}, {good}"),
        format!("{good}:"),
        format!("\"{bare}\""),
        format!(":{} :", bare),
        good.replace('+', "-").replace('/', "_") + "_",
    ] {
        malformed(leaf(&[&line]));
    }
    malformed(leaf(&[good, good]));
    let chain = |lines: &[&str]| {
        let mut headers = vec![("client-cert", good)];
        headers.extend(lines.iter().map(|line| ("client-cert-chain", *line)));
        read(ForwardedFormat::ClientCert, &proxy, &headers)
    };
    for lines in [vec![good], vec![good, good]] {
        assert_eq!(
            chain(&lines).unwrap().unwrap().chain().len(),
            lines.len() + 1
        );
    }
    let spaced = format!("{good}  ,\t{good}");
    assert_eq!(chain(&[&spaced]).unwrap().unwrap().chain().len(), 3);
    for line in [
        "",
        ",",
        &format!("{good},"),
        &format!(",{good}"),
        &format!("{good} {good}"),
    ] {
        malformed(chain(&[line]));
    }
    let alone = read(
        ForwardedFormat::ClientCert,
        &proxy,
        &[("client-cert-chain", good)],
    );
    assert!(matches!(
        alone.unwrap_err(),
        ForwardedError::ChainWithoutLeaf
    ));
}

#[test]
fn each_format_reads_its_own_headers_alone() {
    let proxy = proxy();
    let ca = TestCa::new("example.org");
    let web = ca.peer(&ca.issue("/web"));
    for (how, format) in [
        (ForwardAs::ClientCert, ForwardedFormat::Xfcc),
        (ForwardAs::Xfcc, ForwardedFormat::ClientCert),
    ] {
        let headers = how.headers(web.identity(), None);
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(read(format, &proxy, &headers).unwrap(), None);
    }
    let linkerd = [(
        "l5d-client-id",
        "web.shop.serviceaccount.identity.linkerd.cluster.local",
    )];
    for format in [ForwardedFormat::Xfcc, ForwardedFormat::ClientCert] {
        assert_eq!(read(format, &proxy, &linkerd).unwrap(), None);
    }
}

#[test]
fn names_that_read_the_same_are_headers_of_ours_and_others_are_not() {
    for name in [
        "x-forwarded-client-cert",
        "X_Forwarded_Client_Cert",
        "x-forwarded_client-cert",
        "CLIENT-CERT",
        "client_cert_chain",
        "l5d-client-id",
    ] {
        assert!(Forwarded::is_header(name), "{name}");
    }
    for name in [
        "x-forwarded-for",
        "client-certs",
        "client-cer",
        "xforwarded-client-cert",
        "",
    ] {
        assert!(!Forwarded::is_header(name), "{name}");
    }
}

/// RFC 4648, the plain way.
fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits: Vec<bool> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
        .collect();
    while !bits.len().is_multiple_of(6) {
        bits.push(false);
    }
    let mut text: String = bits
        .chunks(6)
        .map(|six| six.iter().fold(0, |n, bit| n << 1 | usize::from(*bit)))
        .map(|index| char::from(alphabet[index]))
        .collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}
