//! Many years in a moment: logs that end and begin, by the clock, by the operator, under other names, with crashes before
//! and after every write of a succession and stores that are put back from old copies.
//!
//! What holds after every step: a log that ended never changes, each log names the one before it and is named by it,
//! positions have no gap, and no name is used twice.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::succession::{self, Cause};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::tree::BatchTree;

use super::broker::{Broker, log_key_of};
use super::fixture::{Draft, Gem, NOON, Pol, covenant};
use crate::{Command, CommandId, Input, Shard, Turn};

/// Where the broker stops while one log follows on another. A turn is one record of the journal: it is there or not.
#[derive(Debug, Clone, Copy)]
enum Crash {
    Never,
    /// Nothing of it was written.
    BeforeClosing,
    /// The closing entry was, the opening one was not.
    BeforeOpening,
    /// As often as it starts it stops again before the opening entry is written.
    BeforeOpeningAgain,
    AfterOpening,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many days pass, and a packet is accepted or not.
    Days(u16, bool),
    /// The clock jumps so many years ahead for a moment.
    Jump(u8),
    RollOver(Crash),
    NewOrigin(Crash),
    Restart,
    /// A copy of the store is kept aside.
    Copy,
    /// The store is put back from that copy, and a log is begun by hand as the operator has to.
    PutBack,
}

fn step() -> impl Strategy<Value = Step> {
    let crash = || {
        prop_oneof![
            3 => Just(Crash::Never),
            1 => Just(Crash::BeforeClosing),
            2 => Just(Crash::BeforeOpening),
            1 => Just(Crash::BeforeOpeningAgain),
            1 => Just(Crash::AfterOpening),
        ]
    };
    prop_oneof![
        8 => (1_u16..200, any::<bool>()).prop_map(|(days, sends)| Step::Days(days, sends)),
        2 => (1_u8..5).prop_map(Step::Jump),
        3 => crash().prop_map(Step::RollOver),
        2 => crash().prop_map(Step::NewOrigin),
        2 => Just(Step::Restart),
        1 => Just(Step::Copy),
        1 => Just(Step::PutBack),
    ]
}

struct Years {
    broker: Broker,
    covenant: Digest,
    copy: Option<Broker>,
    /// The logs that were seen to have ended, as the broker now running knows them.
    ended: Vec<Shard>,
    number: u64,
}

