//! Carries changes out, in order.

use std::net::IpAddr;

use ipnet::IpNet;
use kleene_engine::change::{Cable, CableUse, Change, Flows, Mark, Owned};
use kleene_engine::host::ApplyError;
use kleene_engine::inside::Inside;
use kleene_engine::piece::Piece;
use kleene_model::{ContainerId, Family, LinkName};

use super::error::{NetError, unreadable};
use super::interfaces::{self, Interface};
use super::{FreeBsdHost, ifconfig, inner, observe, settings};
use crate::freebsd::pf::{FilterError, GROUP, GROUP_CABLES, GROUP_NETWORKS, NO_PF, check_link};
use crate::freebsd::run::{Call, Tool, Tools};

pub(super) fn apply(host: &mut FreeBsdHost, changes: &[Change]) -> Result<(), ApplyError> {
    let failed = |at: usize, source: NetError| ApplyError {
        done: at,
        change: Box::new(changes[at].clone()),
        source: Box::new(source),
    };
    let mut at = 0;
    while at < changes.len() {
        let policy = changes[at..].iter().take_while(|change| of_policy(change)).count();
        if policy > 0 {
            let of = &changes[at..at + policy];
            change_policy(host, of).map_err(|err| failed(at, err))?;
            at += policy;
        } else {
            step(host, &changes[at]).map_err(|err| failed(at, err))?;
            at += 1;
        }
    }
    Ok(())
}

/// Whether a change is pf's: those in a row become one.
fn of_policy(change: &Change) -> bool {
    match change {
        Change::Put { piece } | Change::Take { piece } => piece.is_policy(),
        _ => false,
    }
}

fn change_policy(host: &mut FreeBsdHost, changes: &[Change]) -> Result<(), NetError> {
    let (mut taken, mut put) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Take { piece } => taken.push(piece),
            Change::Put { piece } => put.push(piece),
            _ => {}
        }
    }
    Ok(host.filter.change(&*host.tools, &taken, &put)?)
}

fn step(host: &mut FreeBsdHost, change: &Change) -> Result<(), NetError> {
    let tools = host.tools.clone();
    let tools = &*tools;
    match change {
        Change::MakeBridge { link, mac: _, mark } => make(tools, "bridge", link, mark),
        Change::MakeLoopback { link, mac: _, mark } => {
            // It would get `::1`, and the host would lose it.
            match find(tools, &loopback())? {
                Some(lo0) if lo0.up => make(tools, "lo", link, mark),
                _ => Err(NetError::LoopbackDown(link.clone())),
            }
        }
        Change::AddAddress { link, addr } => add_address(tools, link, *addr),
        Change::RemoveAddress { link, addr } => {
            owned(tools, link)?.ok_or_else(|| NetError::NoLink(link.link().clone()))?;
            remove_address(tools, link.link(), addr.addr())
        }
        Change::RaiseLink { link } => done(tools, &ifconfig([link.as_str(), "up"])),
        Change::RemoveLink { link } => destroy(tools, link),
        Change::RetireCable { link } => retire(host, link),
        Change::MakeCable { cable, mark } => {
            let made = make_cable(tools, cable, mark);
            if matches!(made, Err(NetError::NameTaken(_))) && find(tools, &cable.host)?.is_none() {
                host.taken.insert(cable.host.clone());
            }
            made
        }
        Change::Plug { link, bridge } => plug(host, link, bridge),
        Change::Unplug { link, bridge } => unplug(host, link, bridge),
        Change::RaiseLoopback { container } => inner::raise_loopback(tools, *container),
        Change::AddInnerAddress { container, link, addr, alone: _ } => {
            inner::add_address(tools, *container, link, *addr)
        }
        Change::RaiseInnerLink { container, link } => inner::raise(tools, *container, link),
        Change::AddDefaultRoute { container, link: _, via } => {
            inner::default_route(tools, *container, *via)
        }
        Change::Put { piece } => put(host, piece),
        Change::Take { piece } => take(host, piece),
        Change::PutInside { container, inside } => put_inside(tools, *container, inside),
        Change::TakeInside { container, inside } => take_inside(tools, *container, inside),
        Change::Forget { flows } => forget(tools, flows),
        Change::Set { setting, value } => settings::write(tools, setting, value),
        Change::Isolate { .. }
        | Change::AddInnerRoute { .. }
        | Change::AnswerAs { .. }
        | Change::RenameInner { .. } => Err(NetError::Unsupported(change.to_string())),
    }
}

