//! The operator's commands, and what they change for those who are connected.

use seinhuis_shared::covenant::Agreement;
use seinhuis_shared::entry::Kind;
use seinhuis_shared::refusal::Refusal;

use super::admission::signal;
use super::broker::Broker;
use super::fixture::{Gem, Jw, NOON, Om, Pol, compiled, covenant};
use crate::{Answer, Command, CommandId, Input, Send};

fn changed(broker: &mut Broker, command: Command) -> bool {
    broker.turn([Input::Operator { id: CommandId(1), command }]).directory_changed
}

#[test]
fn the_directory_is_marked_changed_exactly_when_it_is() {
    let mut broker = Broker::bare(NOON);
    let add = || Command::AddPartner { oin: Pol.oin(), name: "Politie".into(), key: Pol.key().public() };
    let load = || Command::LoadCovenant { compiled: compiled() };
    let revoke = || Command::RevokePartner { oin: Pol.oin(), reason: None };
    for (command, expected) in [
        (add(), true),
        (add(), false),
        (load(), true),
        (load(), false),
        (revoke(), true),
        (revoke(), false),
        (add(), true),
        (Command::RevokePartner { oin: Jw.oin(), reason: None }, false),
        (Command::Overview, false),
        (Command::Partners, false),
        (Command::Covenants, false),
        (Command::Overview, false),
        (Command::Started { without_witnesses: false }, false),
    ] {
        let text = format!("{command:?}");
        assert_eq!(changed(&mut broker, command), expected, "{}", &text[..40.min(text.len())]);
    }
    let conn = broker.connect(Pol);
    assert!(!broker.submit(conn, Pol, &signal().seal()).directory_changed);
}

#[test]
fn adding_a_partner_is_recorded_once() {
    let mut broker = Broker::bare(NOON);
    assert_eq!(broker.add(Pol), Answer::Recorded { index: 0 });
    assert_eq!(broker.add(Pol), Answer::Unchanged);
    let [entry] = broker.entries().try_into().unwrap();
    assert_eq!((entry.kind, entry.subject), (Kind::Partner, Some(Pol.oin())));
    assert_eq!(entry.detail.as_deref(), Some("added"));
}

#[test]
fn revoking_closes_every_live_connection_of_that_partner() {
    let mut broker = Broker::started(NOON);
    let (one, two, gem) = (broker.connect(Pol), broker.connect(Pol), broker.connect(Gem));
    let command = Command::RevokePartner { oin: Pol.oin(), reason: None };
    let did = broker.turn([Input::Operator { id: CommandId(1), command }]);
    for conn in [one, two] {
        assert!(did.sends.contains(&Send::Close { conn, reason: Refusal::PartnerRevoked }));
    }
    assert_eq!(did.sends.len(), 3, "two closed connections and the answer: {:?}", did.sends);
    let [entry] = did.entries.try_into().unwrap();
    assert_eq!((entry.kind, entry.subject), (Kind::Partner, Some(Pol.oin())));
    assert_eq!(entry.detail.as_deref(), Some("revoked"));
    let did = broker.submit(gem, Gem, &super::fixture::Draft::new(Gem, &[Jw], "F04", 1, NOON).seal());
    assert_eq!(broker.verdicts(&did)[0].outcome, 0, "others go on");
    assert_eq!(broker.overview().connected, 1);
}

#[test]
fn an_unknown_partner_cannot_be_revoked() {
    let mut broker = Broker::bare(NOON);
    let got = broker.try_command(Command::RevokePartner { oin: Om.oin(), reason: None });
    assert_eq!(got, Err(Refusal::UnknownPartner));
    assert!(broker.log.is_empty());
}

#[test]
fn what_is_sent_to_a_partner_that_is_back_is_offered_to_it() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    broker.command(Command::AddPartner { oin: Gem.oin(), name: "Anders".into(), key: Gem.key().public() });
    broker.command(Command::RevokePartner { oin: Gem.oin(), reason: None });
    assert!(matches!(broker.add(Gem), Answer::Recorded { .. }));
    broker.accept(pol, Pol, &signal().seal());
    let (_, did) = broker.connect_with(Gem);
    assert_eq!(broker.offers(&did).len(), 1);
}

#[test]
fn a_covenant_that_is_loaded_is_put_up_for_its_parties() {
    let mut broker = Broker::bare(NOON);
    let loaded = broker.command(Command::LoadCovenant { compiled: compiled() });
    assert_eq!(loaded, Answer::Recorded { index: 0 });
    let [entry] = broker.entries().try_into().unwrap();
    assert_eq!((entry.kind, entry.covenant), (Kind::Covenant, Some(covenant().hash())));
    let Answer::Covenants(known) = broker.command(Command::Covenants) else { panic!("the covenants") };
    assert_eq!(known, [Agreement::new(compiled())]);
}

#[test]
fn start_and_stop_are_entries() {
    let mut broker = Broker::bare(NOON);
    assert_eq!(broker.command(Command::Started { without_witnesses: false }), Answer::Recorded { index: 0 });
    assert_eq!(broker.command(Command::Stopping), Answer::Recorded { index: 1 });
    let kinds: Vec<_> = broker.entries().iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Start, Kind::Stop]);
}

#[test]
fn the_overview_says_how_things_stand() {
    let mut broker = Broker::started(NOON);
    broker.command(Command::RevokePartner { oin: Jw.oin(), reason: None });
    let (pol, _) = (broker.connect(Pol), broker.connect(Gem));
    let bytes = signal().seal();
    broker.accept(pol, Pol, &bytes);
    let overview = broker.overview();
    assert_eq!(overview.log_size, u64::try_from(broker.log.len()).unwrap());
    assert_eq!(overview.log_root, Some(broker.core.state.log.frontier.root()));
    assert_eq!((overview.partners, overview.connected), (4, 2));
    assert_eq!((overview.covenants, overview.remembered), (1, 1));
    let [queue] = overview.queues.try_into().unwrap();
    assert_eq!((queue.oin, queue.packets, queue.inflight), (Gem.oin(), 1, 1));
    assert_eq!(queue.bytes, u64::try_from(bytes.len()).unwrap());
}
