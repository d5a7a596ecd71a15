//! The refusal table: every reason for which something is not let through, numbered once.
//!
//! The number is what goes over the wire and into the exchange log; the texts are looked up at the
//! side that shows them, so that a wire error is a code and leaks nothing. `docs/refusals.md` is
//! generated from this table and a test holds the two equal. Numbers are never reused.

use core::fmt::{self, Write as _};

/// Whose fault a refusal is, so that the reader knows who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The sender's system or its data.
    Sender,
    /// The recipient's agent.
    Recipient,
    /// The broker or its operator.
    Broker,
    /// The covenant as agreed, or its absence: a matter between the parties.
    Covenant,
    /// Nobody's: a passing state, try again later.
    Passing,
}

impl Fault {
    /// The word used in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Broker => "broker",
            Self::Covenant => "covenant",
            Self::Passing => "passing",
        }
    }
}

/// The language of what partners and operators read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// Dutch.
    #[default]
    Nl,
    /// English.
    En,
}

impl Lang {
    /// Chooses one of two texts.
    pub const fn pick<'a>(self, nl: &'a str, en: &'a str) -> &'a str {
        match self {
            Self::Nl => nl,
            Self::En => en,
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The reason itself.
    pub refusal: Refusal,
    /// Its number, as on the wire and in the log.
    pub number: u16,
    /// Its name in the closed list of reasons.
    pub slug: &'static str,
    /// Who has to act.
    pub fault: Fault,
    /// What happened and what to do, in Dutch.
    pub nl: (&'static str, &'static str),
    /// What happened and what to do, in English.
    pub en: (&'static str, &'static str),
}

macro_rules! refusals {
    ($($variant:ident = $number:literal $slug:literal $fault:ident,
        nl $nl:literal => $nl_do:literal,
        en $en:literal => $en_do:literal;)*) => {
        /// A reason for refusing. The variants are the closed list of reasons in the exchange log.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Refusal {
            $(#[doc = $en] $variant = $number,)*
        }

        /// Every reason, in order of number.
        pub const TABLE: &[Row] = &[
            $(Row {
                refusal: Refusal::$variant,
                number: $number,
                slug: $slug,
                fault: Fault::$fault,
                nl: ($nl, $nl_do),
                en: ($en, $en_do),
            },)*
        ];
    };
}

refusals! {
    TooLarge = 101 "too-large" Sender,
        nl "Het bericht is groter dan toegestaan." => "Stuur minder gegevens of splits het signaal.",
        en "The message is larger than allowed." => "Send less data or split the signal.";
    Malformed = 102 "malformed" Sender,
        nl "Het bericht is afgebroken of geen geldige CBOR." => "Werk de agent bij; blijft dit, meld het aan de leverancier.",
        en "The message is truncated or not valid CBOR." => "Update the agent; if it persists, report it to its supplier.";
    NotCanonical = 103 "not-canonical" Sender,
        nl "Het bericht is niet in de voorgeschreven canonieke vorm gecodeerd." => "Werk de agent bij; blijft dit, meld het aan de leverancier.",
        en "The message is not in the prescribed canonical encoding." => "Update the agent; if it persists, report it to its supplier.";
    UnknownVersion = 104 "unknown-version" Sender,
        nl "De versie van het bericht of protocol is onbekend." => "Gebruik een agent en broker van dezelfde hoofdversie.",
        en "The version of the message or protocol is unknown." => "Use an agent and a broker of the same major version.";
    RecipientCount = 105 "recipient-count" Sender,
        nl "Het pakket noemt geen of te veel ontvangers, of een ontvanger tweemaal." => "Noem 1 tot 16 verschillende ontvangers.",
        en "The packet names no or too many recipients, or one twice." => "Name 1 to 16 different recipients.";
    HiddenRecipient = 106 "hidden-recipient" Sender,
        nl "De versleutelde sleutels horen niet precies bij de genoemde ontvangers." => "Verzegel het pakket opnieuw; onderzoek de afzender als dit herhaald gebeurt.",
        en "The wrapped keys do not match the declared recipients exactly." => "Seal the packet again; investigate the sender if this repeats.";
    SealMismatch = 107 "seal-mismatch" Sender,
        nl "De ondertekende verklaring hoort niet bij de versleutelde inhoud." => "Verzegel het pakket opnieuw; onderweg is er iets veranderd.",
        en "The signed statement does not belong to the sealed content." => "Seal the packet again; something changed on the way.";
    UnexpectedMessage = 108 "unexpected-message" Sender,
        nl "Dit bericht hoort niet op deze plaats in het gesprek." => "Werk de agent bij; blijft dit, meld het aan de leverancier.",
        en "This message does not belong at this place in the conversation." => "Update the agent; if it persists, report it to its supplier.";

    UnknownPartner = 201 "unknown-partner" Sender,
        nl "Deze organisatie is niet bij de broker aangemeld." => "Vraag de beheerder de partner toe te voegen (seinhuis-broker partner add).",
        en "This organisation is not registered with the broker." => "Ask the operator to add the partner (seinhuis-broker partner add).";
    SenderNotConnection = 202 "sender-not-connection" Sender,
        nl "De afzender in het pakket is niet de organisatie van het certificaat." => "Stuur alleen eigen pakketten, met het eigen certificaat.",
        en "The sender in the packet is not the organisation of the certificate." => "Send only your own packets, with your own certificate.";
    UnknownKey = 203 "unknown-key" Sender,
        nl "De ondertekensleutel is niet van deze afzender onder dit convenant." => "Gebruik de sleutel die in het convenant staat.",
        en "The signing key is not this sender's under this covenant." => "Use the key that stands in the covenant.";
    PartnerRevoked = 204 "partner-revoked" Sender,
        nl "De toegang van deze organisatie is ingetrokken." => "Neem contact op met de beheerder van het partnerschap.",
        en "This organisation's access has been revoked." => "Contact the partnership's operator.";
    BadSignature = 205 "bad-signature" Sender,
        nl "De handtekening klopt niet." => "Verzegel het pakket opnieuw; onderzoek de afzender als dit herhaald gebeurt.",
        en "The signature does not verify." => "Seal the packet again; investigate the sender if this repeats.";
    CertificateRevoked = 206 "certificate-revoked" Sender,
        nl "Het certificaat van deze verbinding is ingetrokken." => "Vraag een nieuw certificaat aan bij de beheerder.",
        en "This connection's certificate has been revoked." => "Request a new certificate from the operator.";
    AlreadyConnected = 207 "already-connected" Sender,
        nl "Deze organisatie heeft al te veel verbindingen open." => "Laat één agent per organisatie draaien.",
        en "This organisation already has too many connections open." => "Run one agent per organisation.";
    RecipientUnknown = 208 "recipient-unknown" Sender,
        nl "Een genoemde ontvanger is niet bij de broker aangemeld." => "Controleer het OIN van de ontvanger.",
        en "A named recipient is not registered with the broker." => "Check the recipient's OIN.";
    RecipientRevoked = 209 "recipient-revoked" Sender,
        nl "De toegang van een genoemde ontvanger is ingetrokken." => "Stuur het pakket niet aan deze ontvanger.",
        en "A named recipient's access has been revoked." => "Do not send to this recipient.";

    Expired = 301 "expired" Sender,
        nl "De geldigheid van het pakket is verlopen." => "Verzegel het signaal opnieuw als het nog nodig is.",
        en "The packet's validity has ended." => "Seal the signal again if it is still needed.";
    FromTheFuture = 302 "from-the-future" Sender,
        nl "Het pakket is volgens zijn tijdstempel nog niet gemaakt." => "Zet de klok van de agent gelijk (NTP).",
        en "According to its time stamp the packet has not been made yet." => "Set the agent's clock (NTP).";
    TtlTooLong = 303 "ttl-too-long" Sender,
        nl "De geldigheidsduur is langer dan toegestaan of niet positief." => "Kies een geldigheid van hooguit 30 dagen.",
        en "The validity is longer than allowed or not positive." => "Choose a validity of at most 30 days.";
    Equivocation = 305 "equivocation" Sender,
        nl "Hetzelfde bericht-id is eerder met andere inhoud gebruikt." => "Gebruik voor elk pakket een nieuw id; onderzoek de afzender.",
        en "The same message id was used before with other bytes." => "Use a new id for every packet; investigate the sender.";

    UnknownCovenant = 401 "unknown-covenant" Covenant,
        nl "Het genoemde convenant is hier niet bekend." => "Kijk met `covenant list` welke versies bekend zijn; stel de versie zo nodig voor.",
        en "The named covenant is not known here." => "See with `covenant list` which versions are known; propose the version if needed.";
    CovenantNotInForce = 402 "covenant-not-in-force" Covenant,
        nl "Het genoemde convenant geldt nu niet." => "Gebruik de geldende versie, of verleng het convenant.",
        en "The named covenant is not in force at this time." => "Use the version in force, or renew the covenant.";
    NotAParty = 403 "not-a-party" Covenant,
        nl "De afzender of een ontvanger is geen partij bij dit convenant." => "Controleer de partijen in het convenant.",
        en "The sender or a recipient is not a party to this covenant." => "Check the parties in the covenant.";
    UnknownFlow = 404 "unknown-flow" Covenant,
        nl "Deze stroom staat niet in het convenant." => "Gebruik een stroom uit het convenant.",
        en "This flow is not in the covenant." => "Use a flow from the covenant.";
    SenderRole = 405 "sender-role" Covenant,
        nl "De rol van de afzender mag deze stroom niet gebruiken." => "Gebruik een stroom die voor deze rol is afgesproken.",
        en "The sender's role may not use this flow." => "Use a flow agreed for this role.";
    RecipientRole = 406 "recipient-role" Covenant,
        nl "Een ontvanger mag volgens zijn rol deze stroom niet ontvangen." => "Stuur alleen aan ontvangers die het convenant noemt.",
        en "A recipient's role may not receive this flow." => "Send only to recipients the covenant names.";
    WrongStep = 407 "wrong-step" Covenant,
        nl "Deze stroom is niet toegestaan in de opgegeven stap." => "Wacht op het besluit van de regisseur of kies de juiste stroom.",
        en "This flow is not allowed in the declared step." => "Wait for the coordinator's decision or choose the right flow.";
    WrongType = 408 "wrong-type" Covenant,
        nl "Het berichttype hoort niet bij deze stroom." => "Gebruik het berichttype dat het convenant bij de stroom noemt.",
        en "The message type does not belong to this flow." => "Use the message type the covenant names for the flow.";
    LevelNotAllowed = 409 "level-not-allowed" Covenant,
        nl "Het niveau van de gegevens is op deze stroom niet toegestaan." => "Laat de gegevens van dit niveau weg.",
        en "The level of the data is not allowed on this flow." => "Leave out data of this level.";
    CategoryNotAllowed = 410 "category-not-allowed" Covenant,
        nl "Een gegevenscategorie is op deze stroom niet toegestaan." => "Laat de gegevens van deze categorie weg.",
        en "A data category is not allowed on this flow." => "Leave out the data of this category.";
    TooManyForPersonal = 411 "one-recipient-only" Covenant,
        nl "Gegevens over een persoon mogen maar naar één ontvanger tegelijk." => "Maak per ontvanger een eigen pakket.",
        en "Data about a person may go to one recipient at a time only." => "Make a packet for each recipient.";
    PurposeMissing = 412 "purpose-mismatch" Covenant,
        nl "Doel of grondslag ontbreekt of is niet die van de stroom." => "Geef het doel en de grondslag op die het convenant bij de stroom noemt.",
        en "Purpose or legal basis is missing or not the flow's." => "Declare the purpose and basis the covenant names for the flow.";
    FieldNotAllowed = 413 "field-not-allowed" Sender,
        nl "De inhoud bevat een veld dat het convenant voor dit berichttype niet kent." => "Verwijder het genoemde veld; er wordt niets stilzwijgend weggelaten.",
        en "The content has a field the covenant does not know for this message type." => "Remove the named field; nothing is dropped silently.";
    FieldInvalid = 414 "field-invalid" Sender,
        nl "Een veld ontbreekt of heeft een waarde die niet mag." => "Verbeter het genoemde veld.",
        en "A field is missing or has a value that is not allowed." => "Correct the named field.";
    DecisionMissing = 415 "decision-missing" Covenant,
        nl "Het artikel 20-besluit voor deze verstrekking ontbreekt, is verlopen of dekt deze ontvanger niet." => "Voeg het besluit toe aan het convenant.",
        en "The article 20 decision for this disclosure is missing, expired or does not cover this recipient." => "Add the decision to the covenant.";
    CaseRequired = 416 "case-required" Covenant,
        nl "Deze stroom vraagt een zaakpseudoniem, of mag er juist geen hebben." => "Geef het zaakpseudoniem op zoals het convenant vraagt.",
        en "This flow requires a case pseudonym, or must not have one." => "Declare the case pseudonym as the covenant asks.";
    NotJson = 417 "not-json" Sender,
        nl "De inhoud is geen geldige JSON van het verwachte mediatype." => "Lever de inhoud als JSON-object aan.",
        en "The content is not valid JSON of the expected media type." => "Supply the content as a JSON object.";
    UnknownCase = 418 "unknown-case" Sender,
        nl "Deze zaak is hier niet bekend onder dit convenant." => "Controleer het zaakpseudoniem, of wacht op het eerste stapbesluit van de regisseur.",
        en "This case is not known here under this covenant." => "Check the case pseudonym, or wait for the coordinator's first step decision.";
    CaseClosed = 419 "case-closed" Sender,
        nl "De zaak is gesloten." => "Stuur alleen nog berichten over eerdere berichten (F36 tot en met F41); begin voor iets nieuws een nieuwe zaak.",
        en "The case is closed." => "Send only messages about earlier messages (F36 to F41); open a new case for anything new.";
    CaseMoved = 420 "case-moved" Sender,
        nl "Over de zaak is intussen een ander besluit genomen; dit sluit daar niet op aan." => "Haal de stand van de zaak op en neem het besluit zo nodig opnieuw.",
        en "Another decision about the case came first; this one does not follow on it." => "Fetch the state of the case and take the decision again if it is still needed.";
    NotTheMover = 421 "not-the-mover" Covenant,
        nl "De rol van deze partij mag dit besluit over de zaak niet nemen." => "Vraag het de regisseur, of de partij die het convenant hiervoor noemt.",
        en "This party's role may not take this decision about the case." => "Ask the coordinator, or the party the covenant names for it.";
    ConditionNotMet = 422 "condition-not-met" Covenant,
        nl "Een voorwaarde van deze stroom is in deze zaak niet vervuld." => "Wacht tot de partijen die het convenant noemt de voorwaarde hebben vastgesteld.",
        en "A condition of this flow is not met in this case." => "Wait until the parties the covenant names have stated that it holds.";
    BadTransition = 423 "bad-transition" Sender,
        nl "Dit besluit past niet bij de stand van de zaak." => "Begin bij de eerste stap, ga één stap verder of terug, en stel een voorwaarde niet twee keer vast.",
        en "This decision does not fit the state of the case." => "Begin at the first step, go one step on or back, and do not state a condition twice.";
    NotSigned = 424 "not-signed" Covenant,
        nl "De afzender of een ontvanger heeft dit convenant niet ondertekend of heeft het opgezegd." => "Laat die partij ondertekenen, of stuur niet aan haar.",
        en "The sender or a recipient has not signed this covenant, or has withdrawn from it." => "Have that party sign, or do not send to it.";
    SignedElsewhere = 425 "signed-elsewhere" Covenant,
        nl "Deze partij heeft een andere versie op dezelfde plaats ondertekend." => "Zeg die versie eerst op; twee versies op dezelfde plaats kunnen niet allebei gelden.",
        en "This party has signed another version in the same place." => "Withdraw from that version first; two versions in the same place cannot both hold.";
    VoteOrder = 426 "vote-order" Sender,
        nl "Dit kan deze partij nu niet over het convenant verklaren." => "Bekijk hoe de partij ervoor staat: opzeggen kan alleen na aanvaarden, en is definitief.",
        en "This party cannot say that of the covenant now." => "Look how the party stands: withdrawing comes after accepting only, and is final.";
    BrokenChain = 427 "broken-chain" Covenant,
        nl "De voorgestelde versie sluit niet aan op de versie die zij noemt." => "Geef in `previous` de hash van de vorige versie en nummer de versie één hoger.",
        en "The proposed version does not follow the one it names." => "Give the hash of the version before in `previous`, and number the version one higher.";
    CovenantInvalid = 428 "covenant-invalid" Covenant,
        nl "Het voorgestelde convenant voldoet niet aan de regels voor een convenant." => "Laat het nakijken met `covenant lint` en stel het opnieuw voor; wat geldt blijft gelden.",
        en "The proposed covenant does not satisfy the rules for a covenant." => "Have it checked with `covenant lint` and propose it again; what is in force stays in force.";
    TooManyProposals = 429 "too-many-proposals" Sender,
        nl "Er staan al te veel convenantversies open." => "Laat partijen ondertekenen wat er ligt; stel daarna opnieuw voor.",
        en "Too many versions of covenants are open already." => "Have parties sign what lies there; propose again after that.";
    KeyGivenUp = 430 "key-given-up" Sender,
        nl "Deze ondertekensleutel is door een andere vervangen." => "Onderteken met de sleutel die ervoor in de plaats kwam (zie `key show`); onderzoek wie de oude nog gebruikt.",
        en "This signing key was replaced by another." => "Sign with the key that took its place (see `key show`); investigate who still uses the old one.";
    RotationOrder = 431 "rotation-order" Sender,
        nl "Deze sleutelwissel sluit niet aan op de wissels die bekend zijn." => "Bekijk met `key show` welke sleutel geldt en wissel die.",
        en "This rotation does not follow the ones that are known." => "See with `key show` which key counts, and rotate that one.";
    KeyInUse = 432 "key-in-use" Sender,
        nl "De nieuwe sleutel is al eens gebruikt, door deze partij of een andere." => "Laat de agent een nieuwe sleutel maken: verwijder keys/signing.next.key en geef opnieuw `key rotate`.",
        en "The new key has been used before, by this party or another." => "Have the agent make a new key: remove keys/signing.next.key and give `key rotate` again.";
    TooManyRotations = 433 "too-many-rotations" Sender,
        nl "Deze partij heeft haar sleutel al zo vaak gewisseld als kan." => "Neem een verse sleutel op in een nieuwe versie van het convenant, en overleg met de beheerder.",
        en "This party has rotated its key as often as is possible." => "Put a fresh key into a new version of the covenant, and consult the operator.";
    StaleKeyPinned = 434 "stale-key-pinned" Covenant,
        nl "De voorgestelde versie noemt een sleutel die vervangen is, of die van een andere partij was." => "Neem van elke partij de sleutel op die nu geldt (zie `key show`) en stel de versie opnieuw voor.",
        en "The proposed version pins a key that was replaced, or that was another party's." => "Pin the key of each party that counts now (see `key show`), and propose the version again.";
    NotReleased = 435 "not-released" Sender,
        nl "Het convenant vraagt dat een mens dit bericht vrijgeeft, en dat is niet gebeurd." => "Bied het bericht opnieuw aan en laat iemand het vrijgeven met `seinhuis-agent release approve`.",
        en "The covenant asks that a person releases this message, and nobody did." => "Push the message again and have somebody release it with `seinhuis-agent release approve`.";
    ReleaseDenied = 436 "release-denied" Sender,
        nl "Degene die over vrijgave beslist heeft dit bericht tegengehouden." => "Lees de reden met `seinhuis-agent outbox show`; bied zo nodig een aangepast bericht aan.",
        en "Who decides on release did not let this message leave." => "Read the reason with `seinhuis-agent outbox show`; push an amended message if need be.";
    NotHeld = 437 "not-held" Sender,
        nl "Dit bericht wacht niet (meer) op vrijgave." => "Bekijk wat wacht met `seinhuis-agent release list`, en wat er van dit bericht werd met `outbox show`.",
        en "This message does not wait for release, or not any more." => "See what waits with `seinhuis-agent release list`, and what became of this message with `outbox show`.";
    HandlingLoosened = 438 "handling-loosened" Sender,
        nl "Het bericht laat doorgeven ruimer toe dan de stroom of de herkomst." => "Laat `--handling` weg, of kies `consent`: strenger mag, ruimer niet.",
        en "The message allows passing on more widely than the flow or the origin does." => "Leave `--handling` out, or choose `consent`: stricter is allowed, wider is not.";
    ConsentMissing = 439 "consent-missing" Sender,
        nl "De herkomst heeft niet toegestemd in het doorgeven van dit bericht aan deze ontvanger." => "Vraag de herkomst om toestemming (F40, of `consent give` aan haar kant) en bied het bericht daarna opnieuw aan.",
        en "The origin has not consented to passing this message on to this recipient." => "Ask the origin for consent (F40, or `consent give` at its side) and push the message again after that.";
    ConsentInvalid = 440 "consent-invalid" Sender,
        nl "De toestemming voor doorverstrekking is niet door de herkomst getekend of klopt niet van vorm." => "Vraag de herkomst om een nieuwe toestemming.",
        en "The consent to pass on is not signed by the origin or has a wrong form." => "Ask the origin for a new consent.";
    ConsentElsewhere = 441 "consent-elsewhere" Sender,
        nl "De toestemming voor doorverstrekking gaat over een ander bericht, een andere houder of een andere ontvanger." => "Vraag de herkomst om toestemming voor dit bericht en deze ontvanger.",
        en "The consent to pass on is about another message, holder or recipient." => "Ask the origin for consent for this message and this recipient.";
    ConsentExpired = 442 "consent-expired" Sender,
        nl "De toestemming voor doorverstrekking geldt niet meer, of nog niet." => "Vraag de herkomst om een nieuwe toestemming.",
        en "The consent to pass on does not hold any more, or not yet." => "Ask the origin for a new consent.";
    OriginFalse = 443 "origin-false" Sender,
        nl "De herkomst die het bericht noemt, kan niet kloppen." => "Geef een ontvangen bericht door met `push --from`; noem geen herkomst bij eigen gegevens.",
        en "The origin that the message names cannot be right." => "Pass a received message on with `push --from`; name no origin for data of your own.";
    OnwardElsewhere = 444 "onward-elsewhere" Sender,
        nl "Zonder toestemming van de herkomst mag dit alleen binnen hetzelfde convenant en dezelfde zaak worden doorgegeven." => "Noem de zaak van het ontvangen bericht met `--case`, of vraag de herkomst om toestemming.",
        en "Without the consent of its origin this may be passed on within the same covenant and case only." => "Name the case of the received message with `--case`, or ask the origin for consent.";
    UnknownMessage = 445 "unknown-message" Sender,
        nl "Er is geen bericht met dit id van deze afzender." => "Controleer het bericht-id; alleen wie een bericht stuurde kan het corrigeren of intrekken.",
        en "There is no message with this id from this sender." => "Check the message id; only who sent a message can correct or withdraw it.";
    NothingToCorrect = 446 "nothing-to-correct" Sender,
        nl "Aan dit bericht valt niets te corrigeren of in te trekken." => "Bekijk `outbox list` en `corrections list`: niemand ontving het, het is zelf een correctie of bevestiging, of alles is al gezegd.",
        en "There is nothing about this message to correct or withdraw." => "See `outbox list` and `corrections list`: nobody received it, it is itself a correction or confirmation, or all has been said.";
    AlreadyWithdrawn = 447 "already-withdrawn" Sender,
        nl "Dit bericht is al ingetrokken." => "Volg met `corrections list` of elke ontvanger dat heeft bevestigd.",
        en "This message has been withdrawn already." => "Follow with `corrections list` whether every recipient has confirmed it.";
    TakenBack = 448 "taken-back" Sender,
        nl "De afzender nam dit bericht terug voordat het verstuurd was." => "Stuur zo nodig een nieuw bericht.",
        en "The sender took this message back before it was sent." => "Send a new message if one is needed.";
    SourceGone = 449 "source-gone" Sender,
        nl "Het bericht waaruit dit werd doorgegeven is ingetrokken of gewist." => "Vraag de afzender om een nieuw bericht.",
        en "The message this was passed on from was withdrawn or erased." => "Ask its sender for a new message.";
    StatementUnlinked = 455 "statement-unlinked" Recipient,
        nl "De verklaring van de ontvanger hoort niet bij dit pakket, of niet bij wat eraan voorafging." => "Laat de ontvanger de agent bijwerken; bewaar de verklaring en onderzoek de ontvanger.",
        en "The recipient's statement does not belong to this packet, or not to what went before it." => "Have the recipient update its agent; keep the statement and investigate the recipient.";
    NotStored = 456 "not-stored" Sender,
        nl "Dit bericht is hier niet in goede orde opgeslagen, of het is gewist of ingetrokken." => "Bekijk het met `inbox list`; alleen een opgeslagen bericht kan als overgenomen worden gemeld.",
        en "This message is not stored here in good order, or it was erased or withdrawn." => "See `inbox list`; only a stored message can be reported as consumed.";
    ConsumedTooLate = 457 "consumed-too-late" Sender,
        nl "Het bericht is meer dan 30 dagen geleden aangenomen." => "Er is niets te doen: wat opgeslagen is, is bewezen.",
        en "The message was accepted more than 30 days ago." => "There is nothing to do: that it is stored is proved.";
    TooLateToTakeBack = 458 "too-late-to-take-back" Sender,
        nl "Elke ontvanger heeft dit pakket al of krijgt het juist, of het is al geëindigd." => "Trek het bericht bij de ontvangers in met `seinhuis-agent withdraw`.",
        en "Every recipient has this packet or is being given it, or it has ended already." => "Withdraw the message at its recipients with `seinhuis-agent withdraw`.";
    PacketTakenBack = 459 "packet-taken-back" Recipient,
        nl "De afzender had dit pakket al teruggenomen voordat de ontvangst bevestigd werd." => "Wis het; de agent doet dat zelf zodra hij de melding heeft.",
        en "The sender had taken this packet back before its receipt was acknowledged." => "Erase it; the agent does so by itself once it has the notice.";
    UnknownLog = 463 "unknown-log" Broker,
        nl "De broker kent dit log niet, of er kwam geen ander voor in de plaats." => "Vraag de beheerder van de broker welk log geldt; is er een nieuw log begonnen, lees dan docs/log.md.",
        en "The broker does not know this log, or no other one followed on it." => "Ask the broker's operator which log counts; if another log was begun, read docs/log.md.";
    LogSucceeded = 464 "log-succeeded" Passing,
        nl "Het log is gesloten en een volgend log is begonnen." => "Verbind opnieuw: de agent volgt zelf wat bewezen is.",
        en "The log is closed and a next one was begun." => "Connect again: the agent follows by itself what is proved.";
    BadOrigin = 465 "bad-origin" Broker,
        nl "Deze naam kan geen nieuw log hebben." => "Kies een log_origin die dit log nog niet had: 1 tot 128 zichtbare tekens, zonder spatie of plusteken.",
        en "A log cannot be begun under this name." => "Choose an origin this log did not have before: 1 to 128 visible characters, no space or plus.";
    EntriesPurged = 466 "entries-purged" Broker,
        nl "De tekst van deze logregels is na de bewaartermijn verwijderd." => "Vraag alleen om wat er nog is; de hashes bewijzen dat de regels er stonden.",
        en "The text of these log entries was removed after its term." => "Ask only for what is left; the hashes prove that the entries stood there.";
    NotDue = 467 "not-due" Broker,
        nl "Dit is volgens de klok of het log nog niet aan de orde." => "Controleer de klok van deze machine (NTP); probeer het opnieuw als de termijn of het jaar voorbij is.",
        en "By the clock or the log it is not time for this yet." => "Check this machine's clock (NTP); try again when the term or the year is over.";
    NotRecordable = 468 "not-recordable" Sender,
        nl "Er wachten zoveel verwerkingen op het logboek dataverwerkingen dat er geen meer kan worden vastgelegd." => "Herstel de verbinding met het logboek ([ldv] in agent.toml) en bied het bericht opnieuw aan.",
        en "So many processings wait for the processing log that no more can be recorded." => "Repair the way to the log ([ldv] in agent.toml) and push the message again.";

    NoPrekey = 501 "no-prekey" Recipient,
        nl "De gebruikte ontvangstsleutel is onbekend of verlopen." => "Haal de nieuwe ontvangstsleutels op en verzegel opnieuw.",
        en "The encryption key used for a recipient is unknown or past its time." => "Fetch the new keys and seal again.";
    PrekeyRollback = 502 "prekey-rollback" Recipient,
        nl "De sleutelbundel is ouder dan een die al bekend is." => "Publiceer een nieuwe bundel met een hoger volgnummer.",
        en "The prekey bundle is older than one already known." => "Publish a new bundle with a higher sequence number.";
    BadPrekeyBundle = 503 "bad-prekey-bundle" Recipient,
        nl "De sleutelbundel is ongeldig." => "Werk de agent bij; blijft dit, meld het aan de leverancier.",
        en "The prekey bundle is not valid." => "Update the agent; if it persists, report it to its supplier.";
    CannotOpen = 504 "cannot-open" Sender,
        nl "De versleutelde inhoud kan niet worden geopend." => "Verzegel het pakket opnieuw.",
        en "The sealed content cannot be opened." => "Seal the packet again.";
    CommitmentMismatch = 505 "commitment-mismatch" Sender,
        nl "De inhoud is niet die waaraan de afzender zich heeft gebonden." => "Onderzoek de afzender.",
        en "The content is not what the sender committed to." => "Investigate the sender.";

    MailboxFull = 601 "mailbox-full" Passing,
        nl "De postbus van een ontvanger is vol." => "De agent probeert het later opnieuw; waarschuw de ontvanger.",
        en "A recipient's mailbox is full." => "The agent tries again later; warn the recipient.";
    Stopping = 602 "stopping" Passing,
        nl "De broker stopt of start juist." => "De agent probeert het later opnieuw.",
        en "The broker is stopping or just starting." => "The agent tries again later.";
    StorageFailed = 603 "storage-failed" Broker,
        nl "De broker kan niet vastleggen en neemt daarom niets aan." => "Waarschuw de beheerder; de agent probeert het later opnieuw.",
        en "The broker cannot record and therefore accepts nothing." => "Warn the operator; the agent tries again later.";
    TooBusy = 604 "too-busy" Passing,
        nl "De broker of deze partner heeft te veel werk onderhanden." => "De agent probeert het later opnieuw.",
        en "The broker or this partner has too much work in hand." => "The agent tries again later.";
    NotFound = 605 "not-found" Sender,
        nl "Het gevraagde bestaat niet of is niet voor deze organisatie." => "Controleer de vraag.",
        en "What was asked for does not exist or is not for this organisation." => "Check the request.";
    Unwitnessed = 606 "unwitnessed" Passing,
        nl "Het logboek is te lang niet meegetekend door het aantal partijen dat het convenant vraagt." => "De agent probeert het later opnieuw; controleer of de agents van de partijen verbonden zijn.",
        en "The log was not cosigned for too long by as many parties as the covenant asks." => "The agent tries again later; check that the agents of the parties are connected.";
    AwaitingWitnesses = 607 "awaiting-witnesses" Passing,
        nl "De broker start en wacht op genoeg getuigen van het logboek." => "De agent probeert het later opnieuw. De beheerder start de broker en ziet met `seinhuis-broker status` op wie gewacht wordt.",
        en "The broker is starting and waits for enough witnesses of the log." => "The agent tries again later. The operator starts the broker and sees with `seinhuis-broker status` who is waited for.";
    OverQuota = 608 "over-quota" Passing,
        nl "Deze partner brengt meer tegelijk dan de broker van één partner aanneemt." => "De agent biedt het later vanzelf opnieuw aan; blijft dit, vraag de beheerder om een ruimer quotum.",
        en "This partner brings more at a time than the broker takes from one partner." => "The agent submits it again later by itself; if it persists, ask the operator for a larger quota.";
    Suspended = 609 "suspended" Passing,
        nl "De beheerder van de broker heeft dit voorlopig opgeschort: de toegang van deze partner, deze stroom, of alle aanname." => "De agent probeert het later vanzelf opnieuw; vraag de beheerder waarom en tot wanneer.",
        en "The broker's operator suspended this for now: this partner's access, this flow, or all intake." => "The agent tries again later by itself; ask the operator why and until when.";
    Requeued = 610 "requeued" Passing,
        nl "De beheerder van de broker laat alles opnieuw aanbieden wat voor deze partner wacht." => "De agent verbindt vanzelf opnieuw; hij hoeft niets te doen.",
        en "The broker's operator has all that waits for this partner offered again." => "The agent connects again by itself; nothing has to be done.";
    ReadsTooSlowly = 612 "reads-too-slowly" Passing,
        nl "De agent leest niet of te traag wat de broker stuurt." => "De agent verbindt vanzelf opnieuw; blijft dit, kijk naar schijf, processor en verbinding van de machine van de agent.",
        en "The agent does not read what the broker sends, or too slowly." => "The agent connects again by itself; if it persists, look at the disk, processor and connection of the agent's machine.";
    OutboxFull = 613 "outbox-full" Passing,
        nl "De wachtrij van deze agent naar de broker is vol." => "Bied het bericht later opnieuw aan; kijk met `seinhuis-agent status` of de broker bereikbaar is en wat hij uitstelt.",
        en "This agent's queue to the broker is full." => "Push the message again later; see with `seinhuis-agent status` whether the broker is reachable and what it puts off.";
    StorageLow = 614 "storage-low" Broker,
        nl "De schijf van de broker is bijna vol: hij bezorgt nog, en neemt niets nieuws aan." => "Waarschuw de beheerder; de agent biedt het later vanzelf opnieuw aan.",
        en "The broker's disk is nearly full: it still delivers, and takes nothing new." => "Warn the operator; the agent submits it again later by itself.";
    AgentStorageLow = 615 "agent-storage-low" Passing,
        nl "De schijf van deze agent is bijna vol: hij verstuurt nog wat wacht, en neemt niets nieuws aan." => "Maak ruimte op de schijf (`seinhuis-agent doctor`) en bied het bericht opnieuw aan.",
        en "This agent's disk is nearly full: it still sends what waits, and takes nothing new." => "Make room on the disk (`seinhuis-agent doctor`) and push the message again.";
    DamagedAtBroker = 616 "damaged-at-broker" Broker,
        nl "Het pakket is bij de broker op schijf beschadigd en door de beheerder beëindigd." => "Bied het bericht opnieuw aan.",
        en "The packet was damaged on the broker's disk, and ended by its operator." => "Push the message again.";
}

impl Refusal {
    /// The number on the wire and in the log.
    #[expect(clippy::as_conversions, reason = "reading the discriminant of a fieldless repr(u16) enum")]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The reason with this number, if there is one.
    pub fn from_number(number: u16) -> Option<Self> {
        TABLE.iter().find(|row| row.number == number).map(|row| row.refusal)
    }

    /// The row of this reason.
    pub fn row(self) -> &'static Row {
        // Every variant comes from the same macro line as its row; the first is never returned in error.
        TABLE.iter().find(|row| row.refusal == self).unwrap_or(&FIRST)
    }

    /// The name in the closed list of reasons.
    pub fn slug(self) -> &'static str {
        self.row().slug
    }

