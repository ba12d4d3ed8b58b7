//! The place of a run: pf with Kleene's lines, two outsides, and a daemon; and how all
//! of it goes again.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use kleene_host::freebsd::pf::MAIN;
use kleene_host::freebsd::run::{Call, Tool};

use super::layout::{BEHIND, OUTSIDES, Outside};
use super::program::Program;
use super::report::{Done, Ended, fails, want};
use super::seen;
use super::state::{RULESETS, SYSCTLS, State};
use super::trial::{SOON, Trial};

/// What was found, and done, and has to be undone.
#[derive(Debug, Default)]
pub struct Place {
    before: State,
    loaded_pf: bool,
    enabled_pf: bool,
    /// Whether the main ruleset is the run's.
    main_loaded: bool,
    /// Whether rules of somebody else were replaced.
    replaced: bool,
    routes: Vec<&'static str>,
}

/// Why a run does not begin; nothing was changed, or all was undone.
pub type Refusal = String;

impl Place {
    /// Makes the place.
    ///
    /// # Errors
    /// Why not; what was made stays to be undone by [`Place::leave`].
    pub fn prepare(&mut self, trial: &mut Trial, replace_pf: bool) -> Result<(), Refusal> {
        let told = |ended: Ended| match ended {
            Ended::Fails { expected, seen } => format!("expected: {expected}; seen: {seen}"),
            Ended::Cannot(why) => why,
            Ended::Interrupted => "interrupted".to_owned(),
        };
        has_vimage(trial).map_err(told)?;
        self.load_pf(trial).map_err(told)?;
        self.before = State::look(trial).map_err(told)?;
        trial.settings = self.before.of("sysctls").to_vec();
        self.refuse(replace_pf)?;
        self.main(trial).map_err(told)?;
        for (number, outside) in OUTSIDES.iter().enumerate() {
            make_outside(trial, number, outside).map_err(told)?;
        }
        self.default_routes(trial).map_err(told)?;
        lay_out(trial).map_err(|err| format!("cannot make the directory of the run: {err}"))?;
        start_daemon(trial).map_err(told)
    }

    fn load_pf(&mut self, trial: &Trial) -> Done {
        if trial.tool(Tool::Kldstat, &["-q", "-m", "pf"])?.status != 0 {
            let answer = trial.program(&Program::new("/sbin/kldload", &["pf"]), SOON)?;
            want(answer.status == 0, "pf can be loaded into the kernel", answer.words())?;
            self.loaded_pf = true;
        }
        Ok(())
    }

    /// Refuses to run where it would disturb somebody.
    fn refuse(&mut self, replace_pf: bool) -> Result<(), Refusal> {
        let ours = |line: &String| {
            let line = line.strip_suffix(" all").unwrap_or(line);
            MAIN.lines().any(|is| is == line)
        };
        let rules = self.before.of("pf rules").iter().chain(self.before.of("pf translation"));
        let foreign: Vec<&String> = rules.filter(|line| !ours(line)).collect();
        self.replaced = !foreign.is_empty();
        if let (Some(first), false) = (foreign.first(), replace_pf) {
            return Err(format!(
                "pf has rules of somebody else, '{first}' among them: they would be replaced for \
                 the time of the run, and /etc/pf.conf loaded in the end; say --replace-pf if \
                 that may be"
            ));
        }
        let tables = self.before.of("pf tables");
        let jails = self.before.of("jails");
        let own = OUTSIDES.iter().map(|outside| outside.jail).chain([BEHIND]);
        let taken = own.into_iter().find(|name| jails.iter().any(|jail| jail == name));
        if let Some(jail) = taken {
            return Err(format!("there is a jail {jail} already, of another run"));
        }
        match tables.iter().find(|name| name.starts_with("kleene_")) {
            Some(table) => Err(format!(
                "pf has the table {table}: Kleene runs on this system, or left it; stop kleened \
                 and run 'kleened purge' first"
            )),
            None => Ok(()),
        }
    }

    /// Loads the lines that Kleene needs, and nothing else.
    fn main(&mut self, trial: &Trial) -> Done {
        self.main_loaded = true;
        load_main(trial, MAIN)?;
        if self.before.of("pf") == ["disabled"] {
            trial.done(Tool::Pfctl, &["-e"])?;
            self.enabled_pf = true;
        }
        Ok(())
    }

    /// Gives the host default routes over the first outside where it has none.
    fn default_routes(&mut self, trial: &Trial) -> Done {
        let printed = trial.done(Tool::Netstat, &["--libxo", "json", "-rn"])?;
        let routes = seen::default_routes(&printed).or_else(|why| fails("the routes", why))?;
        let ways = ["-inet", "-inet6"].into_iter().zip(OUTSIDES[0].addresses).zip(routes);
        for ((family, (_, beyond)), route) in ways {
            if route.is_none() {
                trial.done(Tool::Route, &["-n", "add", family, "default", beyond])?;
                self.routes.push(family);
            }
        }
        Ok(())
    }

