//! What a failed connection means, in sentences that say whose fault it is and what to do.

use seinhuis_shared::refusal::{Lang, Refusal};
use seinhuis_shell::lang::Text;
use seinhuis_shell::link::Closed;

use super::End;

/// A refusal with what to do about it.
pub(crate) fn refused(refusal: Refusal) -> Text {
    let text = |lang: Lang| format!("{} ({refusal}) {}", refusal.what(lang), refusal.advice(lang));
    Text::new(text(Lang::Nl), text(Lang::En))
}

/// Nothing came back.
pub(crate) fn silent(address: &str) -> End {
    End::Unreached(Text::new(
        format!(
            "De broker op {address} antwoordt niet. Controleer of hij draait en of een firewall het verkeer naar dit adres tegenhoudt (UDP, of TCP als uitwijk)."
        ),
        format!(
            "The broker at {address} does not answer. Check that it runs and that no firewall stops traffic to this address (UDP, or TCP as the fallback)."
        ),
    ))
}

/// The broker's name leads to no address.
pub(crate) fn unknown(place: &str, cause: &str) -> End {
    End::Unreached(Text::new(
        format!(
            "Het adres van de broker {place} is niet te vinden: {cause}. Controleer naam, DNS en netwerk."
        ),
        format!("The broker's address {place} cannot be found: {cause}. Check the name, DNS and network."),
    ))
}

/// No connection over TCP came about.
pub(crate) fn unreached(address: &str, cause: &std::io::Error) -> End {
    End::Unreached(Text::new(
        format!(
            "De broker is over TCP op {address} niet te bereiken: {cause}. Controleer het adres en de firewall."
        ),
        format!(
            "The broker cannot be reached over TCP at {address}: {cause}. Check the address and the firewall."
        ),
    ))
}

/// The CA revoked the certificate with which the broker opened this session.
pub(crate) fn disowned() -> End {
    End::Failed(Text::new(
        "Het certificaat van de broker is ingetrokken; de agent heeft de sessie beëindigd. Bel de beheerder van de broker.",
        "The broker's certificate was revoked; the agent ended the session. Call the broker's operator.",
    ))
}

/// A connection that failed or ended.
pub(crate) fn connection(closed: &Closed, address: &str) -> End {
    match closed {
        Closed::Remote(Some(refusal)) => End::Refused(*refusal),
        Closed::Remote(None) => End::Failed(Text::new(
            "De broker sloot de verbinding; de agent verbindt opnieuw.",
            "The broker closed the connection; the agent connects again.",
        )),
        Closed::Alert(alert) => refused_by_tls(*alert),
        Closed::Distrusted(why) => End::Failed(Text::new(
            format!(
                "Het certificaat van de broker deugt niet volgens deze agent: {why}. Controleer broker.json, de klok, en of de intrekkingslijst vers is (`doctor`)."
            ),
            format!(
                "The broker's certificate does not hold according to this agent: {why}. Check broker.json, the clock, and that the revocation list is fresh (`doctor`)."
            ),
        )),
        Closed::Silent => silent(address),
        Closed::Foreign => End::Failed(Text::new(
            format!("Op {address} antwoordt geen Seinhuis-broker van deze versie. Controleer het adres."),
            format!("No Seinhuis broker of this version answers at {address}. Check the address."),
        )),
        Closed::Reset => End::Failed(Text::new(
            "De broker is herstart; de agent verbindt opnieuw.",
            "The broker was restarted; the agent connects again.",
        )),
        Closed::Local => {
            End::Failed(Text::new("De agent sloot de verbinding.", "The agent closed the connection."))
        }
        Closed::Broken(why) => End::Failed(Text::new(
            format!("De verbinding brak af: {why}. De agent verbindt opnieuw."),
            format!("The connection broke: {why}. The agent connects again."),
        )),
    }
}

/// The broker's TLS refused this agent.
fn refused_by_tls(alert: u8) -> End {
    // RFC 8446 §6.2.
    let text = match alert {
        44 => return End::Refused(Refusal::CertificateRevoked),
        45 => Text::new(
            "De broker zegt dat het certificaat van deze agent is verlopen. Vraag een nieuw aan (enrol --request) en controleer de klok.",
            "The broker says this agent's certificate has expired. Request a new one (enrol --request) and check the clock.",
        ),
        48 => Text::new(
            "De broker kent de CA van dit certificaat niet. Gebruik een certificaat van de partnerschaps-CA van deze broker.",
            "The broker does not know this certificate's CA. Use a certificate of this broker's partnership CA.",
        ),
        40 | 109 => Text::new(
            "De broker en deze agent worden het niet eens over TLS. Controleer of key_exchange bij beide gelijk is.",
            "The broker and this agent do not agree on TLS. Check that key_exchange is the same at both.",
        ),
        120 => Text::new(
            "Op dit adres draait iets anders dan een Seinhuis-broker, of een andere hoofdversie.",
            "Something else than a Seinhuis broker runs at this address, or another major version.",
        ),
        alert => Text::new(
            format!(
                "De broker weigert het certificaat van deze agent (TLS-melding {alert}). Voer `seinhuis-agent doctor` uit."
            ),
            format!(
                "The broker refuses this agent's certificate (TLS alert {alert}). Run `seinhuis-agent doctor`."
            ),
        ),
    };
    End::Failed(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_alert_says_what_is_wrong_with_the_certificate() {
        let end = connection(&Closed::Alert(44), "broker:1");
        assert!(matches!(end, End::Refused(Refusal::CertificateRevoked)));
        for (alert, words) in [(45, "expired"), (48, "CA"), (40, "key_exchange"), (42, "alert 42")] {
            let End::Failed(text) = connection(&Closed::Alert(alert), "broker:1") else {
                panic!("alert {alert}");
            };
            assert!(text.en.contains(words), "{text:?}");
        }
    }

    #[test]
    fn only_silence_leads_to_another_transport() {
        assert!(matches!(connection(&Closed::Silent, "broker:1"), End::Unreached(_)));
        for answer in [
            Closed::Remote(None),
            Closed::Remote(Some(Refusal::UnknownPartner)),
            Closed::Alert(48),
            Closed::Distrusted("revoked".into()),
            Closed::Foreign,
            Closed::Reset,
            Closed::Local,
            Closed::Broken("?".into()),
        ] {
            let end = connection(&answer, "broker:1");
            assert!(!matches!(end, End::Unreached(_)), "{answer:?}");
        }
    }
}
