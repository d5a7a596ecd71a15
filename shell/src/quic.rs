//! QUIC as both sides use it: bounds on everything, and frames on streams.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use seinhuis_shared::frame::{HEADER_LEN, Header, Kind};
use seinhuis_shared::limits::{FRAME_MAX, IDLE_TIMEOUT, KEEP_ALIVE, STREAMS_MAX, UNI_STREAMS_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use zeroize::Zeroizing;

use crate::keys::TlsKey;

/// Bytes a peer may send on one stream before they are read.
pub(crate) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes a peer may send on one connection before they are read.
pub(crate) const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Size asked for the socket's buffers; the system may give less.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

const _: () = assert!(FRAME_MAX < 4 * 1024 * 1024, "a stream's window holds the largest frame");

/// The bounds of a connection. An agent shows regularly that it is there; a broker only listens.
pub fn transport(keep_alive: bool, segmentation_offload: bool) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(
            u32::try_from(IDLE_TIMEOUT.0).unwrap_or(u32::MAX),
        ))))
        .keep_alive_interval(keep_alive.then(|| Duration::from_millis(KEEP_ALIVE.0)))
        .datagram_receive_buffer_size(None)
        .enable_segmentation_offload(segmentation_offload);
    Arc::new(config)
}

/// The settings of an endpoint that is dialled. Its connection ids and reset tokens follow from the node's
/// TLS key, so that after a crash it can tell its peers that their connections are gone (stateless reset,
/// RFC 9000 §10.3); with secrets drawn afresh they would wait out the idle time.
pub fn listening(key: &TlsKey) -> EndpointConfig {
    let secret = |label: &[u8]| {
        let der = key.to_der();
        sha256(&Zeroizing::new([label, der.secret_der()].concat())).0
    };
    let reset = hmac::Key::new(hmac::HMAC_SHA256, &secret(b"seinhuis/quic-reset/1"));
    let ids = secret(b"seinhuis/quic-connection-id/1");
    let ids = u64::from_be_bytes(ids.first_chunk().copied().unwrap_or_default());
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}

/// A UDP socket with buffers large enough for bursts.
///
/// # Errors
/// When the address cannot be bound.
pub fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Smaller buffers cost speed, not correctness.
    for set in [socket.set_recv_buffer_size(SOCKET_BUFFER), socket.set_send_buffer_size(SOCKET_BUFFER)] {
        if let Err(error) = set {
            tracing::debug!(%error, "socket buffers stay as they are");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A refusal's number as the error code a connection or stream is closed with.
pub fn code(refusal: Refusal) -> VarInt {
    VarInt::from_u32(u32::from(refusal.number()))
}

/// The refusal behind a code that a connection was closed with, if it is one.
pub fn refusal(code: VarInt) -> Option<Refusal> {
    u16::try_from(code.into_inner()).ok().and_then(Refusal::from_number)
}

/// Why no frame could be read.
#[derive(Debug)]
pub enum FrameError {
    /// The stream broke off or was reset.
    Broken(io::Error),
    /// What came is not a frame that is allowed here.
    Refused(Refusal),
}

/// Reads the next header; `None` at the stream's orderly end.
///
/// # Errors
/// [`FrameError`].
pub async fn header<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Option<Header>, FrameError> {
    let mut bytes = [0; HEADER_LEN];
    let mut filled = 0;
    while filled < HEADER_LEN {
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        match stream.read(rest).await.map_err(FrameError::Broken)? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(FrameError::Refused(Refusal::Malformed)),
            more => filled = filled.saturating_add(more),
        }
    }
    Header::parse(bytes).map(Some).map_err(FrameError::Refused)
}

/// Reads the payload behind a header.
///
/// # Errors
/// [`FrameError`].
pub async fn payload<R: AsyncRead + Unpin>(stream: &mut R, header: Header) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; header.length];
    match stream.read_exact(&mut bytes).await {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(FrameError::Refused(Refusal::Malformed))
        }
        Err(error) => Err(FrameError::Broken(error)),
    }
}

/// Reads the next whole frame; `None` at the stream's orderly end.
///
/// # Errors
/// [`FrameError`].
pub async fn frame<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Option<(Kind, Vec<u8>)>, FrameError> {
    match header(stream).await? {
        Some(header) => Ok(Some((header.kind, payload(stream, header).await?))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_one_after_the_other_and_nothing_else() {
        let one = seinhuis_shared::frame::encode(Kind::Hello, b"hello").unwrap();
        let both = [&one[..], &one[..]].concat();
        let mut stream = &both[..];
        for _ in 0..2 {
            let (kind, bytes) = frame(&mut stream).await.unwrap().unwrap();
            assert_eq!((kind, &bytes[..]), (Kind::Hello, &b"hello"[..]));
        }
        assert!(frame(&mut stream).await.unwrap().is_none());
        for cut in 1..one.len() {
            let mut stream = &one[..cut];
            assert!(
                matches!(frame(&mut stream).await, Err(FrameError::Refused(Refusal::Malformed))),
                "cut at {cut}"
            );
        }
    }
}
