//! What it comes to.

use mtls_core::Reason;

use super::Report;
use super::drift::Drift;
use super::look::{End, Look};
use super::ours::Outcome;
use crate::explain::{alert_means, alert_name};

/// One word for machines, and a sentence for people.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) word: &'static str,
    pub(super) says: String,
    pub(super) reason: Option<Reason>,
    pub(super) alert: Option<u8>,
    pub(super) remedy: Option<String>,
}

impl Verdict {
    fn new(word: &'static str, says: impl Into<String>) -> Self {
        Self {
            word,
            says: says.into(),
            reason: None,
            alert: None,
            remedy: None,
        }
    }

    fn because(mut self, reason: Reason, remedy: impl Into<String>) -> Self {
        self.reason = Some(reason);
        self.remedy = Some(remedy.into());
        self
    }

    pub(super) fn unreachable() -> Self {
        let mut verdict = Self::new("unreachable", "nothing answers there");
        verdict.remedy = Some("look at the address, the port, and what lies between".to_owned());
        verdict
    }

    /// What the alert means, by whose stack it may come from.
    pub(super) fn means(&self) -> Option<&'static str> {
        self.alert.and_then(alert_means)
    }

    pub(super) fn is_good(&self) -> bool {
        matches!(self.word, "accepted" | "looked")
    }
}

impl Look {
    /// Whether there is anything that speaks TLS, so that asking further makes sense.
    pub(super) fn speaks_tls(&self) -> bool {
        !matches!(
            &self.end,
            Some(End::Plaintext(_) | End::Silent | End::Closed) if self.chain.is_empty()
        )
    }

    /// How the server refused this client, if it did: in TLS, or in HTTP where it was asked.
    pub(super) fn refusal(&self) -> Option<String> {
        match self.end.as_ref()? {
            End::Alert(code) => Some(format!("by the alert {}", alert_name(*code))),
            End::Closed => Some("by closing the connection".to_owned()),
            End::LetIn | End::NoWord => {
                let answer = self.answer.as_ref();
                answer.and_then(|answer| refused_in_http(&answer.text))
            }
            // A fault of ours, or of what lies between, is no proof that the server refuses anybody.
            End::Other(_) | End::Plaintext(_) | End::Silent => None,
        }
    }
}

/// The status by which a server refuses a client whose handshake it has completed.
pub(super) fn refused_in_http(answer: &str) -> Option<String> {
    let status = status(answer)?;
    let is_about_the_certificate = answer.contains("SSL certificate");
    let refuses = match status {
        401 | 403 | 495 | 496 => true,
        400 => is_about_the_certificate,
        _ => false,
    };
    refuses.then(|| format!("in HTTP, by the status {status}"))
}

