//! Tables without borders, as Docker prints them.

use comfy_table::{Table, presets};
use unicode_width::UnicodeWidthStr as _;

/// Widest command that is shown whole, in characters.
const COMMAND_MAX: usize = 40;
/// Blanks between two columns.
const GAP: u16 = 3;

/// Lines of a table.
pub(crate) fn lines(columns: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// `text` on one line and without anything that a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if c.is_control() {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
        shown
    })
}

/// The columns that `text` takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The command's words, cut where they get long.
pub(crate) fn command(words: &[String]) -> String {
    let whole = printable(&words.join(" "));
    if whole.chars().count() <= COMMAND_MAX {
        return whole;
    }
    whole.chars().take(COMMAND_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let shown = lines(
            &["ID", "NAME", "SUBNET"],
            vec![
                row(&["2f1dc29b8f36", "web", "10.4.6.0/24"]),
                row(&["1", "日本語", ""]),
                row(&["", "a\nb\u{1b}[31m", "x"]),
            ],
        );
        assert_eq!(
            shown,
            [
                "ID             NAME             SUBNET",
                "2f1dc29b8f36   web              10.4.6.0/24",
                "1              日本語",
                "               a\\nb\\u{1b}[31m   x",
            ]
        );
        assert_eq!(lines(&["ID", "NAME"], vec![]), ["ID   NAME"]);
    }

    #[test]
    fn long_commands_are_cut() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(command(&words("sh -c true")), "sh -c true");
        let cut = command(&words(&"word ".repeat(20)));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (40, true));
    }
}
