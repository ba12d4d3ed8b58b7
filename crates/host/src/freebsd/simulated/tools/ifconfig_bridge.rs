//! What ifconfig(8) changes of bridges.

use crate::freebsd::simulated::session::{Done, Session, unknown};
use crate::freebsd::simulated::state::{Errno, LinkId, Mac};

/// Changes a member of a bridge, or who is one.
pub(crate) fn set(s: &mut Session<'_>, bridge: LinkId, word: &str, name: &str) -> Done {
    let member = s.find(name).ok_or(Errno::NoEntry);
    let bridged = s.state.link(bridge).bridge().is_some();
    if !bridged {
        return s.refuse(format_args!("ifconfig: unable to get bridge flags: {}", Errno::Invalid));
    }
    match word {
        "addm" => {
            let done = member.and_then(|id| s.state.add_member(bridge, id));
            s.check(format_args!("ifconfig: BRDGADD {name}"), done)
        }
        "deletem" => {
            let done = member.and_then(|id| s.state.delete_member(bridge, id));
            s.check(format_args!("ifconfig: BRDGDEL {name}"), done)
        }
        flag => {
            let done =
                member.and_then(|id| s.state.member_mut(bridge, id)).map(|member| match flag {
                    "private" => member.private = true,
                    "-private" => member.private = false,
                    "learn" => member.learning = true,
                    "-learn" => member.learning = false,
                    "sticky" => member.sticky = true,
                    "-sticky" => member.sticky = false,
                    "discover" => member.discover = true,
                    _ => member.discover = false,
                });
            s.check(format_args!("ifconfig: unable to get bridge flags"), done)
        }
    }
}

/// Changes what of a member has a value of its own.
pub(crate) fn set_with(
    s: &mut Session<'_>,
    bridge: LinkId,
    word: &str,
    name: &str,
    with: &str,
) -> Done {
    let member = s.find(name).ok_or(Errno::NoEntry);
    let done = match (word, Mac::parse(with), with.parse()) {
        ("static", Some(mac), _) => member.and_then(|id| s.state.enter_address(bridge, id, mac)),
        ("ifmaxaddr", _, Ok(most)) => {
            member.and_then(|id| s.state.member_mut(bridge, id)).map(|member| member.most = most)
        }
        _ => return unknown(format_args!("{word} {name} {with}")),
    };
    s.check(format_args!("ifconfig: {word} {name}"), done)
}
