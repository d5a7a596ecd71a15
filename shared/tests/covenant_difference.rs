//! The difference in words: no field of a document changes without a sentence about it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: what they cannot find ends the test"
)]

mod covenant_kit;

use ciborium::Value;
use covenant_kit::model;
use proptest::prelude::*;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::{
    CaseRule, Change, Condition, Covenant, Fate, Flow, Level, Outside, Requirement, Role, Route, Special,
    Step, difference,
};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::{Span, Timestamp};

fn told(changes: &[Change]) -> String {
    let line = |change: &Change| format!("{}: {}", change.about, change.text(Lang::Nl));
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Every place in a document, as the indexes that lead to it.
fn places(value: &Value, at: &[usize], found: &mut Vec<Vec<usize>>) {
    found.push(at.to_vec());
    if let Value::Array(items) = value {
        for (index, item) in items.iter().enumerate() {
            places(item, &[at, &[index]].concat(), found);
        }
    }
}

fn at<'v>(value: &'v mut Value, place: &[usize]) -> &'v mut Value {
    place.iter().fold(value, |value, index| &mut value.as_array_mut().unwrap()[*index])
}

/// Other values for a place; which of them are of the right kind is seen when the document is read.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is not exhaustive; a covenant holds none of the rest"
)]
fn others(value: &Value) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.to_owned());
    match value {
        Value::Integer(number) => {
            let number = i128::from(*number);
            vec![Value::Integer(u64::try_from(number + 1).unwrap().into())]
        }
        Value::Bool(flag) => vec![Value::Bool(!flag)],
        Value::Bytes(bytes) => {
            let mut other = bytes.clone();
            let last = other.last_mut().unwrap();
            *last ^= 1;
            vec![Value::Bytes(other)]
        }
        Value::Null => vec![Value::Integer(7.into()), Value::Bytes(vec![7; 32]), text("bsn")],
        Value::Text(own) => {
            let mut all = vec![text(&format!("{own}x"))];
            for code in [
                "boa", "pga", "3", "4", "P2", "P3", "deliver", "shred", "optional", "required", "bsn",
                "zorg", "partners", "consent",
            ] {
                if code != own {
                    all.push(text(code));
                }
            }
            // An OIN.
            all.push(text("00000099000000009999"));
            all
        }
        Value::Array(items) => {
            let mut shorter = items.clone();
            let mut all = Vec::new();
            if shorter.pop().is_some() {
                all.push(Value::Array(shorter));
            }
            all
        }
        _ => Vec::new(),
    }
}

fn document(value: &Value) -> Option<Covenant> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    ciborium::from_reader(bytes.as_slice()).ok()
}

/// A document small enough to change everywhere, with one of everything.
fn small() -> Covenant {
    let mut covenant = model();
    covenant.flows.retain(|flow| ["F01", "F12", "F13", "F32"].contains(&flow.id.as_str()));
    let used: Vec<String> = covenant.flows.iter().flat_map(|flow| flow.types.clone()).collect();
    covenant.types.retain(|own| used.contains(&own.code));
    covenant.witnesses.push(Outside {
        name: "inspectie".into(),
        vkey: "getuige.example+00000000+BA".into(),
        url: "https://getuige.example".into(),
    });
    covenant.parties[1].left = Some(Timestamp::parse("2027-01-01").unwrap());
    covenant
}

#[test]
fn every_field_that_changes_is_told() {
    let old = small();
    let mut value = Value::serialized(&old).unwrap();
    let mut all = Vec::new();
    places(&value, &[], &mut all);
    assert!(all.len() > 500, "{}", all.len());
    let mut untouched = Vec::new();
    for place in &all {
        let before = at(&mut value, place).clone();
        let mut changed = 0;
        for other in others(&before) {
            *at(&mut value, place) = other;
            let Some(new) = document(&value) else { continue };
            if new == old {
                continue;
            }
            changed += 1;
            let changes = difference(&old, &new);
            if matches!(place.first(), Some(2 | 3)) {
                assert!(changes.is_empty(), "version and predecessor: {}", told(&changes));
                continue;
            }
            assert!(changes.iter().any(|change| !change.formal), "{place:?}: {}", told(&changes));
            assert!(difference(&new, &old).iter().any(|change| !change.formal), "{place:?} reversed");
        }
        *at(&mut value, place) = before.clone();
        // A record has a fixed length, and an empty list or absent value may have no other.
        if changed == 0 && !matches!(before, Value::Array(_)) {
            untouched.push((place.clone(), before));
        }
    }
    assert!(untouched.is_empty(), "{untouched:?}");
}

