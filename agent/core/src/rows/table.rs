//! The tables.

/// The format of the rows.
pub const META: u8 = 0;
/// [`super::OutboxRow`] by position.
pub const OUTBOX: u8 = 1;
/// Locked drafts by position.
pub const DRAFT: u8 = 2;
/// [`super::ChainRow`] by flow.
pub const CHAIN: u8 = 3;
/// [`super::InboxRow`] by position.
pub const INBOX: u8 = 4;
/// Locked bodies by position.
pub const BODY: u8 = 5;
/// [`super::ChainRow`] last seen, by sender and flow.
pub const SEEN: u8 = 6;
/// [`super::PinRow`].
pub const PIN: u8 = 7;
/// [`super::AlarmRow`] by number.
pub const ALARM: u8 = 8;
/// [`super::OwnPrekeyRow`] by prekey id.
pub const OWN_PREKEY: u8 = 9;
/// [`super::BundleRow`].
pub const BUNDLE: u8 = 10;
/// [`super::PeerRow`] by organisation.
pub const PEER: u8 = 11;
/// [`super::WaitingRow`] by size of the tree.
pub const WAITING: u8 = 12;
/// Signed notes kept as evidence, by their place: see [`super::Write::Note`].
pub const NOTE: u8 = 13;
/// Covenants in canonical form, by hash.
pub const COVENANT: u8 = 14;
/// What parties said of a covenant, by its hash.
pub const VOTES: u8 = 15;
/// [`super::WordRow`] by covenant.
pub const WORD: u8 = 16;
/// [`super::ProposalRow`] by covenant.
pub const PROPOSAL: u8 = 17;
/// What was decided about a case, by its pseudonym.
pub const CASE: u8 = 18;
/// [`super::ActRow`] by case.
pub const ACT: u8 = 19;
/// [`super::RotationRow`].
pub const ROTATION: u8 = 20;
/// The changes of signing keys, by party.
pub const KEYS: u8 = 21;
/// [`super::ReleaseRow`] by message id.
pub const RELEASE: u8 = 22;
/// [`super::ProvenanceRow`] by position in the inbox, where it says more than the flow does.
pub const PROVENANCE: u8 = 23;
/// Signed consents of others, by digest.
pub const CONSENT: u8 = 24;
/// [`super::CorrectionRow`] by number.
pub const CORRECTION: u8 = 25;
/// The locked body of a correction that is not settled, by number.
pub const CORRECTION_BODY: u8 = 26;
/// [`super::MarkRow`] by position in the inbox.
pub const MARK: u8 = 27;
/// [`super::ErasedRow`] by position in the inbox.
pub const ERASED: u8 = 28;
/// [`super::CosignedRow`] by origin of the log.
pub const COSIGNED: u8 = 29;
/// [`super::NoticesRow`] by number.
pub const NOTICES: u8 = 30;
/// [`super::TakeBackRow`] by position in the outbox.
pub const TAKE_BACK: u8 = 31;
/// [`super::ConsumedRow`] by position in the inbox.
pub const CONSUMED: u8 = 32;
/// [`super::LogRow`] by number.
pub const LOG: u8 = 33;
/// [`super::WaitingRow`] of a closed log, by its number and the size of the tree.
pub const OLDER_WAITING: u8 = 34;
/// [`super::RecordRow`] by number.
pub const RECORD: u8 = 35;
/// [`super::PersonRow`] by keyed fingerprint of who it is.
pub const PERSON: u8 = 36;
/// [`super::ExchangeRow`] by until when it is kept, and number.
pub const EXCHANGE: u8 = 37;
/// Every table, in the order in which rows are restored.
pub const ALL: [u8; 38] = [
    META,
    KEYS,
    ROTATION,
    COVENANT,
    VOTES,
    WORD,
    PROPOSAL,
    CASE,
    ACT,
    RELEASE,
    OUTBOX,
    DRAFT,
    CHAIN,
    INBOX,
    BODY,
    SEEN,
    PIN,
    ALARM,
    OWN_PREKEY,
    BUNDLE,
    PEER,
    WAITING,
    NOTE,
    PROVENANCE,
    CONSENT,
    CORRECTION,
    CORRECTION_BODY,
    MARK,
    ERASED,
    COSIGNED,
    NOTICES,
    TAKE_BACK,
    CONSUMED,
    LOG,
    OLDER_WAITING,
    RECORD,
    PERSON,
    EXCHANGE,
];
