//! zfs(8). Nothing of it is recorded: all is from its manual and from what it is
//! known to say.

use std::collections::BTreeMap;
use std::path::Path;

use super::zfs_properties::{at_path, mountpoint, property};
use crate::freebsd::simulated::session::{Done, Session, unknown};
use crate::freebsd::simulated::state::{Dataset, Snapshot, State};
use crate::freebsd::storage::copy_tree;

impl State {
    /// Imports a pool: its root dataset is mounted at `/NAME`.
    pub(crate) fn import(&mut self, name: &str) {
        self.pools.insert(name.to_owned());
        self.modules.push("zfs".to_owned());
        let root = Dataset { mounted: true, ..Dataset::default() };
        self.datasets.insert(name.to_owned(), root);
        self.directories.insert(format!("/{name}"));
    }
}

/// Runs zfs.
pub(crate) fn zfs(s: &mut Session<'_>, args: &[&str]) -> Done {
    if s.jail.is_some() {
        return unknown("zfs in a jail");
    }
    if let ["mount" | "set" | "send" | "promote", option, ..] = args
        && option.starts_with('-')
    {
        return unknown(option);
    }
    match args {
        ["list", rest @ ..] => list(s, rest),
        ["get", rest @ ..] => get(s, rest),
        ["create", rest @ ..] => create(s, rest),
        ["snapshot", rest @ ..] => snapshot(s, rest),
        ["send", name] => send(s, name),
        ["receive" | "recv", rest @ ..] => receive(s, rest),
        ["clone", rest @ ..] => clone(s, rest),
        ["destroy", rest @ ..] => destroy(s, rest),
        ["set", pair, name] => set(s, pair, name),
        ["mount", name] => mount(s, name, true),
        ["unmount" | "umount", name] | ["unmount" | "umount", "-f", name] => mount(s, name, false),
        // With -u it stays mounted where it is.
        ["rename", from, to] | ["rename", "-u", from, to] => rename(s, from, to),
        ["promote", name] => promote(s, name),
        _ => unknown("what zfs is to do"),
    }
}

fn missing<T>(s: &mut Session<'_>, name: &str) -> Done<T> {
    s.refuse(format_args!("cannot open '{name}': dataset does not exist"))
}

fn exists(s: &Session<'_>, name: &str) -> bool {
    s.state.datasets.contains_key(name) || s.state.snapshots.contains_key(name)
}

fn list(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (mut scripted, mut recursive, mut depth) = (false, false, None::<usize>);
    let (mut kinds, mut columns, mut names) = ("filesystem", None, Vec::<String>::new());
    let mut rest = args.iter().copied();
    while let Some(word) = rest.next() {
        match word {
            "-H" => scripted = true,
            "-p" => {}
            "-Hp" => scripted = true,
            "-r" => recursive = true,
            "-d" => depth = rest.next().and_then(|text| text.parse().ok()),
            "-t" => kinds = rest.next().unwrap_or_default(),
            "-o" => columns = rest.next(),
            option if option.starts_with('-') => return unknown(option),
            path if path.starts_with('/') => match at_path(s.state, path) {
                Some(name) => names.push(name),
                None => {
                    return s.refuse(format_args!("cannot open '{path}': not a ZFS filesystem"));
                }
            },
            name => names.push(name.to_owned()),
        }
    }
    if let Some(name) = names.iter().find(|name| !exists(s, name)).cloned() {
        return missing(s, &name);
    }
    let snapshots = kinds.split(',').any(|kind| ["snapshot", "snap", "all"].contains(&kind));
    let file_systems = kinds.split(',').any(|kind| ["filesystem", "fs", "all"].contains(&kind));
    let below = |one: &str, name: &str| {
        one == name
            || one.strip_prefix(name).is_some_and(|rest| {
                let levels = rest.matches(['/', '@']).count();
                let deep = depth.map_or(recursive, |depth| levels <= depth);
                rest.starts_with(['/', '@']) && deep
            })
    };
    let wanted = |one: &&String| names.is_empty() || names.iter().any(|name| below(one, name));
    let mut found: Vec<String> = Vec::new();
    if file_systems {
        found.extend(s.state.datasets.keys().filter(wanted).cloned());
    }
    if snapshots {
        let named = |one: &&String| wanted(one);
        found.extend(s.state.snapshots.keys().filter(named).cloned());
    }
    found.sort();
    let columns: Vec<&str> =
        columns.unwrap_or("name,used,avail,refer,mountpoint").split(',').collect();
    table(s, scripted, &columns, &found)
}

