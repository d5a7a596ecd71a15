//! Passing on: the origin travels, its consent is asked where the handling code says so, and sender and recipient
//! each hold to that without the other.

use std::sync::Arc;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::{Handling, Step};
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::limits::CLOCK_SKEW;
use seinhuis_shared::onward::{Consent, FORMAT, Provenance};
use seinhuis_shared::packet::{Context, Packet, Plain, Recipient, SealRandomness, VERSION, seal};
use seinhuis_shared::prekey::PrekeyBundle;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};

use crate::fixture::{
    Broker, CASE, COVENANT, NOW, Node, Toy, after, moved, oin, partnership, request, rotated, signer,
};
use crate::minimise::{MEDIA_TYPE, prepare};
use crate::onward::{CONSENTS_MAX, CONSENTS_PER_ORIGIN, Held, UNTIL_MAX};
use crate::rows::table;
use crate::turn::Turn;
use crate::{Grant, InboxRow, Input, OutboxRow, PushRequest, Rejection, Source, Stage, Target, Write};

const NAMES: &str = "09-F09-politie-namen.json";
const YOUTHS: &str = "08-F08-jongerenwerk-namen.json";
const MEMBER: &str = "28-F28-lid-toegevoegd.json";

fn about(id: u8, flow: &str, to: u8, body: &str) -> PushRequest {
    PushRequest { step: Some(Step::S2B), case: Some(CASE), ..request(id, flow, &[to], body) }
}

/// A member of the group, told by the municipality to youth work or the officers.
fn member(id: u8, to: u8, source: Option<Source>) -> PushRequest {
    PushRequest { source, ..about(id, "F28", to, MEMBER) }
}

struct Scene {
    broker: Broker,
    town: Node,
    police: Node,
    youth: Node,
    officers: Node,
}

impl Scene {
    /// Four that know a case to be in step 2B.
    fn new() -> Self {
        let (mut broker, nodes) = partnership();
        broker.cases.insert(CASE, moved(Step::S2B));
        let [town, police, youth, officers] = nodes.map(|mut node| {
            node.step([Input::LookAtCase(CASE)], NOW);
            broker.serve(&mut node, NOW);
            node
        });
        Self { broker, town, police, youth, officers }
    }

    /// Has a packet accepted and delivered to the municipality; the outcome of its acknowledgement.
    fn deliver(&mut self, bytes: &[u8]) -> u16 {
        let offer = self.broker.offer(bytes, oin(1), NOW);
        self.town.step([Input::Offer(Box::new(offer))], NOW);
        self.town.acknowledged()[0].outcome
    }

    /// The police send names to the municipality; what that is there to pass on, and the packet.
    fn names(&mut self, id: u8) -> (Source, Digest) {
        self.police.pass(about(id, "F09", 1, NAMES), NOW).unwrap();
        let packet = self.police.submitted().pop().unwrap();
        assert_eq!(self.deliver(&packet), 0);
        (source(&self.town), sha256(&packet))
    }

    /// The police bring bytes as a consent, whatever their agent would say of it; the outcome at the municipality.
    fn bring(&mut self, id: u8, kind: &str, consent: &[u8]) -> u16 {
        let packet = forced(self, &bringing(id, kind, consent), &Provenance::own(oin(2), Handling::Consent));
        self.deliver(&packet)
    }

    /// The police allow the municipality to pass a message on; the outcome at the municipality.
    fn allow(&mut self, of: u8, to: &[u8], until: Timestamp) -> u16 {
        let grant = grant(of + 100 + 10 * to[0], to, Some(until));
        let row = sent(&self.police, of);
        let push = self.police.core.grant(&row, grant, NOW, self.police.ports()).unwrap();
        assert_eq!(self.police.push(push, NOW).unwrap().stage, Stage::Sealed);
        let packet = self.police.submitted().pop().unwrap();
        self.deliver(&packet)
    }
}

fn grant(id: u8, to: &[u8], until: Option<Timestamp>) -> Grant {
    Grant {
        msg_id: MsgId([id; 16]),
        holder: Target::Oin(oin(1)),
        to: to.iter().map(|number| Target::Oin(oin(*number))).collect(),
        until,
        step: None,
        reference: "VB-1".into(),
        reason: "nodig voor de aanpak".into(),
    }
}

