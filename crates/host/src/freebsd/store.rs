//! Where images and the roots of containers are kept: datasets where the daemon's
//! root is one, else directories.
//!
//! Below the root, as dataset or directory: `layers/ID` is an image, `roots/ID` the
//! root of a container, `trash` what is about to be deleted. A container's root is a
//! clone of its image's snapshot `image`, or a copy of its directory. (The built-in
//! image needs neither, see [`super::image`].)
//!
//! Removing is renaming into the trash, at once; [`Store::empty_trash`] deletes later.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use kleene_model::{ContainerId, ImageId, InstanceName};
use rustix::fs::Mode;

use super::datasets::{self, Dataset, InvalidDataset, Snapshot, Zfs, ZfsError};
use super::image;
use super::run::{ToolError, Tools};
use super::storage::{self, StorageError, during};
use super::within::{self, Rights};

const LAYERS: &str = "layers";
const ROOTS: &str = "roots";
const TRASH: &str = "trash";
/// The snapshot of an image that containers are cloned from, as 0.1.1 calls it.
const IMAGE: &str = "image";
/// How snapshots of others' datasets begin that images are made of.
const SOURCE: &str = "kleene-";

/// How an image is made (`method` of the API).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// A copy of a dataset.
    ZfsCopy(Dataset),
    /// A clone of a dataset, which has to stay.
    ZfsClone(Dataset),
}

/// Why there is no such way to make an image.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// A way that is not supported.
    #[error(
        "unsupported: images by '{method}' in this version: use zfs-copy or zfs-clone, or the image 'host-usr', which is built in"
    )]
    Unsupported {
        /// The way.
        method: String,
    },
    /// No dataset is named.
    #[error(transparent)]
    Dataset(#[from] InvalidDataset),
}

impl Method {
    /// Reads `method` and `zfs_dataset` of the API. `fetch` and `fetch-auto` are known
    /// and not supported.
    ///
    /// # Errors
    /// Another method; a dataset that is none.
    pub fn parse(method: &str, dataset: &str) -> Result<Self, MethodError> {
        match method {
            "zfs-copy" => Ok(Self::ZfsCopy(Dataset::parse(dataset)?)),
            "zfs-clone" => Ok(Self::ZfsClone(Dataset::parse(dataset)?)),
            other => Err(MethodError::Unsupported { method: other.to_owned() }),
        }
    }

    fn dataset(&self) -> &Dataset {
        match self {
            Self::ZfsCopy(dataset) | Self::ZfsClone(dataset) => dataset,
        }
    }
}