fn table(s: &mut Session<'_>, scripted: bool, columns: &[&str], names: &[String]) -> Done {
    let mut rows = Vec::new();
    for name in names {
        let cell = |column: &&str| property(s, name, column).map(|(value, _)| value);
        rows.push(columns.iter().map(cell).collect::<Done<Vec<String>>>()?);
    }
    if scripted {
        for row in rows {
            s.say(row.join("\t"));
        }
        return Ok(());
    }
    let heads: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    rows.insert(0, heads);
    let width = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        s.say(line.trim_end());
    }
    Ok(())
}

fn get(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (columns, properties, name) = match args {
        ["-H" | "-Hp", "-o", columns, properties, name] => (*columns, *properties, *name),
        ["-H" | "-Hp", properties, name] => ("name,property,value,source", *properties, *name),
        _ => return unknown("options of zfs get together"),
    };
    if !exists(s, name) {
        return missing(s, name);
    }
    for wanted in properties.split(',') {
        let (value, source) = property(s, name, wanted)?;
        let mut cells = Vec::new();
        for column in columns.split(',') {
            cells.push(match column {
                "name" => name,
                "property" => wanted,
                "value" => value.as_str(),
                "source" => source.as_str(),
                column => return unknown(format_args!("the column {column}")),
            });
        }
        let line = cells.join("\t");
        s.say(line);
    }
    Ok(())
}

/// Takes `-o name=value` and `-p` off the arguments.
fn given<'a>(args: &[&'a str]) -> Done<(BTreeMap<String, String>, bool, Vec<&'a str>)> {
    let (mut properties, mut parents, mut plain) = (BTreeMap::new(), false, Vec::new());
    let mut rest = args.iter().copied();
    while let Some(word) = rest.next() {
        match word {
            "-p" => parents = true,
            "-o" => match rest.next().and_then(|pair| pair.split_once('=')) {
                Some((name, value)) => {
                    properties.insert(name.to_owned(), value.to_owned());
                }
                None => return unknown("-o without a property"),
            },
            option if option.starts_with('-') => return unknown(option),
            word => plain.push(word),
        }
    }
    Ok((properties, parents, plain))
}

/// Makes a dataset, where its parent is and itself is not.
fn make(s: &mut Session<'_>, name: &str, dataset: Dataset, parents: bool) -> Done {
    if exists(s, name) {
        return s.refuse(format_args!("cannot create '{name}': dataset already exists"));
    }
    let Some((above, _)) = name.rsplit_once('/') else {
        return s.refuse(format_args!("cannot create '{name}': missing dataset name"));
    };
    if !s.state.datasets.contains_key(above) {
        if !parents {
            return s.refuse(format_args!("cannot create '{name}': parent does not exist"));
        }
        make(s, above, Dataset { mounted: true, ..Dataset::default() }, true)?;
    }
    s.state.datasets.insert(name.to_owned(), dataset);
    let at = mountpoint(s.state, name);
    s.state.directories.insert(at);
    Ok(())
}

fn mounts(properties: &BTreeMap<String, String>) -> bool {
    let is = |name: &str, value: &str| properties.get(name).is_some_and(|set| set == value);
    !is("canmount", "noauto") && !is("canmount", "off") && !is("mountpoint", "none")
}

fn create(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (properties, parents, plain) = given(args)?;
    let [name] = plain.as_slice() else { return unknown("what zfs create is to make") };
    if parents && s.state.datasets.contains_key(*name) {
        return Ok(());
    }
    let mounted = mounts(&properties);
    make(s, name, Dataset { properties, mounted, ..Dataset::default() }, parents)
}

