//! Properties of ZFS, from their manual.

use crate::freebsd::simulated::session::{Done, Session, unknown};
use crate::freebsd::simulated::state::{Dataset, State};

/// Where a dataset is mounted, by its own property or that of one above.
pub(crate) fn mountpoint(state: &State, name: &str) -> String {
    let mut below = String::new();
    let mut at = name;
    loop {
        let set = state.datasets.get(at).and_then(|one| one.properties.get("mountpoint"));
        match (set, at.rsplit_once('/')) {
            (Some(set), _) if set == "none" || set == "legacy" => return set.clone(),
            (Some(set), _) => return format!("{set}{below}"),
            (None, Some((above, last))) => {
                below = format!("/{last}{below}");
                at = above;
            }
            (None, None) => return format!("/{at}{below}"),
        }
    }
}

/// A property that is set by users is inherited by what is below, snapshots too.
fn of_user(state: &State, name: &str, property: &str) -> (String, String) {
    let mut at = name;
    loop {
        let own = match at.contains('@') {
            true => state.snapshots.get(at).and_then(|one| one.properties.get(property)),
            false => state.datasets.get(at).and_then(|one| one.properties.get(property)),
        };
        if let Some(value) = own {
            let inherited = format!("inherited from {at}");
            return (value.clone(), if at == name { "local".to_owned() } else { inherited });
        }
        match at.rsplit_once(['@', '/']) {
            Some((above, _)) => at = above,
            None => return ("-".to_owned(), "-".to_owned()),
        }
    }
}

fn clones(state: &State, name: &str) -> String {
    let of = |(clone, dataset): (&String, &Dataset)| {
        (dataset.origin.as_deref() == Some(name)).then(|| clone.clone())
    };
    state.datasets.iter().filter_map(of).collect::<Vec<_>>().join(",")
}

/// A property, and where it is from (FreeBSD's zfsprops(7)).
pub(crate) fn property(s: &Session<'_>, name: &str, property: &str) -> Done<(String, String)> {
    let state = &*s.state;
    let snapshot = name.contains('@');
    let dataset = state.datasets.get(name);
    let own = dataset.and_then(|one| one.properties.get(property));
    let fixed = |value: &str| Ok((value.to_owned(), "-".to_owned()));
    let settable = |default: &str| {
        let source = if own.is_some() { "local" } else { "default" };
        Ok((own.map_or(default, String::as_str).to_owned(), source.to_owned()))
    };
    match property {
        user if user.contains(':') => Ok(of_user(state, name, user)),
        "name" => fixed(name),
        "type" => fixed(if snapshot { "snapshot" } else { "filesystem" }),
        "used" | "refer" | "referenced" | "avail" | "available" => fixed("96K"),
        "origin" => fixed(dataset.and_then(|one| one.origin.as_deref()).unwrap_or("-")),
        "clones" if snapshot => fixed(&clones(state, name)),
        "mounted" => match dataset {
            Some(one) => fixed(if one.mounted { "yes" } else { "no" }),
            None => fixed("-"),
        },
        "clones" | "mountpoint" if snapshot || property == "clones" => fixed("-"),
        "mountpoint" => {
            let (_, source) = settable("")?;
            Ok((mountpoint(state, name), source))
        }
        "quota" => settable("none"),
        "readonly" | "compression" => settable("off"),
        "canmount" | "atime" => settable("on"),
        property => unknown(format_args!("the property {property}")),
    }
}

/// The dataset on which a path is.
pub(crate) fn at_path(state: &State, path: &str) -> Option<String> {
    let below = |at: &str| path == at || path.starts_with(&format!("{at}/"));
    let mounted = state.datasets.iter().filter(|(_, one)| one.mounted);
    let places = mounted.map(|(name, _)| (mountpoint(state, name), name));
    places.filter(|(at, _)| below(at)).max_by_key(|(at, _)| at.len()).map(|(_, name)| name.clone())
}
