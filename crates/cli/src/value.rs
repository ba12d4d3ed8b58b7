//! A JSON document with its members in their order, so that nothing is sorted
//! on its way to YAML or through a filter.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;

/// Any JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Switch(bool),
    Number(Number),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

/// `value` as YAML, without the last line's end.
///
/// Strings that a reader of YAML 1.1 or 1.2 would take for something else
/// (`no`, `12e3`, a time) are quoted.
pub(crate) fn yaml(value: &Value) -> Result<String, serde_saphyr::SerializeError> {
    // Folded blocks are easier to get wrong than quotes.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let mut text = serde_saphyr::to_string_with_options(value, options)?;
    text.truncate(text.trim_end_matches('\n').len());
    Ok(text)
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Switch(on) => serializer.serialize_bool(*on),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, on: bool) -> Result<Value, E> {
        Ok(Value::Switch(on))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Value::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_keeps_the_order_and_quotes_what_could_be_taken_for_something_else() {
        let text = r#"{"z":"no","a":["12e3","2026-11-24T13:00:00Z","fd00::/64","","1:30",-7,1.5],
            "m":{},"l":[],"s":"a: b\n# c\t\u001b","n":null,"t":true,"日":"<auto>"}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        let yaml = yaml(&value).unwrap();
        let order = ["z:", "a:", "m:", "l:", "s:", "t:", "日:"];
        let at: Vec<_> = order.iter().map(|key| yaml.find(key).expect(key)).collect();
        assert!(at.is_sorted(), "{yaml}");
        for quoted in [r#""no""#, r#""12e3""#, r#""1:30""#] {
            assert!(yaml.contains(quoted) || yaml.contains(&quoted.replace('"', "'")), "{yaml}");
        }
        assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&yaml).unwrap(), {
            serde_json::from_str::<serde_json::Value>(text).unwrap()
        });
    }

    #[test]
    fn every_text_comes_back_as_a_text() {
        for text in [
            "yes",
            "Off",
            "~",
            "null",
            "0x1f",
            "012",
            "1_000",
            ".inf",
            "-",
            "- a",
            "? b",
            "[",
            "{a",
            "a #b",
            " a ",
            "'q'",
            "\"",
            "\\",
            "%x",
            "@x",
            "`x`",
            "!t",
            "&a",
            "*a",
            "|",
            ">",
            "=",
            "<<",
            "a:",
            ":a",
            "1.",
            "+1",
            "---",
            "...",
            "\u{85}",
            "\u{feff}x",
            "a\r\nb",
            "line\n\n",
        ] {
            let value = Value::List(vec![Value::Map(vec![(
                text.to_owned(),
                Value::List(vec![Value::Text(text.to_owned())]),
            )])]);
            let yaml = yaml(&value).unwrap();
            let back: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(back, serde_json::json!([{ text: [text] }]), "{yaml}");
        }
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let text = r#"[{"z":1,"a":[1.5,-2,18446744073709551615,null,false,"é\n"]},[],{}]"#;
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
    }
}
