//! ps(1) and pkill(1), for the processes of a jail.

use crate::freebsd::simulated::session::{Done, Session, Stop, unknown};
use crate::freebsd::simulated::state::Process;

/// Runs ps.
pub(crate) fn ps(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (mut json, mut columns, mut jail, mut pids) = (false, "", None, None);
    let mut rest = args.iter().copied();
    while let Some(word) = rest.next() {
        match word {
            "--libxo" => match rest.next() {
                Some("json") => json = true,
                _ => return unknown("the format of --libxo"),
            },
            // Those without a terminal, which are all.
            "-x" => {}
            "-o" => columns = rest.next().unwrap_or_default(),
            "-J" => jail = rest.next(),
            "-p" => pids = rest.next(),
            option => return unknown(option),
        }
    }
    let columns: Vec<&str> = if columns.is_empty() {
        vec!["pid", "tt", "stat", "time", "command"]
    } else {
        columns.split(',').collect()
    };
    let processes: Vec<(u32, Process)> = match (jail, pids) {
        (Some(name), None) => match s.state.jail(name) {
            Some(jail) => jail.processes.iter().map(|one| (jail.jid, one.clone())).collect(),
            None => return s.refuse(format_args!("ps: Invalid jail id: {name}")),
        },
        (None, Some(pids)) => {
            let wanted = |pid: u32| pids.split(',').any(|one| one == pid.to_string());
            all(s).into_iter().filter(|(_, one)| wanted(one.pid)).collect()
        }
        _ => return unknown("processes of everybody"),
    };
    let mut table = Vec::new();
    for (jid, one) in &processes {
        let cell = |column: &&str| cell(one, *jid, column);
        table.push(columns.iter().map(cell).collect::<Done<Vec<String>>>()?);
    }
    if json {
        show_json(s, &columns, &table)?;
    } else {
        show(s, &columns, &table);
    }
    // Nobody there is a failure, like no match of pgrep.
    if processes.is_empty() { Err(Stop::Status(1)) } else { Ok(()) }
}

/// Those in jails, and those that have sockets, with their jails; 0 is the host.
fn all(s: &Session<'_>) -> Vec<(u32, Process)> {
    let in_jails = s.state.jails.values();
    let in_jails =
        in_jails.flat_map(|jail| jail.processes.iter().map(|one| (jail.jid, one.clone())));
    let with_sockets = s.state.sockets.iter().map(|socket| {
        let command = socket.command.clone();
        let process = Process { pid: socket.pid, parent: 1, command, stubborn: false };
        (socket.jail.unwrap_or_default(), process)
    });
    in_jails.chain(with_sockets).collect()
}

fn cell(one: &Process, jid: u32, column: &str) -> Done<String> {
    Ok(match column {
        "pid" => one.pid.to_string(),
        "ppid" => one.parent.to_string(),
        "jid" => jid.to_string(),
        "tt" => "u0 ".to_owned(),
        "stat" => "SC+J".to_owned(),
        "time" => "0:00.00".to_owned(),
        "command" => one.command.clone(),
        column => return unknown(format_args!("the column {column}")),
    })
}

/// Numbers are on the right, the last column is not filled up.
fn show(s: &mut Session<'_>, columns: &[&str], table: &[Vec<String>]) {
    let heads: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| table.iter().map(|row| row[at].len()).fold(head.len(), usize::max))
        .collect();
    for row in std::iter::once(&heads).chain(table) {
        let mut line = String::new();
        for (at, text) in row.iter().enumerate() {
            let width = widths[at];
            let left = ["stat", "tt", "command"].contains(&columns[at]);
            let last = at + 1 == row.len();
            line += &match (last && left, left) {
                (true, _) => text.clone(),
                (false, true) => format!("{text:width$}"),
                (false, false) => format!("{text:>width$}"),
            };
            line += if last { "" } else { " " };
        }
        s.say(line);
    }
}

fn show_json(s: &mut Session<'_>, columns: &[&str], table: &[Vec<String>]) -> Done {
    let mut rows = Vec::new();
    for row in table {
        let mut fields = Vec::new();
        for (column, text) in columns.iter().zip(row) {
            let name = match *column {
                "jid" => "jail-id",
                "ppid" => "ppid",
                "pid" => "pid",
                "command" => "command",
                column => return unknown(format_args!("the column {column} in JSON")),
            };
            fields.push(format!("\"{name}\":\"{text}\""));
        }
        rows.push(format!("{{{}}}", fields.join(",")));
    }
    s.say(format_args!("{{\"process-information\": {{\"process\": [{}]}}}}", rows.join(", ")));
    Ok(())
}

/// Runs pkill.
pub(crate) fn pkill(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (signal, rest) = match args {
        [signal @ ("-KILL" | "-9" | "-TERM" | "-15"), rest @ ..] => (*signal, rest),
        rest => ("-TERM", rest),
    };
    let (name, pattern) = match rest {
        ["-j", name, "-f", pattern] | ["-f", "-j", name, pattern] => (*name, *pattern),
        ["-j", name, "."] => (*name, ""),
        _ => return unknown("options of pkill together"),
    };
    if pattern.contains(['*', '[', '^', '$', '.', '(']) {
        return unknown(format_args!("the pattern {pattern}"));
    }
    let Some(jid) = s.state.jail(name).map(|jail| jail.jid) else {
        s.warn(format_args!("pkill: Invalid jail ID or name `{name}'"));
        return Err(Stop::Status(2));
    };
    let kills = ["-KILL", "-9"].contains(&signal);
    let mut met = 0;
    s.state.jails.entry(jid).and_modify(|jail| {
        jail.processes.retain(|one| {
            let meets = one.command.contains(pattern);
            met += usize::from(meets);
            !(meets && (kills || !one.stubborn))
        });
    });
    s.state.reap(jid);
    if met == 0 { Err(Stop::Status(1)) } else { Ok(()) }
}
