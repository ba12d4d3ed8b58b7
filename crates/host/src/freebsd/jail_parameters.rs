//! The jail parameters that a user gives a container.
//!
//! As users of Kleene know them they go to `jail -c` unchanged (jail(8)): whoever
//! may use the API is root on the host, and what `exec.prestart` and its like run
//! there they may run anyway. Refused is what would take the place of what Kleene
//! itself says, or would leave something behind that nobody removes.

use kleene_model::Refusal;

/// What a name in a parameter list means.
enum Kind {
    /// The network driver says it.
    OfDriver,
    /// Kleene says it, or does it otherwise.
    Refused(&'static str),
    /// Device files, on or off.
    Devices(bool),
    /// The number of a ruleset of device files.
    Ruleset,
    /// A command in the jail, once its network stands.
    Start,
    /// A command in the jail, before it is stopped.
    Stop,
    /// Goes to `jail -c` as it is.
    AtCreation,
}

/// A parameter: its name, and its value where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl Parameter {
    /// As jail(8) takes it.
    pub(crate) fn text(&self) -> String {
        match &self.value {
            Some(value) => format!("{}={value}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A container's jail parameters, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// For `jail -c`, in their order.
    pub(crate) creation: Vec<Parameter>,
    /// Commands that are run in the jail before the first of its own.
    pub(crate) start: Vec<String>,
    /// Commands that are run in the jail before it is stopped.
    pub(crate) stop: Vec<String>,
    devices: Option<bool>,
    ruleset: Option<u16>,
}

impl Parameters {
    /// Reads a container's jail parameters: `NAME=VALUE`, a bare `NAME`, or `noNAME`
    /// for a flag that is off. Blanks around name and value do not count.
    ///
    /// # Errors
    /// [`Refusal::JailParameterOfDriver`] for what would replace the network driver,
    /// [`Refusal::Unsupported`] for what Kleene itself says,
    /// [`Refusal::InvalidJailParameter`] for what is no parameter.
    pub fn parse<T: AsRef<str>>(parameters: &[T]) -> Result<Self, Refusal> {
        let mut read = Self::default();
        for parameter in parameters {
            read.add(parameter.as_ref())?;
        }
        Ok(read)
    }

    fn add(&mut self, text: &str) -> Result<(), Refusal> {
        let invalid = || Refusal::InvalidJailParameter { parameter: text.to_owned() };
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (text.trim(), None),
        };
        if !is_name(name) || text.chars().any(char::is_control) {
            return Err(invalid());
        }
        match kind(name) {
            Kind::OfDriver => {
                return Err(Refusal::JailParameterOfDriver { parameter: text.to_owned() });
            }
            Kind::Refused(advice) => {
                let what = format!("the jail parameter '{text}' ({advice})");
                return Err(Refusal::unsupported(what));
            }
            Kind::Devices(on) => self.devices = Some(flag(value).ok_or_else(invalid)? == on),
            Kind::Ruleset => {
                let number = value.and_then(|value| value.parse().ok());
                // 0 is none at all: every device of the host.
                self.ruleset = Some(number.filter(|number| *number > 0).ok_or_else(invalid)?);
            }
            Kind::Start | Kind::Stop => {
                let command = value.filter(|value| !value.is_empty()).ok_or_else(invalid)?;
                let to = if name == "exec.start" { &mut self.start } else { &mut self.stop };
                to.push(command.to_owned());
            }
            Kind::AtCreation => self.creation.push(parameter(name, value)),
        }
        Ok(())
    }

    /// Whether the container has device files: as it was said, else yes.
    #[must_use]
    pub fn devices(&self) -> bool {
        self.devices.unwrap_or(true)
    }

    /// The ruleset of device files that the user names in place of ours.
    #[must_use]
    pub fn ruleset(&self) -> Option<u16> {
        self.ruleset
    }

    /// Whether the user says something of this name, on or off.
    pub(crate) fn says(&self, name: &str) -> bool {
        let (before, last) = name.rsplit_once('.').map_or(("", name), |(b, l)| (b, l));
        let off =
            if before.is_empty() { format!("no{last}") } else { format!("{before}.no{last}") };
        self.creation.iter().any(|given| given.name == name || given.name == off)
    }
}

fn parameter(name: &str, value: Option<&str>) -> Parameter {
    Parameter { name: name.to_owned(), value: value.map(str::to_owned) }
}

/// Words of lower-case letters, digits and `_`, with dots between them: all names of
/// jail(8) are such.
fn is_name(name: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    name.len() <= 64 && name.split('.').all(is_word)
}

/// `None` for a value that is none of a flag.
fn flag(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("true" | "1" | "yes" | "on") => Some(true),
        Some("false" | "0" | "no" | "off") => Some(false),
        Some(_) => None,
    }
}

fn kind(name: &str) -> Kind {
    let family = name.split('.').next().unwrap_or_default();
    match name {
        "exec.start" => return Kind::Start,
        "exec.stop" => return Kind::Stop,
        "exec.prestop" | "exec.poststop" | "exec.release" => {
            return Kind::Refused("jail(8) forgets it, as FreeBSD 13.2 does: use exec.stop");
        }
        "stop.timeout" => {
            return Kind::Refused("jail(8) forgets it, as FreeBSD 13.2 does: say it at the stop");
        }
        "mount.devfs" => return Kind::Devices(true),
        "mount.nodevfs" => return Kind::Devices(false),
        "devfs_ruleset" => return Kind::Ruleset,
        "mount" | "mount.fstab" => {
            return Kind::Refused("what it mounts nobody unmounts: use a mount of the container");
        }
        _ => {}
    }
    if name.starts_with("exec.jail") || name.starts_with("exec.nojail") {
        return Kind::Refused("set the container's user");
    }
    match family {
        "vnet" | "novnet" | "ip4" | "ip6" | "interface" | "ip_hostname" | "noip_hostname" => {
            Kind::OfDriver
        }
        "name" | "jid" | "path" => Kind::Refused("it is the container's own"),
        "persist" | "nopersist" => Kind::Refused("a container lives until it is stopped"),
        "command" => Kind::Refused("set the container's command"),
        "depend" => Kind::Refused("containers do not depend on each other"),
        _ => Kind::AtCreation,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(parameters: &[&str]) -> String {
        Parameters::parse(parameters).expect_err("refused").to_string()
    }

    #[test]
    fn what_users_know_is_passed_on() {
        let given = [
            "allow.raw_sockets = 1",
            "allow.nochflags",
            "host.hostname=web one",
            "exec.prestart=/sbin/ifconfig lo0 up",
            "exec.system_jail_user",
            "sysvshm=new",
            "enforce_statfs=1",
        ];
        let read = Parameters::parse(&given).expect("parameters");
        let texts: Vec<String> = read.creation.iter().map(Parameter::text).collect();
        assert_eq!(texts[0], "allow.raw_sockets=1");
        assert_eq!(texts[1..], given[1..]);
        assert!(read.says("allow.chflags") && read.says("enforce_statfs"));
        assert!(!read.says("children.max"));
        assert_eq!((read.devices(), read.ruleset()), (true, None));
    }

    #[test]
    fn devices_and_rulesets_are_read() {
        let read = |list: &[&str]| Parameters::parse(list).expect("parameters");
        for off in ["mount.nodevfs", "mount.devfs=false", "mount.devfs = 0", "mount.nodevfs=true"] {
            assert!(!read(&[off]).devices(), "{off}");
        }
        for on in ["mount.devfs", "mount.devfs=true", "mount.nodevfs=false"] {
            assert!(read(&[on]).devices(), "{on}");
        }
        assert_eq!(read(&["devfs_ruleset=11"]).ruleset(), Some(11));
        for bad in ["devfs_ruleset", "devfs_ruleset=0", "devfs_ruleset=65536", "mount.devfs=so"] {
            assert!(text(&[bad]).starts_with("invalid jail parameter"), "{bad}");
        }
    }

    #[test]
    fn what_the_driver_says_is_refused_by_name() {
        for own in [
            "vnet",
            "novnet",
            "vnet=new",
            "vnet.interface=em0",
            "ip4=inherit",
            "ip4.addr=10.0.0.1",
            "ip6",
            "ip6.addr=::1",
            "ip4.nosaddrsel",
            "interface=em0",
            "ip_hostname",
            "ip4 = new",
        ] {
            let text = text(&["allow.mount", own]);
            assert!(text.contains(&format!("'{own}'")) && text.contains("driver"), "{text}");
        }
        for own in [
            "name=x",
            "jid=7",
            "path=/",
            "persist",
            "nopersist",
            "command=/bin/sh",
            "exec.jail_user=www",
            "mount=tmpfs /x tmpfs rw 0 0",
            "mount.fstab=/x",
            "depend=x",
            "exec.prestop=/bin/true",
            "exec.poststop=/bin/true",
            "exec.release=/bin/true",
            "stop.timeout=0",
        ] {
            let text = text(&[own]);
            assert!(text.starts_with("unsupported: the jail parameter"), "{text}");
            assert!(text.contains(own), "{text}");
        }
        // Those that only begin alike are others.
        for other in ["vnets", "ip4x=1", "pathx", "exec.start=/bin/sh", "names=1"] {
            assert!(Parameters::parse(&[other]).is_ok(), "{other}");
        }
    }

    #[test]
    fn what_is_no_parameter_is_refused() {
        for bad in [
            "", "=", "=x", "a b=1", "*", "allow.*", "allow..x", ".x", "x.", "-c", "A=1", "$x=1",
            "x+=1", "x=a\nb", "x=\0", "x\n=1", "{", "x;y", "ä=1",
        ] {
            assert!(Parameters::parse(&[bad]).is_err(), "{bad:?}");
        }
        assert!(Parameters::parse(&["x=a b; * $c 'd' \"e\""]).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            if let Ok(read) = Parameters::parse(&[&text]) {
                for given in &read.creation {
                    prop_assert!(is_name(&given.name));
                    prop_assert!(!given.text().starts_with('-'));
                }
            }
        }
    }
}
