//! Random small covenants, and questions about them that are nearly right, so that every row gets its turn.

use std::sync::LazyLock;

use crate::cbor::Bytes;
use crate::covenant::*;
use crate::ids::{CaseId, Oin};
use crate::signing::SigningKey;
use crate::time::{Span, Timestamp};

/// Where choices come from: given bytes, then zeros, so that fewer and smaller bytes make a simpler case; or a
/// fixed row of numbers that does not end.
pub(super) struct Dice {
    bytes: std::vec::IntoIter<u8>,
    endless: Option<u64>,
}

impl Dice {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into_iter(), endless: None }
    }

    /// The numbers of `SplitMix64` from `seed`.
    pub(super) fn seeded(seed: u64) -> Self {
        Self { bytes: Vec::new().into_iter(), endless: Some(seed) }
    }

    fn below(&mut self, end: usize) -> usize {
        let number = if let Some(state) = &mut self.endless {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            usize::try_from((mixed ^ (mixed >> 31)) >> 40).unwrap()
        } else {
            usize::from(self.bytes.next().unwrap_or(0))
        };
        number % end
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    fn one<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// Up to `most` of them, each once; perhaps none.
    fn up_to<T: Clone + PartialEq>(&mut self, most: usize, all: &[T]) -> Vec<T> {
        let mut chosen = Vec::new();
        if !all.is_empty() {
            for _ in 0..self.below(most + 1) {
                let one = self.one(all);
                if !chosen.contains(&one) {
                    chosen.push(one);
                }
            }
        }
        chosen
    }

    /// One of them, and sometimes others.
    fn some<T: Clone + PartialEq>(&mut self, most: usize, all: &[T]) -> Vec<T> {
        let mut chosen = self.up_to(most, all);
        if chosen.is_empty() {
            chosen.push(self.one(all));
        }
        chosen
    }
}

const PURPOSES: [&str; 2] = ["overlast", "zorg_en_veiligheid"];
const BASES: [&str; 3] = ["avg_6_1_c", "avg_6_1_e", "wpg_16"];
/// Two that carry something about a case, and two about earlier messages.
const TYPES: [&str; 4] = ["signaal", "bericht", "correctie", "afwijzing"];
/// Not in any covenant made here.
const UNKNOWN: &str = "onbekend";
const PARTIES: usize = 18;

static KEYS: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let key = |seed: usize| SigningKey::from_seed(&[u8::try_from(seed + 1).unwrap(); 32]).public();
    (0..PARTIES).map(|seed| Bytes(key(seed).to_bytes().to_vec())).collect()
});

