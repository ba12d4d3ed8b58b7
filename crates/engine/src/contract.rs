//! What every [`Host`] must do, the fake one and the kernel's alike: random
//! sequences of valid changes, after each of which `observe` must show exactly
//! what [`Actual::absorb`] says, and a few refusals.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::{
    ContainerId, EndpointId, Family, InstanceName, LinkName, MacAddress, NetworkId,
};

use crate::actual::{Actual, Addressing, Link, LinkKind};
use crate::change::{Cable, CableUse, Change, Mark, Owned, Owner};
use crate::fake::Prng;
use crate::host::{Host, chain};

/// Containers whose namespaces a run uses.
const CONTAINERS: u64 = 3;

/// Runs the contract: `steps` batches of random changes that depend on `seed`
/// alone. `prepare_namespace` is called once for each container before its
/// namespace is used, and must make it reachable for `host`.
///
/// All names are free ones of the host; what the run makes it removes again,
/// but for cables out of use, which go with their namespaces.
///
/// # Errors
/// The first disagreement, with the changes that led to it.
pub fn run(
    host: &mut dyn Host,
    prepare_namespace: &mut dyn FnMut(ContainerId),
    seed: u64,
    steps: usize,
) -> Result<(), String> {
    let before = observe(host)?;
    let containers: Vec<ContainerId> = (1..=CONTAINERS)
        .map(|n| ContainerId::from_bytes(id(0xc0, n)).ok_or("no id"))
        .collect::<Result<_, _>>()?;
    containers.iter().for_each(|container| prepare_namespace(*container));
    let mut run = Run {
        host,
        model: Model::new(before.clone(), containers)?,
        random: Prng(seed),
        log: Vec::new(),
    };
    for step in 0..steps {
        run.step().map_err(|why| format!("seed {seed}, step {step}: {why}\n{}", run.history()))?;
    }
    run.refusals().map_err(|why| format!("seed {seed}: {why}\n{}", run.history()))?;
    run.clear().map_err(|why| format!("seed {seed}, clearing up: {why}\n{}", run.history()))?;
    let after = observe(run.host)?;
    let after = visible(&after, &run.model.retired);
    let before = visible(&before, &BTreeSet::new());
    if after == before { Ok(()) } else { Err(format!("{before:#?} became {after:#?}")) }
}

fn observe(host: &mut dyn Host) -> Result<Actual, String> {
    host.observe().map_err(|err| chain(&err))
}

/// All that must agree: the links, but for cables that are out of use, which
/// the kernel may or may not have forgotten.
fn visible<'a>(actual: &'a Actual, retired: &BTreeSet<LinkName>) -> BTreeMap<LinkName, &'a Link> {
    let links = actual.links().filter(|link| !retired.contains(link.name()));
    links.map(|link| (link.name().clone(), link)).collect()
}

fn id(kind: u8, number: u64) -> [u8; 6] {
    let [.., a, b, c, d] = number.to_be_bytes();
    [kind, 0xaa, a, b, c, d]
}

/// A cable in use, and how far its inside is set up.
#[derive(Debug, Clone)]
struct Plugged {
    container: ContainerId,
    inner: LinkName,
    up: bool,
    addresses: BTreeMap<Family, u8>,
}

/// What a run knows of what it did.
struct Model {
    instance: InstanceName,
    actual: Actual,
    containers: Vec<ContainerId>,
    bridges: BTreeSet<LinkName>,
    cables: BTreeMap<LinkName, Plugged>,
    retired: BTreeSet<LinkName>,
    /// Which containers have a default route already.
    routed: BTreeSet<(ContainerId, Family)>,
    made: u64,
}

impl Model {
    fn new(actual: Actual, containers: Vec<ContainerId>) -> Result<Self, String> {
        Ok(Self {
            instance: InstanceName::parse("contract").map_err(|err| err.to_string())?,
            actual,
            containers,
            bridges: BTreeSet::new(),
            cables: BTreeMap::new(),
            retired: BTreeSet::new(),
            routed: BTreeSet::new(),
            made: 0,
        })
    }

    /// A number that no object of this run has had.
    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    fn mark(&self, owner: Owner) -> Mark {
        Mark { instance: self.instance.clone(), owner }
    }