/// A message of the police to the municipality that brings these bytes as a consent.
fn bringing(id: u8, kind: &str, consent: &[u8]) -> PushRequest {
    let (about_id, text) = (MsgId([1; 16]), seinhuis_shared::onward::to_base64(consent));
    let body = format!(
        r#"{{"beoogde_ontvanger":"jongerenwerk","bericht":"{about_id}","kenmerk":"VB-1","motivering":"nodig","soort":"{kind}","toestemming":"{text}"}}"#
    );
    PushRequest { body: body.into_bytes(), ..about(id, "F40", 1, NAMES) }
}

/// Has the municipality keep a consent that a party signed; the names of what was dropped for it.
fn hold(node: &mut Node, consent: &Consent, by: u8) -> Vec<Digest> {
    let mut turn = Turn::default();
    let held = Held(consent.clone(), Bytes(consent.sign(&signer(by))));
    node.core.keep_consent(held, NOW, &mut turn);
    let dropped = |write: &Write| {
        if let Write::Consent(digest, None) = write { Some(*digest) } else { None }
    };
    turn.writes.iter().filter_map(dropped).collect()
}

/// Has an organisation hold so many consents of a party besides, whose signatures are not right.
fn fill(node: &mut Node, number: u8, count: usize) {
    let signed = Consent { origin: oin(number), ..consent(Digest([0xEE; 32])) }.sign(&signer(number));
    let at = signed.windows(32).position(|part| part == [0xEE; 32]).unwrap();
    for n in 0..count {
        let mut bytes = signed.clone();
        bytes[at..at + 8].copy_from_slice(&n.to_be_bytes());
        node.core.consents.restore(Consent::digest(&bytes), Bytes(bytes)).unwrap();
    }
}

/// What a broker tells of parties that gave up their key.
fn rotation(numbers: &[u8]) -> Input {
    let rotations = numbers.iter().map(|number| rotated(*number, &signer(40 + number), NOW)).collect();
    Input::Covenant { had: (0, 0), compiled: Arc::clone(&COVENANT), casts: vec![], rotations }
}

fn sent(node: &Node, id: u8) -> OutboxRow {
    let mut rows = node.rows.iter().filter_map(|((of, key), value)| match Write::read(*of, key, value) {
        Ok(Write::Outbox(_, row)) if row.msg_id == MsgId([id; 16]) => Some(*row),
        _ => None,
    });
    rows.next_back().unwrap()
}

/// The last message in an inbox, as something to pass on.
fn source(node: &Node) -> Source {
    let mut last: Option<(u64, InboxRow)> = None;
    let mut said = None;
    for ((of, key), value) in &node.rows {
        let write = Write::read(*of, key, value).unwrap();
        if let Write::Inbox(at, row) = write {
            last = Some((at, *row));
        } else if let Write::Provenance(at, row) = write {
            said = Some((at, row));
        }
    }
    let (at, row) = last.unwrap();
    let said = said.filter(|(own, _)| *own == at).map(|(_, row)| row);
    node.core.source(&row, said.as_ref()).unwrap()
}

fn refused(result: Result<crate::Pushed, Rejection>, wanted: Refusal) -> String {
    let rejection = result.unwrap_err();
    assert_eq!(rejection.refusal, wanted);
    rejection.text(seinhuis_shared::refusal::Lang::En).to_owned()
}

/// A packet of the municipality on F28 to youth work that says this about where its body comes from, whatever
/// an agent would say of it.
fn raw(scene: &Scene, id: u8, provenance: &Provenance) -> Vec<u8> {
    let prepared = prepare(scene.town.core.agreed(), oin(1), &member(id, 3, None), NOW).unwrap();
    let bundle =
        PrekeyBundle::verify(&scene.broker.bundles[&oin(3)], &oin(3), &[signer(3).public()]).unwrap();
    let key = bundle.usable(NOW).unwrap().public.clone();
    let mut context = Context {
        version: VERSION,
        msg_id: MsgId([id; 16]),
        covenant: COVENANT.hash(),
        flow: "F28".into(),
        case: Some(CASE),
        declared: prepared.declared,
        sender: oin(1),
        signer: signer(1).public().thumbprint(),
        recipients: vec![Recipient { oin: oin(3), prekey: key.id() }],
        seq: 1,
        prev: None,
        issued: NOW,
        expires: after(Span::days(1)),
        in_reply_to: None,
        trace: seinhuis_shared::ids::TraceId([id; 16]),
        commitment: Digest([0; 32]),
    };
    let body = member(id, 3, None).body;
    let plain = Plain { media_type: MEDIA_TYPE, provenance, body: &body };
    let chance = SealRandomness { key: [1; 32], iv: [2; 12], salt: [3; 32] };
    seal(&Toy::default(), &mut context, &[&key], plain, &chance, &signer(1)).unwrap().bytes
}

