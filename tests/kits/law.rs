//! What the law and the model covenant forbid, as changes of packets that are right otherwise. Sender, broker
//! and recipient are held against the same list, each on its own.

use seinhuis_shared::covenant::{Compiled, Level, Role, Step};
use seinhuis_shared::refusal::Refusal;
use serde_json::Value;

/// A sample of the model covenant.
#[derive(Debug, Clone)]
pub(crate) struct Right {
    /// The file's name.
    pub(crate) file: String,
    pub(crate) flow: String,
    pub(crate) message_type: String,
    pub(crate) from: Role,
    pub(crate) to: Vec<Role>,
    pub(crate) step: Step,
    /// Whether it names a case.
    pub(crate) case: bool,
    pub(crate) basis: Option<String>,
    pub(crate) body: Value,
}

impl Right {
    /// Every sample, in the order of the files' names.
    pub(crate) fn all() -> Vec<Self> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned();
        let folder = [folder.clone() + "../covenants/samples", folder + "../../covenants/samples"];
        let folder = folder.into_iter().find(|one| std::path::Path::new(one).is_dir()).unwrap();
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|file| file.extension().is_some_and(|end| end == "json")).collect();
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn read(file: &std::path::Path) -> Self {
        let value: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let to = value["to"].as_array().unwrap().iter();
        Self {
            file: file.file_name().unwrap().to_string_lossy().into_owned(),
            flow: text("flow").unwrap(),
            message_type: text("type").unwrap(),
            from: text("from").unwrap().parse().unwrap(),
            to: to.map(|role| role.as_str().unwrap().parse().unwrap()).collect(),
            step: text("step").unwrap().parse().unwrap(),
            case: text("case").is_some(),
            basis: text("basis"),
            body: value["body"].clone(),
        }
    }

    fn about_a_person(&self, covenant: &Compiled) -> bool {
        self.levels(covenant).iter().any(|level| *level != Level::G)
    }

    fn levels<'a>(&self, covenant: &'a Compiled) -> &'a [Level] {
        &covenant.flow(&self.flow).unwrap().levels
    }

    fn involves(&self, role: Role) -> bool {
        self.from == role || self.to.contains(&role)
    }
}

/// Flows that stay open when a case is closed, and that are no case packets in the first steps.
pub(crate) const SERVICE: [&str; 6] = ["F36", "F37", "F38", "F39", "F40", "F41"];

/// The state of the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// In a step, with criminal information stated.
    Step(Step),
    /// Closed.
    Closed,
}

/// A right packet made wrong.
#[derive(Debug, Clone)]
pub(crate) struct Wrong {
    pub(crate) rule: &'static str,
    pub(crate) right: Right,
    pub(crate) case: At,
    /// What the statement declares beside the truth: seen by broker and recipient.
    pub(crate) level: Option<Level>,
    pub(crate) category: Option<&'static str>,
    /// A field added to the body: seen by sender and recipient.
    pub(crate) field: Option<&'static str>,
    /// The numbers that what is declared may be refused with.
    pub(crate) declared: &'static [Refusal],
}

/// What a body with a field of [`Wrong`] is refused with.
pub(crate) const CONTENT: Refusal = Refusal::FieldNotAllowed;

const ROLES: &[Refusal] = &[Refusal::SenderRole, Refusal::RecipientRole];
const KINDS: &[Refusal] = &[Refusal::LevelNotAllowed, Refusal::CategoryNotAllowed];
const STEP: &[Refusal] = &[Refusal::WrongStep];
const CLOSED: &[Refusal] = &[Refusal::CaseClosed];
const COUNT: &[Refusal] =
    &[Refusal::RecipientCount, Refusal::TooManyForPersonal, Refusal::RecipientRole, Refusal::SenderRole];

impl Wrong {
    fn new(rule: &'static str, right: &Right, declared: &'static [Refusal]) -> Self {
        let right = right.clone();
        let case = At::Step(right.step);
        Self { rule, right, case, level: None, category: None, field: None, declared }
    }

    fn between(mut self, from: Role, to: &[Role]) -> Self {
        (self.right.from, self.right.to) = (from, to.to_vec());
        self
    }

