//! Programs that are no tools, as far as jails are made with them: `true`, `false`,
//! `echo`, `env`, and a shell that knows `echo` and `exit`.

use crate::freebsd::run::Tool;
use crate::freebsd::simulated::session::{self, Done, Session, unknown};

/// Splits a command as sh(1) does where nothing is quoted.
pub(crate) fn split(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

/// Runs a program on the host or in a jail; its status.
pub(crate) fn run(s: &mut Session<'_>, jail: Option<u32>, argv: &[String]) -> Done<i32> {
    let Some((program, args)) = argv.split_first() else { return unknown("no program") };
    let tool = Tool::ALL.iter().copied().find(|tool| {
        program == tool.path() || tool.path().rsplit('/').next() == Some(program.as_str())
    });
    if let Some(tool) = tool {
        return inside(s, jail, tool, args);
    }
    match (program.as_str(), args) {
        ("true" | "/usr/bin/true", _) => Ok(0),
        ("false" | "/usr/bin/false", _) => Ok(1),
        ("echo" | "/bin/echo", words) => {
            s.say(words.join(" "));
            Ok(0)
        }
        ("/usr/bin/env" | "env", words) => {
            let set = words.iter().take_while(|word| word.contains('=')).count();
            run(s, jail, &words[set..])
        }
        ("/bin/sh" | "sh", [option, script]) if option == "-c" => shell(s, script),
        _ => unknown(format_args!("the program {program}")),
    }
}

/// Runs a tool in a jail within the call of another tool.
fn inside(s: &mut Session<'_>, jail: Option<u32>, tool: Tool, args: &[String]) -> Done<i32> {
    let outside = s.jail;
    s.jail = jail.or(outside);
    let done = session::run(s, tool, args);
    s.jail = outside;
    done
}

fn shell(s: &mut Session<'_>, script: &str) -> Done<i32> {
    for command in script.split(';').map(str::trim) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["exit", status] => {
                return status.parse().or_else(|_| unknown(command));
            }
            ["echo", words @ ..] if !command.contains(['$', '&', '|', '>', '<', '"', '\'']) => {
                s.say(words.join(" "));
            }
            _ => return unknown(format_args!("the script {script}")),
        }
    }
    Ok(0)
}
