//! The part of the host contract that is about addresses of `ipnet` containers:
//! random sequences of pieces put and taken, on the host and in views, after
//! each of which a look must show exactly what [`Actual::absorb`] says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use kleene_model::policy::NetworkRules;
use kleene_model::{
    ContainerId, Dual, Family, InstanceName, LinkName, MacAddress, Nat, NetworkId, NetworkType,
    Ports, Protocol, RoutedCable, Subnet,
};

use crate::actual::Actual;
use crate::change::{Cable, CableUse, Change, Mark, Owner};
use crate::fake::Prng;
use crate::host::{Host, chain};
use crate::inside::Inside;
use crate::piece::{Gate, Piece};
use crate::reconcile::Disturbance;

/// Containers, and addresses in each family.
const CONTAINERS: u8 = 3;
const ADDRESSES: u8 = 6;

/// Runs this part of the contract. See [`crate::contract::run`].
///
/// # Errors
/// The first disagreement, with the changes that led to it.
pub fn run(
    host: &mut dyn Host,
    prepare_namespace: &mut dyn FnMut(ContainerId),
    seed: u64,
    steps: usize,
) -> Result<(), String> {
    let mut run = Run::new(host, seed)?;
    run.build(prepare_namespace)
        .and_then(|()| (0..steps).try_for_each(|_| run.step()))
        .and_then(|()| run.clear())
        .map_err(|why| format!("seed {seed}: {why}\n{}", run.log.join("\n")))
}

struct Run<'a> {
    host: &'a mut dyn Host,
    instance: InstanceName,
    actual: Actual,
    random: Prng,
    log: Vec<String>,
    links: Vec<LinkName>,
    gateway: [IpAddr; 2],
    cables: Vec<(ContainerId, RoutedCable)>,
    /// What can be looked at alone, and the report that it is gone.
    reported: BTreeMap<Piece, Disturbance>,
}

impl<'a> Run<'a> {
    fn new(host: &'a mut dyn Host, seed: u64) -> Result<Self, String> {
        let actual = host.observe().map_err(|err| chain(&err))?;
        let instance = InstanceName::parse("contract").map_err(|err| err.to_string())?;
        let address = |text: &str| text.parse::<IpAddr>().map_err(|err| err.to_string());
        let gateway = [address("10.102.0.1")?, address("fd66::1")?];
        let (random, log) = (Prng(seed), Vec::new());
        let (links, cables) = (Vec::new(), Vec::new());
        let reported = BTreeMap::new();
        Ok(Self { host, instance, actual, random, log, links, gateway, cables, reported })
    }

    fn mark(&self, owner: Owner) -> Mark {
        Mark { instance: self.instance.clone(), owner }
    }

    /// Applies a batch, draws it into the picture, and compares.
    fn apply(&mut self, batch: &[Change]) -> Result<(), String> {
        self.log.extend(batch.iter().map(ToString::to_string));
        self.host.apply(batch).map_err(|err| format!("refused: {}", chain(&err)))?;
        batch.iter().for_each(|change| self.actual.absorb(change));
        self.agree()
    }

    fn agree(&mut self) -> Result<(), String> {
        let seen = self.host.observe().map_err(|err| chain(&err))?;
        let (is, said) = (standing(&seen), standing(&self.actual));
        if is != said {
            let missing: Vec<_> = said.difference(&is).collect();
            let surplus: Vec<_> = is.difference(&said).collect();
            return Err(format!("the kernel lacks {missing:?} and has {surplus:?}"));
        }
        self.look_again(&seen)?;
        for (container, _) in self.cables.clone() {
            let is = self.host.inside(container).map_err(|err| chain(&err))?;
            let is: BTreeSet<Inside> = is.into_iter().filter(is_no_mirror).collect();
            let said = self.actual.inside(container).cloned();
            let said: BTreeSet<Inside> = said.filter(is_no_mirror).collect();
            if is != said {
                return Err(format!("the view of {container} holds {is:?}, not {said:?}"));
            }
        }
        Ok(())
    }

    /// What is there is not reported as gone, and what was taken is.
    fn look_again(&mut self, seen: &Actual) -> Result<(), String> {
        for link in seen.links() {
            let name = link.name().clone();
            let now = self.host.look_again(&Disturbance::LinkGone { link: name.clone() });
            let is = Disturbance::LinkThere {
                link: name,
                up: link.is_up(),
                fell: false,
                mark: link.mark().cloned(),
                port: Some(link.master().is_some()),
            };
            let now = now.map_err(|err| chain(&err))?;
            if now.as_ref() != Some(&is) {
                return Err(format!("instead of {is:?}, {now:?} is reported"));
            }
        }
        let standing = standing(seen);
        self.reported.extend(standing.iter().filter_map(gone));
        for (piece, told) in &self.reported {
            let now = self.host.look_again(told).map_err(|err| chain(&err))?;
            let expected = (!standing.contains(piece)).then_some(told);
            if now.as_ref() != expected {
                return Err(format!("{piece}: instead of {expected:?}, {now:?} is reported"));
            }
        }
        Ok(())
    }

