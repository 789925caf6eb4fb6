//! The headers by which a proxy tells who its client is.

use super::check;
use crate::identity::certificate::printable;
use crate::identity::forwarded::{Claims, base64_decode};
use crate::identity::{ForwardedError, ForwardedFormat};

/// Each line is a line of a header: of Envoy's, and of RFC 9440's with the leaf on the first.
pub fn forwarded(bytes: &[u8]) {
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    envoys(&lines, bytes.len());
    let (leaf, chain) = lines.split_first().expect("there is always a first line");
    let values = |name: &'static str| match name {
        "client-cert" => vec![*leaf],
        _ => chain.to_vec(),
    };
    if let Some(claims) = judged(ForwardedFormat::ClientCert.read(values), bytes.len()) {
        // Every byte of it is accounted for, in order.
        let text = String::from_utf8_lossy(bytes);
        let sequences = text.split(':').skip(1).step_by(2);
        let decoded = sequences.map(|text| base64_decode(text).expect("it was accepted"));
        assert!(decoded.eq(claims.chain.iter().map(|der| der.to_vec())));
    }
}

fn envoys(lines: &[&[u8]], input: usize) {
    let read = |lines: &[&[u8]]| ForwardedFormat::Xfcc.read(|_| lines.to_vec());
    let claims = judged(read(lines), input);
    // Whatever a client sends, what its proxy appends is what counts, or nothing does.
    let lasts: [&[u8]; 3] = [
        LAST,
        br#"Subject="CN=a";URI=spiffe://example.org/last"#,
        br#"URI=spiffe://example.org/last;Subject="CN=a""#,
    ];
    for last in lasts {
        // On a line of its own, or as Envoy does: on the same.
        let joined = [&lines.join(&b','), last].join(&b',');
        for appended in [[lines, &[last]].concat(), vec![&*joined]] {
            let read = judged(read(&appended), input + last.len());
            let read = read.and_then(|claims| claims.spiffe_id);
            assert!(read.is_none_or(|id| id.as_str() == "spiffe://example.org/last"));
        }
    }
    if claims.is_some() {
        let again = judged(read(&[lines, &[LAST]].concat()), input + LAST.len());
        assert!(
            again.is_some(),
            "what can be read stays so when more follows"
        );
    }
}

fn judged(read: Result<Option<Claims>, ForwardedError>, input: usize) -> Option<Claims> {
    match read {
        Ok(claims) => {
            let claims = claims.expect("there is a header");
            let texts = claims.dns_names.iter().chain(&claims.subject);
            for text in texts {
                assert_eq!(&printable(text), text, "it could forge a log line");
                check::bounded(text.len(), input);
            }
            Some(claims)
        }
        Err(error) => {
            check::explained(&error, error.remedy(), input);
            None
        }
    }
}

const LAST: &[u8] = b"URI=spiffe://example.org/last";
