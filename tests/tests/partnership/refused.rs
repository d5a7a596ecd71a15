//! Packets that must not pass, submitted to a real broker: each gets its number, a receipt that proves the
//! refusal, an entry in the log, and reaches nobody.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use seinhuis_shared::case::Act;
use seinhuis_shared::cbor;
use seinhuis_shared::covenant::Step;
use seinhuis_shared::frame::Kind;
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::limits::{BODY_MAX, PACKET_MAX, TTL_MAX};
use seinhuis_shared::packet::{Context, Packet};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{self, FetchCase, Message as _};
use seinhuis_shell::{clock, keys};
use seinhuis_tests::forge::{Lock, Parts, ago};

use crate::common::town::{Square, Town, sample};

static TOWN: Square = Square::new();

/// The police sign this change of a right packet, and the broker refuses it.
fn refused(refusal: Refusal, edit: impl FnOnce(&mut Context)) {
    let town = TOWN.town();
    town.refuses(&town.edited(edit), refusal);
}

/// A change of the parts of a right packet.
fn spoiled(town: &Town, edit: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut parts = Parts::of(&town.packet()).unwrap();
    edit(&mut parts);
    parts.packet()
}

// Form: 101 to 107.

#[test]
fn a_packet_over_the_bound_is_101() {
    let town = TOWN.town();
    let packet = vec![0; PACKET_MAX + 1];
    let receipt = town.refuses(&packet, Refusal::TooLarge);
    assert_eq!(receipt.entries[0].1.msg_id, None, "nothing in it is believed");
}

#[test]
fn a_body_over_the_bound_of_its_flow_is_101() {
    let town = TOWN.town();
    let forge = town.forge("politie");
    let context = forge.context(&sample("F02"), &town.to("gemeente")).unwrap();
    let packet = forge.seal(context, &[&town.lock.public], &vec![b' '; BODY_MAX / 4]).unwrap();
    town.refuses(&packet, Refusal::TooLarge);
}

