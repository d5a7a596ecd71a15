//! Forms as browsers send them.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;

use crate::keys;

/// Characters of a form's key: 16 random bytes.
const KEY_LENGTH: usize = 22;

/// The key of a new form.
pub fn fresh_key() -> String {
    BASE64URL_NOPAD.encode(&keys::random::<16>())
}

/// Whether a text may be the key of a form.
pub fn is_key(text: &str) -> bool {
    text.len() == KEY_LENGTH
}

/// The fields of a form by name, the values of each in order.
#[derive(Clone, Default)]
pub struct Form(Arc<BTreeMap<String, Vec<String>>>);

/// Says nothing of what is in it.
impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Form(..)")
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Form {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(fields: T) -> Self {
        let mut form = Self::default();
        for (name, value) in fields {
            form.put(name, value);
        }
        form
    }
}

impl Form {
    /// Reads `application/x-www-form-urlencoded`; whatever bytes there are read as something.
    pub fn read(bytes: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(bytes) {
            // Lines end as in JSON, whatever a browser makes of them.
            form.put(&name, &value.replace("\r\n", "\n"));
        }
        form
    }

    /// Adds a value of a field.
    pub fn put(&mut self, name: &str, value: &str) {
        Arc::make_mut(&mut self.0).entry(name.to_owned()).or_default().push(value.to_owned());
    }

    /// Every field with each of its values.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value.as_str())))
    }

    /// The first value of a field; empty when it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.values(name).next().unwrap_or_default()
    }

    /// Every value of a field.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// The same without a field.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        self.all().filter(|(other, _)| *other != name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_read_whatever_comes() {
        let form = Form::read(b"a=1&a=2&b=x%0D%0Ay&%ff=%ff&c");
        assert_eq!(form.values("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((form.text("b"), form.text("c"), form.text("d")), ("x\ny", "", ""));
        assert!(form.without("a").values("a").next().is_none());
        assert_eq!(format!("{form:?}"), "Form(..)");
    }
}
