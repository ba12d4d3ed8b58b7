//! Images: made, named, removed.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::fake::{Act, Fake};
use super::{klee, run, run_with_input, shown};

const CREATE: &str = "GET /images/create";

/// An image that is made in the end.
const MADE: Act =
    Act::CloseAs(1000, r#"{"data":"a9835b86808a","message":"image created","msg_type":"closing"}"#);

/// `image create fetch` while the daemon does that.
fn created(acts: &[Act]) -> String {
    let fake = Fake::new();
    fake.acts(acts);
    run(&fake, &["image", "create", "fetch", "file:///base.txz"])
}

#[test]
fn an_image_is_made_and_its_id_is_all_that_a_pipe_gets() {
    let fake = Fake::new();
    let lines = Act::Say("Unpacking contents and creating image...\nExtracted 101 files...\n");
    fake.acts(&[Act::Start, Act::Say("base.txz 0%\rbase.txz 100%"), Act::Say("\n"), lines, MADE]);
    let words = ["image", "create", "-t", "base:v2", "--no-dns", "fetch", "file:///base.txz"];
    assert_snapshot!(run(&fake, &words).replace('\r', "<CR>"), @"
    exit code: 0
    --- stdout
    a9835b86808a
    --- stderr
    base.txz 0%<CR>base.txz 100%
    Unpacking contents and creating image...
    Extracted 101 files...

    image created
    ");
    assert_snapshot!(fake.body(CREATE).to_string(), @r#"{"autotag":false,"dns":false,"localtime":true,"method":"fetch","tag":"base:v2","update":false,"url":"file:///base.txz","zfs_dataset":""}"#);
}

#[test]
fn every_method_sends_all_eight_fields() {
    for (words, body) in [
        (&["fetch-auto"][..], json!({"method": "fetch-auto", "autotag": true})),
        (&["--no-autotag", "fetch-auto"], json!({"method": "fetch-auto"})),
        (&["-t", "x", "fetch-auto"], json!({"method": "fetch-auto", "tag": "x"})),
        (&["zfs-copy", "zroot/a"], json!({"method": "zfs-copy", "zfs_dataset": "zroot/a"})),
        (
            &["--update", "--no-localtime", "zfs-clone", "zroot/a"],
            json!({
                "method": "zfs-clone", "zfs_dataset": "zroot/a", "update": true,
                "localtime": false,
            }),
        ),
    ] {
        let fake = Fake::new();
        fake.acts(&[Act::Start, MADE]);
        let shown = run(&fake, &[&["image", "create"], words].concat());
        assert!(shown.starts_with("exit code: 0\n"), "{words:?}: {shown}");
        let mut whole = json!({
            "tag": "", "dns": true, "localtime": true, "update": false, "zfs_dataset": "",
            "url": "", "autotag": false,
        });
        let whole = whole.as_object_mut().expect("an object");
        whole.extend(body.as_object().expect("an object").clone());
        assert_eq!(fake.body(CREATE).as_object(), Some(&*whole), "{words:?}");
    }
}

#[test]
fn arguments_are_counted_before_anybody_is_asked() {
    let fake = Fake::new();
    fake.acts(&[Act::Start, MADE]);
    assert_snapshot!(run(&fake, &["image", "create", "zfs-clone"]), @"
    exit code: 1
    --- stdout
    --- stderr
    The SOURCE argument is needed when creating images using the 'zfs-clone' method.
    ");
    assert_snapshot!(run(&fake, &["image", "create", "fetch-auto", "https://a/base.txz"]), @"
    exit code: 1
    --- stdout
    --- stderr
    too many arguments: https://a/base.txz
    ");
    assert_snapshot!(run(&fake, &["image", "create", "fetch", "a", "b", "c"]), @"
    exit code: 1
    --- stdout
    --- stderr
    too many arguments: b c
    ");
    for words in [&["tar", "a"][..], &["fetch", ""], &[], &["--force", "fetch", "a"]] {
        let shown = run(&fake, &[&["image", "create"], words].concat());
        assert!(shown.starts_with("exit code: 2\n"), "{words:?}: {shown}");
    }
    assert!(fake.asked().is_empty());
    for words in [&["fetch-auto"][..], &["fetch", "a"], &["zfs-clone", "a"]] {
        let shown = run(&fake, &[&["image", "create"], words].concat());
        assert!(shown.starts_with("exit code: 0\n"), "{words:?}: {shown}");
    }
    assert_eq!(fake.asked(), [CREATE; 3]);
}

#[test]
fn a_reason_that_is_cut_was_told_before() {
    let whole = "could not fetch file:///base.txz: No such file or directory\n";
    let cut = Act::Close(1011, "image creation failed: could not fetch file:///base.txz: No su");
    assert_snapshot!(created(&[Act::Start, Act::Say(whole), cut.clone()]), @"
    exit code: 1
    --- stdout
    --- stderr
    could not fetch file:///base.txz: No such file or directory
    image creation failed
    ");
    // One that nobody has told is not lost.
    assert_snapshot!(created(&[Act::Start, Act::Say("Unpacking...\n"), cut]), @"
    exit code: 1
    --- stdout
    --- stderr
    Unpacking...
    image creation failed: could not fetch file:///base.txz: No su
    ");
}

#[test]
fn a_refusal_before_the_beginning_is_told() {
    let bad = Act::Close(1002, "invalid parameters");
    assert_snapshot!(created(&[Act::Say("Missing field: method"), bad]), @"
    exit code: 1
    --- stdout
    --- stderr
    Missing field: method
    image creation failed: invalid parameters
    ");
    let away = r#"{"message":"no such path","code":"not-found","hints":["is it 0.1.1?"]}"#;
    let fake = Fake::new();
    fake.acts(&[Act::Start, MADE]);
    assert!(run(&fake, &["image", "create", "fetch-auto"]).starts_with("exit code: 0\n"));
    fake.answer(CREATE, 404, away);
    assert_snapshot!(run(&fake, &["image", "create", "fetch-auto"]), @"
    exit code: 1
    --- stdout
    --- stderr
    no such path
    hint: is it 0.1.1?
    ");
}

#[test]
fn a_connection_that_breaks_is_no_image() {
    assert_snapshot!(created(&[Act::Start, Act::Say("Unpacking"), Act::Vanish]), @"
    exit code: 1
    --- stdout
    --- stderr
    Unpacking
    ERROR! Connection closed unexpectedly. (kleened may be at it still: see 'klee image ls' before you try again)
    ");
    assert_snapshot!(created(&[Act::Vanish]), @"
    exit code: 1
    --- stdout
    --- stderr
    ERROR! Connection closed unexpectedly. (kleened may be at it still: see 'klee image ls' before you try again)
    ");
    // As 0.1.1 ends when it has waited too long.
    assert_snapshot!(created(&[Act::Start, Act::CloseAs(1000, "")]), @"
    exit code: 1
    --- stdout
    --- stderr
    ERROR! Connection closed unexpectedly. (kleened may be at it still: see 'klee image ls' before you try again)
    ");
}

#[test]
fn garbage_is_no_image() {
    assert_snapshot!(created(&[Act::Start, Act::Spoil(&[0xff; 16])]), @"
    exit code: 1
    --- stdout
    --- stderr
    ERROR! Connection closed unexpectedly. (kleened may be at it still: see 'klee image ls' before you try again)
    ");
    assert_snapshot!(created(&[Act::Say("{}"), Act::CloseAs(1011, "oops")]), @"
    exit code: 1
    --- stdout
    --- stderr
    {}
    image creation failed: the daemon does not say why (close code 1011)
    ");
    assert_snapshot!(created(&[Act::Start, Act::Close(1000, "image built")]), @"
    exit code: 1
    --- stdout
    --- stderr
    image creation failed: image built
    ");
    assert_snapshot!(created(&[Act::Start, Act::Close(1000, "image created")]), @"
    exit code: 1
    --- stdout
    --- stderr

    image created
    Error! Unexpected response received from Kleened. (the image's id is missing: see 'klee image ls')
    ");
    assert_snapshot!(created(&[Act::Start, Act::Send(b"a\xffb"), MADE]), @"
    exit code: 0
    --- stdout
    a9835b86808a
    --- stderr
    a�b

    image created
    ");
}

#[test]
fn an_interrupt_leaves_the_daemon_at_it() {
    let fake = Fake::new();
    fake.acts(&[Act::Start, Act::Say("ready\n"), Act::AwaitClose]);
    let mut child = klee(&fake, &["image", "create", "fetch-auto"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("klee runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("progress");
    assert_eq!(line, "ready\n");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    line.clear();
    stderr.read_line(&mut line).expect("a note");
    assert_snapshot!(line, @"kleened goes on by itself: 'klee image ls' shows when it is done");
    let output = child.wait_with_output().expect("klee ends");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0));
    fake.until_closed();
    assert_eq!(fake.closes(), ["interrupted by user"]);
}

#[test]
fn references_are_one_segment_of_a_path() {
    let fake = Fake::new();
    let id = r#"{"id":"a9835b86808a"}"#;
    fake.answer("DELETE /images/base%3Av2", 200, id);
    fake.answer("DELETE /images/a9835b86808a%4012ab", 200, id);
    fake.refuse("DELETE /images/used", 404, "image-in-use", "could not remove image used");
    assert_snapshot!(run(&fake, &["rmi", "base:v2", "used", "a9835b86808a@12ab"]), @"
    exit code: 1
    --- stdout
    a9835b86808a
    a9835b86808a
    --- stderr
    used: could not remove image used
    hint: mind the image-in-use
    ");
    assert_snapshot!(run(&fake, &["image", "rm", "base:v2"]), @"
    exit code: 0
    --- stdout
    a9835b86808a
    --- stderr
    ");
    fake.answer("POST /images/base%3Av2/tag?nametag=web%3Av1%262", 200, id);
    assert_snapshot!(run(&fake, &["image", "tag", "base:v2", "web:v1&2"]), @"
    exit code: 0
    --- stdout
    a9835b86808a
    --- stderr
    ");
    fake.refuse("POST /images/no/tag?nametag=web", 404, "image-not-found", "image not found");
    assert_snapshot!(run(&fake, &["image", "tag", "no", "web"]), @"
    exit code: 1
    --- stdout
    --- stderr
    image not found
    hint: mind the image-not-found
    ");
}

#[test]
fn prune_asks_and_says_which() {
    let fake = Fake::new();
    fake.answer("POST /images/prune?all=false", 200, r#"["a9835b86808a"]"#);
    fake.answer("POST /images/prune?all=true", 200, r#"["a9835b86808a","b"]"#);
    assert_snapshot!(shown(&run_with_input(&fake, &["image", "prune"], b"n\n")), @"
    exit code: 1
    --- stdout
    --- stderr
    WARNING! This will remove all unused images without a tag.
    Are you sure you want to continue? [y/N]: 
    Aborted!
    ");
    assert!(fake.asked().is_empty());
    assert_snapshot!(shown(&run_with_input(&fake, &["image", "prune", "-a"], b"y\n")), @"
    exit code: 0
    --- stdout
    a9835b86808a
    b
    --- stderr
    WARNING! This will remove all unused images.
    Are you sure you want to continue? [y/N]:
    ");
    assert_snapshot!(run(&fake, &["image", "prune", "-f"]), @"
    exit code: 0
    --- stdout
    a9835b86808a
    --- stderr
    ");
    assert_eq!(fake.asked(), ["POST /images/prune?all=true", "POST /images/prune?all=false"]);
}
