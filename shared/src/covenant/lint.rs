//! What a covenant allows and the law makes suspicious: warnings for the people who write and sign it.
//!
//! A warning forbids nothing. What no document may say at all is refused when it is read, and what the
//! law forbids outright is refused by [`super::law`] for every packet.

use core::fmt::{self, Write as _};

use super::document::Covenant;
use super::words::{Words, shown};
use crate::refusal::Lang;

mod flows;
mod whole;

/// One row of the table of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The warning.
    pub warning: Warning,
    /// Its code, such as `W01`; never reused.
    pub code: &'static str,
    /// The law or the practice behind it.
    pub source: &'static str,
    /// What is suspicious, in Dutch and English.
    pub what: (&'static str, &'static str),
    /// What to do, in Dutch and English.
    pub advice: (&'static str, &'static str),
}

macro_rules! warnings {
    ($($variant:ident $code:literal $source:literal,
        nl $nl:literal => $nl_advice:literal, en $en:literal => $en_advice:literal;)*) => {
        /// Everything that is warned of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Warning {
            $(#[doc = $en] $variant,)*
        }

        /// Every warning, by code.
        pub const TABLE: &[Row] = &[$(Row {
            warning: Warning::$variant,
            code: $code,
            source: $source,
            what: ($nl, $en),
            advice: ($nl_advice, $en_advice),
        },)*];

        impl Warning {
            /// Its row.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        warning: Self::$variant,
                        code: $code,
                        source: $source,
                        what: ($nl, $en),
                        advice: ($nl_advice, $en_advice),
                    },)*
                }
            }
        }
    };
}

