//! Making networks and containers: those of one check, and the layout that the checks
//! of the policy share.

use std::collections::BTreeMap;
use std::time::Duration;

use kleene_host::freebsd::run::Tool;

use super::flows::{Row, Want};
use super::layout::{self, FAR, MEMBERS, Member, NETS, OUT, full_name};
use super::probe::Protocol;
use super::program::Background;
use super::report::{Done, Ended, fails, want};
use super::trial::{Asker, INSIDE, Trial};

/// How many flows are sent at the same time.
const AT_ONCE: usize = 8;
/// How long a service may take to be reached, once its container was started.
const SERVES: Duration = Duration::from_secs(5);

/// The layout, as it stands.
pub struct Stage {
    /// Ids of containers by their names, or why there is none.
    ids: BTreeMap<&'static str, Done<String>>,
    /// The services of the host and of the outsides.
    servers: Vec<Background>,
}

impl Trial {
    /// Makes a network for the check at hand; gives the interface that came with it,
    /// if one did.
    ///
    /// # Errors
    /// When it is refused.
    pub fn network(&mut self, name: &str, options: &[&str]) -> Done<Option<String>> {
        let before = self.done(Tool::Ifconfig, &["-l"])?;
        self.made.1.push(name.to_owned());
        self.klee_done(&[&["network", "create"], options, &[name]].concat())?;
        let after = self.done(Tool::Ifconfig, &["-l"])?;
        let had = |link: &&str| before.split_whitespace().any(|known| known == *link);
        Ok(after.split_whitespace().find(|link| !had(link)).map(str::to_owned))
    }

    /// Makes a container for the check at hand, which runs a command; gives its id.
    ///
    /// # Errors
    /// When it is refused.
    pub fn container(&mut self, name: &str, options: &[&str], command: &[&str]) -> Done<String> {
        self.make(&["run", "-d"], name, options, command)
    }

    /// The same of one that is not started.
    ///
    /// # Errors
    /// When it is refused.
    pub fn stopped(&mut self, name: &str, options: &[&str], command: &[&str]) -> Done<String> {
        self.make(&["create"], name, options, command)
    }

    fn make(
        &mut self,
        verb: &[&str],
        name: &str,
        options: &[&str],
        command: &[&str],
    ) -> Done<String> {
        let shown = format!("{}:/probe:ro", self.paths.shown().display());
        self.made.0.push(name.to_owned());
        let own = ["--name", name, "-m", &shown];
        let line = [verb, &own, options, &["host-usr"], command].concat();
        let printed = self.klee_done(&line)?;
        let id = printed.lines().next().unwrap_or_default().trim().to_owned();
        let is_id = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        want(is_id, "klee prints the id of the container first", printed)?;
        Ok(id)
    }

    /// A container for the check at hand that only waits.
    ///
    /// # Errors
    /// When it is refused.
    pub fn idle(&mut self, name: &str, options: &[&str]) -> Done<String> {
        self.container(name, options, &[INSIDE, "--probe", "wait"])
    }

    /// Removes what the check at hand has made; what of it is left is said.
    pub fn clear_check(&mut self) -> Vec<String> {
        let (containers, networks) = std::mem::take(&mut self.made);
        let mut left = Vec::new();
        let mut remove = |args: [&str; 3]| match self.klee(&args) {
            Ok(answer) if answer.status != 0 && !is_unknown(&answer.stderr) => {
                left.push(format!("'klee {}': {}", args.join(" "), answer.words()));
            }
            Ok(_) | Err(_) => {}
        };
        for name in containers.iter().rev() {
            remove(["rmc", "-f", name]);
        }
        for name in networks.iter().rev() {
            // As many words as above: -- ends the options.
            remove(["rmn", "--", name]);
        }
        left
    }

    /// The layout, which is made when it is first asked for.
    ///
    /// # Errors
    /// What of it cannot be made; everybody who asks is told.
    pub fn stage(&mut self) -> Done<&Stage> {
        if self.stage.is_none() {
            let made = self.make_stage();
            // It stays for the checks that follow.
            self.made = Default::default();
            self.stage = Some(made);
        }
        match &self.stage {
            Some(Ok(stage)) => Ok(stage),
            Some(Err(ended)) => Err(ended.clone()),
            None => fails("the layout stands", "it was not made"),
        }
    }

