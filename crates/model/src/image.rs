//! Images. One is built in: the host's own `/usr`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::HOST_USR;
use crate::id::ImageId;
use crate::refusal::ImageRefusal;

/// The tag of an image that is named without one.
const LATEST: &str = "latest";

/// Longest name of an image, in bytes.
const NAME_MAX: usize = 255;

/// Longest tag of an image, in bytes.
const TAG_MAX: usize = 128;

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its name; empty: none, and no tag.
    pub name: String,
    /// Its tag.
    pub tag: String,
    /// The command of a container that names none.
    pub cmd: Vec<String>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// The user of a container that names none.
    pub user: String,
    /// When it was made, RFC 3339 in UTC with microseconds.
    pub created: String,
    /// The dataset that holds it; empty where there is none.
    pub dataset: String,
}

impl Image {
    /// The built-in image. It is the same on every host, so its id is fixed:
    /// the bytes of `host-u`.
    #[must_use]
    pub fn host_usr() -> Self {
        let id = ImageId::from_bytes(*b"host-u");
        Self {
            id: id.unwrap_or_else(|| unreachable!("the bytes of 'host-u' have letters")),
            name: HOST_USR.to_owned(),
            tag: LATEST.to_owned(),
            cmd: vec!["/bin/sh".to_owned()],
            env: vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ],
            user: "root".to_owned(),
            // As old as anything can be.
            created: "1970-01-01T00:00:00.000000Z".to_owned(),
            dataset: String::new(),
        }
    }

    /// One that was made of a base system, with what 0.1.1 gives such an image.
    #[must_use]
    pub fn of_base_system(id: ImageId, created: String, dataset: String) -> Self {
        Self {
            id,
            name: String::new(),
            tag: String::new(),
            cmd: ["/bin/sh", "/etc/rc"].map(str::to_owned).to_vec(),
            env: Vec::new(),
            user: "root".to_owned(),
            created,
            dataset,
        }
    }

    /// Whether it is the built-in one.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.id == Self::host_usr().id
    }

    /// Whether it is called so.
    #[must_use]
    pub fn is_called(&self, nametag: &Nametag) -> bool {
        self.name == nametag.name && self.tag == nametag.tag
    }

    /// Gives it a name, or takes its name away.
    pub fn call(&mut self, nametag: Option<Nametag>) {
        let nametag = nametag.map(|Nametag { name, tag }| (name, tag));
        (self.name, self.tag) = nametag.unwrap_or_default();
    }
}

/// What an image is called: `name:tag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nametag {
    name: String,
    tag: String,
}

impl Nametag {
    /// Reads `name[:tag]`; without a tag it is `latest`. An empty text is no name.
    ///
    /// # Errors
    /// [`ImageRefusal::InvalidName`].
    pub fn parse(text: &str) -> Result<Option<Self>, ImageRefusal> {
        if text.is_empty() {
            return Ok(None);
        }
        let (name, tag) = text.split_once(':').unwrap_or((text, LATEST));
        if is_plain(name, NAME_MAX, b"._-/") && is_plain(tag, TAG_MAX, b"._-") {
            return Ok(Some(Self { name: name.to_owned(), tag: tag.to_owned() }));
        }
        Err(ImageRefusal::InvalidName { nametag: text.to_owned() })
    }

    /// The same for a name that an image is to be given.
    ///
    /// # Errors
    /// [`ImageRefusal::InvalidName`]; [`ImageRefusal::NameReserved`] for the name of the
    /// built-in image, with whatever tag.
    pub fn parse_new(text: &str) -> Result<Option<Self>, ImageRefusal> {
        Self::parse(text)?.map(Self::permit_new).transpose()
    }

    /// Gives it back where an image may be given it.
    ///
    /// # Errors
    /// [`ImageRefusal::NameReserved`].
    pub fn permit_new(self) -> Result<Self, ImageRefusal> {
        if self.name == HOST_USR {
            return Err(ImageRefusal::NameReserved { nametag: self.to_string() });
        }
        Ok(self)
    }
}

impl fmt::Display for Nametag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

fn is_plain(text: &str, max: usize, also: &[u8]) -> bool {
    text.len() <= max
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_image_has_an_id_and_is_called_by_its_name() {
        let mut image = Image::host_usr();
        assert_eq!(image.id.to_string(), "686f73742d75");
        assert!(image.is_built_in());
        let nametag = |text| Nametag::parse(text).expect("a nametag").expect("a name");
        for good in ["host-usr", "host-usr:latest"] {
            assert!(image.is_called(&nametag(good)), "{good}");
        }
        for bad in ["host", "host-usr:old"] {
            assert!(!image.is_called(&nametag(bad)), "{bad}");
        }
        image.call(Some(nametag("base:1")));
        assert_eq!((&*image.name, &*image.tag), ("base", "1"));
        image.call(None);
        assert_eq!((&*image.name, &*image.tag), ("", ""));
    }

    #[test]
    fn nametags_are_plain() {
        for (text, read) in [
            ("FreeBSD-13.2-RELEASE-p4", "FreeBSD-13.2-RELEASE-p4:latest"),
            ("me/web_app:1.0", "me/web_app:1.0"),
        ] {
            let nametag = Nametag::parse(text).expect("a nametag").expect("a name");
            assert_eq!(nametag.to_string(), read);
        }
        assert_eq!(Nametag::parse(""), Ok(None));
        let long = "a".repeat(256);
        for bad in [":", ":x", "a:", "a:b:c", "a b", "a@b", "-a", "a:-b", "a:b/c", "é", &long] {
            let refused = Nametag::parse(bad).expect_err("no nametag");
            assert!(matches!(refused, ImageRefusal::InvalidName { .. }), "{bad}");
        }
    }
}
