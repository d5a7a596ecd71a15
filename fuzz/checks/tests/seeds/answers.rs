//! What the log, its witnesses and recipients answer.

use seinhuis_fuzz_checks::answers::{NEXT, WITNESS};
use seinhuis_fuzz_checks::known;
use seinhuis_shared::cbor;
use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::onward::{Consent, FORMAT};
use seinhuis_shared::succession::naming;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::wire::{Acknowledged, Acknowledgement};

use super::{Seed, changed, cut, longer, no, ok};

fn item(number: u8, outcome: u16) -> Acknowledged {
    Acknowledged::stored(MsgId([number; 16]), Digest([number; 32]), outcome, Digest([number ^ 0xff; 32]))
}

fn acknowledgements() -> Vec<Seed> {
    let key = known::signer();
    let items = vec![item(1, 0), item(2, 502), item(3, 0)];
    let signed =
        Acknowledgement { recipient: known::oin(), issued: Timestamp(known::NOON), items: items.clone() };
    let foreign = cbor::encode(&(1_u8, known::oin(), Timestamp(known::NOON), 1_u16, Digest([9; 32])));
    vec![
        ok("acknowledgement", "one", cbor::encode(&vec![item(1, 0)])),
        ok("acknowledgement", "three", cbor::encode(&items)),
        ok("acknowledgement", "signed", signed.sign(&key)),
        no("acknowledgement", "none", cbor::encode(&Vec::<Acknowledged>::new())),
        no("acknowledgement", "consumed", cbor::encode(&vec![item(1, 0).consumed()])),
        no("acknowledgement", "head-of-another-root", foreign),
        no("acknowledgement", "cut", cut(&cbor::encode(&items))),
    ]
}

fn consents() -> Vec<Seed> {
    let now = Timestamp(known::NOON);
    let good = Consent {
        format: FORMAT,
        origin: known::oin(),
        holder: known::oin(),
        packet: Digest([2; 32]),
        recipients: vec![known::oin()],
        until: now.plus(Span::days(30)),
        at: now,
    };
    let payload = cbor::encode(&good);
    let other = Sign1::sign(&known::signer(), Purpose::Case, &cut(&payload));
    vec![
        ok("consent", "signed", good.sign(&known::signer())),
        ok("consent", "payload", payload.clone()),
        no("consent", "cut", cut(&payload)),
        no("consent", "longer", longer(&payload)),
        no("consent", "no-consent", other),
    ]
}

fn cosignatures() -> Vec<Seed> {
    let text = Checkpoint::new(known::ORIGIN, 5, Digest([3; 32])).unwrap().to_string();
    let timed = |seconds: u64, text: &str| [&seconds.to_be_bytes()[..], text.as_bytes()].concat();
    let secret = known::signer();
    let key = WitnessKey::new(WITNESS, &secret.public().to_bytes()).unwrap();
    let mut note =
        Checkpoint::new(known::ORIGIN, 5, Digest([3; 32])).unwrap().sign(&known::log_signer()).unwrap();
    let alone = note.to_string();
    note.add(key.cosign_with(note.text(), 1_772_366_400, |bytes| secret.sign(bytes)).unwrap()).unwrap();
    let note = note.to_string();
    vec![
        ok("cosignature", "text", timed(1_772_366_400, &text)),
        ok("cosignature", "latest", timed(u64::MAX >> 1, &text)),
        ok("cosignature", "note", note.as_str()),
        no("cosignature", "no-time", timed(0, &text)),
        no("cosignature", "too-late", timed(u64::MAX, &text)),
        no("cosignature", "no-checkpoint", timed(1_772_366_400, "x\n")),
        no("cosignature", "nobody", alone),
        no("cosignature", "other-text", changed(&note, "\n5\n", "\n6\n")),
    ]
}

fn pair(closing: &Entry, opening: &Entry) -> Vec<u8> {
    let closing = closing.to_bytes().unwrap();
    let length = u16::try_from(closing.len()).unwrap().to_be_bytes();
    [&length[..], &closing, &opening.to_bytes().unwrap()].concat()
}

fn successions() -> Vec<Seed> {
    let entry = |kind, cause: &str, statement| {
        let mut entry = Entry::new(kind, Timestamp(known::NOON), [7; 16]);
        entry.detail = Some(cause.to_owned());
        entry.statement = Some(statement);
        entry
    };
    let closing = entry(Kind::Closing, "year", naming(NEXT));
    let opening = entry(Kind::Opening, "year", Digest([1; 32]));
    let hand = |kind, statement| entry(kind, "new-origin", statement);
    let elsewhere = entry(Kind::Closing, "year", naming("x.example/2027"));
    let good = pair(&closing, &opening);
    vec![
        ok("succession", "year", good.clone()),
        ok(
            "succession",
            "new-origin",
            pair(&hand(Kind::Closing, naming(NEXT)), &hand(Kind::Opening, Digest([1; 32]))),
        ),
        no("succession", "two-causes", pair(&closing, &hand(Kind::Opening, Digest([1; 32])))),
        no("succession", "elsewhere", pair(&elsewhere, &opening)),
        no("succession", "backwards", pair(&opening, &closing)),
        no("succession", "cut", cut(&good)),
    ]
}

fn pages() -> Vec<Seed> {
    let one = Entry::new(Kind::Start, Timestamp(known::NOON), [1; 16]).to_bytes().unwrap();
    let many = |texts: &[&[u8]]| {
        let each =
            texts.iter().map(|text| [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat());
        each.collect::<Vec<_>>().concat()
    };
    vec![
        ok("entries", "one", many(&[&one])),
        ok("entries", "three", many(&[&one, &one, &one])),
        no("entries", "one-is-none", many(&[&one, b"{}"])),
        no("entries", "too-many", many(&[&one[..]; 9])),
        no("entries", "nothing", []),
    ]
}

pub(super) fn all() -> Vec<Seed> {
    [acknowledgements(), consents(), cosignatures(), successions(), pages()].into_iter().flatten().collect()
}
