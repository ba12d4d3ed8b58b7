//! The engine's thread: one owner of the state, handling one input at a time.
//! Everybody else sends inputs and reads snapshots.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::Instant;

use kleene_engine::{
    Command, Effect, Engine, Event, Given, Host, Input, Job, Outcome, State, Store, Token,
};
use kleene_model::Refusal;
use tokio::sync::{mpsc as jobs, oneshot, watch};

/// How many steps of a mending are told in a line.
const MENDED_SHOWN: usize = 8;

type Answer = oneshot::Sender<Result<Outcome, Refusal>>;

enum Message {
    Command(Box<Command>, Answer),
    /// Who tells may wait until it is handled.
    Event(Event, Option<oneshot::Sender<()>>),
    /// The daemon ends: close the store, then tell.
    End(oneshot::Sender<()>),
}

/// The way to the engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Core {
    inbox: mpsc::Sender<Message>,
    state: watch::Receiver<State>,
}

impl Core {
    /// Starts the engine's thread. `make` runs on it and builds the engine,
    /// because a host's sockets belong to the thread that opened them.
    ///
    /// # Errors
    /// What `make` said.
    pub(crate) fn start<H, S, E>(
        jobs: jobs::UnboundedSender<Job>,
        make: impl FnOnce() -> Result<(Engine<H, S>, Vec<Effect>), E> + Send + 'static,
    ) -> Result<Self, E>
    where
        H: Host + 'static,
        S: Store + 'static,
        E: Send + 'static,
    {
        let (inbox, messages) = mpsc::channel();
        let (ready, made) = mpsc::channel();
        let thread = std::thread::Builder::new().name("engine".to_owned());
        let spawned = thread.spawn(move || {
            let (engine, effects) = match make() {
                Ok(made) => made,
                Err(err) => return drop(ready.send(Err(err))),
            };
            let (publish, state) = watch::channel(engine.snapshot());
            if ready.send(Ok(state)).is_ok() {
                let mut thread = Thread { engine, jobs, publish, answers: HashMap::new() };
                thread.carry_out(effects);
                let told = thread.run(&messages);
                // Closing the store takes its journal into the file.
                drop(thread);
                // Whoever waited may have given up.
                let _ = told.map(|told| told.send(()));
            }
        });
        let started = spawned.map(|_| made.recv());
        match started {
            Ok(Ok(Ok(state))) => Ok(Self { inbox, state }),
            Ok(Ok(Err(err))) => Err(err),
            // The thread could not be made, or panicked while building.
            Ok(Err(_)) | Err(_) => unreachable!("the engine's thread reports before it ends"),
        }
    }

    /// Asks for something and waits for the answer.
    ///
    /// # Errors
    /// The engine's refusal.
    pub(crate) async fn command(&self, command: Command) -> Result<Outcome, Refusal> {
        self.send(command)?.await.map_err(|_| gone())?
    }

    /// The same on a thread that may wait.
    ///
    /// # Errors
    /// The engine's refusal.
    pub(crate) fn ask(&self, command: Command) -> Result<Outcome, Refusal> {
        self.send(command)?.blocking_recv().map_err(|_| gone())?
    }

    fn send(
        &self,
        command: Command,
    ) -> Result<oneshot::Receiver<Result<Outcome, Refusal>>, Refusal> {
        let (answer, answered) = oneshot::channel();
        let sent = self.inbox.send(Message::Command(Box::new(command), answer));
        sent.map(|()| answered).map_err(|_| gone())
    }

    /// Tells what has happened.
    pub(crate) fn event(&self, event: Event) {
        self.put(Message::Event(event, None));
    }

    /// Tells what has happened and waits until the engine has taken it in, and
    /// with it the store; `false` when the engine has stopped before.
    pub(crate) async fn tell(&self, event: Event) -> bool {
        let (tell, told) = oneshot::channel();
        self.put(Message::Event(event, Some(tell)));
        told.await.is_ok()
    }

    /// The same for a thread that is nobody else's.
    #[cfg_attr(target_os = "linux", allow(dead_code, reason = "in use on FreeBSD only"))]
    pub(crate) fn tell_and_wait(&self, event: Event) -> bool {
        let (tell, told) = oneshot::channel();
        self.put(Message::Event(event, Some(tell)));
        told.blocking_recv().is_ok()
    }

