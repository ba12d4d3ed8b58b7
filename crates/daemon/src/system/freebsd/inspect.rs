//! What this host lacks.

use crate::config::Config;
use crate::system::{Error, Finding};

/// Looks at everything that a daemon with this configuration needs of the host.
///
/// # Errors
/// [`Error::NotYet`].
pub(crate) fn inspect(_: &Config) -> Result<Vec<Finding>, Error> {
    Err(Error::NotYet("looking at the host"))
}
