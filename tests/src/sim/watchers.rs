//! Witnesses of a log whose broker cheats: it asks them to cosign histories that it shows to others, tells quorums of one
//! history to who sees the other, and makes up quorums; one witness sides with it and cosigns whatever it is asked.
//!
//! What has to hold all the same: an honest witness cosigns one history, each tree only after it kept it, also over
//! crashes; no two histories both get a quorum, because it is more than half and one (three of four, one of them not
//! honest); and a quorum that counts at an agent is of the history that it pinned.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_agent_core::rows::table;
use seinhuis_agent_core::{Send as Asked, Turn, Write};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::witnesses::party_witness;
use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::note::{Note, NoteSignature};
use seinhuis_shared::tlog::witness::{Answer, OK, Request, read_answer};
use seinhuis_shared::wire::{Cosigned, Message as _, Witnessed};

use super::cast;
use super::faults::FORGER;
use super::log::Log;
use super::net::Stream;
use super::oracle::{Broken, Violation};
use super::scenario::{Fault, Sabotage};
use super::wire;
use super::world::World;

/// A tree of the log: its size and root.
pub(super) type Tree = (u64, Digest);

/// Who cosigned which tree.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// What each honest witness cosigned, in order.
    cosigned: BTreeMap<usize, Vec<Tree>>,
    /// The cosignatures under each tree, by witness.
    lines: BTreeMap<Tree, BTreeMap<usize, NoteSignature>>,
    /// The quorums that counted at each agent: the sizes of their trees.
    counted: BTreeMap<usize, BTreeSet<u64>>,
    /// The quorums that the broker told.
    told: Vec<Vec<u8>>,
}

fn broken(what: String) -> Violation {
    Violation::new(Broken::Witness, what)
}

/// The tree of a note.
fn tree(note: &Note) -> Result<Tree, Violation> {
    let checkpoint = Checkpoint::parse(note.text()).map_err(cast::setup)?;
    Ok((checkpoint.size(), *checkpoint.root()))
}

/// The cosignature of a witness that looks at nothing.
fn line(number: u8, note: &Note, seconds: u64) -> Result<NoteSignature, Violation> {
    let secret = cast::witness(number);
    let key = party_witness(&cast::oin(number)?, &secret.public().to_bytes()).map_err(cast::setup)?;
    let line = key.cosign_with(note.text(), seconds, |bytes| secret.sign(bytes));
    line.ok_or_else(|| cast::setup("no time for a cosignature"))
}

fn number(agent: usize) -> u8 {
    u8::try_from(agent).unwrap_or_default().saturating_add(1)
}

impl World {
    /// Whether this asks a witness that cosigns whatever it is asked, which it does then: one that sides with the broker,
    /// or that forgets what it cosigned.
    pub(super) fn cosigns_blindly(&mut self, id: u64, agent: usize, frame: &[u8]) -> Result<bool, Violation> {
        let blind = agent == FORGER || self.scenario.sabotage == Some(Sabotage::Unmindful);
        if !(blind && self.is_crooked() && self.has(Fault::Witnesses)) {
            return Ok(false);
        }
        let Ok((Kind::AddCheckpoint, asked)) = wire::read(frame) else { return Ok(false) };
        let Some(asked) = Request::parse(asked) else { return Ok(true) };
        let line = line(number(agent), &asked.note, self.now.0 / 1000)?;
        let answer = Cosigned { status: OK, body: Bytes(format!("{line}\n").into_bytes()) };
        let request = self.fresh();
        self.send_broker(id, Stream::Request(request), answer.to_frame().ok());
        self.has_cosigned(agent, tree(&asked.note)?, line)?;
        Ok(true)
    }

    /// What an honest witness answered in a turn, that is flushed, to what it was asked in it.
    pub(super) fn see_answers(&mut self, agent: usize, turn: &Turn) -> Result<(), Violation> {
        let asked = std::mem::take(&mut self.agents[agent].asked);
        let answers: Vec<&Cosigned> = turn
            .sends
            .iter()
            .filter_map(|send| if let Asked::Cosigned(answer) = send { Some(answer) } else { None })
            .collect();
        if asked.len() != answers.len() {
            return Err(cast::setup("a witness does not answer each question once"));
        }
        if asked.is_empty() {
            return Ok(());
        }
        let own = cast::witness(number(agent)).public().to_bytes();
        let key = party_witness(&self.agents[agent].oin, &own).map_err(cast::setup)?;
        for (asked, answer) in asked.iter().zip(answers).filter(|(_, answer)| answer.status == OK) {
            let asked = Request::parse(asked).ok_or_else(|| broken("no request was cosigned".into()))?;
            let read = read_answer(answer.status, &answer.body, &asked.note, &key);
            let Ok(Answer::Cosigned(line, _)) = read else {
                return Err(broken(format!("agent {} answers what is no cosignature", agent + 1)));
            };
            let tree = tree(&asked.note)?;
            self.keeps(agent, tree)?;
            self.has_cosigned(agent, tree, line)?;
        }
        self.counts(agent, turn)
    }

