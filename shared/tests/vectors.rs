//! The frozen vectors in `shared/vectors`: what the code makes is what stands there, and what stands there
//! reads, opens and fails as it says. `SEINHUIS_BLESS=1 cargo test -p seinhuis-shared --test vectors`
//! writes the files anew; a change in them is a change of the protocol.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "common/cases.rs"]
mod cases;
mod common;
#[path = "common/covenants.rs"]
mod covenants;
#[path = "common/defects.rs"]
mod defects;
#[path = "common/files.rs"]
mod files;
#[path = "common/forge.rs"]
mod forge;
#[path = "common/rotations.rs"]
mod rotations;
#[path = "common/signed.rs"]
mod signed;
#[path = "common/valid.rs"]
mod valid;

use std::collections::BTreeSet;

use common::{GEM, POL, receive};
use files::{hex, unhex};
use forge::Kit;
use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::enrol::{EnrolRequest, fingerprint};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::{CONTENT_FLOOR, PACKET_MAX};
use seinhuis_shared::packet::padding::padded_length;
use seinhuis_shared::packet::{Context, Packet};
use seinhuis_shared::prekey::{PrekeyBundle, PrekeyPublic};
use seinhuis_shared::receipt::{CheckpointCache, Receipt};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Keys, Rotated, Rotation};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::Acknowledgement;

#[test]
fn the_files_are_what_the_code_makes() {
    files::same("keys.json", &valid::keys());
    files::same("packets-valid.json", &valid::packets());
    files::same("packets-invalid.json", &valid::defects());
    files::same("prekeys.json", &signed::prekeys());
    files::same("acknowledgements.json", &signed::acknowledgements());
    files::same("enrolments.json", &signed::enrolments());
    files::same("receipts.json", &signed::receipts());
    files::same("cases.json", &cases::cases());
    files::same("rotations.json", &rotations::rotations());
    files::same("covenants.json", &covenants::covenants());
}

#[test]
fn a_key_has_the_names_it_says() {
    for key in files::read::<Vec<files::Keys>>("keys.json") {
        let signing = SigningKey::from_seed(&unhex(&key.signing_seed).try_into().unwrap());
        assert_eq!(hex(&signing.public().to_bytes()), key.signing_public);
        assert_eq!(signing.public().thumbprint().to_string(), key.thumbprint);
        let prekey = PrekeyPublic::from_slice(&unhex(&key.prekey_public)).unwrap();
        assert_eq!(prekey.id().to_string(), key.prekey_id);
        assert_eq!(hex(&sha256(prekey.as_bytes()).0[..8]), key.prekey_id);
    }
}

#[test]
fn every_valid_packet_reads_and_opens_as_it_says() {
    let packets: Vec<files::ValidPacket> = files::read("packets-valid.json");
    assert!(packets.len() >= 7);
    for vector in packets {
        let name = &vector.name;
        let bytes = unhex(&vector.packet);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(files::ContextFields::new(packet.context()), vector.context, "{name}");
        assert_eq!(hex(&packet.context().to_bytes()), vector.context_bytes, "{name}");
        assert_eq!(packet.digest().to_string(), vector.packet_sha256, "{name}");
        assert_eq!(packet.statement_digest().to_string(), vector.statement_sha256, "{name}");
        assert_eq!(packet.context().commitment.to_string(), vector.context.commitment, "{name}");
        let content = unhex(&vector.content);
        assert_eq!(packet.content_length(), content.len() + 16, "{name}: content and tag");
        assert_eq!(padded_length(content.len()), content.len(), "{name}: a Padmé length");
        for wrap in &vector.wraps {
            let to = valid::org(&wrap.recipient);
            let opened = receive(POL, to, &bytes).unwrap();
            assert_eq!(opened.media_type, vector.media_type, "{name}");
            assert_eq!(hex(&opened.body), vector.body, "{name}");
        }
    }
}

#[test]
fn the_valid_packets_reach_the_corners() {
    let packets: Vec<files::ValidPacket> = files::read("packets-valid.json");
    let named = |name: &str| packets.iter().find(|vector| vector.name == name).unwrap();
    assert_eq!(named("three-recipients").wraps.len(), 3);
    assert!(named("empty-body").body.is_empty());
    assert!(named("case-reply-prev").context.prev.is_some());
    let exact = unhex(&named("body-fills-padme-length").content);
    assert_eq!((exact.len(), exact.last()), (CONTENT_FLOOR, Some(&0x40)), "an empty padding ends it");
    assert!(unhex(&named("body-one-over-padme-length").content).len() > CONTENT_FLOOR);
}