    /// Two interfaces, and a routed cable for each container.
    fn build(&mut self, prepare: &mut dyn FnMut(ContainerId)) -> Result<(), String> {
        let id = |kind, n| NetworkId::from_bytes([kind, 0xab, 0, 0, 0, n]).ok_or("no id");
        for n in [0, 1] {
            let link = (0..)
                .map(LinkName::kleene)
                .find(|name| !self.actual.knows(name))
                .ok_or("no free name")?;
            let network = id(0xb1, n)?;
            let mac = MacAddress::from_id(network.bytes(), 0);
            let mark = self.mark(Owner::Network(network));
            let make = match n {
                0 => Change::MakeLoopback { link: link.clone(), mac, mark },
                _ => Change::MakeBridge { link: link.clone(), mac, mark },
            };
            let mut batch = vec![make];
            if n == 1 {
                for (addr, prefix) in self.gateway.into_iter().zip([24, 64]) {
                    let addr = IpNet::new(addr, prefix).map_err(|err| err.to_string())?;
                    batch.push(Change::AddAddress { link: link.clone(), addr });
                }
            }
            batch.push(Change::RaiseLink { link: link.clone() });
            self.apply(&batch)?;
            self.links.push(link);
        }
        for n in 0..CONTAINERS {
            let container = ContainerId::from_bytes([0xc1, 0xab, 0, 0, 0, n]).ok_or("no id")?;
            prepare(container);
            self.actual.enter(container, true);
            self.lay_cable(container)?;
        }
        Ok(())
    }

    fn lay_cable(&mut self, container: ContainerId) -> Result<(), String> {
        let free = |n: &u32| !self.actual.knows(&LinkName::cable_host(*n));
        let number = (0..).find(free).ok_or("no free number")?;
        let inner = LinkName::cable_container(number);
        let cable = RoutedCable { number, inner: inner.clone() };
        let mark = self.mark(Owner::Container(container));
        let ends = Cable {
            purpose: CableUse::Routed,
            host: cable.host(),
            inner: inner.clone(),
            host_mac: RoutedCable::host_mac(container),
            inner_mac: RoutedCable::container_mac(container),
            mtu: None,
            container,
        };
        let put = |inside| Change::PutInside { container, inside };
        let batch = [
            Change::MakeCable { cable: ends, mark },
            Change::Put { piece: Piece::Check { cable: cable.host() } },
            Change::RaiseLink { link: cable.host() },
            put(Inside::Up { link: inner.clone() }),
            put(Inside::Meet { link: inner.clone(), family: Family::V4 }),
            put(Inside::Meet { link: inner, family: Family::V6 }),
        ];
        self.cables.push((container, cable));
        self.apply(&batch)
    }

    fn pick(&mut self, below: usize) -> usize {
        self.random.below(below)
    }

    /// One to five random changes that must succeed.
    fn step(&mut self) -> Result<(), String> {
        if self.pick(20) == 0 {
            return self.replace_cable();
        }
        let mut batch = Vec::new();
        let before = self.actual.clone();
        for _ in 0..=self.pick(5) {
            let change = match self.pick(5) {
                0 => self.inside(),
                1 => self.policy(),
                _ => self.piece(),
            };
            if let Some(change) = change {
                // So that the next one knows of it.
                self.actual.absorb(&change);
                batch.push(change);
            }
        }
        self.actual = before;
        self.apply(&batch)
    }

    /// An address, and all that it can stand on: by its number alone.
    fn address(&mut self) -> Option<(IpAddr, Vec<Piece>, usize)> {
        let n = u8::try_from(self.pick(usize::from(ADDRESSES))).ok()?;
        let (text, gateway) = match self.pick(2) {
            0 => (format!("10.102.0.{}", 10 + n), self.gateway[0]),
            _ => (format!("fd66::{:x}", 16 + n), self.gateway[1]),
        };
        let addr = text.parse().ok()?;
        let holder = usize::from(n % CONTAINERS);
        let cable = self.cables.get(holder)?.1.host();
        let link = self.links.get(usize::from(n) % 2)?.clone();
        let source = (n % 4 != 0).then_some(gateway);
        let mut pieces = vec![
            Piece::Guard { addr },
            Piece::Admit { cable: cable.clone(), addr },
            Piece::Fallback { addr },
            Piece::Steer { addr, cable, source },
            Piece::Show { link: link.clone(), addr },
        ];
        if n % 2 == 1 {
            pieces.push(Piece::Answer { link, addr });
        }
        Some((addr, pieces, holder))
    }