    /// What happened, in `lang`.
    pub fn what(self, lang: Lang) -> &'static str {
        let row = self.row();
        lang.pick(row.nl.0, row.en.0)
    }

    /// What to do about it, in `lang`.
    pub fn advice(self, lang: Lang) -> &'static str {
        let row = self.row();
        lang.pick(row.nl.1, row.en.1)
    }

    /// Whether the same bytes may succeed later, so that the sender keeps them and tries again.
    pub fn is_passing(self) -> bool {
        matches!(
            self,
            Self::MailboxFull
                | Self::Stopping
                | Self::StorageFailed
                | Self::TooBusy
                | Self::ReadsTooSlowly
                | Self::OutboxFull
                | Self::Unwitnessed
                | Self::AwaitingWitnesses
                | Self::OverQuota
                | Self::Suspended
                | Self::Requeued
                | Self::StorageLow
                | Self::AgentStorageLow
                | Self::LogSucceeded
        )
    }
}

const FIRST: Row = match TABLE.first() {
    Some(row) => *row,
    None => unreachable!(),
};

impl fmt::Display for Refusal {
    /// Number and name: `404 unknown-flow`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.slug())
    }
}

impl core::error::Error for Refusal {}

/// The table as Markdown, the body of `docs/refusals.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "| number | reason | whose fault | what happened | what to do | wat er gebeurde | wat te doen |\n|---|---|---|---|---|---|---|\n",
    );
    for row in TABLE {
        _ = writeln!(
            out,
            "| {} | `{}` | {} | {} | {} | {} | {} |",
            row.number,
            row.slug,
            row.fault.as_str(),
            row.en.0,
            row.en.1,
            row.nl.0,
            row.nl.1
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_ordered() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].number < pair[1].number, "{} before {}", pair[0].number, pair[1].number);
        }
        let names: std::collections::BTreeSet<_> = TABLE.iter().map(|row| row.slug).collect();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn every_number_leads_back_to_its_reason() {
        for row in TABLE {
            assert_eq!(Refusal::from_number(row.number), Some(row.refusal));
            assert_eq!(row.refusal.number(), row.number);
            assert_eq!(row.refusal.row(), row);
        }
        assert_eq!(Refusal::from_number(0), None);
    }
}
