//! The compiler and linker for FreeBSD: zig, which brings FreeBSD's headers and what
//! its libraries export, from the Python Package Index into the target directory.

use super::{TARGET, dist};
use crate::{install, sh};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is installed. Pinned: what a program needs of a host depends on it.
const PACKAGES: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];

/// The oldest release that programs run on: nothing newer of its libraries is found
/// by the linker.
const RELEASE: &str = "13.2";

/// cargo-zigbuild takes a release behind its target and forgets it (0.24.1): zig would
/// link for the newest that it knows. So this stands in for the Python that zig is
/// started by, and says it again.
const PYTHON: &str = r#"#!/bin/sh
for arg do
	shift
	[ "$arg" = x86_64-freebsd ] && arg=x86_64-freebsd.RELEASE
	set -- "$@" "$arg"
done
exec "${0%/*}/venv/bin/python3" "$@"
"#;

/// What the programs' beginning lacks on that release.
const START: &str = "packaging/freebsd/csu/start13.c";

/// zig, ready to be used.
pub(super) struct Zig {
    dir: PathBuf,
}

impl Zig {
    /// Whether it is there already.
    pub(super) fn is_there(dir: &Path) -> bool {
        std::fs::read_to_string(dir.join("venv/packages")).is_ok_and(|text| text == pinned())
    }

    /// Installs it below a directory, unless it is there.
    pub(super) fn install(dir: PathBuf) -> Result<Self> {
        if !Self::is_there(&dir) {
            install::for_tests()?;
            let venv = dir.join("venv");
            sh::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
            let pip = ["install", "--quiet", "--disable-pip-version-check"];
            sh::run(Command::new(venv.join("bin/pip")).args(pip).args(PACKAGES))?;
            // Last: what is not whole is installed again.
            dist::write(&venv.join("packages"), pinned())?;
        }
        dist::write(&dir.join("python"), PYTHON.replace("RELEASE", RELEASE))?;
        dist::mode(&dir.join("python"), 0o755)?;
        Ok(Self { dir })
    }

    fn command(&self, program: &str) -> Command {
        let bin = self.dir.join("venv/bin");
        let mut command = Command::new(bin.join(program));
        sh::forget_package(&mut command);
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(bin).chain(std::env::split_paths(&paths));
        // Of paths that came from a PATH and ours, none has a colon.
        command.env("PATH", std::env::join_paths(paths).unwrap_or_else(|_| OsString::new()));
        command.env("ZIG_GLOBAL_CACHE_DIR", self.dir.join("cache"));
        command.env("ZIG_LOCAL_CACHE_DIR", self.dir.join("cache"));
        command.env("CARGO_ZIGBUILD_CACHE_DIR", self.dir.join("cache"));
        command.env("CARGO_ZIGBUILD_PYTHON_PATH", self.dir.join("python"));
        command
    }

    /// Compiles the beginning of programs. Its name goes with what it is made of, or
    /// cargo would not link anew when that changes.
    fn start(&self) -> Result<PathBuf> {
        let source = std::fs::read(START).with_context(|| format!("read {START}"))?;
        let mut hasher = DefaultHasher::new();
        (source, RELEASE).hash(&mut hasher);
        let object = self.dir.join(format!("start13-{:016x}.o", hasher.finish()));
        let mut compile = self.command("python3");
        compile.args(["-m", "ziglang", "cc", "-Wall", "-Wextra", "-Werror", "-O2", "-c"]);
        compile.args(["-target", &format!("x86_64-freebsd.{RELEASE}"), START, "-o"]).arg(&object);
        sh::run(&mut compile)?;
        Ok(object)
    }

    /// Builds programs of packages with the settings for release, and gives the
    /// directory that they are in.
    pub(super) fn build(&self, programs: &[dist::Program], target: &Path) -> Result<PathBuf> {
        let start = self.start()?;
        let start = start.to_str().context("the target directory has no name in UTF-8")?;
        let mut build = self.command("cargo-zigbuild");
        build.args(["zigbuild", "--release", "--target", TARGET]);
        for program in programs {
            build.args(["-p", program.package, "--bin", program.name]);
        }
        // Those of the caller would win over these, and nothing would start.
        build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        build.env("CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_RUSTFLAGS", format!("-Clink-arg={start}"));
        sh::run(&mut build)?;
        Ok(target.join(TARGET).join("release"))
    }
}

fn pinned() -> String {
    PACKAGES.join("\n")
}
