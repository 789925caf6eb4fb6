//! A listening socket for a crowd.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host};

/// Listens at `addr`, with room for 4096 clients that have not been accepted yet, or for as many as the system allows
/// (`net.core.somaxconn`). `TcpListener::bind` has room for 1024: when all of a fleet connects anew at once, the system drops
/// whom there is no room for, and each tries again after a second.
///
/// Whatever serves takes any `TcpListener`. One that a service manager has opened (systemd's socket activation) comes from a
/// crate such as `listenfd` as one of `std`, and goes by `set_nonblocking(true)` and `TcpListener::from_std`; its backlog is
/// what the manager said (`Backlog=`).
///
/// # Errors
///
/// The operating system's: nobody of that name, or the address is in use, or not ours.
pub async fn listen(addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen at");
    for addr in lookup_host(addr).await? {
        match listen_at(addr) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_at(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // As `TcpListener::bind` does: else a server could not start again until its last connections are forgotten. On Windows
    // it would let another process take the address.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Has the system ask a peer that has been silent for so long whether it is there.
pub(crate) fn keep_alive(tcp: &TcpStream, after: Duration) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(after);
    #[cfg(any(
        target_os = "linux",
        target_os = "macos",
        target_os = "freebsd",
        windows
    ))]
    let keepalive = keepalive.with_interval(BETWEEN_PROBES);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

const BACKLOG: u32 = 4096;

/// Nine unanswered ones are Linux's measure of a peer that is gone.
#[cfg(any(
    target_os = "linux",
    target_os = "macos",
    target_os = "freebsd",
    windows
))]
const BETWEEN_PROBES: Duration = Duration::from_secs(10);
