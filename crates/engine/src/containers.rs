//! The verbs of containers, and what happens to them.

use std::sync::Arc;

use kleene_model::api::{ContainerConfig, MountPointConfig, MountType};
use kleene_model::container::merge_env;
use kleene_model::{Container, ContainerId, ContainerName, EndpointId, Mount, Refusal, RunState};

use crate::command::{Effect, Job, Outcome, Token};
use crate::engine::{Engine, Given};
use crate::host::Host;
use crate::lookup;
use crate::state::State;
use crate::store::{Durability, Store};

impl<H: Host, S: Store> Engine<H, S> {
    /// Makes a container.
    pub(crate) fn container_create(
        &mut self,
        config: ContainerConfig,
        given: &mut Given<'_>,
    ) -> Result<Outcome, Refusal> {
        let ContainerConfig {
            name,
            image,
            cmd,
            user,
            env,
            mounts,
            jail_param,
            network_driver,
            public_ports,
            restart_policy,
            persist,
        } = config;
        let mut next = self.state.clone();
        let id = given.container_id(&next);
        let name = match name.as_deref() {
            None => ContainerName::parse(&id.to_string())?,
            Some(text) => ContainerName::parse(text)?,
        };
        let image = image.unwrap_or_default();
        let image = lookup::image(&next, &image).map_err(|refusal| match refusal {
            Refusal::ImageNotFound => Refusal::NoSuchImage { reference: image.clone() },
            other => other,
        })?;
        let image = Arc::clone(image);
        permit_name(&next, &name, None)?;
        let ports = self.permit_ports(network_driver, &public_ports.unwrap_or_default())?;
        let jail_param = jail_param.unwrap_or_default();
        self.host.permit_jail_parameters(&jail_param)?;
        permit_restart_policy(restart_policy.as_deref())?;
        let env = env.unwrap_or_default();
        check_env(&env)?;
        let mounts = mounts.unwrap_or_default();
        let mounts = mounts.into_iter().map(mount).collect::<Result<Vec<_>, _>>()?;
        let sequence = next.next_sequence();
        next.put_container(Arc::new(Container {
            id,
            name,
            image: image.id,
            cmd: cmd.filter(|cmd| !cmd.is_empty()).unwrap_or_else(|| image.cmd.clone()),
            user: user.filter(|user| !user.is_empty()).unwrap_or_else(|| image.user.clone()),
            env: merge_env(&image.env, &env),
            driver: network_driver,
            mounts,
            jail_param,
            ports,
            persist: persist.unwrap_or(false),
            created: given.now.clone(),
            sequence,
            run: RunState::Stopped,
            pid: None,
            cable: None,
        }));
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Id(id.to_string()))
    }

    /// Changes the fields that are present and not null.
    pub(crate) fn container_update(
        &mut self,
        ident: &str,
        config: ContainerConfig,
    ) -> Result<Outcome, Refusal> {
        // Image, mounts, driver and ports are fixed at creation: 0.1.1 ignores
        // them here, and its client sends them.
        let ContainerConfig {
            name,
            image: _,
            cmd,
            user,
            env,
            mounts: _,
            jail_param,
            network_driver: _,
            public_ports: _,
            restart_policy,
            persist,
        } = config;
        let id = lookup::container(&self.state, ident)
            .map_err(|refusal| match refusal {
                Refusal::ContainerNotFound => {
                    Refusal::ContainerToUpdateNotFound { ident: ident.to_owned() }
                }
                other => other,
            })?
            .id;
        let name = name.as_deref().map(ContainerName::parse).transpose()?;
        if let Some(name) = &name {
            permit_name(&self.state, name, Some(id))?;
        }
        self.host.permit_jail_parameters(jail_param.as_deref().unwrap_or_default())?;
        permit_restart_policy(restart_policy.as_deref())?;
        check_env(env.as_deref().unwrap_or_default())?;
        let mut next = self.state.clone();
        next.edit_container(id, |container| {
            if let Some(name) = name {
                container.name = name;
            }
            if let Some(cmd) = cmd.filter(|cmd| !cmd.is_empty()) {
                container.cmd = cmd;
            }
            if let Some(user) = user.filter(|user| !user.is_empty()) {
                container.user = user;
            }
            if let Some(env) = env {
                container.env = merge_env(&container.env, &env);
            }
            if let Some(persist) = persist {
                container.persist = persist;
            }
            if let Some(jail_param) = jail_param {
                container.jail_param = jail_param;
            }
        });
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Id(id.to_string()))
    }

    /// Removes a stopped container with its endpoints and files.
    pub(crate) fn container_remove(&mut self, ident: &str) -> Result<Outcome, Refusal> {
        let container = lookup::container(&self.state, ident).map_err(|refusal| match refusal {
            Refusal::ContainerNotFound => Refusal::ContainerToRemoveNotFound,
            other => other,
        })?;
        if container.run != RunState::Stopped {
            return Err(Refusal::RunningCannotBeRemoved);
        }
        let id = container.id;
        let mut next = self.state.clone();
        remove_container(&mut next, id);
        self.commit(next, Durability::Disk)?;
        self.effects.push(Effect::Job(Job::Discard { container: id }));
        Ok(Outcome::Id(id.to_string()))
    }

    /// Removes the stopped containers that are not to be kept, oldest first.
    pub(crate) fn container_prune(&mut self) -> Result<Outcome, Refusal> {
        let mut stopped: Vec<&Arc<Container>> = self
            .state
            .containers()
            .filter(|container| container.run == RunState::Stopped && !container.persist)
            .collect();
        stopped.sort_by_key(|container| container.sequence);
        let ids: Vec<ContainerId> = stopped.iter().map(|container| container.id).collect();
        let mut next = self.state.clone();
        for id in &ids {
            remove_container(&mut next, *id);
        }
        self.commit(next, Durability::Disk)?;
        for container in &ids {
            self.effects.push(Effect::Job(Job::Discard { container: *container }));
        }
        Ok(Outcome::Ids(ids.iter().map(ToString::to_string).collect()))
    }

    /// Stops a container; the answer comes when it has ended.
    pub(crate) fn container_stop(
        &mut self,
        ident: &str,
        grace_ms: u64,
        token: Token,
    ) -> Result<Option<Outcome>, Refusal> {
        let container = lookup::container(&self.state, ident)?;
        let id = container.id;
        self.stop(id, grace_ms)?;
        self.stopping.entry(id).or_default().push((token, id.to_string()));
        Ok(None)
    }

    /// Has a container stopped, whatever it is doing.
    pub(crate) fn stop(&mut self, id: ContainerId, grace_ms: u64) -> Result<(), Refusal> {
        let run = self.state.container(id).map_or(RunState::Stopped, |container| container.run);
        let job = match run {
            RunState::Stopped => return Err(Refusal::NotRunning),
            // Nothing of the user's runs yet, so there is nothing to ask.
            RunState::Preparing | RunState::Launching => Job::Kill { container: id },
            // A second stop may be the less patient one.
            RunState::Running | RunState::Stopping => Job::Stop { container: id, grace_ms },
        };
        self.effects.push(Effect::Job(job));
        if run == RunState::Running {
            self.mark_stopping(id);
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self, container: ContainerId) {
        self.effects.push(Effect::Job(Job::Kill { container }));
    }

    /// The container is on its way out. A store that cannot write must not keep
    /// anybody from stopping it.
    pub(crate) fn mark_stopping(&mut self, id: ContainerId) {
        let mut next = self.state.clone();
        next.edit_container(id, |container| container.run = RunState::Stopping);
        self.write_down(next);
    }
}

