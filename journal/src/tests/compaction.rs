//! Old segments are freed, nothing live is lost, nothing dead stays.

use super::*;
use crate::faults::{Effect, SITES, Site};

/// Commits and delivers `turns` packets, keeping every tenth; the index follows every fifth turn.
fn traffic(store: &mut JournalStore, turns: u32) -> Result<(), crate::StoreError> {
    for n in 0..turns {
        store.commit(turn(n))?;
        if n >= 3 && (n - 3) % 10 != 0 {
            store.commit(Turn::default().delete(1, (n - 3).to_be_bytes()).forget(id(n - 3)))?;
        }
        if n % 5 == 0 {
            store.sync_index()?;
        }
    }
    Ok(())
}

fn journal_bytes(dir: &Path) -> u64 {
    files(dir, "").iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn the_disk_stays_flat_and_the_live_state_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(Turn::default().put(2, "old", "untouched").blob(id(9_999), noise(7, 5_000))).unwrap();
    let mut most = 0;
    for round in 0..6 {
        for n in 0..200 {
            store.commit(turn(n)).unwrap();
            store.commit(Turn::default().delete(1, n.to_be_bytes()).forget(id(n))).unwrap();
            if n % 5 == 0 {
                store.sync_index().unwrap();
            }
        }
        if round > 0 {
            most = most.max(store.stats().disk_bytes);
        }
    }
    let stats = store.stats();
    assert!(most <= 2 * stats.live_bytes + 10 * 4096, "{most} bytes for {} live", stats.live_bytes);
    assert!(stats.freed_segments > 100 && stats.forwarded_bytes > 5_000, "{stats:?}");
    assert_eq!(store.get(2, b"old").unwrap(), Some(b"untouched".to_vec()));
    assert_eq!(store.blob(&id(9_999)).unwrap(), Some(noise(7, 5_000)));
    let expected = state(&store, 200);
    Box::new(store).close().unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (store, _) = open(dir.path());
    assert_eq!(state(&store, 200), expected);
    assert_eq!(store.blob(&id(9_999)).unwrap(), Some(noise(7, 5_000)));
}

#[test]
fn a_long_lived_row_moves_with_its_last_value() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let twice =
        Turn::default().put(3, "k", "before").put(3, "k", "after").put(3, "gone", "x").delete(3, "gone");
    store.commit(twice).unwrap();
    traffic(&mut store, 300).unwrap();
    store.erase().unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (store, _) = open(dir.path());
    assert_eq!(store.scan(3).unwrap(), [(b"k".to_vec(), b"after".to_vec())]);
}

#[test]
fn deletions_are_not_undone_by_freeing_the_segments_that_hold_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    traffic(&mut store, 100).unwrap();
    for _ in 0..3 {
        store.erase().unwrap();
    }
    let expected = state(&store, 100);
    assert_eq!(expected.1.len(), 13);
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(state(&open(dir.path()).0, 100), expected);
}

#[test]
fn idle_housekeeping_gives_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    for n in 0..100 {
        store.commit(turn(n)).unwrap();
    }
    let ids: Vec<_> = (0..100).map(id).collect();
    store.commit(Turn { drops: ids, ..Turn::default() }).unwrap();
    store.sync_index().unwrap();
    let before = store.stats().disk_bytes;
    let mut steps = 0;
    while store.tidy().unwrap() {
        store.sync_index().unwrap();
        steps += 1;
        assert!(steps < 1000, "housekeeping ends");
    }
    let after = store.stats();
    assert!(before > 40_000 && after.disk_bytes <= 2 * after.live_bytes + 5 * 4096, "{before}, {after:?}");
    assert_eq!(store.scan(1).unwrap().len(), 100);
}

#[test]
fn no_segment_is_freed_before_the_index_has_seen_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    for n in 0..100 {
        store.commit(turn(n)).unwrap();
        store.commit(Turn::default().delete(1, n.to_be_bytes()).forget(id(n))).unwrap();
    }
    assert_eq!(store.stats().freed_segments, 0);
    drop(store);
    let (_, recovery) = open(dir.path());
    assert_eq!(recovery.index, crate::IndexRecovery::Kept { replayed: 200 });
}

