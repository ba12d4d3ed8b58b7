use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::freebsd::testing::Scripted;

struct Rig {
    dir: tempfile::TempDir,
    parameters: Parameters,
}

const EMPTY: &str = "/dev/vtbd0p2\t\t/\t\t\tufs\trw\t\t1 1\n";
/// A ruleset that somebody has defined.
const RULES: &str = "100 hide\n200 path null unhide\n";

impl Rig {
    fn new(parameters: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("stored/etc")).expect("a root");
        Self { dir, parameters: Parameters::parse(parameters).expect("parameters") }
    }

    fn stored(&self) -> PathBuf {
        self.dir.path().join("stored").canonicalize().expect("a path")
    }

    fn write(&self, tools: &Scripted, binds: &[Bind]) -> Result<Bundle, BundleError> {
        let (dir, root) = (self.dir.path().join("c"), self.stored());
        let addresses = ["10.2.3.4", "fd00::4"].map(|a| a.parse().expect("an address"));
        let request = BundleRequest {
            id: ContainerId::parse("c00000000001").expect("an id"),
            name: Some("web"),
            hostname: None,
            addresses: &addresses,
            driver: Driver::Ipnet,
            parameters: &self.parameters,
            ruleset: Ruleset::Given(11),
            dir: &dir,
            image: Image::Stored(&root),
            binds,
        };
        write(tools, &request)
    }

    fn at(&self, command: &str) -> String {
        command.replace("ROOT", &self.stored().display().to_string())
    }
}

#[test]
fn a_root_gets_its_names_its_devices_and_its_mounts() {
    let rig = Rig::new(&["allow.raw_sockets"]);
    let data = rig.dir.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    let bind = Bind::new(data.to_str().expect("a path"), "/data", true).expect("a bind");
    let tools = Scripted::new()
        .says("mount -p", EMPTY)
        .says("devfs rule -s 11 show", RULES)
        .expect(&rig.at("mount -t devfs -o ruleset=11 devfs ROOT/dev"))
        .expect(&rig.at(&format!("mount_nullfs -o ro {} ROOT/data", data.display())));
    let bundle = rig.write(&tools, &[bind]).expect("written");
    assert_eq!(bundle.root, rig.stored());
    assert_eq!(
        bundle.jail.params.join(" "),
        rig.at("path=ROOT name=c00000000001 host.hostname=c00000000001 ip4=disable ip6=disable \
             enforce_statfs=2 children.max=0 mount.devfs=false devfs_ruleset=11 \
             allow.raw_sockets")
    );
    let hosts = std::fs::read_to_string(rig.stored().join("etc/hosts")).expect("hosts");
    assert_eq!(
        hosts,
        "::1\t\t\tlocalhost\n127.0.0.1\t\tlocalhost\n10.2.3.4\tc00000000001 web\n\
         fd00::4\tc00000000001 web\n"
    );
    let mode = std::fs::metadata(rig.dir.path().join("c")).expect("a directory").permissions();
    assert_eq!(mode.mode() & 0o7777, 0o700);
}

#[test]
fn what_is_left_mounted_goes_before_anything_is_written() {
    let rig = Rig::new(&["mount.nodevfs", "devfs_ruleset=12"]);
    std::fs::create_dir(rig.stored().join("etc/inner")).expect("a directory");
    let left = rig.at("/home\t\t\tROOT/etc nullfs\trw\t\t0 0\n");
    let busy = rig.at("umount: unmount of ROOT/etc failed: Device busy\n");
    let tools = Scripted::new().says("mount -p", &left).refuses(&rig.at("umount ROOT/etc"), &busy);
    let err = rig.write(&tools, &[]).expect_err("busy").to_string();
    assert_eq!(err, rig.at("cannot unmount ROOT/etc"));
    assert!(!rig.stored().join("etc/hosts").exists());
    // Without device files a ruleset is asked for all the same.
    let tools = Scripted::new()
        .says("mount -p", &left)
        .expect(&rig.at("umount ROOT/etc"))
        .says("mount -p", EMPTY)
        .says("devfs rule -s 12 show", RULES);
    let bundle = rig.write(&tools, &[]).expect("written");
    assert!(bundle.jail.params.contains(&"devfs_ruleset=12".to_owned()));
    assert!(rig.stored().join("etc/hosts").exists());
}

#[test]
fn a_failure_takes_down_what_was_mounted_or_says_what_stays() {
    let rig = Rig::new(&[]);
    let bind = Bind::new(rig.dir.path().to_str().expect("a path"), "/x", true).expect("a bind");
    let mount = rig.at(&format!("mount_nullfs -o ro {} ROOT/x", rig.dir.path().display()));
    let started = || {
        Scripted::new()
            .says("mount -p", EMPTY)
            .says("devfs rule -s 11 show", RULES)
            .expect(&rig.at("mount -t devfs -o ruleset=11 devfs ROOT/dev"))
            .refuses(&mount, "mount_nullfs: Operation not permitted\n")
            .says("mount -p", &rig.at("devfs\t\t\tROOT/dev\tdevfs\trw\t\t0 0\n"))
    };
    let tools = started().expect(&rig.at("umount ROOT/dev")).says("mount -p", EMPTY);
    let err = rig.write(&tools, std::slice::from_ref(&bind)).expect_err("refused");
    assert!(matches!(err, BundleError::Mounts(MountsError::Mount { .. })), "{err}");
    let tools = started().refuses(&rig.at("umount ROOT/dev"), "umount: Device busy\n");
    let err = chain(&rig.write(&tools, &[bind]).expect_err("refused"));
    let text = "what was mounted before stays (cannot unmount ROOT/dev: 'umount ROOT/dev' ended";
    assert!(err.starts_with(&rig.at(text)), "{err}");
    assert!(err.contains(&rig.at("ROOT/x: 'mount_nullfs")), "{err}");
}
