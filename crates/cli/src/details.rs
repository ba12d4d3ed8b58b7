//! One object for people: what it is, line by line, and tables of what
//! belongs to it.

use crate::failure::Failure;
use crate::table;
use crate::ui::Ui;

/// A property and what it is.
pub(crate) type Property = (&'static str, String);

/// Prints properties below each other; those that are empty are left out.
pub(crate) fn print(ui: &mut Ui, properties: &[Property]) -> Result<(), Failure> {
    let present = || properties.iter().filter(|(_, value)| !value.is_empty());
    // One column for the colon, two for the gap.
    let width = present().map(|(name, _)| name.len() + 3).max().unwrap_or_default();
    for (name, value) in present() {
        let line = format!("{:width$}{}", format!("{name}:"), table::printable(value));
        ui.data(line.trim_end())?;
    }
    Ok(())
}

/// Prints a table below a blank line; nothing when it has no rows.
pub(crate) fn print_table(
    ui: &mut Ui,
    columns: &[&str],
    rows: Vec<Vec<String>>,
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    ui.data("")?;
    for line in table::lines(columns, rows) {
        ui.data(&line)?;
    }
    Ok(())
}

/// `yes` or `no`.
pub(crate) fn yes(on: bool) -> String {
    if on { "yes" } else { "no" }.to_owned()
}

/// `running` or `stopped`.
pub(crate) fn status(running: bool) -> &'static str {
    if running { "running" } else { "stopped" }
}
