//! Counts out of the entries of the exchange log.

use std::collections::{BTreeMap, VecDeque};

use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::series::Series;
use crate::totals::Totals;

/// Most acts that are kept; older ones are in the log.
const ACTS_MAX: usize = 500;
/// Most pairs of organisations whose refusals are counted apart: whom a refused packet names may be anybody.
const PAIRS_MAX: usize = 65_536;
/// How long one step of [`Recent`] lasts.
const STEP: u64 = Span::minutes(5).0;
/// How many steps: an hour.
const STEPS: usize = 12;

/// What is counted of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its time.
    pub at: Timestamp,
    /// Its sender.
    pub from: Option<Oin>,
    /// Its recipient.
    pub to: Option<Oin>,
    /// The organisation it is about.
    pub subject: Option<Oin>,
    /// Its flow.
    pub flow: Option<&'a str>,
    /// Its type of message.
    pub message_type: Option<&'a str>,
    /// Its step.
    pub step: Option<&'a str>,
    /// Its detail.
    pub detail: Option<&'a str>,
    /// The number of its refusal.
    pub reason: Option<u16>,
}

impl<'a> From<&'a Entry> for Seen<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            kind: entry.kind,
            at: entry.time,
            from: entry.from,
            to: entry.to,
            subject: entry.subject,
            flow: entry.flow.as_deref(),
            message_type: entry.message_type.as_deref(),
            step: entry.step.as_deref(),
            detail: entry.detail.as_deref(),
            reason: entry.reason,
        }
    }
}

/// Where in the logs something stands, and when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The position of the entry through all logs.
    pub position: u64,
    /// Its time.
    pub at: Timestamp,
}

/// How many there were in the last hour, in steps of five minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recent {
    newest: u64,
    steps: [u32; STEPS],
}

impl Recent {
    fn count(&mut self, at: Timestamp) {
        let step = at.0 / STEP;
        let steps = u64::try_from(STEPS).unwrap_or(u64::MAX);
        for passed in self.newest.saturating_add(1).max(step.saturating_sub(steps.saturating_sub(1)))..=step {
            if let Some(one) = self.place(passed) {
                *one = 0;
            }
        }
        self.newest = self.newest.max(step);
        if self.newest.saturating_sub(step) < steps
            && let Some(one) = self.place(step)
        {
            *one = one.saturating_add(1);
        }
    }

    fn place(&mut self, step: u64) -> Option<&mut u32> {
        let steps = u64::try_from(STEPS).unwrap_or(u64::MAX);
        self.steps.get_mut(usize::try_from(step.checked_rem(steps)?).ok()?)
    }

    /// How many there were in the last hour, to five minutes.
    pub fn hour(&self, now: Timestamp) -> u32 {
        let (step, steps) = (now.0 / STEP, u64::try_from(STEPS).unwrap_or(u64::MAX));
        let passed = usize::try_from(step.saturating_sub(self.newest)).unwrap_or(STEPS).min(STEPS);
        // Those after the newest one held what was an hour before.
        let old = (1..=passed).filter_map(|after| {
            let step = self.newest.saturating_add(u64::try_from(after).ok()?);
            self.steps.get(usize::try_from(step.checked_rem(steps)?).ok()?)
        });
        let all = self.steps.iter().fold(0_u32, |sum, count| sum.saturating_add(*count));
        old.fold(all, |sum, count| sum.saturating_sub(*count))
    }
}

/// What went over one flow from one organisation to another.
#[derive(Debug, Clone, Default)]
pub struct Lane {
    /// The type of the newest message.
    pub message_type: String,
    /// The step of the newest message.
    pub step: String,
    /// Packets accepted.
    pub accepted: u64,
    /// Packets that the recipient stored.
    pub stored: u64,
    /// Packets that the recipient acknowledged and could not take in.
    pub quarantined: u64,
    /// Packets that ended before the recipient had them.
    pub ended: u64,
    /// The last one accepted.
    pub last_accepted: Option<Place>,
    /// The last one acknowledged.
    pub last_delivered: Option<Place>,
    /// Accepted in the last hour.
    pub recent: Recent,
}

