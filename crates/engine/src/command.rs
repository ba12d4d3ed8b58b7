//! All that can be asked of the engine, all that can happen to it, and all
//! that it asks of others.

use std::sync::Arc;

use kleene_model::api::{
    ContainerConfig, EndPointConfig, ExecConfig, ExecStartConfig, ExplainConfig, NetworkConfig,
    PublishedPortConfig, UnpublishConfig, Window,
};
use kleene_model::{Container, ContainerId, ExecId, Image, ImageId, LinkName, Nametag, Refusal};

use crate::change::Owned;
use crate::passage::{Explained, Passing};
use crate::reconcile::Disturbance;

/// Which request a reply belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Everything a client can ask for that changes something. Reading goes
/// through [`crate::view`] on a snapshot and never waits here.
#[derive(Debug, Clone)]
pub enum Command {
    /// Make a network. Allowed always.
    NetworkCreate(NetworkConfig),
    /// Remove a network, its endpoints first.
    NetworkRemove {
        /// Id prefix or name.
        network: String,
    },
    /// Remove the networks without endpoints.
    NetworkPrune,
    /// Connect a container to a network.
    NetworkConnect(EndPointConfig),
    /// Disconnect a container from a network.
    NetworkDisconnect {
        /// Id prefix or name.
        network: String,
        /// Id prefix or name.
        container: String,
    },
    /// Say what becomes of a flow.
    NetworkExplain(ExplainConfig),
    /// Tell of packets that the policy blocks, or no longer.
    LogDrops {
        /// Whether.
        on: bool,
    },
    /// Say which ways the traffic of each network takes.
    NetworkPassings,
    /// Publish a port of a container, running or not.
    ContainerPublish {
        /// Id prefix or name.
        container: String,
        /// The port.
        config: Box<PublishedPortConfig>,
    },
    /// Publish a port no longer.
    ContainerUnpublish {
        /// Id prefix or name.
        container: String,
        /// Which.
        config: Box<UnpublishConfig>,
    },
    /// Link an interface of the host into a bridge network.
    NetworkLink {
        /// Id prefix or name.
        network: String,
        /// The interface.
        interface: String,
        /// Also one that carries the host's addresses.
        force: bool,
    },
    /// Take an interface of the host out of a bridge network.
    NetworkUnlink {
        /// Id prefix or name.
        network: String,
        /// The interface.
        interface: String,
    },
    /// Make a container, stopped.
    ContainerCreate(ContainerConfig),
    /// Change what a container's next execution will be.
    ContainerUpdate {
        /// Id prefix or name.
        container: String,
        /// The fields to change.
        config: Box<ContainerConfig>,
    },
    /// Remove a stopped container.
    ContainerRemove {
        /// Id prefix or name.
        container: String,
    },
    /// Remove the stopped containers that are not kept.
    ContainerPrune,
    /// Stop a container: its stop signal, then after the grace everything.
    ContainerStop {
        /// Id prefix or name.
        container: String,
        /// Milliseconds between the signal and the end.
        grace_ms: u64,
    },
    /// Take in an image whose files are there, whole. From now on it is known.
    ImageAdd {
        /// Its id, which no image has.
        image: ImageId,
        /// The dataset that holds it; empty where there is none.
        dataset: String,
        /// What it shall be called; another image of that name loses it.
        nametag: Option<Nametag>,
    },
    /// Take an image back in that could not be removed after all. It gets its name
    /// back, unless another image has that by now.
    ImageRestore(Box<Image>),
    /// Give an image another name; another image of that name loses it.
    ImageTag {
        /// Id prefix or `name[:tag]`.
        image: String,
        /// `name[:tag]`; empty takes the name away.
        nametag: String,
    },
    /// Forget an image on which no container stands; its files are to be removed then.
    ImageRemove {
        /// Id prefix or `name[:tag]`.
        image: String,
    },
    /// Forget the images on which no container stands.
    ImagePrune {
        /// Also those that have a name.
        all: bool,
    },
    /// Make an execution, not started.
    ExecCreate(ExecConfig),
    /// Start an execution, and its container where that is allowed.
    ExecStart(ExecStartConfig),
    /// Stop an execution, or its whole container.
    ExecStop {
        /// The whole id.
        exec: String,
        /// KILL in place of TERM.
        force: bool,
        /// The container with it.
        container: bool,
    },
    /// The window of an execution's terminal has changed.
    ExecResize {
        /// The whole id.
        exec: String,
        /// The new size.
        window: Window,
    },
    /// The attached client of an execution is gone.
    ClientGone {
        /// The execution.
        exec: ExecId,
    },
}

