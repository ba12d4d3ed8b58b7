//! `--filter KEY=VALUE`: same key, or; different keys, and.

use clap::ValueEnum;

/// A key of a filter. Its possible values are listed when an unknown one is
/// typed.
pub(crate) trait Key: ValueEnum + PartialEq + Copy + Send + Sync + 'static {
    /// The values that it takes; nothing when it takes any.
    fn values(self) -> Option<Vec<String>>;

    /// What its values name; the daemon knows them.
    fn named(self) -> Option<Named>;
}

/// What a key's values may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Network,
    Container,
    Image,
}

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter<K> {
    pub(crate) key: K,
    pub(crate) value: String,
}

/// The names of all keys.
pub(crate) fn keys<K: Key>() -> Vec<String> {
    let names = K::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    names.map(|name| name.get_name().to_owned()).collect()
}

/// What `--help` says of the option.
pub(crate) fn help<K: Key>() -> String {
    let keys = keys::<K>().join(", ");
    let (others, last) = keys.rsplit_once(", ").unwrap_or_default();
    format!("Show only what passes: {others} or {last}; may be repeated")
}

/// The texts of a key's values.
pub(crate) fn texts<const N: usize>(values: [impl ToString; N]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// Reads `KEY=VALUE`.
pub(crate) fn parse<K: Key>(text: &str) -> Result<Filter<K>, String> {
    let keys = || keys::<K>().join(", ");
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!("write KEY=VALUE; keys: {}", keys()));
    };
    let key = K::from_str(name, false)
        .map_err(|_unknown| format!("there is no key '{name}'; keys: {}", keys()))?;
    match key.values() {
        Some(values) if !values.iter().any(|known| known == value) => {
            Err(format!("'{name}' is one of: {}", values.join(", ")))
        }
        _ => Ok(Filter { key, value: value.to_owned() }),
    }
}

/// Whether an object passes, of which `is` tells what a key's value says of it.
pub(crate) fn passes<K: Key>(filters: &[Filter<K>], is: impl Fn(K, &str) -> bool) -> bool {
    filters.iter().all(|filter| {
        filters.iter().any(|other| other.key == filter.key && is(other.key, &other.value))
    })
}

/// Whether `text` is the pattern, in which `*` stands for anything.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    enum Kind {
        Name,
        State,
    }

    impl Key for Kind {
        fn values(self) -> Option<Vec<String>> {
            match self {
                Self::Name => None,
                Self::State => Some(texts(["on", "off"])),
            }
        }

        fn named(self) -> Option<Named> {
            None
        }
    }

    #[test]
    fn one_key_is_or_and_two_keys_are_and() {
        let shown = |typed: &[&str]| {
            let filters: Vec<Filter<Kind>> = typed.iter().map(|t| parse(t).unwrap()).collect();
            let all = [("a", "on"), ("b", "on"), ("a", "off"), ("c", "off")];
            let pass = |object: &&(&str, &str)| {
                passes(&filters, |key, value| match key {
                    Kind::Name => object.0 == value,
                    Kind::State => object.1 == value,
                })
            };
            all.iter().filter(pass).map(|o| format!("{}-{}", o.0, o.1)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&[]).len(), 4);
        assert_eq!(shown(&["name=a"]), ["a-on", "a-off"]);
        assert_eq!(shown(&["name=a", "name=b"]), ["a-on", "b-on", "a-off"]);
        assert_eq!(shown(&["name=a", "state=on", "name=c"]), ["a-on"]);
        assert_eq!(shown(&["state=on", "state=off"]).len(), 4);
        assert!(shown(&["name=", "state=on"]).is_empty());
    }

    #[test]
    fn what_is_wrong_is_answered_with_what_is_right() {
        assert_eq!(parse::<Kind>("name").unwrap_err(), "write KEY=VALUE; keys: name, state");
        assert_eq!(parse::<Kind>("x=1").unwrap_err(), "there is no key 'x'; keys: name, state");
        assert_eq!(parse::<Kind>("state=up").unwrap_err(), "'state' is one of: on, off");
        assert_eq!(parse::<Kind>("name=a=b").unwrap().value, "a=b");
    }

    #[test]
    fn a_star_is_anything() {
        for (pattern, text) in [
            ("web", "web"),
            ("*", ""),
            ("w*", "web"),
            ("*b", "web"),
            ("w*b*", "web"),
            ("a*a", "aa"),
        ] {
            assert!(like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("web", "web2"), ("a*a", "a"), ("*x*", "web"), ("", "web")] {
            assert!(!like(pattern, text), "{pattern} {text}");
        }
    }
}
