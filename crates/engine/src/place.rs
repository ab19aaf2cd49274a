//! Which directories of a host are Linkspan's, for every frontend the same.

use std::path::PathBuf;

/// A directory with its usual place, and the environment variable that names another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The variable.
    pub variable: &'static str,
    /// Where it is if the variable is not set.
    pub default: &'static str,
}

/// Where networks and leases are remembered.
pub const STATE_DIR: Place = Place { variable: "LINKSPAN_STATE_DIR", default: "/var/lib/linkspan" };
/// Where the files of running sandboxes are.
pub const RUN_DIR: Place = Place { variable: "LINKSPAN_RUN_DIR", default: "/run/linkspan" };

impl Place {
    /// The directory, as the environment has it.
    pub fn path(&self) -> PathBuf {
        std::env::var_os(self.variable).map_or_else(|| self.default.into(), PathBuf::from)
    }
}
