//! The refusals of look-up, containers and executions.

use kleene_engine::fake::Rig;
use kleene_engine::{Command, Outcome};
use kleene_model::api::{
    ContainerConfig, ExecConfig, MountPointConfig, MountType, PublishedPortConfig, Window,
};
use kleene_model::{Driver, ExecId};

use crate::refusals::rig;

fn text(rig: &mut Rig, command: Command) -> String {
    rig.refused(command).to_string()
}

fn disconnect(network: &str, container: &str) -> Command {
    Command::NetworkDisconnect { network: network.into(), container: container.into() }
}

fn connect(container: &str, network: &str) -> Command {
    Command::NetworkConnect(Rig::endpoint_config(container, network, "<auto>"))
}

fn remove(container: &str) -> Command {
    Command::ContainerRemove { container: container.into() }
}

fn stop(container: &str) -> Command {
    Command::ContainerStop { container: container.into(), grace_ms: 3000 }
}

fn update(container: &str, config: ContainerConfig) -> Command {
    Command::ContainerUpdate { container: container.into(), config: Box::new(config) }
}

fn exec_stop(exec: &str) -> Command {
    Command::ExecStop { exec: exec.into(), force: false, container: false }
}

#[test]
fn what_is_not_there_has_each_operations_own_words() {
    let mut rig = rig();
    rig.container("site");
    let text = |rig: &mut Rig, command| text(rig, command);
    for nobody in ["nobody", "", "0000", "/"] {
        let network = nobody.to_owned();
        assert_eq!(text(&mut rig, Command::NetworkRemove { network }), "network not found.");
        assert_eq!(text(&mut rig, connect("site", nobody)), "network not found");
        assert_eq!(text(&mut rig, connect(nobody, "web")), "container not found");
        assert_eq!(text(&mut rig, disconnect(nobody, "site")), "network not found");
        assert_eq!(text(&mut rig, disconnect("web", nobody)), "container not found");
        assert_eq!(text(&mut rig, remove(nobody)), "no such container");
        assert_eq!(text(&mut rig, stop(nobody)), "container not found");
        let words = format!("no such container '{nobody}'");
        assert_eq!(text(&mut rig, update(nobody, ContainerConfig::default())), words);
        let config = ExecConfig { container_id: nobody.into(), ..ExecConfig::default() };
        assert_eq!(text(&mut rig, Command::ExecCreate(config)), "container not found");
        let words = format!("could not find execution instance matching '{nobody}'");
        assert_eq!(text(&mut rig, exec_stop(nobody)), words);
        let window = Window { rows: 1, cols: 1 };
        let exec = nobody.to_owned();
        assert_eq!(text(&mut rig, Command::ExecResize { exec, window }), words);
    }
    assert_eq!(text(&mut rig, disconnect("web", "site")), "endpoint configuration not found");
    rig.ok(connect("site", "web"));
    rig.ok(disconnect("web", "site"));
}

#[test]
fn an_id_prefix_is_enough_and_an_ambiguous_one_lists_the_candidates() {
    let mut rig = rig();
    let ids: Vec<String> = (0..40).map(|n| rig.container(&format!("box{n}")).to_string()).collect();
    let first = |id: &String| id[..1].to_owned();
    let prefix =
        ids.iter().map(first).find(|p| ids.iter().filter(|id| id.starts_with(p)).count() > 1);
    let prefix = prefix.expect("40 ids share a first digit");
    let refusal = text(&mut rig, remove(&prefix));
    assert!(
        refusal.starts_with(&format!("'{prefix}' is ambiguous: it stands for the containers "))
    );
    for id in ids.iter().filter(|id| id.starts_with(&prefix)) {
        assert!(refusal.contains(id.as_str()), "{refusal}");
    }
    assert_eq!(rig.ok(remove(&ids[7][..9])), Outcome::Id(ids[7].clone()));
    assert_eq!(rig.ok(remove("box9")), Outcome::Id(ids[9].clone()));
    assert_eq!(text(&mut rig, remove("box")), "no such container", "a name is whole");
}

#[test]
fn container_names() {
    let mut rig = rig();
    let create = |name: &str| Command::ContainerCreate(Rig::container_config(name, Driver::Vnet));
    for bad in ["a", "_ab", "a b", "-ab", "a/b", "/a", "//ab", "näh"] {
        let words = format!("{bad} does not match /?[a-zA-Z0-9][a-zA-Z0-9_.-]+$");
        assert_eq!(text(&mut rig, create(bad)), words);
    }
    for good in ["ab", "/web", "0.x_-"] {
        rig.ok(create(good));
    }
    let holder = rig.state().container_named("ab").expect("ab").id;
    let words = format!("container name 'ab' is already taken by container {holder}");
    assert_eq!(text(&mut rig, create("ab")), words);
    // Renaming is held to the same, but a container may keep its name.
    let rename = |to: &str| {
        update("/web", ContainerConfig { name: Some(to.into()), ..ContainerConfig::default() })
    };
    assert_eq!(text(&mut rig, rename("ab")), words);
    rig.ok(rename("/web"));
    rig.ok(update("ab", ContainerConfig { name: Some("cd".into()), ..ContainerConfig::default() }));
    rig.ok(create("ab"));
    // Without a name it gets its id.
    let mut config = Rig::container_config("", Driver::Vnet);
    config.name = None;
    let Outcome::Id(id) = rig.ok(Command::ContainerCreate(config)) else { panic!("no id") };
    assert!(rig.state().container_named(&id).is_some());
    rig.check();
}

