//! Tables of numbers that stand in the code.

use std::fmt::Write as _;

use seinhuis_shared::covenant::limits as covenant;
use seinhuis_shared::enrol::REQUEST_MAX;
use seinhuis_shared::entry;
use seinhuis_shared::frame::Kind;
use seinhuis_shared::limits as l;
use seinhuis_shared::packet::padding::{padded_length, padding_for};
use seinhuis_shared::receipt::RECEIPT_MAX;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::CONSISTENCY_SIZES_MAX;

/// Who sends a kind of frame where, and what its payload is.
const fn place(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Hello => ("agent, first on the session stream", "`hello`"),
        Kind::Welcome => ("broker, session stream", "`welcome`"),
        Kind::Refuse => ("broker, session, lane or request stream", "`refuse`"),
        Kind::Submit => ("agent, lane", "`packet`"),
        Kind::Verdict => ("broker, lane", "`verdict`"),
        Kind::Deferred => ("broker, lane", "`deferred`"),
        Kind::Offer => ("broker, delivery stream", "`offer`"),
        Kind::Acknowledge => ("agent, acknowledgement stream", "`acknowledgement`"),
        Kind::NoticesTaken => ("agent, acknowledgement stream", "`notices-taken`"),
        Kind::Notices => ("broker, delivery stream", "`notices`"),
        Kind::Withdraw => ("agent, request stream", "COSE_Sign1 over `withdrawal`"),
        Kind::Consume => ("agent, request stream", "`consume`"),
        Kind::FetchEntries => ("agent, request stream", "`fetch-entries`"),
        Kind::Entries => ("broker, request stream", "`entries`"),
        Kind::PublishPrekeys => ("agent, request stream", "COSE_Sign1 over `prekey-bundle`"),
        Kind::Done => ("broker, request stream", "none"),
        Kind::FetchPrekeys => ("agent, request stream", "`fetch-prekeys`"),
        Kind::Prekeys => ("broker, request stream", "`prekeys`"),
        Kind::FetchCovenant => ("agent, request stream", "`fetch-covenant`"),
        Kind::Covenant => ("broker, request stream", "`signed-covenant`"),
        Kind::Agreements => ("broker, delivery stream", "`agreements`"),
        Kind::Cases => ("broker, delivery stream", "`cases`"),
        Kind::AddCheckpoint => ("broker, delivery stream", "C2SP tlog-witness request"),
        Kind::Witnessed => ("broker, delivery stream", "`witnessed`"),
        Kind::Cosigned => ("agent, request stream", "`cosigned`"),
        Kind::Decide => ("agent, request stream", "COSE_Sign1 over `case-decision`"),
        Kind::FetchCase => ("agent, request stream", "`fetch-case`"),
        Kind::Case => ("broker, request stream", "`decided-case`"),
        Kind::Rotate => ("agent, request stream", "COSE_Sign1 over COSE_Sign1 over `rotation`"),
        Kind::Rotations => ("broker, request stream", "`rotations`"),
        Kind::Propose => ("agent, request stream", "`covenant`"),
        Kind::Vote => ("agent, request stream", "COSE_Sign1 over `vote`"),
        Kind::FetchConsistency => ("agent, request stream", "`fetch-consistency`"),
        Kind::FetchSuccession => ("agent, request stream", "`fetch-succession`"),
        Kind::Succession => ("broker, request stream", "`succession`"),
        Kind::Consistency => ("broker, request stream", "`consistency`"),
    }
}

pub(super) fn frames() -> String {
    let mut out = String::from(
        "| code | kind | most bytes of payload | sent by, on | payload |\n|---|---|---|---|---|\n",
    );
    for kind in Kind::ALL {
        let (who, what) = place(*kind);
        writeln!(out, "| `{:02x}` | {kind:?} | {} | {who} | {what} |", kind.code(), kind.limit()).unwrap();
    }
    out
}

fn bytes(number: usize) -> String {
    format!("{number} bytes")
}

