use proptest::prelude::*;

use super::*;
use crate::freebsd::testing::Scripted;

fn instance() -> InstanceName {
    InstanceName::parse("main").expect("a name")
}

fn at(tools: &Scripted) -> Option<String> {
    let found = mounted_at(tools, Path::new("/pool/kleene")).expect("told");
    found.map(|dataset| dataset.to_string())
}

const LIST: &str = "zfs list -H -o name,mountpoint /pool/kleene";

#[test]
fn a_root_that_is_a_dataset_is_told_from_all_others() {
    // No module: zfs is not even asked, which would load it. Recorded of another name.
    assert_eq!(at(&Scripted::new().answer("kldstat -q -m zfs", 1, "", "")), None);
    let loaded = || Scripted::new().expect("kldstat -q -m zfs");
    let is = loaded().says(LIST, "pool/kleene\t/pool/kleene\n");
    assert_eq!(at(&is).as_deref(), Some("pool/kleene"));
    // Within one of somebody, whose rest is not ours.
    assert_eq!(at(&loaded().says(LIST, "pool/var\t/pool\n")), None);
    let words = "cannot open '/pool/kleene': operation not applicable to files on ufs\n";
    assert_eq!(at(&loaded().refuses(LIST, words)), None);
    for odd in ["", "\n", "pool/kleene", "-x\t/pool/kleene\n", "a b\t/pool/kleene\n"] {
        assert_eq!(at(&loaded().says(LIST, odd)), None, "{odd:?}");
    }
}

#[test]
fn a_missing_tool_is_no_and_one_that_hangs_is_an_error() {
    struct Without;
    impl Tools for Without {
        fn call(&self, call: &Call) -> Result<Answer, ToolError> {
            let source = std::io::ErrorKind::NotFound.into();
            Err(ToolError::Start { tool: call.tool, source })
        }
    }
    struct Hangs;
    impl Tools for Hangs {
        fn call(&self, call: &Call) -> Result<Answer, ToolError> {
            Err(ToolError::Overdue { call: Box::new(call.clone()) })
        }
    }
    let root = Path::new("/pool/kleene");
    assert_eq!(mounted_at(&Without, root).expect("told"), None);
    assert!(mounted_at(&Hangs, root).is_err());
}

#[test]
fn only_what_is_marked_on_itself_is_ours() {
    let get = "zfs get -H -o value,source kleene:owner pool/x";
    let instance = instance();
    let owner = |tools: Scripted| Zfs { tools: &tools, instance: &instance }.owner("pool/x");
    assert_eq!(owner(Scripted::new().says(get, "main\tlocal\n")).expect("told"), Owner::Ours);
    for (answer, said) in [
        ("main\tinherited from pool\n", "main, inherited from pool"),
        ("main\treceived\n", "main, received"),
        ("other\tlocal\n", "other"),
        ("-\t-\n", "-"),
    ] {
        let told = owner(Scripted::new().says(get, answer)).expect("told");
        assert_eq!(told, Owner::Other(said.to_owned()));
    }
    let gone = "cannot open 'pool/x': dataset does not exist\n";
    assert_eq!(owner(Scripted::new().refuses(get, gone)).expect("told"), Owner::Nobody);
    let err = owner(Scripted::new().says(get, "main\n")).expect_err("unclear").to_string();
    assert_eq!(err, "cannot understand what zfs says of pool/x: 'main'");
    let err = owner(Scripted::new().refuses(get, "cannot open 'pool/x': I/O error\n"));
    assert_eq!(err.expect_err("refused").to_string(), "cannot look at pool/x");
}

#[test]
fn what_is_another_s_is_neither_renamed_nor_destroyed() {
    let instance = instance();
    let [dataset, to] = ["pool/x", "pool/trash/x"].map(|name| Dataset::parse(name).expect(name));
    let snapshot = dataset.snapshot("kleene-1");
    type Act<'a> = &'a dyn Fn(&Zfs<'_>) -> Result<(), ZfsError>;
    let acts: [(&str, Act<'_>, &str); 3] = [
        ("pool/x", &|zfs| zfs.rename(&dataset, &to), "zfs rename -u pool/x pool/trash/x"),
        ("pool/x", &|zfs| zfs.destroy(&dataset), "zfs destroy -r -f pool/x"),
        ("pool/x@kleene-1", &|zfs| zfs.drop_snapshot(&snapshot), "zfs destroy pool/x@kleene-1"),
    ];
    for (name, act, call) in acts {
        let get = format!("zfs get -H -o value,source kleene:owner {name}");
        let tools = Scripted::new().says(&get, "other\tlocal\n");
        let err = act(&Zfs { tools: &tools, instance: &instance }).expect_err(call).to_string();
        assert_eq!(
            err,
            format!(
                "{name} is not changed: it is not marked as this daemon's (kleene:owner is other)"
            )
        );
        let tools = Scripted::new().says(&get, "main\tlocal\n").expect(call);
        act(&Zfs { tools: &tools, instance: &instance }).expect(call);
        let tools = Scripted::new().refuses(&get, "cannot open: dataset does not exist\n");
        act(&Zfs { tools: &tools, instance: &instance }).expect("nothing is there");
    }
}

#[test]
fn clones_are_read() {
    let instance = instance();
    let get = "zfs get -H -o value clones pool/x@image";
    let snapshot = Dataset::parse("pool/x").expect("a name").snapshot("image");
    for (answer, expected) in
        [("pool/a,pool/b\n", &["pool/a", "pool/b"][..]), ("\n", &[]), ("-\n", &[])]
    {
        let tools = Scripted::new().says(get, answer);
        let clones = Zfs { tools: &tools, instance: &instance }.clones(&snapshot);
        assert_eq!(clones.expect("read"), expected);
    }
}

#[test]
fn names_of_datasets_are_plain() {
    for good in ["zroot", "zroot/kleene", "a-b_c.d:e/0"] {
        assert!(Dataset::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "", "/zroot", "zroot/", "a//b", "-r", "a/-r", "a/..", "a@b", "a%b", "a b", "a\n", "ä",
        "a#b", "../x", ".", "a/.b",
    ] {
        let err = Dataset::parse(bad).expect_err(bad).to_string();
        assert_eq!(err, "invalid dataset");
    }
}

proptest! {
    #[test]
    fn no_name_is_an_option_or_a_snapshot(text in "[-a-z@/. %:_]{0,12}") {
        if let Ok(dataset) = Dataset::parse(&text) {
            let shown = dataset.to_string();
            prop_assert!(!shown.starts_with('-') && !shown.contains(['@', '%', ' ']));
            prop_assert!(!shown.split('/').any(|part| part.is_empty() || part.starts_with('.')));
        }
    }
}
