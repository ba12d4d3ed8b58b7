//! What tells boots apart.

use kleene_engine::host::chain;
use kleene_host::freebsd::run::{Call, Tool, Tools};

use crate::system::Error;

/// An id that the host draws at each boot: `kern.boot_id` (FreeBSD 13.2).
/// `kern.boottime` moves with the clock.
///
/// # Errors
/// When the host does not tell.
pub(super) fn boot_id(tools: &dyn Tools) -> Result<String, Error> {
    // It is 16 bytes, and no text; -x shows them in digits.
    let call = Call::new(Tool::Sysctl, ["-x", "kern.boot_id"]);
    let answer = tools.run(&call).map_err(|err| chain(&err))?;
    let id = digits(&answer.stdout);
    Ok(id.ok_or_else(|| format!("cannot find an id in the answer to '{call}'"))?)
}

fn digits(answer: &str) -> Option<String> {
    let digits = answer.trim_end().rsplit_once("Dump:0x")?.1;
    let all = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (all && digits.bytes().any(|byte| byte != b'0')).then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_what_sysctl_answers() {
        // As recorded on FreeBSD 13.2.
        let answer = "kern.boot_id: Format: Length:16 Dump:0xf4f4314ab21fb3bf990e6da541a388fa\n";
        assert_eq!(digits(answer).as_deref(), Some("f4f4314ab21fb3bf990e6da541a388fa"));
        for answer in [
            "",
            "kern.boot_id: 1\n",
            "kern.boot_id: Format: Length:16 Dump:0x00000000000000000000000000000000\n",
            "kern.boot_id: Format: Length:16 Dump:0xf4f4314ab21fb3bf990e6da541a388f\n",
        ] {
            assert_eq!(digits(answer), None, "{answer}");
        }
    }
}
