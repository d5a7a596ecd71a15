//! Mailboxes: what waits for each recipient, in the order of acceptance.

use std::collections::BTreeMap;

use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::time::Timestamp;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// One packet waiting for one recipient. Named by the position of its *accepted* entry in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct MailItem {
    /// Position of the entry that says it was accepted for this recipient.
    pub index: u64,
    /// The hash of that entry, as a leaf of the log.
    pub leaf: Digest,
    /// The message.
    pub msg_id: MsgId,
    /// The packet's digest, by which its bytes are found.
    pub packet: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The sender.
    pub from: Oin,
    /// The covenant version it was admitted under.
    pub covenant: Digest,
    /// The flow it was admitted by.
    pub flow: String,
    /// The case, if it names one.
    pub case: Option<CaseId>,
    /// When its validity ends.
    pub expires: Timestamp,
}

/// What waits for one recipient.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    items: BTreeMap<u64, MailItem>,
    by_packet: BTreeMap<Digest, u64>,
    /// How many came under which covenant from whom: what they rest on.
    grounds: BTreeMap<(Digest, Oin), usize>,
    bytes: u64,
}

impl Mailbox {
    pub(crate) fn deposit(&mut self, item: MailItem) {
        self.bytes = self.bytes.saturating_add(item.size);
        self.by_packet.insert(item.packet, item.index);
        let count = self.grounds.entry((item.covenant, item.from)).or_default();
        *count = count.saturating_add(1);
        self.items.insert(item.index, item);
    }

    pub(crate) fn remove(&mut self, index: u64) -> Option<MailItem> {
        let item = self.items.remove(&index)?;
        self.by_packet.remove(&item.packet);
        let ground = (item.covenant, item.from);
        if let Some(count) = self.grounds.get_mut(&ground) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.grounds.remove(&ground);
            }
        }
        self.bytes = self.bytes.saturating_sub(item.size);
        Some(item)
    }

    pub(crate) fn find(&self, packet: &Digest) -> Option<&MailItem> {
        self.items.get(self.by_packet.get(packet)?)
    }

    pub(crate) fn get(&self, index: u64) -> Option<&MailItem> {
        self.items.get(&index)
    }

    /// The first item at or after `index`.
    pub(crate) fn from(&self, index: u64) -> Option<&MailItem> {
        self.all_from(index).next()
    }

    /// The items at or after `index`, in order.
    pub(crate) fn all_from(&self, index: u64) -> impl Iterator<Item = &MailItem> {
        self.items.range(index..).map(|(_, item)| item)
    }

    /// Covenant and sender of what waits, with the number of packets.
    pub(crate) fn grounds(&self) -> impl Iterator<Item = (&Digest, &Oin, usize)> {
        self.grounds.iter().map(|((covenant, from), count)| (covenant, from, *count))
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }
}
