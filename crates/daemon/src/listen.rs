//! The sockets that the API is served on.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use tokio::net::{TcpListener, UnixListener};

use crate::config::Address;

/// Who may use a unix socket: its owner and its group.
const SOCKET_MODE: u32 = 0o660;

/// A socket that is listened on.
pub(crate) enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP socket.
    Tcp(TcpListener),
}

/// Listens on an address.
///
/// # Errors
/// What failed, for which address.
pub(crate) async fn listen(address: &Address, group: Option<&str>) -> Result<Listener, String> {
    match address {
        Address::Unix(path) => unix(path, group).await.map(Listener::Unix),
        Address::Tcp(address) => TcpListener::bind(address)
            .await
            .map(Listener::Tcp)
            .map_err(|err| format!("cannot listen on {address}: {err}")),
    }
}

async fn unix(path: &Path, group: Option<&str>) -> Result<UnixListener, String> {
    let failed = |what: &str, err: std::io::Error| {
        format!("cannot {what} the socket {}: {err}", path.display())
    };
    make_way(path).await?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|err| failed("make the directory of", err))?;
    }
    // Made closed, opened once it belongs to the right group.
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(mask);
    let listener = bound.map_err(|err| failed("listen on", err))?;
    if let Some(group) = group {
        let gid = group_id(group)?;
        std::os::unix::fs::chown(path, None, Some(gid))
            .map_err(|err| failed("give to its group", err))?;
    }
    let mode = std::fs::Permissions::from_mode(SOCKET_MODE);
    std::fs::set_permissions(path, mode).map_err(|err| failed("open to its group", err))?;
    Ok(listener)
}

/// Removes the socket of a daemon that is gone. Anything else stays.
async fn make_way(path: &Path) -> Result<(), String> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(format!(
            "{} exists and is no socket: choose another path in 'api_listening_sockets'",
            path.display()
        ));
    }
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(format!(
            "{} is served by another program: stop it, or choose another path in 'api_listening_sockets'",
            path.display()
        ));
    }
    std::fs::remove_file(path)
        .map_err(|err| format!("cannot remove the old socket {}: {err}", path.display()))
}

/// The id of a group of this host, by name or number.
fn group_id(group: &str) -> Result<u32, String> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    let groups = std::fs::read_to_string("/etc/group")
        .map_err(|err| format!("cannot read /etc/group: {err}"))?;
    let named = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    named.ok_or_else(|| format!("'socket_group': there is no group '{group}' on this host"))
}
