//! Images as objects: their names, and who keeps them from going.

use kleene_engine::fake::Rig;
use kleene_engine::{Command, Outcome, view};
use kleene_model::refusal::ImageRefusal;
use kleene_model::{Driver, Image, ImageId, Nametag, Refusal};

fn id(byte: u8) -> ImageId {
    ImageId::from_bytes([0xe0, 0, 0, 0, 0, byte]).expect("has letters")
}

fn add(byte: u8, nametag: &str) -> Command {
    let nametag = Nametag::parse(nametag).expect("a nametag");
    Command::ImageAdd { image: id(byte), dataset: format!("pool/{byte}"), nametag }
}

fn tag(image: &str, nametag: &str) -> Command {
    Command::ImageTag { image: image.to_owned(), nametag: nametag.to_owned() }
}

fn remove(image: &str) -> Command {
    Command::ImageRemove { image: image.to_owned() }
}

/// All images with what they are called, by id.
fn called(rig: &Rig) -> Vec<(String, String)> {
    let images = view::image_list(&rig.state());
    let mut called: Vec<(String, String)> =
        images.into_iter().map(|i| (i.id, format!("{}:{}", i.name, i.tag))).collect();
    called.sort();
    called
}

fn expect(rig: &mut Rig, images: &[(u8, &str)]) {
    let built_in = ("686f73742d75".to_owned(), "host-usr:latest".to_owned());
    let others = images.iter().map(|(byte, called)| (id(*byte).to_string(), (*called).to_owned()));
    let all: Vec<(String, String)> = std::iter::once(built_in).chain(others).collect();
    assert_eq!(called(rig), all);
    rig.check();
}

fn gone(outcome: Outcome) -> Vec<ImageId> {
    match outcome {
        Outcome::Forgotten(images) => images.iter().map(|image| image.id).collect(),
        other => panic!("{other:?}"),
    }
}

fn of_image(name: &str, image: &str) -> Command {
    let mut config = Rig::container_config(name, Driver::Vnet);
    config.image = Some(image.to_owned());
    Command::ContainerCreate(config)
}

#[test]
fn a_name_belongs_to_the_image_that_got_it_last() {
    let mut rig = Rig::new();
    rig.ok(add(1, "base"));
    rig.ok(add(2, "base:13.2"));
    expect(&mut rig, &[(1, "base:latest"), (2, "base:13.2")]);
    rig.ok(add(3, "base"));
    expect(&mut rig, &[(1, ":"), (2, "base:13.2"), (3, "base:latest")]);
    rig.ok(tag("e00000000001", "base:13.2"));
    expect(&mut rig, &[(1, "base:13.2"), (2, ":"), (3, "base:latest")]);
    // The one that it has already.
    rig.ok(tag("base:13.2", "base:13.2"));
    rig.ok(tag("base", ""));
    expect(&mut rig, &[(1, "base:13.2"), (2, ":"), (3, ":")]);
    rig.restart(true);
    expect(&mut rig, &[(1, "base:13.2"), (2, ":"), (3, ":")]);
}

#[test]
fn names_that_are_none_are_refused() {
    let mut rig = Rig::new();
    rig.ok(add(1, "base"));
    rig.ok(tag("base", "allowed:1"));
    let refused = rig.refused(tag("allowed:1", "a:b:c"));
    assert!(matches!(refused, Refusal::Image(ImageRefusal::InvalidName { .. })), "{refused}");
    for command in [tag("allowed:1", "host-usr:mine"), add(2, "host-usr")] {
        let refused = rig.refused(command);
        assert!(matches!(refused, Refusal::Image(ImageRefusal::NameReserved { .. })), "{refused}");
    }
    let refused = rig.refused(tag("host-usr", "mine"));
    assert!(matches!(refused, Refusal::Unsupported { .. }), "{refused}");
    assert_eq!(rig.refused(tag("nothing", "mine")), Refusal::ImageNotFound);
    expect(&mut rig, &[(1, "allowed:1")]);
}

#[test]
fn an_image_stays_while_containers_stand_on_it() {
    let mut rig = Rig::new();
    rig.ok(add(1, "base"));
    rig.ok(add(2, ""));
    let Outcome::Id(web) = rig.ok(of_image("web", "base")) else { panic!("no id") };
    let inspected = view::container_inspect(&rig.state(), "web").expect("a container");
    assert_eq!(inspected.container.cmd, ["/bin/sh", "/etc/rc"]);
    assert_eq!(inspected.container.image_id, "e00000000001");
    match rig.refused(remove("base")) {
        Refusal::Image(ImageRefusal::InUse { image, containers }) => {
            assert_eq!((&*image, containers), ("e00000000001", vec![web]));
        }
        other => panic!("{other}"),
    }
    assert_eq!(gone(rig.ok(Command::ImagePrune { all: true })), [id(2)]);
    rig.ok(Command::ContainerRemove { container: "web".to_owned() });
    assert_eq!(gone(rig.ok(remove("base:latest"))), [id(1)]);
    expect(&mut rig, &[]);
    assert_eq!(rig.refused(remove("base")).to_string(), "Error: No such image: base");
    let refused = rig.refused(of_image("more", "base"));
    assert_eq!(refused, Refusal::NoSuchImage { reference: "base".to_owned() });
    let refused = rig.refused(remove("host-usr"));
    assert!(matches!(refused, Refusal::Unsupported { .. }), "{refused}");
}

#[test]
fn only_images_without_a_name_are_pruned_unless_all_are() {
    let mut rig = Rig::new();
    rig.ok(add(1, "base"));
    rig.ok(add(2, ""));
    assert_eq!(gone(rig.ok(Command::ImagePrune { all: false })), [id(2)]);
    expect(&mut rig, &[(1, "base:latest")]);
    assert_eq!(gone(rig.ok(Command::ImagePrune { all: true })), [id(1)]);
    expect(&mut rig, &[]);
}

#[test]
fn an_image_that_could_not_go_is_back_but_not_its_name_where_another_has_it() {
    let mut rig = Rig::new();
    rig.ok(add(1, "base"));
    let restored = |rig: &mut Rig| {
        let Outcome::Forgotten(images) = rig.ok(remove("e00000000001")) else { panic!("none") };
        Command::ImageRestore(Box::new(Image::clone(&images[0])))
    };
    let command = restored(&mut rig);
    expect(&mut rig, &[]);
    rig.ok(command);
    expect(&mut rig, &[(1, "base:latest")]);
    let command = restored(&mut rig);
    rig.ok(add(2, "base"));
    rig.ok(command);
    expect(&mut rig, &[(1, ":"), (2, "base:latest")]);
}

#[test]
fn an_id_that_means_two_images_is_refused() {
    let mut rig = Rig::new();
    rig.ok(add(1, ""));
    rig.ok(add(2, ""));
    assert_eq!(gone(rig.ok(remove("e00000000002"))), [id(2)]);
    rig.ok(add(3, ""));
    let refused = rig.refused(remove("e0"));
    assert!(matches!(&refused, Refusal::Ambiguous { what: "image", .. }), "{refused}");
    expect(&mut rig, &[(1, ":"), (3, ":")]);
    // The same id is never given twice.
    rig.refused(add(1, ""));
}
