//! The way of a flow through the host's netfilter hooks, so that somebody else's
//! chains there can be asked about it.
//!
//! It is told by the same state and the same [`Policy`] that say whether the flow
//! passes. Nothing of it is looked up in the kernel: who reads the rulesets of
//! others takes his time, and does so elsewhere.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use kleene_model::api::Explanation;
use kleene_model::policy::{Flow, Origin, Payload, Policy, Rule, Verdict};
use kleene_model::{ContainerId, Driver, Family, LinkName, NetworkType, Protocol};

use crate::state::State;

/// What was said of a flow, and which way it takes if it passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// What the policy says.
    pub explanation: Explanation,
    /// Its way; `None` for one that is blocked, or meets no hook of the host.
    pub passage: Option<Passage>,
}

/// The ways that containers' traffic takes in one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passing {
    /// The network's name.
    pub network: String,
    /// Flows that its containers have, one of each kind.
    pub passages: Vec<Passage>,
}

/// The way of a flow through the host: its first packet, the answer, and one that
/// follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The hooks that its packets meet.
    pub steps: Vec<Step>,
    /// Whose traffic has to be accepted for that: the subnet of the network, or
    /// the container's address alone where others live in the same subnet.
    pub subject: IpNet,
}

impl Passage {
    /// The way of a web request out of a network, and of its answer, where nobody
    /// can say more of it.
    #[must_use]
    pub fn outwards(by: Side, out: Side, source: IpAddr, subject: IpNet) -> Self {
        let flow = Flow {
            from: Origin::Host,
            source,
            to: Family::of(source).far_away(),
            payload: Payload::Port(Protocol::Tcp, WEB),
            out: None,
        };
        let (to, payload) = (flow.to, flow.payload);
        let way = Way { flow: &flow, to, payload, seen_as: source, led: false, by, out };
        Self { steps: way.routed(), subject }
    }
}

/// The port that is asked most.
pub(crate) const WEB: u16 = 443;

/// Where the kernel calls chains. The numbers are netfilter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Everything that comes in.
    Prerouting = 0,
    /// What is for the host itself.
    Input = 1,
    /// What is passed on.
    Forward = 2,
    /// What the host itself sends.
    Output = 3,
    /// Everything that goes out.
    Postrouting = 4,
}

/// Who carries a packet at a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The host routes it.
    Routed,
    /// A bridge passes it from port to port.
    Bridged,
    /// The same, as the hooks of IP see it where `br_netfilter` sends it there.
    BridgedAsRouted,
}

/// The interface of a packet on one side of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// None: the host itself sends or receives it.
    Host,
    /// This one.
    Link(LinkName),
    /// One whose name is not known yet, as the container does not run.
    Unknown,
}

/// Which packet of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first.
    First,
    /// The first that comes back.
    Answer,
    /// One that follows upon the answer.
    Later,
}

/// A packet at a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The hook.
    pub hook: Hook,
    /// Who carries it.
    pub layer: Layer,
    /// The chains that meet it so; those of other priorities see other addresses.
    pub priorities: RangeInclusive<i32>,
    /// Where it came in.
    pub by: Side,
    /// Where it goes out.
    pub out: Side,
    /// Its source.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// What it is. The port is that of whoever was asked.
    pub payload: Payload,
    /// Which packet it is.
    pub part: Part,
    /// Whether the flow was led elsewhere than it asked for.
    pub led: bool,
}

/// The priority of chains that exchange destinations: `nft` calls it `dstnat`.
pub const LEAD: i32 = -100;
/// That of those that exchange sources: `srcnat`.
pub const LEAVE: i32 = 100;

/// The way of a flow that passes.
pub(crate) fn passage(
    state: &State,
    policy: &Policy,
    flow: &Flow,
    verdict: &Verdict,
) -> Option<Passage> {
    if !verdict.passes() || matches!(verdict.rule, Rule::Own | Rule::NotOurs) {
        return None;
    }
    let way = Way::of(state, policy, flow, verdict);
    let steps = match way.is_bridged(policy, verdict) {
        true => way.bridged(state),
        false => way.routed(),
    };
    Some(Passage { steps, subject: subject(policy, flow.source, way.to) })
}

