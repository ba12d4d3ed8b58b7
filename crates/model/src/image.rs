//! Images. One is built in: the host's own `/usr`.

use serde::{Deserialize, Serialize};

use crate::api::HOST_USR;
use crate::id::ImageId;

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its name.
    pub name: String,
    /// Its tag.
    pub tag: String,
    /// The command of a container that names none.
    pub cmd: Vec<String>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// The user of a container that names none.
    pub user: String,
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
            tag: "latest".to_owned(),
            cmd: vec!["/bin/sh".to_owned()],
            env: vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ],
            user: "root".to_owned(),
        }
    }

    /// Whether `reference` means this image: its name, `name:tag`, or an id
    /// prefix.
    #[must_use]
    pub fn answers_to(&self, reference: &str) -> bool {
        !reference.is_empty()
            && (reference == self.name
                || reference == format!("{}:{}", self.name, self.tag)
                || self.id.starts_with(reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_image_has_an_id_and_answers_to_its_names() {
        let image = Image::host_usr();
        assert_eq!(image.id.to_string(), "686f73742d75");
        for good in ["host-usr", "host-usr:latest", "686f73742d75", "686f"] {
            assert!(image.answers_to(good), "{good}");
        }
        for bad in ["", "host", "host-usr:old", "host-usr@x"] {
            assert!(!image.answers_to(bad), "{bad}");
        }
    }
}
