//! As much of sh(1) as the recorded command lines need: lists, pipes, quotes,
//! redirections, and a few small programs behind pipes.

use std::fmt;

use kleene_host::freebsd::run::{Call, Tool, Tools as _};
use kleene_host::freebsd::simulated::Simulated;

use crate::probes;

/// Why a line is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Something runs in the background meanwhile.
    Background,
    /// A loop of the shell.
    Loop,
    /// `$(…)`, a variable, or one that is set.
    Variable,
    /// A program that is neither a tool nor a probe.
    Program,
    /// An option of a small program that is not written again here.
    Filter,
    /// Bytes that are no text.
    Binary,
    /// It lists sockets or states that real packets left.
    Sockets,
    /// Processes that run in jails.
    Processes,
    /// Counters that real packets turned.
    Counters,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Background => "runs something in the background",
            Self::Loop => "is a loop",
            Self::Variable => "has a variable or a command in a command",
            Self::Program => "runs a program that is no tool",
            Self::Filter => "filters its output in a way that is not written again",
            Self::Binary => "prints what is no text",
            Self::Sockets => "lists sockets or states of real packets",
            Self::Processes => "needs processes that run",
            Self::Counters => "counts real packets",
        })
    }
}

/// What a list of commands did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) status: i32,
    /// How many tools ran.
    pub(crate) tools: usize,
    /// A probe was left out: its lines are missing.
    pub(crate) probed: bool,
    /// The status is a probe's.
    pub(crate) status_of_probe: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Operator(&'static str),
}

fn tokens(line: &str) -> Result<Vec<Token>, Shape> {
    const OPERATORS: [&str; 13] =
        ["2>/dev/null", "2>&1", "&&", "||", "<<", "1>", "|", ";", ">", "<", "(", ")", "&"];
    let mut tokens = Vec::new();
    let (mut word, mut quoted): (String, bool) = (String::new(), false);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let operator = OPERATORS.iter().find(|one| rest.starts_with(**one));
        let operator = operator.filter(|one| !one.starts_with(['1', '2']) || word.is_empty());
        if c == ' ' || operator.is_some() {
            if !word.is_empty() || quoted {
                tokens.push(Token::Word(std::mem::take(&mut word)));
                quoted = false;
            }
            let taken = operator.map_or(1, |one| one.len());
            tokens.extend(operator.map(|one| Token::Operator(one)));
            rest = &rest[taken..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\'' => {
                let (inside, after) = rest.split_once('\'').ok_or(Shape::Filter)?;
                word.push_str(inside);
                (rest, quoted) = (after, true);
            }
            '"' => {
                rest = double_quoted(rest, &mut word)?;
                quoted = true;
            }
            '\\' => {
                word.extend(rest.chars().next());
                rest = &rest[1..];
            }
            '$' => return Err(Shape::Variable),
            c => word.push(c),
        }
    }
    if !word.is_empty() || quoted {
        tokens.push(Token::Word(word));
    }
    Ok(tokens)
}

fn double_quoted<'a>(text: &'a str, word: &mut String) -> Result<&'a str, Shape> {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok(&text[at + 1..]),
            '$' => return Err(Shape::Variable),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\' | '$'))) => word.push(c),
                Some((_, c)) => word.extend(['\\', c]),
                None => {}
            },
            c => word.push(c),
        }
    }
    Err(Shape::Filter)
}

/// A shell on a simulated host.
#[derive(Debug)]
pub(crate) struct Shell<'a> {
    pub(crate) host: &'a Simulated,
    /// What a here-text gives.
    pub(crate) here: &'a str,
}

