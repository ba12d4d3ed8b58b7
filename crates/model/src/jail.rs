//! Jail parameters: what of them means the same on every system.

use crate::container::Driver;
use crate::refusal::Refusal;

/// What a container's jail parameters say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Jail {
    /// `allow.raw_sockets`: raw and packet sockets, and ping.
    raw_sockets: Option<bool>,
}

impl Jail {
    /// Reads a container's jail parameters: `NAME=VALUE`, a bare `NAME`, or
    /// `noNAME` for a flag that is off.
    ///
    /// # Errors
    /// [`Refusal::JailParameterOfDriver`] for what would replace the network
    /// driver, [`Refusal::InvalidJailParameter`] for a value that is none,
    /// [`Refusal::Unsupported`] for what only jails have.
    pub fn parse<T: AsRef<str>>(parameters: &[T]) -> Result<Self, Refusal> {
        let mut jail = Self::default();
        for parameter in parameters {
            jail.read(parameter.as_ref())?;
        }
        Ok(jail)
    }

    fn read(&mut self, parameter: &str) -> Result<(), Refusal> {
        let name = parameter.split('=').next().unwrap_or_default().trim();
        let of_driver = name == "vnet"
            || name == "novnet"
            || ["vnet.", "ip4", "ip6"].iter().any(|own| name.starts_with(own));
        if of_driver {
            return Err(Refusal::JailParameterOfDriver { parameter: parameter.to_owned() });
        }
        match flag(parameter, "allow.", "raw_sockets")? {
            Some(on) => self.raw_sockets = Some(on),
            // Every container has its devices.
            None if flag(parameter, "mount.", "devfs")? == Some(true) => {}
            None => {
                return Err(Refusal::unsupported(format!(
                    "the jail parameter '{parameter}' on this system"
                )));
            }
        }
        Ok(())
    }

    /// Whether raw sockets may be used: as it was said, else only where the
    /// container has a stack of its own.
    #[must_use]
    pub fn raw_sockets(self, driver: Driver) -> bool {
        self.raw_sockets.unwrap_or(match driver {
            Driver::Vnet => true,
            Driver::Ipnet | Driver::Host | Driver::Disabled => false,
        })
    }
}

/// The value of the flag `PREFIX NAME`; `None` when the parameter is another.
fn flag(parameter: &str, prefix: &str, name: &str) -> Result<Option<bool>, Refusal> {
    let (given, value) = match parameter.split_once('=') {
        Some((given, value)) => (given.trim(), Some(value.trim())),
        None => (parameter.trim(), None),
    };
    let Some(rest) = given.strip_prefix(prefix) else { return Ok(None) };
    let invalid = || Refusal::InvalidJailParameter { parameter: parameter.to_owned() };
    match (rest == name, rest.strip_prefix("no") == Some(name), value) {
        (true, _, None | Some("true" | "1" | "yes" | "on")) | (_, true, Some("false" | "0")) => {
            Ok(Some(true))
        }
        (true, _, Some("false" | "0" | "no" | "off")) | (_, true, None | Some("true" | "1")) => {
            Ok(Some(false))
        }
        (true, _, Some(_)) | (_, true, Some(_)) => Err(invalid()),
        (false, false, _) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_sockets_are_read_in_every_form() {
        for on in ["allow.raw_sockets", "allow.raw_sockets=true", "allow.raw_sockets = 1"] {
            let jail = Jail::parse(&[on]).expect(on);
            assert!(jail.raw_sockets(Driver::Ipnet), "{on}");
        }
        for off in ["allow.noraw_sockets", "allow.raw_sockets=false", "allow.raw_sockets=0"] {
            let jail = Jail::parse(&[off]).expect(off);
            assert!(!jail.raw_sockets(Driver::Vnet), "{off}");
        }
        let last = Jail::parse(&["allow.raw_sockets", "mount.devfs", "allow.noraw_sockets"]);
        assert_eq!(last.map(|jail| jail.raw_sockets(Driver::Host)), Ok(false));
        let none = Jail::parse::<&str>(&[]).expect("none");
        assert!(none.raw_sockets(Driver::Vnet) && !none.raw_sockets(Driver::Ipnet));
    }

    #[test]
    fn others_are_refused_by_name() {
        for own in ["vnet", "novnet", "vnet.interface=x", "ip4.addr=10.0.0.1", "ip6=inherit"] {
            let text = Jail::parse(&[own]).expect_err(own).to_string();
            assert!(text.contains(own) && text.contains("network driver"), "{text}");
        }
        for later in ["exec.stop=/bin/true", "mount.nodevfs", "allow.mount", "x", ""] {
            let text = Jail::parse(&[later]).expect_err(later).to_string();
            assert!(text.starts_with("unsupported: the jail parameter"), "{text}");
        }
        let text = Jail::parse(&["allow.raw_sockets=perhaps"]).expect_err("a value").to_string();
        assert!(text.contains("perhaps"), "{text}");
    }
}
