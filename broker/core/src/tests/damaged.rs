//! A packet that is damaged where it is kept, ended by the operator.

use seinhuis_shared::entry::Kind;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;

use super::broker::Broker;
use super::fixture::{Draft, Gem, Jw, NOON, Pol};
use crate::{Answer, Command, CommandId, Input, Send};

fn mail(broker: &mut Broker) -> Vec<(seinhuis_shared::ids::Oin, u64)> {
    match broker.command(Command::Mail) {
        Answer::Mail(mail) => mail.into_iter().map(|(oin, item)| (oin, item.index)).collect(),
        other => panic!("{other:?} is no mail"),
    }
}

#[test]
fn it_ends_for_everybody_it_waits_for_and_its_sender_is_told() {
    let mut broker = Broker::started(NOON);
    let gem = broker.connect(Gem);
    let both = Draft::new(Gem, &[Pol, Jw], "F04", 1, NOON).seal();
    let other = Draft::new(Gem, &[Pol], "F04", 2, NOON).seal();
    broker.accept(gem, Gem, &both);
    broker.accept(gem, Gem, &other);
    let waiting: Vec<_> = mail(&mut broker).into_iter().map(|(oin, _)| oin).collect();
    assert_eq!(waiting, [Pol.oin(), Pol.oin(), Jw.oin()], "by recipient");
    let (packet, reason) = (sha256(&both), sha256(b"found by the disk's own check"));
    let command = Command::DropDamaged { packet, reason };
    let did = broker.turn([Input::Operator { id: CommandId(7), command: command.clone() }]);
    assert_eq!(did.entries.len(), 2);
    for (entry, to) in did.entries.iter().zip([Pol, Jw]) {
        assert_eq!((entry.kind, entry.to, entry.packet), (Kind::Shredded, Some(to.oin()), Some(packet)));
        assert_eq!(entry.reason, Some(Refusal::DamagedAtBroker.number()));
        assert_eq!((entry.statement, &entry.detail), (Some(reason), &None));
    }
    assert!(
        did.sends.iter().any(|send| matches!(send, Send::Notices { conn, .. } if *conn == gem)),
        "{did:?}"
    );
    assert!(!broker.blobs.contains_key(&packet.0), "its bytes are given up");
    assert_eq!(broker.try_command(command.clone()), Err(Refusal::NotFound));
    broker.restart();
    assert_eq!(broker.try_command(command), Err(Refusal::NotFound), "after a restart too");
    assert_eq!(mail(&mut broker).len(), 1, "the other one waits");
    let pol = broker.connect(Pol);
    broker.acknowledge(pol, Pol, &[(&other, 0)]);
    assert!(mail(&mut broker).is_empty());
}