impl Shell<'_> {
    /// Runs what is plain in a line that is left out, so that the state goes on.
    pub(crate) fn run_what_can(&self, line: &str) {
        let pieces = match tokens(&line.replace("time -p ", "")) {
            Ok(tokens) => {
                let ends = |token: &Token| {
                    matches!(token, Token::Operator(";" | "&" | "(" | ")" | "&&" | "||"))
                };
                tokens.split(ends).map(<[Token]>::to_vec).collect::<Vec<_>>()
            }
            // A variable in one piece does not spoil the others.
            Err(_) => line.split(';').filter_map(|piece| tokens(piece).ok()).collect(),
        };
        for piece in pieces {
            let word = |at: usize| match piece.get(at) {
                Some(Token::Word(word)) => word.as_str(),
                _ => "",
            };
            let inner = if word(0) == "jexec" { word(2) } else { word(0) };
            let runs = tool(inner).is_some_and(|tool| tool != Tool::Pkill);
            if inner == "sk" || runs || ["echo", "printf"].contains(&word(0)) {
                // What is of another shape is left out here as well.
                let _ = self.list(&piece, "");
            }
        }
    }

    /// Runs a line.
    pub(crate) fn run(&self, line: &str) -> Result<Done, Shape> {
        let long = |line: &str, width: usize| {
            line.replace(&format!("$(printf %0{width}d 1)"), &format!("{:0width$}", 1))
        };
        let line = &long(&long(&unrolled(line), 70), 100);
        if line.contains("pfctl -s labels | cut") {
            return Err(Shape::Counters);
        }
        // Who serves in run 4 is not written down.
        if line.starts_with("sockstat -46l -j va") {
            return Err(Shape::Sockets);
        }
        if line.contains("sleep 4; jls") {
            return Err(Shape::Processes);
        }
        let first = line.split_whitespace().next().unwrap_or_default();
        if ["for", "while", "i=0;", "i=209;"].contains(&first) || line.contains("; do ") {
            return Err(Shape::Loop);
        }
        let tokens = tokens(line)?;
        if tokens.contains(&Token::Operator("&")) {
            return Err(Shape::Background);
        }
        self.list(&tokens, "")
    }

    fn list(&self, tokens: &[Token], input: &str) -> Result<Done, Shape> {
        let mut done = Done::default();
        let (mut rest, mut connector) = (tokens, ";");
        while !rest.is_empty() {
            let mut depth = 0;
            let end = rest.iter().position(|token| {
                depth += match token {
                    Token::Operator("(") => 1,
                    Token::Operator(")") => -1,
                    _ => 0,
                };
                depth == 0 && matches!(token, Token::Operator(";" | "&&" | "||"))
            });
            let (pipeline, after) = rest.split_at(end.unwrap_or(rest.len()));
            let runs = match connector {
                "&&" => done.status == 0,
                "||" => done.status != 0,
                _ => true,
            };
            if runs && !pipeline.is_empty() {
                let one = self.pipeline(pipeline, input)?;
                done.out += &one.out;
                done.err += &one.err;
                done.tools += one.tools;
                done.probed |= one.probed;
                (done.status, done.status_of_probe) = (one.status, one.status_of_probe);
            }
            if let Some((Token::Operator(operator), more)) = after.split_first() {
                (connector, rest) = (operator, more);
            } else {
                rest = &[];
            }
        }
        Ok(done)
    }

    fn pipeline(&self, tokens: &[Token], input: &str) -> Result<Done, Shape> {
        let mut stages: Vec<Vec<Token>> = vec![Vec::new()];
        let mut depth = 0;
        for token in tokens {
            depth += match token {
                Token::Operator("(") => 1,
                Token::Operator(")") => -1,
                _ => 0,
            };
            if depth == 0 && *token == Token::Operator("|") {
                stages.push(Vec::new());
            } else if let Some(stage) = stages.last_mut() {
                stage.push(token.clone());
            }
        }
        let mut done = Done { out: input.to_owned(), ..Done::default() };
        for stage in stages {
            let one = self.stage(&stage, &done.out)?;
            done = Done {
                err: done.err + &one.err,
                tools: done.tools + one.tools,
                probed: done.probed || one.probed,
                status_of_probe: done.probed || one.status_of_probe,
                ..one
            };
        }
        Ok(done)
    }

    fn stage(&self, tokens: &[Token], input: &str) -> Result<Done, Shape> {
        if let [Token::Operator("("), inner @ .., Token::Operator(")")] = tokens {
            return self.list(inner, input);
        }
        let (mut words, mut input) = (Vec::new(), input.to_owned());
        let (mut silent, mut merged, mut to) = (false, false, None);
        let mut rest = tokens.iter();
        while let Some(token) = rest.next() {
            let mut file = || match rest.next() {
                Some(Token::Word(name)) => Ok(name.clone()),
                _ => Err(Shape::Filter),
            };
            match token {
                Token::Word(word) => words.push(word.clone()),
                Token::Operator("2>/dev/null") => silent = true,
                Token::Operator("2>&1") => merged = true,
                Token::Operator(">") => to = Some(file()?),
                Token::Operator("<") => {
                    let name = file()?;
                    input = if name == "/dev/null" { String::new() } else { self.read(&name)? };
                }
                Token::Operator("<<") => {
                    file()?;
                    input = self.here.to_owned();
                }
                Token::Operator(_) => return Err(Shape::Filter),
            }
        }
        let mut done = self.simple(&words, &input)?;
        if silent {
            done.err.clear();
        }
        if merged {
            let err = std::mem::take(&mut done.err);
            done.out = err + &done.out;
        }
        if let Some(file) = to {
            let out = std::mem::take(&mut done.out);
            if file != "/dev/null" {
                self.host.write_file(&file, &out);
            }
        }
        Ok(done)
    }

    fn read(&self, name: &str) -> Result<String, Shape> {
        self.host.read_file(name).ok_or(Shape::Program)
    }

    fn simple(&self, words: &[String], input: &str) -> Result<Done, Shape> {
        let Some((program, args)) = words.split_first() else { return Err(Shape::Program) };
        if program.contains('=') {
            // What a probe is told besides does not matter, but that it only tries.
            let probes = probes::is_probe(args) && program != "CHECK=1" && args[0] != "CHECK=1";
            return if probes { self.probe(args) } else { Err(Shape::Variable) };
        }
        if words.iter().any(|word| word == "-X2") {
            return Err(Shape::Program);
        }
        if probes::is_probe(words) {
            return self.probe(words);
        }
        if let Some(tool) = tool(program) {
            return self.tool(tool, args, input);
        }
        let plain: Vec<&str> = args.iter().map(String::as_str).collect();
        let text = |out: String| Ok(Done { out, ..Done::default() });
        match (program.as_str(), plain.as_slice()) {
            ("echo", words) => text(words.join(" ") + "\n"),
            ("printf", [format]) => text(format.replace("\\n", "\n")),
            ("cat", []) => text(input.to_owned()),
            ("cat", files) => {
                let mut out = String::new();
                for file in files {
                    out += &if *file == "-" { input.to_owned() } else { self.read(file)? };
                }
                text(out)
            }
            ("sleep", _) => {
                self.host.settle();
                text(String::new())
            }
            ("cd", ["/"]) => text(String::new()),
            ("mkdir", ["-p", dir]) => {
                self.host.make_directory(dir);
                text(String::new())
            }
            ("grep", [args @ .., file]) if file.starts_with('/') => {
                filter(program, args, &self.read(file)?)
            }
            ("grep" | "head" | "tail" | "wc" | "cut", args) => filter(program, args, input),
            _ => Err(Shape::Program),
        }
    }

    /// A probe: what jexec says before it would start, and what stays of it. A client
    /// in a stack of its own closes its connection first, and so keeps the jail.
    fn probe(&self, words: &[String]) -> Result<Done, Shape> {
        let (jail, words) = match words {
            [jexec, jail, rest @ ..] if jexec == "jexec" => (Some(jail.as_str()), rest),
            words => (None, words),
        };
        if let Some(jail) = jail {
            let enter = [jail.to_owned(), "/usr/bin/true".to_owned()];
            let done = self.tool(Tool::Jexec, &enter, "")?;
            if done.status != 0 {
                return Ok(Done { tools: 0, ..done });
            }
        }
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        match (word(0), word(1), jail) {
            ("sk", "serve", jail) => probes::serve(self.host, jail, words),
            ("sk", "tcp", Some(jail)) => {
                let asked = ["-n", "-j", jail, "vnet"].map(str::to_owned);
                if self.tool(Tool::Jls, &asked, "")?.out == "vnet=new\n" {
                    self.host.hold_connections(jail, 1);
                }
            }
            _ => {}
        }
        Ok(Done { probed: true, status_of_probe: true, ..Done::default() })
    }

    fn tool(&self, tool: Tool, args: &[String], input: &str) -> Result<Done, Shape> {
        shape(tool, args)?;
        let call = Call::new(tool, args.iter().cloned()).with_stdin(input);
        let answer = match self.host.call(&call) {
            Ok(answer) => answer,
            // No real tool says this, so the line differs.
            Err(err) => {
                let source = std::error::Error::source(&err).map(ToString::to_string);
                let err = format!("{err}: {}\n", source.unwrap_or_default());
                return Ok(Done { err, status: -1, tools: 1, ..Done::default() });
            }
        };
        let (out, err, status) = (answer.stdout, answer.stderr, answer.status);
        Ok(Done { out, err, status, tools: 1, ..Done::default() })
    }
}

