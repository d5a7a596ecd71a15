//! The rows that state changes are kept as, and back.

use std::sync::Arc;

use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::ids::{CaseId, Digest, Oin};
use seinhuis_shared::signing::PublicKey;
use seinhuis_shared::time::Timestamp;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::{Outcome, Table, Write};
use crate::directory::Partner;
use crate::in_flight::Cause;
use crate::mailbox::MailItem;
use crate::notices::NoticeRow;
use crate::suspension::Suspendable;

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
            Self::Suspended { what, at } => put(Table::Suspended, what.to_key(), cbor::encode(&at)),
            Self::Resumed { what } => delete(Table::Suspended, what.to_key()),
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
            Table::Suspended => {
                let at = cbor::strict(value, limit).ok()?;
                Some(Self::Suspended { what: Suspendable::from_key(key)?, at })
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
