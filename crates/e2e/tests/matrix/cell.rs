//! Plays one cell: brings it about, does the operation, looks at what is.

use super::common::net::{
    Place, addresses_of, answered, both, connect, doubled, endpoint_of, holder, member, network,
    on, start, start_with, tcp, unanswered,
};
use super::common::{LIMIT, addresses, create, endpoint, is_running, with};
use super::table::{Driver, Kind, Operation, Outcome, State, outcome};
use kleene_e2e::{Background, OUTSIDE4, OUTSIDE6, Reply, World, poll};
use serde_json::{Value, json};
use std::cell::{Cell as Counter, RefCell};

/// One cell of the matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) kind: Kind,
    pub(crate) driver: Driver,
    pub(crate) state: State,
    pub(crate) operation: Operation,
}

const NETWORK: &str = "net";
const PORT: u16 = 9000;
/// One that nothing from before the operation listens on.
const OTHER_PORT: u16 = 9002;
const PEER_PORT: u16 = 9001;
const NONE: [String; 2] = [String::new(), String::new()];

/// A network with a container that answers, and what is asked of both.
pub(crate) struct Stage<'a> {
    world: &'a World,
    kind: Kind,
    /// On the custom network's interface before there was a network.
    uplink: Vec<String>,
    checks: Counter<usize>,
    cells: Counter<u8>,
    serving: RefCell<Option<Background>>,
}

fn make(world: &World, kind: Kind) {
    let changes = match kind {
        Kind::Loopback => json!({"subnet": "10.1.0.0/24", "subnet6": "fd00:1::/64"}),
        Kind::Bridge => json!({"subnet": "10.2.0.0/24", "subnet6": "fd00:2::/64"}),
        // In the middle of the uplink's own.
        Kind::Custom => json!({
            "interface": "eth0", "subnet": "192.0.2.64/26", "subnet6": "2001:db8:1:0:1::/80",
        }),
    };
    network(world, NETWORK, kind.name(), &changes);
}

impl<'a> Stage<'a> {
    pub(crate) fn new(world: &'a World, kind: Kind) -> Self {
        let uplink = on(&Place::Host.links(world), "eth0");
        let serving = RefCell::default();
        let (checks, cells) = (Counter::new(0), Counter::new(0));
        let stage = Self { world, kind, uplink, checks, cells, serving };
        stage.set();
        stage
    }

    /// Makes the network, and on it the container that answers.
    fn set(&self) {
        make(self.world, self.kind);
        member(self.world, "peer", "ipnet", &[NETWORK]);
        let sockets = both(&["0.0.0.0", "::"], PEER_PORT);
        *self.serving.borrow_mut() = Some(Place::In("peer").serve(self.world, &sockets));
    }

    fn take_peer(&self) {
        self.serving.borrow_mut().take();
        self.world.http("POST", "/containers/peer/stop", None).expect(200);
        self.world.http("DELETE", "/containers/peer", None).expect(200);
    }

    pub(crate) fn end(self) {
        self.take_peer();
        self.world.http("DELETE", "/networks/net", None).expect(200);
    }

    /// Plays a cell and gives the number of checks made.
    pub(crate) fn play(&self, cell: Cell) -> usize {
        self.checks.set(0);
        self.cells.set(self.cells.get() + 1);
        create(self.world, "it", cell.driver.name());
        let mut had = NONE;
        if cell.driver.joins(cell.kind) && cell.operation != Operation::Connect {
            self.world.http("POST", "/networks/connect", Some(&self.wanted())).expect(204);
            had = addresses_of(self.world, "it", NETWORK);
        }
        if cell.state == State::Running {
            start(self.world, "it");
        }
        // The allowed twin of whatever ends here.
        let standing = cell.state == State::Running && had != NONE;
        let serving = standing.then(|| Place::In("it").serve(self.world, &both(&had, PORT)));
        if standing {
            self.is_reached(&had, PORT);
        }
        self.operate(cell, &had);
        drop(serving);
        self.cleared(cell);
        self.checks.get()
    }

    fn check(&self, holds: bool, what: &str, seen: &dyn std::fmt::Debug) {
        assert!(holds, "{what}: {seen:?}");
        self.checks.set(self.checks.get() + 1);
    }