    /// A witness has what it cosigned on its disk before it says so.
    fn keeps(&self, agent: usize, (size, root): Tree) -> Result<(), Violation> {
        let rows = self.agents[agent].disk.live.table(table::COSIGNED);
        let kept = rows.filter_map(|(key, value)| match Write::read(table::COSIGNED, key, value) {
            Ok(Write::Cosigned(_, row)) => Some((row.size, row.root)),
            _ => None,
        });
        if kept.into_iter().any(|kept| kept.0 > size || kept == (size, root)) {
            return Ok(());
        }
        Err(broken(format!("agent {} cosigned {size} entries that it does not keep", agent + 1)))
    }

    fn has_cosigned(&mut self, agent: usize, tree: Tree, line: NoteSignature) -> Result<(), Violation> {
        let watchers = &mut self.crooked.watchers;
        watchers.lines.entry(tree).or_default().insert(agent, line);
        *self.summary.faults.entry("trees cosigned").or_default() += 1;
        if agent == FORGER {
            return Ok(());
        }
        let before = watchers.cosigned.entry(agent).or_default();
        if let Some(last) = before.last().filter(|last| last.0 > tree.0 || last.0 == tree.0 && **last != tree)
        {
            return Err(broken(format!("agent {} cosigned {tree:?} after {last:?}", agent + 1)));
        }
        before.push(tree);
        let quorums = self.quorums()?;
        if quorums.iter().filter(|one| one.0 == tree.0).count() > 1 {
            return Err(broken(format!("two trees of {} entries have a quorum", tree.0)));
        }
        Ok(())
    }

    /// The trees that enough witnesses cosigned, or would have with the one that sides with the broker.
    fn quorums(&self) -> Result<Vec<Tree>, Violation> {
        let wanted = usize::from(cast::compiled(self.model())?.covenant().witness_quorum);
        let honest =
            |lines: &BTreeMap<usize, NoteSignature>| lines.keys().filter(|one| **one != FORGER).count();
        let lines = self.crooked.watchers.lines.iter();
        Ok(lines.filter(|(_, lines)| honest(lines) + 1 >= wanted).map(|(tree, _)| *tree).collect())
    }

    /// The quorums that count at an agent now.
    fn counts(&mut self, agent: usize, turn: &Turn) -> Result<(), Violation> {
        if turn.writes.is_empty() {
            return Ok(());
        }
        let Some(core) = &self.agents[agent].core else { return Ok(()) };
        let counted = core.status(self.now).quorums.into_iter().filter_map(|one| one.newest);
        let counted: Vec<u64> = counted.map(|(size, _)| size).collect();
        let quorums = self.quorums()?;
        for size in counted {
            if !quorums.iter().any(|one| one.0 == size) {
                return Err(broken(format!("agent {} counts a quorum of {size} that is none", agent + 1)));
            }
            if self.crooked.watchers.counted.entry(agent).or_default().insert(size) {
                *self.summary.faults.entry("quorums that counted").or_default() += 1;
            }
        }
        Ok(())
    }

    /// Whether all that was cosigned fits together. `pins` are what each agent pinned, `views` all histories there were.
    pub(super) fn look_at_witnesses(
        &self,
        pins: &BTreeMap<usize, Vec<Tree>>,
        views: &[&Log],
    ) -> Result<(), Violation> {
        let views: Vec<BTreeSet<Tree>> = views.iter().map(|log| log.trees()).collect::<Result<_, _>>()?;
        let one_history =
            |trees: &[Tree]| views.iter().any(|view| trees.iter().all(|tree| view.contains(tree)));
        let watchers = &self.crooked.watchers;
        for (agent, trees) in &watchers.cosigned {
            if !one_history(trees) {
                return Err(broken(format!(
                    "agent {} cosigned what is in no one history: {trees:?}",
                    agent + 1
                )));
            }
        }
        let quorums = self.quorums()?;
        if !one_history(&quorums) {
            return Err(broken(format!("quorums that are in no one history: {quorums:?}")));
        }
        for (agent, counted) in &watchers.counted {
            let counted = quorums.iter().filter(|one| counted.contains(&one.0));
            let all: Vec<Tree> = counted.chain(pins.get(agent).into_iter().flatten()).copied().collect();
            if !one_history(&all) {
                return Err(broken(format!(
                    "agent {} counts quorums of what it did not pin: {all:?}",
                    agent + 1
                )));
            }
        }
        Ok(())
    }

