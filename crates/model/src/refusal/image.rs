//! What is refused of images only.

/// Why something was refused of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageRefusal {
    /// A name breaks the rules.
    #[error(
        "invalid image name '{}': use name or name:tag, of letters, digits, '.', '_' and '-', in the name '/' too",
        nametag.escape_default()
    )]
    InvalidName {
        /// The name and tag.
        nametag: String,
    },
    /// The name of the built-in image.
    #[error("the image name '{nametag}' is that of the built-in image: use another")]
    NameReserved {
        /// The name and tag.
        nametag: String,
    },
    /// It is not there, in the words of removal.
    #[error("Error: No such image: {reference}")]
    ToRemoveNotFound {
        /// What was asked for.
        reference: String,
    },
    /// Containers stand on it (the words of 0.1.1).
    #[error("could not remove image {image} since it is used for containers:\n{}", containers.join("\n"))]
    InUse {
        /// Its id.
        image: String,
        /// The containers' ids.
        containers: Vec<String>,
    },
}
