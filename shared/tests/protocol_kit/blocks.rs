//! The blocks of the document, in its order.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use ed25519_dalek::ed25519::signature::Signer as _;
use seinhuis_shared::acknowledgement::{Acknowledgement, Part};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{Encrypt, Purpose, Sign1, Wrap, content_aad};
use seinhuis_shared::covenant::agreement::Cast;
use seinhuis_shared::covenant::witnesses::party_witness;
use seinhuis_shared::covenant::{Covenant, FORMAT_INFORMS, Role};
use seinhuis_shared::enrol::{EnrolRequest, NodeKind, fingerprint};
use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::packet::Packet;
use seinhuis_shared::receipt::Receipt;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Rotated, Rotation};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::Span;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::tlog::witness::Request;
use seinhuis_shared::wire::{
    self, Case, CaseHead, Cases, Consistency, Consume, Cosigned, Decided, Deferred, FetchCase,
    FetchConsistency, FetchCovenant, FetchPrekeys, Hello, Known, Message as _, Offer, Prekeys, Refuse,
    Rotations, VERSION, Verdict, Welcome, Witnessed,
};

use super::{
    AEAD_KEY, BASE_NONCE, CHANCE, ENCAPSULATION, GEMEENTE, NOON, ORIGIN, POLITIE, PREKEY_SEED, Story, key,
    oin, prekey_public, tables, witness_key,
};

/// Bytes of hexadecimal text on a line.
const LINE: usize = 52;

/// A fenced block of named byte strings.
struct Block(String);

impl Block {
    fn new() -> Self {
        Self("```text\n".into())
    }

    /// Named bytes in hexadecimal.
    fn hex(self, name: &str, bytes: &[u8]) -> Self {
        self.with(name, bytes, &[])
    }

    /// Named bytes in which the first occurrence of each known part stands by its name.
    fn with(mut self, name: &str, bytes: &[u8], parts: &[(&str, &[u8])]) -> Self {
        let mut pieces = vec![HEXLOWER.encode(bytes)];
        for (part, known) in parts {
            let known = HEXLOWER.encode(known);
            let place = pieces.iter().position(|piece| piece.contains(&known));
            assert!(place.is_some(), "{part} is not in {name}");
            let place = place.unwrap();
            let (before, after) = pieces[place].split_once(&known).unwrap();
            let new = [before.to_owned(), format!("<{part}>"), after.to_owned()];
            pieces.splice(place..=place, new);
        }
        writeln!(self.0, "{name} ({} bytes)", bytes.len()).unwrap();
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            if piece.starts_with('<') {
                writeln!(self.0, "  {piece}").unwrap();
            } else {
                for line in piece.as_bytes().chunks(2 * LINE) {
                    writeln!(self.0, "  {}", std::str::from_utf8(line).unwrap()).unwrap();
                }
            }
        }
        self
    }

    /// Named text.
    fn text(mut self, name: &str, text: &str) -> Self {
        writeln!(self.0, "{name}").unwrap();
        for line in text.lines() {
            writeln!(self.0, "{}", format!("  {line}").trim_end()).unwrap();
        }
        self
    }

    fn end(self) -> String {
        self.0 + "```\n"
    }
}

pub(crate) fn blocks(story: &Story) -> Vec<(&'static str, String)> {
    vec![
        ("frames", tables::frames()),
        ("session", session(story)),
        ("keys", keys()),
        ("covenant", covenant(story)),
        ("case", case(story)),
        ("rotation", rotation()),
        ("prekeys", prekeys(story)),
        ("padding", tables::padding()),
        ("content", content(story)),
        ("context", context(story)),
        ("hpke", hpke(story)),
        ("encrypt", encrypt(story)),
        ("statement", statement(story)),
        ("lane", lane(story)),
        ("entries", entries(story)),
        ("receipt", receipt(story)),
        ("consistency", consistency(story)),
        ("witness", witness(story)),
        ("delivery", delivery(story)),
        ("enrolment", enrolment()),
        ("limits", tables::limits()),
    ]
}

