//! The files of images: made before an image is known to the engine, deleted after
//! it is known no more. What is found without being known was left by a daemon that
//! died in between.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kleene_engine::{Command, Outcome};
use kleene_model::api::ImageCreateConfig;
use kleene_model::{Image, ImageId, Nametag, Refusal};
use tokio::sync::{mpsc, oneshot};

use super::setup::empty_trash;
use crate::config::Config;
use crate::core::{self, Core};
use crate::system::{self, ImageMade};

/// What does the work on files. It may wait.
trait Files: Send + Sync {
    fn create(
        &self,
        config: &Config,
        id: ImageId,
        request: &ImageCreateConfig,
        say: &dyn Fn(&str),
    ) -> Result<ImageMade, system::Error>;
    fn discard(&self, config: &Config, id: ImageId) -> Result<(), system::Error>;
    fn all(&self, config: &Config) -> Result<BTreeSet<ImageId>, system::Error>;
}

/// This system.
struct Here;

impl Files for Here {
    fn create(
        &self,
        config: &Config,
        id: ImageId,
        request: &ImageCreateConfig,
        say: &dyn Fn(&str),
    ) -> Result<ImageMade, system::Error> {
        system::create_image(config, id, request, say)
    }

    fn discard(&self, config: &Config, id: ImageId) -> Result<(), system::Error> {
        system::discard_image(config, id)
    }

    fn all(&self, config: &Config) -> Result<BTreeSet<ImageId>, system::Error> {
        system::images(config)
    }
}

/// The images that are being made, and those that are going.
#[derive(Clone)]
pub(crate) struct Images {
    files: Arc<dyn Files>,
    making: Arc<Mutex<BTreeSet<ImageId>>>,
    /// Held by who deletes files of images: whether an image is known is not to change
    /// under its hands.
    deleting: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Images {
    fn default() -> Self {
        Self::over(Here)
    }
}

/// An image that is being made.
pub(crate) struct Making {
    /// What is told meanwhile, a line each; it ends before the result comes.
    pub(crate) said: mpsc::UnboundedReceiver<String>,
    /// Its id in the end, or why there is none.
    pub(crate) made: oneshot::Receiver<Result<ImageId, String>>,
}

/// What became of images that were to go.
pub(crate) struct Forgotten {
    /// Those that are gone.
    pub(crate) gone: Vec<ImageId>,
    /// Why one could not go, and is there as before.
    pub(crate) kept: Option<Refusal>,
}

impl Images {
    fn over(files: impl Files + 'static) -> Self {
        Self { files: Arc::new(files), making: Arc::default(), deleting: Arc::default() }
    }

    fn list(&self) -> MutexGuard<'_, BTreeSet<ImageId>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an image, on a thread of its own: the daemon's end waits for no download.
    pub(crate) fn make(
        &self,
        core: &Core,
        config: &Arc<Config>,
        request: ImageCreateConfig,
    ) -> Making {
        let (say, said) = mpsc::unbounded_channel();
        let (tell, made) = oneshot::channel();
        let (images, core, config) = (self.clone(), core.clone(), Arc::clone(config));
        let thread = std::thread::Builder::new().name("image".to_owned());
        let spawned = thread.spawn(move || {
            let id = images.draw(&core);
            let result = make(&*images.files, &core, &config, id, &request, &|line| {
                // A client that has gone is told nothing.
                drop(say.send(line.to_owned()));
            });
            images.list().remove(&id);
            drop(say);
            match &result {
                Ok(id) => tracing::info!(image = %id, "made"),
                Err(why) => tracing::warn!(image = %id, why, "not made"),
            }
            drop(tell.send(result));
        });
        if let Err(err) = spawned {
            // Both ends that it had are gone, which is told as an unexpected end.
            tracing::error!(%err, "no thread for an image");
        }
        Making { said, made }
    }

    /// An id that no image has, held as that of one that is being made.
    fn draw(&self, core: &Core) -> ImageId {
        let mut making = self.list();
        let state = core.snapshot();
        loop {
            let Some(id) = ImageId::from_bytes(core::draw()) else { continue };
            if state.image(id).is_none() && making.insert(id) {
                return id;
            }
        }
    }

    /// Has images forgotten, and deletes their files. One whose files cannot go, as
    /// others stand on them, is known again.
    ///
    /// # Errors
    /// The engine's refusal: nothing was forgotten then.
    pub(crate) async fn forget(
        &self,
        core: &Core,
        config: &Arc<Config>,
        command: Command,
    ) -> Result<Forgotten, Refusal> {
        let _alone = self.deleting.lock().await;
        let Outcome::Forgotten(images) = core.command(command).await? else {
            unreachable!("only images are forgotten by this command")
        };
        let (mut gone, mut kept) = (Vec::new(), None);
        for image in images {
            let (id, config, files) = (image.id, Arc::clone(config), Arc::clone(&self.files));
            let deleted = tokio::task::spawn_blocking(move || files.discard(&config, id)).await;
            let deleted = deleted
                .map_err(|err| format!("it ended: {err}"))
                .and_then(|discarded| discarded.map_err(|err| err.to_string()));
            match deleted {
                Ok(()) => gone.push(id),
                Err(why) => {
                    tracing::warn!(image = %id, why, "it stays");
                    let restore = Command::ImageRestore(Box::new(Image::clone(&image)));
                    if let Err(err) = core.command(restore).await {
                        tracing::error!(image = %id, %err, "it is not known again");
                    }
                    kept =
                        Some(Refusal::Host { what: format!("could not remove image {id}: {why}") });
                }
            }
        }
        let config = Arc::clone(config);
        drop(tokio::task::spawn_blocking(move || empty_trash(&config)));
        Ok(Forgotten { gone, kept })
    }

    /// Deletes files of images that nobody knows.
    ///
    /// # Errors
    /// When they cannot be listed, or the first that stays.
    pub(super) fn collect(&self, core: &Core, config: &Config) -> Result<(), system::Error> {
        // One that is being made is known before it is made no more, so this order
        // misses none.
        let _alone = self.deleting.blocking_lock();
        let found = self.files.all(config)?;
        let making = self.list().clone();
        let state = core.snapshot();
        let mut first = Ok(());
        for id in found {
            if making.contains(&id) || state.image(id).is_some() {
                continue;
            }
            tracing::info!(image = %id, "left behind by an image that is not known");
            first = first.and(self.files.discard(config, id));
        }
        first
    }
}

fn make(
    files: &dyn Files,
    core: &Core,
    config: &Config,
    id: ImageId,
    request: &ImageCreateConfig,
    say: &dyn Fn(&str),
) -> Result<ImageId, String> {
    // Before anything is made.
    let named = Nametag::parse_new(&request.tag).map_err(|refusal| refusal.to_string())?;
    let ImageMade { dataset, release } = files.create(config, id, request, say)?;
    // One that the user has chosen says more than that of the release.
    let release = release.filter(|_| request.autotag && named.is_none());
    let nametag = release.map_or(Ok(named), |release| Nametag::parse_new(&release));
    let known = nametag
        .map_err(Refusal::from)
        .and_then(|nametag| core.ask(Command::ImageAdd { image: id, dataset, nametag }));
    known.map(|_| id).map_err(|refusal| {
        if let Err(err) = files.discard(config, id) {
            tracing::warn!(image = %id, %err, "what was made of it stays");
        }
        refusal.to_string()
    })
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