    /// The id of a container of the layout.
    ///
    /// # Errors
    /// As [`Trial::stage`].
    pub fn id(&mut self, name: &str) -> Done<String> {
        let id = self.stage()?.ids.get(name).cloned();
        id.unwrap_or_else(|| fails(format!("the layout has {name}"), "it has not"))
    }

    fn make_stage(&mut self) -> Done<Stage> {
        let listed = self.listed().to_owned();
        for net in NETS {
            let [v4, v6] = net.subnets();
            let options = net.options.iter().map(|word| match *word {
                "OUT" => listed.as_str(),
                word => word,
            });
            let options: Vec<&str> =
                options.chain(["--subnet", v4.as_str(), "--subnet6", v6.as_str()]).collect();
            // Whoever should be in one that is not there says so.
            if let Err(ended) = self.network(&full_name(net.name), &options) {
                self.go_on()?;
                self.remark(format!("{}: {ended:?}", net.name));
            }
        }
        let mut ids = BTreeMap::new();
        for member in MEMBERS {
            let made = self.make_member(&member, &listed);
            self.go_on()?;
            ids.insert(member.name, made);
        }
        let servers = self.services()?;
        for member in MEMBERS {
            if ids.get(member.name).is_some_and(Result::is_ok)
                && let Err(ended) = self.serves(&member)
            {
                self.go_on()?;
                ids.insert(member.name, Err(ended));
            }
        }
        Ok(Stage { ids, servers })
    }

    /// Starts the services of the host and of the outsides. One that cannot be started
    /// fails the flows that ask it.
    fn services(&self) -> Done<Vec<Background>> {
        let host = ["host", "far-host", "gate-c", "gate-d", "gate-g"];
        let host = host.map(|at| (Asker::Host, "HOST", "99", at));
        let outside = [("out", OUT, "OUT"), ("far", FAR, "FAR")];
        let outside = outside.map(|(at, jail, name)| (Asker::Outside(jail), name, "90", at));
        let mut servers = Vec::new();
        for (asker, name, port, at) in host.into_iter().chain(outside) {
            let at = layout::addresses(at).map(|pair| pair.map(|ip| ip.to_string()));
            let at = at.unwrap_or_default();
            let at = [at[0].as_str(), at[1].as_str()];
            // An address may be tentative for a moment.
            let served = self.wait(SERVES, &format!("{name} serves {at:?}"), || {
                match self.serve(&asker, name, port, &at) {
                    Ok(server) => servers.push(server),
                    Err(Ended::Fails { .. }) => return Ok(false),
                    Err(other) => return Err(other),
                }
                Ok(true)
            });
            if let Err(ended) = served {
                self.go_on()?;
                self.remark(format!("{ended:?}"));
            }
        }
        Ok(servers)
    }

    /// Waits for the service of a container.
    fn serves(&self, member: &Member) -> Done {
        for address in member.addresses() {
            self.wait(SERVES, &format!("the service of {} at {address}", member.name), || {
                Ok(self.ask(&Asker::Host, Protocol::Tcp, (&address, 81), None)?.is_answer())
            })?;
        }
        Ok(())
    }

    fn make_member(&mut self, member: &Member, listed: &str) -> Done<String> {
        let [v4, v6] = member.addresses();
        let ports = member
            .published
            .map(|port| ["tcp", "udp"].map(|protocol| format!("{listed}:{port}:80/{protocol}")));
        let net = full_name(member.net);
        let mut options = vec!["-l", member.driver, "-n", &net, "--ip", &v4, "--ip6", &v6];
        for port in ports.iter().flatten() {
            options.extend(["-p", port]);
        }
        let service = member.name.to_uppercase();
        let command = [INSIDE, "--probe", "serve", &service, "80,81", &v4, &v6];
        self.container(&full_name(member.name), &options, &command)
    }

    /// Removes the layout, if it was made; what of it is left is said.
    pub fn clear_stage(&mut self) -> Vec<String> {
        let Some(made) = self.stage.take() else { return Vec::new() };
        if let Ok(Stage { servers, .. }) = made {
            drop(servers);
        }
        self.made.0.extend(MEMBERS.iter().map(|member| full_name(member.name)));
        self.made.1.extend(NETS.iter().map(|net| full_name(net.name)));
        self.clear_check()
    }

