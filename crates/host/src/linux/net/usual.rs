//! What the traffic of this host's networks looks like, as far as the kernel alone
//! can say: for who asks without a daemon.

use std::collections::BTreeMap;

use ipnet::IpNet;
use kleene_engine::change::{Mark, Owner};
use kleene_engine::passage::{Passage, Side};
use kleene_model::{Family, InstanceName, LinkName};

use super::error::NetError;
use super::socket::Socket;
use super::standing::way_out;

/// The ways out of the bridges of a daemon's networks. Where there is none, that out
/// of one that is to come, with these subnets.
pub(in crate::linux) fn usual_passages(
    instance: &InstanceName,
    subnets: &[IpNet],
) -> Result<Vec<Passage>, NetError> {
    let mut socket = Socket::open()?;
    let links = socket.links()?;
    let ours = links.into_iter().filter_map(|link| {
        let mark = link.alias.as_deref().and_then(Mark::parse)?;
        let name = LinkName::parse(link.name.as_deref()?).ok()?;
        let ours = mark.instance == *instance && matches!(mark.owner, Owner::Network(_));
        ours.then_some((link.index, name))
    });
    let ours: BTreeMap<u32, LinkName> = ours.collect();
    let mut nets: Vec<(LinkName, IpNet)> = Vec::new();
    for record in socket.addresses()? {
        if let Some(name) = ours.get(&record.index)
            && record.addr.prefix_len() < record.addr.max_prefix_len()
            && !super::monitor_burst::is_link_local6(record.addr.addr())
        {
            nets.push((name.clone(), record.addr.trunc()));
        }
    }
    if nets.is_empty() {
        nets.extend(subnets.iter().map(|subnet| (LinkName::kleene(0), *subnet)));
    }
    let mut passages = Vec::new();
    for (link, net) in nets {
        let out = way_out(&mut socket, Family::of(net.addr()).far_away())?;
        let out = out.map_or(Side::Unknown, Side::Link);
        passages.push(Passage::outwards(Side::Link(link), out, net.broadcast(), net));
    }
    Ok(passages)
}
