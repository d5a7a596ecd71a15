//! Whether a history keeps every promise: looked at from outside, with what everybody was told.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::receipt::file::ReceiptFile;
use seinhuis_shared::rotation::Keys;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::tree::Frontier;

use super::history::{History, Party, Push, Sent};
use crate::sim::{Broken, Oracle, Violation};

/// What an honest agent may complain of while processes die: proofs that take long.
const PASSING: &str = "log-unproven";

/// Everything that is wrong with a history whose faults are over and in which everything is settled.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut oracle = Oracle::new(&history.agreed);
    found.extend(oracle.logs_are(&[(&history.key.origin, &history.log)], history.root).err());
    found.extend(seen(history));
    let entries: Vec<Entry> = history.log.iter().filter_map(|bytes| Entry::parse(bytes).ok()).collect();
    let pushed: BTreeMap<MsgId, &Push> = history.pushed.iter().map(|push| (push.id, push)).collect();
    found.extend(logged(&entries, &pushed));
    for party in &history.parties {
        found.extend(inbox(party, &pushed));
        let alarms = party.alarms.iter().filter(|alarm| !alarm.starts_with(PASSING));
        found.extend(
            alarms.map(|alarm| Violation::new(Broken::Alarm, format!("{} complains: {alarm}", party.oin))),
        );
    }
    found.extend(fates(history, &oracle));
    for party in &history.parties {
        let wrong = party.outbox.iter().filter_map(|sent| receipt(sent, history, &entries).err());
        found.extend(wrong.map(|what| Violation::new(Broken::Log, what)));
    }
    found.extend(order(history, &entries));
    found
}

/// Each state of the log that was seen is a beginning of the log as it is.
fn seen(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut tree = Frontier::empty();
    let mut roots = vec![tree.root()];
    for entry in &history.log {
        if tree.append(leaf_hash(entry)).is_err() {
            break;
        }
        roots.push(tree.root());
    }
    let root = |size: u64| usize::try_from(size).ok().and_then(|size| roots.get(size)).copied();
    for seen in &history.seen {
        if root(seen.size) != Some(seen.root) {
            let what = format!("{} said that the first {} entries have another root", seen.by, seen.size);
            found.push(Violation::new(Broken::Log, what));
        }
    }
    for note in &history.notes {
        let what = match Checkpoint::verify(note, &history.key.origin, &history.key.key) {
            Err(error) => format!("a checkpoint that was published does not count: {error}"),
            Ok(signed) if root(signed.size()) != Some(*signed.root()) => {
                format!("the checkpoint over {} entries is of another log", signed.size())
            }
            Ok(_) => continue,
        };
        found.push(Violation::new(Broken::Log, what));
    }
    found
}

/// What was accepted is what was pushed, each once; nothing that honest partners say is refused.
fn logged(entries: &[Entry], pushed: &BTreeMap<MsgId, &Push>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut once = BTreeSet::new();
    for entry in entries {
        let (Some(id), Some(from)) = (entry.msg_id, entry.from) else { continue };
        if entry.kind == Kind::Refused {
            let what = format!("{id} of {from} was refused with {:?}", entry.reason);
            found.push(Violation::new(Broken::Covenant, what));
        }
        let Some(to) = entry.to else { continue };
        let known = pushed.get(&id).is_some_and(|push| {
            push.from == from
                && push.to.contains(&to)
                && entry.flow.as_deref().is_none_or(|flow| flow == push.flow)
        });
        if !known {
            found.push(Violation::new(Broken::Invented, format!("nobody pushed {id} from {from} to {to}")));
        }
        if !once.insert((entry.kind, id, to)) {
            let what = format!("{id} is twice in the log as {} for {to}", entry.kind.as_str());
            found.push(Violation::new(Broken::Twice, what));
        }
    }
    found
}

/// Nothing is in an inbox twice, or that was not pushed so.
fn inbox(party: &Party, pushed: &BTreeMap<MsgId, &Push>) -> Vec<Violation> {
    let mut found = Vec::new();
    let (mut ids, mut packets) = (BTreeSet::new(), BTreeSet::new());
    for got in &party.inbox {
        let (id, at) = (got.id, party.oin);
        if !ids.insert(id) | !packets.insert(got.packet) {
            found.push(Violation::new(Broken::Twice, format!("{id} is in the inbox of {at} twice")));
        }
        match pushed.get(&id) {
            Some(push) if push.to.contains(&at) && push.body == got.body && got.state == "stored" => {}
            Some(_) => {
                let what = format!("{id} is in the inbox of {at} as {}, and was not pushed so", got.state);
                found.push(Violation::new(Broken::Invented, what));
            }
            None => {
                let what = format!("{id} is in the inbox of {at}, and nobody pushed it");
                found.push(Violation::new(Broken::Invented, what));
            }
        }
    }
    found
}

