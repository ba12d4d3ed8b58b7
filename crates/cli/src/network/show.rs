//! `network ls` and `inspect`.

use clap::builder::NonEmptyStringValueParser;
use clap_complete::engine::ArgValueCompleter;
use kleene_model::api::{ContainerSummary, EndPoint, Network, NetworkInspect};
use kleene_model::{Driver, NetworkType};

use super::subnets;
use crate::client::Client;
use crate::failure::Failure;
use crate::filter::{self, Filter, Key, Named};
use crate::output::{self, Columns, InspectOutput, ListArgs};
use crate::ui::Ui;
use crate::{completion, details};

/// `network ls`
pub(crate) type LsNetworksArgs = ListArgs<NetworkKey>;

/// What networks are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum NetworkKey {
    Id,
    Name,
    Type,
    Interface,
    Subnet,
}

impl Key for NetworkKey {
    fn values(self) -> Option<Vec<String>> {
        match self {
            Self::Type => Some(filter::texts(NetworkType::ALL)),
            Self::Id | Self::Name | Self::Interface | Self::Subnet => None,
        }
    }

    fn named(self) -> Option<Named> {
        match self {
            Self::Name => Some(Named::Network),
            Self::Id | Self::Type | Self::Interface | Self::Subnet => None,
        }
    }
}

/// `network inspect`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InspectNetworkArgs {
    /// Its name, or the beginning of its id
    #[arg(
        value_parser = NonEmptyStringValueParser::new(),
        add = ArgValueCompleter::new(completion::networks)
    )]
    network: String,
    #[command(flatten)]
    how: InspectOutput,
}

pub(super) async fn ls(ui: &mut Ui, client: &Client, args: LsNetworksArgs) -> Result<u8, Failure> {
    let mut listed = client.list::<Network>("/networks/list").await?;
    listed.retain(|network| passes(&args.filters, network))?;
    output::list(ui, &args, &listed, &COLUMNS)
}

fn passes(filters: &[Filter<NetworkKey>], network: &Network) -> bool {
    filter::passes(filters, |key, value| match key {
        NetworkKey::Id => network.id.starts_with(value),
        NetworkKey::Name => filter::like(value, &network.name),
        NetworkKey::Type => network.kind.to_string() == value,
        NetworkKey::Interface => filter::like(value, &network.interface),
        NetworkKey::Subnet => subnets::matches(network, value),
    })
}

pub(super) async fn inspect(
    ui: &mut Ui,
    client: &Client,
    args: InspectNetworkArgs,
) -> Result<u8, Failure> {
    let what = (args.network.as_str(), &args.how);
    output::inspect(ui, client, "networks", what, async |ui, inspected: NetworkInspect| {
        let listed = client.list::<ContainerSummary>("/containers/list?all=true").await?;
        print(ui, &inspected, &listed.items)
    })
    .await
}

/// One network, for people.
fn print(
    ui: &mut Ui,
    inspected: &NetworkInspect,
    containers: &[ContainerSummary],
) -> Result<(), Failure> {
    let network = &inspected.network;
    let mut properties = vec![
        ("id", network.id.clone()),
        ("name", network.name.clone()),
        ("type", network.kind.to_string()),
        ("interface", network.interface.clone()),
    ];
    for leg in subnets::legs(network) {
        properties.push(("subnet", leg.subnet));
        properties.push(("gateway", leg.gateway.unwrap_or_default()));
    }
    properties.extend([
        ("nat", if network.nat.is_empty() { "no".to_owned() } else { network.nat.clone() }),
        ("icc", details::yes(network.icc)),
        ("internal", details::yes(network.internal)),
        ("linked", inspected.linked.join(" ")),
        ("degraded", inspected.health.degraded.clone().unwrap_or_default()),
        ("dropped by", inspected.health.foreign.join("; ")),
    ]);
    details::print(ui, &properties)?;
    let row = |endpoint| row(network, endpoint, containers);
    let rows = inspected.network_endpoints.iter().map(row).collect();
    details::print_table(ui, ENDPOINTS, rows)
}

const ENDPOINTS: &[&str] =
    &["CONTAINER ID", "NAME", "DRIVER", "STATUS", "INTERFACE", "IPV4", "IPV6"];

/// An endpoint. A container that was removed in the meantime is an id only.
fn row(network: &Network, endpoint: &EndPoint, containers: &[ContainerSummary]) -> Vec<String> {
    let summary = containers.iter().find(|summary| summary.container.id == endpoint.container_id);
    let container = summary.map(|summary| &summary.container);
    vec![
        endpoint.container_id.clone(),
        container.map(|c| c.name.clone()).unwrap_or_default(),
        container.map(|c| c.network_driver.to_string()).unwrap_or_default(),
        container.map(|c| details::status(c.running).to_owned()).unwrap_or_default(),
        container
            .map(|c| place(network, endpoint, c.network_driver, c.running))
            .unwrap_or_default(),
        endpoint.ip_address.clone(),
        endpoint.ip_address6.clone(),
    ]
}

/// The interface of the host by which the endpoint is reached, while there is
/// one.
fn place(network: &Network, endpoint: &EndPoint, driver: Driver, running: bool) -> String {
    match (driver, &endpoint.epair) {
        (Driver::Vnet, Some(epair)) => format!("{epair}a"),
        (Driver::Ipnet, _) if running => network.interface.clone(),
        (Driver::Vnet | Driver::Ipnet | Driver::Host | Driver::Disabled, _) => String::new(),
    }
}

const COLUMNS: Columns<Network> = Columns {
    names: &["ID", "NAME", "TYPE", "SUBNET"],
    id: |network| &network.id,
    row: |network| {
        let subnets = subnets::legs(network).into_iter().map(|leg| leg.subnet);
        vec![
            network.id.clone(),
            network.name.clone(),
            network.kind.to_string(),
            subnets.collect::<Vec<_>>().join(" "),
        ]
    },
};
