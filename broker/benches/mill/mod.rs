//! A broker without network and without a thread of its own: core, store and log, driven turn by turn as the engine
//! does, at a clock that is only a number. Packets have real signatures, and noise in place of ciphertext: nothing at a
//! broker opens one.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use seinhuis_broker::config::BASIC_SAMPLE;
use seinhuis_broker::home::Home;
use seinhuis_broker::log::Log;
use seinhuis_broker::store;
use seinhuis_broker_core::admission::Received;
use seinhuis_broker_core::{
    Answer, Ask, Command, CommandId, Config, ConnId, Core, Heard, Input, LaneId, Overview, Rate, RequestId,
    Send, Turn,
};
use seinhuis_journal::{JournalStore, Options, Stats, Store};
use seinhuis_shared::acknowledgement::{Acknowledged, Acknowledgement};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{EK_LEN, Encrypt, Purpose, Sign1, WRAPPED_LEN, Wrap};
use seinhuis_shared::covenant::agreement::{Vote, Word};
use seinhuis_shared::covenant::{Compiled, Covenant, Declared, Part, Step};
use seinhuis_shared::ids::{Digest, MsgId, Oin, TraceId};
use seinhuis_shared::limits::ACK_MAX;
use seinhuis_shared::packet::padding::padded_length;
use seinhuis_shared::packet::{Context, Recipient, VERSION};
use seinhuis_shared::prekey::{PUBLIC_LEN, PrekeyPublic};
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::wire::{self, Hello};
use seinhuis_shell::keys;

/// No year in it, so that no log follows on it whenever this runs.
const ORIGIN: &str = "bench.example/uitwisseling";
/// The folder of that log.
const FOLDER: &str = "uitwisseling";
/// The recipient of every packet.
pub(crate) const GEMEENTE: u8 = 1;
/// Partners and their roles.
const ROLES: [(u8, &str); 4] = [(GEMEENTE, "gemeente"), (2, "politie"), (3, "jongerenwerk"), (4, "boa")];
/// Who sends on which flow.
const SENDERS: [(u8, &str, &str); 3] = [
    (2, "F02", "02-F02-politie-signaal.json"),
    (3, "F01", "01-F01-jongerenwerk-signaal.json"),
    (4, "F03", "03-F03-boa-signaal.json"),
];
/// Turns after which full tiles and bundles are written.
const PUBLISH_EVERY: u64 = 4;

/// A partner's number in the register.
pub(crate) fn oin(number: u8) -> Oin {
    format!("0000009900000000{number}000").parse().unwrap()
}

fn signer(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

/// The model covenant between the four, without witnesses.
fn covenant() -> Compiled {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../covenants");
    let mut own = format!(
        "[partnership]\nid = \"bench\"\nversion = 1\ntitle = \"Bench\"\nowner = \"{}\"\nvalid_from = \"2026-01-01\"\nvalid_until = \"2099-01-01\"\nevaluation = \"2098-01-01\"\ncontact = \"x@x.example\"\n",
        oin(GEMEENTE)
    );
    for (number, role) in ROLES {
        let key: String = signer(number).public().to_bytes().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        writeln!(
            own,
            "[[parties]]\noin = \"{}\"\nrole = \"{role}\"\nname = \"{role}\"\ncontact = \"x@x.example\"\nsigning_keys = [\"{key}\"]",
            oin(number)
        )
        .unwrap();
    }
    let model = std::fs::read_to_string(folder.join("model.toml")).unwrap();
    let parts = [Part { name: "model.toml", text: &model }, Part { name: "own.toml", text: &own }];
    let mut load = |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string());
    let mut covenant = Covenant::from_toml_parts(&parts, &mut load).unwrap();
    covenant.witness_quorum = 0;
    Compiled::new(covenant).unwrap()
}

/// A folder with what a broker without a network needs.
pub(crate) fn home(dir: &Path) -> Home {
    let home = Home::new(dir);
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    seinhuis_shell::files::make_private_dir(&home.keys()).unwrap();
    keys::generate_signing(&home.log_key()).unwrap();
    let text = BASIC_SAMPLE.replace("broker.example/uitwisseling/2026", ORIGIN);
    assert!(text.contains(ORIGIN), "the sample names a log");
    std::fs::write(home.config(), text).unwrap();
    home
}

/// Settings under which a bench is put off by no quota.
fn settings(key: &SigningKey) -> Config {
    let mut config = Config::new(ORIGIN, key.public(), "bench/1");
    let no_bound = Rate { per_minute: 1 << 40, burst: 1 << 40 };
    config.quota.packets = no_bound;
    config.quota.bytes = no_bound;
    config.quota.remembered = usize::MAX;
    config.mailbox_packets = usize::MAX;
    config.mailbox_bytes = u64::MAX;
    config
}