warnings! {
    BsnToYouthWork "W01" "UAVG 46",
        nl "Een BSN kan van of naar jongerenwerk of boa gaan." => "Haal het BSN uit de stroom en uit het schema, of geef deze rollen een eigen berichttype zonder BSN.",
        en "A citizen service number can go from or to youth work or enforcement officers." => "Take the number out of the flow and the schema, or give these roles a message type of their own without it.";
    BsnUnmarked "W02" "UAVG 46",
        nl "Een veld dat een BSN lijkt te zijn, staat in een categorie die niet als BSN is aangemerkt." => "Geef het veld de categorie met special = \"bsn\", of een andere naam.",
        en "A field that looks like a citizen service number has a category that is not marked as one." => "Give the field the category with special = \"bsn\", or another name.";
    NoDecision "W03" "Wpg 7(2), 16, 20; Bpg 4:5",
        nl "Politiegegevens over een persoon zouden naar een ander dan gemeente, OM of Zorg- en Veiligheidshuis gaan zonder artikel 20-besluit dat ontvanger en categorieën dekt." => "Voeg het besluit toe of breid het uit; zolang het er niet is, worden deze berichten geweigerd.",
        en "Police data about a person would go to others than municipality, prosecution or care and safety house without an article 20 decision that covers recipient and categories." => "Add or extend the decision; as long as it is missing, these messages are refused.";
    DecisionEnds "W04" "Wpg 20; Bpg 4:5",
        nl "Een artikel 20-besluit geldt niet tijdens de hele geldigheid van het convenant." => "Verleng het besluit, of laat het convenant eindigen wanneer het besluit eindigt.",
        en "An article 20 decision does not hold during the whole validity of the covenant." => "Extend the decision, or let the covenant end when the decision does.";
    RetentionVague "W05" "AVG 5(1)(e); Wpg 14",
        nl "Het is niet te bepalen wanneer een ontvanger moet verwijderen." => "Schrijf retention_days; of, als elk bericht een zaak noemt (case = \"required\"), schrijf in retention dat het de zaak volgt.",
        en "It cannot be told when a recipient has to delete." => "Write retention_days; or, where every message names a case (case = \"required\"), write in retention that it follows the case (zaak).";
    RetentionLong "W06" "AVG 5(1)(e); WGS",
        nl "Gegevens over een persoon worden langer dan vijf jaar bewaard." => "Kort de termijn in, of leg in retention uit welke wet hem vraagt.",
        en "Data about a person is kept for more than five years." => "Shorten the term, or explain in retention which law asks for it.";
    BasisMisfit "W07" "Wpg 16, 20; Wjsg 39f; WGS",
        nl "Politie of OM verstrekt gegevens over een persoon zonder grondslag uit de eigen wet (Wpg, Wjsg; naar het Zorg- en Veiligheidshuis ook WGS)." => "Voeg de grondslag toe aan de stroom, of splits de stroom per afzender.",
        en "Police or prosecution disclose data about a person without a basis in their own law (Wpg, Wjsg; to the care and safety house also WGS)." => "Add the basis to the flow, or split the flow by sender.";
    PurposeVague "W08" "AVG 5(1)(b)",
        nl "Een doel is te algemeen om gebruik aan te toetsen." => "Beschrijf waarvoor de gegevens worden gebruikt, zodat iemand kan zien wat er niet onder valt.",
        en "A purpose is too general to hold use against." => "Describe what the data is used for, so that a reader can tell what it does not cover.";
    PartyUnused "W09" "AVG 5(1)(c)",
        nl "Een partij heeft een rol die geen stroom noemt: zij kan niets sturen en niets ontvangen." => "Laat de partij weg, of voeg de stromen toe waarvoor zij deelneemt.",
        en "A party has a role that no flow names: it can neither send nor receive." => "Leave the party out, or add the flows for which it takes part.";
    RoleAbsent "W10" "Modelconvenant",
        nl "Stromen noemen een rol die geen partij heeft: voor die rol zijn zij gesloten." => "Voeg de partij toe, of haal de rol uit de stromen.",
        en "Flows name a role that no party has: for that role they are closed." => "Add the party, or take the role out of the flows.";
    NoRelease "W11" "AVG 22; Wpg 7a",
        nl "Gegevens over een persoon gaan weg zonder dat een mens het bericht vrijgeeft." => "Schrijf release = true bij de stroom.",
        en "Data about a person leaves without a human releasing the message." => "Write release = true at the flow.";
    ConditionUnused "W12" "good order",
        nl "Een voorwaarde staat in het convenant en geen stroom hangt ervan af." => "Noem de voorwaarde bij de stromen waarvoor zij bedoeld is, of haal haar weg.",
        en "A condition stands in the covenant and no flow depends on it." => "Name the condition at the flows it is meant for, or remove it.";
    Unused "W13" "AVG 5(1)(c)",
        nl "Een doel, grondslag, categorie of berichttype wordt door geen stroom gebruikt." => "Haal het weg: wie tekent, hoort alleen te tekenen wat geldt.",
        en "A purpose, basis, category or message type is used by no flow." => "Remove it: who signs should sign only what counts.";
    YouthWorkObliged "W14" "Modelconvenant",
        nl "Jongerenwerk moet tekenen voordat het convenant geldt, en kan daartoe niet worden verplicht." => "Schrijf may_be_absent = true bij deze partij.",
        en "Youth work has to sign before the covenant counts, and cannot be obliged to." => "Write may_be_absent = true at this party.";
    FewWitnesses "W15" "BIO2 8.15.06",
        nl "Minder dan twee partijen bewaken het uitwisselingslogboek: één van hen kan ongemerkt met de broker meewerken." => "Schrijf witness_quorum = 2 of meer.",
        en "Fewer than two parties watch over the exchange log: one of them could side with the broker unnoticed." => "Write witness_quorum = 2 or more.";
    TooLong "W16" "Modelconvenant",
        nl "Het convenant geldt langer dan vijf jaar." => "Kies een eerder einde; verlengen kan met een nieuwe versie.",
        en "The covenant is valid for more than five years." => "Choose an earlier end; a new version can extend it.";
    EvaluationLate "W17" "Modelconvenant",
        nl "De evaluatie komt te laat om er nog iets mee te doen." => "Kies een datum binnen twee jaar na het begin en ten minste drie maanden voor het einde.",
        en "The evaluation comes too late to act upon." => "Choose a date within two years of the start and at least three months before the end.";
    LogTooShort "W18" "Wpg 32a, 33; Bpg 6:4; Wjsg 39j",
        nl "Het uitwisselingslogboek wordt korter dan vier jaar bewaard." => "Schrijf log_retention_days = 1461 of meer; vijf jaar (1826) is gebruikelijk.",
        en "The exchange log is kept for less than four years." => "Write log_retention_days = 1461 or more; five years (1826) is usual.";
    RevokedDelivers "W19" "AVG 32; Wpg 4a",
        nl "Wat wacht van of voor een partner zonder toegang wordt alsnog bezorgd, ook als zijn sleutels gestolen zijn." => "Schrijf in_flight.revoked = \"freeze\" of \"shred\".",
        en "What waits from or for a partner whose access was revoked is delivered still, also when its keys were stolen." => "Write in_flight.revoked = \"freeze\" or \"shred\".";
    NeverTakesPart "W20" "good order",
        nl "Een partij neemt op geen dag van de geldigheid deel." => "Verbeter joined of left, of laat de partij weg.",
        en "A party takes part on no day of the validity." => "Correct joined or left, or leave the party out.";
    StatementBare "W21" "Wpg 4(1), 4(3)",
        nl "Een tekst over gedrag, of met politie- of strafvorderlijke gegevens of zorg, zegt niet of het een feit of een oordeel is, van wanneer en hoe betrouwbaar." => "Maak er een object van met tekst en de verplichte velden aard, peildatum en betrouwbaarheid.",
        en "A text about behaviour, or with police or prosecution data or care, does not say whether it is a fact or a judgement, as of when, and how reliable." => "Make it an object with the text and the required fields aard, peildatum and betrouwbaarheid.";
    PassedOnFreely "W22" "Wpg 7(2); WGS 1.7",
        nl "Wat politie of OM over een persoon verstrekt, mag worden doorgegeven zonder dat zij daarin toestemmen." => "Schrijf handling = \"consent\" bij de stroom.",
        en "What police or prosecution disclose about a person may be passed on without their consent." => "Write handling = \"consent\" at the flow.";
    NobodyIdentified "W23" "AVG 15, 30; Logboek Dataverwerkingen",
        nl "Een berichttype met gegevens over een persoon heeft geen veld dat zegt wie dat is: in het logboek van de verwerkingen is de persoon niet terug te vinden." => "Schrijf x-subject bij het veld dat de persoon aanwijst: case binnen de zaak, always overal.",
        en "A message type with data about a person has no field that says who that is: the person cannot be found in the log of processings." => "Write x-subject at the field that identifies the person: case within the case, always everywhere.";
    QuorumWithoutKeys "W24" "BIO2 8.15.06",
        nl "Er is een quorum van getuigen afgesproken en niemand kan getuigen: het wordt niet gevraagd." => "Neem van elke partij de witness_key op (seinhuis-agent key show).",
        en "A quorum of witnesses was agreed and nobody can witness: it is not asked for." => "Take in the witness_key of each party (seinhuis-agent key show).";
    NobodyInforms "W25" "AVG 14; Wpg 24b",
        nl "Er worden gegevens over personen uitgewisseld en het convenant zegt niet wie hen informeert." => "Schrijf informs onder [rules], zoals informs = [\"gemeente\"].",
        en "Data about persons is exchanged and the covenant does not say who informs them." => "Write informs under [rules], such as informs = [\"gemeente\"].";
    InformsAbsent "W26" "AVG 14; Wpg 24b",
        nl "Een rol die betrokkenen informeert, heeft geen partij: namens die rol informeert niemand." => "Voeg de partij toe, of noem onder informs een rol die er is.",
        en "A role that informs data subjects has no party: on behalf of that role nobody does." => "Add the party, or name a role under informs that is there.";
}

