//! `freebsd-dist`: one archive with everything for FreeBSD, to be unpacked in `/`.

use super::elf::{self, Facts};
use super::{target, zig::Zig};
use crate::{sh, show};
use anyhow::{Context, Result, bail, ensure};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program for FreeBSD.
pub(super) struct Program {
    pub(super) package: &'static str,
    pub(super) name: &'static str,
    /// Where it goes.
    to: &'static str,
}

/// `kleened` looks for `kleene-supervise` beside itself.
const PROGRAMS: [Program; 4] = [
    Program { package: "kleened", name: "kleened", to: "usr/local/sbin" },
    Program { package: "klee", name: "klee", to: "usr/local/bin" },
    Program { package: "kleene-supervise", name: "kleene-supervise", to: "usr/local/sbin" },
    Program { package: "kleene-e2e", name: "freebsd-accept", to: "usr/local/libexec/kleene" },
];

/// Files that go with them, where they go, and with which mode.
const FILES: [(&str, &str, u32); 4] = [
    ("packaging/freebsd/rc.d/kleened", "usr/local/etc/rc.d/kleened", 0o555),
    ("packaging/freebsd/config.yaml.sample", "usr/local/etc/kleened/config.yaml.sample", 0o644),
    ("packaging/freebsd/newsyslog.conf", "usr/local/etc/newsyslog.conf.d/kleened.conf", 0o644),
    ("LICENSE", "usr/local/share/licenses/kleene/LICENSE", 0o644),
];

/// What loads a program on FreeBSD.
const INTERPRETER: &str = "/libexec/ld-elf.so.1";

/// Libraries of the base system, with the numbers that they have since FreeBSD 13.
const LIBRARIES: [&str; 8] = [
    "libc.so.7",
    "libthr.so.3",
    "libm.so.5",
    "libgcc_s.so.1",
    "librt.so.1",
    "libutil.so.9",
    "libexecinfo.so.1",
    "libkvm.so.7",
];

/// The newest symbols that libraries of FreeBSD 13 have are those of `FBSD_1.6`; 14
/// added 1.7.
const NEWEST_SYMBOLS: u32 = 6;

/// Builds when that costs minutes only: in CI, or where zig is there already.
pub(crate) fn dist_if_cheap() -> Result<()> {
    if std::env::var_os("CI").is_some() || Zig::is_there(&dir()?) {
        return dist();
    }
    println!(
        "\nSKIPPED: no zig; `cargo xtask freebsd-dist` installs it below the target directory"
    );
    Ok(())
}

/// Builds the programs, looks whether they can run on FreeBSD 13.2, and packs them.
pub(crate) fn dist() -> Result<()> {
    ensure!(target()?, "no standard library for FreeBSD");
    let programs: Vec<Program> = PROGRAMS.into_iter().filter(is_there).collect();
    let (dir, cargo_target) = (dir()?, show::target()?);
    let built = Zig::install(dir.clone())?.build(&programs, &cargo_target)?;
    let root = dir.join("root");
    if root.exists() {
        std::fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    }
    println!();
    for program in &programs {
        let from = built.join(program.name);
        let bytes = std::fs::read(&from).with_context(|| format!("read {}", from.display()))?;
        let facts = elf::facts(&bytes).with_context(|| format!("read {}", program.name))?;
        println!("{}: {facts}", program.name);
        judge(&facts).with_context(|| format!("{} does not run on FreeBSD 13.2", program.name))?;
        copy(&from, &root.join(program.to).join(program.name), 0o555)?;
    }
    for (from, to, mode) in FILES {
        copy(Path::new(from), &root.join(to), mode)?;
    }
    let archive = dir.join(format!("kleene-{}-freebsd13-amd64.tar.gz", env!("CARGO_PKG_VERSION")));
    pack(&root, &archive)?;
    let size = std::fs::metadata(&archive).map_or(0, |metadata| metadata.len());
    println!("written: {} ({size} bytes; unpack it in /)", archive.display());
    Ok(())
}

/// Whether there is such a program: that of `kleene-e2e` is there in a tree that can
/// prove itself on FreeBSD.
fn is_there(program: &Program) -> bool {
    let source = Path::new("crates/e2e/src/bin").join(program.name);
    program.package != "kleene-e2e" || source.exists() || source.with_extension("rs").exists()
}

/// Whether it can run on FreeBSD 13.2.
fn judge(facts: &Facts) -> Result<()> {
    ensure!(facts.freebsd.is_some() || facts.osabi == 9, "nothing says that it is for FreeBSD");
    ensure!(facts.interpreter.as_deref() == Some(INTERPRETER), "it is not loaded by {INTERPRETER}");
    if let Some(other) = facts.libraries.iter().find(|one| !LIBRARIES.contains(&one.as_str())) {
        bail!("it needs {other}, which is not in the base system");
    }
    let too_new = |version: &&String| {
        let number = version.strip_prefix("FBSD_1.").map(|number| number.parse::<u32>());
        number.is_some_and(|number| number.is_ok_and(|number| number > NEWEST_SYMBOLS))
    };
    if let Some(version) = facts.versions.iter().find(too_new) {
        bail!("it needs symbols of {version}");
    }
    Ok(())
}

/// An archive that is the same for the same files.
fn pack(root: &Path, archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--format=ustar", "--sort=name", "--mtime=@0"]);
    tar.args(["--owner=root:0", "--group=wheel:0", "--file"]).arg(archive);
    // Not the directories: those of the host keep their modes.
    let files = files(root)?;
    sh::run(tar.arg("--directory").arg(root).args(files))
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut dirs) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        let entries = std::fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("list {}", dir.display()))?.path();
            match path.strip_prefix(root) {
                Ok(file) if path.is_file() => found.push(file.to_owned()),
                _ => dirs.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let content = std::fs::read(from).with_context(|| format!("read {}", from.display()))?;
    write(to, content)?;
    self::mode(to, mode)
}

/// Sets the mode of a file.
pub(super) fn mode(file: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", file.display()))
}

/// Writes a file and makes the directories on its way.
pub(super) fn write(to: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let dir = to.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    std::fs::write(to, content).with_context(|| format!("write {}", to.display()))
}

fn dir() -> Result<PathBuf> {
    Ok(show::target()?.join("freebsd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            osabi: 0,
            freebsd: Some(1_300_500),
            interpreter: Some(INTERPRETER.to_owned()),
            libraries: vec!["libthr.so.3".to_owned(), "libc.so.7".to_owned()],
            versions: vec!["FBSD_1.0".to_owned(), "FBSD_1.6".to_owned()],
        }
    }

    #[test]
    fn what_does_not_run_on_the_oldest_release_is_refused() {
        assert!(judge(&good()).is_ok());
        let by_header = Facts { osabi: 9, freebsd: None, ..good() };
        assert!(judge(&by_header).is_ok());
        for (facts, why) in [
            (Facts { freebsd: None, ..good() }, "nothing says"),
            (Facts { interpreter: Some("/lib/ld.so".to_owned()), ..good() }, "not loaded"),
            (Facts { interpreter: None, ..good() }, "not loaded"),
            (Facts { libraries: vec!["libsqlite3.so.0".to_owned()], ..good() }, "libsqlite3"),
            (Facts { versions: vec!["FBSD_1.7".to_owned()], ..good() }, "FBSD_1.7"),
            (Facts { versions: vec!["FBSD_1.10".to_owned()], ..good() }, "FBSD_1.10"),
        ] {
            let err = judge(&facts).unwrap_err().to_string();
            assert!(err.contains(why), "{why}: {err}");
        }
    }
}