    fn owned(&self, name: &LinkName) -> Option<Owned> {
        self.actual.link(name)?.owned(&self.instance)
    }

    fn pick<'a, T>(random: &mut Prng, from: impl ExactSizeIterator<Item = &'a T>) -> Option<&'a T> {
        let mut from = from;
        let at = random.below(from.len());
        from.nth(at)
    }

    fn make_bridge(&mut self) -> Option<Change> {
        let link = (0..).map(LinkName::kleene).find(|name| !self.actual.knows(name))?;
        let network = NetworkId::from_bytes(id(0xb0, self.number()))?;
        let mac = MacAddress::from_id(network.bytes(), 0);
        Some(Change::MakeBridge { link, mac, mark: self.mark(Owner::Network(network)) })
    }

    fn add_address(&mut self, random: &mut Prng) -> Option<Change> {
        let link = Self::pick(random, self.bridges.iter())?.clone();
        let number = self.number();
        // A subnet each, so that none is the secondary of another.
        let addr = format!("10.{}.{}.1/24", 100 + number / 250 % 100, number % 250);
        let addr6 = format!("fd00:aa:{number:x}::1/64");
        let addr = if random.below(2) == 0 { addr } else { addr6 };
        Some(Change::AddAddress { link, addr: addr.parse().ok()? })
    }

    fn remove_address(&mut self, random: &mut Prng) -> Option<Change> {
        let link = Self::pick(random, self.bridges.iter())?.clone();
        let addresses = self.actual.link(&link)?.addresses();
        let addr = *Self::pick(random, addresses.iter())?;
        Some(Change::RemoveAddress { link: self.owned(&link)?, addr })
    }

    fn make_cable(&mut self, random: &mut Prng) -> Option<Change> {
        let number = (0..).find(|n| !self.actual.knows(&LinkName::cable_host(*n)))?;
        let container = *Self::pick(random, self.containers.iter())?;
        let endpoint = EndpointId::from_bytes(id(0xe0, self.number()))?;
        let cable = Cable {
            purpose: CableUse::Port,
            host: LinkName::cable_host(number),
            inner: LinkName::cable_container(number),
            host_mac: MacAddress::from_id(endpoint.bytes(), 2),
            inner_mac: MacAddress::from_id(endpoint.bytes(), 1),
            mtu: None,
            container,
        };
        Some(Change::MakeCable { cable, mark: self.mark(Owner::Endpoint(endpoint)) })
    }

    fn plug(&mut self, random: &mut Prng) -> Option<Change> {
        let link = Self::pick(random, self.cables.keys())?.clone();
        let bridge = Self::pick(random, self.bridges.iter())?.clone();
        Some(Change::Plug { link, bridge })
    }

    fn isolate(&mut self, random: &mut Prng) -> Option<Change> {
        let port =
            |link: &&LinkName| self.actual.link(link).is_some_and(|link| link.master().is_some());
        let ports: Vec<&LinkName> = self.cables.keys().filter(port).collect();
        Some(Change::Isolate { link: (*Self::pick(random, ports.iter())?).clone() })
    }

    fn raise(&mut self, random: &mut Prng) -> Option<Change> {
        let links: Vec<&LinkName> = self.cables.keys().chain(&self.bridges).collect();
        Some(Change::RaiseLink { link: (*Self::pick(random, links.iter())?).clone() })
    }

    fn retire(&mut self, random: &mut Prng) -> Option<Change> {
        let link = Self::pick(random, self.cables.keys())?;
        Some(Change::RetireCable { link: self.owned(link)? })
    }

    fn remove_bridge(&mut self, random: &mut Prng) -> Option<Change> {
        let link = Self::pick(random, self.bridges.iter())?;
        Some(Change::RemoveLink { link: self.owned(link)? })
    }

    fn inside(&mut self, random: &mut Prng) -> Option<Change> {
        let cable = Self::pick(random, self.cables.values())?.clone();
        let Plugged { container, inner: link, up, addresses } = cable;
        let family = Family::BOTH[random.below(2)];
        match addresses.get(&family) {
            None => {
                let addr = inner_addr(family, u8::try_from(random.below(200)).ok()?, 2)?;
                let alone = random.below(2) == 0;
                Some(Change::AddInnerAddress { container, link, addr, alone })
            }
            Some(_) if !up => Some(Change::RaiseInnerLink { container, link }),
            Some(_) if self.routed.contains(&(container, family)) => {
                Some(Change::RaiseLoopback { container })
            }
            Some(third) => {
                let via: IpAddr = inner_addr(family, *third, 1)?.addr();
                Some(Change::AddDefaultRoute { container, link, via })
            }
        }
    }

    /// A change that must succeed, if the draw has one.
    fn draw(&mut self, random: &mut Prng) -> Option<Change> {
        match random.below(16) {
            0 => self.make_bridge(),
            1 | 2 => self.add_address(random),
            3 => self.remove_address(random),
            4 | 5 => self.make_cable(random),
            6 | 7 => self.plug(random),
            8 if self.actual.addressing() == Addressing::Routed => self.isolate(random),
            9 | 10 => self.raise(random),
            11 => self.retire(random),
            12 if self.bridges.len() > 1 => self.remove_bridge(random),
            _ => self.inside(random),
        }
    }

    /// Draws a change that was applied into all that is known.
    fn absorb(&mut self, change: &Change) {
        self.actual.absorb(change);
        match change {
            Change::MakeBridge { link, .. } => drop(self.bridges.insert(link.clone())),
            Change::RemoveLink { link } => drop(self.bridges.remove(link.link())),
            Change::MakeCable { cable, .. } => {
                let Cable { host, inner, container, .. } = cable.clone();
                let addresses = BTreeMap::new();
                self.cables.insert(host, Plugged { container, inner, up: false, addresses });
            }
            Change::RetireCable { link } => {
                self.cables.remove(link.link());
                self.retired.insert(link.link().clone());
            }
            Change::AddInnerAddress { link, addr, .. } => {
                let third = match addr.addr() {
                    IpAddr::V4(addr) => addr.octets()[2],
                    IpAddr::V6(addr) => addr.octets()[5],
                };
                for cable in self.cables.values_mut().filter(|cable| cable.inner == *link) {
                    cable.addresses.insert(Family::of(addr.addr()), third);
                }
            }
            Change::RaiseInnerLink { link, .. } => {
                for cable in self.cables.values_mut().filter(|cable| cable.inner == *link) {
                    cable.up = true;
                }
            }
            Change::AddDefaultRoute { container, via, .. } => {
                self.routed.insert((*container, Family::of(*via)));
            }
            Change::AddAddress { .. }
            | Change::RemoveAddress { .. }
            | Change::RaiseLink { .. }
            | Change::RaiseLoopback { .. }
            | Change::Plug { .. }
            | Change::Unplug { .. }
            | Change::Isolate { .. }
            | Change::AddInnerRoute { .. }
            | Change::AnswerAs { .. }
            | Change::Forget { .. }
            | Change::MakeLoopback { .. }
            | Change::Put { .. }
            | Change::Take { .. }
            | Change::PutInside { .. }
            | Change::TakeInside { .. }
            | Change::RenameInner { .. }
            | Change::Set { .. } => {}
        }
    }
}

