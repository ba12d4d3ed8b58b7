//! The built-in image `host-usr`: the host's own `/usr` with a small root of
//! our own around it. It needs no registry and no download.
//!
//! Name, default command, environment and user are in the model
//! ([`kleene_model::Image::host_usr`]); here is what it is made of:
//!
//! - a *skeleton*: directories, the merged-`/usr` links and a small `/etc`,
//!   the lower layer of `/`;
//! - the host's `/usr`, the lower layer of a second overlay. What the host's
//!   package manager changes there is seen by running containers; the kernel
//!   promises nothing about the moment itself. File systems mounted *below*
//!   the host's `/usr` are not seen;
//! - read-only binds of what belongs to the host's `/usr` but lies in `/etc`.
//!
//! A skeleton's directory name carries a digest of its content: when the host
//! changes (an account, a name server) or Kleene does, the next
//! [`HostUsr::ensure`] makes another beside it, and containers get it at their
//! next start.

use std::io;
use std::path::{Path, PathBuf};

use super::bundle;
use super::storage::{self, StorageError, during};
use crate::accounts::{group, passwd};
use crate::skeleton::{self, Entry, text};

/// How a skeleton is made; part of its name.
const VERSION: u32 = 1;

/// Links at the root of a host with merged `/usr`, and whether each must be
/// there.
const MERGED: [(&str, bool); 6] = [
    ("bin", true),
    ("sbin", true),
    ("lib", true),
    ("lib64", false),
    ("lib32", false),
    ("libx32", false),
];

/// Directories of the root and their modes.
const DIRECTORIES: [(&str, u32); 29] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/.kleene", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/cache/apt", 0o755),
    ("var/cache/apt/archives", 0o755),
    ("var/cache/apt/archives/partial", 0o700),
    ("var/lib", 0o755),
    ("var/lib/apt", 0o755),
    ("var/lib/apt/lists", 0o755),
    ("var/lib/dpkg", 0o755),
    ("var/lib/misc", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o2775),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
    ("var/www", 0o755),
];

/// What a `/usr` needs of `/etc`. No more than this: `/etc/ssl` and
/// `/etc/pki` as a whole would show the host's private keys to containers.
const BINDS: [&str; 8] = [
    "etc/alternatives",
    "etc/ca-certificates",
    "etc/ld.so.cache",
    "etc/nsswitch.conf",
    "etc/pki/ca-trust",
    "etc/pki/tls/certs",
    "etc/ssl/certs",
    "etc/ssl/openssl.cnf",
];

/// Small tables that are copied.
const COPIES: [&str; 4] = ["etc/protocols", "etc/resolv.conf", "etc/services", "etc/shells"];

const PROFILE: &str = "\
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export PATH
";

/// The file `hosts` of a container that was given nothing else.
pub(crate) const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Our `hosts` names one host on several lines, one for each address: without
/// this the C library takes the first.
const HOST_CONF: &str = "multi on\n";

/// Why there is no image `host-usr` on this host.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The host keeps programs outside `/usr`.
    #[error(
        "the image host-usr needs a host with merged /usr, and {} is no link into /usr",
        path.display()
    )]
    NotMerged {
        /// What is no link.
        path: PathBuf,
    },
    /// The skeleton could not be made.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The image on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostUsr {
    lower: PathBuf,
    binds: Vec<PathBuf>,
}

impl HostUsr {
    /// Finds the skeleton for the host as it is, below `images`, or makes it:
    /// beside its place, then with one rename.
    ///
    /// # Errors
    /// A host without merged `/usr`; what the kernel says.
    pub fn ensure(images: &Path) -> Result<Self, ImageError> {
        Self::ensure_from(Path::new("/"), images)
    }

    fn ensure_from(host: &Path, images: &Path) -> Result<Self, ImageError> {
        let entries = entries(host)?;
        let name = skeleton::name_of(VERSION, &entries);
        let finished = |_: &Path| Ok::<_, ImageError>(());
        let lower = skeleton::ensure(images, &name, &entries, storage::remove_tree, finished)?;
        Ok(Self { lower, binds: binds(host) })
    }

    /// The skeleton: the lower layer of the container's `/`.
    #[must_use]
    pub fn lower(&self) -> &Path {
        &self.lower
    }

    /// What of the host's `/etc` is bound into the container, read-only, at
    /// the same place.
    #[must_use]
    pub fn binds(&self) -> &[PathBuf] {
        &self.binds
    }

    /// Puts skeletons below `images` into the trash that are of another host
    /// than it is now, and that no container in `containers` stands on, not
    /// even a stopped one; gives their number. Never to be called while a
    /// bundle is written.
    ///
    /// # Errors
    /// A host without merged `/usr`; what the kernel says.
    pub fn remove_older(
        images: &Path,
        containers: &Path,
        trash: &Path,
    ) -> Result<usize, ImageError> {
        Self::remove_older_from(Path::new("/"), images, containers, trash)
    }

