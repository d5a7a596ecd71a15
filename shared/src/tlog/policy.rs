//! Trust policies (C2SP tlog-policy): which log, which witnesses, and how many of them it takes.
//!
//! ```text
//! log broker.example/uitwisseling/2026+…
//! witness gemeente broker.example/uitwisseling/2026/witness/00000001001299000000+…
//! witness politie …
//! group partners 1 gemeente politie
//! quorum partners
//! ```
//! Every rule of the text is kept. Beyond it: only Ed25519 keys are taken (type 0x01 for logs, 0x04 for witnesses), since a
//! key that cannot be verified here could only ever fail the quorum in silence.

use super::checkpoint::{Checkpoint, CheckpointError};
use super::cosignature::WitnessKey;
use super::note::{Note, NoteError, VerifierKey};

/// Bytes of a policy at most.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;
/// Logs, witnesses and groups of a policy at most, each; the text asks for 32 or more.
pub const MAX_EACH: usize = 64;
/// The name of the quorum that asks for nobody.
const NONE: &[u8] = b"none";

/// Why a text is no policy, or what is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the policy: {fault}")]
pub struct PolicyError {
    /// Which line, from 1; one after the last for what is missing at the end.
    pub line: usize,
    /// What is wrong.
    pub fault: PolicyFault,
}

/// What can be wrong with a line of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// Longer than a policy may be.
    #[error("the policy is longer than {MAX_POLICY_BYTES} bytes")]
    TooLong,
    /// A control character other than tab and newline.
    #[error("it has a control character other than tab and newline: remove it")]
    Control,
    /// The last line does not end.
    #[error("it does not end in a newline: the file may be cut off, fetch it again")]
    NoNewline,
    /// Not one of the four kinds of line.
    #[error("a line starts with log, witness, group, quorum or #")]
    UnknownKeyword,
    /// Too few or too many items.
    #[error("it has too few or too many items for its kind")]
    Items,
    /// Not a key, or not one of the type that is needed.
    #[error(transparent)]
    Key(#[from] NoteError),
    /// The key stands in an earlier line of the same kind, under whatever name.
    #[error("the same public key stands on an earlier line: leave one of them out")]
    DuplicateKey,
    /// The name is defined already, or is `none`.
    #[error("the name is taken: choose another")]
    DuplicateName,
    /// The name is defined on no preceding line.
    #[error("it names what no line before it defines")]
    UnknownName,
    /// The member is a member of a group already.
    #[error("one of its members is in a group already: each may be in one")]
    MemberTwice,
    /// The threshold is no plain number from 1 to the number of members.
    #[error("the threshold must be all, any, or a number from 1 to the number of members")]
    Threshold,
    /// More logs, witnesses or groups than are read.
    #[error("there are more than {MAX_EACH} of its kind")]
    TooMany,
    /// A second quorum line.
    #[error("there is a quorum line already")]
    SecondQuorum,
    /// No quorum line.
    #[error("there is no quorum line; write \"quorum none\" to ask for no witness")]
    NoQuorum,
}

/// A log whose checkpoints are accepted. The name of its key is the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key.
    pub key: VerifierKey,
    /// Where it is, if that was said. Octets: nothing asks for UTF-8.
    pub url: Option<Vec<u8>>,
}

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name in this policy; not that of its key.
    pub name: Vec<u8>,
    /// Its key.
    pub key: WitnessKey,
    /// Where it is, if that was said.
    pub url: Option<Vec<u8>>,
}

/// A witness or a group defined before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// Some of its members have to have witnessed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: Vec<u8>,
    threshold: usize,
    members: Vec<Member>,
}

/// A policy that keeps every rule of the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// What a policy says about a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What the log said.
    pub checkpoint: Checkpoint,
    /// Who cosigned: the place among [`Policy::witnesses`] and the time in seconds since 1970, in order of place.
    pub cosigned: Vec<(usize, u64)>,
    /// Whether that is the quorum.
    pub witnessed: bool,
}

