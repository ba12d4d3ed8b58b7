//! Images besides the built-in one, and the roots of their containers, as the store
//! keeps them. It is opened for each use: what is mounted may have changed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use kleene_engine::host::chain;
use kleene_host::freebsd::mounts;
use kleene_host::freebsd::release::Release;
use kleene_host::freebsd::run::Tools;
use kleene_host::freebsd::store::{Given, Method, Store};
use kleene_model::api::ImageCreateConfig;
use kleene_model::{Container, ContainerId, ImageId};

use crate::config::Config;
use crate::system::{Error, ImageMade};

/// Opens the store; what it needs is made where it is missing.
fn open(tools: &dyn Tools, config: &Config) -> Result<Store, String> {
    // Two at once would both make it.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Store::open(tools, &config.root, &config.instance).map_err(|err| chain(&err))
}

/// The same where there is one: most hosts have only the built-in image.
fn find(tools: &dyn Tools, config: &Config) -> Result<Option<Store>, String> {
    if Store::is_made(&config.root) { open(tools, config).map(Some) } else { Ok(None) }
}

/// Makes an image.
///
/// # Errors
/// What the request lacks; what a tool says. Nothing of the image stays then.
pub(super) fn create_image(
    tools: &dyn Tools,
    config: &Config,
    id: ImageId,
    request: &ImageCreateConfig,
    say: &dyn Fn(&str),
) -> Result<ImageMade, String> {
    let mut release = None;
    let method = Method::read(request, || {
        let found = Release::of_host(tools)?;
        release = Some(found.clone());
        Ok(found)
    });
    let method = method.map_err(|err| chain(&err))?;
    let store = open(tools, config)?;
    let given = Given { resolv_conf: request.dns, localtime: request.localtime };
    if let Method::Fetch(url) = &method {
        // It says nothing until it is done.
        say(&format!("fetching {url} ..."));
    }
    store.create_image(tools, id, &method, given, say).map_err(|err| chain(&err))?;
    if let Some(release) = &release {
        say(&format!("Created image from the automatically detected version: {release}."));
    }
    let release = release.map(|release| release.nametag());
    Ok(ImageMade { dataset: store.dataset_of(id), release })
}

/// Takes an image's files out of the way. One that has none needs no removal.
///
/// # Errors
/// While something stands on it; what a tool says.
pub(super) fn discard_image(tools: &dyn Tools, config: &Config, id: ImageId) -> Result<(), String> {
    let Some(store) = find(tools, config)? else { return Ok(()) };
    store.remove_image(tools, id).map_err(|err| chain(&err))
}

/// The images whose files are there, whole or not.
///
/// # Errors
/// What the kernel or a tool says.
pub(super) fn images(tools: &dyn Tools, config: &Config) -> Result<BTreeSet<ImageId>, String> {
    let Some(store) = find(tools, config)? else { return Ok(BTreeSet::new()) };
    store.images(tools).map_err(|err| chain(&err))
}

/// Where the root of a container is that stands on such an image.
pub(super) fn root(config: &Config, id: ContainerId) -> PathBuf {
    Store::container_root_below(&config.root, id)
}

/// The root of a container that stands on such an image, made where it is missing.
///
/// # Errors
/// An image without files; what a tool says.
pub(super) fn make_root(
    tools: &dyn Tools,
    config: &Config,
    container: &Container,
) -> Result<PathBuf, String> {
    let store = open(tools, config)?;
    store.create_container(tools, container.image, container.id).map_err(|err| chain(&err))?;
    Ok(root(config, container.id))
}

/// Takes the root of a container out of the way, where it has one here.
///
/// # Errors
/// When something stays mounted in it; what a tool says.
pub(super) fn discard_root(
    tools: &dyn Tools,
    config: &Config,
    id: ContainerId,
) -> Result<(), String> {
    let Some(store) = find(tools, config)? else { return Ok(()) };
    mounts::clear(tools, &root(config, id)).map_err(|err| chain(&err))?;
    store.remove_container(tools, id).map_err(|err| chain(&err))
}

/// Takes roots of containers out of the way that are not `known`.
///
/// # Errors
/// When they cannot be listed, or the first that stays.
pub(super) fn forget_roots(
    tools: &dyn Tools,
    config: &Config,
    known: &BTreeSet<ContainerId>,
) -> Result<(), String> {
    let Some(store) = find(tools, config)? else { return Ok(()) };
    let found = store.containers(tools).map_err(|err| chain(&err))?;
    let mut first = store.forget_copies().map_err(|err| chain(&err));
    for id in found.into_iter().filter(|id| !known.contains(id)) {
        tracing::info!(container = %id, "a root left behind by a container that is no more");
        first = first.and(discard_root(tools, config, id));
    }
    first
}

/// Deletes what is in the store's trash.
///
/// # Errors
/// The first thing that stays.
pub(super) fn empty_trash(tools: &dyn Tools, config: &Config) -> Result<(), Error> {
    let Some(store) = find(tools, config)? else { return Ok(()) };
    store.empty_trash(tools).map_err(|err| chain(&err))?;
    Ok(())
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
