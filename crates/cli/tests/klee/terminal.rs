//! `-t` at a terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;

use super::fake::{Act, Fake};
use super::klee;

/// The user's side of a terminal.
struct Terminal {
    master: File,
    /// Kept, so that the terminal stays when klee has gone.
    slave: File,
}

impl Terminal {
    fn new(rows: u16, cols: u16) -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("text");
        let slave = OpenOptions::new().read(true).write(true).open(name).expect("opened");
        let terminal = Self { master: master.into(), slave };
        terminal.resize(rows, cols);
        terminal
    }

    fn resize(&self, rows: u16, cols: u16) {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("resized");
    }

    fn spawn(&self, fake: &Fake, words: &[&str]) -> Child {
        let end = || self.slave.try_clone().expect("a second one");
        klee(fake, words).stdin(end()).stdout(end()).stderr(end()).spawn().expect("klee runs")
    }

    /// What is shown until `end` comes.
    fn until(&mut self, end: &str) -> String {
        let mut shown = Vec::new();
        while !shown.ends_with(end.as_bytes()) {
            let mut byte = [0];
            self.master.read_exact(&mut byte).expect("klee shows more");
            shown.extend(byte);
        }
        String::from_utf8(shown).expect("text")
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("modes").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}

const ENDED: &str = "2fc5447ef1e8 has exited with exit-code 0";

#[test]
fn an_interactive_terminal_is_raw_until_the_end() {
    let fake = Fake::new();
    fake.acts(&[
        Act::Start,
        Act::Say("ready"),
        Act::Gate,
        Act::Say("\r\nbye\r\n"),
        Act::Close(1000, ENDED),
    ]);
    let mut terminal = Terminal::new(33, 77);
    let mut child = terminal.spawn(&fake, &["exec", "-it", "site", "sh"]);
    assert_eq!(terminal.until("ready"), "created execution instance 2fc5447ef1e8\r\nready");
    assert!(terminal.is_raw());
    fake.open_gate();
    assert_eq!(child.wait().expect("klee ends").code(), Some(0));
    assert!(!terminal.is_raw());
    let end = terminal.until("exit-code 0\r\n");
    assert_eq!(end, "\r\nbye\r\n\r\n2fc5447ef1e8 has exited with exit-code 0\r\n");
    assert_eq!(fake.body("GET /exec/start")["window"], json!({"rows": 33, "cols": 77}));
    assert_eq!(fake.body("POST /exec/create")["tty"], json!(true));
}

#[test]
fn keys_are_input_and_the_window_is_followed() {
    let fake = Fake::new();
    let resize = "POST /exec/2fc5447ef1e8/resize";
    fake.answer(resize, 204, "");
    fake.acts(&[Act::Start, Act::Say("ready"), Act::Echo]);
    let mut terminal = Terminal::new(24, 80);
    let child = terminal.spawn(&fake, &["exec", "-it", "site", "sh"]);
    terminal.until("ready");
    terminal.resize(50, 132);
    kill_process(Pid::from_child(&child), Signal::WINCH).expect("it runs");
    // Ctrl-C is a key like others.
    terminal.master.write_all(b"\x03x").expect("typed");
    assert_eq!(terminal.until("x"), "\x03x");
    fake.until_asked(resize);
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let mut child = child;
    assert_eq!(child.wait().expect("klee ends").code(), Some(143));
    assert!(!terminal.is_raw());
    assert_eq!(fake.body(resize), json!({"rows": 50, "cols": 132}));
}

#[test]
fn how_far_an_image_is_stands_on_the_terminal_with_its_id() {
    let fake = Fake::new();
    let made = r#"{"data":"a9835b86808a","message":"image created","msg_type":"closing"}"#;
    // The last line has no end.
    fake.acts(&[Act::Start, Act::Say("0%\r100%"), Act::CloseAs(1000, made)]);
    let mut terminal = Terminal::new(24, 80);
    let stdout = terminal.slave.try_clone().expect("a second one");
    let mut command = klee(&fake, &["image", "create", "fetch-auto"]);
    let mut child = command.stdout(stdout).stderr(Stdio::null()).spawn().expect("klee runs");
    assert_eq!(child.wait().expect("klee ends").code(), Some(0));
    let shown = terminal.until("a9835b86808a\r\n");
    assert_eq!(shown, "0%\r100%\r\n\r\nimage created\r\na9835b86808a\r\n");
}
