//! The built-in image `host-usr`: the host's own base system with a small root of
//! our own around it. It needs no download and no ZFS.
//!
//! Name, default command, environment and user are in the model
//! ([`kleene_model::Image::host_usr`]); here is what it is made of:
//!
//! - a *skeleton*: directories and a small `/etc`, copied into each container, which
//!   may write there. FreeBSD looks accounts up in `pwd.db`, not in `passwd`, so
//!   `pwd_mkdb` makes it;
//! - the directories of the host's base system, read-only, by nullfs. What the host
//!   updates there is seen by running containers. File systems mounted *below* one
//!   of them are not seen. `/usr/local` is the container's own: what the host has
//!   installed is none of the base system, and keeps its keys below it.
//!
//! A skeleton's directory name carries a digest of its content: when the host
//! changes (an account, a name server) or Kleene does, the next [`HostUsr::ensure`]
//! makes another beside it, and new containers are copied from that.
//!
//! What is told to tools: [`VECTORS`]; from the manual page of pwd_mkdb(8), untried.

use std::io;
use std::path::{Path, PathBuf};

use super::mounts::{FileSystem, Mount};
use super::run::{Call, Tool, ToolError, Tools};
use super::storage::{self, StorageError, during};
use crate::accounts::{group, passwd};
use crate::skeleton::{self, Entry, text};

/// The forms of all that is told to tools here; `{…}` is a place for a text.
pub const VECTORS: &[&str] = &["pwd_mkdb -i -p -d {etc} {etc}/master.passwd"];

/// How a skeleton is made; part of its name.
const VERSION: u32 = 1;

/// Directories of the host's base system, and whether each must be there.
const BASE: [(&str, bool); 15] = [
    ("bin", true),
    ("sbin", true),
    ("lib", true),
    ("libexec", true),
    ("rescue", false),
    ("usr/bin", true),
    ("usr/include", false),
    ("usr/lib", true),
    ("usr/lib32", false),
    ("usr/libdata", false),
    ("usr/libexec", true),
    ("usr/sbin", true),
    ("usr/share", true),
    // What of the base system lies in /etc, and is no secret. /etc/ssl as a whole
    // may hold the host's keys.
    ("etc/pam.d", false),
    ("etc/ssl/certs", false),
];

/// Directories of the root that are the container's own, and their modes (hier(7)).
const DIRECTORIES: [(&str, u32); 29] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/ssl", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/local", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/local/etc", 0o755),
    ("usr/local/lib", 0o755),
    ("usr/local/libexec", 0o755),
    ("usr/local/sbin", 0o755),
    ("usr/local/share", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/cache/pkg", 0o755),
    ("var/db", 0o755),
    ("var/db/pkg", 0o755),
    ("var/empty", 0o555),
    ("var/log", 0o755),
    ("var/mail", 0o1777),
    ("var/run", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
    ("var/crash", 0o750),
];

/// Small tables that are copied.
const COPIES: [&str; 6] = [
    "etc/login.conf",
    "etc/nsswitch.conf",
    "etc/protocols",
    "etc/resolv.conf",
    "etc/services",
    "etc/shells",
];

/// The file `hosts` of a container that was given nothing else.
pub(crate) const HOSTS: &str = "::1\t\t\tlocalhost\n127.0.0.1\t\tlocalhost\n";

/// Why there is no image `host-usr` on this host.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The host lacks a part of the base system, or has it elsewhere.
    #[error("the image host-usr needs the host's base system, and {} is no directory", path.display())]
    NoBase {
        /// What is no directory.
        path: PathBuf,
    },
    /// The skeleton could not be made.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The accounts could not be made.
    #[error("cannot make the accounts of the image host-usr")]
    Accounts(#[source] ToolError),
}

/// The image on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostUsr {
    lower: PathBuf,
    mounts: Vec<Mount>,
}

impl HostUsr {
    /// Finds the skeleton for the host as it is, below `images`, or makes it:
    /// beside its place, then with one rename.
    ///
    /// # Errors
    /// A host without a base system; what the kernel or `pwd_mkdb` says.
    pub fn ensure(tools: &dyn Tools, images: &Path) -> Result<Self, ImageError> {
        Self::ensure_from(tools, Path::new("/"), images)
    }

    fn ensure_from(tools: &dyn Tools, host: &Path, images: &Path) -> Result<Self, ImageError> {
        let mounts = base(host)?;
        let entries = entries(host)?;
        let name = skeleton::name_of(VERSION, &entries);
        let finish = |root: &Path| make_accounts(tools, &root.join("etc"));
        let lower = skeleton::ensure(images, &name, &entries, storage::remove_tree, finish)?;
        Ok(Self { lower, mounts })
    }

    /// The skeleton, which is copied for each container.
    #[must_use]
    pub fn lower(&self) -> &Path {
        &self.lower
    }

