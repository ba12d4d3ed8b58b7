//! The policy as texts for pf, FreeBSD's packet filter.
//!
//! pf asks the sub-anchors of an anchor in the order of their names, and the
//! first `quick` rule decides. So the anchor `kleene` has one constant text that
//! says when each kind of sub-anchor is asked, and everything else is small: an
//! anchor for each network, for the cables of each `vnet` container, for the
//! addresses of each `ipnet` container, and for each container that publishes
//! ports. What changes with endpoints are tables, of the main ruleset: rules of
//! an anchor find no table of the anchor above (FreeBSD 13.2).
//!
//! Everything here is text and data; nothing is applied. [`ruleset`] gives the
//! whole of a policy in the order in which it is applied, the other functions
//! the part that one change touches. [`Unsupported`] is what pf cannot hold.

pub mod counters;
mod ending;
mod filter;
mod leave;
mod network;
mod publication;
pub mod stand;
#[cfg(test)]
mod tests;
mod text;
mod unsupported;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use kleene_model::policy::{Member, Policy};
use kleene_model::{ContainerId, Driver, Dual, EndpointId, LinkName, NetworkId};

pub use filter::{Filter, FilterError};
pub use leave::Leave;
pub use network::{cables, nat_label, network, own};
pub use publication::{publication, stale_labels};
pub(in crate::freebsd) use stand::NO_PF;
pub use text::{PfError, check_link};
pub use unsupported::Unsupported;

/// What the administrator adds to the main ruleset, and all of it. Only rules
/// that are not `quick` may come before the last line: a quick one wins over
/// everything in the anchor.
pub const MAIN: &str = "\
nat-anchor \"kleene\"
rdr-anchor \"kleene\"
anchor \"kleene\"
";

/// The interface group of everything of ours.
pub const GROUP: &str = "kleene";
/// The interface group of the interfaces that represent networks and are ours.
pub const GROUP_NETWORKS: &str = "kleene_net";
/// The interface group of the host's ends of cables. They are never in
/// [`GROUP_NETWORKS`]: a redirect on a cable would be half a translation.
pub const GROUP_CABLES: &str = "kleene_cab";

/// The text of the anchor `kleene`.
///
/// Conditions on the lines that ask sub-anchors keep other traffic out of them.
/// `(self)` holds the addresses of endpoints too, so whatever asks for it stands
/// behind a condition on `<kleene_all>`. Neighbour discovery comes after the
/// cables, which check its sources, and before everything that would block it.
const ORDER: &str = r#"no rdr inet from <kleene_int> to any
no rdr inet6 from <kleene_int> to any
nat-anchor "pub/*"
nat-anchor "net/*"
rdr-anchor "pub/*" to ! <kleene_all>
anchor "pub/*" tagged KLEENE_LO
anchor "pub/*" tagged KLEENE_HP
anchor "spoof" in on ! kleene from <kleene_all>
anchor "cab/*" in on kleene_cab
pass quick on kleene inet6 proto icmp6 all icmp6-type { neighbrsol neighbradv } no state
pass quick inet6 proto icmp6 from <kleene_all> to any icmp6-type { neighbrsol neighbradv } no state
pass quick inet6 proto icmp6 from any to <kleene_all> icmp6-type { neighbrsol neighbradv } no state
anchor "own/*" from <kleene_all> to <kleene_all>
anchor "net/*"
anchor "host" from ! <kleene_all> to <kleene_all>
anchor "pub/*" to <kleene_all>
block return quick from <kleene_all> to <kleene_all> label "kleene:block:container"
block drop quick from any to <kleene_all> label "kleene:block:outside"
pass quick from <kleene_all> to any label "kleene:pass"
"#;

/// What comes from elsewhere with an endpoint's address.
const SPOOF: &str = "block drop in quick on ! lo0 all label \"kleene:block:spoof\"\n";

/// The host to its containers.
const HOST: &str = "\
pass out quick from (self) to any label \"kleene:host\"
pass in quick on lo from (self) to any label \"kleene:host\"
";

/// An anchor and its whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Its name from the main ruleset on: `kleene/net/2f1dc29b8f36`.
    pub name: String,
    /// Its rules, a line each, translation first: pf refuses another order.
    pub text: String,
}

/// A table of the main ruleset, and all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name, at most 31 bytes.
    pub name: String,
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// The cable of a `vnet` container in one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// The endpoint whose cable it is.
    pub endpoint: EndpointId,
    /// The network.
    pub network: NetworkId,
    /// The container.
    pub container: ContainerId,
    /// The host's end.
    pub link: LinkName,
    /// The link-local addresses that the container has on its end.
    pub link_local: BTreeSet<Ipv6Addr>,
}

