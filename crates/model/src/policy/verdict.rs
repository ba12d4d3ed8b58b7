//! The verdict about a flow: POLICY, rule for rule.

use std::fmt;
use std::net::IpAddr;

use super::{Flow, Member, NetworkRules, Origin, Payload, Policy, Publication};
use crate::addr::Family;
use crate::container::Driver;
use crate::id::{ContainerId, NetworkId};
use crate::name::LinkName;
use crate::network::NetworkType;
use crate::port::{Protocol, PublishedPort};

/// A rule of the policy. `docs/policy.md` has them under the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The flow is none of Kleene's business.
    NotOurs,
    /// 1: a container to its own addresses.
    Own,
    /// 2: to a container of the same network.
    SameNetwork,
    /// 3: to a container of another network.
    OtherNetwork,
    /// 5: a container to the outside, with another source.
    OutsideNat,
    /// 6: a container to the outside, with its own source.
    OutsidePlain,
    /// 7: a container to the host's own addresses.
    ToHost,
    /// 8: the host to a container.
    FromHost,
    /// 9: from outside to a container's port that is not published.
    Unpublished,
    /// 10: from outside to a published port.
    Published,
    /// 11: from outside to a port that is published on other interfaces.
    Unlisted,
    /// 12: from the host or a container to a published port of the host.
    Hairpin,
    /// 13: from an internal network to anything outside of it.
    Internal,
    /// 14: with a source that the sender does not have.
    Spoofed,
    /// 15: the same from an `ipnet` container.
    SpoofedIpnet,
    /// 16: the host in the place of a container.
    HostAsContainer,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::NotOurs,
        Self::Own,
        Self::SameNetwork,
        Self::OtherNetwork,
        Self::OutsideNat,
        Self::OutsidePlain,
        Self::ToHost,
        Self::FromHost,
        Self::Unpublished,
        Self::Published,
        Self::Unlisted,
        Self::Hairpin,
        Self::Internal,
        Self::Spoofed,
        Self::SpoofedIpnet,
        Self::HostAsContainer,
    ];

    /// Its number in the policy; 0 for none. Rule 4 is always met as 5, 6 or 13.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::NotOurs => 0,
            Self::Own => 1,
            Self::SameNetwork => 2,
            Self::OtherNetwork => 3,
            Self::OutsideNat => 5,
            Self::OutsidePlain => 6,
            Self::ToHost => 7,
            Self::FromHost => 8,
            Self::Unpublished => 9,
            Self::Published => 10,
            Self::Unlisted => 11,
            Self::Hairpin => 12,
            Self::Internal => 13,
            Self::Spoofed => 14,
            Self::SpoofedIpnet => 15,
            Self::HostAsContainer => 16,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOurs => "not between a container and somebody else",
            Self::Own => "a container reaches its own addresses",
            Self::SameNetwork => "containers of one network, as its icc says",
            Self::OtherNetwork => "containers of different networks meet at published ports",
            Self::OutsideNat => "to the outside, by the nat interface and with its address",
            Self::OutsidePlain => "to the outside with its own address, as the network has no nat",
            Self::ToHost => "a container reaches the host's own addresses",
            Self::FromHost => "the host reaches its containers",
            Self::Unpublished => "from outside, only published ports are reached",
            Self::Published => "a published port, on an interface that it is published on",
            Self::Unlisted => "a published port, on an interface that it is not published on",
            Self::Hairpin => "a published port of the host, from this host",
            Self::Internal => "an internal network reaches nothing outside of it",
            Self::Spoofed => "nobody sends with an address of somebody else",
            Self::SpoofedIpnet => "an ipnet container sends with its own addresses only",
            Self::HostAsContainer => "a container's address is only the container's",
        })
    }
}

/// How a flow is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blocked {
    /// Its sender is told at once: TCP reset, ICMP prohibited.
    Refused,
    /// Nobody answers.
    Dropped,
}

/// What becomes of the addresses of a flow that passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Translation {
    /// Where it goes instead: address and port.
    pub to: Option<(IpAddr, u16)>,
    /// Which source it gets.
    pub source: Option<IpAddr>,
}

/// Whether a flow passes, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// `None` when it passes.
    pub blocked: Option<Blocked>,
    /// The rule that decides.
    pub rule: Rule,
    /// The network whose rule it is: the source's, or the destination's for
    /// what comes from elsewhere.
    pub network: Option<NetworkId>,
    /// What becomes of its addresses.
    pub translation: Translation,
}

impl Verdict {
    /// Whether it passes.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.blocked.is_none()
    }

    fn pass(rule: Rule, network: Option<NetworkId>) -> Self {
        Self { blocked: None, rule, network, translation: Translation::default() }
    }

    fn block(how: Blocked, rule: Rule, network: Option<NetworkId>) -> Self {
        Self { blocked: Some(how), ..Self::pass(rule, network) }
    }

    fn when(passes: bool, how: Blocked, rule: Rule, network: Option<NetworkId>) -> Self {
        if passes { Self::pass(rule, network) } else { Self::block(how, rule, network) }
    }
}

