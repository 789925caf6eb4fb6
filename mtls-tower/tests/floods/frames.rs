//! Frames of HTTP/2, by hand: an attacker sends what no library would.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::common::within;
use crate::target::Target;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// RFC 9113 §7.
pub const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// GET of a path, in HPACK without a table: literals, and of the static table what has an index.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &get_fields(path))
}

pub fn get_fields(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    // :method GET, :scheme https, :path, :authority
    let mut block = vec![0x82, 0x87, 0x04, length];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(&[0x01, 9]);
    block.extend_from_slice(b"localhost");
    block
}

/// A field that is not to be indexed, `x-…` and so long.
pub fn field(name: &str, length: u8) -> Vec<u8> {
    let mut field = vec![0x00, u8::try_from(name.len()).unwrap()];
    field.extend_from_slice(name.as_bytes());
    field.push(length);
    field.resize(field.len() + usize::from(length), b'a');
    field
}

/// One setting.
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// The attacker's end of a connection over HTTP/2.
pub struct Attack {
    pub tls: TlsStream<TcpStream>,
}

impl Attack {
    /// As far as the preface and these frames.
    pub async fn start(target: &Target, first: &[u8]) -> Self {
        let mut tls = target.attacker(&["h2"]).await;
        let opening = [PREFACE, first].concat();
        within(tls.write_all(&opening)).await.unwrap();
        Self { tls }
    }

    /// Writes all of it, or as much as the server takes before it ends.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(async {
            self.tls.write_all(bytes).await?;
            self.tls.flush().await
        })
        .await
    }

    /// The next frame: its kind, flags, stream and payload.
    pub async fn next(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        within(self.tls.read_exact(&mut head)).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        within(self.tls.read_exact(&mut payload)).await?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Ok((head[3], head[4], stream, payload))
    }

    /// The code of the GOAWAY by which the server ends it; none if it just ends.
    pub async fn goaway(&mut self) -> Option<u32> {
        while let Ok((kind, _, _, payload)) = self.next().await {
            if kind == GOAWAY {
                return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
        None
    }
}
