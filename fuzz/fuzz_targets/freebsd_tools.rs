//! What the tools of FreeBSD's base system print: a value or an error.
#![no_main]

use kleene_host::freebsd::jail::Parameters;
use kleene_host::freebsd::mount_table;
use kleene_host::freebsd::net::{inner, interfaces, routes, sockets};
use kleene_host::freebsd::pf::{Leave, counters, stand};
use kleene_model::LinkName;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = mount_table::parse(bytes);
    let Ok(printed) = std::str::from_utf8(bytes) else { return };
    let _ = Parameters::parse(&[printed]);
    let _ = interfaces::interfaces(printed);
    let _ = routes::routes(printed);
    let _ = routes::way(printed);
    if let Ok(link) = LinkName::parse("em0") {
        let _ = routes::neighbours4(printed, &link);
        let _ = routes::neighbours6(printed, &link);
    }
    let _ = sockets::sockets(printed);
    let _ = sockets::jails(printed);
    let _ = inner::lists(printed);
    let _ = stand::anchors(printed);
    let _ = stand::addresses(printed);
    let _ = counters::labels(printed);
    stand::markers(printed, &mut std::collections::BTreeMap::new());
    // Four texts, of which any may be cut.
    let mut texts = printed.splitn(4, '\0');
    let mut text = || texts.next().unwrap_or_default();
    let _ = Leave::of(text(), text(), text(), text());
});
