//! Images besides the built-in one: none in this version.

use std::collections::BTreeSet;

use kleene_model::api::ImageCreateConfig;
use kleene_model::{ContainerId, ImageId};

use crate::config::Config;
use crate::system::{Error, ImageMade};

/// Makes an image.
///
/// # Errors
/// [`Error::NotYet`].
pub(crate) fn create_image(
    _: &Config,
    _: ImageId,
    _: &ImageCreateConfig,
    _: &dyn Fn(&str),
) -> Result<ImageMade, Error> {
    Err(Error::NotYet("making images; the image 'host-usr' is built in"))
}

/// Takes an image's files out of the way.
///
/// # Errors
/// None.
pub(crate) fn discard_image(_: &Config, _: ImageId) -> Result<(), Error> {
    Ok(())
}

/// Takes the root of a container out of the way, where it is not in the container's
/// directory.
///
/// # Errors
/// None.
pub(crate) fn discard_root(_: &Config, _: ContainerId) -> Result<(), Error> {
    Ok(())
}

/// The images whose files are there.
///
/// # Errors
/// None.
pub(crate) fn images(_: &Config) -> Result<BTreeSet<ImageId>, Error> {
    Ok(BTreeSet::new())
}

/// Takes roots of containers out of the way that are not known.
///
/// # Errors
/// None.
pub(crate) fn forget_roots(_: &Config, _: &BTreeSet<ContainerId>) -> Result<(), Error> {
    Ok(())
}
