//! Texts that go at their term, and leave to read them.

use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

use super::broker::{Broker, ORIGIN, log_signer};
use super::fixture::{Draft, Gem, NOON, Pol};
use crate::{Answer, Command, Config, Input};

/// A broker with a full bundle that stands in a file; its log is kept for 3 days at least.
fn filled() -> Broker {
    let mut config = Config::new(ORIGIN, log_signer().public(), "broker/1");
    config.log_retention_days = Some(3);
    let mut broker = Broker::with(config, NOON);
    while broker.log.len() < 300 {
        broker.command(Command::Started { without_witnesses: false });
    }
    broker.turn([Input::Published { end: 256 }]);
    broker
}

fn purge(entries: u64) -> Command {
    Command::Purge { log: 0, entries, last: NOON }
}

/// Lets a partner's clock be seen: one of its packets is accepted.
fn hear(broker: &mut Broker, now: Timestamp) {
    broker.core.witness(now, now);
}

fn retention(broker: &mut Broker) -> crate::Retention {
    match broker.command(Command::Retention) {
        Answer::Retention(retention) => retention,
        other => panic!("{other:?}"),
    }
}

#[test]
fn texts_go_when_every_clock_says_so_and_that_is_logged_first() {
    let mut broker = filled();
    let now = NOON.plus(Span::days(3)).plus(Span(1));
    broker.now = now;
    assert_eq!(broker.try_command(purge(256)).unwrap_err(), Refusal::NotDue, "by this clock alone");
    broker.command(Command::Started { without_witnesses: false });
    assert_eq!(broker.try_command(purge(256)).unwrap_err(), Refusal::NotDue, "by clock and log");
    hear(&mut broker, NOON.plus(Span::days(3)));
    assert_eq!(broker.try_command(purge(256)).unwrap_err(), Refusal::NotDue, "not yet by a partner's");
    hear(&mut broker, now);
    assert_eq!(retention(&mut broker).by_all, NOON.plus(Span(1)));
    for (entries, why) in [(255, "no whole bundle"), (512, "more than there is"), (0, "nothing")] {
        assert_eq!(broker.try_command(purge(entries)).unwrap_err(), Refusal::NotDue, "{why}");
    }
    broker.command(purge(256));
    let entries = broker.entries();
    let last = entries.last().unwrap();
    assert_eq!((last.kind, last.detail.as_deref()), (Kind::Purged, Some("0-255")));
    assert_eq!(broker.try_command(purge(256)).unwrap_err(), Refusal::NotDue, "once");
    broker.restart();
    assert_eq!(broker.core.purged().collect::<Vec<_>>(), [(0, 256)]);
    hear(&mut broker, now);
    let unknown = Command::Purge { log: 1, entries: 256, last: NOON };
    assert_eq!(broker.try_command(unknown).unwrap_err(), Refusal::UnknownLog);
}

#[test]
fn a_clock_that_jumps_ahead_removes_nothing() {
    let mut broker = filled();
    hear(&mut broker, NOON);
    broker.now = NOON.plus(Span::days(4000));
    broker.command(Command::Started { without_witnesses: false });
    assert_eq!(broker.try_command(purge(256)).unwrap_err(), Refusal::NotDue);
    let retention = retention(&mut broker);
    assert!(retention.by_clock > NOON && retention.by_all < NOON);
}

#[test]
fn the_longest_covenant_counts_and_the_operator_can_only_lengthen_it() {
    let mut broker = Broker::started(NOON);
    let agreed = super::fixture::covenant().log_retention_days;
    assert_eq!(retention(&mut broker).days, Some(agreed));
    for (own, days) in [(agreed - 1, agreed), (agreed + 1, agreed + 1)] {
        broker.core.config.log_retention_days = Some(own);
        assert_eq!(retention(&mut broker).days, Some(days));
    }
    let mut bare = Broker::bare(NOON);
    hear(&mut bare, NOON);
    assert_eq!(retention(&mut bare).days, None);
    assert_eq!(retention(&mut bare).by_all, Timestamp(0), "without a term nothing goes");
}

#[test]
fn what_a_receipt_may_still_be_made_of_stays() {
    let mut config = Config::new(ORIGIN, log_signer().public(), "broker/1");
    config.log_retention_days = Some(1);
    let mut broker = Broker::with(config, NOON).populated();
    let agreed = u64::from(super::fixture::covenant().log_retention_days);
    let pol = broker.connect(Pol);
    broker.accept(pol, Pol, &Draft::new(Pol, &[Gem], "F01", 1, NOON).seal());
    while broker.log.len() < 300 {
        broker.command(Command::Started { without_witnesses: false });
    }
    let now = NOON.plus(Span::days(agreed)).plus(Span(1));
    broker.now = now;
    broker.command(Command::Started { without_witnesses: false });
    hear(&mut broker, now);
    assert_eq!(broker.try_command(purge(256)).unwrap_err(), Refusal::NotDue, "not in files yet");
    broker.turn([Input::Published { end: 256 }]);
    assert_eq!(broker.try_command(purge(256)).unwrap_err(), Refusal::NotDue, "a packet waits");
    broker.log_and_tick(now);
    assert_eq!(broker.try_command(purge(256)).unwrap_err(), Refusal::NotDue, "how it ended is remembered");
    let now = now.plus(Span::days(40));
    broker.log_and_tick(now);
    // Its sender never came; what it was to be told has ended, and with that what was remembered for it, by the day.
    broker.log_and_tick(now.plus(Span::days(1)));
    broker.command(purge(256));
}