fn session(story: &Story) -> String {
    let cosigned = Bytes(story.notes[0].clone().into_bytes());
    let hello = Hello { version: VERSION, software: "voorbeeld-agent/0.1.0".into(), cosigned };
    let welcome = Welcome {
        version: VERSION,
        software: "seinhuis-broker/0.1.0".into(),
        origin: ORIGIN.into(),
        log_key: story.log.key.to_string(),
        now: NOON,
        checkpoint: Bytes(story.notes[0].clone().into_bytes()),
        agreements: vec![Known { hash: story.covenant.hash(), votes: 1, rotations: 0 }],
    };
    let refuse = Refuse { reason: Refusal::UnknownPartner.number(), retry_after: None };
    Block::new()
        .with(
            "Hello frame",
            &hello.to_frame().unwrap(),
            &[("checkpoint of size 1", story.notes[0].as_bytes())],
        )
        .with(
            "Welcome frame",
            &welcome.to_frame().unwrap(),
            &[("checkpoint of size 1", story.notes[0].as_bytes())],
        )
        .hex("Refuse frame: 201, unknown partner", &refuse.to_frame().unwrap())
        .end()
}

fn keys() -> String {
    let mut block = Block::new();
    for (name, org) in [("gemeente", GEMEENTE), ("politie", POLITIE)] {
        let public = key(org).public();
        block = block
            .hex(&format!("{name} {}: Ed25519 seed", org.0), &[org.1; 32])
            .hex(&format!("{name}: public key"), &public.to_bytes())
            .hex(&format!("{name}: thumbprint"), public.thumbprint().as_bytes());
    }
    block.end()
}

fn covenant(story: &Story) -> String {
    let bytes = story.covenant.to_bytes();
    let fetch = FetchCovenant { hash: story.covenant.hash() };
    let vote = story.vote();
    let cast = Cast { vote: Bytes(vote.clone()), at: NOON };
    let says = Covenant { format: FORMAT_INFORMS, informs: vec![Role::Gemeente], ..story.covenant.clone() };
    let answer = wire::Covenant { document: Bytes(bytes.clone()), casts: vec![cast], rotations: vec![] };
    Block::new()
        .hex("covenant", &bytes)
        .hex("covenant hash", story.covenant.hash().as_bytes())
        .hex("hash of the same with `format` 2 and `informs` [\"gemeente\"]", says.hash().as_bytes())
        .hex("vote of the politie: accept, at noon, without a reason", &vote)
        .hex("FetchCovenant frame", &fetch.to_frame().unwrap())
        .with(
            "Covenant frame: logged at noon",
            &answer.to_frame().unwrap(),
            &[("covenant", &bytes), ("vote", &vote)],
        )
        .end()
}

fn prekeys(story: &Story) -> String {
    let public = prekey_public();
    let payload = cbor::encode(&story.bundle);
    let signed = story.bundle.sign(&key(GEMEENTE));
    let publish = frame::encode(Kind::PublishPrekeys, &signed).unwrap();
    let answer = Prekeys { bundles: vec![(oin(GEMEENTE), Bytes(signed.clone()))] };
    Block::new()
        .hex("X-Wing private key (seed)", &PREKEY_SEED)
        .hex("public prekey", public.as_bytes())
        .hex("prekey id", public.id().as_bytes())
        .with("prekey-bundle", &payload, &[("public prekey", public.as_bytes())])
        .with("signed bundle", &signed, &[("prekey-bundle", &payload)])
        .with("PublishPrekeys frame", &publish, &[("signed bundle", &signed)])
        .hex("Done frame", &frame::encode(Kind::Done, &[]).unwrap())
        .hex("FetchPrekeys frame", &FetchPrekeys { oins: vec![oin(GEMEENTE)] }.to_frame().unwrap())
        .with("Prekeys frame", &answer.to_frame().unwrap(), &[("signed bundle", &signed)])
        .end()
}

fn content(story: &Story) -> String {
    let content = &story.content;
    let committed = cbor::encode(&("seinhuis/commit/1", content.salt, &content.media_type, &content.body));
    Block::new()
        .hex("salt", &CHANCE.salt)
        .hex("content", &content.to_bytes())
        .hex("committed", &committed)
        .hex("commitment", content.commitment().as_bytes())
        .end()
}

fn context(story: &Story) -> String {
    let bytes = story.context.to_bytes();
    Block::new().hex("context", &bytes).hex("SHA-256 of context", sha256(&bytes).as_bytes()).end()
}

