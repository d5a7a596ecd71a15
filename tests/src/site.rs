//! Pages for people as a browser without scripts has them: forms that are filled in and posted.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use crate::http::{Answer, Client};

/// A browser as plain as can be, with what the page gave it.
#[derive(Debug, Clone)]
pub struct Site {
    /// How it asks.
    pub client: Client,
    /// The cookie of its session; empty before somebody signed in.
    pub cookie: String,
    /// What stands in every form of this session.
    pub token: String,
}

/// The value of a hidden field; empty when it is not there.
pub fn hidden(page: &str, name: &str) -> String {
    hidden_all(page).into_iter().find(|(other, _)| other == name).map_or_else(String::new, |(_, value)| value)
}

/// Names and values of all hidden fields, in their order.
pub fn hidden_all(page: &str) -> Vec<(String, String)> {
    let fields = page.split("type=\"hidden\" name=\"").skip(1);
    let pair = |rest: &str| {
        let (name, rest) = rest.split_once("\" value=\"")?;
        Some((plain(name), plain(rest.split_once('"')?.0)))
    };
    fields.filter_map(pair).collect()
}

/// Text of a page without its escapes.
fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// Fields of a form as a browser sends them.
pub fn form(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| {
        text.bytes().fold(String::new(), |mut all, byte| {
            // Writing to a string cannot fail.
            _ = write!(all, "%{byte:02X}");
            all
        })
    };
    fields
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// The same fields, borrowed.
pub fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A sample as its form has it that is sent under a key, but for the recipients; `button` is what is pressed.
pub fn filled(sample: &Value, key: &str, button: &str) -> Vec<(String, String)> {
    let mut found = vec![("key".to_owned(), key.to_owned()), ("do".to_owned(), button.to_owned())];
    for name in ["step", "case", "basis"] {
        let value = sample.get(name).and_then(Value::as_str).unwrap_or_default();
        found.push((name.to_owned(), value.to_owned()));
    }
    fields_of(sample.get("body").unwrap_or(&Value::Null), "", &mut found);
    found
}

/// The fields of a body, named as its form names them.
fn fields_of(value: &Value, pointer: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                fields_of(inner, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(rows) => {
            let choices = rows.iter().all(Value::is_string);
            if !choices {
                found.push((format!("#{pointer}"), rows.len().to_string()));
            }
            for (nth, row) in rows.iter().enumerate() {
                let at = if choices { pointer.to_owned() } else { format!("{pointer}/{nth}") };
                fields_of(row, &at, found);
            }
        }
        Value::String(text) => found.push((pointer.to_owned(), text.clone())),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            found.push((pointer.to_owned(), value.to_string()));
        }
    }
}

impl Site {
    /// Somebody who is not signed in.
    pub fn new(address: SocketAddr) -> Self {
        Self { client: Client { address, token: String::new() }, cookie: String::new(), token: String::new() }
    }

    /// Somebody who signed in with an access code.
    ///
    /// # Errors
    /// As [`Site::signed_in_with`].
    pub fn signed_in(address: SocketAddr, code: &str) -> io::Result<Self> {
        Self::signed_in_with(address, &[("code", code)])
    }

    /// Somebody who signed in with a form.
    ///
    /// # Errors
    /// When there is no answer, or what was filled in does not count.
    pub fn signed_in_with(address: SocketAddr, fields: &[(&str, &str)]) -> io::Result<Self> {
        let mut site = Self::new(address);
        let answer = site.post("/sign-in", fields)?;
        let cookie = answer.raw_head.split_once("set-cookie: ").and_then(|(_, rest)| rest.split_once(';'));
        let Some((pair, _)) = cookie.filter(|_| answer.status == 303) else {
            return Err(io::Error::other(format!("nobody is signed in: {}", answer.text())));
        };
        pair.clone_into(&mut site.cookie);
        site.token = hidden(&site.get("/")?.text(), "token");
        if site.token.is_empty() { Err(io::Error::other("a page without a token")) } else { Ok(site) }
    }

    /// Gets a page.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, path: &str) -> io::Result<Answer> {
        self.get_with(path, &[])
    }

    /// Asks for a page, with more header fields.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get_with(&self, path: &str, more: &[(&str, &str)]) -> io::Result<Answer> {
        self.client.ask("GET", path, &[&[("cookie", self.cookie.as_str())], more].concat(), "")
    }

    /// Posts a form of this session, as its own page does.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> io::Result<Answer> {
        let token = [("token", self.token.as_str())];
        self.post_with(path, &[], &[&token[..], fields].concat())
    }

    /// Posts a form with other header fields than a page of its own has.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post_with(
        &self,
        path: &str,
        more: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> io::Result<Answer> {
        let origin = format!("http://{}", self.client.address);
        let usual = [
            ("origin", origin.as_str()),
            ("cookie", self.cookie.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let given = |name: &str| more.iter().any(|(other, _)| *other == name);
        let all: Vec<(&str, &str)> = usual
            .into_iter()
            .filter(|(name, _)| !given(name))
            .chain(more.iter().copied().filter(|(_, value)| !value.is_empty()))
            .collect();
        self.client.ask("POST", path, &all, &form(fields))
    }

    /// The path of the form for a message type of a flow, as the page offers it.
    ///
    /// # Errors
    /// When there is no answer, or no such form.
    pub fn form_for(&self, flow: &str) -> io::Result<String> {
        let page = self.get("/new")?.text();
        let paths = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let mut own = paths.filter(|path| path.starts_with("/new/") && path.contains(&format!("/{flow}/")));
        own.next().map(str::to_owned).ok_or_else(|| io::Error::other(format!("no form for {flow}: {page}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_fields_are_read_as_a_browser_reads_them() {
        let page = r#"<input type="hidden" name="key" value="a&amp;&lt;b&gt;&quot;c&quot;"><input type="text" name="x" value="y"><input type="hidden" name="/naam" value="">"#;
        let wanted = [("key".to_owned(), "a&<b>\"c\"".to_owned()), ("/naam".to_owned(), String::new())];
        assert_eq!(hidden_all(page), wanted);
        assert_eq!((hidden(page, "/naam"), hidden(page, "x")), (String::new(), String::new()));
    }

    #[test]
    fn a_body_is_filled_in_under_the_names_that_its_form_has() {
        let body = serde_json::json!({ "a": { "b": 3 }, "keuzes": ["x", "y"], "rijen": [{ "c": true }] });
        let sample = serde_json::json!({ "step": "1", "body": body });
        let fields = filled(&sample, "K", "check");
        let wanted = [
            ("key", "K"),
            ("do", "check"),
            ("step", "1"),
            ("case", ""),
            ("basis", ""),
            ("/a/b", "3"),
            ("/keuzes", "x"),
            ("/keuzes", "y"),
            ("#/rijen", "1"),
            ("/rijen/0/c", "true"),
        ];
        assert_eq!(borrowed(&fields), wanted);
        assert_eq!(form(&[("a b", "é")]), "%61%20%62=%C3%A9");
    }
}
