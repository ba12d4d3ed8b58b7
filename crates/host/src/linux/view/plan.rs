//! What has to be done to the mirrors of a view, as a pure function of what is
//! there and what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kleene_model::{LinkName, MacAddress};
use rustix::io::Errno;

use super::{Done, Mirror};
use crate::linux::net::error::KernelError;
use crate::linux::net::request::{self, MirrorLink, Request};
use crate::linux::net::wire::LinkRecord;
use crate::linux::view::kind::Kind;

/// One step. Steps are independent: one that is refused spoils no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Delete mirrors.
    Delete { links: Vec<u32> },
    /// Give a mirror a name that nobody wants, so that its own becomes free.
    Aside { rename: Rename },
    /// Give a mirror its name.
    Rename { rename: Rename, name: LinkName },
    /// Give a mirror its MAC address.
    Mac { link: u32, name: LinkName, mac: MacAddress },
    /// Give a mirror its MTU.
    Mtu { link: u32, name: LinkName, mtu: u32 },
    /// Bring a mirror up or down.
    Up { link: u32, name: LinkName, up: bool },
    /// Make a mirror; the kernel chooses an `index` of 0.
    Make { mirror: Mirror, index: u32 },
}

/// How a mirror is renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rename {
    pub(super) link: u32,
    pub(super) up: bool,
    /// Whether it goes down for it: kernels before 6.2 rename no link that is
    /// up.
    pub(super) bounce: bool,
}

impl Rename {
    fn requests(self, name: &str, up: bool) -> Vec<Request> {
        let mut requests = vec![request::set_name(self.link, name)];
        if self.bounce && self.up {
            requests.insert(0, request::set_up(self.link, false));
            requests.extend(up.then(|| request::set_up(self.link, true)));
        }
        requests
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { links } => write!(f, "delete {} mirrors of a view", links.len()),
            Self::Aside { rename } => write!(f, "set mirror {} of a view aside", rename.link),
            Self::Rename { name, .. } => write!(f, "rename a mirror to {name}"),
            Self::Mac { name, mac, .. } => write!(f, "give mirror {name} the address {mac}"),
            Self::Mtu { name, mtu, .. } => write!(f, "give mirror {name} the MTU {mtu}"),
            Self::Up { name, up: true, .. } => write!(f, "bring mirror {name} up"),
            Self::Up { name, up: false, .. } => write!(f, "bring mirror {name} down"),
            Self::Make { mirror, .. } => write!(f, "mirror {}", mirror.name),
        }
    }
}

impl Step {
    /// The messages that carry it out.
    pub(super) fn requests(&self, kind: Kind) -> Vec<Request> {
        match self {
            Self::Delete { links } => delete(links),
            Self::Aside { rename } => rename.requests(&format!("~{}", rename.link), false),
            Self::Rename { rename, name } => rename.requests(name.as_str(), true),
            Self::Mac { link, mac, .. } => vec![request::set_mac(*link, *mac)],
            Self::Mtu { link, mtu, .. } => vec![request::set_mtu(*link, *mtu)],
            Self::Up { link, up, .. } => vec![request::set_up(*link, *up)],
            Self::Make { mirror, index } => vec![request::make_mirror(MirrorLink {
                kind: kind.name(),
                name: &mirror.name,
                index: *index,
                mtu: kind.mtu(mirror.mtu),
                mac: mirror.mac,
                up: mirror.up,
            })],
        }
    }

    /// Whether the kernel's refusal of one of its messages is none.
    pub(super) fn forgives(&self, refused: &KernelError) -> bool {
        matches!(self, Self::Delete { .. }) && refused.errno() == Errno::NODEV
    }

    /// Counts it as done.
    pub(super) fn count(&self, done: &mut Done) {
        match self {
            Self::Delete { links } => done.deleted += links.len(),
            Self::Aside { .. } => {}
            Self::Rename { .. } => done.renamed += 1,
            Self::Mac { .. } | Self::Mtu { .. } | Self::Up { .. } => done.changed += 1,
            Self::Make { .. } => done.made += 1,
        }
    }
}

/// The kernel waits for each link that it deletes, and once for a group.
fn delete(links: &[u32]) -> Vec<Request> {
    /// In a view nobody else puts links into groups.
    const DOOMED: u32 = 0x6b6c_6565;
    match links {
        [link] => vec![request::delete_link(*link)],
        several => {
            let join = several.iter().map(|link| request::set_group(*link, DOOMED));
            join.chain([request::delete_group(DOOMED)]).collect()
        }
    }
}

/// Where the mirrors of a view stand.
#[derive(Debug, Default)]
struct Matched<'a> {
    kept: Vec<(&'a Mirror, &'a LinkRecord)>,
    /// Those to make, and with which index.
    missing: Vec<(&'a Mirror, u32)>,
    /// Those that nobody wants.
    doomed: Vec<u32>,
}

