//! Who a command runs as: the text a user gives, resolved against the
//! container's own `/etc/passwd` and `/etc/group`. Pure; the files are
//! untrusted.

/// Who a command runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory; `/` for users that are not in the file.
    pub home: Vec<u8>,
}

/// A user or group that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Not in the container's `/etc/passwd`.
    #[error("no user {0:?} in the container")]
    NoSuchUser(String),
    /// Not in the container's `/etc/group`.
    #[error("no group {0:?} in the container")]
    NoSuchGroup(String),
}

/// A line of `/etc/passwd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// Login name.
    pub name: &'a [u8],
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: &'a [u8],
    /// Login shell.
    pub shell: &'a [u8],
}

struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

/// Resolves `""`, `name`, `uid`, each optionally followed by `:` and a group's
/// name or number. A number that is in no file is fine. A group that is named
/// replaces the user's groups, supplementary ones included.
///
/// # Errors
///
/// For a name that is not in its file.
pub fn resolve(spec: &[u8], passwd: &[u8], group: &[u8]) -> Result<Identity, UserError> {
    let mut parts = spec.splitn(2, |byte| *byte == b':');
    let user_text = parts.next().unwrap_or_default();
    let group_text = parts.next().unwrap_or_default();
    let user_text = if user_text.is_empty() { b"0".as_slice() } else { user_text };

    let uid = number(user_text);
    let user = find(user_text, passwd);
    let mut identity = match (&user, uid) {
        (Some(user), _) => Identity {
            uid: user.uid,
            gid: user.gid,
            groups: groups(group)
                .filter(|group| group.members.split(|b| *b == b',').any(|m| m == user.name))
                .map(|group| group.gid)
                .collect(),
            home: user.home.to_vec(),
        },
        (None, Some(uid)) => Identity { uid, gid: 0, groups: Vec::new(), home: Vec::new() },
        (None, None) => return Err(UserError::NoSuchUser(lossy(user_text))),
    };
    if identity.home.is_empty() {
        identity.home = b"/".to_vec();
    }
    if !group_text.is_empty() {
        identity.gid = groups(group)
            .find(|group| group.name == group_text)
            .map(|group| group.gid)
            .or_else(|| number(group_text))
            .ok_or_else(|| UserError::NoSuchGroup(lossy(group_text)))?;
        identity.groups.clear();
    }
    Ok(identity)
}

/// The line of a user that is given by name or, where no name is so, by
/// number.
#[must_use]
pub fn find<'a>(user: &[u8], passwd: &'a [u8]) -> Option<User<'a>> {
    let uid = number(user);
    users(passwd)
        .find(|known| known.name == user)
        .or_else(|| users(passwd).find(|known| Some(known.uid) == uid))
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// A decimal id. `u32::MAX` is no id but "leave as it is" to the kernel.
fn number(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn users(passwd: &[u8]) -> impl Iterator<Item = User<'_>> {
    passwd.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty() && name[0] != b'#')?;
        let _password = fields.next()?;
        let uid = number(fields.next()?)?;
        let gid = number(fields.next()?)?;
        let _full_name = fields.next();
        let home = fields.next().unwrap_or_default();
        Some(User { name, uid, gid, home, shell: fields.next().unwrap_or_default() })
    })
}

fn groups(group: &[u8]) -> impl Iterator<Item = Group<'_>> {
    group.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty() && name[0] != b'#')?;
        let _password = fields.next()?;
        let gid = number(fields.next()?)?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# a comment\nbroken\n\
        www:x:33:33:www:/var/www:/bin/false\n1234:x:77:78::/num:\nhuge:x:4294967295:0::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nwww:x:33:\naudio:x:29:root,www\nvideo:x:44:www\n";

    fn of(spec: &str) -> Result<Identity, UserError> {
        resolve(spec.as_bytes(), PASSWD, GROUP)
    }

    #[test]
    fn nothing_is_root() {
        let root = of("").unwrap();
        assert_eq!((root.uid, root.gid, root.groups.as_slice()), (0, 0, [29].as_slice()));
        assert_eq!(root.home, b"/root");
        assert_eq!(resolve(b"", b"", b"").unwrap().home, b"/");
    }

    #[test]
    fn names_numbers_and_groups() {
        let www = of("www").unwrap();
        assert_eq!((www.uid, www.gid, www.groups.as_slice()), (33, 33, [29, 44].as_slice()));
        assert_eq!(of("33").unwrap(), www);
        let narrow = of("www:video").unwrap();
        assert_eq!((narrow.gid, narrow.groups.len()), (44, 0));
        assert_eq!(of("www:4242").unwrap().gid, 4242);
        assert_eq!(of(":44").unwrap().gid, 44);
        // A name of digits is a name first.
        assert_eq!(of("1234").unwrap().uid, 77);
        let stranger = of("5000").unwrap();
        assert_eq!((stranger.uid, stranger.gid), (5000, 0));
        assert_eq!(stranger.home, b"/");
    }

    #[test]
    fn a_number_leads_to_its_line() {
        let www = find(b"33", PASSWD).unwrap();
        assert_eq!(
            (www.name, www.home, www.shell),
            (&b"www"[..], &b"/var/www"[..], &b"/bin/false"[..])
        );
        assert_eq!(find(b"www", PASSWD), Some(www));
        assert_eq!(find(b"1234", PASSWD).unwrap().uid, 77);
        assert_eq!(find(b"34", PASSWD), None);
        assert_eq!(find(b"", PASSWD), None);
    }

    #[test]
    fn what_does_not_exist_is_named() {
        assert_eq!(of("nobody"), Err(UserError::NoSuchUser("nobody".into())));
        assert_eq!(of("www:none"), Err(UserError::NoSuchGroup("none".into())));
        assert_eq!(of("4294967295"), Err(UserError::NoSuchUser("4294967295".into())));
        assert_eq!(of("huge"), Err(UserError::NoSuchUser("huge".into())));
        assert!(of("-1").is_err());
    }

    #[test]
    fn hostile_files_are_no_panic() {
        for noise in [&b"::::::"[..], b"\xff\xff:\xff:1", b"\n\n\n", b"a:b", b":x:0:0"] {
            let _ = resolve(b"a", noise, noise);
            let _ = resolve(noise, noise, noise);
        }
    }
}
