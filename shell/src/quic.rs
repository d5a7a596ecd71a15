//! QUIC as both sides use it: bounds on everything, and frames on streams.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use seinhuis_shared::frame::{HEADER_LEN, Header, Kind};
use seinhuis_shared::limits::{FRAME_MAX, IDLE_TIMEOUT, KEEP_ALIVE, STREAMS_MAX, UNI_STREAMS_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use zeroize::Zeroizing;

use crate::keys::{self, TlsKey};

/// Bytes a peer may send on one stream before they are read.
pub(crate) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes a peer may send on one connection before they are read.
pub(crate) const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Size asked for the socket's buffers; the system may give less.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Random bytes of a connection id. A first packet whose id is one of a connection that is there is taken for a packet of
/// that connection, and nobody answers it: with three random bytes, as in quinn's own generator, that befalls one
/// handshake in some hundreds where ten thousand agents are connected.
const ID_RANDOM: usize = 8;
/// Bytes of a connection id that show who made it.
const ID_PROOF: usize = 4;
/// Shortest time between two words to peers that their connection is gone. A broker that comes back has one for each of its
/// agents, whose keep-alives come in bursts; whom it does not tell waits out [`IDLE_TIMEOUT`]. Each is shorter than what it
/// answers, and answers an id that this node made: nobody makes more of it than he sends.
const RESET_EVERY: Duration = Duration::from_micros(100);

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
    let ids = secret(b"seinhuis/quic-connection-id/2");
    let mut config = EndpointConfig::new(Arc::new(reset));
    config
        .cid_generator(move || Box::new(Ids(hmac::Key::new(hmac::HMAC_SHA256, &ids))))
        .min_reset_interval(RESET_EVERY);
    config
}

/// Makes connection ids, and knows its own again after a restart: what carries another is no packet of a connection that
/// this node had, and is not answered.
struct Ids(hmac::Key);

impl Ids {
    fn proof(&self, random: &[u8]) -> [u8; ID_PROOF] {
        hmac::sign(&self.0, random).as_ref().first_chunk().copied().unwrap_or_default()
    }
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let random: [u8; ID_RANDOM] = keys::random();
        ConnectionId::new(&[&random[..], &self.proof(&random)].concat())
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let (random, proof) = id.split_at_checked(ID_RANDOM).ok_or(InvalidCid)?;
        if self.proof(random) == proof { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        ID_RANDOM + ID_PROOF
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
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
    use std::collections::BTreeSet;

    use super::*;

    fn ids(key: u8) -> Ids {
        Ids(hmac::Key::new(hmac::HMAC_SHA256, &[key; 32]))
    }

    #[test]
    fn a_node_knows_its_connection_ids_again_and_no_others() {
        let id = ids(1).generate_cid();
        assert_eq!(id.len(), ids(1).cid_len());
        assert!(ids(1).validate(&id).is_ok(), "after a restart");
        assert!(ids(2).validate(&id).is_err(), "of another node");
        for at in 0..id.len() {
            let mut other = id.to_vec();
            other[at] ^= 1;
            assert!(ids(1).validate(&ConnectionId::new(&other)).is_err(), "byte {at}");
            assert!(ids(1).validate(&ConnectionId::new(&id[..at])).is_err(), "{at} bytes");
        }
    }

    /// Each connection has several.
    #[test]
    fn among_the_ids_of_ten_thousand_connections_none_is_met_twice() {
        let mut ids = ids(1);
        let all: BTreeSet<Vec<u8>> = (0..100_000).map(|_| ids.generate_cid().to_vec()).collect();
        assert_eq!(all.len(), 100_000);
    }

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
