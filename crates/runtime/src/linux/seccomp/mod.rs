//! Which system calls a container may make.
//!
//! The list follows the default profiles of Podman and Docker: a list of what
//! is allowed, where anything unknown "is not implemented" (so that programs
//! fall back to what they did before it existed), and what is refused is "not
//! permitted". Unlike Podman's, and like Docker's, calls that make namespaces
//! or mounts go with `CAP_SYS_ADMIN`: a container that may make a user
//! namespace has the whole kernel's privileged surface before it.

mod tables;

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// The profile cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("cannot compile the system call filter")]
pub(super) struct ProfileError(#[from] BackendError);

use tables::{ALLOWED, ALLOWED_X86_64, GATED, GATED_X86_64, REFUSED, REFUSED_X86_64};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filters for a container with the capabilities that `has` knows, in the
/// order of installation. The kernel asks all of them; the strictest answer
/// counts, and among equals the last filter's.
///
/// Programs for another instruction set are killed; calls by the numbers of
/// x32 are not on the list, thus "not implemented".
pub(super) fn compile(has: &dyn Fn(&str) -> bool) -> Result<Vec<BpfProgram>, ProfileError> {
    let allow = SeccompAction::Allow;
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    let mut filters = vec![
        program(allowed(has)?, errno(libc::ENOSYS), allow.clone())?,
        program(refused(has)?, allow.clone(), errno(libc::EPERM))?,
    ];
    if !has("CAP_AUDIT_WRITE") {
        // "No such protocol" makes libaudit believe in a kernel without audit,
        // where "not permitted" makes logins fail.
        let audit = [(0, libc::AF_NETLINK), (2, libc::NETLINK_AUDIT)];
        let rules = BTreeMap::from([(libc::SYS_socket, vec![all_equal(&audit)?])]);
        filters.push(program(rules, allow, errno(libc::EINVAL))?);
    }
    Ok(filters)
}

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, matched, arch)?.try_into()
}

fn gated() -> impl Iterator<Item = (&'static str, i64)> {
    GATED
        .iter()
        .chain(GATED_X86_64)
        .flat_map(|(capability, calls)| calls.iter().map(|call| (*capability, *call)))
}

fn allowed(has: &dyn Fn(&str) -> bool) -> Result<Rules, BackendError> {
    let mut rules: Rules = ALLOWED
        .iter()
        .chain(ALLOWED_X86_64)
        .copied()
        .chain(gated().filter(|(capability, _)| has(capability)).map(|(_, call)| call))
        // Which of these calls are refused is the other filter's matter.
        .chain([libc::SYS_clone, libc::SYS_socket])
        .map(|call| (call, Vec::new()))
        .collect();
    if has("CAP_SYS_ADMIN") {
        // Its flags are in memory, where a filter cannot look.
        rules.insert(libc::SYS_clone3, Vec::new());
    }
    let personalities = PERSONALITIES.iter().map(|value| condition(0, SeccompCmpOp::Eq, *value));
    let personalities: Result<Vec<_>, _> =
        personalities.map(|condition| SeccompRule::new(vec![condition?])).collect();
    rules.insert(libc::SYS_personality, personalities?);
    Ok(rules)
}

fn refused(has: &dyn Fn(&str) -> bool) -> Result<Rules, BackendError> {
    let mut rules: Rules = REFUSED
        .iter()
        .chain(REFUSED_X86_64)
        .copied()
        .chain(gated().filter(|(capability, _)| !has(capability)).map(|(_, call)| call))
        .map(|call| (call, Vec::new()))
        .collect();
    if !has("CAP_SYS_ADMIN") {
        let flags: Result<Vec<_>, _> = NAMESPACE_FLAGS
            .iter()
            .map(|flag| {
                let flag = u64::from(flag.unsigned_abs());
                SeccompRule::new(vec![condition(0, SeccompCmpOp::MaskedEq(flag), flag)?])
            })
            .collect();
        rules.insert(libc::SYS_clone, flags?);
    }
    let families: Result<Vec<_>, _> =
        REFUSED_FAMILIES.iter().map(|family| all_equal(&[(0, *family)])).collect();
    rules.insert(libc::SYS_socket, families?);
    Ok(rules)
}

fn all_equal(arguments: &[(u8, i32)]) -> Result<SeccompRule, BackendError> {
    let conditions: Result<Vec<_>, _> = arguments
        .iter()
        .map(|(index, value)| condition(*index, SeccompCmpOp::Eq, u64::from(value.unsigned_abs())))
        .collect();
    SeccompRule::new(conditions?)
}

/// All arguments looked at are 32 bits to the kernel, or their upper half
/// means nothing.
fn condition(index: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, value)
}

/// Linux, 32-bit layout, old `uname`, both, and the question for the current.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const NAMESPACE_FLAGS: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Sockets that reach the hypervisor's host, or the kernel's cipher code, past
/// every network rule.
const REFUSED_FAMILIES: [i32; 2] = [libc::AF_VSOCK, libc::AF_ALG];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_on_two_lists() {
        let lists = [ALLOWED, ALLOWED_X86_64, REFUSED, REFUSED_X86_64];
        let mut all: Vec<i64> = lists.concat();
        all.extend(gated().map(|(_, call)| call));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(!all.contains(&libc::SYS_clone3));
    }

    #[test]
    fn filters_fit_and_depend_on_capabilities() {
        let none = compile(&|_| false).unwrap();
        let all = compile(&|_| true).unwrap();
        assert_eq!((none.len(), all.len()), (3, 2));
        for filter in none.iter().chain(&all) {
            assert!(filter.len() < 4096);
        }
        let admin = |name: &str| name == "CAP_SYS_ADMIN";
        assert!(!refused(&admin).unwrap().contains_key(&libc::SYS_mount));
        assert!(allowed(&admin).unwrap().contains_key(&libc::SYS_mount));
        assert!(refused(&|_| false).unwrap().contains_key(&libc::SYS_mount));
        assert!(!allowed(&|_| false).unwrap().contains_key(&libc::SYS_mount));
    }
}
