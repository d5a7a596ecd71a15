//! The list of alarms.

use std::fmt::{self, Write as _};

use seinhuis_shared::time::Span;
use serde::{Deserialize, Serialize};

use super::Said;

/// One alarm of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Something waits for a recipient that has no connection.
    RecipientSilent,
    /// Something waits too long for a recipient that is connected.
    OldestWaiting,
    /// Many packets of one sender are refused.
    RefusalBurst,
    /// A certificate ends.
    CertificateEnds,
    /// The newest quorum of a covenant is old.
    QuorumOld,
    /// The broker does not serve before its witnesses have said what they cosigned.
    WitnessesAwaited,
    /// Answers of a witness are of no use.
    WitnessRefuses,
    /// A witness says something that may mean two histories.
    WitnessContradicts,
    /// A file of the log is not what it was.
    SelfCheckFailed,
    /// Turns become durable slowly.
    FlushSlow,
    /// The broker has stopped by itself: a turn did not become durable, or the log contradicts itself.
    BrokerStopped,
    /// There is too little room on the disk.
    DiskScarce,
    /// There will be too little room on the disk.
    DiskFilling,
    /// The clock is too far past the log for the next year to begin.
    YearRefused,
    /// The clock is behind the log.
    ClockBehind,
    /// Entries are written and not counted.
    CountingBehind,
    /// Alarms cannot be told over one of the channels.
    ChannelFailed,
}

/// What stands in the list about an alarm.
struct Row {
    code: Code,
    name: &'static str,
    /// How long it has to be found before it is told; beside what its own limit says.
    wait: Span,
    /// The haste it has.
    haste: &'static str,
    /// The key of its limit in `[alerts.limits]`.
    limits: &'static str,
    nl: &'static str,
    en: &'static str,
    advice_nl: &'static str,
    advice_en: &'static str,
}

const NOW: Span = Span(0);

