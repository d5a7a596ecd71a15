//! What judging one packet costs, with a hundred covenants of fifty flows in force.
//!
//! ```text
//! cargo bench -p seinhuis-tests --bench judge
//! ```
//!
//! Prints nanoseconds a judgement, and how many fit in the check of one Ed25519 signature made in the same run:
//! that ratio is what can be compared between machines.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so")]
#![expect(clippy::print_stdout, reason = "this is its output")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::{Vote, Word};
use seinhuis_shared::covenant::{Agreements, Compiled, Covenant, Declared, Question, Size, Step};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_tests::samples::covenants;

const COVENANTS: usize = 100;
const FLOWS: usize = 50;

fn key(index: usize) -> SigningKey {
    SigningKey::from_seed(&[u8::try_from(index + 1).unwrap(); 32])
}

/// The model between eight parties with known keys, filled up to fifty flows.
fn covenant() -> Covenant {
    let parts = ["model.toml", "partnership.example.toml"].map(|name| covenants().join(name));
    let mut covenant = seinhuis_shell::covenants::load(&parts).unwrap();
    for (index, party) in covenant.parties.iter_mut().enumerate() {
        party.signing_keys = vec![Bytes(key(index).public().to_bytes().to_vec())];
    }
    for extra in covenant.flows.len()..FLOWS {
        let mut flow = covenant.flows[0].clone();
        flow.id = format!("X{extra}");
        covenant.flows.push(flow);
    }
    covenant
}

fn agreed(model: &Covenant, now: Timestamp) -> (Agreements, Vec<Digest>) {
    let mut all = Agreements::default();
    let mut hashes = Vec::new();
    for number in 0..COVENANTS {
        let covenant = Covenant { id: format!("partnerschap-{number}"), ..model.clone() };
        let compiled = Arc::new(Compiled::new(covenant).unwrap());
        let hash = compiled.hash();
        all.propose(compiled).unwrap();
        for (index, party) in model.parties.iter().enumerate() {
            let (word, reason) = (Word::Accept, String::new());
            let vote = Vote { format: 1, covenant: hash, party: party.oin, word, issued: now, reason };
            all.cast(&vote.sign(&key(index)), now).unwrap();
        }
        hashes.push(hash);
    }
    (all, hashes)
}

/// Time a call takes, at best: the least of several rounds, so that what else the machine does counts least.
fn time(mut call: impl FnMut()) -> Duration {
    const CALLS: u32 = 20_000;
    let round = |_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        start.elapsed() / CALLS
    };
    (0..7).map(round).min().unwrap()
}

fn main() {
    let model = covenant();
    let now = Timestamp::parse("2026-06-01").unwrap();
    let (all, hashes) = agreed(&model, now);
    let flow = |id: &str| model.flows.iter().find(|flow| flow.id == id).unwrap();
    let last = format!("X{}", FLOWS - 1);
    let cases: [(&str, usize, Vec<Oin>, Vec<&str>); 3] = [
        ("F02, one recipient, group level", 1, vec![model.parties[0].oin], vec!["locatie", "meldingen"]),
        ("F04, three recipients", 0, [1, 2, 4].map(|at| model.parties[at].oin).to_vec(), vec!["motivering"]),
        (&last, 2, vec![model.parties[0].oin], vec!["locatie", "groepsgedrag"]),
    ];
    let signer = key(0);
    let signature = signer.sign(b"what a packet's statement is compared with");
    let public = signer.public();
    let check = time(|| {
        public.verify(black_box(b"what a packet's statement is compared with"), &signature).unwrap();
    });
    println!("{COVENANTS} covenants of {FLOWS} flows in force; one Ed25519 check: {} ns", check.as_nanos());
    for (name, sender, recipients, categories) in &cases {
        let flow = flow(name.split(',').next().unwrap());
        let categories = categories.iter().map(|code| (*code).to_owned());
        let level = flow.levels[0];
        let declared =
            Declared::new(&flow.types[0], Step::S1, level, categories, &flow.purpose, &flow.bases[0])
                .unwrap();
        let mut at = 0;
        let judged = time(|| {
            at = (at + 37) % hashes.len();
            let agreement = all.get(black_box(&hashes[at])).unwrap();
            let permit = agreement.judge(&Question {
                flow: &flow.id,
                sender: model.parties[*sender].oin,
                recipients,
                case: None,
                declared: &declared,
                now,
                issued: now,
                expires: now.plus(Span::days(1)),
                size: Size::Sealed(4000),
            });
            black_box(permit.unwrap());
        });
        let ratio = check.as_nanos() / judged.as_nanos().max(1);
        println!("{name}: {} ns, 1/{ratio} of a signature check", judged.as_nanos());
    }
}
