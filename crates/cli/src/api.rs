//! The daemon's operations, one function each.

use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use kleene_model::api::{
    ContainerConfig, EndPointConfig, ExecConfig, ExecInspect, ExplainConfig, IdResponse,
    NetworkConfig, PublishedPortConfig, RuleCount, UnpublishConfig, Window,
};
use serde::Serialize;

use crate::client::{ANSWER_LIMIT, ApiError, Client, parse, segment};
use crate::value::Value;

/// What `update` changes; what is absent stays.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ContainerChanges {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jail_param: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) persist: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restart_policy: Option<String>,
}

/// What `logs` shows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LogQuery {
    pub(crate) follow: bool,
    pub(crate) tail: Option<u64>,
    pub(crate) timestamps: bool,
}

/// A list and the daemon's own text of it.
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    pub(crate) text: Bytes,
}

impl<T> Listed<T> {
    /// Leaves out what does not pass, of the text too.
    pub(crate) fn retain(&mut self, passes: impl Fn(&T) -> bool) -> Result<(), ApiError> {
        let passed: Vec<bool> = self.items.iter().map(passes).collect();
        if passed.iter().all(|&passed| passed) {
            return Ok(());
        }
        let mut keep = passed.iter();
        self.items.retain(|_| keep.next() == Some(&true));
        let mut values: Vec<Value> = parse(&self.text)?;
        let mut keep = passed.iter();
        values.retain(|_| keep.next() == Some(&true));
        let text = serde_json::to_vec(&values);
        self.text = text.map_err(|err| ApiError::Unexpected(Box::new(err)))?.into();
        Ok(())
    }
}

fn id(body: &[u8]) -> Result<String, ApiError> {
    parse::<IdResponse>(body).map(|answer| answer.id)
}

impl Client {
    pub(crate) async fn container_create(
        &self,
        config: &ContainerConfig,
    ) -> Result<String, ApiError> {
        id(&self.post("/containers/create", config).await?)
    }

    pub(crate) async fn container_update(
        &self,
        container: &str,
        changes: &ContainerChanges,
    ) -> Result<String, ApiError> {
        let path = format!("/containers/{}/update", segment(container));
        id(&self.post(&path, changes).await?)
    }

    pub(crate) async fn container_remove(&self, container: &str) -> Result<String, ApiError> {
        id(&self.delete(format!("/containers/{}", segment(container))).await?)
    }

    /// Stops it, with this many seconds of grace or the daemon's own.
    pub(crate) async fn container_stop(
        &self,
        container: &str,
        grace: Option<u32>,
    ) -> Result<String, ApiError> {
        let mut path = format!("/containers/{}/stop", segment(container));
        let mut limit = ANSWER_LIMIT;
        if let Some(grace) = grace {
            path.push_str(&format!("?timeout={grace}"));
            limit += Duration::from_secs(grace.into());
        }
        id(&self.post_for(path, limit).await?)
    }

    pub(crate) async fn container_logs(
        &self,
        container: &str,
        query: &LogQuery,
    ) -> Result<Incoming, ApiError> {
        self.stream(logs_path(container, query)).await
    }

    pub(crate) async fn inspect(&self, noun: &str, ident: &str) -> Result<Bytes, ApiError> {
        self.get(format!("/{noun}/{}/inspect", segment(ident))).await
    }

    pub(crate) async fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Listed<T>, ApiError> {
        let text = self.get(path.to_owned()).await?;
        Ok(Listed { items: parse(&text)?, text })
    }

    pub(crate) async fn prune(&self, path: String) -> Result<Vec<String>, ApiError> {
        parse(&self.post_for(path, ANSWER_LIMIT).await?)
    }

    pub(crate) async fn image_remove(&self, image: &str) -> Result<String, ApiError> {
        id(&self.delete(format!("/images/{}", segment(image))).await?)
    }

    pub(crate) async fn image_tag(&self, image: &str, nametag: &str) -> Result<String, ApiError> {
        let path = format!("/images/{}/tag?nametag={}", segment(image), segment(nametag));
        id(&self.post_for(path, ANSWER_LIMIT).await?)
    }

    pub(crate) async fn exec_create(&self, config: &ExecConfig) -> Result<String, ApiError> {
        id(&self.post("/exec/create", config).await?)
    }

    pub(crate) async fn exec_inspect(&self, exec: &str) -> Result<ExecInspect, ApiError> {
        parse(&self.inspect("exec", exec).await?)
    }

