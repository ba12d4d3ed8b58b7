//! `-m SOURCE:DESTINATION[:ro|rw]`.

use kleene_model::api::{MountPointConfig, MountType};

/// A mount that cannot be read, in the words of 0.1.1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MountError {
    #[error("invalid mount format '{0}'. Max 3 elements seperated by ':'.")]
    TooMany(String),
    #[error("invalid mount format '{0}'. Must have at least 2 elements seperated by ':'.")]
    TooFew(String),
    #[error("invalid mount format '{0}'. Last element should be either 'ro' or 'rw'.")]
    Mode(String),
}

/// Reads one mount. A source that starts with `/` is a path, else a volume.
pub(crate) fn parse(text: &str) -> Result<MountPointConfig, MountError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, read_only) = match parts[..] {
        [source, destination] | [source, destination, "rw"] => (source, destination, false),
        [source, destination, "ro"] => (source, destination, true),
        [_, _, _] => return Err(MountError::Mode(text.to_owned())),
        [] | [_] => return Err(MountError::TooFew(text.to_owned())),
        _ => return Err(MountError::TooMany(text.to_owned())),
    };
    let kind = if source.starts_with('/') { MountType::Nullfs } else { MountType::Volume };
    Ok(MountPointConfig {
        kind,
        destination: destination.to_owned(),
        source: source.to_owned(),
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_paths_or_volumes() {
        let path = parse("/srv:/data").unwrap();
        assert_eq!((path.kind, path.read_only), (MountType::Nullfs, false));
        let volume = parse("cache:/data:ro").unwrap();
        assert_eq!((volume.kind, volume.source.as_str()), (MountType::Volume, "cache"));
        assert!(volume.read_only && !parse("/a:/b:rw").unwrap().read_only);
    }

    #[test]
    fn wrong_mounts_are_refused_in_known_words() {
        let why = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(
            why("/srv"),
            "invalid mount format '/srv'. Must have at least 2 elements seperated by ':'."
        );
        assert_eq!(
            why("a:b:ro:c"),
            "invalid mount format 'a:b:ro:c'. Max 3 elements seperated by ':'."
        );
        assert_eq!(
            why("a:b:rx"),
            "invalid mount format 'a:b:rx'. Last element should be either 'ro' or 'rw'."
        );
    }
}
