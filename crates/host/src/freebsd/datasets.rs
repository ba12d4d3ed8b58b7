//! Datasets of ZFS: the daemon's own below its root dataset, and clones and copies of
//! those that users name.
//!
//! What is ours carries the user property `kleene:owner`, set on itself and not
//! inherited; its value is the daemon's instance. Nothing without it is renamed or
//! destroyed. Of others' datasets only a snapshot of ours is ever made, and removed.
//!
//! What is told to tools: [`VECTORS`]. `kldstat` is recorded from FreeBSD 13.2; all of
//! `zfs` is from its manual pages (OpenZFS 2.1, which FreeBSD 13.2 has), untried.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use kleene_model::InstanceName;

use super::run::{Answer, Call, Tool, ToolError, Tools};

/// The forms of all that is told to tools here; `{…}` is a place for a text. What `zfs
/// send` writes is read by `zfs receive`.
pub const VECTORS: &[&str] = &[
    "kldstat -q -m {module}",
    "zfs list -H -o name,mountpoint {root}",
    "zfs list -H -r -d 1 -t filesystem -o name {dataset}",
    "zfs get -H -o value,source kleene:owner {dataset}",
    "zfs get -H -o value clones {snapshot}",
    "zfs get -H -o value origin {dataset}",
    "zfs get -H -o value mounted {dataset}",
    "zfs create -o kleene:owner={instance} {dataset}",
    "zfs create -o kleene:owner={instance} -o mountpoint=none {dataset}",
    "zfs snapshot -o kleene:owner={instance} {snapshot}",
    "zfs clone -o kleene:owner={instance} {snapshot} {dataset}",
    "zfs send {snapshot}",
    "zfs receive -u -o kleene:owner={instance} {dataset}",
    "zfs mount {dataset}",
    "zfs rename -u {dataset} {dataset}",
    "zfs destroy -r -f {dataset}",
    "zfs destroy {dataset}@{snapshot}",
];

/// The user property that marks what is ours.
const OWNER: &str = "kleene:owner";

/// How long one may take that waits until the pool has written everything.
const SLOW: Duration = Duration::from_secs(60);

/// How long a dataset may take to be sent and received, or destroyed; and an archive to
/// be fetched or unpacked.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// The name of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dataset(String);

/// The text of Kleene 0.1.1 for what is no dataset.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid dataset")]
pub struct InvalidDataset;