/// The steps from the links that are in a view to the mirrors that are wanted,
/// in order, and the mirrors that keep an old MAC address because there are
/// addresses on them.
///
/// A mirror is the one of an interface by its index, whatever it is called. Of
/// an interface whose index something else in the view has, it is the one by
/// its name. Links that are no mirrors are left alone, and an interface that
/// one of them shows, by its name, gets no mirror; nor does one whose index the
/// inner end of a cable has that is called like an interface: one of the two is
/// about to be renamed.
pub(super) fn plan(
    there: &[LinkRecord],
    addressed: &BTreeSet<u32>,
    wanted: &[&Mirror],
    bounce: bool,
) -> (Vec<Step>, Vec<LinkName>) {
    let mut matched = match_up(there, wanted);
    let (mut steps, mut stale) = (Vec::new(), Vec::new());
    matched.kept.retain(|(mirror, link)| {
        let fixed = Kind::of(link).is_none_or(|kind| !kind.takes_mac());
        if !fixed || !has_other_mac(mirror, link) {
            return true;
        }
        if addressed.contains(&link.index) {
            stale.push(mirror.name.clone());
            return true;
        }
        matched.doomed.push(link.index);
        matched.missing.push((mirror, link.index));
        false
    });
    if !matched.doomed.is_empty() {
        steps.push(Step::Delete { links: matched.doomed });
    }
    steps.extend(renames(&matched.kept, bounce));
    steps.extend(matched.kept.iter().flat_map(|(mirror, link)| settings(mirror, link)));
    // Indexes that the kernel chooses must not be those of others.
    matched.missing.sort_by_key(|(_, index)| *index == 0);
    let make = |(mirror, index): (&Mirror, u32)| Step::Make { mirror: mirror.clone(), index };
    steps.extend(matched.missing.into_iter().map(make));
    (steps, stale)
}

fn match_up<'a>(there: &'a [LinkRecord], wanted: &[&'a Mirror]) -> Matched<'a> {
    let (mirrors, others): (Vec<_>, Vec<_>) =
        there.iter().partition(|link| Kind::of(link).is_some());
    let stands = |mirror: &Mirror| {
        let cable = |link: &LinkRecord| {
            let name = link.name.as_deref().and_then(|name| LinkName::parse(name).ok());
            link.kind.as_deref() == Some("veth")
                && !name.is_some_and(|name| name.is_cable_container())
        };
        others.iter().any(|link| {
            is_called(link, &mirror.name) || (cable(link) && link.index == mirror.index)
        })
    };
    let wanted = wanted.iter().filter(|mirror| !stands(mirror));
    let (crowded, free): (Vec<&Mirror>, Vec<&Mirror>) =
        wanted.partition(|mirror| others.iter().any(|link| link.index == mirror.index));
    let mut left: BTreeMap<u32, &LinkRecord> =
        mirrors.into_iter().map(|link| (link.index, link)).collect();
    let mut matched = Matched::default();
    let mut taken = BTreeSet::new();
    for mirror in crowded.into_iter().chain(free) {
        let crowded = others.iter().any(|link| link.index == mirror.index);
        let link = if crowded || taken.contains(&mirror.index) {
            let named = left.values().find(|link| is_called(link, &mirror.name));
            named.map(|link| link.index).and_then(|index| left.remove(&index)).ok_or(0)
        } else {
            left.remove(&mirror.index).ok_or(mirror.index)
        };
        match link {
            Ok(link) => {
                taken.insert(link.index);
                matched.kept.push((mirror, link));
            }
            Err(index) => matched.missing.push((mirror, index)),
        }
    }
    matched.doomed = left.into_keys().collect();
    matched
}

fn is_called(link: &LinkRecord, name: &LinkName) -> bool {
    link.name.as_deref() == Some(name.as_str())
}

fn has_other_mac(mirror: &Mirror, link: &LinkRecord) -> bool {
    mirror.mac.is_some() && mirror.mac != link.mac
}

/// Those that stand in another's way step aside first, so that names may go
/// round in a circle.
fn renames(kept: &[(&Mirror, &LinkRecord)], bounce: bool) -> Vec<Step> {
    let wrong: Vec<_> =
        kept.iter().filter(|(mirror, link)| !is_called(link, &mirror.name)).collect();
    let targets: BTreeSet<&str> = wrong.iter().map(|(mirror, _)| mirror.name.as_str()).collect();
    let rename = |link: &LinkRecord| Rename { link: link.index, up: link.up, bounce };
    let in_the_way =
        wrong.iter().filter(|(_, link)| link.name.as_deref().is_some_and(|n| targets.contains(n)));
    let aside = in_the_way.map(|(_, link)| Step::Aside { rename: rename(link) });
    let proper = wrong
        .iter()
        .map(|(mirror, link)| Step::Rename { rename: rename(link), name: mirror.name.clone() });
    aside.chain(proper).collect()
}

fn settings(mirror: &Mirror, link: &LinkRecord) -> Vec<Step> {
    let (index, name) = (link.index, || mirror.name.clone());
    let mut steps = Vec::new();
    let Some(kind) = Kind::of(link) else { return steps };
    if let Some(mac) = mirror.mac.filter(|_| kind.takes_mac() && has_other_mac(mirror, link)) {
        steps.push(Step::Mac { link: index, name: name(), mac });
    }
    let mtu = kind.mtu(mirror.mtu);
    if mtu != link.mtu {
        steps.push(Step::Mtu { link: index, name: name(), mtu });
    }
    if mirror.up != link.up {
        steps.push(Step::Up { link: index, name: name(), up: mirror.up });
    }
    steps
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