/// What was confirmed is with each recipient and known to be there, or ended in the log and known to be.
fn fates(history: &History, oracle: &Oracle) -> Vec<Violation> {
    let mut found = Vec::new();
    let inboxes: BTreeMap<Oin, BTreeSet<Digest>> = history
        .parties
        .iter()
        .map(|party| (party.oin, party.inbox.iter().map(|got| got.packet).collect()))
        .collect();
    for push in &history.pushed {
        let sent = row(history, push);
        let lost = |what: &str| Violation::new(Broken::Lost, format!("{} of {} {what}", push.id, push.from));
        match sent.map(|sent| (sent.state.as_str(), sent.packet, sent)) {
            None if push.confirmed => found.push(lost("was confirmed, and its sender does not have it")),
            None => {}
            Some(("accepted", Some(packet), sent)) => {
                found.extend(oracle.fate(push.id, (packet, &push.to), &inboxes, Some(&sent.reached)).err());
            }
            Some((state, ..)) => found.push(lost(&format!("ended as {state}"))),
        }
    }
    found
}

fn row<'a>(history: &'a History, push: &Push) -> Option<&'a Sent> {
    let party = history.parties.iter().find(|party| party.oin == push.from)?;
    party.outbox.iter().find(|sent| sent.id == push.id)
}

/// The receipt of what was accepted proves itself, and what it proves is in the log.
fn receipt(sent: &Sent, history: &History, entries: &[Entry]) -> Result<(), String> {
    let Some(text) = &sent.receipt else {
        let none = sent.state != "accepted";
        return if none { Ok(()) } else { Err(format!("{} has no receipt", sent.id)) };
    };
    let file = ReceiptFile::parse(text).map_err(|error| format!("the receipt of {}: {error}", sent.id))?;
    let logs = std::slice::from_ref(&history.key);
    let proved = file.verify(logs, Some(&history.agreed), &Keys::default());
    let proved = proved.map_err(|error| format!("the receipt of {}: {error}", sent.id))?;
    if file.message != sent.id || Some(file.packet) != sent.packet {
        return Err(format!("the receipt of {} is of another message", sent.id));
    }
    for step in proved.blocks.iter().flat_map(|(_, steps)| steps) {
        let own = usize::try_from(step.index).ok().and_then(|index| entries.get(index));
        if own != Some(&step.entry) {
            return Err(format!(
                "the receipt of {} proves another entry {} than the log has",
                sent.id, step.index
            ));
        }
    }
    Ok(())
}

/// What one sender pushed to one recipient on one flow is accepted and received in that order.
fn order(history: &History, entries: &[Entry]) -> Vec<Violation> {
    let mut found = Vec::new();
    let legs: BTreeSet<(Oin, Oin, &str)> = history
        .pushed
        .iter()
        .flat_map(|push| push.to.iter().map(|to| (push.from, *to, push.flow.as_str())))
        .collect();
    for (from, to, flow) in legs {
        let pushed: Vec<MsgId> = history
            .pushed
            .iter()
            .filter(|push| push.from == from && push.flow == flow && push.to.contains(&to))
            .map(|push| push.id)
            .collect();
        let own: BTreeSet<MsgId> = pushed.iter().copied().collect();
        let accepted = entries.iter().filter(|entry| entry.kind == Kind::Accepted && entry.to == Some(to));
        let accepted: Vec<MsgId> =
            accepted.filter_map(|entry| entry.msg_id).filter(|id| own.contains(id)).collect();
        let party = history.parties.iter().find(|party| party.oin == to);
        let inbox = party.into_iter().flat_map(|party| &party.inbox).map(|got| got.id);
        let inbox: Vec<MsgId> = inbox.filter(|id| own.contains(id)).collect();
        for (place, ids) in [("the log", accepted), ("the inbox", inbox)] {
            let there: BTreeSet<MsgId> = ids.iter().copied().collect();
            let right: Vec<MsgId> = pushed.iter().copied().filter(|id| there.contains(id)).collect();
            // What is there twice is told by others.
            if let Some((id, _)) = ids.iter().zip(&right).find(|(one, other)| one != other)
                && ids.len() == right.len()
            {
                let what = format!("{flow} from {from} to {to}: {id} is out of order in {place}");
                found.push(Violation::new(Broken::Order, what));
            }
        }
    }
    found
}
