//! Rules, as the kernel holds them: one interface, one protocol, one pair of hosts.

use std::net::IpAddr;

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Pass,
    /// ` drop`, ` return`, ` return-rst`, …
    Block(String),
    Nat,
    Rdr,
}

/// Where a rule is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Nat,
    Rdr,
    Filter,
}

/// One side of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Any,
    /// An address or network.
    Net(IpAddr, u8),
    Table(String),
    /// `(interface:modifier)`: whatever addresses it has.
    Dynamic(String),
}

/// A host that may be negated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) not: bool,
    pub(crate) host: Host,
    pub(crate) port: Option<Port>,
}

/// Ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Port {
    /// One, with an operator (`=`, `!=`, `<`, …).
    Is(&'static str, u16),
    Range(u16, u16),
    /// From one on, as many as the other range has (`6000:*`).
    From(u16),
}

/// What a rule keeps of flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keep {
    No,
    /// With its options, in the order in which they are shown.
    State(Vec<&'static str>),
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    /// `no nat`, `no rdr`.
    pub(crate) no: bool,
    /// `rdr pass`.
    pub(crate) pass: bool,
    /// The anchor that it calls.
    pub(crate) call: Option<String>,
    pub(crate) direction: Option<&'static str>,
    pub(crate) log: bool,
    pub(crate) quick: bool,
    pub(crate) on: Option<(bool, String)>,
    /// `reply-to`, `route-to` with interface and router.
    pub(crate) routed: Option<(&'static str, String, IpAddr)>,
    pub(crate) six: Option<bool>,
    pub(crate) proto: Option<String>,
    pub(crate) from: Side,
    pub(crate) to: Side,
    /// `flags S/SA`; empty is `any`.
    pub(crate) flags: Option<String>,
    /// `icmp-type` or `icmp6-type`, and what.
    pub(crate) icmp: Option<(&'static str, String)>,
    pub(crate) keep: Option<Keep>,
    pub(crate) allow_opts: bool,
    pub(crate) label: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) tagged: Option<(bool, String)>,
    /// Where it leads to.
    pub(crate) pool: Vec<Host>,
    pub(crate) pool_port: Option<Port>,
    pub(crate) round_robin: bool,
    pub(crate) static_port: bool,
}

impl Side {
    pub(crate) const ANY: Self = Self { not: false, host: Host::Any, port: None };

    pub(crate) fn family(&self) -> Option<bool> {
        self.host.family()
    }
}

impl Host {
    /// Whether it is of IPv6, where it is of one family.
    pub(crate) fn family(&self) -> Option<bool> {
        match self {
            Self::Net(ip, _) => Some(ip.is_ipv6()),
            Self::Any | Self::Table(_) | Self::Dynamic(_) => None,
        }
    }
}

impl Rule {
    pub(crate) fn class(&self) -> Class {
        match self.action {
            Action::Pass | Action::Block(_) => Class::Filter,
            Action::Nat => Class::Nat,
            Action::Rdr => Class::Rdr,
        }
    }

    /// The tables that it names.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &str> {
        let hosts = [&self.from.host, &self.to.host].into_iter().chain(&self.pool);
        hosts.filter_map(|host| match host {
            Host::Table(name) => Some(name.as_str()),
            Host::Any | Host::Net(..) | Host::Dynamic(_) => None,
        })
    }

    /// The interfaces and groups that it names: pf lists them, there or not.
    pub(crate) fn interfaces(&self) -> Vec<String> {
        let dynamic = |host: &Host| match host {
            Host::Dynamic(name) => name.split(':').next().map(str::to_owned),
            Host::Any | Host::Net(..) | Host::Table(_) => None,
        };
        let hosts = [&self.from.host, &self.to.host].into_iter().chain(&self.pool);
        let mut all: Vec<String> = hosts.filter_map(dynamic).filter(|one| one != "self").collect();
        all.extend(self.on.iter().map(|(_, name)| name.clone()));
        all
    }
}
