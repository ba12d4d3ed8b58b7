//! The daemon's root directory: made and locked.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt as _};

use std::path::PathBuf;

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::config::Config;
use crate::system;

/// Holds the root for this daemon alone, as long as it lives.
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its lock only")] File);

/// The root and its directories.
pub(crate) fn directories(config: &Config) -> impl Iterator<Item = PathBuf> {
    ["", "containers", "images", "run", "trash"].into_iter().map(|dir| config.root.join(dir))
}

/// Makes the root and its directories, readable by root alone.
///
/// # Errors
/// When a directory cannot be made.
pub(crate) fn make(config: &Config) -> Result<(), String> {
    let root = &config.root;
    for dir in directories(config) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|err| format!("cannot make {}: {err}", dir.display()))?;
    }
    // One that existed may be open to all, and the store holds environments.
    let closed = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(root, closed)
        .map_err(|err| format!("cannot close {} to others: {err}", root.display()))
}

/// Makes the root, and locks it.
///
/// # Errors
/// When a directory cannot be made, or another daemon has the root.
pub(crate) fn take(config: &Config) -> Result<Lock, String> {
    system::check_root(config)?;
    make(config)?;
    let root = &config.root;
    let path = root.join("lock");
    let file = rustix::fs::open(
        &path,
        OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    )
    .map(File::from)
    .map_err(|err| format!("cannot open {}: {err}", path.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(format!(
            "another kleened uses {}: stop it first, or give this one another 'kleene_root'",
            root.display()
        )),
        Err(err) => Err(format!("cannot lock {}: {err}", path.display())),
    }
}
