//! A kernel that several engines share, and whose caller can be made to die at any call.

use std::net::IpAddr;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkspan_kernel::Fake;
use linkspan_model::{IfName, Mac, Name, PortRange, Protocol};
use linkspan_plan::{
    CardFacts, HostPrefix, Inside, Kernel, KernelError, LinkFacts, Namespace, ParentDevice, PortHolder,
    Scope, State, Step,
};

/// When the process that calls the kernel dies, counted in calls from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// Before the kernel does anything of this call.
    Before(usize),
    /// After it has done all of it.
    After(usize),
}

#[derive(Default)]
struct Inner {
    fake: Fake,
    death: Option<Death>,
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
    empty_pins: Vec<Name>,
}

/// One machine's kernel. Clones are the same machine.
#[derive(Clone, Default)]
pub struct Machine(Arc<Mutex<Inner>>);

impl Machine {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the kernel or changes it by hand.
    pub fn with<T>(&self, work: impl FnOnce(&mut Fake) -> T) -> T {
        work(&mut self.inner().fake)
    }

    /// What is in it.
    pub fn state(&self) -> State {
        self.with(|fake| fake.state.clone())
    }

    /// Leaves the file of a pin, which pins nothing any more, as after `umount /run/netns/NAME`.
    pub fn empty_pin(&self, name: &str) {
        self.inner().empty_pins.push(name.parse().unwrap());
    }

    /// Has the caller die; none for immortality. Whether an earlier death is still to come.
    pub fn doom(&self, death: Option<Death>) -> bool {
        std::mem::replace(&mut self.inner().death, death).is_some()
    }

    /// Does `work` when the engine next makes changes, before they are made.
    pub fn meanwhile(&self, work: impl FnOnce() + Send + 'static) {
        self.inner().meanwhile = Some(Box::new(work));
    }

    fn call<T>(&self, work: impl FnOnce(&mut Fake) -> T) -> T {
        let death = self.inner().death.take();
        if death == Some(Death::Before(0)) {
            resume_unwind(Box::new("dead"));
        }
        let done = self.with(work);
        if death == Some(Death::After(0)) {
            resume_unwind(Box::new("dead"));
        }
        self.inner().death = death.map(|death| match death {
            Death::Before(left) => Death::Before(left - 1),
            Death::After(left) => Death::After(left - 1),
        });
        done
    }
}

impl Kernel for Machine {
    fn observe(&mut self, scope: &Scope) -> Result<State, KernelError> {
        let mut seen = self.call(|fake| fake.observe(scope))?;
        for name in &self.inner().empty_pins {
            if let Some(origin) = seen.namespaces.get_mut(name) {
                *origin = Namespace::Path(format!("/run/netns/{name}").into());
            }
        }
        Ok(seen)
    }

    fn apply(&mut self, steps: &[Step]) -> Result<(), KernelError> {
        let meanwhile = self.inner().meanwhile.take();
        if let Some(work) = meanwhile {
            work();
        }
        self.call(|fake| fake.apply(steps))
    }

    fn host_prefixes(&mut self) -> Result<Vec<HostPrefix>, KernelError> {
        self.call(Fake::host_prefixes)
    }

    fn port_holder(
        &mut self,
        protocol: Protocol,
        address: IpAddr,
        ports: PortRange,
    ) -> Result<Option<PortHolder>, KernelError> {
        self.call(|fake| fake.port_holder(protocol, address, ports))
    }

    fn card(&mut self, name: &IfName) -> Result<Option<CardFacts>, KernelError> {
        self.call(|fake| fake.card(name))
    }

    fn occupied(&mut self, device: &IfName, addresses: &[IpAddr]) -> Result<Vec<(IpAddr, Mac)>, KernelError> {
        self.call(|fake| fake.occupied(device, addresses))
    }

    fn link_facts(
        &mut self,
        pairs: &[(IfName, Name, IfName)],
    ) -> Result<Vec<Option<LinkFacts>>, KernelError> {
        self.call(|fake| fake.link_facts(pairs))
    }

    fn parent(&mut self, name: Option<&IfName>) -> Result<Option<ParentDevice>, KernelError> {
        self.call(|fake| fake.parent(name))
    }

    fn look_into(&mut self, path: &Path) -> Result<Inside, KernelError> {
        self.call(|fake| fake.look_into(path))
    }

    fn is_deserted(&mut self, name: &Name, source: &Path) -> Result<bool, KernelError> {
        self.call(|fake| fake.is_deserted(name, source))
    }

    fn find_ovs_bridge(&mut self, bridge: &str) -> Result<(), KernelError> {
        self.call(|fake| fake.find_ovs_bridge(bridge))
    }

    fn lacking(
        &mut self,
        namespace: &Name,
        fixtures: &[linkspan_model::Fixture],
    ) -> Result<Vec<String>, KernelError> {
        self.call(|fake| fake.lacking(namespace, fixtures))
    }

    fn bridge_ports(&mut self, bridge: &IfName) -> Result<Vec<IfName>, KernelError> {
        self.call(|fake| fake.bridge_ports(bridge))
    }
}
