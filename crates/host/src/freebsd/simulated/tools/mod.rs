//! The tools, one file each; what is long has its output in another.

pub(crate) mod archives;
pub(crate) mod devfs;
pub(crate) mod ifconfig;
mod ifconfig_bridge;
mod ifconfig_show;
pub(crate) mod jail;
mod jail_file;
mod jail_params;
pub(crate) mod jexec;
pub(crate) mod jls;
pub(crate) mod kldstat;
pub(crate) mod mount;
pub(crate) mod neighbours;
pub(crate) mod netstat;
pub(crate) mod pfctl;
mod pfctl_show;
mod pfctl_tables;
pub(crate) mod processes;
mod programs;
pub(crate) mod route;
pub(crate) mod sockstat;
pub(crate) mod sysctl;
pub(crate) mod zfs;
mod zfs_properties;
