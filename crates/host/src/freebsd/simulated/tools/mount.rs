//! mount(8) and umount(8).

use crate::freebsd::simulated::session::{Done, Session, unknown};
use crate::freebsd::simulated::state::Mounted;

/// Runs mount.
pub(crate) fn mount(s: &mut Session<'_>, args: &[&str]) -> Done {
    match args {
        [] => {
            list(s);
            Ok(())
        }
        ["-p"] => {
            fstab(s);
            Ok(())
        }
        ["-t", kind, "-o", options, source, at] | ["-o", options, "-t", kind, source, at] => {
            add(s, kind, options, source, at)
        }
        ["-t", kind, source, at] => add(s, kind, "", source, at),
        _ => unknown("options of mount together"),
    }
}

fn seen(s: &Session<'_>) -> Vec<Mounted> {
    let Some(jail) = s.jail.and_then(|jid| s.state.jails.get(&jid)) else {
        return s.state.mounts.clone();
    };
    // With enforce_statfs=2 only that of its root.
    let root = s.state.mounts.iter().rev().find(|one| one.at == jail.path);
    let root = root.or_else(|| s.state.mounts.iter().find(|one| one.at == "/"));
    root.cloned().map(|one| Mounted { at: "/".to_owned(), ..one }).into_iter().collect()
}

fn list(s: &mut Session<'_>) {
    for one in seen(s) {
        let read_only = if one.read_only { ", read-only" } else { "" };
        s.say(format_args!("{} on {} ({}, local{read_only})", one.source, one.at, one.kind));
    }
}

/// Each mount asks for `/etc/fstab`, which is not there, for its two numbers.
fn fstab(s: &mut Session<'_>) {
    for one in seen(s) {
        let options = if one.read_only { "ro" } else { "rw" };
        let (source, at) = (tabbed(&one.source, 3), tabbed(&one.at, 3));
        s.say(format_args!(
            "{source}{at}{}\t{options}\t\t{} {}",
            one.kind, one.fstab.0, one.fstab.1
        ));
        for _ in 0..2 {
            s.warn("fstab: /etc/fstab:0: No such file or directory");
        }
    }
}

/// Fills up to `columns` stops of a tabulator, with one at least.
fn tabbed(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(text.len() / 8).max(1);
    format!("{text}{}", "\t".repeat(missing))
}

fn add(s: &mut Session<'_>, kind: &str, options: &str, source: &str, at: &str) -> Done {
    if !["devfs", "nullfs", "tmpfs", "fdescfs", "procfs", "zfs"].contains(&kind) {
        return unknown(format_args!("file systems of the kind {kind}"));
    }
    let mut mounted = Mounted {
        source: source.to_owned(),
        at: at.to_owned(),
        kind: kind.to_owned(),
        read_only: false,
        ruleset: 0,
        fstab: (0, 0),
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            None if option == "ro" => mounted.read_only = true,
            None if ["rw", "noatime", "nosuid", "noexec"].contains(&option) => {}
            Some(("ruleset", number)) => {
                let Ok(number) = number.parse() else { return unknown(option) };
                mounted.ruleset = number;
            }
            Some(("size" | "mode" | "uid" | "gid", _)) if kind == "tmpfs" => {}
            _ => return unknown(format_args!("the option {option}")),
        }
    }
    if !s.state.has_directory(at) {
        return s.refuse(format_args!("mount: {at}: No such file or directory"));
    }
    s.state.mounts.push(mounted);
    Ok(())
}

/// Runs mount_nullfs.
pub(crate) fn nullfs(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (options, source, at) = match args {
        ["-o", options, source, at] => (*options, *source, *at),
        [source, at] if !source.starts_with('-') => ("", *source, *at),
        _ => return unknown("options of mount_nullfs together"),
    };
    if let Some(missing) = [source, at].into_iter().find(|path| !s.state.has_directory(path)) {
        return s.refuse(format_args!("mount_nullfs: {missing}: No such file or directory"));
    }
    let same = |one: &Mounted| one.kind == "nullfs" && one.at == at && one.source == source;
    if s.state.mounts.iter().any(same) {
        return s.refuse(format_args!("mount_nullfs: {at}: Resource deadlock avoided"));
    }
    add(s, "nullfs", options, source, at)
}

/// Runs umount.
pub(crate) fn umount(s: &mut Session<'_>, args: &[&str]) -> Done {
    let at = match args {
        [at] | ["-f", at] if !at.starts_with('-') => *at,
        _ => return unknown("options of umount together"),
    };
    let last = s.state.mounts.iter().rposition(|one| one.at == at);
    match last {
        Some(last) => {
            s.state.mounts.remove(last);
            Ok(())
        }
        None => s.refuse(format_args!("umount: {at}: not a file system root directory")),
    }
}