/// Whose traffic a firewall has to let pass.
fn subject(policy: &Policy, source: IpAddr, to: IpAddr) -> IpNet {
    let family = Family::of(to);
    let of_network = |addr: IpAddr| {
        let subnet = |network: &kleene_model::policy::NetworkRules| {
            network.subnet.get(family).filter(|subnet| subnet.contains(addr)).map(|net| net.net())
        };
        match policy.network_of(addr) {
            // Others live in the subnet of a custom network.
            Some(network) if network.kind == NetworkType::Custom => Some(addr.into()),
            Some(network) => Some(subnet(network).unwrap_or_else(|| addr.into())),
            None => {
                let bridges = policy.networks.values();
                let mut bridges = bridges.filter(|network| network.kind == NetworkType::Bridge);
                bridges.find_map(subnet).filter(|_| !policy.host.addresses.contains(&addr))
            }
        }
    };
    of_network(source).or_else(|| of_network(to)).unwrap_or_else(|| source.into())
}

struct Way<'a> {
    flow: &'a Flow,
    /// Where it ends, and as what.
    to: IpAddr,
    payload: Payload,
    /// The source that it leaves with.
    seen_as: IpAddr,
    led: bool,
    by: Side,
    out: Side,
}

impl<'a> Way<'a> {
    fn of(state: &State, policy: &Policy, flow: &'a Flow, verdict: &Verdict) -> Self {
        let led = verdict.translation.to;
        let to = led.map_or(flow.to, |(addr, _)| addr);
        let payload = match (flow.payload, led) {
            (Payload::Port(protocol, _), Some((_, port))) => Payload::Port(protocol, port),
            (payload, _) => payload,
        };
        let by = match &flow.from {
            Origin::Host => Side::Host,
            Origin::Interface(link) => Side::Link(link.clone()),
            Origin::Container(_) => side(state, policy, flow.source).unwrap_or(Side::Unknown),
        };
        let own = policy.host.addresses.contains(&to) || to.is_loopback();
        let behind = || flow.out.clone().map_or(Side::Unknown, Side::Link);
        let out =
            side(state, policy, to).unwrap_or_else(|| if own { Side::Host } else { behind() });
        let seen_as = verdict.translation.source.unwrap_or(flow.source);
        Self { flow, to, payload, seen_as, led: led.is_some(), by, out }
    }

    /// Whether a bridge carries it, without a word of the host's.
    fn is_bridged(&self, policy: &Policy, verdict: &Verdict) -> bool {
        let network = verdict.network.and_then(|id| policy.networks.get(&id));
        network.is_some_and(|network| {
            let bridge = Side::Link(network.interface.clone());
            verdict.rule == Rule::SameNetwork
                && network.icc
                && !self.led
                && network.kind == NetworkType::Bridge
                && self.by == bridge
                && self.out == bridge
        })
    }

    /// A packet as it is once it is led, and before it leaves with another source.
    fn packet(&self, part: Part, hook: Hook) -> Step {
        let there = Step {
            hook,
            layer: Layer::Routed,
            priorities: i32::MIN..=i32::MAX,
            by: self.by.clone(),
            out: self.out.clone(),
            source: self.flow.source,
            destination: self.to,
            payload: self.payload,
            part,
            led: self.led,
        };
        match part {
            Part::First | Part::Later => there,
            Part::Answer => Step {
                by: there.out,
                out: there.by,
                source: there.destination,
                destination: there.source,
                ..there
            },
        }
    }

    /// Where destinations are exchanged: what a packet asks for, then what it gets.
    fn entering(&self, part: Part, hook: Hook, gets: Step) -> [Option<Step>; 2] {
        let asks = match part {
            Part::Answer if self.seen_as == self.flow.source => return [None, Some(gets)],
            Part::Answer => Step { destination: self.seen_as, ..gets.clone() },
            Part::First | Part::Later if !self.led => return [None, Some(gets)],
            Part::First | Part::Later => Step {
                destination: self.flow.to,
                payload: self.flow.payload,
                // The first is led only then.
                led: part == Part::Later,
                ..gets.clone()
            },
        };
        debug_assert!(matches!(hook, Hook::Prerouting | Hook::Output), "not at {hook:?}");
        let asks = Step { priorities: i32::MIN..=LEAD - 1, ..asks };
        [Some(asks), Some(Step { priorities: LEAD..=i32::MAX, ..gets })]
    }

