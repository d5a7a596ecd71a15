//! State changes, and the rows they are kept as.
//!
//! A row is read back into the very write that made it, so that start-up runs the same code as a turn.

use std::sync::Arc;

use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::covenant::agreement::Cast;
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::rotation::Rotated;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::Decided;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::directory::Partner;
use crate::ends::End;
use crate::in_flight::Cause;
use crate::mailbox::MailItem;
use crate::notices::NoticeRow;
use crate::shards::Shard;
use crate::upkeep::Grant;

/// The tables rows are kept in. Numbers are part of the disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Registered organisations, by OIN.
    Partners = 1,
    /// Covenants in canonical form, by hash.
    Covenants = 2,
    /// Prekey bundles as signed, by OIN.
    Prekeys = 3,
    /// Outcomes of packets that may be submitted again: a row for each turn, by its first entry's position.
    Outcomes = 4,
    /// What waits, by recipient and the position of the entry.
    Mail = 5,
    /// Log entries that are not yet in a full bundle file: a row for each turn, by its first position.
    Entries = 6,
    /// The head of the newest log: one row.
    Head = 7,
    /// Signed checkpoints that a receipt may still have to repeat, by the position after their last entry.
    Notes = 8,
    /// What parties said of covenants, by hash and number.
    Votes = 9,
    /// What parties decided about cases, by case and number.
    Cases = 10,
    /// The positions in the log at which waiting packets lost what they rested on, by cause.
    Lapses = 11,
    /// The changes of signing keys, by party and number.
    Rotations = 12,
    /// The newest witnessed checkpoint, by covenant and origin of the log.
    Witnessed = 13,
    /// The first witnessed checkpoint of a day, by covenant, origin and day.
    WitnessedDays = 14,
    /// What partners have not been told yet, by partner and first entry index.
    Notices = 15,
    /// How packets ended other than by being delivered, or that they were consumed: by recipient and accepted
    /// entry's index.
    Ends = 16,
    /// The logs of this broker, by number.
    Shards = 17,
    /// Who may read entries over HTTP, by number.
    Grants = 18,
    /// Up to which index the texts of a log's entries are removed, by the log's number.
    Purged = 19,
}

impl Table {
    /// Every table, in the order in which they are read back.
    pub const ALL: [Self; 19] = [
        Self::Partners,
        Self::Covenants,
        Self::Rotations,
        Self::Votes,
        Self::Cases,
        Self::Lapses,
        Self::Prekeys,
        Self::Shards,
        Self::Head,
        Self::Notes,
        Self::Entries,
        Self::Outcomes,
        Self::Mail,
        Self::Witnessed,
        Self::WitnessedDays,
        Self::Ends,
        Self::Notices,
        Self::Grants,
        Self::Purged,
    ];

