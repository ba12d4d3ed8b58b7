//! The last steps in the container's first process.

use std::{
    error::Error,
    io::{self, Write as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use libcontainer::{
    oci_spec::runtime::Spec,
    workload::{Executor, ExecutorError, ExecutorValidationError},
};
use rustix::thread::{
    CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities,
};

use super::{seccomp, sys};

/// Installs the system call filter, gives back what was lent for it, and
/// becomes the program.
#[derive(Clone, Debug)]
pub(super) struct FilteringExecutor {
    /// The filters, compiled beforehand, in the order of installation.
    pub(super) filters: Vec<seccompiler::BpfProgram>,
    /// Capabilities that the container must not keep.
    pub(super) surplus: CapabilitySet,
}

impl FilteringExecutor {
    /// The executor for a container with these capabilities.
    pub(super) fn new(own: &[String]) -> Result<Self, seccomp::ProfileError> {
        let has = |name: &str| own.iter().any(|own| own == name);
        let mut surplus = CapabilitySet::empty();
        surplus.set(CapabilitySet::SYS_ADMIN, !has("CAP_SYS_ADMIN"));
        surplus.set(CapabilitySet::SETPCAP, !has("CAP_SETPCAP"));
        Ok(Self { filters: seccomp::compile(&has)?, surplus })
    }

    fn become_program(&self, args: &[String]) -> io::Result<std::convert::Infallible> {
        for filter in &self.filters {
            sys::install_filter(filter)?;
        }
        self.give_back()?;
        let mut args = args.iter();
        let program = args.next().ok_or(io::ErrorKind::InvalidInput)?;
        Err(Command::new(program).args(args).exec())
    }

    /// The bounding set first, while there is the right to change it.
    fn give_back(&self) -> io::Result<()> {
        for capability in self.surplus.iter() {
            remove_capability_from_bounding_set(capability)?;
        }
        let mut sets = capabilities(None)?;
        sets.permitted.remove(self.surplus);
        sets.effective.remove(self.surplus);
        sets.inheritable.remove(self.surplus);
        set_capabilities(None, sets)?;
        Ok(())
    }
}

fn args(spec: &Spec) -> &[String] {
    spec.process().as_ref().and_then(|process| process.args().as_deref()).unwrap_or_default()
}

impl Executor for FilteringExecutor {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let error = match self.become_program(args(spec)) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        // The process that started us may be gone; whoever keeps our standard
        // error is the one to tell.
        let _ = writeln!(io::stderr(), "kleene-runtime: cannot start the first process: {error}");
        Err(ExecutorError::Execution(Box::<dyn Error + Send + Sync>::from(error)))
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let invalid = ExecutorValidationError::ArgValidationError;
        let Some(program) = args(spec).first() else {
            return Err(invalid("the configuration names no program".to_owned()));
        };
        let executable = Path::new(program)
            .metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        if executable {
            Ok(())
        } else {
            Err(invalid(format!("there is no program {program} in the container")))
        }
    }
}
