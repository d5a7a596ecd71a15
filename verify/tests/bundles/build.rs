//! A small log, and bundles of it, made the obvious way.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use crate::zip::{self, Around, Member};

pub(crate) type Hash = [u8; 32];

pub(crate) const ORIGIN: &str = "broker.example/uitwisseling/2026";
pub(crate) const GEMEENTE: &str = "00000099000000001000";
pub(crate) const POLITIE: &str = "00000099000000002000";
pub(crate) const CASE: &str = "11111111-2222-4333-8444-555555555555";

fn sha(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Who signs, under which name.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) key: SigningKey,
    pub(crate) name: String,
}

impl Signer {
    pub(crate) fn new(seed: u8, name: &str) -> Self {
        Self { key: SigningKey::from_bytes(&[seed; 32]), name: name.to_owned() }
    }

    fn public(&self) -> Vec<u8> {
        [&[1], self.key.verifying_key().as_bytes().as_slice()].concat()
    }

    fn id(&self) -> Vec<u8> {
        sha(&[self.name.as_bytes(), b"\n", &self.public()].concat())[..4].to_vec()
    }

    /// The verifier key.
    pub(crate) fn vkey(&self) -> String {
        format!("{}+{}+{}", self.name, HEXLOWER.encode(&self.id()), BASE64.encode(&self.public()))
    }

    /// The verifier key of a witness, and its id.
    fn witness_key(&self) -> (Vec<u8>, Vec<u8>) {
        let public = [&[4], self.key.verifying_key().as_bytes().as_slice()].concat();
        let id = sha(&[self.name.as_bytes(), b"\n", &public].concat())[..4].to_vec();
        (public, id)
    }

    /// The verifier key of a witness (C2SP tlog-cosignature).
    pub(crate) fn witness_vkey(&self) -> String {
        let (public, id) = self.witness_key();
        format!("{}+{}+{}", self.name, HEXLOWER.encode(&id), BASE64.encode(&public))
    }

    /// A cosignature line over a text, as of a time in seconds.
    pub(crate) fn cosign(&self, text: &str, time: u64) -> String {
        let signature = self.key.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes()).to_bytes();
        let bytes = [self.witness_key().1, time.to_be_bytes().to_vec(), signature.to_vec()].concat();
        format!("\u{2014} {} {}\n", self.name, BASE64.encode(&bytes))
    }

    /// A signature line over a text.
    pub(crate) fn line(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        format!("\u{2014} {} {}\n", self.name, BASE64.encode(&[self.id(), signature.to_vec()].concat()))
    }

    /// A signed note.
    pub(crate) fn note(&self, text: &str) -> String {
        format!("{text}\n{}", self.line(text))
    }
}

/// The log's own signer.
pub(crate) fn signer() -> Signer {
    Signer::new(7, ORIGIN)
}

/// A covenant: any bytes, as nobody reads them here.
pub(crate) fn covenant(number: u64) -> (String, Vec<u8>) {
    let bytes = format!("covenant {number}").into_bytes();
    (HEXLOWER.encode(&sha(&bytes)), bytes)
}

/// The time of the entry at an index: two entries in each millisecond.
pub(crate) fn time(index: u64) -> u64 {
    1_772_362_800_000 + index / 2
}

/// The entry at an index: most are `accepted`, every seventh is about a case, every tenth a refusal, every 50th a key.
pub(crate) fn entry(index: u64) -> String {
    let salt = HEXLOWER.encode(&sha(&index.to_be_bytes())[..16]);
    let packet = HEXLOWER.encode(&sha(&[b'p', index.to_be_bytes()[7]]));
    let time = time(index);
    if index % 50 == 3 {
        return format!(
            r#"{{"detail":"prekeys","kind":"key","salt":"{salt}","subject":"{GEMEENTE}","time":{time},"v":1}}"#
        );
    }
    if index % 10 == 5 {
        return format!(
            r#"{{"from":"{POLITIE}","kind":"refused","packet":"{packet}","reason":205,"result":"refused","salt":"{salt}","size_class":1920,"time":{time},"v":1}}"#
        );
    }
    let covenant = covenant(index % 2).0;
    let case = if index.is_multiple_of(7) { format!(r#""case":"{CASE}","#) } else { String::new() };
    let (from, to) = if index.is_multiple_of(3) { (GEMEENTE, POLITIE) } else { (POLITIE, GEMEENTE) };
    format!(
        r#"{{"basis":"artikel \"8\" é",{case}"categories":"locatie","covenant":"{covenant}","flow":"F0{}","from":"{from}","key":"{packet}","kind":"accepted","level":"G","message_type":"signaal","msg_id":"019ca945-0a00-7001-8002-030405060708","packet":"{packet}","purpose":"signalering","recipients":1,"result":"accepted","salt":"{salt}","size_class":272,"statement":"{packet}","step":"1","time":{time},"to":"{to}","trace":"7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a","v":1}}"#,
        index % 4
    )
}

pub(crate) fn entries(size: u64) -> Vec<String> {
    (0..size).map(entry).collect()
}

fn split(width: usize) -> usize {
    let mut half = 1;
    while half * 2 < width {
        half *= 2;
    }
    half
}

/// The root over leaves (RFC 6962 section 2.1).
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            sha(&[&[1], root(left).as_slice(), &root(right)].concat())
        }
    }
}

