//! Changes of rows, and how each is stored and read back.

use seinhuis_shared::cbor::{self, Bytes, CborError};
use seinhuis_shared::covenant::agreement::Cast;
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, PrekeyId};
use seinhuis_shared::rotation::Rotated;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::Decided;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    ActRow, AlarmRow, BundleRow, ChainRow, ConsumedRow, CorrectionRow, CosignedRow, ErasedRow, ExchangeRow,
    FORMAT, InboxRow, LogRow, MarkRow, NoticesRow, OutboxRow, OwnPrekeyRow, PeerRow, PersonRow, PinRow,
    ProposalRow, ProvenanceRow, RecordRow, ReleaseRow, RestoreError, RotationRow, TakeBackRow, WaitingRow,
    WordRow, table,
};

/// Most bytes of one row.
const ROW_MAX: usize = 4 * 1024 * 1024;

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The format of the rows.
    Meta,
    /// An outgoing message.
    Outbox(u64, Box<OutboxRow>),
    /// A locked draft, or that it is gone.
    Draft(u64, Option<Vec<u8>>),
    /// The last packet sealed for a flow.
    Chain(String, ChainRow),
    /// An incoming packet.
    Inbox(u64, Box<InboxRow>),
    /// A locked body, or that it is erased.
    Body(u64, Option<Vec<u8>>),
    /// The last packet seen of a sender under a flow.
    Seen(Oin, String, ChainRow),
    /// What is believed of the log.
    Pin(PinRow),
    /// An alarm.
    Alarm(u64, AlarmRow),
    /// An own prekey, or that it is destroyed.
    OwnPrekey(PrekeyId, Option<Box<OwnPrekeyRow>>),
    /// The own bundle.
    Bundle(Box<BundleRow>),
    /// A partner's bundle.
    Peer(Oin, Box<PeerRow>),
    /// A checkpoint that waits for a proof, by size of its tree, or that it waits no more.
    Waiting(u64, Option<Box<WaitingRow>>),
    /// A covenant in canonical form.
    Covenant(Digest, Vec<u8>),
    /// What parties said of a covenant.
    Votes(Digest, Vec<Cast>),
    /// What this organisation says of a covenant, or that it was heard.
    Word(Digest, Option<Box<WordRow>>),
    /// A covenant this organisation proposes, or that the broker has it.
    Proposal(Digest, Option<ProposalRow>),
    /// What was decided about a case.
    Case(CaseId, Vec<Decided>),
    /// What this organisation decides about a case, or that it was heard.
    Act(CaseId, Option<Box<ActRow>>),
    /// What a person decided about a message.
    Release(MsgId, ReleaseRow),
    /// Where the body of a received message comes from.
    Provenance(u64, ProvenanceRow),
    /// A consent of another organisation, as it signed it.
    Consent(Digest, Option<Bytes>),
    /// This place in the outbox is empty again: its message has another one.
    Moved(u64),
    /// The change of the own signing key that is under way, or that it is done.
    Rotation(Option<Box<RotationRow>>),
    /// A party's changes of its signing key, in order.
    Keys(Oin, Vec<Rotated>),
    /// A signed note: 0 is that of the pin; from 1 on, two for each time that a log was caught, those that
    /// contradict each other. Together they show to anybody what the log signed.
    Note(u8, Bytes),
    /// An exchange log, by its number from 0.
    Log(u32, Box<LogRow>),
    /// A checkpoint of a closed log that waits for a proof, or that it waits no more.
    OlderWaiting(u32, u64, Option<Box<WaitingRow>>),
    /// A correction to one recipient.
    Correction(u64, Box<CorrectionRow>),
    /// The locked body of a correction, or that it is not needed any more.
    CorrectionBody(u64, Option<Vec<u8>>),
    /// What later messages said of one in the inbox.
    Mark(u64, Box<MarkRow>),
    /// That a body in the inbox is gone.
    Erased(u64, ErasedRow),
    /// Notices as the broker gave them.
    Notices(u64, Box<NoticesRow>),
    /// That an outgoing message is taken back.
    TakeBack(u64, Box<TakeBackRow>),
    /// That an incoming message was consumed.
    Consumed(u64, Box<ConsumedRow>),
    /// A processing to be told to this organisation's log of them, or that it needs not be any more.
    Record(u64, Option<Box<RecordRow>>),
    /// A person of whom messages were exchanged, or that there is nothing left about that person.
    Person(Digest, Option<Box<PersonRow>>),
    /// A message about persons, by until when it is kept and its number, or that it is kept no longer.
    Exchange((Timestamp, u64), Option<Box<ExchangeRow>>),
    /// The largest tree that was cosigned, by origin of its log.
    Cosigned(String, Box<CosignedRow>),
}