/// A packet of the police to the municipality, whatever an agent would say of it.
fn forced(scene: &Scene, push: &PushRequest, provenance: &Provenance) -> Vec<u8> {
    let prepared = prepare(scene.police.core.agreed(), oin(2), push, NOW).unwrap();
    let key = PrekeyBundle::verify(&scene.broker.bundles[&oin(1)], &oin(1), &[signer(1).public()]).unwrap();
    let key = key.usable(NOW).unwrap().public.clone();
    let id = push.msg_id.0[0];
    let mut context = Packet::parse(&raw(scene, id, &Provenance::own(oin(1), Handling::Partners)))
        .unwrap()
        .context()
        .clone();
    context.flow.clone_from(&push.flow);
    context.declared = prepared.declared;
    (context.sender, context.signer) = (oin(2), signer(2).public().thumbprint());
    context.recipients = vec![Recipient { oin: oin(1), prekey: key.id() }];
    let plain = Plain { media_type: MEDIA_TYPE, provenance, body: &push.body };
    let chance = SealRandomness { key: [1; 32], iv: [2; 12], salt: [3; 32] };
    seal(&Toy::default(), &mut context, &[&key], plain, &chance, &signer(2)).unwrap().bytes
}

fn consent(packet: Digest) -> Consent {
    let until = after(Span::days(30));
    Consent {
        format: FORMAT,
        origin: oin(2),
        holder: oin(1),
        packet,
        recipients: vec![oin(3)],
        until,
        at: NOW,
    }
}

/// Passed on with handling code `consent`, and this consent.
fn onward(packet: Digest, consent: Option<Vec<u8>>) -> Provenance {
    let consent = consent.map(Bytes);
    Provenance { origin: oin(2), handling: Handling::Consent, source: Some(packet), consent }
}

#[test]
fn own_data_names_its_sender_and_the_flow_says_what_may_be_done_with_it() {
    let mut scene = Scene::new();
    let (got, packet) = scene.names(1);
    let expected = Source {
        covenant: COVENANT.hash(),
        case: Some(CASE),
        origin: oin(2),
        handling: Handling::Consent,
        packet,
    };
    assert_eq!(got, expected);
    assert!(!scene.town.rows.keys().any(|(of, _)| *of == table::PROVENANCE), "the flow says it all");
    // A sender may tighten, and that is kept; it may not loosen.
    scene
        .youth
        .pass(PushRequest { handling: Some(Handling::Consent), ..about(2, "F08", 1, YOUTHS) }, NOW)
        .unwrap();
    let packet = scene.youth.submitted().pop().unwrap();
    assert_eq!(scene.deliver(&packet), 0);
    assert_eq!((source(&scene.town).origin, source(&scene.town).handling), (oin(3), Handling::Consent));
    scene.town.restart(NOW);
    let loose = PushRequest { handling: Some(Handling::Partners), ..about(3, "F09", 1, NAMES) };
    assert!(
        refused(scene.police.push(loose, NOW), Refusal::HandlingLoosened).contains("--handling partners")
    );
}