fn day(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// Instants at which decisions begin and end.
fn days() -> [Timestamp; 4] {
    ["2026-03-01", "2026-06-01", "2026-09-01", "2027-01-01"].map(day)
}

fn oin(number: usize) -> Oin {
    format!("000000990000000{number:02}000").parse().unwrap()
}

fn outsider(dice: &mut Dice) -> Oin {
    oin(50 + dice.below(4))
}

fn clause(code: &str) -> Clause {
    Clause { code: code.into(), nl: code.into(), en: code.into() }
}

/// Taking part from the first day of the covenant and with no end, so that only the role counts.
fn party(index: usize, role: Role) -> Party {
    Party {
        oin: oin(index),
        role,
        name: format!("partij {index}"),
        contact: "test@example.org".into(),
        signing_keys: vec![KEYS[index].clone()],
        may_be_absent: false,
        joined: day("2026-01-01"),
        left: None,
        witness_key: None,
    }
}

fn categories(dice: &mut Dice) -> Vec<Category> {
    let bsn = dice.one(&[Level::P1, Level::P2, Level::P3]);
    let all = [
        ("groep", Level::G, None),
        ("naam", Level::P1, None),
        ("gedrag", Level::P2, None),
        ("politie", Level::P3, None),
        ("delict", Level::P3, Some(Special::Criminal)),
        ("bsn", bsn, Some(Special::Bsn)),
        ("zorg", Level::Z, Some(Special::Care)),
        ("plaats", Level::G, None),
    ];
    let chosen = all.into_iter().filter(|(code, ..)| *code == "groep" || !dice.once_in(4));
    chosen
        .map(|(code, level, special)| Category {
            code: code.into(),
            level,
            special,
            nl: code.into(),
            en: code.into(),
        })
        .collect()
}

fn flow(dice: &mut Dice, index: usize, roles: &[Role], steps: &[Step], categories: &[Category]) -> Flow {
    // Half of them about groups alone: most random flows about a person open something unlawful.
    let levels = if dice.once_in(2) { dice.some(4, Level::ALL) } else { vec![Level::G] };
    let fitting: Vec<String> = categories
        .iter()
        .filter(|one| levels.iter().any(|level| one.level <= *level))
        .map(|one| one.code.clone())
        .collect();
    let routes =
        (0..=dice.below(2)).map(|_| Route { from: dice.some(2, roles), to: dice.some(3, roles) }).collect();
    Flow {
        id: format!("F{index:02}"),
        nl: "stroom".into(),
        en: "flow".into(),
        types: dice.some(2, &TYPES.map(str::to_owned)),
        routes,
        steps: dice.some(3, steps),
        levels,
        categories: dice.up_to(6, &fitting),
        purpose: dice.one(&PURPOSES).into(),
        bases: dice.some(2, &BASES.map(str::to_owned)),
        case: dice.one(&[CaseRule::Optional, CaseRule::Required, CaseRule::Forbidden]),
        decision: dice.once_in(4),
        conditions: vec![],
        release: false,
        handling: Handling::Consent,
        max_recipients: dice.one(&[1, 2, 3, 16]),
        max_body: dice.one(&[100, 1, 7, 8, 1_000, 1 << 20]),
        retention_days: dice.one(&[None, Some(30), Some(365)]),
        retention: "zo lang".into(),
    }
}

fn decision(dice: &mut Dice, index: usize, roles: &[Role], categories: &[Category]) -> Decision {
    let begin = dice.below(3);
    let end = begin + 1 + dice.below(3 - begin);
    let covered: Vec<String> =
        categories.iter().filter(|one| one.level != Level::Z).map(|one| one.code.clone()).collect();
    Decision {
        reference: format!("besluit {index}"),
        date: days()[begin],
        authority: "korpschef".into(),
        recipients: dice.some(4, roles),
        categories: if dice.once_in(2) { covered.clone() } else { dice.some(4, &covered) },
        expires: days()[end],
    }
}

/// A covenant of the right form. What it opens may be against the law.
pub(super) fn covenant(dice: &mut Dice) -> Covenant {
    let count = if dice.once_in(12) { PARTIES } else { 2 + dice.below(6) };
    let parties: Vec<Party> = (0..count).map(|index| party(index, dice.one(Role::ALL))).collect();
    let roles: Vec<Role> = parties.iter().map(|party| party.role).collect();
    let steps = dice.some(6, Step::ALL);
    let categories = categories(dice);
    let flows = (0..=dice.below(2)).map(|index| flow(dice, index, &roles, &steps, &categories)).collect();
    let decisions = (0..dice.below(3)).map(|index| decision(dice, index, &roles, &categories)).collect();
    let schema = concat!(
        r#"{"additionalProperties":false,"properties":{"plaats":{"maxLength":100,"minLength":1,"#,
        r#""type":"string","x-category":"groep"}},"type":"object"}"#
    );
    let step = |step| StepRule { step, nl: "stap".into(), en: "step".into(), movers: vec![Role::Gemeente] };
    let kind = |code: &str| MessageType {
        code: code.into(),
        nl: code.into(),
        en: code.into(),
        schema: schema.into(),
    };
    Covenant {
        format: FORMAT,
        id: "proef".into(),
        version: 1,
        previous: None,
        title: "Proefconvenant".into(),
        owner: oin(0),
        valid_from: day("2026-01-01"),
        valid_until: day("2028-01-01"),
        evaluation: day("2027-01-01"),
        contact: "privacy@example.org".into(),
        max_ttl: dice.one(&[Span::days(30), Span::hours(1), Span(1)]),
        max_body: dice.one(&[1 << 20, 50, 8]),
        log_retention_days: 1826,
        retention: "zoals bij de stroom".into(),
        overlap_days: 0,
        witness_quorum: 0,
        in_flight: InFlight { withdrawn: Fate::Freeze, superseded: Fate::Deliver, revoked: Fate::Shred },
        purposes: PURPOSES.map(clause).to_vec(),
        bases: BASES.map(clause).to_vec(),
        categories,
        types: TYPES.map(kind).to_vec(),
        steps: steps.into_iter().map(step).collect(),
        conditions: vec![],
        flows,
        decisions,
        parties,
        witnesses: Vec::new(),
        informs: Vec::new(),
    }
}

/// A question with what it borrows.
#[derive(Debug)]
pub(super) struct Asked {
    flow: String,
    sender: Oin,
    recipients: Vec<Oin>,
    case: Option<CaseId>,
    declared: Declared,
    now: Timestamp,
    issued: Timestamp,
    expires: Timestamp,
    size: Size,
}

impl Asked {
    pub(super) fn as_question(&self) -> Question<'_> {
        Question {
            flow: &self.flow,
            sender: self.sender,
            recipients: &self.recipients,
            case: self.case,
            declared: &self.declared,
            now: self.now,
            issued: self.issued,
            expires: self.expires,
            size: self.size,
        }
    }
}

/// A question about one of the covenant's flows, right but for a fault here and there.
pub(super) fn question(dice: &mut Dice, covenant: &Covenant) -> Asked {
    let flow = dice.one(&covenant.flows);
    let (sender, recipients) = parties(dice, covenant, &flow);
    let (issued, expires) = validity(dice, covenant);
    let names_case = match flow.case {
        CaseRule::Required => !dice.once_in(10),
        CaseRule::Forbidden => dice.once_in(10),
        CaseRule::Optional => dice.once_in(2),
    };
    Asked {
        declared: declared(dice, covenant, &flow),
        now: now(dice, covenant),
        size: size(dice, covenant, &flow),
        flow: if dice.once_in(30) { "F99".into() } else { flow.id },
        sender,
        recipients,
        case: names_case.then_some(CaseId([9; 16])),
        issued,
        expires,
    }
}

