//! Plain rustls at a port of localhost, for programs of others: one that they dial, and one that dials them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use mtls_core::rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, Stream};

/// A server that takes one connection after the other and has one answer for each.
pub(crate) struct Door {
    pub(crate) port: u16,
    said: mpsc::Receiver<String>,
}

impl Door {
    pub(crate) fn open(config: ServerConfig) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(config);
        let (tell, said) = mpsc::channel();
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                if tell.send(answer(tcp.unwrap(), &config)).is_err() {
                    break;
                }
            }
        });
        Self { port, said }
    }

    /// What it says of the next one who came: [`ANSWERED`], or the error.
    pub(crate) fn said(&self) -> String {
        self.said.recv_timeout(LIMIT).unwrap()
    }
}

fn answer(mut tcp: TcpStream, config: &Arc<ServerConfig>) -> String {
    tcp.set_read_timeout(Some(LIMIT)).unwrap();
    let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
    let exchanged = exchange(&mut tls, &mut tcp);
    let told = exchanged.map_or_else(|error| error.to_string(), |()| ANSWERED.to_owned());
    // Whoever was refused is heard to the end, so that no reset overtakes the alert.
    let _ = tcp.shutdown(Shutdown::Write);
    let _ = io::copy(&mut tcp, &mut io::sink());
    told
}

fn exchange(tls: &mut ServerConnection, tcp: &mut TcpStream) -> io::Result<()> {
    while tls.is_handshaking() {
        tls.complete_io(tcp)?;
    }
    let mut stream = Stream::new(tls, tcp);
    let _ = stream.read(&mut [0; 4096])?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// A client: what it gets to read from this port, or its error.
pub(crate) fn dial(config: ClientConfig, port: u16) -> Result<String, String> {
    let exchange = || -> io::Result<String> {
        let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
        tcp.set_read_timeout(Some(LIMIT))?;
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = Stream::new(&mut tls, &mut tcp);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut read = String::new();
        stream.read_to_string(&mut read)?;
        Ok(read)
    };
    exchange().map_err(|error| error.to_string())
}

pub(crate) const ANSWERED: &str = "answered";

/// Nothing here takes a second; a loaded machine does.
const LIMIT: Duration = Duration::from_secs(30);