    /// The number on disk.
    #[expect(clippy::as_conversions, reason = "reading the discriminant of a fieldless repr(u8) enum")]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// The log's newest state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Head {
    /// Number of entries.
    pub size: u64,
    /// Root of the tree.
    pub root: Digest,
    /// Time of the last entry: the next one's is never before it.
    pub time: Timestamp,
    /// The signed checkpoint.
    pub note: Bytes,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Outcome {
    /// Its sender.
    pub sender: Oin,
    /// Its id.
    pub msg_id: MsgId,
    /// SHA-256 of the packet.
    pub packet: Digest,
    /// 0 when accepted, otherwise the refusal's number.
    pub outcome: u16,
    /// Position of the first entry that says so.
    pub first: u64,
    /// How many entries say so, one after the other.
    pub count: u8,
}

/// One state change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A partner is as given.
    Partner {
        /// Who.
        oin: Oin,
        /// Its registration.
        partner: Partner,
    },
    /// A covenant is known.
    Covenant {
        /// Its hash.
        hash: Digest,
        /// Its canonical form.
        bytes: Vec<u8>,
        /// The party that put it up; the operator when absent.
        proposer: Option<Oin>,
    },
    /// A party's word about a covenant is logged.
    Vote {
        /// The covenant.
        hash: Digest,
        /// Counts the votes on it.
        number: u32,
        /// The vote and its time.
        cast: Cast,
    },
    /// A party's change of its signing key is logged.
    Rotation {
        /// Whose.
        party: Oin,
        /// Counts the party's rotations.
        number: u32,
        /// The rotation and its time.
        rotated: Rotated,
    },
    /// A party's decision about a case is logged.
    Decision {
        /// The case.
        case: CaseId,
        /// Its place in the chain.
        seq: u32,
        /// The decision and its time.
        decided: Decided,
    },
    /// Waiting packets lost what they rested on.
    Lapsed {
        /// By what.
        cause: Cause,
        /// The position at which it took hold: after the entry that says so.
        end: u64,
    },
    /// A partner's newest prekey bundle.
    Prekeys {
        /// Whose.
        oin: Oin,
        /// The bundle's sequence number.
        seq: u64,
        /// The bundle as signed.
        bytes: Vec<u8>,
    },
    /// Packets got their outcomes: those of one turn.
    Outcomes {
        /// Position of the turn's first entry.
        first: u64,
        /// Until when the packets may be submitted again and get these answers: the longest of them.
        keep_until: Timestamp,
        /// The outcomes.
        outcomes: Vec<Outcome>,
    },
    /// A turn's outcomes need not be repeated any more.
    Forget {
        /// Position of the turn's first entry.
        first: u64,
    },
    /// A packet waits.
    Deposit {
        /// For whom.
        recipient: Oin,
        /// What.
        item: MailItem,
    },
    /// A packet no longer waits.
    Remove {
        /// For whom it waited.
        recipient: Oin,
        /// Its entry's position.
        index: u64,
    },
    /// A packet's bytes are to be kept.
    Blob {
        /// Its digest.
        packet: Digest,
        /// The bytes.
        bytes: Arc<Vec<u8>>,
    },
    /// A packet's bytes are to be erased.
    Drop {
        /// Its digest.
        packet: Digest,
    },
    /// The log has new entries: those of one turn.
    Entries {
        /// Position of the first.
        first: u64,
        /// Their bytes, in order.
        entries: Vec<Vec<u8>>,
    },
    /// A turn's entries all stand in bundle files, and their row may go.
    Published {
        /// Position of the first.
        first: u64,
    },
    /// The log has a new head.
    Head(Head),
    /// A signed checkpoint is to be kept for receipts.
    Note {
        /// The position after its last entry.
        end: u64,
        /// The note.
        note: Arc<Vec<u8>>,
        /// Until when it is needed.
        keep_until: Timestamp,
    },
    /// A partner is to be told something.
    Notice {
        /// Who.
        to: Oin,
        /// Index of the first entry it is about.
        first: u64,
        /// What.
        row: Arc<NoticeRow>,
    },
    /// It was told, or there is no use in telling it any more.
    NoticeGone {
        /// Who.
        to: Oin,
        /// Index of the first entry it is about.
        first: u64,
    },
    /// A packet ended at a recipient.
    End {
        /// Where.
        recipient: Oin,
        /// Its accepted entry's index.
        index: u64,
        /// How.
        end: End,
    },
    /// How a packet ended need not be remembered any more.
    ForgetEnd {
        /// Where.
        recipient: Oin,
        /// Its accepted entry's index.
        index: u64,
    },
    /// A signed checkpoint is no longer needed.
    ForgetNote {
        /// The position after its last entry.
        end: u64,
    },
    /// A log is as given.
    Shard {
        /// Its number, from 0.
        number: u32,
        /// The log.
        shard: Shard,
    },
    /// The texts of a log's first entries are to be removed.
    Purged {
        /// The log's number.
        log: u32,
        /// How many.
        entries: u64,
    },
    /// Leave to read entries is as given.
    Grant {
        /// Its number, from 0.
        number: u32,
        /// What it is.
        grant: Grant,
    },
    /// A checkpoint was cosigned as a covenant asks, and none larger was.
    Witnessed {
        /// The covenant.
        covenant: Digest,
        /// The origin of the log.
        origin: String,
        /// The checkpoint.
        row: Box<WitnessedRow>,
    },
    /// The same, the first of a day: kept as history.
    WitnessedDay {
        /// The covenant.
        covenant: Digest,
        /// The origin of the log.
        origin: String,
        /// Days since 1970-01-01.
        day: u32,
        /// The checkpoint.
        row: Box<WitnessedRow>,
    },
}