/// Something that happened to a container's processes or to the host.
#[derive(Debug, Clone)]
pub enum Event {
    /// The supervisor has made the namespaces; its network namespace, if it
    /// has one of its own, can be reached.
    Prepared {
        /// The container.
        container: ContainerId,
    },
    /// The supervisor has started the holder.
    Launched {
        /// The container.
        container: ContainerId,
        /// The holder's pid on the host.
        pid: u32,
    },
    /// Preparing or launching failed; nothing of the container runs.
    StartFailed {
        /// The container.
        container: ContainerId,
        /// Why, in one line.
        why: String,
    },
    /// The first process of an execution runs.
    ExecStarted {
        /// The execution.
        exec: ExecId,
    },
    /// The first process of an execution could not be started.
    ExecFailed {
        /// The execution.
        exec: ExecId,
        /// Why, in one line.
        why: String,
        /// 127 not found, 126 not executable, 125 anything else.
        exit_code: i32,
    },
    /// The first process of an execution has ended.
    ExecExited {
        /// The execution.
        exec: ExecId,
        /// Exit code, or 128 + signal.
        code: i32,
        /// Whether nothing else runs in the container.
        last: bool,
    },
    /// No process of the container is left.
    Ended {
        /// The container.
        container: ContainerId,
    },
    /// After a restart of the daemon: the supervisor was found, with these
    /// executions still running.
    Adopted {
        /// The container.
        container: ContainerId,
        /// The holder's pid on the host; `None` when it was not yet launched.
        pid: Option<u32>,
        /// The executions whose first process runs.
        running: Vec<ExecId>,
    },
    /// Links that were taken out of use are gone.
    Swept {
        /// Their names.
        links: Vec<LinkName>,
    },
    /// Something happened in the kernel's network.
    Disturbed {
        /// What.
        disturbances: Vec<Disturbance>,
    },
}

/// What the engine is told.
#[derive(Debug)]
pub enum Input {
    /// A client's request.
    Command(Box<Command>, Token),
    /// Something happened.
    Event(Event),
}

/// What a command answers when it was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The object's id.
    Id(String),
    /// Several ids.
    Ids(Vec<String>),
    /// What becomes of a flow, per family.
    Explained(Vec<Explained>),
    /// The ways of what passes, per network.
    Passings(Vec<Passing>),
    /// Images that are known no more, and whose files are to be removed.
    Forgotten(Vec<Arc<Image>>),
    /// Nothing to say.
    Done,
}

/// What shall be run in a container, every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// The execution.
    pub exec: ExecId,
    /// The container.
    pub container: ContainerId,
    /// The command.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<String>,
    /// The user, to be looked up inside the image.
    pub user: String,
    /// The working directory.
    pub workdir: String,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// The terminal's first size.
    pub window: Option<Window>,
}

/// Work that takes time, for others to do; it comes back as an [`Event`].
#[derive(Debug, Clone)]
pub enum Job {
    /// Make the container's directories, start its supervisor, have the
    /// namespaces made. Answer: `Prepared` or `StartFailed`.
    Prepare {
        /// The container as it stands.
        container: Arc<Container>,
    },
    /// The network stands: start the holder. Answer: `Launched` or
    /// `StartFailed`.
    Launch {
        /// The container.
        container: ContainerId,
    },
    /// Start an execution. Answer: `ExecStarted` or `ExecFailed`.
    StartExec(Box<ExecSpec>),
    /// Send TERM or KILL to the first process of an execution.
    SignalExec {
        /// The execution.
        exec: ExecId,
        /// Its container.
        container: ContainerId,
        /// KILL in place of TERM.
        force: bool,
    },
    /// The exit of an execution is in the store: the supervisor may forget it.
    Acknowledge {
        /// The execution.
        exec: ExecId,
        /// Its container.
        container: ContainerId,
    },
    /// Set the window of an execution's terminal.
    Resize {
        /// The execution.
        exec: ExecId,
        /// Its container.
        container: ContainerId,
        /// The new size.
        window: Window,
    },
    /// Stop the container. Answer: `Ended`.
    Stop {
        /// The container.
        container: ContainerId,
        /// Milliseconds between the signal and the end.
        grace_ms: u64,
    },
    /// Kill all of the container at once, also before it was launched.
    /// Answer: `Ended`.
    Kill {
        /// The container.
        container: ContainerId,
    },
    /// Delete the container's files.
    Discard {
        /// The container.
        container: ContainerId,
    },
    /// Find the container's supervisor after a restart of the daemon. Answer:
    /// `Adopted` and what happened meanwhile, or `Ended`.
    Adopt {
        /// The container.
        container: ContainerId,
    },
    /// Delete links that are out of use. Answer: `Swept`.
    Sweep {
        /// The links.
        links: Vec<Owned>,
    },
}

/// What the engine wants done after an input.
#[derive(Debug)]
pub enum Effect {
    /// Answer a request.
    Reply(Token, Result<Outcome, Refusal>),
    /// Start a job.
    Job(Job),
    /// Tell that a setting of the host that is not ours was changed, or put
    /// back.
    SettingChanged {
        /// Its path.
        setting: String,
        /// What it is now.
        value: String,
    },
    /// Tell that something of ours was missing in the kernel, and is back.
    Mended {
        /// What was done, a sentence each.
        changes: Vec<String>,
    },
    /// Tell that something of ours is missing in the kernel, and stays so.
    Degraded {
        /// Why, in one line.
        why: String,
    },
}