/// A loop over words that are written there, written out.
fn unrolled(line: &str) -> String {
    let parts = || {
        let (before, rest) = line.split_once("for ")?;
        let (variable, rest) = rest.split_once(" in ")?;
        let (words, rest) = rest.split_once("; do ")?;
        let (body, after) = rest.split_once("; done")?;
        let plain = variable.len() == 1 && !words.contains(['*', '$']);
        let only = body.matches('$').count() == body.matches(&format!("${variable}")).count();
        let each = words.split(' ').map(|word| body.replace(&format!("${variable}"), word));
        let each = each.collect::<Vec<_>>().join("; ");
        (plain && only).then(|| format!("{before}{each}{after}"))
    };
    // The next loop, if there is one.
    parts().map_or_else(|| line.to_owned(), |line| unrolled(&line))
}

/// Tools that are only asked what the simulation has no packets or processes for.
fn shape(tool: Tool, args: &[String]) -> Result<(), Shape> {
    let has = |word: &str| args.iter().any(|arg| arg == word);
    match tool {
        Tool::Sysctl if has("-b") => Err(Shape::Binary),
        Tool::Netstat if has("-an") => Err(Shape::Sockets),
        Tool::Arp | Tool::Ndp => Err(Shape::Sockets),
        Tool::Pfctl if has("-s") && (has("state") || has("states")) => Err(Shape::Sockets),
        Tool::Ps if has("--libxo") => Err(Shape::Processes),
        Tool::Pkill => Err(Shape::Processes),
        Tool::Jexec => match entered(args) {
            // Refused before anything would start.
            None | Some([]) => Ok(()),
            Some([program, rest @ ..]) => match self::tool(program) {
                // In a jail without a stack of its own only who listens was there.
                Some(Tool::Netstat) if rest[0] == "-an" && args[0].ends_with("a1") => Ok(()),
                Some(tool) => shape(tool, rest),
                None => runs(program, rest),
            },
        },
        Tool::Jail => match args.iter().position(|arg| arg.starts_with("command=")) {
            Some(at) => runs(args[at].trim_start_matches("command="), &args[at + 1..]),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// What jexec would start; `None` where it refuses its own arguments.
fn entered(args: &[String]) -> Option<&[String]> {
    let (mut rest, mut users) = (args, 0);
    loop {
        let (first, more) = rest.split_first()?;
        rest = match first.as_str() {
            "-l" => more,
            "-u" | "-U" => {
                users += 1;
                let (user, more) = more.split_first()?;
                let known = ["root", "nobody", "operator"].contains(&user.as_str());
                more.get(..).filter(|_| known && users == 1)?
            }
            option if option.starts_with('-') => return None,
            _ => return Some(more),
        };
    }
}

/// Programs in jails that the simulation knows.
fn runs(program: &str, args: &[String]) -> Result<(), Shape> {
    let known = ["/usr/bin/true", "/nonexistent", "/etc/passwd", "/tmp", "-c", "/bin/echo", "true"];
    match (program, args) {
        ("/bin/sh", [option, script]) if option == "-c" => {
            let plain = !script.contains(['$', '&', '>', '<', '|', '"']);
            let words = ["exit", "echo"];
            let parts = script.split(';').map(|part| part.trim().split(' ').next());
            let all = parts.flatten().all(|word| words.contains(&word));
            if plain && all { Ok(()) } else { Err(Shape::Program) }
        }
        ("/usr/bin/env", [assigned, ..]) if assigned.contains('=') => Ok(()),
        (program, _) if known.contains(&program) => Ok(()),
        // Refused before it would start.
        (_, args) if args.is_empty() && program == "/usr/bin/id" => Err(Shape::Program),
        _ => Err(Shape::Program),
    }
}

fn tool(program: &str) -> Option<Tool> {
    let name = |tool: &Tool| tool.path().rsplit('/').next() == Some(program);
    Tool::ALL.iter().copied().find(|tool| tool.path() == program || name(tool))
}

fn filter(program: &str, args: &[&str], input: &str) -> Result<Done, Shape> {
    let lines: Vec<&str> = input.lines().collect();
    let number = |text: &str| text.trim_start_matches('-').parse::<usize>();
    let kept: Vec<String> = match (program, args) {
        ("head", [count]) => {
            let count = number(count).map_err(|_| Shape::Filter)?;
            lines.iter().take(count).map(|line| (*line).to_owned()).collect()
        }
        ("tail", [count]) => {
            let count = number(count).map_err(|_| Shape::Filter)?;
            let from = lines.len().saturating_sub(count);
            lines[from..].iter().map(|line| (*line).to_owned()).collect()
        }
        ("wc", ["-l"]) => vec![format!("{:8}", lines.len())],
        ("wc", ["-c"]) => vec![format!("{:8}", input.len())],
        ("cut", ["-d ", fields]) => {
            let fields = fields.strip_prefix("-f").ok_or(Shape::Filter)?;
            lines.iter().map(|line| cut(line, fields)).collect::<Result<_, _>>()?
        }
        ("grep", args) => return grep(args, &lines),
        _ => return Err(Shape::Filter),
    };
    let out = kept.iter().map(|line| format!("{line}\n")).collect();
    Ok(Done { out, ..Done::default() })
}

fn cut(line: &str, fields: &str) -> Result<String, Shape> {
    let mut wanted = Vec::new();
    for range in fields.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let parse = |text: &str| text.parse::<usize>().map_err(|_| Shape::Filter);
        wanted.extend(parse(first)?..=parse(last)?);
    }
    let all: Vec<&str> = line.split(' ').collect();
    let kept = wanted.iter().filter_map(|at| all.get(at - 1).copied());
    Ok(kept.collect::<Vec<_>>().join(" "))
}

fn grep(args: &[&str], lines: &[&str]) -> Result<Done, Shape> {
    let (mut count, mut invert, mut after, mut patterns) = (false, false, 0, Vec::new());
    for arg in args {
        match *arg {
            "-c" => count = true,
            "-v" => invert = true,
            "-E" | "-i" | "-e" => {}
            "-A1" => after = 1,
            one if !one.starts_with('-') => patterns.push(one),
            _ => return Err(Shape::Filter),
        }
    }
    // The last one depends on an address that the kernel chose.
    if patterns.is_empty()
        || patterns == ["::a|nd6"]
        || patterns.iter().any(|one| one.contains(['*', '[', '(', '\\']))
    {
        return Err(Shape::Filter);
    }
    let alternatives: Vec<&str> = patterns.iter().flat_map(|one| one.split('|')).collect();
    let meets = |line: &str| {
        alternatives.iter().any(|one| match (one.strip_prefix('^'), one.strip_suffix('$')) {
            (Some(_), Some(_)) => line == one.trim_matches(['^', '$']),
            (Some(start), None) => line.starts_with(start),
            (None, Some(end)) => line.ends_with(end),
            (None, None) => line.contains(one),
        })
    };
    let met: Vec<bool> = lines.iter().map(|line| meets(line) != invert).collect();
    let kept = (0..lines.len()).filter(|at| met[at.saturating_sub(after)..=*at].contains(&true));
    let kept: Vec<&str> = kept.map(|at| lines[at]).collect();
    let status = i32::from(!met.contains(&true));
    let out = if count {
        format!("{}\n", met.iter().filter(|met| **met).count())
    } else {
        kept.iter().map(|line| format!("{line}\n")).collect()
    };
    Ok(Done { out, status, ..Done::default() })
}
