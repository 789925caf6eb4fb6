//! The PROXY protocol: who a load balancer in front of us says that its client is, by address.
//!
//! The header stands before the first byte of TLS, unprotected: it is worth what the network between the balancer and us is
//! worth. It is read to its last byte and not beyond, so that the handshake begins where it should.

use std::io;
use std::net::{IpAddr, SocketAddr};

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Who tells us of clients by the PROXY protocol, version 1 or 2.
///
/// Whoever is meant has to send a header with each connection: one without, or with a broken one, is refused. From anybody
/// else none is taken, and one that is sent is no TLS. What a header says is the address of a client, for
/// [`PeerInfo::remote_addr`](crate::PeerInfo), logs and the audit: never who it is.
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    /// None: everybody.
    from: Option<Vec<(IpAddr, u8)>>,
}

impl ProxyProtocol {
    /// Every connection has a header. Whoever reaches the port can say any address: for a port that the network lets the
    /// balancer alone reach.
    #[must_use]
    pub fn from_everybody() -> Self {
        Self { from: None }
    }

    /// Connections from these addresses have one.
    #[must_use]
    pub fn from_addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let whole = addresses.into_iter().map(|addr| (addr, u8::MAX));
        Self {
            from: Some(whole.collect()),
        }
    }

    /// Those from this network too, by the first bits of its addresses: 10.0.0.0 and 8.
    #[must_use]
    pub fn or_network(mut self, network: IpAddr, bits: u8) -> Self {
        if let Some(from) = &mut self.from {
            from.push((network, bits));
        }
        self
    }

    pub(crate) fn is_from(&self, addr: SocketAddr) -> bool {
        // A socket of both families shows IPv4 addresses as IPv6 ones.
        let addr = addr.ip().to_canonical();
        let Some(from) = &self.from else {
            return true;
        };
        from.iter()
            .any(|(network, bits)| within(addr, network.to_canonical(), *bits))
    }
}

fn within(addr: IpAddr, network: IpAddr, bits: u8) -> bool {
    let (differ, width) = match (addr, network) {
        (IpAddr::V4(addr), IpAddr::V4(network)) => {
            (u128::from(addr.to_bits() ^ network.to_bits()), 32)
        }
        (IpAddr::V6(addr), IpAddr::V6(network)) => (addr.to_bits() ^ network.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let rest = width - u32::from(bits).min(width);
    differ.checked_shr(rest).unwrap_or(0) == 0
}

/// Why a header was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the PROXY header cannot be read, expected one of version 1 or 2")]
    Malformed,
    #[error("no PROXY header, expected one before the handshake")]
    Missing,
    #[error("the connection ended within the PROXY header")]
    Read(#[source] io::Error),
    #[error("a PROXY header of {found} bytes, expected {MAX_V2} at most")]
    TooLong { found: usize },
}

/// Reads a header, and nothing after it. None is a connection of the proxy's own, such as a health check.
pub(crate) async fn read<IO>(io: &mut IO) -> Result<Option<SocketAddr>, ProxyError>
where
    IO: AsyncRead + Unpin,
{
    let mut header = vec![0; SIGNATURE.len()];
    // Version 1 has 15 bytes at least.
    fill(io, &mut header).await?;
    if header == SIGNATURE {
        let mut fixed = [0; 4];
        fill(io, &mut fixed).await?;
        let [_, _, high, low] = fixed;
        let rest = usize::from(u16::from_be_bytes([high, low]));
        if rest > MAX_V2 {
            return Err(ProxyError::TooLong { found: rest });
        }
        header.extend(fixed);
        let begun = header.len();
        header.resize(begun + rest, 0);
        fill(io, header.get_mut(begun..).unwrap_or_default()).await?;
    } else if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\n") {
            if header.len() == MAX_V1 {
                return Err(ProxyError::Malformed);
            }
            let mut byte = [0];
            fill(io, &mut byte).await?;
            header.extend(byte);
        }
    } else {
        return Err(ProxyError::Missing);
    }
    parse(&header)
}

async fn fill<IO: AsyncRead + Unpin>(io: &mut IO, buffer: &mut [u8]) -> Result<(), ProxyError> {
    let read = io.read_exact(buffer).await;
    read.map(|_| ()).map_err(ProxyError::Read)
}

/// Parses a whole header.
fn parse(header: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    // The parser takes what Rust's own takes for a number, a sign in front of it too; the protocol has no such thing.
    let is_address = |byte: &u8| byte.is_ascii_hexdigit() || b".: \r\n".contains(byte);
    if let Some(addresses) = header.strip_prefix(b"PROXY TCP")
        && !addresses.iter().all(is_address)
    {
        return Err(ProxyError::Malformed);
    }
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    match ProxyHeader::parse(header, config) {
        Ok((parsed, length)) if length == header.len() => {
            Ok(parsed.proxied_address().map(|told| told.source))
        }
        Ok(_) | Err(_) => Err(ProxyError::Malformed),
    }
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// "107 chars: the worst case", with its end of line; §2.1 of the protocol.
const MAX_V1: usize = 107;

/// Addresses and what else there is: 216 bytes for the longest addresses, and a few hundred for what clouds add.
const MAX_V2: usize = 2048;

#[cfg(test)]
mod tests;
