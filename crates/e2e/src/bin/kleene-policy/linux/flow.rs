//! Which flows are tried, and how they read to the oracle.

use crate::linux::facts::Facts;
use crate::linux::place::{Place, Site};
use crate::linux::ports::{HOST_ONLY, NATIVE_ONLY, NOBODY, SERVICES};
use crate::linux::probe::{Kind, Order};
use crate::linux::rng::Rng;
use crate::linux::stage::Stage;
use crate::linux::topology::{SECOND, UPLINK};
use kleene_model::policy::{Flow, Origin, Payload};
use kleene_model::{Driver, Family, LinkName, Protocol, PublishedPort, Subnet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// A flow by names: it means the same in every world that has them.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) from: Place,
    pub(crate) source: Site,
    pub(crate) to: Site,
    pub(crate) family: Family,
    pub(crate) kind: Kind,
    pub(crate) port: u16,
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, source, to, family, kind, port } = self;
        write!(f, "{} {} from {from}", family.protocol(), kind.word())?;
        write!(f, " as [{source}] to [{to}]")?;
        if matches!(kind, Kind::Echo | Kind::CraftedEcho) { Ok(()) } else { write!(f, ":{port}") }
    }
}

impl Spec {
    /// What the probe is told; `None` where this stage has no such flow.
    pub(crate) fn order(&self, stage: &Stage<'_>, id: u64, patience: Duration) -> Option<Order> {
        if !Place::all(&stage.topology).contains(&self.from) {
            return None;
        }
        Some(Order {
            id,
            kind: self.kind,
            source: stage.address(&self.source, self.family)?,
            to: stage.address(&self.to, self.family)?,
            port: self.port,
            patience,
        })
    }

    /// The flow as the oracle takes it.
    pub(crate) fn flow(&self, stage: &Stage<'_>, facts: &Facts) -> Result<Flow, String> {
        let address = |site: &Site| {
            let found = stage.address(site, self.family);
            found.ok_or_else(|| format!("{site} has no {} address", self.family.protocol()))
        };
        let (source, to) = (address(&self.source)?, address(&self.to)?);
        let link = |name: &str| LinkName::parse(name).map_err(|error| error.to_string());
        let from = match &self.from {
            place if place.is_host(&stage.topology) => Origin::Host,
            Place::Outside => Origin::Interface(link(UPLINK)?),
            Place::Side => Origin::Interface(link(SECOND)?),
            Place::Behind(net) => {
                let interface = stage.nets.get(net).and_then(|seen| seen["interface"].as_str());
                Origin::Interface(link(interface.unwrap_or_default())?)
            }
            Place::In(name) => Origin::Container(Facts::container(stage, name)?),
            Place::Host => Origin::Host,
        };
        let payload = match self.kind {
            Kind::Tcp | Kind::CraftedTcp => Payload::Port(Protocol::Tcp, self.port),
            Kind::Udp | Kind::FreeUdp | Kind::CraftedUdp => Payload::Port(Protocol::Udp, self.port),
            Kind::Echo | Kind::CraftedEcho => Payload::Echo,
        };
        Ok(Flow { from, source, to, payload, out: facts.out.get(&to).cloned() })
    }
}

/// Draws flows for a stage.
pub(crate) struct Draw<'a, 'w> {
    stage: &'a Stage<'w>,
    facts: &'a Facts,
    places: Vec<Place>,
    sites: Vec<(Site, Family)>,
}

impl<'a, 'w> Draw<'a, 'w> {
    pub(crate) fn new(stage: &'a Stage<'w>, facts: &'a Facts) -> Self {
        let places = Place::all(&stage.topology);
        Self { stage, facts, places, sites: stage.sites.keys().cloned().collect() }
    }

    /// This many flows.
    pub(crate) fn flows(&self, rng: &mut Rng, count: usize) -> Vec<Spec> {
        let mut specs = Vec::new();
        // Most tries give one; a stage with next to nothing in it has fewer.
        for _ in 0..count * 40 {
            if specs.len() == count {
                break;
            }
            let spec = match rng.below(100) {
                0..=44 => self.any(rng),
                45..=79 => self.published(rng),
                80..=87 => self.spoofed(rng),
                88..=92 => self.as_container(rng),
                _ => self.wildcard(rng),
            };
            specs.extend(spec.filter(|spec| self.is_sensible(spec)));
        }
        specs
    }

