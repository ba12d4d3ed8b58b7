//! How bodies of existing clients are read: booleans may be the strings
//! `"true"` and `"false"`, `null` means absent, unknown fields are ignored.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::refusal::Refusal;

/// Largest JSON body that is read, in bytes.
pub const BODY_MAX: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(untagged)]
enum BoolOrText {
    Bool(bool),
    Text(String),
}

/// A boolean, or a text that is one.
///
/// # Errors
/// When it is something else.
pub fn boolean<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    match BoolOrText::deserialize(from) {
        Ok(BoolOrText::Bool(value)) => Ok(value),
        Ok(BoolOrText::Text(text)) => parse_boolean(&text).map_err(D::Error::custom),
        Err(_) => Err(D::Error::custom("Invalid boolean")),
    }
}

/// A boolean, a text that is one, or null.
///
/// # Errors
/// When it is something else.
pub fn optional_boolean<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    match Option::<BoolOrText>::deserialize(from) {
        Ok(None) => Ok(None),
        Ok(Some(BoolOrText::Bool(value))) => Ok(Some(value)),
        Ok(Some(BoolOrText::Text(text))) => {
            parse_boolean(&text).map(Some).map_err(D::Error::custom)
        }
        Err(_) => Err(D::Error::custom("Invalid boolean")),
    }
}

/// Reads the text of a boolean, as queries carry it.
///
/// # Errors
/// `Invalid boolean. Got: string`, the words of 0.1.1.
pub fn parse_boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("Invalid boolean. Got: string".to_owned()),
    }
}

/// Absent and null give the type's default.
///
/// # Errors
/// When the value is neither null nor of the type.
pub fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// Reads a JSON body of a request.
///
/// # Errors
/// [`Refusal::InvalidRequest`] with what is wrong and where.
pub fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if bytes.len() > BODY_MAX {
        return Err(Refusal::InvalidRequest {
            why: format!("the body has {} bytes, the limit is {BODY_MAX}", bytes.len()),
        });
    }
    serde_json::from_slice(bytes).map_err(|err| Refusal::InvalidRequest { why: err.to_string() })
}