fn with_role(covenant: &Covenant, roles: &[Role]) -> Vec<Oin> {
    covenant.parties.iter().filter(|party| roles.contains(&party.role)).map(|party| party.oin).collect()
}

/// Sender and recipients: those of one route, or others.
fn parties(dice: &mut Dice, covenant: &Covenant, flow: &Flow) -> (Oin, Vec<Oin>) {
    let all = with_role(covenant, Role::ALL);
    let route = dice.one(&flow.routes);
    let senders = if dice.once_in(16) { all.clone() } else { with_role(covenant, &route.from) };
    let reached = if dice.once_in(12) { all.clone() } else { with_role(covenant, &route.to) };
    let mut sender = dice.one(&senders);
    let most = if dice.once_in(3) { 3 } else { 1 };
    let mut recipients = dice.some(most, &reached);
    // One fault among the parties at a time: the evaluator goes through them one by one, so that of a recipient
    // named twice and one that is no party the first in the packet's order counts, and not the row.
    match dice.below(40) {
        35 => recipients.push(recipients[0]),
        36 => sender = outsider(dice),
        37 => {
            let at = dice.below(recipients.len() + 1);
            recipients.insert(at, outsider(dice));
        }
        38 => recipients.clear(),
        39 => recipients = (0..dice.one(&[16, 17])).map(oin).collect(),
        _ => {}
    }
    (sender, recipients)
}

fn now(dice: &mut Dice, covenant: &Covenant) -> Timestamp {
    if dice.once_in(10) {
        let (begin, end) = (covenant.valid_from, covenant.valid_until);
        return dice.one(&[begin, end, begin.minus(Span(1)), end.minus(Span(1)), end.plus(Span::days(9))]);
    }
    let near = dice.one(&days());
    dice.one(&[near, near.plus(Span::days(1)), near.minus(Span(1))])
}

fn declared(dice: &mut Dice, covenant: &Covenant, flow: &Flow) -> Declared {
    // Below one of the flow's levels, so that a flow about persons gets packets about groups too.
    let ceiling = dice.one(&flow.levels);
    let defined = |code: &String| covenant.categories.iter().find(|one| one.code == *code);
    let fitting: Vec<String> = flow
        .categories
        .iter()
        .filter(|code| defined(code).is_some_and(|one| one.level <= ceiling))
        .cloned()
        .collect();
    let mut codes = dice.up_to(3, &fitting);
    if codes.is_empty() && !flow.levels.contains(&Level::G) && !fitting.is_empty() {
        codes.push(dice.one(&fitting));
    }
    if dice.once_in(16) {
        codes.push(dice.one(&covenant.categories).code);
    }
    let highest = codes.iter().filter_map(defined).map(|one| one.level).max().unwrap_or(Level::G);
    let level = if dice.once_in(16) { dice.one(Level::ALL) } else { highest };
    if dice.once_in(24) {
        codes.push(UNKNOWN.into());
    }
    let known = |one: Vec<String>, dice: &mut Dice, all: &[&str], times| {
        if dice.once_in(times) { dice.one(all).to_owned() } else { dice.one(&one) }
    };
    let message_type = known(flow.types.clone(), dice, &[UNKNOWN, "signaal", "correctie"], 24);
    let purpose = known(vec![flow.purpose.clone()], dice, &[UNKNOWN, PURPOSES[0]], 24);
    let basis = known(flow.bases.clone(), dice, &[UNKNOWN, BASES[0], BASES[2]], 24);
    let step = if dice.once_in(16) { dice.one(Step::ALL) } else { dice.one(&flow.steps) };
    Declared::new(&message_type, step, level, codes, &purpose, &basis).unwrap()
}

/// When it was made and until when it is valid.
fn validity(dice: &mut Dice, covenant: &Covenant) -> (Timestamp, Timestamp) {
    let issued = dice.one(&days());
    let longest = covenant.max_ttl;
    if dice.once_in(8) {
        let wrong =
            [issued, issued.minus(Span(1)), issued.plus(Span(longest.0 + 1)), issued.plus(Span::days(40))];
        return (issued, dice.one(&wrong));
    }
    (issued, issued.plus(dice.one(&[longest, Span(1)])))
}

/// At, below or just over what the flow and the covenant allow.
fn size(dice: &mut Dice, covenant: &Covenant, flow: &Flow) -> Size {
    let body = u64::from(flow.max_body.min(covenant.max_body));
    let over = u64::from(dice.once_in(8));
    if dice.once_in(2) {
        let sealed = body * 9 / 8 + 26_112;
        Size::Sealed(dice.one(&[sealed + over, sealed - 1]))
    } else {
        Size::Body(dice.one(&[body + over, body - 1]))
    }
}