/// One warning about one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which warning.
    pub warning: Warning,
    /// The field it is about, as in the TOML, with the name of the thing: `flows[3] F04`.
    pub about: String,
    /// What exactly was found there.
    pub detail: Words,
}

impl Finding {
    fn new(warning: Warning, about: &str, detail: &Words) -> Self {
        let detail = Words::new(shown(&detail.nl), shown(&detail.en));
        Self { warning, about: shown(about), detail }
    }

    /// The code, such as `W01`.
    pub const fn code(&self) -> &'static str {
        self.warning.row().code
    }

    /// What is suspicious here and what to do, in both languages.
    pub fn words(&self) -> Words {
        let row = self.warning.row();
        Words::new(
            format!("{} {} {}", row.what.0, self.detail.nl, row.advice.0),
            format!("{} {} {}", row.what.1, self.detail.en, row.advice.1),
        )
    }

    /// What is suspicious here and what to do, in `lang`.
    pub fn text(&self, lang: Lang) -> String {
        self.words().text(lang).to_owned()
    }
}

impl fmt::Display for Finding {
    /// In English, with code and place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code(), self.about, self.words().en)
    }
}

/// Everything suspicious in a covenant, by code and then by place.
///
/// Only the document is looked at: what counts as expired is held against its own validity, not a clock.
pub fn lint(covenant: &Covenant) -> Vec<Finding> {
    let mut found = Vec::new();
    flows::check(covenant, &mut found);
    whole::check(covenant, &mut found);
    // Stable: places keep the order of the document.
    found.sort_by_key(|finding| finding.warning);
    found
}

/// The table as Markdown, for `docs/covenant.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "| code | source | what is suspicious | what to do | wat valt op | wat te doen |\n|---|---|---|---|---|---|\n",
    );
    for row in TABLE {
        _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            row.code, row.source, row.what.1, row.advice.1, row.what.0, row.advice.0
        );
    }
    out
}
