//! `klee network …`

mod create;
mod dot;
mod explain;
mod map;
mod picture;
mod show;
mod stats;
mod subnets;

use clap::builder::NonEmptyStringValueParser;
use clap_complete::engine::ArgValueCompleter;
use kleene_model::api::{AUTO, EndPointConfig};

pub(crate) use create::CreateNetworkArgs;
pub(crate) use explain::{ExplainArgs, TestArgs};
pub(crate) use map::MapArgs;
pub(crate) use show::{InspectNetworkArgs, LsNetworksArgs};
pub(crate) use stats::{LogDropsArgs, StatsArgs};

use crate::client::Client;
use crate::completion;
use crate::failure::Failure;
use crate::output::{self, PruneArgs};
use crate::ui::Ui;

/// Verbs of networks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum NetworkCommand {
    /// Create a network
    Create(CreateNetworkArgs),
    /// List networks
    Ls(LsNetworksArgs),
    /// Remove networks; connected containers are disconnected
    Rm(RmNetworksArgs),
    /// Display detailed information on a network
    Inspect(InspectNetworkArgs),
    /// Draw the networks of the host with what is connected to them
    Map(MapArgs),
    /// Connect a container to a network
    Connect(ConnectArgs),
    /// Disconnect a container from a network
    Disconnect(Membership),
    /// Say whether a flow passes, by which rule, and what would change it
    Explain(ExplainArgs),
    /// Send a flow, and say whether it does what the policy says
    Test(TestArgs),
    /// Show what the policy's rules have decided on, in packets and bytes
    Stats(StatsArgs),
    /// Have packets that the policy blocks written to the daemon's log, or no longer
    LogDrops(LogDropsArgs),
    /// Link an interface of the host into a bridge network
    Link {
        #[command(flatten)]
        args: LinkArgs,
        /// Also one that carries addresses of the host, which will not be reached any more
        #[arg(short, long)]
        force: bool,
    },
    /// Take an interface of the host out of a bridge network
    Unlink(LinkArgs),
    /// Remove all networks without connected containers
    Prune(PruneArgs),
}

/// `network rm`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RmNetworksArgs {
    /// Networks to remove
    #[arg(
        required = true, value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::networks)
    )]
    networks: Vec<String>,
}

/// `network connect`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConnectArgs {
    /// IPv4 address [default: a free one]
    #[arg(long)]
    ip: Option<String>,
    /// IPv6 address [default: a free one]
    #[arg(long)]
    ip6: Option<String>,
    /// MAC address in the container, for the driver vnet [default: one of its own]
    #[arg(long)]
    mac: Option<String>,
    /// Largest packet, in bytes
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
    /// The network with the highest carries the default route [default: 0]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i32>,
    #[command(flatten)]
    membership: Membership,
}

/// A network.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OneNetwork {
    /// Network: its name, or the beginning of its id
    #[arg(
        value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::networks)
    )]
    network: String,
}

/// A container in a network.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Membership {
    #[command(flatten)]
    of: OneNetwork,
    /// Container: its name, or the beginning of its id
    #[arg(
        value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::networked_containers)
    )]
    container: String,
}

/// `network link` and `network unlink`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LinkArgs {
    #[command(flatten)]
    of: OneNetwork,
    /// Interface of the host
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    interface: String,
}

pub(crate) async fn dispatch(
    ui: &mut Ui,
    client: &Client,
    command: NetworkCommand,
) -> Result<u8, Failure> {
    match command {
        NetworkCommand::Create(args) => {
            let id = client.network_create(&create::config(args)).await?;
            ui.data(&id)?;
            Ok(0)
        }
        NetworkCommand::Ls(args) => show::ls(ui, client, args).await,
        NetworkCommand::Rm(args) => {
            output::each(ui, &args.networks, async |name| client.network_remove(name).await).await
        }
        NetworkCommand::Inspect(args) => show::inspect(ui, client, args).await,
        NetworkCommand::Map(args) => map::map(ui, client, args).await,
        NetworkCommand::Connect(args) => {
            client.network_connect(&endpoint(args)).await?;
            Ok(0)
        }
        NetworkCommand::Disconnect(args) => {
            client.network_disconnect(&args.of.network, &args.container).await?;
            Ok(0)
        }
        NetworkCommand::Explain(args) => explain::explain(ui, client, args).await,
        NetworkCommand::Test(args) => explain::test(ui, client, args).await,
        NetworkCommand::Stats(args) => stats::stats(ui, client, args).await,
        NetworkCommand::LogDrops(args) => stats::log_drops(ui, client, args).await,
        NetworkCommand::Link { args, force } => {
            client.network_link(&args.of.network, &args.interface, force).await?;
            Ok(0)
        }
        NetworkCommand::Unlink(args) => {
            client.network_unlink(&args.of.network, &args.interface).await?;
            Ok(0)
        }
        NetworkCommand::Prune(args) => {
            let warning = "WARNING! This will remove all unused networks.";
            output::prune(ui, client, &args, "/networks/prune".to_owned(), warning).await
        }
    }
}

fn endpoint(args: ConnectArgs) -> EndPointConfig {
    let ConnectArgs { ip, ip6, mac, mtu, priority, membership } = args;
    let Membership { of: OneNetwork { network }, container } = membership;
    let auto = || AUTO.to_owned();
    EndPointConfig {
        container,
        network,
        ip_address: ip.unwrap_or_else(auto),
        ip_address6: ip6.unwrap_or_else(auto),
        mac,
        mtu,
        priority,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(subcommand)]
        command: NetworkCommand,
    }

    #[test]
    fn addresses_are_automatic_unless_typed() {
        let connect = |words: &[&str]| match Typed::try_parse_from(words).unwrap().command {
            NetworkCommand::Connect(args) => endpoint(args),
            other => panic!("{other:?}"),
        };
        let auto = connect(&["network", "connect", "web", "site"]);
        assert_eq!((auto.network.as_str(), auto.container.as_str()), ("web", "site"));
        assert_eq!((auto.ip_address.as_str(), auto.ip_address6.as_str()), (AUTO, AUTO));
        let typed =
            connect(&["network", "connect", "--ip", "10.4.6.9", "--ip6", "", "web", "site"]);
        assert_eq!((typed.ip_address.as_str(), typed.ip_address6.as_str()), ("10.4.6.9", ""));
    }
}
