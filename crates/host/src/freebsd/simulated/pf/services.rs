//! Ports by their names in FreeBSD's `/etc/services`. `http`, `http-alt` and the
//! numbers without a name are recorded; the others are well known, and every port
//! that is not here is shown as a number.

const SERVICES: &[(u16, &str)] = &[
    (20, "ftp-data"),
    (21, "ftp"),
    (22, "ssh"),
    (23, "telnet"),
    (25, "smtp"),
    (53, "domain"),
    (69, "tftp"),
    (80, "http"),
    (110, "pop3"),
    (111, "sunrpc"),
    (123, "ntp"),
    (143, "imap"),
    (161, "snmp"),
    (389, "ldap"),
    (443, "https"),
    (514, "syslog"),
    (587, "submission"),
    (636, "ldaps"),
    (993, "imaps"),
    (995, "pop3s"),
    (3306, "mysql"),
    (5432, "postgresql"),
    (8080, "http-alt"),
];

/// The name of a port.
pub(super) fn name(port: u16) -> Option<&'static str> {
    SERVICES.iter().find(|(one, _)| *one == port).map(|(_, name)| *name)
}

/// The port of a name.
pub(super) fn port(name: &str) -> Option<u16> {
    SERVICES.iter().find(|(_, one)| *one == name).map(|(port, _)| *port)
}
