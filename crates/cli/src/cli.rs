//! The command line: exactly what was typed.

use clap::{Parser, Subcommand};

use crate::completion::Shell;
use crate::config::Settings;
use crate::container::{
    ContainerCommand, CreateArgs, ExecArgs, InspectContainerArgs, LogsArgs, LsArgs, RestartArgs,
    RmArgs, RunArgs, StartArgs, StopArgs,
};
use crate::image::{ImageCommand, InspectImageArgs, LsImagesArgs};
use crate::network::{InspectNetworkArgs, LsNetworksArgs, NetworkCommand, RmNetworksArgs};

/// The client of Kleene, a container engine
#[derive(Debug, Parser)]
#[command(name = "klee", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Nouns, and shortcuts to their verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Manage containers
    Container {
        #[command(subcommand)]
        command: ContainerCommand,
    },
    /// Manage images
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// Manage networks
    Network {
        #[command(subcommand)]
        command: NetworkCommand,
    },
    /// Print the script that completes klee's command lines in a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    #[command(flatten)]
    Shortcut(Shortcut),
}

/// Verbs without their noun.
#[derive(Debug, Subcommand)]
pub(crate) enum Shortcut {
    /// Create a container (container create)
    Create(CreateArgs),
    /// Run a command in a new container (container run)
    Run(RunArgs),
    /// Start stopped containers (container start)
    Start(StartArgs),
    /// Stop running containers (container stop)
    Stop(StopArgs),
    /// Restart containers (container restart)
    Restart(RestartArgs),
    /// Run a command in a container (container exec)
    Exec(ExecArgs),
    /// Show the output of a container (container logs)
    Logs(LogsArgs),
    /// List containers (container ls)
    Lsc(LsArgs),
    /// List images (image ls)
    Lsi(LsImagesArgs),
    /// List networks (network ls)
    Lsn(LsNetworksArgs),
    /// Inspect a container (container inspect)
    Isc(InspectContainerArgs),
    /// Inspect an image (image inspect)
    Isi(InspectImageArgs),
    /// Inspect a network (network inspect)
    Isn(InspectNetworkArgs),
    /// Remove containers (container rm)
    Rmc(RmArgs),
    /// Remove networks (network rm)
    Rmn(RmNetworksArgs),
}

/// What a shortcut stands for.
pub(crate) enum Long {
    Container(ContainerCommand),
    Image(ImageCommand),
    Network(NetworkCommand),
}

impl From<Shortcut> for Long {
    fn from(shortcut: Shortcut) -> Self {
        match shortcut {
            Shortcut::Create(args) => Self::Container(ContainerCommand::Create(args)),
            Shortcut::Run(args) => Self::Container(ContainerCommand::Run(args)),
            Shortcut::Start(args) => Self::Container(ContainerCommand::Start(args)),
            Shortcut::Stop(args) => Self::Container(ContainerCommand::Stop(args)),
            Shortcut::Restart(args) => Self::Container(ContainerCommand::Restart(args)),
            Shortcut::Exec(args) => Self::Container(ContainerCommand::Exec(args)),
            Shortcut::Logs(args) => Self::Container(ContainerCommand::Logs(args)),
            Shortcut::Lsc(args) => Self::Container(ContainerCommand::Ls(args)),
            Shortcut::Isc(args) => Self::Container(ContainerCommand::Inspect(args)),
            Shortcut::Rmc(args) => Self::Container(ContainerCommand::Rm(args)),
            Shortcut::Lsi(args) => Self::Image(ImageCommand::Ls(args)),
            Shortcut::Isi(args) => Self::Image(ImageCommand::Inspect(args)),
            Shortcut::Lsn(args) => Self::Network(NetworkCommand::Ls(args)),
            Shortcut::Isn(args) => Self::Network(NetworkCommand::Inspect(args)),
            Shortcut::Rmn(args) => Self::Network(NetworkCommand::Rm(args)),
        }
    }
}

impl Command {
    /// Whether its exit code is that of a command in a container, so that
    /// Kleene's own failures have to differ from it.
    pub(crate) fn runs_a_command(&self) -> bool {
        match self {
            Self::Container { command } => matches!(
                command,
                ContainerCommand::Run(_) | ContainerCommand::Exec(_) | ContainerCommand::Start(_)
            ),
            Self::Shortcut(shortcut) => {
                matches!(shortcut, Shortcut::Run(_) | Shortcut::Exec(_) | Shortcut::Start(_))
            }
            Self::Image { .. } | Self::Network { .. } | Self::Completions { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_shows_nouns_and_shortcuts() {
        assert_snapshot!(Cli::command().render_help().to_string(), @"
        The client of Kleene, a container engine

        Usage: klee [OPTIONS] <COMMAND>

        Commands:
          container    Manage containers
          image        Manage images
          network      Manage networks
          completions  Print the script that completes klee's command lines in a shell
          create       Create a container (container create)
          run          Run a command in a new container (container run)
          start        Start stopped containers (container start)
          stop         Stop running containers (container stop)
          restart      Restart containers (container restart)
          exec         Run a command in a container (container exec)
          logs         Show the output of a container (container logs)
          lsc          List containers (container ls)
          lsi          List images (image ls)
          lsn          List networks (network ls)
          isc          Inspect a container (container inspect)
          isi          Inspect an image (image inspect)
          isn          Inspect a network (network inspect)
          rmc          Remove containers (container rm)
          rmn          Remove networks (network rm)
          help         Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help
          -V, --version  Print version

        Connection:
              --host <HOST>    Where the daemon listens: http:///PATH or http://HOST:PORT [env: KLEE_HOST]
              --config <FILE>  Location of the config file [env: KLEE_CONFIG]
              --theme <THEME>  Accepted for existing scripts; all output is plain [env: KLEE_THEME] [possible values: fancy, simple]
        ");
    }

    #[test]
    fn combined_flags_and_shortcuts_are_read() {
        let parse = |words: &str| Cli::try_parse_from(words.split(' ')).map(|cli| cli.command);
        for words in ["klee run -it i", "klee container run -i -t i sh", "klee exec -itd c sh -c x"]
        {
            assert!(parse(words).is_ok_and(|command| command.runs_a_command()), "{words}");
        }
        for words in ["klee stop a", "klee lsc -aq", "klee isn web", "klee image ls -o json"] {
            assert!(parse(words).is_ok_and(|command| !command.runs_a_command()), "{words}");
        }
        assert!(parse("klee lsc -q -o json").is_err());
    }
}