impl Policy {
    /// The policy of one log where `threshold` of `members` have to cosign: one group by that name. `others` are known
    /// and count for nothing.
    ///
    /// # Errors
    /// A [`PolicyFault`] as for a policy that is read: two with one key or name, a name that cannot be written, a threshold
    /// that nobody can reach.
    pub fn of_group(
        log: VerifierKey,
        members: Vec<PolicyWitness>,
        others: Vec<PolicyWitness>,
        group: &str,
        threshold: usize,
    ) -> Result<Self, PolicyFault> {
        let mut policy = Self::default();
        policy.add_log(PolicyLog { key: log, url: None })?;
        let places = (0..members.len()).map(Member::Witness).collect();
        for witness in members.into_iter().chain(others) {
            policy.add_witness(witness)?;
        }
        policy.add_group(Group { name: group.into(), threshold, members: places })?;
        policy.quorum = Some(Member::Group(0));
        Ok(policy)
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// A [`PolicyError`] naming the line.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let fail = |line: usize, fault: PolicyFault| PolicyError { line, fault };
        if text.len() > MAX_POLICY_BYTES {
            return Err(fail(1, PolicyFault::TooLong));
        }
        let mut policy = Self::default();
        let mut quorum = false;
        let mut number = 0_usize;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            number = number.saturating_add(1);
            policy.read_line(line, &mut quorum).map_err(|fault| fail(number, fault))?;
        }
        if quorum { Ok(policy) } else { Err(fail(number.saturating_add(1), PolicyFault::NoQuorum)) }
    }

    fn read_line(&mut self, line: &[u8], quorum: &mut bool) -> Result<(), PolicyFault> {
        let line = line.strip_suffix(b"\n").ok_or(PolicyFault::NoNewline)?;
        if line.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err(PolicyFault::Control);
        }
        let mut items = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty());
        let Some(keyword) = items.next().filter(|word| !word.starts_with(b"#")) else { return Ok(()) };
        let items: Vec<&[u8]> = items.collect();
        match (keyword, items.as_slice()) {
            (b"log", [key, url @ ..]) if url.len() <= 1 => {
                self.add_log(PolicyLog { key: parse_key(key)?, url: url.first().map(|url| url.to_vec()) })
            }
            (b"witness", [name, key, url @ ..]) if url.len() <= 1 => self.add_witness(PolicyWitness {
                name: name.to_vec(),
                key: parse_key(key)?,
                url: url.first().map(|url| url.to_vec()),
            }),
            (b"group", [name, threshold, names @ ..]) if !names.is_empty() => {
                let members = names.iter().map(|name| self.find(name).ok_or(PolicyFault::UnknownName));
                let members = members.collect::<Result<Vec<_>, _>>()?;
                let threshold = parse_threshold(threshold, members.len())?;
                self.add_group(Group { name: name.to_vec(), threshold, members })
            }
            (b"quorum", [name]) => {
                if core::mem::replace(quorum, true) {
                    return Err(PolicyFault::SecondQuorum);
                }
                self.quorum =
                    if *name == NONE { None } else { Some(self.find(name).ok_or(PolicyFault::UnknownName)?) };
                Ok(())
            }
            (b"log" | b"witness" | b"group" | b"quorum", _) => Err(PolicyFault::Items),
            _ => Err(PolicyFault::UnknownKeyword),
        }
    }

    fn add_log(&mut self, log: PolicyLog) -> Result<(), PolicyFault> {
        if self.logs.iter().any(|known| known.key.key() == log.key.key()) {
            return Err(PolicyFault::DuplicateKey);
        }
        push(&mut self.logs, log)
    }

    fn add_witness(&mut self, witness: PolicyWitness) -> Result<(), PolicyFault> {
        if self.witnesses.iter().any(|known| known.key.key() == witness.key.key()) {
            return Err(PolicyFault::DuplicateKey);
        }
        self.check_name(&witness.name)?;
        push(&mut self.witnesses, witness)
    }

    fn add_group(&mut self, group: Group) -> Result<(), PolicyFault> {
        self.check_name(&group.name)?;
        if !(1..=group.members.len()).contains(&group.threshold) {
            return Err(PolicyFault::Threshold);
        }
        for (at, member) in group.members.iter().enumerate() {
            let elsewhere = self.groups.iter().any(|other| other.members.contains(member));
            if elsewhere || group.members.iter().take(at).any(|other| other == member) {
                return Err(PolicyFault::MemberTwice);
            }
        }
        push(&mut self.groups, group)
    }

    /// A name is one item of a line, defined once.
    fn check_name(&self, name: &[u8]) -> Result<(), PolicyFault> {
        if name.is_empty() || name.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            return Err(PolicyFault::Control);
        }
        if name == NONE || self.find(name).is_some() { Err(PolicyFault::DuplicateName) } else { Ok(()) }
    }

    fn find(&self, name: &[u8]) -> Option<Member> {
        let witness = self.witnesses.iter().position(|known| known.name == name).map(Member::Witness);
        witness.or_else(|| self.groups.iter().position(|known| known.name == name).map(Member::Group))
    }

    fn name(&self, member: Member) -> &[u8] {
        let name = match member {
            Member::Witness(at) => self.witnesses.get(at).map(|witness| witness.name.as_slice()),
            Member::Group(at) => self.groups.get(at).map(|group| group.name.as_slice()),
        };
        name.unwrap_or(NONE)
    }

    /// The logs whose checkpoints are accepted.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, in the order of the text.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Whether any cosignature is asked for.
    pub const fn asks(&self) -> bool {
        self.quorum.is_some()
    }

    /// Whether these witnesses, by place, are the quorum.
    pub fn reached_by(&self, cosigned: &[usize]) -> bool {
        // Groups name only what is before them: one pass in order settles every one.
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let met = |member: &Member, groups: &[bool]| match member {
            Member::Witness(at) => cosigned.contains(at),
            Member::Group(at) => groups.get(*at) == Some(&true),
        };
        for group in &self.groups {
            let count = group.members.iter().filter(|member| met(member, &groups)).count();
            groups.push(count >= group.threshold);
        }
        self.quorum.as_ref().is_none_or(|quorum| met(quorum, &groups))
    }

    /// Verifies a note: signed by one of the logs, and who cosigned it. Lines of unknown keys are passed over.
    ///
    /// # Errors
    /// A [`CheckpointError`] if none of the logs signed it, it is no checkpoint of that log, or a line of a known key is
    /// wrong. That the quorum is not reached is no error: see [`Judged::witnessed`].
    pub fn judge(&self, note: &Note) -> Result<Judged, CheckpointError> {
        let keys: Vec<VerifierKey> = self.logs.iter().map(|log| log.key.clone()).collect();
        let signed = note.verify(&keys)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if !signed.iter().any(|key| key.name() == checkpoint.origin()) {
            return Err(NoteError::NoKnownKey.into());
        }
        let mut cosigned = Vec::new();
        for (at, witness) in self.witnesses.iter().enumerate() {
            if let Some((_, seconds)) = witness.key.cosigned(note)? {
                cosigned.push((at, seconds));
            }
        }
        let places: Vec<usize> = cosigned.iter().map(|(at, _)| *at).collect();
        let witnessed = self.reached_by(&places);
        Ok(Judged { checkpoint, cosigned, witnessed })
    }

    /// The policy as text: logs, witnesses, groups, quorum. Reads back as the same policy.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        for log in &self.logs {
            lines.push(line(b"log", [log.key.to_string().as_bytes()].into_iter().chain(log.url.as_deref())));
        }
        for witness in &self.witnesses {
            let key = witness.key.to_string();
            let items = [witness.name.as_slice(), key.as_bytes()].into_iter().chain(witness.url.as_deref());
            lines.push(line(b"witness", items));
        }
        for group in &self.groups {
            let threshold = group.threshold.to_string();
            let members = group.members.iter().map(|member| self.name(*member));
            lines.push(line(
                b"group",
                [group.name.as_slice(), threshold.as_bytes()].into_iter().chain(members),
            ));
        }
        lines.push(line(b"quorum", [self.quorum.map_or(NONE, |quorum| self.name(quorum))].into_iter()));
        lines.concat()
    }
}

fn line<'a>(keyword: &'a [u8], items: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut line: Vec<u8> = core::iter::once(keyword).chain(items).collect::<Vec<_>>().join(&b' ');
    line.push(b'\n');
    line
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), PolicyFault> {
    if list.len() >= MAX_EACH {
        return Err(PolicyFault::TooMany);
    }
    list.push(item);
    Ok(())
}

fn parse_key<K: core::str::FromStr<Err = NoteError>>(octets: &[u8]) -> Result<K, NoteError> {
    core::str::from_utf8(octets).map_err(|_| NoteError::BadKey)?.parse()
}

fn parse_threshold(octets: &[u8], members: usize) -> Result<usize, PolicyFault> {
    match octets {
        b"all" => Ok(members),
        b"any" => Ok(1),
        digits => {
            let text = core::str::from_utf8(digits).map_err(|_| PolicyFault::Threshold)?;
            let number: usize = text.parse().map_err(|_| PolicyFault::Threshold)?;
            // One way to write a number: no sign, no leading zeros.
            if number.to_string() == text { Ok(number) } else { Err(PolicyFault::Threshold) }
        }
    }
}
