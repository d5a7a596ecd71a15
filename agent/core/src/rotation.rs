//! The own signing key: giving it up for another.
//!
//! The shell makes the new key and keeps it, durable, before it lends it ([`Ports::next`]); only then does the
//! intention become a row here. From that moment nothing is sealed, so that once the packets under way have
//! their verdicts none is signed with a key that no longer counts. Then the rotation is said, signed anew each
//! time, until the broker answers with the line in which it stands; the same keys count once. Which of the two
//! keys signs follows from that line alone ([`Core::lend`]): whatever a crash left of files and rows, it is the
//! one that counts. What was signed with the old key and is overtaken is refused, and said again.

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Rotated, Rotation};
use seinhuis_shared::signing::{PublicKey, SigningKey};
use seinhuis_shared::time::Timestamp;

use crate::agreed::{just_now, passing};
use crate::engine::Core;
use crate::minimise::Rejection;
use crate::ports::Ports;
use crate::rows::{AlarmKind, RotationRow, Write};
use crate::turn::{Event, Send, Turn};

/// The change of the own key that is under way, if one is.
#[derive(Debug, Default)]
pub struct Turning {
    row: Option<RotationRow>,
    /// When it was last said in this session.
    said: Option<Timestamp>,
}

impl Turning {
    /// What is under way; with its refusal.
    pub const fn row(&self) -> Option<&RotationRow> {
        self.row.as_ref()
    }

    pub(crate) fn restore(&mut self, row: RotationRow) {
        self.row = Some(row);
    }

    /// A session begins or ends.
    pub(crate) const fn session(&mut self) {
        self.said = None;
    }
}

impl Core {
    /// The change of the own key that is under way.
    pub const fn turning(&self) -> &Turning {
        &self.turning
    }

    /// Whether `next` has taken the place of `signer`.
    pub fn succeeds(&self, signer: &PublicKey, next: &PublicKey) -> bool {
        let keys = self.agreed.keys();
        keys.owner(signer.thumbprint()) == Some(self.settings.oin)
            && keys.given_up(signer.thumbprint()).is_some()
            && keys.newest(*signer) == *next
    }

