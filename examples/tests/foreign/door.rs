//! Our door, and everybody who may come to it: who is let in, and who is refused for what.

use crate::curl::Version;
use crate::pki::{Ca, Issued, Leaf};
use crate::server::World;
use crate::tools::Said;

/// Who comes to the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Expired,
    Known,
    NotAuthorized,
    Stranger,
    WithoutCertificate,
}

impl Caller {
    pub(crate) const ALL: [Self; 5] = [
        Self::Expired,
        Self::Known,
        Self::NotAuthorized,
        Self::Stranger,
        Self::WithoutCertificate,
    ];

    pub(crate) const REFUSED: [Self; 4] = [
        Self::Expired,
        Self::NotAuthorized,
        Self::Stranger,
        Self::WithoutCertificate,
    ];

    /// The alert that the caller is sent, as openssl names it, and its number (RFC 8446 §6).
    pub(crate) fn alert(self) -> (&'static str, u8) {
        match self {
            Self::Expired => ("certificate expired", 45),
            Self::Known => is_let_in(),
            Self::NotAuthorized => ("access denied", 49),
            Self::Stranger => ("unknown ca", 48),
            Self::WithoutCertificate => ("certificate required", 116),
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Known => is_let_in(),
            Self::NotAuthorized => "not_authorized",
            Self::Stranger => "unknown_issuer",
            Self::WithoutCertificate => "no_peer_certificate",
        }
    }
}

fn is_let_in<T>() -> T {
    panic!("whoever is known is not refused")
}

/// Our server, on both versions of TLS, which lets `spiffe://example.org/web` in; and what its callers hold.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) world: World,
    known: Issued,
    not_authorized: Issued,
    expired: Issued,
    strangers: Issued,
    /// It keeps its files.
    _strange_ca: Ca,
}

impl Door {
    pub(crate) async fn new() -> Self {
        let flags = ["--tls12", "--allow", "spiffe://example.org/web"];
        let world = World::new(&flags).await;
        let (ca, stranger) = (&world.ca, Ca::new("strange-ca").await);
        Self {
            known: ca.issue(&Leaf::client("/web")).await,
            not_authorized: ca.issue(&Leaf::client("/web/other")).await,
            expired: ca.issue(&Leaf::client("/web").expired()).await,
            strangers: stranger.issue(&Leaf::client("/web")).await,
            _strange_ca: stranger,
            world,
        }
    }

    pub(crate) fn port(&self) -> &str {
        &self.world.server.port
    }

    pub(crate) fn credentials(&self, caller: Caller) -> Option<&Issued> {
        match caller {
            Caller::Expired => Some(&self.expired),
            Caller::Known => Some(&self.known),
            Caller::NotAuthorized => Some(&self.not_authorized),
            Caller::Stranger => Some(&self.strangers),
            Caller::WithoutCertificate => None,
        }
    }

    /// What our server answers to whom it knows.
    pub(crate) fn welcome(&self, version: Version) -> String {
        let (serial, version) = (&self.known.serial, version.name());
        format!("spiffe://example.org/web, serial {serial}, TLS {version}")
    }

    /// The tool was answered, and our server knew who it was.
    #[track_caller]
    pub(crate) fn assert_let_in(&self, said: &Said, version: Version) {
        assert!(said.has(&self.welcome(version)), "{said:#?}");
    }

    /// The tool says `words` of the refusal and was answered nothing, and our log tells of it.
    pub(crate) async fn assert_refused(&mut self, caller: Caller, said: &Said, words: &str) {
        assert!(said.has(words), "{caller:?}: no `{words}` in {said:#?}");
        assert!(!said.has("spiffe://example.org/"), "{caller:?}: {said:#?}");
        let serial = self.credentials(caller).map(|it| it.serial.clone());
        let texts: Vec<_> = serial.iter().map(String::as_str).collect();
        self.world.server.refusal(caller.reason(), &texts).await;
    }
}

/// The row of a tool in the table of what each says when it is refused is there, with these words.
#[track_caller]
pub(crate) fn documented(tool: &str, words: &str) {
    let table = include_str!("../../../docs/foreign.md");
    let row = format!("| {tool} |");
    let mut rows = table.lines().filter(|line| line.starts_with(&row));
    assert!(
        rows.any(|row| row.contains(words)),
        "docs/foreign.md has no row of `{tool}` with `{words}`"
    );
}
