//! Where klee's settings come from: flags, then the environment, then a file,
//! then defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

use crate::target::{Target, TargetError};

/// The daemon's place when nobody says otherwise.
pub(crate) const DEFAULT_HOST: &str = "http:///var/run/kleened.sock";

/// Where the system's own file lies.
const SYSTEM_FILE: &str = if cfg!(target_os = "linux") {
    "/etc/klee/klee_config.yaml"
} else {
    "/usr/local/etc/klee/klee_config.yaml"
};

/// Settings as they were typed or exported; clap has merged the two.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Settings {
    /// Where the daemon listens: http:///PATH or http://HOST:PORT
    #[arg(long, env = "KLEE_HOST", hide_env_values = true)]
    pub(crate) host: Option<String>,
    /// Location of the config file
    #[arg(long, env = "KLEE_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Accepted for existing scripts; all output is plain
    #[arg(long, env = "KLEE_THEME", hide_env_values = true, value_enum)]
    pub(crate) theme: Option<Theme>,
}

/// Themes of 0.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Theme {
    Fancy,
    Simple,
}

/// A setting of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Value {
    Switch(bool),
    Text(String),
}

/// Wrong settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("Error! Config file {} is not valid: parameter name '{name}' unknown", file.display())]
    Unknown { file: PathBuf, name: String },
    #[error("Error! Config file {} is not valid: '{name}' must be {wanted}", file.display())]
    Wrong { file: PathBuf, name: &'static str, wanted: &'static str },
    #[error("Error! Config file {} is not valid", file.display())]
    Syntax { file: PathBuf, source: Box<serde_saphyr::Error> },
    #[error("cannot read config file {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Host(#[from] TargetError),
}

/// The daemon's address after all sources were asked.
pub(crate) fn target(settings: &Settings) -> Result<Target, ConfigError> {
    let typed = settings.config.as_deref().filter(|file| !file.as_os_str().is_empty());
    let file = match typed {
        Some(file) => Some(read(file)?),
        None => default_files().iter().find(|file| file.is_file()).map(|f| read(f)).transpose()?,
    };
    let from_flags = settings.host.as_deref().filter(|host| !host.is_empty());
    let from_file = file.as_ref().and_then(|file| file.host.as_deref());
    Ok(Target::parse(from_flags.or(from_file).unwrap_or(DEFAULT_HOST))?)
}

/// The places of a config file, first found wins.
fn default_files() -> Vec<PathBuf> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    [PathBuf::from("klee_config.yaml")]
        .into_iter()
        .chain(home.map(|home| home.join(".klee/klee_config.yaml")))
        .chain([PathBuf::from(SYSTEM_FILE)])
        .collect()
}

/// What a file says. Its keys for TLS and the theme are known, and for plain
/// HTTP without effect, as in 0.1.1.
#[derive(Debug, Default, PartialEq, Eq)]
struct FileSettings {
    host: Option<String>,
}

fn read(file: &Path) -> Result<FileSettings, ConfigError> {
    let text = fs::read_to_string(file)
        .map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
    parse(file, &text)
}

fn parse(file: &Path, text: &str) -> Result<FileSettings, ConfigError> {
    let keys: Option<BTreeMap<String, Option<Value>>> =
        serde_saphyr::from_str(text).map_err(|source| ConfigError::Syntax {
            file: file.to_owned(),
            source: Box::new(source),
        })?;
    let mut settings = FileSettings::default();
    let wrong = |name, wanted| Err(ConfigError::Wrong { file: file.to_owned(), name, wanted });
    for (name, value) in keys.unwrap_or_default() {
        match (name.as_str(), value) {
            ("host", Some(Value::Text(host))) => settings.host = Some(host),
            ("host", Some(Value::Switch(_))) => return wrong("host", "an address"),
            ("theme", Some(Value::Text(theme))) if theme == "fancy" || theme == "simple" => {}
            ("theme", Some(_)) => return wrong("theme", "fancy or simple"),
            ("host" | "theme", None) => {}
            ("tlsverify" | "tlscert" | "tlskey" | "tlscacert", _) => {}
            _ => return Err(ConfigError::Unknown { file: file.to_owned(), name }),
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<FileSettings, String> {
        parse(Path::new("k.yaml"), text).map_err(|err| err.to_string())
    }

    #[test]
    fn the_keys_of_existing_files_are_known() {
        let text = "host: http://10.1.1.1:8085\ntlsverify: true\ntheme: simple\ntlscert: /c.pem\n";
        assert_eq!(read_text(text).unwrap().host.as_deref(), Some("http://10.1.1.1:8085"));
        assert_eq!(read_text("").unwrap(), FileSettings::default());
        assert_eq!(read_text("# nothing\n").unwrap(), FileSettings::default());
    }

    #[test]
    fn other_keys_are_refused_by_name() {
        assert_eq!(
            read_text("hots: x\n").unwrap_err(),
            "Error! Config file k.yaml is not valid: parameter name 'hots' unknown"
        );
        assert_eq!(
            read_text("theme: loud\n").unwrap_err(),
            "Error! Config file k.yaml is not valid: 'theme' must be fancy or simple"
        );
        assert_eq!(read_text("[").unwrap_err(), "Error! Config file k.yaml is not valid");
    }
}
