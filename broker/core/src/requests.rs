//! What agents ask on a stream of its own, and what they get.

use seinhuis_shared::cose::Sign1;
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::limits::BUNDLE_MAX;
use seinhuis_shared::prekey::PrekeyBundle;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::CONSISTENCY_SIZES_MAX;

use crate::core::{Core, refuse};
use crate::input::{Ask, ConnId, RequestId};
use crate::turn::{Pick, Send, Turn};
use crate::write::Write;

impl Core {
    pub(crate) fn request(
        &mut self,
        conn: ConnId,
        request: RequestId,
        ask: Ask,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let Some(peer) = self.sessions.get(conn).map(|session| session.peer) else {
            let refuse = refuse(Refusal::Stopping, None);
            return turn.send(Send::Refuse { conn, request: Some(request), refuse });
        };
        if let Err(off) = self.charge_request(peer, &ask) {
            let refuse = refuse(off.reason, Some(off.after));
            return turn.send(Send::Refuse { conn, request: Some(request), refuse });
        }
        let answer = match ask {
            Ask::PublishPrekeys { bytes, bundle } => bundle.and_then(|bundle| {
                self.publish_prekeys(&peer, &bundle, bytes, now, turn).map(|()| Send::Done { conn, request })
            }),
            Ask::FetchPrekeys(oins) => {
                self.bundles(&peer, &oins, now).map(|bundles| Send::Prekeys { conn, request, bundles })
            }
            Ask::FetchCovenant(hash) => self
                .state
                .directory
                .covenant(&hash)
                .ok()
                .filter(|one| one.compiled().role_of(peer).is_some())
                .map(|one| {
                    let rotations = self.state.directory.agreements.keys().of(one.compiled());
                    Send::Covenant { conn, request, agreement: Box::new(one.clone()), rotations }
                })
                .ok_or(Refusal::NotFound),
            Ask::Propose(compiled) => compiled
                .and_then(|compiled| self.propose(&peer, compiled, now, turn))
                .map(|()| Send::Done { conn, request }),
            Ask::Vote(bytes) => self.vote(&peer, &bytes, now, turn).map(|()| Send::Done { conn, request }),
            Ask::Decide(bytes) => {
                self.decide((conn, &peer), &bytes, now, turn).map(|()| Send::Done { conn, request })
            }
            Ask::Rotate(bytes) => self.rotate(&peer, &bytes, now, turn).map(|rotations| Send::Rotations {
                conn,
                request,
                rotations,
            }),
            Ask::FetchCase(case) => {
                self.case((conn, &peer), case, now).map(|decisions| Send::Case { conn, request, decisions })
            }
            Ask::Withdraw(word) => match word.and_then(|word| self.take_back(&peer, &word, now, turn)) {
                Ok(these) => Ok(Send::Entries { conn, request, pick: Pick::These(these) }),
                Err(refusal) => {
                    if refusal != Refusal::TooLateToTakeBack {
                        self.refuse_connection(peer, refusal, "withdraw", now, turn);
                    }
                    Err(refusal)
                }
            },
            Ask::Consume(word) => word
                .and_then(|word| self.consumed(&peer, *word, now, turn))
                .map(|entry| Send::Entries { conn, request, pick: Pick::These(vec![entry]) }),
            Ask::FetchEntries(mut ask) => {
                // Of the log this session is with: they are read after the turn, when another one may grow.
                ask.origin.get_or_insert_with(|| self.origin().to_owned());
                Ok(Send::Entries { conn, request, pick: Pick::Party(peer, ask) })
            }
            Ask::Cosigned(answer) => {
                self.agent_cosigned(conn, &answer, now, turn).map(|()| Send::Done { conn, request })
            }
            Ask::FetchConsistency(origin, sizes) => self
                .consistent_sizes(&origin, &sizes)
                .map(|log| Send::Consistency { conn, request, log, sizes }),
            Ask::FetchSuccession(origin, size) => self.successor((conn, request), &origin, size),
        };
        turn.send(answer.unwrap_or_else(|refusal| {
            let refuse = refuse(refusal, None);
            Send::Refuse { conn, request: Some(request), refuse }
        }));
    }

    fn publish_prekeys(
        &mut self,
        peer: &Oin,
        bundle: &PrekeyBundle,
        bytes: Vec<u8>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let seq = bundle.seq;
        // Its key may have been given up after the bundle was examined.
        self.state.directory.key_of(peer, bundle.signer)?;
        if let Some(known) = self.state.prekeys.get(peer) {
            if known.bytes == bytes {
                return Ok(());
            }
            if seq <= known.seq {
                return Err(Refusal::PrekeyRollback);
            }
        }
        let mut entry = self.entry(Kind::Key, now, turn);
        entry.subject = Some(*peer);
        entry.detail = Some("prekeys".to_owned());
        turn.entry(&entry);
        self.record(turn, Write::Prekeys { oin: *peer, seq, bytes });
        Ok(())
    }

    fn bundles(&self, peer: &Oin, oins: &[Oin], now: Timestamp) -> Result<Vec<(Oin, Vec<u8>)>, Refusal> {
        if oins.is_empty() || oins.len() > seinhuis_shared::limits::RECIPIENTS_MAX {
            return Err(Refusal::RecipientCount);
        }
        Ok(oins
            .iter()
            .filter(|oin| self.state.directory.share_covenant(peer, oin, now))
            .filter(|oin| self.state.directory.recipient(oin).is_ok())
            .filter_map(|oin| self.state.prekeys.get(oin).map(|bundle| (*oin, bundle.bytes.clone())))
            // Under a key that was given up nobody would take it; the next one is on its way.
            .filter(|(oin, bytes)| {
                Sign1::parse(bytes, BUNDLE_MAX)
                    .is_ok_and(|bundle| self.state.directory.key_of(oin, bundle.kid()).is_ok())
            })
            .collect())
    }

    /// The number of the log, if proofs between these sizes can be given.
    fn consistent_sizes(&self, origin: &str, sizes: &[u64]) -> Result<usize, Refusal> {
        let log = &self.state.log;
        let (number, shard) = log.shard(origin).ok_or(Refusal::UnknownLog)?;
        let size = shard.closing.as_ref().map_or(log.frontier.size(), |closing| closing.size);
        let rising = sizes.windows(2).all(|pair| matches!(pair, [small, large] if small < large));
        let last = sizes.last().copied().unwrap_or_default();
        let bounded = (2..=CONSISTENCY_SIZES_MAX).contains(&sizes.len());
        if bounded && rising && sizes.first() != Some(&0) && last <= size {
            Ok(number)
        } else {
            Err(Refusal::NotFound)
        }
    }
}