    /// Undoes everything, whatever became of the run, and says what is not as before.
    pub fn leave(&self, trial: &mut Trial) -> Vec<String> {
        let mut said = trial.clear_check();
        said.extend(trial.clear_stage());
        self.settings_back(trial, &mut said);
        stop_daemon(trial, &mut said);
        said.extend(clear_jails(trial).err().map(text));
        for family in &self.routes {
            said.extend(
                trial.done(Tool::Route, &["-n", "delete", family, "default"]).err().map(text),
            );
        }
        for cable in trial.all_cables() {
            said.extend(trial.remove_cable(&cable).err().map(text));
        }
        said.extend(self.pf_back(trial).err().map(text));
        said.extend(unmount(trial).err().map(text));
        said.extend(self.rulesets_back(trial).err().map(text));
        match State::look(trial) {
            Ok(_) if self.before == State::default() => {}
            Ok(now) => {
                let differences = self.before.differences(&now);
                said.extend(differences.traces.into_iter().map(|line| format!("left: {line}")));
                for line in differences.known {
                    trial.remark(format!("stays by itself: {line}"));
                }
            }
            Err(ended) => said.push(text(ended)),
        }
        if self.loaded_pf {
            let unload = Program::new("/sbin/kldunload", &["pf"]);
            match trial.program(&unload, SOON) {
                Ok(answer) if answer.status == 0 => {}
                Ok(answer) => said.push(format!("'kldunload pf': {}", answer.words())),
                Err(ended) => said.push(text(ended)),
            }
        }
        said
    }

    /// Waits until the daemon has put settings back, and does it where it has not.
    fn settings_back(&self, trial: &Trial, said: &mut Vec<String>) {
        let before = self.before.of("sysctls");
        let now = |trial: &Trial| -> Done<Vec<String>> {
            // Some are not there where nobody has loaded if_bridge.
            let printed = trial.tool(Tool::Sysctl, &SYSCTLS)?.stdout;
            Ok(printed.lines().map(|line| line.replacen(": ", "=", 1)).collect())
        };
        let back = trial.wait(SOON, "the settings of before", || {
            let now = now(trial)?;
            Ok(before.iter().all(|line| now.contains(line)))
        });
        if back.is_err() && !before.is_empty() {
            said.push(format!("kleened did not put these back, which is done now: {before:?}"));
            let args: Vec<&str> = before.iter().map(String::as_str).collect();
            said.extend(trial.done(Tool::Sysctl, &args).err().map(text));
        }
    }

    /// Removes rulesets of device files that are new. (`delset` is from devfs(8), and
    /// was not recorded.)
    fn rulesets_back(&self, trial: &Trial) -> Done {
        if self.before == State::default() {
            return Ok(());
        }
        let known = self.before.of(RULESETS);
        let now = trial.done(Tool::Devfs, &["rule", "showsets"])?;
        for new in now.split_whitespace().filter(|set| !known.iter().any(|was| was == set)) {
            trial.done(Tool::Devfs, &["rule", "-s", new, "delset"])?;
        }
        Ok(())
    }

    fn pf_back(&self, trial: &Trial) -> Done {
        if !self.main_loaded {
            return Ok(());
        }
        let tables = seen::names(&trial.done(Tool::Pfctl, &["-s", "Tables"])?);
        let known = self.before.of("pf tables");
        let mine = |name: &&String| !known.contains(name);
        load_main(trial, "")?;
        for table in tables.iter().filter(mine) {
            trial.done(Tool::Pfctl, &["-t", table, "-T", "kill"])?;
        }
        if self.replaced && Path::new("/etc/pf.conf").exists() {
            trial.done(Tool::Pfctl, &["-f", "/etc/pf.conf"])?;
        } else if !self.before.of("pf rules").is_empty() {
            load_main(trial, MAIN)?;
        }
        if self.enabled_pf {
            trial.done(Tool::Pfctl, &["-d"])?;
            trial.done(Tool::Pfctl, &["-F", "states"])?;
        }
        Ok(())
    }
}

fn text(ended: Ended) -> String {
    match ended {
        Ended::Fails { expected, seen } => format!("not done: {expected}: {seen}"),
        Ended::Cannot(why) => why,
        Ended::Interrupted => "interrupted".to_owned(),
    }
}

/// Both outsides are jails with stacks of their own.
fn has_vimage(trial: &Trial) -> Done {
    let told = trial.tool(Tool::Sysctl, &["-n", "kern.features.vimage"])?;
    match told.stdout.trim() {
        "1" => Ok(()),
        _ => Err(Ended::Cannot("the kernel has no VIMAGE, without which nothing is tried".into())),
    }
}

/// Loads the main ruleset.
///
/// # Errors
/// When pf refuses it.
pub fn load_main(trial: &Trial, rules: &str) -> Done {
    let answer = trial.call(&Call::new(Tool::Pfctl, ["-f", "-"]).with_stdin(rules))?;
    want(answer.status == 0, "pf takes a main ruleset", answer.words())
}

