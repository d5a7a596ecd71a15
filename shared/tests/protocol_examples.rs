//! The byte-level examples and tables in `docs/protocol.md` are what the code encodes.
//!
//! A block between `<!-- begin NAME -->` and `<!-- end NAME -->` is written by the function for NAME. With
//! `SEINHUIS_BLESS=1` the blocks are rewritten instead of compared. The examples are one story: a covenant,
//! a prekey, a packet sealed under the one to the other, its way through the log, its acknowledgement.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod protocol_kit;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use protocol_kit::{Story, blocks};

const DOCUMENT: &str = "../docs/protocol.md";

/// The document's parts: text, and the names of the blocks between them.
fn split(text: &str) -> Vec<(&str, Option<(&str, &str)>)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<!-- begin ") {
        let (name, after) = after.split_once(" -->\n").unwrap();
        let end = format!("<!-- end {name} -->\n");
        let (block, after) = after.split_once(end.as_str()).unwrap();
        parts.push((before, Some((name, block))));
        rest = after;
    }
    parts.push((rest, None));
    parts
}

#[test]
fn every_block_of_the_protocol_document_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let text = fs::read_to_string(&path).unwrap();
    let mut wanted: BTreeMap<&str, String> = blocks(&Story::new()).into_iter().collect();
    let bless = std::env::var_os("SEINHUIS_BLESS").is_some();
    let mut blessed = String::new();
    for (before, block) in split(&text) {
        blessed.push_str(before);
        let Some((name, found)) = block else { continue };
        let Some(wanted) = wanted.remove(name) else {
            panic!("docs/protocol.md has a block {name:?} that no code writes, or has it twice")
        };
        if !bless {
            assert_eq!(found, wanted, "block {name:?} of docs/protocol.md: run with SEINHUIS_BLESS=1");
        }
        writeln!(blessed, "<!-- begin {name} -->\n{wanted}<!-- end {name} -->").unwrap();
    }
    assert!(wanted.is_empty(), "docs/protocol.md lacks the blocks {:?}", wanted.keys());
    if bless {
        fs::write(&path, blessed).unwrap();
    }
}

#[test]
fn the_story_of_the_examples_holds() {
    Story::new().check();
}
