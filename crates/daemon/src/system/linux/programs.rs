//! The programs that run containers.

use std::path::{Path, PathBuf};

use crate::system::Error;

/// The programs that run containers.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// `kleene-supervise`
    pub(crate) supervise: PathBuf,
    /// `kleene-runtime`
    pub(super) runtime: PathBuf,
    /// `kleene-holder`
    pub(super) holder: PathBuf,
}

impl Programs {
    /// Those in a directory.
    ///
    /// # Errors
    /// The first that is missing, by name.
    pub(crate) fn find(dir: &Path) -> Result<Self, Error> {
        let programs = Self::named(dir);
        for path in [&programs.supervise, &programs.runtime, &programs.holder] {
            if !path.is_file() {
                return Err(Error::Failed(format!(
                    "{} is missing: kleened needs it beside itself; 'cargo build --release' makes all programs",
                    path.display()
                )));
            }
        }
        Ok(programs)
    }

    /// Where they are in a directory that has them.
    pub(crate) fn named(dir: &Path) -> Self {
        Self {
            supervise: dir.join("kleene-supervise"),
            runtime: dir.join("kleene-runtime"),
            holder: dir.join("kleene-holder"),
        }
    }
}
