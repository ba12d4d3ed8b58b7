//! What can go wrong while a world is made or asked.

use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, WorldError>;

/// A failure of the test bench itself, never of what is tested.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A file or a directory could not be used.
    #[error("{what} {}", path.display())]
    File {
        /// The operation.
        what: &'static str,
        /// Its subject.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A system call or a program failed.
    #[error("{what}")]
    Sys {
        /// Operation and subject.
        what: String,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// Something else, told in full.
    #[error("{0}")]
    Other(String),
}

impl WorldError {
    /// A closure for `map_err` on file operations.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { what, path: path.to_owned(), source }
    }

    /// A closure for `map_err` on system calls.
    pub(crate) fn sys<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self::Sys { what: what.into(), source: source.into() }
    }

    /// The error and what caused it, in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        text
    }
}