#[test]
fn a_truncated_packet_is_102() {
    let town = TOWN.town();
    let packet = town.packet();
    let mut raw = town.open("politie");
    for length in [0, 1, 40, packet.len() / 2, packet.len() - 1] {
        town.refuses_on(&mut raw, "politie", &packet[..length], Refusal::Malformed);
    }
    town.accepts_on(&mut raw, &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

#[test]
fn a_packet_in_another_encoding_is_103() {
    let town = TOWN.town();
    let packet = town.packet();
    let longer_version = [&packet[..1], &[0x18, 1], &packet[2..]].concat();
    let trailing_byte = [&packet[..], &[0]].concat();
    let mut raw = town.open("politie");
    for packet in [longer_version, trailing_byte] {
        town.refuses_on(&mut raw, "politie", &packet, Refusal::NotCanonical);
    }
}

#[test]
fn a_packet_of_another_version_is_104() {
    let town = TOWN.town();
    town.refuses(&spoiled(&town, |parts| parts.version = 2), Refusal::UnknownVersion);
    town.refuses(&town.edited(|context| context.version = 2), Refusal::UnknownVersion);
}

#[test]
fn a_recipient_named_twice_is_105() {
    let town = TOWN.town();
    let to = town.to("gemeente")[0];
    let packet = town.forge("politie").packet(&sample("F02"), &[to, to], |_| ()).unwrap();
    town.refuses(&packet, Refusal::RecipientCount);
}

#[test]
fn data_about_a_person_to_two_recipients_is_105() {
    let town = TOWN.town();
    let to = [town.to("gemeente")[0], town.to("om")[0]];
    let packet = town.forge("politie").packet(&sample("F11"), &to, |_| ());
    // F11 reaches the municipality alone; F12 the prosecution alone: no flow takes both.
    town.refuses(&packet.unwrap(), Refusal::RecipientRole);
    let to = [town.to("politie")[0], town.to("om")[0]];
    let packet = town.forge("gemeente").packet(&sample("F25"), &to, |_| ()).unwrap();
    let mut raw = town.open("gemeente");
    town.refuses_on(&mut raw, "gemeente", &packet, Refusal::RecipientCount);
}

#[test]
fn a_hidden_recipient_is_106() {
    let town = TOWN.town();
    let forge = town.forge("politie");
    let spy = Lock::make().unwrap();
    let other =
        Parts::of(&forge.packet(&sample("F02"), &[(town.oin("gemeente"), &spy.public)], |_| ()).unwrap())
            .unwrap();
    let hidden = seinhuis_shared::cose::Encrypt::parse(&other.sealed, PACKET_MAX).unwrap().wraps;
    let mut parts = Parts::of(&town.packet()).unwrap();
    parts.reseal(&forge.key, |sealed| sealed.wraps.extend(hidden)).unwrap();
    town.refuses(&parts.packet(), Refusal::HiddenRecipient);
}

#[test]
fn a_declared_recipient_without_a_key_is_106() {
    let town = TOWN.town();
    let mut parts = Parts::of(&town.packet()).unwrap();
    parts.reseal(&town.forge("politie").key, |sealed| sealed.wraps.clear()).unwrap();
    town.refuses(&parts.packet(), Refusal::HiddenRecipient);
}

#[test]
fn the_sealed_part_of_another_packet_is_107() {
    let town = TOWN.town();
    let other = Parts::of(&town.packet()).unwrap().sealed;
    town.refuses(&spoiled(&town, |parts| parts.sealed = other), Refusal::SealMismatch);
}

// Identity: 202 to 209.

#[test]
fn a_packet_on_anothers_connection_is_202() {
    let town = TOWN.town();
    let packet = town.packet();
    let mut thief = town.open("jongerenwerk");
    let receipt = town.refuses_on(&mut thief, "jongerenwerk", &packet, Refusal::SenderNotConnection);
    assert_eq!(receipt.entries[0].1.msg_id, None, "the log repeats nothing of what the police signed");
    // The police lose nothing by it: their packet is still new.
    town.accepts_on(&mut town.open("politie"), &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

#[test]
fn a_packet_signed_with_anothers_key_is_203() {
    let town = TOWN.town();
    let mut forge = town.forge("politie");
    forge.key = town.forge("jongerenwerk").key;
    let packet = forge.packet(&sample("F02"), &town.to("gemeente"), |_| ()).unwrap();
    town.refuses(&packet, Refusal::UnknownKey);
}

#[test]
fn a_signer_other_than_the_key_that_signed_is_203() {
    let town = TOWN.town();
    let other = town.forge("jongerenwerk").key.public().thumbprint();
    town.refuses(&town.edited(|context| context.signer = other), Refusal::UnknownKey);
}

#[test]
fn a_bad_signature_is_205_and_nothing_in_the_packet_is_believed() {
    let town = TOWN.town();
    let packet = spoiled(&town, |parts| *parts.statement.last_mut().unwrap() ^= 1);
    let receipt = town.refuses(&packet, Refusal::BadSignature);
    let entry = &receipt.entries[0].1;
    assert_eq!((entry.msg_id, &entry.flow, entry.to), (None, &None, None));
}

#[test]
fn a_recipient_the_broker_does_not_know_is_208() {
    let town = TOWN.town();
    let stranger = "00000099000000009000";
    // A published test key (docs/protocol.md); nobody signs with it here.
    let key = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
    let covenant = town.covenant("with-stranger.toml", |text| {
        format!(
            "{text}\n[[parties]]\noin = \"{stranger}\"\nrole = \"pga\"\nname = \"PGA-tafel\"\ncontact = \"pga@voorbeeldstad.example\"\nsigning_keys = [\"{key}\"]\nmay_be_absent = true\n"
        )
    });
    let mut forge = town.forge("gemeente");
    forge.covenant = covenant;
    let to = [(stranger.parse().unwrap(), &town.lock.public)];
    let packet = forge.packet(&sample("F07"), &to, |_| ()).unwrap();
    let mut raw = town.open("gemeente");
    town.refuses_on(&mut raw, "gemeente", &packet, Refusal::RecipientUnknown);
}

#[test]
fn a_recipient_whose_access_was_revoked_is_209() {
    let town = TOWN.town();
    town.stage.revoke(town.member("zvh")).unwrap();
    let packet = town.forge("gemeente").packet(&sample("F07"), &town.to("zvh"), |_| ()).unwrap();
    let mut raw = town.open("gemeente");
    town.refuses_on(&mut raw, "gemeente", &packet, Refusal::RecipientRevoked);
}

// Time: 301 to 305, and replay.

#[test]
fn an_expired_packet_is_301() {
    refused(Refusal::Expired, |context| {
        (context.issued, context.expires) = (ago(Span::days(2)), ago(Span::seconds(1)));
    });
}

#[test]
fn a_packet_of_an_agent_whose_clock_is_an_hour_ahead_is_302() {
    refused(Refusal::FromTheFuture, |context| {
        context.issued = clock::now().plus(Span::hours(1));
        context.expires = context.issued.plus(Span::days(1));
    });
}

#[test]
fn a_packet_of_an_agent_whose_clock_is_an_hour_behind_still_passes() {
    let town = TOWN.town();
    let packet = town.edited(|context| {
        context.issued = ago(Span::hours(1));
        context.expires = context.issued.plus(Span::days(1));
    });
    town.accepts_on(&mut town.open("politie"), &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

#[test]
fn a_validity_that_is_too_long_or_none_is_303() {
    refused(Refusal::TtlTooLong, |context| {
        context.expires = context.issued.plus(TTL_MAX).plus(Span(1));
    });
    refused(Refusal::TtlTooLong, |context| context.expires = context.issued);
}

#[test]
fn the_same_bytes_again_get_the_same_answer_and_are_delivered_once() {
    let town = TOWN.town();
    let packet = town.packet();
    let (mut police, mut municipality) = (town.open("politie"), town.open("gemeente"));
    let (first, _) = town.accepts_on(&mut police, &packet);
    let (second, _) = town.accepts_on(&mut police, &packet);
    assert_eq!(first, second, "the same answer while it waits");
    town.receives(&mut municipality, "gemeente", &packet);
    let size = town.log_size();
    assert_eq!(town.accepts_on(&mut police, &packet).0, first, "the same answer when it is delivered");
    let mut again = town.open("politie");
    assert_eq!(town.accepts_on(&mut again, &packet).0, first, "the same answer on another connection");
    assert_eq!(town.log_size(), size, "no new entry");
    assert_eq!(town.waiting(), 0, "nothing waits a second time");
    // What comes next is the next packet, not the old one once more.
    let next = town.packet();
    town.accepts_on(&mut police, &next);
    town.receives(&mut municipality, "gemeente", &next);
}

#[test]
fn a_refused_packet_again_gets_the_same_refusal() {
    let town = TOWN.town();
    let packet = town.edited(|context| context.flow = "F99".into());
    let mut raw = town.open("politie");
    let first = town.refuses_on(&mut raw, "politie", &packet, Refusal::UnknownFlow);
    let size = town.log_size();
    assert_eq!(town.refuses_on(&mut raw, "politie", &packet, Refusal::UnknownFlow), first);
    assert_eq!(town.log_size(), size, "no new entry");
}

#[test]
fn a_delivered_packet_replayed_by_another_is_202() {
    let town = TOWN.town();
    let packet = town.packet();
    town.accepts_on(&mut town.open("politie"), &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
    let mut thief = town.open("jongerenwerk");
    town.refuses_on(&mut thief, "jongerenwerk", &packet, Refusal::SenderNotConnection);
}

#[test]
fn the_same_id_with_other_bytes_is_305_and_changes_nothing_for_the_first() {
    let town = TOWN.town();
    let packet = town.packet();
    let msg_id = Packet::parse(&packet).unwrap().context().msg_id;
    let mut police = town.open("politie");
    let (verdict, _) = town.accepts_on(&mut police, &packet);
    let other = town.edited(|context| context.msg_id = msg_id);
    assert_ne!(sha256(&packet), sha256(&other));
    let receipt = town.refuses_on(&mut police, "politie", &other, Refusal::Equivocation);
    assert_eq!(receipt.entries[0].1.msg_id, Some(msg_id), "the log names the id that was used twice");
    assert_eq!(town.accepts_on(&mut police, &packet).0, verdict);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

// Covenant: 401 to 416.

#[test]
fn an_unknown_covenant_is_401() {
    refused(Refusal::UnknownCovenant, |context| context.covenant = Digest([7; 32]));
}

#[test]
fn a_covenant_that_has_ended_is_402() {
    let town = TOWN.town();
    let mut forge = town.forge("politie");
    forge.covenant = town.covenant("ended.toml", |text| {
        text.replace("valid_from = \"2026-01-01\"", "valid_from = \"2024-01-01\"")
            .replace("valid_until = \"2036-01-01\"", "valid_until = \"2025-01-01\"")
            .replace("evaluation = \"2030-01-01\"", "evaluation = \"2024-07-01\"")
    });
    let packet = forge.packet(&sample("F02"), &town.to("gemeente"), |_| ()).unwrap();
    town.refuses(&packet, Refusal::CovenantNotInForce);
}

#[test]
fn a_recipient_outside_the_covenant_is_403() {
    let town = TOWN.town();
    let to = [("00000099000000004321".parse().unwrap(), &town.lock.public)];
    let packet = town.forge("politie").packet(&sample("F02"), &to, |_| ()).unwrap();
    town.refuses(&packet, Refusal::NotAParty);
}

#[test]
fn an_unknown_flow_is_404() {
    refused(Refusal::UnknownFlow, |context| context.flow = "F99".into());
}

#[test]
fn a_flow_of_another_role_is_405() {
    refused(Refusal::SenderRole, |context| context.flow = "F01".into());
}

#[test]
fn a_recipient_of_another_role_is_406() {
    let town = TOWN.town();
    let packet = town.forge("politie").packet(&sample("F02"), &town.to("om"), |_| ()).unwrap();
    town.refuses(&packet, Refusal::RecipientRole);
}

#[test]
fn a_flow_in_another_step_is_407() {
    refused(Refusal::WrongStep, |context| context.declared.step = "5".parse().unwrap());
}

#[test]
fn a_type_of_another_flow_is_408() {
    refused(Refusal::WrongType, |context| context.declared.message_type = "groepsscan".into());
}

#[test]
fn a_level_above_the_flows_is_409() {
    refused(Refusal::LevelNotAllowed, |context| context.declared.level = "P1".parse().unwrap());
}

#[test]
fn a_category_outside_the_flow_is_410() {
    refused(Refusal::CategoryNotAllowed, |context| {
        context.declared.categories.push("identiteit".into());
        context.declared.categories.sort();
    });
}

#[test]
fn another_purpose_or_basis_is_412() {
    refused(Refusal::PurposeMissing, |context| context.declared.purpose = "strafrecht".into());
    refused(Refusal::PurposeMissing, |context| context.declared.basis = "avg_6_1_e".into());
}

#[test]
fn a_disclosure_that_no_decision_covers_is_415() {
    let town = TOWN.town();
    let mut forge = town.forge("gemeente");
    forge.covenant = town.covenant("no-decision.toml", |text| {
        let (head, decision) = text.split_once("[[decisions]]").unwrap();
        let parties = decision.split_once("[[parties]]").unwrap().1;
        format!("{head}[[parties]]{parties}")
    });
    let packet = forge.packet(&sample("F13"), &town.to("jongerenwerk"), |_| ()).unwrap();
    let mut raw = town.open("gemeente");
    town.refuses_on(&mut raw, "gemeente", &packet, Refusal::DecisionMissing);
}

#[test]
fn a_missing_case_is_416() {
    let town = TOWN.town();
    let edit = |context: &mut Context| context.case = None;
    let packet = town.forge("politie").packet(&sample("F09"), &town.to("gemeente"), edit).unwrap();
    town.refuses(&packet, Refusal::CaseRequired);
}

// Cases: 407 and 418 to 423, at the broker alone.

/// The police's names about a case, sealed past their own agent.
fn names(town: &Town, case: CaseId) -> Vec<u8> {
    let edit = |context: &mut Context| context.case = Some(case);
    town.forge("politie").packet(&sample("F09"), &town.to("gemeente"), edit).unwrap()
}

#[test]
fn a_case_nobody_began_is_418() {
    let town = TOWN.town();
    town.refuses(&names(&town, CaseId(keys::random())), Refusal::UnknownCase);
}

#[test]
fn a_case_in_another_step_is_407_and_in_its_own_it_passes() {
    let town = TOWN.town();
    let (case, mut chain) = town.case(Step::S2A);
    town.refuses(&names(&town, case), Refusal::WrongStep);
    town.decides("gemeente", case, &mut chain, Act::Step(Step::S2B)).unwrap();
    let packet = names(&town, case);
    town.accepts_on(&mut town.open("politie"), &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

#[test]
fn a_closed_case_is_419() {
    let town = TOWN.town();
    let (case, mut chain) = town.case(Step::S2B);
    town.decides("gemeente", case, &mut chain, Act::Close).unwrap();
    town.refuses(&names(&town, case), Refusal::CaseClosed);
    let again = town.decides("gemeente", case, &mut chain, Act::Step(Step::S1));
    assert_eq!(again, Err(Refusal::CaseClosed));
}

#[test]
fn a_decision_that_follows_on_another_than_the_last_is_420() {
    let town = TOWN.town();
    let (case, mut chain) = town.case(Step::S2B);
    chain.pop();
    assert_eq!(town.decides("gemeente", case, &mut chain, Act::Close), Err(Refusal::CaseMoved));
}

#[test]
fn a_decision_of_who_does_not_coordinate_is_421_and_of_another_202() {
    let town = TOWN.town();
    let (case, mut chain) = town.case(Step::S1);
    let on = || Act::Step(Step::S2A);
    assert_eq!(town.decides("politie", case, &mut chain, on()), Err(Refusal::NotTheMover));
    let others = town.forge("gemeente").decision(case, &chain, on());
    let said = town.asks("politie", Kind::Decide, &others, Kind::Done);
    assert_eq!(said.err(), Some(Refusal::SenderNotConnection));
}

#[test]
fn a_flow_whose_condition_is_not_stated_is_422() {
    let town = TOWN.town();
    let (case, mut chain) = town.case(Step::S2B);
    let packet = || {
        let edit = |context: &mut Context| context.case = Some(case);
        town.forge("politie").packet(&sample("F12"), &town.to("om"), edit).unwrap()
    };
    town.refuses(&packet(), Refusal::ConditionNotMet);
    let state = Act::Condition { code: "strafrechtelijk".into(), holds: true };
    town.decides("politie", case, &mut chain, state).unwrap();
    let stated = packet();
    town.accepts_on(&mut town.open("politie"), &stated);
    town.receives(&mut town.open("om"), "om", &stated);
}

#[test]
fn a_step_that_does_not_come_next_is_423() {
    let town = TOWN.town();
    let (case, mut chain) = town.case(Step::S1);
    let skips = town.decides("gemeente", case, &mut chain, Act::Step(Step::S3));
    assert_eq!(skips, Err(Refusal::BadTransition));
}

#[test]
fn what_was_decided_is_for_parties_alone() {
    let town = TOWN.town();
    let (case, chain) = town.case(Step::S2A);
    let fetch = |case| cbor::encode(&FetchCase { case });
    let known = town.asks("om", Kind::FetchCase, &fetch(case), Kind::Case).unwrap();
    let known = wire::Case::parse(&known).unwrap();
    assert_eq!(known.decisions.iter().map(|one| one.decision.0.clone()).collect::<Vec<_>>(), chain);
    let none = town.asks("om", Kind::FetchCase, &fetch(CaseId(keys::random())), Kind::Case);
    assert_eq!(none.err(), Some(Refusal::NotFound));
}

// After all that.

#[test]
fn refused_packets_do_not_hold_up_right_ones_on_the_same_lane() {
    let town = TOWN.town();
    let (good, bad) = (town.packet(), spoiled(&town, |parts| *parts.statement.last_mut().unwrap() ^= 1));
    let mut raw = town.open("politie");
    town.runtime.block_on(async {
        for packet in [&bad[..], &good, &bad[..50], b"", &good] {
            raw.submit(packet).await.unwrap();
        }
        let mut outcomes = Vec::new();
        for _ in 0..5 {
            match raw.answer().await.unwrap() {
                seinhuis_tests::raw::Answer::Verdict(verdict) => outcomes.push(verdict.outcome),
                seinhuis_tests::raw::Answer::Deferred(deferred) => panic!("{deferred:?}"),
            }
        }
        assert_eq!(outcomes, [205, 0, 102, 102, 0], "answers come in the order of the packets");
    });
    town.receives(&mut town.open("gemeente"), "gemeente", &good);
    let covenants = town.runtime.block_on(raw.request(Kind::FetchCovenant, &[0x81], Kind::Covenant));
    assert_eq!(covenants.unwrap_err().refusal(), Some(Refusal::Malformed));
    drop(raw);
    town.still_works();
}