/// Makes an outside: a vnet jail behind an epair.
fn make_outside(trial: &mut Trial, number: usize, outside: &Outside) -> Done {
    let jail = outside.jail;
    let host = trial.cable()?;
    trial.cables[number].clone_from(&host);
    let inner = trial.jail_behind(&host, jail)?;
    let [(host4, beyond4), (host6, beyond6)] = outside.addresses;
    let [prefix4, prefix6] = outside.prefix;
    let with = |address: &str, prefix: u8| format!("{address}/{prefix}");
    let (own4, own6) = (with(host4, prefix4), with(host6, prefix6));
    trial.done(Tool::Ifconfig, &[&host, "inet", &own4, "up"])?;
    trial.done(Tool::Ifconfig, &[&host, "inet6", &own6, "no_dad"])?;
    let (far4, far6) = (with(beyond4, prefix4), with(beyond6, prefix6));
    trial.inside(jail, &["/sbin/ifconfig", &inner, "inet", &far4, "up"])?;
    trial.inside(jail, &["/sbin/ifconfig", &inner, "inet6", &far6, "no_dad"])?;
    trial.inside(jail, &["/sbin/route", "-n", "add", "-inet", "default", host4])?;
    trial.inside(jail, &["/sbin/route", "-n", "add", "-inet6", "default", host6])?;
    Ok(())
}

/// The directory of the run: the daemon's configuration, and this program, as
/// containers see it.
fn lay_out(trial: &Trial) -> io::Result<()> {
    let paths = &trial.paths;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o755);
    builder.create(paths.shown())?;
    std::fs::copy(&paths.own, paths.shown().join("freebsd-accept"))?;
    let config = format!(
        "kleene_root: {}\napi_listening_sockets:\n  - address: \"{}\"\ninstance: accept\n\
         enable_logging: true\nlog_level: debug\n",
        paths.dir.join("root").display(),
        paths.api()
    );
    std::fs::write(paths.dir.join("config.yaml"), config)
}

/// `kleened` with the run's configuration.
#[must_use]
pub fn kleened(trial: &Trial, words: &[&str]) -> Program {
    let config = trial.paths.dir.join("config.yaml").display().to_string();
    let args = [&["--config", config.as_str()], words].concat();
    Program::new(&trial.paths.kleened, &args)
}

/// Starts the daemon, and waits until it answers.
///
/// # Errors
/// When it does not.
pub fn start_daemon(trial: &mut Trial) -> Done {
    let log = trial.paths.dir.join("kleened.log");
    let started = kleened(trial, &[]).start_into(&log).or_else(|why| fails("kleened runs", why))?;
    trial.daemon = Some(started);
    let answers = trial.wait(SOON * 2, "kleened answers on its socket", || {
        Ok(trial.klee(&["network", "ls"])?.status == 0)
    });
    answers.map_err(|ended| match ended {
        Ended::Fails { expected, .. } => {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            let seen = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            Ended::Fails { expected, seen }
        }
        other => other,
    })
}

fn stop_daemon(trial: &mut Trial, said: &mut Vec<String>) {
    let Some(mut daemon) = trial.daemon.take() else { return };
    if !daemon.end(SOON) {
        said.push("kleened did not end at a TERM".to_owned());
        daemon.kill();
    }
    match trial.program(&kleened(trial, &["purge"]), Duration::from_secs(30)) {
        Ok(answer) if answer.status == 0 => {}
        Ok(answer) => said.push(format!("'kleened purge': {}", answer.words())),
        Err(ended) => said.push(text(ended)),
    }
}

/// Removes jails whose roots lie below the run's directory.
fn clear_jails(trial: &Trial) -> Done {
    let printed = trial.done(Tool::Jls, &["--libxo", "json", "-v"])?;
    let jails = seen::jails(&printed).or_else(|why| fails("the jails", why))?;
    for jail in jails.iter().filter(|jail| Path::new(&jail.path).starts_with(&trial.paths.dir)) {
        trial.tool(Tool::Pkill, &["-KILL", "-j", &jail.name, "."])?;
        trial.done(Tool::Jail, &["-r", &jail.name])?;
    }
    Ok(())
}

/// Unmounts what is below the run's directory, and removes that. Never while something
/// is mounted there: it is not the run's.
fn unmount(trial: &Trial) -> Done {
    let dir = &trial.paths.dir;
    let below = |trial: &Trial| -> Done<Vec<String>> {
        let all = seen::mounted(&trial.done(Tool::Mount, &["-p"])?);
        Ok(all.into_iter().filter(|at| Path::new(at).starts_with(dir)).collect())
    };
    for at in below(trial)?.iter().rev() {
        trial.done(Tool::Umount, &[at])?;
    }
    let left = below(trial)?;
    want(left.is_empty(), "nothing is mounted below the run's directory", left.join(", "))?;
    match std::fs::remove_dir_all(dir) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            fails(format!("{} is removed", dir.display()), err.to_string())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