#[test]
fn every_invalid_packet_fails_where_and_as_it_says() {
    let packets: Vec<files::InvalidPacket> = files::read("packets-invalid.json");
    assert!(packets.len() >= 40, "{}", packets.len());
    let mut other = Vec::new();
    for vector in packets {
        let mut bytes = unhex(&vector.packet);
        bytes.resize(bytes.len() + vector.then_zeros, 0);
        let got = receive(POL, GEM, &bytes).map_err(|(stage, refusal)| (files::stage(stage), refusal));
        match got {
            Err((stage, refusal))
                if stage == vector.stage
                    && refusal.number() == vector.refusal
                    && refusal.slug() == vector.reason => {}
            other_outcome => other.push((vector.name, other_outcome)),
        }
    }
    assert!(other.is_empty(), "with another outcome: {other:#?}");
}

#[test]
fn every_defect_has_a_name_of_its_own_and_comes_from_a_right_packet() {
    let defects = defects::all();
    let names: BTreeSet<_> = defects.iter().map(|defect| defect.name).collect();
    assert_eq!(names.len(), defects.len());
    let bytes: BTreeSet<_> = defects.iter().map(|defect| &defect.packet).collect();
    assert_eq!(bytes.len(), defects.len(), "and bytes of its own");
    assert!(receive(POL, GEM, &Kit::one().make()).is_ok(), "without a defect it opens");
}

#[test]
fn one_byte_more_than_a_packet_may_have() {
    let zeros = |length: usize| receive(POL, GEM, &vec![0; length]).unwrap_err().1;
    assert_eq!(zeros(PACKET_MAX + 1), Refusal::TooLarge);
    assert_ne!(zeros(PACKET_MAX), Refusal::TooLarge);
}

#[test]
fn prekey_bundles_count_as_they_say() {
    for vector in files::read::<Vec<files::Signed>>("prekeys.json") {
        let signer = valid::org(&vector.by).key().public();
        let got = PrekeyBundle::verify(&unhex(&vector.bytes), &valid::org(&vector.by).oin(), &[signer]);
        assert_eq!(got.map_or_else(Refusal::number, |_| 0), vector.refusal, "{}", vector.name);
    }
}

#[test]
fn acknowledgements_count_as_they_say() {
    for vector in files::read::<Vec<files::Signed>>("acknowledgements.json") {
        let signer = valid::org(&vector.by).key().public();
        let got = Acknowledgement::verify(&unhex(&vector.bytes), &[signer]);
        assert_eq!(got.map_or_else(Refusal::number, |_| 0), vector.refusal, "{}", vector.name);
    }
}

#[test]
fn enrolment_requests_count_as_they_say() {
    for vector in files::read::<Vec<files::Signed>>("enrolments.json") {
        let bytes = unhex(&vector.bytes);
        let got = EnrolRequest::verify(&bytes);
        assert_eq!(got.map_or_else(Refusal::number, |_| 0), vector.refusal, "{}", vector.name);
        assert_eq!(vector.fingerprint.unwrap(), fingerprint(&bytes), "{}", vector.name);
    }
}

#[test]
fn rotations_count_as_they_say() {
    let file: files::Rotations = files::read("rotations.json");
    for vector in file.statements {
        let got = Rotation::verify(&unhex(&vector.bytes));
        assert_eq!(got.map_or_else(Refusal::number, |_| 0), vector.refusal, "{}", vector.name);
    }
    let covenant = Covenant::from_bytes(&unhex(&file.covenant)).unwrap();
    let compiled = Compiled::new(covenant).unwrap();
    for vector in file.lines {
        let logged = |one: &files::RotatedFields| Rotated {
            rotation: unhex(&one.rotation).into(),
            at: Timestamp(one.at),
        };
        let line: Vec<Rotated> = vector.rotations.iter().map(logged).collect();
        let mut keys = Keys::default();
        let got = keys.learn(&compiled, &line, None);
        assert_eq!(got.map_or_else(Refusal::number, |_| 0), vector.refusal, "{}", vector.name);
        let current = keys.newest(POL.key().public()).thumbprint().to_string();
        assert_eq!(vector.current.unwrap_or_else(|| POL.key().public().thumbprint().to_string()), current);
    }
}

