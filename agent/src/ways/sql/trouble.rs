//! What is wrong with a database, in the agent's own words: what a server says itself may hold values of rows, so of that
//! only the code is told.

use std::error::Error as _;
use std::io;

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use tokio_postgres::Error;

use crate::config::Sql;

fn told(source: &Sql, (nl, en): (&str, &str), advice: (&str, &str)) -> Complaint {
    let place = format!("{}:{}", source.host, source.port);
    Complaint::usage(
        Text::new(
            format!("De database van [[sql]] {:?} ({place}) {nl}.", source.name),
            format!("The database of [[sql]] {:?} ({place}) {en}.", source.name),
        ),
        Text::new(advice.0, advice.1),
    )
}

const SEE_SERVER: (&str, &str) = (
    "Controleer host en port, en of de server draait; de agent probeert het vanzelf opnieuw.",
    "Check host and port, and whether the server runs; the agent tries again by itself.",
);

const SEE_TLS: (&str, &str) = (
    "Controleer het certificaat van de server (naam, geldigheid, CA) en het bestand dat ca noemt.",
    "Check the server's certificate (name, validity, CA) and the file that ca names.",
);

/// The server is not reached.
pub(super) fn away(source: &Sql, error: &io::Error) -> Complaint {
    let kind = error.kind();
    told(
        source,
        (&format!("is niet te bereiken ({kind})"), &format!("cannot be reached ({kind})")),
        SEE_SERVER,
    )
}

/// The server says nothing.
pub(super) fn silent(source: &Sql) -> Complaint {
    told(source, ("antwoordt niet op tijd", "does not answer in time"), SEE_SERVER)
}

/// The host's name is none that a certificate can have.
pub(super) fn no_name(source: &Sql) -> Complaint {
    told(
        source,
        ("heeft geen naam die in een certificaat kan staan", "has no name that a certificate can have"),
        (
            "Schrijf bij host de naam die in het certificaat staat.",
            "Write in host the name in its certificate.",
        ),
    )
}

/// What the library says went wrong.
pub(super) fn of(source: &Sql, error: &Error) -> Complaint {
    if let Some(state) = error.code() {
        return of_state(source, state.code());
    }
    let mut cause = error.source();
    while let Some(one) = cause {
        if let Some(error) = one.downcast_ref::<io::Error>() {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            return inner.map_or_else(|| away(source, error), |error| insecure(source, error));
        }
        cause = one.source();
    }
    let shown = error.to_string();
    if shown.contains("TLS") {
        let words = ("biedt geen TLS aan", "does not offer TLS");
        let advice = (
            "Zet TLS aan op de server (ssl = on); de agent stuurt niets onversleuteld over een netwerk.",
            "Switch TLS on at the server (ssl = on); the agent sends nothing in plain text over a network.",
        );
        return told(source, words, advice);
    }
    if shown.contains("authentication") || shown.contains("configuration") {
        return of_state(source, "28000");
    }
    told(source, ("brak de verbinding af", "broke the connection off"), SEE_SERVER)
}

/// What a certificate or its use is refused for. It says nothing of rows.
fn insecure(source: &Sql, error: &rustls::Error) -> Complaint {
    let words = (
        format!("heeft geen TLS-verbinding die te vertrouwen is ({error})"),
        format!("has no TLS connection that can be trusted ({error})"),
    );
    told(source, (&words.0, &words.1), SEE_TLS)
}

/// What is told of an error of the server, by its code (SQLSTATE, `PostgreSQL` manual appendix A).
fn of_state(source: &Sql, code: &str) -> Complaint {
    let class = code.get(..2).unwrap_or_default();
    let (words, advice) = match (code, class) {
        (_, "28") => (
            ("laat deze gebruiker niet toe", "does not let this user in"),
            (
                "Controleer user, het bestand dat password noemt, en pg_hba.conf van de server.",
                "Check user, the file that password names, and the server's pg_hba.conf.",
            ),
        ),
        ("3D000", _) => (
            ("bestaat niet op deze server", "does not exist on this server"),
            ("Controleer database.", "Check database."),
        ),
        ("42501", _) => (
            (
                "laat deze gebruiker niet lezen wat de query leest",
                "does not let this user read what the query reads",
            ),
            (
                "Geef de gebruiker leesrecht (GRANT SELECT) op precies die tabellen of op een view.",
                "Grant the user SELECT on exactly those tables, or on a view.",
            ),
        ),
        ("25006", _) => (
            ("werd gevraagd iets te schrijven", "was asked to write something"),
            ("De query mag alleen lezen; pas hem aan.", "The query may only read; change it."),
        ),
        ("57014", _) => (
            ("deed te lang over de query", "took too long for the query"),
            (
                "Zorg voor een index op de kolom van het peil, of verhoog timeout_s.",
                "See to an index on the column of the mark, or raise timeout_s.",
            ),
        ),
        (_, "22") => (
            (
                "kan een waarde niet omzetten: start of het bewaarde peil, of een waarde in de query",
                "cannot convert a value: start or the mark that is kept, or a value in the query",
            ),
            (
                "Controleer of start past bij de kolom die mark noemt; zie docs/sql.md voor een ander peil.",
                "Check that start fits the column that mark names; see docs/sql.md for another mark.",
            ),
        ),
        (_, "42") => (
            ("kan de query niet uitvoeren zoals hij er staat", "cannot run the query as it stands"),
            (
                "Probeer de query met psql; `seinhuis-agent sql check` zegt of hij goed is.",
                "Try the query with psql; `seinhuis-agent sql check` says whether it is right.",
            ),
        ),
        (_, "53" | "57" | "55" | "40") => (("kan nu niet", "cannot do so now"), SEE_SERVER),
        _ => (("geeft een fout", "gives an error"), SEE_SERVER),
    };
    let (nl, en) = words;
    told(source, (&format!("{nl} (SQLSTATE {code})"), &format!("{en} (SQLSTATE {code})")), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_words_and_advice_that_name_it() {
        let source = Sql { name: "zaken".into(), host: "db".into(), ..Sql::default() };
        for code in ["28P01", "3D000", "42501", "42P01", "25006", "57014", "57P01", "22P02", "XX000", ""] {
            let told = of_state(&source, code);
            assert!(
                told.what.en.contains(&format!("SQLSTATE {code}")) && told.what.nl != told.what.en,
                "{told}"
            );
            assert!(!told.advice.nl.is_empty() && told.what.en.contains("\"zaken\""), "{told}");
        }
    }
}
