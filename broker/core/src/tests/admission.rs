//! Form, identity, signature and time: each defect is refused by its number, logged, and leaves nothing.

use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::covenant::Step;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::limits::{CLOCK_SKEW, PACKET_MAX, TTL_MAX};
use seinhuis_shared::packet::padding::padded_length;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;

use super::broker::{Broker, Did};
use super::cases::walk;
use super::fixture::{Draft, Gem, Jw, NOON, Om, Org, Pol, Stranger};
use crate::admission::Received;
use crate::{Command, Send};

/// Checks that a submission was refused for this reason: the verdict with its receipt (which the broker
/// fixture verifies), one entry, and nothing else.
pub(super) fn is_refused(broker: &Broker, did: &Did, from: Org, bytes: &[u8], refusal: Refusal) -> Entry {
    let [got] = broker.verdicts(did).try_into().unwrap();
    assert_eq!((got.packet, got.outcome), (sha256(bytes), refusal.number()), "{:?}", did.entries);
    assert_eq!(did.sends.len(), 1, "a verdict and nothing more: {:?}", did.sends);
    let [entry] = did.entries.clone().try_into().unwrap();
    assert_eq!((entry.kind, entry.reason), (Kind::Refused, Some(refusal.number())));
    assert_eq!((entry.from, entry.packet), (Some(from.oin()), Some(sha256(bytes))));
    assert_eq!(entry.result.as_deref(), Some("refused"));
    assert!(broker.core.state.mailboxes.is_empty(), "nothing is deposited");
    assert!(broker.blobs.is_empty(), "nothing is kept");
    entry
}

/// Submits to a new broker, with the recipients connected, and checks the refusal.
pub(super) fn refused(from: Org, bytes: &[u8], refusal: Refusal) -> Entry {
    let mut broker = Broker::started(NOON);
    broker.connect(Gem);
    broker.connect(Pol);
    let conn = broker.connect(from);
    let did = broker.submit(conn, from, bytes);
    is_refused(&broker, &did, from, bytes, refusal)
}

pub(super) fn signal() -> Draft {
    Draft::new(Pol, &[Gem], "F01", 1, NOON)
}

pub(super) fn question() -> Draft {
    Draft::new(Gem, &[Pol, Jw, Om], "F04", 1, NOON)
}

#[test]
fn the_packets_that_others_are_made_from_are_accepted() {
    for (from, draft) in [(Pol, signal()), (Gem, question())] {
        let mut broker = Broker::started(NOON);
        let conn = broker.connect(from);
        broker.accept(conn, from, &draft.seal());
        assert_eq!(broker.blobs.len(), 1);
    }
}

#[test]
fn a_truncated_packet() {
    let whole = signal().seal();
    for length in [0, 1, 7, whole.len() / 2, whole.len() - 1] {
        let entry = refused(Pol, &whole[..length], Refusal::Malformed);
        assert_eq!(entry.msg_id, None, "nothing unsigned goes into the log");
    }
}

#[test]
fn a_packet_that_is_not_canonical() {
    let trailing = [&signal().seal()[..], &[0]].concat();
    refused(Pol, &trailing, Refusal::NotCanonical);
    let mut longer_integer = signal().seal();
    longer_integer.splice(1..2, [0x18, 0x01]);
    refused(Pol, &longer_integer, Refusal::NotCanonical);
}

#[test]
fn an_oversized_packet() {
    let mut sealed = signal().encrypt();
    sealed.ciphertext = Bytes(vec![0; PACKET_MAX]);
    refused(Pol, &signal().forge(&sealed), Refusal::TooLarge);
}

#[test]
fn a_packet_larger_than_its_flow_allows() {
    let mut sealed = signal().encrypt();
    sealed.ciphertext = Bytes(vec![0; 64 * 1024]);
    let bytes = signal().forge(&sealed);
    let entry = refused(Pol, &bytes, Refusal::TooLarge);
    assert_eq!(entry.size_class, u64::try_from(padded_length(bytes.len())).ok(), "its class of size");
    assert_eq!(entry.msg_id, Some(signal().context.msg_id));
}

#[test]
fn an_unknown_version() {
    let (_, statement, sealed): (u8, Bytes, Bytes) = cbor::strict(&signal().seal(), PACKET_MAX).unwrap();
    refused(Pol, &cbor::encode(&(2, statement, sealed)), Refusal::UnknownVersion);
    refused(Pol, &signal().with(|draft| draft.context.version = 2).seal(), Refusal::UnknownVersion);
}

#[test]
fn a_recipient_twice() {
    let twice = Draft::new(Gem, &[Pol, Jw, Pol], "F04", 1, NOON);
    refused(Gem, &twice.seal(), Refusal::RecipientCount);
}

#[test]
fn no_recipient() {
    refused(Gem, &Draft::new(Gem, &[], "F04", 1, NOON).seal(), Refusal::RecipientCount);
}