/// Refusals of one kind.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    /// How many.
    pub count: u64,
    /// The last one.
    pub last: Option<Place>,
    /// Those of the last hour.
    pub recent: Recent,
}

impl Refusals {
    fn add(&mut self, place: Place) {
        self.count = self.count.saturating_add(1);
        self.last = Some(place);
        self.recent.count(place.at);
    }
}

/// An entry about the broker itself, its partners or its covenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// Where it stands.
    pub place: Place,
    /// Its kind, as in the log.
    pub kind: String,
    /// Its detail, as in the log.
    pub detail: String,
    /// The organisation it is about.
    pub subject: Option<Oin>,
    /// The flow it is about.
    pub flow: Option<String>,
}

/// The flows between two organisations.
type Lanes = BTreeMap<(Oin, Oin), BTreeMap<String, Lane>>;

/// Everything that is counted. Entries have to come in the order of the log.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// From when on: the first entry that was counted.
    since: Option<Timestamp>,
    /// The position of the next entry.
    next: u64,
    /// The time of the last entry.
    last: Timestamp,
    series: Series,
    lanes: Lanes,
    /// By who sent it, and the reason's number.
    refusals: BTreeMap<(Option<Oin>, u16), Refusals>,
    /// By who sent it, and whom it was for.
    refused: BTreeMap<(Oin, Oin), Refusals>,
    acts: VecDeque<Act>,
    /// Entries by kind.
    kinds: BTreeMap<&'static str, u64>,
    /// The position from which on [`Totals`] count.
    started: u64,
    totals: Totals,
}

impl Tally {
    /// Begins at a position: what stands before it is not counted. At `started` the run began of which there are
    /// [`Totals`].
    pub fn from(position: u64, started: u64) -> Self {
        Self { next: position, started, ..Self::default() }
    }

    /// The position of the entry that has to come next.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// From when on there are counts; none before the first entry.
    pub const fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// The time of the last entry.
    pub const fn last(&self) -> Timestamp {
        self.last
    }

    /// By minute.
    pub const fn series(&self) -> &Series {
        &self.series
    }

    /// Every lane: from whom, to whom, over which flow.
    pub fn lanes(&self) -> impl Iterator<Item = (Oin, Oin, &str, &Lane)> {
        let pairs = self.lanes.iter();
        pairs.flat_map(|((from, to), flows)| {
            flows.iter().map(|(flow, lane)| (*from, *to, flow.as_str(), lane))
        })
    }

    /// Refusals by sender and reason; of some the sender is not known.
    pub fn refusals(&self) -> impl Iterator<Item = (Option<Oin>, u16, &Refusals)> {
        self.refusals.iter().map(|((from, reason), all)| (*from, *reason, all))
    }

    /// Refusals by sender and recipient, of packets that name one recipient.
    pub fn refused(&self) -> impl Iterator<Item = (Oin, Oin, &Refusals)> {
        self.refused.iter().map(|((from, to), all)| (*from, *to, all))
    }

    /// The last acts, the newest first.
    pub fn acts(&self) -> impl Iterator<Item = &Act> {
        self.acts.iter().rev()
    }

