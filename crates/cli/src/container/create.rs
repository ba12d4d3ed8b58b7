//! `container create`, and what `run` shares with it.

use clap_complete::engine::ArgValueCompleter;
use kleene_model::Driver;
use kleene_model::api::{AUTO, ContainerConfig, EndPointConfig};

use crate::client::{ApiError, Client};
use crate::failure::Failure;
use crate::ui::Ui;
use crate::{completion, mounts, names, ports};

/// How often a name is invented before its being taken is an error.
const NAME_TRIES: u32 = 8;

/// `container create`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(super) options: ContainerOptions,
    /// Image, and the command with its arguments in place of the image's
    #[arg(
        required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND]",
        add = ArgValueCompleter::new(completion::image_then_command)
    )]
    pub(super) words: Vec<String>,
}

/// Options of a new container.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ContainerOptions {
    /// Name [default: an invented one]
    #[arg(long)]
    name: Option<String>,
    /// User of its commands [default: the image's]
    #[arg(short, long, default_value = "", hide_default_value = true)]
    user: String,
    /// Environment variable; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Mount a volume, or a directory or file of the host; may be repeated
    #[arg(short, long, value_name = "SOURCE:DESTINATION[:ro|rw]")]
    mount: Vec<String>,
    /// Jail parameter; may be repeated
    #[arg(short = 'J', long, value_name = "PARAMETER")]
    jailparam: Vec<String>,
    /// Do not remove it when pruning
    #[arg(short = 'P', long)]
    persist: bool,
    /// 'no', or 'on-startup' to start it whenever the daemon starts
    #[arg(long, default_value = "no", value_name = "POLICY")]
    restart: String,
    /// Network driver: ipnet, host, vnet or disabled [default: host, with a network ipnet]
    #[arg(short = 'l', long, add = ArgValueCompleter::new(completion::drivers))]
    driver: Option<String>,
    /// Connect it to this network
    #[arg(short, long, add = ArgValueCompleter::new(completion::networks))]
    network: Option<String>,
    /// IPv4 address in the network [default: a free one]
    #[arg(long, requires = "network")]
    ip: Option<String>,
    /// IPv6 address in the network [default: a free one]
    #[arg(long, requires = "network")]
    ip6: Option<String>,
    /// Publish a port; may be repeated
    #[arg(short, long, value_name = "[INTERFACE:]HOST[:CONTAINER][/tcp|udp]")]
    publish: Vec<String>,
}

/// A container to be made, as the daemon is asked for it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Its configuration; without a name one is invented.
    config: ContainerConfig,
    /// The network it is connected to, as an endpoint without its container.
    network: Option<EndPointConfig>,
}

impl Plan {
    /// Turns what was typed into a request.
    pub(super) fn new(options: ContainerOptions, words: Vec<String>) -> Result<Self, Failure> {
        let mut words = words.into_iter();
        let driver = driver(options.driver, options.network.is_some())?;
        let auto = || AUTO.to_owned();
        let config = ContainerConfig {
            name: options.name,
            image: words.next(),
            cmd: Some(words.collect()),
            user: Some(options.user),
            env: Some(options.env),
            mounts: Some(options.mount.iter().map(|m| mounts::parse(m)).collect::<Result<_, _>>()?),
            jail_param: Some(options.jailparam),
            network_driver: driver,
            public_ports: Some(
                options.publish.iter().map(|p| ports::parse(p)).collect::<Result<_, _>>()?,
            ),
            restart_policy: Some(options.restart),
            persist: Some(options.persist),
        };
        let network = options.network.map(|network| EndPointConfig {
            container: String::new(),
            network,
            ip_address: options.ip.unwrap_or_else(auto),
            ip_address6: options.ip6.unwrap_or_else(auto),
            ..EndPointConfig::default()
        });
        Ok(Self { config, network })
    }

    /// Makes the container, connects it and answers with its id. One that
    /// cannot be connected is removed again.
    pub(super) async fn carry_out(&self, client: &Client) -> Result<String, Failure> {
        let id = self.create(client).await?;
        let Some(network) = &self.network else { return Ok(id) };
        let endpoint = EndPointConfig { container: id.clone(), ..network.clone() };
        let Err(source) = client.network_connect(&endpoint).await else { return Ok(id) };
        let aftermath = match client.container_remove(&id).await {
            Ok(_) => format!("container {id} was removed again"),
            Err(err) => left_behind(&id, err),
        };
        Err(Failure::Connect { source, aftermath })
    }

