//! Sizes, `unsafe`, sleeping tests.

use super::File;
use std::collections::BTreeMap;
use std::path::Path;

const FILE_WITHOUT_TESTS: usize = 450;
const FILE: usize = 700;
const FUNCTION: usize = 80;
const FUNCTION_P95: usize = 40;

pub(super) fn check(files: &[File]) -> Vec<String> {
    let rust: Vec<&File> = files.iter().filter(|file| file.is_rust()).collect();
    let mut found = Vec::new();
    let mut functions = Vec::new();
    for file in &rust {
        found.extend(size(file));
        found.extend(unsafe_outside_sys(file));
        found.extend(sleeps(file));
        let lengths = function_lengths(file);
        found.extend(
            lengths
                .iter()
                .filter(|(_, lines)| *lines > FUNCTION)
                .map(|(line, lines)| format!("{}: {lines} lines in one function", file.at(*line))),
        );
        functions.extend(lengths.into_iter().map(|(_, lines)| lines));
    }
    found.extend(crates_forbid_unsafe(&rust));
    functions.sort_unstable();
    if let Some(p95) = functions.get(functions.len() * 95 / 100)
        && *p95 > FUNCTION_P95
    {
        found.push(format!("95 % of functions have up to {p95} lines, not {FUNCTION_P95}"));
    }
    found
}

fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests")
}

/// Where the unit tests at a file's end begin.
fn tests_begin(file: &File) -> usize {
    if is_test_file(&file.path) {
        return 0;
    }
    let mut lines = file.text.lines();
    lines.position(|line| line == "#[cfg(test)]").unwrap_or(usize::MAX)
}

fn size(file: &File) -> Option<String> {
    let all = file.text.lines().count();
    let without = all.min(tests_begin(file));
    let path = file.path.display();
    if all > FILE {
        Some(format!("{path}: {all} lines, more than {FILE}"))
    } else if without > FILE_WITHOUT_TESTS {
        Some(format!("{path}: {without} lines without tests, more than {FILE_WITHOUT_TESTS}"))
    } else {
        None
    }
}

/// Line of each function's head and the number of lines of its body; rustfmt
/// puts the closing brace below the first letter of the head.
fn function_lengths(file: &File) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate().take(tests_begin(file)) {
        let indent = line.len() - line.trim_start().len();
        let is_head = line.trim_start().split(' ').take(5).any(|word| word == "fn");
        if !is_head || line.trim_start().starts_with("//") || line.ends_with(';') {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        let body = lines[start..].iter().position(|line| *line == close);
        found.extend(body.map(|length| (start, length.saturating_sub(1))));
    }
    found
}

/// A line without its comment and what is in its string literals. Rough, but
/// the rest is the compiler's business.
fn bare(line: &str) -> String {
    let code = line.split("//").next().unwrap_or(line);
    code.split('"').step_by(2).collect()
}

fn words(line: &str) -> Vec<String> {
    let split = |c: char| !c.is_alphanumeric() && c != '_';
    bare(line).split(split).map(str::to_owned).collect()
}

fn in_sys(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "sys")
        || path.file_stem().is_some_and(|stem| stem == "sys")
}

fn unsafe_outside_sys(file: &File) -> Vec<String> {
    if in_sys(&file.path) {
        return Vec::new();
    }
    let lines = file.text.lines().enumerate();
    let bad = lines.filter(|(_, line)| words(line).iter().any(|word| word == "unsafe"));
    bad.map(|(number, _)| format!("{}: `unsafe` outside a sys module", file.at(number))).collect()
}

/// A crate without a `sys` module forbids unsafe code in each of its roots.
fn crates_forbid_unsafe(rust: &[&File]) -> Vec<String> {
    let mut crates: BTreeMap<&Path, Vec<&File>> = BTreeMap::new();
    for file in rust {
        let source = file.path.ancestors().find(|dir| dir.ends_with("src"));
        if let Some(source) = source {
            crates.entry(source).or_default().push(file);
        }
    }
    crates.retain(|_, files| !files.iter().any(|file| in_sys(&file.path)));
    let is_root = |source: &Path, path: &Path| {
        let below = path.strip_prefix(source).unwrap_or(path);
        ["lib.rs", "main.rs"].iter().any(|root| below == Path::new(root))
            || below.starts_with("bin") && below.components().count() == 2
            || below.starts_with("bin") && below.ends_with("main.rs")
    };
    let mut found = Vec::new();
    for (source, files) in crates {
        let roots = files.iter().filter(|file| is_root(source, &file.path));
        let bad = roots.filter(|file| !file.text.contains("#![forbid(unsafe_code)]"));
        found.extend(bad.map(|file| format!("{}: no forbid(unsafe_code)", file.path.display())));
    }
    found
}

/// Tests wait for conditions; the sleeping is done in one function, in a file
/// called `wait.rs`.
fn sleeps(file: &File) -> Vec<String> {
    let bench = file.path.starts_with("crates/e2e");
    if file.path.ends_with("wait.rs") {
        return Vec::new();
    }
    let from = if bench { 0 } else { tests_begin(file) };
    let calls = ["thread::sleep(", "time::sleep("];
    let lines = file.text.lines().enumerate().skip(from);
    let bad = lines.filter(|(_, line)| calls.iter().any(|call| bare(line).contains(call)));
    bad.map(|(number, _)| format!("{}: a test that sleeps", file.at(number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn unsafe_is_found_in_code_only() {
        let text = "// unsafe\nlet a = \"unsafe\";\n#![forbid(unsafe_code)]\nunsafe { b() }\n";
        assert_eq!(unsafe_outside_sys(&file("crates/a/src/b.rs", text)).len(), 1);
        assert_eq!(unsafe_outside_sys(&file("crates/a/src/sys/b.rs", text)).len(), 0);
    }

    #[test]
    fn functions_are_measured() {
        let text = "impl A {\n    pub fn a(&self) {\n        b();\n        c();\n    }\n}\n";
        assert_eq!(function_lengths(&file("a.rs", text)), [(1, 2)]);
    }

    #[test]
    fn sleeping_is_for_code_only() {
        let text = "fn a() {\n    thread::sleep(X);\n}\n#[cfg(test)]\nmod tests {\n    fn b() { thread::sleep(X); }\n}\n";
        assert_eq!(sleeps(&file("crates/a/src/b.rs", text)).len(), 1);
        assert_eq!(sleeps(&file("crates/a/tests/b.rs", text)).len(), 2);
        assert_eq!(sleeps(&file("crates/e2e/src/wait.rs", text)).len(), 0);
    }

    #[test]
    fn long_files_are_found() {
        let long = "x\n".repeat(451);
        assert!(size(&file("a.rs", &long)).is_some());
        assert!(size(&file("tests/a.rs", &long)).is_none());
        assert!(size(&file("a.rs", &format!("#[cfg(test)]\n{long}"))).is_none());
        assert!(size(&file("tests/a.rs", &"x\n".repeat(701))).is_some());
    }
}