    fn operate(&self, cell: Cell, had: &[String; 2]) {
        let expected = outcome(cell);
        println!("{cell:?}: {expected:?}");
        let before = matches!(expected, Outcome::Refused(..)).then(|| self.world.snapshot());
        let before_endpoint = self.endpoint();
        let answered = self.request(cell);
        match (expected, &answered) {
            (Outcome::Refused(status, text), Some(reply)) => {
                self.check(reply.status == status, "status", &reply.text);
                self.check(reply.message() == text, text, &reply.text);
                self.world.assert_back_to(&before.expect("a snapshot"), LIMIT);
                self.check(self.endpoint() == before_endpoint, "endpoint", &before_endpoint);
            }
            (_, Some(reply)) => {
                let good = match cell.operation {
                    Operation::Connect | Operation::Disconnect => 204,
                    Operation::Start | Operation::Stop | Operation::RemoveNetwork => 200,
                };
                self.check(reply.status == good, "status", &reply.text);
            }
            (_, None) => self.check(cell.operation == Operation::Start, "answer", &cell),
        }
        let runs = match (cell.operation, cell.state) {
            (Operation::Start, State::Stopped | State::Running)
            | (
                Operation::Connect | Operation::Disconnect | Operation::RemoveNetwork,
                State::Running,
            ) => true,
            (Operation::Stop, State::Stopped | State::Running)
            | (
                Operation::Connect | Operation::Disconnect | Operation::RemoveNetwork,
                State::Stopped,
            ) => false,
        };
        self.check(is_running(self.world, "it") == runs, "running", &runs);
        match expected {
            Outcome::Reserved => self.is_reserved(had),
            Outcome::OnInterface => self.is_on_interface(had),
            Outcome::OnCable => self.is_on_cable(had),
            Outcome::Apart => self.is_apart(cell, had, runs),
            Outcome::Gone => self.is_gone(cell, had, runs),
            // Beside nothing having changed: it is as far away as before.
            Outcome::Refused(..) => self.is_apart_inside(cell, &NONE, runs),
        }
    }

    fn request(&self, cell: Cell) -> Option<Reply> {
        let http = |method, path, body: Option<&Value>| Some(self.world.http(method, path, body));
        match cell.operation {
            Operation::Connect => http("POST", "/networks/connect", Some(&self.wanted())),
            Operation::Disconnect => http("POST", "/networks/net/disconnect/it", None),
            Operation::Stop => http("POST", "/containers/it/stop?timeout=1", None),
            Operation::RemoveNetwork => http("DELETE", "/networks/net", None),
            // Over a websocket.
            Operation::Start => {
                match cell.state {
                    State::Stopped => start(self.world, "it"),
                    // One more command, which ends before it is looked at.
                    State::Running => start_with(self.world, "it", &["true"]),
                }
                None
            }
        }
    }

    /// The endpoint of a cell: its addresses are nobody's before, so that what
    /// neighbours remember of the cells before is of no account.
    fn wanted(&self) -> Value {
        let host = 80 + self.cells.get();
        let (v4, v6) = match self.kind {
            Kind::Loopback => (format!("10.1.0.{host}"), format!("fd00:1::{host}")),
            Kind::Bridge => (format!("10.2.0.{host}"), format!("fd00:2::{host}")),
            Kind::Custom => (format!("192.0.2.{host}"), format!("2001:db8:1:0:1::{host}")),
        };
        with(endpoint("it", NETWORK, &v4), &json!({"ip_address6": v6}))
    }

    fn endpoint(&self) -> Option<Value> {
        endpoint_of(self.world, "it", NETWORK)
    }