#[test]
fn decisions_about_a_case_count_as_they_say() {
    let file: files::CaseChain = files::read("cases.json");
    let covenant = Covenant::from_bytes(&unhex(&file.covenant)).unwrap();
    let compiled = Compiled::new(covenant).unwrap();
    assert_eq!(compiled.hash().to_string(), file.covenant_sha256);
    let logged = |vector: &files::CaseFields| (unhex(&vector.decision), Timestamp(vector.at));
    let chain: Vec<_> = file.valid.iter().map(logged).collect();
    for (count, vector) in (1..).zip(&file.valid) {
        let state = cases::fold(&compiled, &chain[..count]).unwrap();
        let stating = state.now().stating("strafrechtelijk").map(|oin| oin.to_string()).collect::<Vec<_>>();
        let got = (vector.after, Some(cases::stage(&state)), Some(stating), Some(state.head().to_string()));
        let says = (count - 1, vector.stage.clone(), vector.stating.clone(), vector.sha256.clone());
        assert_eq!(got, says, "{}", vector.name);
    }
    assert!(file.invalid.len() >= 50, "{}", file.invalid.len());
    let names: BTreeSet<_> = file.invalid.iter().map(|vector| &vector.name).collect();
    assert_eq!(names.len(), file.invalid.len());
    for vector in &file.invalid {
        let tried = [&chain[..vector.after], &[logged(vector)]].concat();
        let got = cases::fold(&compiled, &tried).map(|_| ()).map_err(Refusal::number);
        assert_eq!(got, Err(vector.refusal), "{}", vector.name);
    }
}

#[test]
fn covenants_count_or_do_not_as_they_say() {
    let file: files::Covenants = files::read("covenants.json");
    for vector in &file.valid {
        let covenant = Covenant::from_bytes(&unhex(&vector.covenant)).unwrap();
        let informs: Vec<String> = covenant.informs.iter().map(ToString::to_string).collect();
        assert_eq!(Some(informs), vector.informs, "{}", vector.name);
        assert_eq!(hex(&covenant.to_bytes()), vector.covenant, "{}", vector.name);
        assert_eq!(
            Some(Compiled::new(covenant).unwrap().hash().to_string()),
            vector.sha256,
            "{}",
            vector.name
        );
    }
    assert!(file.invalid.len() >= 35, "{}", file.invalid.len());
    let names: BTreeSet<_> = file.invalid.iter().map(|vector| &vector.name).collect();
    let bytes: BTreeSet<_> = file.invalid.iter().map(|vector| &vector.covenant).collect();
    assert_eq!((names.len(), bytes.len()), (file.invalid.len(), file.invalid.len()));
    for vector in &file.invalid {
        let error = Covenant::from_bytes(&unhex(&vector.covenant)).expect_err(&vector.name);
        assert!(!error.advice.is_empty(), "{}: {error}", vector.name);
        // Another form is named as such, whatever follows it.
        let named = error.to_string().contains("is unknown. Update Seinhuis.");
        assert_eq!(named, ["form-0", "form-3", "form-3-with-an-element-more"].contains(&&*vector.name));
    }
}

#[test]
fn receipts_prove_what_they_say() {
    let file: files::LogAndReceipts = files::read("receipts.json");
    let log = signed::log_key();
    assert_eq!(
        (file.origin.as_str(), file.log_key.as_str()),
        (log.origin.as_str(), signed::log_text().as_str())
    );
    let packet = Packet::parse(&unhex(&file.packet)).unwrap();
    let refused: Digest = file.refused_packet.parse().unwrap();
    for vector in file.receipts {
        let outcome = Receipt::parse(&unhex(&vector.receipt))
            .and_then(|receipt| receipt.verify(&log, &mut CheckpointCache::default()))
            .and_then(|proved| match vector.about.as_str() {
                "accepted" => proved.says_accepted(&packet),
                "accepted-for" => proved.says_accepted_for(&packet, &GEM.oin()).map(|_| ()),
                "refused" => proved.says_refused(&refused, &POL.oin(), file.refused_reason),
                other => unreachable!("receipts are not about {other}"),
            });
        assert_eq!(outcome.err().as_ref().map(signed::class), vector.error.as_deref(), "{}", vector.name);
    }
}

/// Fields are compared as text, so that a vector can be read without this code.
#[test]
fn a_context_is_written_out_in_full() {
    let context: Context = common::context(POL, &[GEM]);
    let fields = serde_json::to_value(files::ContextFields::new(&context)).unwrap();
    assert_eq!(fields.as_object().unwrap().len(), 16, "every element of the context");
}