#[test]
fn without_the_origins_consent_nothing_is_passed_on_and_with_it_it_is() {
    let mut scene = Scene::new();
    let (got, packet) = scene.names(1);
    let told = refused(scene.town.push(member(9, 3, Some(got.clone())), NOW), Refusal::ConsentMissing);
    assert!(
        told.contains("handling") && told.contains("consent give") && told.contains(oin(2).as_str()),
        "{told}"
    );
    // For another recipient, another message, or a time that is over, it stays refused.
    assert_eq!(scene.allow(1, &[4], after(Span::days(30))), 0);
    refused(scene.town.push(member(9, 3, Some(got.clone())), NOW), Refusal::ConsentMissing);
    let (other, _) = scene.names(2);
    scene.town.step([], NOW);
    assert_eq!(scene.allow(1, &[3], after(Span::days(30))), 0);
    refused(scene.town.push(member(9, 3, Some(other)), NOW), Refusal::ConsentMissing);
    scene.town.restart(NOW);
    scene.broker.connect(&mut scene.town, NOW);
    scene.town.step([Input::LookAtCase(CASE)], NOW);
    scene.broker.serve(&mut scene.town, NOW);
    assert_eq!(scene.town.core.consents(NOW).count(), 2, "kept");
    refused(scene.town.push(member(9, 3, Some(got.clone())), after(Span::days(30))), Refusal::ConsentMissing);
    scene.town.pass(member(9, 3, Some(got)), NOW).unwrap();
    let bytes = scene.town.submitted().pop().unwrap();
    let offer = scene.broker.offer(&bytes, oin(3), NOW);
    scene.youth.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!(scene.youth.acknowledged()[0].outcome, 0);
    let passed = source(&scene.youth);
    assert_eq!((passed.origin, passed.packet, passed.handling), (oin(2), packet, Handling::Consent));
    // What is passed on from there ends with this packet as well, before and after a restart.
    for _ in 0..2 {
        assert_eq!(scene.youth.core.retention.withdrawn(0, None), Some(packet));
        scene.youth.core = scene.youth.restored();
    }
    // From here on it is still the police's: the consent was the municipality's alone.
    assert_eq!(Packet::parse(&bytes).unwrap().context().sender, oin(1));
}

#[test]
fn within_covenant_and_case_what_partners_may_share_needs_no_consent_and_keeps_its_origin() {
    let mut scene = Scene::new();
    scene.youth.pass(about(1, "F08", 1, YOUTHS), NOW).unwrap();
    let packet = scene.youth.submitted().pop().unwrap();
    assert_eq!(scene.deliver(&packet), 0);
    let got = source(&scene.town);
    assert_eq!((got.origin, got.handling), (oin(3), Handling::Partners));
    let elsewhere = Source { case: None, ..got.clone() };
    refused(scene.town.push(member(2, 4, Some(elsewhere)), NOW), Refusal::OnwardElsewhere);
    scene.town.pass(member(3, 4, Some(got.clone())), NOW).unwrap();
    let bytes = scene.town.submitted().pop().unwrap();
    let offer = scene.broker.offer(&bytes, oin(4), NOW);
    scene.officers.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!(scene.officers.acknowledged()[0].outcome, 0);
    let passed = source(&scene.officers);
    assert_eq!(
        (passed.origin, passed.packet),
        (oin(3), sha256(&packet)),
        "the first origin, not the last sender"
    );
    // Back to where it is from is no disclosure; and there it is own data again.
    let strict = Source { handling: Handling::Consent, ..got };
    scene.town.pass(member(4, 3, Some(strict)), NOW).unwrap();
    let bytes = scene.town.submitted().pop().unwrap();
    let offer = scene.broker.offer(&bytes, oin(3), NOW);
    scene.youth.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!(scene.youth.acknowledged()[0].outcome, 0);
    let back = source(&scene.youth);
    scene.youth.pass(PushRequest { source: Some(back), ..about(5, "F08", 1, YOUTHS) }, NOW).unwrap();
}

#[test]
fn a_consent_that_ends_while_a_message_waits_for_a_person_ends_it() {
    let mut scene = Scene::new();
    let (got, _) = scene.names(1);
    assert_eq!(scene.allow(1, &[3], after(Span::hours(1))), 0);
    assert_eq!(scene.town.push(member(9, 3, Some(got)), NOW).unwrap().stage, Stage::Held);
    scene.town.decide(9, true, after(Span::hours(1))).unwrap();
    let row = sent(&scene.town, 9);
    assert_eq!((row.stage, row.outcome), (Stage::Refused, Refusal::ConsentExpired.number()));
    assert!(scene.town.submitted().is_empty());
}

