//! How images come into a store.

use std::path::{Path, PathBuf};

use kleene_engine::host::chain;
use kleene_model::ImageId;

use super::{IMAGE, SOURCE, Store, StoreError, is_directory};
use crate::freebsd::archive::{self, Url};
use crate::freebsd::datasets::{Dataset, Snapshot, Zfs};
use crate::freebsd::give::{Given, give};
use crate::freebsd::method::Method;
use crate::freebsd::run::Tools;
use crate::freebsd::storage::{self, StorageError, during};

/// The image that is to be made.
#[derive(Clone, Copy)]
struct Made<'a> {
    id: ImageId,
    given: Given,
    /// Who is told of the progress.
    say: &'a dyn Fn(&str),
}

impl Store {
    /// Makes an image. `say` is told of the progress, line by line, in the words of
    /// 0.1.1. Nothing of it is seen when this fails: what was made is in the trash, and
    /// what was fetched is deleted.
    ///
    /// # Errors
    /// An id that is there; a dataset without ZFS, or one that there is not, or in
    /// another pool; an archive that cannot be fetched or unpacked, or is no root; what
    /// a tool or the kernel says.
    pub fn create_image(
        &self,
        tools: &dyn Tools,
        id: ImageId,
        method: &Method,
        given: Given,
        say: &dyn Fn(&str),
    ) -> Result<(), StoreError> {
        let made = Made { id, given, say };
        let zfs = self.zfs(tools);
        // Whatever has its place from here on is of this call, and goes when it fails.
        let exists = match self.layer(id) {
            Some(layer) => zfs.is_ours(&layer.to_string())?,
            None => is_directory(&self.image_dir(id)),
        };
        if exists {
            return Err(StoreError::Exists { image: id });
        }
        match method {
            Method::ZfsCopy(dataset) | Method::ZfsClone(dataset) => {
                if self.dataset.is_some() && !zfs.is_filesystem(dataset)? {
                    return Err(StoreError::NoFilesystem { dataset: dataset.clone() });
                }
                let source = dataset.snapshot(&format!("{SOURCE}{id}"));
                let copied = matches!(method, Method::ZfsCopy(_));
                self.image_of_dataset(zfs, made, &source, copied)
            }
            Method::Fetch(url) => self.image_of_archive(tools, made, url),
        }
    }

    fn image_of_dataset(
        &self,
        zfs: Zfs<'_>,
        made: Made<'_>,
        source: &Snapshot,
        copied: bool,
    ) -> Result<(), StoreError> {
        let no_zfs = || StoreError::NoZfs { root: self.root.clone() };
        let layer = self.layer(made.id).ok_or_else(no_zfs)?;
        zfs.take(source)?;
        let filled = self.finish_layer(zfs, made, &layer, || {
            if copied {
                (made.say)("copying dataset into the new image, this can take a while...");
                zfs.copy(source, &layer)?;
                Ok(zfs.drop_snapshot(source)?)
            } else {
                (made.say)("cloning dataset...");
                Ok(zfs.clone_to(source, &layer)?)
            }
        });
        if filled.is_err() {
            // While the clone is in the trash it stands on it, and goes with it.
            if let Err(err) = zfs.drop_snapshot(source) {
                (made.say)(&format!("{source} stays for now: {}", chain(&err)));
            }
        }
        filled
    }

    fn image_of_archive(
        &self,
        tools: &dyn Tools,
        made: Made<'_>,
        url: &Url,
    ) -> Result<(), StoreError> {
        let work = self.download(made.id);
        // By its own id: no two calls write the same file.
        storage::make_directory(&work, 0o700)?;
        let done = self.fill_from_archive(tools, made, url, &work);
        // What stays of it is one of the halves.
        drop(self.drop_download(&work));
        done
    }

    fn fill_from_archive(
        &self,
        tools: &dyn Tools,
        made: Made<'_>,
        url: &Url,
        work: &Path,
    ) -> Result<(), StoreError> {
        let file = work.join("archive");
        archive::fetch(tools, url, &file)?;
        (made.say)("Succesfully fetched base system.");
        (made.say)("Unpacking contents and creating image...");
        let unpack = |dir: &Path| -> Result<(), StoreError> {
            archive::unpack(tools, url, &file, dir)?;
            (made.say)("Succesfully extracted binaries, creating image...");
            Ok(())
        };
        let place = self.image_dir(made.id);
        if let Some(layer) = self.layer(made.id) {
            let zfs = self.zfs(tools);
            return self.finish_layer(zfs, made, &layer, || {
                zfs.create(&layer)?;
                unpack(&place)
            });
        }
        let root = half(work);
        storage::make_directory(&root, 0o755)?;
        unpack(&root)?;
        if let Some(path) = special(&root)? {
            return Err(StoreError::Special { url: url.clone(), path });
        }
        give(&root, made.given, made.say)?;
        Ok(std::fs::rename(&root, &place).map_err(during("put in place", &place))?)
    }

    /// Fills a layer, and takes the snapshot which makes an image of it; or takes it
    /// away.
    fn finish_layer(
        &self,
        zfs: Zfs<'_>,
        made: Made<'_>,
        layer: &Dataset,
        fill: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let finish = || {
            give(&self.image_dir(made.id), made.given, made.say)?;
            Ok(zfs.take(&layer.snapshot(IMAGE))?)
        };
        let done = fill().and_then(|()| finish());
        if let (Err(_), Some(own)) = (&done, &self.dataset) {
            // What stands in the way of that is told by the next who tries.
            drop(self.discard(zfs, own, layer));
        }
        done
    }

    /// Takes what was fetched away, and what was made of it where it is no image yet.
    pub(super) fn drop_download(&self, work: &Path) -> Result<(), StorageError> {
        let root = half(work);
        if is_directory(&root) {
            self.discard_directory(&root)?;
        }
        storage::remove_tree(work)
    }
}

/// What is in a tree that cannot be copied, as a path below it. Nobody writes to it.
fn special(root: &Path) -> Result<Option<PathBuf>, StorageError> {
    let mut directories = vec![root.to_owned()];
    while let Some(dir) = directories.pop() {
        let fail = || during("list", &dir);
        for entry in std::fs::read_dir(&dir).map_err(fail())? {
            let entry = entry.map_err(fail())?;
            // Of a link, its own.
            let kind = entry.file_type().map_err(fail())?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if !kind.is_file() && !kind.is_symlink() {
                let path = entry.path();
                return Ok(Some(path.strip_prefix(root).unwrap_or(&path).to_owned()));
            }
        }
    }
    Ok(None)
}

/// Where an archive is unpacked that becomes a directory of images.
fn half(work: &Path) -> PathBuf {
    work.join("root")
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
