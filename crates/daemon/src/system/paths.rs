//! Where things are when nobody says, on each system.

/// Where things are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The configuration file.
    pub(crate) config: &'static str,
    /// The directory of everything that Kleene keeps.
    pub(crate) root: &'static str,
    /// The address of the API: the socket of 0.1.1, which clients try first.
    pub(crate) api: &'static str,
    /// Whether a root may be named by its ZFS dataset.
    pub(crate) datasets: bool,
}

/// On Linux (Filesystem Hierarchy Standard 3.0).
pub(crate) const LINUX: Paths = Paths {
    config: "/etc/kleene/config.yaml",
    root: "/var/lib/kleene",
    api: "http:///var/run/kleened.sock",
    datasets: false,
};

/// On FreeBSD (hier(7)); file and socket are where 0.1.1 has them.
pub(crate) const FREEBSD: Paths = Paths {
    config: "/usr/local/etc/kleened/config.yaml",
    root: "/var/db/kleened",
    api: "http:///var/run/kleened.sock",
    datasets: true,
};

/// On this system.
pub(crate) const HERE: &Paths = if cfg!(target_os = "freebsd") { &FREEBSD } else { &LINUX };

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn users_of_0_1_1_find_everything_where_it_was() {
        assert_eq!(FREEBSD.config, "/usr/local/etc/kleened/config.yaml");
        assert_eq!(FREEBSD.api, "http:///var/run/kleened.sock");
        assert_eq!(LINUX.api, FREEBSD.api);
    }

    #[test]
    fn two_systems_differ_where_their_hierarchies_do() {
        for paths in [&LINUX, &FREEBSD] {
            for path in [paths.config, paths.root] {
                assert!(Path::new(path).is_absolute(), "{path}");
            }
        }
        assert!(LINUX.config != FREEBSD.config && LINUX.root != FREEBSD.root);
        assert!([&LINUX, &FREEBSD].contains(&HERE));
    }
}
