//! Ids: twelve lower-case hexadecimal digits, never all decimal.
//!
//! The form is that of Kleene 0.1.1. An id is never all digits because jail(8)
//! takes a numeric jail name for a jid.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not an id (twelve lower-case hexadecimal digits, not all decimal)")]
pub struct InvalidId {
    /// The text that was refused.
    pub text: String,
}

/// Six bytes, shown as twelve hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Raw([u8; 6]);

impl Raw {
    fn from_bytes(bytes: [u8; 6]) -> Option<Self> {
        let letters = bytes.iter().any(|b| b >> 4 > 9 || b & 15 > 9);
        letters.then_some(Self(bytes))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text
            .chars()
            .map(|c| match c {
                '0'..='9' | 'a'..='f' => c.to_digit(16).and_then(|d| u8::try_from(d).ok()),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let mut bytes = [0; 6];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Self::from_bytes(bytes)
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Makes one id type per kind of object, so that they cannot be mixed up.
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Raw);

        impl $name {
            /// The id made of six random bytes; `None` when they would read as
            /// a decimal number, and the caller draws again.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 6]) -> Option<Self> {
                Raw::from_bytes(bytes).map(Self)
            }

            /// The six bytes behind the digits.
            #[must_use]
            pub fn bytes(self) -> [u8; 6] {
                self.0.0
            }

            /// Reads an id.
            ///
            /// # Errors
            /// When the text has another form.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                Raw::parse(text).map(Self).ok_or_else(|| InvalidId { text: text.to_owned() })
            }

            /// Whether the id's digits begin with `prefix`.
            #[must_use]
            pub fn starts_with(self, prefix: &str) -> bool {
                self.to_string().starts_with(prefix)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }
    };
}

id_type!(
    /// A container. Also the name of its jail, and its host name by default.
    ContainerId
);
id_type!(
    /// A network.
    NetworkId
);
id_type!(
    /// The membership of one container in one network.
    EndpointId
);
id_type!(
    /// One command run in a container.
    ExecId
);
id_type!(
    /// An image.
    ImageId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_they_were_written() {
        let id = NetworkId::from_bytes([0x2f, 0x1d, 0xc2, 0x9b, 0x8f, 0x36]).expect("has letters");
        assert_eq!(id.to_string(), "2f1dc29b8f36");
        assert_eq!(NetworkId::parse("2f1dc29b8f36"), Ok(id));
        assert!(id.starts_with("2f1") && !id.starts_with("1f"));
    }

    #[test]
    fn an_id_is_never_all_decimal_and_never_of_another_form() {
        assert_eq!(ContainerId::from_bytes([0x12; 6]), None);
        for text in
            ["", "2f1", "123456789012", "2F1DC29B8F36", "2f1dc29b8f366", "2f1dc29b8f3g", "éé"]
        {
            assert!(ContainerId::parse(text).is_err(), "{text}");
        }
    }
}