    pub(crate) async fn exec_resize(&self, exec: &str, window: Window) -> Result<(), ApiError> {
        self.post(&format!("/exec/{}/resize", segment(exec)), &window).await.map(|_| ())
    }

    pub(crate) async fn network_create(&self, config: &NetworkConfig) -> Result<String, ApiError> {
        id(&self.post("/networks/create", config).await?)
    }

    pub(crate) async fn network_remove(&self, network: &str) -> Result<String, ApiError> {
        id(&self.delete(format!("/networks/{}", segment(network))).await?)
    }

    pub(crate) async fn network_connect(&self, config: &EndPointConfig) -> Result<(), ApiError> {
        self.post("/networks/connect", config).await.map(|_| ())
    }

    pub(crate) async fn network_disconnect(
        &self,
        network: &str,
        container: &str,
    ) -> Result<(), ApiError> {
        let path = format!("/networks/{}/disconnect/{}", segment(network), segment(container));
        self.post_for(path, ANSWER_LIMIT).await.map(|_| ())
    }

    pub(crate) async fn container_publish(
        &self,
        container: &str,
        port: &PublishedPortConfig,
    ) -> Result<(), ApiError> {
        let path = format!("/containers/{}/publish", segment(container));
        self.post(&path, port).await.map(|_| ())
    }

    pub(crate) async fn container_unpublish(
        &self,
        container: &str,
        port: &UnpublishConfig,
    ) -> Result<(), ApiError> {
        let path = format!("/containers/{}/unpublish", segment(container));
        self.post(&path, port).await.map(|_| ())
    }

    pub(crate) async fn network_explain(&self, flow: &ExplainConfig) -> Result<Bytes, ApiError> {
        self.post("/networks/explain", flow).await
    }

    pub(crate) async fn network_test(&self, flow: &ExplainConfig) -> Result<Bytes, ApiError> {
        self.post("/networks/test", flow).await
    }

    pub(crate) async fn network_stats(
        &self,
        network: Option<&str>,
    ) -> Result<Listed<RuleCount>, ApiError> {
        match network {
            Some(network) => self.list(&format!("/networks/{}/stats", segment(network))).await,
            None => self.list("/networks/stats").await,
        }
    }

    pub(crate) async fn log_drops(&self) -> Result<Bytes, ApiError> {
        self.get("/networks/log_drops".to_owned()).await
    }

    pub(crate) async fn set_log_drops(&self, on: bool) -> Result<(), ApiError> {
        self.post_for(format!("/networks/log_drops?on={on}"), ANSWER_LIMIT).await.map(|_| ())
    }

    pub(crate) async fn network_link(
        &self,
        network: &str,
        interface: &str,
        force: bool,
    ) -> Result<(), ApiError> {
        let (network, interface) = (segment(network), segment(interface));
        let path = format!("/networks/{network}/link/{interface}?force={force}");
        self.post_for(path, ANSWER_LIMIT).await.map(|_| ())
    }

    pub(crate) async fn network_unlink(
        &self,
        network: &str,
        interface: &str,
    ) -> Result<(), ApiError> {
        let path = format!("/networks/{}/unlink/{}", segment(network), segment(interface));
        self.post_for(path, ANSWER_LIMIT).await.map(|_| ())
    }
}

/// Only what was asked for stands in the query.
fn logs_path(container: &str, query: &LogQuery) -> String {
    let tail = query.tail.map(|tail| format!("tail={tail}"));
    let asked: Vec<String> = [
        query.follow.then(|| "follow=true".to_owned()),
        tail,
        query.timestamps.then(|| "timestamps=true".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let path = format!("/containers/{}/logs", segment(container));
    if asked.is_empty() { path } else { format!("{path}?{}", asked.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_query_names_what_was_asked_for() {
        assert_eq!(logs_path("web", &LogQuery::default()), "/containers/web/logs");
        let all = LogQuery { follow: true, tail: Some(5), timestamps: true };
        assert_eq!(
            logs_path("a/b", &all),
            "/containers/a%2Fb/logs?follow=true&tail=5&timestamps=true"
        );
    }

    #[test]
    fn a_rename_sends_the_name_alone() {
        let changes = ContainerChanges { name: Some("x".to_owned()), ..Default::default() };
        assert_eq!(serde_json::to_string(&changes).unwrap(), r#"{"name":"x"}"#);
    }
}