    /// How many entries there are of each kind.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.kinds.iter().map(|(kind, count)| (*kind, *count))
    }

    /// What was counted of this run.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Passes over an entry whose text is not there any more.
    pub fn skip(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    /// Counts the next entry.
    pub fn take(&mut self, entry: &Seen<'_>) {
        let place = Place { position: self.next, at: entry.at };
        self.skip();
        self.since.get_or_insert(entry.at);
        self.last = self.last.max(entry.at);
        let count = self.kinds.entry(entry.kind.as_str()).or_default();
        *count = count.saturating_add(1);
        if place.position >= self.started {
            self.totals.take(entry);
        }
        match entry.kind {
            Kind::Accepted => self.accepted(entry, place),
            Kind::Refused => self.refuse(entry, place),
            Kind::Delivered => self.delivered(entry, place),
            Kind::Expired | Kind::Shredded | Kind::Withdrawn => {
                if let Some(minute) = self.series.at(place.at) {
                    minute.ended = minute.ended.saturating_add(1);
                }
                if let Some(lane) = self.lane(entry) {
                    lane.ended = lane.ended.saturating_add(1);
                }
            }
            // Sealed words of partners, and what a case is in: nothing that flows.
            Kind::Consumed | Kind::Case | Kind::Key => {}
            Kind::Covenant
            | Kind::KeyRotated
            | Kind::Partner
            | Kind::Closing
            | Kind::Opening
            | Kind::Purged
            | Kind::Export
            | Kind::Operator
            | Kind::Start
            | Kind::Stop => self.act(entry, place),
        }
    }

    fn accepted(&mut self, entry: &Seen<'_>, place: Place) {
        if let Some(minute) = self.series.at(place.at) {
            minute.accepted = minute.accepted.saturating_add(1);
        }
        let Some(lane) = self.lane(entry) else { return };
        lane.accepted = lane.accepted.saturating_add(1);
        lane.last_accepted = Some(place);
        lane.recent.count(place.at);
        let newest = |text: &mut String, own: Option<&str>| {
            let own = own.unwrap_or_default();
            if text != own {
                own.clone_into(text);
            }
        };
        newest(&mut lane.message_type, entry.message_type);
        newest(&mut lane.step, entry.step);
    }

    fn delivered(&mut self, entry: &Seen<'_>, place: Place) {
        if let Some(minute) = self.series.at(place.at) {
            minute.delivered = minute.delivered.saturating_add(1);
        }
        let good = entry.reason.is_none();
        let Some(lane) = self.lane(entry) else { return };
        let count = if good { &mut lane.stored } else { &mut lane.quarantined };
        *count = count.saturating_add(1);
        lane.last_delivered = Some(place);
    }

    fn refuse(&mut self, entry: &Seen<'_>, place: Place) {
        if let Some(minute) = self.series.at(place.at) {
            minute.refused = minute.refused.saturating_add(1);
        }
        let reason = entry.reason.unwrap_or_default();
        self.refusals.entry((entry.from, reason)).or_default().add(place);
        if let (Some(from), Some(to)) = (entry.from, entry.to)
            && (self.refused.len() < PAIRS_MAX || self.refused.contains_key(&(from, to)))
        {
            self.refused.entry((from, to)).or_default().add(place);
        }
    }

    fn act(&mut self, entry: &Seen<'_>, place: Place) {
        let detail = entry.detail.unwrap_or_default().to_owned();
        let (kind, flow) = (entry.kind.to_string(), entry.flow.map(str::to_owned));
        self.acts.push_back(Act { place, kind, detail, subject: entry.subject, flow });
        if self.acts.len() > ACTS_MAX {
            self.acts.pop_front();
        }
    }

    /// The lane of an entry about an accepted packet. Flows are those of covenants, so there are so many and no more.
    fn lane(&mut self, entry: &Seen<'_>) -> Option<&mut Lane> {
        let flows = self.lanes.entry((entry.from?, entry.to?)).or_default();
        let flow = entry.flow?;
        if !flows.contains_key(flow) {
            flows.insert(flow.to_owned(), Lane::default());
        }
        flows.get_mut(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICE: &str = "00000099000000002000";
    const TOWN: &str = "00000099000000001000";

    fn entry(kind: Kind, at: u64) -> Entry {
        let mut entry = Entry::new(kind, Timestamp(at), [0; 16]);
        entry.from = POLICE.parse().ok();
        entry.to = TOWN.parse().ok();
        entry.flow = Some("F02".into());
        entry
    }

    #[test]
    fn a_lane_has_what_was_accepted_delivered_and_ended() {
        let mut tally = Tally::from(10, 10);
        let mut bad = entry(Kind::Delivered, 3);
        bad.reason = Some(418);
        for one in [
            entry(Kind::Accepted, 1),
            entry(Kind::Accepted, 1),
            entry(Kind::Accepted, 2),
            entry(Kind::Delivered, 2),
            bad,
            entry(Kind::Expired, 4),
        ] {
            tally.take(&Seen::from(&one));
        }
        let (from, to, flow, lane) = tally.lanes().next().unwrap();
        assert_eq!((from.as_str(), to.as_str(), flow), (POLICE, TOWN, "F02"));
        assert_eq!((lane.accepted, lane.stored, lane.quarantined, lane.ended), (3, 1, 1, 1));
        assert_eq!(lane.last_accepted, Some(Place { position: 12, at: Timestamp(2) }));
        assert_eq!(lane.last_delivered, Some(Place { position: 14, at: Timestamp(3) }));
        assert_eq!((tally.next(), tally.since(), tally.last()), (16, Some(Timestamp(1)), Timestamp(4)));
        let minute = tally.series().sum(Timestamp(5), 0);
        assert_eq!((minute.accepted, minute.refused, minute.delivered, minute.ended), (3, 0, 2, 1));
        assert_eq!(tally.lanes().count(), 1);
    }

    #[test]
    fn refusals_are_counted_by_reason_and_by_pair() {
        let mut tally = Tally::default();
        let mut nobody = Entry::new(Kind::Refused, Timestamp(1), [0; 16]);
        nobody.reason = Some(401);
        tally.take(&Seen::from(&nobody));
        for reason in [402, 402, 403] {
            let mut one = entry(Kind::Refused, 7);
            one.reason = Some(reason);
            tally.take(&Seen::from(&one));
        }
        let all: Vec<_> =
            tally.refusals().map(|(from, reason, all)| (from.is_some(), reason, all.count)).collect();
        assert_eq!(all, [(false, 401, 1), (true, 402, 2), (true, 403, 1)]);
        let pairs: Vec<_> =
            tally.refused().map(|(_, _, all)| (all.count, all.last.unwrap().position)).collect();
        assert_eq!(pairs, [(3, 3)]);
        assert_eq!(tally.lanes().count(), 0, "what was refused makes no lane: its flow may be any text");
    }

    #[test]
    fn acts_are_kept_up_to_a_bound_the_newest_first() {
        let mut tally = Tally::default();
        for at in 0..600 {
            let mut one = Entry::new(Kind::Operator, Timestamp(at), [0; 16]);
            (one.detail, one.flow) = (Some("suspended".into()), Some("F02".into()));
            tally.take(&Seen::from(&one));
        }
        assert_eq!(tally.acts().count(), ACTS_MAX);
        let newest = tally.acts().next().unwrap();
        assert_eq!((newest.place.position, newest.flow.as_deref()), (599, Some("F02")));
        assert_eq!(tally.kinds().collect::<Vec<_>>(), [("operator", 600)]);
    }

    #[test]
    fn an_hour_later_nothing_is_recent() {
        let mut recent = Recent::default();
        let hour = STEP * STEPS as u64;
        recent.count(Timestamp(STEP));
        recent.count(Timestamp(3 * STEP));
        assert_eq!(recent.hour(Timestamp(3 * STEP)), 2);
        assert_eq!(recent.hour(Timestamp(hour)), 2);
        assert_eq!(recent.hour(Timestamp(hour + STEP)), 1);
        assert_eq!(recent.hour(Timestamp(hour + 3 * STEP)), 0);
        recent.count(Timestamp(10 * hour));
        assert_eq!(recent.hour(Timestamp(10 * hour)), 1);
    }
}
