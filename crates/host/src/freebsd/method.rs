//! How an image is made, as the API asks for it.

use kleene_model::api::{ImageCreateConfig, ImageMethod};

use super::archive::{InvalidUrl, Url};
use super::datasets::{Dataset, InvalidDataset};
use super::release::{Release, ReleaseError};

/// How an image is made (`method` of the API).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// A copy of a dataset.
    ZfsCopy(Dataset),
    /// A clone of a dataset, which has to stay.
    ZfsClone(Dataset),
    /// What an archive holds.
    Fetch(Url),
}

/// Why there is no such way to make an image.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// Nothing is updated while an image is made.
    #[error(
        "unsupported: 'update' of a new image: make it without, and run freebsd-update in its containers, or run 'freebsd-update -b' on a dataset and make the image of that by zfs-copy"
    )]
    Update,
    /// No dataset is named.
    #[error(transparent)]
    Dataset(#[from] InvalidDataset),
    /// No archive is named.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The host's release has no archive.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

impl Method {
    /// Reads `method` of the API with what belongs to it; `release` is asked for that of
    /// the host by `fetch-auto` only.
    ///
    /// # Errors
    /// `update`; a dataset or an address that is none; what `release` says.
    pub fn read(
        config: &ImageCreateConfig,
        release: impl FnOnce() -> Result<Release, ReleaseError>,
    ) -> Result<Self, MethodError> {
        if config.update {
            return Err(MethodError::Update);
        }
        let dataset = || Dataset::parse(&config.zfs_dataset);
        Ok(match config.method {
            ImageMethod::ZfsCopy => Self::ZfsCopy(dataset()?),
            ImageMethod::ZfsClone => Self::ZfsClone(dataset()?),
            ImageMethod::Fetch => Self::Fetch(Url::parse(&config.url)?),
            ImageMethod::FetchAuto => Self::Fetch(release()?.url()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(method: ImageMethod) -> ImageCreateConfig {
        ImageCreateConfig {
            method,
            tag: String::new(),
            dns: true,
            localtime: true,
            update: false,
            zfs_dataset: String::new(),
            url: String::new(),
            autotag: false,
        }
    }

    fn read(config: &ImageCreateConfig) -> Result<Method, String> {
        let release = || Release::parse("13.2-RELEASE-p1", "amd64");
        Method::read(config, release).map_err(|err| err.to_string())
    }

    #[test]
    fn each_way_needs_what_it_is_made_of() {
        use ImageMethod::{Fetch, FetchAuto, ZfsClone, ZfsCopy};

        let base = Dataset::parse("pool/base").expect("a dataset");
        for (method, made) in
            [(ZfsCopy, Method::ZfsCopy(base.clone())), (ZfsClone, Method::ZfsClone(base))]
        {
            let named =
                |name: &str| ImageCreateConfig { zfs_dataset: name.to_owned(), ..config(method) };
            assert_eq!(read(&named("pool/base")), Ok(made));
            for bad in ["", "/pool/base", "pool@x", "-r"] {
                assert_eq!(read(&named(bad)), Err("invalid dataset".to_owned()), "{bad}");
            }
        }
        let at = |url: &str| ImageCreateConfig { url: url.to_owned(), ..config(Fetch) };
        let made = read(&at("file:///base.txz")).expect("read");
        assert_eq!(made, Method::Fetch(Url::parse("file:///base.txz").expect("an address")));
        for bad in ["", "-o", "base.txz"] {
            let text = read(&at(bad)).expect_err(bad);
            assert!(text.starts_with(&format!("invalid url '{bad}'")), "{text}");
        }
        let auto = "https://download.freebsd.org/releases/amd64/13.2-RELEASE/base.txz";
        let made = read(&config(FetchAuto)).expect("read");
        assert_eq!(made, Method::Fetch(Url::parse(auto).expect("an address")));
    }

    #[test]
    fn nothing_is_updated_and_the_host_is_asked_only_where_that_helps() {
        let mut updated = config(ImageMethod::FetchAuto);
        updated.update = true;
        let text = read(&updated).expect_err("unsupported");
        assert!(text.starts_with("unsupported: 'update'"), "{text}");
        assert!(text.contains("freebsd-update"), "{text}");
        let release = || -> Result<Release, ReleaseError> { panic!("asked") };
        let mut other = config(ImageMethod::Fetch);
        other.url = "file:///x".to_owned();
        assert!(Method::read(&other, release).is_ok());
        let none = Release::parse("15.0-CURRENT", "amd64");
        let err = Method::read(&config(ImageMethod::FetchAuto), || none).expect_err("none");
        assert!(err.to_string().starts_with("could not deduce url"), "{err}");
    }
}
