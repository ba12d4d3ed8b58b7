//! Trying flows on a stage.

use crate::linux::facts::{self, Facts};
use crate::linux::flow::{Draw, Spec};
use crate::linux::hub::Report;
use crate::linux::judge::{Case, Wrong};
use crate::linux::rng::Rng;
use crate::linux::stage::Stage;
use kleene_e2e::World;
use kleene_model::Driver;
use kleene_model::policy::{Origin, Translation};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long an answer may take that is expected; then it is asked for again.
const FIRST: Duration = Duration::from_millis(800);
/// How long silence has to last where it is expected.
const SILENT: Duration = Duration::from_millis(450);
/// The second time.
const SECOND: Duration = Duration::from_millis(2500);

/// A case and what is wrong with it.
pub(crate) struct Disagreement {
    pub(crate) case: Case,
    pub(crate) report: Report,
    pub(crate) wrong: Wrong,
}

impl Disagreement {
    pub(crate) fn text(&self) -> String {
        let Case { spec, flow, verdict, expected, tells: _ } = &self.case;
        let mut text = format!("{spec}\n");
        let number = verdict.rule.number();
        let _ = writeln!(text, "  {} -> {}, {:?}", flow.source, flow.to, flow.payload);
        let _ = writeln!(text, "  {}", self.wrong);
        let _ = writeln!(text, "  oracle: rule {number} ({}): {:?}", verdict.rule, verdict.blocked);
        let _ = writeln!(text, "  expected: {expected}");
        let _ = writeln!(text, "  seen: {:?}", self.report.outcome);
        for (place, peer) in &self.report.arrived {
            let _ = writeln!(text, "  arrived in {place}, from {peer}");
        }
        text
    }
}

/// A stage with the oracle's picture of it.
pub(crate) struct Trial<'w> {
    pub(crate) stage: Stage<'w>,
    pub(crate) facts: Facts,
    /// How many flows were tried twice.
    pub(crate) again: usize,
}

/// Numbers of flows are never used twice: what comes late must not be taken for
/// something else.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl<'w> Trial<'w> {
    pub(crate) fn new(
        world: &'w World,
        topology: &crate::linux::topology::Topology,
    ) -> Result<Self, String> {
        let stage = Stage::make(world, topology)?;
        let facts = Facts::of(&stage)?;
        let missing = facts::missing(&stage, &facts);
        if missing.is_empty() {
            Ok(Self { stage, facts, again: 0 })
        } else {
            Err(missing.join("\n"))
        }
    }

    /// Draws flows.
    pub(crate) fn draw(&self, rng: &mut Rng, count: usize) -> Result<Vec<Case>, String> {
        let specs = Draw::new(&self.stage, &self.facts).flows(rng, count);
        let cases = specs.into_iter().map(|spec| self.case(spec));
        let cases = cases.collect::<Result<Vec<Case>, String>>()?;
        Ok(cases.into_iter().filter(|case| !self.is_led_past(case)).collect())
    }

    /// Whether the kernel leads a flow by itself, past the host: where it shows
    /// bridged packets to the firewall, one that is led to another port of the
    /// bridge that it came by is sent there at once (`br_nf_pre_routing_finish`).
    /// That does not work between isolated ports, nor back to the same one.
    fn is_led_past(&self, case: &Case) -> bool {
        let by_cable = |addr: &IpAddr| {
            let member = self.facts.policy.members.get(addr);
            member.is_none_or(|member| member.driver == Driver::Vnet)
        };
        let Translation { to: Some((to, _)), source: Some(_) } = case.verdict.translation else {
            return false;
        };
        self.stage.topology.filters_bridges()
            && case.flow.from != Origin::Host
            && by_cable(&case.flow.source)
            && by_cable(&to)
    }

    pub(crate) fn case(&self, spec: Spec) -> Result<Case, String> {
        Case::new(&self.stage, &self.facts, spec)
    }

    /// Tries them all at once; those that fail for want of an answer a second
    /// time, with more patience.
    pub(crate) fn run(&mut self, cases: &[Case]) -> Result<Vec<Option<Disagreement>>, String> {
        let mut found = self.once(cases, FIRST)?;
        let again: Vec<usize> = found
            .iter()
            .enumerate()
            .filter(|(_, one)| one.as_ref().is_some_and(|one| one.wrong != Wrong::Leaks))
            .map(|(index, _)| index)
            .collect();
        self.again += again.len();
        if !again.is_empty() {
            let cases: Vec<Case> = again.iter().map(|&index| cases[index].clone()).collect();
            let second = self.once(&cases, SECOND)?;
            for (index, result) in again.into_iter().zip(second) {
                found[index] = result;
            }
        }
        Ok(found)
    }

    fn once(
        &mut self,
        cases: &[Case],
        patience: Duration,
    ) -> Result<Vec<Option<Disagreement>>, String> {
        let mut orders = Vec::new();
        for case in cases {
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            let patience = if case.is_silent() { SILENT } else { patience };
            let order = case.spec.order(&self.stage, id, patience);
            let order = order.ok_or_else(|| format!("no such flow here: {}", case.spec))?;
            orders.push((case.spec.from.clone(), order));
        }
        let mut reports = self.stage.hub.run(&orders)?;
        let judged = cases.iter().zip(&orders).map(|(case, (_, order))| {
            let report = reports.remove(&order.id)?;
            let wrong = case.wrong(&self.stage, &report)?;
            Some(Disagreement { case: case.clone(), report, wrong })
        });
        Ok(judged.collect())
    }
}
