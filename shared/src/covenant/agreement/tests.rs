use std::sync::LazyLock;

use super::*;
use crate::covenant::{CaseRule, Covenant, Declared, Level, Size, Step};
use crate::signing::SigningKey;

const GEMEENTE: usize = 0;
const POLITIE: usize = 1;
const JONGERENWERK: usize = 2;
const OM: usize = 3;

fn text(file: &str) -> String {
    std::fs::read_to_string(format!("{}/../covenants/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The model covenant between the first four parties of the example, with keys that are known here.
static COVENANT: LazyLock<Covenant> = LazyLock::new(|| {
    let joined = text("model.toml") + &text("partnership.example.toml");
    let mut covenant = Covenant::from_toml(&joined, &mut |path| Ok(text(path))).unwrap();
    covenant.parties.truncate(4);
    for (index, party) in covenant.parties.iter_mut().enumerate() {
        party.signing_keys = vec![Bytes(key(index).public().to_bytes().to_vec())];
    }
    covenant
});

static PROPOSED: LazyLock<Agreements> = LazyLock::new(|| proposed(&COVENANT).0);

fn covenant() -> Covenant {
    COVENANT.clone()
}

fn next(of: &Covenant, change: impl FnOnce(&mut Covenant)) -> Covenant {
    let mut next = Covenant { version: of.version + 1, previous: Some(of.hash()), ..of.clone() };
    change(&mut next);
    next
}

fn compiled(covenant: Covenant) -> Arc<Compiled> {
    Arc::new(Compiled::new(covenant).unwrap())
}

fn key(index: usize) -> SigningKey {
    SigningKey::from_seed(&[100 + u8::try_from(index).unwrap(); 32])
}

fn oin(index: usize) -> Oin {
    COVENANT.parties[index].oin
}

fn noon() -> Timestamp {
    Timestamp::parse("2026-06-01").unwrap()
}

fn minute(n: u64) -> Timestamp {
    noon().plus(Span::minutes(n))
}

fn vote(hash: Digest, index: usize, word: Word, issued: Timestamp) -> Vote {
    Vote { format: 1, covenant: hash, party: oin(index), word, issued, reason: String::new() }
}

fn say(
    all: &mut Agreements,
    hash: Digest,
    index: usize,
    word: Word,
    at: Timestamp,
) -> Result<Counted, Refusal> {
    all.cast(&vote(hash, index, word, at).sign(&key(index)), at)
}

fn accept_all(all: &mut Agreements, hash: Digest, at: Timestamp) {
    for index in [GEMEENTE, POLITIE, JONGERENWERK, OM] {
        say(all, hash, index, Word::Accept, at).unwrap();
    }
}

fn proposed(covenant: &Covenant) -> (Agreements, Digest) {
    let mut all = Agreements::default();
    assert_eq!(all.propose(compiled(covenant.clone())), Ok(true));
    (all, covenant.hash())
}

fn state(all: &Agreements, hash: &Digest, now: Timestamp) -> State {
    all.get(hash).unwrap().state(now)
}

#[test]
fn nothing_is_in_force_before_everybody_who_has_to_has_accepted() {
    let (mut all, hash) = proposed(&covenant());
    for index in [GEMEENTE, POLITIE] {
        say(&mut all, hash, index, Word::Accept, minute(1)).unwrap();
        assert_eq!(state(&all, &hash, minute(2)), State::Proposed);
        assert!(!all.get(&hash).unwrap().in_force(minute(2)));
    }
    say(&mut all, hash, OM, Word::Accept, minute(3)).unwrap();
    // Youth work may be absent.
    assert_eq!(state(&all, &hash, minute(3)), State::InForce);
    let agreement = all.get(&hash).unwrap();
    assert!(!agreement.in_force(minute(2)), "not before the last one accepted");
    assert!(!agreement.is_bound(oin(JONGERENWERK), minute(3)));
    say(&mut all, hash, JONGERENWERK, Word::Accept, minute(4)).unwrap();
    let agreement = all.get(&hash).unwrap();
    assert!(agreement.is_bound(oin(JONGERENWERK), minute(4)));
    assert!(!agreement.is_bound(oin(JONGERENWERK), minute(3)));
}

#[test]
fn dates_bound_what_was_agreed() {
    let (mut all, hash) = proposed(&covenant());
    let early = covenant().valid_from.minus(Span::days(1));
    accept_all(&mut all, hash, early);
    let document = covenant();
    assert_eq!(state(&all, &hash, early), State::Agreed);
    assert!(!all.get(&hash).unwrap().in_force(early));
    assert_eq!(state(&all, &hash, document.valid_from), State::InForce);
    assert_eq!(state(&all, &hash, document.valid_until), State::Expired);
    assert!(!all.get(&hash).unwrap().in_force(document.valid_until));
}

fn declared(flow: &str, category: &str) -> Declared {
    let document = covenant();
    let flow = document.flows.iter().find(|one| one.id == flow).unwrap();
    let categories = [category.to_owned()];
    Declared::new(&flow.types[0], Step::S1, Level::G, categories, &flow.purpose, &flow.bases[0]).unwrap()
}

fn question<'a>(
    declared: &'a Declared,
    sender: usize,
    recipients: &'a [Oin],
    now: Timestamp,
) -> Question<'a> {
    Question {
        flow: if sender == JONGERENWERK { "F01" } else { "F02" },
        sender: oin(sender),
        recipients,
        case: None,
        declared,
        now,
        issued: now,
        expires: now.plus(Span::days(1)),
        size: Size::Body(100),
    }
}

#[test]
fn a_packet_is_judged_only_between_parties_that_are_bound() {
    let mut document = covenant();
    for flow in &mut document.flows {
        flow.case = CaseRule::Optional;
        flow.conditions.clear();
    }
    let (mut all, hash) = proposed(&document);
    let declared = declared("F01", "locatie");
    let police = self::declared("F02", "locatie");
    let to = [oin(GEMEENTE)];
    let judge = |all: &Agreements, sender, now| {
        let declared = if sender == POLITIE { &police } else { &declared };
        all.get(&hash).unwrap().judge(&question(declared, sender, &to, now)).map(|permit| permit.covenant())
    };
    assert_eq!(judge(&all, JONGERENWERK, minute(1)), Err(Refusal::CovenantNotInForce));
    for index in [GEMEENTE, POLITIE, OM] {
        say(&mut all, hash, index, Word::Accept, minute(1)).unwrap();
    }
    assert_eq!(judge(&all, JONGERENWERK, minute(2)), Err(Refusal::NotSigned));
    assert_eq!(judge(&all, POLITIE, minute(2)), Ok(hash), "what does not name the absent works");
    let back = [oin(JONGERENWERK)];
    let request = self::declared("F04", "motivering");
    let request = Question { flow: "F04", ..question(&request, GEMEENTE, &back, minute(2)) };
    assert_eq!(all.get(&hash).unwrap().judge(&request), Err(Refusal::NotSigned), "nor does it receive");
    say(&mut all, hash, JONGERENWERK, Word::Accept, minute(3)).unwrap();
    assert_eq!(judge(&all, JONGERENWERK, minute(3)), Ok(hash));
    // It leaves at once and alone; the others go on.
    say(&mut all, hash, JONGERENWERK, Word::Withdraw, minute(5)).unwrap();
    assert_eq!(judge(&all, JONGERENWERK, minute(5)), Err(Refusal::NotSigned));
    assert_eq!(
        judge(&all, JONGERENWERK, minute(4)),
        Ok(hash),
        "what was accepted before is judged as of then"
    );
    assert_eq!(judge(&all, POLITIE, minute(5)), Ok(hash));
    say(&mut all, hash, OM, Word::Withdraw, minute(7)).unwrap();
    assert_eq!(judge(&all, POLITIE, minute(7)), Err(Refusal::CovenantNotInForce));
    assert_eq!(judge(&all, POLITIE, minute(6)), Ok(hash));
    assert_eq!(state(&all, &hash, minute(7)), State::Withdrawn);
}

#[test]
fn a_party_says_only_what_it_can_say_now() {
    use Word::{Accept, Reject, Withdraw};
    // What was said before, and what each word then leads to.
    let table: &[(&[Word], [bool; 3])] = &[
        (&[], [true, true, false]),
        (&[Accept], [false, false, true]),
        (&[Reject], [true, false, false]),
        (&[Reject, Accept], [false, false, true]),
        (&[Accept, Withdraw], [false, false, false]),
        (&[Reject, Accept, Withdraw], [false, false, false]),
    ];
    for (said, allowed) in table {
        for (word, allowed) in [Accept, Reject, Withdraw].into_iter().zip(allowed) {
            let (mut all, hash) = proposed(&covenant());
            for (at, word) in (1..).zip(*said) {
                say(&mut all, hash, POLITIE, *word, minute(at)).unwrap();
            }
            let expected = if *allowed { Ok(Counted::New(word)) } else { Err(Refusal::VoteOrder) };
            assert_eq!(say(&mut all, hash, POLITIE, word, minute(10)), expected, "{said:?} {word:?}");
        }
    }
}

#[test]
fn the_same_vote_again_changes_nothing() {
    let (mut all, hash) = proposed(&covenant());
    let bytes = vote(hash, POLITIE, Word::Accept, minute(1)).sign(&key(POLITIE));
    assert_eq!(all.cast(&bytes, minute(1)), Ok(Counted::New(Word::Accept)));
    assert_eq!(all.cast(&bytes, minute(60 * 24)), Ok(Counted::Same));
    assert_eq!(all.get(&hash).unwrap().casts().len(), 1);
}

#[test]
fn a_vote_counts_only_from_its_party_over_this_version_near_its_time() {
    let (mut all, hash) = proposed(&covenant());
    let good = vote(hash, POLITIE, Word::Accept, minute(10));
    let mut cast = |vote: &Vote, by: usize, at| all.cast(&vote.sign(&key(by)), at).map(|_| ());
    assert_eq!(cast(&good, OM, minute(10)), Err(Refusal::UnknownKey), "another party's key");
    let stranger = Vote { party: "00000099000000099000".parse().unwrap(), ..good.clone() };
    assert_eq!(cast(&stranger, POLITIE, minute(10)), Err(Refusal::NotAParty));
    let other = Vote { covenant: Digest([7; 32]), ..good.clone() };
    assert_eq!(cast(&other, POLITIE, minute(10)), Err(Refusal::UnknownCovenant));
    let format = Vote { format: 2, ..good.clone() };
    assert_eq!(cast(&format, POLITIE, minute(10)), Err(Refusal::UnknownVersion));
    for reason in ["x".repeat(REASON_MAX + 1), "a\nb".to_owned()] {
        let wordy = Vote { reason, ..good.clone() };
        assert_eq!(cast(&wordy, POLITIE, minute(10)), Err(Refusal::Malformed));
    }
    assert_eq!(cast(&good, POLITIE, minute(4)), Err(Refusal::FromTheFuture));
    assert_eq!(cast(&good, POLITIE, minute(16)), Err(Refusal::Expired));
    assert_eq!(cast(&good, POLITIE, minute(15)), Ok(()));
    let mut forged = good.sign(&key(POLITIE));
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(all.cast(&forged, minute(15)), Err(Refusal::BadSignature));
}

#[test]
fn a_signature_over_one_version_says_nothing_of_another() {
    let (mut all, first) = proposed(&covenant());
    let second = next(&covenant(), |c| c.title.push('!'));
    all.propose(compiled(second.clone())).unwrap();
    let bytes = vote(first, POLITIE, Word::Accept, minute(1)).sign(&key(POLITIE));
    let agreement = Agreement::new(compiled(second));
    assert_eq!(agreement.clone().cast(&bytes, minute(1)), Err(Refusal::UnknownCovenant));
    assert_eq!(all.cast(&bytes, minute(1)), Ok(Counted::New(Word::Accept)));
}

#[test]
fn a_successor_takes_the_place_of_what_it_names_and_leaves_an_overlap() {
    let (mut all, first) = proposed(&covenant());
    accept_all(&mut all, first, minute(0));
    let second = next(&covenant(), |c| c.valid_from = minute(60));
    let hash = second.hash();
    all.propose(compiled(second)).unwrap();
    accept_all(&mut all, hash, minute(10));
    assert_eq!(state(&all, &first, minute(59)), State::InForce);
    assert_eq!(state(&all, &hash, minute(59)), State::Agreed);
    assert_eq!(state(&all, &first, minute(60)), State::Overlapping);
    assert_eq!(state(&all, &hash, minute(60)), State::InForce);
    let over = minute(60).plus(Span::days(covenant().overlap_days.into()));
    assert!(all.get(&first).unwrap().in_force(over.minus(Span::seconds(1))));
    assert!(!all.get(&first).unwrap().in_force(over));
    assert_eq!(state(&all, &first, over), State::Superseded);
    assert_eq!(all.get(&first).unwrap().runs_out(), over);
}

#[test]
fn an_overlap_does_not_outlast_the_last_day() {
    let last = minute(60);
    let (mut all, first) = proposed(&Covenant { valid_until: last, evaluation: noon(), ..covenant() });
    accept_all(&mut all, first, minute(0));
    let before = all.get(&first).unwrap().compiled().covenant().clone();
    let second = next(&before, |c| c.valid_until = covenant().valid_until);
    let hash = second.hash();
    all.propose(compiled(second)).unwrap();
    accept_all(&mut all, hash, minute(10));
    assert_eq!(state(&all, &first, last.minus(Span(1))), State::Overlapping);
    assert_eq!(all.get(&first).unwrap().runs_out(), last);
    assert!(!all.get(&first).unwrap().in_force(last));
}

#[test]
fn who_withdrew_is_told_and_whether_that_ended_the_version() {
    let (mut all, first) = proposed(&covenant());
    accept_all(&mut all, first, minute(0));
    assert_eq!(all.get(&first).unwrap().withdrawals().count(), 0);
    for index in [JONGERENWERK, OM] {
        say(&mut all, first, index, Word::Withdraw, minute(1)).unwrap();
    }
    let mut told: Vec<_> = all.get(&first).unwrap().withdrawals().collect();
    told.sort_unstable();
    let parties = &COVENANT.parties;
    let expected = [JONGERENWERK, OM].map(|index| (oin(index), !parties[index].may_be_absent));
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(told, expected);
    assert!(told.iter().any(|(_, ended)| *ended) && told.iter().any(|(_, ended)| !*ended));
    assert_eq!(all.get(&first).unwrap().runs_out(), covenant().valid_until, "that is no matter of time");
}

#[test]
fn what_is_not_complete_replaces_nothing() {
    let (mut all, first) = proposed(&covenant());
    accept_all(&mut all, first, minute(0));
    let second = next(&covenant(), |c| c.title.push('!'));
    let hash = second.hash();
    all.propose(compiled(second)).unwrap();
    for index in [GEMEENTE, POLITIE] {
        say(&mut all, hash, index, Word::Accept, minute(1)).unwrap();
    }
    say(&mut all, hash, OM, Word::Reject, minute(1)).unwrap();
    assert_eq!(state(&all, &hash, minute(2)), State::Rejected);
    assert_eq!(state(&all, &first, minute(2)), State::InForce);
}

#[test]
fn a_party_stands_by_one_version_in_a_place() {
    let (mut all, first) = proposed(&covenant());
    let rival = Covenant { title: "Een ander".into(), ..covenant() };
    let hash = rival.hash();
    all.propose(compiled(rival)).unwrap();
    say(&mut all, first, POLITIE, Word::Accept, minute(1)).unwrap();
    assert_eq!(say(&mut all, hash, POLITIE, Word::Accept, minute(2)), Err(Refusal::SignedElsewhere));
    assert_eq!(say(&mut all, hash, OM, Word::Accept, minute(2)), Ok(Counted::New(Word::Accept)));
    say(&mut all, first, POLITIE, Word::Withdraw, minute(3)).unwrap();
    assert_eq!(say(&mut all, hash, POLITIE, Word::Accept, minute(4)), Ok(Counted::New(Word::Accept)));
}

#[test]
fn a_version_follows_the_one_it_names() {
    let (mut all, _) = proposed(&covenant());
    let good = next(&covenant(), |_| {});
    let skipped = Covenant { version: 3, ..good.clone() };
    let renamed = Covenant { id: "een-ander".into(), ..good.clone() };
    for wrong in [skipped, renamed] {
        assert_eq!(all.propose(compiled(wrong)), Err(Refusal::BrokenChain));
    }
    let orphan = compiled(Covenant { previous: Some(Digest([9; 32])), ..good.clone() });
    assert!(!all.follows(&orphan) && all.follows(&compiled(good.clone())));
    assert_eq!(all.propose(compiled(good.clone())), Ok(true));
    assert_eq!(all.propose(compiled(good)), Ok(false));
}

/// The votes on a version, as a store or a broker gives them.
fn casts(all: &Agreements, hash: &Digest) -> Vec<Cast> {
    all.get(hash).unwrap().casts().to_vec()
}

/// What these versions look like to who learns them in this order.
fn learned(from: &Agreements, order: &[&Covenant]) -> Agreements {
    let mut all = Agreements::default();
    for covenant in order {
        all.restore(compiled((*covenant).clone()));
        all.learn(&covenant.hash(), &casts(from, &covenant.hash()), |_| true).unwrap();
    }
    all
}

/// Versions and votes that differ in who may be absent, when they begin, and who withdrew when.
fn tangle() -> (Agreements, [Covenant; 3]) {
    let first = covenant();
    let (mut all, hash) = proposed(&first);
    accept_all(&mut all, hash, minute(0));
    let second = next(&first, |c| (c.valid_from, c.parties[OM].may_be_absent) = (minute(60), true));
    let rival = next(&first, |c| c.title.push('!'));
    for version in [&second, &rival] {
        all.propose(compiled(version.clone())).unwrap();
    }
    say(&mut all, second.hash(), POLITIE, Word::Accept, minute(1)).unwrap();
    // In one and the same instant it changes its mind.
    say(&mut all, second.hash(), POLITIE, Word::Withdraw, minute(2)).unwrap();
    accept_all(&mut all, rival.hash(), minute(2));
    say(&mut all, hash, OM, Word::Withdraw, minute(90)).unwrap();
    (all, [first, second, rival])
}

#[test]
fn whatever_the_order_of_learning_or_reading_back_the_outcome_is_the_same() {
    let (all, [first, second, rival]) = tangle();
    for order in [[&first, &second, &rival], [&rival, &second, &first], [&second, &rival, &first]] {
        let again = learned(&all, &order);
        let mut read = Agreements::default();
        for version in order {
            read.restore(compiled(version.clone()));
        }
        for version in order {
            read.restore_casts(&version.hash(), &casts(&all, &version.hash())).unwrap();
        }
        for version in &order {
            let hash = version.hash();
            assert_eq!(again.get(&hash), all.get(&hash), "learned");
            assert_eq!(read.get(&hash), all.get(&hash), "read back");
        }
    }
}

#[test]
fn a_successor_that_never_comes_into_force_ends_nothing() {
    let (mut all, first) = proposed(&covenant());
    accept_all(&mut all, first, minute(0));
    let second = next(&covenant(), |c| c.valid_from = minute(600));
    let hash = second.hash();
    all.propose(compiled(second)).unwrap();
    accept_all(&mut all, hash, minute(1));
    assert_eq!(all.get(&first).unwrap().superseded(), Some(minute(600)));
    say(&mut all, hash, POLITIE, Word::Withdraw, minute(2)).unwrap();
    assert_eq!(all.get(&first).unwrap().superseded(), None);
    // Another try is not in the way of the one that failed.
    let third = next(&covenant(), |c| c.title.push('!'));
    let hash = third.hash();
    all.propose(compiled(third)).unwrap();
    accept_all(&mut all, hash, minute(3));
    assert_eq!(all.get(&first).unwrap().superseded(), Some(minute(3)));
}

#[test]
fn a_version_is_not_superseded_before_the_last_who_had_to_agreed() {
    let (mut all, first) = proposed(&covenant());
    accept_all(&mut all, first, minute(0));
    let second = next(&covenant(), |c| c.parties[OM].may_be_absent = true);
    let hash = second.hash();
    all.propose(compiled(second)).unwrap();
    for index in [GEMEENTE, POLITIE, JONGERENWERK] {
        say(&mut all, hash, index, Word::Accept, minute(1)).unwrap();
    }
    say(&mut all, hash, OM, Word::Accept, minute(100)).unwrap();
    assert_eq!(all.get(&first).unwrap().superseded(), Some(minute(100)), "nothing is backdated");
}

#[test]
fn an_answer_that_lacks_a_known_vote_or_binds_a_party_twice_changes_nothing() {
    let (mut all, first) = proposed(&covenant());
    let rival = Covenant { title: "Een ander".into(), ..covenant() };
    let hash = rival.hash();
    all.propose(compiled(rival)).unwrap();
    say(&mut all, first, POLITIE, Word::Accept, minute(1)).unwrap();
    let cast = |hash, index, word, at| Cast {
        vote: Bytes(vote(hash, index, word, minute(at)).sign(&key(index))),
        at: minute(at),
    };
    let other = cast(first, OM, Word::Accept, 2);
    assert_eq!(all.learn(&first, &[other], |_| true), Err(Refusal::VoteOrder));
    assert_eq!(casts(&all, &first).len(), 1);
    let twice = [cast(hash, POLITIE, Word::Accept, 3)];
    assert_eq!(all.learn(&hash, &twice, |_| true), Err(Refusal::SignedElsewhere));
    // Also when the later one is known first.
    let early = [cast(hash, POLITIE, Word::Accept, 0)];
    assert_eq!(all.learn(&hash, &early, |_| true), Err(Refusal::SignedElsewhere));
    let left = [early[0].clone(), cast(hash, POLITIE, Word::Withdraw, 1)];
    assert_eq!(all.learn(&hash, &left, |_| true), Ok(()), "it left in time");
}

#[test]
fn a_version_between_others_ends_nothing() {
    let (mut all, first) = proposed(&covenant());
    accept_all(&mut all, first, minute(0));
    // Leaves the prosecution service out, which may not be absent.
    let coup = next(&covenant(), |c| drop(c.parties.remove(OM)));
    assert_eq!(all.propose(compiled(coup)), Err(Refusal::BrokenChain));
    // Names it, but does without its signature.
    let coup = next(&covenant(), |c| c.parties[OM].may_be_absent = true);
    let hash = coup.hash();
    all.propose(compiled(coup)).unwrap();
    for index in [GEMEENTE, POLITIE] {
        say(&mut all, hash, index, Word::Accept, minute(1)).unwrap();
    }
    assert_eq!(state(&all, &first, minute(2)), State::InForce);
    say(&mut all, hash, OM, Word::Accept, minute(3)).unwrap();
    assert_eq!(state(&all, &first, minute(3)), State::Overlapping);
}

#[test]
fn who_has_not_joined_or_has_left_is_no_party() {
    let mut document = covenant();
    document.parties[POLITIE].joined = minute(10);
    document.parties[POLITIE].left = Some(minute(20));
    let (mut all, hash) = proposed(&document);
    accept_all(&mut all, hash, minute(0));
    let (declared, to) = (declared("F02", "locatie"), [oin(GEMEENTE)]);
    for (at, expected) in
        [(9, Err(Refusal::NotAParty)), (10, Ok(())), (19, Ok(())), (20, Err(Refusal::NotAParty))]
    {
        let judged = all.get(&hash).unwrap().judge(&question(&declared, POLITIE, &to, minute(at)));
        assert_eq!(judged.map(|_| ()), expected, "{at}");
    }
}

proptest::proptest! {
    #[test]
    fn a_mutated_vote_gives_an_error_or_the_identical_bytes(at in 0_usize..400, value: u8) {
        let mut all = PROPOSED.clone();
        let good = vote(COVENANT.hash(), POLITIE, Word::Accept, minute(1)).sign(&key(POLITIE));
        let mut near = good.clone();
        let at = at % near.len();
        near[at] = value;
        proptest::prop_assert_eq!(all.cast(&near, minute(1)).is_ok(), near == good);
    }
}