fn hpke(story: &Story) -> String {
    let (ek, wrapped) = story.wrap();
    let (info, shared) = (story.info(), story.shared_secret());
    let length = u16::try_from(info.len()).unwrap().to_be_bytes();
    let suite = [0x64, 0x7a, 0, 0x11, 0, 2];
    let schedule = [
        &[0, 0, 0, 32][..],
        &shared,
        b"HPKE-v1HPKE",
        &suite,
        &[0, 6],
        b"secret",
        &[0, 108, 0, 0, 0],
        &length,
        &info,
    ]
    .concat();
    let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
    Block::new()
        .hex("content key", &CHANCE.key)
        .hex("info", &info)
        .hex("chance of the encapsulation: ML-KEM message, X25519 private key", &ENCAPSULATION)
        .hex("ek", &ek)
        .hex("shared secret", &shared)
        .with("input of SHAKE256", &schedule, &[("shared secret", &shared), ("info", &info)])
        .hex("AEAD key", &hex(AEAD_KEY))
        .hex("base nonce", &hex(BASE_NONCE))
        .hex("wrapped content key", &wrapped)
        .end()
}

fn sealed(story: &Story) -> (Vec<u8>, Vec<u8>) {
    let (_, statement, sealed): (u8, Bytes, Bytes) = cbor::strict(&story.packet, story.packet.len()).unwrap();
    (statement.0, sealed.0)
}

fn encrypt(story: &Story) -> String {
    let (_, sealed) = sealed(story);
    let (ek, wrapped) = story.wrap();
    let encrypt = Encrypt::parse(&sealed, sealed.len()).unwrap();
    let wrap =
        Wrap { prekey: prekey_public().id(), ek: Bytes::from(&ek[..]), wrapped: Bytes::from(&wrapped[..]) };
    assert_eq!(encrypt.wraps, [wrap]);
    let context = story.context.to_bytes();
    Block::new()
        .with("Enc_structure", &content_aad(&context), &[("context", &context)])
        .hex("iv", &CHANCE.iv)
        .hex("ciphertext with tag", &encrypt.ciphertext)
        .with(
            "sealed",
            &sealed,
            &[("ciphertext with tag", &encrypt.ciphertext), ("ek", &ek), ("wrapped content key", &wrapped)],
        )
        .end()
}

fn statement(story: &Story) -> String {
    let (statement, sealed) = sealed(story);
    let payload = Sign1::parse(&statement, statement.len()).unwrap().unverified_payload().to_vec();
    let context = story.context.to_bytes();
    let packet = Packet::parse(&story.packet).unwrap();
    let protected = [&[0xa2, 0x01, 0x32, 0x04, 0x58, 0x20][..], story.context.signer.as_bytes()].concat();
    let signed = cbor::encode(&(
        "Signature1",
        Bytes(protected),
        Bytes::from(Purpose::Packet.as_bytes()),
        Bytes(payload.clone()),
    ));
    let signature = key(POLITIE).sign(&signed);
    assert!(statement.ends_with(&signature), "the structure that is signed is the one shown");
    Block::new()
        .hex("SHA-256 of sealed", sha256(&sealed).as_bytes())
        .with("payload", &payload, &[("context", &context)])
        .with("Sig_structure", &signed, &[("payload", &payload)])
        .hex("signature", &signature)
        .with("statement", &statement, &[("payload", &payload), ("signature", &signature)])
        .with("packet", &story.packet, &[("statement", &statement), ("sealed", &sealed)])
        .hex("SHA-256 of statement", packet.statement_digest().as_bytes())
        .hex("SHA-256 of packet", packet.digest().as_bytes())
        .end()
}

fn lane(story: &Story) -> String {
    let packet = sha256(&story.packet);
    let submit = frame::encode(Kind::Submit, &story.packet).unwrap();
    let receipt = story.receipt.to_bytes();
    let verdict = Verdict { packet, outcome: 0, receipt: Bytes(receipt.clone()) };
    let deferred = Deferred { packet, reason: Refusal::MailboxFull.number(), retry_after: 5000 };
    Block::new()
        .with("Submit frame", &submit, &[("packet", &story.packet)])
        .with("Verdict frame: accepted", &verdict.to_frame().unwrap(), &[("receipt", &receipt)])
        .hex("Deferred frame: 601, in 5 seconds", &deferred.to_frame().unwrap())
        .end()
}

fn entries(story: &Story) -> String {
    let mut block = Block::new();
    for (index, entry) in story.entries.iter().enumerate() {
        let text = String::from_utf8(entry.clone()).unwrap();
        block = block
            .text(&format!("entry {index} ({} bytes, shown over several lines)", entry.len()), &folded(&text))
            .hex(&format!("leaf hash of entry {index}"), leaf_hash(entry).as_bytes());
    }
    let refusal = String::from_utf8(story.refusal.clone()).unwrap();
    block.text("an entry of a refusal, of which nothing signed is known", &folded(&refusal)).end()
}

