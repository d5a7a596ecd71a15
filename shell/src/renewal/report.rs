//! When certificate and revocation list end and what is done about it, for people and machines.

use seinhuis_shared::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::plan;
use crate::complaint::Complaint;
use crate::grant::Grant;
use crate::lang::{Lang, Text};
use crate::tls;

/// How long before its end a revocation list is worth a word where nobody fetches it: an ended one stops everything.
const LIST_SOON: Span = Span::days(7);

/// When what a node stands on ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// When the certificate began.
    pub from: Timestamp,
    /// When the certificate ends.
    pub until: Timestamp,
    /// When it is to be renewed.
    pub due: Timestamp,
    /// When the revocation list ends.
    pub list: Timestamp,
}

impl Ends {
    /// Of this grant.
    ///
    /// # Errors
    /// When its parts cannot be read.
    pub fn of(grant: &Grant) -> Result<Self, Complaint> {
        let leaf = tls::peer(&tls::certificates(&grant.chain)?)?;
        let from = leaf.not_before;
        // The certificate itself is the dice: a restart does not throw again.
        let chance = leaf.fingerprint.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let lists = grant.trust()?.crls;
        let lists = lists.iter().map(tls::crl_next_update).collect::<Result<Vec<_>, _>>()?;
        let list =
            lists.into_iter().min().ok_or_else(|| Complaint::bug("a grant without a revocation list"))?;
        Ok(Self { from, until: grant.not_after, due: plan::due(from, grant.not_after, chance), list })
    }

    /// Half of the time is over in which it is to be renewed.
    const fn late(&self) -> Timestamp {
        Timestamp(self.due.0 / 2 + self.until.0 / 2)
    }
}

/// How the renewing goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// When the service last gave its revocation list.
    pub asked: Option<Timestamp>,
    /// When it last gave a certificate.
    pub renewed: Option<Timestamp>,
    /// Since when it goes wrong, if it does.
    pub failing: Option<Timestamp>,
    /// What went wrong last and what to do, if it still does.
    pub problem: Option<Text>,
    /// When it is tried again.
    pub again: Option<Timestamp>,
}

impl Report {
    /// For machines, and for [`value`].
    pub fn to_json(&self) -> Value {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        json!({
            "asked": text(self.asked),
            "renewed": text(self.renewed),
            "failing": text(self.failing),
            "problem": self.problem.as_ref().map(|text| [&text.nl, &text.en]),
            "again": text(self.again),
        })
    }

    pub(super) fn fetched(&mut self, at: Timestamp) {
        self.asked = Some(at);
    }

    pub(super) fn renewed(&mut self, at: Timestamp) {
        self.renewed = Some(at);
    }

    pub(super) fn well(&mut self) {
        (self.failing, self.problem, self.again) = (None, None, None);
    }

    pub(super) fn failed(&mut self, at: Timestamp, why: &Complaint, again: Timestamp) {
        let line = |lang| format!("{} {}", why.what.in_lang(lang), why.advice.in_lang(lang));
        self.failing = self.failing.or(Some(at));
        self.problem = Some(Text::new(line(Lang::Nl), line(Lang::En)));
        self.again = Some(again);
    }
}

/// For machines: the ends of this grant, and how the renewing goes where a process does it, as its
/// [`Report::to_json`] says.
///
/// # Errors
/// When the grant's parts cannot be read.
pub fn value(grant: &Grant, service: bool, renewing: Option<&Value>) -> Result<Value, Complaint> {
    let ends = Ends::of(grant)?;
    let leaf = tls::peer(&tls::certificates(&grant.chain)?)?;
    Ok(json!({
        "serial": leaf.serial,
        "until": ends.until.to_string(),
        "renewal_due": ends.due.to_string(),
        "revocation_list_until": ends.list.to_string(),
        "by_itself": service,
        "renewing": renewing,
    }))
}

/// For people, from what [`value`] made: what ends when, and what is wrong.
pub fn row(value: &Value, lang: Lang) -> String {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("-");
    let by_itself = value.get("by_itself").and_then(Value::as_bool) == Some(true);
    let renewal = match (by_itself, lang) {
        (true, Lang::Nl) => "wordt vanzelf vernieuwd vanaf",
        (true, Lang::En) => "renews itself from",
        (false, Lang::Nl) => "met de hand te vernieuwen vanaf",
        (false, Lang::En) => "to be renewed by hand from",
    };
    let mut line = format!(
        "{} {}, {renewal} {}; {} {}",
        lang.pick("tot", "until"),
        text("until"),
        text("renewal_due"),
        lang.pick("intrekkingslijst tot", "revocation list until"),
        text("revocation_list_until"),
    );
    let place = lang.pick("/renewing/problem/0", "/renewing/problem/1");
    if let Some(problem) = value.pointer(place).and_then(Value::as_str) {
        let since = value.pointer("/renewing/failing").and_then(Value::as_str).unwrap_or("-");
        let note = lang.pick("LET OP, sinds", "NOTE, since");
        line = format!("{line}. {note} {since}: {problem}");
    }
    line
}

/// For the doctor: whether certificate and revocation list last, from the grant and what a running process says.
///
/// # Errors
/// What has ended or ends before anything is done about it.
pub fn finding(grant: &Grant, service: bool, now: Timestamp, advice: &Text) -> Result<Text, Complaint> {
    let ends = Ends::of(grant)?;
    let days = |end: Timestamp| end.since(now).0 / Span::days(1).0;
    let wrong = |nl: String, en: String| Err(Complaint::usage(Text::new(nl, en), advice.clone()));
    let (until, list) = (ends.until, ends.list);
    if until <= now {
        return wrong(
            format!("Het certificaat is verlopen op {until}."),
            format!("The certificate expired at {until}."),
        );
    }
    // Who renews by itself is late when half of its time to do so is gone.
    if now >= if service { ends.late() } else { ends.due } {
        return wrong(
            format!("Het certificaat verloopt over {} dagen en is niet vernieuwd.", days(until)),
            format!("The certificate expires in {} days and was not renewed.", days(until)),
        );
    }
    if list <= now {
        return wrong(
            format!("De intrekkingslijst is verlopen op {list}: niemand kan verbinden."),
            format!("The revocation list expired at {list}: nobody can connect."),
        );
    }
    if list.since(now) < LIST_SOON {
        return wrong(
            format!("De intrekkingslijst verloopt over {} dagen.", days(list)),
            format!("The revocation list expires in {} days.", days(list)),
        );
    }
    let (left, fresh) = (days(until), days(list));
    Ok(Text::new(
        format!("nog {left} dagen geldig, de intrekkingslijst {fresh} dagen"),
        format!("valid for {left} more days, the revocation list for {fresh}"),
    ))
}