/// What is at most of packets, keys, sessions and quotas.
fn of_traffic() -> Vec<(&'static str, String)> {
    vec![
        ("body, whatever a covenant says", bytes(l::BODY_MAX)),
        ("recipients of a packet", l::RECIPIENTS_MAX.to_string()),
        ("flow id, code, host or organisation name", format!("{} characters", l::TEXT_MAX)),
        ("media type", bytes(l::MEDIA_TYPE_MAX)),
        ("declared categories", l::CATEGORIES_MAX.to_string()),
        ("statement (COSE_Sign1), and context in it", bytes(l::STATEMENT_MAX)),
        ("packet", bytes(l::PACKET_MAX)),
        (
            "what a packet may add to its padded body in the size check of the broker",
            bytes(l::PACKET_OVERHEAD_MAX),
        ),
        ("least length of the encoded content", bytes(l::CONTENT_FLOOR)),
        ("nesting of CBOR, and of JSON in a body", seinhuis_shared::cbor::RECURSION.to_string()),
        ("validity of a packet", span(l::TTL_MAX)),
        ("validity when the sender names none", span(l::TTL_DEFAULT)),
        ("difference of clocks that is tolerated", span(l::CLOCK_SKEW)),
        ("epoch of a prekey", span(l::PREKEY_EPOCH)),
        ("prekeys in a bundle", l::PREKEYS_MAX.to_string()),
        ("prekey bundle (COSE_Sign1)", bytes(l::BUNDLE_MAX)),
        ("decision about a case (COSE_Sign1)", bytes(l::CASE_DECISION_MAX)),
        ("decisions about one case", l::CASE_DECISIONS_MAX.to_string()),
        ("rotation of a key (COSE_Sign1)", bytes(l::ROTATION_MAX)),
        ("rotations of one party", l::ROTATIONS_MAX.to_string()),
        ("cases begun by one party and not closed", l::CASES_OPEN_MAX.to_string()),
        ("cases one session is told about", l::CASES_WATCHED_MAX.to_string()),
        ("bidirectional streams one side may have open", l::STREAMS_MAX.to_string()),
        ("unidirectional streams one side may have open", l::UNI_STREAMS_MAX.to_string()),
        ("connections of one organisation", l::CONNECTIONS_PER_PARTNER.to_string()),
        ("offers without an acknowledgement", l::INFLIGHT_MAX.to_string()),
        ("bytes offered without an acknowledgement", bytes(l::INFLIGHT_BYTES)),
        ("packets in one acknowledgement", l::ACK_MAX.to_string()),
        ("what a recipient signs for a list of packets (COSE_Sign1)", bytes(l::SIGNED_ACK_MAX)),
        ("word that takes a packet back (COSE_Sign1)", bytes(l::WITHDRAWAL_MAX)),
        ("log entries in one frame of notices", l::NOTICE_ENTRIES_MAX.to_string()),
        ("frames of notices under way to one partner", l::NOTICES_INFLIGHT.to_string()),
        ("notices that wait for one partner (default)", l::NOTICES_KEPT.to_string()),
        ("how long a notice waits", span(l::NOTICE_TTL)),
        ("from acceptance until a message is consumed", span(l::CONSUME_MAX)),
        ("log entries in one answer", l::ENTRIES_PAGE.to_string()),
        ("packets waiting for one recipient (default)", l::MAILBOX_PACKETS.to_string()),
        ("bytes waiting for one recipient (default)", format!("{} bytes", l::MAILBOX_BYTES)),
        ("packets accepted of one sender, a second (default)", l::QUOTA_PACKETS.to_string()),
        ("the same at once, after a time with less (default)", l::QUOTA_PACKETS_BURST.to_string()),
        ("bytes accepted of one sender, a second (default)", format!("{} bytes", l::QUOTA_BYTES)),
        ("the same at once, after a time with less (default)", format!("{} bytes", l::QUOTA_BYTES_BURST)),
        ("refusals logged of one organisation, a minute (default)", l::QUOTA_REFUSALS.to_string()),
        ("the same at once, after a time with less (default)", l::QUOTA_REFUSALS_BURST.to_string()),
        ("words of one organisation other than packets, a second (default)", l::QUOTA_WORDS.to_string()),
        ("the same at once, after a time with less (default)", l::QUOTA_WORDS_BURST.to_string()),
        ("questions of one organisation, a second (default)", l::QUOTA_QUESTIONS.to_string()),
        ("the same at once, after a time with less (default)", l::QUOTA_QUESTIONS_BURST.to_string()),
        ("outcomes remembered of one sender (default)", l::QUOTA_REMEMBERED.to_string()),
    ]
}

/// What is at most of the log, covenants and connections.
fn of_record() -> Vec<(&'static str, String)> {
    vec![
        ("receipt", bytes(RECEIPT_MAX)),
        ("hashes of one proof", l::PROOF_MAX.to_string()),
        ("checkpoint in a receipt", bytes(l::CHECKPOINT_MAX)),
        ("log entry", bytes(l::ENTRY_MAX)),
        ("text in a log entry, UTF-8, before escaping", bytes(entry::MAX_TEXT_BYTES)),
        ("categories in a log entry", bytes(entry::MAX_CATEGORIES_BYTES)),
        ("detail in a log entry", bytes(entry::MAX_DETAIL_BYTES)),
        ("integer in a log entry", entry::MAX_INTEGER.to_string()),
        ("sizes in one consistency request", CONSISTENCY_SIZES_MAX.to_string()),
        ("covenant, canonical", bytes(l::COVENANT_MAX)),
        ("versions of covenants known", l::AGREEMENTS_MAX.to_string()),
        ("versions of one party that are not agreed", l::PROPOSALS_MAX.to_string()),
        ("vote (COSE_Sign1)", bytes(l::VOTE_MAX)),
        ("reason in a vote, UTF-8", bytes(l::REASON_MAX)),
        ("votes of one party on one version", l::VOTES_PER_PARTY.to_string()),
        ("schema in a covenant", bytes(covenant::SCHEMA_MAX)),
        ("enrolment request", bytes(REQUEST_MAX)),
        ("silence before a connection counts as gone", span(l::IDLE_TIMEOUT)),
        ("keep-alive of the agent, every", span(l::KEEP_ALIVE)),
    ]
}

pub(super) fn limits() -> String {
    let mut out = String::from("| what | at most |\n|---|---|\n");
    for (what, most) in of_traffic().into_iter().chain(of_record()) {
        writeln!(out, "| {what} | {most} |").unwrap();
    }
    out
}

fn span(span: Span) -> String {
    let seconds = span.0 / 1000;
    match seconds {
        s if s % 86_400 == 0 => format!("{} × 24 hours", s / 86_400),
        s if s % 60 == 0 => format!("{} minutes", s / 60),
        s => format!("{s} seconds"),
    }
}

pub(super) fn padding() -> String {
    let mut out = String::from(
        "| length without padding | least Padmé length above it | padding bytes | length with padding |\n|---|---|---|---|\n",
    );
    for bare in [0, 77, 230, 231, 232, 254, 255, 256, 287, 1000, 70_000, 1_048_576] {
        let padding = padding_for(bare);
        let header = match padding {
            0..24 => 1,
            24..256 => 2,
            256..65_536 => 3,
            _ => 5,
        };
        let (next, total) = (padded_length(bare + 1), bare + header + padding);
        writeln!(out, "| {bare} | {next} | {padding} | {total} |").unwrap();
    }
    out
}
