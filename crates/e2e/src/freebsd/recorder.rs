//! Writes down what tools are told and answer, while it happens.

use std::io::{self, Write};
use std::sync::Mutex;

use kleene_host::freebsd::run::{Answer, Call, ToolError, Tools};

use super::recording::{Command, Entry, piped};

/// Where it is written down, if anywhere.
#[derive(Default)]
pub struct Recorder {
    to: Option<Mutex<To>>,
}

struct To {
    file: Box<dyn Write + Send>,
    /// What was written last, and how often it came again since.
    last: (String, usize),
}

impl Recorder {
    /// Writes into this.
    pub fn to(to: impl Write + Send + 'static) -> Self {
        let to = To { file: Box::new(to), last: Default::default() };
        Self { to: Some(Mutex::new(to)) }
    }

    /// The lines before everything else.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn head(&self, lines: &[String]) -> io::Result<()> {
        self.write(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
    }

    /// What follows is about this.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn section(&self, name: &str) -> io::Result<()> {
        self.write(&format!("\n== {name}\n"))
    }

    /// A command with its answer, or a remark. Answers of commands that run at the
    /// same time do not mix; of the same answers in a row, as while something is waited
    /// for, the first is written, and then how many there were.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn entry(&self, entry: &Entry) -> io::Result<()> {
        self.write(&entry.to_string())
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let Some(to) = &self.to else { return Ok(()) };
        let mut to = to.lock().map_err(|_| io::Error::other("a writer panicked"))?;
        if to.last.0 == text {
            to.last.1 += 1;
            return Ok(());
        }
        to.tell_repeats()?;
        text.clone_into(&mut to.last.0);
        to.file.write_all(text.as_bytes())?;
        to.file.flush()
    }

    /// The command, as a person would repeat it.
    #[must_use]
    pub fn line(call: &Call) -> String {
        piped(&call.stdin, &call.to_string())
    }
}

impl To {
    fn tell_repeats(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.last.1) {
            0 => Ok(()),
            more => {
                let remark = Entry::Remark(format!("the same {more} times more"));
                self.file.write_all(remark.to_string().as_bytes())
            }
        }
    }
}

impl Drop for To {
    fn drop(&mut self) {
        // Nobody is left to be told that it cannot be written.
        drop(self.tell_repeats().and_then(|()| self.file.flush()));
    }
}

/// Tools of which everything is written down.
pub struct Recorded<'a, T: ?Sized> {
    /// Who does it.
    pub tools: &'a T,
    /// Where it is written down.
    pub recorder: &'a Recorder,
}

impl<T: Tools + ?Sized> Tools for Recorded<'_, T> {
    fn call(&self, call: &Call) -> Result<Answer, ToolError> {
        let answered = self.tools.call(call);
        let line = Recorder::line(call);
        let entry = match &answered {
            Ok(answer) => {
                let Answer { status, stdout, stderr } = answer;
                Entry::Command(Command::new(line, stdout, stderr, *status))
            }
            Err(err) => Entry::Remark(format!("{line}: {err}")),
        };
        // The checks go on where the disk is full; what is missing is seen by the end.
        drop(self.recorder.entry(&entry));
        answered
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kleene_host::freebsd::run::Tool;

    use super::*;
    use crate::freebsd::recording::Recording;

    /// An ifconfig that knows `lo0`.
    struct OneLink;

    impl Tools for OneLink {
        fn call(&self, call: &Call) -> Result<Answer, ToolError> {
            let known = call.args == ["lo0"];
            let stderr = "ifconfig: interface nosuch0 does not exist\n";
            Ok(match known {
                true => Answer { status: 0, stdout: "lo0: up\n".to_owned(), stderr: String::new() },
                false => Answer { status: 1, stdout: String::new(), stderr: stderr.to_owned() },
            })
        }
    }

    /// A file in memory.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_that_tools_are_told_can_be_read_again() {
        let kept = Kept::default();
        let recorder = Recorder::to(kept.clone());
        recorder.head(&["FreeBSD 13.2".to_owned()]).expect("kept");
        recorder.section("links").expect("kept");
        let tools = Recorded { tools: &OneLink, recorder: &recorder };
        for name in ["lo0", "nosuch0"] {
            drop(tools.call(&Call::new(Tool::Ifconfig, [name])));
        }
        for _ in 0..2 {
            assert!(tools.run(&Call::new(Tool::Ifconfig, ["nosuch0"])).is_err());
        }
        recorder.entry(&Entry::Remark("done".to_owned())).expect("kept");
        recorder.entry(&Entry::Remark("done".to_owned())).expect("kept");
        drop(recorder);
        let bytes = kept.0.lock().expect("nobody panicked").clone();
        let read = Recording::parse(&String::from_utf8(bytes).expect("text"));
        assert_eq!(read.head, ["FreeBSD 13.2"]);
        let refused = "ifconfig: interface nosuch0 does not exist\n";
        assert_eq!(
            read.sections[0].entries,
            [
                Entry::Command(Command::new("ifconfig lo0", "lo0: up\n", "", 0)),
                Entry::Command(Command::new("ifconfig nosuch0", "", refused, 1)),
                Entry::Remark("the same 2 times more".to_owned()),
                Entry::Remark("done".to_owned()),
                Entry::Remark("the same 1 times more".to_owned()),
            ]
        );
        // Who records nothing answers the same.
        let silent = Recorded { tools: &OneLink, recorder: &Recorder::default() };
        assert_eq!(silent.call(&Call::new(Tool::Ifconfig, ["lo0"])).expect("up").status, 0);
    }
}
