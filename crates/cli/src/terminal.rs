//! The user's terminal: raw mode, and its size.

use std::io::{self, IsTerminal};

use kleene_model::api::Window;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// stdin's terminal in raw mode. Dropping it brings back what was before, on
/// every way out: end, error, panic and signals (which [`crate::interrupts`]
/// turns into errors).
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Sets it; nothing when stdin is no terminal.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).ok();
    }
}

/// The window of the terminal at stdout, or else at stdin.
pub(crate) fn window() -> Option<Window> {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin())).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some(Window { rows: size.ws_row, cols: size.ws_col })
}
