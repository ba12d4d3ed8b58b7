//! Which accounts of the host a container knows.

use std::collections::HashSet;

/// Below this, accounts belong to the system; the boundary of login.defs on
/// all merged-`/usr` distributions.
const FIRST_USER: u32 = 1000;
/// `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

fn is_system(number: &str) -> bool {
    number.parse::<u32>().is_ok_and(|n| n < FIRST_USER || n == NOBODY)
}

/// The text of `/etc/passwd` with the system accounts only, without
/// passwords. `*` in place of `x`: a container has no shadow file to look
/// into. Lines that are not seven fields (comments, NIS) are left out.
pub(crate) fn passwd(host: &str) -> String {
    let mut kept = String::new();
    let mut names = HashSet::new();
    for line in host.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, gecos, home, shell] = fields[..] else { continue };
        if is_plain(name) && is_system(uid) && gid.parse::<u32>().is_ok() && names.insert(name) {
            kept.push_str(&format!("{name}:*:{uid}:{gid}:{gecos}:{home}:{shell}\n"));
        }
    }
    if !names.contains("root") {
        kept.insert_str(0, "root:*:0:0:root:/root:/bin/sh\n");
    }
    kept
}

/// The text of `/etc/group` with the system groups only; of their members
/// those that are in `passwd` (the filtered one). `first` is what this system
/// calls the group of number 0, for a host that has none.
pub(crate) fn group(host: &str, passwd: &str, first: &str) -> String {
    let users: HashSet<&str> = passwd.lines().filter_map(|line| line.split(':').next()).collect();
    let mut kept = String::new();
    let mut names = HashSet::new();
    for line in host.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields[..] else { continue };
        if is_plain(name) && is_system(gid) && names.insert(name) {
            let members: Vec<&str> =
                members.split(',').filter(|member| users.contains(member)).collect();
            kept.push_str(&format!("{name}:*:{gid}:{}\n", members.join(",")));
        }
    }
    if !names.contains(first) {
        kept.insert_str(0, &format!("{first}:*:0:\n"));
    }
    kept
}

/// Names that mean an account, not an instruction (`+`, `-`, `#`).
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "\
root:$6$secret:0:0:root:/root:/bin/bash
daemon::1:1:daemon:/usr/sbin:/usr/sbin/nologin
# comment:x:2:2:::
+nis::3:3:::
ada:x:1000:1000:Ada,,,:/home/ada:/bin/bash
_apt:x:42:65534::/nonexistent:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
odd:x:-1:0:::
short:x:7
daemon:x:0:0:twice:/:/bin/sh
big:x:99999999999:0:::
";

    #[test]
    fn system_accounts_stay_and_passwords_go() {
        assert_eq!(
            passwd(PASSWD),
            "root:*:0:0:root:/root:/bin/bash\n\
             daemon:*:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
             _apt:*:42:65534::/nonexistent:/usr/sbin/nologin\n\
             nobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        );
        assert_eq!(passwd(""), "root:*:0:0:root:/root:/bin/sh\n");
    }

    #[test]
    fn groups_name_only_members_that_exist() {
        let host =
            "root:x:0:\nadm:x:4:ada,daemon\nada:x:1000:\nnogroup:x:65534:\nsudo:secret:27:ada\n";
        assert_eq!(
            group(host, &passwd(PASSWD), "root"),
            "root:*:0:\nadm:*:4:daemon\nnogroup:*:65534:\nsudo:*:27:\n"
        );
        assert_eq!(group("operator:*:5:root\n", "", "wheel"), "wheel:*:0:\noperator:*:5:\n");
    }
}
