//! Which witnesses have to have cosigned a checkpoint (C2SP tlog-policy), and whether they did (C2SP tlog-cosignature).

use core::fmt;
use std::collections::BTreeMap;

use crate::note::{Key, Note};

/// Logs, witnesses and groups a policy may have, each.
const MOST: usize = 64;
/// Bytes a policy may have.
const BYTES: usize = 64 << 10;
/// How note keys call the two uses of Ed25519.
const LOG: u8 = 1;
const COSIGNATURE: u8 = 4;

/// Why a text is no policy: its line, from 1 (0: the whole), and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The line.
    pub line: u64,
    /// What is wrong with it.
    pub text: &'static str,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a policy: line {} {}", self.line, self.text)
    }
}

impl core::error::Error for PolicyError {}

/// A member of groups: a witness, or a group of those before it.
#[derive(Debug, Clone)]
enum Node {
    Witness(usize),
    Group { least: usize, members: Vec<usize> },
}

/// A policy.
#[derive(Debug, Clone)]
pub struct Policy {
    text: Vec<u8>,
    logs: Vec<Key>,
    witnesses: Vec<Key>,
    nodes: Vec<Node>,
    /// What has to have witnessed a checkpoint; nothing for `quorum none`.
    quorum: Option<usize>,
}

/// What a policy says of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// Witnesses of the policy whose cosignature verifies.
    pub witnesses: usize,
    /// Witnesses the policy has.
    pub of: usize,
    /// Whether they suffice.
    pub met: bool,
}

/// A policy while it is read.
#[derive(Default)]
struct Reading {
    logs: Vec<Key>,
    witnesses: Vec<Key>,
    nodes: Vec<Node>,
    /// Every name, its node, and whether a group has it as a member.
    names: BTreeMap<Vec<u8>, (usize, bool)>,
    groups: usize,
    quorum: Option<usize>,
    /// Whether the one quorum line was there.
    decided: bool,
}

impl Policy {
    /// Reads a policy with keys for Ed25519.
    ///
    /// # Errors
    /// The first line that does not hold.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let whole = |text| PolicyError { line: 0, text };
        if bytes.len() > BYTES {
            return Err(whole("is longer than 64 KiB"));
        }
        let lines = match bytes.strip_suffix(b"\n") {
            Some(lines) => lines,
            None if bytes.is_empty() => return Err(whole("has no quorum")),
            None => return Err(whole("does not end with a newline")),
        };
        let mut reading = Reading::default();
        for (line, number) in lines.split(|byte| *byte == b'\n').zip(1..) {
            reading.line(line).map_err(|text| PolicyError { line: number, text })?;
        }
        let Reading { logs, witnesses, nodes, quorum, decided, .. } = reading;
        if !decided {
            return Err(whole("has no quorum"));
        }
        Ok(Self { text: bytes.to_vec(), logs, witnesses, nodes, quorum })
    }

    /// Its bytes.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// What it says of a checkpoint of the log with this key.
    ///
    /// # Errors
    /// When the policy is for other logs, or a line of one of its witnesses does not verify.
    pub(crate) fn judge(&self, note: &Note<'_>, key: &Key) -> Result<Quorum, &'static str> {
        if !self.logs.is_empty() && !self.logs.iter().any(|log| log.text() == key.text()) {
            return Err("is of a log that the policy does not name");
        }
        let mut signed = Vec::with_capacity(self.witnesses.len());
        for witness in &self.witnesses {
            signed.push(note.cosigned_by(witness)?);
        }
        let mut met: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            met.push(match node {
                Node::Witness(at) => signed.get(*at) == Some(&true),
                Node::Group { least, members } => {
                    members.iter().filter(|at| met.get(**at) == Some(&true)).count() >= *least
                }
            });
        }
        let witnesses = signed.iter().filter(|signed| **signed).count();
        let met = self.quorum.is_none_or(|quorum| met.get(quorum) == Some(&true));
        Ok(Quorum { witnesses, of: self.witnesses.len(), met })
    }
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if line.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
            return Err("has a control character");
        }
        let items: Vec<&[u8]> =
            line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] | [b"log", key, _] => {
                let key = vkey(key, LOG)?;
                add(&mut self.logs, key)
            }
            [b"witness", name, key] | [b"witness", name, key, _] => {
                let key = vkey(key, COSIGNATURE)?;
                add(&mut self.witnesses, key)?;
                self.name(name, Node::Witness(self.witnesses.len() - 1))
            }
            [b"group", name, least, members @ ..] => self.group(name, least, members),
            [b"quorum", name] => {
                if core::mem::replace(&mut self.decided, true) {
                    return Err("is a second quorum");
                }
                self.quorum = if *name == b"none" { None } else { Some(self.known(name)?.0) };
                Ok(())
            }
            _ => Err("is none of a policy"),
        }
    }

    fn known(&mut self, name: &[u8]) -> Result<&mut (usize, bool), &'static str> {
        self.names.get_mut(name).ok_or("names what no line before it defines")
    }

    fn name(&mut self, name: &[u8], node: Node) -> Result<(), &'static str> {
        if name == b"none" || self.names.contains_key(name) {
            return Err("has a name that is taken");
        }
        self.names.insert(name.to_vec(), (self.nodes.len(), false));
        self.nodes.push(node);
        Ok(())
    }

    fn group(&mut self, name: &[u8], least: &[u8], members: &[&[u8]]) -> Result<(), &'static str> {
        let count = members.len();
        let least = match least {
            b"any" => 1,
            b"all" => count,
            digits => {
                let number = crate::json::decimal(digits).and_then(|number| usize::try_from(number).ok());
                number.filter(|number| *number > 0).ok_or("has a threshold that is none")?
            }
        };
        if count == 0 || least > count {
            return Err("has fewer members than it asks for");
        }
        let mut nodes = Vec::with_capacity(count);
        for member in members {
            let (node, taken) = self.known(member)?;
            if core::mem::replace(taken, true) {
                return Err("has a member that is one already");
            }
            nodes.push(*node);
        }
        self.groups += 1;
        if self.groups > MOST {
            return Err("is one too many");
        }
        self.name(name, Node::Group { least, members: nodes })
    }
}

fn vkey(text: &[u8], kind: u8) -> Result<Key, &'static str> {
    let text = core::str::from_utf8(text).map_err(|_| "has a key that is not UTF-8")?;
    Key::of_kind(text, kind).map_err(|_| "has a key that is none for Ed25519 in this place")
}

fn add(keys: &mut Vec<Key>, key: Key) -> Result<(), &'static str> {
    if keys.iter().any(|known| known.is_same_point(&key)) {
        return Err("has a key that is there already");
    }
    if keys.len() == MOST {
        return Err("is one too many");
    }
    keys.push(key);
    Ok(())
}
