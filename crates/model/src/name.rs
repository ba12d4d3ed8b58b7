//! Names that cannot be wrong: they are checked where they are made.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// Longest network or container name, in bytes.
const NAME_MAX: usize = 255;

/// Makes a newtype over `String` whose only constructor is `parse`.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refusal;

            fn try_from(text: String) -> Result<Self, Refusal> {
                Self::parse(&text)
            }
        }
    };
}

name_type!(
    /// A network's name: not empty, no control characters, at most 255 bytes.
    NetworkName
);

impl NetworkName {
    /// Checks a network's name.
    ///
    /// # Errors
    /// [`Refusal::InvalidNetworkName`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() || text.len() > NAME_MAX || text.chars().any(char::is_control) {
            return Err(Refusal::InvalidNetworkName { name: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

name_type!(
    /// A container's name: `^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$`, at most 255 bytes.
    ContainerName
);

impl ContainerName {
    /// Checks a container's name.
    ///
    /// # Errors
    /// [`Refusal::InvalidContainerName`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let rest = text.strip_prefix('/').unwrap_or(text).as_bytes();
        let good = match rest {
            [first, others @ ..] if !others.is_empty() && text.len() <= NAME_MAX => {
                first.is_ascii_alphanumeric()
                    && others.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b))
            }
            _ => false,
        };
        if !good {
            return Err(Refusal::InvalidContainerName { name: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

name_type!(
    /// A network interface's name, by the kernel's own rules: 1 to 15 bytes,
    /// no `/`, `:`, white space or control characters, not `.` or `..`.
    LinkName
);

impl LinkName {
    /// Longest name, in bytes (`IFNAMSIZ` − 1 on Linux and FreeBSD).
    pub const MAX: usize = 15;

    /// Checks an interface's name.
    ///
    /// # Errors
    /// [`Refusal::InvalidInterface`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if text.is_empty()
            || text.len() > Self::MAX
            || text == "."
            || text == ".."
            || text.chars().any(bad)
        {
            return Err(Refusal::InvalidInterface { name: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    /// `kleeneN`: the interface of a network whose user named none.
    #[must_use]
    pub fn kleene(number: u32) -> Self {
        Self(format!("kleene{}", number % 1_000_000_000))
    }

    /// `epairNa`: the host's end of a cable.
    #[must_use]
    pub fn cable_host(number: u32) -> Self {
        Self(format!("epair{}a", number % 1_000_000_000))
    }

    /// `epairNb`: the container's end of a cable.
    #[must_use]
    pub fn cable_container(number: u32) -> Self {
        Self(format!("epair{}b", number % 1_000_000_000))
    }

    /// The number of the cable whose host's end has this name.
    #[must_use]
    pub fn cable_number(&self) -> Option<u32> {
        let number = self.0.strip_prefix("epair")?.strip_suffix('a')?.parse().ok()?;
        // Not epair07a, nor one with a sign.
        (Self::cable_host(number) == *self).then_some(number)
    }

    /// The number of the cable whose container's end has this name.
    #[must_use]
    pub fn inner_number(&self) -> Option<u32> {
        let number = self.0.strip_prefix("epair")?.strip_suffix('b')?.parse().ok()?;
        (Self::cable_container(number) == *self).then_some(number)
    }

    /// Whether it is the name of a container's end of a cable.
    #[must_use]
    pub fn is_cable_container(&self) -> bool {
        let number = self.0.strip_prefix("epair").and_then(|rest| rest.strip_suffix('b'));
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|digit| digit.is_ascii_digit()))
    }

    /// Whether it is the loopback's name.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.0 == "lo"
    }
}

name_type!(
    /// Which daemon of this host made something: part of every owner mark.
    InstanceName
);

impl InstanceName {
    /// Checks a daemon's instance name: 1 to 32 of `a-z`, `0-9` and `-`.
    ///
    /// # Errors
    /// [`Refusal::InvalidInstanceName`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > 32 || !text.bytes().all(plain) {
            return Err(Refusal::InvalidInstanceName { name: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_names_follow_the_known_expression() {
        for good in ["ab", "/ab", "0a", "a_b.c-d"] {
            assert!(ContainerName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "/", "/a", "_a", "-ab", "a b", "ab\n", "a/b", "æb", "//ab"] {
            let refusal = ContainerName::parse(bad).expect_err(bad);
            assert_eq!(
                refusal.to_string(),
                format!("{bad} does not match /?[a-zA-Z0-9][a-zA-Z0-9_.-]+$")
            );
        }
        assert!(ContainerName::parse(&"a".repeat(256)).is_err());
    }

    #[test]
    fn interface_names_follow_the_kernel() {
        for good in ["lo", "eth0", "a23456789012345", "kleene0"] {
            assert!(LinkName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "a:b", "a\tb", "a234567890123456", "a\u{7f}"] {
            assert!(LinkName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(LinkName::cable_host(u32::MAX).as_str().len() <= LinkName::MAX);
        assert!(LinkName::kleene(u32::MAX).as_str().len() <= LinkName::MAX);
    }
}
