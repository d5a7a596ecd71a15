//! Mailboxes: what waits for each recipient, in the order of acceptance.

use std::collections::{BTreeMap, BTreeSet};

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

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// What a mailbox holds at most, and how that is divided: one half goes to whoever comes first, the other half is kept
/// in equal parts for each who may send. So nobody can fill a mailbox for the others, and each has its part whatever
/// the others do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    most: Amount,
    /// What is kept for each.
    kept: Amount,
    senders: u64,
}

impl Limits {
    /// For a mailbox that holds `most`, of packets of so many `senders`.
    pub(crate) fn new(most: Amount, senders: usize) -> Self {
        let senders = u64::try_from(senders).unwrap_or(u64::MAX).max(1);
        let part = |whole: u64| (whole / 2).checked_div(senders).unwrap_or_default();
        Self { most, kept: Amount { packets: part(most.packets), bytes: part(most.bytes) }, senders }
    }
}

/// What waits for one recipient.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    items: BTreeMap<u64, MailItem>,
    by_packet: BTreeMap<Digest, u64>,
    /// Which came under which covenant from whom: what they rest on.
    grounds: BTreeMap<(Digest, Oin), BTreeSet<u64>>,
    /// What waits of each sender.
    by_sender: BTreeMap<Oin, Amount>,
    bytes: u64,
}

impl Mailbox {
    pub(crate) fn deposit(&mut self, item: MailItem) {
        self.bytes = self.bytes.saturating_add(item.size);
        self.by_packet.insert(item.packet, item.index);
        self.grounds.entry((item.covenant, item.from)).or_default().insert(item.index);
        let own = self.by_sender.entry(item.from).or_default();
        own.packets = own.packets.saturating_add(1);
        own.bytes = own.bytes.saturating_add(item.size);
        self.items.insert(item.index, item);
    }

    pub(crate) fn remove(&mut self, index: u64) -> Option<MailItem> {
        let item = self.items.remove(&index)?;
        self.by_packet.remove(&item.packet);
        let ground = (item.covenant, item.from);
        if let Some(all) = self.grounds.get_mut(&ground) {
            all.remove(&index);
            if all.is_empty() {
                self.grounds.remove(&ground);
            }
        }
        self.bytes = self.bytes.saturating_sub(item.size);
        if let Some(own) = self.by_sender.get_mut(&item.from) {
            own.packets = own.packets.saturating_sub(1);
            own.bytes = own.bytes.saturating_sub(item.size);
            if own.packets == 0 {
                self.by_sender.remove(&item.from);
            }
        }
        Some(item)
    }

    /// Whether a packet of `size` bytes fits beside what waits and what is kept for others than its sender.
    pub(crate) fn has_room(&self, from: &Oin, size: u64, limits: &Limits) -> bool {
        let kept = |part: u64, of: fn(&Amount) -> u64| {
            let others = self.by_sender.iter().filter(|(oin, _)| *oin != from);
            let taken = others.fold(0_u64, |sum, (_, amount)| sum.saturating_add(of(amount).min(part)));
            limits.senders.saturating_sub(1).saturating_mul(part).saturating_sub(taken)
        };
        let waiting = u64::try_from(self.items.len()).unwrap_or(u64::MAX);
        let packets = waiting.saturating_add(1).saturating_add(kept(limits.kept.packets, |one| one.packets));
        let bytes = self.bytes.saturating_add(size).saturating_add(kept(limits.kept.bytes, |one| one.bytes));
        packets <= limits.most.packets && bytes <= limits.most.bytes
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

    /// Covenant and sender of what waits, with the packets.
    pub(crate) fn grounds(&self) -> impl Iterator<Item = (&Digest, &Oin, &BTreeSet<u64>)> {
        self.grounds.iter().map(|((covenant, from), all)| (covenant, from, all))
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: u64 = 240;

    fn sender(number: u8) -> Oin {
        format!("0000009900000000{number:04}").parse().unwrap()
    }

    fn item(index: u64, from: Oin, size: u64) -> MailItem {
        let mut packet = [0; 32];
        packet[..8].copy_from_slice(&index.to_be_bytes());
        MailItem {
            index,
            leaf: Digest([0; 32]),
            msg_id: MsgId([0; 16]),
            packet: Digest(packet),
            size,
            from,
            covenant: Digest([1; 32]),
            flow: "F01".into(),
            case: None,
            expires: Timestamp(0),
        }
    }

    /// Each in this order brings packets until one does not fit; what each has in the mailbox then.
    fn filled(order: &[u8], senders: usize, limits: &Limits, size: u64) -> Vec<u64> {
        let mut mailbox = Mailbox::default();
        let mut index = 0;
        for number in order {
            while mailbox.has_room(&sender(*number), size, limits) {
                mailbox.deposit(item(index, sender(*number), size));
                index += 1;
            }
        }
        (0..senders)
            .map(|number| {
                let own = sender(u8::try_from(number).unwrap());
                mailbox.by_sender.get(&own).map_or(0, |amount| amount.packets)
            })
            .collect()
    }

    #[test]
    fn a_sender_that_is_alone_has_it_all() {
        let limits = Limits::new(Amount { packets: MOST, bytes: u64::MAX }, 1);
        assert_eq!(filled(&[0], 1, &limits, 1), [MOST]);
    }

    #[test]
    fn who_comes_first_takes_its_part_and_half_and_no_more() {
        for limits in [
            Limits::new(Amount { packets: MOST, bytes: u64::MAX }, 4),
            Limits::new(Amount { packets: u64::MAX, bytes: 100 * MOST }, 4),
        ] {
            assert_eq!(filled(&[0], 1, &limits, 100), [MOST / 2 + MOST / 8]);
            assert_eq!(filled(&[0, 1, 2, 3], 4, &limits, 100), [150, 30, 30, 30]);
        }
    }

    #[test]
    fn what_is_taken_out_makes_room_again() {
        let limits = Limits::new(Amount { packets: 8, bytes: u64::MAX }, 2);
        let mut mailbox = Mailbox::default();
        let mut index = 0;
        while mailbox.has_room(&sender(0), 1, &limits) {
            mailbox.deposit(item(index, sender(0), 1));
            index += 1;
        }
        assert_eq!(index, 6);
        for gone in 0..6 {
            mailbox.remove(gone);
        }
        assert!(mailbox.by_sender.is_empty() && mailbox.has_room(&sender(0), 1, &limits));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whoever comes in whatever order: each gets at least its part, and the whole is never exceeded.
        #[test]
        fn each_of_many_senders_gets_at_least_its_part(
            senders in 1_usize..12,
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let limits = Limits::new(Amount { packets: MOST, bytes: u64::MAX }, senders);
            let number = |index: &prop::sample::Index| u8::try_from(index.index(senders)).unwrap();
            // The last come when all others took what they could get.
            let all = (0..senders).map(|number| u8::try_from(number).unwrap());
            let order: Vec<u8> = order.iter().map(number).chain(all).collect();
            let got = filled(&order, senders, &limits, 1);
            let part = MOST / 2 / u64::try_from(senders).unwrap();
            prop_assert!(got.iter().all(|own| *own >= part), "{got:?}");
            prop_assert!(got.iter().sum::<u64>() <= MOST);
        }
    }
}
