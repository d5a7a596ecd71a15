//! Exports of the log and witness policies, as the verifier reads them.

use std::io::Cursor;

use seinhuis_verify::{Key, Policy, Verdict, verify};

use crate::known;

/// A bundle of an export of the known log.
#[expect(clippy::expect_used, reason = "a constant, and memory")]
pub fn bundle(data: &[u8]) -> bool {
    let key = Key::parse(&known::log().key.to_string()).expect("the known key is one");
    let judge = || verify(Cursor::new(data), &key, None).expect("memory can be read");
    let verdict = judge();
    assert_eq!(verdict, judge(), "two verdicts on one bundle");
    let Verdict::Good(good) = verdict else { return false };
    assert!(
        good.count <= good.size && good.origin == known::ORIGIN,
        "more entries than the log has, or of another"
    );
    true
}

/// A witness policy.
pub fn policy(data: &[u8]) -> bool {
    let Ok(policy) = Policy::parse(data) else { return false };
    assert_eq!(policy.text(), data, "a policy is other text");
    let longer = [data, b"quorum none\n"].concat();
    assert!(Policy::parse(&longer).is_err(), "a policy with two quorums");
    assert!(
        Policy::parse(&[b"# a comment\n", data].concat()).is_ok() || data.len() > 60_000,
        "a comment counts"
    );
    true
}
