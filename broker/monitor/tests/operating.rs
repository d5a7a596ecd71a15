//! `docs/operating.md` holds the list of alarms itself: code and document cannot drift apart.
//!
//! With `SEINHUIS_BLESS=1` the document is rewritten instead of compared.
use std::fs;
use std::path::Path;

use seinhuis_monitor::alarms;

const LIST_BEGINS: &str = "<!-- alarms: begin -->\n";
const LIST_ENDS: &str = "<!-- alarms: end -->\n";

#[test]
fn the_operating_document_holds_the_list_of_alarms() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating.md");
    let found = fs::read_to_string(&path).unwrap();
    let (before, rest) = found.split_once(LIST_BEGINS).unwrap();
    let (list, after) = rest.split_once(LIST_ENDS).unwrap();
    if std::env::var_os("SEINHUIS_BLESS").is_some() {
        let text = [before, LIST_BEGINS, &alarms::markdown(), LIST_ENDS, after].concat();
        fs::write(&path, text).unwrap();
        return;
    }
    assert_eq!(list, alarms::markdown(), "docs/operating.md differs: run with SEINHUIS_BLESS=1");
}
