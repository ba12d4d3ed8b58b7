//! The programs that run containers.

use std::path::{Path, PathBuf};

use crate::system::Error;

/// The programs that run containers.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// `kleene-supervise`
    pub(crate) supervise: PathBuf,
}

impl Programs {
    /// Those in a directory.
    ///
    /// # Errors
    /// The one that is missing, by name.
    pub(crate) fn find(dir: &Path) -> Result<Self, Error> {
        let programs = Self::named(dir);
        if programs.supervise.is_file() {
            return Ok(programs);
        }
        let path = programs.supervise.display();
        Err(Error::Failed(format!("{path} is missing: kleened needs it beside itself")))
    }

    /// Where they are in a directory that has them.
    pub(crate) fn named(dir: &Path) -> Self {
        Self { supervise: dir.join("kleene-supervise") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let err = Programs::find(dir.path()).expect_err("none");
        assert!(err.to_string().contains("kleene-supervise is missing"), "{err}");
        std::fs::write(dir.path().join("kleene-supervise"), "").expect("a file");
        assert!(Programs::find(dir.path()).is_ok());
    }
}
