//! What was told of alarms, and what is to be told.

use std::collections::BTreeMap;

use seinhuis_shared::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Alarm, Code, Finding, Limits, Severity};

/// Most alarms of which is known whether they were told.
const MOST: usize = 2000;
/// For how long it is known that an alarm was there before.
const REMEMBERED: Span = Span::days(1);

/// Why an alarm is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// It began.
    Begins,
    /// There is more haste than was told.
    Worse,
    /// It lasts.
    Lasts,
    /// It is over.
    Over,
}

/// An alarm that is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Why.
    pub turn: Turn,
    /// When that was.
    pub at: Timestamp,
    /// The alarm.
    pub alarm: Alarm,
}

/// How one alarm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum State {
    /// It was found and not told yet.
    Pending,
    /// It was told.
    Told {
        /// When last.
        at: Timestamp,
        /// The most haste that was told.
        severity: Severity,
        /// Since when it is not found.
        gone: Option<Timestamp>,
    },
    /// It is over.
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    found: Finding,
    since: Timestamp,
    /// When it was over last.
    over: Option<Timestamp>,
    /// How often it was over within [`REMEMBERED`] of the time before.
    times: u32,
    /// Since when somebody has taken it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acknowledged: Option<Timestamp>,
    state: State,
}

/// What is known of alarms from one look to the next; kept in a file, so that a start does not tell anything twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    rows: BTreeMap<String, Row>,
}

fn key(finding: &Finding) -> String {
    named(finding.code, &finding.subject)
}

fn named(code: Code, subject: &str) -> String {
    format!("{code} {subject}")
}

impl Ledger {
    /// Takes what is found at `now`; what is to be told of it. An alarm is told when it has been found for as long as its
    /// row in the list says, again while it lasts, and once when it is over. One that comes and goes is one that lasts.
    pub fn step(&mut self, now: Timestamp, mut found: Vec<Finding>, limits: &Limits) -> Vec<Notice> {
        self.not_after(now);
        // The most hasty first: of those there is always room for.
        found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let mut present: BTreeMap<String, Finding> = BTreeMap::new();
        for finding in found {
            present.entry(key(&finding)).or_insert(finding);
        }
        for row in self.rows.values_mut().filter(|row| row.state == State::Over) {
            if let Some(finding) = present.get(&key(&row.found)) {
                row.found = finding.clone();
                (row.state, row.since) = (State::Pending, now);
            }
        }
        let mut fresh: Vec<&Finding> =
            present.iter().filter(|(key, _)| !self.rows.contains_key(*key)).map(|(_, one)| one).collect();
        fresh.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        for finding in fresh {
            self.add(finding, now);
        }
        let mut notices = Vec::new();
        for (key, row) in &mut self.rows {
            let finding = present.get(key);
            if let Some(finding) = finding {
                row.found.clone_from(finding);
            }
            notices.extend(row.advance(now, finding.is_some(), limits));
        }
        self.rows.retain(|_, row| match (row.state, row.over) {
            (State::Over, Some(over)) => now.since(over) < REMEMBERED,
            (State::Over, None) => false,
            (State::Pending | State::Told { .. }, _) => true,
        });
        notices
    }

    /// Takes something that happens at `now` and is over then, such as a stop; it is told each time.
    pub fn happens(&mut self, now: Timestamp, finding: Finding) -> Notice {
        self.not_after(now);
        let key = key(&finding);
        self.add(&finding, now);
        let state = State::Told { at: now, severity: finding.severity, gone: None };
        let row = Row { found: finding, since: now, over: None, times: 0, acknowledged: None, state };
        let notice = row.notice(Turn::Begins, now);
        if let Some(own) = self.rows.get_mut(&key) {
            *own = row;
        }
        notice
    }

    /// The alarms that hold: told, and not over. The most hasty first, then the oldest.
    pub fn alarms(&self) -> Vec<Alarm> {
        let told = self.rows.values().filter(|row| matches!(row.state, State::Told { .. }));
        let mut all: Vec<Alarm> = told.map(Row::alarm).collect();
        all.sort_by_key(|alarm| (std::cmp::Reverse(alarm.severity), alarm.since));
        all
    }

