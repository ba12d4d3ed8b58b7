//! Where log lines go, how they look, and which are written. File and level can be
//! changed while the daemon runs: a log that was rotated is opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Config, LogFormat};

/// A file of log lines is for its owner and its group.
const MODE: u32 = 0o640;

type SetLevel = Arc<dyn Fn(LevelFilter) -> Result<(), String> + Send + Sync>;

/// The log of this process.
#[derive(Clone)]
pub(crate) struct Log {
    output: Output,
    level: SetLevel,
}

impl Log {
    /// Starts it as the configuration says.
    ///
    /// # Errors
    /// When its file cannot be opened.
    pub(crate) fn start(config: &Config) -> Result<Self, String> {
        let output = Output::default();
        output.open(config.log_file.as_deref())?;
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter(level(config)))
            .with_target(false)
            .with_ansi(false)
            .with_writer(output.clone());
        let level: SetLevel = match config.log_format {
            LogFormat::Text => {
                let lines = lines.with_filter_reloading();
                let handle = lines.reload_handle();
                lines.init();
                Arc::new(move |level| handle.reload(filter(level)).map_err(|e| e.to_string()))
            }
            LogFormat::Json => {
                let lines = lines.json().with_filter_reloading();
                let handle = lines.reload_handle();
                lines.init();
                Arc::new(move |level| handle.reload(filter(level)).map_err(|e| e.to_string()))
            }
        };
        Ok(Self { output, level })
    }

    /// Opens its file again, or another one, and takes over the level.
    ///
    /// # Errors
    /// When that cannot be done; it goes on as before.
    pub(crate) fn follow(&self, config: &Config) -> Result<(), String> {
        self.output.open(config.log_file.as_deref())?;
        (self.level)(level(config))
    }
}

fn level(config: &Config) -> LevelFilter {
    config.log_level.map_or(LevelFilter::OFF, LevelFilter::from_level)
}

fn filter(level: LevelFilter) -> EnvFilter {
    EnvFilter::default().add_directive(level.into())
}

/// A file, or standard error, where service managers expect lines.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Option<File>>>);

impl Output {
    fn open(&self, path: Option<&Path>) -> Result<(), String> {
        let open = |path: &Path| {
            let file = OpenOptions::new().append(true).create(true).mode(MODE).open(path);
            file.map_err(|err| format!("cannot open the log {}: {err}", path.display()))
        };
        *self.lock() = path.map(open).transpose()?;
        Ok(())
    }

    /// A file is whole between any two calls, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, Option<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.lock().as_mut() {
            Some(file) => file.write(line),
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.lock().as_mut() {
            Some(file) => file.flush(),
            None => io::stderr().flush(),
        }
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = &'a Output;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_alone_decides_and_off_is_off() {
        for level in [LevelFilter::OFF, LevelFilter::ERROR, LevelFilter::DEBUG] {
            let filter = filter(level);
            assert_eq!(filter.max_level_hint(), Some(level), "{filter}");
            assert_eq!(filter.to_string(), level.to_string());
        }
    }

    #[test]
    fn a_log_that_was_rotated_is_opened_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, old) = (dir.path().join("log"), dir.path().join("log.0"));
        let output = Output::default();
        output.open(Some(&log)).expect("opened");
        let say = |line: &str| (&output).write_all(line.as_bytes()).expect("written");
        say("one\n");
        std::fs::rename(&log, &old).expect("rotated");
        // Until it is opened again, lines go where they went.
        say("two\n");
        output.open(Some(&log)).expect("opened again");
        say("three\n");
        let read = |path: &Path| std::fs::read_to_string(path).expect("read");
        assert_eq!((read(&old), read(&log)), ("one\ntwo\n".to_owned(), "three\n".to_owned()));
        // One that cannot be opened changes nothing.
        let err = output.open(Some(&dir.path().join("no/such"))).expect_err("no directory");
        assert!(err.contains("cannot open the log"), "{err}");
        say("four\n");
        assert_eq!(read(&log), "three\nfour\n");
    }
}