/// What the texts need and the policy does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The cables that stand.
    pub cables: Vec<Cable>,
    /// Where Kleene answers for names, for each network in which it does. Only
    /// there an internal network reaches the host.
    pub names: BTreeMap<NetworkId, Dual<Option<IpAddr>>>,
}

/// All that pf is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// The tables, in order: that of all addresses last, as it is what makes an
    /// address ours.
    pub tables: Vec<Table>,
    /// The anchors, in order, after the tables.
    pub anchors: Vec<Anchor>,
}

/// Everything for a whole policy, in the order in which it is applied.
///
/// Tables come before the rules that name them. `kleene` is the last anchor: it
/// alone asks the others, so that they come into force together, and no flow
/// gets a state from half of them.
///
/// # Errors
/// [`PfError`], where pf could not hold it or the policy contradicts itself.
pub fn ruleset(policy: &Policy, facts: &Facts) -> Result<Ruleset, PfError> {
    let tables = tables(policy, facts)?;
    let [spoof, host, order] = constant();
    let mut anchors = vec![spoof, host];
    for (id, rules) in &policy.networks {
        let names = facts.names.get(id).copied().unwrap_or_default();
        anchors.push(network(policy, rules, names)?);
    }
    let mut by_container: BTreeMap<ContainerId, Vec<&Cable>> = BTreeMap::new();
    for cable in &facts.cables {
        by_container.entry(cable.container).or_default().push(cable);
    }
    for (container, of) in by_container {
        anchors.push(cables(container, of)?);
    }
    let mut addresses: BTreeMap<ContainerId, BTreeSet<IpAddr>> = BTreeMap::new();
    for (addr, member) in &policy.members {
        if member.driver == Driver::Ipnet {
            addresses.entry(member.container).or_default().insert(*addr);
        }
    }
    anchors.extend(addresses.iter().map(|(container, own_ones)| own(*container, own_ones)));
    let publish = policy.publications.iter().filter(|one| !one.ports.is_empty());
    for container in publish.map(|one| one.container).collect::<BTreeSet<_>>() {
        anchors.push(publication(policy, container)?);
    }
    anchors.push(order);
    Ok(Ruleset { tables, anchors })
}

/// The anchors whose text never changes, in the order in which they are loaded.
#[must_use]
pub fn constant() -> [Anchor; 3] {
    let anchor = |name: &str, text: &str| Anchor { name: name.to_owned(), text: text.to_owned() };
    [anchor("kleene/spoof", SPOOF), anchor("kleene/host", HOST), anchor("kleene", ORDER)]
}

/// All tables, in the order in which they are filled; they are emptied in the
/// opposite one.
///
/// # Errors
/// [`PfError::NoNetwork`].
pub fn tables(policy: &Policy, facts: &Facts) -> Result<Vec<Table>, PfError> {
    let mut all = BTreeSet::new();
    let mut internal = BTreeSet::new();
    let mut networks: BTreeMap<NetworkId, BTreeSet<IpAddr>> =
        policy.networks.keys().map(|id| (*id, BTreeSet::new())).collect();
    let members = policy.members.iter().map(|(addr, member)| (*addr, member.network));
    let link_local = facts
        .cables
        .iter()
        .flat_map(|cable| cable.link_local.iter().map(|addr| (IpAddr::V6(*addr), cable.network)));
    for (addr, of) in members.chain(link_local) {
        let rules = policy.networks.get(&of).ok_or(PfError::NoNetwork(of))?;
        all.insert(addr);
        networks.entry(of).or_default().insert(addr);
        if rules.internal {
            internal.insert(addr);
        }
    }
    let mut tables: Vec<Table> = networks
        .into_iter()
        .map(|(id, addresses)| Table { name: network_table(id), addresses })
        .collect();
    tables.push(Table { name: "kleene_int".to_owned(), addresses: internal });
    for cable in &facts.cables {
        // A rule that names a table which is not there passes everybody.
        if !policy.networks.contains_key(&cable.network) {
            return Err(PfError::NoNetwork(cable.network));
        }
        let of = |(_, member): &(&IpAddr, &Member)| {
            member.network == cable.network && member.container == cable.container
        };
        let mut addresses: BTreeSet<IpAddr> =
            cable.link_local.iter().map(|addr| IpAddr::V6(*addr)).collect();
        addresses.extend(policy.members.iter().filter(of).map(|(addr, _)| *addr));
        tables.push(Table { name: cable_table(cable.endpoint), addresses });
    }
    tables.push(Table { name: "kleene_all".to_owned(), addresses: all });
    Ok(tables)
}

/// The name of the table of a network's addresses.
#[must_use]
pub fn network_table(network: NetworkId) -> String {
    format!("kleene_n{network}")
}

/// The name of the table of the addresses that may come out of a cable.
#[must_use]
pub fn cable_table(endpoint: EndpointId) -> String {
    format!("kleene_e_{endpoint}")
}
