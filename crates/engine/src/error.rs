//! What can go wrong, with the reasons and the way out.

use std::io;
use std::path::{Path, PathBuf};

use linkspan_model::{Id, IfName, Invalid, Name};
use linkspan_plan::KernelError;
use linkspan_store::StoreError;
use thiserror::Error;

use crate::flat::Unasked;

/// The kinds of objects that errors are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A network.
    Network,
    /// A sandbox.
    Sandbox,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Network { "network" } else { "sandbox" })
    }
}

/// What a refused request ran into, as far as it may turn out that nothing holds it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// Nothing that goes away by itself.
    Lasting,
    /// An endpoint that has the address or port.
    Endpoint(Id),
    /// The sandbox of the same name.
    Namesake,
    /// All the endpoints of a network together.
    FullNetwork(Id),
}

/// Why a command was not carried out. Nothing of it is left.
#[derive(Debug, Error)]
pub enum Error {
    /// Input that means nothing.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel.
    #[error("cannot {0}")]
    Kernel(#[from] KernelError),
    /// There is no such object.
    #[error("there is no {kind} '{key}'")]
    Unknown {
        /// What kind.
        kind: Kind,
        /// How it was called.
        key: String,
        /// A name like it.
        nearest: Option<String>,
    },
    /// A network that sandboxes are attached to.
    #[error("network '{network}' is in use")]
    InUse {
        /// The network.
        network: Name,
        /// Its sandboxes.
        by: Vec<Name>,
    },
    /// A network that others are patched into.
    #[error("network '{network}' is the uplink of others")]
    Patched {
        /// The network.
        network: Name,
        /// The others.
        by: Vec<Name>,
    },
    /// A request that conflicts with what there is.
    #[error("{what}")]
    Refused {
        /// What was refused.
        what: String,
        /// Why.
        cause: Option<String>,
        /// What to do.
        hint: Option<String>,
        /// What stands in the way, and may be a leftover.
        obstacle: Obstacle,
    },
    /// A container that has an interface of the name already.
    #[error("container {container} has an interface {ifname} already")]
    Present {
        /// The container.
        container: String,
        /// The interface.
        ifname: IfName,
    },
    /// A file could not be read or written.
    #[error("cannot {verb} {}", .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// An address of a LAN that the LAN was not asked for yet; it is asked, and the work tried again.
    #[error("the LAN of network '{}' was not asked for an address", .0.network())]
    Unasked(Box<Unasked>),
    /// Another process changed what this one was about to change; it is tried again.
    #[error("another process is at work on the same object")]
    Overtaken,
}

impl Error {
    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), cause: None, hint: None, obstacle: Obstacle::Lasting }
    }

    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        if let Self::Refused { cause, .. } = &mut self {
            *cause = Some(why.into());
        }
        self
    }

    pub(crate) fn hinting(mut self, what_to_do: impl Into<String>) -> Self {
        if let Self::Refused { hint, .. } = &mut self {
            *hint = Some(what_to_do.into());
        }
        self
    }

    pub(crate) fn behind(mut self, what: Obstacle) -> Self {
        if let Self::Refused { obstacle, .. } = &mut self {
            *obstacle = what;
        }
        self
    }

    pub(crate) fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::File { verb, path, cause }
    }

    /// Whether the same request may succeed once other processes are done.
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Busy { .. } | StoreError::Locked { .. })
                | Self::Overtaken
                | Self::Unasked(_)
        )
    }

    /// The reasons, nearest first.
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::Invalid(invalid) => invalid.cause.iter().cloned().collect(),
            Self::Store(store) => sources(store),
            Self::Kernel(kernel) => vec![kernel.cause.clone()],
            Self::InUse { by, .. } => vec![format!("attached: {}", listed(by))],
            Self::Patched { by, .. } => vec![format!("patched into it: {}", listed(by))],
            Self::Refused { cause, .. } => cause.iter().cloned().collect(),
            Self::File { cause, .. } => vec![cause.to_string()],
            Self::Unknown { .. } | Self::Present { .. } | Self::Overtaken | Self::Unasked(_) => Vec::new(),
        }
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid(invalid) => invalid.hint.clone(),
            Self::Store(store) => store.hint(),
            Self::Kernel(kernel) => kernel.hint.clone(),
            Self::Unknown { kind, nearest: Some(name), .. } => Some(format!("did you mean {kind} '{name}'?")),
            Self::Unknown { kind, nearest: None, .. } => Some(format!("`linkspan {kind} ls` lists them")),
            Self::InUse { network, .. } => {
                Some(format!("remove these sandboxes, or `linkspan network disconnect {network} SANDBOX`"))
            }
            Self::Patched { .. } => Some("remove these networks first".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
            Self::File { .. } => None,
            Self::Present { .. } => Some("choose another name, or delete what has it".to_owned()),
            Self::Overtaken | Self::Unasked(_) => Some("try again".to_owned()),
        }
    }
}

fn sources(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(error.source(), |error| error.source()).map(ToString::to_string).collect()
}

/// Names in a row, the first few of many.
pub(crate) fn listed(names: &[Name]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).map(Name::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}
