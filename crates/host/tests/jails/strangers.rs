//! What is somebody else's is never touched.

use kleene_engine::Command;
use kleene_model::{Driver, NetworkType};

use crate::lives::anything;
use crate::rig::{Rig, differ, network};

#[test]
fn interfaces_jails_and_anchors_of_others_stay_as_they_are() {
    let mut rig = Rig::new();
    rig.tell("ifconfig", &["lo", "create", "name", "kleene0"]);
    rig.tell("ifconfig", &["bridge", "create", "name", "kleene7"]);
    rig.tell("ifconfig", &["kleene7", "description", "kleene:other:network:6b933304be4a"]);
    rig.tell("ifconfig", &["epair0", "create"]);
    rig.tell("jail", &["-c", "path=/jr", "name=theirs", "vnet", "persist"]);
    rig.tell("ifconfig", &["em0", "inet", "10.9.9.9/32", "alias"]);
    let theirs = rig.picture();
    rig.network("net", NetworkType::Bridge, 1);
    rig.network("nic", NetworkType::Custom, 2);
    rig.container("web", Driver::Vnet, &["8080:80"]);
    rig.connect("web", "net");
    rig.start("web");
    rig.container("own", Driver::Ipnet, &[]);
    rig.connect("own", "nic");
    rig.start("own");
    assert!(rig.shown("ifconfig", &["-l"]).contains("kleene1"), "a free name was found");
    rig.restart();
    rig.event(anything());
    rig.stop("web");
    rig.stop("own");
    for network in ["net", "nic"] {
        rig.ok(Command::NetworkRemove { network: network.to_owned() });
    }
    assert_eq!(differ(&theirs, &rig.picture()), None);
    // Named by the user they are an error.
    let mut config = network("theirs", NetworkType::Bridge, 3);
    config.interface = "kleene7".to_owned();
    let why = rig.refused(Command::NetworkCreate(config.clone()));
    assert!(why.contains("kleene7"), "{why}");
    config.interface = "kleene8".to_owned();
    rig.ok(Command::NetworkCreate(config));
}

#[test]
fn a_name_that_is_taken_meanwhile_leaves_nothing_behind() {
    let mut rig = Rig::new();
    // Nobody has looked since.
    rig.tell("ifconfig", &["epair0", "create"]);
    rig.network("net", NetworkType::Bridge, 1);
    rig.container("web", Driver::Vnet, &[]);
    rig.connect("web", "net");
    rig.start("web");
    assert_eq!(rig.shown("ifconfig", &["-g", "kleene_cab"]), "epair1a\n");
    let before = rig.shown("ifconfig", &["-l"]);
    let mut config = network("two", NetworkType::Loopback, 2);
    config.interface = "kleene9".to_owned();
    // What a failed create leaves behind under another name goes, too.
    rig.system.fail_matching(
        kleene_host::freebsd::run::Tool::Ifconfig,
        ["description"],
        kleene_host::freebsd::simulated::Fault::Refused,
    );
    let why = rig.refused(Command::NetworkCreate(config.clone()));
    assert!(why.contains("description kleene:main:network:"), "{why}");
    rig.system.fail_no_more();
    assert_eq!(rig.shown("ifconfig", &["-l"]), before);
    rig.ok(Command::NetworkCreate(config));
}
