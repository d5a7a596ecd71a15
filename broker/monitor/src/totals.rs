//! Counts of one run of the broker.
//!
//! They begin at nothing at every start. A counter that began with what was before would seem to whoever computes rates
//! as if all that happened once more.

use std::collections::BTreeMap;

use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Oin;

use crate::board::{PacketsRow, Run};
use crate::tally::Seen;

/// What happened to the packets of one flow between two organisations.
#[derive(Debug, Clone, Default)]
struct Packets {
    /// By type of message.
    accepted: BTreeMap<String, u64>,
    stored: u64,
    quarantined: u64,
    expired: u64,
    withdrawn: u64,
    shredded: u64,
}

/// What one run counted out of the log. Flows and types are those of packets that were accepted, and so of covenants;
/// of what was refused only who sent it and why is kept.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    packets: BTreeMap<(Oin, Oin), BTreeMap<String, Packets>>,
    refusals: BTreeMap<(Option<Oin>, u16), u64>,
    kinds: BTreeMap<&'static str, u64>,
}

fn add(count: &mut u64) {
    *count = count.saturating_add(1);
}

impl Totals {
    /// Counts an entry.
    pub(crate) fn take(&mut self, entry: &Seen<'_>) {
        add(self.kinds.entry(entry.kind.as_str()).or_default());
        match entry.kind {
            Kind::Refused => {
                add(self.refusals.entry((entry.from, entry.reason.unwrap_or_default())).or_default());
            }
            Kind::Accepted => {
                let of = entry.message_type.unwrap_or_default().to_owned();
                self.packets(entry, |packets| packets.accepted.entry(of).or_default());
            }
            Kind::Delivered if entry.reason.is_none() => self.packets(entry, |packets| &mut packets.stored),
            Kind::Delivered => self.packets(entry, |packets| &mut packets.quarantined),
            Kind::Expired => self.packets(entry, |packets| &mut packets.expired),
            Kind::Withdrawn => self.packets(entry, |packets| &mut packets.withdrawn),
            Kind::Shredded => self.packets(entry, |packets| &mut packets.shredded),
            Kind::Consumed
            | Kind::Covenant
            | Kind::Case
            | Kind::Key
            | Kind::KeyRotated
            | Kind::Partner
            | Kind::Closing
            | Kind::Opening
            | Kind::Purged
            | Kind::Export
            | Kind::Operator
            | Kind::Start
            | Kind::Stop => {}
        }
    }

    /// Counts one of the packets that an entry is about.
    fn packets(&mut self, entry: &Seen<'_>, what: impl FnOnce(&mut Packets) -> &mut u64) {
        if let (Some(from), Some(to), Some(flow)) = (entry.from, entry.to, entry.flow) {
            let flows = self.packets.entry((from, to)).or_default();
            add(what(flows.entry(flow.to_owned()).or_default()));
        }
    }

    /// As a board shows it, which adds what is not in the log.
    pub fn run(&self) -> Run {
        let row = |from: Oin, to: Oin, flow: &str, packets: &Packets| PacketsRow {
            from,
            to,
            flow: flow.to_owned(),
            accepted: packets.accepted.iter().map(|(of, count)| (of.clone(), *count)).collect(),
            stored: packets.stored,
            quarantined: packets.quarantined,
            expired: packets.expired,
            withdrawn: packets.withdrawn,
            shredded: packets.shredded,
        };
        let flows = self.packets.iter().flat_map(|((from, to), flows)| {
            flows.iter().map(move |(flow, packets)| row(*from, *to, flow, packets))
        });
        Run {
            packets: flows.collect(),
            refusals: self.refusals.iter().map(|((from, reason), count)| (*from, *reason, *count)).collect(),
            kinds: self.kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            handshakes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use seinhuis_shared::entry::Entry;
    use seinhuis_shared::time::Timestamp;

    use super::*;
    use crate::tally::Tally;

    fn entry(kind: Kind) -> Entry {
        let mut entry = Entry::new(kind, Timestamp(1), [0; 16]);
        entry.from = "00000099000000002000".parse().ok();
        entry.to = "00000099000000001000".parse().ok();
        entry.flow = Some("F02".into());
        entry.message_type = (kind == Kind::Accepted).then(|| "signaal".into());
        entry
    }

    #[test]
    fn a_run_counts_what_happened_since_its_start_and_nothing_before() {
        let mut tally = Tally::from(3, 5);
        let mut bad = entry(Kind::Delivered);
        bad.reason = Some(418);
        let mut refused = entry(Kind::Refused);
        (refused.reason, refused.flow, refused.message_type) =
            (Some(404), Some("any text".into()), Some("any text".into()));
        tally.take(&Seen::from(&entry(Kind::Accepted)));
        tally.skip();
        assert_eq!(tally.totals().run(), Run::default());
        for one in [
            entry(Kind::Accepted),
            entry(Kind::Accepted),
            entry(Kind::Delivered),
            bad,
            entry(Kind::Expired),
            entry(Kind::Withdrawn),
            entry(Kind::Shredded),
            refused.clone(),
            refused,
            Entry::new(Kind::Start, Timestamp(2), [0; 16]),
        ] {
            tally.take(&Seen::from(&one));
        }
        let run = tally.totals().run();
        let [row] = run.packets.as_slice() else { panic!("{:?}", run.packets) };
        assert_eq!((row.flow.as_str(), row.accepted.as_slice()), ("F02", [("signaal".into(), 2)].as_slice()));
        assert_eq!((row.stored, row.quarantined), (1, 1));
        assert_eq!((row.expired, row.withdrawn, row.shredded), (1, 1, 1));
        assert_eq!(run.refusals, [(entry(Kind::Refused).from, 404, 2)]);
        let starts = run.kinds.iter().find(|(kind, _)| kind == "start").map(|(_, count)| *count);
        assert_eq!(starts, Some(1));
        assert_eq!(tally.lanes().next().unwrap().3.accepted, 3, "the others count from before the start");
    }
}