    /// The ports with the key that counts in the signer's place.
    pub(crate) fn lend<'a>(&self, ports: Ports<'a>) -> Ports<'a> {
        match ports.next {
            Some(next) if self.succeeds(&ports.signer.public(), &next.public()) => {
                Ports { signer: next, next: None, ..ports }
            }
            Some(_) | None => ports,
        }
    }

    /// As [`Core::lend`], at the beginning of a turn and whenever more is known: notes whether it can sign.
    pub(crate) fn take_key<'a>(&mut self, ports: Ports<'a>) -> Ports<'a> {
        let ports = self.lend(ports);
        let keys = self.agreed.keys();
        // With every input: the thumbprint is a hash, and most partnerships never rotated.
        self.key_lost = !keys.is_empty() && keys.given_up(ports.signer.public().thumbprint()).is_some();
        ports
    }

    /// Whether a change of the own key is under way: nothing is sealed meanwhile.
    pub(crate) fn is_turning(&self) -> bool {
        self.turning.row.as_ref().is_some_and(|row| row.refused == 0)
    }

    /// Whether this organisation ever gave up a key, or is about to.
    pub(crate) fn has_turned(&self) -> bool {
        self.is_turning() || self.agreed.keys().of_party(self.settings.oin).next().is_some()
    }

    /// Whether it is not known with which key the broker will see what is signed now.
    pub(crate) fn is_handing_over(&self) -> bool {
        self.is_turning() && self.connected && self.turning.said.is_some()
    }

    /// This organisation gives up its key for the next one. Doing so again, after a refusal or with a new file,
    /// begins anew.
    pub(crate) fn rotate(
        &mut self,
        urgent: bool,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        if self.key_lost {
            return Err(Refusal::KeyGivenUp.into());
        }
        let next = ports.next.ok_or_else(|| {
            Rejection::new(
                Refusal::StorageFailed,
                "Er is geen nieuwe sleutel om naar te wisselen.",
                "There is no new key to rotate to.",
            )
        })?;
        let new = Bytes(next.public().to_bytes().to_vec());
        let row = match self.turning.row.take().filter(|row| row.refused == 0 && row.new == new) {
            Some(row) => RotationRow { urgent: row.urgent || urgent, ..row },
            None => RotationRow { new, since: now, urgent, refused: 0 },
        };
        turn.writes.push(Write::Rotation(Some(Box::new(row.clone()))));
        self.turning = Turning { row: Some(row), said: None };
        self.rotate_up(now, ports, turn);
        Ok(())
    }

    /// Says the rotation, if there is one to say, it is its time, and it was not said just now.
    pub(crate) fn rotate_up(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let Some(row) = self.turning.row.as_ref().filter(|row| self.connected && row.refused == 0) else {
            return;
        };
        let recent = self.turning.said.is_some_and(|at| just_now(at, now));
        let ready = row.urgent || self.outbox.has_nothing_sealed();
        let next = ports.next.filter(|next| next.public().to_bytes() == row.new[..]);
        let (false, true, Some(next)) = (recent, ready, next) else { return };
        let old = ports.signer.public();
        let (seq, previous) = self.agreed.keys().next(&old);
        let rotation =
            Rotation { party: self.settings.oin, seq, previous, old, new: next.public(), issued: now };
        self.turning.said = Some(now);
        turn.sends.push(Send::Rotate(rotation.sign(ports.signer, next)));
    }

    /// The broker answered: with the line of the own key, or a refusal's number.
    pub(crate) fn rotation_answered(
        &mut self,
        answer: &Result<Vec<Rotated>, u16>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let refused = match answer {
            // It is said again.
            Err(outcome) if passing(*outcome) => return,
            Err(outcome) => *outcome,
            Ok(rotations) => match self.agreed.extend_line(ports.signer.public().thumbprint(), rotations) {
                Ok(()) => {
                    self.key_changed(now, ports, turn);
                    self.fetch_covenants(now, turn);
                    // A line without the own rotation in it says nothing of what became of that.
                    if self.is_turning() { Refusal::RotationOrder.number() } else { return }
                }
                Err(refusal) => {
                    self.alarm(AlarmKind::RotationRefused, format!("own key: {refusal}"), now, turn);
                    refusal.number()
                }
            },
        };
        self.turning.said = None;
        if let Some(row) = &mut self.turning.row {
            row.refused = refused;
            turn.writes.push(Write::Rotation(Some(Box::new(row.clone()))));
        }
        self.seal_drafts(now, ports, turn);
    }

    /// There may be more known of the own keys than before.
    pub(crate) fn key_changed(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let all: Vec<Rotated> = self.agreed.keys().of_party(self.settings.oin).cloned().collect();
        turn.writes.push(Write::Keys(self.settings.oin, all));
        let before = ports.signer.public();
        let ports = self.take_key(ports);
        let own = ports.signer.public();
        if self.key_lost {
            let newest = self.agreed.keys().newest(own).thumbprint();
            let detail = format!("{} {newest}", own.thumbprint());
            return self.alarm(AlarmKind::KeyLost, detail, now, turn);
        }
        let done = |row: &RotationRow| row.new[..] == own.to_bytes();
        if self.turning.row.as_ref().is_some_and(done) {
            self.turning = Turning::default();
            turn.writes.push(Write::Rotation(None));
        }
        if before != own {
            turn.events.push(Event::KeyRotated(own.thumbprint()));
            // What was said with the old key and has no answer is said again with this one.
            self.sign_bundle(now, ports, turn);
            self.speak_up(now, ports, turn);
            self.decide_again(now, ports, turn);
            self.seal_drafts(now, ports, turn);
        }
    }

    /// The key that signs, of those that are lent.
    pub fn signer<'a>(&self, ports: Ports<'a>) -> &'a SigningKey {
        self.lend(ports).signer
    }

    /// This organisation.
    pub const fn oin(&self) -> Oin {
        self.settings.oin
    }
}
