//! That a destroyed private half is gone from every file of the store, and that the search would have found it.

use std::path::Path;

use seinhuis_agent_core::rows::{OwnPrekeyRow, Write, table};
use seinhuis_journal::{JournalStore, Options, Store as _};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::time::Span;
use seinhuis_shared::tlog::note::{ED25519, KeyText};

use super::*;
use crate::hpke::AwsHpke;

/// In how many files below a folder these bytes are.
fn found(dir: &Path, bytes: &[u8]) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        files += if path.is_dir() {
            found(&path, bytes)
        } else {
            let file = std::fs::read(&path).unwrap();
            usize::from(file.windows(bytes.len()).any(|window| window == bytes))
        };
    }
    files
}

#[test]
fn a_destroyed_prekey_is_in_no_file_once_it_was_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { segment_bytes: 1 << 20, ..Options::default() };
    let vault = || Vault::new(&[1; 32], SigningKey::from_seed(&[1; 32])).unwrap();
    let key = SigningKey::from_seed(&[2; 32]).public().to_bytes();
    let text = KeyText::new("broker.example/log", ED25519, &key).unwrap();
    let log = LogKey { origin: "broker.example/log".into(), key: text.to_string().parse().unwrap() };
    let settings = Settings { oin: "00000099000000001000".parse().unwrap(), log };
    // A prekey whose packets have all ended, as it would have been made five weeks ago.
    let (secret, public) = AwsHpke::generate().unwrap();
    let id = public.id();
    let locked = vault().ports().locker.lock(table::OWN_PREKEY, id.as_bytes(), &secret.0).unwrap();
    let not_before = now().minus(Span::days(35));
    let not_after = not_before.plus(Span::days(1));
    let row = OwnPrekeyRow { public, not_before, not_after, secret: Bytes(locked.clone()) };
    let row = Write::OwnPrekey(id, Some(Box::new(row))).row();
    let turn = seinhuis_journal::Turn {
        rows: vec![RowChange { table: row.table, key: row.key, value: row.value }],
        blobs: Vec::new(),
        drops: Vec::new(),
    };
    let (mut store, _) = JournalStore::open(dir.path(), options()).unwrap();
    store.commit(turn).unwrap();
    Box::new(store).close().unwrap();
    // Past the nonce, which is in front.
    let trace = &locked[16..80];
    assert_eq!(found(dir.path(), trace), 1, "the search finds it, in the journal and not in the index");
    assert_eq!(found(dir.path(), &secret.0[..32]), 0, "never without encryption");

    let mut engine = Engine::open(dir.path(), options(), settings.clone(), vault()).unwrap();
    engine.step([Input::Tick]).unwrap();
    assert!(
        engine.store.get(table::OWN_PREKEY, id.as_bytes()).unwrap().is_none(),
        "the agent has it no more"
    );
    assert_eq!(found(dir.path(), trace), 1, "its encrypted bytes are still there");
    engine.overwrite().unwrap();
    assert_eq!(found(dir.path(), trace), 0, "and now they are not");
    engine.close().unwrap();
    let engine = Engine::open(dir.path(), options(), settings, vault()).unwrap();
    assert!(engine.core.to_overwrite().is_none());
    engine.close().unwrap();
    assert_eq!(found(dir.path(), trace), 0, "nor after a restart");
}
