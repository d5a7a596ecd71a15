//! The covenant and the recipients: what was not agreed is refused by its number.

use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::covenant::{Declared, Level, Step};
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use super::admission::{is_refused, question, refused, signal};
use super::broker::Broker;
use super::fixture::{Absent, Draft, Gem, Jw, NOON, Om, Pol, Stranger, covenant};
use crate::{Answer, Command};

#[test]
fn an_unknown_covenant() {
    let other = signal().with(|draft| draft.context.covenant = Digest([9; 32]));
    let entry = refused(Pol, &other.seal(), Refusal::UnknownCovenant);
    assert_eq!(entry.covenant, None, "without the covenant there is no key to check the signature with");
}

#[test]
fn a_covenant_not_in_force() {
    for now in ["2025-12-31T23:59:59Z", "2028-01-01"].map(|text| Timestamp::parse(text).unwrap()) {
        let mut broker = Broker::started(now);
        let conn = broker.connect(Pol);
        let bytes = Draft::new(Pol, &[Gem], "F01", 1, now).seal();
        let did = broker.submit(conn, Pol, &bytes);
        is_refused(&broker, &did, Pol, &bytes, Refusal::CovenantNotInForce);
    }
}

#[test]
fn a_sender_who_is_not_a_party() {
    refused(Stranger, &Draft::new(Stranger, &[Gem], "F01", 1, NOON).seal(), Refusal::NotAParty);
}

#[test]
fn a_recipient_who_is_not_a_party() {
    let entry = refused(Gem, &Draft::new(Gem, &[Stranger], "F04", 1, NOON).seal(), Refusal::NotAParty);
    assert_eq!(entry.to, Some(Stranger.oin()));
}

#[test]
fn an_unknown_flow() {
    let entry =
        refused(Pol, &signal().with(|draft| draft.context.flow = "F99".into()).seal(), Refusal::UnknownFlow);
    assert_eq!(entry.flow.as_deref(), Some("F99"));
}

#[test]
fn a_sender_in_the_wrong_role() {
    refused(Om, &Draft::new(Om, &[Gem], "F01", 1, NOON).seal(), Refusal::SenderRole);
}

#[test]
fn a_recipient_in_the_wrong_role() {
    refused(Pol, &Draft::new(Pol, &[Jw], "F01", 1, NOON).seal(), Refusal::RecipientRole);
    refused(Pol, &Draft::new(Pol, &[Gem, Jw], "F01", 1, NOON).seal(), Refusal::RecipientRole);
}

#[test]
fn a_declaration_that_the_flow_does_not_allow() {
    let declare = |edit: fn(&mut Declared)| signal().with(|draft| edit(&mut draft.context.declared)).seal();
    for (bytes, refusal) in [
        (declare(|declared| declared.step = Step::S3), Refusal::WrongStep),
        (declare(|declared| declared.message_type = "anders".into()), Refusal::WrongType),
        (declare(|declared| declared.level = Level::P2), Refusal::LevelNotAllowed),
        (declare(|declared| declared.categories = vec!["bsn".into()]), Refusal::CategoryNotAllowed),
        (declare(|declared| declared.purpose = "anders".into()), Refusal::PurposeMissing),
        (declare(|declared| declared.basis = "anders".into()), Refusal::PurposeMissing),
    ] {
        refused(Pol, &bytes, refusal);
    }
}

#[test]
fn a_case_where_none_belongs_and_none_where_one_does() {
    refused(Pol, &signal().with(|d| d.context.case = Some(CaseId([1; 16]))).seal(), Refusal::CaseRequired);
    let answer = Draft::new(Om, &[Gem], "F16", 1, NOON);
    refused(Om, &answer.with(|draft| draft.context.case = None).seal(), Refusal::CaseRequired);
}

#[test]
fn a_recipient_the_broker_does_not_know() {
    refused(Gem, &Draft::new(Gem, &[Pol, Absent], "F04", 1, NOON).seal(), Refusal::RecipientUnknown);
}

#[test]
fn a_revoked_recipient() {
    let mut broker = Broker::started(NOON);
    broker.command(Command::RevokePartner { oin: Jw.oin(), reason: None });
    let conn = broker.connect(Gem);
    let did = broker.submit(conn, Gem, &question().seal());
    is_refused(&broker, &did, Gem, &question().seal(), Refusal::RecipientRevoked);
}

#[test]
fn what_a_refused_packet_lacked_does_not_change_its_answer_later() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Gem);
    let bytes = Draft::new(Gem, &[Absent], "F04", 1, NOON).seal();
    let first = broker.submit(conn, Gem, &bytes);
    assert!(matches!(broker.add(Absent), Answer::Recorded { .. }));
    broker.say(Absent, covenant().hash(), Word::Accept).unwrap();
    let again = broker.submit(conn, Gem, &bytes);
    assert_eq!(broker.verdicts(&again), broker.verdicts(&first), "a verdict is final");
    assert!(again.entries.is_empty());
    broker.accept(conn, Gem, &Draft::new(Gem, &[Absent], "F04", 2, NOON).seal());
}