#[test]
fn erased_bytes_are_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let secret = noise(42, 200);
    store.commit(Turn::default().blob(id(1), secret.clone())).unwrap();
    store.commit(turn(2)).unwrap();
    store.commit(Turn::default().forget(id(1))).unwrap();
    let holds = |dir: &Path| {
        let folders = ["journal", "index"].map(|name| fs::read_dir(dir.join(name)).unwrap());
        let paths = folders.into_iter().flatten().map(|entry| entry.unwrap().path()).filter(|p| p.is_file());
        paths.filter(|p| fs::read(p).unwrap().windows(secret.len()).any(|w| w == secret)).count()
    };
    assert_eq!(holds(dir.path()), 1, "until erased the bytes are there");
    store.erase().unwrap();
    assert_eq!(holds(dir.path()), 0);
    assert_eq!(store.blob(&id(2)).unwrap(), Some(noise(2, 300)));
}

#[test]
fn erasing_in_steps_covers_what_was_dropped_before_it_began_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let secret = noise(7_777, 300);
    store.commit(Turn::default().put(5, "body", secret.clone())).unwrap();
    for n in 0..60 {
        store.commit(turn(n)).unwrap();
    }
    store.commit(Turn::default().delete(5, "body")).unwrap();
    let holds = |dir: &Path| {
        let folders = ["journal", "index"].map(|name| fs::read_dir(dir.join(name)).unwrap());
        let paths = folders.into_iter().flatten().map(|entry| entry.unwrap().path()).filter(|p| p.is_file());
        paths.filter(|p| fs::read(p).unwrap().windows(secret.len()).any(|w| w == secret)).count()
    };
    assert!(holds(dir.path()) > 0, "until erased the bytes are there");
    let mut steps = 0;
    while store.erase_step().unwrap() {
        store.commit(turn(100 + steps)).unwrap();
        steps += 1;
        assert!(steps < 1000, "it ends though others write");
    }
    assert!(steps > 3, "more than one step: {steps}");
    assert_eq!(holds(dir.path()), 0);
    let expected = state(&store, 200);
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(state(&open(dir.path()).0, 200), expected, "nothing live was lost");
}

/// Puts a secret among other things, deletes it and erases in steps, with turns between; whether the deletion
/// was confirmed.
fn erase_a_secret(store: &mut JournalStore, secret: &[u8]) -> (bool, Result<(), crate::StoreError>) {
    let mut deleted = false;
    let mut run = || {
        store.commit(Turn::default().put(5, "body", secret.to_vec()))?;
        for n in 0..20 {
            store.commit(turn(n))?;
        }
        store.commit(Turn::default().delete(5, "body"))?;
        deleted = true;
        let mut n = 100;
        while store.erase_step()? {
            store.commit(turn(n))?;
            n += 1;
        }
        Ok(())
    };
    let outcome = run();
    (deleted, outcome)
}

#[test]
fn a_power_cut_at_any_step_of_erasing_loses_nothing_and_the_next_round_erases() {
    let secret = noise(7_777, 300);
    let count = {
        let dir = tempfile::tempdir().unwrap();
        let faults = Faults::plan([]);
        let (mut store, _) = JournalStore::open(dir.path(), with(&faults)).unwrap();
        erase_a_secret(&mut store, &secret).1.unwrap();
        SITES.map(|site| (site, faults.count(site)))
    };
    let mut cuts = 0;
    for (site, total) in count {
        for nth in (1..=total).step_by(11) {
            for effect in [Effect::NotDone, Effect::Done] {
                let dir = tempfile::tempdir().unwrap();
                let faults = Faults::power_cut(site, nth, effect);
                let Ok((mut store, _)) = JournalStore::open(dir.path(), with(&faults)) else { continue };
                let (deleted, _) = erase_a_secret(&mut store, &secret);
                drop(store);
                let (mut store, _) = open(dir.path());
                if deleted {
                    cuts += 1;
                    assert_eq!(
                        state(&store, 20).1.len(),
                        20,
                        "{site:?} {nth} {effect:?}: what lives is there"
                    );
                    assert_eq!(store.get(5, b"body").unwrap(), None);
                    while store.erase_step().unwrap() {}
                    for folder in ["journal", "index"] {
                        for entry in fs::read_dir(dir.path().join(folder)).unwrap() {
                            let path = entry.unwrap().path();
                            let held = if path.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                            let found = held.windows(secret.len()).any(|window| window == secret);
                            assert!(!found, "{site:?} {nth} {effect:?}: {}", path.display());
                        }
                    }
                }
            }
        }
    }
    assert!(cuts > 10, "{cuts}");
}

