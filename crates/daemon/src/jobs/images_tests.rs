#![allow(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::sync::mpsc as gates;
use std::time::Duration;

use kleene_engine::view;
use kleene_model::api::ImageMethod;

use super::*;
use crate::core::tests::Rig;
use crate::jobs::tests::config;

const LIMIT: Duration = Duration::from_secs(10);

/// Images as files, which may refuse, and wait where a test wants it.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    there: BTreeSet<ImageId>,
    /// Those that do not go.
    stuck: BTreeSet<ImageId>,
    release: Option<String>,
    fails: bool,
    /// One is told when an image is half made, the other is waited for.
    gate: Option<(gates::Sender<()>, gates::Receiver<()>)>,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Files for Disk {
    fn create(
        &self,
        _: &Config,
        id: ImageId,
        _: &ImageCreateConfig,
        say: &dyn Fn(&str),
    ) -> Result<ImageMade, system::Error> {
        say("at it");
        self.state().there.insert(id);
        let gate = self.state().gate.take();
        if let Some((at_it, go_on)) = gate {
            at_it.send(()).unwrap();
            go_on.recv_timeout(LIMIT).unwrap();
        }
        let mut state = self.state();
        if state.fails {
            state.there.remove(&id);
            return Err("no space".to_owned().into());
        }
        Ok(ImageMade { dataset: format!("pool/{id}"), release: state.release.clone() })
    }

    fn discard(&self, _: &Config, id: ImageId) -> Result<(), system::Error> {
        let mut state = self.state();
        if state.stuck.contains(&id) {
            return Err("somebody has cloned it".to_owned().into());
        }
        state.there.remove(&id);
        Ok(())
    }

    fn all(&self, _: &Config) -> Result<BTreeSet<ImageId>, system::Error> {
        Ok(self.state().there.clone())
    }
}

struct Stage {
    rig: Rig,
    disk: Disk,
    images: Images,
    config: Arc<Config>,
    _root: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let (root, disk) = (tempfile::tempdir().unwrap(), Disk::default());
        let config = Arc::new(config(root.path()));
        let images = Images::over(disk.clone());
        Self { rig: Rig::new(), disk, images, config, _root: root }
    }

    fn begin(&self, tag: &str) -> Making {
        let request = ImageCreateConfig {
            method: ImageMethod::FetchAuto,
            tag: tag.to_owned(),
            dns: true,
            localtime: true,
            update: false,
            zfs_dataset: String::new(),
            url: String::new(),
            autotag: true,
        };
        self.images.make(&self.rig.core, &self.config, request)
    }

    async fn make(&self, tag: &str) -> Result<ImageId, String> {
        tokio::time::timeout(LIMIT, self.begin(tag).made).await.unwrap().unwrap()
    }

    async fn remove(&self, image: &str) -> Result<Forgotten, Refusal> {
        let command = Command::ImageRemove { image: image.to_owned() };
        self.images.forget(&self.rig.core, &self.config, command).await
    }

    /// As the start of a daemon does it.
    async fn collect(&self) -> Result<(), system::Error> {
        let (images, core) = (self.images.clone(), self.rig.core.clone());
        let config = Arc::clone(&self.config);
        tokio::task::spawn_blocking(move || images.collect(&core, &config)).await.unwrap()
    }

    /// Names of the images that are known, but the built-in one; and those whose files
    /// are there.
    fn all(&self) -> (Vec<String>, usize) {
        let known = view::image_list(&self.rig.core.snapshot());
        let known = known.into_iter().filter(|image| image.name != "host-usr");
        let mut names: Vec<String> =
            known.map(|image| format!("{}:{}", image.name, image.tag)).collect();
        names.sort();
        (names, self.disk.state().there.len())
    }
}

fn known(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn an_image_is_known_when_it_is_whole_and_not_before() {
    let stage = Stage::new();
    let ((at_it, is_at_it), (go_on, goes_on)) = (gates::channel(), gates::channel());
    stage.disk.state().gate = Some((at_it, goes_on));
    let mut making = stage.begin("base");
    assert_eq!(making.said.recv().await.as_deref(), Some("at it"));
    is_at_it.recv_timeout(LIMIT).unwrap();
    assert_eq!(stage.all(), (known(&[]), 1));
    // The clean-up of the start leaves it alone, and takes what nobody is at.
    let left = ImageId::from_bytes([0xee; 6]).unwrap();
    stage.disk.state().there.insert(left);
    stage.collect().await.unwrap();
    assert!(!stage.disk.state().there.contains(&left));
    go_on.send(()).unwrap();
    let id = tokio::time::timeout(LIMIT, making.made).await.unwrap().unwrap().unwrap();
    assert_eq!(making.said.recv().await, None);
    assert_eq!(stage.all(), (known(&["base:latest"]), 1));
    let shown = view::image_inspect(&stage.rig.core.snapshot(), "base").unwrap();
    assert_eq!((shown.id, shown.dataset), (id.to_string(), format!("pool/{id}")));
    stage.collect().await.unwrap();
    assert_eq!(stage.all(), (known(&["base:latest"]), 1));
}

#[tokio::test]
async fn one_that_fails_leaves_nothing() {
    let stage = Stage::new();
    stage.disk.state().fails = true;
    assert_eq!(stage.make("base").await, Err("no space".to_owned()));
    stage.disk.state().fails = false;
    // Before anything is made, and after it.
    assert!(stage.make("a:b:c").await.unwrap_err().starts_with("invalid image name"));
    assert!(stage.make("host-usr").await.unwrap_err().contains("built-in image"));
    stage.disk.state().release = Some("no name".to_owned());
    assert!(stage.make("").await.unwrap_err().starts_with("invalid image name"));
    assert_eq!(stage.all(), (known(&[]), 0));
    stage.disk.state().release = Some("FreeBSD-13.2-RELEASE".to_owned());
    stage.make("").await.unwrap();
    stage.make("mine").await.unwrap();
    assert_eq!(stage.all(), (known(&["FreeBSD-13.2-RELEASE:latest", "mine:latest"]), 2));
}

#[tokio::test]
async fn one_whose_files_do_not_go_is_known_again_and_the_others_go() {
    let stage = Stage::new();
    let one = stage.make("one").await.unwrap();
    let other = stage.make("other").await.unwrap();
    stage.disk.state().stuck.insert(one);
    let Forgotten { gone, kept } = stage.remove("one").await.unwrap();
    let why = kept.unwrap().to_string();
    assert_eq!(why, format!("could not remove image {one}: somebody has cloned it"));
    assert!(gone.is_empty());
    assert_eq!(stage.all(), (known(&["one:latest", "other:latest"]), 2));
    let all = Command::ImagePrune { all: true };
    let forgotten = stage.images.forget(&stage.rig.core, &stage.config, all).await.unwrap();
    assert_eq!((forgotten.gone, forgotten.kept.is_some()), (vec![other], true));
    assert_eq!(stage.all(), (known(&["one:latest"]), 1));
    stage.disk.state().stuck.clear();
    assert_eq!(stage.remove("one").await.unwrap().gone, [one]);
    assert_eq!(stage.all(), (known(&[]), 0));
    assert!(stage.remove("one").await.is_err());
}