/// A checkpoint that was cosigned as a covenant asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct WitnessedRow {
    /// The size of its tree.
    pub size: u64,
    /// When the broker had the last cosignature that was needed.
    pub reached: Timestamp,
    /// The checkpoint with the lines of log and witnesses (C2SP signed note).
    pub note: Bytes,
}

/// A change as a store makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The row has this value.
    Put {
        /// Table number.
        table: u8,
        /// Key.
        key: Vec<u8>,
        /// Value.
        value: Vec<u8>,
    },
    /// The row is gone.
    Delete {
        /// Table number.
        table: u8,
        /// Key.
        key: Vec<u8>,
    },
    /// These bytes are kept under this name.
    Keep {
        /// Name.
        blob: [u8; 32],
        /// Bytes.
        bytes: Arc<Vec<u8>>,
    },
    /// The bytes of this name are erased.
    Erase {
        /// Name.
        blob: [u8; 32],
    },
}

#[derive(Serialize_tuple, Deserialize_tuple)]
struct PartnerRow {
    name: String,
    key: Bytes,
    added: Timestamp,
    revoked: Option<Timestamp>,
}

fn put(table: Table, key: Vec<u8>, value: Vec<u8>) -> Change {
    Change::Put { table: table.number(), key, value }
}

fn delete(table: Table, key: Vec<u8>) -> Change {
    Change::Delete { table: table.number(), key }
}

fn pair(oin: &Oin, rest: &[u8]) -> Vec<u8> {
    [oin.as_str().as_bytes(), rest].concat()
}

impl Write {
    /// The change of rows or blobs this is kept as.
    #[expect(clippy::too_many_lines, reason = "an arm for each write")]
    pub fn change(self) -> Change {
        match self {
            Self::Partner { oin, partner } => {
                let row = PartnerRow {
                    name: partner.name,
                    key: Bytes(partner.key.to_bytes().to_vec()),
                    added: partner.added,
                    revoked: partner.revoked,
                };
                put(Table::Partners, pair(&oin, &[]), cbor::encode(&row))
            }
            Self::Covenant { hash, bytes, proposer } => {
                put(Table::Covenants, hash.0.to_vec(), cbor::encode(&(proposer, Bytes(bytes))))
            }
            Self::Vote { hash, number, cast } => {
                put(Table::Votes, [&hash.0[..], &number.to_be_bytes()].concat(), cbor::encode(&cast))
            }
            Self::Rotation { party, number, rotated } => {
                put(Table::Rotations, pair(&party, &number.to_be_bytes()), cbor::encode(&rotated))
            }
            Self::Decision { case, seq, decided } => {
                put(Table::Cases, [&case.0[..], &seq.to_be_bytes()].concat(), cbor::encode(&decided))
            }
            Self::Lapsed { cause, end } => put(Table::Lapses, cause.to_key(), cbor::encode(&end)),
            Self::Prekeys { oin, seq, bytes } => {
                put(Table::Prekeys, pair(&oin, &[]), cbor::encode(&(seq, Bytes(bytes))))
            }
            Self::Outcomes { first, keep_until, outcomes } => {
                put(Table::Outcomes, first.to_be_bytes().to_vec(), cbor::encode(&(keep_until, outcomes)))
            }
            Self::Forget { first } => delete(Table::Outcomes, first.to_be_bytes().to_vec()),
            Self::Deposit { recipient, item } => {
                put(Table::Mail, pair(&recipient, &item.index.to_be_bytes()), cbor::encode(&item))
            }
            Self::Remove { recipient, index } => delete(Table::Mail, pair(&recipient, &index.to_be_bytes())),
            Self::Blob { packet, bytes } => Change::Keep { blob: packet.0, bytes },
            Self::Drop { packet } => Change::Erase { blob: packet.0 },
            Self::Entries { first, entries } => {
                let entries: Vec<Bytes> = entries.into_iter().map(Bytes).collect();
                put(Table::Entries, first.to_be_bytes().to_vec(), cbor::encode(&entries))
            }
            Self::Published { first } => delete(Table::Entries, first.to_be_bytes().to_vec()),
            Self::Head(head) => put(Table::Head, Vec::new(), cbor::encode(&head)),
            Self::Shard { number, shard } => {
                put(Table::Shards, number.to_be_bytes().to_vec(), cbor::encode(&shard))
            }
            Self::Notice { to, first, row } => {
                put(Table::Notices, pair(&to, &first.to_be_bytes()), cbor::encode(&*row))
            }
            Self::NoticeGone { to, first } => delete(Table::Notices, pair(&to, &first.to_be_bytes())),
            Self::End { recipient, index, end } => {
                put(Table::Ends, pair(&recipient, &index.to_be_bytes()), cbor::encode(&end))
            }
            Self::ForgetEnd { recipient, index } => {
                delete(Table::Ends, pair(&recipient, &index.to_be_bytes()))
            }
            Self::Witnessed { covenant, origin, row } => {
                put(Table::Witnessed, [&covenant.0[..], origin.as_bytes()].concat(), cbor::encode(&*row))
            }
            Self::WitnessedDay { covenant, origin, day, row } => {
                let key = [&covenant.0[..], &day.to_be_bytes(), origin.as_bytes()].concat();
                put(Table::WitnessedDays, key, cbor::encode(&*row))
            }
            Self::Purged { log, entries } => {
                put(Table::Purged, log.to_be_bytes().to_vec(), cbor::encode(&entries))
            }
            Self::Grant { number, grant } => {
                put(Table::Grants, number.to_be_bytes().to_vec(), cbor::encode(&grant))
            }
            Self::Note { end, note, keep_until } => {
                let value = cbor::encode(&(Bytes(note.to_vec()), keep_until));
                put(Table::Notes, end.to_be_bytes().to_vec(), value)
            }
            Self::ForgetNote { end } => delete(Table::Notes, end.to_be_bytes().to_vec()),
        }
    }