fn inner_addr(family: Family, third: u8, host: u8) -> Option<IpNet> {
    let text = match family {
        Family::V4 => format!("10.250.{third}.{host}/24"),
        Family::V6 => format!("fd00:bb:{third:x}::{host:x}/64"),
    };
    text.parse().ok()
}

struct Run<'a> {
    host: &'a mut dyn Host,
    model: Model,
    random: Prng,
    log: Vec<String>,
}

impl Run<'_> {
    fn history(&self) -> String {
        self.log.join("\n")
    }

    /// One batch of one to five changes, which must all succeed.
    fn step(&mut self) -> Result<(), String> {
        let mut batch = Vec::new();
        for _ in 0..=self.random.below(5) {
            if let Some(change) = self.model.draw(&mut self.random) {
                self.model.absorb(&change);
                self.log.push(change.to_string());
                batch.push(change);
            }
        }
        self.host.apply(&batch).map_err(|err| format!("refused: {}", chain(&err)))?;
        self.agree()
    }

    fn agree(&mut self) -> Result<(), String> {
        let seen = observe(self.host)?;
        let is = visible(&seen, &self.model.retired);
        let said = visible(&self.model.actual, &self.model.retired);
        if is != said {
            return Err(format!("the kernel shows {is:#?}, the changes said {said:#?}"));
        }
        let out_of_use = seen.links().filter(|link| self.model.retired.contains(link.name()));
        for link in out_of_use {
            if link.is_up() || link.master().is_some() || link.kind() != LinkKind::Cable {
                return Err(format!("a retired cable is still in use: {link:?}"));
            }
        }
        Ok(())
    }

    fn done(&mut self, change: Change) -> Result<(), String> {
        self.log.push(change.to_string());
        self.host.apply(std::slice::from_ref(&change)).map_err(|err| chain(&err))?;
        self.model.absorb(&change);
        self.agree()
    }

    /// `good`, then `bad`, then `never`: the second is named, the third is not
    /// done, and `done` does not claim more than was.
    fn refuses(&mut self, good: Change, bad: Change, never: Change) -> Result<(), String> {
        self.log.push(format!("{good}; then, to be refused: {bad}"));
        let batch = [good.clone(), bad.clone(), never];
        let Err(err) = self.host.apply(&batch) else { return Err(format!("not refused: {bad}")) };
        if *err.change != bad {
            return Err(format!("'{}' is named in place of '{bad}'", err.change));
        }
        if err.done > 1 {
            return Err(format!("{} changes are said to be done before the second", err.done));
        }
        let seen = observe(self.host)?;
        let without =
            visible(&self.model.actual, &self.model.retired) == visible(&seen, &self.model.retired);
        let mut with = self.model.actual.clone();
        with.absorb(&good);
        let with = visible(&with, &self.model.retired) == visible(&seen, &self.model.retired);
        if !with && (err.done == 1 || !without) {
            return Err(format!("after {} done changes the kernel shows {seen:#?}", err.done));
        }
        if with {
            self.model.absorb(&good);
        }
        Ok(())
    }

    fn refusals(&mut self) -> Result<(), String> {
        let none = "no change left to draw";
        let first = self.model.make_bridge().ok_or(none)?;
        self.done(first.clone())?;
        let Change::MakeBridge { link: name, mac, .. } = first.clone() else { return Ok(()) };
        // A name that exists is refused, whoever has it, for bridges...
        let good = self.model.make_bridge().ok_or(none)?;
        let never = Change::RaiseLink { link: name.clone() };
        self.refuses(good, first, never.clone())?;
        // ...and for cables.
        let good = self.model.make_bridge().ok_or(none)?;
        let bad = self.model.make_cable(&mut self.random).ok_or(none)?;
        let Change::MakeCable { mut cable, mark } = bad else { return Ok(()) };
        cable.host = name.clone();
        self.refuses(good, Change::MakeCable { cable, mark }, never)?;
        // Gone already counts as done.
        let stale = self.model.owned(&name).ok_or("a bridge of ours is not owned")?;
        self.done(Change::RemoveLink { link: stale.clone() })?;
        self.done(Change::RemoveLink { link: stale.clone() })?;
        // Another object under the same name is left alone.
        let network = NetworkId::from_bytes(id(0xb0, self.model.number())).ok_or(none)?;
        let mark = self.model.mark(Owner::Network(network));
        self.done(Change::MakeBridge { link: name.clone(), mac, mark })?;
        let log = format!("stale: remove bridge {name}");
        self.log.push(log);
        // Refused or done: both are fine, as long as nothing happens.
        drop(self.host.apply(&[Change::RemoveLink { link: stale }]));
        self.agree()
    }

    /// Removes all that was made, as a daemon would.
    fn clear(&mut self) -> Result<(), String> {
        for name in self.model.cables.keys().cloned().collect::<Vec<_>>() {
            let link = self.model.owned(&name).ok_or("a cable of ours is not owned")?;
            self.done(Change::RetireCable { link })?;
        }
        for name in self.model.bridges.clone() {
            let link = self.model.owned(&name).ok_or("a bridge of ours is not owned")?;
            self.done(Change::RemoveLink { link })?;
        }
        Ok(())
    }
}