#[test]
fn running_containers() {
    let mut rig = rig();
    rig.container("site");
    rig.connect("site", "web");
    assert_eq!(text(&mut rig, stop("site")), "container not running");
    rig.run("site", &["serve"]);
    assert_eq!(text(&mut rig, remove("site")), "you cannot remove a running container");
    rig.network("later", "10.4.7.0/24");
    rig.ok(connect("site", "later"));
    rig.check();
    rig.ok(disconnect("later", "site"));
    rig.check();
    rig.ok(stop("site"));
    rig.ok(disconnect("web", "site"));
    rig.ok(remove("site"));
    rig.check();
}

#[test]
fn executions() {
    let mut rig = rig();
    rig.container("site");
    let exec = rig.exec("site", &["serve"]);
    let id = exec.to_string();
    let Command::ExecStart(mut start) = Rig::start_command(exec) else { panic!("a start") };
    start.start_container = false;
    let words = "cannot start container when 'start_container' is false.";
    assert_eq!(text(&mut rig, Command::ExecStart(start)), words);
    let words = "execution instance have not been started";
    assert_eq!(text(&mut rig, exec_stop(&id)), words);
    let window = Window { rows: 24, cols: 80 };
    let resize = || Command::ExecResize { exec: id.clone(), window };
    assert_eq!(text(&mut rig, resize()), words);
    rig.ok(Rig::start_command(exec));
    assert_eq!(text(&mut rig, Rig::start_command(exec)), "executable already started");
    rig.ok(resize());
    rig.ok(exec_stop(&id));
    let words = format!("could not find execution instance matching '{id}'");
    assert_eq!(text(&mut rig, Rig::start_command(exec)), words);
    assert_eq!(text(&mut rig, exec_stop(&id)), words);
    let unknown = ExecId::from_bytes([0xff; 6]).expect("letters");
    let words = format!("could not find execution instance matching '{unknown}'");
    assert_eq!(text(&mut rig, Rig::start_command(unknown)), words);
    rig.check();
}

#[test]
fn commands_that_cannot_be_started_say_so() {
    let mut rig = rig();
    rig.container("site");
    for (word, code) in [("missing", 127), ("denied", 126)] {
        let exec = rig.exec("site", &[word]);
        let refusal = rig.refused(Rig::start_command(exec));
        assert_eq!(refusal.to_string(), format!("cannot start {word}"));
        assert_eq!(refusal.exit_code(true), code);
        rig.check();
    }
    rig.run("site", &["exit", "0"]);
}

#[test]
fn what_a_container_cannot_have() {
    let mut rig = rig();
    let mut refused = |edit: &dyn Fn(&mut ContainerConfig)| {
        let mut config = Rig::container_config("site", Driver::Vnet);
        edit(&mut config);
        text(&mut rig, Command::ContainerCreate(config))
    };
    let port = || PublishedPortConfig {
        interfaces: Vec::new(),
        host_port: "80".into(),
        container_port: "80".into(),
        protocol: "tcp".into(),
    };
    for (driver, words) in [
        (Driver::Host, "cannot publish ports of a container using the 'host' network driver"),
        (
            Driver::Disabled,
            "cannot publish ports of a container using the 'disabled' network driver",
        ),
    ] {
        let with_port = |c: &mut ContainerConfig| {
            c.network_driver = driver;
            c.public_ports = Some(vec![port()]);
        };
        assert_eq!(refused(&with_port), words);
    }
    assert_eq!(
        refused(&|c| c.jail_param = Some(vec!["allow.raw_sockets".into(), "allow.mount".into()])),
        "unsupported: the jail parameter 'allow.mount' on this system"
    );
    assert_eq!(
        refused(&|c| c.restart_policy = Some("on-startup".into())),
        "unsupported: the restart policy 'on-startup'"
    );
    assert_eq!(refused(&|c| c.image = Some("debian".into())), "no such image 'debian'");
    assert_eq!(refused(&|c| c.image = None), "no such image ''");
    for bad in ["NAME", "=x", "A=\0"] {
        let words = refused(&|c| c.env = Some(vec!["OK=1".into(), bad.into()]));
        assert!(words.starts_with("invalid environment variable '"), "{words}");
    }
    let mut ok = Rig::container_config("site", Driver::Vnet);
    ok.restart_policy = Some("no".into());
    ok.public_ports = Some(Vec::new());
    ok.jail_param = Some(vec!["allow.raw_sockets=true".into()]);
    ok.env = Some(vec!["A=".into(), "B==".into()]);
    rig.ok(Command::ContainerCreate(ok));
}

#[test]
fn mounts() {
    let mut rig = rig();
    let create = |kind: MountType, source: &str, destination: &str| {
        let mut config = Rig::container_config("site", Driver::Host);
        let (source, destination) = (source.to_owned(), destination.to_owned());
        config.mounts = Some(vec![MountPointConfig { kind, destination, source, read_only: true }]);
        Command::ContainerCreate(config)
    };
    for (source, destination, why) in [
        ("srv", "/srv", "the source is no absolute path"),
        ("/srv", "srv", "the destination is no absolute path"),
        ("/srv", "/a/../b", "the destination contains '..'"),
        ("/srv", "/", "the destination is the container's root"),
        ("/srv", "//./", "the destination is the container's root"),
    ] {
        let words = format!("invalid mount '{source}:{destination}': {why}");
        assert_eq!(text(&mut rig, create(MountType::Nullfs, source, destination)), words);
    }
    let words = "unsupported: volumes ('data')";
    assert_eq!(text(&mut rig, create(MountType::Volume, "data", "/data")), words);
    rig.ok(create(MountType::Nullfs, "/srv", "/srv/..x"));
}