    async fn create(&self, client: &Client) -> Result<String, Failure> {
        let mut tries = 1;
        loop {
            let mut config = self.config.clone();
            let invented = config.name.is_none();
            if invented {
                config.name = Some(names::invent(random()?, tries > 2));
            }
            match client.container_create(&config).await {
                Ok(id) => return Ok(id),
                Err(err) if invented && tries < NAME_TRIES && is_taken(&err) => tries += 1,
                Err(err) => return Err(Failure::refused(err, Failure::Create)),
            }
        }
    }
}

/// What to say about a container that could not be removed.
pub(super) fn left_behind(id: &str, err: ApiError) -> String {
    let why = Failure::from(err).text().unwrap_or_default();
    format!("container {id} is left behind: {why}")
}

fn is_taken(err: &ApiError) -> bool {
    matches!(err, ApiError::Refused(body) if body.code == "container-name-taken")
}

fn random() -> Result<u64, Failure> {
    getrandom::u64().map_err(|err| Failure::System {
        what: "invent a name",
        source: std::io::Error::other(err.to_string()),
    })
}

/// The driver that was typed, else that which fits.
fn driver(typed: Option<String>, has_network: bool) -> Result<Driver, Failure> {
    let Some(text) = typed else {
        return Ok(if has_network { Driver::Ipnet } else { Driver::Host });
    };
    Driver::ALL
        .into_iter()
        .find(|driver| driver.to_string() == text)
        .ok_or(Failure::Driver { text })
}

pub(super) async fn create(ui: &mut Ui, client: &Client, args: CreateArgs) -> Result<u8, Failure> {
    let id = Plan::new(args.options, args.words)?.carry_out(client).await?;
    ui.data(&id)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn plan(line: &str) -> Result<Plan, Failure> {
        let words = std::iter::once("create").chain(line.split_ascii_whitespace());
        let CreateArgs { options, words } = Typed::try_parse_from(words).unwrap().args;
        Plan::new(options, words)
    }

    fn driver_of(line: &str) -> Driver {
        plan(line).unwrap().config.network_driver
    }

    #[test]
    fn the_driver_follows_what_is_given() {
        assert_eq!(driver_of("host-usr"), Driver::Host);
        assert_eq!(driver_of("-n web host-usr"), Driver::Ipnet);
        assert_eq!(driver_of("-l vnet -n web host-usr"), Driver::Vnet);
        assert_eq!(driver_of("-l disabled host-usr"), Driver::Disabled);
        assert_eq!(
            plan("-l veth host-usr").unwrap_err().to_string(),
            "Error! Could not validate container configuration: 'veth' is not a valid ContainerConfigNetworkDriver"
        );
    }

    #[test]
    fn what_follows_the_image_is_not_ours() {
        let plan = plan("-e A=1 -e B=2 host-usr -it --rm -e C=3 -- --help").unwrap();
        assert_eq!(plan.config.image.as_deref(), Some("host-usr"));
        assert_eq!(plan.config.env, Some(vec!["A=1".to_owned(), "B=2".to_owned()]));
        let cmd = plan.config.cmd.unwrap();
        assert_eq!(cmd, ["-it", "--rm", "-e", "C=3", "--", "--help"]);
    }

    #[test]
    fn addresses_are_automatic_unless_typed() {
        let network = plan("-n web --ip 10.4.6.9 i").unwrap().network.unwrap();
        assert_eq!((network.ip_address.as_str(), network.ip_address6.as_str()), ("10.4.6.9", AUTO));
        assert_eq!(plan("i").unwrap().network, None);
        assert!(Typed::try_parse_from(["create", "--ip", "10.4.6.9", "i"]).is_err());
        assert!(Typed::try_parse_from(["create"]).is_err());
    }

    #[test]
    fn ports_mounts_and_the_rest_are_sent() {
        let plan = plan(
            "-p 80 -p em0:8080:80/udp -m /srv:/d:ro -J x=1 -P --restart on-startup -u u --name n i",
        );
        let config = plan.unwrap().config;
        assert_eq!(config.public_ports.unwrap().len(), 2);
        assert_eq!(config.mounts.unwrap().len(), 1);
        assert_eq!(config.jail_param.unwrap(), ["x=1"]);
        assert_eq!(config.restart_policy.as_deref(), Some("on-startup"));
        assert_eq!((config.user.as_deref(), config.name.as_deref()), (Some("u"), Some("n")));
        assert_eq!(config.persist, Some(true));
    }
}
