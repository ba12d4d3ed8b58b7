//! Configuration: Kleene's own `config.yaml`, then the environment, then
//! flags. Every path and every name that the daemon uses derives from it, so
//! that two daemons live on one machine.

use std::path::{Path, PathBuf};

use kleene_model::InstanceName;
use kleene_model::addr::{Pool, Pools};
use serde::Deserialize;

use crate::system::paths::HERE;

/// Largest configuration file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says what cannot be understood.
    #[error("the configuration file {} is not valid: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// A key has a value that it cannot have.
    #[error("configuration error: '{key}' {why}")]
    Value {
        /// The key, as in the file.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// One entry of `api_listening_sockets`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SocketEntry {
    address: String,
    tlscert: Option<String>,
    tlskey: Option<String>,
    tlsverify: Option<bool>,
    tlscacert: Option<String>,
    tlsdh: Option<String>,
}

/// The file, as it is written: the keys of 0.1.1 and ours.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kleene_root: Option<PathBuf>,
    api_listening_sockets: Option<Vec<SocketEntry>>,
    enable_logging: Option<bool>,
    log_level: Option<String>,
    /// Needed on FreeBSD by 0.1.1; the pf configuration is never rewritten
    /// here, so both are read and not used.
    #[serde(rename = "pf_config_template_path")]
    _pf_config_template_path: Option<PathBuf>,
    #[serde(rename = "pf_config_path")]
    _pf_config_path: Option<PathBuf>,
    instance: Option<String>,
    socket_group: Option<String>,
    log_format: Option<String>,
    log_file: Option<PathBuf>,
    subnet_pools: Option<Vec<String>>,
    metrics_socket: Option<String>,
    log_drops: Option<bool>,
}

/// What flags and environment say; every key of the file has one of each.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Overrides {
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "KLEENED_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Directory of everything that Kleene keeps
    #[arg(long, value_name = "DIR", env = "KLEENED_KLEENE_ROOT")]
    pub(crate) kleene_root: Option<PathBuf>,
    /// Address to listen on, http:///path or http://127.0.0.1:port; may be repeated
    #[arg(
        long = "api-listening-socket",
        value_name = "ADDRESS",
        env = "KLEENED_API_LISTENING_SOCKETS",
        value_delimiter = ','
    )]
    pub(crate) api_listening_sockets: Vec<String>,
    /// Whether anything is logged
    #[arg(long, value_name = "BOOL", env = "KLEENED_ENABLE_LOGGING")]
    pub(crate) enable_logging: Option<bool>,
    /// debug, info, notice, warning, error, critical, alert or emergency
    #[arg(long, value_name = "LEVEL", env = "KLEENED_LOG_LEVEL")]
    pub(crate) log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT", env = "KLEENED_LOG_FORMAT")]
    pub(crate) log_format: Option<String>,
    /// File of log lines, instead of standard error; opened again at SIGHUP
    #[arg(long, value_name = "FILE", env = "KLEENED_LOG_FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// Name of this daemon in owner marks; derived from the root if absent
    #[arg(long, value_name = "NAME", env = "KLEENED_INSTANCE")]
    pub(crate) instance: Option<String>,
    /// Group that may use the unix sockets
    #[arg(long, value_name = "GROUP", env = "KLEENED_SOCKET_GROUP")]
    pub(crate) socket_group: Option<String>,
    /// Where automatic subnets come from, as 10.88.0.0/16 or 10.0.0.0/8:26; may be repeated
    #[arg(
        long = "subnet-pool",
        value_name = "CIDR[:SIZE]",
        env = "KLEENED_SUBNET_POOLS",
        value_delimiter = ','
    )]
    pub(crate) subnet_pools: Vec<String>,
    /// Where /metrics alone is served, http:///path or http://address:port
    #[arg(long, value_name = "ADDRESS", env = "KLEENED_METRICS_SOCKET")]
    pub(crate) metrics_socket: Option<String>,
    /// Whether packets that the policy blocks are logged
    #[arg(long, value_name = "BOOL", env = "KLEENED_LOG_DROPS")]
    pub(crate) log_drops: Option<bool>,
}

