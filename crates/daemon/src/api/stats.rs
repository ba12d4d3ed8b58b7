//! What the policy has decided on, in numbers: for people as JSON, for collectors
//! as OpenMetrics; and whether the daemon's log tells of what was blocked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kleene_engine::{Command, State as Snapshot, view};
use kleene_model::api::{LogDrops, RuleCount};
use kleene_model::{Driver, NetworkId, Operation, Refusal};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::App;
use super::extract::{Path, Query};
use super::refused::Refused;
use super::rest::{Answer, Fields, of, required_flag, run};
use crate::system::Counted;

/// Reads the counters of one network, or of all and of the host.
async fn counted(app: &App, network: Option<NetworkId>) -> Result<Vec<Counted>, Refusal> {
    let (reader, instance) = (app.reader.clone(), app.config.instance.clone());
    let read = move || reader.read(&instance, network);
    let read = tokio::task::spawn_blocking(read).await;
    let counters = read.unwrap_or_else(|err| Err(err.to_string().into()));
    counters.map_err(|err| err.refusal("cannot read the counters"))
}

/// Counters as they are shown: those of a network that has gone meanwhile are left
/// out.
fn rows(state: &Snapshot, counters: Vec<Counted>) -> Vec<RuleCount> {
    let row = |counted: Counted| {
        let Counted { network, rule, fate, packets, bytes } = counted;
        let network = match network {
            Some(id) => state.network(id)?.name.to_string(),
            None => String::new(),
        };
        Some(RuleCount { network, rule, verdict: fate.to_string(), packets, bytes })
    };
    let mut rows: Vec<RuleCount> = counters.into_iter().filter_map(row).collect();
    rows.sort_by_cached_key(|row| (row.network.clone(), number(&row.rule), row.clone()));
    rows
}

/// A rule's number in the policy, so that 3 comes before 13.
fn number(rule: &str) -> u32 {
    let digits = rule.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(u32::MAX)
}

pub(super) async fn all_stats(State(app): State<App>) -> Answer {
    let counters = of(Operation::NetworkStats)(counted(&app, None).await)?;
    Ok(Json(rows(&app.core.snapshot(), counters)).into_response())
}

pub(super) async fn network_stats(State(app): State<App>, Path(network): Path<String>) -> Answer {
    let (operation, state) = (Operation::NetworkStats, app.core.snapshot());
    let id = of(operation)(view::network_id(&state, &network))?;
    let counters = of(operation)(counted(&app, Some(id)).await)?;
    Ok(Json(rows(&state, counters)).into_response())
}

/// A network, with what its rules have counted. Where the kernel does not tell, the
/// rest is shown nevertheless.
pub(super) async fn network_inspect(State(app): State<App>, Path(network): Path<String>) -> Answer {
    let (operation, state) = (Operation::NetworkInspect, app.core.snapshot());
    let id = of(operation)(view::network_id(&state, &network))?;
    let mut inspected = of(operation)(view::network_inspect(&state, &network))?;
    inspected.health.foreign = app.firewalls.of(&inspected.network.name);
    match counted(&app, Some(id)).await {
        Ok(counters) => inspected.counters = rows(&state, counters),
        Err(why) => tracing::warn!(network, %why, "a network is shown without its counters"),
    }
    Ok(Json(inspected).into_response())
}

pub(super) async fn log_drops(State(app): State<App>) -> Answer {
    Ok(Json(LogDrops { on: app.core.snapshot().log_drops() }).into_response())
}

pub(super) async fn set_log_drops(State(app): State<App>, Query(fields): Query<Fields>) -> Answer {
    let operation = Operation::LogDrops;
    let on = of(operation)(required_flag(&fields, "on"))?;
    if let (true, Some(why)) = (on, app.deaf.as_deref()) {
        let what = format!("telling of blocked packets: {why}");
        return Err(Refused(operation, Refusal::Unsupported { what }));
    }
    run(&app, operation, StatusCode::NO_CONTENT, Command::LogDrops { on }).await
}

type Labels = Vec<(&'static str, String)>;

/// Everything as OpenMetrics.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let state = app.core.snapshot();
    let counters = match counted(&app, None).await {
        Ok(counters) => rows(&state, counters),
        Err(why) => return (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()).into_response(),
    };
    const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match written(&state, &counters) {
        Ok(text) => ([(header::CONTENT_TYPE, KIND)], text).into_response(),
        Err(err) => (StatusCode::INTERNAL_SERVER_ERROR, err.to_string()).into_response(),
    }
}

fn written(state: &Snapshot, counters: &[RuleCount]) -> Result<String, std::fmt::Error> {
    let (packets, bytes) =
        (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    for row in counters {
        let labels = vec![
            ("network", row.network.clone()),
            ("rule", row.rule.clone()),
            ("verdict", row.verdict.clone()),
        ];
        packets.get_or_create(&labels).inc_by(row.packets);
        bytes.get_or_create(&labels).inc_by(row.bytes);
    }
    let (degraded, healed) =
        (Family::<Labels, Gauge>::default(), Family::<Labels, Counter>::default());
    for network in state.networks() {
        let labels = vec![("network", network.name.to_string())];
        let health = state.health(network.id);
        degraded.get_or_create(&labels).set(i64::from(health.degraded.is_some()));
        healed.get_or_create(&labels).inc_by(health.healed);
    }
    let running = Family::<Labels, Gauge>::default();
    for driver in Driver::ALL {
        let of = |c: &&Arc<kleene_model::Container>| c.driver == driver && c.run.is_running();
        let count = state.containers().filter(of).count();
        let labels = vec![("driver", driver.to_string())];
        running.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    let mut registry = Registry::with_prefix("kleene");
    registry.register(
        "policy_packets",
        "Packets that rules of the policy decided on: the first of each flow that passes, all of those that do not",
        packets,
    );
    registry.register_with_unit("policy", "What these packets were long", Unit::Bytes, bytes);
    registry.register(
        "network_degraded",
        "Whether something of a network is missing, and stays so",
        degraded,
    );
    registry.register(
        "network_healed",
        "How often something of a network was missing and came back",
        healed,
    );
    registry.register("containers_running", "Containers that run", running);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_in_the_order_of_the_policy() {
        let mut rules =
            ["13: internal", "127.0.0.0/8 is the host's own", "3: other network", "the way"];
        rules.sort_by_key(|rule| number(rule));
        assert_eq!(
            rules,
            ["3: other network", "13: internal", "127.0.0.0/8 is the host's own", "the way"]
        );
    }

    #[test]
    fn metrics_say_what_was_counted() {
        let row = RuleCount {
            network: "we\"b".to_owned(),
            rule: "13: internal".to_owned(),
            verdict: "refused".to_owned(),
            packets: 3,
            bytes: 180,
        };
        let text = written(&Snapshot::default(), &[row]).expect("text");
        let labels = r#"{network="we\"b",rule="13: internal",verdict="refused"}"#;
        for line in [
            format!("kleene_policy_packets_total{labels} 3"),
            format!("kleene_policy_bytes_total{labels} 180"),
            r#"kleene_containers_running{driver="vnet"} 0"#.to_owned(),
            "# EOF".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
