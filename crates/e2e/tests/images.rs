//! Images over the API, on Linux: one is built in, and no other can be made.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail where it stands")]

use kleene_e2e::World;
use serde_json::json;

const HOST_USR: &str = "686f73742d75";

#[test]
fn the_built_in_image_is_there_and_stays_what_it_is() {
    let Some(world) = World::open("the_built_in_image_is_there_and_stays_what_it_is") else {
        return;
    };
    let _kleened = world.start_kleened("");
    let images = world.http("GET", "/images/list", None);
    assert_eq!(images.status, 200, "{}", images.text);
    assert_eq!(images.json.as_array().unwrap().len(), 1);
    assert_eq!(images.json[0]["name"], "host-usr");
    for reference in [HOST_USR, "host-usr", "host-usr:latest", "686f"] {
        let reply = world.http("GET", &format!("/images/{reference}/inspect"), None);
        assert_eq!((reply.status, &reply.json["id"]), (200, &json!(HOST_USR)), "{reference}");
    }
    for (method, path, why) in [
        ("DELETE", "/images/host-usr", "removing the built-in image 'host-usr'"),
        ("POST", "/images/host-usr/tag?nametag=mine", "another name"),
        ("POST", "/images/host-usr/tag?nametag=a:b:c", "invalid image name 'a:b:c'"),
        ("POST", "/images/host-usr/tag", "Missing field: nametag"),
        ("DELETE", "/images/nothing", "Error: No such image: nothing"),
        ("POST", "/images/nothing/tag?nametag=mine", "image not found"),
        ("GET", "/images/host-usr:13.2/inspect", "image not found"),
        ("POST", "/images/prune", "Missing field: all"),
    ] {
        let reply = world.http(method, path, None);
        assert_eq!(reply.status, 404, "{method} {path}: {}", reply.text);
        assert!(reply.message().contains(why), "{method} {path}: {}", reply.text);
    }
    for all in ["true", "false"] {
        let reply = world.http("POST", &format!("/images/prune?all={all}"), None);
        assert_eq!((reply.status, &reply.json), (200, &json!([])));
    }
    world.klee(["run", "host-usr:latest", "true"]).ok();
    assert_eq!(world.http("GET", "/images/list", None).json, images.json);
}

#[test]
fn no_image_is_made_and_that_is_said_by_name() {
    let Some(world) = World::open("no_image_is_made_and_that_is_said_by_name") else { return };
    let _kleened = world.start_kleened("");
    world.klee(["image", "ls"]).ok().says("host-usr");
    for (method, source) in [("zfs-copy", "pool/base"), ("fetch", "file:///base.txz")] {
        let made = world.klee(["image", "create", "-t", "base", method, source]);
        made.code(1).complains("Unsupported on Linux yet: making images");
    }
    // What is wrong with it is said before that.
    let made = world.klee(["image", "create", "-t", "host-usr", "fetch", "file:///base.txz"]);
    made.code(1).complains("the image name 'host-usr:latest' is that of the built-in image");
    world.klee(["image", "rm", "host-usr"]).code(1).complains("removing the built-in image");
    world.klee(["image", "tag", "host-usr", "mine"]).code(1).complains("another name");
    world.klee(["image", "prune", "-a", "-f"]).ok();
    let listed = world.klee(["image", "ls", "-q"]);
    assert_eq!(listed.ok().stdout().trim(), HOST_USR);
}