pub(super) fn status(answer: &str) -> Option<u16> {
    let line = answer.lines().next()?;
    line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

/// What keeps us out comes first; then what lets in others; then what will do either before long.
pub(super) fn of(report: &Report, no_cert: bool) -> Verdict {
    let look = &report.look;
    if !look.speaks_tls() {
        return no_tls(look);
    }
    let verdict = match &report.ours {
        Some(outcome) => of_ours(outcome),
        None => looked(look),
    };
    if !verdict.is_good() {
        return verdict;
    }
    let namesake = report.namesake.as_ref().map(|namesake| &namesake.look);
    let others = [
        (no_cert.then_some(look), "a client without a certificate"),
        (
            report.stranger.as_ref(),
            "a client with a certificate of a CA that nobody knows",
        ),
        (
            namesake,
            "a client whose certificate bears a CA's name and not its signature",
        ),
    ];
    let others = others
        .iter()
        .filter_map(|(look, who)| Some(((*look)?, who)));
    for (look, who) in others {
        if look.refusal().is_some() {
            continue;
        }
        if look.end == Some(End::LetIn) {
            return Verdict::new("not_enforced", format!("the server lets in {who}")).because(
                Reason::NoPeerCertificate,
                "require and verify client certificates there; if it refuses in HTTP and not in TLS, as nginx does, ask with --http",
            );
        }
        let mut verdict = Verdict::new(
            "unproven",
            format!("whether the server refuses {who} was not seen"),
        );
        verdict.remedy = Some("ask with --http, so that it has to say something".to_owned());
        return verdict;
    }
    drifted(&report.drift).unwrap_or(verdict)
}

fn drifted(drift: &Drift) -> Option<Verdict> {
    if let Some(disk) = drift.disk.as_ref().filter(|disk| !disk.same) {
        let serial = disk.serial.as_deref().unwrap_or("unknown");
        let says = format!(
            "it does not serve the certificate that is on its disk, of serial {serial}: it has not taken what was renewed"
        );
        let mut verdict = Verdict::new("stale", says);
        verdict.remedy = Some(
            "see by `mtls check` whether what is there holds, and by its log and mtls_source_up why it was not taken; restart what cannot reload"
                .to_owned(),
        );
        return Some(verdict);
    }
    if let Some(other) = drift.others.iter().find(|other| !other.same) {
        let serial = other.serial.as_deref().unwrap_or("none");
        let says = format!(
            "another certificate is served at {}: serial {serial}",
            other.address
        );
        let mut verdict = Verdict::new("addresses_differ", says);
        verdict.remedy = Some(
            "one of them has not taken its renewal; or each has a certificate of its own, and then there is nothing to compare"
                .to_owned(),
        );
        return Some(verdict);
    }
    let clock = drift.clock.filter(|clock| clock.is_off())?;
    let (seconds, where_to) = match clock.ahead.is_negative() {
        true => (clock.ahead.unsigned_abs(), "behind"),
        false => (clock.ahead.unsigned_abs(), "ahead of"),
    };
    let says = format!("the server's clock is {seconds} s {where_to} ours");
    let remedy = "set both clocks by the network: a certificate that is valid to one of them is not to the other";
    Some(Verdict::new("clock_off", says).because(Reason::NotYetValid, remedy))
}

fn no_tls(look: &Look) -> Verdict {
    match &look.end {
        Some(End::Plaintext(what)) => {
            let says = match what {
                Some(what) => format!("it does not speak TLS: it speaks {what}"),
                None => "it answers, and does not speak TLS".to_owned(),
            };
            Verdict::new("plaintext_peer", says).because(
                Reason::PlaintextPeer,
                "use the TLS port, or let the server speak TLS on this one",
            )
        }
        Some(End::Closed) => {
            Verdict::new("peer_closed", "it closed the connection before it said anything of TLS")
                .because(
                    Reason::PeerClosed,
                    "look at what listens there, and at the server name: some drop what they do not know",
                )
        }
        Some(End::Silent | End::LetIn | End::NoWord | End::Alert(_) | End::Other(_)) | None => {
            Verdict::new("timeout", "it takes connections and says nothing").because(
                Reason::Timeout,
                "look at what listens there: another protocol waits for its client to speak its own language",
            )
        }
    }
}

fn looked(look: &Look) -> Verdict {
    if look.chain.is_empty() {
        let how = look
            .refusal()
            .unwrap_or_else(|| "without a word".to_owned());
        let mut verdict = Verdict::new(
            "refused_by_peer",
            format!("the handshake was refused {how}"),
        )
        .because(
            Reason::RefusedByPeer,
            "`mtls explain` has what the alert means",
        );
        if let Some(End::Alert(code)) = look.end {
            verdict.alert = Some(code);
        }
        return verdict;
    }
    Verdict::new(
        "looked",
        "it speaks TLS; with --dir it is verified, and asked to accept us",
    )
}

fn of_ours(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Accepted { server, answer, .. } => {
            let answer = answer.as_ref();
            if let Some(how) = answer.and_then(|answer| refused_in_http(&answer.text)) {
                return Verdict::new("refused_in_http", format!("the server refused us {how}")).because(
                    Reason::RefusedByPeer,
                    "look at the server's log: it completed the handshake and refused the request",
                );
            }
            let who = server.identity();
            Verdict::new(
                "accepted",
                format!("the server is `{who}`, and has accepted us"),
            )
        }
        Outcome::Unconfirmed { server } => {
            let who = server.identity();
            let what = format!(
                "the server is `{who}`; the handshake is done, and it has said nothing of whether it accepts us"
            );
            let mut verdict = Verdict::new("unconfirmed", what);
            verdict.remedy = Some("ask with --http, so that it has to say something".to_owned());
            verdict
        }
        Outcome::TimedOut => Verdict::new("timeout", "the handshake was not done in time").because(
            Reason::Timeout,
            "give it longer with --timeout, or look at its load",
        ),
        Outcome::Failed(error) => {
            let reason = error.reason();
            let word = match reason == Reason::RefusedByPeer {
                true => "refused_by_peer",
                false if error.presented().is_some() => "peer_not_trusted",
                false => reason.as_str(),
            };
            let mut verdict = Verdict::new(word, error.to_string()).because(reason, error.remedy());
            if let mtls_core::HandshakeError::RefusedByPeer { alert, .. } = error {
                verdict.alert = Some(alert.code());
            }
            verdict
        }
    }
}
