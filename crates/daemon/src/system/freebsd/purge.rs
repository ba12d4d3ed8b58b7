//! Removes everything in the kernel that carries this daemon's mark.

use std::sync::Arc;

use kleene_engine::Host as _;
use kleene_engine::change::{Change, Owner};
use kleene_engine::host::chain;
use kleene_engine::piece::Piece;
use kleene_host::freebsd::net::FreeBsdHost;
use kleene_host::freebsd::run::Tools;

use crate::config::Config;
use crate::system::Error;

/// Removes interfaces, addresses and what pf was told. With `dry_run` it only says
/// what it would.
///
/// # Errors
/// When a tool refuses; what comes before stays removed.
pub(super) fn purge(
    tools: Arc<dyn Tools>,
    config: &Config,
    dry_run: bool,
    say: &dyn Fn(&str) -> Result<(), String>,
) -> Result<(), Error> {
    let mut host = FreeBsdHost::new(config.instance.clone(), tools);
    let seen = host.observe().map_err(|err| chain(&err))?;
    for piece in seen.all_pieces() {
        let Piece::Show { link, addr } = piece else { continue };
        say(&format!("address {addr} on {link}"))?;
        if !dry_run {
            let take = Change::Take { piece: piece.clone() };
            host.apply(&[take]).map_err(|err| chain(&err))?;
        }
    }
    for link in seen.links().filter_map(|link| link.owned(&config.instance)) {
        say(&format!("link {}", link.link()))?;
        let change = match link.mark().owner {
            Owner::Network(_) => Change::RemoveLink { link },
            Owner::Endpoint(_) | Owner::Container(_) => Change::RetireCable { link },
        };
        if !dry_run {
            host.apply(&[change]).map_err(|err| chain(&err))?;
        }
    }
    say("what pf was told")?;
    if !dry_run {
        host.remove_rules().map_err(|err| chain(&err))?;
    }
    Ok(())
}
