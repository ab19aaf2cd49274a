//! The plugins, each by the name that it is called by.

mod loopback;

use crate::Plugin;

/// All of them.
pub const ALL: &[&dyn Plugin] = &[&loopback::Loopback];

/// The one of this name.
pub fn find(name: &str) -> Option<&'static dyn Plugin> {
    ALL.iter().copied().find(|plugin| plugin.name() == name)
}
