//! Bash, which breaks words at `:` and `=` too. It hands over its line as it
//! is, so that `http:///path`, `--filter name=w` and `image:tag` stay words.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap_complete::engine::complete;
use clap_complete::env::{Bash, EnvCompleter};

/// The line up to the cursor, from our script.
const LINE: &str = "_KLEE_LINE";
/// Bash's COMP_WORDBREAKS.
const BREAKS: &str = "_KLEE_BREAKS";

/// clap's Bash with whole words.
#[derive(Debug, Clone, Copy)]
pub(super) struct WholeWords;

impl EnvCompleter for WholeWords {
    fn name(&self) -> &'static str {
        Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        Bash.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> io::Result<()> {
        let mut script = Vec::new();
        Bash.write_registration(var, name, bin, completer, &mut script)?;
        let script = String::from_utf8_lossy(&script);
        let ours = format!(
            "{LINE}=\"${{COMP_LINE:0:COMP_POINT}}\" {BREAKS}=\"$COMP_WORDBREAKS\" {var}=\"bash\""
        );
        buf.write_all(script.replace(&format!("{var}=\"bash\""), &ours).as_bytes())
    }

    fn write_complete(
        &self,
        cmd: &mut clap::Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(words) = typed() else {
            return Bash.write_complete(cmd, args, current_dir, buf);
        };
        let current = words.last().map(|word| word.text.clone()).unwrap_or_default();
        let quoted = words.last().is_some_and(|word| word.quoted);
        let last = words.len() - 1;
        let args = words.into_iter().map(|word| word.text.into()).collect();
        let head = if quoted { "" } else { kept(&current) };
        let mut between = String::new();
        for candidate in complete(cmd, args, last, current_dir)? {
            let value = candidate.get_value().to_string_lossy();
            // A name with a line's end would be two.
            if value.contains(char::is_control) {
                continue;
            }
            let value = value.strip_prefix(head).unwrap_or(&value);
            let value = if quoted { value.to_owned() } else { escaped(value) };
            write!(buf, "{between}{value}")?;
            between = env::var("_CLAP_IFS").unwrap_or_else(|_unset| "\n".to_owned());
        }
        Ok(())
    }
}

/// A word of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Whether some of it stands in quotes.
    quoted: bool,
}

/// The words of the line that our script has handed over, of which the last
/// is the one to be completed.
pub(super) fn typed() -> Option<Vec<Word>> {
    env::var(LINE).ok().map(|line| split(&line))
}

/// Splits a line as a shell does; the last word is empty behind a blank.
fn split(line: &str) -> Vec<Word> {
    let (mut words, mut word, mut begun) = (Vec::new(), Word::default(), false);
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                (word.quoted, begun) = (true, true);
            }
            (None, '\\') => {
                word.text.extend(chars.next());
                begun = true;
            }
            // In quotes it stands for itself before all others.
            (Some('"'), '\\') => {
                let special = chars.next_if(|c| matches!(c, '$' | '`' | '"' | '\\'));
                word.text.push(special.unwrap_or('\\'));
            }
            (None, c) if c.is_ascii_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => {
                word.text.push(c);
                begun = true;
            }
        }
    }
    words.push(word);
    words
}

/// The beginning of a word that bash leaves alone when it puts in a reply.
fn kept(current: &str) -> &str {
    let breaks = env::var(BREAKS).unwrap_or_default();
    let end = current.rfind(|c| matches!(c, ':' | '=' | '@') && breaks.contains(c));
    end.map_or("", |end| &current[..=end])
}

/// `text` as it has to be typed to be one word.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_./:=@%+,".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_the_shell_does_it() {
        let texts = |line| split(line).into_iter().map(|word| word.text).collect::<Vec<_>>();
        assert_eq!(texts("klee network rm w"), ["klee", "network", "rm", "w"]);
        assert_eq!(texts("klee  --host http:///s  "), ["klee", "--host", "http:///s", ""]);
        assert_eq!(texts(r#"k 'a b' "c \"d" e\ f "#), ["k", "a b", "c \"d", "e f", ""]);
        assert_eq!(texts(r#"k "a\b" "\$x\\" '\"'"#), ["k", r"a\b", r"$x\", r#"\""#]);
        assert_eq!(texts("k --filter name=w"), ["k", "--filter", "name=w"]);
        assert_eq!(texts("k 'a b"), ["k", "a b"]);
        assert_eq!(texts("k ''"), ["k", ""]);
        assert_eq!(texts("k \\"), ["k", ""]);
        assert_eq!(texts(""), [""]);
        assert!(split("k 'a b").last().is_some_and(|word| word.quoted));
    }

    #[test]
    fn a_name_is_one_word_for_the_shell() {
        assert_eq!(escaped("web-1.x:y=z"), "web-1.x:y=z");
        assert_eq!(escaped("a b;$(c)~é"), r"a\ b\;\$\(c\)\~é");
    }
}