#[test]
fn every_order_that_changes_is_told_as_such() {
    let old = small();
    let mut value = Value::serialized(&old).unwrap();
    let mut all = Vec::new();
    places(&value, &[], &mut all);
    let mut swapped = 0;
    for place in &all {
        let Value::Array(items) = at(&mut value, place).clone() else { continue };
        if items.len() < 2 {
            continue;
        }
        at(&mut value, place).as_array_mut().unwrap().swap(0, 1);
        if let Some(new) = document(&value).filter(|new| *new != old) {
            swapped += 1;
            assert!(!difference(&old, &new).is_empty(), "{place:?}");
        }
        at(&mut value, place).as_array_mut().unwrap().swap(0, 1);
        let last = items[items.len() - 1].clone();
        at(&mut value, place).as_array_mut().unwrap().push(last);
        if let Some(new) = document(&value).filter(|new| *new != old) {
            assert!(!difference(&old, &new).is_empty(), "{place:?} twice");
        }
        at(&mut value, place).as_array_mut().unwrap().pop();
    }
    assert!(swapped > 30, "{swapped}");
    let mut new = old.clone();
    new.flows.swap(0, 1);
    new.flows[0].levels.reverse();
    let changes = difference(&old, &new);
    assert!(changes.iter().all(|change| change.formal), "{}", told(&changes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn several_changes_at_once_are_told_and_none_is_told_of_equals(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..5),
    ) {
        let old = small();
        let mut value = Value::serialized(&old).unwrap();
        for (place, other) in picks {
            let mut all = Vec::new();
            places(&value, &[], &mut all);
            let place = place.get(&all).clone();
            let before = at(&mut value, &place).clone();
            let others = others(&before);
            if !others.is_empty() {
                *at(&mut value, &place) = other.get(&others).clone();
                if document(&value).is_none() {
                    *at(&mut value, &place) = before;
                }
            }
        }
        let new = document(&value).unwrap();
        let apart = Covenant { version: new.version, previous: new.previous, ..old.clone() };
        prop_assert_eq!(difference(&old, &new).is_empty(), apart == new);
        prop_assert!(difference(&new, &new).is_empty());
    }
}

type Row = (&'static str, &'static str, fn(&mut Covenant));

/// Dutch sentence, English sentence, change.
const SENTENCES: &[Row] = &[
    (
        "De politie mag voortaan op stroom F12 in stap 3 gegevens van niveau P1, P2 en P3 sturen aan het OM.",
        "The police may from now on send data of levels P1, P2 and P3 to the public prosecution service on flow F12 in step 3.",
        |c| c.flows[11].steps.push(Step::S3),
    ),
    (
        "De politie mag op stroom F12 in stap 2B niet meer gegevens van niveau P3 sturen aan het OM.",
        "The police may no longer send data of level P3 to the public prosecution service on flow F12 in step 2B.",
        |c| c.flows[11].levels.retain(|level| *level != Level::P3),
    ),
    (
        "De gemeente mag voortaan op stroom F13 in stap 2B gegevens van niveau P1 sturen aan de politie en de boa.",
        "The municipality may from now on send data of level P1 to the police and the municipal enforcement officers on flow F13 in step 2B.",
        |c| c.flows[12].routes.push(Route { from: vec![Role::Gemeente], to: vec![Role::Boa, Role::Politie] }),
    ),
    (
        "De gemeente mag op stroom F13 in stap 2B niet meer gegevens van niveau P1 sturen aan het jongerenwerk.",
        "Flow F13 is dropped: “municipality shares the name list with youth work”.",
        |c| _ = c.flows.remove(12),
    ),
    (
        "Stroom F12 vraagt niet meer dat vaststaat: strafrechtelijk (voor berichten van of aan het OM).",
        "Flow F12 no longer asks that this is established: strafrechtelijk (for messages from or to the public prosecution service).",
        |c| c.flows[11].conditions.clear(),
    ),
    (
        "“Vrijgave door een mens” van stroom F12 was ja en wordt nee.",
        "“Release by a human” of flow F12 was yes and becomes no.",
        |c| c.flows[11].release = false,
    ),
    (
        "De bewaartermijn van stroom F01 was 90 dagen: “3 maanden” en wordt 365 dagen (1 jaar): “3 maanden”.",
        "The retention of flow F01 was 90 days: “3 maanden” and becomes 365 days (1 year): “3 maanden”.",
        |c| c.flows[0].retention_days = Some(365),
    ),
    (
        "Op stroom F08 mag voortaan ook gegevenscategorie rol_in_groep.",
        "Flow F08 from now on also allows data category rol_in_groep.",
        |c| c.flows[7].categories.push("rol_in_groep".into()),
    ),
    (
        "Het doel van stroom F08 was groepsaanpak en wordt strafrecht.",
        "The purpose of flow F08 was groepsaanpak and becomes strafrecht.",
        |c| c.flows[7].purpose = "strafrecht".into(),
    ),
    (
        "“Handhaving Voorbeeldstad” (00000099000000005000), de boa, neemt niet meer deel.",
        "“Handhaving Voorbeeldstad” (00000099000000005000), the municipal enforcement officers, no longer takes part.",
        |c| _ = c.parties.remove(4),
    ),
    (
        "Het convenant werkt niet meer zonder handtekening van “Stichting Jongerenwerk De Brug” (00000099000000003000).",
        "The covenant no longer works without the signature of “Stichting Jongerenwerk De Brug” (00000099000000003000).",
        |c| c.parties[2].may_be_absent = false,
    ),
    (
        "Het einde van de deelname van “Lokaal Team Noord” (00000099000000008000) was niet bepaald en wordt 2027-03-01.",
        "The end of participation of “Lokaal Team Noord” (00000099000000008000) was not set and becomes 2027-03-01.",
        |c| c.parties[7].left = Timestamp::parse("2027-03-01"),
    ),
    (
        "Besluit “VB-2026-0017” dekt voortaan ook categorie politiegegevens.",
        "Decision “VB-2026-0017” from now on also covers category politiegegevens.",
        |c| c.decisions[0].categories.push("politiegegevens".into()),
    ),
    (
        "Het niveau van categorie noodzaak was P1 en wordt G.",
        "The level of category noodzaak was P1 and becomes G.",
        |c| c.categories.iter_mut().find(|own| own.code == "noodzaak").unwrap().level = Level::G,
    ),
    (
        "De wettelijke soort van categorie bsn was burgerservicenummer (UAVG 46) en wordt gewoon.",
        "The legal kind of category bsn was citizen service number (UAVG 46) and becomes ordinary.",
        |c| c.categories.iter_mut().find(|own| own.special == Some(Special::Bsn)).unwrap().special = None,
    ),
    (
        "Wie betrokkenen informeert was de gemeente en wordt de gemeente en de politie.",
        "Who informs data subjects was the municipality and becomes the municipality and the police.",
        |c| c.informs.push(Role::Politie),
    ),
    (
        "Wie betrokkenen informeert was de gemeente en wordt niet afgesproken.",
        "Who informs data subjects was the municipality and becomes not agreed.",
        |c| (c.format, c.informs) = (1, Vec::new()),
    ),
    (
        "De bewaartermijn van het uitwisselingslogboek was 1826 dagen (5 jaar) en wordt 365 dagen (1 jaar).",
        "The retention of the exchange log was 1826 days (5 years) and becomes 365 days (1 year).",
        |c| c.log_retention_days = 365,
    ),
    (
        "De regel voor wachtende berichten als toegang wordt ingetrokken was “vernietigen” en wordt “alsnog bezorgen”.",
        "The rule for waiting messages when access is revoked was “destroy” and becomes “deliver still”.",
        |c| c.in_flight.revoked = Fate::Deliver,
    ),
    (
        "De langste geldigheid van een bericht was 30 dagen en wordt 1 dag.",
        "The longest validity of a message was 30 days and becomes 1 day.",
        |c| c.max_ttl = Span::days(1),
    ),
    (
        "De politie mag een zaak voortaan naar stap 1 brengen.",
        "The police may from now on move a case to step 1.",
        |c| c.steps[0].movers.push(Role::Politie),
    ),
    (
        "Het noemen van een zaak van stroom F12 was verplicht en wordt verboden.",
        "Naming a case of flow F12 was required and becomes forbidden.",
        |c| c.flows[11].case = CaseRule::Forbidden,
    ),
    (
        "Het jongerenwerk mag voorwaarde strafrechtelijk voortaan vaststellen.",
        "Youth work may from now on state condition strafrechtelijk.",
        |c| c.conditions[0].set_by.push(Role::Jongerenwerk),
    ),
    (
        "Berichttype voortgang_actie krijgt veld /klacht: ja of nee, mag ontbreken, categorie actie_persoon.",
        "Message type voortgang_actie gets field /klacht: yes or no, optional, category actie_persoon.",
        |c| {
            schema(
                c,
                "\"properties\":{",
                "\"properties\":{\"klacht\":{\"type\":\"boolean\",\"x-category\":\"actie_persoon\"},",
            );
        },
    ),
    (
        "De toelichting in het schema van voortgang_actie verandert; de velden blijven gelijk.",
        "The explanation in the schema of voortgang_actie changes; the fields stay the same.",
        |c| {
            schema(
                c,
                "{\"additionalProperties\":false,",
                "{\"additionalProperties\":false,\"description\":\"x\",",
            );
        },
    ),
];

fn schema(covenant: &mut Covenant, old: &str, new: &str) {
    let own = covenant.types.iter_mut().find(|own| own.code == "voortgang_actie").unwrap();
    assert!(own.schema.contains(old), "{}", own.schema);
    own.schema = own.schema.replacen(old, new, 1);
}

#[test]
fn sentences_say_what_becomes_possible_and_what_ends() {
    for (nl, en, change) in SENTENCES {
        let old = model();
        let mut new = old.clone();
        change(&mut new);
        let changes = difference(&old, &new);
        let has = |lang, text: &str| changes.iter().any(|change| change.text(lang).starts_with(text));
        assert!(has(Lang::Nl, nl), "{nl}\nbut\n{}", told(&changes));
        let english = changes.iter().map(|change| change.text(Lang::En)).collect::<Vec<_>>().join("\n");
        assert!(english.contains(en), "{en}\nbut\n{english}");
    }
}

#[test]
fn what_a_joining_party_and_a_new_flow_open_is_told_in_full() {
    let old = model();
    let mut new = old.clone();
    let mut party = old.parties[3].clone();
    party.oin = "00000099000000009000".parse().unwrap();
    party.name = "Tweede parket".into();
    let key = SigningKey::from_seed(&[42; 32]).public();
    party.signing_keys = vec![Bytes(key.to_bytes().to_vec())];
    party.witness_key = None;
    new.parties.push(party);
    let flow = Flow { id: "F42".into(), ..old.flows[11].clone() };
    new.flows.push(Flow {
        conditions: vec![Requirement { condition: "vuurwerk".into(), roles: vec![Role::Om] }],
        ..flow
    });
    new.conditions.push(Condition {
        code: "vuurwerk".into(),
        nl: "er is vuurwerk".into(),
        en: "there are fireworks".into(),
        set_by: vec![Role::Boa],
        parties: 2,
    });
    let text = told(&difference(&old, &new));
    for part in [
        "“Tweede parket” (00000099000000009000) neemt voortaan deel als het OM, vanaf 2026-01-01; moet tekenen",
        &key.thumbprint().to_string(),
        "ontvangen op: F07, F12, F14",
        "Stroom F42 is nieuw: ",
        "voorwaarden: vuurwerk",
        "De politie mag voortaan op stroom F42 in stap 2B gegevens van niveau P1, P2 en P3 sturen aan het OM.",
        "Voorwaarde vuurwerk komt erbij",
    ] {
        assert!(text.contains(part), "{part}\nbut\n{text}");
    }
}

#[test]
fn rotation_of_a_key_names_both_fingerprints() {
    let old = model();
    let mut new = old.clone();
    let key = SigningKey::from_seed(&[42; 32]).public();
    new.parties[0].signing_keys[0] = Bytes(key.to_bytes().to_vec());
    new.version = 2;
    new.previous = Some(Digest([1; 32]));
    let text = told(&difference(&old, &new));
    let before = SigningKey::from_seed(&[1; 32]).public().thumbprint();
    assert!(text.contains(&format!("tekent voortaan ook met sleutel {}", key.thumbprint())), "{text}");
    assert!(text.contains(&format!("tekent niet meer met sleutel {before}")), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_document_with_one_key_twice_equals_itself_and_differs_from_the_one_without() {
    let mut twice = model();
    let mut second = twice.parties[0].clone();
    second.name = "Tweede inschrijving".into();
    twice.parties.push(second);
    assert!(difference(&twice, &twice).is_empty());
    assert!(told(&difference(&model(), &twice)).contains("“Tweede inschrijving”"));
    assert!(told(&difference(&twice, &model())).contains("neemt niet meer deel"));
}
