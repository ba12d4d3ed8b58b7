//! `image create`: the daemon makes it, klee tells how far it is.

use std::io;

use clap::ValueEnum as _;
use clap::builder::NonEmptyStringValueParser;
use kleene_model::api::{ImageCreateConfig, ImageMethod};
use tokio_tungstenite::tungstenite::Bytes;

use crate::client::{ApiError, Client};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::session::{Ending, Session, keep_alive, pump_output};
use crate::socket::Close;
use crate::stdio::Output;
use crate::ui::Ui;

/// The close code of an image that is made.
const DONE: u16 = 1000;
/// Its closing message.
const CREATED: &str = "image created";
/// The beginning of the other closing message.
const FAILED: &str = "image creation failed";

/// `image create`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CreateImageArgs {
    /// Its name, and tag, which is 'latest' behind a name alone
    #[arg(short, long, value_name = "NAME[:TAG]", default_value = "", hide_default_value = true)]
    tag: String,
    /// Copy the host's /etc/resolv.conf into it (the default)
    #[arg(long, overrides_with_all = ["dns", "no_dns"])]
    dns: bool,
    /// Do not copy the host's /etc/resolv.conf
    #[arg(long, overrides_with_all = ["dns", "no_dns"])]
    no_dns: bool,
    /// Copy the host's /etc/localtime into it, if there is one (the default)
    #[arg(long, overrides_with_all = ["localtime", "no_localtime"])]
    localtime: bool,
    /// Do not copy the host's /etc/localtime
    #[arg(long, overrides_with_all = ["localtime", "no_localtime"])]
    no_localtime: bool,
    /// Update it by freebsd-update(8); unsupported in this version
    #[arg(long, overrides_with_all = ["update", "no_update"])]
    update: bool,
    /// Do not update it (the default)
    #[arg(long, overrides_with_all = ["update", "no_update"])]
    no_update: bool,
    /// Name one of fetch-auto 'FreeBSD-<version>:latest' if it gets no --tag (the default)
    #[arg(short, long, overrides_with_all = ["autotag", "no_autotag"])]
    autotag: bool,
    /// Do not name it by itself
    #[arg(long, overrides_with_all = ["autotag", "no_autotag"])]
    no_autotag: bool,
    /// How it is made
    #[arg(value_enum)]
    method: Method,
    /// URL of the archive for fetch, as fetch(1) knows it; dataset for zfs-copy and zfs-clone
    // More than one is refused in 0.1.1's words.
    #[arg(value_name = "SOURCE", value_parser = NonEmptyStringValueParser::new())]
    source: Vec<String>,
}

/// Methods, as they are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// From the archive of a base system
    Fetch,
    /// From the archive of the host's own release
    FetchAuto,
    /// From a copy of a dataset
    ZfsCopy,
    /// From a clone of a dataset
    ZfsClone,
}

/// What `create` asks the daemon for.
fn config(args: CreateImageArgs) -> Result<ImageCreateConfig, Failure> {
    let CreateImageArgs {
        tag,
        dns: _,
        no_dns,
        localtime: _,
        no_localtime,
        update,
        no_update: _,
        autotag: _,
        no_autotag,
        method,
        source,
    } = args;
    let mut words = source.into_iter();
    let mut needed = || {
        words.next().ok_or_else(|| {
            let method = method.to_possible_value();
            let method = method.map(|value| value.get_name().to_owned()).unwrap_or_default();
            Failure::SourceMissing { method }
        })
    };
    let none = String::new;
    let (method, url, zfs_dataset) = match method {
        Method::Fetch => (ImageMethod::Fetch, needed()?, none()),
        Method::FetchAuto => (ImageMethod::FetchAuto, none(), none()),
        Method::ZfsCopy => (ImageMethod::ZfsCopy, none(), needed()?),
        Method::ZfsClone => (ImageMethod::ZfsClone, none(), needed()?),
    };
    let extra: Vec<String> = words.collect();
    if !extra.is_empty() {
        return Err(Failure::TooManyArguments { extra: extra.join(" ") });
    }
    let autotag = method == ImageMethod::FetchAuto && !no_autotag && tag.is_empty();
    let (dns, localtime) = (!no_dns, !no_localtime);
    Ok(ImageCreateConfig { method, tag, dns, localtime, update, zfs_dataset, url, autotag })
}