/// The broker.
pub(crate) struct Mill {
    core: Core,
    store: JournalStore,
    log: Log,
    key: (SigningKey, LogKey),
    compiled: Arc<Compiled>,
    declared: Vec<Declared>,
    /// What its clock says.
    pub(crate) now: Timestamp,
    turns: u64,
    packets: u64,
    /// What the recipient was offered and has not acknowledged.
    offered: Vec<Acknowledged>,
    /// What is to be handled in the next turn.
    next: VecDeque<Input>,
    /// How things stood when that was asked last.
    overview: Option<Overview>,
}

impl Mill {
    /// A new broker in `home`, whose partners have agreed, at `now`.
    pub(crate) fn found(home: &Home, options: Options, now: Timestamp) -> Self {
        let key = home.log_identity(ORIGIN).unwrap();
        for dir in [home.store(), home.log(), home.log().join(FOLDER)] {
            seinhuis_shell::files::make_private_dir(&dir).unwrap();
        }
        let (store, _) = JournalStore::open(&home.store(), options).unwrap();
        let log = Log::open(&home.log().join(FOLDER), 0, Vec::new()).unwrap();
        let compiled = Arc::new(covenant());
        let declared = SENDERS
            .iter()
            .map(|(_, flow, sample)| {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../covenants/samples").join(sample);
                let sample: serde_json::Value =
                    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
                let body = serde_json::to_vec(&sample["body"]).unwrap();
                compiled.declare(flow, "signaal_groepsgedrag", Step::S1, sample["basis"].as_str(), &body)
            })
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        let core = Core::new(settings(&key.0));
        let mut mill = Self {
            core,
            store,
            log,
            key,
            compiled,
            declared,
            now,
            turns: 0,
            packets: 0,
            offered: Vec::new(),
            next: VecDeque::new(),
            overview: None,
        };
        mill.agree();
        mill
    }

    fn agree(&mut self) {
        let command = |command| Input::Operator { id: CommandId(1), command };
        let compiled = Arc::clone(&self.compiled);
        self.turn([command(Command::LoadCovenant { compiled })]);
        for (number, role) in ROLES {
            let (oin, key) = (oin(number), signer(number).public());
            self.turn([command(Command::AddPartner { oin, name: role.into(), key })]);
        }
        for (number, _) in ROLES {
            self.connect(number);
            let vote = Vote {
                format: 1,
                covenant: self.compiled.hash(),
                party: oin(number),
                word: Word::Accept,
                issued: self.now,
                reason: String::new(),
            };
            let ask = Ask::Vote(vote.sign(&signer(number)));
            let conn = ConnId(number.into());
            self.turn([Input::Request { conn, request: RequestId(number.into()), ask }]);
        }
    }

    fn connect(&mut self, number: u8) {
        let hello = Hello { version: wire::VERSION, software: "bench/1".into(), cosigned: Bytes::default() };
        let (conn, peer) = (ConnId(number.into()), oin(number));
        self.turn([Input::Connected { conn, peer, hello, heard: Heard::Nothing }]);
    }

    /// The recipient goes away: from now on its packets wait.
    pub(crate) fn recipient_leaves(&mut self) {
        self.turn([Input::Disconnected { conn: ConnId(GEMEENTE.into()) }]);
        self.offered.clear();
    }

    /// A packet with a body of so many bytes, and who sends it.
    pub(crate) fn sealed(&mut self, body: usize) -> (u8, Vec<u8>) {
        self.packets += 1;
        let number = self.packets;
        let place = usize::try_from(number % 3).unwrap();
        let (sender, flow, _) = SENDERS[place];
        let key = signer(sender);
        let prekey = PrekeyPublic::from_slice(&[GEMEENTE; PUBLIC_LEN]).unwrap().id();
        let context = Context {
            version: VERSION,
            msg_id: MsgId::from_slice(&sha256(&number.to_be_bytes()).0[..16]).unwrap(),
            covenant: self.compiled.hash(),
            flow: flow.into(),
            case: None,
            declared: self.declared[place].clone(),
            sender: oin(sender),
            signer: key.public().thumbprint(),
            recipients: vec![Recipient { oin: oin(GEMEENTE), prekey }],
            seq: number,
            prev: None,
            issued: self.now,
            expires: self.now.plus(Span::days(14)),
            in_reply_to: None,
            trace: TraceId([7; 16]),
            commitment: Digest([0; 32]),
        };
        let seed = sha256(&number.to_be_bytes()).0;
        let noise = |length: usize| Bytes(seed.iter().copied().cycle().take(length).collect());
        let wraps = vec![Wrap { prekey, ek: noise(EK_LEN), wrapped: noise(WRAPPED_LEN) }];
        let sealed = Encrypt { iv: [2; 12], ciphertext: noise(padded_length(body) + 16), wraps }.to_bytes();
        let length = u64::try_from(sealed.len()).unwrap();
        let payload = cbor::encode(&(Bytes(context.to_bytes()), sha256(&sealed), length));
        let statement = Sign1::sign(&key, Purpose::Packet, &payload);
        (sender, cbor::encode(&(VERSION, Bytes(statement), Bytes(sealed))))
    }