/// Where the API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP socket, for the API on a loopback address.
    Tcp(std::net::SocketAddr),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Directory of everything that Kleene keeps.
    pub(crate) root: PathBuf,
    /// The ZFS dataset that the root is, where the configuration named one.
    pub(crate) dataset: Option<String>,
    /// Where the API is served.
    pub(crate) addresses: Vec<Address>,
    /// The least severe level that is logged; `None`: nothing is.
    pub(crate) log_level: Option<tracing::Level>,
    /// Where log lines go; `None`: to standard error.
    pub(crate) log_file: Option<PathBuf>,
    /// How log lines look.
    pub(crate) log_format: LogFormat,
    /// This daemon's name in owner marks.
    pub(crate) instance: InstanceName,
    /// Group of the unix sockets.
    pub(crate) socket_group: Option<String>,
    /// Where automatic subnets come from.
    pub(crate) subnet_pools: Pools,
    /// Where what is measured is served, besides the API.
    pub(crate) metrics: Vec<Address>,
    /// Whether packets that the policy blocks are told of from the start.
    pub(crate) log_drops: bool,
}

impl Config {
    /// Reads the file that flags, environment or custom name, and lays the
    /// others over it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub(crate) fn load(overrides: Overrides) -> Result<Self, ConfigError> {
        let file = match &overrides.config {
            Some(path) => read(path)?,
            None if Path::new(HERE.config).exists() => read(Path::new(HERE.config))?,
            None => File::default(),
        };
        Self::merge(file, overrides)
    }

    /// Where the API is served on this host's file system.
    pub(crate) fn unix_sockets(&self) -> Vec<PathBuf> {
        let path = |address: &Address| match address {
            Address::Unix(path) => Some(path.clone()),
            Address::Tcp(_) => None,
        };
        self.addresses.iter().filter_map(path).collect()
    }

    fn merge(file: File, flags: Overrides) -> Result<Self, ConfigError> {
        let File {
            kleene_root,
            api_listening_sockets,
            enable_logging,
            log_level,
            _pf_config_template_path: _,
            _pf_config_path: _,
            instance,
            socket_group,
            log_format,
            log_file,
            subnet_pools,
            metrics_socket,
            log_drops,
        } = file;
        let root = flags.kleene_root.or(kleene_root).unwrap_or_else(|| HERE.root.into());
        let (root, dataset) = root_named(root, HERE.datasets)
            .map_err(|why| ConfigError::Value { key: "kleene_root", why })?;
        let addresses = if flags.api_listening_sockets.is_empty() {
            let default =
                || vec![SocketEntry { address: HERE.api.into(), ..SocketEntry::default() }];
            api_listening_sockets.unwrap_or_else(default)
        } else {
            let entry = |address| SocketEntry { address, ..SocketEntry::default() };
            flags.api_listening_sockets.into_iter().map(entry).collect()
        };
        let addresses = addresses.iter().map(address).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            let why = "is empty: nothing could reach the daemon".to_owned();
            return Err(ConfigError::Value { key: "api_listening_sockets", why });
        }
        let logging = flags.enable_logging.or(enable_logging).unwrap_or(true);
        let level = flags.log_level.or(log_level);
        let level = level_named(level.as_deref().unwrap_or("info"))?;
        let format = flags.log_format.or(log_format);
        let instance = match flags.instance.or(instance) {
            Some(text) => InstanceName::parse(&text),
            None => InstanceName::parse(&instance_of(&root)),
        };
        Ok(Self {
            addresses,
            log_level: logging.then_some(level),
            log_file: flags.log_file.or(log_file),
            log_format: format_named(format.as_deref().unwrap_or("text"))?,
            instance: instance.map_err(|refusal| ConfigError::Value {
                key: "instance",
                why: refusal.to_string(),
            })?,
            socket_group: flags.socket_group.or(socket_group),
            subnet_pools: pools(flags.subnet_pools, subnet_pools)?,
            metrics: metrics(flags.metrics_socket.or(metrics_socket))?,
            log_drops: flags.log_drops.or(log_drops).unwrap_or(false),
            root,
            dataset,
        })
    }

    /// What is kept about one container: its layers and logs.
    #[must_use]
    pub(crate) fn container_dir(&self, id: kleene_model::ContainerId) -> PathBuf {
        self.root.join("containers").join(id.to_string())
    }

    /// What exists only while a container runs.
    #[must_use]
    pub(crate) fn run_dir(&self, id: kleene_model::ContainerId) -> PathBuf {
        self.root.join("run").join(id.to_string())
    }

    /// Where container output is kept.
    #[must_use]
    pub(crate) fn log_dir(&self, id: kleene_model::ContainerId) -> PathBuf {
        self.container_dir(id).join("logs")
    }

    /// Where images live.
    #[must_use]
    pub(crate) fn images_dir(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Where directories wait to be deleted.
    #[must_use]
    pub(crate) fn trash_dir(&self) -> PathBuf {
        self.root.join("trash")
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let wrap = |source| ConfigError::Read { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(wrap)?.len();
    if length > FILE_MAX {
        let why = format!("it has {length} bytes, the limit is {FILE_MAX}");
        return Err(ConfigError::Syntax { path: path.to_owned(), why });
    }
    let text = std::fs::read_to_string(path).map_err(wrap)?;
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    serde_saphyr::from_str(&text)
        .map_err(|err| ConfigError::Syntax { path: path.to_owned(), why: err.to_string() })
}

fn address(entry: &SocketEntry) -> Result<Address, ConfigError> {
    let SocketEntry { address, tlscert, tlskey, tlsverify, tlscacert, tlsdh } = entry;
    let refuse = |why: String| ConfigError::Value { key: "api_listening_sockets", why };
    let tls = [tlscert, tlskey, tlscacert, tlsdh].iter().any(|field| field.is_some());
    if tls || *tlsverify == Some(true) || address.starts_with("https://") {
        return Err(refuse(format!("has TLS for '{address}': unsupported in this version")));
    }
    let read = socket(address).map_err(refuse)?;
    if let Address::Tcp(socket) = &read
        && !socket.ip().is_loopback()
    {
        return Err(refuse(format!(
            "has '{address}': who reaches the API is root on this host, so plain TCP is served on loopback addresses only"
        )));
    }
    Ok(read)
}

/// Where only what is measured is served: on any address, for nobody can do
/// anything there.
fn metrics(text: Option<String>) -> Result<Vec<Address>, ConfigError> {
    let refuse = |why: String| ConfigError::Value { key: "metrics_socket", why };
    text.iter().map(|text| socket(text).map_err(refuse)).collect()
}

/// Why it is none.
fn socket(address: &str) -> Result<Address, String> {
    let Some(rest) = address.strip_prefix("http://") else {
        return Err(format!("has '{address}': use http:///path or http://address:port"));
    };
    if rest.starts_with('/') {
        return Ok(Address::Unix(PathBuf::from(rest)));
    }
    let socket = rest
        .trim_end_matches('/')
        .parse()
        .map_err(|_| format!("has '{address}': use http://127.0.0.1:port or http://[::1]:port"))?;
    Ok(Address::Tcp(socket))
}

/// What was said last wins; nothing said means the defaults, and an empty list
/// none at all.
fn pools(flags: Vec<String>, file: Option<Vec<String>>) -> Result<Pools, ConfigError> {
    let texts = if flags.is_empty() { file } else { Some(flags) };
    let Some(texts) = texts else { return Ok(Pools::default()) };
    let pools = texts.iter().map(|text| Pool::parse(text)).collect::<Result<Vec<_>, _>>();
    let refuse = |why| ConfigError::Value { key: "subnet_pools", why: format!("has {why}") };
    pools.map(Pools::new).map_err(refuse)
}

/// The root, and the dataset that it is: as in 0.1.1, what is no absolute path is the
/// name of a dataset, which is mounted at `/` and its name.
fn root_named(root: PathBuf, datasets: bool) -> Result<(PathBuf, Option<String>), String> {
    if root.is_absolute() {
        return Ok((root, None));
    }
    let text = root.to_str().unwrap_or_default();
    if !datasets {
        return Err(format!("must be an absolute path, not '{}'", root.display()));
    }
    // The characters of zfs(8), "ZFS File System Hierarchy", without the blank.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:.".contains(&byte);
    let part = |part: &str| part.bytes().all(plain) && !matches!(part, "" | "." | "..");
    let first = text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    if !first || !text.split('/').all(part) {
        let root = root.display();
        return Err(format!("must be an absolute path or the name of a dataset, not '{root}'"));
    }
    Ok((Path::new("/").join(text), Some(text.to_owned())))
}

/// The levels of 0.1.1 as ours.
fn level_named(name: &str) -> Result<tracing::Level, ConfigError> {
    match name {
        "debug" => Ok(tracing::Level::DEBUG),
        "info" | "notice" => Ok(tracing::Level::INFO),
        "warning" => Ok(tracing::Level::WARN),
        "error" | "critical" | "alert" | "emergency" => Ok(tracing::Level::ERROR),
        other => Err(ConfigError::Value {
            key: "log_level",
            why: format!(
                "has '{other}': use debug, info, notice, warning, error, critical, alert or emergency"
            ),
        }),
    }
}

fn format_named(name: &str) -> Result<LogFormat, ConfigError> {
    match name {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(ConfigError::Value {
            key: "log_format",
            why: format!("has '{other}': use text or json"),
        }),
    }
}

/// A name that is the same for the same root, so that a daemon finds its own
/// marks again even when its store is lost (FNV-1a, 32 bits).
fn instance_of(root: &Path) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in root.as_os_str().as_encoded_bytes() {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    format!("{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(yaml: &str) -> Result<Config, String> {
        let file: File = serde_saphyr::from_str(yaml).map_err(|err| err.to_string())?;
        Config::merge(file, Overrides::default()).map_err(|err| err.to_string())
    }

    #[test]
    fn four_keys_are_a_whole_configuration_and_none_is_needed() {
        let config = load(
            "kleene_root: /srv/kleene\napi_listening_sockets:\n  - address: \"http:///run/k.sock\"\n  - address: \"http://[::1]:8085/\"\nenable_logging: true\nlog_level: notice\n",
        )
        .expect("the sample");
        assert_eq!(config.root, Path::new("/srv/kleene"));
        assert_eq!(config.addresses[0], Address::Unix("/run/k.sock".into()));
        assert!(matches!(config.addresses[1], Address::Tcp(addr) if addr.port() == 8085));
        assert_eq!(config.log_level, Some(tracing::Level::INFO));
        let defaults = Config::merge(File::default(), Overrides::default()).expect("defaults");
        assert_eq!(defaults.addresses, [Address::Unix("/var/run/kleened.sock".into())]);
        assert_ne!(defaults.instance, config.instance);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (yaml, part) in [
            ("kleene_root: \"zroot/../etc\"\n", "'kleene_root' must be an absolute path"),
            ("log_level: loud\n", "'log_level' has 'loud'"),
            ("api_listening_sockets: []\n", "'api_listening_sockets' is empty"),
            (
                "api_listening_sockets: [{address: \"http://0.0.0.0:80\"}]\n",
                "loopback addresses only",
            ),
            ("api_listening_sockets: [{address: \"https:///x\"}]\n", "unsupported"),
            ("api_listening_sockets: [{address: \"ftp://x\"}]\n", "use http:///path"),
            ("no_such_key: 1\n", "no_such_key"),
            ("instance: Big\n", "'instance' invalid instance name"),
        ] {
            let err = load(yaml).expect_err(yaml);
            assert!(err.contains(part), "{yaml}: {err}");
        }
    }

    #[test]
    fn a_root_may_be_a_dataset_where_there_are_any() {
        let named = |root: &str, datasets| root_named(root.into(), datasets);
        assert_eq!(named("/var/db/kleened", true), Ok(("/var/db/kleened".into(), None)));
        let both = ("/zroot/kleene".into(), Some("zroot/kleene".to_owned()));
        assert_eq!(named("zroot/kleene", true), Ok(both));
        assert!(named("zroot/kleene", false).expect_err("none here").contains("absolute path"));
        for bad in
            ["", "zroot/", "zroot//kleene", "zroot/../etc", "-o", "0pool", "zroot/a b", "a@b"]
        {
            assert!(named(bad, true).expect_err(bad).contains("name of a dataset"), "{bad}");
        }
    }

    #[test]
    fn flags_beat_the_file() {
        let file = File { kleene_root: Some("/a".into()), ..File::default() };
        let flags = Overrides {
            kleene_root: Some("/b".into()),
            api_listening_sockets: vec!["http:///c".into()],
            ..Overrides::default()
        };
        let config = Config::merge(file, flags).expect("both");
        assert_eq!(
            (config.root, config.addresses),
            ("/b".into(), vec![Address::Unix("/c".into())])
        );
    }
}