fn loopback() -> LinkName {
    LinkName::parse("lo0").unwrap_or_else(|_| unreachable!("it is a name"))
}

fn done(tools: &dyn Tools, call: &Call) -> Result<(), NetError> {
    tools.run(call)?;
    Ok(())
}

/// What a tool refuses with these words counts as done.
fn done_or(tools: &dyn Tools, call: &Call, words: &[&str]) -> Result<(), NetError> {
    match tools.run(call) {
        Err(err) if words.iter().any(|words| err.says(words)) => Ok(()),
        ran => Ok(ran.map(drop)?),
    }
}

/// What ifconfig says of an interface that is not there.
const GONE: &str = "does not exist";

/// One interface; `None` where it is not there.
fn find(tools: &dyn Tools, link: &LinkName) -> Result<Option<Interface>, NetError> {
    let call = ifconfig(["-f", "inet:cidr,inet6:cidr", link.as_str()]);
    match tools.run(&call) {
        Err(err) if err.says(GONE) => Ok(None),
        printed => {
            let mut found = interfaces::interfaces(&printed?.stdout)?;
            match (found.pop(), found.is_empty()) {
                (Some(found), true) => Ok(Some(found)),
                _ => Err(unreadable("ifconfig", "not one interface")),
            }
        }
    }
}

/// Looks again that a link is ours. Gone is `None`.
fn owned(tools: &dyn Tools, link: &Owned) -> Result<Option<Interface>, NetError> {
    let Some(found) = find(tools, link.link())? else { return Ok(None) };
    match found.description.as_deref().and_then(Mark::parse) {
        Some(mark) if mark == *link.mark() => Ok(Some(found)),
        _ => {
            let (link, found) = (link.link().clone(), found.description);
            Err(NetError::Foreign { link, found })
        }
    }
}

/// Makes the interface of a network. Half made it goes again.
///
/// It has its mark before its name: whatever happens in between, nobody finds an
/// interface under a network's name that is nobody's.
fn make(tools: &dyn Tools, kind: &str, link: &LinkName, mark: &Mark) -> Result<(), NetError> {
    check_link(link).map_err(FilterError::from)?;
    let printed = tools.run(&ifconfig([kind, "create"]))?.stdout;
    let made = printed.trim();
    let made = LinkName::parse(made).map_err(|_| unreadable("ifconfig", made))?;
    let furnish = || {
        mark_link(tools, &made, mark, GROUP_NETWORKS)?;
        match tools.run(&ifconfig([made.as_str(), "name", link.as_str()])) {
            Err(err) if err.says("File exists") => Err(NetError::NameTaken(link.clone())),
            named => Ok(named.map(drop)?),
        }
    };
    // Under which name it is after a refusal is not known.
    furnish().inspect_err(|_| {
        if !undo(tools, &made, mark, true) {
            undo(tools, link, mark, false);
        }
    })
}

fn mark_link(tools: &dyn Tools, link: &LinkName, mark: &Mark, group: &str) -> Result<(), NetError> {
    done(tools, &ifconfig([link.as_str(), "description", &mark.to_string()]))?;
    join(tools, link, group)
}

/// Puts an interface of ours into its groups.
fn join(tools: &dyn Tools, link: &LinkName, group: &str) -> Result<(), NetError> {
    done(tools, &ifconfig([link.as_str(), "group", GROUP]))?;
    done(tools, &ifconfig([link.as_str(), "group", group]))
}

/// Removes what was made a moment ago: where it has its mark, and under the name that
/// it was made with also where it has none yet. If that is refused, the error of before
/// is the one that is told. Whether it was there.
fn undo(tools: &dyn Tools, link: &LinkName, mark: &Mark, made: bool) -> bool {
    let Ok(Some(found)) = find(tools, link) else { return false };
    let ours = match found.description.as_deref() {
        Some(text) => Mark::parse(text).as_ref() == Some(mark),
        None => made,
    };
    if ours {
        drop(tools.run(&ifconfig([link.as_str(), "destroy"])));
    }
    true
}

fn destroy(tools: &dyn Tools, link: &Owned) -> Result<(), NetError> {
    match owned(tools, link)? {
        Some(_) => done_or(tools, &ifconfig([link.link().as_str(), "destroy"]), &[GONE]),
        None => Ok(()),
    }
}