    /// The same as it comes in.
    fn packet(&mut self, body: usize) -> Input {
        let (sender, bytes) = self.sealed(body);
        let examined = Received::new(bytes, oin(sender)).authenticate(&self.core.directory());
        let conn = ConnId(sender.into());
        Input::Submitted { conn, lane: LaneId(sender.into()), examined }
    }

    /// The recipient acknowledges what it was offered, and `count` more packets with bodies of so many bytes come in;
    /// all in one turn.
    pub(crate) fn step(&mut self, count: usize, body: impl Fn(u64) -> usize) {
        let mut inputs: Vec<Input> = self.next.drain(..).collect();
        let offered = std::mem::take(&mut self.offered);
        for items in offered.chunks(ACK_MAX) {
            let said = Acknowledgement { recipient: oin(GEMEENTE), issued: self.now, items: items.to_vec() };
            let key = signer(GEMEENTE);
            let examined = Acknowledgement::verify(&said.sign(&key), &[key.public()]);
            inputs.push(Input::Acknowledged { conn: ConnId(GEMEENTE.into()), examined });
        }
        for _ in 0..count {
            let body = body(self.packets);
            let packet = self.packet(body);
            inputs.push(packet);
        }
        inputs.push(Input::Tick);
        self.turn(inputs);
        if self.turns.is_multiple_of(PUBLISH_EVERY) {
            let end = self.log.publish().unwrap();
            self.next.push_back(Input::Published { end });
        }
    }

    /// One turn of the engine: decide, sign the head, make durable, send.
    fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) {
        self.turns += 1;
        let mut turn = Turn::new(sha256(&self.turns.to_be_bytes()).0);
        for input in inputs {
            self.core.handle(input, self.now, &mut turn);
        }
        if turn.is_empty() {
            self.store.tidy().unwrap();
            return;
        }
        let sealed = self.core.seal(&mut turn);
        let note = if sealed.has_entries() {
            let (secret, log) = &self.key;
            let head = Checkpoint::new(&log.origin, sealed.size(), sealed.root()).unwrap();
            head.sign_with(&log.key, |bytes| secret.sign(bytes)).unwrap().to_string().into_bytes()
        } else {
            Vec::new()
        };
        let writes = self.core.sign(&mut turn, &sealed, &note);
        if !writes.is_empty() {
            self.store.commit(store::turn(writes)).unwrap();
        }
        self.log.append(sealed.entries().to_vec(), &note);
        for send in self.core.committed(turn, &sealed, &note) {
            self.take(send);
        }
    }

    fn take(&mut self, send: Send) {
        if let Send::Offer { item, .. } = send {
            self.offered.push(Acknowledged::stored(item.msg_id, item.packet, 0, item.leaf));
        } else if let Send::Notices { conn, cursor, .. } = send {
            self.next.push_back(Input::NoticesTaken { conn, cursor });
        } else if let Send::Answer { answer: Ok(Answer::Overview(overview)), .. } = send {
            self.overview = Some(overview);
        } else if let Send::Verdict { outcome, .. } = send {
            assert_eq!(outcome, 0, "every packet is right");
        } else {
            let refused = matches!(send, Send::Refuse { .. } | Send::Deferred { .. } | Send::Close { .. });
            assert!(!refused, "{send:?}");
        }
    }

    /// Entries of the log.
    pub(crate) fn entries(&self) -> u64 {
        self.log.size()
    }

    /// Packets whose outcome is remembered, and packets that wait.
    pub(crate) fn remembered_and_waiting(&mut self) -> (usize, usize) {
        self.turn([Input::Operator { id: CommandId(1), command: Command::Overview }]);
        let overview = self.overview.take().unwrap();
        (overview.remembered, overview.queues.iter().map(|queue| queue.packets).sum())
    }

    /// The store's figures.
    pub(crate) fn stats(&self) -> Stats {
        self.store.stats()
    }

    /// The store cleans up until nothing is due.
    pub(crate) fn tidy(&mut self) {
        self.sync_index();
        while self.store.tidy().unwrap() {
            self.sync_index();
        }
    }

    /// The index follows up to here.
    pub(crate) fn sync_index(&self) {
        self.store.sync_index().unwrap();
    }
}

/// Bytes that the files below a folder take up on disk.
pub(crate) fn bytes_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_of(&entry.path()),
            Ok(meta) => std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
            Err(_) => 0,
        })
        .sum()
}
