//! What plugins of runtimes make.

use linkspan_model::{Fixture, Name};
use linkspan_plan::Failure;

use super::Fake;
use crate::error::{Refusal, Result};
use crate::netns::pin_path;

impl Fake {
    pub(super) fn is_fitted(&self, namespace: &Name, fixture: &Fixture) -> bool {
        self.state.fixtures.iter().any(|(name, fitted)| name == namespace && fitted == fixture)
    }

    /// The namespace has to be there, and the very same thing not; what stays may be made any number of times.
    pub(super) fn allow_fixture(&self, namespace: &Name, fixture: &Fixture) -> Result<()> {
        let pin = pin_path(namespace);
        if !self.state.namespaces.contains_key(namespace) && !self.foreign.contains_key(&pin) {
            return Err(Refusal::new(Failure::NotFound, format!("{} is not there", pin.display())));
        }
        if !fixture.stays() && self.is_fitted(namespace, fixture) {
            return Err(Refusal::new(Failure::Exists, format!("{fixture} is there already")));
        }
        Ok(())
    }
}
