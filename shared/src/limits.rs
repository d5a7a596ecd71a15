//! Every bound in one place; relations between them are checked when the crate is compiled.

use crate::time::Span;

/// Most bytes of a sender's plaintext body, whatever a covenant says.
pub const BODY_MAX: usize = 1024 * 1024;
/// Most bytes of a body when the covenant names no other bound.
pub const BODY_DEFAULT: usize = 256 * 1024;
/// Most recipients of one packet.
pub const RECIPIENTS_MAX: usize = 16;
/// Most characters of a code or name inside a protocol structure.
pub const TEXT_MAX: usize = 64;
/// Most characters of a media type.
pub const MEDIA_TYPE_MAX: usize = 64;
/// Most data categories a packet declares.
pub const CATEGORIES_MAX: usize = 32;
/// Most bytes of a statement with its signature.
pub const STATEMENT_MAX: usize = 4096;
/// Most bytes of a consent with its signature.
pub const CONSENT_MAX: usize = 768;
/// Most bytes a packet adds to its padded body: statement, wraps, framing, provenance with a consent.
pub const PACKET_OVERHEAD_MAX: usize = STATEMENT_MAX + RECIPIENTS_MAX * WRAP_MAX + 512 + 1024;
/// Most bytes of one wrapped key with its headers.
pub const WRAP_MAX: usize = 1280;
/// Most bytes of a whole packet: Padmé adds less than 12 % to the content.
pub const PACKET_MAX: usize = BODY_MAX + BODY_MAX / 8 + PACKET_OVERHEAD_MAX;
/// Most bytes of one frame on the wire.
pub const FRAME_MAX: usize = PACKET_MAX + 8192;
/// Most bytes of a frame that carries no packet: hello, acknowledgements, requests.
pub const SMALL_FRAME_MAX: usize = 64 * 1024;
/// Most bytes of a covenant in canonical form, and of the frame that carries it.
pub const COVENANT_MAX: usize = 1024 * 1024;
/// Most versions of covenants a broker or an agent knows.
pub const AGREEMENTS_MAX: usize = 1024;
/// Versions of covenants for which only the operator finds room.
pub const OPERATORS_RESERVE: usize = 64;
/// Most versions one party has put up that nobody else ever accepted.
pub const PROPOSALS_MAX: usize = 16;
/// Most bytes of the reason a party gives with its word about a covenant.
pub const REASON_MAX: usize = 256;
/// Most bytes of a signed vote.
pub const VOTE_MAX: usize = 512 + REASON_MAX;
/// Most votes of one party on one version: reject, accept, withdraw.
pub const VOTES_PER_PARTY: usize = 3;
/// Most bytes of a covenant with all its votes and the rotations of its parties' keys.
pub const AGREEMENT_MAX: usize =
    COVENANT_MAX + 256 * VOTES_PER_PARTY * (VOTE_MAX + 16) + 256 * ROTATIONS_MAX * (ROTATION_MAX + 16) + 64;
/// Most bytes of one signed rotation of a key.
pub const ROTATION_MAX: usize = 384;
/// Most rotations of one party.
pub const ROTATIONS_MAX: usize = 32;
/// Most bytes of a line of rotations, each with its time.
pub const ROTATIONS_LINE_MAX: usize = ROTATIONS_MAX * (ROTATION_MAX + 16) + 64;
/// Smallest encoded content; less is padded up to it, so that short messages look alike.
pub const CONTENT_FLOOR: usize = 256;
/// Most bytes of one signed decision about a case.
pub const CASE_DECISION_MAX: usize = 512;
/// Most decisions about one case. The last place is kept for the one that closes it.
pub const CASE_DECISIONS_MAX: usize = 1024;
/// Most bytes of all decisions about one case, each with its time.
pub const CASE_CHAIN_MAX: usize = CASE_DECISIONS_MAX * (CASE_DECISION_MAX + 16) + 64;
/// Most cases one party has begun that are not closed.
pub const CASES_OPEN_MAX: usize = 4096;
/// Most cases one session is told about.
pub const CASES_WATCHED_MAX: usize = 65_536;
/// Places of these that statements about conditions leave to steps, so that no party can fill a case up.
pub const CASE_STEPS_KEPT: usize = 128;

/// Longest validity of a packet.
pub const TTL_MAX: Span = Span::days(30);
/// Validity when the sender names none.
pub const TTL_DEFAULT: Span = Span::days(14);
/// How far a time stamp may lie ahead of the checker's clock.
pub const CLOCK_SKEW: Span = Span::minutes(5);

/// How long one prekey is offered to senders.
pub const PREKEY_EPOCH: Span = Span::hours(24);
/// Most prekeys in one bundle: the running epoch, the next, and slack for a late publication.
pub const PREKEYS_MAX: usize = 4;
/// Most bytes of a prekey bundle.
pub const BUNDLE_MAX: usize = PREKEYS_MAX * 1400 + 512;

