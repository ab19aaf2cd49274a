//! Virtual machines: sandboxes without a namespace, which come with their first tap and go with their last.

use std::collections::BTreeMap;

use linkspan_model::{Id, IfName, Name, NamespaceSource, NetAttach, Sandbox, Wire};
use linkspan_plan::{Kernel, Scope};
use linkspan_store::Tx;

use crate::{Engine, Error, now, random_id};

impl<K: Kernel> Engine<K> {
    /// The sandbox called `key`, if it can be attached as `attach` says. A machine need not be there yet.
    pub(crate) fn connectable(&mut self, attach: &NetAttach, key: &str) -> Result<Sandbox, Error> {
        if attach.wire == Wire::Veth {
            let sandbox = self.sandbox_called(key)?;
            return if sandbox.namespace.takes_endpoints() {
                Ok(sandbox)
            } else {
                Err(unconnectable(&sandbox))
            };
        }
        if let Some(name) = &attach.ifname {
            self.refuse_foreign_device(name)?;
        }
        match self.store.read(|tx| tx.sandbox(key))? {
            Some(sandbox) if sandbox.is_machine() => Ok(sandbox),
            Some(sandbox) => Err(Error::refused(format!("sandbox '{}' takes no tap", sandbox.name))
                .because("it is a network namespace, and a tap is for a virtual machine")
                .hinting("connect it without --tap, or give the machine a name of its own")),
            None => draft(key.parse()?),
        }
    }

    /// A device that is there before the intent is written down is somebody else's.
    fn refuse_foreign_device(&mut self, name: &IfName) -> Result<(), Error> {
        let scope = Scope { taps: [name.clone()].into(), ..Scope::default() };
        if self.kernel.observe(&scope)?.taps.is_empty() { Ok(()) } else { Err(taken(name)) }
    }
}

fn draft(name: Name) -> Result<Sandbox, Error> {
    Ok(Sandbox {
        id: random_id()?,
        created: now(),
        namespace: NamespaceSource::Machine,
        hostname: name.to_string(),
        dns: Vec::new(),
        add_hosts: Vec::new(),
        links: Vec::new(),
        ephemeral: false,
        labels: BTreeMap::new(),
        netns: None,
        of_runtime: false,
        name,
    })
}

/// The device of a tap: what is asked for, if no other endpoint has it.
pub(crate) fn tap_name(tx: &Tx<'_>, endpoint: Id, attach: &NetAttach) -> Result<IfName, Error> {
    let Some(wanted) = &attach.ifname else { return Ok(endpoint.tap_ifname()) };
    let bridge = tx.networks()?.iter().any(|network| network.bridge_name() == *wanted);
    let device = bridge || tx.endpoints()?.iter().any(|other| other.host_ifname() == *wanted);
    if device { Err(taken(wanted)) } else { Ok(wanted.clone()) }
}

/// Writes down a machine with its first tap.
pub(crate) fn insert_machine(tx: &Tx<'_>, machine: &Sandbox) -> Result<(), Error> {
    match tx.sandbox(machine.name.as_str())? {
        Some(other) if other.name == machine.name => Err(Error::Overtaken),
        _ => Ok(tx.insert_sandbox(machine)?),
    }
}

fn taken(device: &IfName) -> Error {
    Error::refused(format!("a device called {device} exists already"))
        .hinting("choose another --ifname, or leave it out")
}

fn unconnectable(sandbox: &Sandbox) -> Error {
    if sandbox.is_machine() {
        return Error::refused(format!("sandbox '{}' takes only taps", sandbox.name))
            .because("it is a virtual machine")
            .hinting("connect it with --tap");
    }
    Error::refused(format!("sandbox '{}' cannot be attached to a network", sandbox.name))
        .because("its namespace is the host's or another sandbox's")
}
