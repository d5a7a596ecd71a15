//! sled at arm's length. It panics on some kinds of damage and, when it is let go of, on a disk that fails; the index it
//! keeps can be made again from the journal, so that none of that may end who uses it.

use std::any::Any;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Something whose end may panic, which is then told and goes no further.
#[derive(Debug)]
pub(crate) struct Expendable<T>(Option<T>);

impl<T> Expendable<T> {
    fn new(held: T) -> Self {
        Self(Some(held))
    }
}

impl<T> Deref for Expendable<T> {
    type Target = T;

    #[expect(clippy::expect_used, reason = "it is there until it is dropped")]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("held until it is dropped")
    }
}

impl<T> Drop for Expendable<T> {
    fn drop(&mut self) {
        let held = self.0.take();
        if let Err(fault) = guard(|| {
            drop(held);
            Ok(())
        }) {
            tracing::warn!(%fault, "the index was not closed as it should be; it is made again if that is needed");
        }
    }
}

/// Runs something in sled.
///
/// # Errors
/// What sled says, or the words of its panic.
pub(crate) fn guard<T>(operation: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("sled panicked: {}", panic_text(panic.as_ref()))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Opens sled. A previous owner of the folder in this process may still be letting go of sled's own lock;
/// the folder is ours (it is locked), so wait for it a little.
///
/// # Errors
/// What sled says, or the words of its panic.
pub(crate) fn open_sled(path: &Path, cache: u64) -> Result<Expendable<sled::Db>, String> {
    const TRIES: u32 = 100;
    let mut tries = 0;
    loop {
        let config = sled::Config::new().path(path).cache_capacity(cache).flush_every_ms(None);
        match guard(|| config.open()) {
            Err(fault) if fault.contains("acquire lock") && tries < TRIES => {
                tries += 1;
                thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome.map(Expendable::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_when_it_is_let_go_of_ends_nobody_else() {
        struct Sour;
        impl Drop for Sour {
            fn drop(&mut self) {
                // As an error that is unwrapped.
                std::panic::resume_unwind(Box::new("Input/output error".to_owned()));
            }
        }
        drop(Expendable::new(Sour));
    }
}