/// A row as stored: table, key, and a value or its absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The table.
    pub table: u8,
    /// The key.
    pub key: Vec<u8>,
    /// The value, or none to delete the row.
    pub value: Option<Vec<u8>>,
}

/// The key of a position: big-endian, so that order of keys is order of positions.
pub fn position_key(position: u64) -> Vec<u8> {
    position.to_be_bytes().to_vec()
}

/// The key of a message about persons: big-endian, so that order of keys is order of terms.
pub fn exchange_key((until, number): (Timestamp, u64)) -> Vec<u8> {
    [until.0.to_be_bytes(), number.to_be_bytes()].concat()
}

fn seen_key(sender: &Oin, flow: &str) -> Vec<u8> {
    [sender.as_str().as_bytes(), flow.as_bytes()].concat()
}

impl Write {
    /// The row this changes.
    pub fn row(&self) -> Row {
        let row = |table, key: Vec<u8>, value: Option<Vec<u8>>| Row { table, key, value };
        match self {
            Self::Meta => row(table::META, vec![], Some(vec![FORMAT])),
            Self::Outbox(at, one) => row(table::OUTBOX, position_key(*at), Some(cbor::encode(one))),
            Self::Draft(at, value) => row(table::DRAFT, position_key(*at), value.clone()),
            Self::Chain(flow, one) => row(table::CHAIN, flow.clone().into_bytes(), Some(cbor::encode(one))),
            Self::Inbox(at, one) => row(table::INBOX, position_key(*at), Some(cbor::encode(one))),
            Self::Body(at, value) => row(table::BODY, position_key(*at), value.clone()),
            Self::Seen(sender, flow, one) => {
                row(table::SEEN, seen_key(sender, flow), Some(cbor::encode(one)))
            }
            Self::Pin(one) => row(table::PIN, vec![], Some(cbor::encode(one))),
            Self::Alarm(at, one) => row(table::ALARM, position_key(*at), Some(cbor::encode(one))),
            Self::OwnPrekey(id, one) => {
                row(table::OWN_PREKEY, id.as_bytes().to_vec(), one.as_ref().map(cbor::encode))
            }
            Self::Bundle(one) => row(table::BUNDLE, vec![], Some(cbor::encode(one))),
            Self::Peer(oin, one) => {
                row(table::PEER, oin.as_str().as_bytes().to_vec(), Some(cbor::encode(one)))
            }
            Self::Waiting(size, one) => {
                row(table::WAITING, position_key(*size), one.as_ref().map(cbor::encode))
            }
            Self::Covenant(hash, bytes) => row(table::COVENANT, hash.0.to_vec(), Some(bytes.clone())),
            Self::Votes(hash, casts) => row(table::VOTES, hash.0.to_vec(), Some(cbor::encode(casts))),
            Self::Word(hash, one) => row(table::WORD, hash.0.to_vec(), one.as_ref().map(cbor::encode)),
            Self::Proposal(hash, one) => {
                row(table::PROPOSAL, hash.0.to_vec(), one.as_ref().map(cbor::encode))
            }
            Self::Case(case, decisions) => row(table::CASE, case.0.to_vec(), Some(cbor::encode(decisions))),
            Self::Act(case, one) => row(table::ACT, case.0.to_vec(), one.as_ref().map(cbor::encode)),
            Self::Release(id, one) => row(table::RELEASE, id.0.to_vec(), Some(cbor::encode(one))),
            Self::Provenance(at, one) => row(table::PROVENANCE, position_key(*at), Some(cbor::encode(one))),
            Self::Consent(digest, one) => {
                row(table::CONSENT, digest.0.to_vec(), one.as_ref().map(|one| one.0.clone()))
            }
            Self::Moved(at) => row(table::OUTBOX, position_key(*at), None),
            Self::Rotation(one) => row(table::ROTATION, vec![], one.as_ref().map(cbor::encode)),
            Self::Keys(oin, all) => {
                row(table::KEYS, oin.as_str().as_bytes().to_vec(), Some(cbor::encode(all)))
            }
            Self::Note(place, note) => row(table::NOTE, vec![*place], Some(cbor::encode(note))),
            Self::Log(number, one) => row(table::LOG, number.to_be_bytes().to_vec(), Some(cbor::encode(one))),
            Self::OlderWaiting(number, size, one) => {
                let key = [&number.to_be_bytes()[..], &size.to_be_bytes()[..]].concat();
                row(table::OLDER_WAITING, key, one.as_ref().map(cbor::encode))
            }
            Self::Correction(at, one) => row(table::CORRECTION, position_key(*at), Some(cbor::encode(one))),
            Self::CorrectionBody(at, value) => row(table::CORRECTION_BODY, position_key(*at), value.clone()),
            Self::Erased(at, one) => row(table::ERASED, position_key(*at), Some(cbor::encode(one))),
            Self::Record(at, one) => row(table::RECORD, position_key(*at), one.as_ref().map(cbor::encode)),
            Self::Person(id, one) => row(table::PERSON, id.0.to_vec(), one.as_ref().map(cbor::encode)),
            Self::Exchange(at, one) => {
                row(table::EXCHANGE, exchange_key(*at), one.as_ref().map(cbor::encode))
            }
            Self::Mark(at, one) => row(table::MARK, position_key(*at), Some(cbor::encode(one))),
            Self::Cosigned(origin, one) => {
                row(table::COSIGNED, origin.clone().into_bytes(), Some(cbor::encode(one)))
            }
            Self::Notices(at, one) => row(table::NOTICES, position_key(*at), Some(cbor::encode(one))),
            Self::TakeBack(at, one) => row(table::TAKE_BACK, position_key(*at), Some(cbor::encode(one))),
            Self::Consumed(at, one) => row(table::CONSUMED, position_key(*at), Some(cbor::encode(one))),
        }
    }

