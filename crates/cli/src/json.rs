//! JSON for people: the daemon's own text, indented, nothing lost or sorted.

/// Indents `text`, which must be valid JSON, by two spaces per level.
pub(crate) fn pretty(text: &str) -> String {
    let mut printer = Printer { out: String::with_capacity(text.len() * 2), depth: 0 };
    let mut chars = text.chars().filter(NotBlank::outside_strings()).peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => printer.string(&mut chars),
            '{' | '[' => {
                printer.out.push(c);
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    printer.out.push(close);
                } else {
                    printer.depth += 1;
                    printer.line();
                }
            }
            '}' | ']' => {
                printer.depth = printer.depth.saturating_sub(1);
                printer.line();
                printer.out.push(c);
            }
            ',' => {
                printer.out.push(',');
                printer.line();
            }
            ':' => printer.out.push_str(": "),
            _ => printer.out.push(c),
        }
    }
    printer.out
}

struct Printer {
    out: String,
    depth: usize,
}

impl Printer {
    fn line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.depth));
    }

    /// The rest of a string whose opening quote was read.
    fn string(&mut self, chars: &mut impl Iterator<Item = char>) {
        self.out.push('"');
        while let Some(c) = chars.next() {
            self.out.push(c);
            match c {
                '"' => return,
                '\\' => self.out.extend(chars.next()),
                _ => {}
            }
        }
    }
}

/// Drops white space between tokens.
struct NotBlank;

impl NotBlank {
    fn outside_strings() -> impl FnMut(&char) -> bool {
        let (mut inside, mut escaped) = (false, false);
        move |c| {
            if inside {
                match (escaped, c) {
                    (true, _) => escaped = false,
                    (false, '\\') => escaped = true,
                    (false, '"') => inside = false,
                    (false, _) => {}
                }
                return true;
            }
            inside = *c == '"';
            !c.is_ascii_whitespace()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_numbers_and_strings_stay() {
        let text = r#"{"b": [1.50, {}, [ ]], "a":"x, {\" y: \\", "c":{"d":null}}"#;
        insta::assert_snapshot!(pretty(text), @r#"
        {
          "b": [
            1.50,
            {},
            []
          ],
          "a": "x, {\" y: \\",
          "c": {
            "d": null
          }
        }
        "#);
        let same = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(same(&pretty(text)), same(text));
    }
}
