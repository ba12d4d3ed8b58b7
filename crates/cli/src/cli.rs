//! The command line: exactly what was typed.

use clap::{Parser, Subcommand};

use crate::completion::Shell;
use crate::config::Settings;
use crate::container::{
    ContainerCommand, CreateArgs, ExecArgs, InspectContainerArgs, LogsArgs, LsArgs, PortArgs,
    PublishArgs, RestartArgs, RmArgs, RunArgs, StartArgs, StopArgs,
};
use crate::image::{ImageCommand, InspectImageArgs, LsImagesArgs, RmImagesArgs};
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
    #[command(flatten)]
    Noun(Noun),
    /// Print the script that completes klee's command lines in a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    #[command(flatten)]
    Shortcut(Shortcut),
}

/// What the daemon is asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
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
    /// List the published ports of a container (container port)
    Port(PortArgs),
    /// Publish ports of a container (container publish)
    Publish(PublishArgs),
    /// Publish ports no longer (container unpublish)
    Unpublish(PublishArgs),
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
    /// Remove images (image rm)
    Rmi(RmImagesArgs),
    /// Remove networks (network rm)
    Rmn(RmNetworksArgs),
}

/// What a shortcut stands for.
impl From<Shortcut> for Noun {
    fn from(shortcut: Shortcut) -> Self {
        let container = |command| Self::Container { command };
        let image = |command| Self::Image { command };
        let network = |command| Self::Network { command };
        match shortcut {
            Shortcut::Create(args) => container(ContainerCommand::Create(args)),
            Shortcut::Run(args) => container(ContainerCommand::Run(args)),
            Shortcut::Start(args) => container(ContainerCommand::Start(args)),
            Shortcut::Stop(args) => container(ContainerCommand::Stop(args)),
            Shortcut::Restart(args) => container(ContainerCommand::Restart(args)),
            Shortcut::Exec(args) => container(ContainerCommand::Exec(args)),
            Shortcut::Logs(args) => container(ContainerCommand::Logs(args)),
            Shortcut::Port(args) => container(ContainerCommand::Port(args)),
            Shortcut::Publish(args) => container(ContainerCommand::Publish(args)),
            Shortcut::Unpublish(args) => container(ContainerCommand::Unpublish(args)),
            Shortcut::Lsc(args) => container(ContainerCommand::Ls(args)),
            Shortcut::Isc(args) => container(ContainerCommand::Inspect(args)),
            Shortcut::Rmc(args) => container(ContainerCommand::Rm(args)),
            Shortcut::Lsi(args) => image(ImageCommand::Ls(args)),
            Shortcut::Isi(args) => image(ImageCommand::Inspect(args)),
            Shortcut::Rmi(args) => image(ImageCommand::Rm(args)),
            Shortcut::Lsn(args) => network(NetworkCommand::Ls(args)),
            Shortcut::Isn(args) => network(NetworkCommand::Inspect(args)),
            Shortcut::Rmn(args) => network(NetworkCommand::Rm(args)),
        }
    }
}

impl Command {
    /// Whether its exit code is that of a command in a container, so that
    /// Kleene's own failures have to differ from it.
    pub(crate) fn runs_a_command(&self) -> bool {
        match self {
            Self::Noun(Noun::Container { command }) => matches!(
                command,
                ContainerCommand::Run(_) | ContainerCommand::Exec(_) | ContainerCommand::Start(_)
            ),
            Self::Shortcut(shortcut) => {
                matches!(shortcut, Shortcut::Run(_) | Shortcut::Exec(_) | Shortcut::Start(_))
            }
            Self::Noun(Noun::Image { .. } | Noun::Network { .. }) | Self::Completions { .. } => {
                false
            }
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
          port         List the published ports of a container (container port)
          publish      Publish ports of a container (container publish)
          unpublish    Publish ports no longer (container unpublish)
          lsc          List containers (container ls)
          lsi          List images (image ls)
          lsn          List networks (network ls)
          isc          Inspect a container (container inspect)
          isi          Inspect an image (image inspect)
          isn          Inspect a network (network inspect)
          rmc          Remove containers (container rm)
          rmi          Remove images (image rm)
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