fn remove_container(state: &mut State, id: ContainerId) {
    let endpoints: Vec<EndpointId> = state.endpoints_of(id).map(|e| e.id).collect();
    for endpoint in endpoints {
        state.remove_endpoint(endpoint);
    }
    state.remove_container(id);
}

fn permit_name(
    state: &State,
    name: &ContainerName,
    own: Option<ContainerId>,
) -> Result<(), Refusal> {
    // A name that another's id begins with would be ambiguous from then on.
    let begins = || state.containers().find(|c| c.id.starts_with(name.as_str()));
    match state.container_named(name.as_str()).or_else(begins) {
        Some(other) if Some(other.id) != own => Err(Refusal::ContainerNameTaken {
            name: name.to_string(),
            holder: other.id.to_string(),
        }),
        _ => Ok(()),
    }
}

fn permit_restart_policy(policy: Option<&str>) -> Result<(), Refusal> {
    match policy {
        None | Some("no" | "") => Ok(()),
        Some(other) => Err(Refusal::unsupported(format!("the restart policy '{other}'"))),
    }
}

/// `NAME=value`, without a NUL, which no system can pass on.
pub(crate) fn check_env(env: &[String]) -> Result<(), Refusal> {
    let bad = |entry: &&String| {
        entry.split_once('=').is_none_or(|(name, _)| name.is_empty()) || entry.contains('\0')
    };
    match env.iter().find(bad) {
        Some(entry) => Err(Refusal::InvalidEnv { entry: entry.clone() }),
        None => Ok(()),
    }
}

fn mount(config: MountPointConfig) -> Result<Mount, Refusal> {
    let MountPointConfig { kind, destination, source, read_only } = config;
    let invalid = |why: &str| Refusal::InvalidMount {
        mount: format!("{source}:{destination}"),
        why: why.to_owned(),
    };
    match kind {
        MountType::Volume => return Err(Refusal::unsupported(format!("volumes ('{source}')"))),
        MountType::Nullfs => {}
    }
    for (path, what) in [(&source, "source"), (&destination, "destination")] {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(invalid(&format!("the {what} is no absolute path")));
        }
    }
    if destination.split('/').any(|part| part == "..") {
        return Err(invalid("the destination contains '..'"));
    }
    if destination.split('/').all(|part| part.is_empty() || part == ".") {
        return Err(invalid("the destination is the container's root"));
    }
    Ok(Mount { source, destination, read_only })
}
