//! A handshake between two rustls connections in memory: no socket, no runtime.

use std::io;

use rustls::{ClientConnection, ServerConnection};

/// Runs a handshake until neither side has anything to say; returns what ended each side, the server's first.
///
/// In TLS 1.3 a refused client finishes its own handshake first: its error here is the alert that it reads after that.
pub(crate) fn in_memory(
    server: &mut ServerConnection,
    client: &mut ClientConnection,
) -> (Option<rustls::Error>, Option<rustls::Error>) {
    let (mut server_error, mut client_error) = (None, None);
    loop {
        let to_server = move_bytes(&mut |w| client.write_tls(w));
        server_error = server_error.or_else(|| {
            let mut bytes = to_server.as_slice();
            feed(&mut bytes, &mut |rest| {
                let _ = server.read_tls(rest);
                server.process_new_packets().map(drop)
            })
        });
        let to_client = move_bytes(&mut |w| server.write_tls(w));
        client_error = client_error.or_else(|| {
            let mut bytes = to_client.as_slice();
            feed(&mut bytes, &mut |rest| {
                let _ = client.read_tls(rest);
                client.process_new_packets().map(drop)
            })
        });
        if to_server.is_empty() && to_client.is_empty() {
            return (server_error, client_error);
        }
    }
}

/// Writing to memory does not fail.
fn move_bytes(write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while write(&mut bytes).is_ok_and(|written| written > 0) {}
    bytes
}

fn feed(
    bytes: &mut &[u8],
    step: &mut dyn FnMut(&mut &[u8]) -> Result<(), rustls::Error>,
) -> Option<rustls::Error> {
    while !bytes.is_empty() {
        let before = bytes.len();
        if let Err(error) = step(bytes) {
            return Some(error);
        }
        if bytes.len() == before {
            // It takes no more.
            return None;
        }
    }
    None
}
