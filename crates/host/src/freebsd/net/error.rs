//! Why the network of a FreeBSD host could not be asked or changed.

use kleene_engine::host::HostError;
use kleene_model::LinkName;

use crate::freebsd::pf::FilterError;
use crate::freebsd::run::ToolError;

/// Why a look at the host's network, or a change of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A tool refused.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// pf could not be told.
    #[error("cannot change what pf holds")]
    Filter(#[from] Box<FilterError>),
    /// A tool printed what it does not print.
    #[error("the answer of {tool} cannot be read: '{line}'")]
    Unreadable {
        /// The tool.
        tool: &'static str,
        /// The line, or what is left of it.
        line: String,
    },
    /// There is no such interface.
    #[error("there is no interface {0}")]
    NoLink(LinkName),
    /// There is an interface of that name already, ours or not: never taken over.
    #[error("an interface {0} exists already")]
    NameTaken(LinkName),
    /// The interface no longer carries the mark that it was seen with.
    #[error("{link} is not ours any more: {}", found_mark(.found.as_deref()))]
    Foreign {
        /// The interface.
        link: LinkName,
        /// The description that it has now.
        found: Option<String>,
    },
    /// The host's loopback is down. What it would have got, another interface gets:
    /// `::1` goes to the first loopback interface that comes up (FreeBSD 13.2).
    #[error("lo0 is down, and would lose ::1 to {0}: bring it up with 'ifconfig lo0 up'")]
    LoopbackDown(LinkName),
    /// What only other systems do.
    #[error("unsupported on FreeBSD: {0}")]
    Unsupported(String),
}

impl From<FilterError> for NetError {
    fn from(err: FilterError) -> Self {
        match err {
            FilterError::Tool(err) => Self::Tool(err),
            FilterError::Unsupported(what) => Self::Unsupported(what),
            other => Self::Filter(Box::new(other)),
        }
    }
}

fn found_mark(found: Option<&str>) -> String {
    match found {
        Some(text) => format!("it is described as '{text}'"),
        None => "it has no description".to_owned(),
    }
}

/// A line that a tool does not print; of a long one its beginning.
pub(super) fn unreadable(tool: &'static str, line: &str) -> NetError {
    let cut: String = line.chars().take(120).collect();
    NetError::Unreadable { tool, line: cut }
}

/// Says what was attempted.
pub(super) fn host(what: &str) -> impl FnOnce(NetError) -> HostError {
    let what = what.to_owned();
    |source| HostError { what, source: Box::new(source) }
}
