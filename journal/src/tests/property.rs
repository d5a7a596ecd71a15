//! Random turns, restarts and losses of the index, beside a model.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Commit(Turn),
    SyncIndex,
    Tidy,
    Erase,
    Crash,
    Close,
    LoseIndex,
}

fn change() -> impl Strategy<Value = crate::RowChange> {
    let value = proptest::option::weighted(0.6, vec(any::<u8>(), 0..400));
    (0..=3_u8, vec(0..=2_u8, 0..3), value).prop_map(|(table, key, value)| crate::RowChange {
        table,
        key,
        value,
    })
}

fn turns() -> impl Strategy<Value = Turn> {
    let blob = (0..20_u32, 0..4_000_usize).prop_map(|(n, length)| (id(n), noise(n, length)));
    (vec(change(), 0..6), vec(blob, 0..3), vec((0..20_u32).prop_map(id), 0..4))
        .prop_map(|(rows, blobs, drops)| Turn { rows, blobs, drops })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => turns().prop_map(Step::Commit),
        4 => Just(Step::SyncIndex),
        2 => Just(Step::Tidy),
        1 => Just(Step::Erase),
        2 => Just(Step::Crash),
        1 => Just(Step::Close),
        1 => Just(Step::LoseIndex),
    ]
}

fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let mut model = MemoryStore::new();
    let mut store = open(dir.path()).0;
    for step in steps {
        match step {
            Step::Commit(turn) => {
                store.commit(turn.clone()).unwrap();
                model.commit(turn).unwrap();
            }
            Step::SyncIndex => store.sync_index().unwrap(),
            Step::Tidy => drop(store.tidy().unwrap()),
            Step::Erase => store.erase().unwrap(),
            Step::Crash => {
                drop(store);
                store = open(dir.path()).0;
            }
            Step::Close => {
                Box::new(store).close().unwrap();
                store = open(dir.path()).0;
            }
            Step::LoseIndex => {
                drop(store);
                fs::remove_dir_all(dir.path().join("index")).unwrap();
                store = open(dir.path()).0;
            }
        }
        prop_assert_eq!(state(&store, 20), state(&model, 20));
        let (found, expected) = (store.stats(), model.stats());
        prop_assert_eq!((found.live_rows, found.live_blobs), (expected.live_rows, expected.live_blobs));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn the_disk_agrees_with_the_model(steps in vec(step(), 1..60)) {
        check(steps)?;
    }
}
