//! An attached execution: input, output, window and signals at once.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::Duration;

use kleene_model::api::ExecStartConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::client::Client;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::session::{self, Ending, Session, pump_output};
use crate::socket::{Frame, Receiver, Sender};
use crate::stdio::{Input, Output};
use crate::terminal::{self, RawMode};

/// How long an interrupted command may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Largest piece of input in one frame.
const PIECE: usize = 32 << 10;

/// An execution to be started.
pub(crate) struct Attachment<'a> {
    pub(crate) client: &'a Client,
    pub(crate) config: ExecStartConfig,
    pub(crate) interactive: bool,
    pub(crate) tty: bool,
}

/// How it ended, and what the daemon said before it started, if it did not.
pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    pub(crate) refusals: Vec<String>,
}

impl Attachment<'_> {
    /// Starts it, and stays with it until its end.
    pub(crate) async fn carry_out(&self, interrupts: &mut Interrupts) -> Result<Outcome, Failure> {
        let mut session = Session::open(self.client, "/exec/start", &self.config).await?;
        let begun = session.begin(interrupts).await?;
        let Session { mut sender, mut receiver, refusals } = session;
        let ending = match begun {
            Some(ending) => ending,
            None => self.attend(&mut sender, &mut receiver, interrupts).await?,
        };
        match ending {
            Ending::Interrupted(_) | Ending::Output(_) => {
                sender.interrupt().await;
                // Whatever it is, it ends before --rm looks at it.
                let ended = timeout(END_LIMIT, until_closed(&mut receiver));
                tokio::select! { _ = ended => {}, _ = interrupts.next() => {} }
            }
            Ending::Closed(_) | Ending::Lost => sender.farewell().await,
        }
        Ok(Outcome { ending, refusals })
    }

    /// Moves bytes until one side has enough.
    async fn attend(
        &self,
        sender: &mut Sender,
        receiver: &mut Receiver,
        interrupts: &mut Interrupts,
    ) -> Result<Ending, Failure> {
        let system = |what| move |source| Failure::System { what, source };
        let raw = if self.tty && self.interactive {
            RawMode::enter().map_err(system("set the terminal to raw mode"))?
        } else {
            None
        };
        let mut stdout = Output::stdout();
        let ending = tokio::select! {
            ending = pump_output(receiver, async |piece| stdout.write_all(&piece).await) => ending,
            interrupt = interrupts.next() => Ending::Interrupted(interrupt),
            never = pump_input(sender, self.input()) => match never {},
            err = self.follow_window() => return Err(system("follow the window's size")(err)),
        };
        drop(raw);
        Ok(ending)
    }

    /// Where the command's input comes from. Without `-i` there is none, and a
    /// command that reads it finds its end at once; a terminal stays open, since
    /// its end is the end of what is typed.
    fn input(&self) -> Source {
        match (self.interactive, self.tty) {
            (true, _) => Source::Stdin(Input::stdin()),
            (false, false) => Source::Empty,
            (false, true) => Source::Silent,
        }
    }

    /// Passes on the window's size whenever it changes.
    async fn follow_window(&self) -> io::Error {
        if !self.tty {
            return pending().await;
        }
        let mut changes = match signal(SignalKind::window_change()) {
            Ok(changes) => changes,
            Err(err) => return err,
        };
        let mut known = self.config.window;
        loop {
            let now = terminal::window();
            if let Some(window) = now
                && now != known
            {
                known = now;
                // An execution that has just ended has no window.
                self.client.exec_resize(&self.config.exec_id, window).await.ok();
            }
            changes.recv().await;
        }
    }
}

/// Where a command's input comes from.
enum Source {
    /// What klee itself reads.
    Stdin(Input),
    /// Nothing: its end comes first.
    Empty,
    /// Nothing more, and no end.
    Silent,
}

/// Sends input and pings. It never ends: when the socket is gone, the output
/// says why.
async fn pump_input(sender: &mut Sender, mut input: Source) -> Infallible {
    let mut buffer = vec![0; PIECE];
    let mut pings = session::pings();
    loop {
        let stands = tokio::select! {
            count = read(&mut input, &mut buffer) => {
                if count == 0 {
                    input = Source::Silent;
                }
                sender.input(&buffer[..count]).await
            }
            _ = pings.tick() => sender.ping().await,
        };
        if !stands {
            return pending().await;
        }
    }
}

/// A piece of input; an error ends it as its end does.
async fn read(input: &mut Source, buffer: &mut [u8]) -> usize {
    match input {
        Source::Stdin(input) => input.read(buffer).await.unwrap_or(0),
        Source::Empty => 0,
        Source::Silent => pending().await,
    }
}

async fn until_closed(receiver: &mut Receiver) {
    while !matches!(receiver.next().await, Frame::Close(_) | Frame::Lost) {}
}
