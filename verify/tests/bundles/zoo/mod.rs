//! Bad bundles, each named by its one defect.

mod archive;
mod contents;
mod lines;
mod question;
mod witnesses;

use seinhuis_verify::Code;

use crate::build::Parts;
use crate::good;
use crate::zip::{self, Around, Member};

/// A bad bundle: its defect, its bytes, its verdict, and the line that has to be named if that is certain.
pub(crate) struct Beast {
    pub(crate) name: String,
    pub(crate) file: Vec<u8>,
    pub(crate) code: Code,
    pub(crate) line: Option<u64>,
    /// With a line that is not the log's: the other verdict that has to be told of.
    pub(crate) also: Option<Code>,
    /// The policy it is held against, if one is given.
    pub(crate) policy: Option<String>,
}

fn beast(name: &str, code: Code, file: Vec<u8>) -> Beast {
    Beast { name: name.to_owned(), code, file, line: None, also: None, policy: None }
}

/// A bundle whose contents were changed before it was summed and signed: what a dishonest broker could make.
fn altered(
    name: &str,
    code: Code,
    line: Option<u64>,
    mut parts: Parts,
    change: impl FnOnce(&mut Parts),
) -> Beast {
    change(&mut parts);
    Beast { line, ..beast(name, code, parts.file()) }
}

/// With members changed, but neither summed nor signed again.
fn unsealed(name: &str, code: Code, change: impl FnOnce(&mut Vec<Member>)) -> Beast {
    let mut members = whole().seal();
    change(&mut members);
    beast(name, code, zip::file(&members, &Around::default()))
}

/// With another text in place of a member's, after sealing.
fn replaced(name: &str, code: Code, place: usize, change: impl FnOnce(String) -> String) -> Beast {
    unsealed(name, code, |members| {
        let member = String::from_utf8(members[place].name.clone()).unwrap();
        let text = String::from_utf8(zip::unpacked(&members[place])).unwrap();
        members[place] = Member::deflated(&member, change(text).as_bytes());
    })
}

/// A complete bundle of 60 entries.
fn whole() -> Parts {
    good::complete(60, None, None)
}

/// A selection of 400 entries by flow.
fn some() -> Parts {
    good::selection(400, &[r#""flow":"F02""#], &[("flow", "\"F02\"")])
}

/// All of them.
pub(crate) fn all() -> Vec<Beast> {
    let mut all = archive::all();
    all.extend(lines::all());
    all.extend(contents::sums());
    all.extend(contents::manifests());
    all.extend(contents::checkpoints());
    all.extend(contents::places());
    all.extend(contents::proofs());
    all.extend(contents::covenants());
    all.extend(witnesses::all());
    all.extend(question::entries());
    all.extend(question::orders());
    all.extend(question::questions());
    all
}
