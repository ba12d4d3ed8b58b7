//! New links: their indexes, and what every link of ours gets at once.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;

use kleene_engine::change::{Cable, CableUse, Mark};
use kleene_model::{LinkName, MacAddress};
use rustix::io::Errno;

use super::apply::{Failure, Run};
use super::error::{KernelError, NetError};
use super::request::{self, Request, Which};
use super::request_route;
use super::settings;

/// How many indexes are tried for a link.
const TRIES: u32 = 8;

/// Indexes for new links: counted from a random start, far above those that
/// the kernel gives out itself.
#[derive(Debug)]
pub(super) struct Numbers(u32);

impl Numbers {
    const FIRST: u32 = 0x1_0000;
    const LAST: u32 = 0x3fff_ffff;

    pub(super) fn random() -> Self {
        let mut numbers = Self(Self::FIRST);
        numbers.jump();
        numbers
    }

    /// Goes on somewhere else: around here somebody counts too.
    fn jump(&mut self) {
        let random = RandomState::new().hash_one(()) % u64::from(Self::LAST - Self::FIRST);
        self.0 = Self::FIRST + u32::try_from(random).unwrap_or_default();
    }

    pub(super) fn draw(&mut self) -> u32 {
        self.0 = if self.0 >= Self::LAST { Self::FIRST } else { self.0 + 1 };
        self.0
    }
}

/// A link that a queued request makes.
#[derive(Clone, Copy)]
pub(super) enum Made<'a> {
    Bridge {
        link: &'a LinkName,
        mac: MacAddress,
        mark: &'a Mark,
        index: u32,
    },
    /// A dummy; where the kernel has none, a bridge without ports.
    Loopback {
        link: &'a LinkName,
        mac: MacAddress,
        mark: &'a Mark,
        index: u32,
    },
    Cable {
        cable: &'a Cable,
        mark: &'a Mark,
        index: u32,
        inner: u32,
    },
}

impl Made<'_> {
    fn link(&self) -> &LinkName {
        match self {
            Self::Bridge { link, .. } | Self::Loopback { link, .. } => link,
            Self::Cable { cable, .. } => &cable.host,
        }
    }

    fn index(&self) -> u32 {
        match self {
            Self::Bridge { index, .. }
            | Self::Loopback { index, .. }
            | Self::Cable { index, .. } => *index,
        }
    }

    fn mark(&self) -> &Mark {
        match self {
            Self::Bridge { mark, .. } | Self::Loopback { mark, .. } | Self::Cable { mark, .. } => {
                mark
            }
        }
    }
}

impl<'c> Run<'_, 'c> {
    /// The messages that make a link and mark it.
    pub(super) fn making(&self, made: &Made<'_>) -> Result<Vec<Request>, Failure> {
        let make = match made {
            Made::Loopback { link, mac, index, .. } if !self.host.lacks_dummy => {
                request_route::make_dummy(*index, link, *mac)
            }
            Made::Bridge { link, mac, index, .. } | Made::Loopback { link, mac, index, .. } => {
                request::make_bridge(*index, link, *mac)
            }
            Made::Cable { cable, index, inner, .. } => {
                let netns = self.fail(self.host.namespaces.get(cable.container))?;
                request::make_cable(cable, (*index, *inner), netns.as_fd())
            }
        };
        Ok(vec![make, request::set_mark(made.index(), made.mark())])
    }

    /// Reads what became of a new link, and gives it its settings.
    pub(super) fn made(
        &mut self,
        made: Made<'c>,
        verdict: Result<(), KernelError>,
    ) -> Result<(), Failure> {
        let made = match verdict {
            Ok(()) => made,
            Err(refused) => self.make_again(made, refused)?,
        };
        self.host.indexes.insert(made.link().clone(), made.index());
        match made {
            Made::Loopback { link, .. } => self.fail(settings::loopback(link))?,
            Made::Bridge { link, index, .. } => {
                self.fail(settings::bridge(link))?;
                if settings::ipv6() {
                    let verdict = self.host_batch(&[request::link_local_from_mac(index)])?;
                    verdict.map_err(|refused| self.failure(refused))?;
                }
            }
            Made::Cable { cable, inner, .. } => {
                let set = match cable.purpose {
                    CableUse::Port => settings::host_end(&cable.host),
                    CableUse::Routed => settings::routed_end(&cable.host),
                };
                self.fail(set)?;
                if cable.purpose == CableUse::Routed {
                    self.host.routed.insert(cable.host.clone(), cable.container);
                }
                let space = self.inner.entry(cable.container).or_default();
                space.indexes.insert(cable.inner.clone(), inner);
                space.raw.push((self.current, cable.inner.clone()));
            }
        }
        Ok(())
    }

    /// Tries other indexes, if the refused one was somebody's.
    fn make_again(&mut self, made: Made<'c>, refused: KernelError) -> Result<Made<'c>, Failure> {
        let (mut made, mut refused) = (made, refused);
        for _ in 0..TRIES {
            if matches!(made, Made::Loopback { .. }) && refused.errno() == Errno::OPNOTSUPP {
                // From now on a bridge without ports stands in for it.
                self.host.lacks_dummy = true;
            } else if self.index_was_taken(&made, &refused)? {
                self.host.numbers.jump();
                let host = self.free_index()?;
                match &mut made {
                    Made::Bridge { index, .. } | Made::Loopback { index, .. } => *index = host,
                    Made::Cable { cable, index, inner, .. } => {
                        *index = host;
                        // One that stands in a host interface's place keeps its index.
                        if cable.purpose == CableUse::Port {
                            *inner = self.host.numbers.draw();
                        }
                    }
                }
            } else {
                break;
            }
            let requests = self.making(&made)?;
            match self.host_batch(&requests)? {
                Err(again) => refused = again,
                Ok(()) => return Ok(made),
            }
        }
        let taken = refused.errno() == Errno::EXIST;
        let existing = self.host.socket.link(Which::Name(made.link()));
        if taken && self.fail(existing)?.is_some() {
            return Err(self.failure(NetError::NameTaken(made.link().clone())));
        }
        Err(self.failure(refused))
    }

    /// An index that no link of the host has.
    pub(super) fn free_index(&mut self) -> Result<u32, Failure> {
        for _ in 0..TRIES {
            let index = self.host.numbers.draw();
            let holder = self.host.socket.link(Which::Index(index));
            if self.fail(holder)?.is_none() {
                return Ok(index);
            }
            self.host.numbers.jump();
        }
        Err(self.failure(NetError::NoIndex))
    }

    /// Sends requests for the host at once; the first refusal.
    fn host_batch(&mut self, requests: &[Request]) -> Result<Result<(), KernelError>, Failure> {
        let requests: Vec<&Request> = requests.iter().collect();
        let verdicts = self.host.socket.batch(&requests);
        Ok(self.fail(verdicts)?.into_iter().collect())
    }

    /// The kernel says "exists" for a taken name and for a taken index of the
    /// link itself, "busy" for a taken index of its peer.
    fn index_was_taken(&mut self, made: &Made<'_>, refused: &KernelError) -> Result<bool, Failure> {
        match refused.errno() {
            Errno::BUSY => Ok(true),
            Errno::EXIST => {
                let holder = self.host.socket.link(Which::Index(made.index()));
                Ok(self.fail(holder)?.is_some())
            }
            _ => Ok(false),
        }
    }
}
