use super::*;

fn mirror(name: &str, index: u32) -> Mirror {
    let name = LinkName::parse(name).expect("a name");
    Mirror { name, index, mtu: 1500, mac: Some(MacAddress([2, 0, 0, 0, 0, 1])), up: true }
}

fn link(kind: &str, name: &str, index: u32) -> LinkRecord {
    LinkRecord {
        index,
        up: true,
        name: Some(name.to_owned()),
        kind: Some(kind.to_owned()),
        mtu: 1500,
        mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
        ..LinkRecord::default()
    }
}

fn steps(there: &[LinkRecord], wanted: &[Mirror]) -> Vec<Step> {
    let wanted: Vec<&Mirror> = wanted.iter().collect();
    plan(there, &BTreeSet::new(), &wanted, false).0
}

#[test]
fn a_view_that_is_right_is_left_alone() {
    for kind in ["ifb", "bridge"] {
        assert_eq!(steps(&[link(kind, "one0", 5)], &[mirror("one0", 5)]), []);
        let mut unknown = mirror("one0", 5);
        unknown.mac = None;
        assert_eq!(steps(&[link(kind, "one0", 5)], &[unknown]), [], "any address will do");
    }
    let mut huge = mirror("one0", 5);
    huge.mtu = 100_000;
    let mut largest = link("bridge", "one0", 5);
    largest.mtu = 65_535;
    assert_eq!(steps(&[largest], &[huge]), [], "it cannot have a larger MTU");
}

#[test]
fn an_index_that_something_else_has_costs_only_the_index() {
    let tunnel = link("sit", "sit0", 5);
    let mut wanted = [mirror("one0", 5), mirror("sit0", 6), mirror("two0", 7)];
    let made = steps(std::slice::from_ref(&tunnel), &wanted);
    let expected = [
        Step::Make { mirror: wanted[2].clone(), index: 7 },
        Step::Make { mirror: wanted[0].clone(), index: 0 },
    ];
    assert_eq!(made, expected, "sit0 is shown by the one that is there");
    let there = [tunnel, link("ifb", "one0", 9), link("ifb", "two0", 7)];
    assert_eq!(steps(&there, &wanted), [], "and stays so");
    // A later interface with the index that the kernel chose.
    wanted[2] = mirror("three0", 9);
    let expected =
        [Step::Delete { links: vec![7] }, Step::Make { mirror: wanted[2].clone(), index: 0 }];
    assert_eq!(steps(&there, &wanted), expected);
}

#[test]
fn an_interface_whose_cable_stepped_aside_is_seen_again() {
    let wanted = [mirror("one0", 5)];
    // Called like an interface, it is about to be renamed, as `one0` just was.
    assert_eq!(steps(&[link("veth", "old0", 5)], &wanted), []);
    let aside = link("veth", "epair7b", 5);
    let expected = [Step::Make { mirror: wanted[0].clone(), index: 0 }];
    assert_eq!(steps(std::slice::from_ref(&aside), &wanted), expected);
    assert_eq!(steps(&[aside, link("ifb", "one0", 9)], &wanted), [], "and stays so");
}

#[test]
fn a_mac_that_cannot_be_changed_costs_no_address() {
    let mut wanted = mirror("one0", 5);
    wanted.mac = Some(MacAddress([2, 0, 0, 0, 0, 9]));
    let there = [link("ifb", "one0", 5)];
    let expected =
        [Step::Delete { links: vec![5] }, Step::Make { mirror: wanted.clone(), index: 5 }];
    assert_eq!(steps(&there, std::slice::from_ref(&wanted)), expected);
    let (steps, stale) = plan(&there, &BTreeSet::from([5]), &[&wanted], false);
    assert_eq!((steps, stale), (Vec::new(), vec![wanted.name]));
}

/// A kernel as far as the steps need one: indexes and names are each there
/// once, and a link that is up is renamed only when it goes down for it.
struct Kernel(BTreeMap<u32, LinkRecord>);

impl Kernel {
    fn rename(&mut self, rename: Rename, name: String) {
        assert!(self.0.values().all(|link| link.name.as_ref() != Some(&name)), "{name} is taken");
        let link = self.0.get_mut(&rename.link).expect("a link");
        assert_eq!(rename.up, link.up, "it knows whether it is up");
        link.name = Some(name);
    }