impl Dataset {
    /// Checks a name: parts of letters, digits and `_ - : .`, which begin with a
    /// letter or digit, with `/` between them (zfs(8), without its blanks).
    ///
    /// # Errors
    /// [`InvalidDataset`].
    pub fn parse(text: &str) -> Result<Self, InvalidDataset> {
        let is_part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:.".contains(&b))
        };
        let valid = text.len() <= 200 && text.split('/').all(is_part);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidDataset) }
    }

    /// The dataset of that name below this one. `name` is one of ours.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// Its last part.
    pub(crate) fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn snapshot(&self, name: &str) -> Snapshot {
        Snapshot(format!("{}@{name}", self.0))
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a snapshot: never that of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(String);

impl Snapshot {
    /// Its own part of the name.
    pub(crate) fn last(&self) -> &str {
        self.0.rsplit('@').next().unwrap_or_default()
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why something of ZFS failed.
#[derive(Debug, thiserror::Error)]
pub enum ZfsError {
    /// A tool refused.
    #[error("cannot {what} {name}")]
    Tool {
        /// What was wanted.
        what: &'static str,
        /// Of which dataset or snapshot.
        name: String,
        /// What it said.
        #[source]
        source: ToolError,
    },
    /// It belongs to somebody else.
    #[error("{name} is not changed: it is not marked as this daemon's ({OWNER} is {owner})")]
    Foreign {
        /// The dataset or snapshot.
        name: String,
        /// The property's value, with where it is from unless it is set there.
        owner: String,
    },
    /// An answer that says nothing.
    #[error("cannot understand what zfs says of {name}: '{text}'")]
    Unclear {
        /// The dataset or snapshot.
        name: String,
        /// What it said.
        text: String,
    },
}

/// Whose something is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// There is no such thing.
    Nobody,
    Ours,
    Other(String),
}

/// What ZFS is asked to do, for one daemon.
#[derive(Clone, Copy)]
pub(crate) struct Zfs<'a> {
    pub(crate) tools: &'a dyn Tools,
    pub(crate) instance: &'a InstanceName,
}

/// The dataset that is mounted at `root`, which is a path without links. `None` where
/// the kernel has no ZFS, or `root` is on another file system or within a dataset.
///
/// # Errors
/// When a tool does not end in time, or says what cannot be read.
pub(crate) fn mounted_at(tools: &dyn Tools, root: &Path) -> Result<Option<Dataset>, ToolError> {
    // zfs(8) would load the module; that is for the administrator to want.
    let loaded = ask(tools, &Call::new(Tool::Kldstat, ["-q", "-m", "zfs"]))?;
    let Some(path) = root.to_str().filter(|_| loaded.is_some()) else { return Ok(None) };
    let list = Call::new(Tool::Zfs, ["list", "-H", "-o", "name,mountpoint", path]);
    let Some(answer) = ask(tools, &list)? else { return Ok(None) };
    let (name, mountpoint) = answer.stdout.trim_end().split_once('\t').unwrap_or_default();
    Ok(Dataset::parse(name).ok().filter(|_| Path::new(mountpoint) == root))
}

/// The answer to a question; `None` for no, and where there is no such tool.
fn ask(tools: &dyn Tools, call: &Call) -> Result<Option<Answer>, ToolError> {
    match tools.call(call) {
        Ok(answer) => Ok((answer.status == 0).then_some(answer)),
        Err(ToolError::Start { .. }) => Ok(None),
        Err(err) => Err(err),
    }
}

fn call<const N: usize>(words: [&str; N]) -> Call {
    Call::new(Tool::Zfs, words)
}

impl Zfs<'_> {
    fn run(&self, what: &'static str, name: &str, call: &Call) -> Result<Answer, ZfsError> {
        let fail = |source| ZfsError::Tool { what, name: name.to_owned(), source };
        self.tools.run(call).map_err(fail)
    }

    fn mark(&self) -> String {
        format!("{OWNER}={}", self.instance)
    }

    /// Whose a dataset or snapshot is.
    pub(crate) fn owner(&self, name: &str) -> Result<Owner, ZfsError> {
        let question = call(["get", "-H", "-o", "value,source", OWNER, name]);
        let answer = match self.tools.run(&question) {
            Err(err) if err.says("does not exist") => return Ok(Owner::Nobody),
            answer => answer.map_err(|source| ZfsError::Tool {
                what: "look at",
                name: name.to_owned(),
                source,
            })?,
        };
        let text = answer.stdout.trim_end();
        match text.split_once('\t') {
            Some((owner, "local")) if owner == self.instance.as_str() => Ok(Owner::Ours),
            Some((owner, "local" | "-")) => Ok(Owner::Other(owner.to_owned())),
            Some((owner, source)) => Ok(Owner::Other(format!("{owner}, {source}"))),
            None => Err(ZfsError::Unclear { name: name.to_owned(), text: text.to_owned() }),
        }
    }

    /// Whether it is there; one of somebody else is an error.
    pub(crate) fn is_ours(&self, name: &str) -> Result<bool, ZfsError> {
        match self.owner(name)? {
            Owner::Nobody => Ok(false),
            Owner::Ours => Ok(true),
            Owner::Other(owner) => Err(ZfsError::Foreign { name: name.to_owned(), owner }),
        }
    }

    /// Makes a dataset of ours that holds others, where it is missing. What is below
    /// one that is not `mounted` is not mounted either.
    pub(crate) fn ensure(&self, dataset: &Dataset, mounted: bool) -> Result<(), ZfsError> {
        let name = &dataset.0;
        if self.is_ours(name)? {
            return Ok(());
        }
        let mark = self.mark();
        let create = if mounted {
            call(["create", "-o", &mark, name])
        } else {
            call(["create", "-o", &mark, "-o", "mountpoint=none", name])
        };
        self.run("create", name, &create).map(drop)
    }

    /// Makes a new dataset of ours, and mounts it.
    pub(crate) fn create(&self, dataset: &Dataset) -> Result<(), ZfsError> {
        let name = &dataset.0;
        self.run("create", name, &call(["create", "-o", &self.mark(), name])).map(drop)
    }

    /// Whether a dataset of somebody is a file system that is there. A volume is none.
    pub(crate) fn is_filesystem(&self, dataset: &Dataset) -> Result<bool, ZfsError> {
        let name = &dataset.0;
        let words = ["list", "-H", "-t", "filesystem", "-o", "mountpoint,mounted", name];
        match self.run("look at", name, &call(words)) {
            Ok(_) => Ok(true),
            Err(ZfsError::Tool { source, .. }) if source.says("not applicable") => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// Mounts a dataset unless it is.
    pub(crate) fn ensure_mounted(&self, dataset: &Dataset) -> Result<(), ZfsError> {
        let name = &dataset.0;
        let question = call(["get", "-H", "-o", "value", "mounted", name]);
        match self.run("look at", name, &question)?.stdout.trim() {
            "yes" => Ok(()),
            "no" => self.run("mount", name, &call(["mount", name])).map(drop),
            text => Err(ZfsError::Unclear { name: name.clone(), text: text.to_owned() }),
        }
    }

    pub(crate) fn take(&self, snapshot: &Snapshot) -> Result<(), ZfsError> {
        let name = &snapshot.0;
        let words = ["snapshot", "-o", &self.mark(), name];
        self.run("take", name, &call(words).within(SLOW)).map(drop)
    }

    pub(crate) fn clone_to(&self, snapshot: &Snapshot, to: &Dataset) -> Result<(), ZfsError> {
        let words = ["clone", "-o", &self.mark(), &snapshot.0, &to.0];
        self.run("clone", &snapshot.0, &call(words).within(SLOW)).map(drop)
    }

    /// Copies a snapshot into a new dataset, and mounts that.
    pub(crate) fn copy(&self, snapshot: &Snapshot, to: &Dataset) -> Result<(), ZfsError> {
        let send = call(["send", &snapshot.0]).within(LONG);
        // Not mounted before it is whole.
        let receive = call(["receive", "-u", "-o", &self.mark(), &to.0]).within(LONG);
        let name = snapshot.0.clone();
        self.tools.pipe(&send, &receive).map_err(|source| ZfsError::Tool {
            what: "copy",
            name,
            source,
        })?;
        self.run("mount", &to.0, &call(["mount", &to.0])).map(drop)
    }

    /// The datasets right below one.
    pub(crate) fn children(&self, parent: &Dataset) -> Result<Vec<Dataset>, ZfsError> {
        let words = ["list", "-H", "-r", "-d", "1", "-t", "filesystem", "-o", "name", &parent.0];
        let answer = self.run("list what is below", &parent.0, &call(words))?;
        let names = answer.stdout.lines().filter(|name| *name != parent.0);
        // What has another form is not ours.
        Ok(names.filter_map(|name| Dataset::parse(name).ok()).collect())
    }

    /// The clones of a snapshot; none where there is no such snapshot.
    pub(crate) fn clones(&self, snapshot: &Snapshot) -> Result<Vec<String>, ZfsError> {
        let name = &snapshot.0;
        let question = call(["get", "-H", "-o", "value", "clones", name]);
        let answer = match self.run("look at", name, &question) {
            Err(ZfsError::Tool { source, .. }) if source.says("does not exist") => {
                return Ok(Vec::new());
            }
            answer => answer?,
        };
        let clones = answer.stdout.trim().split(',').filter(|c| !c.is_empty() && *c != "-");
        Ok(clones.map(str::to_owned).collect())
    }

    /// The snapshot that a dataset was cloned of.
    pub(crate) fn origin(&self, dataset: &Dataset) -> Result<Option<Snapshot>, ZfsError> {
        let question = call(["get", "-H", "-o", "value", "origin", &dataset.0]);
        let answer = self.run("look at", &dataset.0, &question)?;
        let origin = answer.stdout.trim();
        Ok(origin.contains('@').then(|| Snapshot(origin.to_owned())))
    }

    /// Gives a dataset of ours another name. It stays mounted where it is: whoever has
    /// a file open there does not keep it from going.
    pub(crate) fn rename(&self, dataset: &Dataset, to: &Dataset) -> Result<(), ZfsError> {
        if !self.is_ours(&dataset.0)? {
            return Ok(());
        }
        let rename = call(["rename", "-u", &dataset.0, &to.0]).within(SLOW);
        match self.run("rename", &dataset.0, &rename) {
            // It was too slow, or failed at what comes after: it has gone all the same.
            Err(_) if self.owner(&dataset.0)? == Owner::Nobody => Ok(()),
            done => done.map(drop),
        }
    }

    /// Destroys a dataset of ours with its snapshots. Not what was cloned of them.
    pub(crate) fn destroy(&self, dataset: &Dataset) -> Result<(), ZfsError> {
        if !self.is_ours(&dataset.0)? {
            return Ok(());
        }
        let destroy = call(["destroy", "-r", "-f", &dataset.0]).within(LONG);
        self.run("destroy", &dataset.0, &destroy).map(drop)
    }

    /// Destroys a snapshot of ours, of whosever dataset.
    pub(crate) fn drop_snapshot(&self, snapshot: &Snapshot) -> Result<(), ZfsError> {
        if !self.is_ours(&snapshot.0)? {
            return Ok(());
        }
        let destroy = call(["destroy", &snapshot.0]).within(SLOW);
        self.run("destroy", &snapshot.0, &destroy).map(drop)
    }
}

#[cfg(test)]
#[path = "datasets_tests.rs"]
mod tests;
