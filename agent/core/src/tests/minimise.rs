//! What is taken in, and what is not.

use seinhuis_shared::covenant::{Level, Role, Step};
use seinhuis_shared::ids::CaseId;
use seinhuis_shared::refusal::{Lang, Refusal};
use seinhuis_shared::time::{Span, Timestamp};

use crate::agreed::Agreed;
use crate::fixture::{COVENANT, NOW, Node, SIGNAL, accepted, covenant, inquiry, oin, request, signal};
use crate::minimise::{Prepared, PushRequest, Rejection, Target, prepare};

fn judge(sender: u8, request: &PushRequest) -> Result<Prepared, Rejection> {
    prepare(Node::new(sender).core.agreed(), oin(sender), request, NOW)
}

fn refusal(sender: u8, request: &PushRequest) -> Refusal {
    judge(sender, request).unwrap_err().refusal
}

#[test]
fn a_body_is_declared_for_what_it_holds() {
    let prepared = judge(3, &signal(1)).unwrap();
    assert_eq!((prepared.declared.level, prepared.declared.purpose.as_str()), (Level::G, "signalering"));
    assert_eq!(prepared.declared.message_type, "signaal_groepsgedrag");
    assert!(prepared.declared.categories.contains(&"leeftijdsband".to_owned()));
    assert_eq!(prepared.recipients, [oin(1)]);
    assert_eq!(prepared.covenant, COVENANT.hash());
    assert_eq!(prepared.expires, NOW.plus(Span::days(14)));
}

#[test]
fn a_field_the_schema_does_not_know_is_named_and_never_dropped() {
    let mut body = String::from_utf8(signal(1).body).unwrap();
    body.insert_str(1, "\"bsn\": \"123456782\",");
    let rejection = judge(3, &PushRequest { body: body.into_bytes(), ..signal(1) }).unwrap_err();
    assert_eq!(rejection.refusal, Refusal::FieldNotAllowed);
    for lang in [Lang::Nl, Lang::En] {
        assert!(rejection.text(lang).contains("/bsn"), "{}", rejection.text(lang));
        assert!(!rejection.text(lang).contains("123456782"), "never a value");
    }
}

#[test]
fn each_wrong_choice_has_its_own_reason() {
    let base = || signal(1);
    for (name, sender, request, wanted) in [
        ("no json", 3, PushRequest { body: b"{".to_vec(), ..base() }, Refusal::NotJson),
        ("empty", 3, PushRequest { body: b"{}".to_vec(), ..base() }, Refusal::FieldInvalid),
        ("other sender", 2, base(), Refusal::SenderRole),
        ("stranger", 9, base(), Refusal::NotSigned),
        ("other recipient", 3, request(1, "F01", &[2], SIGNAL), Refusal::RecipientRole),
        ("no recipient", 3, PushRequest { to: vec![], ..base() }, Refusal::RecipientCount),
        ("twice", 3, request(1, "F01", &[1, 1], SIGNAL), Refusal::RecipientCount),
        ("unknown recipient", 3, request(1, "F01", &[8], SIGNAL), Refusal::NotAParty),
        ("flow", 3, PushRequest { flow: "F99".into(), ..base() }, Refusal::UnknownFlow),
        ("type", 3, PushRequest { message_type: Some("groepsscan".into()), ..base() }, Refusal::WrongType),
        ("step", 3, PushRequest { step: Some(Step::S7), ..base() }, Refusal::WrongStep),
        ("basis", 3, PushRequest { basis: Some("wpg_16".into()), ..base() }, Refusal::PurposeMissing),
        ("basis form", 3, PushRequest { basis: Some("Wpg 16".into()), ..base() }, Refusal::FieldInvalid),
        ("ttl", 3, PushRequest { ttl: Some(Span::days(31)), ..base() }, Refusal::TtlTooLong),
        ("no ttl", 3, PushRequest { ttl: Some(Span(0)), ..base() }, Refusal::TtlTooLong),
        (
            "case required",
            2,
            PushRequest { step: Some(Step::S2B), ..request(1, "F09", &[1], "09-F09-politie-namen.json") },
            Refusal::CaseRequired,
        ),
    ] {
        assert_eq!(refusal(sender, &request), wanted, "{name}");
    }
    let large = PushRequest { body: vec![b' '; 2 * 1024 * 1024], ..base() };
    assert_eq!(refusal(3, &large), Refusal::TooLarge);
}

#[test]
fn step_and_type_may_be_left_out_when_only_one_fits() {
    assert!(judge(3, &PushRequest { step: None, ..signal(1) }).is_ok());
    assert_eq!(refusal(1, &PushRequest { step: None, ..inquiry(1, &[2]) }), Refusal::WrongStep);
    let receipt = PushRequest { step: Some(Step::S1), ..request(1, "F41", &[3], "43-F41-ontvangst.json") };
    assert_eq!(judge(1, &receipt).unwrap().declared.message_type, "ontvangstbevestiging");
    let neither = PushRequest { body: b"{}".to_vec(), ..receipt };
    assert_eq!(refusal(1, &neither), Refusal::WrongType);
}

#[test]
fn a_role_stands_for_its_only_party() {
    let by_role = PushRequest { to: vec![Target::Role(Role::Gemeente)], ..signal(1) };
    assert_eq!(judge(3, &by_role).unwrap().recipients, [oin(1)]);
    let nobody = PushRequest { to: vec![Target::Role(Role::Om)], ..signal(1) };
    assert_eq!(refusal(3, &nobody), Refusal::RecipientRole);
}

#[test]
fn the_newest_version_in_force_is_used_unless_one_is_named() {
    let newer = covenant(2, "2026-02-01", "2028-01-01");
    let future = covenant(3, "2027-12-01", "2029-01-01");
    let mut youth = Node::new(3);
    youth.step([accepted(&newer), accepted(&future)], NOW);
    let judged = |request: &PushRequest| {
        prepare(youth.core.agreed(), oin(3), request, NOW).map(|prepared| prepared.covenant)
    };
    assert_eq!(judged(&signal(1)).unwrap(), newer.hash());
    let named = PushRequest { covenant: Some(COVENANT.hash()), ..signal(1) };
    assert_eq!(judged(&named).unwrap(), COVENANT.hash());
    let early = PushRequest { covenant: Some(future.hash()), ..signal(1) };
    assert_eq!(judged(&early).unwrap_err().refusal, Refusal::CovenantNotInForce);
}

#[test]
fn without_a_covenant_in_force_nothing_is_taken_in() {
    let none = prepare(&Agreed::new(oin(3)), oin(3), &signal(1), NOW).unwrap_err();
    assert_eq!(none.refusal, Refusal::NotSigned);
    let late = Timestamp::parse("2028-01-01").unwrap();
    let later = prepare(Node::new(3).core.agreed(), oin(3), &signal(1), late).unwrap_err();
    assert_eq!(later.refusal, Refusal::CovenantNotInForce);
}

#[test]
fn what_is_rejected_leaves_no_trace() {
    let mut node = Node::new(3);
    let before = node.rows.clone();
    let bad = PushRequest { case: Some(CaseId([1; 16])), flow: "F99".into(), ..signal(1) };
    assert!(node.push(bad, NOW).is_err());
    assert_eq!(node.rows, before);
    assert!(node.blobs.is_empty());
    assert!(!node.push(signal(1), NOW).unwrap().repeated, "the id is still free");
}
