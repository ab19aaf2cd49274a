//! Fixtures: single things that plugins of runtimes want.

use linkspan_model::{Fixture, Name};
use linkspan_plan::{Failure, KernelError, Step};

use super::Host;
use crate::error::{Refusal, Result};

impl Host {
    /// Makes what each step says, in order.
    pub(super) fn fit(&mut self, steps: &[Step]) -> std::result::Result<(), KernelError> {
        match steps.first() {
            Some(step) => Err(Refusal::new(Failure::Unsupported, "not there yet").of(step)),
            None => Ok(()),
        }
    }

    /// Takes away what each step says, as far as it is there.
    pub(super) fn unfit(&mut self, _steps: &[Step]) -> std::result::Result<(), KernelError> {
        Ok(())
    }

    pub(super) fn lacking_fixtures(
        &mut self,
        _namespace: &Name,
        _fixtures: &[Fixture],
    ) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