/// Takes a cable out of use: out of its bridge and down. To destroy it takes a tenth of
/// a second (FreeBSD 13.2), for which nobody waits.
fn retire(host: &mut FreeBsdHost, link: &Owned) -> Result<(), NetError> {
    let name = link.link();
    match owned(host.tools(), link)? {
        Some(found) if found.is_in(GROUP_CABLES) => {}
        // Its name is about to be used for a whole one.
        Some(_) => return destroy(host.tools(), link),
        None => {
            host.plugged.retain(|(plugged, _)| plugged != name);
            return Ok(());
        }
    }
    let known = host.plugged.iter().find(|(plugged, _)| plugged == name);
    let bridge = match known.map(|(_, bridge)| bridge.clone()) {
        Some(bridge) => Some(bridge),
        None => {
            let all = observe::all_interfaces(host.tools())?;
            all.into_iter().find(|one| one.members.contains(name)).map(|one| one.name)
        }
    };
    if let Some(bridge) = bridge {
        unplug(host, name, &bridge)?;
    }
    done_or(host.tools(), &ifconfig([name.as_str(), "down"]), &[GONE])
}

/// Destroys cables that are out of use; gives those that are gone.
///
/// # Errors
/// The first that stays, where none is gone.
pub fn sweep(tools: &dyn Tools, links: &[Owned]) -> Result<Vec<LinkName>, NetError> {
    let (mut gone, mut first) = (Vec::new(), Ok(()));
    for link in links {
        match destroy(tools, link) {
            Ok(()) => gone.push(link.link().clone()),
            Err(err) => first = first.and(Err(err)),
        }
    }
    if gone.is_empty() {
        first?;
    }
    Ok(gone)
}

fn make_cable(tools: &dyn Tools, cable: &Cable, mark: &Mark) -> Result<(), NetError> {
    let Cable { purpose, host, inner, host_mac, inner_mac, mtu, container } = cable;
    if *purpose == CableUse::Routed {
        return Err(NetError::Unsupported("cables that are routed into".to_owned()));
    }
    // The pair is called like its ends without the last letter.
    let pair = host.as_str().strip_suffix('a').unwrap_or(host.as_str());
    match tools.run(&ifconfig([pair, "create"])) {
        Err(err) if err.says("already exists") => return Err(NetError::NameTaken(host.clone())),
        made => drop(made?),
    }
    let furnish = || {
        done(tools, &ifconfig([host.as_str(), "description", &mark.to_string()]))?;
        done(tools, &ifconfig([host.as_str(), "ether", &host_mac.to_string()]))?;
        done(tools, &ifconfig([inner.as_str(), "ether", &inner_mac.to_string()]))?;
        if let Some(mtu) = mtu.map(|mtu| mtu.to_string()) {
            // Not the host's: a bridge has that of its first member, and refuses others.
            done(tools, &ifconfig([inner.as_str(), "mtu", &mtu]))?;
        }
        // It keeps its MAC address and its MTU on the way (FreeBSD 13.2).
        done(tools, &ifconfig([inner.as_str(), "vnet", &container.to_string()]))?;
        // By it whoever ends the container finds its cables, whatever becomes of their
        // other ends inside.
        done(tools, &ifconfig([host.as_str(), "group", &format!("k{container}_")]))?;
        // The last of these is how a whole cable is known.
        join(tools, host, GROUP_CABLES)
    };
    furnish().inspect_err(|_: &NetError| {
        undo(tools, host, mark, true);
    })
}

fn plug(host: &mut FreeBsdHost, link: &LinkName, bridge: &LinkName) -> Result<(), NetError> {
    let call = ifconfig([bridge.as_str(), "addm", link.as_str()]);
    match host.tools().run(&call) {
        // It may be there already, behind the end of what is listed.
        Err(err) if err.says("File exists") => {}
        // Somebody has put a cable of ours elsewhere. What else is elsewhere is theirs.
        Err(err) if err.says("Device busy") && link.cable_number().is_some() => {
            let all = observe::all_interfaces(host.tools())?;
            let of = all.iter().find(|one| one.members.contains(link)).map(|one| one.name.clone());
            let other = of.ok_or(NetError::Tool(err))?;
            unplug(host, link, &other)?;
            done(host.tools(), &call)?;
        }
        plugged => drop(plugged?),
    }
    host.plugged.retain(|(plugged, _)| plugged != link);
    host.plugged.insert((link.clone(), bridge.clone()));
    Ok(())
}

