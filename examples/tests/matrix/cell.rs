//! The axes of the matrix, and which cells there are.

use mtls_core::Reason;

use crate::clients::ClientDoor;
use crate::servers::ServerDoor;

/// One cell: who dials whom, by what, in what, as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) server: ServerDoor,
    pub(crate) client: ClientDoor,
    pub(crate) protocol: Protocol,
    pub(crate) tls: Tls,
    pub(crate) caller: Caller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    H1,
    H2,
    Grpc,
}

impl Protocol {
    pub(crate) const HTTP: [Self; 2] = [Self::H1, Self::H2];

    pub(crate) fn alpn(self) -> &'static str {
        match self {
            Self::H1 => "http/1.1",
            Self::H2 | Self::Grpc => "h2",
        }
    }

    /// As the table says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H1 => "HTTP/1.1",
            Self::H2 => "HTTP/2",
            Self::Grpc => "gRPC",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tls {
    V12,
    V13,
}

impl Tls {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        }
    }
}

/// Who comes to a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    Accepted,
    NoCertificate,
    Stranger,
    Expired,
    NotAuthorized,
}

/// Why a server refuses, and the alert that it sends (RFC 8446 §6).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) alert: &'static str,
}

impl Caller {
    pub(crate) const ALL: [Self; 5] = [
        Self::Accepted,
        Self::NoCertificate,
        Self::Stranger,
        Self::Expired,
        Self::NotAuthorized,
    ];

    pub(crate) const REFUSED: [Self; 4] = [
        Self::NoCertificate,
        Self::Stranger,
        Self::Expired,
        Self::NotAuthorized,
    ];

    pub(crate) fn refusal(self) -> Option<Refusal> {
        let (reason, alert) = match self {
            Self::Accepted => return None,
            Self::NoCertificate => (Reason::NoPeerCertificate, "certificate_required"),
            Self::Stranger => (Reason::UnknownIssuer, "unknown_ca"),
            Self::Expired => (Reason::Expired, "certificate_expired"),
            Self::NotAuthorized => (Reason::NotAuthorized, "access_denied"),
        };
        Some(Refusal { reason, alert })
    }

    /// The head of its column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NoCertificate => "no certificate",
            Self::Stranger => "stranger",
            Self::Expired => "expired",
            Self::NotAuthorized => "not authorized",
        }
    }
}

/// Whether a client that is refused is sure to learn why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learns {
    Always,
    /// The alert reaches its machine, and can be lost on the way to whoever asked; very seldom hyper has no answer at all.
    Mostly,
}

impl Cell {
    /// What is expected of this cell's client, in one place. `docs/refusals.md` says why.
    pub(crate) fn learns(self) -> Learns {
        learns(self.client, self.protocol, self.tls)
    }

    /// Every cell that there can be.
    pub(crate) fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        let http =
            ServerDoor::HTTP.map(|server| (server, &ClientDoor::HTTP[..], &Protocol::HTTP[..]));
        let grpc =
            ServerDoor::GRPC.map(|server| (server, &ClientDoor::GRPC[..], &[Protocol::Grpc][..]));
        for (server, clients, protocols) in http.into_iter().chain(grpc) {
            for &client in clients {
                for &protocol in protocols {
                    // A client of ours speaks TLS 1.3 with whoever does, and each of these does.
                    let versions = if client.is_ours() {
                        &[Tls::V13][..]
                    } else {
                        &[Tls::V12, Tls::V13]
                    };
                    for &tls in versions {
                        cells.extend(Caller::ALL.map(|caller| Self {
                            server,
                            client,
                            protocol,
                            tls,
                            caller,
                        }));
                    }
                }
            }
        }
        // So that ours are met in TLS 1.2 too: a server that is not, and that knows nothing of authorization.
        for client in ClientDoor::HTTP
            .into_iter()
            .filter(|client| client.is_ours())
        {
            for protocol in Protocol::HTTP {
                let (server, tls) = (ServerDoor::RustlsAlone, Tls::V12);
                let known = [Caller::Accepted, Caller::Stranger, Caller::Expired];
                cells.extend(known.map(|caller| Self {
                    server,
                    client,
                    protocol,
                    tls,
                    caller,
                }));
            }
        }
        // A client of ours has credentials, or is not built.
        cells.retain(|cell| cell.caller != Caller::NoCertificate || !cell.client.is_ours());
        cells
    }
}

pub(crate) fn learns(client: ClientDoor, protocol: Protocol, tls: Tls) -> Learns {
    match (client, protocol) {
        // The handshake fails, and with it connecting.
        _ if tls == Tls::V12 => Learns::Always,
        // Who holds the stream or the connection is told what ended it.
        (ClientDoor::Connection | ClientDoor::ByHand | ClientDoor::RustlsAlone, _) => {
            Learns::Always
        }
        // A `Connector` waits for the server's word before it hands its connection to whoever pools it.
        (ClientDoor::Pool | ClientDoor::TonicsChannel | ClientDoor::Channel, _) => Learns::Always,
        // Their connections are hyper's and in tasks of hyper's, which have two words to say that one has ended.
        (ClientDoor::Reqwest | ClientDoor::RustlsChannel, _) => Learns::Mostly,
    }
}