    // What the broker does to them.

    /// The broker tells of a quorum.
    pub(super) fn tells_quorum(&mut self, frame: &[u8]) {
        self.crooked.watchers.told.push(frame.to_vec());
    }

    /// Tells an agent of a quorum that others were told of.
    pub(super) fn repeat_quorum(&mut self, agent: usize) -> Option<&'static str> {
        let count = u64::try_from(self.crooked.watchers.told.len()).ok().filter(|count| *count > 0)?;
        let at = usize::try_from(self.dice.between(0, count)).ok()?;
        let frame = self.crooked.watchers.told.get(at)?.clone();
        self.tell(agent, Stream::Deliveries, frame)?;
        Some("cheat: quorums told to others")
    }

    /// Asks a witness to cosign a history that it may not have seen, from a size that suits.
    pub(super) fn ask_aside(&mut self, agent: usize) -> Result<Option<&'static str>, Violation> {
        let Some(log) = self.some_history() else { return Ok(None) };
        let known = self.crooked.watchers.cosigned.get(&agent).and_then(|trees| trees.last());
        let known = known.map_or(0, |tree| tree.0);
        let old = match self.dice.between(0, 4) {
            0 => 0,
            1 => self.dice.between(0, log.size() + 2),
            _ => known,
        };
        let proof =
            if old == 0 || old >= log.size() { Vec::new() } else { log.consistency(old, log.size())? };
        let note = cast::sign(&log.origin, log.size(), log.root())?;
        let note = Note::parse(&note).map_err(cast::setup)?;
        let Some(request) = (Request { old, proof, note }).to_bytes() else { return Ok(None) };
        let frame = frame::encode(Kind::AddCheckpoint, &request).map_err(cast::setup)?;
        let told = self.tell(agent, Stream::Deliveries, frame);
        Ok(told.map(|()| "cheat: witnesses asked aside"))
    }

    /// Tells an agent of a quorum made of what there is: too few cosignatures, one twice, or those of another tree.
    pub(super) fn make_quorum(&mut self, agent: usize) -> Result<Option<&'static str>, Violation> {
        let Some(log) = self.some_history() else { return Ok(None) };
        let note = cast::sign(&log.origin, log.size(), log.root())?;
        let mut note = Note::parse(&note).map_err(cast::setup)?;
        let lines = &self.crooked.watchers.lines;
        let others: Vec<Tree> = lines.keys().copied().collect();
        let own = (log.size(), log.root());
        let from = if self.dice.percent(50) { own } else { self.dice.pick(&others).unwrap_or(own) };
        let mut found: Vec<NoteSignature> =
            lines.get(&from).into_iter().flat_map(BTreeMap::values).cloned().collect();
        found.push(line(number(FORGER), &note, self.now.0 / 1000)?);
        if self.dice.percent(30) {
            found.extend(found.first().cloned());
        }
        for line in found {
            // A line twice is no second one.
            drop(note.add(line));
        }
        let covenant = cast::compiled(self.model())?.hash();
        let told = Witnessed { covenant, note: Bytes(note.to_string().into_bytes()) };
        let frame = told.to_frame().map_err(cast::setup)?;
        let told = self.tell(agent, Stream::Deliveries, frame);
        Ok(told.map(|()| "cheat: quorums made up"))
    }

    /// One of the histories there are.
    fn some_history(&mut self) -> Option<Log> {
        let (other, views) = (self.crooked.other_log(), &self.crooked.views);
        let all: Vec<Log> =
            views.iter().rev().take(4).cloned().chain(other).chain([self.current_log()]).collect();
        let count = u64::try_from(all.len()).ok()?;
        let at = usize::try_from(self.dice.between(0, count)).ok()?;
        all.into_iter().nth(at).filter(|log| log.size() > 0)
    }
}
