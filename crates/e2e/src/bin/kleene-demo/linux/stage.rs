//! Showing commands and claims.

use kleene_e2e::{Output, World};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// The message of the last panic: a claim that did not hold.
static COMPLAINT: Mutex<String> = Mutex::new(String::new());

/// Keeps score.
pub(crate) struct Stage {
    colour: bool,
    claims: BTreeMap<&'static str, bool>,
    hold: usize,
    fail: usize,
}

impl Stage {
    pub(crate) fn new() -> Self {
        // Claims are assertions; what they say is shown below the claim.
        std::panic::set_hook(Box::new(|info| {
            let text = info.payload_as_str().unwrap_or("panicked");
            if let Ok(mut complaint) = COMPLAINT.lock() {
                text.clone_into(&mut complaint);
            }
        }));
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = wanted && std::io::stdout().is_terminal();
        Self { colour, claims: BTreeMap::new(), hold: 0, fail: 0 }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn heading(&self, text: &str) {
        println!("\n{}", self.paint("1", text));
    }

    pub(crate) fn note(&self, text: &str) {
        println!("  {}", self.paint("2", text));
    }

    /// Runs `klee` and shows command and answer as a terminal would.
    pub(crate) fn klee(&self, world: &World, args: &[&str]) -> Output {
        println!("  {}", self.paint("36", &format!("$ klee {}", shown(args))));
        let output = world.klee(args);
        self.answer(&output);
        output
    }

    /// The same for another command of the host.
    pub(crate) fn host(&self, world: &World, args: &[&str]) -> Output {
        println!("  {}", self.paint("36", &format!("$ {}", shown(args))));
        let output = world.run(args);
        self.answer(&output);
        output
    }

    fn answer(&self, output: &Output) {
        const SHOWN: usize = 12;
        let text = format!("{}{}", output.stdout(), output.stderr());
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().take(SHOWN) {
            println!("  {}", self.paint("2", line));
        }
        if lines.len() > SHOWN {
            self.note(&format!("… {} more lines", lines.len() - SHOWN));
        }
        if output.status != Some(0) {
            self.note(&format!("(exit code {})", output.status.unwrap_or(-1)));
        }
    }

    /// Says what should be true, and whether it is. `id` is for the table at
    /// the end.
    pub(crate) fn claim(&mut self, id: &'static str, what: &str, check: impl FnOnce()) {
        let holds = catch_unwind(AssertUnwindSafe(check)).is_ok();
        let mark = if holds { self.paint("32", "✓") } else { self.paint("31", "✗") };
        println!("  {mark} {what}");
        if !holds && let Ok(complaint) = COMPLAINT.lock() {
            complaint.lines().for_each(|line| println!("      {line}"));
        }
        // One row may rest on several claims of one id.
        *self.claims.entry(id).or_insert(true) &= holds;
        *(if holds { &mut self.hold } else { &mut self.fail }) += 1;
    }

    /// Whether all claims named `id` were made and held.
    pub(crate) fn held(&self, id: &str) -> bool {
        self.claims.get(id).copied().unwrap_or(false)
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.hold, self.fail)
    }

    /// Marks and colours for the table.
    pub(crate) fn word(&self, good: bool, text: &str) -> String {
        self.paint(if good { "32" } else { "33" }, text)
    }
}

fn shown(args: &[&str]) -> String {
    let quoted = args.iter().map(|arg| {
        if arg.contains([' ', ';', '$', '|', '>']) { format!("'{arg}'") } else { (*arg).to_owned() }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
