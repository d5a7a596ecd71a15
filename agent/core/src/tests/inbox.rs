//! Incoming packets: every check again, and an acknowledgement only for what is durable.

use std::sync::Arc;

use seinhuis_shared::cbor;
use seinhuis_shared::cose::{EK_LEN, WRAPPED_LEN};
use seinhuis_shared::covenant::Handling;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::covenant::{Compiled, Level};
use seinhuis_shared::ids::{Digest, MsgId, TraceId};
use seinhuis_shared::limits::PREKEY_EPOCH;
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::{
    Context, Hpke, HpkeError, Packet, Plain, Recipient, SealRandomness, VERSION, seal,
};
use seinhuis_shared::prekey::{PrekeyBundle, PrekeyPublic, PrekeySecret};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::{Acknowledged, Offer};
use zeroize::Zeroizing;

use crate::fixture::{
    Broker, COVENANT, NOW, Node, SIGNAL, Toy, after, cast, log_signer, oin, partnership, sample, signal,
    signer,
};
use crate::minimise::{MEDIA_TYPE, prepare};
use crate::{AlarmKind, Event, InboxRow, Input, Remark, Send, Write};

/// A packet on F01 from youth work (3) to the municipality (1), before it is sealed.
struct Letter {
    context: Context,
    key: PrekeyPublic,
    media_type: &'static str,
    body: Vec<u8>,
    signer: SigningKey,
}

/// The municipality's prekeys, as a sender has them.
fn bundle_of_town(broker: &Broker) -> PrekeyBundle {
    PrekeyBundle::verify(&broker.bundles[&oin(1)], &oin(1), &[signer(1).public()]).unwrap()
}

/// Youth work's own data.
fn own() -> Provenance {
    Provenance::own(oin(3), Handling::Partners)
}

impl Letter {
    fn to_town(broker: &Broker, id: u8) -> Self {
        Self::under(bundle_of_town(broker).usable(NOW).unwrap().public.clone(), id)
    }

    fn under(key: PrekeyPublic, id: u8) -> Self {
        let prepared = prepare(Node::new(3).core.agreed(), oin(3), &signal(id), NOW).unwrap();
        let context = Context {
            version: VERSION,
            msg_id: MsgId([id; 16]),
            covenant: COVENANT.hash(),
            flow: "F01".into(),
            case: None,
            declared: prepared.declared,
            sender: oin(3),
            signer: signer(3).public().thumbprint(),
            recipients: vec![Recipient { oin: oin(1), prekey: key.id() }],
            seq: 1,
            prev: None,
            issued: NOW,
            expires: after(Span::days(1)),
            in_reply_to: None,
            trace: TraceId([id; 16]),
            commitment: Digest([0; 32]),
        };
        Self { context, key, media_type: MEDIA_TYPE, body: sample(SIGNAL), signer: signer(3) }
    }

    fn sealed(mut self) -> Vec<u8> {
        let chance = SealRandomness { key: [1; 32], iv: [2; 12], salt: [3; 32] };
        self.context.signer = self.signer.public().thumbprint();
        seal(
            &Toy::default(),
            &mut self.context,
            &[&self.key],
            Plain { media_type: self.media_type, provenance: &own(), body: &self.body },
            &chance,
            &self.signer,
        )
        .unwrap()
        .bytes
    }
}

fn offer(node: &mut Node, offer: &Offer, now: Timestamp) -> Vec<Acknowledged> {
    node.step([Input::Offer(Box::new(offer.clone()))], now);
    node.acknowledged()
}

fn rows(node: &Node) -> Vec<InboxRow> {
    let read = node.rows.iter().filter_map(|((of, key), value)| match Write::read(*of, key, value) {
        Ok(Write::Inbox(_, row)) => Some(*row),
        _ => None,
    });
    read.collect()
}

