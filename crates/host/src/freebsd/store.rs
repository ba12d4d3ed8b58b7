//! Where images and the roots of containers are kept: datasets where the daemon's
//! root is one, else directories.
//!
//! Below the root, as dataset or directory: `layers/ID` is an image, `roots/ID` the
//! root of a container, `trash` what is about to be deleted. A container's root is a
//! clone of its image's snapshot `image`, or a copy of its directory. (The built-in
//! image needs neither, see [`super::image`].)
//!
//! An image is whole or not there: it has its snapshot last, or is moved to its place
//! as a whole. What a daemon that died left half is found by [`Store::images`] and
//! [`Store::forget_copies`]. `downloads/ID` is where one is fetched to.
//!
//! Removing is renaming into the trash, at once; [`Store::empty_trash`] deletes later.

mod create;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use kleene_model::{ContainerId, ImageId, InstanceName};

use super::archive::{ArchiveError, Url};
use super::datasets::{self, Dataset, Zfs, ZfsError};
pub use super::give::Given;
pub use super::method::{Method, MethodError};
use super::run::{ToolError, Tools};
use super::storage::{self, StorageError, during};
use crate::files::COPYING;

const LAYERS: &str = "layers";
const ROOTS: &str = "roots";
const TRASH: &str = "trash";
const DOWNLOADS: &str = "downloads";
/// The snapshot of an image that containers are cloned from, as 0.1.1 calls it.
const IMAGE: &str = "image";
/// How snapshots of others' datasets begin that images are made of.
const SOURCE: &str = "kleene-";

/// Why something could not be kept or removed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Images of datasets need them.
    #[error("images of datasets need the daemon's root {} to be a dataset of ZFS: give it one of its own", root.display())]
    NoZfs {
        /// The root.
        root: PathBuf,
    },
    /// Whether there is ZFS cannot be told.
    #[error("cannot tell whether {} is a dataset of ZFS", root.display())]
    Unknown {
        /// The root.
        root: PathBuf,
        /// What a tool said.
        #[source]
        source: ToolError,
    },
    /// There is such an image already.
    #[error("the image {image} is there already")]
    Exists {
        /// Its id.
        image: ImageId,
    },
    /// There is no such image.
    #[error("the image {image} has no files")]
    NoImage {
        /// Its id.
        image: ImageId,
    },
    /// A dataset without files.
    #[error("{dataset} is no file system: name one that is, not a volume")]
    NoFilesystem {
        /// The dataset.
        dataset: Dataset,
    },
    /// Without ZFS containers have copies of their image.
    #[error("what {url} gave has {}, neither a directory, a file nor a link: only images on ZFS can hold that", path.display())]
    Special {
        /// Where it is.
        url: Url,
        /// What it is, below the root.
        path: PathBuf,
    },
    /// Others stand on it.
    #[error("the image {image} is in use by {}", by.join(", "))]
    InUse {
        /// Its id.
        image: ImageId,
        /// What was cloned of it.
        by: Vec<String>,
    },
    /// An archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A dataset.
    #[error(transparent)]
    Zfs(#[from] ZfsError),
    /// A directory or file.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Where one daemon keeps images and the roots of containers.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    instance: InstanceName,
    dataset: Option<Dataset>,
}

impl Store {
    /// Looks whether the daemon's root is a dataset of its own, and makes what is needed
    /// below it.
    ///
    /// # Errors
    /// When it cannot be told, or what is below it belongs to somebody else.
    pub fn open(
        tools: &dyn Tools,
        root: &Path,
        instance: &InstanceName,
    ) -> Result<Self, StoreError> {
        let root = root.canonicalize().map_err(during("look at", root))?;
        let dataset = datasets::mounted_at(tools, &root)
            .map_err(|source| StoreError::Unknown { root: root.clone(), source })?;
        let store = Self { root, instance: instance.clone(), dataset };
        match &store.dataset {
            Some(dataset) => {
                let zfs = store.zfs(tools);
                zfs.ensure(&dataset.below(LAYERS), true)?;
                zfs.ensure(&dataset.below(ROOTS), true)?;
                zfs.ensure(&dataset.below(TRASH), false)?;
            }
            None => {
                for dir in [LAYERS, ROOTS, TRASH] {
                    storage::ensure_directory(&store.root.join(dir), 0o700)?;
                }
            }
        }
        storage::ensure_directory(&store.root.join(DOWNLOADS), 0o700)?;
        Ok(store)
    }

    /// Whether there is anything of a store below a daemon's root.
    #[must_use]
    pub fn is_made(root: &Path) -> bool {
        is_directory(&root.join(LAYERS))
    }