    /// Where sources are exchanged.
    fn leaving(&self, part: Part) -> [Option<Step>; 2] {
        // Only newer kernels know there where it came from.
        let before = Step { by: Side::Unknown, ..self.packet(part, Hook::Postrouting) };
        let after = match part {
            Part::Answer if self.led => {
                Step { source: self.flow.to, payload: self.flow.payload, ..before.clone() }
            }
            Part::First | Part::Later if self.seen_as != self.flow.source => {
                Step { source: self.seen_as, ..before.clone() }
            }
            _ => return [Some(before), None],
        };
        let before = Step { priorities: i32::MIN..=LEAVE, ..before };
        [Some(before), Some(Step { priorities: LEAVE + 1..=i32::MAX, ..after })]
    }

    fn routed(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for part in [Part::First, Part::Answer, Part::Later] {
            let packet = self.packet(part, Hook::Forward);
            let hook = match (&packet.by, &packet.out) {
                (Side::Host, _) => Hook::Output,
                (_, Side::Host) => Hook::Input,
                _ => Hook::Forward,
            };
            if hook != Hook::Output {
                let come = Step { hook: Hook::Prerouting, out: Side::Host, ..packet.clone() };
                steps.extend(self.entering(part, Hook::Prerouting, come).into_iter().flatten());
            }
            let packet = Step { hook, ..packet };
            if hook == Hook::Output && part != Part::Answer {
                // What is led stays, for this hook, on its way to the host itself.
                let out = if self.led { loopback() } else { packet.out.clone() };
                let sent = Step { out, ..packet };
                steps.extend(self.entering(part, hook, sent).into_iter().flatten());
            } else {
                steps.push(packet);
            }
            if hook != Hook::Input {
                steps.extend(self.leaving(part).into_iter().flatten());
            }
        }
        steps
    }

    fn bridged(&self, state: &State) -> Vec<Step> {
        let port = |addr: IpAddr| {
            let cable = state.holder_of(addr).and_then(|endpoint| endpoint.cable);
            cable.map_or(Side::Unknown, |cable| Side::Link(LinkName::cable_host(cable)))
        };
        let (by, out) = (port(self.flow.source), port(self.to));
        let mut steps = Vec::new();
        for part in [Part::First, Part::Answer, Part::Later] {
            let step = self.packet(part, Hook::Forward);
            let (by, out) = match step.part {
                Part::Answer => (out.clone(), by.clone()),
                Part::First | Part::Later => (by.clone(), out.clone()),
            };
            steps.push(Step { layer: Layer::Bridged, by, out, ..step.clone() });
            steps.push(Step { layer: Layer::BridgedAsRouted, ..step });
        }
        steps
    }
}

/// The interface on which the host has an address of a container, or of somebody
/// on a bridge of ours; `None` for all else.
fn side(state: &State, policy: &Policy, addr: IpAddr) -> Option<Side> {
    let Some(member) = policy.members.get(&addr) else {
        let family = Family::of(addr);
        let around = policy.networks.values().find(|network| {
            network.kind == NetworkType::Bridge
                && network.subnet.get(family).is_some_and(|subnet| subnet.contains(addr))
        });
        let around = around.filter(|_| !policy.host.addresses.contains(&addr))?;
        return Some(Side::Link(around.interface.clone()));
    };
    Some(match member.driver {
        Driver::Vnet => {
            let network = policy.networks.get(&member.network);
            network.map_or(Side::Unknown, |network| Side::Link(network.interface.clone()))
        }
        Driver::Ipnet => cable(state, member.container),
        Driver::Host | Driver::Disabled => Side::Host,
    })
}

fn loopback() -> Side {
    LinkName::parse("lo").map_or(Side::Unknown, Side::Link)
}

fn cable(state: &State, container: ContainerId) -> Side {
    let container = state.container(container);
    let cable = container.and_then(|container| container.cable.as_ref());
    cable.map_or(Side::Unknown, |cable| Side::Link(cable.host()))
}