    /// The next piece of an address, or its last one taken away.
    fn piece(&mut self) -> Option<Change> {
        let (addr, pieces, _) = self.address()?;
        let stands: BTreeSet<Piece> = self.actual.pieces_of(addr).cloned().collect();
        let next = pieces.iter().find(|piece| !stands.contains(*piece)).cloned();
        let last = stands.into_iter().next_back();
        match (next, last) {
            (Some(piece), _) if self.pick(4) != 0 => Some(Change::Put { piece }),
            (_, Some(piece)) => Some(Change::Take { piece }),
            (Some(piece), None) => Some(Change::Put { piece }),
            (None, None) => None,
        }
    }

    /// A piece of the policy that stands for no address of these containers, put
    /// or taken away.
    fn policy(&mut self) -> Option<Change> {
        let n = u8::try_from(self.pick(7)).ok()?;
        let piece = self.piece_of_policy(n)?;
        let stands = self.actual.all_pieces().any(|held| *held == piece);
        Some(match stands {
            true => Change::Take { piece },
            false => Change::Put { piece },
        })
    }

    fn piece_of_policy(&mut self, n: u8) -> Option<Piece> {
        let subnet = Subnet::parse(Family::V4, &format!("10.103.{n}.0/24")).ok()?;
        let subnet6 = Subnet::parse(Family::V6, &format!("fd68:{n}::/64")).ok()?;
        let addr = |host: u8| -> Option<IpAddr> {
            let text = match n % 2 {
                0 => format!("10.103.{n}.{host}"),
                _ => format!("fd68:{n}::{host}"),
            };
            text.parse().ok()
        };
        let link = LinkName::parse(&format!("way{n}")).ok()?;
        let (protocol, first) = (Protocol::BOTH[usize::from(n % 2)], 8000 + 100 * u16::from(n));
        let gate = match n % 3 {
            0 => Gate::Inside,
            1 => Gate::Uplink,
            _ => Gate::Link(link.clone()),
        };
        // One port, several, and several that lead to one.
        let ports = Ports { first, last: first + [0, 37, 9][usize::from(n % 3)] };
        let one = self.pick(2) == 0;
        let inner = Ports { first: 80, last: if one { 80 } else { 80 + ports.last - first } };
        Some(match self.pick(8) {
            0 => Piece::Rules {
                rules: NetworkRules {
                    id: NetworkId::from_bytes([0xb1, 0xab, 0, 0, 0, n])?,
                    kind: NetworkType::ALL[usize::from(n % 3)],
                    interface: LinkName::parse(&format!("policy{n}")).ok()?,
                    subnet: Dual { v4: Some(subnet), v6: n.is_multiple_of(2).then_some(subnet6) },
                    icc: n.is_multiple_of(2),
                    internal: n == 3,
                    nat: match n % 3 {
                        0 => Nat::None,
                        1 => Nat::HostGateway,
                        _ => Nat::Interface(link),
                    },
                },
            },
            1 if n.is_multiple_of(2) => Piece::Near { subnet, addr: addr(1)? },
            1 => Piece::Near { subnet: subnet6, addr: addr(1)? },
            2 => Piece::Uplink { family: Family::BOTH[usize::from(n % 2)], link },
            3 => Piece::Way { link, addr: addr(9)? },
            4 => Piece::Fence { cable: link, mac: MacAddress([2, 0, 0, 0, 1, n]) },
            5 => Piece::Open { gate, addr: addr(7)?, protocol, ports },
            6 => Piece::LogDrops,
            _ => {
                let lead = Piece::Lead { gate, protocol, ports, addr: addr(7)?, inner };
                // Two ranges cannot lead to two places at once.
                let other = |held: &Piece| match (held, &lead) {
                    (
                        Piece::Lead { gate: one, protocol: of, ports, .. },
                        Piece::Lead { gate, protocol, ports: others, .. },
                    ) => held != &lead && one == gate && of == protocol && ports.meets(*others),
                    _ => false,
                };
                let standing = self.actual.all_pieces().find(|held| other(held)).cloned();
                standing.unwrap_or(lead)
            }
        })
    }

