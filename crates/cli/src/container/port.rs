//! `container port`, `publish` and `unpublish`.

use kleene_model::api::{ContainerInspect, PublishedPort, PublishedPortConfig, UnpublishConfig};

use super::OneContainer;
use crate::client::Client;
use crate::details;
use crate::failure::Failure;
use crate::output::{self, Format, InspectOutput};
use crate::ports;
use crate::ui::Ui;

/// `container port`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PortArgs {
    #[command(flatten)]
    of: OneContainer,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// `container publish` and `container unpublish`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    of: OneContainer,
    /// [INTERFACE:]HOST[:CONTAINER][/tcp|udp]
    #[arg(required = true, value_name = "PORT")]
    ports: Vec<String>,
}

pub(super) async fn port(ui: &mut Ui, client: &Client, args: PortArgs) -> Result<u8, Failure> {
    let how = InspectOutput { output: args.output };
    let what = (args.of.container.as_str(), &how);
    output::inspect(ui, client, "containers", what, async |ui, inspected: ContainerInspect| {
        print(ui, inspected.container.public_ports)
    })
    .await
}

/// Published ports, for people.
pub(super) fn print(ui: &mut Ui, ports: Vec<PublishedPort>) -> Result<(), Failure> {
    let row = |port| {
        let PublishedPort {
            interfaces,
            host_port,
            container_port,
            protocol,
            ip_address,
            ip_address6,
            degraded,
        } = port;
        let state = degraded.unwrap_or_default();
        let interfaces = interfaces.join(" ");
        vec![host_port, container_port, protocol, interfaces, ip_address, ip_address6, state]
    };
    let columns =
        ["HOST PORT", "CONTAINER PORT", "PROTOCOL", "INTERFACES", "IPV4", "IPV6", "DEGRADED"];
    details::print_table(ui, &columns, ports.into_iter().map(row).collect())
}

pub(super) async fn publish(client: &Client, args: PublishArgs) -> Result<u8, Failure> {
    for port in &args.ports {
        client.container_publish(&args.of.container, &ports::parse(port)?).await?;
    }
    Ok(0)
}

pub(super) async fn unpublish(client: &Client, args: PublishArgs) -> Result<u8, Failure> {
    for port in &args.ports {
        // Where the port leads to is not what tells it from others.
        let PublishedPortConfig { interfaces, host_port, container_port: _, protocol } =
            ports::parse(port)?;
        let interfaces = Some(interfaces).filter(|interfaces| !interfaces.is_empty());
        let meant = UnpublishConfig { interfaces, host_port, protocol };
        client.container_unpublish(&args.of.container, &meant).await?;
    }
    Ok(0)
}