/// Who a flow counts as.
#[derive(Debug, Clone, Copy)]
enum Sender<'a> {
    /// In a network: a container, or what is behind a linked interface.
    Inside(&'a NetworkRules),
    Host,
    Outside(&'a LinkName),
}

/// What a flow leads to, as the policy sees it.
enum Target<'a> {
    /// A container's address, or what is behind a linked interface.
    Network {
        network: &'a NetworkRules,
        member: Option<&'a Member>,
    },
    Host,
    Outside,
}

impl Policy {
    /// Whether a new flow passes, by which rule, and with which addresses.
    #[must_use]
    pub fn verdict(&self, flow: &Flow) -> Verdict {
        if let Some(spoofed) = self.spoofed(flow) {
            return spoofed;
        }
        if self.is_of(&flow.from, flow.to) {
            return Verdict::pass(
                Rule::Own,
                self.network_of(flow.source).map(|network| network.id),
            );
        }
        let Some(sender) = self.sender(flow) else {
            return Verdict::pass(Rule::NotOurs, None);
        };
        if let Some((to, port)) = self.redirected(flow, sender) {
            return self.arriving(flow, sender, to, port);
        }
        match self.target(flow.to) {
            Target::Network { network, member } => {
                self.to_network(flow, sender, network, member.is_some())
            }
            Target::Host => match sender {
                Sender::Inside(network) if network.internal => refuse_internal(network),
                Sender::Inside(network) => Verdict::pass(Rule::ToHost, Some(network.id)),
                Sender::Host | Sender::Outside(_) => Verdict::pass(Rule::NotOurs, None),
            },
            Target::Outside => match sender {
                Sender::Inside(network) => self.to_outside(flow, network),
                Sender::Host | Sender::Outside(_) => Verdict::pass(Rule::NotOurs, None),
            },
        }
    }

    /// The block of a flow whose source is not its sender's.
    fn spoofed(&self, flow: &Flow) -> Option<Verdict> {
        let holder = self.members.get(&flow.source);
        let network = holder.map(|member| member.network);
        let block = |rule, network| Some(Verdict::block(Blocked::Dropped, rule, network));
        match &flow.from {
            Origin::Container(id) if holder.is_some_and(|member| member.container == *id) => None,
            Origin::Container(id) => match self.driver(*id) {
                Some(Driver::Ipnet) => block(Rule::SpoofedIpnet, network),
                _ => block(Rule::Spoofed, network),
            },
            Origin::Host if holder.is_some() => block(Rule::HostAsContainer, network),
            Origin::Interface(_) if holder.is_some() => block(Rule::Spoofed, network),
            Origin::Host | Origin::Interface(_) => None,
        }
    }

    fn driver(&self, id: ContainerId) -> Option<Driver> {
        self.members.values().find(|member| member.container == id).map(|member| member.driver)
    }

    /// Whether an address is the sender's own.
    fn is_of(&self, from: &Origin, addr: IpAddr) -> bool {
        match from {
            Origin::Container(id) => {
                self.members.get(&addr).is_some_and(|member| member.container == *id)
            }
            Origin::Host | Origin::Interface(_) => false,
        }
    }

    /// Who the flow counts as; `None` for a sender that has no address here.
    fn sender<'a>(&'a self, flow: &'a Flow) -> Option<Sender<'a>> {
        match &flow.from {
            Origin::Host => Some(Sender::Host),
            Origin::Container(_) => self.network_of(flow.source).map(Sender::Inside),
            Origin::Interface(link) => Some(match self.bridge_on(link) {
                Some(network) => Sender::Inside(network),
                None => Sender::Outside(link),
            }),
        }
    }

    /// The network that an address of an endpoint belongs to.
    #[must_use]
    pub fn network_of(&self, addr: IpAddr) -> Option<&NetworkRules> {
        self.members.get(&addr).and_then(|member| self.networks.get(&member.network))
    }

    fn bridge_on(&self, link: &LinkName) -> Option<&NetworkRules> {
        let on = |network: &&NetworkRules| {
            network.kind == NetworkType::Bridge && network.interface == *link
        };
        self.networks.values().find(on)
    }