    fn put(&self, message: Message) {
        if self.inbox.send(message).is_err() {
            tracing::error!("the engine has stopped; an event is lost");
        }
    }

    /// Waits until the engine has stopped. Nothing but its own death or
    /// [`Core::end`] stops it.
    pub(crate) async fn stopped(&self) {
        let mut state = self.state.clone();
        while state.changed().await.is_ok() {}
    }

    /// Whether the engine lives.
    pub(crate) fn is_running(&self) -> bool {
        self.state.has_changed().is_ok()
    }

    /// The state as it is now.
    pub(crate) fn snapshot(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until the state is as `wanted`, up to `limit`; `false` when it
    /// never was.
    pub(crate) async fn wait_for(
        &self,
        limit: std::time::Duration,
        mut wanted: impl FnMut(&State) -> bool,
    ) -> bool {
        let mut state = self.state.clone();
        let waited = tokio::time::timeout(limit, state.wait_for(|state| wanted(state))).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// Ends the engine: what was asked before is done first, and the store is
    /// closed when this returns.
    pub(crate) async fn end(&self) {
        let (tell, told) = oneshot::channel();
        // An engine that has stopped already has nothing to close.
        if self.inbox.send(Message::End(tell)).is_ok() {
            drop(told.await);
        }
    }
}

struct Thread<H, S> {
    engine: Engine<H, S>,
    jobs: jobs::UnboundedSender<Job>,
    publish: watch::Sender<State>,
    answers: HashMap<Token, Answer>,
}

impl<H: Host, S: Store> Thread<H, S> {
    /// Handles messages until the end, and gives back who waits for it.
    fn run(&mut self, messages: &mpsc::Receiver<Message>) -> Option<oneshot::Sender<()>> {
        let mut tokens = 0;
        // Ends when the last `Core` is dropped.
        while let Ok(message) = messages.recv() {
            let began = Instant::now();
            let mut told = None;
            let input = match message {
                Message::Command(command, answer) => {
                    tokens += 1;
                    self.answers.insert(Token(tokens), answer);
                    Input::Command(command, Token(tokens))
                }
                Message::Event(event, tell) => {
                    told = tell;
                    tracing::debug!(?event, "event");
                    Input::Event(event)
                }
                Message::End(tell) => return Some(tell),
            };
            let mut given = Given { now: now(), draw: &mut draw };
            let effects = self.engine.handle(input, &mut given);
            tracing::debug!(micros = began.elapsed().as_micros(), "handled");
            self.carry_out(effects);
            // Whoever waited may have given up.
            let _ = told.map(|tell: oneshot::Sender<()>| tell.send(()));
        }
        None
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        // Readers see a change before whoever asked for it hears of it.
        self.publish.send_replace(self.engine.snapshot());
        for effect in effects {
            match effect {
                Effect::Reply(token, answer) => {
                    if let Some(sender) = self.answers.remove(&token) {
                        // Nobody waits any more when the client has gone.
                        drop(sender.send(answer));
                    }
                }
                Effect::SettingChanged { setting, value } => {
                    tracing::info!(setting, value, "a setting of the host was changed");
                }
                Effect::Mended { changes } => {
                    // One line for a bridge, one for a thousand addresses.
                    let shown = changes.iter().take(MENDED_SHOWN).cloned().collect::<Vec<_>>();
                    let (steps, changes) = (changes.len(), shown.join("; "));
                    tracing::warn!(steps, changes, "something of Kleene's was missing: mended");
                }
                Effect::Degraded { why } => {
                    tracing::error!(why, "something of Kleene's is missing, and stays so");
                }
                Effect::Job(job) => {
                    tracing::debug!(?job, "job");
                    if self.jobs.send(job).is_err() {
                        tracing::error!("nobody does the jobs any more");
                    }
                }
            }
        }
    }
}

fn gone() -> Refusal {
    Refusal::Host { what: "the engine has stopped: restart kleened".to_owned() }
}

fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

/// Six random bytes.
pub(crate) fn draw() -> [u8; 6] {
    let mut bytes = [0; 6];
    // The system call cannot fail once the kernel's pool is up, which it is
    // long before a daemon starts; if it did, the id is drawn again.
    if getrandom::fill(&mut bytes).is_err() {
        tracing::error!("the system has no random numbers");
    }
    bytes
}

#[cfg(test)]
#[path = "core_tests.rs"]
pub(crate) mod tests;
