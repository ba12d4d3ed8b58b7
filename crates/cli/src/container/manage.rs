//! `container stop`, `rm`, `rename` and `update`.

use clap::builder::NonEmptyStringValueParser;
use clap_complete::engine::ArgValueCompleter;

use super::OneContainer;
use crate::api::ContainerChanges;
use crate::client::{ApiError, Client};
use crate::completion;
use crate::failure::Failure;
use crate::output;
use crate::ui::Ui;

/// `container stop`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StopArgs {
    /// Seconds between the stop signal and the end [default: 3]
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Containers to stop
    #[arg(
        required = true, value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::running_containers)
    )]
    containers: Vec<String>,
}

/// `container rm`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RmArgs {
    /// Stop them first
    #[arg(short, long)]
    force: bool,
    /// Containers to remove
    #[arg(
        required = true, value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::containers)
    )]
    containers: Vec<String>,
}

/// `container rename`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RenameArgs {
    #[command(flatten)]
    of: OneContainer,
    new_name: String,
}

/// `container update`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct UpdateArgs {
    /// New name
    #[arg(long)]
    name: Option<String>,
    /// User of its commands
    #[arg(short, long)]
    user: Option<String>,
    /// Environment variable, in place of all it had; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Jail parameter, in place of all it had; may be repeated
    #[arg(short = 'J', long, value_name = "PARAMETER")]
    jailparam: Vec<String>,
    /// Whether pruning spares it
    #[arg(
        short = 'P', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )]
    persist: Option<bool>,
    /// 'no', or 'on-startup' to start it whenever the daemon starts
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Container, and the command with its arguments in place of the one it had
    #[arg(
        required = true, trailing_var_arg = true, value_name = "CONTAINER [COMMAND]",
        add = ArgValueCompleter::new(completion::container_then_command)
    )]
    words: Vec<String>,
}

pub(super) async fn stop(ui: &mut Ui, client: &Client, args: StopArgs) -> Result<u8, Failure> {
    let StopArgs { timeout, containers } = args;
    output::each(ui, &containers, async |name| client.container_stop(name, timeout).await).await
}

pub(super) async fn rm(ui: &mut Ui, client: &Client, args: RmArgs) -> Result<u8, Failure> {
    let RmArgs { force, containers } = args;
    output::each(ui, &containers, async |name| {
        if force {
            stop_if_running(client, name).await?;
        }
        client.container_remove(name).await
    })
    .await
}

/// Stops it; one that does not run or does not exist is as it should be.
async fn stop_if_running(client: &Client, container: &str) -> Result<(), ApiError> {
    match client.container_stop(container, None).await {
        Err(err) if err.is("container-not-running", "container not running") => Ok(()),
        // Removal says so, in its own words.
        Err(err) if err.is("container-not-found", "container not found") => Ok(()),
        done => done.map(|_| ()),
    }
}

/// Removes a container whose command has ended. What else runs in it is
/// stopped.
pub(super) async fn remove_stopped(client: &Client, container: &str) -> Result<(), ApiError> {
    match client.container_remove(container).await {
        Err(err)
            if err.is("container-running", "you cannot remove a running container")
                || err.is("busy", "") =>
        {
            stop_if_running(client, container).await?;
            client.container_remove(container).await.map(|_| ())
        }
        // Somebody else removed it.
        Err(err) if err.is("container-not-found", "no such container") => Ok(()),
        done => done.map(|_| ()),
    }
}

pub(super) async fn rename(ui: &mut Ui, client: &Client, args: RenameArgs) -> Result<u8, Failure> {
    let changes = ContainerChanges { name: Some(args.new_name), ..ContainerChanges::default() };
    let id = client.container_update(&args.of.container, &changes).await?;
    ui.data(&id)?;
    Ok(0)
}

pub(super) async fn update(ui: &mut Ui, client: &Client, args: UpdateArgs) -> Result<u8, Failure> {
    let (container, changes) = changes(args);
    let id = client.container_update(&container, &changes).await?;
    ui.data(&id)?;
    Ok(0)
}

/// The container, and what was typed about it.
fn changes(args: UpdateArgs) -> (String, ContainerChanges) {
    let UpdateArgs { name, user, env, jailparam, persist, restart, words } = args;
    let mut words = words.into_iter();
    let container = words.next().unwrap_or_default();
    let given = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let changes = ContainerChanges {
        name,
        user,
        cmd: given(words.collect()),
        env: given(env),
        jail_param: given(jailparam),
        persist,
        restart_policy: restart,
    };
    (container, changes)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: UpdateArgs,
    }

    #[test]
    fn an_update_changes_what_was_typed_and_nothing_else() {
        let changed = |line: &str| {
            let words = std::iter::once("update").chain(line.split(' '));
            changes(Typed::try_parse_from(words).unwrap().args)
        };
        assert_eq!(changed("web"), ("web".to_owned(), ContainerChanges::default()));
        let (container, all) = changed("-P -e A=1 --restart no web sh -c x");
        assert_eq!((container.as_str(), all.persist), ("web", Some(true)));
        assert_eq!(all.env.unwrap(), ["A=1"]);
        assert_eq!(all.cmd.unwrap(), ["sh", "-c", "x"]);
        assert_eq!((all.jail_param, all.user, all.name), (None, None, None));
        assert_eq!(changed("--persist=false web").1.persist, Some(false));
    }
}