    fn site(&self, rng: &mut Rng, family: Family, wanted: impl Fn(&Site) -> bool) -> Option<Site> {
        let all = self.sites.iter().filter(|(site, of)| *of == family && wanted(site));
        let all: Vec<&Site> = all.map(|(site, _)| site).collect();
        rng.pick(&all).map(|site| (*site).clone())
    }

    fn address(&self, site: &Site, family: Family) -> Option<IpAddr> {
        self.stage.address(site, family)
    }

    /// Any flow by an ordinary socket.
    fn any(&self, rng: &mut Rng) -> Option<Spec> {
        let family = rng.one(Family::BOTH);
        let from = rng.pick(&self.places)?.clone();
        let to = self.site(rng, family, |_| true)?;
        let kind = match rng.below(100) {
            0..=37 => Kind::Tcp,
            38..=71 => Kind::Udp,
            _ if self.stage.hub.is_raw(&from) => Kind::Echo,
            _ => return None,
        };
        let source = self.source(rng, &from, &to, family)?;
        let port = if rng.chance(8) { NOBODY } else { rng.one(SERVICES) };
        Some(Spec { from, source, to, family, kind, port })
    }

    /// One to a published port, by the host's or by the container's own.
    fn published(&self, rng: &mut Rng) -> Option<Spec> {
        let family = rng.one(Family::BOTH);
        let publication = rng.pick(&self.facts.policy.publications)?;
        let port: &PublishedPort = rng.pick(&publication.ports)?;
        let target = (*publication.target.get(family))?;
        let from = rng.pick(&self.places)?.clone();
        let (to, ports) = if rng.chance(60) {
            let own = |site: &Site| site.place() == Place::Host;
            (self.site(rng, family, own)?, port.host)
        } else {
            let is = |site: &Site| self.address(site, family) == Some(target);
            (self.site(rng, family, is)?, port.container)
        };
        let width = usize::try_from(ports.count()).ok()?;
        let number = ports.first + u16::try_from(rng.below(width)).ok()?;
        // Now and then the other protocol, which is another port.
        let tcp = (port.protocol == Protocol::Tcp) != rng.chance(15);
        let kind = if tcp { Kind::Tcp } else { Kind::Udp };
        let source = self.source(rng, &from, &to, family)?;
        Some(Spec { from, source, to, family, kind, port: number })
    }

    /// One whose source is not the sender's, or is, as a control.
    fn spoofed(&self, rng: &mut Rng) -> Option<Spec> {
        let family = rng.one(Family::BOTH);
        let senders = self
            .places
            .iter()
            .filter(|place| !place.is_host(&self.stage.topology) && !matches!(place, Place::Side));
        let from = rng.pick(&senders.collect::<Vec<_>>())?.to_owned().clone();
        let to = self.site(rng, family, |site| !matches!(site, Site::Own("lo")))?;
        let mut source = self.site(rng, family, |site| !matches!(site, Site::Own("lo")))?;
        if rng.chance(25) || source.place() == from {
            source = self.source(rng, &from, &to, family)?;
        }
        let kind = self.forging(rng, &from);
        Some(Spec { from, source, to, family, kind, port: rng.one(SERVICES) })
    }

    /// A way to send with any source. Where whole packets can be made, an option
    /// of a socket proves nothing more, except where the kernel has it for all.
    fn forging(&self, rng: &mut Rng, from: &Place) -> Kind {
        let raw = self.stage.hub.is_raw(from);
        let ipnet = from.driver(&self.stage.topology) == Some(Driver::Ipnet);
        match rng.below(4) {
            0 if raw => Kind::CraftedEcho,
            1 if raw => Kind::CraftedUdp,
            2 if raw => Kind::CraftedTcp,
            _ if raw && !ipnet => Kind::CraftedUdp,
            _ => Kind::FreeUdp,
        }
    }

    /// The host in the place of a container.
    fn as_container(&self, rng: &mut Rng) -> Option<Spec> {
        let family = rng.one(Family::BOTH);
        let hosts: Vec<&Place> =
            self.places.iter().filter(|place| place.is_host(&self.stage.topology)).collect();
        let from = (*rng.pick(&hosts)?).clone();
        let source = self.site(rng, family, |site| matches!(site, Site::Endpoint(..)))?;
        let to = self.site(rng, family, |site| site.place() != Place::Host)?;
        let kind = self.forging(rng, &from);
        Some(Spec { from, source, to, family, kind, port: rng.one(SERVICES) })
    }