/// What of the host a new image gets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// Its `/etc/resolv.conf` (`dns` of the API).
    pub resolv_conf: bool,
    /// Its `/etc/localtime`, where it has one (`localtime` of the API).
    pub localtime: bool,
}

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
    /// There is no such image.
    #[error("the image {image} has no files")]
    NoImage {
        /// Its id.
        image: ImageId,
    },
    /// Others stand on it.
    #[error("the image {image} is in use by {}", by.join(", "))]
    InUse {
        /// Its id.
        image: ImageId,
        /// What was cloned of it.
        by: Vec<String>,
    },
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
    /// Looks whether the daemon's root is a dataset of its own, and makes what is
    /// needed below it.
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
        Ok(store)
    }

    /// The dataset of the daemon's root, where it is one.
    #[must_use]
    pub fn dataset(&self) -> Option<&Dataset> {
        self.dataset.as_ref()
    }

    /// Where an image is.
    #[must_use]
    pub fn image_dir(&self, id: ImageId) -> PathBuf {
        self.root.join(LAYERS).join(id.to_string())
    }

    /// Where the root of a container is.
    #[must_use]
    pub fn container_root(&self, id: ContainerId) -> PathBuf {
        self.root.join(ROOTS).join(id.to_string())
    }

    fn zfs<'a>(&'a self, tools: &'a dyn Tools) -> Zfs<'a> {
        Zfs { tools, instance: &self.instance }
    }

    /// Makes an image of a dataset. Nothing of it stays when this fails, or what does
    /// is in the trash.
    ///
    /// # Errors
    /// Without ZFS; a dataset that there is not, or in another pool; what a tool says.
    pub fn create_image(
        &self,
        tools: &dyn Tools,
        id: ImageId,
        method: &Method,
        given: Given,
    ) -> Result<(), StoreError> {
        let no_zfs = || StoreError::NoZfs { root: self.root.clone() };
        let own = self.dataset.as_ref().ok_or_else(no_zfs)?;
        let zfs = self.zfs(tools);
        let layer = own.below(LAYERS).below(&id.to_string());
        let source = method.dataset().snapshot(&format!("{SOURCE}{id}"));
        zfs.take(&source)?;
        let made = self.fill_image(zfs, id, method, &source, &layer, given);
        let copied = matches!(method, Method::ZfsCopy(_));
        if made.is_err() {
            // What stands in the way of that is said by the next who tries.
            drop(self.discard(zfs, own, &layer));
        }
        // A clone stands on it.
        if made.is_err() || copied {
            let dropped = zfs.drop_snapshot(&source);
            return made.and(dropped.map_err(Into::into));
        }
        made
    }

    fn fill_image(
        &self,
        zfs: Zfs<'_>,
        id: ImageId,
        method: &Method,
        source: &Snapshot,
        layer: &Dataset,
        given: Given,
    ) -> Result<(), StoreError> {
        match method {
            Method::ZfsCopy(_) => zfs.copy(source, layer)?,
            Method::ZfsClone(_) => zfs.clone_to(source, layer)?,
        }
        give(&self.image_dir(id), given)?;
        Ok(zfs.take(&layer.snapshot(IMAGE))?)
    }

    /// Makes the root of a container of an image.
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
                let snapshot = own.below(LAYERS).below(&image.to_string()).snapshot(IMAGE);
                if !zfs.is_ours(&snapshot.to_string())? {
                    return Err(StoreError::NoImage { image });
                }
                Ok(zfs.clone_to(&snapshot, &own.below(ROOTS).below(&id.to_string()))?)
            }
            None if !self.image_dir(image).is_dir() => Err(StoreError::NoImage { image }),
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

    /// Takes an image out of the way. The snapshot that it was cloned of goes when the
    /// trash is emptied.
    ///
    /// # Errors
    /// While something is cloned of it; what the kernel or a tool says.
    pub fn remove_image(&self, tools: &dyn Tools, id: ImageId) -> Result<(), StoreError> {
        match &self.dataset {
            Some(own) => {
                let zfs = self.zfs(tools);
                let layer = own.below(LAYERS).below(&id.to_string());
                let clones = zfs.clones(&layer.snapshot(IMAGE))?;
                // What is in the trash goes before it, or with it.
                let trash = format!("{}/", own.below(TRASH));
                let by: Vec<String> =
                    clones.into_iter().filter(|name| !name.starts_with(&trash)).collect();
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

    /// The images that are there, but the built-in one.
    ///
    /// # Errors
    /// What the kernel or a tool says.
    pub fn images(&self, tools: &dyn Tools) -> Result<Vec<ImageId>, StoreError> {
        let names = self.names(tools, LAYERS)?;
        Ok(names.iter().filter_map(|name| ImageId::parse(name).ok()).collect())
    }

    fn names(&self, tools: &dyn Tools, parent: &str) -> Result<Vec<String>, StoreError> {
        if let Some(own) = &self.dataset {
            let children = self.zfs(tools).children(&own.below(parent))?;
            return Ok(children.iter().map(|child| child.last().to_owned()).collect());
        }
        let dir = self.root.join(parent);
        let list = || -> io::Result<Vec<String>> {
            let entries = std::fs::read_dir(&dir)?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        Ok(list().map_err(during("list", &dir))?)
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

/// Gives an image files of the host. Its content is hostile: no link of it is
/// followed.
fn give(root: &Path, given: Given) -> Result<(), StorageError> {
    if !given.resolv_conf && !given.localtime {
        return Ok(());
    }
    let fail = || during("open etc below", root);
    let top = std::fs::File::open(root).map_err(fail())?;
    let etc = match within::open_directory(top.as_fd(), "etc".as_ref()) {
        Ok(etc) => etc,
        // An image without the place for them.
        Err(errno) if errno == rustix::io::Errno::NOENT || within::is_link(errno) => return Ok(()),
        Err(errno) => return Err(fail()(errno.into())),
    };
    let rights = Rights { mode: Mode::from_raw_mode(0o644), owner: None };
    let put = |name: &str, content: &[u8]| {
        within::put(etc.as_fd(), name.as_ref(), content, rights)
            .map_err(during("write", &root.join("etc").join(name)))
    };
    if given.resolv_conf {
        put("resolv.conf", image::resolv_conf()?.as_bytes())?;
    }
    if given.localtime
        && let Some(zone) = image::localtime()?
    {
        put("localtime", &zone)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
