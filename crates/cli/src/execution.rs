//! Executions: create one, start it, tell how it ended.

use kleene_model::api::{ExecConfig, ExecStartConfig};

use crate::attach::{Attachment, Outcome};
use crate::client::{ApiError, Client};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::session::Ending;
use crate::socket::Close;
use crate::terminal;
use crate::ui::Ui;

/// Close codes of `/exec/start`.
const DONE: u16 = 1000;
const STARTED_DETACHED: u16 = 1001;

/// How a command is connected to the user.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct IoArgs {
    /// Do not wait for the command; ignored with --interactive
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Send standard input to the command
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Print the command's output and nothing around it
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl IoArgs {
    /// Whether nobody waits for the command.
    pub(crate) fn is_detached(&self) -> bool {
        self.detach && !self.interactive
    }

    /// An execution of the container's own command.
    pub(crate) fn execution(&self, container: &str) -> Execution {
        Execution {
            container: container.to_owned(),
            cmd: Vec::new(),
            env: Vec::new(),
            user: String::new(),
            workdir: String::new(),
            tty: self.tty,
            interactive: self.interactive,
            detach: self.is_detached(),
            quiet: self.quiet,
        }
    }
}

/// A command to be run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) container: String,
    /// Empty: the container's.
    pub(crate) cmd: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) user: String,
    pub(crate) workdir: String,
    pub(crate) tty: bool,
    pub(crate) interactive: bool,
    pub(crate) detach: bool,
    pub(crate) quiet: bool,
}

impl Execution {
    /// Runs it and answers with its exit code, 0 when nobody waits for it.
    pub(crate) async fn carry_out(
        self,
        ui: &mut Ui,
        client: &Client,
        interrupts: &mut Interrupts,
    ) -> Result<u8, Failure> {
        let created = interrupts.shield(self.create(client)).await?;
        let exec_id = created.output?;
        if !self.quiet {
            ui.talk(&format!("created execution instance {exec_id}"))?;
        }
        if let Some(interrupt) = created.interrupted {
            return Err(interrupt.into());
        }
        let config = ExecStartConfig {
            exec_id: exec_id.clone(),
            attach: !self.detach,
            start_container: true,
            window: if self.tty { terminal::window() } else { None },
        };
        let attachment =
            Attachment { client, config, interactive: self.interactive, tty: self.tty };
        let outcome = attachment.carry_out(interrupts).await?;
        self.conclude(ui, client, &exec_id, outcome).await
    }

    async fn create(&self, client: &Client) -> Result<String, Failure> {
        let config = ExecConfig {
            container_id: self.container.clone(),
            cmd: self.cmd.clone(),
            env: self.env.clone(),
            user: self.user.clone(),
            tty: self.tty,
            workdir: self.workdir.clone(),
        };
        client.exec_create(&config).await.map_err(|err| {
            let container = self.container.clone();
            Failure::refused(err, |source| Failure::ExecCreate { container, source })
        })
    }

    /// Tells the user how it ended.
    async fn conclude(
        &self,
        ui: &mut Ui,
        client: &Client,
        exec_id: &str,
        outcome: Outcome,
    ) -> Result<u8, Failure> {
        for refusal in &outcome.refusals {
            ui.note(refusal.trim_end());
        }
        match outcome.ending {
            Ending::Interrupted(interrupt) => Err(interrupt.into()),
            Ending::Output(err) => Err(Failure::Stdout(err)),
            Ending::Lost => self.lost(ui, client, exec_id).await,
            Ending::Closed(Close { code: STARTED_DETACHED, .. }) if self.detach => Ok(0),
            Ending::Closed(Close { code: DONE, message: Some(message) }) => {
                let code = match closing_exit_code(exec_id, &message.message) {
                    Some(code) => code,
                    None => inspected_exit_code(client, exec_id).await.unwrap_or(125),
                };
                self.farewell(ui, &message.message, &message.data)?;
                Ok(code)
            }
            Ending::Closed(Close { code: DONE, message: None }) => {
                self.lost(ui, client, exec_id).await
            }
            Ending::Closed(Close { code, message }) => {
                let exit_code = inspected_exit_code(client, exec_id)
                    .await
                    .filter(|code| matches!(code, 126 | 127))
                    .unwrap_or(125);
                let text = match message {
                    Some(message) if !message.message.is_empty() => message.message,
                    _ => format!("error starting exec instance (close code {code})"),
                };
                Err(Failure::NotStarted { text, exit_code })
            }
        }
    }

    /// A connection without a closing message: the daemon may still know.
    async fn lost(&self, ui: &mut Ui, client: &Client, exec_id: &str) -> Result<u8, Failure> {
        let known = client.exec_inspect(exec_id).await.ok();
        let Some((known, code)) = known.and_then(|known| Some((known.clone(), known.exit_code?)))
        else {
            let why = "the daemon does not say how the command ended: see 'klee logs'";
            return Err(ApiError::Lost(why.into()).into());
        };
        let message = if known.container_ended == Some(true) {
            format!("executable {exec_id} and its container exited with exit-code {code}")
        } else {
            format!("{exec_id} has exited with exit-code {code}")
        };
        self.farewell(ui, &message, "")?;
        Ok(as_exit_code(code))
    }

    /// Blank line, closing message, and its data where there is any.
    fn farewell(&self, ui: &mut Ui, message: &str, data: &str) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        ui.talk("")?;
        ui.talk(message)?;
        if data.is_empty() { Ok(()) } else { ui.talk(data) }
    }
}

/// The exit code that a closing message names.
fn closing_exit_code(exec_id: &str, message: &str) -> Option<u8> {
    let rest = message.strip_prefix("executable ").unwrap_or(message).strip_prefix(exec_id)?;
    let code = [" has exited with exit-code ", " and its container exited with exit-code "]
        .into_iter()
        .find_map(|words| rest.strip_prefix(words))?;
    code.parse().ok().map(as_exit_code)
}

/// The exit code that the daemon keeps.
async fn inspected_exit_code(client: &Client, exec_id: &str) -> Option<u8> {
    client.exec_inspect(exec_id).await.ok()?.exit_code.map(as_exit_code)
}

/// What a process can exit with of an exit code.
fn as_exit_code(code: i32) -> u8 {
    code.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_closing_messages_name_the_exit_code() {
        let code = |message: &str| closing_exit_code("2fc5447ef1e8", message);
        assert_eq!(code("2fc5447ef1e8 has exited with exit-code 7"), Some(7));
        let last = "executable 2fc5447ef1e8 and its container exited with exit-code 137";
        assert_eq!(code(last), Some(137));
        for other in ["", "interrupted", "aaaaaaaaaaaa has exited with exit-code 7"] {
            assert_eq!(code(other), None, "{other}");
        }
    }

    #[test]
    fn an_attached_command_wins_over_detach() {
        let io = IoArgs { detach: true, interactive: true, ..IoArgs::default() };
        assert!(!io.is_detached() && !io.execution("a").detach);
        let io = IoArgs { detach: true, ..IoArgs::default() };
        assert!(io.is_detached() && io.execution("a").detach);
    }
}