    /// The interface of the network.
    fn interface(&self) -> &'static str {
        match self.kind {
            Kind::Loopback | Kind::Bridge => "kleene0",
            Kind::Custom => "eth0",
        }
    }

    /// Its addresses now: those that it `had`, if it had any.
    fn addresses(&self, had: &[String; 2]) -> [String; 2] {
        let now = addresses_of(self.world, "it", NETWORK);
        self.check(now.iter().all(|addr| !addr.is_empty()), "both families", &now);
        self.check(*had == NONE || *had == now, "the same addresses", &now);
        now
    }

    /// The host, the peer and (custom) the outside get answers from the server
    /// that runs in the container.
    fn is_reached(&self, addresses: &[String; 2], port: u16) {
        let peer = addresses_of(self.world, "peer", NETWORK);
        let sockets = both(addresses, port);
        // What each asker is seen as: TCP and UDP, then the same in IPv6.
        let seen = Place::In("peer").ask(self.world, &sockets);
        self.same_all(&seen, &doubled(&peer), "the peer is seen as itself");
        let seen = Place::Host.ask(self.world, &sockets);
        let links = Place::Host.links(self.world);
        for (source, asked) in seen.iter().zip(&sockets) {
            let own = holder(&links, source).is_some() && !addresses.contains(source);
            self.check(own && !peer.contains(source), asked, &seen);
        }
        if self.kind == Kind::Custom {
            let seen = Place::Outside.ask(self.world, &sockets);
            let outside = [OUTSIDE4, OUTSIDE6].map(str::to_owned);
            self.same_all(&seen, &doubled(&outside), "the outside is seen as itself");
        }
    }

    fn same_all(&self, seen: &[String], expected: &[String], what: &str) {
        for (one, other) in seen.iter().zip(expected) {
            self.check(one == other, what, &(seen, expected));
        }
    }

    /// Nobody gets an answer there, while the peer answers all of them.
    fn is_out_of_reach(&self, addresses: &[String; 2], peer_is_in: bool) {
        let mut sockets = tcp(addresses, PORT);
        let from_peer = Place::In("peer").miss(self.world, &sockets);
        sockets.extend(
            peer_is_in
                .then(|| tcp(&addresses_of(self.world, "peer", NETWORK), PEER_PORT))
                .into_iter()
                .flatten(),
        );
        let from_host = Place::Host.miss(self.world, &sockets);
        for seen in from_peer.iter().chain(&from_host[..2]) {
            self.check(unanswered(seen), "no answer", seen);
        }
        for seen in &from_host[2..] {
            self.check(answered(seen), "the twin's answer", seen);
        }
    }

    /// What the driver does not decide: bind at once, be asked, ask.
    fn is_usable(&self, addresses: &[String; 2]) {
        let peer = addresses_of(self.world, "peer", NETWORK);
        // Without a second try: at once means at once.
        let serving = Place::In("it").serve(self.world, &both(addresses, OTHER_PORT));
        self.is_reached(addresses, OTHER_PORT);
        drop(serving);
        let seen = Place::In("it").ask(self.world, &tcp(&peer, PEER_PORT));
        self.same_all(&seen, addresses, "seen as itself by the peer");
        let bound = Place::In("it").bind(self.world, &tcp(&[&addresses[..], &peer].concat(), 7005));
        self.same_all(&bound[..2], &["bound", "bound"].map(str::to_owned), "its own");
        self.same_all(&bound[2..], &["EADDRNOTAVAIL"; 2].map(str::to_owned), "the peer's");
    }

    fn is_on_interface(&self, had: &[String; 2]) {
        let addresses = self.addresses(had);
        self.is_usable(&addresses);
        let epair = self.endpoint().map(|endpoint| endpoint["epair"].clone());
        self.check(epair == Some(Value::Null), "no epair", &epair);
        let (host, inside) = (Place::Host.links(self.world), Place::In("it").links(self.world));
        for (addr, length) in addresses.iter().zip([32, 128]) {
            let expected = Some((self.interface().to_owned(), length));
            self.check(holder(&host, addr) == expected, "on the host", &(addr, &host));
            self.check(holder(&inside, addr) == expected, "inside", &(addr, &inside));
        }
        let bound = Place::Host.bind(self.world, &tcp(&addresses[..1], 7006));
        self.check(bound == ["EADDRNOTAVAIL"], "the host cannot have it", &bound);
    }

    fn is_on_cable(&self, had: &[String; 2]) {
        let addresses = self.addresses(had);
        self.is_usable(&addresses);
        let epair = self.endpoint().unwrap()["epair"].as_str().unwrap_or_default().to_owned();
        let (host, inside) = (Place::Host.links(self.world), Place::In("it").links(self.world));
        let outer = host.iter().find(|link| link["ifname"] == format!("{epair}a"));
        self.check(outer.is_some_and(|link| link["master"] == "kleene0"), "its port", &host);
        let routes = ["-4", "-6"].map(|family| {
            let route = ["ip", "-j", family, "route", "show", "default"];
            Place::In("it").run(self.world, &route).ok().json()[0].clone()
        });
        let rest = routes.iter().zip(["10.2.0.1", "fd00:2::1"]).zip([24, 64]);
        for (addr, ((route, gateway), length)) in addresses.iter().zip(rest) {
            let expected = Some((format!("{epair}b"), length));
            self.check(holder(&inside, addr) == expected, "inside", &(addr, &inside));
            self.check(holder(&host, addr).is_none(), "not on the host", &(addr, &host));
            self.check(route["gateway"] == gateway, "default route", &routes);
        }
    }

    fn is_reserved(&self, had: &[String; 2]) {
        let addresses = self.addresses(had);
        let epair = self.endpoint().map(|endpoint| endpoint["epair"].clone());
        self.check(epair == Some(Value::Null), "no epair", &epair);
        self.is_nowhere(&addresses);
        self.is_out_of_reach(&addresses, true);
        create(self.world, "other", "ipnet");
        for (key, addr) in ["ip_address", "ip_address6"].iter().zip(&addresses) {
            let wanted = with(endpoint("other", NETWORK, ""), &json!({*key: addr}));
            let reply = self.world.http("POST", "/networks/connect", Some(&wanted));
            self.check(reply.status == 409, "its reservation", &reply.text);
            let named = reply.message().contains(addr) && reply.message().contains("container it");
            self.check(named, "whose it is", &reply.text);
        }
        let others = connect(self.world, "other", NETWORK);
        let differs = others.iter().zip(&addresses).all(|(one, other)| one != other);
        self.check(differs, "others get others", &others);
        self.world.http("DELETE", "/containers/other", None).expect(200);
    }

    /// No address of it on the host, and no cable but the peer's.
    fn is_nowhere(&self, addresses: &[String; 2]) {
        let host = Place::Host.links(self.world);
        for addr in addresses.iter().filter(|addr| !addr.is_empty()) {
            self.check(holder(&host, addr).is_none(), "on nothing", &(addr, &host));
        }
        let ports = host.iter().filter(|link| link["master"] == "kleene0").count();
        self.check(ports == 0, "no port", &host);
    }

    fn is_apart(&self, cell: Cell, had: &[String; 2], runs: bool) {
        self.check(self.endpoint().is_none(), "no endpoint", &self.endpoint());
        self.is_nowhere(had);
        if *had != NONE {
            self.is_out_of_reach(had, true);
        }
        self.is_apart_inside(cell, had, runs);
    }

    /// Inside a running container nothing of the network can be used.
    fn is_apart_inside(&self, cell: Cell, had: &[String; 2], runs: bool) {
        let inspected = self.world.http("GET", "/networks/net/inspect", None);
        let peer = match inspected.status {
            200 => addresses_of(self.world, "peer", NETWORK),
            _ => NONE,
        };
        if !runs {
            return;
        }
        let shown = |place: Place<'_>| -> Vec<String> {
            place.links(self.world).iter().flat_map(addresses).collect()
        };
        // What a cable has left inside goes soon.
        let (mut seen, mut own) = (Vec::new(), Vec::new());
        poll(LIMIT, || {
            seen = shown(Place::In("it"));
            own = match cell.driver {
                Driver::Vnet => ["127.0.0.1/8", "::1/128"].map(str::to_owned).to_vec(),
                Driver::Ipnet | Driver::Disabled => vec!["::1/128".to_owned()],
                Driver::Host => shown(Place::Host),
            };
            (seen == own).then_some(())
        });
        self.check(seen == own, "its own addresses only", &(&seen, &own));
        let mut wanted: Vec<String> =
            [&had[..], &peer].concat().into_iter().filter(|addr| !addr.is_empty()).collect();
        if cell.driver == Driver::Host {
            // It is the host: an IPv6 address can be bound, and not used.
            wanted.retain(|addr| !addr.contains(':'));
        }
        let mut bound = Vec::new();
        poll(LIMIT, || {
            bound = Place::In("it").bind(self.world, &tcp(&wanted, 7007));
            bound.iter().all(|seen| seen == "EADDRNOTAVAIL").then_some(())
        });
        for (seen, addr) in bound.iter().zip(&wanted) {
            self.check(seen == "EADDRNOTAVAIL", addr, seen);
        }
        if peer != NONE && cell.driver != Driver::Host {
            let sockets = tcp(&peer, PEER_PORT);
            for seen in Place::Host.ask(self.world, &sockets) {
                self.check(answered(&seen), "the peer answers the host", &seen);
            }
            for seen in Place::In("it").miss(self.world, &sockets) {
                self.check(unanswered(&seen), "the peer is out of reach", &seen);
            }
        }
    }

    fn is_gone(&self, cell: Cell, had: &[String; 2], runs: bool) {
        let reply = self.world.http("GET", "/networks/net/inspect", None);
        let told = (reply.status, reply.message());
        self.check(told == (404, "network not found"), "no network", &told);
        let inspected = self.world.http("GET", "/containers/it/inspect", None);
        let endpoints = &inspected.json["container_endpoints"];
        self.check(*endpoints == json!([]), "no endpoint", endpoints);
        let links = Place::Host.links(self.world);
        let ours = links.iter().any(|link| link["ifname"] == "kleene0");
        self.check(!ours, "no interface of ours", &links);
        self.check(on(&links, "eth0") == self.uplink, "the uplink's own", &links);
        self.is_nowhere(had);
        if *had != NONE {
            self.is_out_of_reach(had, false);
        }
        self.is_apart_inside(cell, had, runs);
        // For the cells that come.
        self.take_peer();
        self.set();
    }

    /// Takes the container of a cell away.
    fn cleared(&self, cell: Cell) {
        if is_running(self.world, "it") {
            self.world.http("POST", "/containers/it/stop", None).expect(200);
        }
        self.world.http("DELETE", "/containers/it", None).expect(200);
        let host = Place::Host.links(self.world);
        let left = on(&host, self.interface());
        let own = self.uplink.len() + usize::from(cell.kind == Kind::Bridge) * 2;
        let own =
            if cell.kind == Kind::Custom { self.uplink.len() } else { own - self.uplink.len() };
        self.check(left.len() == own + 2, "the peer's are left", &left);
    }
}