    /// The host's base system, read-only, at the same places in the container.
    #[must_use]
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// Puts skeletons below `images` into the trash that are of another host than
    /// it is now; gives their number. Containers stand on copies of them. Never to
    /// be called while a bundle is written.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_older(images: &Path, trash: &Path) -> Result<usize, ImageError> {
        Self::remove_older_from(Path::new("/"), images, trash)
    }

    fn remove_older_from(host: &Path, images: &Path, trash: &Path) -> Result<usize, ImageError> {
        let current = skeleton::name_of(VERSION, &entries(host)?);
        let remove = |path: &Path| storage::remove_tree_later(path, trash);
        Ok(skeleton::remove_older(images, &current, |_| false, remove)?)
    }
}

/// Whether the host has a base system to show.
///
/// # Errors
/// The first directory that is none.
pub fn check_base() -> Result<(), ImageError> {
    base(Path::new("/")).map(drop)
}

fn base(host: &Path) -> Result<Vec<Mount>, ImageError> {
    let mut mounts = Vec::new();
    for (name, required) in BASE {
        let source = host.join(name);
        // A link would lead the mount elsewhere than the name says.
        if source.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            let what = FileSystem::Nullfs { source, read_only: true };
            mounts.push(Mount { what, destination: Path::new("/").join(name) });
        } else if required {
            return Err(ImageError::NoBase { path: source });
        }
    }
    Ok(mounts)
}

/// All of a skeleton, from what the host has.
fn entries(host: &Path) -> Result<Vec<Entry>, StorageError> {
    let directory = |path: &str, mode| Entry::Directory { path: path.into(), mode };
    let file = |path: &str, content: String| Entry::File {
        path: path.into(),
        content: content.into_bytes(),
    };
    let mut entries: Vec<Entry> =
        DIRECTORIES.iter().map(|&(path, mode)| directory(path, mode)).collect();
    entries.extend(BASE.iter().map(|(path, _)| directory(path, 0o755)));
    let accounts = passwd(&text(host, "etc/passwd")?);
    let groups = group(&text(host, "etc/group")?, &accounts, "wheel");
    entries.push(file("etc/master.passwd", master(&accounts)));
    entries.push(file("etc/group", groups));
    entries.push(file("etc/hosts", HOSTS.to_owned()));
    for path in COPIES {
        entries.push(file(path, text(host, path)?));
    }
    let link = |path: &str, target| Entry::Link { path: path.into(), target };
    entries.push(link("etc/termcap", "../usr/share/misc/termcap".into()));
    entries.extend(zone(host)?.map(|zone| link("etc/localtime", zone)));
    Ok(entries)
}

/// The accounts as `master.passwd` has them (passwd(5)): no password, no class, and
/// neither of them ever expires.
fn master(passwd: &str) -> String {
    let mut master = String::new();
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, gecos, home, shell] = fields[..] else { continue };
        master.push_str(&format!("{name}:*:{uid}:{gid}::0:0:{gecos}:{home}:{shell}\n"));
    }
    master
}

/// The host's time zone: where its link leads, else the name that tzsetup(8) wrote
/// down when it made a copy.
fn zone(host: &Path) -> Result<Option<PathBuf>, StorageError> {
    let path = host.join("etc/localtime");
    match std::fs::read_link(&path) {
        Ok(zone) if zone.to_string_lossy().contains("usr/share/zoneinfo/") => Ok(Some(zone)),
        Ok(_) => Ok(None),
        // No link (EINVAL), or nothing.
        Err(e) if [io::ErrorKind::InvalidInput, io::ErrorKind::NotFound].contains(&e.kind()) => {
            let name = text(host, "var/db/zoneinfo")?;
            let name = name.trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
            let named = !name.is_empty() && !name.starts_with('/') && name.chars().all(plain);
            Ok(named.then(|| Path::new("/usr/share/zoneinfo").join(name)))
        }
        Err(e) => Err(during("read", &path)(e)),
    }
}

/// Makes `passwd`, `pwd.db` and `spwd.db` of `master.passwd`, which only root may read.
fn make_accounts(tools: &dyn Tools, etc: &Path) -> Result<(), ImageError> {
    use std::os::unix::fs::PermissionsExt as _;
    let master = etc.join("master.passwd");
    let rights = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&master, rights).map_err(during("close", &master))?;
    let words = ["-i", "-p", "-d"].map(str::to_owned).into_iter();
    let paths = [etc, &master].map(|path| path.display().to_string());
    let call = Call::new(Tool::PwdMkdb, words.chain(paths));
    tools.run(&call).map(drop).map_err(ImageError::Accounts)
}

/// The host's `resolv.conf` as it is now.
///
/// # Errors
/// What the kernel says.
pub(crate) fn resolv_conf() -> Result<String, StorageError> {
    text(Path::new("/"), "etc/resolv.conf")
}

/// The host's `localtime` as it is now; `None` where it has none.
///
/// # Errors
/// What the kernel says.
pub(crate) fn localtime() -> Result<Option<Vec<u8>>, StorageError> {
    let path = Path::new("/etc/localtime");
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(during("read", path)(e)),
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