    fn take(&mut self, step: &Step) {
        match step.clone() {
            Step::Delete { links } => {
                for link in links {
                    assert!(self.0.remove(&link).is_some());
                }
            }
            Step::Aside { rename } => self.rename(rename, format!("~{}", rename.link)),
            Step::Rename { rename, name } => self.rename(rename, name.to_string()),
            Step::Mac { link, mac, .. } => self.0.get_mut(&link).expect("a link").mac = Some(mac),
            Step::Mtu { link, mtu, .. } => self.0.get_mut(&link).expect("a link").mtu = mtu,
            Step::Up { link, up, .. } => self.0.get_mut(&link).expect("a link").up = up,
            Step::Make { mirror, index } => {
                let taken = |link: &LinkRecord| link.name.as_deref() == Some(mirror.name.as_str());
                assert!(!self.0.values().any(taken), "{} is taken", mirror.name);
                let free = (200..).find(|index| !self.0.contains_key(index)).expect("an index");
                let index = if index == 0 { free } else { index };
                let made = LinkRecord {
                    index,
                    mtu: mirror.mtu,
                    mac: mirror.mac,
                    up: mirror.up,
                    ..link("ifb", mirror.name.as_str(), index)
                };
                assert!(self.0.insert(index, made).is_none(), "{index} is taken");
            }
        }
    }
}

/// Numbers that look random, the same in every run.
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % limit
    }
}

/// Whatever is there and whatever is wanted: the steps can be taken in order,
/// lead to what is wanted, and then there is nothing more to do.
#[test]
fn any_view_becomes_any_other() {
    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut numbers = Numbers(1);
    for round in 0..20_000 {
        let names = |numbers: &mut Numbers| {
            let mut names = NAMES;
            (0..NAMES.len()).for_each(|at| names.swap(at, numbers.below(8) as usize));
            names
        };
        let (here, there) = (names(&mut numbers), names(&mut numbers));
        let mut kernel = Kernel(BTreeMap::from([(1, link("", "lo", 1))]));
        for (at, name) in here.into_iter().enumerate() {
            let kinds = ["ifb", "bridge", "ifb", "bridge", "ifb", "bridge", "veth", "sit"];
            if numbers.below(3) > 0 {
                let index = 10 + u32::try_from(at).expect("small");
                let mut link = link(kinds[numbers.below(8) as usize], name, index);
                link.up = numbers.below(2) > 0;
                kernel.0.insert(index, link);
            }
        }
        let mut wanted = Vec::new();
        for (at, name) in there.into_iter().enumerate() {
            if numbers.below(3) > 0 {
                let mut mirror = mirror(name, 10 + u32::try_from(at).expect("small"));
                mirror.mtu = 1400 + numbers.below(2) * 100;
                mirror.mac = Some(MacAddress([2, 0, 0, 0, 0, u8::from(numbers.below(4) > 0)]));
                wanted.push(mirror);
            }
        }
        let foreign = |kernel: &Kernel| {
            let mut links: Vec<LinkRecord> = kernel.0.values().cloned().collect();
            links.retain(|link| Kind::of(link).is_none());
            links
        };
        let before = foreign(&kernel);
        let list: Vec<LinkRecord> = kernel.0.values().cloned().collect();
        for step in steps(&list, &wanted) {
            kernel.take(&step);
        }
        let list: Vec<LinkRecord> = kernel.0.values().cloned().collect();
        assert_eq!(steps(&list, &wanted), [], "round {round}: there is something left");
        assert_eq!(foreign(&kernel), before, "round {round}: others were touched");
        let shown = |mirror: &&Mirror| list.iter().any(|link| is_called(link, &mirror.name));
        let hidden = wanted.iter().filter(|mirror| !shown(mirror));
        let behind_cable = |mirror: &Mirror| {
            before.iter().any(|l| l.index == mirror.index && l.kind.as_deref() == Some("veth"))
        };
        assert!(
            hidden.clone().all(behind_cable),
            "round {round}: {:?}",
            hidden.collect::<Vec<_>>()
        );
    }
}
