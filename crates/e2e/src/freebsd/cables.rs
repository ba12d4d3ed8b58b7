//! Pairs of interfaces and jails behind them: those of a run and of its checks, which
//! all go in the end, also when a check was interrupted.

use kleene_host::freebsd::run::Tool;

use super::report::{Done, fails};
use super::trial::Trial;

/// A pair that the run has made.
#[derive(Debug)]
pub struct Cable {
    /// The host's end: `epair0a`.
    host: String,
    /// The jail that has the other.
    jail: Option<&'static str>,
}

/// The other end of a pair, by the host's: `epair0b` of `epair0a`.
#[must_use]
pub fn other_end(host: &str) -> String {
    format!("{}b", host.strip_suffix('a').unwrap_or(host))
}

impl Trial {
    /// Makes a pair; gives the host's end.
    ///
    /// # Errors
    /// When ifconfig refuses.
    pub fn cable(&mut self) -> Done<String> {
        let host = self.done(Tool::Ifconfig, &["epair", "create"])?.trim().to_owned();
        self.loose.push(Cable { host: host.clone(), jail: None });
        match host.ends_with('a') {
            true => Ok(host),
            false => fails("a name like epair0a", host),
        }
    }

    /// Makes a jail with a stack of its own, a loopback and the other end of a pair;
    /// gives that end's name.
    ///
    /// # Errors
    /// When a tool refuses.
    pub fn jail_behind(&mut self, host: &str, jail: &'static str) -> Done<String> {
        let inner = other_end(host);
        let (name, interface) = (format!("name={jail}"), format!("vnet.interface={inner}"));
        if let Some(cable) = self.loose.iter_mut().find(|cable| cable.host == host) {
            cable.jail = Some(jail);
        }
        self.done(Tool::Jail, &["-c", "path=/", &name, "vnet", &interface, "persist"])?;
        self.inside(jail, &["/sbin/ifconfig", "lo0", "inet", "127.0.0.1/8", "up"])?;
        Ok(inner)
    }

    /// Removes a pair, and the jail behind it.
    ///
    /// # Errors
    /// When a tool refuses; then it is tried again in the end.
    pub fn remove_cable(&mut self, host: &str) -> Done {
        let Some(position) = self.loose.iter().position(|cable| cable.host == host) else {
            return Ok(());
        };
        if let Some(jail) = self.loose[position].jail
            && self.tool(Tool::Jls, &["-j", jail])?.status == 0
        {
            self.tool(Tool::Pkill, &["-KILL", "-j", jail, "."])?;
            // First the end: a dying jail would keep it (FreeBSD 13.2).
            self.tool(Tool::Ifconfig, &[&other_end(host), "-vnet", jail])?;
            self.done(Tool::Jail, &["-r", jail])?;
        }
        self.done(Tool::Ifconfig, &[host, "destroy"])?;
        self.loose.remove(position);
        Ok(())
    }

    /// The host's ends of all pairs that are there, the newest first.
    #[must_use]
    pub fn all_cables(&self) -> Vec<String> {
        self.loose.iter().rev().map(|cable| cable.host.clone()).collect()
    }
}