fn snapshot(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (properties, _, plain) = given(args)?;
    let [name] = plain.as_slice() else { return unknown("what zfs snapshot is to take") };
    let Some((dataset, _)) = name.split_once('@') else { return unknown(name) };
    if !s.state.datasets.contains_key(dataset) {
        return missing(s, dataset);
    }
    if s.state.snapshots.contains_key(*name) {
        return s.refuse(format_args!("cannot create snapshot '{name}': dataset already exists"));
    }
    s.state.snapshots.insert((*name).to_owned(), Snapshot { properties });
    Ok(())
}

/// What `zfs receive` of this simulation reads; a real stream is no text.
const STREAM: &str = "a simulated stream of ";

fn send(s: &mut Session<'_>, name: &str) -> Done {
    if !s.state.snapshots.contains_key(name) {
        return missing(s, name);
    }
    s.say(format_args!("{STREAM}{name}"));
    Ok(())
}

fn receive(s: &mut Session<'_>, args: &[&str]) -> Done {
    let unmounted = args.contains(&"-u");
    let args: Vec<&str> = args.iter().copied().filter(|word| *word != "-u").collect();
    let (properties, _, plain) = given(&args)?;
    let [name] = plain.as_slice() else { return unknown("what zfs receive is to make") };
    let sent = s.stdin.trim_end().strip_prefix(STREAM).and_then(|sent| sent.split_once('@'));
    let Some((_, tag)) = sent else {
        return s.refuse("cannot receive: failed to read from stream");
    };
    if exists(s, name) {
        s.warn(format_args!("cannot receive new filesystem stream: destination '{name}' exists"));
        return s.refuse("must specify -F to overwrite it");
    }
    let mounted = !unmounted && mounts(&properties);
    make(s, name, Dataset { properties, mounted, ..Dataset::default() }, false)?;
    s.state.snapshots.insert(format!("{name}@{tag}"), Snapshot::default());
    Ok(())
}

fn clone(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (properties, parents, plain) = given(args)?;
    let [origin, name] = plain.as_slice() else { return unknown("what zfs clone is to do") };
    if !s.state.snapshots.contains_key(*origin) {
        return missing(s, origin);
    }
    let mounted = mounts(&properties);
    let of = origin.split('@').next().unwrap_or_default();
    let from = mountpoint(s.state, of);
    let origin = Some((*origin).to_owned());
    make(s, name, Dataset { origin, properties, mounted }, parents)?;
    // Files are there outside this simulation, where a tool has made some; and only
    // below the same root, so that nothing is written elsewhere.
    let (from, to) = (Path::new(&from), mountpoint(s.state, name));
    let root = from.parent().and_then(Path::parent).filter(|root| root.parent().is_some());
    let beside = root.is_some_and(|root| Path::new(&to).starts_with(root));
    if mounted && beside && from.is_dir() {
        let copied = Path::new(&to).parent().map(std::fs::create_dir_all).transpose();
        let copied = copied
            .map_err(|err| err.to_string())
            .and_then(|_| copy_tree(from, Path::new(&to)).map_err(|err| err.to_string()));
        copied.or_else(|why| unknown(format!("files of a clone: {why}")))?;
    }
    Ok(())
}