/// A broker under a term of one day, with a packet from Pol to Gem at the beginning of a full bundle that stands in a
/// file.
fn short(end: impl FnOnce(&mut Broker, &[u8])) -> Broker {
    let mut document = super::fixture::covenant();
    document.log_retention_days = 1;
    let hash = document.hash();
    let mut broker = Broker::with_covenant(NOON, document);
    let pol = broker.connect(Pol);
    let bytes = Draft::new(Pol, &[Gem], "F01", 1, NOON).with(|draft| draft.context.covenant = hash).seal();
    broker.accept(pol, Pol, &bytes);
    broker.turn([Input::Disconnected { conn: pol }]);
    end(&mut broker, &bytes);
    while broker.log.len() < 300 {
        broker.command(Command::Started { without_witnesses: false });
    }
    broker.turn([Input::Published { end: 256 }]);
    broker
}

/// The day on which nothing but what is owed keeps texts: outcomes and mail have ended.
fn later(broker: &mut Broker, days: u64) {
    let now = NOON.plus(Span::days(days));
    broker.log_and_tick(now);
    hear(broker, now);
}

#[test]
fn what_a_partner_has_not_been_told_yet_stays() {
    let mut broker = short(|broker, bytes| {
        let gem = broker.connect(Gem);
        broker.acknowledge(gem, Gem, &[(bytes, 0)]);
    });
    later(&mut broker, 3);
    assert_eq!(broker.try_command(purge(256)).unwrap_err(), Refusal::NotDue, "its sender was not there");
    let (pol, did) = broker.connect_with(Pol);
    let [(_, notices)] = &broker.notices(&did)[..] else { panic!("told: {:?}", did.sends) };
    broker.turn([Input::NoticesTaken { conn: pol, cursor: notices.cursor }, Input::Tick]);
    assert_eq!(
        broker.try_command(purge(256)).unwrap_err(),
        Refusal::NotDue,
        "its outcome is kept by the day"
    );
    later(&mut broker, 5);
    broker.command(purge(256));
}

#[test]
fn what_a_word_of_a_recipient_is_held_against_stays() {
    let mut broker = short(|_, _| {});
    later(&mut broker, 2);
    let (pol, did) = broker.connect_with(Pol);
    let [(_, notices)] = &broker.notices(&did)[..] else { panic!("told that it expired: {:?}", did.sends) };
    broker.turn([Input::NoticesTaken { conn: pol, cursor: notices.cursor }, Input::Tick]);
    assert_eq!(broker.try_command(purge(256)).unwrap_err(), Refusal::NotDue, "its recipient may still ask");
    later(&mut broker, 40);
    broker.command(purge(256));
}

#[test]
fn leave_to_read_is_logged_ends_and_counts_no_longer_than_it_says() {
    let mut broker = Broker::started(NOON);
    let grant = |token| Command::Grant {
        token: Digest([token; 32]),
        purpose: Digest([9; 32]),
        until: NOON.plus(Span(5)),
    };
    broker.command(grant(1));
    assert_eq!(broker.try_command(grant(1)).unwrap_err(), Refusal::NotDue, "a token is used once");
    broker.command(grant(2));
    let own = broker.core.grants()[0].clone();
    assert!(own.holds(NOON) && own.holds(NOON.plus(Span(4))));
    assert!(!own.holds(NOON.plus(Span(5))) && !own.holds(NOON.minus(Span(1))));
    broker.command(Command::RevokeGrant { number: 0 });
    assert_eq!(broker.command(Command::RevokeGrant { number: 0 }), Answer::Unchanged);
    assert_eq!(broker.try_command(Command::RevokeGrant { number: 2 }).unwrap_err(), Refusal::NotFound);
    let held: Vec<bool> = broker.core.grants().iter().map(|grant| grant.holds(NOON)).collect();
    assert_eq!(held, [false, true]);
    let noted: Vec<_> = broker
        .entries()
        .into_iter()
        .filter(|entry| entry.kind == Kind::Export)
        .map(|entry| (entry.detail.unwrap(), entry.statement.unwrap()))
        .collect();
    let said = |detail: &str| (detail.to_owned(), Digest([9; 32]));
    assert_eq!(noted, [said("grant"), said("grant"), said("grant-ended")]);
    broker.now = NOON.plus(Span(5));
    assert_eq!(broker.try_command(grant(3)).unwrap_err(), Refusal::NotDue, "over before it begins");
    broker.restart();
    assert_eq!(broker.core.grants().len(), 2);
}

#[test]
fn a_failed_self_check_is_in_the_log() {
    let mut broker = Broker::started(NOON);
    broker.command(Command::SelfCheckFailed);
    let entries = broker.entries();
    let last = entries.last().unwrap();
    assert_eq!((last.kind, last.detail.as_deref()), (Kind::Operator, Some("self-check-failed")));
}