pub(crate) fn leaves(entries: &[String]) -> Vec<Hash> {
    entries.iter().map(|entry| sha(&[&[0], entry.as_bytes()].concat())).collect()
}

/// The hashes that lead from the leaves at `picked` to the root.
pub(crate) fn proof(leaves: &[Hash], picked: &BTreeSet<usize>) -> Vec<Hash> {
    fn over(leaves: &[Hash], low: usize, picked: &BTreeSet<usize>, out: &mut Vec<Hash>) {
        if picked.range(low..low + leaves.len()).next().is_none() {
            out.push(root(leaves));
        } else if leaves.len() > 1 {
            let half = split(leaves.len());
            over(&leaves[..half], low, picked, out);
            over(&leaves[half..], low + half, picked, out);
        }
    }
    let mut out = Vec::new();
    if !leaves.is_empty() {
        over(leaves, 0, picked, &mut out);
    }
    out
}

/// What leads from the tree of the first `old` leaves to that of all (RFC 6962 section 2.1.2).
pub(crate) fn consistency(leaves: &[Hash], old: usize) -> Vec<Hash> {
    fn over(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if whole { Vec::new() } else { vec![root(leaves)] };
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (mut proof, other) = if old <= left.len() {
            (over(old, left, whole), right)
        } else {
            (over(old - left.len(), right, false), left)
        };
        proof.push(root(other));
        proof
    }
    if old == 0 { Vec::new() } else { over(old, leaves, true) }
}

pub(crate) fn runs(picked: &BTreeSet<usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for index in picked {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == *index => *count += 1,
            _ => runs.push((*index, 1)),
        }
    }
    runs.iter().fold(String::new(), |mut text, (first, count)| {
        writeln!(text, "{first} {count}").unwrap();
        text
    })
}

/// The members of a bundle before they are summed and signed: what an exporter could write.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) readme: String,
    /// The manifest's fields, in any order: name and value as JSON.
    pub(crate) manifest: Vec<(String, String)>,
    pub(crate) checkpoint: String,
    pub(crate) lines: Vec<String>,
    pub(crate) runs: String,
    pub(crate) proof: Vec<String>,
    /// The hash of each entry.
    pub(crate) leaves: Vec<Hash>,
    pub(crate) covenants: Vec<(String, Vec<u8>)>,
    /// By the hash of their covenant, rising.
    pub(crate) policies: Vec<(String, String)>,
    /// An earlier checkpoint, and the hashes that lead from it.
    pub(crate) begin: Option<(String, Vec<String>)>,
    /// The views after the first.
    pub(crate) views: Vec<(&'static str, Vec<u8>)>,
}

