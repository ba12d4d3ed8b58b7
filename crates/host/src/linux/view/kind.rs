//! What mirrors are made of.

use std::sync::OnceLock;

use crate::linux::net::error::NetError;
use crate::linux::net::request;
use crate::linux::net::socket::Socket;
use crate::linux::net::wire::{self, LinkRecord};

/// A kind of link that leads nowhere. Cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An intermediate functional block without a source.
    Ifb,
    /// A bridge without ports, which every kernel with Kleene's networks has.
    Bridge,
}

impl Kind {
    /// The cheapest kind that this kernel has, found out once. A kind whose
    /// module is not loaded does not count: loading `ifb` gives the host two
    /// interfaces that nobody asked for.
    ///
    /// `socket` is best one of a namespace with few links, and at least `lo`.
    pub(super) fn best(socket: &mut Socket) -> Result<Self, NetError> {
        static BEST: OnceLock<Kind> = OnceLock::new();
        if let Some(kind) = BEST.get() {
            return Ok(*kind);
        }
        let kind = if Self::Ifb.is_known(socket)? { Self::Ifb } else { Self::Bridge };
        Ok(*BEST.get_or_init(|| kind))
    }

    /// Whether the kernel knows the kind: asked for the links of a kind, it
    /// answers with those of all kinds, `lo` among them, where it does not.
    pub(super) fn is_known(self, socket: &mut Socket) -> Result<bool, NetError> {
        let request = request::list_kind(self.name());
        let links = socket.list(&request, wire::kind::LINK, |bytes| wire::link(bytes).map(Some))?;
        Ok(links.iter().all(|link| Self::of(link) == Some(self)))
    }

    /// The kernel's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ifb => "ifb",
            Self::Bridge => "bridge",
        }
    }

    /// The kind of a link, or `None` for what is no mirror. Nothing else in a
    /// view is of these kinds: nobody but Kleene makes links there.
    pub(super) fn of(link: &LinkRecord) -> Option<Self> {
        [Self::Ifb, Self::Bridge].into_iter().find(|kind| link.kind.as_deref() == Some(kind.name()))
    }

    /// The MTU that comes closest to `wanted`.
    pub(super) fn mtu(self, wanted: u32) -> u32 {
        match self {
            Self::Ifb => wanted.min(i32::MAX.unsigned_abs()),
            Self::Bridge => wanted.clamp(68, 65_535),
        }
    }

    /// Whether its MAC address can be changed once it is made.
    pub(super) fn takes_mac(self) -> bool {
        match self {
            Self::Ifb => false,
            Self::Bridge => true,
        }
    }
}
