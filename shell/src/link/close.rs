//! How a connection ends.

use std::fmt;
use std::io;

use quinn::{ConnectionError, TransportErrorCode};
use seinhuis_shared::refusal::Refusal;

use crate::quic;

/// Why a connection ended or did not come about, the same for every transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The other side closed it: with a refusal's number, or without one that this version knows.
    Remote(Option<Refusal>),
    /// TLS at the other side refused this side, with this alert (RFC 8446 §6.2).
    Alert(u8),
    /// TLS at this side refused the other side: why.
    Distrusted(String),
    /// Nothing came from the other side for too long.
    Silent,
    /// What answers there speaks something else.
    Foreign,
    /// The other side does not know the connection any more, as after a restart.
    Reset,
    /// This side closed it.
    Local,
    /// Anything else, in the words of a library.
    Broken(String),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(Some(refusal)) => write!(f, "closed with {refusal}"),
            Self::Remote(None) => f.write_str("closed by the other side"),
            Self::Alert(alert) => write!(f, "refused with TLS alert {alert}"),
            Self::Distrusted(why) => write!(f, "the other side is not trusted: {why}"),
            Self::Silent => f.write_str("no answer"),
            Self::Foreign => f.write_str("another protocol"),
            Self::Reset => f.write_str("reset"),
            Self::Local => f.write_str("closed by this side"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// What the system says when the other side has dropped the connection.
const GONE: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// A TLS alert in a QUIC error code (RFC 9001 §4.8).
fn alert(code: TransportErrorCode) -> Option<u8> {
    u64::from(code).checked_sub(0x100).and_then(|alert| u8::try_from(alert).ok())
}

impl From<ConnectionError> for Closed {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::Remote(quic::refusal(close.error_code)),
            ConnectionError::ConnectionClosed(close) => match alert(close.error_code) {
                Some(alert) => Self::Alert(alert),
                None => Self::Broken(close.error_code.to_string()),
            },
            ConnectionError::TransportError(error) if alert(error.code).is_some() => {
                Self::Distrusted(error.reason)
            }
            ConnectionError::TransportError(error) => {
                Self::Broken(format!("{} {}", error.code, error.reason))
            }
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::VersionMismatch => Self::Foreign,
            ConnectionError::Reset | ConnectionError::CidsExhausted => Self::Reset,
            ConnectionError::LocallyClosed => Self::Local,
        }
    }
}

impl From<&io::Error> for Closed {
    /// What reading or writing a TLS connection over TCP ended with.
    fn from(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(u8::from(*alert)),
            Some(rustls::Error::InvalidCertificate(why)) => Self::Distrusted(why.to_string()),
            Some(
                rustls::Error::InvalidMessage(_)
                | rustls::Error::NoApplicationProtocol
                | rustls::Error::PeerIncompatible(_),
            ) => Self::Foreign,
            Some(other) => Self::Broken(other.to_string()),
            None if error.kind() == io::ErrorKind::TimedOut => Self::Silent,
            None if GONE.contains(&error.kind()) => Self::Reset,
            None => Self::Broken(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use quinn::VarInt;
    use quinn_proto::{ApplicationClose, ConnectionClose, TransportError};

    use super::*;

    fn closed_with(error_code: TransportErrorCode) -> Closed {
        ConnectionError::ConnectionClosed(ConnectionClose {
            error_code,
            frame_type: None,
            reason: Vec::new().into(),
        })
        .into()
    }

    #[test]
    fn a_refusal_number_is_recognised_as_such() {
        for (code, refusal) in
            [(204, Some(Refusal::PartnerRevoked)), (206, Some(Refusal::CertificateRevoked)), (0, None)]
        {
            let close = ApplicationClose { error_code: VarInt::from_u32(code), reason: Vec::new().into() };
            assert_eq!(Closed::from(ConnectionError::ApplicationClosed(close)), Closed::Remote(refusal));
        }
    }

    #[test]
    fn alerts_of_either_side_are_told_apart() {
        assert_eq!(closed_with(TransportErrorCode::crypto(44)), Closed::Alert(44));
        assert!(matches!(closed_with(TransportErrorCode::INTERNAL_ERROR), Closed::Broken(_)));
        let own = TransportError {
            code: TransportErrorCode::crypto(48),
            frame: None,
            reason: "unknown issuer".into(),
        };
        let own = Closed::from(ConnectionError::TransportError(own));
        assert_eq!(own, Closed::Distrusted("unknown issuer".into()));
        let told =
            io::Error::other(rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRevoked));
        assert_eq!(Closed::from(&told), Closed::Alert(44));
        let own = io::Error::other(rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked));
        assert!(matches!(Closed::from(&own), Closed::Distrusted(_)));
    }

    #[test]
    fn silence_is_no_other_end() {
        assert_eq!(Closed::from(ConnectionError::TimedOut), Closed::Silent);
        assert_eq!(Closed::from(&io::Error::from(io::ErrorKind::TimedOut)), Closed::Silent);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(matches!(Closed::from(&refused), Closed::Broken(_)));
        assert_eq!(Closed::from(&io::Error::from(io::ErrorKind::UnexpectedEof)), Closed::Reset);
    }
}
