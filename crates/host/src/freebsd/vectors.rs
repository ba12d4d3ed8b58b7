//! Everything that tools are told, as forms: `{name}` stands for any text that is not
//! empty, a last word `{…}` for any number of words.
//!
//! A test holds each form to the recordings of a real FreeBSD, and each call to a form:
//! what nobody has seen a real system answer is listed in `tests/freebsd/unrecorded.txt`.

use super::{archive, datasets, devfs, image, jail, mounts};
use crate::freebsd::run::Call;

/// Interfaces, addresses, routes and who uses them (`net`).
const NET: &[&str] = &[
    "ifconfig -a -f inet:cidr,inet6:cidr",
    "ifconfig -l",
    "ifconfig -f inet:cidr,inet6:cidr {link}",
    "ifconfig lo create",
    "ifconfig bridge create",
    "ifconfig {pair} create",
    "ifconfig {link} name {name}",
    "ifconfig {link} description {mark}",
    "ifconfig {link} group {group}",
    "ifconfig {link} ether {mac}",
    "ifconfig {link} mtu {bytes}",
    "ifconfig {link} vnet {jail}",
    "ifconfig {link} up",
    "ifconfig {link} down",
    "ifconfig {link} destroy",
    "ifconfig {link} inet {address} alias",
    "ifconfig {link} inet {address} -alias",
    "ifconfig {link} inet6 {address} no_dad alias",
    "ifconfig {link} inet6 {address} -alias",
    "ifconfig {link} inet6 -no_dad",
    "ifconfig {bridge} addm {link}",
    "ifconfig {bridge} deletem {link}",
    "netstat --libxo json -rnW",
    "arp -an --libxo json",
    "ndp -an",
    "route -n get {address}",
    "route -n get -inet6 {address}",
    "sysctl -n {name}",
    "sysctl {name}={value}",
    "sockstat -46l",
    "sockstat -46l -P {protocol} -p {ports}",
    "ps --libxo json -o pid,jid -p {pids}",
    "jls --libxo json -v -j {jail}",
    "jail -m name={jail} ip4.addr={list}",
    "jail -m name={jail} ip4.addr=",
    "jail -m name={jail} ip6.addr={list}",
    "jail -m name={jail} ip6.addr=",
    "jexec {jail} /sbin/ifconfig lo0 inet 127.0.0.1/8 up",
    "jexec {jail} /sbin/ifconfig {link} inet {address} alias",
    "jexec {jail} /sbin/ifconfig {link} inet6 {address} no_dad",
    "jexec {jail} /sbin/ifconfig {link} up",
    "jexec {jail} /sbin/route -n add -inet default {gateway}",
    "jexec {jail} /sbin/route -n add -inet6 default {gateway}",
    "jexec {jail} /sbin/route -n change -inet default {gateway}",
    "jexec {jail} /sbin/route -n change -inet6 default {gateway}",
];

/// The packet filter (`pf`).
const PF: &[&str] = &[
    "pfctl -s info",
    "pfctl -s rules",
    "pfctl -s nat",
    "pfctl -s Tables",
    "pfctl -s Anchors -v",
    "pfctl -vs Interfaces",
    "pfctl -a * -s rules",
    "pfctl -a {anchor} -s rules",
    "pfctl -a {anchor} -s nat",
    "pfctl -a {anchor} -s labels",
    "pfctl -a {anchor} -f -",
    "pfctl -t {table} -T show",
    "pfctl -t {table} -T add {address} {…}",
    "pfctl -t {table} -T delete {address} {…}",
    "pfctl -t {table} -T kill",
    "pfctl -k label -k {label}",
    "pfctl -k {address}",
    "pfctl -k 0.0.0.0/0 -k {address}",
    "pfctl -k ::/0 -k {address}",
];

/// Processes of jails, as the supervisor and the daemon tell of them.
const JAILS: &[&str] = &[
    "jail -r {jail}",
    "jls -j {jail}",
    "jls -j {jail} jid",
    "jexec {jail} {program} {…}",
    "jexec -U {user} {jail} {program} {…}",
    "jexec {jail} /bin/sh -c {command}",
    "ifconfig -g {group}",
    "pkill -KILL -j {jail} .",
    "pkill -{signal} -j {jail} .",
    "ps -x -o stat -J {jail}",
    "sysctl -x kern.boot_id",
];

/// The daemon's root, where it is a dataset.
const ROOT: &[&str] = &[
    "zfs list -H -t filesystem -o mountpoint,mounted {dataset}",
    "zfs create -p -o mountpoint={root} {dataset}",
];

/// All forms.
pub fn all() -> impl Iterator<Item = &'static str> {
    let lists: [&[&str]; 10] = [
        NET,
        PF,
        JAILS,
        ROOT,
        jail::VECTORS,
        devfs::VECTORS,
        mounts::VECTORS,
        image::VECTORS,
        datasets::VECTORS,
        archive::VECTORS,
    ];
    lists.into_iter().flatten().copied()
}

/// Whether a call has one of the forms.
#[must_use]
pub fn is_listed(call: &Call) -> bool {
    let tool = call.tool.to_string();
    let words: Vec<&str> =
        std::iter::once(&*tool).chain(call.args.iter().map(String::as_str)).collect();
    all().any(|form| is_of(form, &words))
}

/// Whether words have a form.
#[must_use]
pub fn is_of(form: &str, words: &[&str]) -> bool {
    let forms: Vec<&str> = form.split(' ').collect();
    let (forms, open) = match forms.split_last() {
        Some((&"{…}", first)) => (first, true),
        _ => (&forms[..], false),
    };
    let length = if open { words.len() >= forms.len() } else { words.len() == forms.len() };
    length && forms.iter().zip(words).all(|(form, word)| is_word_of(form, word))
}

fn is_word_of(form: &str, word: &str) -> bool {
    match form.split_once('{') {
        None => form == word,
        Some((before, rest)) => {
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            let inner = word.strip_prefix(before);
            // What follows a place is found where it comes first.
            inner.is_some_and(|inner| match after.split('{').next().unwrap_or_default() {
                "" if after.is_empty() => !inner.is_empty(),
                "" => false,
                fixed => inner
                    .match_indices(fixed)
                    .any(|(at, _)| at > 0 && is_word_of(after, &inner[at..])),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        let is = |form: &str, typed: &str| is_of(form, &typed.split(' ').collect::<Vec<_>>());
        assert!(is("umount {target}", "umount /a") && !is("umount {target}", "umount -f /a"));
        assert!(is("x a={a},b={b}", "x a=1,b=2") && !is("x a={a},b={b}", "x a=1,b="));
        assert!(is("jail -c {…}", "jail -c a b") && !is("jail -c {…}", "jail -m a b"));
    }
}