#[test]
fn a_recipient_holds_to_it_whatever_the_sender_let_pass() {
    let mut scene = Scene::new();
    let (_, packet) = scene.names(1);
    let good = consent(packet);
    let with = |edit: fn(&mut Consent)| {
        let mut consent = good.clone();
        edit(&mut consent);
        onward(packet, Some(consent.sign(&signer(2))))
    };
    let own = |oin: Oin| Provenance::own(oin, Handling::Partners);
    let cases: Vec<(&str, Provenance, u16)> = vec![
        ("with a right consent", onward(packet, Some(good.sign(&signer(2)))), 0),
        ("own data", own(oin(1)), 0),
        ("without a consent", onward(packet, None), Refusal::ConsentMissing.number()),
        (
            "signed by the holder",
            onward(packet, Some(good.sign(&signer(1)))),
            Refusal::ConsentInvalid.number(),
        ),
        ("no consent at all", onward(packet, Some(vec![1; 90])), Refusal::ConsentInvalid.number()),
        ("of another origin", with(|it| it.origin = oin(4)), Refusal::ConsentInvalid.number()),
        ("for another holder", with(|it| it.holder = oin(4)), Refusal::ConsentElsewhere.number()),
        ("about another packet", with(|it| it.packet = Digest([9; 32])), Refusal::ConsentElsewhere.number()),
        ("for others", with(|it| it.recipients = vec![oin(4)]), Refusal::ConsentElsewhere.number()),
        ("for nobody", with(|it| it.recipients.clear()), Refusal::ConsentInvalid.number()),
        (
            "that has ended",
            with(|it| (it.at, it.until) = (Timestamp(1), NOW)),
            Refusal::ConsentExpired.number(),
        ),
        ("of tomorrow", with(|it| it.at = after(Span::days(1))), Refusal::ConsentExpired.number()),
        ("of another version", with(|it| it.format = 2), Refusal::ConsentInvalid.number()),
        ("own data of another", own(oin(2)), Refusal::OriginFalse.number()),
        (
            "passed on, of its own",
            Provenance { origin: oin(1), ..onward(packet, None) },
            Refusal::OriginFalse.number(),
        ),
        (
            "from nobody in the covenant",
            Provenance { origin: oin(9), ..onward(packet, None) },
            Refusal::OriginFalse.number(),
        ),
        (
            "another origin than consented",
            Provenance { origin: oin(4), ..onward(packet, Some(good.sign(&signer(2)))) },
            Refusal::ConsentElsewhere.number(),
        ),
    ];
    for (at, (name, provenance, wanted)) in (10..).zip(cases) {
        let bytes = raw(&scene, at, &provenance);
        let offer = scene.broker.offer(&bytes, oin(3), NOW);
        let before = scene.youth.bodies().len();
        scene.youth.step([Input::Offer(Box::new(offer))], NOW);
        assert_eq!(scene.youth.acknowledged()[0].outcome, wanted, "{name}");
        assert_eq!(scene.youth.bodies().len(), before + usize::from(wanted == 0), "{name}");
    }
}

#[test]
fn a_recipient_does_not_take_a_looser_code_than_the_flow_has() {
    let mut scene = Scene::new();
    let row = |handling| Provenance::own(oin(2), handling);
    for (id, handling, wanted) in
        [(1, Handling::Partners, Refusal::HandlingLoosened.number()), (2, Handling::Consent, 0)]
    {
        let bytes = forced(&scene, &about(id, "F09", 1, NAMES), &row(handling));
        assert_eq!(scene.deliver(&bytes), wanted, "{handling}");
    }
}

#[test]
fn a_consent_that_does_not_count_is_quarantined_and_not_kept() {
    let mut scene = Scene::new();
    let (_, packet) = scene.names(1);
    let good = consent(packet);
    let elsewhere = Consent { holder: oin(4), ..good.clone() };
    let ended = Consent { at: Timestamp(1), until: NOW, ..good.clone() };
    let endless = Consent { until: Timestamp(after(UNTIL_MAX).0 + 1), ..good.clone() };
    let forged = Consent { origin: oin(4), ..good.clone() };
    for (id, bytes, wanted) in [
        (20, elsewhere.sign(&signer(2)), Refusal::ConsentElsewhere),
        (21, ended.sign(&signer(2)), Refusal::ConsentExpired),
        (22, good.sign(&signer(1)), Refusal::ConsentInvalid),
        (23, forged.sign(&signer(4)), Refusal::ConsentElsewhere),
        (24, endless.sign(&signer(2)), Refusal::ConsentInvalid),
    ] {
        assert_eq!(scene.bring(id, "verleend", &bytes), wanted.number(), "{id}");
        assert_eq!(scene.town.core.consents(NOW).count(), 0, "{wanted}");
    }
    for (id, kind) in [(25, "verzoek"), (26, "geweigerd")] {
        assert_eq!(scene.bring(id, kind, &good.sign(&signer(2))), 0);
        assert_eq!(scene.town.core.consents(NOW).count(), 0, "{kind} gives none");
    }
    let longest = Consent { until: after(UNTIL_MAX), ..good };
    assert_eq!(scene.bring(27, "verleend", &longest.sign(&signer(2))), 0);
    assert_eq!(scene.town.core.consents(NOW).count(), 1);
    assert_eq!(scene.town.core.consents(longest.until).count(), 0, "over");
}

