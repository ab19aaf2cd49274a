//! The plugins, each by the name that it is called by.

mod loopback;

use crate::Plugin;
use crate::ipam::{HostLocal, Static};

/// All of them.
pub const ALL: &[&dyn Plugin] = &[&HostLocal::ALONE, &loopback::Loopback, &Static::ALONE];

/// The one of this name.
pub fn find(name: &str) -> Option<&'static dyn Plugin> {
    ALL.iter().copied().find(|plugin| plugin.name() == name)
}
