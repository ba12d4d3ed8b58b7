//! `container ls` and `logs`.

use http_body_util::BodyExt;
use jiff::Timestamp;
use kleene_model::Driver;
use kleene_model::api::{
    Container, ContainerInspect, ContainerSummary, EndPoint, MountPoint, Network, NetworkInspect,
    PublishedPort,
};

use super::OneContainer;
use crate::api::LogQuery;
use crate::client::{ApiError, Client, parse};
use crate::failure::Failure;
use crate::filter::{self, Filter, Key, Named};
use crate::output::{self, Columns, InspectOutput, ListArgs};
use crate::stdio::Output;
use crate::table;
use crate::ui::Ui;
use crate::{details, durations};

/// `container ls`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LsArgs {
    /// Stopped containers too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    list: ListArgs<ContainerKey>,
}

/// What containers are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ContainerKey {
    Id,
    Name,
    Driver,
    Status,
    Image,
    Network,
    Persist,
}

impl Key for ContainerKey {
    fn values(self) -> Option<Vec<String>> {
        match self {
            Self::Driver => Some(filter::texts(Driver::ALL)),
            Self::Status => Some(filter::texts([true, false].map(details::status))),
            Self::Persist => Some(filter::texts([true, false])),
            Self::Id | Self::Name | Self::Image | Self::Network => None,
        }
    }

    fn named(self) -> Option<Named> {
        match self {
            Self::Name => Some(Named::Container),
            Self::Image => Some(Named::Image),
            Self::Network => Some(Named::Network),
            Self::Id | Self::Driver | Self::Status | Self::Persist => None,
        }
    }
}

/// `container inspect`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InspectContainerArgs {
    #[command(flatten)]
    of: OneContainer,
    #[command(flatten)]
    how: InspectOutput,
}

/// `container logs`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last LINES lines
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
    #[command(flatten)]
    of: OneContainer,
}

pub(super) async fn ls(ui: &mut Ui, client: &Client, args: LsArgs) -> Result<u8, Failure> {
    let LsArgs { all, list } = args;
    // Whoever asks for stopped ones wants to see them.
    let all = all || list.filters.iter().any(|filter| filter.key == ContainerKey::Status);
    let path = if all { "/containers/list?all=true" } else { "/containers/list" };
    let mut listed = client.list::<ContainerSummary>(path).await?;
    let members = members(client, &list.filters).await?;
    listed.retain(|summary| passes(&list.filters, summary, &members))?;
    output::list(ui, &list, &listed, &COLUMNS)
}

/// The containers of each network that is filtered by.
async fn members(
    client: &Client,
    filters: &[Filter<ContainerKey>],
) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let mut members = Vec::new();
    for filter in filters.iter().filter(|filter| filter.key == ContainerKey::Network) {
        let text = client.inspect("networks", &filter.value).await?;
        let endpoints = parse::<NetworkInspect>(&text)?.network_endpoints.into_iter();
        members.push((filter.value.clone(), endpoints.map(|e| e.container_id).collect()));
    }
    Ok(members)
}

fn passes(
    filters: &[Filter<ContainerKey>],
    summary: &ContainerSummary,
    members: &[(String, Vec<String>)],
) -> bool {
    let container = &summary.container;
    filter::passes(filters, |key, value| match key {
        ContainerKey::Id => container.id.starts_with(value),
        ContainerKey::Name => filter::like(value, &container.name),
        ContainerKey::Driver => container.network_driver.to_string() == value,
        ContainerKey::Status => details::status(container.running) == value,
        ContainerKey::Image => {
            crate::image::is_named(value, &summary.image_name, &summary.image_tag)
                || (!value.is_empty() && container.image_id.starts_with(value))
        }
        ContainerKey::Network => {
            let mut of_network = members.iter().filter(|(network, _)| network == value);
            of_network.any(|(_, containers)| containers.contains(&container.id))
        }
        ContainerKey::Persist => container.persist.to_string() == value,
    })
}

