//! Files of containers and images: what this version does not do yet.

use std::net::IpAddr;
use std::path::Path;

use kleene_model::Container;
use kleene_model::api::MountPointConfig;
use kleene_supervise::proto::Setup;

use crate::config::Config;
use crate::system::Error;

use super::Programs;

/// Looks at the source of a mount.
///
/// # Errors
/// [`Error::NotYet`].
pub(crate) fn check_mount(_: &MountPointConfig) -> Result<(), Error> {
    Err(Error::NotYet("mounts"))
}

/// Makes a container's files, and gives what its supervisor has to know.
///
/// # Errors
/// [`Error::NotYet`].
pub(crate) fn lay_out(
    _: &Config,
    _: &Programs,
    _: &Container,
    _: &[IpAddr],
) -> Result<Setup, Error> {
    Err(Error::NotYet("images and jails"))
}

/// The same when the supervisor says that the host mounts no overlay, which it is
/// never asked for.
///
/// # Errors
/// [`Error::Never`].
pub(crate) fn lay_out_without_overlay(
    _: &Config,
    _: &Programs,
    _: &Container,
    _: &[IpAddr],
) -> Result<Setup, Error> {
    Err(Error::Never("overlays"))
}

/// Puts a directory out of sight, into the trash.
///
/// # Errors
/// [`Error::NotYet`].
pub(crate) fn remove_later(_: &Path, _trash: &Path) -> Result<(), Error> {
    Err(Error::NotYet("removing files of containers"))
}

/// Deletes what is in the trash.
///
/// # Errors
/// [`Error::NotYet`].
pub(crate) fn empty_trash(_: &Path) -> Result<(), Error> {
    Err(Error::NotYet("removing files of containers"))
}

/// Puts what no container stands on into the trash.
///
/// # Errors
/// [`Error::NotYet`].
pub(crate) fn forget_images(_: &Config) -> Result<(), Error> {
    Err(Error::NotYet("removing what is left of images"))
}
