//! The fields of a form, as the covenant's schema has them.

use maud::{Markup, html};
use seinhuis_shared::covenant::Covenant;
use seinhuis_shared::refusal::Lang;
use serde_json::Value;

use super::entered::rows_of;
use super::layout::{Error, id_of};
use super::shape::{Field, Leaf, Shape, readable};

/// Most characters of a text that has one line.
const LINE_MAX: usize = 120;
/// Most values that are shown beside each other; more are in a list to choose from.
const SHOWN_MAX: usize = 7;

/// A form's fields with what was entered and what is wrong with it.
pub(super) struct Fields<'a> {
    /// Says what the data categories are.
    pub(super) covenant: &'a Covenant,
    /// What is wrong.
    pub(super) errors: &'a [Error],
    /// In which language.
    pub(super) lang: Lang,
}

/// One field on its way to the page.
struct One<'a> {
    pointer: &'a str,
    /// The field's name, or the number of its row.
    label: String,
    hint: Option<Markup>,
    required: bool,
}

impl Fields<'_> {
    const fn t(&self, nl: &'static str, en: &'static str) -> &'static str {
        match self.lang {
            Lang::Nl => nl,
            Lang::En => en,
        }
    }

    /// All fields of a schema.
    pub(super) fn all(&self, shape: &Shape, tree: &Value) -> Markup {
        self.object(shape, tree, "")
    }

    fn object(&self, shape: &Shape, tree: &Value, pointer: &str) -> Markup {
        let Shape::Object(fields) = shape else { return html! {} };
        html! {
            @for field in fields {
                @let pointer = format!("{pointer}/{}", field.name);
                @let one = One { pointer: &pointer, label: readable(&field.name), hint: self.hint(field), required: field.required };
                (self.one(&one, &field.shape, tree.get(&field.name).unwrap_or(&Value::Null)))
            }
        }
    }

    /// What the covenant says of a field.
    fn hint(&self, field: &Field) -> Option<Markup> {
        let category = field.category.as_ref().and_then(|code| {
            let category = self.covenant.categories.iter().find(|category| category.code == *code)?;
            Some(self.lang.pick(category.nl.as_str(), category.en.as_str()))
        });
        (field.description.is_some() || category.is_some()).then(|| {
            html! {
                @if let Some(text) = &field.description { span lang="nl" { (text) "." } " " }
                @if let Some(text) = category { (readable(text)) "." }
            }
        })
    }

    fn one(&self, one: &One<'_>, shape: &Shape, value: &Value) -> Markup {
        match shape {
            Shape::Object(_) => self.group(one, None, &self.object(shape, value, one.pointer)),
            Shape::List { item, .. } => match &**item {
                Shape::Leaf(Leaf::OneOf(values)) => self.boxes(one, values, value),
                Shape::Object(_) | Shape::List { .. } | Shape::Leaf(_) => {
                    self.rows(one, (shape, item.as_ref()), value)
                }
            },
            Shape::Leaf(leaf) => self.leaf(one, leaf, value),
        }
    }

    fn leaf(&self, one: &One<'_>, leaf: &Leaf, value: &Value) -> Markup {
        match leaf {
            Leaf::Text { max } => self.text(one, *max, value),
            Leaf::OneOf(values) => self.choice(one, values, value),
            Leaf::NumberOf(numbers) => {
                self.choice(one, &numbers.iter().map(ToString::to_string).collect::<Vec<_>>(), value)
            }
            Leaf::Flag(only) => {
                let both = [true, false].into_iter().filter(|one| only.is_none_or(|only| only == *one));
                self.choice(one, &both.map(|one| one.to_string()).collect::<Vec<_>>(), value)
            }
            Leaf::Date => self.line(one, "date", None, None, value),
            Leaf::DateTime => {
                let hint = self.t("Zoals 2026-03-01T22:15:00+01:00.", "Such as 2026-03-01T22:15:00+01:00.");
                self.line(one, "text", Some(hint), None, value)
            }
            Leaf::Integer { min, max } => {
                let hint = format!("{} {min} {} {max}.", self.t("Van", "From"), self.t("tot en met", "to"));
                self.line(one, "number", Some(&hint), None, value)
            }
        }
    }

    fn error_of(&self, pointer: &str) -> Option<&Error> {
        let id = id_of(pointer);
        self.errors.iter().find(|error| error.id == id)
    }

    /// The ids of what describes a field: what is wrong with it, and its hint.
    fn described(&self, one: &One<'_>, hinted: bool) -> Option<String> {
        let id = id_of(one.pointer);
        let mut ids = Vec::new();
        if self.error_of(one.pointer).is_some() {
            ids.push(format!("{id}-error"));
        }
        if hinted || one.hint.is_some() {
            ids.push(format!("{id}-hint"));
        }
        (!ids.is_empty()).then(|| ids.join(" "))
    }

    /// The name of a field, with a mark where it may be left empty.
    fn name(&self, one: &One<'_>) -> Markup {
        html! {
            span lang="nl" { (one.label) }
            @if !one.required { " " span class="optional" { "(" (self.t("niet verplicht", "optional")) ")" } }
        }
    }

    fn notes(&self, one: &One<'_>, more: Option<&str>) -> Markup {
        let id = id_of(one.pointer);
        html! {
            @if more.is_some() || one.hint.is_some() {
                p class="hint" id={ (id) "-hint" } {
                    @if let Some(hint) = &one.hint { (hint) " " }
                    @if let Some(more) = more { (more) }
                }
            }
            @if let Some(error) = self.error_of(one.pointer) {
                p class="error" id={ (id) "-error" } { (error.text) }
            }
        }
    }

    fn line(
        &self,
        one: &One<'_>,
        kind: &str,
        hint: Option<&str>,
        max: Option<usize>,
        value: &Value,
    ) -> Markup {
        let id = id_of(one.pointer);
        let wrong = self.error_of(one.pointer).is_some();
        let (kind, mode) = if kind == "number" { ("text", Some("numeric")) } else { (kind, None) };
        html! {
            div class="field" {
                label for=(id) { (self.name(one)) }
                (self.notes(one, hint))
                input type=(kind) inputmode=[mode] id=(id) name=(one.pointer) value=(value.as_str().unwrap_or_default())
                    maxlength=[max] autocomplete="off" required[one.required] aria-invalid=[wrong.then_some("true")]
                    aria-describedby=[self.described(one, hint.is_some())];
            }
        }
    }

    fn text(&self, one: &One<'_>, max: usize, value: &Value) -> Markup {
        let hint = format!("{} {max} {}.", self.t("Hooguit", "At most"), self.t("tekens", "characters"));
        if max <= LINE_MAX {
            return self.line(one, "text", Some(&hint), Some(max), value);
        }
        let id = id_of(one.pointer);
        let wrong = self.error_of(one.pointer).is_some();
        html! {
            div class="field" {
                label for=(id) { (self.name(one)) }
                (self.notes(one, Some(&hint)))
                textarea id=(id) name=(one.pointer) rows="4" maxlength=(max) autocomplete="off" required[one.required]
                    aria-invalid=[wrong.then_some("true")] aria-describedby=[self.described(one, true)] {
                    // A line that begins the text is kept: the first one after the tag is not part of it.
                    "\n" (value.as_str().unwrap_or_default())
                }
            }
        }
    }

    /// One value of several, or none where it may be left out.
    fn choice(&self, one: &One<'_>, values: &[String], value: &Value) -> Markup {
        let (id, chosen) = (id_of(one.pointer), value.as_str().unwrap_or_default());
        let said = |value: &str| match value {
            "true" => self.t("ja", "yes").to_owned(),
            "false" => self.t("nee", "no").to_owned(),
            value => readable(value),
        };
        if values.len() > SHOWN_MAX {
            let wrong = self.error_of(one.pointer).is_some();
            return html! {
                div class="field" {
                    label for=(id) { (self.name(one)) }
                    (self.notes(one, None))
                    select id=(id) name=(one.pointer) required[one.required] aria-invalid=[wrong.then_some("true")]
                        aria-describedby=[self.described(one, false)] {
                        option value="" { (self.t("Kies", "Choose")) }
                        @for value in values {
                            option value=(value) lang="nl" selected[value == chosen] { (said(value)) }
                        }
                    }
                }
            };
        }
        let none = (!one.required).then(|| ("", self.t("niet opgegeven", "not given").to_owned()));
        let all = values.iter().map(|value| (value.as_str(), said(value))).chain(none);
        let inner = html! {
            @for (nth, (value, label)) in all.enumerate() {
                @let own = if nth == 0 { id.clone() } else { format!("{id}-{nth}") };
                div class="option" {
                    input type="radio" id=(own) name=(one.pointer) value=(value) required[one.required] checked[value == chosen];
                    label for=(own) { (label) }
                }
            }
        };
        self.group(one, Some("radiogroup"), &inner)
    }

    /// As many values as are wanted.
    fn boxes(&self, one: &One<'_>, values: &[String], chosen: &Value) -> Markup {
        let id = id_of(one.pointer);
        let is =
            |value: &String| chosen.as_array().is_some_and(|all| all.iter().any(|one| one == value.as_str()));
        let inner = html! {
            @for (nth, value) in values.iter().enumerate() {
                @let own = if nth == 0 { id.clone() } else { format!("{id}-{nth}") };
                div class="option" {
                    input type="checkbox" id=(own) name=(one.pointer) value=(value) checked[is(value)];
                    label for=(own) lang="nl" { (readable(value)) }
                }
            }
        };
        self.group(one, None, &inner)
    }

    /// Rows, with buttons that add one and take one away.
    fn rows(&self, one: &One<'_>, (list, item): (&Shape, &Shape), value: &Value) -> Markup {
        let Shape::List { min, max, .. } = list else { return html! {} };
        let rows = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let id = id_of(one.pointer);
        let inner = html! {
            input type="hidden" name=(rows_of(one.pointer)) value=(rows.len());
            @for (nth, row) in rows.iter().enumerate() {
                @let pointer = format!("{}/{nth}", one.pointer);
                @let label = format!("{} {}", one.label, nth.saturating_add(1));
                @let inner = One { pointer: &pointer, label: label.clone(), hint: None, required: true };
                (self.one(&inner, item, row))
                @if rows.len() > *min {
                    button type="submit" name="do" value={ "drop:" (pointer) } class="plain" {
                        (self.t("Haal weg: ", "Remove: ")) (label)
                    }
                }
            }
            @if rows.len() < *max {
                button type="submit" name="do" value={ "add:" (one.pointer) } class="plain" id=(id) {
                    (self.t("Voeg toe: ", "Add: ")) (one.label)
                }
            }
        };
        self.group(one, None, &inner)
    }

    fn group(&self, one: &One<'_>, role: Option<&str>, inner: &Markup) -> Markup {
        html! {
            fieldset role=[role] aria-describedby=[self.described(one, false)] {
                legend { (self.name(one)) }
                (self.notes(one, None))
                (inner)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::entered::blank;
    use super::*;

    fn covenant() -> Covenant {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../covenants");
        let parts = [folder.join("model.toml"), folder.join("partnership.example.toml")];
        seinhuis_shell::covenants::load(&parts).unwrap()
    }

    #[test]
    fn every_type_of_the_model_has_a_form_in_which_each_id_is_there_once() {
        let covenant = covenant();
        for kind in &covenant.types {
            let shape = Shape::read(&kind.schema).unwrap();
            let errors = [Error::new(id_of("/reden"), "x")];
            let fields = Fields { covenant: &covenant, errors: &errors, lang: Lang::En };
            let shown = fields.all(&shape, &blank(&shape)).into_string();
            let ids: Vec<&str> =
                shown.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            let mut once = ids.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), ids.len(), "{}: {shown}", kind.code);
            assert!(!shown.contains("<script") && !shown.contains("style="), "{}", kind.code);
        }
    }

    #[test]
    fn what_was_entered_comes_back_as_text() {
        let covenant = covenant();
        let kind = covenant.types.iter().find(|kind| kind.code == "signaal_groepsgedrag").unwrap();
        let shape = Shape::read(&kind.schema).unwrap();
        let mut tree = blank(&shape);
        tree["toelichting"] = "\"><script>".into();
        tree["gedrag"] = serde_json::json!(["geluid"]);
        let fields = Fields { covenant: &covenant, errors: &[], lang: Lang::Nl };
        let shown = fields.all(&shape, &tree).into_string();
        assert!(shown.contains("&quot;&gt;&lt;script&gt;") && !shown.contains("<script"), "{shown}");
        assert!(shown.contains("value=\"geluid\" checked"), "{shown}");
        assert!(shown.contains("maxlength=\"2000\"") && shown.contains("type=\"date\""), "{shown}");
    }
}