pub(super) async fn inspect(
    ui: &mut Ui,
    client: &Client,
    args: InspectContainerArgs,
) -> Result<u8, Failure> {
    let what = (args.of.container.as_str(), &args.how);
    output::inspect(ui, client, "containers", what, async |ui, inspected: ContainerInspect| {
        let networks = client.list::<Network>("/networks/list").await?.items;
        print(ui, inspected, &networks)
    })
    .await
}

/// One container, for people.
fn print(ui: &mut Ui, inspected: ContainerInspect, networks: &[Network]) -> Result<(), Failure> {
    let ContainerInspect { container, container_endpoints, container_mountpoints } = inspected;
    let public_ports = properties(ui, container)?;
    super::port::print(ui, public_ports)?;
    let endpoint = |endpoint: EndPoint| {
        let network = networks.iter().find(|network| network.id == endpoint.network_id);
        vec![
            network.map_or(endpoint.network_id, |network| network.name.clone()),
            endpoint.ip_address,
            endpoint.ip_address6,
            endpoint.epair.unwrap_or_default(),
            details::yes(endpoint.default_route || endpoint.default_route6),
        ]
    };
    let rows = container_endpoints.into_iter().map(endpoint).collect();
    details::print_table(ui, &["NETWORK", "IPV4", "IPV6", "CABLE", "DEFAULT"], rows)?;
    let mount = |mount: MountPoint| {
        let access = if mount.read_only { "read-only" } else { "read-write" };
        vec![mount.source, mount.destination, access.to_owned()]
    };
    let rows = container_mountpoints.into_iter().map(mount).collect();
    details::print_table(ui, &["SOURCE", "DESTINATION", "ACCESS"], rows)
}

/// What a container is; its ports are left for a table.
fn properties(ui: &mut Ui, container: Container) -> Result<Vec<PublishedPort>, Failure> {
    let Container {
        id,
        name,
        image_id,
        cmd,
        user,
        env,
        network_driver,
        public_ports,
        jail_param,
        restart_policy,
        persist,
        created,
        dataset,
        running,
    } = container;
    details::print(
        ui,
        &[
            ("id", id),
            ("name", name),
            ("image", image_id),
            ("command", cmd.join(" ")),
            ("user", user),
            ("environment", env.join(" ")),
            ("driver", network_driver.to_string()),
            ("jail parameters", jail_param.join(" ")),
            ("status", details::status(running).to_owned()),
            ("restart policy", restart_policy),
            ("persistent", details::yes(persist)),
            ("created", created),
            ("dataset", dataset),
        ],
    )?;
    Ok(public_ports)
}

const COLUMNS: Columns<ContainerSummary> = Columns {
    names: &["CONTAINER ID", "NAME", "IMAGE", "COMMAND", "CREATED", "AUTORUN", "STATUS", "JID"],
    id: |summary| &summary.container.id,
    row: |summary| {
        let container = &summary.container;
        let image = match (summary.image_name.as_str(), summary.image_tag.as_str()) {
            ("", _) => container.image_id.clone(),
            (name, tag) => format!("{name}:{tag}"),
        };
        vec![
            container.id.clone(),
            container.name.clone(),
            image,
            table::command(&container.cmd),
            durations::ago(&container.created, Timestamp::now()),
            if container.restart_policy == "on-startup" { "yes" } else { "no" }.to_owned(),
            if container.running { "running" } else { "stopped" }.to_owned(),
            summary.jid.map(|jid| jid.to_string()).unwrap_or_default(),
        ]
    },
};

/// Copies the log's bytes to stdout.
pub(super) async fn logs(client: &Client, args: LogsArgs) -> Result<u8, Failure> {
    let LogsArgs { follow, tail, timestamps, of } = args;
    let query = LogQuery { follow, tail, timestamps };
    let mut body = client.container_logs(&of.container, &query).await?;
    let mut output = Output::stdout();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|err| ApiError::Lost(Box::new(err)))?;
        if let Some(bytes) = frame.data_ref() {
            output.write_all(bytes).await.map_err(Failure::Stdout)?;
        }
    }
    Ok(0)
}
