//! What another program made and somebody takes over from it.

use linkspan_model::{IfName, Name};
use linkspan_plan::KernelError;

use super::Host;
use crate::error::Refusal;
use crate::firewall::{ForeignRule, ForeignTable};
use crate::rtnl::device::{self, FITTED};

type Answer<T> = Result<T, KernelError>;

impl Host {
    /// The rules of another program's table; none if there is no such table.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn foreign_rules(&mut self, table: ForeignTable) -> Answer<Vec<ForeignRule>> {
        self.firewall()?.rules_of(table)
    }

    /// Removes rules of another program and then chains, all of them or none.
    ///
    /// # Errors
    /// If one of them is gone meanwhile, or another rule jumps to such a chain.
    pub fn remove_foreign(
        &mut self,
        rules: &[&ForeignRule],
        chains: &[(ForeignTable, String)],
    ) -> Answer<()> {
        self.closes_slowly |= !rules.is_empty();
        self.firewall()?.remove_foreign(rules, chains)
    }

    /// Marks a device in the namespace that `pin` stands for in /run/netns as one that Linkspan may remove.
    ///
    /// # Errors
    /// If it is not there.
    pub fn claim(&mut self, pin: &Name, device: &IfName) -> Answer<()> {
        let refused = |refusal: Refusal| refusal.of(format!("mark {device}"));
        let Some(sandbox) = self.sandbox(pin).map_err(refused)? else { return Ok(()) };
        let marked = sandbox.route.batch(vec![device::place(device, Some(FITTED), None)]);
        marked.map(drop).map_err(|error| refused(error.into()))
    }
}
