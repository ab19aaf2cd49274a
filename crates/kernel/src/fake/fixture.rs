//! What plugins of runtimes make.

use linkspan_model::{Fixture, Name};
use linkspan_plan::Failure;

use super::Fake;
use crate::error::{Refusal, Result};

impl Fake {
    /// What stays is nobody's, and taken to be there.
    pub(super) fn is_fitted(&self, namespace: &Name, fixture: &Fixture) -> bool {
        fixture.stays()
            || self.state.fixtures.iter().any(|(name, fitted)| name == namespace && fitted == fixture)
    }

    /// The namespace has to be there, and the very same thing not; what stays, or is of the host, may be made any number of
    /// times.
    pub(super) fn allow_fixture(&self, namespace: &Name, fixture: &Fixture) -> Result<()> {
        if fixture.is_of_host() {
            return Ok(());
        }
        self.pinned(namespace)?;
        if !fixture.stays() && self.is_fitted(namespace, fixture) {
            return Err(Refusal::new(Failure::Exists, format!("{fixture} is there already")));
        }
        Ok(())
    }
}
