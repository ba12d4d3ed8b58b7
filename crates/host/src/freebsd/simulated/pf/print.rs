//! Rules as pfctl prints them.

use std::fmt::{self, Display, Formatter};

use super::rule::{Action, Host, Keep, Port, Rule, Side};
use super::services;

impl Display for Host {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Net(ip, prefix) if *prefix == if ip.is_ipv4() { 32 } else { 128 } => {
                write!(f, "{ip}")
            }
            Self::Net(ip, prefix) => write!(f, "{ip}/{prefix}"),
            Self::Table(name) => write!(f, "<{name}>"),
            Self::Dynamic(name) => write!(f, "({name})"),
        }
    }
}

impl Display for Port {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(operator, port) => match services::name(*port) {
                Some(name) => write!(f, "{operator} {name}"),
                None => write!(f, "{operator} {port}"),
            },
            Self::Range(first, last) => write!(f, "{first}:{last}"),
            Self::From(first) => write!(f, "{first}:*"),
        }
    }
}

impl Display for Side {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let not = if self.not { "! " } else { "" };
        write!(f, "{not}{}", self.host)?;
        match &self.port {
            Some(port) => write!(f, " port {port}"),
            None => Ok(()),
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        if let Some((not, name)) = &self.on {
            write!(f, " on {}{name}", if *not { "! " } else { "" })?;
        }
        if let Some((how, interface, router)) = &self.routed {
            write!(f, " {how} ({interface} {router})")?;
        }
        match self.six {
            Some(true) => f.write_str(" inet6")?,
            Some(false) => f.write_str(" inet")?,
            None => {}
        }
        if let Some(proto) = &self.proto {
            write!(f, " proto {proto}")?;
        }
        if self.from == Side::ANY && self.to == Side::ANY {
            f.write_str(" all")?;
        } else {
            write!(f, " from {} to {}", self.from, self.to)?;
        }
        self.options(f)?;
        self.target(f)
    }
}

impl Rule {
    fn head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let no = if self.no { "no " } else { "" };
        match (&self.action, &self.call) {
            (Action::Nat, Some(call)) => write!(f, "nat-anchor \"{call}\"")?,
            (Action::Rdr, Some(call)) => write!(f, "rdr-anchor \"{call}\"")?,
            (_, Some(call)) => write!(f, "anchor \"{call}\"")?,
            (Action::Nat, None) => write!(f, "{no}nat")?,
            (Action::Rdr, None) => write!(f, "{no}rdr")?,
            (Action::Pass, None) => f.write_str("pass")?,
            (Action::Block(how), None) => write!(f, "block {how}")?,
        }
        if self.pass {
            f.write_str(" pass")?;
        }
        if let Some(direction) = self.direction {
            write!(f, " {direction}")?;
        }
        if self.log {
            f.write_str(" log")?;
        }
        if self.quick {
            f.write_str(" quick")?;
        }
        Ok(())
    }

    fn options(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.flags {
            Some(flags) if flags.is_empty() => f.write_str(" flags any")?,
            Some(flags) => write!(f, " flags {flags}")?,
            None => {}
        }
        if let Some((word, what)) = &self.icmp {
            write!(f, " {word} {what}")?;
        }
        match &self.keep {
            Some(Keep::No) => f.write_str(" no state")?,
            Some(Keep::State(options)) if options.is_empty() => f.write_str(" keep state")?,
            Some(Keep::State(options)) => write!(f, " keep state ({})", options.join(", "))?,
            None => {}
        }
        if self.allow_opts {
            f.write_str(" allow-opts")?;
        }
        if let Some(label) = &self.label {
            write!(f, " label \"{label}\"")?;
        }
        if let Some(tag) = &self.tag {
            write!(f, " tag {tag}")?;
        }
        if let Some((not, tag)) = &self.tagged {
            write!(f, " {}tagged {tag}", if *not { "! " } else { "" })?;
        }
        Ok(())
    }

    fn target(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.pool.as_slice() {
            [] => return Ok(()),
            [one] => write!(f, " -> {one}")?,
            several => {
                let all: Vec<String> = several.iter().map(ToString::to_string).collect();
                write!(f, " -> {{ {} }}", all.join(", "))?;
            }
        }
        match &self.pool_port {
            // The target's port is never shown by name.
            Some(Port::Is(_, port)) => write!(f, " port {port}")?,
            Some(port) => write!(f, " port {port}")?,
            None => {}
        }
        if self.round_robin {
            f.write_str(" round-robin")?;
        }
        if self.static_port {
            f.write_str(" static-port")?;
        }
        Ok(())
    }
}