pub(super) async fn create(
    ui: &mut Ui,
    client: &Client,
    args: CreateImageArgs,
) -> Result<u8, Failure> {
    let config = config(args)?;
    let mut interrupts = Interrupts::listen()?;
    let mut session = tokio::select! {
        opened = Session::open(client, "/images/create", &config) => opened?,
        interrupt = interrupts.next() => return Err(interrupt.into()),
    };
    let begun = session.begin(&mut interrupts).await;
    let Session { mut sender, mut receiver, refusals } = session;
    for refusal in &refusals {
        ui.note(refusal.trim_end());
    }
    let mut progress = Progress::new(ui, refusals.last());
    let ending = match begun? {
        Some(ending) => ending,
        None => tokio::select! {
            ending = pump_output(&mut receiver, async |piece| progress.show(piece).await) => ending,
            interrupt = interrupts.next() => Ending::Interrupted(interrupt),
            never = keep_alive(&mut sender) => match never {},
        },
    };
    match ending {
        Ending::Interrupted(_) | Ending::Output(_) => sender.interrupt().await,
        Ending::Closed(_) | Ending::Lost => sender.farewell().await,
    }
    if !progress.at_line_start {
        // It may have ended in the middle of a line.
        ui.talk("")?;
    }
    conclude(ui, ending, &String::from_utf8_lossy(&progress.last))
}

/// How far it is, as the daemon tells it.
struct Progress {
    to: Output,
    /// Whether it goes to stdout.
    matters: bool,
    at_line_start: bool,
    /// What was said last.
    last: Bytes,
}

impl Progress {
    /// Goes on behind what was `said` and printed already.
    fn new(ui: &Ui, said: Option<&String>) -> Self {
        let last = said.cloned().unwrap_or_default().into();
        Self { to: ui.talk_output(), matters: ui.is_terminal(), at_line_start: true, last }
    }

    async fn show(&mut self, piece: Bytes) -> io::Result<()> {
        let shown = self.to.write_all(&piece).await;
        if let Some(end) = piece.last() {
            self.at_line_start = *end == b'\n';
            self.last = piece;
        }
        // Whoever closed stderr does not want to read it.
        if self.matters { shown } else { Ok(()) }
    }
}

/// Tells the user how it ended; `said` is printed already.
fn conclude(ui: &mut Ui, ending: Ending, said: &str) -> Result<u8, Failure> {
    const GOES_ON: &str = "kleened goes on by itself: 'klee image ls' shows when it is done";
    let close = match ending {
        Ending::Closed(close) => close,
        Ending::Lost => return Err(lost()),
        Ending::Interrupted(interrupt) => {
            ui.note(GOES_ON);
            return Err(interrupt.into());
        }
        Ending::Output(err) => {
            ui.note(GOES_ON);
            return Err(Failure::Stdout(err));
        }
    };
    match close {
        Close { code: DONE, message: Some(message) } if message.message == CREATED => {
            ui.talk("")?;
            ui.talk(CREATED)?;
            if message.data.is_empty() {
                let why = "the image's id is missing: see 'klee image ls'";
                return Err(ApiError::Unexpected(why.into()).into());
            }
            ui.data(&message.data)?;
            Ok(0)
        }
        // 0.1.1 ends so when it has waited too long.
        Close { code: DONE, message: None } => Err(lost()),
        Close { code, message } => {
            let message = message.map(|message| message.message).unwrap_or_default();
            Err(Failure::ImageNotCreated { text: failed(code, &message, said) })
        }
    }
}

fn lost() -> Failure {
    let why = "kleened may be at it still: see 'klee image ls' before you try again";
    ApiError::Lost(why.into()).into()
}