    fn inside(&mut self) -> Option<Change> {
        let (addr, _, holder) = self.address()?;
        let (container, cable) = self.cables.get(holder)?.clone();
        let rare = self.pick(8) == 0;
        let has = |wanted: &Inside| self.actual.inside(container).any(|inside| inside == wanted);
        if rare {
            let inside = Inside::Replies;
            return Some(match has(&inside) {
                true => Change::TakeInside { container, inside },
                false => Change::PutInside { container, inside },
            });
        }
        let link = cable.inner;
        let own = Inside::Address { link: link.clone(), addr };
        let destination = match addr {
            IpAddr::V4(_) => "0.0.0.0/0".parse().ok()?,
            IpAddr::V6(_) => "fd67::/64".parse().ok()?,
        };
        let mtu = (addr.is_ipv4()).then_some(1400);
        let route = Inside::Route { destination, link, source: addr, mtu };
        if !has(&own) {
            return Some(Change::PutInside { container, inside: own });
        }
        match (has(&route), self.pick(2)) {
            (false, 0) => Some(Change::PutInside { container, inside: route }),
            (true, _) => Some(Change::TakeInside { container, inside: route }),
            // A route of its goes first.
            (false, _) => Some(Change::TakeInside { container, inside: own }),
        }
    }

    /// A cable goes, and a new one comes: what stood on it is gone.
    fn replace_cable(&mut self) -> Result<(), String> {
        let at = self.pick(self.cables.len());
        let (container, cable) = self.cables.remove(at);
        let addresses = self.actual.inside(container).cloned();
        let inside: Vec<Change> = addresses
            .filter(|inside| matches!(inside, Inside::Address { .. } | Inside::Route { .. }))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .map(|inside| Change::TakeInside { container, inside })
            .collect();
        let host = cable.host();
        let owned = self.actual.link(&host).and_then(|link| link.owned(&self.instance));
        let retire = Change::RetireCable { link: owned.ok_or("a cable of ours is not owned")? };
        let mut batch = inside;
        batch.push(retire);
        batch.push(Change::Take { piece: Piece::Check { cable: host.clone() } });
        // What was led into it, and whom it admitted.
        let placed: Vec<IpAddr> = self.actual.placed_addresses().collect();
        for addr in placed {
            let on_it = |piece: &&Piece| match piece {
                Piece::Admit { cable, .. } => *cable == host,
                _ => false,
            };
            let admitted: Vec<Piece> = self.actual.pieces_of(addr).filter(on_it).cloned().collect();
            batch.extend(admitted.into_iter().map(|piece| Change::Take { piece }));
        }
        self.apply(&batch)?;
        self.lay_cable(container)?;
        let new = self.cables.pop().ok_or("no cable")?;
        self.cables.insert(at, new);
        Ok(())
    }

    /// Takes everything away, and looks that nothing is left.
    fn clear(&mut self) -> Result<(), String> {
        let placed: Vec<IpAddr> = self.actual.placed_addresses().collect();
        let mut pieces: Vec<Piece> =
            placed.iter().flat_map(|addr| self.actual.pieces_of(*addr).cloned()).collect();
        pieces.sort_by_key(|piece| std::cmp::Reverse(piece.rank()));
        let mut batch: Vec<Change> =
            pieces.into_iter().map(|piece| Change::Take { piece }).collect();
        for (_, cable) in std::mem::take(&mut self.cables) {
            let host = cable.host();
            let owned = self.actual.link(&host).and_then(|link| link.owned(&self.instance));
            batch.push(Change::RetireCable { link: owned.ok_or("not owned")? });
            batch.push(Change::Take { piece: Piece::Check { cable: host } });
        }
        for link in std::mem::take(&mut self.links) {
            let owned = self.actual.link(&link).and_then(|link| link.owned(&self.instance));
            batch.push(Change::RemoveLink { link: owned.ok_or("not owned")? });
        }
        self.apply(&batch)?;
        let rest: Vec<Piece> = self.actual.all_pieces().cloned().collect();
        let rest: Vec<Change> = rest.into_iter().map(|piece| Change::Take { piece }).collect();
        self.apply(&rest)?;
        let left = standing(&self.actual);
        if left.is_empty() { Ok(()) } else { Err(format!("left: {left:?}")) }
    }
}

fn is_no_mirror(inside: &Inside) -> bool {
    !matches!(inside, Inside::Mirror { .. })
}

/// The report that a piece is gone, where that can be looked at alone.
fn gone(piece: &Piece) -> Option<(Piece, Disturbance)> {
    let told = match piece {
        Piece::Show { link, addr } if addr.is_ipv6() => {
            Disturbance::AddressGone { link: link.clone(), addr: IpNet::from(*addr) }
        }
        Piece::Answer { link, addr } => Disturbance::AnswerGone { link: link.clone(), addr: *addr },
        _ => return None,
    };
    Some((piece.clone(), told))
}

fn standing(actual: &Actual) -> BTreeSet<Piece> {
    actual.all_pieces().cloned().collect()
}
