//! The plugins, each by the name that it is called by.

use crate::Plugin;

/// All of them.
pub const ALL: &[&dyn Plugin] = &[];

/// The one of this name.
pub fn find(name: &str) -> Option<&'static dyn Plugin> {
    ALL.iter().copied().find(|plugin| plugin.name() == name)
}