    fn remove_older_from(
        host: &Path,
        images: &Path,
        containers: &Path,
        trash: &Path,
    ) -> Result<usize, ImageError> {
        let Some(in_use) = bundle::skeletons_in_use(containers)? else { return Ok(0) };
        if !images.exists() {
            return Ok(0);
        }
        let current = skeleton::name_of(VERSION, &entries(host)?);
        let in_use = |path: &Path| in_use.contains(path);
        let remove = |path: &Path| storage::remove_tree_later(path, trash);
        Ok(skeleton::remove_older(images, &current, in_use, remove)?)
    }
}

/// Whether the host has a merged `/usr`.
///
/// # Errors
/// The first top directory that is no link into `/usr`, or what the kernel
/// says.
pub fn check_merged() -> Result<(), ImageError> {
    merged_links(Path::new("/")).map(drop)
}

fn binds(host: &Path) -> Vec<PathBuf> {
    BINDS
        .iter()
        .filter(|path| host.join(path).exists())
        .map(|path| Path::new("/").join(path))
        .collect()
}

fn merged_links(host: &Path) -> Result<Vec<Entry>, ImageError> {
    let usr = host.join("usr").canonicalize().map_err(during("look at", &host.join("usr")))?;
    let mut links = Vec::new();
    for (name, required) in MERGED {
        let path = host.join(name);
        let target = match std::fs::read_link(&path) {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !required => continue,
            Err(_) => return Err(ImageError::NotMerged { path }),
        };
        // An absolute link means the host's root, which a test does not have.
        let full = host.join(target.strip_prefix("/").unwrap_or(&target));
        if !full.canonicalize().is_ok_and(|full| full.starts_with(&usr)) {
            return Err(ImageError::NotMerged { path });
        }
        links.push(Entry::Link { path: name.into(), target });
    }
    Ok(links)
}

/// All of a skeleton, from what the host has.
fn entries(host: &Path) -> Result<Vec<Entry>, ImageError> {
    let mut entries: Vec<Entry> = DIRECTORIES
        .iter()
        .map(|&(path, mode)| Entry::Directory { path: path.into(), mode })
        .collect();
    entries.extend(merged_links(host)?);
    let file = |path: &str, content: &str| Entry::File {
        path: path.into(),
        content: content.as_bytes().to_vec(),
    };
    let link = |path: &str, target: &str| Entry::Link { path: path.into(), target: target.into() };

    let accounts = passwd(&text(host, "etc/passwd")?);
    let groups = group(&text(host, "etc/group")?, &accounts, "root");
    entries.extend([
        file("etc/passwd", &accounts),
        file("etc/group", &groups),
        file("etc/hostname", "localhost\n"),
        file("etc/host.conf", HOST_CONF),
        file("etc/hosts", HOSTS),
        file("etc/profile", PROFILE),
        link("etc/mtab", "../proc/self/mounts"),
        link("etc/os-release", "../usr/lib/os-release"),
        link("var/run", "/run"),
        link("var/lock", "/run/lock"),
        link("var/spool/mail", "../mail"),
        // The holder is bound here at every start; an existing place spares
        // each container a copy of the directory.
        file("run/.kleene/holder", ""),
    ]);
    for path in COPIES {
        entries.push(file(path, &text(host, path)?));
    }
    if let Ok(zone) = std::fs::read_link(host.join("etc/localtime"))
        && zone.to_string_lossy().contains("usr/share/zoneinfo/")
    {
        entries.push(Entry::Link { path: "etc/localtime".into(), target: zone });
    }
    entries.extend(bind_places(host));
    Ok(entries)
}

/// Where the binds go, so that no container has to make the places.
fn bind_places(host: &Path) -> Vec<Entry> {
    let mut places = Vec::new();
    for path in BINDS.iter().map(Path::new) {
        let Ok(meta) = std::fs::metadata(host.join(path)) else { continue };
        let parents = path.ancestors().skip(1).filter(|p| p.components().count() > 1);
        let mut directories: Vec<&Path> = parents.collect();
        directories.reverse();
        if meta.is_dir() {
            directories.push(path);
        }
        for path in directories {
            let place = Entry::Directory { path: path.into(), mode: 0o755 };
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if !meta.is_dir() {
            places.push(Entry::File { path: path.into(), content: Vec::new() });
        }
    }
    places
}

/// The host's `resolv.conf` as it is now.
pub(crate) fn resolv_conf() -> Result<String, StorageError> {
    text(Path::new("/"), "etc/resolv.conf")
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
