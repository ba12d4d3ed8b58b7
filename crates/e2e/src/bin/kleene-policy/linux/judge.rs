//! Whether what was seen is what the oracle says.

use crate::linux::facts::Facts;
use crate::linux::flow::Spec;
use crate::linux::hub::{Outcome, Report};
use crate::linux::place::Place;
use crate::linux::probe::Kind;
use crate::linux::stage::{Stage, served};
use kleene_model::policy::{Blocked, Flow, Payload, Verdict};
use std::fmt;
use std::net::IpAddr;

/// What has to be seen of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// This place answers on this port (0 for echo), and sees this source.
    Answer {
        by: Place,
        port: u16,
        source: IpAddr,
    },
    /// It passes to where nobody listens, and is told so.
    Closed,
    /// The sender is told at once, by an error of whatever kind.
    Refused,
    Dropped,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { by, port, source } => {
                write!(f, "an answer of {by} on {port}, which sees {source}")
            }
            Self::Closed => f.write_str("passes; nobody listens (ECONNREFUSED)"),
            Self::Refused => f.write_str("refused at once"),
            Self::Dropped => f.write_str("silence"),
        }
    }
}

/// How what was seen differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// It passes and must not.
    Leaks,
    /// It is blocked and must pass.
    Lost,
    /// It is blocked, as it must be, but in the other way.
    How,
    /// Somebody else answers, or it leads to another port.
    Who,
    /// The source that is seen is another.
    Source,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaks => "passes, and must not",
            Self::Lost => "is blocked, and must pass",
            Self::How => "is blocked in the wrong way",
            Self::Who => "is answered by somebody else",
            Self::Source => "arrives with another source",
        })
    }
}

/// A flow, its verdict and what has to be seen.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) spec: Spec,
    pub(crate) flow: Flow,
    pub(crate) verdict: Verdict,
    pub(crate) expected: Expected,
    /// Whether it would look different if it were not blocked: where nobody serves,
    /// the kernel refuses as the policy does.
    pub(crate) tells: bool,
}

impl Case {
    pub(crate) fn new(stage: &Stage<'_>, facts: &Facts, spec: Spec) -> Result<Self, String> {
        let flow = spec.flow(stage, facts)?;
        let verdict = facts.policy.verdict(&flow);
        let expected = expected(stage, &flow, &verdict)?;
        let tells = verdict.passes() || would_show(stage, &spec, &flow);
        Ok(Self { spec, flow, verdict, expected, tells })
    }

    /// Whether the probe will most likely wait in vain.
    pub(crate) fn is_silent(&self) -> bool {
        self.expected == Expected::Dropped
    }

    /// What is wrong with what was seen.
    pub(crate) fn wrong(&self, stage: &Stage<'_>, report: &Report) -> Option<Wrong> {
        match &self.expected {
            Expected::Answer { by, port, source } => {
                self.answered(stage, report, by, *port, *source)
            }
            blocked => self.blocked(report, blocked),
        }
    }

    fn answered(
        &self,
        stage: &Stage<'_>,
        report: &Report,
        by: &Place,
        port: u16,
        source: IpAddr,
    ) -> Option<Wrong> {
        let name = by.to_string();
        if report.arrived.iter().any(|(place, _)| *place != name) {
            return Some(Wrong::Who);
        }
        if report.arrived.iter().any(|(_, seen)| *seen != source) {
            return Some(Wrong::Source);
        }
        match &report.outcome {
            // What cannot tell of echo requests is believed to have had this one.
            Outcome::Answer { by: None, .. } => {
                let told = !report.arrived.is_empty() || !stage.hub.is_raw(by);
                (!told).then_some(Wrong::Who)
            }
            Outcome::Answer { by: Some(seen), port: on, peer } => {
                if *seen != name || *on != port {
                    Some(Wrong::Who)
                } else {
                    (*peer != source).then_some(Wrong::Source)
                }
            }
            Outcome::Sent => {
                let told = !report.arrived.is_empty()
                    || self.spec.kind != Kind::CraftedUdp && !stage.hub.is_raw(by);
                (!told).then_some(Wrong::Lost)
            }
            Outcome::Error(_) | Outcome::Silence => Some(Wrong::Lost),
        }
    }

    fn blocked(&self, report: &Report, expected: &Expected) -> Option<Wrong> {
        let closed = *expected == Expected::Closed;
        if matches!(report.outcome, Outcome::Answer { .. }) || !report.arrived.is_empty() {
            return Some(if closed { Wrong::Who } else { Wrong::Leaks });
        }
        // The sender's own kernel may refuse what it must not send.
        let from_here = matches!(self.spec.from, Place::In(_) | Place::Host);
        match (&report.outcome, expected) {
            (Outcome::Sent, _)
            | (Outcome::Silence, Expected::Dropped)
            | (Outcome::Error(_), Expected::Refused) => None,
            (Outcome::Error(why), Expected::Closed) if why == "ECONNREFUSED" => None,
            (_, Expected::Closed) => Some(Wrong::Lost),
            (Outcome::Error(_), Expected::Dropped) if from_here => None,
            _ => Some(Wrong::How),
        }
    }
}

/// Whether a flow would be seen where it leads to, if nothing were in its way.
fn would_show(stage: &Stage<'_>, spec: &Spec, flow: &Flow) -> bool {
    let Some(holder) = stage.holder(flow.to) else { return false };
    if spec.kind.is_crafted() && spec.kind != Kind::CraftedUdp && !stage.hub.is_raw(&holder) {
        return false;
    }
    match flow.payload {
        Payload::Port(_, port) => served(&holder, &stage.topology).contains(&port),
        Payload::Echo => true,
    }
}

fn expected(stage: &Stage<'_>, flow: &Flow, verdict: &Verdict) -> Result<Expected, String> {
    match verdict.blocked {
        Some(Blocked::Refused) => return Ok(Expected::Refused),
        Some(Blocked::Dropped) => return Ok(Expected::Dropped),
        None => {}
    }
    let asked = match flow.payload {
        Payload::Port(_, port) => port,
        Payload::Echo => 0,
    };
    let (to, port) = verdict.translation.to.unwrap_or((flow.to, asked));
    let source = verdict.translation.source.unwrap_or(flow.source);
    let holder = stage.holder(to).ok_or_else(|| format!("nobody has {to}"))?;
    if port == 0 {
        return Ok(Expected::Answer { by: holder, port, source });
    }
    // Places in the host's own stack serve each other's ports.
    let all = Place::all(&stage.topology);
    let here = |place: &&Place| {
        **place == holder || holder == Place::Host && place.is_host(&stage.topology)
    };
    let mut serving = all.iter().filter(here);
    let by = serving.find(|place| served(place, &stage.topology).contains(&port));
    Ok(by.map_or(Expected::Closed, |by| Expected::Answer { by: by.clone(), port, source }))
}
