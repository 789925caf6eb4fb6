#![allow(clippy::indexing_slicing, reason = "a panic is how a test fails")]

use super::*;

const V4: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x1f\x90\x01\xbb";

/// What comes of these bytes, and what is left of them.
async fn read_of(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyError>, usize) {
    let result = read(&mut bytes).await;
    (result, bytes.len())
}

#[tokio::test]
async fn a_header_of_either_version_tells_the_client_and_leaves_what_follows() {
    let v6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 8080 443\r\n";
    let mut with_more = V4.to_vec();
    with_more.splice(14..16, [0, 15]);
    with_more.extend([4, 0, 0]);
    let rows: [(&[u8], Option<&str>); 7] = [
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 8080 443\r\n",
            Some("192.0.2.1:8080"),
        ),
        (v6, Some("[2001:db8::1]:8080")),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (V4, Some("192.0.2.1:8080")),
        (&with_more, Some("192.0.2.1:8080")),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", None),
    ];
    for (header, client) in rows {
        let mut bytes = header.to_vec();
        bytes.extend(b"\x16\x03\x01");
        let (told, left) = read_of(&bytes).await;
        assert_eq!(
            told.unwrap().map(|told| told.to_string()).as_deref(),
            client
        );
        assert_eq!(left, 3, "{header:?}");
    }
}

#[tokio::test]
async fn whatever_is_no_header_is_refused() {
    let v2 = |fixed: [u8; 4], rest: &[u8]| [SIGNATURE, &fixed, rest].concat();
    let malformed = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 8080 443\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 8080 443 \r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 +80 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.256 192.0.2.2 80 443\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::1 2001:db8::2 80 443\r\n".to_vec(),
        b"PROXY TCP6 192.0.2.1 192.0.2.2 80 443\r\n".to_vec(),
        b"PROXY  TCP4 192.0.2.1 192.0.2.2 80 443\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.1 192.0.2.2 80 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
        [&b"PROXY UNKNOWN "[..], &[b'a'; 200], b"\r\n"].concat(),
        v2([0x22, 0x11, 0, 12], &[0; 12]),
        v2([0x11, 0x11, 0, 12], &[0; 12]),
        v2([0x21, 0x99, 0, 12], &[0; 12]),
        v2([0x21, 0x11, 0, 4], &[0; 4]),
        v2([0x21, 0x21, 0, 12], &[0; 12]),
    ];
    for bytes in malformed {
        let refused = read_of(&bytes).await.0.unwrap_err();
        assert!(
            matches!(refused, ProxyError::Malformed),
            "{bytes:?}: {refused}"
        );
    }
    let hello: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03abc";
    for bytes in [hello, b"GET / HTTP/1.1\r\n\r\n", b"proxy TCP4 192.0.2.1 "] {
        let refused = read_of(bytes).await.0.unwrap_err();
        assert!(
            matches!(refused, ProxyError::Missing),
            "{bytes:?}: {refused}"
        );
    }
    let long = v2([0x21, 0x11, 0xff, 0xff], &[0; 70_000]);
    let (refused, left) = read_of(&long).await;
    assert!(matches!(
        refused,
        Err(ProxyError::TooLong { found: 0xffff })
    ));
    assert_eq!(left, 70_000, "and nothing of it was read");
}

#[tokio::test]
async fn a_header_that_breaks_off_is_refused_wherever_it_does() {
    for header in [V4, b"PROXY TCP4 192.0.2.1 192.0.2.2 8080 443\r\n"] {
        for end in 0..header.len() {
            let refused = read_of(&header[..end]).await.0.unwrap_err();
            assert!(matches!(refused, ProxyError::Read(_)), "{end}: {refused}");
        }
    }
}

#[tokio::test]
async fn a_changed_byte_is_refused_or_read_to_the_end_and_never_a_panic() {
    for header in [V4, b"PROXY TCP4 192.0.2.1 192.0.2.2 8080 443\r\n"] {
        for place in 0..header.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = header.to_vec();
                bytes[place] = byte;
                if let (Ok(_), left) = read_of(&bytes).await {
                    assert_eq!(left, 0, "{bytes:?}");
                }
            }
        }
    }
}

#[test]
fn a_network_is_its_first_bits() {
    let addr = |text: &str| SocketAddr::new(text.parse().unwrap(), 1);
    let listed = ProxyProtocol::from_addresses(["192.0.2.7".parse().unwrap()])
        .or_network("10.0.0.0".parse().unwrap(), 9)
        .or_network("2001:db8::".parse().unwrap(), 32);
    for inside in [
        "192.0.2.7",
        "::ffff:192.0.2.7",
        "10.127.1.1",
        "2001:db8:1::1",
    ] {
        assert!(listed.is_from(addr(inside)), "{inside}");
    }
    for outside in ["192.0.2.6", "10.128.0.1", "2001:db9::1", "::1", "127.0.0.1"] {
        assert!(!listed.is_from(addr(outside)), "{outside}");
    }
    assert!(ProxyProtocol::from_everybody().is_from(addr("::1")));
    let all = ProxyProtocol::from_addresses([]).or_network("0.0.0.0".parse().unwrap(), 0);
    assert!(all.is_from(addr("127.0.0.1")) && !all.is_from(addr("::1")));
}