/// What is asked of a log.
#[derive(Clone, Default)]
pub(crate) struct Ask {
    pub(crate) complete: bool,
    /// The question's keys and their values as JSON.
    pub(crate) question: Vec<(&'static str, String)>,
}

impl Parts {
    /// A bundle of the entries at `picked`.
    pub(crate) fn new(log: &[String], picked: &BTreeSet<usize>, ask: &Ask) -> Self {
        let signer = signer();
        let leaves = leaves(log);
        let proves = if ask.complete { "complete" } else { "selection" };
        let text = |text: &str| format!("\"{text}\"");
        let mut manifest: Vec<(String, String)> = [
            ("format", text("seinhuis/export/1")),
            ("origin", text(ORIGIN)),
            ("log_key", text(&signer.vkey())),
            ("size", log.len().to_string()),
            ("count", picked.len().to_string()),
            ("created", "1772400000000".to_owned()),
            ("purpose", text(r#"controle\nvan \"mei\" é"#)),
            ("proves", text(proves)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        manifest.extend(ask.question.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let lines: Vec<String> = picked.iter().map(|index| log[*index].clone()).collect();
        let mut covenants: Vec<_> = (0..2).map(covenant).collect();
        covenants.retain(|(hash, _)| lines.iter().any(|line| line.contains(hash)));
        covenants.sort();
        Self {
            readme: format!("{}\nuitleg\n", proves.to_uppercase()),
            manifest,
            checkpoint: signer.note(&checkpoint(log.len() as u64, &root(&leaves))),
            lines,
            runs: runs(picked),
            proof: proof(&leaves, picked).iter().map(|hash| HEXLOWER.encode(hash)).collect(),
            leaves: picked.iter().map(|index| leaves[*index]).collect(),
            covenants,
            policies: Vec::new(),
            begin: None,
            views: Vec::new(),
        }
    }

    /// Adds an earlier checkpoint of `size` entries of the log, whose lines `sign` makes.
    pub(crate) fn begin_at(&mut self, log: &[String], size: usize, sign: impl FnOnce(&str) -> String) {
        let leaves = leaves(log);
        let note = sign(&checkpoint(size as u64, &root(&leaves[..size])));
        let proof = consistency(&leaves, size).iter().map(|hash| HEXLOWER.encode(hash)).collect();
        self.begin = Some((note, proof));
    }

    /// Sets a field of the manifest.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.manifest.retain(|(known, _)| known != name);
        self.manifest.push((name.to_owned(), value.to_owned()));
    }

    /// The members, with the sums and their signature.
    pub(crate) fn seal(&self) -> Vec<Member> {
        let mut fields = self.manifest.clone();
        fields.sort();
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let manifest = format!("{{{}}}", fields.join(","));
        let ended = |lines: &[String]| lines.iter().flat_map(|line| [line, "\n"]).collect::<String>();
        let csv = format!("\u{feff}tijd;soort\n{}", self.lines.len());
        let mut members = vec![
            Member::deflated("README.txt", self.readme.as_bytes()),
            Member::stored("manifest.json", manifest.as_bytes()),
            Member::stored("checkpoint.txt", self.checkpoint.as_bytes()),
        ];
        for (covenant, policy) in &self.policies {
            members.push(Member::deflated(&format!("policies/{covenant}.txt"), policy.as_bytes()));
        }
        if let Some((note, proof)) = &self.begin {
            members.push(Member::stored("begin.txt", note.as_bytes()));
            members.push(Member::deflated("consistency.txt", ended(proof).as_bytes()));
        }
        members.extend([
            Member::deflated("entries.jsonl", ended(&self.lines).as_bytes()),
            Member::deflated("runs.txt", self.runs.as_bytes()),
            Member::deflated("proof.txt", ended(&self.proof).as_bytes()),
            Member::stored("leaves.bin", &self.leaves.concat()),
            Member::deflated("entries.csv", csv.as_bytes()),
        ]);
        members.extend(self.views.iter().map(|(name, bytes)| Member::deflated(name, bytes)));
        for (hash, bytes) in &self.covenants {
            members.push(Member::stored(&format!("covenants/{hash}.cbor"), bytes));
        }
        sign(&mut members, &signer());
        members
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        zip::file(&self.seal(), &Around::default())
    }
}

/// The text of a checkpoint.
pub(crate) fn checkpoint(size: u64, root: &Hash) -> String {
    format!("{ORIGIN}\n{size}\n{}\n", BASE64.encode(root))
}

/// The line of a member in the list of sums.
fn sum_line(member: &Member) -> String {
    let sum = sha(&zip::unpacked(member));
    format!("{}  {}\n", HEXLOWER.encode(&sum), String::from_utf8_lossy(&member.name))
}

/// Adds the sums over the members there are.
pub(crate) fn sums(members: &[Member]) -> String {
    members.iter().map(sum_line).collect()
}

/// The text of the note over a list of sums.
pub(crate) fn about(sums: &str) -> String {
    format!("{ORIGIN}\nseinhuis/export/1\n{}\n", HEXLOWER.encode(&sha(sums.as_bytes())))
}

/// Adds the list of sums and its note.
pub(crate) fn sign(members: &mut Vec<Member>, signer: &Signer) {
    let sums = sums(members);
    members.push(Member::deflated("SHA256SUMS", sums.as_bytes()));
    members.push(Member::stored("SHA256SUMS.note", signer.note(&about(&sums)).as_bytes()));
}

impl Parts {
    /// The file, sealed over other bytes of the entries, which leads to no proof.
    pub(crate) fn file_with_entries(&self, change: impl FnOnce(&str) -> Vec<u8>) -> Vec<u8> {
        let mut members = self.seal();
        members.truncate(members.len() - 2);
        let text = String::from_utf8(zip::unpacked(&members[3])).unwrap();
        members[3] = Member::deflated("entries.jsonl", &change(&text));
        sign(&mut members, &signer());
        zip::file(&members, &Around::default())
    }
}
