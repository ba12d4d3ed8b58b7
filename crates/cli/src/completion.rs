//! Completion with live names. The shell asks this very program; it asks the
//! daemon, for a moment, and says nothing when there is none.

mod bash;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{EnvCompleter, Fish, Shells, Zsh};
use kleene_model::Driver;
use kleene_model::api::{ContainerSummary, Image, Network};
use serde::de::DeserializeOwned;

use crate::cli::Cli;
use crate::client::Client;
use crate::config::{self, Settings};
use crate::failure::Failure;
use crate::filter::{self, Key, Named};
use crate::ui::Ui;

/// A shell waits for no daemon.
const LIMIT: Duration = Duration::from_millis(300);

/// The variable by which a shell's script asks for completions.
const VARIABLE: &str = "COMPLETE";

/// Shells with completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

const SHELLS: Shells<'static> = Shells(&[&bash::WholeWords, &Zsh, &Fish]);

/// Answers a shell; `false` when none asks.
pub(crate) fn answer() -> clap::error::Result<bool> {
    // Nothing else is done before the arguments are read.
    if env::var_os(VARIABLE).is_none() {
        return Ok(false);
    }
    let here = env::current_dir().ok();
    let shells = CompleteEnv::with_factory(Cli::command).shells(SHELLS);
    shells.try_complete(env::args_os(), here.as_deref())
}

/// Prints the script that a shell has to read.
pub(crate) fn print_script(ui: &mut Ui, shell: Shell) -> Result<(), Failure> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &bash::WholeWords,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, "klee", "klee", &this_program(), &mut script)
        .map_err(|source| Failure::System { what: "write the script", source })?;
    ui.data(String::from_utf8_lossy(&script).trim_end())
}

/// As it was called: a name that the shell finds again, or a path.
fn this_program() -> String {
    let called = env::args_os().next().unwrap_or_else(|| "klee".into());
    let path = Path::new(&called);
    let path = if path.components().count() > 1 {
        env::current_dir().unwrap_or_default().join(path)
    } else {
        path.to_owned()
    };
    path.to_string_lossy().into_owned()
}

/// The words before the one that is completed, the program's name first.
fn words_before() -> Vec<OsString> {
    // In a whole line the last word is the one.
    if let Some(mut words) = bash::typed() {
        words.pop();
        return words.into_iter().map(|word| word.text.into()).collect();
    }
    let mut words: Vec<OsString> = env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let index = env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
    // Fish counts nothing, and hands over no word behind it.
    words.truncate(index.unwrap_or(words.len().saturating_sub(1)));
    words
}

/// The daemon's place, as it was typed before the verb or exported.
#[derive(Debug, clap::Parser)]
struct Begun {
    #[command(flatten)]
    settings: Settings,
    #[arg(trailing_var_arg = true)]
    _rest: Vec<OsString>,
}

/// What the daemon lists; nothing without one.
fn list<T: DeserializeOwned>(path: &str) -> Vec<T> {
    ask(path).unwrap_or_default()
}

fn ask<T: DeserializeOwned>(path: &str) -> Option<Vec<T>> {
    let begun = Begun::try_parse_from(words_before()).ok()?;
    let target = config::target(&begun.settings).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let listed = runtime
        .block_on(async { tokio::time::timeout(LIMIT, Client::new(target).list::<T>(path)).await });
    // A name server that does not answer is not waited for either.
    runtime.shutdown_background();
    Some(listed.ok()?.ok()?.items)
}

/// Something that can be typed.
struct Choice {
    id: String,
    name: String,
    help: String,
}

/// The names that go on as it was typed, and where there is none the ids.
fn candidates(typed: &OsStr, choices: Vec<Choice>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let fits = |text: &str| !text.is_empty() && text.starts_with(&*typed);
    let by_name = choices.iter().any(|choice| fits(&choice.name));
    let text = |choice: Choice| {
        let text = if by_name { choice.name } else { choice.id };
        fits(&text).then(|| CompletionCandidate::new(text).help(Some(choice.help.into())))
    };
    choices.into_iter().filter_map(text).collect()
}