const TABLE: &[Row] = &[
    Row {
        code: Code::RecipientSilent,
        name: "recipient-silent",
        wait: NOW,
        haste: "page",
        limits: "recipient_silent_minutes",
        nl: "Er wachten pakketten voor een ontvanger die geen verbinding heeft.",
        en: "Packets wait for a recipient that has no connection.",
        advice_nl: "Bel de beheerder van deze organisatie: draait de agent, en bereikt hij de broker? Er gaat niets verloren zolang de geldigheid van de pakketten duurt.",
        advice_en: "Call this organisation's administrator: does the agent run, and does it reach the broker? Nothing is lost while the packets are valid.",
    },
    Row {
        code: Code::OldestWaiting,
        name: "oldest-waiting",
        wait: NOW,
        haste: "page",
        limits: "oldest_waiting_minutes",
        nl: "Een pakket wacht te lang op een ontvanger die wel verbinding heeft.",
        en: "A packet waits too long for a recipient that is connected.",
        advice_nl: "Vraag de beheerder van deze organisatie naar het log van de agent: een volle schijf of een tragere verwerking houdt het aannemen op.",
        advice_en: "Ask this organisation's administrator for the agent's log: a full disk or slow processing keeps it from taking packets in.",
    },
    Row {
        code: Code::RefusalBurst,
        name: "refusal-burst",
        wait: NOW,
        haste: "ticket",
        limits: "refusals_per_hour",
        nl: "Van een afzender worden veel pakketten geweigerd.",
        en: "Many packets of one sender are refused.",
        advice_nl: "Bekijk de redenen (seinhuis-broker top, Weigeringen; docs/refusals.md zegt van elke reden wie moet handelen) en neem contact op met de afzender.",
        advice_en: "See the reasons (seinhuis-broker top, Refusals; docs/refusals.md says of each who has to act) and contact the sender.",
    },
    Row {
        code: Code::CertificateEnds,
        name: "certificate-ends",
        wait: NOW,
        haste: "ticket, page",
        limits: "certificate_days, certificate_page_days",
        nl: "Een certificaat verloopt: van de broker, van zijn console, of van een partner die sinds de start verbonden was. Of een intrekkingslijst van de console.",
        en: "A certificate ends: the broker's, its console's, or that of a partner that was connected since the start. Or a revocation list of the console.",
        advice_nl: "Laat wie het aangaat vernieuwen: seinhuis-broker doctor of seinhuis-agent doctor zegt hoe (docs/certificates.md).",
        advice_en: "Have whose it is renew it: seinhuis-broker doctor or seinhuis-agent doctor says how (docs/certificates.md).",
    },
    Row {
        code: Code::QuorumOld,
        name: "quorum-old",
        wait: NOW,
        haste: "ticket, page",
        limits: "quorum_minutes, quorum_page_minutes",
        nl: "Te weinig getuigen tekenen het log mee: het jongste quorum van een convenant is oud.",
        en: "Too few witnesses cosign the log: the newest quorum of a covenant is old.",
        advice_nl: "Bekijk met `seinhuis-broker status` welke getuigen achterlopen en bel hun beheerders. Met witnesses.stop_after worden pakketten anders uitgesteld.",
        advice_en: "See with `seinhuis-broker status` which witnesses lag and call their administrators. With witnesses.stop_after packets are put off otherwise.",
    },
    Row {
        code: Code::WitnessesAwaited,
        name: "witnesses-awaited",
        wait: Span::minutes(5),
        haste: "page",
        limits: "",
        nl: "De broker dient nog niet: getuigen hebben niet gezegd wat ze meetekenden.",
        en: "The broker does not serve yet: witnesses have not said what they cosigned.",
        advice_nl: "Zorg dat deze getuigen verbinding maken. Kan dat niet, overleg dan met de partners en start met --without-witnesses; het log vermeldt dat.",
        advice_en: "See to it that these witnesses connect. If they cannot, confer with the partners and start with --without-witnesses; the log says so.",
    },
    Row {
        code: Code::WitnessRefuses,
        name: "witness-refuses",
        wait: NOW,
        haste: "ticket",
        limits: "witness_refusals",
        nl: "Antwoorden van een getuige zijn niet bruikbaar.",
        en: "Answers of a witness are of no use.",
        advice_nl: "Bekijk met `seinhuis-broker status` de opmerking bij deze getuige en neem contact op met zijn beheerder.",
        advice_en: "See the remark at this witness with `seinhuis-broker status` and contact its administrator.",
    },
    Row {
        code: Code::WitnessContradicts,
        name: "witness-contradicts",
        wait: NOW,
        haste: "page",
        limits: "",
        nl: "Een getuige zegt iets dat kan betekenen dat er twee geschiedenissen van het log zijn.",
        en: "A witness says something that may mean that there are two histories of the log.",
        advice_nl: "Behandel dit als een beveiligingsincident: bewaar de map van de broker, vergelijk met de getuige en de partners, en volg docs/log.md.",
        advice_en: "Treat this as a security incident: keep the broker's folder, compare with the witness and the partners, and follow docs/log.md.",
    },
    Row {
        code: Code::SelfCheckFailed,
        name: "self-check-failed",
        wait: NOW,
        haste: "page",
        limits: "",
        nl: "De zelfcontrole vond een bestand van het log dat niet is wat het was.",
        en: "The self-check found a file of the log that is not what it was.",
        advice_nl: "Behandel dit als een beveiligingsincident. Draai `seinhuis-broker log verify`, zet de bestanden terug uit een reservekopie en meld het de partners.",
        advice_en: "Treat this as a security incident. Run `seinhuis-broker log verify`, put the files back from a backup and tell the partners.",
    },
    Row {
        code: Code::FlushSlow,
        name: "flush-slow",
        wait: NOW,
        haste: "ticket, page",
        limits: "flush_millis",
        nl: "Vastleggen op de schijf duurt lang, of komt niet klaar.",
        en: "Making durable on the disk takes long, or does not end.",
        advice_nl: "Kijk wat de schijf bezet houdt (reservekopie, andere programma's) en of hij gezond is; alles wat wordt aangenomen wacht hierop.",
        advice_en: "See what keeps the disk busy (a backup, other programs) and whether it is healthy; all that is accepted waits for it.",
    },
    Row {
        code: Code::BrokerStopped,
        name: "broker-stopped",
        wait: NOW,
        haste: "page",
        limits: "",
        nl: "De broker is uit zichzelf gestopt: vastleggen mislukte, of het log spreekt zichzelf tegen.",
        en: "The broker has stopped by itself: recording failed, or the log contradicts itself.",
        advice_nl: "Niets is aangenomen dat niet vastligt. Bekijk het log van de broker, herstel de schijf en start opnieuw.",
        advice_en: "Nothing was accepted that is not recorded. See the broker's log, repair the disk and start again.",
    },
    Row {
        code: Code::DiskScarce,
        name: "disk-scarce",
        wait: Span::minutes(1),
        haste: "page",
        limits: "",
        nl: "De schijf is bijna vol; nieuwe pakketten worden uitgesteld.",
        en: "The disk is nearly full; new packets are put off.",
        advice_nl: "Maak ruimte of vergroot de schijf. Bezorgen gaat door, en aannemen begint vanzelf weer.",
        advice_en: "Make room or enlarge the disk. Delivering goes on, and accepting begins again by itself.",
    },
    Row {
        code: Code::DiskFilling,
        name: "disk-filling",
        wait: Span::minutes(30),
        haste: "ticket, page",
        limits: "disk_days, disk_page_hours",
        nl: "Zoals het nu gaat, is de schijf binnenkort vol.",
        en: "The disk will be full soon, as it goes.",
        advice_nl: "Zoek wat groeit: wachtende pakketten, het log of iets anders op deze schijf. Maak ruimte of vergroot de schijf.",
        advice_en: "Find what grows: packets that wait, the log or something else on this disk. Make room or enlarge the disk.",
    },
    Row {
        code: Code::YearRefused,
        name: "year-refused",
        wait: Span::minutes(1),
        haste: "page",
        limits: "",
        nl: "De klok is meer dan een jaar verder dan het log; er begint vanzelf geen nieuw log.",
        en: "The clock is more than a year past the log; no new log is begun by itself.",
        advice_nl: "Zet de klok goed, of geef `seinhuis-broker log roll-over`.",
        advice_en: "Set the clock, or give `seinhuis-broker log roll-over`.",
    },
    Row {
        code: Code::ClockBehind,
        name: "clock-behind",
        wait: Span::minutes(1),
        haste: "ticket",
        limits: "clock_seconds",
        nl: "De klok loopt achter op de laatste logregel: zij is teruggezet.",
        en: "The clock is behind the last entry of the log: it was set back.",
        advice_nl: "Kijk of de tijdsynchronisatie van deze machine werkt (timedatectl, chronyc tracking).",
        advice_en: "See whether this machine's time synchronisation works (timedatectl, chronyc tracking).",
    },
    Row {
        code: Code::CountingBehind,
        name: "counting-behind",
        wait: Span::minutes(5),
        haste: "ticket",
        limits: "behind_entries",
        nl: "Wat de beheerder ziet loopt achter op het log.",
        en: "What the operator sees is behind the log.",
        advice_nl: "Aannemen en bezorgen lijden er niet onder. Kijk of de machine overbelast is of de schijf traag leest; blijft het, bekijk dan het log van de broker.",
        advice_en: "Accepting and delivering do not suffer. See whether the machine is overloaded or the disk reads slowly; if it stays, see the broker's log.",
    },
    Row {
        code: Code::ChannelFailed,
        name: "channel-failed",
        wait: Span::minutes(5),
        haste: "ticket",
        limits: "",
        nl: "Alarmen komen niet aan over een van de wegen van [alerts].",
        en: "Alarms do not arrive over one of the channels of [alerts].",
        advice_nl: "Bekijk de fout met `seinhuis-broker alerts list` en probeer het met `seinhuis-broker alerts test`. Wat te melden is, wordt vanzelf opnieuw geprobeerd.",
        advice_en: "See the fault with `seinhuis-broker alerts list` and try with `seinhuis-broker alerts test`. What is to be told is tried again by itself.",
    },
];