    /// The dataset of the daemon's root, where it is one.
    #[must_use]
    pub fn dataset(&self) -> Option<&Dataset> {
        self.dataset.as_ref()
    }

    /// The name of an image's dataset; empty where it is a directory (`dataset` of the
    /// API).
    #[must_use]
    pub fn dataset_of(&self, id: ImageId) -> String {
        self.layer(id).map(|layer| layer.to_string()).unwrap_or_default()
    }

    fn layer(&self, id: ImageId) -> Option<Dataset> {
        let own = self.dataset.as_ref()?;
        Some(own.below(LAYERS).below(&id.to_string()))
    }

    /// Where an image is.
    #[must_use]
    pub fn image_dir(&self, id: ImageId) -> PathBuf {
        self.root.join(LAYERS).join(id.to_string())
    }

    /// Where the root of a container is.
    #[must_use]
    pub fn container_root(&self, id: ContainerId) -> PathBuf {
        Self::container_root_below(&self.root, id)
    }

    /// The same of a store that need not be opened for it.
    #[must_use]
    pub fn container_root_below(root: &Path, id: ContainerId) -> PathBuf {
        root.join(ROOTS).join(id.to_string())
    }

    fn zfs<'a>(&'a self, tools: &'a dyn Tools) -> Zfs<'a> {
        Zfs { tools, instance: &self.instance }
    }

    /// Makes the root of a container of an image, unless it is there: to be called at
    /// every start. A clone is there as a whole, and so is a copy, by its name.
    ///
    /// # Errors
    /// An image that there is not; what the kernel or a tool says.
    pub fn create_container(
        &self,
        tools: &dyn Tools,
        image: ImageId,
        id: ContainerId,
    ) -> Result<(), StoreError> {
        match &self.dataset {
            Some(own) => {
                let zfs = self.zfs(tools);
                let root = own.below(ROOTS).below(&id.to_string());
                if zfs.is_ours(&root.to_string())? {
                    // It may have been cloned, and not mounted.
                    return Ok(zfs.ensure_mounted(&root)?);
                }
                let snapshot = own.below(LAYERS).below(&image.to_string()).snapshot(IMAGE);
                if !zfs.is_ours(&snapshot.to_string())? {
                    return Err(StoreError::NoImage { image });
                }
                Ok(zfs.clone_to(&snapshot, &root)?)
            }
            None if is_directory(&self.container_root(id)) => Ok(()),
            None if !is_directory(&self.image_dir(image)) => Err(StoreError::NoImage { image }),
            None => Ok(storage::copy_tree(&self.image_dir(image), &self.container_root(id))?),
        }
    }

    /// Takes the root of a container out of the way. Nothing may be mounted in it:
    /// [`super::mounts::clear`] comes before. One that is not there needs no removal.
    ///
    /// # Errors
    /// What the kernel or a tool says; a dataset of somebody else.
    pub fn remove_container(&self, tools: &dyn Tools, id: ContainerId) -> Result<(), StoreError> {
        match &self.dataset {
            Some(own) => {
                let root = own.below(ROOTS).below(&id.to_string());
                self.discard(self.zfs(tools), own, &root)
            }
            None => Ok(self.discard_directory(&self.container_root(id))?),
        }
    }

    /// Takes an image out of the way, a half made one too. The snapshot that it was
    /// cloned of goes when the trash is emptied.
    ///
    /// No container may stand on it.
    ///
    /// # Errors
    /// While somebody has cloned it; what the kernel or a tool says.
    pub fn remove_image(&self, tools: &dyn Tools, id: ImageId) -> Result<(), StoreError> {
        self.drop_download(&self.download(id))?;
        match &self.dataset {
            Some(own) => {
                let zfs = self.zfs(tools);
                let layer = own.below(LAYERS).below(&id.to_string());
                let clones = zfs.clones(&layer.snapshot(IMAGE))?;
                // What is in the trash goes before it, or with it; and roots of
                // containers are about to, since none stands on it any more.
                let ours = [TRASH, ROOTS].map(|parent| format!("{}/", own.below(parent)));
                let is_ours = |name: &String| ours.iter().any(|parent| name.starts_with(parent));
                let by: Vec<String> = clones.into_iter().filter(|name| !is_ours(name)).collect();
                if !by.is_empty() {
                    return Err(StoreError::InUse { image: id, by });
                }
                self.discard(zfs, own, &layer)
            }
            None => Ok(self.discard_directory(&self.image_dir(id))?),
        }
    }