    /// Takes that somebody has taken up an alarm that holds: from then on it is told only when it becomes worse, and when
    /// it is over. Whether there is such an alarm.
    pub fn acknowledge(&mut self, now: Timestamp, code: Code, subject: &str) -> bool {
        let row = self.rows.get_mut(&named(code, subject));
        let holds = row.filter(|row| matches!(row.state, State::Told { .. }));
        holds.map(|row| row.acknowledged.get_or_insert(now)).is_some()
    }

    fn add(&mut self, finding: &Finding, now: Timestamp) {
        if self.rows.len() >= MOST {
            let spare =
                self.rows.iter().find(|(_, row)| row.state == State::Over).map(|(key, _)| key.clone());
            let Some(spare) = spare else { return };
            self.rows.remove(&spare);
        }
        let row = Row {
            found: finding.clone(),
            since: now,
            over: None,
            times: 0,
            acknowledged: None,
            state: State::Pending,
        };
        self.rows.insert(key(finding), row);
    }

    /// Takes back what the clock said before it was set back: what is later than now would never be over.
    fn not_after(&mut self, now: Timestamp) {
        for row in self.rows.values_mut() {
            row.since = row.since.min(now);
            row.over = row.over.map(|over| over.min(now));
            row.acknowledged = row.acknowledged.map(|at| at.min(now));
            if let State::Told { at, gone, .. } = &mut row.state {
                *at = (*at).min(now);
                *gone = gone.map(|gone| gone.min(now));
            }
        }
    }
}

impl Row {
    fn alarm(&self) -> Alarm {
        let Finding { code, subject, severity, what } = self.found.clone();
        let (since, acknowledged) = (self.since, self.acknowledged);
        Alarm { code, subject, severity, since, what, advice: code.advice(), acknowledged }
    }

    fn notice(&self, turn: Turn, now: Timestamp) -> Notice {
        Notice { turn, at: now, alarm: self.alarm() }
    }