/// Offers `bytes` to the municipality and expects quarantine with `wanted`.
fn quarantined(name: &str, wanted: Refusal, make: impl FnOnce(&mut Broker, &mut Node) -> Vec<u8>) {
    let (mut broker, [mut town, ..]) = partnership();
    let bytes = make(&mut broker, &mut town);
    let offered = broker.offer(&bytes, oin(1), NOW);
    let acknowledged = offer(&mut town, &offered, NOW);
    let outcomes: Vec<_> = acknowledged.iter().map(|item| Refusal::from_number(item.outcome)).collect();
    assert_eq!(outcomes, [Some(wanted)], "{name}");
    assert_eq!(acknowledged[0].packet, sha256(&bytes), "{name}");
    assert!(town.bodies().is_empty(), "{name}: nothing readable");
    assert_eq!(town.blobs[&sha256(&bytes)][..], bytes, "{name}: kept as evidence");
    assert_eq!(offer(&mut town, &offered, NOW), acknowledged, "{name}: the same answer again");
    town.restart(NOW);
    assert_eq!(offer(&mut town, &offered, NOW), acknowledged, "{name}: and after a restart");
    assert_eq!(rows(&town).len(), 1, "{name}");
}

/// A signal that the broker accepted and offers to the municipality, and its packet.
fn offered() -> (Broker, Node, Arc<[u8]>, Offer) {
    let (mut broker, [town, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let packet = Arc::clone(&youth.submitted()[0]);
    broker.accept(&packet, NOW);
    let offer = broker.mailboxes[&oin(1)][0].clone();
    (broker, town, packet, offer)
}

#[test]
fn a_good_packet_is_stored_locked_and_acknowledged() {
    let (_, mut town, _, offered) = offered();
    let acknowledged = offer(&mut town, &offered, after(Span::hours(1)));
    assert_eq!(acknowledged.len(), 1);
    assert_eq!((acknowledged[0].outcome, acknowledged[0].msg_id), (0, MsgId([1; 16])));
    assert_eq!(town.bodies(), [sample(SIGNAL)]);
    let row = &rows(&town)[0];
    assert_eq!((row.sender, row.accepted, row.level.as_str()), (Some(oin(3)), NOW, "G"));
    assert_eq!((row.retention_days, row.remark), (Some(90), Remark::InOrder));
    assert!(matches!(town.take_events()[..], [Event::Received { outcome: 0, position: 0, .. }]));
}

#[test]
fn an_offer_repeated_is_acknowledged_and_stored_once() {
    let (mut broker, [mut town, ..]) = partnership();
    let bytes = Letter::to_town(&broker, 1).sealed();
    let offered = broker.offer(&bytes, oin(1), NOW);
    let twice = [0, 1].map(|_| Input::Offer(Box::new(offered.clone())));
    town.step(twice, NOW);
    let acknowledged = town.acknowledged();
    assert_eq!((acknowledged.len(), acknowledged[0]), (2, acknowledged[1]));
    town.restart(NOW);
    assert_eq!(offer(&mut town, &offered, NOW), acknowledged[..1]);
    assert_eq!((rows(&town).len(), town.bodies().len()), (1, 1));
    assert!(town.take_events().is_empty());
}

#[test]
fn one_signature_acknowledges_a_whole_turn() {
    let (mut broker, [mut town, ..]) = partnership();
    let offers: Vec<Input> = (1..=200)
        .map(|id| {
            let bytes = Letter::to_town(&broker, id).sealed();
            Input::Offer(Box::new(broker.offer(&bytes, oin(1), NOW)))
        })
        .collect();
    town.step(offers, NOW);
    let signed = town.sends.iter().filter(|send| matches!(send, Send::Acknowledge(_)));
    assert_eq!(signed.count(), 1);
    assert_eq!(town.acknowledged().len(), 200);
}

#[test]
fn what_needs_no_key_is_checked() {
    quarantined("truncated", Refusal::Malformed, |broker, _| {
        let mut bytes = Letter::to_town(broker, 1).sealed();
        bytes.pop();
        bytes
    });
    quarantined("a byte more", Refusal::NotCanonical, |broker, _| {
        let mut bytes = Letter::to_town(broker, 1).sealed();
        bytes.push(0);
        bytes
    });
    quarantined("sealed part changed", Refusal::SealMismatch, |broker, _| {
        let mut bytes = Letter::to_town(broker, 1).sealed();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    });
    quarantined("not for us", Refusal::RecipientCount, |broker, _| {
        let mut letter = Letter::to_town(broker, 1);
        letter.context.recipients[0].oin = oin(2);
        letter.sealed()
    });
}

#[test]
fn sender_and_covenant_are_checked() {
    quarantined("unknown covenant", Refusal::UnknownCovenant, |broker, _| {
        let mut letter = Letter::to_town(broker, 1);
        letter.context.covenant = Digest([9; 32]);
        letter.sealed()
    });
    quarantined("a key nobody pinned", Refusal::UnknownKey, |broker, _| {
        Letter { signer: SigningKey::from_seed(&[55; 32]), ..Letter::to_town(broker, 1) }.sealed()
    });
    quarantined("another party's key", Refusal::UnknownKey, |broker, _| {
        Letter { signer: signer(2), ..Letter::to_town(broker, 1) }.sealed()
    });
    quarantined("signature of nothing", Refusal::BadSignature, |broker, _| {
        let bytes = Letter::to_town(broker, 1).sealed();
        let (version, mut statement, sealed): (u8, cbor::Bytes, cbor::Bytes) =
            cbor::strict(&bytes, bytes.len()).unwrap();
        *statement.0.last_mut().unwrap() ^= 1;
        cbor::encode(&(version, statement, sealed))
    });
    quarantined("a flow its sender may not use", Refusal::SenderRole, |broker, _| {
        let mut letter = Letter { signer: signer(2), ..Letter::to_town(broker, 1) };
        letter.context.sender = oin(2);
        letter.sealed()
    });
    quarantined("valid for too long", Refusal::TtlTooLong, |broker, _| {
        let mut letter = Letter::to_town(broker, 1);
        letter.context.expires = after(Span::days(40));
        letter.sealed()
    });
}

#[test]
fn time_is_judged_at_acceptance() {
    quarantined("expired when accepted", Refusal::Expired, |broker, _| {
        let mut letter = Letter::to_town(broker, 1);
        letter.context.issued = NOW.minus(Span::days(2));
        letter.context.expires = NOW;
        letter.sealed()
    });
    quarantined("from the future", Refusal::FromTheFuture, |broker, _| {
        let mut letter = Letter::to_town(broker, 1);
        letter.context.issued = after(Span::minutes(6));
        letter.sealed()
    });
    // Fetched after packet and covenant have ended, but accepted in time.
    let (mut broker, [mut town, ..]) = partnership();
    let bytes = Letter::to_town(&broker, 1).sealed();
    let offered = broker.offer(&bytes, oin(1), NOW);
    let late = Timestamp::parse("2028-02-01").unwrap();
    assert_eq!(offer(&mut town, &offered, late)[0].outcome, 0);
}

/// What a covenant says of mail in flight rests on this: a packet is judged by when it was accepted.
#[test]
fn what_was_accepted_before_a_withdrawal_or_a_successor_is_opened_and_nothing_after() {
    let mut document = COVENANT.covenant().clone();
    document.id = "onderweg".into();
    document.overlap_days = 0;
    document.parties[2].may_be_absent = true;
    let first = Arc::new(Compiled::new(document.clone()).unwrap());
    (document.version, document.previous) = (2, Some(first.hash()));
    let second = Arc::new(Compiled::new(document).unwrap());
    let at = after(Span::minutes(10));
    let withdraws = |number| (Arc::clone(&first), vec![cast(&first, number, Word::Withdraw, at)]);
    let succeeds = [1, 2, 4].map(|number| cast(&second, number, Word::Accept, at)).to_vec();
    for (what, (compiled, casts), late) in [
        ("the sender withdraws", withdraws(3), Refusal::NotSigned),
        ("the recipient withdraws", withdraws(1), Refusal::CovenantNotInForce),
        ("another withdraws, which ends it", withdraws(2), Refusal::CovenantNotInForce),
        ("a successor takes its place", (second, succeeds), Refusal::CovenantNotInForce),
    ] {
        for (accepted, outcome) in [(at.minus(Span(1)), 0), (at, late.number())] {
            let (mut broker, [mut town, ..]) = partnership();
            town.step([crate::fixture::accepted(&first)], NOW);
            let mut letter = Letter::to_town(&broker, 1);
            letter.context.covenant = first.hash();
            let bytes = letter.sealed();
            let agreed = town.core.agreed();
            let known = agreed.find(&compiled.hash()).map_or(vec![], |one| one.casts().to_vec());
            let casts = [known, casts.clone()].concat();
            let ended =
                Input::Covenant { had: (0, 0), compiled: Arc::clone(&compiled), casts, rotations: vec![] };
            town.step([ended], at);
            // A broker that says it accepted the packet after the end is a broker that cheats, or erred.
            let offered = broker.offer(&bytes, oin(1), accepted);
            let acks = offer(&mut town, &offered, after(Span::minutes(20)));
            assert_eq!(acks.iter().map(|ack| ack.outcome).collect::<Vec<_>>(), [outcome], "{what}");
            assert_eq!(town.bodies().len(), usize::from(outcome == 0), "{what}");
        }
    }
}

#[test]
fn content_is_checked() {
    quarantined("prekey nobody made", Refusal::NoPrekey, |broker, _| {
        let mut letter = Letter::to_town(broker, 1);
        letter.key = PrekeyPublic::from_slice(&[5; 1216]).unwrap();
        letter.context.recipients[0].prekey = letter.key.id();
        letter.sealed()
    });
    quarantined("sealed for another key", Refusal::CannotOpen, |broker, _| {
        sealed_for_another(Letter::to_town(broker, 1))
    });
    quarantined("not json", Refusal::NotJson, |broker, _| {
        Letter { body: b"{".to_vec(), ..Letter::to_town(broker, 1) }.sealed()
    });
    quarantined("another media type", Refusal::NotJson, |broker, _| {
        Letter { media_type: "text/plain", ..Letter::to_town(broker, 1) }.sealed()
    });
    quarantined("a field nobody agreed on", Refusal::FieldNotAllowed, |broker, _| {
        let mut letter = Letter::to_town(broker, 1);
        letter.body.splice(1..1, br#""naam": "x","#.iter().copied());
        letter.sealed()
    });
    quarantined("a category kept silent", Refusal::CategoryNotAllowed, |broker, _| {
        let mut letter = Letter::to_town(broker, 1);
        letter.context.declared.categories.retain(|code| code != "kanaal");
        letter.sealed()
    });
    quarantined("a level too low", Refusal::LevelNotAllowed, |broker, _| {
        let mut letter = Letter::to_town(broker, 1);
        letter.context.declared.level = Level::P1;
        letter.sealed()
    });
}

/// Names one key and seals for another, so that only opening can tell.
fn sealed_for_another(mut letter: Letter) -> Vec<u8> {
    struct Other;
    impl Hpke for Other {
        fn seal(
            &self,
            _: &PrekeyPublic,
            info: &[u8],
            key: &[u8; 32],
        ) -> Result<([u8; EK_LEN], [u8; WRAPPED_LEN]), HpkeError> {
            Toy::default().seal(&PrekeyPublic::from_slice(&[6; 1216]).unwrap(), info, key)
        }

        fn open(
            &self,
            _: &PrekeySecret,
            _: &[u8],
            _: &[u8],
            _: &[u8],
        ) -> Result<Zeroizing<[u8; 32]>, HpkeError> {
            Err(HpkeError)
        }
    }
    let chance = SealRandomness { key: [1; 32], iv: [2; 12], salt: [3; 32] };
    let plain = Plain { media_type: MEDIA_TYPE, provenance: &own(), body: &letter.body };
    seal(&Other, &mut letter.context, &[&letter.key], plain, &chance, &letter.signer).unwrap().bytes
}

#[test]
fn a_prekey_is_good_until_its_end_and_its_packets_for_as_long_as_they_are_valid() {
    let (mut broker, [mut town, ..]) = partnership();
    let end = after(PREKEY_EPOCH);
    let mut try_at = |id: u8, issued: Timestamp| {
        let mut letter = Letter::to_town(&broker, id);
        (letter.context.issued, letter.context.expires) = (issued, issued.plus(Span::days(30)));
        let bytes = letter.sealed();
        let offered = broker.offer(&bytes, oin(1), issued);
        offer(&mut town, &offered, issued.plus(Span::days(29)))[0].outcome
    };
    assert_eq!(try_at(1, end), 0);
    assert_eq!(try_at(2, end.plus(Span::minutes(6))), Refusal::NoPrekey.number());
}

/// Seventy-five days, three packets a day, each sealed with the prekey of its moment and delivered at once, some days
/// later, or on the last day it is valid.
#[test]
fn over_many_epochs_no_packet_comes_too_late_for_its_key_and_no_key_outlives_its_packets() {
    let (mut broker, [mut town, ..]) = partnership();
    let hour = |number: u64| after(Span::hours(number));
    let (mut waiting, mut ends) =
        (std::collections::BTreeMap::<u64, Vec<(Vec<u8>, Timestamp)>>::new(), Vec::new());
    let (mut sent, mut received, mut most) = (0_u8, 0, 0);
    for now in 0..24 * 110 {
        town.step([Input::Tick], hour(now));
        if now % 24 == 0 {
            town.step([Input::Disconnected], hour(now));
            broker.connect(&mut town, hour(now));
        }
        if now % 8 == 3 && now < 24 * 75 {
            let bundle = bundle_of_town(&broker);
            let prekey = bundle.usable(hour(now)).unwrap();
            let mut letter = Letter::under(prekey.public.clone(), sent);
            (letter.context.issued, letter.context.expires) = (hour(now), hour(now).plus(Span::days(30)));
            ends.push((prekey.public.id(), prekey.destroy_at()));
            let later = [0, 24 * 9, 24 * 30 - 1][usize::from(sent % 3)];
            waiting.entry(now + later).or_default().push((letter.sealed(), hour(now)));
            sent += 1;
        }
        for (bytes, issued) in waiting.remove(&now).into_iter().flatten() {
            let offered = broker.offer(&bytes, oin(1), issued);
            let outcomes: Vec<_> =
                offer(&mut town, &offered, hour(now)).iter().map(|one| one.outcome).collect();
            assert_eq!(outcomes, [0], "hour {now}");
            received += 1;
        }
        let held = |id: &seinhuis_shared::ids::PrekeyId| {
            town.rows.contains_key(&(crate::rows::table::OWN_PREKEY, id.0.to_vec()))
        };
        for (id, end) in &ends {
            assert!(!held(id) || hour(now) < *end, "a private half past its time at hour {now}");
        }
        most = most.max(town.rows.keys().filter(|(of, _)| *of == crate::rows::table::OWN_PREKEY).count());
    }
    assert_eq!((sent, received), (225, 225));
    assert!(
        ends.iter().all(|(id, _)| !town.rows.contains_key(&(crate::rows::table::OWN_PREKEY, id.0.to_vec())))
    );
    assert!(most <= 34, "{most} private halves at one time");
}

#[test]
fn the_same_id_with_other_bytes_is_equivocation_of_that_sender_only() {
    let (mut broker, [mut town, ..]) = partnership();
    let first = Letter::to_town(&broker, 1).sealed();
    let offered = broker.offer(&first, oin(1), NOW);
    assert_eq!(offer(&mut town, &offered, NOW)[0].outcome, 0);
    let mut other = Letter::to_town(&broker, 1);
    other.context.seq = 2;
    let offered = broker.offer(&other.sealed(), oin(1), NOW);
    assert_eq!(offer(&mut town, &offered, NOW)[0].outcome, Refusal::Equivocation.number());
    let forged = Letter { signer: SigningKey::from_seed(&[55; 32]), ..Letter::to_town(&broker, 2) };
    let offered = broker.offer(&forged.sealed(), oin(1), NOW);
    assert_eq!(offer(&mut town, &offered, NOW)[0].outcome, Refusal::UnknownKey.number());
    let genuine = Letter::to_town(&broker, 2).sealed();
    let offered = broker.offer(&genuine, oin(1), NOW);
    assert_eq!(offer(&mut town, &offered, NOW)[0].outcome, 0, "a forgery claims no id");
    let mut police = Letter { signer: signer(2), ..Letter::to_town(&broker, 1) };
    (police.context.sender, police.context.flow) = (oin(2), "F02".into());
    let offered = broker.offer(&police.sealed(), oin(1), NOW);
    let outcome = offer(&mut town, &offered, NOW)[0].outcome;
    assert_ne!(outcome, Refusal::Equivocation.number(), "nobody can use up another's ids");
}

/// An offer the broker cannot prove must be neither stored nor acknowledged.
fn unproven(name: &str, make: impl FnOnce(&mut Broker, &[u8]) -> Offer) {
    let (mut broker, [mut town, ..]) = partnership();
    let bytes = Letter::to_town(&broker, 1).sealed();
    let offered = make(&mut broker, &bytes);
    assert!(offer(&mut town, &offered, NOW).is_empty(), "{name}");
    assert!(rows(&town).is_empty() && town.blobs.is_empty(), "{name}");
    assert_eq!(town.alarms(), [AlarmKind::UnprovenOffer], "{name}");
    let honest = broker.offer(&bytes, oin(1), NOW);
    assert_eq!(offer(&mut town, &honest, NOW)[0].outcome, 0, "{name}: and nothing is spoiled");
}

#[test]
fn an_offer_without_proof_of_its_acceptance_is_left_with_the_broker() {
    unproven("no receipt", |_, bytes| Offer { packet: bytes.into(), receipt: vec![].into() });
    unproven("another packet's receipt", |broker, bytes| {
        let other = Letter::to_town(broker, 2).sealed();
        Offer { packet: bytes.into(), receipt: broker.offer(&other, oin(1), NOW).receipt }
    });
    unproven("accepted for another", |broker, bytes| broker.offer(bytes, oin(2), NOW));
    unproven("refused in the log", |broker, bytes| {
        let refused = broker.refuse(bytes, oin(3), Refusal::Expired, NOW);
        Offer { packet: bytes.into(), receipt: refused.receipt }
    });
    unproven("another log", |broker, bytes| {
        let honest = std::mem::replace(&mut broker.signer, log_signer(98));
        let offered = broker.offer(bytes, oin(1), NOW);
        broker.signer = honest;
        offered
    });
    unproven("unreadable and accepted for another", |broker, bytes| {
        let receipt = broker.offer(&bytes[1..], oin(2), NOW).receipt;
        Offer { packet: bytes[1..].into(), receipt }
    });
    unproven("unreadable and about something else", |broker, bytes| {
        let receipt = broker.offer(bytes, oin(1), NOW).receipt;
        Offer { packet: bytes[1..].into(), receipt }
    });
}

#[test]
fn gaps_and_broken_chains_are_remarked() {
    let (mut broker, [mut town, ..]) = partnership();
    let mut previous = None;
    let mut remark = |town: &mut Node, id: u8, seq: u64, prev: Option<Digest>| {
        let mut letter = Letter::to_town(&broker, id);
        (letter.context.seq, letter.context.prev) = (seq, prev);
        let bytes = letter.sealed();
        let offered = broker.offer(&bytes, oin(1), NOW);
        assert_eq!(offer(town, &offered, NOW)[0].outcome, 0);
        previous = Some(Packet::parse(&bytes).unwrap().digest());
        (rows(town).last().unwrap().remark, previous)
    };
    let (first, last) = remark(&mut town, 1, 1, None);
    assert_eq!(first, Remark::InOrder);
    let (second, _) = remark(&mut town, 2, 2, last);
    assert_eq!(second, Remark::InOrder);
    let (gap, last) = remark(&mut town, 3, 5, Some(Digest([1; 32])));
    assert_eq!(gap, Remark::Gap);
    assert_eq!(remark(&mut town, 4, 4, None).0, Remark::OutOfOrder);
    town.restart(NOW);
    let (next, _) = remark(&mut town, 5, 6, last);
    assert_eq!(next, Remark::InOrder, "the late one did not move the chain");
    assert_eq!(remark(&mut town, 6, 7, Some(Digest([1; 32]))).0, Remark::ChainBroken);
}

#[test]
fn a_body_that_cannot_be_locked_stays_with_the_broker() {
    let (_, mut town, _, offer) = offered();
    town.break_lock(true);
    let turn = town.step([Input::Offer(Box::new(offer.clone()))], NOW);
    assert!(town.acknowledged().is_empty(), "the broker keeps the only copy");
    let kept = |write: &Write| matches!(write, Write::Inbox(..) | Write::Body(..) | Write::Seen(..));
    assert!(!turn.writes.iter().any(kept));
    assert_eq!(town.alarms(), [AlarmKind::LockFailed]);
    town.break_lock(false);
    town.step([Input::Offer(Box::new(offer))], NOW);
    let outcomes: Vec<u16> = town.acknowledged().iter().map(|item| item.outcome).collect();
    assert_eq!(outcomes, [0]);
    assert_eq!(town.bodies(), [sample(SIGNAL)]);
    assert_eq!(town.rows.keys().filter(|(of, _)| *of == crate::rows::table::INBOX).count(), 1);
}

#[test]
fn an_offer_that_shows_a_fork_is_neither_stored_nor_acknowledged() {
    let (broker, mut town, packet, offer) = offered();
    let mut other = Broker::new();
    let forked = other.offer(&packet, oin(1), after(Span::seconds(1)));
    let seen = broker.welcome(NOW);
    town.step([Input::Connected(Box::new(seen))], NOW);
    let turn = town.step([Input::Offer(Box::new(forked))], NOW);
    assert_eq!(town.alarms(), [AlarmKind::LogForked]);
    assert!(!turn.writes.iter().any(|write| matches!(write, Write::Inbox(..) | Write::Body(..))));
    assert!(town.acknowledged().is_empty());
    town.step([Input::Offer(Box::new(offer))], NOW);
    assert!(town.acknowledged().is_empty(), "nor is any later one");
    assert!(town.bodies().is_empty());
}

#[test]
fn after_a_fork_not_even_what_is_stored_is_acknowledged_again() {
    let (_, mut town, _, offer) = offered();
    town.step([Input::Offer(Box::new(offer.clone()))], NOW);
    town.step([Input::Offer(Box::new(offer.clone()))], NOW);
    assert_eq!(town.acknowledged().len(), 2, "a repetition is acknowledged again");
    let mut other = Broker::new();
    other.append(&seinhuis_shared::entry::Entry::new(seinhuis_shared::entry::Kind::Operator, NOW, [9; 16]));
    other.connect(&mut town, NOW);
    assert_eq!(town.alarms(), [AlarmKind::LogForked]);
    town.step([Input::Offer(Box::new(offer))], NOW);
    assert!(town.acknowledged().is_empty());
}
