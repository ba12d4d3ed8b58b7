//! The texts of networks, of cables and of `ipnet` containers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kleene_model::policy::{NetworkRules, Policy};
use kleene_model::{ContainerId, Dual, Family, NetworkId, NetworkType};

use super::text::{self, PfError, Text};
use super::{Anchor, Cable, cable_table, network_table};

/// The text of a network: `kleene/net/ID`. It does not depend on who is in it.
///
/// `names` is where Kleene answers for names there.
///
/// # Errors
/// [`PfError::Interface`] and [`PfError::Group`], for the nat interface.
pub fn network(
    policy: &Policy,
    rules: &NetworkRules,
    names: Dual<Option<IpAddr>>,
) -> Result<Anchor, PfError> {
    let NetworkRules { id, kind, icc, internal, .. } = rules;
    let table = network_table(*id);
    let label = format!("kleene:net:{id}");
    let is_bridge = *kind == NetworkType::Bridge;
    let mut text = Text::default();
    if !internal {
        translate(&mut text, policy, rules)?;
    }
    if *icc {
        text.filter(format_args!("pass quick from <{table}> to <{table}> label \"{label}\""));
    }
    match (is_bridge, icc, internal) {
        // What a member sends to all, or by way of another member.
        (true, true, false) => text.filter(format_args!(
            "pass out quick on kleene_cab from <{table}> to any label \"{label}\""
        )),
        (true, false, _) => text.filter(format_args!(
            "block return out quick on kleene_cab from <{table}> to ! <{table}> \
             label \"kleene:block:cable:{id}\""
        )),
        // Of an internal one nothing goes to anybody but members.
        (true, true, true) | (false, _, _) => {}
    }
    if *internal {
        for (family, addr) in names.present() {
            let inet = family.inet();
            text.filter(format_args!(
                "pass quick {inet} proto {{ tcp udp }} from <{table}> to {addr} port 53 \
                 label \"{label}\""
            ));
        }
        text.filter(format_args!(
            "block return quick from <{table}> to ! <{table}> label \"kleene:block:internal:{id}\""
        ));
    } else if policy.nat_interface(rules, Family::V4).is_some() {
        // To the host itself. By any other interface it may only leave translated,
        // and what is translated no longer comes from the table.
        text.filter(format_args!(
            "pass quick on {{ lo0 kleene_net }} from <{table}> to ! <kleene_all> label \"{label}\""
        ));
        text.filter(format_args!(
            "block return out quick from <{table}> to ! <kleene_all> label \"kleene:block:nat:{id}\""
        ));
    }
    Ok(text.anchor(format_args!("net/{id}")))
}

/// The label of what leaves a network with another source: its states end when
/// that source is no more.
#[must_use]
pub fn nat_label(network: NetworkId) -> String {
    format!("kleene:nat:{network}")
}

/// The lines that give a network's traffic another source and let it leave.
///
/// The source is named, never `(INTERFACE:0)`: that is whichever address came
/// first on the interface, an endpoint's too (FreeBSD 13.2).
fn translate(text: &mut Text, policy: &Policy, rules: &NetworkRules) -> Result<(), PfError> {
    let id = rules.id;
    let table = network_table(id);
    let mut leaves_by = BTreeSet::new();
    for family in Family::BOTH {
        let Some(Some(interface)) = policy.nat_interface(rules, family) else { continue };
        let on = text::link(&interface)?;
        let Some(source) = policy.nat_source(&interface, family) else { continue };
        let inet = family.inet();
        text.translate(format_args!(
            "nat on {on} {inet} from <{table}> to ! <kleene_all> tag KLEENE_NAT_{id} -> {source}"
        ));
        leaves_by.insert(on);
    }
    for on in leaves_by {
        text.filter(format_args!(
            "pass out quick on {on} tagged KLEENE_NAT_{id} label \"{}\"",
            nat_label(id)
        ));
    }
    Ok(())
}

/// The text of a `vnet` container's cables: `kleene/cab/ID`. It says who may
/// speak on them; what leaves the bridge is judged once more on the bridge's
/// interface.
///
/// The state of what leaves is bound to the cable. Else it would answer on the
/// bridge too, and no redirect would be asked there (FreeBSD 13.2). What goes to
/// members has no such pass: two members that send at each other would open a
/// hole for each other.
///
/// # Errors
/// [`PfError::Interface`], [`PfError::Group`].
pub fn cables<'a>(
    container: ContainerId,
    cables: impl IntoIterator<Item = &'a Cable>,
) -> Result<Anchor, PfError> {
    let mut text = Text::default();
    for Cable { endpoint, network, container: _, link, link_local: _ } in cables {
        let on = text::link(link)?;
        let (own, members) = (cable_table(*endpoint), network_table(*network));
        // Duplicate address detection has no source yet.
        text.filter(format_args!(
            "pass in quick on {on} inet6 proto icmp6 from :: to any icmp6-type neighbrsol no state"
        ));
        text.filter(format_args!(
            "block drop in quick on {on} from ! <{own}> to any \
             label \"kleene:block:source:{endpoint}\""
        ));
        text.filter(format_args!(
            "pass in quick on {on} inet6 proto icmp6 all icmp6-type {{ neighbrsol neighbradv }} \
             no state"
        ));
        text.filter(format_args!(
            "pass in quick on {on} from any to ! <{members}> flags any \
             keep state (sloppy, if-bound) label \"kleene:cable:{endpoint}\""
        ));
    }
    Ok(text.anchor(format_args!("cab/{container}")))
}

/// The text of an `ipnet` container: `kleene/own/ID`. It reaches its own
/// addresses, whichever networks they are in.
#[must_use]
pub fn own(container: ContainerId, addresses: &BTreeSet<IpAddr>) -> Anchor {
    let mut text = Text::default();
    for family in Family::BOTH {
        let of = || addresses.iter().filter(|addr| Family::of(**addr) == family);
        if of().next().is_some() {
            let (inet, own) = (family.inet(), text::list(of()));
            text.filter(format_args!(
                "pass quick {inet} from {own} to {own} label \"kleene:own:{container}\""
            ));
        }
    }
    text.anchor(format_args!("own/{container}"))
}
