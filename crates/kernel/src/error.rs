//! Why the kernel refused something, in the words of the plan.

use std::fmt;

use linkspan_plan::{Failure, KernelError};
use nix::errno::Errno;

use crate::netlink::Error;

/// A refusal that does not yet say what was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    cause: String,
    hint: Option<String>,
    failure: Failure,
}

/// The outcome of one part of a step.
pub(crate) type Result<T> = std::result::Result<T, Refusal>;

impl Refusal {
    /// A refusal of our own, with its reason.
    pub(crate) fn new(failure: Failure, cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: None, failure }
    }

    /// Says in the cause which call it was, where a step makes several of one kind.
    pub(crate) fn at(mut self, call: impl fmt::Display) -> Self {
        self.cause = format!("{call}: {}", self.cause);
        self
    }

    /// What to do, if the failure is of this kind.
    pub(crate) fn hint(mut self, failure: Failure, hint: impl Into<String>) -> Self {
        if self.failure == failure {
            self.hint = Some(hint.into());
        }
        self
    }

    /// The error, now that it is known what was tried.
    pub(crate) fn of(self, what: impl fmt::Display) -> KernelError {
        let what = what.to_string();
        KernelError { what, cause: self.cause, hint: self.hint, failure: self.failure }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { cause: error.to_string(), ..error.errno.into() }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        let failure = failure(errno);
        let hint = (failure == Failure::Privilege).then(|| {
            "run it as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN in this user namespace".to_owned()
        });
        Self { cause: format!("{errno:?}: {}", errno.desc()), hint, failure }
    }
}

fn failure(errno: Errno) -> Failure {
    match errno {
        Errno::EPERM | Errno::EACCES => Failure::Privilege,
        Errno::EEXIST => Failure::Exists,
        Errno::ENOENT | Errno::ENODEV | Errno::EADDRNOTAVAIL => Failure::NotFound,
        Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT => Failure::Unsupported,
        _ => Failure::Other,
    }
}

#[cfg(test)]
mod tests {
    use linkspan_plan::Failure;
    use nix::errno::Errno;

    use super::Refusal;
    use crate::netlink::Error;

    #[test]
    fn the_kernels_words_and_the_kind_come_through() {
        let message = Some("Device does not support enslaving".to_owned());
        let refusal = Refusal::from(Error { index: Some(0), errno: Errno::EOPNOTSUPP, message });
        let error =
            refusal.hint(Failure::Exists, "not this").hint(Failure::Unsupported, "this").of("create port x");
        assert_eq!(error.what, "create port x");
        assert!(error.cause.starts_with("Device does not support enslaving (EOPNOTSUPP"), "{}", error.cause);
        assert_eq!((error.hint.as_deref(), error.failure), (Some("this"), Failure::Unsupported));
    }
}
