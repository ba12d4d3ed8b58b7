//! How drawings look on this stdout: their characters, colours and width.
//! Colours never say what the words do not.

use std::env;

use crate::{table, terminal};

/// What stdout can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Lines and letters beyond ASCII.
    pub(crate) utf8: bool,
    pub(crate) colours: bool,
    /// Columns, when it is a terminal that knows them.
    pub(crate) width: Option<usize>,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) text: String,
    pub(crate) style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Strong,
    Good,
    Bad,
    Faint,
}

impl Style {
    /// Its SGR code.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Faint => Some("2"),
        }
    }
}

impl Look {
    /// That of stdout, by its terminal and the environment.
    pub(crate) fn of_stdout(is_terminal: bool) -> Self {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        let window = if is_terminal { terminal::window() } else { None };
        Self {
            utf8: is_utf8(&locale),
            colours: is_terminal && !dumb && set("NO_COLOR").is_none(),
            width: window.map(|window| window.cols.into()),
        }
    }

    /// `text` in characters that can be shown, and none that would be obeyed.
    pub(crate) fn text(self, text: &str) -> String {
        let shown = table::printable(text);
        if self.utf8 || shown.is_ascii() {
            return shown;
        }
        shown.chars().fold(String::new(), |mut ascii, c| {
            if c.is_ascii() {
                ascii.push(c);
            } else {
                ascii.extend(c.escape_default());
            }
            ascii
        })
    }

    /// One line, cut where the terminal ends.
    pub(crate) fn line(self, spans: &[Span]) -> String {
        let total: usize = spans.iter().map(|span| table::width(&span.text)).sum();
        let mark = if self.utf8 { "…" } else { "..." };
        let mut left = match self.width {
            Some(width) if total > width => Some(width.saturating_sub(mark.chars().count())),
            _ => None,
        };
        let mut line = String::new();
        for span in spans {
            let text = match &mut left {
                None => span.text.as_str(),
                Some(left) => {
                    let cut = cut(&span.text, *left);
                    *left -= table::width(cut);
                    // What is behind a cut does not come back.
                    if cut.len() < span.text.len() {
                        *left = 0;
                    }
                    cut
                }
            };
            match span.style.code().filter(|_| self.colours && !text.is_empty()) {
                Some(code) => line.push_str(&format!("\u{1b}[{code}m{text}\u{1b}[0m")),
                None => line.push_str(text),
            }
        }
        if left.is_some() {
            line.push_str(mark);
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// The beginning of `text` that fits into so many columns.
fn cut(text: &str, columns: usize) -> &str {
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let next = at + c.len_utf8();
        if table::width(&text[..next]) > columns {
            break;
        }
        end = next;
    }
    &text[..end]
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(utf8: bool, colours: bool, width: Option<usize>) -> Look {
        Look { utf8, colours, width }
    }

    fn spans() -> Vec<Span> {
        [("web", Style::Strong), ("  日本語", Style::Plain), ("  up ", Style::Good)]
            .map(|(text, style)| Span { text: text.to_owned(), style })
            .to_vec()
    }

    #[test]
    fn a_line_is_cut_at_the_terminals_width() {
        assert_eq!(look(true, false, None).line(&spans()), "web  日本語  up");
        assert_eq!(look(true, false, Some(16)).line(&spans()), "web  日本語  up");
        assert_eq!(look(true, false, Some(15)).line(&spans()), "web  日本語  u…");
        // Half a wide character is none.
        assert_eq!(look(true, false, Some(9)).line(&spans()), "web  日…");
        assert_eq!(look(false, false, Some(6)).line(&spans()), "web...");
        assert_eq!(look(false, false, Some(0)).line(&spans()), "...");
    }

    #[test]
    fn colours_are_around_what_is_shown() {
        assert_eq!(
            look(true, true, Some(13)).line(&spans()),
            "\u{1b}[1mweb\u{1b}[0m  日本語\u{1b}[32m \u{1b}[0m…"
        );
    }

    #[test]
    fn text_is_harmless_and_plain_where_it_must_be() {
        assert_eq!(look(true, false, None).text("日\u{1b}["), "日\\u{1b}[");
        assert_eq!(look(false, false, None).text("日\n"), "\\u{65e5}\\n");
        assert!(is_utf8("C.UTF-8") && is_utf8("de_DE.utf8") && !is_utf8("C") && !is_utf8(""));
    }
}