#[test]
fn a_consent_is_attached_only_where_it_is_needed_and_none_by_a_key_that_was_given_up() {
    let mut scene = Scene::new();
    let (names, packet) = scene.names(1);
    scene.town.step([], NOW);
    scene.youth.pass(about(2, "F08", 1, YOUTHS), NOW).unwrap();
    let bytes = scene.youth.submitted().pop().unwrap();
    assert_eq!(scene.deliver(&bytes), 0);
    let youths = source(&scene.town);
    let of_youth = Consent { origin: oin(3), recipients: vec![oin(4)], ..consent(sha256(&bytes)) };
    hold(&mut scene.town, &of_youth, 3);
    hold(&mut scene.town, &consent(packet), 2);
    assert_eq!(scene.town.core.consents(NOW).count(), 2);
    let attached = |scene: &mut Scene, id: u8, source: &Source| {
        scene.town.pass(member(id, 4, Some(source.clone())), NOW).unwrap();
        let bytes = scene.town.submitted().pop().unwrap();
        let offer = scene.broker.offer(&bytes, oin(4), NOW);
        scene.officers.step([Input::Offer(Box::new(offer))], NOW);
        assert_eq!(scene.officers.acknowledged()[0].outcome, 0);
        let said = scene.officers.rows.iter().rev().find_map(|((of, key), value)| {
            let Ok(Write::Provenance(_, said)) = Write::read(*of, key, value) else { return None };
            Some(said)
        });
        said.unwrap().consent.is_some()
    };
    assert!(!attached(&mut scene, 3, &youths), "partners within covenant and case need none");
    assert!(attached(&mut scene, 4, &Source { case: None, ..youths.clone() }), "outside the case it is");
    // Both origins give up the key they consented with.
    scene.town.step([rotation(&[2, 3])], NOW);
    assert_eq!(scene.town.core.consents(NOW).count(), 0, "not shown");
    assert!(!attached(&mut scene, 5, &youths), "and in nobody's way");
    let elsewhere = Source { case: None, ..youths };
    refused(scene.town.push(member(6, 4, Some(elsewhere)), NOW), Refusal::OnwardElsewhere);
    refused(scene.town.push(member(7, 3, Some(names)), NOW), Refusal::ConsentMissing);
}

#[test]
fn a_consent_is_given_with_the_key_that_counts_and_not_while_it_changes() {
    let mut scene = Scene::new();
    scene.names(1);
    let row = sent(&scene.police, 1);
    let give = |police: &Node, id: u8| police.core.grant(&row, grant(id, &[3], None), NOW, police.ports());
    let before = give(&scene.police, 20).unwrap();
    let new = signer(42);
    scene.police.next = Some(new.clone());
    scene.police.step([Input::Rotate { token: 3, urgent: false }], NOW);
    let rejection = give(&scene.police, 21).unwrap_err();
    assert_eq!(rejection.refusal, Refusal::TooBusy);
    assert!(rejection.text(seinhuis_shared::refusal::Lang::En).contains("being changed"));
    // Signed before and waiting across the change, it ends here and not at its holder.
    assert_eq!(scene.police.push(before, NOW).unwrap().stage, Stage::Draft);
    scene.police.step([Input::RotationAnswered(Ok(vec![rotated(2, &new, NOW)]))], NOW);
    let ended = sent(&scene.police, 20);
    assert_eq!((ended.stage, ended.outcome), (Stage::Refused, Refusal::ConsentInvalid.number()));
    scene.town.step([rotation(&[2])], NOW);
    assert_eq!(scene.police.ports().signer.public(), signer(2).public(), "lent as before");
    let push = give(&scene.police, 22).unwrap();
    assert_eq!(scene.police.push(push, NOW).unwrap().stage, Stage::Sealed);
    let packet = scene.police.submitted().pop().unwrap();
    assert_eq!(scene.deliver(&packet), 0);
    assert_eq!(scene.town.core.consents(NOW).count(), 1);
}

