//! The work around a broker that its users have to do themselves: to seal and sign a packet, and to verify and open it.
//!
//! It is the packet of a Seinhuis agent, made and read by the same code, and as an agent does it: one encapsulation for all
//! that is sealed in one turn, one decapsulation for all that is opened in one.

use seinhuis_agent::hpke::TurnHpke;
use seinhuis_shared::covenant::{Declared, Handling};
use seinhuis_shared::ids::{Digest, MsgId, Oin, TraceId};
use seinhuis_shared::limits::TTL_DEFAULT;
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::{Context, Packet, Plain, Recipient, SealRandomness, VERSION, open, seal};
use seinhuis_shared::prekey::PrekeyPublic;
use seinhuis_shared::signing::{PublicKey, SigningKey, sha256};
use seinhuis_shell::{clock, keys};
use seinhuis_tests::forge::{Lock, new_id};

use crate::Failure;

const FLOW: &str = "F01";

/// A sender's part.
#[derive(Debug)]
pub(crate) struct Sealer {
    next: Context,
    to: PrekeyPublic,
    key: SigningKey,
    provenance: Provenance,
    body: Vec<u8>,
    hpke: TurnHpke,
}

/// A recipient's part.
#[derive(Debug)]
pub(crate) struct Opener {
    oin: Oin,
    lock: Lock,
    from: PublicKey,
    body: Vec<u8>,
    hpke: TurnHpke,
}

/// A sender and a recipient of bodies of so many bytes that know each other's keys.
///
/// # Errors
/// When a key cannot be made.
pub(crate) fn pair(number: u8, length: usize) -> Result<(Sealer, Opener), Failure> {
    let oin = |kind: u8| format!("00000099000000{kind}{number:02}00").parse::<Oin>();
    let (sender, recipient) = (oin(13).map_err(|_| "a wrong OIN")?, oin(11).map_err(|_| "a wrong OIN")?);
    let key = SigningKey::from_seed(&keys::random());
    let lock = Lock::make().map_err(said)?;
    let now = clock::now();
    let next = Context {
        version: VERSION,
        msg_id: new_id(),
        covenant: sha256(b"no covenant: nobody holds packets against one here"),
        flow: FLOW.to_owned(),
        case: None,
        declared: declared()?,
        sender,
        signer: key.public().thumbprint(),
        recipients: vec![Recipient { oin: recipient, prekey: lock.public.id() }],
        seq: 0,
        prev: None,
        issued: now,
        expires: now.plus(TTL_DEFAULT),
        in_reply_to: None,
        trace: TraceId(keys::random()),
        commitment: Digest([0; 32]),
    };
    let body = body(length);
    let provenance = Provenance::own(sender, Handling::Partners);
    let from = key.public();
    let to = lock.public.clone();
    let sealer = Sealer { next, to, key, provenance, body: body.clone(), hpke: TurnHpke::default() };
    Ok((sealer, Opener { oin: recipient, lock, from, body, hpke: TurnHpke::default() }))
}

/// What the agents declare of the signal that the load generator sends.
fn declared() -> Result<Declared, Failure> {
    let of = [
        "groepsgedrag",
        "groepsomvang",
        "kanaal",
        "leeftijdsband",
        "locatie",
        "tijdpatroon",
        "toelichting_groep",
    ];
    let step = "1".parse().map_err(|_| "a wrong step")?;
    let level = "G".parse().map_err(|_| "a wrong level")?;
    let of = of.map(str::to_owned);
    Ok(Declared::new("signaal_groepsgedrag", step, level, of, "signalering", "avg_6_1_e")?)
}

fn body(length: usize) -> Vec<u8> {
    format!("{{\"toelichting\":\"{}\"}}", ".".repeat(length.saturating_sub(18))).into_bytes()
}

fn said(error: seinhuis_shell::complaint::Complaint) -> Failure {
    error.what.en.into()
}

impl Sealer {
    /// Seals and signs the next packet.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub(crate) fn seal(&mut self) -> Result<(MsgId, Vec<u8>), Failure> {
        let now = clock::now();
        let context = &mut self.next;
        (context.msg_id, context.trace, context.seq) = (new_id(), TraceId(keys::random()), context.seq + 1);
        (context.issued, context.expires) = (now, now.plus(TTL_DEFAULT));
        let plain = Plain { media_type: "application/json", provenance: &self.provenance, body: &self.body };
        let chance = SealRandomness { key: keys::random(), iv: keys::random(), salt: keys::random() };
        let sealed = seal(&self.hpke, context, &[&self.to], plain, &chance, &self.key)?;
        context.prev = Some(sha256(&sealed.bytes));
        Ok((context.msg_id, sealed.bytes))
    }

    /// Ends a turn.
    pub(crate) fn end_turn(&self) {
        self.hpke.forget();
    }
}

impl Opener {
    /// Reads a packet, verifies its sender's signature and opens it.
    ///
    /// # Errors
    /// When anything about it is not as it was sent.
    pub(crate) fn open(&self, packet: &[u8]) -> Result<MsgId, Failure> {
        let packet = Packet::parse(packet)?.verify(&self.from)?;
        let used = self.lock.public.id();
        let opened = open(&self.hpke, &packet, &self.oin, |id| (id == used).then_some(&self.lock.secret))?;
        if opened.body != self.body {
            return Err("a body came that was not sent".into());
        }
        Ok(packet.context().msg_id)
    }

    /// Ends a turn.
    pub(crate) fn end_turn(&self) {
        self.hpke.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_and_what_is_changed_is_not() {
        let (mut sealer, opener) = pair(1, 1024).unwrap();
        assert_eq!(sealer.body.len(), 1024);
        let (id, packet) = sealer.seal().unwrap();
        assert_eq!(opener.open(&packet).unwrap(), id);
        let mut changed = packet.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(opener.open(&changed).is_err());
        let (_, stranger) = pair(1, 1024).unwrap();
        assert!(stranger.open(&packet).is_err());
    }
}