impl Years {
    fn begin() -> Self {
        let mut document = covenant();
        document.valid_until = Timestamp::parse("2400-01-01").unwrap();
        let covenant = document.hash();
        let broker = Broker::with_covenant(NOON, document);
        Self { broker, covenant, copy: None, ended: Vec::new(), number: 0 }
    }

    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Days(days, sends) => self.days(days, sends),
            Step::Jump(years) => self.jump(years),
            Step::RollOver(crash) => self.follow(&Command::RollOver, crash),
            Step::NewOrigin(crash) => self.by_hand(crash),
            Step::Restart => self.broker.restart(),
            Step::Copy => self.copy = Some(self.broker.copy()),
            Step::PutBack => self.put_back(),
        }
        self.check();
    }

    fn days(&mut self, days: u16, sends: bool) {
        let now = self.broker.now.plus(Span::days(days.into()));
        self.broker.tick_until(now);
        if sends {
            let (number, covenant) = (self.number(), self.covenant);
            let draft = Draft::new(Pol, &[Gem], "F01", number, now);
            let bytes = draft.with(|draft| draft.context.covenant = covenant).seal();
            let pol = self.broker.connect(Pol);
            // Refused while the log's time is still ahead, after a clock that jumped and entries that it made.
            self.broker.submit(pol, Pol, &bytes);
            self.broker.tick_until(now);
            // An organisation has so many sessions at most; a log that ended has closed this one already.
            self.broker.turn([Input::Disconnected { conn: pol }]);
        }
    }

    fn jump(&mut self, years: u8) {
        let now = self.broker.now;
        // A log that was begun by hand under a year that is over has its next already by what was accepted before.
        self.broker.tick_until(now);
        let logs = self.broker.core.shards().len();
        self.broker.tick_until(now.plus(Span::days(366 * u64::from(years))));
        self.broker.tick_until(now);
        assert_eq!(self.broker.core.shards().len(), logs, "a clock alone begins no log");
    }

    fn by_hand(&mut self, crash: Crash) {
        // A name with a year goes on by itself, another does not.
        let number = self.number();
        let year = if number.is_multiple_of(2) { "/2026" } else { "" };
        let origin = format!("broker.example/{number}{year}");
        self.follow(&Command::NewOrigin { origin, reason: Digest([3; 32]) }, crash);
    }

    /// Has a log followed by another as the command says, stopping where it is said.
    fn follow(&mut self, command: &Command, crash: Crash) {
        let broker = &mut self.broker;
        if let Crash::Never = crash {
            // Refused when it is not due; then nothing changed.
            _ = broker.try_command(command.clone());
            return;
        }
        let mut turn = Turn::new([1; 32]);
        let input = Input::Operator { id: CommandId(1), command: command.clone() };
        broker.core.handle(input, broker.now, &mut turn);
        if !broker.core.succession_due() || matches!(crash, Crash::BeforeClosing) {
            let before = broker.log.len();
            broker.restart();
            assert!(!broker.core.succession_due(), "of what was not written nothing is known");
            assert_eq!(broker.log.len(), before);
            return;
        }
        broker.succeed();
        let times = if matches!(crash, Crash::BeforeOpeningAgain) { 3 } else { 1 };
        for _ in 0..times {
            broker.restart();
            assert!(broker.core.succession_due(), "what was begun is finished");
            let mut lost = Turn::new([2; 32]);
            assert!(broker.core.succession(broker.now, &mut lost));
            broker.now = broker.now.plus(Span::days(100));
        }
        broker.restart();
        broker.succeed();
        if matches!(crash, Crash::AfterOpening) {
            broker.restart();
        }
        assert!(!broker.core.succession_due());
    }

    fn put_back(&mut self) {
        let Some(mut old) = self.copy.take() else { return };
        old.now = self.broker.now;
        self.broker = old;
        let ended = self.broker.core.shards().iter().filter(|shard| shard.closing.is_some()).count();
        self.ended.truncate(ended);
        self.by_hand(Crash::Never);
        assert_eq!(self.broker.core.shards().len(), ended + 2, "another log was begun");
    }

    fn check(&mut self) {
        let shards = self.broker.core.shards();
        let origins: BTreeSet<&str> = shards.iter().map(|shard| shard.origin.as_str()).collect();
        assert_eq!(origins.len(), shards.len(), "a name twice");
        assert!(shards.last().is_some_and(|shard| shard.closing.is_none()), "the last one grows");
        for (one, next) in shards.iter().zip(shards.iter().skip(1)) {
            follows(one, next);
        }
        let mut last = Timestamp(0);
        for (place, shard) in shards.iter().enumerate() {
            let end = shard.end().map_or(self.broker.log.len(), |end| usize::try_from(end).unwrap());
            let base = usize::try_from(shard.base).unwrap();
            let entries = &self.broker.log[base..end];
            let mut tree = BatchTree::default();
            for (index, bytes) in entries.iter().enumerate() {
                tree.append(leaf_hash(bytes)).unwrap();
                let entry = Entry::parse(bytes).unwrap();
                assert!(entry.time >= last, "time went back from one log to the next");
                last = entry.time;
                assert_eq!(entry.kind == Kind::Opening, place > 0 && index == 0, "{place}: {index}");
                let ends = shard.closing.is_some() && index + 1 == entries.len();
                assert_eq!(entry.kind == Kind::Closing, ends, "{place}: {index}");
            }
            if let Some(closing) = &shard.closing {
                assert_eq!((closing.size, closing.root), (tree.size(), tree.root()), "{}", shard.origin);
            } else {
                let head = self.broker.core.head().map(|head| (head.size, head.root));
                assert_eq!(head, Some((tree.size(), tree.root())), "the log that grows");
            }
        }
        let ended: Vec<Shard> = shards.iter().filter(|shard| shard.closing.is_some()).cloned().collect();
        assert_eq!(ended.get(..self.ended.len()), Some(&self.ended[..]), "a log that ended changed");
        self.ended = ended;
    }
}

/// Each names the other, by what both prove.
fn follows(one: &Shard, next: &Shard) {
    let closing = one.closing.as_ref().unwrap();
    assert_eq!(one.end(), Some(next.base), "a gap between positions");
    assert_eq!(closing.next, next.origin);
    let (old, new) = (log_key_of(&one.origin), log_key_of(&next.origin));
    let proved = succession::verify((&closing.receipt, &next.opening), &old, &new).unwrap();
    assert_eq!((proved.last.size(), *proved.last.root()), (closing.size, closing.root));
    assert_eq!(proved.cause == Cause::NewOrigin, closing.by_hand);
    if let (false, Some((_, year)), Some((_, later))) =
        (closing.by_hand, succession::year_of(&one.origin), succession::year_of(&next.origin))
    {
        assert!(year < later, "no year is gone back to");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_between_years_no_log_that_ended_changes_and_none_is_without_its_successor(
        steps in vec(step(), 1..24),
    ) {
        let mut years = Years::begin();
        years.check();
        for step in steps {
            years.take(step);
        }
    }
}

/// More packets in one log than an organisation has sessions.
#[test]
fn a_busy_year_is_one_log() {
    let mut years = Years::begin();
    for _ in 0..8 {
        years.take(Step::Days(1, true));
    }
    assert_eq!(years.broker.core.shards().len(), 1);
}

/// The same with nothing but quiet years, so that a long chain of logs is there for certain.
#[test]
fn forty_years_are_forty_logs() {
    let mut years = Years::begin();
    for year in 0..40 {
        years.take(Step::Days(366, true));
        assert_eq!(years.broker.core.shards().len(), year + 2);
        if year % 10 == 9 {
            years.take(Step::Restart);
        }
    }
}
