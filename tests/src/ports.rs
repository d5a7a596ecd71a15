//! Ports for what a test starts later, and starts again.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use seinhuis_shell::keys;

/// Below those that a kernel gives to a socket that asks for any: nobody gets one of these by chance while what it is
/// meant for does not run.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// Where this process goes on. It begins by chance: processes beside it may have its id, in a namespace of their own.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(u16::from_be_bytes(keys::random())));

/// An address on this machine at which nobody listens, over UDP or TCP, and that this process gives out once.
///
/// # Errors
/// When no port is free.
pub fn free() -> io::Result<SocketAddr> {
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free on this machine"))
}