    /// Reads a row back into the write that made it; `None` for a row no write makes.
    #[expect(clippy::too_many_lines, reason = "an arm for each table")]
    pub fn from_row(table: Table, key: &[u8], value: &[u8]) -> Option<Self> {
        let limit = value.len();
        let (oin, rest) = split(key);
        match table {
            Table::Partners => {
                let row: PartnerRow = cbor::strict(value, limit).ok()?;
                let key = PublicKey::from_bytes(&<[u8; 32]>::try_from(&row.key[..]).ok()?)?;
                let partner = Partner { name: row.name, key, added: row.added, revoked: row.revoked };
                Some(Self::Partner { oin: oin?, partner })
            }
            Table::Covenants => {
                let (proposer, bytes): (Option<Oin>, Bytes) = cbor::strict(value, limit).ok()?;
                Some(Self::Covenant { hash: Digest::from_slice(key)?, bytes: bytes.0, proposer })
            }
            Table::Votes => {
                let (hash, number) = key.split_at_checked(32)?;
                let number = number.try_into().ok().map(u32::from_be_bytes)?;
                let cast = cbor::strict(value, limit).ok()?;
                Some(Self::Vote { hash: Digest::from_slice(hash)?, number, cast })
            }
            Table::Rotations => {
                let number = rest.try_into().ok().map(u32::from_be_bytes)?;
                let rotated = cbor::strict(value, limit).ok()?;
                Some(Self::Rotation { party: oin?, number, rotated })
            }
            Table::Cases => {
                let (case, seq) = key.split_at_checked(16)?;
                let seq = seq.try_into().ok().map(u32::from_be_bytes)?;
                let decided = cbor::strict(value, limit).ok()?;
                Some(Self::Decision { case: CaseId::from_slice(case)?, seq, decided })
            }
            Table::Lapses => {
                let end = cbor::strict(value, limit).ok()?;
                Some(Self::Lapsed { cause: Cause::from_key(key)?, end })
            }
            Table::Prekeys => {
                let (seq, bytes): (u64, Bytes) = cbor::strict(value, limit).ok()?;
                Some(Self::Prekeys { oin: oin?, seq, bytes: bytes.0 })
            }
            Table::Outcomes => {
                let (keep_until, outcomes): (Timestamp, Vec<Outcome>) = cbor::strict(value, limit).ok()?;
                (!outcomes.is_empty()).then_some(Self::Outcomes { first: number(key)?, keep_until, outcomes })
            }
            Table::Mail => {
                let item: MailItem = cbor::strict(value, limit).ok()?;
                (number(rest)? == item.index).then_some(Self::Deposit { recipient: oin?, item })
            }
            Table::Notices => {
                let row: NoticeRow = cbor::strict(value, limit).ok()?;
                let first = number(rest)?;
                let same = row.positions.first() == Some(&first);
                same.then(|| Some(Self::Notice { to: oin?, first, row: Arc::new(row) }))?
            }
            Table::Ends => {
                let end = cbor::strict(value, limit).ok()?;
                Some(Self::End { recipient: oin?, index: number(rest)?, end })
            }
            Table::Entries => {
                let entries: Vec<Bytes> = cbor::strict(value, limit).ok()?;
                let entries: Vec<Vec<u8>> = entries.into_iter().map(|entry| entry.0).collect();
                (!entries.is_empty()).then_some(Self::Entries { first: number(key)?, entries })
            }
            Table::Head => key.is_empty().then(|| cbor::strict(value, limit).ok().map(Self::Head))?,
            Table::Notes => {
                let (note, keep_until): (Bytes, Timestamp) = cbor::strict(value, limit).ok()?;
                Some(Self::Note { end: number(key)?, note: Arc::new(note.0), keep_until })
            }
            Table::Shards => {
                Some(Self::Shard { number: small(key)?, shard: cbor::strict(value, limit).ok()? })
            }
            Table::Purged => {
                Some(Self::Purged { log: small(key)?, entries: cbor::strict(value, limit).ok()? })
            }
            Table::Grants => {
                Some(Self::Grant { number: small(key)?, grant: cbor::strict(value, limit).ok()? })
            }
            Table::Witnessed => {
                let (covenant, origin) = key.split_at_checked(32)?;
                let origin = String::from_utf8(origin.to_vec()).ok()?;
                let row = Box::new(cbor::strict(value, limit).ok()?);
                Some(Self::Witnessed { covenant: Digest::from_slice(covenant)?, origin, row })
            }
            Table::WitnessedDays => {
                let (covenant, rest) = key.split_at_checked(32)?;
                let (day, origin) = rest.split_first_chunk()?;
                let (day, origin) = (u32::from_be_bytes(*day), String::from_utf8(origin.to_vec()).ok()?);
                let row = Box::new(cbor::strict(value, limit).ok()?);
                Some(Self::WitnessedDay { covenant: Digest::from_slice(covenant)?, origin, day, row })
            }
        }
    }
}

