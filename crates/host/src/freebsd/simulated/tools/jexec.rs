//! jexec(8). It becomes the command: status and output are the command's.

use super::programs;
use crate::freebsd::simulated::session::{Done, Session, Stop, unknown};

const USAGE: &str = "usage: jexec [-l] [-u username | -U username] jail [command ...]";

/// Users of the base system's `/etc/passwd`, as far as anybody asks.
const USERS: [&str; 6] = ["root", "toor", "daemon", "operator", "nobody", "www"];

/// Runs jexec.
pub(crate) fn jexec(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (mut users, mut rest) = (Vec::new(), args);
    while let [option, more @ ..] = rest
        && option.starts_with('-')
    {
        rest = more;
        match *option {
            "-l" => {}
            "-u" | "-U" => {
                let [user, more @ ..] = more else { return unknown("a user that is missing") };
                users.push(*user);
                rest = more;
            }
            option => {
                let letter = option.trim_start_matches('-');
                s.warn(format_args!("jexec: illegal option -- {letter}"));
                return s.refuse(USAGE);
            }
        }
    }
    let [name, command @ ..] = rest else { return s.refuse(USAGE) };
    if users.len() > 1 {
        return s.refuse(USAGE);
    }
    let jid = find(s, name)?;
    if let Some(user) = users.iter().find(|user| !USERS.contains(user)) {
        return s.refuse(format_args!("jexec: {user}: no such user"));
    }
    let argv: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    let Some(program) = argv.first() else {
        return prompt(s);
    };
    executable(s, program)?;
    match programs::run(s, Some(jid), &argv)? {
        0 => Ok(()),
        status => Err(Stop::Status(status)),
    }
}

fn find(s: &mut Session<'_>, name: &str) -> Done<u32> {
    match s.state.jail_or_dying(name).map(|jail| (jail.jid, jail.dying)) {
        Some((jid, false)) => Ok(jid),
        Some((_, true)) => s.refuse(format_args!("jexec: jail \"{name}\" is dying")),
        None if name.bytes().all(|byte| byte.is_ascii_digit()) => {
            s.refuse(format_args!("jexec: jail {name} not found"))
        }
        None => s.refuse(format_args!("jexec: jail \"{name}\" not found")),
    }
}

/// A shell without a terminal: its prompt is all that is seen of it.
fn prompt(s: &mut Session<'_>) -> Done {
    if !s.stdin.is_empty() {
        return unknown("a shell that reads its input");
    }
    s.warn("# ");
    Ok(())
}

fn executable(s: &mut Session<'_>, program: &str) -> Done {
    let words = if s.state.files.contains_key(program) || s.state.directories.contains(program) {
        "Permission denied"
    } else if program.starts_with('-') || program.starts_with("/nonexistent") {
        "No such file or directory"
    } else {
        return Ok(());
    };
    s.refuse(format_args!("jexec: execvp: {program}: {words}"))
}