    fn target(&self, to: IpAddr) -> Target<'_> {
        if let Some(member) = self.members.get(&to)
            && let Some(network) = self.networks.get(&member.network)
        {
            return Target::Network { network, member: Some(member) };
        }
        if self.host.addresses.contains(&to) || to.is_loopback() {
            return Target::Host;
        }
        // On a bridge nobody is but containers and what is linked.
        let family = Family::of(to);
        let around = |network: &&NetworkRules| {
            network.kind == NetworkType::Bridge
                && network.subnet.get(family).is_some_and(|subnet| subnet.contains(to))
        };
        match self.networks.values().find(around) {
            Some(network) => Target::Network { network, member: None },
            None => Target::Outside,
        }
    }

    /// Where a flow to an own address of the host is led instead.
    fn redirected(&self, flow: &Flow, sender: Sender<'_>) -> Option<(IpAddr, u16)> {
        let Payload::Port(protocol, port) = flow.payload else { return None };
        let family = Family::of(flow.to);
        if !matches!(self.target(flow.to), Target::Host) {
            return None;
        }
        self.publications.iter().find_map(|publication| {
            let target = (*publication.target.get(family))?;
            publication.ports.iter().find_map(|published| {
                let serves = match sender {
                    Sender::Outside(link) => self.is_listed(&published.on, link, family),
                    Sender::Inside(network) => !network.internal,
                    // Linux leads nothing from ::1 to anywhere else.
                    Sender::Host => !(flow.source.is_ipv6() && flow.source.is_loopback()),
                };
                let inner = published.inner(port).filter(|_| published.protocol == protocol)?;
                serves.then_some((target, inner))
            })
        })
    }

    /// A flow that is led to a published port.
    fn arriving(&self, flow: &Flow, sender: Sender<'_>, to: IpAddr, port: u16) -> Verdict {
        let family = Family::of(to);
        let network = self.network_of(to);
        let near = network.and_then(|network| self.near.get(&network.id));
        let near = near.and_then(|near| *near.get(family));
        let source = match sender {
            Sender::Host if flow.source.is_loopback() => near,
            Sender::Inside(from) if network.is_some_and(|network| network.id == from.id) => near,
            // To itself: nobody takes a packet from itself.
            Sender::Inside(_) if self.is_of(&flow.from, to) => near,
            Sender::Host | Sender::Inside(_) | Sender::Outside(_) => None,
        };
        let (rule, of) = match sender {
            Sender::Outside(_) => (Rule::Published, network),
            Sender::Inside(from) => (Rule::Hairpin, Some(from)),
            Sender::Host => (Rule::Hairpin, network),
        };
        let translation = Translation { to: Some((to, port)), source };
        Verdict { translation, ..Verdict::pass(rule, of.map(|network| network.id)) }
    }

    fn to_network(
        &self,
        flow: &Flow,
        sender: Sender<'_>,
        network: &NetworkRules,
        is_member: bool,
    ) -> Verdict {
        use Blocked::{Dropped, Refused};
        let published = || is_member && self.publishes(flow, |_| true);
        match sender {
            Sender::Host => Verdict::pass(Rule::FromHost, Some(network.id)),
            Sender::Inside(from) if from.id == network.id => {
                let passes = network.icc || published();
                Verdict::when(passes, Refused, Rule::SameNetwork, Some(from.id))
            }
            Sender::Inside(from) if from.internal => refuse_internal(from),
            Sender::Inside(from) => {
                Verdict::when(published(), Refused, Rule::OtherNetwork, Some(from.id))
            }
            Sender::Outside(link) => {
                let family = Family::of(flow.to);
                let of = Some(network.id);
                let listed = |port: &PublishedPort| self.is_listed(&port.on, link, family);
                if is_member && self.publishes(flow, listed) {
                    Verdict::pass(Rule::Published, of)
                } else if published() {
                    Verdict::block(Dropped, Rule::Unlisted, of)
                } else {
                    Verdict::block(Dropped, Rule::Unpublished, of)
                }
            }
        }
    }

    /// Whether a flow to a container's address is to one of its published ports.
    fn publishes(&self, flow: &Flow, on: impl Fn(&PublishedPort) -> bool) -> bool {
        let Payload::Port(protocol, port) = flow.payload else { return false };
        self.publications
            .iter()
            .filter(|publication| leads_to(publication, flow.to))
            .flat_map(|publication| &publication.ports)
            .any(|published| is_for(published, protocol, port) && on(published))
    }

    fn to_outside(&self, flow: &Flow, network: &NetworkRules) -> Verdict {
        if network.internal {
            return refuse_internal(network);
        }
        let family = Family::of(flow.to);
        let of = Some(network.id);
        let Some(link) = self.nat_interface(network, family) else {
            return Verdict::pass(Rule::OutsidePlain, of);
        };
        let source = link.as_ref().and_then(|link| self.nat_source(link, family));
        let leaves = link.is_some() && link == flow.out && source.is_some();
        let mut verdict = Verdict::when(leaves, Blocked::Refused, Rule::OutsideNat, of);
        verdict.translation.source = source.filter(|_| leaves);
        verdict
    }
}

fn refuse_internal(network: &NetworkRules) -> Verdict {
    Verdict::block(Blocked::Refused, Rule::Internal, Some(network.id))
}

fn leads_to(publication: &Publication, addr: IpAddr) -> bool {
    *publication.target.get(Family::of(addr)) == Some(addr)
}

fn is_for(published: &PublishedPort, protocol: Protocol, port: u16) -> bool {
    published.protocol == protocol && published.container.contains(port)
}
