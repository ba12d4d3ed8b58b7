//! The operations of the API and the HTTP status of their refusals.
//!
//! Existing clients crash on a status that the API's document does not declare
//! for an operation, so [`Operation::status`] answers with declared ones only.

use crate::refusal::Kind;

/// An operation of the API, for the choice of a declared status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `POST /containers/create`
    ContainerCreate,
    /// `GET /containers/list`
    ContainerList,
    /// `DELETE /containers/{id}`
    ContainerRemove,
    /// `POST /containers/prune`
    ContainerPrune,
    /// `GET /containers/{id}/inspect`
    ContainerInspect,
    /// `POST /containers/{id}/update`
    ContainerUpdate,
    /// `POST /containers/{id}/stop`
    ContainerStop,
    /// `GET /containers/{id}/logs` (ours)
    ContainerLogs,
    /// `POST /exec/create`
    ExecCreate,
    /// `POST /exec/{id}/stop`
    ExecStop,
    /// `GET /exec/{id}/inspect` (ours)
    ExecInspect,
    /// `POST /exec/{id}/resize` (ours)
    ExecResize,
    /// `GET /images/…`, `POST /images/…`, `DELETE /images/…`
    Image,
    /// `POST /networks/create`
    NetworkCreate,
    /// `GET /networks/list`
    NetworkList,
    /// `DELETE /networks/{id}`
    NetworkRemove,
    /// `POST /networks/prune`
    NetworkPrune,
    /// `GET /networks/{id}/inspect`
    NetworkInspect,
    /// `POST /networks/connect`
    NetworkConnect,
    /// `POST /networks/{id}/disconnect/{container}`
    NetworkDisconnect,
    /// `POST /containers/{id}/publish` (ours)
    ContainerPublish,
    /// `POST /containers/{id}/unpublish` (ours)
    ContainerUnpublish,
    /// `POST /networks/explain` (ours)
    NetworkExplain,
    /// `POST /networks/test` (ours)
    NetworkTest,
    /// `GET /networks/stats`, `GET /networks/{id}/stats` (ours)
    NetworkStats,
    /// `GET /networks/log_drops`, `POST /networks/log_drops` (ours)
    LogDrops,
    /// `POST /networks/{id}/link/{interface}` (ours)
    NetworkLink,
    /// `POST /networks/{id}/unlink/{interface}` (ours)
    NetworkUnlink,
}

impl Operation {
    /// The HTTP status for a refusal of this operation: one that the document
    /// of 0.1.1 declares for it, or for our own operations the customary one.
    #[must_use]
    pub fn status(self, kind: Kind) -> u16 {
        match self {
            // Declared: 404 (and 500, which we never mean).
            Self::ContainerCreate
            | Self::ContainerInspect
            | Self::ContainerStop
            | Self::ExecCreate
            | Self::ExecStop
            | Self::Image
            | Self::NetworkRemove
            | Self::NetworkInspect
            | Self::NetworkDisconnect => 404,
            // Declared: 409.
            Self::NetworkCreate => 409,
            // Declared: 404 and 409.
            Self::ContainerRemove | Self::ContainerUpdate | Self::NetworkConnect => match kind {
                Kind::NotFound => 404,
                Kind::Conflict | Kind::Invalid | Kind::Unsupported | Kind::Host => 409,
            },
            // Declared: at most 500. What can be refused there is a query that
            // cannot be read, which 0.1.1 answered with an undeclared 422 too.
            Self::ContainerList | Self::ContainerPrune | Self::NetworkList | Self::NetworkPrune => {
                match kind {
                    Kind::Invalid | Kind::NotFound => 400,
                    Kind::Conflict | Kind::Unsupported | Kind::Host => 500,
                }
            }
            // Ours.
            Self::ContainerLogs
            | Self::ContainerPublish
            | Self::ContainerUnpublish
            | Self::ExecInspect
            | Self::ExecResize
            | Self::NetworkExplain
            | Self::NetworkTest
            | Self::NetworkStats
            | Self::LogDrops
            | Self::NetworkLink
            | Self::NetworkUnlink => match kind {
                Kind::NotFound => 404,
                Kind::Invalid => 400,
                Kind::Conflict | Kind::Unsupported | Kind::Host => 409,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disconnect_is_never_refused_with_409() {
        for kind in [Kind::NotFound, Kind::Conflict, Kind::Invalid, Kind::Unsupported, Kind::Host] {
            assert_eq!(Operation::NetworkDisconnect.status(kind), 404);
        }
    }
}
