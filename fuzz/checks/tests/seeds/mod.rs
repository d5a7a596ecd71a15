//! The seeds: small inputs made from fixed keys and times, so that the same code makes the same bytes.
//!
//! Files of `fuzz/corpus` that stand not here were found by a fuzzer, or are signed with a key that draws chance.

mod answers;
mod cases;
mod covenants;
mod exports;
mod files;
mod local;
mod log;
mod signed;

/// One committed input.
pub(crate) struct Seed {
    /// The target whose corpus it is in.
    pub(crate) target: &'static str,
    /// The file's name: `ok-` when the decoder accepts it, `no-` when it does not.
    pub(crate) name: String,
    /// The content.
    pub(crate) bytes: Vec<u8>,
}

fn ok(target: &'static str, name: &str, bytes: impl Into<Vec<u8>>) -> Seed {
    Seed { target, name: format!("ok-{name}"), bytes: bytes.into() }
}

fn no(target: &'static str, name: &str, bytes: impl Into<Vec<u8>>) -> Seed {
    Seed { target, name: format!("no-{name}"), bytes: bytes.into() }
}

/// All but the last byte.
fn cut(bytes: &[u8]) -> Vec<u8> {
    bytes.split_last().map(|(_, head)| head.to_vec()).unwrap_or_default()
}

/// One byte more.
fn longer(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[0]].concat()
}

/// Text with one thing changed, which must occur.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

/// Every seed.
pub(crate) fn all() -> Vec<Seed> {
    let all = [
        answers::all(),
        signed::all(),
        cases::all(),
        log::all(),
        covenants::all(),
        exports::all(),
        files::all(),
    ];
    all.into_iter().flatten().chain(local::all()).collect()
}