#[test]
fn an_agent_seals_no_consent_that_its_holder_would_refuse() {
    let mut scene = Scene::new();
    let (_, packet) = scene.names(1);
    let push = bringing(20, "verleend", &consent(packet).sign(&signer(1)));
    assert_eq!(scene.police.push(push, NOW).unwrap().stage, Stage::Refused);
    assert_eq!(sent(&scene.police, 20).outcome, Refusal::ConsentInvalid.number());
    let row = sent(&scene.police, 1);
    let far = grant(21, &[3], Some(after(UNTIL_MAX)));
    let rejection = scene.police.core.grant(&row, far, NOW, scene.police.ports()).unwrap_err();
    assert_eq!(rejection.refusal, Refusal::ConsentInvalid);
    assert!(rejection.text(seinhuis_shared::refusal::Lang::En).contains("366 days"));
    assert_eq!(scene.allow(1, &[3], after(UNTIL_MAX).minus(CLOCK_SKEW)), 0);
}

#[test]
fn an_origin_has_a_share_of_the_consents_and_its_oldest_makes_place() {
    let mut scene = Scene::new();
    let (_, packet) = scene.names(1);
    let of_youth = Consent { origin: oin(3), recipients: vec![oin(4)], at: Timestamp(1), ..consent(packet) };
    assert!(hold(&mut scene.town, &of_youth, 3).is_empty());
    let one = |n: u64| Consent { at: NOW.minus(Span(1000 - n)), ..consent(packet) };
    let share = u64::try_from(CONSENTS_PER_ORIGIN).unwrap();
    for n in 0..share {
        assert!(hold(&mut scene.town, &one(n), 2).is_empty());
    }
    assert!(hold(&mut scene.town, &one(5), 2).is_empty(), "the same once more");
    let oldest = |scene: &Scene| {
        scene.town.core.consents(NOW).filter(|held| held.origin == oin(2)).map(|held| held.at).min().unwrap()
    };
    assert_eq!(oldest(&scene), one(0).at);
    assert_eq!(hold(&mut scene.town, &one(share), 2).len(), 1);
    assert_eq!(oldest(&scene), one(1).at);
    assert_eq!(scene.town.core.consents(NOW).count(), CONSENTS_PER_ORIGIN + 1, "nobody else's");
}

#[test]
fn a_full_table_takes_what_it_holds_already_and_what_takes_the_place_of_another() {
    let mut scene = Scene::new();
    let (_, packet) = scene.names(1);
    let good = consent(packet).sign(&signer(2));
    let other = |n: u64| Consent { at: NOW.minus(Span(n)), ..consent(packet) }.sign(&signer(2));
    assert_eq!(scene.bring(20, "verleend", &good), 0);
    fill(&mut scene.town, 4, CONSENTS_MAX - 1);
    assert_eq!(scene.bring(21, "verleend", &other(1)), Refusal::TooBusy.number());
    assert_eq!(scene.bring(22, "verleend", &good), 0);
    fill(&mut scene.town, 2, CONSENTS_PER_ORIGIN - 1);
    assert_eq!(scene.bring(23, "verleend", &other(2)), 0);
}

#[test]
fn a_consent_is_kept_by_the_key_of_the_time_it_was_accepted() {
    let mut scene = Scene::new();
    let (_, packet) = scene.names(1);
    let push = bringing(20, "verleend", &consent(packet).sign(&signer(2)));
    let bytes = forced(&scene, &push, &Provenance::own(oin(2), Handling::Consent));
    let offer = scene.broker.offer(&bytes, oin(1), NOW);
    let turned = rotated(2, &signer(42), after(Span::seconds(1)));
    let told = Input::Covenant {
        had: (0, 0),
        compiled: Arc::clone(&COVENANT),
        casts: vec![],
        rotations: vec![turned],
    };
    let later = after(Span::seconds(2));
    scene.town.step([told, Input::Offer(Box::new(offer))], later);
    assert_eq!(scene.town.acknowledged()[0].outcome, 0);
    let held = |at| scene.town.core.consents(at).count();
    assert_eq!((held(NOW), held(later)), (1, 0));
}