/// Most streams a peer may have open on one connection.
pub const STREAMS_MAX: u32 = 64;
/// Most streams in one direction a peer may have open on one connection.
pub const UNI_STREAMS_MAX: u32 = 8;
/// Most connections one partner may have open.
pub const CONNECTIONS_PER_PARTNER: usize = 4;
/// Most packets a broker has sent to one connection without an acknowledgement.
pub const INFLIGHT_MAX: usize = 512;
/// Most bytes a broker has sent to one connection without an acknowledgement.
pub const INFLIGHT_BYTES: usize = 8 * 1024 * 1024;
/// Most packets one acknowledgement covers.
pub const ACK_MAX: usize = 256;
/// Most bytes of what a recipient signs for a list of packets.
pub const SIGNED_ACK_MAX: usize = 256;
/// Most bytes of a sender's signed word that it takes a packet back.
pub const WITHDRAWAL_MAX: usize = 384;
/// Most log entries in one frame of notices.
pub const NOTICE_ENTRIES_MAX: usize = 128;
/// Most bytes of a frame of notices.
pub const NOTICES_MAX: usize = 16 * SMALL_FRAME_MAX;
/// Most notices the broker keeps for one partner that does not fetch them; the oldest go first.
pub const NOTICES_KEPT: usize = 16_384;
/// How long the broker keeps a notice for a partner that does not fetch it.
pub const NOTICE_TTL: Span = Span::days(30);
/// Most frames of notices under way to one partner.
pub const NOTICES_INFLIGHT: usize = 32;
/// How long after its acceptance a recipient may say that it consumed a message.
pub const CONSUME_MAX: Span = Span::days(30);
/// Most log entries in one answer to a party that asks for its own.
pub const ENTRIES_PAGE: usize = 64;
/// Most bytes of such an answer.
pub const ENTRIES_MAX: usize = 8 * SMALL_FRAME_MAX;
/// Most packets waiting for one recipient.
pub const MAILBOX_PACKETS: usize = 100_000;
/// Most bytes waiting for one recipient.
pub const MAILBOX_BYTES: u64 = 1024 * 1024 * 1024;
/// Packets of one sender that a broker accepts, a second.
pub const QUOTA_PACKETS: u64 = 200;
/// Most packets of one sender that a broker accepts at once, after a time with less.
pub const QUOTA_PACKETS_BURST: u64 = 20_000;
/// Bytes of packets of one sender that a broker accepts, a second.
pub const QUOTA_BYTES: u64 = 16 * 1024 * 1024;
/// Most bytes of packets of one sender that a broker accepts at once, after a time with less.
pub const QUOTA_BYTES_BURST: u64 = 1024 * 1024 * 1024;
/// Refusals of one organisation that a broker logs, a minute.
pub const QUOTA_REFUSALS: u64 = 120;
/// Most refusals of one organisation that a broker logs at once, after a time with less.
pub const QUOTA_REFUSALS_BURST: u64 = 10_000;
/// Words of one organisation other than packets that a broker takes, a second.
pub const QUOTA_WORDS: u64 = 200;
/// Most words of one organisation other than packets that a broker takes at once, after a time with less.
pub const QUOTA_WORDS_BURST: u64 = 20_000;
/// Questions of one organisation that a broker answers, a second.
pub const QUOTA_QUESTIONS: u64 = 200;
/// Most questions of one organisation that a broker answers at once, after a time with less.
pub const QUOTA_QUESTIONS_BURST: u64 = 20_000;
/// Most outcomes of one sender's packets that a broker remembers.
pub const QUOTA_REMEMBERED: usize = 1_000_000;
/// Most hashes of an inclusion or consistency proof: one per bit of a 64-bit tree size, twice.
pub const PROOF_MAX: usize = 128;
/// Most bytes of a signed checkpoint.
pub const CHECKPOINT_MAX: usize = 4096;
/// Most bytes of a signed checkpoint with the cosignatures of its witnesses.
pub const WITNESSED_MAX: usize = 16 * 1024;
/// Most bytes of what a witness answers.
pub const COSIGNED_MAX: usize = 16 * 1024;
/// Most bytes of one log entry.
pub const ENTRY_MAX: usize = 4096;

/// Longest silence before a connection counts as gone.
pub const IDLE_TIMEOUT: Span = Span::seconds(30);
/// How often an agent shows it is still there.
pub const KEEP_ALIVE: Span = Span::seconds(10);

const _: () = {
    assert!(BODY_DEFAULT <= BODY_MAX, "a default within the maximum");
    assert!(CONSENT_MAX + CONSENT_MAX / 8 + 128 < 1024, "a consent fits what a packet may add to its body");
    assert!(PACKET_MAX < FRAME_MAX, "a frame holds the largest packet");
    assert!(INFLIGHT_BYTES >= 2 * FRAME_MAX, "the window holds more than one packet");
    assert!(ACK_MAX * 96 < SMALL_FRAME_MAX, "a full acknowledgement fits its frame");
    assert!(ENTRIES_PAGE * (ENTRY_MAX + 64 * 35) < ENTRIES_MAX, "a full page of entries fits its frame");
    assert!(
        NOTICE_ENTRIES_MAX * (ENTRY_MAX + 64 * 34 + SIGNED_ACK_MAX + 16 * 35 + 128) + CHECKPOINT_MAX
            < NOTICES_MAX,
        "full notices fit their frame"
    );
    assert!(BUNDLE_MAX < SMALL_FRAME_MAX, "a prekey bundle fits its frame");
    assert!(CASE_STEPS_KEPT < CASE_DECISIONS_MAX, "there is room for statements about conditions");
    assert!(
        CASE_DECISION_MAX * CASE_DECISIONS_MAX <= COVENANT_MAX,
        "a whole chain is no larger than a covenant"
    );
    assert!(TTL_DEFAULT.0 <= TTL_MAX.0, "a default within the maximum");
    assert!(KEEP_ALIVE.0 * 2 < IDLE_TIMEOUT.0, "two keep-alives may be lost");
    assert!(RECIPIENTS_MAX * ENTRY_MAX < SMALL_FRAME_MAX * 2, "evidence for all recipients is bounded");
};
