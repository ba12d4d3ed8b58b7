//! What a hangup (SIGHUP) does: the configuration is read again. What can change while
//! the daemon runs does; of the rest it is said that it needs another start.

use std::sync::Arc;

use kleene_engine::Command;
use kleene_engine::host::chain;
use tokio::signal::unix::Signal;

use crate::config::{Config, Overrides};
use crate::core::Core;
use crate::log::Log;

/// How the configuration is read again.
pub(crate) struct Reload {
    /// What flags and environment say.
    pub(crate) overrides: Overrides,
    /// The log.
    pub(crate) log: Log,
}

impl Reload {
    /// Reads the configuration again at each hangup.
    pub(crate) async fn at_each(self, mut hangup: Signal, first: Arc<Config>, core: Core) {
        let mut last = Config::clone(&first);
        while hangup.recv().await.is_some() {
            match Config::load(self.overrides.clone()) {
                Ok(mut now) => {
                    now.log_drops = self.follow(&first, &last, &now, &core).await;
                    last = now;
                }
                Err(err) => {
                    // A log that was rotated is opened again nevertheless.
                    if let Err(why) = self.log.follow(&last) {
                        tracing::error!(why, "the log goes on as before");
                    }
                    tracing::error!(why = chain(&err), "the configuration stays as it is");
                }
            }
        }
    }

    /// Follows what is `now` in the file, where it was `last`; what the daemon was
    /// started with stands in `first`. Gives the `log_drops` that is in force: one that
    /// is refused is tried again.
    async fn follow(&self, first: &Config, last: &Config, now: &Config, core: &Core) -> bool {
        let mut log_drops = now.log_drops;
        if let Err(why) = self.log.follow(now) {
            tracing::error!(why, "the log goes on as before");
        }
        // Whoever switched it meanwhile keeps what they have, unless the file says
        // something new.
        if last.log_drops != now.log_drops {
            let command = Command::LogDrops { on: now.log_drops };
            if let Err(why) = core.command(command).await {
                log_drops = last.log_drops;
                tracing::warn!(%why, "log_drops stays as it is");
            }
        }
        match needs_start(first, now).as_slice() {
            [] => tracing::info!("the configuration was read again"),
            keys => {
                let keys = keys.join(", ");
                tracing::warn!(keys, "the configuration was read again; these need another start");
            }
        }
        log_drops
    }
}

/// The keys that are looked at when the daemon starts only, and are not as they were.
fn needs_start(first: &Config, now: &Config) -> Vec<&'static str> {
    // Taken apart whole: a new key does not compile until it is handled.
    let Config {
        root,
        dataset,
        addresses,
        log_level: _,
        log_file: _,
        log_format,
        instance,
        socket_group,
        subnet_pools,
        metrics,
        log_drops: _,
    } = now;
    let changed = [
        ("kleene_root", *root != first.root || *dataset != first.dataset),
        ("api_listening_sockets", *addresses != first.addresses),
        ("log_format", *log_format != first.log_format),
        ("instance", *instance != first.instance),
        ("socket_group", *socket_group != first.socket_group),
        ("subnet_pools", *subnet_pools != first.subnet_pools),
        ("metrics_socket", *metrics != first.metrics),
    ];
    changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_another_start_is_named_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let last = crate::jobs::tests::config(dir.path());
        let live = Config {
            log_level: Some(tracing::Level::DEBUG),
            log_file: Some("/var/log/kleened.log".into()),
            log_drops: true,
            ..last.clone()
        };
        assert!(needs_start(&last, &live).is_empty());
        let other = Config { socket_group: Some("wheel".to_owned()), root: "/x".into(), ..live };
        assert_eq!(needs_start(&last, &other), ["kleene_root", "socket_group"]);
    }
}
