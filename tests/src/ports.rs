//! Ports for what a test starts later, and starts again.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that a kernel gives to a socket that asks for any: nobody gets one of these by chance while what it is
/// meant for does not run.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// How many this process has tried.
static TRIED: AtomicU16 = AtomicU16::new(0);

/// An address on this machine at which nobody listens, over UDP or TCP, and that this process gives out once.
///
/// # Errors
/// When no port is free.
pub fn free() -> io::Result<SocketAddr> {
    // Processes beside this one begin elsewhere.
    let begin = u16::try_from(std::process::id().wrapping_mul(7_919) % u32::from(COUNT)).unwrap_or_default();
    for _ in 0..COUNT {
        let place = u32::from(begin) + u32::from(TRIED.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(place % u32::from(COUNT)).unwrap_or_default();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free on this machine"))
}
