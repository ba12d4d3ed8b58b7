//! A throw-away host: a network namespace, with that of a view beside it.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Output};
use std::time::Duration;

use kleene_engine::host::chain;
use kleene_host::linux::view::{Done, furnish, interfaces, sync};
use kleene_model::LinkName;
use serde_json::Value;

use crate::testing::{inside, is_root_with};
pub(crate) use crate::testing::{ip, namespace, until};

/// The mark of a cable, as another daemon may have made it.
pub(crate) const CABLE: &str = "kleene:main:endpoint:2f1dc29b8f36";

/// A throw-away host and a view.
pub(crate) struct World {
    view: OwnedFd,
}

/// Runs a test in a world, or says loudly that it did not.
pub(crate) fn world(test: impl FnOnce(&World) + Send) {
    if !is_root_with("ip") {
        return;
    }
    let host = namespace();
    let world = World { view: namespace() };
    inside(&host, || {
        ip(&["link", "set", "lo", "up"]);
        test(&world);
    });
}

/// Runs `ip` for each line, in the calling thread's namespace.
pub(crate) fn ips(lines: &[&str]) {
    for line in lines {
        ip(&line.split(' ').collect::<Vec<_>>());
    }
}

/// Runs `ip` once for many lines, in the calling thread's namespace.
pub(crate) fn ip_batch(lines: &str) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), lines).expect("write the lines");
    ip(&["-batch", file.path().to_str().expect("a path")]);
}

/// A link as `ip` shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) index: u64,
    pub(crate) mtu: u64,
    pub(crate) mac: String,
    pub(crate) up: bool,
}

/// The links of the calling thread's namespace, without `lo`.
pub(crate) fn shown() -> Vec<Shown> {
    let list: Vec<Value> = serde_json::from_str(&ip(&["-j", "link"])).expect("a list");
    let one = |link: &Value| Shown {
        name: link["ifname"].as_str().expect("a name").to_owned(),
        index: link["ifindex"].as_u64().expect("an index"),
        mtu: link["mtu"].as_u64().expect("an MTU"),
        mac: link["address"].as_str().unwrap_or_default().to_owned(),
        up: link["flags"].as_array().expect("flags").iter().any(|flag| flag == "UP"),
    };
    let mut links: Vec<Shown> = list.iter().map(one).filter(|link| link.name != "lo").collect();
    links.sort();
    links
}

/// The names of the links of the calling thread's namespace, without `lo`.
pub(crate) fn names() -> Vec<String> {
    shown().into_iter().map(|link| link.name).collect()
}

/// All addresses of the calling thread's namespace, with their links.
pub(crate) fn addresses() -> Vec<String> {
    let list: Vec<Value> = serde_json::from_str(&ip(&["-j", "addr"])).expect("a list");
    let mut all = Vec::new();
    for link in &list {
        let name = link["ifname"].as_str().expect("a name");
        for info in link["addr_info"].as_array().into_iter().flatten() {
            let local = info["local"].as_str().expect("an address");
            all.push(format!("{local}/{} {name}", info["prefixlen"]));
        }
    }
    all.sort();
    all
}

/// Listens in the calling thread's namespace.
pub(crate) fn listen(addr: &str, port: u16) -> TcpListener {
    let addr: IpAddr = addr.parse().expect("an address");
    TcpListener::bind(SocketAddr::new(addr, port)).unwrap_or_else(|e| panic!("{addr}: {e}"))
}

/// Whether a real TCP connection comes about from the calling thread's
/// namespace.
pub(crate) fn reaches(addr: &str, port: u16) -> bool {
    let addr: IpAddr = addr.parse().expect("an address");
    TcpStream::connect_timeout(&SocketAddr::new(addr, port), Duration::from_secs(2)).is_ok()
}

/// A link's name.
pub(crate) fn name(text: &str) -> LinkName {
    LinkName::parse(text).expect("a name")
}

fn whole(done: Done) -> Done {
    let failed: Vec<String> = done.failed.iter().map(|error| chain(error)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    done
}

impl World {
    /// Furnishes the view with all that the host has; nothing may fail.
    pub(crate) fn furnish(&self, skip: Option<&str>) -> Done {
        let mirrors = interfaces().expect("the host's interfaces");
        let skip = skip.map(name);
        whole(furnish(self.view.as_fd(), &mirrors, skip.as_ref()).expect("a view"))
    }

    /// Brings the view up to date.
    pub(crate) fn try_sync(&self) -> Done {
        let mirrors = interfaces().expect("the host's interfaces");
        sync(self.view.as_fd(), &mirrors, None).expect("a look into the view")
    }

    /// Brings the view up to date; nothing may fail. A second time there must
    /// be nothing to do.
    pub(crate) fn sync(&self) -> Done {
        let done = whole(self.try_sync());
        let again = whole(self.try_sync());
        let counts = [again.made, again.deleted, again.renamed, again.changed];
        assert_eq!(counts, [0; 4], "there was something left to do");
        done
    }

    /// The view shows exactly what the host has.
    pub(crate) fn assert_same(&self) {
        assert_eq!(self.within(shown), shown());
    }

    /// Runs something in the view.
    pub(crate) fn within<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.view, run)
    }

    /// Runs a program in the view, started through others.
    pub(crate) fn execute(&self, args: &[&str]) -> Output {
        let path = format!("--net=/proc/{}/fd/{}", std::process::id(), self.view.as_raw_fd());
        Command::new("nsenter").arg(path).args(args).output().expect("nsenter")
    }
}
