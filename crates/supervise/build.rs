//! Links the holder statically: it runs in containers, whose C library is
//! another one, or none at all.
//!
//! Cargo has no option for this per program, so that the linker is told: the
//! libraries the compiler names are found in a directory of ours first, where
//! each is a script that names the archive instead.

#![allow(clippy::print_stdout, reason = "this is how a build script talks to Cargo")]

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|set| set == value);
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let static_already = features.split(',').any(|feature| feature == "crt-static");
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") || static_already {
        return Ok(());
    }
    let dir = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("archives");
    fs::create_dir_all(&dir)?;
    for name in ["c", "m", "rt", "pthread", "util", "dl"] {
        fs::write(dir.join(format!("lib{name}.so")), format!("INPUT(-l:lib{name}.a)\n"))?;
    }
    fs::write(dir.join("libgcc_s.so"), "INPUT(-l:libgcc_eh.a)\n")?;
    for argument in [format!("-L{}", dir.display()), "-static-pie".to_owned()] {
        println!("cargo::rustc-link-arg-bin=kleene-holder={argument}");
    }
    Ok(())
}