    /// Deletes what is in the trash, and gives the number of things. It may take as
    /// long as there are files; run it in the background.
    ///
    /// # Errors
    /// The first thing that stays, after all others were tried.
    pub fn empty_trash(&self, tools: &dyn Tools) -> Result<usize, StoreError> {
        let Some(own) = &self.dataset else {
            return Ok(storage::empty_trash(&self.root.join(TRASH))?);
        };
        let zfs = self.zfs(tools);
        let mut removed = 0;
        let mut first = Ok(());
        // By name: a container before the image that it was cloned of.
        let mut found = zfs.children(&own.below(TRASH))?;
        found.sort();
        for dataset in found {
            match delete(zfs, &dataset) {
                Ok(()) => removed += 1,
                Err(err) => first = first.and(Err(err.into())),
            }
            self.remove_mountpoint(&dataset);
        }
        first.map(|()| removed)
    }

    /// The containers whose roots are there.
    ///
    /// # Errors
    /// What the kernel or a tool says.
    pub fn containers(&self, tools: &dyn Tools) -> Result<Vec<ContainerId>, StoreError> {
        let names = self.names(tools, ROOTS)?;
        Ok(names.iter().filter_map(|name| ContainerId::parse(name).ok()).collect())
    }

    /// The images of which something is there, whole or half made, but the built-in one:
    /// somebody may be at it, or a daemon died at it.
    ///
    /// # Errors
    /// What the kernel or a tool says.
    pub fn images(&self, tools: &dyn Tools) -> Result<BTreeSet<ImageId>, StoreError> {
        // In this order, so that one that is put into its place meanwhile is found.
        let mut names = list(&self.root.join(DOWNLOADS))?;
        names.extend(self.names(tools, LAYERS)?);
        Ok(names.iter().filter_map(|name| ImageId::parse(name).ok()).collect())
    }

    fn names(&self, tools: &dyn Tools, parent: &str) -> Result<Vec<String>, StoreError> {
        let Some(own) = &self.dataset else { return Ok(list(&self.root.join(parent))?) };
        let children = self.zfs(tools).children(&own.below(parent))?;
        Ok(children.iter().map(|child| child.last().to_owned()).collect())
    }

    /// Takes away roots of containers whose copying was cut short. There is no copying
    /// under way.
    ///
    /// # Errors
    /// The first that stays, after all others were tried.
    pub fn forget_copies(&self) -> Result<(), StoreError> {
        if self.dataset.is_some() {
            return Ok(());
        }
        let roots = self.root.join(ROOTS);
        let mut first = Ok(());
        for name in list(&roots)?.iter().filter(|name| name.starts_with(COPYING)) {
            first = first.and(self.discard_directory(&roots.join(name)));
        }
        Ok(first?)
    }

    /// Where an image is fetched to.
    fn download(&self, id: ImageId) -> PathBuf {
        self.root.join(DOWNLOADS).join(id.to_string())
    }

    /// Removes the directory where a dataset in the trash was mounted: zfs(8) does that
    /// for one only that inherits its mountpoint.
    fn remove_mountpoint(&self, dataset: &Dataset) {
        let parents = [("a-root-", ROOTS), ("b-layer-", LAYERS)];
        for (begins, parent) in parents {
            if let Some(id) = dataset.last().strip_prefix(begins) {
                // It fails where something is mounted, or in it.
                drop(std::fs::remove_dir(self.root.join(parent).join(id)));
            }
        }
    }

    /// Renames a dataset of ours into the trash.
    fn discard(&self, zfs: Zfs<'_>, own: &Dataset, dataset: &Dataset) -> Result<(), StoreError> {
        let name = format!("{}-{}", word_for_trash(dataset), dataset.last());
        Ok(zfs.rename(dataset, &own.below(TRASH).below(&name))?)
    }

    fn discard_directory(&self, path: &Path) -> Result<(), StorageError> {
        storage::remove_tree_later(path, &self.root.join(TRASH))
    }
}

fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

/// The names in a directory.
fn list(dir: &Path) -> Result<Vec<String>, StorageError> {
    let names = || -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(dir)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    names().map_err(during("list", dir))
}

/// Deletes a dataset of ours, and then the snapshot of ours that it was cloned of, where
/// it is one of somebody's dataset.
fn delete(zfs: Zfs<'_>, dataset: &Dataset) -> Result<(), ZfsError> {
    let origin = zfs.origin(dataset)?;
    zfs.destroy(dataset)?;
    match origin.filter(|origin| origin.last().starts_with(SOURCE)) {
        Some(source) => zfs.drop_snapshot(&source),
        None => Ok(()),
    }
}

/// How a dataset's name in the trash begins: containers sort before images.
fn word_for_trash(dataset: &Dataset) -> &'static str {
    if dataset.to_string().contains(&format!("/{ROOTS}/")) { "a-root" } else { "b-layer" }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
