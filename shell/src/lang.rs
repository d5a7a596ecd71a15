//! Which language people read.

pub use seinhuis_shared::refusal::Lang;

/// One message in both languages; the choice is made when it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Dutch.
    pub nl: String,
    /// English.
    pub en: String,
}

impl Text {
    /// Both texts of one message.
    pub fn new(nl: impl Into<String>, en: impl Into<String>) -> Self {
        Self { nl: nl.into(), en: en.into() }
    }

    /// The same text in both languages: names, numbers, paths.
    pub fn same(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { nl: text.clone(), en: text }
    }

    /// The text in `lang`.
    pub fn in_lang(&self, lang: Lang) -> &str {
        lang.pick(&self.nl, &self.en)
    }
}

/// Reads `nl` or `en`, as given after `--lang`.
///
/// # Errors
/// A sentence for anything else.
pub fn parse(text: &str) -> Result<Lang, String> {
    match text {
        "nl" => Ok(Lang::Nl),
        "en" => Ok(Lang::En),
        _ => Err("choose nl or en / kies nl of en".into()),
    }
}

/// The language: the flag, else `SEINHUIS_LANG`, else `LANG`; Dutch when that begins with `nl`.
pub fn choose(flag: Option<Lang>) -> Lang {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    flag.unwrap_or_else(|| from_env(env("SEINHUIS_LANG").or_else(|| env("LANG")).as_deref()))
}

fn from_env(value: Option<&str>) -> Lang {
    match value {
        Some(value) if value.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("nl")) => Lang::Nl,
        Some(_) | None => Lang::En,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_locale_that_begins_with_nl_is_dutch() {
        for (value, lang) in [
            (Some("nl"), Lang::Nl),
            (Some("nl_NL.UTF-8"), Lang::Nl),
            (Some("NL"), Lang::Nl),
            (Some("en_GB.UTF-8"), Lang::En),
            (Some("C"), Lang::En),
            (Some("é"), Lang::En),
            (None, Lang::En),
        ] {
            assert_eq!(from_env(value), lang, "{value:?}");
        }
    }

    #[test]
    fn the_flag_wins() {
        assert_eq!(choose(Some(Lang::Nl)), Lang::Nl);
        assert_eq!(choose(Some(Lang::En)), Lang::En);
        assert!(parse("de").is_err());
    }
}