/// A long line broken after commas, for reading.
fn folded(text: &str) -> String {
    let mut lines = vec![String::new()];
    for piece in text.split_inclusive(',') {
        let last = lines.last_mut().unwrap();
        if last.len() + piece.len() > 2 * LINE {
            lines.push(piece.to_owned());
        } else {
            last.push_str(piece);
        }
    }
    lines.join("\n")
}

fn receipt(story: &Story) -> String {
    let Receipt { entries, .. } = &story.receipt;
    let bytes = story.receipt.to_bytes();
    let mut block = Block::new()
        .hex("log: Ed25519 seed", &[9; 32])
        .text("log: verifier key", &story.log.key.to_string())
        .text("checkpoint of size 3", &story.notes[1]);
    for (level, hash) in entries[0].path.iter().enumerate() {
        block = block.hex(&format!("path of entry 2, hash {level}"), hash.as_bytes());
    }
    block
        .with(
            "receipt",
            &bytes,
            &[("checkpoint of size 3", story.notes[1].as_bytes()), ("entry 2", &entries[0].entry)],
        )
        .end()
}

fn witness(story: &Story) -> String {
    let note = Note::parse(story.notes[1].as_bytes()).unwrap();
    let request = Request { old: 1, proof: story.consistency.clone(), note: note.clone() };
    let body = String::from_utf8(request.to_bytes().unwrap()).unwrap();
    let secret = witness_key(POLITIE);
    let key = party_witness(&oin(POLITIE), secret.verifying_key().as_bytes()).unwrap();
    let seconds = NOON.0 / 1000;
    let line = key.cosign_with(note.text(), seconds, |bytes| secret.sign(bytes).to_bytes()).unwrap();
    let mut witnessed = note;
    witnessed.add(line.clone()).unwrap();
    let cosigned = Cosigned { status: 200, body: Bytes(format!("{line}\n").into_bytes()) };
    let told = Witnessed { covenant: story.covenant.hash(), note: Bytes(witnessed.to_string().into_bytes()) };
    let policy = story.covenant.witness_policy(&story.log.key).unwrap();
    Block::new()
        .text("payload of AddCheckpoint: from size 1 to size 3", &body)
        .text("verifier key of politie as a witness", &format!("{key}\n"))
        .hex("Cosigned frame", &cosigned.to_frame().unwrap())
        .hex("Witnessed frame", &told.to_frame().unwrap())
        .text("trust policy of the covenant", &String::from_utf8(policy.to_bytes()).unwrap())
        .end()
}

fn consistency(story: &Story) -> String {
    let ask = FetchConsistency { origin: ORIGIN.into(), sizes: vec![1, 3] };
    let answer = Consistency { proofs: vec![story.consistency.clone()] };
    Block::new()
        .text("checkpoint of size 1", &story.notes[0])
        .hex("FetchConsistency frame: sizes 1 and 3", &ask.to_frame().unwrap())
        .hex("Consistency frame", &answer.to_frame().unwrap())
        .end()
}

fn delivery(story: &Story) -> String {
    let receipt = story.receipt.to_bytes();
    let offer = Offer { packet: Bytes(story.packet.clone()), receipt: Bytes(receipt.clone()) };
    let payload = story.acknowledgement.sign(&key(GEMEENTE));
    let frame = frame::encode(Kind::Acknowledge, &payload).unwrap();
    let batch = Acknowledgement::verify(&payload, &[key(GEMEENTE).public()]).unwrap();
    let item = story.acknowledgement.items[0];
    let accepted = leaf_hash(&story.receipt.entries[0].entry);
    let head = Sign1::parse(&batch.signed, batch.signed.len()).unwrap().unverified_payload().to_vec();
    let part = Part::new(batch.signed.clone(), &batch.leaves, vec![0], vec![item]);
    let consumed =
        Acknowledgement::sign_one(oin(GEMEENTE), NOON.plus(Span(900)), item.consumed(), &key(GEMEENTE));
    let consume = Consume {
        statement: consumed.clone(),
        origin: ORIGIN.into(),
        accepted: story.receipt.entries[0].index,
    };
    Block::new()
        .with("Offer frame", &offer.to_frame().unwrap(), &[("packet", &story.packet), ("receipt", &receipt)])
        .hex("hash of entry 2, as a leaf", &accepted.0)
        .with("item: stored", &cbor::encode(&item), &[("hash of entry 2, as a leaf", &accepted.0)])
        .hex("its hash, which is the root of a list of one", &item.hash().0)
        .with("head", &head, &[("its hash, which is the root of a list of one", &item.hash().0)])
        .with("head, signed", &batch.signed, &[("head", &head)])
        .with(
            "Acknowledge frame",
            &frame,
            &[("head, signed", &batch.signed), ("item: stored", &cbor::encode(&item))],
        )
        .with(
            "part of the police",
            &cbor::encode(&part),
            &[("head, signed", &batch.signed), ("item: stored", &cbor::encode(&item))],
        )
        .hex("statement: consumed", &consumed.to_bytes())
        .with("Consume frame", &consume.to_frame().unwrap(), &[("statement: consumed", &consumed.to_bytes())])
        .end()
}

