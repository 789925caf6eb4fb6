//! An event as one line of JSON (RFC 8259).

use std::fmt::{self, Write};
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::event::{AuditEvent, AuditSubject};
use crate::error::Chained;
use crate::identity::certificate::hex;

/// The event, without a line break.
pub(super) fn line(event: &AuditEvent<'_>) -> String {
    let mut object = Object::begin();
    object.text("at", rfc3339(event.at));
    object.text("stage", event.stage.as_str());
    object.text("outcome", event.outcome.as_str());
    object.number("connection", event.connection.get());
    object.maybe("remote_addr", event.remote_addr.as_ref());
    match event.who {
        AuditSubject::Nobody => {}
        // Nor is there a peer.
        AuditSubject::Anonymous(by) => object.text("anonymous", by.as_str()),
        AuditSubject::Peer(peer) => {
            let mut who = Object::begin();
            who.text("name", peer);
            who.text("serial", peer.serial());
            who.text("sha256", peer.fingerprint());
            object.object("peer", who);
        }
        // Under a key of its own: nobody should look for a peer and find this.
        AuditSubject::Presented(presented) => {
            let mut what = Object::begin();
            what.text("name", &presented.name);
            what.text("serial", &presented.serial);
            what.text("issuer", &presented.issuer);
            what.text("sha256", &presented.sha256);
            object.object("presented", what);
        }
    }
    if let Some(client) = event.forwarded {
        let mut who = Object::begin();
        who.maybe("spiffe_id", client.spiffe_id());
        who.maybe("dns_name", client.dns_names().first());
        who.maybe("subject", client.subject().as_ref());
        who.maybe("sha256", client.sha256().map(|sha256| hex(sha256)).as_ref());
        object.object("forwarded", who);
    }
    object.maybe("reason", event.reason.as_ref());
    object.maybe("cause", event.cause.map(Chained).as_ref());
    object.maybe("rule", event.rule.as_ref());
    if let Some(version) = event.policy_version {
        object.number("policy_version", version);
    }
    if let Some(generation) = event.generation {
        object.number("generation", generation);
    }
    if let Some(request) = event.request {
        let mut what = Object::begin();
        what.text("method", request.method);
        what.text("path", request.path);
        object.object("request", what);
    }
    object.end()
}

/// The line says too how many before it were lost.
pub(super) fn with_dropped(mut line: String, dropped: u64) -> String {
    // Its last brace; an object is never without.
    line.pop();
    let mut object = Object(line);
    object.number("dropped", dropped);
    object.end()
}

/// An object that is not closed yet.
struct Object(String);

impl Object {
    fn begin() -> Self {
        Self(String::from("{"))
    }

    fn key(&mut self, key: &'static str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        let _ = write!(self.0, "\"{key}\":");
    }

    fn text(&mut self, key: &'static str, value: impl fmt::Display) {
        self.key(key);
        self.0.push('"');
        let mut escaped = Escaped {
            into: &mut self.0,
            left: MAX_TEXT,
        };
        // It ends early, by an error, where the text is too long.
        if write!(escaped, "{value}").is_err() {
            self.0.push('\u{2026}');
        }
        self.0.push('"');
    }

    fn maybe(&mut self, key: &'static str, value: Option<&impl fmt::Display>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        let _ = write!(self.0, "{value}");
    }

    fn object(&mut self, key: &'static str, value: Self) {
        self.key(key);
        self.0.push_str(&value.end());
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// RFC 8259 §7: "the quotation mark, reverse solidus, and the control characters" must be escaped. DEL, the C1 controls
/// and the line separators need not be; but a line is shown in terminals and split by whoever splits at those.
struct Escaped<'s> {
    into: &'s mut String,
    left: usize,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            match c {
                '"' => self.into.push_str("\\\""),
                '\\' => self.into.push_str("\\\\"),
                '\n' => self.into.push_str("\\n"),
                '\r' => self.into.push_str("\\r"),
                '\t' => self.into.push_str("\\t"),
                '\u{2028}' | '\u{2029}' => write!(self.into, "\\u{:04x}", u32::from(c))?,
                c if c.is_control() => write!(self.into, "\\u{:04x}", u32::from(c))?,
                c => self.into.push(c),
            }
        }
        Ok(())
    }
}

fn rfc3339(at: SystemTime) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    // To the millisecond: finer is no more true, and reads worse.
    let nanos = i128::try_from(since.as_millis()).unwrap_or_default() * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// A name of a certificate, a path, a cause: longer ones are cut, so that no peer decides how large a record becomes.
const MAX_TEXT: usize = 2048;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut object = Object::begin();
        object.text("t", text);
        object.end()
    }

    #[test]
    fn what_would_end_a_text_or_a_line_is_escaped() {
        let text = "a\"b\\c\nd\re\tf\u{0}\u{1b}\u{7f}\u{85}\u{2028}ü\u{1f600}";
        let json =
            "{\"t\":\"a\\\"b\\\\c\\nd\\re\\tf\\u0000\\u001b\\u007f\\u0085\\u2028ü\u{1f600}\"}";
        assert_eq!(escaped(text), json);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "ü\n".repeat(MAX_TEXT);
        let json = escaped(&long);
        assert_eq!(json.matches('ü').count(), MAX_TEXT / 2);
        assert!(json.ends_with("ü\\n\u{2026}\"}"));
        let whole = "ü".repeat(MAX_TEXT);
        assert_eq!(escaped(&whole), format!("{{\"t\":\"{whole}\"}}"));
    }

    #[test]
    fn times_are_to_the_millisecond() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_225_600_123_456);
        assert_eq!(rfc3339(at), "2026-01-01T00:00:00.123Z");
    }

    #[test]
    fn a_line_tells_what_was_lost_before_it() {
        let mut inner = Object::begin();
        inner.number("b", 1);
        let mut object = Object::begin();
        object.object("a", inner);
        let told = with_dropped(object.end(), 3);
        assert_eq!(told, "{\"a\":{\"b\":1},\"dropped\":3}");
        assert_eq!(with_dropped("{}".into(), 3), "{\"dropped\":3}");
    }
}
