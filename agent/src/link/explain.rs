//! What a failed connection means, in sentences that say whose fault it is and what to do.

use quinn::{ConnectionError, TransportErrorCode};
use seinhuis_shared::refusal::{Lang, Refusal};
use seinhuis_shell::lang::Text;
use seinhuis_shell::quic;

use super::End;

/// A refusal with what to do about it.
pub(crate) fn refused(refusal: Refusal) -> Text {
    let text = |lang: Lang| format!("{} ({refusal}) {}", refusal.what(lang), refusal.advice(lang));
    Text::new(text(Lang::Nl), text(Lang::En))
}

/// Nothing came back.
pub(crate) fn silent(address: &str) -> End {
    End::Failed(Text::new(
        format!(
            "De broker op {address} antwoordt niet. Controleer of hij draait en of een firewall UDP naar dit adres tegenhoudt."
        ),
        format!(
            "The broker at {address} does not answer. Check that it runs and that no firewall stops UDP to this address."
        ),
    ))
}

/// A connection that failed or ended.
pub(crate) fn connection(error: &ConnectionError, address: &str) -> End {
    match error {
        ConnectionError::ApplicationClosed(close) => match quic::refusal(close.error_code) {
            Some(refusal) => End::Refused(refusal),
            None => End::Failed(Text::new(
                "De broker sloot de verbinding; de agent verbindt opnieuw.",
                "The broker closed the connection; the agent connects again.",
            )),
        },
        ConnectionError::ConnectionClosed(close) => peer_closed(close.error_code),
        ConnectionError::TransportError(error) => own_check(error.code, &error.reason),
        ConnectionError::TimedOut => silent(address),
        ConnectionError::VersionMismatch => End::Failed(Text::new(
            format!("Op {address} draait geen QUIC versie 1. Controleer het adres."),
            format!("There is no QUIC version 1 at {address}. Check the address."),
        )),
        ConnectionError::Reset | ConnectionError::CidsExhausted => End::Failed(Text::new(
            "De broker is herstart; de agent verbindt opnieuw.",
            "The broker was restarted; the agent connects again.",
        )),
        ConnectionError::LocallyClosed => {
            End::Failed(Text::new("De agent sloot de verbinding.", "The agent closed the connection."))
        }
    }
}

/// A TLS alert in a QUIC error code (RFC 9001 §4.8).
fn alert(code: TransportErrorCode) -> Option<u64> {
    u64::from(code).checked_sub(0x100).filter(|alert| *alert <= 0xff)
}

/// The broker's TLS refused this agent.
fn peer_closed(code: TransportErrorCode) -> End {
    // RFC 8446 §6.2.
    let text = match alert(code) {
        Some(44) => return End::Refused(Refusal::CertificateRevoked),
        Some(45) => Text::new(
            "De broker zegt dat het certificaat van deze agent is verlopen. Vraag een nieuw aan (enrol --request) en controleer de klok.",
            "The broker says this agent's certificate has expired. Request a new one (enrol --request) and check the clock.",
        ),
        Some(48) => Text::new(
            "De broker kent de CA van dit certificaat niet. Gebruik een certificaat van de partnerschaps-CA van deze broker.",
            "The broker does not know this certificate's CA. Use a certificate of this broker's partnership CA.",
        ),
        Some(40 | 109) => Text::new(
            "De broker en deze agent worden het niet eens over TLS. Controleer of key_exchange bij beide gelijk is.",
            "The broker and this agent do not agree on TLS. Check that key_exchange is the same at both.",
        ),
        Some(120) => Text::new(
            "Op dit adres draait iets anders dan een Seinhuis-broker, of een andere hoofdversie.",
            "Something else than a Seinhuis broker runs at this address, or another major version.",
        ),
        Some(alert) => Text::new(
            format!(
                "De broker weigert het certificaat van deze agent (TLS-melding {alert}). Voer `seinhuis-agent doctor` uit."
            ),
            format!(
                "The broker refuses this agent's certificate (TLS alert {alert}). Run `seinhuis-agent doctor`."
            ),
        ),
        None => Text::new(
            format!("De broker sloot de verbinding ({code}); de agent verbindt opnieuw."),
            format!("The broker closed the connection ({code}); the agent connects again."),
        ),
    };
    End::Failed(text)
}

/// This agent's TLS refused the broker.
fn own_check(code: TransportErrorCode, reason: &str) -> End {
    let text = if alert(code).is_some() {
        Text::new(
            format!(
                "Het certificaat van de broker deugt niet volgens deze agent: {reason}. Controleer broker.json, de klok, en of de intrekkingslijst vers is (`doctor`)."
            ),
            format!(
                "The broker's certificate does not hold according to this agent: {reason}. Check broker.json, the clock, and that the revocation list is fresh (`doctor`)."
            ),
        )
    } else {
        Text::new(
            format!("De verbinding brak af: {code} {reason}. De agent verbindt opnieuw."),
            format!("The connection broke: {code} {reason}. The agent connects again."),
        )
    };
    End::Failed(text)
}

#[cfg(test)]
mod tests {
    use quinn::VarInt;
    use quinn_proto::{ApplicationClose, ConnectionClose};

    use super::*;

    fn closed_with(error_code: TransportErrorCode) -> End {
        connection(
            &ConnectionError::ConnectionClosed(ConnectionClose {
                error_code,
                frame_type: None,
                reason: Vec::new().into(),
            }),
            "broker:1",
        )
    }

    #[test]
    fn a_refusal_number_is_recognised_as_such() {
        for (code, refusal) in
            [(204, Some(Refusal::PartnerRevoked)), (206, Some(Refusal::CertificateRevoked)), (0, None)]
        {
            let end = connection(
                &ConnectionError::ApplicationClosed(ApplicationClose {
                    error_code: VarInt::from_u32(code),
                    reason: Vec::new().into(),
                }),
                "broker:1",
            );
            match (end, refusal) {
                (End::Refused(found), Some(wanted)) => assert_eq!(found, wanted),
                (End::Failed(_), None) => {}
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_tls_alert_says_what_is_wrong_with_the_certificate() {
        assert!(matches!(
            closed_with(TransportErrorCode::crypto(44)),
            End::Refused(Refusal::CertificateRevoked)
        ));
        for (alert, words) in [(45, "expired"), (48, "CA"), (40, "key_exchange"), (42, "alert 42")] {
            match closed_with(TransportErrorCode::crypto(alert)) {
                End::Failed(text) => assert!(text.en.contains(words), "{text:?}"),
                End::Refused(_) | End::Stopped | End::Renewed => panic!("alert {alert}"),
            }
        }
        assert!(matches!(closed_with(TransportErrorCode::INTERNAL_ERROR), End::Failed(_)));
    }
}