#[test]
fn more_recipients_than_the_flow_allows() {
    let mut broker = Broker::started(NOON);
    broker.add(super::fixture::Absent);
    let conn = broker.connect(Gem);
    let bytes = Draft::new(Gem, &[Pol, Jw, Om, super::fixture::Absent], "F04", 1, NOON).seal();
    let did = broker.submit(conn, Gem, &bytes);
    let entry = is_refused(&broker, &did, Gem, &bytes, Refusal::RecipientCount);
    assert_eq!((entry.to, entry.recipients), (None, Some(4)));
}

#[test]
fn a_hidden_recipient() {
    let mut sealed = signal().encrypt();
    let stranger = Draft::new(Pol, &[Stranger], "F01", 1, NOON).encrypt();
    sealed.wraps.extend(stranger.wraps);
    refused(Pol, &signal().forge(&sealed), Refusal::HiddenRecipient);
}

#[test]
fn a_recipient_without_a_wrap() {
    let mut sealed = question().encrypt();
    sealed.wraps.pop();
    refused(Gem, &question().forge(&sealed), Refusal::HiddenRecipient);
}

#[test]
fn wraps_in_another_order_than_the_recipients() {
    let mut sealed = question().encrypt();
    sealed.wraps.swap(0, 1);
    refused(Gem, &question().forge(&sealed), Refusal::HiddenRecipient);
}

#[test]
fn a_statement_about_another_sealed_part() {
    let draft = signal();
    let (context, sealed) = (draft.context.to_bytes(), draft.encrypt().to_bytes());
    let other = draft.forge_bytes(&context, &sealed, Digest([0; 32]));
    refused(Pol, &other, Refusal::SealMismatch);
}

#[test]
fn a_sender_who_is_not_the_connections() {
    let rejected = Received::new(signal().seal(), Jw.oin())
        .authenticate(&Broker::started(NOON).core.directory())
        .unwrap_err();
    assert_eq!((rejected.refusal, rejected.signed), (Refusal::SenderNotConnection, None));
    let entry = refused(Jw, &signal().seal(), Refusal::SenderNotConnection);
    assert_eq!(entry.from, Some(Jw.oin()), "the log names who submitted it, not whom it names");
    assert_eq!(entry.msg_id, None);
}

#[test]
fn a_packet_examined_for_another_connection_marks_no_message_id() {
    let mut broker = Broker::started(NOON);
    let (jw, pol) = (broker.connect(Jw), broker.connect(Pol));
    let bytes = signal().seal();
    let mixed_up = broker.submission(jw, Pol, &bytes);
    let did = broker.turn([mixed_up]);
    is_refused(&broker, &did, Jw, &bytes, Refusal::SenderNotConnection);
    broker.accept(pol, Pol, &bytes);
}

#[test]
fn a_key_that_is_not_the_senders() {
    let foreign = signal().with(|draft| {
        draft.signer = Jw.key();
        draft.context.signer = Jw.key().public().thumbprint();
    });
    refused(Pol, &foreign.seal(), Refusal::UnknownKey);
    let two_minds = signal().with(|draft| draft.signer = Jw.key());
    refused(Pol, &two_minds.seal(), Refusal::UnknownKey);
}

#[test]
fn a_bad_signature() {
    let (version, mut statement, sealed): (u8, Bytes, Bytes) =
        cbor::strict(&signal().seal(), PACKET_MAX).unwrap();
    *statement.0.last_mut().unwrap() ^= 1;
    let entry = refused(Pol, &cbor::encode(&(version, statement, sealed)), Refusal::BadSignature);
    assert_eq!((entry.msg_id, entry.flow), (None, None), "what is not signed is not repeated");
}

#[test]
fn a_changed_context_under_an_old_signature() {
    let (draft, other) = (signal(), signal().with(|draft| draft.context.seq = 2));
    let sealed = draft.encrypt().to_bytes();
    let (_, good, _): (u8, Bytes, Bytes) = cbor::strict(&draft.forge(&draft.encrypt()), PACKET_MAX).unwrap();
    let (_, changed, _): (u8, Bytes, Bytes) =
        cbor::strict(&other.forge(&draft.encrypt()), PACKET_MAX).unwrap();
    let signature = good.len() - 64..;
    let spliced = [&changed[..changed.len() - 64], &good[signature]].concat();
    refused(Pol, &cbor::encode(&(1, Bytes(spliced), Bytes(sealed))), Refusal::BadSignature);
}

#[test]
fn an_expired_packet() {
    let old = signal().with(|draft| {
        draft.context.issued = NOON.minus(Span::days(1));
        draft.context.expires = NOON;
    });
    let entry = refused(Pol, &old.seal(), Refusal::Expired);
    assert_eq!((entry.msg_id, entry.to), (Some(old.context.msg_id), Some(Gem.oin())));
}

#[test]
fn a_packet_from_the_future() {
    let made = |ahead: Span| {
        signal().with(|draft| {
            draft.context.issued = NOON.plus(ahead);
            draft.context.expires = NOON.plus(Span::days(1));
        })
    };
    refused(Pol, &made(Span(CLOCK_SKEW.0 + 1)).seal(), Refusal::FromTheFuture);
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Pol);
    broker.accept(conn, Pol, &made(CLOCK_SKEW).seal());
}