    fn advance(&mut self, now: Timestamp, present: bool, limits: &Limits) -> Option<Notice> {
        let repeat = Span::hours(u64::from(limits.repeat_hours));
        let own = self.found.severity;
        match &mut self.state {
            State::Over => None,
            // What was not found without a break is not told.
            State::Pending if !present => {
                self.state = State::Over;
                None
            }
            State::Pending => (now.since(self.since) >= self.found.code.wait()).then(|| {
                self.state = State::Told { at: now, severity: own, gone: None };
                self.notice(Turn::Begins, now)
            }),
            State::Told { at, severity, gone } if present => {
                *gone = None;
                let turn = if own > *severity {
                    // That is not what was taken up.
                    self.acknowledged = None;
                    Turn::Worse
                } else if now.since(*at) >= repeat && self.acknowledged.is_none() {
                    Turn::Lasts
                } else {
                    return None;
                };
                (*at, *severity) = (now, own.max(*severity));
                Some(self.notice(turn, now))
            }
            State::Told { gone, .. } => {
                let since = *gone.get_or_insert(now);
                let after = Span::minutes(u64::from(limits.over_after_minutes)).doubled(self.times, repeat);
                (now.since(since) >= after).then(|| {
                    let notice = self.notice(Turn::Over, now);
                    (self.state, self.over, self.acknowledged) = (State::Over, Some(now), None);
                    self.times = self.times.saturating_add(1);
                    notice
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Code, Said};
    use super::*;

    fn finding(code: Code, severity: Severity) -> Finding {
        Finding { code, subject: "x".into(), severity, what: Said::new("a", "b") }
    }

    fn turns(ledger: &mut Ledger, minute: u64, found: &[Finding]) -> Vec<Turn> {
        let now = Timestamp(1_000_000_000).plus(Span::minutes(minute));
        let told = ledger.step(now, found.to_vec(), &Limits::default());
        told.into_iter().map(|notice| notice.turn).collect()
    }

    #[test]
    fn what_happens_is_told_each_time_also_while_its_alarm_holds() {
        let mut ledger = Ledger::default();
        let at = |minute| Timestamp(1_000_000_000).plus(Span::minutes(minute));
        for minute in [0, 1, 300] {
            let told = ledger.happens(at(minute), finding(Code::BrokerStopped, Severity::Page));
            assert_eq!((told.turn, ledger.alarms().len()), (Turn::Begins, 1));
        }
        assert_eq!(turns(&mut ledger, 301, &[]), []);
        assert_eq!(turns(&mut ledger, 320, &[]), [Turn::Over]);
    }

    #[test]
    fn an_alarm_is_told_when_it_begins_each_half_day_while_it_lasts_and_when_it_is_over() {
        let mut ledger = Ledger::default();
        let found = [finding(Code::QuorumOld, Severity::Ticket)];
        assert_eq!(turns(&mut ledger, 0, &found), [Turn::Begins]);
        assert_eq!(ledger.alarms().len(), 1);
        for minute in 1..720 {
            assert_eq!(turns(&mut ledger, minute, &found), []);
        }
        assert_eq!(turns(&mut ledger, 720, &found), [Turn::Lasts]);
        assert_eq!(turns(&mut ledger, 730, &[]), [], "it has to be right for a while");
        assert_eq!(turns(&mut ledger, 739, &[]), []);
        assert_eq!(ledger.alarms().len(), 1);
        assert_eq!(turns(&mut ledger, 740, &[]), [Turn::Over]);
        assert_eq!((turns(&mut ledger, 741, &[]), ledger.alarms().len()), (vec![], 0));
        assert_eq!(turns(&mut ledger, 750, &found), [Turn::Begins], "it is there again");
    }

    #[test]
    fn what_is_not_found_for_long_enough_is_not_told() {
        let mut ledger = Ledger::default();
        let found = [finding(Code::CountingBehind, Severity::Ticket)];
        for minute in [0, 4] {
            assert_eq!(turns(&mut ledger, minute, &found), []);
        }
        assert_eq!(turns(&mut ledger, 5, &[]), []);
        assert!(ledger.rows.is_empty() && ledger.alarms().is_empty());
        assert_eq!(turns(&mut ledger, 6, &found), [], "it begins anew");
        assert_eq!(turns(&mut ledger, 11, &found), [Turn::Begins]);
    }

    #[test]
    fn more_haste_is_told_at_once_and_less_is_not() {
        let mut ledger = Ledger::default();
        let of = |severity| [finding(Code::CertificateEnds, severity)];
        assert_eq!(turns(&mut ledger, 0, &of(Severity::Ticket)), [Turn::Begins]);
        assert_eq!(turns(&mut ledger, 1, &of(Severity::Page)), [Turn::Worse]);
        assert_eq!(turns(&mut ledger, 2, &of(Severity::Ticket)), []);
        assert_eq!(turns(&mut ledger, 3, &of(Severity::Page)), [], "that was told");
        assert_eq!(ledger.alarms()[0].severity, Severity::Page);
    }

    #[test]
    fn an_alarm_that_somebody_took_up_is_told_again_only_when_it_becomes_worse_and_when_it_is_over() {
        let mut ledger = Ledger::default();
        let at = |minute| Timestamp(1_000_000_000).plus(Span::minutes(minute));
        let of = |severity| [finding(Code::CertificateEnds, severity)];
        assert!(!ledger.acknowledge(at(0), Code::CertificateEnds, "x"), "there is none");
        assert_eq!(turns(&mut ledger, 0, &of(Severity::Ticket)), [Turn::Begins]);
        assert!(!ledger.acknowledge(at(1), Code::CertificateEnds, "y"), "of another subject");
        for minute in [1, 2] {
            assert!(ledger.acknowledge(at(minute), Code::CertificateEnds, "x"));
            assert_eq!(ledger.alarms()[0].acknowledged, Some(at(1)), "the first counts");
        }
        ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
        for minute in [720, 1440, 10_000] {
            assert_eq!(turns(&mut ledger, minute, &of(Severity::Ticket)), []);
        }
        assert_eq!(turns(&mut ledger, 10_001, &of(Severity::Page)), [Turn::Worse]);
        assert_eq!(ledger.alarms()[0].acknowledged, None, "that was not taken up");
        assert_eq!(turns(&mut ledger, 10_721, &of(Severity::Page)), [Turn::Lasts]);
        assert!(ledger.acknowledge(at(10_722), Code::CertificateEnds, "x"));
        assert_eq!(turns(&mut ledger, 10_723, &[]), []);
        assert_eq!(turns(&mut ledger, 10_733, &[]), [Turn::Over]);
        assert!(!ledger.acknowledge(at(10_733), Code::CertificateEnds, "x"), "it is over");
        assert_eq!(turns(&mut ledger, 10_740, &of(Severity::Ticket)), [Turn::Begins], "it is a new one");
        assert_eq!(ledger.alarms()[0].acknowledged, None);
    }

    #[test]
    fn one_that_comes_and_goes_is_told_ever_less() {
        let mut ledger = Ledger::default();
        let found = [finding(Code::OldestWaiting, Severity::Page)];
        let mut told = 0;
        // Five minutes wrong, fifteen right, for a day.
        for minute in 0..24 * 60 {
            told += turns(&mut ledger, minute, if minute % 20 < 5 { &found } else { &[] }).len();
        }
        assert!(told <= 5, "{told} messages in a day");
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered_and_haste_has_room() {
        let mut ledger = Ledger::default();
        let of = |number: usize, severity| Finding {
            subject: format!("{number:05}"),
            ..finding(Code::RefusalBurst, severity)
        };
        let mut many: Vec<_> = (0..MOST + 5).map(|number| of(number, Severity::Ticket)).collect();
        many.push(of(99_999, Severity::Page));
        assert_eq!(turns(&mut ledger, 0, &many).len(), MOST);
        assert_eq!(ledger.alarms()[0].subject, "99999");
        assert_eq!(turns(&mut ledger, 1, &many), [], "and no more");
        turns(&mut ledger, 2, &[]);
        turns(&mut ledger, 12, &[]);
        assert_eq!(
            turns(&mut ledger, 13, &[of(88_888, Severity::Ticket)]),
            [Turn::Begins],
            "in place of one that is over"
        );
        turns(&mut ledger, 14, &[]);
        turns(&mut ledger, 24, &[]);
        turns(&mut ledger, 24 + 24 * 60, &[]);
        assert!(ledger.rows.is_empty(), "forgotten after a day");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_alarm_for_ever() {
        let mut ledger = Ledger::default();
        let found = [finding(Code::QuorumOld, Severity::Ticket)];
        assert_eq!(turns(&mut ledger, 100_000, &found), [Turn::Begins]);
        assert_eq!(turns(&mut ledger, 100_001, &[]), []);
        assert_eq!(turns(&mut ledger, 0, &[]), []);
        assert_eq!(turns(&mut ledger, 10, &[]), [Turn::Over]);
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_what_is_told_makes_sense_and_survives_a_start(
            looks in prop::collection::vec((1_u64..200, any::<bool>(), any::<bool>(), any::<bool>()), 1..200),
        ) {
            let limits = Limits::default();
            let repeat = Span::hours(u64::from(limits.repeat_hours));
            let over_after = Span::minutes(u64::from(limits.over_after_minutes));
            let mut ledger = Ledger::default();
            let mut now = Timestamp(1_000_000_000);
            let mut told: Option<(Timestamp, Severity)> = None;
            let (mut found_since, mut gone_since) = (None, None);
            for (wait, present, haste, restart) in looks {
                now = now.plus(Span::minutes(wait));
                if restart {
                    let text = serde_json::to_string(&ledger).unwrap();
                    ledger = serde_json::from_str(&text).unwrap();
                }
                let severity = if haste { Severity::Page } else { Severity::Ticket };
                let found: Vec<_> = present.then(|| finding(Code::CountingBehind, severity)).into_iter().collect();
                if present { found_since.get_or_insert(now); gone_since = None } else { found_since = None; gone_since.get_or_insert(now); }
                let notices = ledger.step(now, found, &limits);
                prop_assert!(notices.len() <= 1);
                for notice in notices {
                    match notice.turn {
                        Turn::Begins => {
                            prop_assert!(told.is_none() && present);
                            prop_assert!(now.since(found_since.unwrap()) >= Code::CountingBehind.wait());
                            told = Some((now, severity));
                        }
                        Turn::Worse => {
                            prop_assert_eq!(told.unwrap().1, Severity::Ticket);
                            told = Some((now, Severity::Page));
                        }
                        Turn::Lasts => {
                            prop_assert!(present && now.since(told.unwrap().0) >= repeat);
                            told = Some((now, told.unwrap().1));
                        }
                        Turn::Over => {
                            prop_assert!(told.is_some());
                            prop_assert!(now.since(gone_since.unwrap()) >= over_after);
                            told = None;
                        }
                    }
                }
                prop_assert_eq!(ledger.alarms().len(), usize::from(told.is_some()));
            }
        }
    }
}
