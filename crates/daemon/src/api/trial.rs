//! `POST /networks/test`: sends the flow that is explained, and says whether what
//! became of it is what the policy says.

use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use kleene_engine::{Command, Outcome, State as Snapshot, view};
use kleene_model::api::{ExplainConfig, Explanation, FlowTest};
use kleene_model::{ContainerId, Driver, Operation, Protocol, Refusal, lenient};

use super::App;
use super::extract::Body;
use super::rest::{Answer, of, with_firewalls};
use crate::system::{Flow, Heard, Outcome as Sent};

pub(super) async fn network_test(State(app): State<App>, Body(body): Body) -> Answer {
    let operation = Operation::NetworkTest;
    let config: ExplainConfig = of(operation)(lenient::body(&body))?;
    let results = of(operation)(test(&app, config).await)?;
    Ok(Json(results).into_response())
}

async fn test(app: &App, config: ExplainConfig) -> Result<Vec<FlowTest>, Refusal> {
    let state = app.core.snapshot();
    let (port, protocol) = payload(&config)?;
    for end in [&config.from, &config.to] {
        runs(&state, end)?;
    }
    if config.from == "outside" {
        return Err(cannot_send("outside"));
    }
    let explained = match app.core.command(Command::NetworkExplain(config)).await? {
        Outcome::Explained(explained) => with_firewalls(app, explained).await?,
        other => unreachable!("an explanation was asked for: {other:?}"),
    };
    let mut results = Vec::new();
    for explanation in explained {
        results.push(send(app, &state, explanation, port, protocol).await?);
    }
    Ok(results)
}

/// A ping is no connection, and has no socket that tells what became of it.
fn payload(config: &ExplainConfig) -> Result<(u16, Protocol), Refusal> {
    let Some(port) = config.port else {
        return Err(Refusal::InvalidRequest {
            why: "a flow that is sent needs a port: TO:PORT, or TO:PORT/udp".to_owned(),
        });
    };
    let protocol = match config.protocol.as_deref() {
        Some("udp") => Protocol::Udp,
        // The engine refuses what is none.
        _ => Protocol::Tcp,
    };
    Ok((port, protocol))
}

fn cannot_send(from: &str) -> Refusal {
    Refusal::Unsupported {
        what: format!(
            "sending a flow from {from}, which is not on this host: send it there, and ask what \
             becomes of it here: klee network explain"
        ),
    }
}

/// A container that is stopped sends nothing, and has no address.
fn runs(state: &Snapshot, end: &str) -> Result<(), Refusal> {
    let container = match (end, end.parse::<IpAddr>()) {
        ("host" | "outside", _) => None,
        (_, Ok(addr)) => sender(state, addr),
        (_, Err(_)) => Some(view::container_id(state, end)?),
    };
    match container.and_then(|id| state.container(id)) {
        Some(container) if container.driver != Driver::Host && !container.run.is_running() => {
            Err(Refusal::InvalidRequest {
                why: format!(
                    "container {} does not run: start it, or ask klee network explain",
                    container.name
                ),
            })
        }
        _ => Ok(()),
    }
}

/// Who sends what has that source: a container, or the host.
fn sender(state: &Snapshot, source: IpAddr) -> Option<ContainerId> {
    state.holder_of(source).map(|endpoint| endpoint.container)
}

async fn send(
    app: &App,
    state: &Snapshot,
    explained: Explanation,
    port: u16,
    protocol: Protocol,
) -> Result<FlowTest, Refusal> {
    let host = |why: String| Refusal::Host { what: why };
    let address = |text: &str| text.parse::<IpAddr>().map_err(|err| host(err.to_string()));
    let (source, to) = (address(&explained.source)?, address(&explained.destination)?);
    let flow = Flow { source, to: SocketAddr::new(to, port), protocol };
    let stacks = app.stacks.clone();
    let container = sender(state, source);
    let sent = tokio::task::spawn_blocking(move || stacks.send(container, &flow));
    let outcome = sent.await.map_err(|err| host(err.to_string()))?;
    let outcome = outcome.map_err(|err| err.refusal("sending the flow"))?;
    let outcome = outcome.ok_or_else(|| cannot_send(&explained.source))?;
    Ok(judge(explained, &outcome, is_direct(state, source, to)))
}

/// Whether packets go from port to port of a bridge, where the host neither tracks
/// nor refuses them.
fn is_direct(state: &Snapshot, source: IpAddr, to: IpAddr) -> bool {
    let (Some(from), Some(to)) = (state.holder_of(source), state.holder_of(to)) else {
        return false;
    };
    let plugged = |id| state.container(id).is_some_and(|c| c.driver == Driver::Vnet);
    from.network == to.network
        && plugged(from.container)
        && plugged(to.container)
        && state.network(from.network).is_some_and(|network| network.icc)
}

/// Puts what was heard beside what the policy says.
fn judge(explained: Explanation, outcome: &Sent, direct: bool) -> FlowTest {
    let passed = match (outcome.heard, outcome.tracked) {
        (Heard::Answer, _) | (_, Some(true)) => Some(true),
        // Nobody refuses there but who was asked.
        (Heard::Refusal, _) if direct => Some(true),
        (Heard::Nothing, _) if direct => None,
        (_, tracked) => tracked,
    };
    let packet = match (outcome.heard, passed) {
        (Heard::Answer, _) => "passed, and was answered",
        (Heard::Refusal, Some(true)) => "passed, and its destination refused it",
        (Heard::Refusal, Some(false)) => "refused on its way",
        (Heard::Refusal, None) => "refused by somebody",
        (Heard::Nothing, Some(true)) => "passed, and nobody answered",
        (Heard::Nothing, Some(false)) => "dropped on its way",
        (Heard::Nothing, None) => "not answered",
        (Heard::NoRoute, _) => "not sent: no route leads there",
    };
    let agrees = passed.map(|passed| passed == (explained.verdict == "passes"));
    FlowTest { explained, packet: packet.to_owned(), agrees }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(verdict: &str, heard: Heard, tracked: Option<bool>, direct: bool) -> Option<bool> {
        let explained = Explanation { verdict: verdict.to_owned(), ..Explanation::default() };
        judge(explained, &Sent { heard, tracked }, direct).agrees
    }

    #[test]
    fn a_refusal_is_the_destinations_where_the_flow_was_let_through() {
        use Heard::{Answer, NoRoute, Nothing, Refusal};
        for (verdict, heard, tracked, direct, agrees) in [
            ("passes", Answer, Some(true), false, Some(true)),
            ("passes", Refusal, Some(true), false, Some(true)),
            ("passes", Refusal, Some(false), false, Some(false)),
            ("passes", Refusal, Some(false), true, Some(true)),
            ("passes", Nothing, Some(false), true, None),
            ("passes", Nothing, Some(false), false, Some(false)),
            ("refused", Refusal, Some(false), false, Some(true)),
            ("refused", Refusal, Some(true), false, Some(false)),
            ("refused", Refusal, None, false, None),
            ("dropped", Nothing, Some(false), false, Some(true)),
            ("dropped", Answer, Some(false), false, Some(false)),
            ("refused", NoRoute, Some(false), false, Some(true)),
        ] {
            let seen = judged(verdict, heard, tracked, direct);
            assert_eq!(seen, agrees, "{verdict} {heard:?} {tracked:?} {direct}");
        }
    }
}