#[test]
fn segments_freed_but_left_behind_by_a_crash_are_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    for n in 0..40 {
        store.commit(turn(n)).unwrap();
    }
    let kept = dir.path().join("kept");
    let first = segments(dir.path()).remove(0);
    fs::copy(&first, &kept).unwrap();
    store.erase().unwrap();
    let expected = state(&store, 40);
    drop(store);
    assert!(!first.exists());
    fs::copy(&kept, &first).unwrap();
    let (store, recovery) = open(dir.path());
    assert_eq!((state(&store, 40), recovery.cut), (expected, None));
    store.journal_settled();
    assert!(!first.exists());
    for spare in files(dir.path(), "spare-") {
        assert!(fs::read(spare).unwrap().iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_power_cut_at_any_step_of_traffic_with_compaction_is_harmless() {
    let turns = 120;
    let count = {
        let dir = tempfile::tempdir().unwrap();
        let faults = Faults::plan([]);
        let (mut store, _) = JournalStore::open(dir.path(), with(&faults)).unwrap();
        traffic(&mut store, turns).unwrap();
        assert!(store.stats().freed_segments > 5);
        SITES.map(|site| (site, faults.count(site)))
    };
    let mut cuts = 0;
    for (site, total) in count {
        let stride = if matches!(site, Site::Write | Site::Sync) { 29 } else { 7 };
        for nth in (1..=total).step_by(stride) {
            for effect in [Effect::NotDone, Effect::Partly, Effect::Done] {
                // Only a write can be done by half.
                if effect != Effect::Partly || site == Site::Write {
                    cut_and_check(site, nth, effect, turns);
                    cuts += 1;
                }
            }
        }
    }
    assert!(cuts > 40, "{cuts}");
}

/// Runs the traffic with a power cut, beside a model that knows what was confirmed.
fn cut_and_check(site: Site, nth: u64, effect: Effect, turns: u32) {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::power_cut(site, nth, effect);
    let mut model = MemoryStore::new();
    let mut unconfirmed = None;
    if let Ok((mut store, _)) = JournalStore::open(dir.path(), with(&faults)) {
        for n in 0..turns {
            let deliver =
                Turn::default().delete(1, n.saturating_sub(3).to_be_bytes()).forget(id(n.saturating_sub(3)));
            let steps = [Some(turn(n)), (n >= 3 && (n - 3) % 10 != 0).then_some(deliver)];
            for step in steps.into_iter().flatten() {
                if unconfirmed.is_some() {
                    continue;
                }
                match store.commit(step.clone()) {
                    Ok(()) => model.commit(step).unwrap(),
                    Err(_) => unconfirmed = Some(step),
                }
            }
            if n % 5 == 0 && unconfirmed.is_none() {
                store.sync_index().unwrap();
            }
        }
    }
    let (store, _) = open(dir.path());
    let found = state(&store, turns);
    let confirmed = state(&model, turns);
    if found != confirmed {
        model.commit(unconfirmed.expect("only an unconfirmed turn may be there in addition")).unwrap();
        assert_eq!(found, state(&model, turns), "{site:?} {nth} {effect:?}");
    }
    drop(store);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert_eq!(
        state(&open(dir.path()).0, turns),
        found,
        "the journal alone says the same: {site:?} {nth} {effect:?}"
    );
    assert!(journal_bytes(dir.path()) < 40 * 4096);
}