    /// Who asks under a name of the layout.
    fn asker(&mut self, name: &str) -> Done<Asker> {
        match name {
            "host" => Ok(Asker::Host),
            "out" => Ok(Asker::Outside(OUT)),
            "far" => Ok(Asker::Outside(FAR)),
            name => Ok(Asker::Container(self.id(name)?)),
        }
    }

    /// Sends all flows of a text, over both protocols and in both families, and holds
    /// each to what has to become of it.
    ///
    /// # Errors
    /// All that became otherwise.
    pub fn flows(&mut self, text: &str) -> Done {
        let rows = Row::all(text).or_else(|line| fails("flows", line))?;
        let mut all = Vec::new();
        for row in rows {
            let asker = self.asker(&row.from)?;
            let Some(to) = layout::addresses(&row.to) else {
                return fails("a name of the layout", row.to);
            };
            for (family, address) in to.into_iter().enumerate() {
                for protocol in Protocol::BOTH {
                    let to = address.to_string();
                    all.push(Flow { row: row.clone(), asker: asker.clone(), to, family, protocol });
                }
            }
        }
        let mut wrong = Vec::new();
        for some in all.chunks(AT_ONCE) {
            let this: &Self = self;
            let found: Vec<Done<Option<Wrong>>> = std::thread::scope(|scope| {
                let sent: Vec<_> =
                    some.iter().map(|flow| scope.spawn(move || flow.send(this))).collect();
                let joined = sent.into_iter().map(std::thread::ScopedJoinHandle::join);
                joined
                    .map(|one| one.unwrap_or_else(|_| fails("a flow is sent", "a panic")))
                    .collect()
            });
            for one in found {
                wrong.extend(one?);
            }
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => {
                let lines = |of: fn(&Wrong) -> &String| {
                    wrong.iter().map(|one| of(one).as_str()).collect::<Vec<_>>().join("\n")
                };
                drop(self.take_last());
                for one in &wrong {
                    self.note(one.again.clone());
                }
                fails(lines(|one| &one.expected), lines(|one| &one.seen))
            }
        }
    }

    /// Whether echoes come back: of each line in both families.
    ///
    /// # Errors
    /// The first that is otherwise.
    pub fn pings(&mut self, expected: &[(&str, &str, bool)]) -> Done {
        for (from, to, comes) in expected {
            let asker = self.asker(from)?;
            let Some(addresses) = layout::addresses(to) else {
                return fails("a name of the layout", *to);
            };
            for address in addresses {
                let came = self.echoes(&asker, &address.to_string())?;
                let words = |comes: bool| if comes { "an echo" } else { "no echo" };
                let what = format!("{from} pings {to} at {address}: {}", words(*comes));
                want(came == *comes, what, words(came))?;
            }
        }
        Ok(())
    }
}

/// Whether klee has said that something is not there.
fn is_unknown(said: &str) -> bool {
    said.contains("not found") || said.contains("no such container")
}

/// One flow of a row.
struct Flow {
    row: Row,
    asker: Asker,
    to: String,
    family: usize,
    protocol: Protocol,
}

/// A flow of which something else became.
struct Wrong {
    expected: String,
    seen: String,
    /// The command to see it again.
    again: String,
}

impl Flow {
    fn send(&self, trial: &Trial) -> Done<Option<Wrong>> {
        let Self { row, asker, to, family, protocol } = self;
        let mut heard = trial.ask(asker, *protocol, (to, row.port), None)?;
        if !row.want.is(&heard, *family) && matches!(row.want, Want::Answer(..)) {
            // A single packet may be lost; a rule loses all of them.
            heard = trial.ask(asker, *protocol, (to, row.port), None)?;
        }
        if row.want.is(&heard, *family) {
            return Ok(None);
        }
        let (protocol, wanted) = (protocol.name(), row.want.words(*family));
        let what = format!("{} -> {} ({to}) {protocol}/{}", row.from, row.to, row.port);
        Ok(Some(Wrong {
            expected: format!("{what}: {wanted}"),
            seen: format!("{what}: {heard}"),
            again: trial.asked(asker, self.protocol, (to, row.port)),
        }))
    }
}

impl Ended {
    /// The same as a condition that was not met: where something needs another thing.
    #[must_use]
    pub fn because(self, of: &str) -> Self {
        match self {
            Self::Fails { expected, seen } => {
                Self::Fails { expected: format!("{of}: {expected}"), seen }
            }
            other => other,
        }
    }
}