impl Code {
    /// Every alarm of the list.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.code)
    }

    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.code == self)
    }

    /// Its name for machines.
    pub fn as_str(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// How long it has to be found before it is told.
    pub(super) fn wait(self) -> Span {
        self.row().map_or(NOW, |row| row.wait)
    }

    /// What it says in general.
    pub fn meaning(self) -> Said {
        self.row().map_or_else(|| Said::new("", ""), |row| Said::new(row.nl, row.en))
    }

    /// What to do next.
    pub fn advice(self) -> Said {
        self.row().map_or_else(|| Said::new("", ""), |row| Said::new(row.advice_nl, row.advice_en))
    }
}

impl std::str::FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = || Self::all().map(Self::as_str).collect::<Vec<_>>().join(", ");
        Self::all()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no alarm: {}", all()))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The list as it stands in `docs/operating.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "| code | severity | told after | limit | what happened | what to do | wat er gebeurde | wat te doen |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in TABLE {
        let wait = if row.wait == NOW { "at once".to_owned() } else { super::length(row.wait).en };
        let wait = if row.wait == Span::minutes(1) { "1 minute".to_owned() } else { wait };
        let limits: Vec<String> =
            row.limits.split(", ").filter(|key| !key.is_empty()).map(|key| format!("`{key}`")).collect();
        // Writing into a string does not fail.
        _ = writeln!(
            out,
            "| `{}` | {} | {wait} | {} | {} | {} | {} | {} |",
            row.name,
            row.haste,
            limits.join(", "),
            row.en,
            row.advice_en,
            row.nl,
            row.advice_nl
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_has_a_row_of_its_own_with_the_name_that_goes_into_files() {
        let all: Vec<Code> = Code::all().collect();
        assert!(all.is_sorted_by(|a, b| a < b), "one row each, in order");
        assert_eq!(all.last(), Some(&Code::ChannelFailed));
        assert_eq!(all.len(), Code::ChannelFailed as usize + 1, "none is left out");
        for code in all {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            for text in [code.meaning(), code.advice()] {
                assert!(text.nl.ends_with(['.', ')']) && text.en.ends_with(['.', ')']) && text.nl != text.en);
            }
        }
    }
}