fn destroy(s: &mut Session<'_>, args: &[&str]) -> Done {
    let recursive = args.iter().any(|word| ["-r", "-R", "-rf"].contains(word));
    let plain: Vec<&str> = args.iter().copied().filter(|word| !word.starts_with('-')).collect();
    if args.iter().any(|word| word.starts_with('-') && !["-r", "-R", "-f", "-rf"].contains(word)) {
        return unknown("options of zfs destroy");
    }
    let [name] = plain.as_slice() else { return unknown("what zfs destroy is to destroy") };
    if !exists(s, name) {
        return missing(s, name);
    }
    let below = |one: &str| {
        one == *name || one.strip_prefix(*name).is_some_and(|rest| rest.starts_with(['/', '@']))
    };
    let children = s.state.datasets.keys().chain(s.state.snapshots.keys());
    let children: Vec<String> = children.filter(|one| below(one) && one != name).cloned().collect();
    if !recursive && !children.is_empty() {
        s.warn(format_args!("cannot destroy '{name}': filesystem has children"));
        s.warn("use '-r' to destroy the following datasets:");
        return s.refuse(children.join("\n"));
    }
    let depends = |(one, dataset): (&String, &Dataset)| {
        let origin = dataset.origin.as_deref().is_some_and(below);
        (origin && !below(one)).then(|| one.clone())
    };
    let clones: Vec<String> = s.state.datasets.iter().filter_map(depends).collect();
    if !clones.is_empty() {
        let what = if name.contains('@') { "snapshot" } else { "filesystem" };
        s.warn(format_args!("cannot destroy '{name}': {what} has dependent clones"));
        s.warn("use '-R' to destroy the following datasets:");
        return s.refuse(clones.join("\n"));
    }
    s.state.datasets.retain(|one, _| !below(one));
    s.state.snapshots.retain(|one, _| !below(one));
    Ok(())
}

fn set(s: &mut Session<'_>, pair: &str, name: &str) -> Done {
    let Some((property, value)) = pair.split_once('=') else { return unknown(pair) };
    let (property, value) = (property.to_owned(), value.to_owned());
    match s.state.datasets.get_mut(name) {
        Some(dataset) => {
            dataset.properties.insert(property, value);
            Ok(())
        }
        None => missing(s, name),
    }
}

fn mount(s: &mut Session<'_>, name: &str, on: bool) -> Done {
    match s.state.datasets.get_mut(name) {
        None => missing(s, name),
        Some(dataset) if dataset.mounted != on => {
            dataset.mounted = on;
            Ok(())
        }
        Some(_) if on => {
            s.refuse(format_args!("cannot mount '{name}': filesystem already mounted"))
        }
        Some(_) => s.refuse(format_args!("cannot unmount '{name}': not currently mounted")),
    }
}

fn rename(s: &mut Session<'_>, from: &str, to: &str) -> Done {
    if !exists(s, from) {
        return missing(s, from);
    }
    if exists(s, to) {
        return s.refuse(format_args!("cannot rename '{from}': dataset already exists"));
    }
    let moved = |one: &str| {
        one.strip_prefix(from)
            .filter(|rest| rest.is_empty() || rest.starts_with(['/', '@']))
            .map(|rest| format!("{to}{rest}"))
    };
    let rename = |one: String| moved(&one).unwrap_or(one);
    s.state.datasets = std::mem::take(&mut s.state.datasets)
        .into_iter()
        .map(|(name, dataset)| {
            let origin = dataset.origin.clone().map(rename);
            (rename(name), Dataset { origin, ..dataset })
        })
        .collect();
    s.state.snapshots = std::mem::take(&mut s.state.snapshots)
        .into_iter()
        .map(|(name, snapshot)| (rename(name), snapshot))
        .collect();
    let at = mountpoint(s.state, to);
    s.state.directories.insert(at);
    Ok(())
}

/// The snapshot becomes the clone's, and the other the clone of it.
fn promote(s: &mut Session<'_>, name: &str) -> Done {
    let Some(dataset) = s.state.datasets.get(name) else { return missing(s, name) };
    let Some(origin) = dataset.origin.clone() else {
        return s.refuse(format_args!("cannot promote '{name}': not a cloned filesystem"));
    };
    let Some((parent, tag)) = origin.split_once('@') else { return unknown(origin) };
    let own = format!("{name}@{tag}");
    let snapshot = s.state.snapshots.remove(&origin).unwrap_or_default();
    s.state.snapshots.insert(own.clone(), snapshot);
    for (one, dataset) in &mut s.state.datasets {
        if one == name {
            dataset.origin = None;
        } else if one == parent || dataset.origin.as_deref() == Some(origin.as_str()) {
            dataset.origin = Some(own.clone());
        }
    }
    Ok(())
}
