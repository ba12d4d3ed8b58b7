//! Files of containers and images, and their going.

use std::path::Path;

use kleene_engine::host::chain;
use kleene_host::linux::image::HostUsr;
use kleene_host::linux::storage;

use crate::config::Config;
use crate::system::Error;

/// Puts a directory out of sight, into the trash. Nothing happens where there is
/// none.
///
/// # Errors
/// When it cannot be moved.
pub(crate) fn remove_later(path: &Path, trash: &Path) -> Result<(), Error> {
    Ok(storage::remove_tree_later(path, trash).map_err(|err| chain(&err))?)
}

/// Deletes what is in the trash.
///
/// # Errors
/// When something of it cannot be deleted.
pub(crate) fn empty_trash(config: &Config) -> Result<(), Error> {
    storage::empty_trash(&config.trash_dir()).map_err(|err| chain(&err))?;
    Ok(())
}

/// Moves skeletons that no container stands on into the trash. Before any job,
/// since one that is about to be used is in no bundle yet.
///
/// # Errors
/// When they cannot be found or moved.
pub(crate) fn forget_skeletons(config: &Config) -> Result<(), Error> {
    let containers = config.root.join("containers");
    let (images, trash) = (config.images_dir(), config.trash_dir());
    let count = HostUsr::remove_older(&images, &containers, &trash).map_err(|err| chain(&err))?;
    if count > 0 {
        tracing::info!(count, "older skeletons of the image host-usr are removed");
    }
    Ok(())
}
