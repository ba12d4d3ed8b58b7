//! Pages that must keep step with the source.

use super::File;
use std::path::Path;

pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut found = decisions_are_listed(files);
    found.extend(golden_paths_exist(files));
    found.extend(changelog(files));
    found
}

fn page<'a>(files: &'a [File], path: &str) -> Option<&'a File> {
    files.iter().find(|file| file.path == Path::new(path))
}

/// Every decision record is named by a page that people read.
fn decisions_are_listed(files: &[File]) -> Vec<String> {
    let lists: Vec<&File> = ["ARCHITECTURE.md", "docs/adr/README.md"]
        .iter()
        .filter_map(|path| page(files, path))
        .collect();
    let records = files
        .iter()
        .filter(|file| file.path.starts_with("docs/adr") && !file.path.ends_with("README.md"));
    let unlisted = records.filter(|record| {
        let name = record.path.file_name().unwrap_or_default().to_string_lossy();
        !lists.iter().any(|list| list.text.contains(name.as_ref()))
    });
    unlisted.map(|r| format!("{}: in no list of decisions", r.path.display())).collect()
}

fn changelog(files: &[File]) -> Option<String> {
    let unreleased = page(files, "CHANGELOG.md").is_some_and(|file| {
        file.text.lines().any(|l| l.starts_with("## ") && l.contains("Unreleased"))
    });
    (!unreleased).then(|| "CHANGELOG.md: no section `Unreleased`".to_owned())
}

/// Each function that ARCHITECTURE.md names on a golden path exists.
fn golden_paths_exist(files: &[File]) -> Vec<String> {
    let Some(architecture) = page(files, "ARCHITECTURE.md") else {
        return vec!["ARCHITECTURE.md: missing".to_owned()];
    };
    let mut inside = false;
    let mut found = Vec::new();
    for (number, line) in architecture.text.lines().enumerate() {
        if line.starts_with('#') {
            inside = line.to_lowercase().contains("golden path");
        }
        if !inside {
            continue;
        }
        // What is between backticks.
        for name in line.split('`').skip(1).step_by(2).filter(|name| is_function_path(name)) {
            let missing = alternatives(name).into_iter().filter(|name| !exists(files, name));
            found
                .extend(missing.map(|n| format!("{}: no function `{n}`", architecture.at(number))));
        }
    }
    found
}

fn is_function_path(name: &str) -> bool {
    name.contains("::")
        && name.chars().all(|c| c.is_alphanumeric() || "_:{},".contains(c))
        && name.rsplit("::").next().is_some_and(|last| last.starts_with(char::is_lowercase))
}

/// `host::{linux,freebsd}::apply` names two functions.
fn alternatives(name: &str) -> Vec<String> {
    let braces = name.split_once('{').and_then(|(before, rest)| {
        rest.split_once('}').map(|(inner, after)| (before, inner, after))
    });
    match braces {
        Some((before, inner, after)) => {
            inner.split(',').map(|one| format!("{before}{one}{after}")).collect()
        }
        None => vec![name.to_owned()],
    }
}

/// Whether a file has the function, in the crate, and for each part between
/// in a module or an `impl` of that name.
fn exists(files: &[File], name: &str) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let [krate, between @ .., function] = parts.as_slice() else { return false };
    let krate = krate.strip_prefix("kleene_").unwrap_or(krate);
    let source = format!("crates/{krate}/src");
    let heads = [format!("fn {function}("), format!("fn {function}<")];
    files.iter().filter(|file| file.is_rust() && file.path.starts_with(&source)).any(|file| {
        let path = file.path.with_extension("");
        heads.iter().any(|head| file.text.contains(head.as_str()))
            && between.iter().all(|part| {
                path.components().any(|component| component.as_os_str() == *part)
                    || has_impl(&file.text, part)
            })
    })
}

fn has_impl(text: &str, name: &str) -> bool {
    let split = |c: char| !c.is_alphanumeric() && c != '_';
    let mut heads = text.lines().map(str::trim_start).filter(|line| {
        ["impl", "trait", "pub trait", "pub(crate) trait", "mod", "pub mod"]
            .iter()
            .any(|word| line.starts_with(word))
    });
    heads.any(|line| line.split(split).any(|word| word == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn golden_paths() {
        let page = "# Golden path: connect\nFrom `daemon::api::connect` to `host::{linux,freebsd}::apply`\
            , `Engine` and `engine::Engine::handle`.\n# Else\n`no::such`\n";
        let files = [
            file("ARCHITECTURE.md", page),
            file("crates/daemon/src/api/mod.rs", "fn connect() {}"),
            file("crates/host/src/linux/mod.rs", "pub fn apply<T>() {}"),
            file(
                "crates/engine/src/engine.rs",
                "impl<H> Engine<H> {\n    pub fn handle(&mut self) {}\n}",
            ),
        ];
        assert_eq!(
            golden_paths_exist(&files),
            ["ARCHITECTURE.md:2: no function `host::freebsd::apply`"]
        );
    }

    #[test]
    fn decisions() {
        let files = [
            file("docs/adr/README.md", "[one](0001-one.md)"),
            file("docs/adr/0001-one.md", ""),
            file("docs/adr/0002-two.md", ""),
        ];
        assert_eq!(decisions_are_listed(&files), ["docs/adr/0002-two.md: in no list of decisions"]);
    }
}