fn split(key: &[u8]) -> (Option<Oin>, &[u8]) {
    match key.split_at_checked(20) {
        Some((oin, rest)) => (core::str::from_utf8(oin).ok().and_then(|text| text.parse().ok()), rest),
        None => (None, &[]),
    }
}

fn small(key: &[u8]) -> Option<u32> {
    key.try_into().ok().map(u32::from_be_bytes)
}

fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::Closing;
    use seinhuis_shared::signing::SigningKey;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a write for each table")]
    fn every_row_reads_back_into_its_write() {
        let oin: Oin = "00000001003214345000".parse().unwrap();
        let key = SigningKey::from_seed(&[1; 32]).public();
        let partner =
            Partner { name: "Politie".into(), key, added: Timestamp(1), revoked: Some(Timestamp(2)) };
        let item = MailItem {
            index: 7,
            leaf: Digest([6; 32]),
            msg_id: MsgId([1; 16]),
            packet: Digest([2; 32]),
            size: 3,
            from: oin,
            covenant: Digest([3; 32]),
            flow: "F01".into(),
            case: None,
            expires: Timestamp(9),
        };
        let outcome = Outcome {
            sender: oin,
            msg_id: MsgId([1; 16]),
            packet: Digest([2; 32]),
            outcome: 0,
            first: 7,
            count: 1,
        };
        let head =
            Head { size: 8, root: Digest([4; 32]), time: Timestamp(5), note: Bytes::from(&b"note"[..]) };
        let lapsed = |cause| Write::Lapsed { cause, end: 12 };
        for (table, write) in [
            (Table::Partners, Write::Partner { oin, partner }),
            (
                Table::Covenants,
                Write::Covenant { hash: Digest([3; 32]), bytes: vec![1], proposer: Some(oin) },
            ),
            (
                Table::Votes,
                Write::Vote {
                    hash: Digest([3; 32]),
                    number: 2,
                    cast: Cast { vote: Bytes(vec![1]), at: Timestamp(4) },
                },
            ),
            (
                Table::Cases,
                Write::Decision {
                    case: CaseId([8; 16]),
                    seq: 2,
                    decided: Decided { decision: Bytes(vec![1]), at: Timestamp(4) },
                },
            ),
            (Table::Lapses, lapsed(Cause::Withdrawn { covenant: Digest([3; 32]), party: oin })),
            (Table::Lapses, lapsed(Cause::RanOut { covenant: Digest([3; 32]) })),
            (Table::Lapses, lapsed(Cause::Revoked { partner: oin })),
            (Table::Prekeys, Write::Prekeys { oin, seq: 3, bytes: vec![1, 2] }),
            (
                Table::Outcomes,
                Write::Outcomes { first: 7, keep_until: Timestamp(9), outcomes: vec![outcome] },
            ),
            (Table::Mail, Write::Deposit { recipient: oin, item }),
            (Table::Entries, Write::Entries { first: 7, entries: vec![vec![3], vec![]] }),
            (Table::Head, Write::Head(head)),
            (
                Table::Witnessed,
                Write::Witnessed {
                    covenant: Digest([3; 32]),
                    origin: "broker.example/log".into(),
                    row: Box::new(WitnessedRow { size: 8, reached: Timestamp(5), note: Bytes(vec![1]) }),
                },
            ),
            (
                Table::WitnessedDays,
                Write::WitnessedDay {
                    covenant: Digest([3; 32]),
                    origin: "broker.example/log".into(),
                    day: 20_000,
                    row: Box::new(WitnessedRow { size: 8, reached: Timestamp(5), note: Bytes(vec![1]) }),
                },
            ),
            (Table::Notes, Write::Note { end: 8, note: Arc::new(vec![4]), keep_until: Timestamp(6) }),
        ] {
            let Change::Put { table: number, key, value } = write.clone().change() else {
                panic!("{table:?} is a row");
            };
            assert_eq!(number, table.number());
            assert_eq!(Write::from_row(table, &key, &value), Some(write));
            assert_eq!(Write::from_row(table, b"short", &[0xff]), None, "{table:?}");
        }
    }

    #[test]
    fn what_the_log_is_over_the_years_reads_back_into_its_writes() {
        let closing = Closing {
            size: 8,
            root: Digest([4; 32]),
            receipt: Bytes(vec![1]),
            next: "broker.example/2027".into(),
            by_hand: false,
        };
        let shard = Shard {
            origin: "broker.example/2026".into(),
            base: 7,
            opening: Bytes(vec![2]),
            closing: Some(closing),
        };
        let grant = Grant {
            token: Digest([1; 32]),
            purpose: Digest([2; 32]),
            at: Timestamp(1),
            until: Timestamp(2),
            ended: Some(Timestamp(1)),
        };
        for (table, write) in [
            (Table::Shards, Write::Shard { number: 3, shard }),
            (Table::Purged, Write::Purged { log: 1, entries: 512 }),
            (Table::Grants, Write::Grant { number: 2, grant }),
        ] {
            let Change::Put { table: number, key, value } = write.clone().change() else {
                panic!("{table:?} is a row");
            };
            assert_eq!(number, table.number());
            assert_eq!(Write::from_row(table, &key, &value), Some(write));
            assert_eq!(Write::from_row(table, b"short", &value), None, "{table:?}");
        }
    }

    #[test]
    fn a_rotation_reads_back_into_its_write() {
        let rotated = Rotated { rotation: Bytes(vec![1]), at: Timestamp(4) };
        let write = Write::Rotation { party: "00000001003214345000".parse().unwrap(), number: 1, rotated };
        let Change::Put { table, key, value } = write.clone().change() else { panic!("it is a row") };
        assert_eq!(table, Table::Rotations.number());
        assert_eq!(Write::from_row(Table::Rotations, &key, &value), Some(write));
        assert_eq!(Write::from_row(Table::Rotations, &key[..22], &value), None);
    }
}