    fn holds(mut self, level: Level, category: &'static str) -> Self {
        (self.level, self.category, self.field) = (Some(level), Some(category), Some(category));
        self
    }

    fn at(mut self, case: At) -> Self {
        if let At::Step(step) = case {
            self.right.step = step;
        }
        self.case = case;
        self
    }

    /// The body with the added field.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = self.right.body.clone();
        if let Some(field) = self.field {
            body.as_object_mut().unwrap().insert(field.into(), "123456782".into());
        }
        serde_json::to_vec(&body).unwrap()
    }
}

/// Every forbidden packet. Parties without a signature, times, and decisions about cases have tests of their
/// own: they are no change of a packet.
pub(crate) fn forbidden(covenant: &Compiled) -> Vec<Wrong> {
    let all = Right::all();
    let mut wrongs = Vec::new();
    for right in &all {
        wrongs.extend(of_place(right, covenant));
        wrongs.extend(of_content(right, covenant));
    }
    let rules: std::collections::BTreeSet<_> = wrongs.iter().map(|wrong| wrong.rule).collect();
    assert_eq!(rules.len(), 11, "{rules:?}");
    wrongs
}

/// Who, when, to how many.
fn of_place(right: &Right, covenant: &Compiled) -> Vec<Wrong> {
    let mut wrongs = Vec::new();
    let (om, youth) = (Role::Om, Role::Jongerenwerk);
    let wrong = |rule, declared| Wrong::new(rule, right, declared);
    let early =
        SERVICE.contains(&right.flow.as_str()) || ["F29", "F31", "F32"].contains(&right.flow.as_str());
    if right.about_a_person(covenant) && !early {
        for step in [Step::S1, Step::S2A] {
            wrongs.push(wrong("about a person in step 1 or 2A", STEP).at(At::Step(step)));
        }
    }
    for (from, to) in [(om, youth), (youth, om)] {
        wrongs.push(wrong("between prosecution and youth work", ROLES).between(from, &[to]));
    }
    wrongs.push(wrong("youth work to the Zorg- en Veiligheidshuis", ROLES).between(youth, &[Role::Zvh]));
    if right.levels(covenant).contains(&Level::P3) {
        let rule = "police or prosecution data to youth work";
        wrongs.push(wrong(rule, ROLES).between(right.from, &[youth]));
        let other = if right.from == Role::Gemeente { Role::Om } else { Role::Gemeente };
        let second = if right.to[0] == other { Role::Politie } else { other };
        let rule = "police or prosecution data to two recipients";
        wrongs.push(wrong(rule, COUNT).between(right.from, &[right.to[0], second]));
    }
    if right.flow == "F31" {
        wrongs.push(wrong("prosecution to the local team", ROLES).between(om, &[Role::LokaalTeam]));
    }
    if right.case && !SERVICE.contains(&right.flow.as_str()) {
        wrongs.push(wrong("a closed case", CLOSED).at(At::Closed));
    }
    wrongs
}

/// What it holds.
fn of_content(right: &Right, covenant: &Compiled) -> Vec<Wrong> {
    let mut wrongs = Vec::new();
    let wrong = |rule| Wrong::new(rule, right, KINDS);
    let highest = *right.levels(covenant).iter().max().unwrap();
    if right.involves(Role::Jongerenwerk) || right.involves(Role::Boa) {
        let level = highest.max(Level::P1);
        wrongs.push(wrong("BSN to or from youth work or boa").holds(level, "bsn"));
    }
    if right.flow == "F31" || (right.from == Role::Gemeente && right.to == [Role::Jongerenwerk]) {
        let rule = "police or prosecution data outside authorities";
        wrongs.push(wrong(rule).holds(Level::P3, "politiegegevens"));
        wrongs.push(wrong(rule).holds(Level::P3, "strafvorderlijk"));
    }
    if right.flow != "F30" {
        wrongs.push(wrong("care outside F30").holds(Level::Z, "zorg"));
    }
    let mut unknown = wrong("a field the covenant does not know");
    unknown.field = Some("onbekend_veld");
    wrongs.push(unknown);
    wrongs
}
