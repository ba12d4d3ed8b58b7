//! The verbs of images. What takes time, making and deleting their files, is
//! done by others: before an image is known here, and after it is known no more.

use std::sync::Arc;

use kleene_model::refusal::ImageRefusal;
use kleene_model::{Container, Image, ImageId, Nametag, Refusal};

use crate::command::Outcome;
use crate::engine::{Engine, Given};
use crate::host::Host;
use crate::lookup;
use crate::state::State;
use crate::store::{Durability, Key, Store};

impl<H: Host, S: Store> Engine<H, S> {
    /// Takes in an image that is whole.
    pub(crate) fn image_add(
        &mut self,
        id: ImageId,
        dataset: String,
        nametag: Option<Nametag>,
        given: &Given<'_>,
    ) -> Result<Outcome, Refusal> {
        let mut next = self.state.clone();
        if next.image(id).is_some() {
            return Err(Refusal::Host { what: format!("the image {id} is there already") });
        }
        next.put_image(Arc::new(Image::of_base_system(id, given.now.clone(), dataset)));
        give_name(&mut next, id, nametag)?;
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Id(id.to_string()))
    }

    /// Takes an image back in.
    pub(crate) fn image_restore(&mut self, mut image: Image) -> Result<Outcome, Refusal> {
        let mut next = self.state.clone();
        let others = next.images().filter(|other| other.id != image.id);
        if others.into_iter().any(|other| (&other.name, &other.tag) == (&image.name, &image.tag)) {
            image.call(None);
        }
        next.put_image(Arc::new(image));
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Done)
    }

    /// Gives an image another name.
    pub(crate) fn image_tag(&mut self, reference: &str, text: &str) -> Result<Outcome, Refusal> {
        let image = lookup::image(&self.state, reference)?;
        let nametag = Nametag::parse(text)?;
        if image.is_built_in() {
            let what = format!("giving the built-in image '{reference}' another name");
            return Err(Refusal::Unsupported { what });
        }
        let id = image.id;
        let mut next = self.state.clone();
        give_name(&mut next, id, nametag)?;
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Id(id.to_string()))
    }

    /// Forgets an image.
    pub(crate) fn image_remove(&mut self, reference: &str) -> Result<Outcome, Refusal> {
        let found = lookup::image(&self.state, reference).map_err(|refusal| match refusal {
            Refusal::ImageNotFound => {
                ImageRefusal::ToRemoveNotFound { reference: reference.to_owned() }.into()
            }
            other => other,
        });
        let image = Arc::clone(found?);
        if image.is_built_in() {
            let what = format!("removing the built-in image '{reference}'");
            return Err(Refusal::Unsupported { what });
        }
        let users = self.state.containers_on(image.id);
        let containers: Vec<String> = users.map(|container| container.id.to_string()).collect();
        if !containers.is_empty() {
            let image = image.id.to_string();
            return Err(ImageRefusal::InUse { image, containers }.into());
        }
        self.forget(vec![image])
    }

    /// Forgets the images that nobody uses.
    pub(crate) fn image_prune(&mut self, all: bool) -> Result<Outcome, Refusal> {
        let unused = |image: &&Arc<Image>| {
            !image.is_built_in()
                && (all || image.name.is_empty())
                && self.state.containers_on(image.id).next().is_none()
        };
        self.forget(self.state.images().filter(unused).cloned().collect())
    }

    fn forget(&mut self, images: Vec<Arc<Image>>) -> Result<Outcome, Refusal> {
        let mut next = self.state.clone();
        for image in &images {
            next.remove_image(image.id);
        }
        self.commit(next, Durability::Disk)?;
        Ok(Outcome::Forgotten(images))
    }
}

impl State {
    /// The image of that id.
    #[must_use]
    pub fn image(&self, id: ImageId) -> Option<&Arc<Image>> {
        self.images.get(&id)
    }

    /// All images, the built-in one too.
    pub fn images(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.images.values()
    }

    /// The image that is called so: at most one is.
    #[must_use]
    pub fn image_called(&self, nametag: &Nametag) -> Option<&Arc<Image>> {
        self.images().find(|image| image.is_called(nametag))
    }

    /// The containers that stand on an image.
    pub fn containers_on(&self, image: ImageId) -> impl Iterator<Item = &Arc<Container>> {
        self.containers().filter(move |container| container.image == image)
    }

    /// Adds or replaces an image.
    pub fn put_image(&mut self, image: Arc<Image>) {
        self.touched.keys.insert(Key::Image(image.id));
        self.images.insert(image.id, image);
    }

    /// Changes an image in place.
    pub fn edit_image(&mut self, id: ImageId, edit: impl FnOnce(&mut Image)) {
        if let Some(image) = self.images.get(&id) {
            let mut changed = Image::clone(image);
            edit(&mut changed);
            self.put_image(Arc::new(changed));
        }
    }

    /// Removes an image. No container may stand on it.
    pub fn remove_image(&mut self, id: ImageId) {
        self.images.remove(&id);
        self.touched.keys.insert(Key::Image(id));
    }
}

/// Gives an image a name, which the image that has it loses, or takes its own away.
fn give_name(state: &mut State, id: ImageId, nametag: Option<Nametag>) -> Result<(), Refusal> {
    let nametag = nametag.map(Nametag::permit_new).transpose()?;
    let holder = nametag.as_ref().and_then(|nametag| state.image_called(nametag));
    if let Some(holder) = holder.map(|image| image.id) {
        state.edit_image(holder, |image| image.call(None));
    }
    state.edit_image(id, |image| image.call(nametag));
    Ok(())
}