/// Networks.
pub(crate) fn networks(typed: &OsStr) -> Vec<CompletionCandidate> {
    let choice = |network: Network| {
        let subnets = [network.subnet, network.subnet6];
        let help = format!("{} {}", network.kind, subnets.join(" "));
        Choice { id: network.id, name: network.name, help: help.trim_end().to_owned() }
    };
    candidates(typed, list("/networks/list").into_iter().map(choice).collect())
}

/// Containers.
pub(crate) fn containers(typed: &OsStr) -> Vec<CompletionCandidate> {
    containers_that(typed, |_| true)
}

/// Containers that run.
pub(crate) fn running_containers(typed: &OsStr) -> Vec<CompletionCandidate> {
    containers_that(typed, |summary| summary.container.running)
}

/// Containers that can join networks.
pub(crate) fn networked_containers(typed: &OsStr) -> Vec<CompletionCandidate> {
    containers_that(typed, |summary| match summary.container.network_driver {
        Driver::Ipnet | Driver::Vnet => true,
        Driver::Host | Driver::Disabled => false,
    })
}

fn containers_that(
    typed: &OsStr,
    fits: impl Fn(&ContainerSummary) -> bool,
) -> Vec<CompletionCandidate> {
    let listed = list::<ContainerSummary>("/containers/list?all=true").into_iter();
    let choice = |summary: ContainerSummary| {
        let container = summary.container;
        let state = crate::details::status(container.running);
        let help = format!("{}, {state}", container.network_driver);
        Choice { id: container.id, name: container.name, help }
    };
    candidates(typed, listed.filter(fits).map(choice).collect())
}

/// Images.
pub(crate) fn images(typed: &OsStr) -> Vec<CompletionCandidate> {
    let choice = |image: Image| {
        let name = match image.tag.as_str() {
            "" | "latest" => image.name,
            tag => format!("{}:{tag}", image.name),
        };
        Choice { help: image.id.clone(), id: image.id, name }
    };
    candidates(typed, list("/images/list").into_iter().map(choice).collect())
}

/// An image, and nothing for the command behind it.
pub(crate) fn image_then_command(typed: &OsStr) -> Vec<CompletionCandidate> {
    if is_first_word() { images(typed) } else { Vec::new() }
}

/// A container, and nothing for the command behind it.
pub(crate) fn container_then_command(typed: &OsStr) -> Vec<CompletionCandidate> {
    if is_first_word() { containers(typed) } else { Vec::new() }
}

/// Whether the required word is missing still, so that this is it.
fn is_first_word() -> bool {
    Cli::try_parse_from(words_before()).is_err()
}

/// `KEY=` of a filter, and the values of those that have only some, or that
/// the daemon knows.
pub(crate) fn filter<K: Key>(typed: &OsStr) -> Vec<CompletionCandidate> {
    let text = typed.to_string_lossy();
    let plain = |texts: Vec<String>, begun: &str| {
        let fitting = texts.into_iter().filter(|text| text.starts_with(begun));
        fitting.map(CompletionCandidate::new).collect::<Vec<_>>()
    };
    let Some((name, value)) = text.split_once('=') else {
        return plain(
            filter::keys::<K>().into_iter().map(|key| format!("{key}=")).collect(),
            &text,
        );
    };
    let Ok(key) = K::from_str(name, false) else { return Vec::new() };
    let values = match (key.values(), key.named()) {
        (Some(values), _) => plain(values, value),
        (None, Some(Named::Network)) => networks(OsStr::new(value)),
        (None, Some(Named::Container)) => containers(OsStr::new(value)),
        (None, Some(Named::Image)) => images(OsStr::new(value)),
        (None, None) => Vec::new(),
    };
    values.into_iter().map(|value| value.add_prefix(format!("{name}="))).collect()
}

/// A network driver.
pub(crate) fn drivers(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let names = Driver::ALL
        .into_iter()
        .map(|driver| driver.to_string())
        .filter(|name| name.starts_with(&*typed));
    names.map(CompletionCandidate::new).collect()
}