#[test]
fn a_validity_that_is_too_long_or_none() {
    for expires in [NOON.plus(Span(TTL_MAX.0 + 1)), NOON, NOON.minus(Span(1))] {
        let bytes = signal().with(|draft| draft.context.expires = expires).seal();
        // Whatever a covenant allows.
        let packet = Broker::started(NOON).examine(Pol, &bytes).unwrap();
        assert_eq!(packet.fresh(NOON).unwrap_err().refusal, Refusal::TtlTooLong);
        refused(Pol, &bytes, Refusal::TtlTooLong);
    }
}

#[test]
fn an_unknown_partner_is_no_sender() {
    let mut broker = Broker::bare(NOON);
    broker.command(Command::LoadCovenant { compiled: super::fixture::compiled() });
    let rejected =
        Received::new(signal().seal(), Pol.oin()).authenticate(&broker.core.directory()).unwrap_err();
    assert_eq!((rejected.refusal, rejected.signed), (Refusal::UnknownPartner, None));
}

#[test]
fn a_revoked_partner_is_no_sender() {
    let mut broker = Broker::started(NOON);
    broker.command(Command::RevokePartner { oin: Pol.oin(), reason: None });
    let rejected =
        Received::new(signal().seal(), Pol.oin()).authenticate(&broker.core.directory()).unwrap_err();
    assert_eq!((rejected.refusal, rejected.signed), (Refusal::PartnerRevoked, None));
}

#[test]
fn a_partner_revoked_between_examination_and_handling() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Pol);
    let before = broker.core.directory();
    let packet = Received::new(signal().seal(), Pol.oin()).authenticate(&before).unwrap();
    let input = broker.submission(conn, Pol, &signal().seal());
    let did = broker.turn([
        crate::Input::Operator {
            id: crate::CommandId(1),
            command: Command::RevokePartner { oin: Pol.oin(), reason: None },
        },
        input,
    ]);
    assert!(did.sends.contains(&Send::Close { conn, reason: Refusal::PartnerRevoked }));
    assert!(broker.verdicts(&did).is_empty(), "a closed connection has no standing");
    assert_eq!(did.entries.len(), 1, "the revocation");
    assert!(broker.blobs.is_empty() && broker.core.state.seen.is_empty());
    // The permit does not rest on the connection alone.
    let rejected =
        packet.fresh(NOON).unwrap().permit(&broker.core.directory(), &broker.core.state.cases, NOON);
    let rejected = rejected.unwrap_err();
    assert_eq!(rejected.refusal, Refusal::PartnerRevoked);
}

#[test]
fn a_text_that_no_entry_can_hold_is_left_out_of_the_log() {
    let odd = signal().with(|draft| draft.context.flow = "F\n01".into());
    let entry = refused(Pol, &odd.seal(), Refusal::UnknownFlow);
    assert_eq!((entry.flow, entry.to), (None, Some(Gem.oin())));
    assert_eq!((entry.msg_id, entry.covenant), (Some(odd.context.msg_id), Some(odd.context.covenant)));
}

#[test]
fn the_log_says_what_the_signed_context_says_and_no_more() {
    let case = CaseId([5; 16]);
    let draft = question().with(|draft| draft.context.case = Some(case));
    let mut broker = Broker::started(NOON);
    walk(&mut broker, case, Step::S1);
    let conn = broker.connect(Gem);
    let did = broker.submit(conn, Gem, &draft.seal());
    assert_eq!(did.entries.len(), 3, "one for each recipient");
    for (entry, to) in did.entries.iter().zip([Pol, Jw, Om]) {
        let context = &draft.context;
        assert_eq!((entry.kind, entry.to), (Kind::Accepted, Some(to.oin())));
        assert_eq!((entry.from, entry.key), (Some(Gem.oin()), Some(context.signer)));
        assert_eq!((entry.msg_id, entry.case), (Some(context.msg_id), Some(case)));
        assert_eq!((entry.flow.as_deref(), entry.covenant), (Some("F04"), Some(context.covenant)));
        assert_eq!((entry.step.as_deref(), entry.level.as_deref()), (Some("1"), Some("G")));
        assert_eq!(entry.message_type.as_deref(), Some("signaal"));
        assert_eq!(entry.categories.as_deref(), Some("locatie"));
        assert_eq!(
            (entry.purpose.as_deref(), entry.basis.as_deref()),
            (Some("signalering"), Some("avg_6_1_e"))
        );
        assert_eq!((entry.recipients, entry.trace), (Some(3), Some(context.trace)));
        assert_eq!(entry.packet, Some(sha256(&draft.seal())));
    }
    let salts: std::collections::BTreeSet<_> = broker.entries().iter().map(|entry| entry.salt).collect();
    assert_eq!(salts.len(), broker.log.len(), "every salt is used once");
}
