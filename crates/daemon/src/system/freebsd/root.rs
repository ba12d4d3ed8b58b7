//! The dataset of everything that Kleene keeps. What zfs(8) answers is from its manual
//! (FreeBSD 13.2, OpenZFS 2.1), and was not recorded.

use kleene_engine::host::chain;
use kleene_host::freebsd::run::{Call, Tool, Tools};

use crate::config::Config;
use crate::system::Error;

/// Whether the root's dataset is there and mounted at the root.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(super) fn check(tools: &dyn Tools, config: &Config) -> Result<(), Error> {
    let Some(dataset) = config.dataset.as_deref() else { return Ok(()) };
    match found(tools, dataset)? {
        Some(at) => mounted(config, dataset, &at),
        None => {
            Err(Error::Failed(format!("there is no dataset {dataset}: make it by 'kleened init'")))
        }
    }
}

/// Makes it where it is not there, with the datasets above it.
///
/// # Errors
/// When zfs refuses, or it is mounted elsewhere.
pub(super) fn prepare(
    tools: &dyn Tools,
    config: &Config,
    dry_run: bool,
    say: &dyn Fn(&str) -> Result<(), String>,
) -> Result<(), Error> {
    let Some(dataset) = config.dataset.as_deref() else { return Ok(()) };
    if let Some(at) = found(tools, dataset)? {
        return mounted(config, dataset, &at);
    }
    say(&format!("dataset {dataset}, mounted at {}", config.root.display()))?;
    if dry_run {
        return Ok(());
    }
    let mountpoint = format!("mountpoint={}", config.root.display());
    let call = Call::new(Tool::Zfs, ["create", "-p", "-o", &mountpoint, dataset]);
    tools.run(&call).map_err(|err| chain(&err))?;
    Ok(())
}

/// Where a dataset is mounted, and whether it is.
struct At {
    mountpoint: String,
    mounted: bool,
}

fn found(tools: &dyn Tools, dataset: &str) -> Result<Option<At>, Error> {
    let fields = "mountpoint,mounted";
    let call = Call::new(Tool::Zfs, ["list", "-H", "-t", "filesystem", "-o", fields, dataset]);
    let answer = match tools.run(&call) {
        Ok(answer) => answer,
        Err(err) if err.says("does not exist") => return Ok(None),
        Err(err) => return Err(Error::Failed(chain(&err))),
    };
    // -H: one line a dataset, fields apart by tabs.
    let fields = answer.stdout.trim_end().split_once('\t');
    let (mountpoint, mounted) =
        fields.ok_or_else(|| format!("cannot understand the answer to '{call}'"))?;
    Ok(Some(At { mountpoint: mountpoint.to_owned(), mounted: mounted == "yes" }))
}

fn mounted(config: &Config, dataset: &str, at: &At) -> Result<(), Error> {
    let root = config.root.display();
    if at.mountpoint != config.root.to_string_lossy() {
        let at = &at.mountpoint;
        return Err(Error::Failed(format!(
            "the dataset {dataset} is mounted at {at}: zfs set mountpoint={root} {dataset}, or \
             name {at} as 'kleene_root'"
        )));
    }
    if !at.mounted {
        return Err(Error::Failed(format!(
            "the dataset {dataset} is not mounted: zfs mount {dataset}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use kleene_host::freebsd::run::{Answer, ToolError};
    use kleene_host::freebsd::vectors::is_listed;

    use super::*;

    /// A pool with at most one dataset.
    struct Pool(Mutex<Option<&'static str>>);

    impl Tools for Pool {
        fn call(&self, call: &Call) -> Result<Answer, ToolError> {
            assert_eq!(call.tool, Tool::Zfs);
            assert!(is_listed(call), "'{call}' has no form in freebsd::vectors");
            let mut there = self.0.lock().expect("nobody panicked");
            let (status, stdout, stderr) = match (call.args[0].as_str(), *there) {
                ("list", Some(line)) => (0, format!("{line}\n"), String::new()),
                ("list", None) => {
                    let line = "cannot open 'zroot/kleene': dataset does not exist\n";
                    (1, String::new(), line.to_owned())
                }
                _ => {
                    let wanted = ["create", "-p", "-o", "mountpoint=/zroot/kleene", "zroot/kleene"];
                    assert_eq!(call.args, wanted);
                    *there = Some("/zroot/kleene\tyes");
                    (0, String::new(), String::new())
                }
            };
            Ok(Answer { status, stdout, stderr })
        }
    }

    fn config() -> Config {
        let dir = tempfile::tempdir().expect("a directory");
        let config = crate::jobs::tests::config(dir.path());
        let dataset = Some("zroot/kleene".to_owned());
        Config { root: "/zroot/kleene".into(), dataset, ..config }
    }

    #[test]
    fn a_dataset_is_made_once_and_a_dry_run_makes_none() {
        let (pool, config) = (Pool(Mutex::new(None)), config());
        let said = Mutex::new(Vec::new());
        let say = |what: &str| {
            said.lock().expect("nobody panicked").push(what.to_owned());
            Ok(())
        };
        let err = check(&pool, &config).expect_err("none");
        assert!(err.to_string().contains("kleened init"), "{err}");
        prepare(&pool, &config, true, &say).expect("said");
        assert!(check(&pool, &config).is_err(), "a dry run made it");
        prepare(&pool, &config, false, &say).expect("made");
        prepare(&pool, &config, false, &say).expect("there");
        assert_eq!(check(&pool, &config), Ok(()));
        let line = "dataset zroot/kleene, mounted at /zroot/kleene";
        assert_eq!(said.into_inner().expect("nobody panicked"), [line, line]);
    }

    #[test]
    fn one_that_is_mounted_elsewhere_or_nowhere_is_told_with_what_to_do() {
        for (line, told) in [
            ("/zroot/kleene\tno", "zfs mount zroot/kleene"),
            ("/data\tyes", "zfs set mountpoint=/zroot/kleene zroot/kleene"),
            ("none\tno", "zfs set mountpoint=/zroot/kleene zroot/kleene"),
            ("nonsense", "cannot understand"),
        ] {
            let pool = Pool(Mutex::new(Some(line)));
            let err = check(&pool, &config()).expect_err(line).to_string();
            assert!(err.contains(told), "{line}: {err}");
        }
        // A directory needs no dataset, and zfs is not asked.
        let directory = Config { dataset: None, ..config() };
        assert_eq!(check(&Pool(Mutex::new(None)), &directory), Ok(()));
        assert_eq!(directory.root, Path::new("/zroot/kleene"));
    }
}
