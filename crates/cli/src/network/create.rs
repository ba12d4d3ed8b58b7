//! `network create`

use clap::ArgAction;
use clap::builder::BoolishValueParser;
use kleene_model::NetworkType;
use kleene_model::api::{AUTO, HOST_GATEWAY, NetworkConfig};

/// `network create`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CreateNetworkArgs {
    /// What kind of network
    #[arg(short = 't', long = "type", value_enum, default_value_t = TypeArg::Loopback)]
    kind: TypeArg,
    /// Its interface on the host; an existing one for the type 'custom' [default: a free kleeneN]
    #[arg(short, long, default_value = "", hide_default_value = true)]
    interface: String,
    /// IPv4 subnet, as CIDR; "" for none [default: a free one, unless --subnet6 is given]
    #[arg(long)]
    subnet: Option<String>,
    /// IPv6 subnet, as CIDR; "" for none [default: a free one, unless --subnet is given]
    #[arg(long)]
    subnet6: Option<String>,
    /// IPv4 gateway of vnet containers: an address, "" for none, auto for the subnet's first
    #[arg(long, default_value = "auto", hide_default_value = true)]
    gw: String,
    /// IPv6 gateway of vnet containers: an address, "" for none, auto for the subnet's first
    #[arg(long, default_value = "auto", hide_default_value = true)]
    gw6: String,
    /// Whether outgoing traffic gets the host's address
    #[arg(long, value_name = "BOOL", default_value = "true", action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    nat: bool,
    /// The same as --nat false
    #[arg(long, conflicts_with = "nat")]
    no_nat: bool,
    /// Interface whose address outgoing traffic gets [default: that of the default route]
    #[arg(long, value_name = "INTERFACE")]
    nat_if: Option<String>,
    /// Whether its containers reach each other
    #[arg(long, value_name = "BOOL", default_value = "true", action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    icc: bool,
    /// The same as --icc false
    #[arg(long, conflicts_with = "icc")]
    no_icc: bool,
    /// Cut it off from everything but itself
    #[arg(long)]
    internal: bool,
    /// Its name
    name: String,
}

/// Types of networks, as they are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TypeArg {
    Loopback,
    Bridge,
    Custom,
}

/// What `create` asks the daemon for.
pub(super) fn config(args: CreateNetworkArgs) -> NetworkConfig {
    let kind = match args.kind {
        TypeArg::Loopback => NetworkType::Loopback,
        TypeArg::Bridge => NetworkType::Bridge,
        TypeArg::Custom => NetworkType::Custom,
    };
    let (subnet, subnet6) = match (args.subnet, args.subnet6) {
        (None, None) => (AUTO.to_owned(), AUTO.to_owned()),
        (subnet, subnet6) => (subnet.unwrap_or_default(), subnet6.unwrap_or_default()),
    };
    // Only bridges use a gateway; 0.1.1 sends none for the other types.
    let gateway = |typed: String| match (typed.as_str(), kind) {
        ("auto", NetworkType::Bridge) => AUTO.to_owned(),
        ("auto", NetworkType::Loopback | NetworkType::Custom) => String::new(),
        _ => typed,
    };
    let nat = if args.nat && !args.no_nat {
        args.nat_if.unwrap_or_else(|| HOST_GATEWAY.to_owned())
    } else {
        String::new()
    };
    NetworkConfig {
        name: args.name,
        kind,
        interface: args.interface,
        subnet,
        subnet6,
        gateway: gateway(args.gw),
        gateway6: gateway(args.gw6),
        nat: Some(nat),
        icc: args.icc && !args.no_icc,
        internal: args.internal,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: CreateNetworkArgs,
    }

    fn created(line: &str) -> NetworkConfig {
        let words = line.split(' ').map(|word| if word == "''" { "" } else { word });
        config(Typed::try_parse_from(std::iter::once("create").chain(words)).unwrap().args)
    }

    #[test]
    fn the_defaults_are_those_of_the_model() {
        let web = created("web");
        assert_eq!(web.kind, NetworkType::Loopback);
        assert_eq!((web.subnet.as_str(), web.subnet6.as_str()), (AUTO, AUTO));
        assert_eq!((web.gateway.as_str(), web.gateway6.as_str()), ("", ""));
        assert_eq!(web.nat.as_deref(), Some(HOST_GATEWAY));
        assert!(web.icc && !web.internal && web.interface.is_empty());
    }

    #[test]
    fn one_typed_subnet_leaves_the_other_out() {
        let web = created("-t bridge --subnet 10.4.6.0/24 web");
        assert_eq!((web.subnet.as_str(), web.subnet6.as_str()), ("10.4.6.0/24", ""));
        assert_eq!((web.gateway.as_str(), web.gateway6.as_str()), (AUTO, AUTO));
        let none = created("--subnet '' web");
        assert_eq!((none.subnet.as_str(), none.subnet6.as_str()), ("", ""));
        let manual = created("-t bridge --gw 10.4.6.9 --gw6 '' web");
        assert_eq!((manual.gateway.as_str(), manual.gateway6.as_str()), ("10.4.6.9", ""));
    }

    #[test]
    fn switches_work_in_both_forms() {
        for line in ["--nat false web", "--no-nat web", "--no-nat --nat-if em0 web"] {
            assert_eq!(created(line).nat.as_deref(), Some(""), "{line}");
        }
        assert_eq!(created("--nat-if em0 web").nat.as_deref(), Some("em0"));
        assert!(!created("--icc false web").icc && !created("--no-icc web").icc);
        assert!(created("--icc yes --internal web").internal);
    }
}