/// What is left to be told of a failure. A close frame has room for the
/// beginning of a reason only; the whole one was `said` before.
fn failed(code: u16, message: &str, said: &str) -> String {
    let reason = match message.strip_prefix(FAILED) {
        Some(rest) => rest.trim_start_matches(':').trim(),
        None if message.is_empty() => {
            return format!("{FAILED}: the daemon does not say why (close code {code})");
        }
        None => message.trim(),
    };
    let said = format!("\n{said}");
    let known = |begin: &str| said.contains(&format!("\n{begin}{reason}"));
    if reason.is_empty() || known("") || known("error: ") {
        FAILED.to_owned()
    } else {
        format!("{FAILED}: {reason}")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: CreateImageArgs,
    }

    fn typed(line: &str) -> Result<ImageCreateConfig, String> {
        let words = std::iter::once("create").chain(line.split(' '));
        let args = Typed::try_parse_from(words).map_err(|err| err.to_string())?.args;
        config(args).map_err(|err| err.to_string())
    }

    #[test]
    fn the_last_switch_holds() {
        let made = |line: &str| {
            let made = typed(line).unwrap();
            [made.dns, made.localtime, made.update, made.autotag]
        };
        assert_eq!(made("fetch-auto"), [true, true, false, true]);
        let off = "--no-dns --no-localtime --no-update --no-autotag fetch-auto";
        assert_eq!(made(off), [false; 4]);
        assert_eq!(made(&format!("--dns --localtime --update -a {off}")), [false; 4]);
        let on = "--dns --localtime --update --autotag fetch-auto";
        assert_eq!(made(on), [true; 4]);
        assert_eq!(
            made(&format!("--no-dns --no-localtime --no-update --no-autotag {on}")),
            [true; 4]
        );
        assert_eq!(
            made("--dns --dns --no-update --no-update fetch-auto"),
            [true, true, false, true]
        );
    }

    #[test]
    fn only_what_would_have_no_name_gets_one_by_itself() {
        assert!(typed("fetch-auto").unwrap().autotag);
        assert!(!typed("-a -t base fetch-auto").unwrap().autotag);
        assert!(!typed("-a fetch file:///base.txz").unwrap().autotag);
    }

    #[test]
    fn each_method_has_its_own_source() {
        let source = |line: &str| typed(line).map(|made| (made.method, made.url, made.zfs_dataset));
        let text = str::to_owned;
        let url = "file:///base.txz";
        assert_eq!(source("fetch file:///base.txz"), Ok((ImageMethod::Fetch, text(url), text(""))));
        assert_eq!(source("fetch-auto"), Ok((ImageMethod::FetchAuto, text(""), text(""))));
        for (word, method) in
            [("zfs-copy", ImageMethod::ZfsCopy), ("zfs-clone", ImageMethod::ZfsClone)]
        {
            assert_eq!(source(&format!("{word} zroot/a")), Ok((method, text(""), text("zroot/a"))));
            let missing = format!(
                "The SOURCE argument is needed when creating images using the '{word}' method."
            );
            assert_eq!(source(word), Err(missing));
            let extra = source(&format!("{word} zroot/a b c"));
            assert_eq!(extra, Err(text("too many arguments: b c")));
        }
        assert_eq!(source("fetch-auto a"), Err(text("too many arguments: a")));
        assert!(
            source("fetch").is_err() && source("fetch a b").is_err() && source("tar a").is_err()
        );
    }

    #[test]
    fn a_reason_is_told_once_and_never_lost() {
        let reason = "image creation failed: could not fetch file:///ba";
        let whole = "error: could not fetch file:///base.txz: No such file or directory\n";
        assert_eq!(failed(1011, reason, whole), "image creation failed");
        assert_eq!(
            failed(1011, reason, whole.strip_prefix("error: ").unwrap()),
            "image creation failed"
        );
        assert_eq!(
            failed(1011, reason, &format!("Unpacking...\n{whole}")),
            "image creation failed"
        );
        for other in ["", "Unpacking...\n", "I could not fetch file:///base.txz"] {
            assert_eq!(failed(1011, reason, other), reason, "{other}");
        }
        assert_eq!(
            failed(1002, "invalid parameters", ""),
            "image creation failed: invalid parameters"
        );
        assert_eq!(failed(1011, "image creation failed", "why\n"), "image creation failed");
        assert_eq!(
            failed(1011, "", "Unpacking...\n"),
            "image creation failed: the daemon does not say why (close code 1011)"
        );
    }
}