fn case(story: &Story) -> String {
    let [first, second] = story.decisions.each_ref().map(cbor::encode);
    let [one, two] = story.decisions.each_ref().map(|decision| decision.sign(&key(GEMEENTE)));
    let previous = sha256(&one).0;
    let case = story.decisions[0].case;
    let at = |decision: &[u8], at| Decided { decision: decision.into(), at };
    let decisions = vec![at(&one, NOON), at(&two, NOON.plus(Span::minutes(1)))];
    let chain = Case { decisions }.to_frame().unwrap();
    let chain_parts: [(&str, &[u8]); 2] =
        [("first decision, signed", &one), ("second decision, signed", &two)];
    let head = CaseHead { case, decisions: 2 };
    Block::new()
        .hex("first decision: step 1", &first)
        .with("first decision, signed", &one, &[("first decision", &first)])
        .hex("its SHA-256", &previous)
        .with("second decision: close", &second, &[("SHA-256 of the first", &previous)])
        .with("second decision, signed", &two, &[("second decision", &second)])
        .hex("FetchCase frame", &FetchCase { case }.to_frame().unwrap())
        .with("Case frame: logged at noon and a minute later", &chain, &chain_parts)
        .hex("Cases frame: two decisions are logged", &Cases { cases: vec![head] }.to_frame().unwrap())
        .end()
}

fn rotation() -> String {
    let (old, new) = (key(POLITIE), SigningKey::from_seed(&[0x31; 32]));
    let rotation = Rotation {
        party: oin(POLITIE),
        seq: 1,
        previous: None,
        old: old.public(),
        new: new.public(),
        issued: NOON,
    };
    let signed = rotation.sign(&old, &new);
    let proved = Sign1::parse(&signed, signed.len()).unwrap().unverified_payload().to_vec();
    let statement = Sign1::parse(&proved, proved.len()).unwrap().unverified_payload().to_vec();
    let rotate = frame::encode(Kind::Rotate, &signed).unwrap();
    let logged = Rotated { rotation: Bytes(signed.clone()), at: NOON };
    let answer = Rotations { rotations: vec![logged] }.to_frame().unwrap();
    Block::new()
        .hex("new key of the politie: Ed25519 seed", &[0x31; 32])
        .hex("its thumbprint", new.public().thumbprint().as_bytes())
        .hex("rotation: the first of the politie, at noon", &statement)
        .with("rotation, signed by the new key", &proved, &[("rotation", &statement)])
        .with("rotation, signed by both", &signed, &[("rotation, signed by the new key", &proved)])
        .hex("its SHA-256", &sha256(&signed).0)
        .with("Rotate frame", &rotate, &[("rotation, signed by both", &signed)])
        .with("Rotations frame: logged at noon", &answer, &[("rotation, signed by both", &signed)])
        .end()
}

fn enrolment() -> String {
    let signer = key(GEMEENTE);
    // Two bytes of DER stand for the certification request, which a real one needs about 250 of.
    let request = EnrolRequest {
        kind: NodeKind::Agent,
        oin: oin(GEMEENTE),
        name: "Gemeente Voorbeeldstad".into(),
        hosts: vec![],
        signing_key: signer.public(),
        csr: vec![0x30, 0x00],
        issued: NOON,
    };
    let bytes = request.sign(&signer);
    assert_eq!(EnrolRequest::verify(&bytes), Ok(request));
    Block::new().hex("enrolment request", &bytes).text("its fingerprint", &fingerprint(&bytes)).end()
}