    /// A service of the host on the wildcard, through a container's address.
    fn wildcard(&self, rng: &mut Rng) -> Option<Spec> {
        let family = rng.one(Family::BOTH);
        let from = rng.pick(&self.places)?.clone();
        let to = self.site(rng, family, |site| matches!(site, Site::Endpoint(..)))?;
        let source = self.source(rng, &from, &to, family)?;
        let kind = rng.one([Kind::Tcp, Kind::Udp]);
        Some(Spec { from, source, to, family, kind, port: rng.one([HOST_ONLY, NATIVE_ONLY]) })
    }

    /// A source that the sender has, and that its routes would use.
    fn source(&self, rng: &mut Rng, from: &Place, to: &Site, family: Family) -> Option<Site> {
        let topology = &self.stage.topology;
        match from {
            place if place.is_host(topology) => {
                let lo = matches!(to, Site::Own("lo"));
                let is_own = to.place() == Place::Host;
                self.site(rng, family, |site| match site {
                    // IPv4 takes it for all that is the host's; IPv6 for itself only.
                    Site::Own("lo") => lo || is_own && family == Family::V4,
                    Site::Own(_) | Site::Gateway(_) => !lo,
                    _ => false,
                })
            }
            Place::In(name) => {
                let jar = topology.jar(name)?;
                let nets = topology.nets_of(jar, family);
                let own = |net: &str| Site::Endpoint(name.clone(), net.to_owned());
                if jar.driver == Driver::Ipnet && rng.chance(25) {
                    return rng.pick(&nets).map(|net| own(&net.name));
                }
                let address = self.address(to, family)?;
                let contains = |text: &Option<String>| {
                    let subnet = text.as_deref().map(|text| Subnet::parse(family, text));
                    matches!(subnet, Some(Ok(subnet)) if subnet.contains(address))
                };
                // The model: that of the network that contains the destination,
                // else that of the default route.
                let around = nets.iter().find(|net| contains(net.subnet.get(family)));
                let open = || nets.iter().find(|net| !net.internal);
                let net = around.or_else(open).or(nets.first())?;
                Some(own(&net.name))
            }
            Place::Outside => Some(rng.one([Site::Outside, Site::OutsideFar].each_ref()).clone()),
            Place::Side => Some(rng.one([Site::Side, Site::SideFar].each_ref()).clone()),
            Place::Behind(net) => Some(Site::Behind(net.clone())),
            Place::Host => None,
        }
    }

    /// Whether the policy, and nothing else, decides about a flow.
    fn is_sensible(&self, spec: &Spec) -> bool {
        let topology = &self.stage.topology;
        let (Some(source), Some(to)) =
            (self.address(&spec.source, spec.family), self.address(&spec.to, spec.family))
        else {
            return false;
        };
        let target = spec.to.place();
        let spoofs = spec.source.place() != spec.from
            && !(spec.from.is_host(topology) && spec.source.place() == Place::Host);
        // From place to place outside, the host is a mere router. What stays in
        // one place never leaves it, but for the host and for containers.
        if spec.from.is_outside() && target.is_outside() {
            return false;
        }
        if spec.from == target && matches!(spec.from, Place::Behind(_)) {
            return false;
        }
        // Loopback addresses are everybody's own.
        if matches!(spec.to, Site::Own("lo")) && !spec.from.is_host(topology) {
            return false;
        }
        if !spoofs {
            return true;
        }
        // A packet that says to come from where it goes to is nobody's flow, and
        // nothing of a container's own ever leaves it.
        if source == to || spec.from == target {
            return false;
        }
        // Without an address of the family there is no route to send by.
        let own = |(site, of): &&(Site, Family)| *of == spec.family && site.place() == spec.from;
        if !spec.from.is_host(topology) && !self.sites.iter().any(|site| own(&site)) {
            return false;
        }
        match &spec.from {
            // What only claims to come from elsewhere outside is no business of
            // the policy.
            Place::Outside | Place::Side | Place::Behind(_) => {
                matches!(spec.source, Site::Endpoint(..))
            }
            Place::Host | Place::In(_) => true,
        }
    }
}
