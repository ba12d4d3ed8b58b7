//! `demo`, `policy` and `bench`: all are programs of `kleene-e2e`, which knows how to
//! make a throw-away host.

use crate::{install, sh};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds with the settings for development (a third of the time) and runs
/// the demonstration.
pub(crate) fn demo() -> Result<()> {
    install::for_tests()?;
    sh::run(&mut sh::cargo(&["build", "--workspace", "--bins"]))?;
    sh::run(&mut program("debug", "kleene-demo"))
}

/// Proves the policy with packets; arguments are those of the program.
pub(crate) fn policy(args: &[String]) -> Result<()> {
    install::for_tests()?;
    sh::run(&mut sh::cargo(&["build", "--workspace", "--bins"]))?;
    let mut command = program("debug", "kleene-policy");
    command.args(args);
    if args.iter().all(|arg| arg != "--flows" && arg != "sabotage") {
        command.args(["--flows", "20000"]);
    }
    sh::run(&mut command)
}

/// Builds what is measured with the settings for release, measures it, and
/// writes the page.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    let (options, wanted): (Vec<&str>, Vec<&str>) =
        args.iter().map(String::as_str).partition(|arg| arg.starts_with("--"));
    if let Some(unknown) = options.iter().find(|o| !["--install-peers", "--quick"].contains(o)) {
        bail!("unknown option {unknown}");
    }
    if wanted.is_empty()
        || wanted.iter().any(|what| !["run", "net", "ipnet", "policy"].contains(what))
    {
        bail!("what is to be measured: run, net, ipnet, policy?");
    }
    install::for_tests()?;
    if options.contains(&"--install-peers") {
        install::peers()?;
    }
    sh::run(&mut sh::cargo(&["build", "--workspace", "--bins", "--release"]))?;
    let quick = options.contains(&"--quick");
    let numbers = target()?.join("bench");
    std::fs::create_dir_all(&numbers).with_context(|| format!("make {}", numbers.display()))?;
    for what in &wanted {
        let measure = |name: &str, rounds: [&str; 2], size: Option<(&str, [&str; 2])>| {
            let mut command = program("release", "kleene-bench");
            command.arg(name).arg("--json").arg(numbers.join(name).with_extension("json"));
            command.args(["--rounds", rounds[usize::from(quick)]]);
            command.args(size.iter().flat_map(|(what, size)| [what, size[usize::from(quick)]]));
            sh::run(&mut command)
        };
        match *what {
            "run" => measure("run", ["20", "2"], None)?,
            "net" => {
                attach("vnet", &numbers.join("attach-net.json"), quick)?;
                measure("net", ["9", "1"], None)?;
            }
            "policy" => measure("policy", ["9", "1"], Some(("--ports", ["40000", "2000"])))?,
            _ => {
                attach("ipnet", &numbers.join("attach-ipnet.json"), quick)?;
                measure("ipnet", ["9", "1"], None)?;
                measure("scale", ["1", "1"], Some(("--containers", ["1000", "20"])))?;
            }
        }
    }
    let page = if quick { numbers.join("performance.md") } else { "docs/performance.md".into() };
    sh::run(program("release", "kleene-bench").arg("page").arg(&numbers).arg(&page))?;
    println!("written: {}", page.display());
    Ok(())
}

/// Attaches containers of a driver, beside the kernel's own time for it.
fn attach(driver: &str, file: &std::path::Path, quick: bool) -> Result<()> {
    let bench = ["bench", "-p", "kleene-host", "--features", "record", "--bench", "attach", "--"];
    let mut command = sh::cargo(&bench);
    command.args(["--only", driver]).arg("--json").arg(file);
    if quick {
        command.args(["--containers", "20"]);
    }
    sh::run(&mut command)
}

fn program(profile: &str, name: &str) -> Command {
    let mut command =
        Command::new(target().unwrap_or_else(|_| "target".into()).join(profile).join(name));
    command.stdin(Stdio::null());
    command
}

/// Cargo's target directory, wherever its configuration puts it.
pub(crate) fn target() -> Result<PathBuf> {
    let output = sh::cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .context("start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("no target_directory")
}
