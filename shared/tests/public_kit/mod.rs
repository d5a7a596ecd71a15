//! Reads the vectors of others.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A file of the vectors.
pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(format!("{}/vectors/public/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A file of the vectors, read as JSON.
pub(crate) fn json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

pub(crate) fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}
