//! The host as the engine knows it: nothing makes one yet.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kleene_engine::actual::{Actual, HostRoute};
use kleene_engine::change::Change;
use kleene_engine::host::{ApplyError, HostError, Listener};
use kleene_engine::piece::Inside;
use kleene_engine::{Disturbance, Host as HostOfEngine};
use kleene_model::{Borrowed, ContainerId, Family, LinkName, NetworkType, Ports, Protocol};

/// Carries changes out, and observes. It has no value until this version does.
pub(crate) enum Host {}

impl HostOfEngine for Host {
    fn observe(&mut self) -> Result<Actual, HostError> {
        match *self {}
    }

    fn look_again(&mut self, _: &Disturbance) -> Result<Option<Disturbance>, HostError> {
        match *self {}
    }

    fn routes(&mut self) -> Result<Vec<HostRoute>, HostError> {
        match *self {}
    }

    fn inside(&mut self, _: ContainerId) -> Result<BTreeSet<Inside>, HostError> {
        match *self {}
    }

    fn to_borrow(
        &mut self,
        _: &LinkName,
        _: NetworkType,
        _: Family,
    ) -> Result<Vec<Borrowed>, HostError> {
        match *self {}
    }

    fn to_pass(&mut self, _: &LinkName, _: Family) -> Result<Vec<Borrowed>, HostError> {
        match *self {}
    }

    fn setting(&mut self, _: &str) -> Option<String> {
        match *self {}
    }

    fn neighbours(&mut self, _: &LinkName) -> Result<BTreeSet<IpAddr>, HostError> {
        match *self {}
    }

    fn has_address(&mut self, _: IpAddr) -> Result<bool, HostError> {
        match *self {}
    }

    fn way_out(&mut self, _: IpAddr) -> Result<Option<LinkName>, HostError> {
        match *self {}
    }

    fn listeners(&mut self, _: Protocol, _: &[Ports]) -> Result<Vec<Listener>, HostError> {
        match *self {}
    }

    fn apply(&mut self, _: &[Change]) -> Result<(), ApplyError> {
        match *self {}
    }
}
