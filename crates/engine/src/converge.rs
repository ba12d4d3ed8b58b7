//! Brings the kernel to the desired state, from whatever it is in: at the start,
//! and when somebody has changed what is ours.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::change::{Change, Owner};
use crate::command::Effect;
use crate::engine::Engine;
use crate::host::{ApplyError, Host, chain};
use crate::plan::{Scope, plan};
use crate::store::{Key, Store};
use crate::touched::Touched;

impl<H: Host, S: Store> Engine<H, S> {
    /// Brings the kernel to the desired state, whatever is there. Returns what
    /// was done, and what was refused, for which objects.
    pub(crate) fn converge(&mut self) -> (Vec<Change>, Vec<(Touched, ApplyError)>) {
        let changes = plan(Scope::All, &self.actual, &self.state, &self.instance);
        if self.carry_out(&changes).is_ok() {
            self.tidy();
            return (changes, Vec::new());
        }
        // One object that cannot be brought back does not keep the others
        // away: each for itself, links that nobody wants any more included.
        match self.host.observe() {
            Ok(seen) => self.see(seen),
            Err(err) => self.effects.push(Effect::Degraded { why: chain(&err) }),
        }
        let (mut done, mut failures) = (Vec::new(), Vec::new());
        for touched in self.each_alone() {
            let scope = Scope::Touched(&touched);
            let changes = plan(scope, &self.actual, &self.state, &self.instance);
            match self.carry_out(&changes) {
                Ok(()) => done.extend(changes),
                Err(refused) => failures.push((touched, refused)),
            }
        }
        (done, failures)
    }

    /// What of ours nobody knows of goes, once all stands that shall.
    fn tidy(&mut self) {
        match self.host.tidy() {
            Ok(went) if went.is_empty() => {}
            Ok(changes) => self.effects.push(Effect::Mended { changes }),
            Err(err) => self.effects.push(Effect::Degraded { why: chain(&err) }),
        }
    }

    /// Every object for itself: those that shall be, and those that are.
    fn each_alone(&self) -> Vec<Touched> {
        let marks = self.actual.links().filter_map(|link| link.owned(&self.instance));
        let owners = marks.map(|owned| match owned.mark().owner {
            Owner::Network(id) => Key::Network(id),
            Owner::Endpoint(id) => Key::Endpoint(id),
            Owner::Container(id) => Key::Container(id),
        });
        let keys: BTreeSet<Key> = self.state.all_keys().into_iter().chain(owners).collect();
        let addresses: BTreeSet<IpAddr> =
            self.state.held_addresses().chain(self.actual.placed_addresses()).collect();
        let alone = |addr| Touched { addresses: BTreeSet::from([addr]), ..Touched::default() };
        keys.into_iter().map(Touched::one).chain(addresses.into_iter().map(alone)).collect()
    }
}
