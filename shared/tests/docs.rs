//! `docs/refusals.md` is the refusal table itself, and `docs/covenant.md` holds the table of warnings: code and
//! document cannot drift apart.
//!
//! With `SEINHUIS_BLESS=1` the document is rewritten instead of compared.

use std::fs;
use std::path::Path;

use seinhuis_shared::covenant::lint;
use seinhuis_shared::refusal;

const INTRODUCTION: &str = "# Refusals

Every reason for which something is not let through, numbered once; a number is never reused. The number is what
goes over the wire and into the exchange log (`reason`). The texts are looked up at the side that shows them.

*Whose fault* says who has to act: the sender, the recipient, the broker (its operator), the covenant (the parties
together), or nobody (*passing*: try the same bytes again later).

This file is generated from `shared/src/refusal.rs` and held equal to it by `shared/tests/docs.rs`
(`SEINHUIS_BLESS=1 cargo test -p seinhuis-shared --test docs` rewrites it).

";

#[test]
fn the_refusal_document_is_the_refusal_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/refusals.md");
    let wanted = format!("{INTRODUCTION}{}", refusal::markdown());
    if std::env::var_os("SEINHUIS_BLESS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    let place = wanted.lines().zip(found.lines()).position(|(wanted, found)| wanted != found);
    assert_eq!(found, wanted, "docs/refusals.md differs (line {place:?}): run with SEINHUIS_BLESS=1");
}

const TABLE_BEGINS: &str = "<!-- warnings: begin -->\n";
const TABLE_ENDS: &str = "<!-- warnings: end -->\n";

#[test]
fn the_covenant_document_holds_the_table_of_warnings() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/covenant.md");
    let found = fs::read_to_string(&path).unwrap();
    let (before, rest) = found.split_once(TABLE_BEGINS).unwrap();
    let (table, after) = rest.split_once(TABLE_ENDS).unwrap();
    if std::env::var_os("SEINHUIS_BLESS").is_some() {
        let text = [before, TABLE_BEGINS, &lint::markdown(), TABLE_ENDS, after].concat();
        fs::write(&path, text).unwrap();
        return;
    }
    assert_eq!(table, lint::markdown(), "docs/covenant.md differs: run with SEINHUIS_BLESS=1");
}
