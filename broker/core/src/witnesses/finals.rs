//! The final checkpoint of a log that ended, cosigned like any other.
//!
//! It is made when the log ends, and every session ends with that: nobody is there to cosign it. So it is asked for
//! afterwards, until the quorum of every covenant that was in force when the log ended, and still is, has been reached,
//! also over restarts. An agent that has not followed to the next log yet answers as it does for the log that grows, and
//! is asked again.

use std::collections::BTreeMap;

use seinhuis_shared::covenant::Agreement;
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::Receipt;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::note::{Note, NoteSignature};
use seinhuis_shared::tlog::policy::Policy;

use super::{Asked, Key, Round};
use crate::core::Core;
use crate::shards::{Closing, Shard};
use crate::turn::Turn;
use crate::write::WitnessedRow;

/// The last round of a log.
#[derive(Debug)]
pub(super) struct Final {
    pub(super) round: Round,
    /// The trust policies for this log, by covenant.
    pub(super) policies: BTreeMap<Digest, Policy>,
}

impl Core {
    /// Brings the logs that ended and lack a quorum in line with the covenants in force.
    pub(super) fn know_finals(&mut self, now: Timestamp) {
        let shards = self.shards().split_last().map(|(_, ended)| ended.to_vec()).unwrap_or_default();
        let mut finals = BTreeMap::new();
        for shard in shards {
            let Some((closing, note, at)) = shard.closing.as_ref().and_then(ending) else { continue };
            let policies = self.policies_of(&shard, closing, at);
            if policies.is_empty() {
                continue;
            }
            let known = self.witnesses.finals.remove(&shard.origin).map(|one| one.round);
            let round = known.unwrap_or_else(|| Round::new(closing.size, note, now));
            finals.insert(shard.origin.clone(), Final { round, policies });
        }
        let own = self.origin().to_owned();
        for one in self.witnesses.all.values_mut() {
            one.standings.retain(|origin, _| *origin == own || finals.contains_key(origin));
        }
        self.witnesses.finals = finals;
    }

    /// The policies of the covenants that ask now, were in force when a log ended, and have no quorum over its end.
    fn policies_of(&self, shard: &Shard, closing: &Closing, at: Timestamp) -> BTreeMap<Digest, Policy> {
        let Ok(log) = self.log_key_text_of(&shard.origin).parse() else { return BTreeMap::new() };
        let agreements = &self.state.directory.agreements;
        let asking = self.witnesses.asking.keys().filter_map(|hash| agreements.get(hash).ok());
        let then = asking.filter(|one| one.in_force(at)).map(Agreement::compiled);
        let lacking = then.filter(|one| !self.has_final(&shard.origin, closing.size, &one.hash()));
        lacking.filter_map(|one| Some((one.hash(), one.covenant().witness_policy(&log)?))).collect()
    }

    /// Whether the final checkpoint of a log has its quorum under a covenant.
    pub(super) fn has_final(&self, origin: &str, size: u64, covenant: &Digest) -> bool {
        let newest = self.state.witnessed.get(&(*covenant, origin.to_owned()));
        newest.is_some_and(|row| row.size == size)
    }

    /// A witness cosigned the final checkpoint of a log. Each line after the quorum is kept too.
    pub(super) fn final_cosigned(
        &mut self,
        key: &Key,
        asked: &Asked,
        line: NoteSignature,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let origin = &asked.origin;
        let Some(ended) = self.witnesses.finals.get_mut(origin) else { return };
        // What was asked before the log ended is not the end of it.
        if asked.size != ended.round.size {
            return;
        }
        ended.round.lines.insert(*key, line);
        let size = ended.round.size;
        let policies = ended.policies.iter();
        let reached: Vec<_> =
            policies.filter_map(|(hash, policy)| Some((*hash, ended.round.witnessed(policy)?))).collect();
        for (covenant, note) in reached {
            let known = self.state.witnessed.get(&(covenant, origin.clone()));
            let known = known.filter(|known| known.size == size);
            if known.is_some_and(|known| known.note == note) {
                continue;
            }
            let reached = known.map_or(now, |known| known.reached);
            self.keep_witnessed(covenant, origin, WitnessedRow { size, reached, note }, turn);
            self.witnesses.published.insert(origin.clone());
        }
    }

    /// The logs whose final checkpoint got cosignatures since the last call, to be published with it.
    pub fn take_finals(&mut self) -> Vec<String> {
        core::mem::take(&mut self.witnesses.published).into_iter().collect()
    }
}

/// The end of a log: its final checkpoint, and when it was.
fn ending(closing: &Closing) -> Option<(&Closing, Note, Timestamp)> {
    let receipt = Receipt::parse(&closing.receipt).ok()?;
    let entry = Entry::parse(&receipt.entries.first()?.entry).ok()?;
    Some((closing, Note::parse(&receipt.checkpoint).ok()?, entry.time))
}