fn unplug(host: &mut FreeBsdHost, link: &LinkName, bridge: &LinkName) -> Result<(), NetError> {
    let call = ifconfig([bridge.as_str(), "deletem", link.as_str()]);
    done_or(host.tools(), &call, &["No such file or directory", GONE])?;
    host.plugged.remove(&(link.clone(), bridge.clone()));
    Ok(())
}

/// Adds an address; one that is there already counts as done (FreeBSD 13.2).
fn add_address(tools: &dyn Tools, link: &LinkName, addr: IpNet) -> Result<(), NetError> {
    let (name, text) = (link.as_str(), addr.to_string());
    match Family::of(addr.addr()) {
        Family::V4 => done(tools, &ifconfig([name, "inet", &text, "alias"])),
        // Else it is a second until it can be used (FreeBSD 13.2).
        Family::V6 => done(tools, &ifconfig([name, "inet6", &text, "no_dad", "alias"])),
    }
}

fn remove_address(tools: &dyn Tools, link: &LinkName, addr: IpAddr) -> Result<(), NetError> {
    let (name, text) = (link.as_str(), addr.to_string());
    let inet = match Family::of(addr) {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    };
    let call = ifconfig([name, inet, &text, "-alias"]);
    done_or(tools, &call, &["Can't assign requested address", GONE])
}

/// Puts a container's address on an interface of the host.
fn put(host: &mut FreeBsdHost, piece: &Piece) -> Result<(), NetError> {
    let Piece::Show { link, addr } = piece else {
        return Err(NetError::Unsupported(piece.to_string()));
    };
    let tools = host.tools();
    // The word for an IPv6 address at once is one for the whole interface, and stays
    // (FreeBSD 13.2): from one that is not ours it is taken again.
    let lent = match addr.is_ipv6() {
        true => {
            let found = find(tools, link)?.ok_or_else(|| NetError::NoLink(link.clone()))?;
            !found.no_dad && found.description.as_deref().and_then(Mark::parse).is_none()
        }
        false => false,
    };
    let added = add_address(tools, link, IpNet::from(*addr));
    let returned = match lent {
        true => done(tools, &ifconfig([link.as_str(), "inet6", "-no_dad"])),
        false => Ok(()),
    };
    added?;
    host.shown.insert((link.clone(), *addr));
    returned
}

fn take(host: &mut FreeBsdHost, piece: &Piece) -> Result<(), NetError> {
    let Piece::Show { link, addr } = piece else {
        return Err(NetError::Unsupported(piece.to_string()));
    };
    remove_address(host.tools(), link, *addr)?;
    host.shown.remove(&(link.clone(), *addr));
    Ok(())
}

fn put_inside(tools: &dyn Tools, container: ContainerId, inside: &Inside) -> Result<(), NetError> {
    match inside {
        Inside::Use { family, addresses } => inner::use_only(tools, container, *family, addresses),
        other => Err(NetError::Unsupported(other.to_string())),
    }
}

fn take_inside(tools: &dyn Tools, container: ContainerId, inside: &Inside) -> Result<(), NetError> {
    let Inside::Use { family, .. } = inside else {
        return Err(NetError::Unsupported(inside.to_string()));
    };
    match inner::use_only(tools, container, *family, &[]) {
        // It uses none then.
        Err(NetError::Tool(err)) if err.says("not found") => Ok(()),
        used => used,
    }
}

/// Ends flows. Those that were led by a port, and those that left as somebody else,
/// end with the text that let them pass.
fn forget(tools: &dyn Tools, flows: &Flows) -> Result<(), NetError> {
    let Flows::Of(addr) = flows else { return Ok(()) };
    let (addr, all) = match addr {
        IpAddr::V4(_) => (addr.to_string(), "0.0.0.0/0"),
        IpAddr::V6(_) => (addr.to_string(), "::/0"),
    };
    match tools.run(&Call::new(Tool::Pfctl, ["-k", addr.as_str()])) {
        // Without pf nothing has let them pass.
        Err(err) if err.says(NO_PF) => return Ok(()),
        killed => drop(killed?),
    }
    done(tools, &Call::new(Tool::Pfctl, ["-k", all, "-k", addr.as_str()]))
}