    /// Reads a row back.
    ///
    /// # Errors
    /// [`RestoreError`] naming the table.
    #[expect(clippy::too_many_lines, reason = "an arm for each table, which decides nothing itself")]
    pub fn read(table: u8, key: &[u8], value: &[u8]) -> Result<Self, RestoreError> {
        let damaged = || RestoreError::Damaged { table, key: key.iter().take(8).copied().collect() };
        let at = || key.try_into().map(u64::from_be_bytes).map_err(|_| damaged());
        let hash = || Digest::from_slice(key).ok_or_else(damaged);
        let case = || CaseId::from_slice(key).ok_or_else(damaged);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| damaged());
        let oin = |bytes: &[u8]| text(bytes)?.parse::<Oin>().map_err(|_| damaged());
        Ok(match table {
            table::META if value == [FORMAT] => Self::Meta,
            table::META => return Err(RestoreError::Format { found: value.first().copied().unwrap_or(0) }),
            table::OUTBOX => Self::Outbox(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::DRAFT => Self::Draft(at()?, Some(value.to_vec())),
            table::CHAIN => Self::Chain(text(key)?, decode(value).map_err(|_| damaged())?),
            table::INBOX => Self::Inbox(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::BODY => Self::Body(at()?, Some(value.to_vec())),
            table::CORRECTION => Self::Correction(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::CORRECTION_BODY => Self::CorrectionBody(at()?, Some(value.to_vec())),
            table::ERASED => Self::Erased(at()?, decode(value).map_err(|_| damaged())?),
            table::RECORD => Self::Record(at()?, Some(Box::new(decode(value).map_err(|_| damaged())?))),
            table::PERSON => Self::Person(hash()?, Some(Box::new(decode(value).map_err(|_| damaged())?))),
            table::EXCHANGE => {
                let (until, number) = key.split_at_checked(8).ok_or_else(damaged)?;
                let until = until.try_into().map(u64::from_be_bytes).map_err(|_| damaged())?;
                let number = number.try_into().map(u64::from_be_bytes).map_err(|_| damaged())?;
                let row = Some(Box::new(decode(value).map_err(|_| damaged())?));
                Self::Exchange((Timestamp(until), number), row)
            }
            table::MARK => Self::Mark(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::COSIGNED => Self::Cosigned(text(key)?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::NOTICES => Self::Notices(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::TAKE_BACK => Self::TakeBack(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::CONSUMED => Self::Consumed(at()?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::SEEN => {
                let (sender, flow) = key.split_at_checked(20).ok_or_else(damaged)?;
                Self::Seen(oin(sender)?, text(flow)?, decode(value).map_err(|_| damaged())?)
            }
            table::PIN => Self::Pin(decode(value).map_err(|_| damaged())?),
            table::ALARM => Self::Alarm(at()?, decode(value).map_err(|_| damaged())?),
            table::OWN_PREKEY => Self::OwnPrekey(
                PrekeyId::from_slice(key).ok_or_else(damaged)?,
                Some(Box::new(decode(value).map_err(|_| damaged())?)),
            ),
            table::BUNDLE => Self::Bundle(Box::new(decode(value).map_err(|_| damaged())?)),
            table::PEER => Self::Peer(oin(key)?, Box::new(decode(value).map_err(|_| damaged())?)),
            table::WAITING => Self::Waiting(at()?, Some(Box::new(decode(value).map_err(|_| damaged())?))),
            table::LOG => {
                let number = key.try_into().map(u32::from_be_bytes).map_err(|_| damaged())?;
                Self::Log(number, Box::new(decode(value).map_err(|_| damaged())?))
            }
            table::OLDER_WAITING => {
                let (number, size) = key.split_at_checked(4).ok_or_else(damaged)?;
                let number = number.try_into().map(u32::from_be_bytes).map_err(|_| damaged())?;
                let size = size.try_into().map(u64::from_be_bytes).map_err(|_| damaged())?;
                Self::OlderWaiting(number, size, Some(Box::new(decode(value).map_err(|_| damaged())?)))
            }
            table::COVENANT if hash()? == sha256(value) => Self::Covenant(hash()?, value.to_vec()),
            table::VOTES => Self::Votes(hash()?, decode(value).map_err(|_| damaged())?),
            table::WORD => Self::Word(hash()?, Some(Box::new(decode(value).map_err(|_| damaged())?))),
            table::PROPOSAL => Self::Proposal(hash()?, Some(decode(value).map_err(|_| damaged())?)),
            table::CASE => Self::Case(case()?, decode(value).map_err(|_| damaged())?),
            table::ACT => Self::Act(case()?, Some(Box::new(decode(value).map_err(|_| damaged())?))),
            table::PROVENANCE => Self::Provenance(at()?, decode(value).map_err(|_| damaged())?),
            table::CONSENT if hash()? == sha256(value) => Self::Consent(hash()?, Some(Bytes::from(value))),
            table::RELEASE => Self::Release(
                MsgId::from_slice(key).ok_or_else(damaged)?,
                decode(value).map_err(|_| damaged())?,
            ),
            table::ROTATION if key.is_empty() => {
                Self::Rotation(Some(Box::new(decode(value).map_err(|_| damaged())?)))
            }
            table::KEYS => Self::Keys(oin(key)?, decode(value).map_err(|_| damaged())?),
            table::NOTE => match key {
                [place] => Self::Note(*place, decode(value).map_err(|_| damaged())?),
                _ => return Err(damaged()),
            },
            _ => return Err(damaged()),
        })
    }
}

fn decode<T: DeserializeOwned + Serialize>(value: &[u8]) -> Result<T, CborError> {
    cbor::strict(value, ROW_MAX)
}
