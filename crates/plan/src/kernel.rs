//! The door to the kernel, and what may come back through it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use linkspan_model::{Card, Family, Fixture, IfName, Mac, Name, PortRange, Protocol};
use thiserror::Error;

use crate::{Scope, State, Step};

/// One host's kernel.
pub trait Kernel {
    /// What is there of `scope`. What is absent is absent from the answer, not an error.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn observe(&mut self, scope: &Scope) -> Result<State, KernelError>;

    /// Makes the changes in order. Deleting what is gone already is no error; making what is there is.
    ///
    /// # Errors
    /// At the first step that fails; those before it hold, those after it were not tried.
    fn apply(&mut self, steps: &[Step]) -> Result<(), KernelError>;

    /// Every prefix that the host has an address in or a route to, default routes left out.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn host_prefixes(&mut self) -> Result<Vec<HostPrefix>, KernelError>;

    /// Who keeps the host from publishing `ports` on `address`: the first process found listening there.
    ///
    /// # Errors
    /// If the kernel cannot be asked; [`Failure::NotFound`] if the host has no such address.
    fn port_holder(
        &mut self,
        protocol: Protocol,
        address: IpAddr,
        ports: PortRange,
    ) -> Result<Option<PortHolder>, KernelError>;

    /// The interface numbers of veth pairs, given by host side, namespace and name inside; a pair that
    /// is not there has none. Where there is a device on a parent inside, it is that one's.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn link_facts(&mut self, pairs: &[(IfName, Name, IfName)])
    -> Result<Vec<Option<LinkFacts>>, KernelError>;

    /// A network card of the host and what it has; none if there is no such device.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn card(&mut self, name: &IfName) -> Result<Option<CardFacts>, KernelError>;

    /// Which of `addresses` somebody on the wire behind `device` has, each with the MAC that answers for it (RFC 5227,
    /// RFC 4862). Nothing but silence tells that one is free, so this takes some 150 ms.
    ///
    /// # Errors
    /// If the wire cannot be asked.
    fn occupied(&mut self, device: &IfName, addresses: &[IpAddr]) -> Result<Vec<(IpAddr, Mac)>, KernelError>;

    /// A namespace will be made soon: it may be begun while the caller does something else.
    fn anticipate_namespace(&mut self) {}

    /// The sysctls of devices that learn routes from router advertisements as long as the host does not forward.
    ///
    /// # Errors
    /// If they cannot be read.
    fn learning(&mut self) -> Result<Vec<String>, KernelError> {
        Ok(Vec::new())
    }

    /// Before the process ends: leaves to a child what its end would have to wait for. `others` tells that another
    /// process has deleted firewall elements just now. Without it nothing goes wrong, the end only comes later.
    fn linger(&mut self, _others: bool) {}

    /// What is in somebody else's network namespace, which the file `path` stands for.
    ///
    /// # Errors
    /// [`Failure::NotFound`] if there is no such file or process; if the file stands for no network namespace.
    fn look_into(&mut self, path: &Path) -> Result<Inside, KernelError>;

    /// Whether the namespace pinned under `name` is held by nothing but that pin: `source`, the file that it was given
    /// by, stands for it no more, and no process that can be seen is in it.
    ///
    /// # Errors
    /// If that cannot be found out.
    fn is_deserted(&mut self, name: &Name, source: &Path) -> Result<bool, KernelError>;

    /// That Open vSwitch has a bridge of this name.
    ///
    /// # Errors
    /// [`Failure::NotFound`] if it has none, [`Failure::Unsupported`] if Open vSwitch does not run, others if it cannot
    /// be asked.
    fn find_ovs_bridge(&mut self, bridge: &str) -> Result<(), KernelError>;

    /// A device of the host that others may sit on; without a name, that of the host's default route, of IPv4 if there
    /// is one. None if there is none such.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn parent(&mut self, name: Option<&IfName>) -> Result<Option<ParentDevice>, KernelError>;

    /// What of `fixtures` is not as it was made, in words; `namespace` is what they call inside.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn lacking(&mut self, namespace: &Name, fixtures: &[Fixture]) -> Result<Vec<String>, KernelError>;

    /// The ports of a bridge by name, as far as they are of Linkspan's make: a device carries a mark of it.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn bridge_ports(&mut self, bridge: &IfName) -> Result<Vec<IfName>, KernelError>;
}

/// What is in a network namespace already.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Inside {
    /// Its devices.
    pub devices: BTreeSet<IfName>,
    /// Its default routes: the family, and the device that each leaves by.
    pub default_routes: BTreeSet<(Family, IfName)>,
    /// Whether it is the host's own namespace.
    pub is_host: bool,
}

/// A device of the host that others may sit on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParentDevice {
    /// Its name.
    pub name: IfName,
    /// Whether it is up.
    pub up: bool,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is an Ethernet device, which alone carries others.
    pub ethernet: bool,
    /// Whether it is a port of a bridge or a bond, so that nothing else can sit on it.
    pub enslaved: bool,
    /// Whether packets are refused that come in by it from an address to which the host has another way (rp_filter 1).
    pub strict: bool,
    /// The host's addresses on it, link-local ones left out.
    pub addresses: Vec<IpNet>,
    /// Where the host's default routes by it lead.
    pub gateways: Vec<IpAddr>,
}

/// A prefix that the host uses, and for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPrefix {
    /// The prefix, host bits zero.
    pub prefix: IpNet,
    /// The device that it is on.
    pub device: String,
}

/// A device of the host that a bridge may be plugged into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardFacts {
    /// What is to be put on record of it.
    pub card: Card,
    /// Its kind, as `bond`; none for hardware.
    pub kind: Option<String>,
    /// Whether it is loopback.
    pub is_loopback: bool,
    /// Whether it is up.
    pub is_up: bool,
    /// The device that it is a port of.
    pub master: Option<String>,
    /// Its IPv4 addresses that it has for a time, as a DHCP client gives them.
    pub leased: Vec<IpNet>,
    /// The gateways of the host's default routes through it.
    pub gateways: Vec<IpAddr>,
    /// A route of it that cannot be moved, as text, and why.
    pub immovable: Option<String>,
}

/// A process that listens on a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortHolder {
    /// The port.
    pub port: u16,
    /// Its process as `name (pid 1234)`, if it can be seen from here.
    pub process: Option<String>,
}

/// Interface numbers of a veth pair, a tap or a device on a parent, as `ip link` and `ethtool -S` show them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkFacts {
    /// The host side's; a device on a parent has none.
    pub host_index: Option<u32>,
    /// The sandbox side's, within its namespace; a tap has none.
    pub sandbox_index: Option<u32>,
}

/// The kind of a kernel error, as far as anyone decides by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// EPERM, EACCES: a capability is missing.
    Privilege,
    /// EEXIST.
    Exists,
    /// ENOENT, ENODEV, EADDRNOTAVAIL.
    NotFound,
    /// EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT: the kernel lacks a feature.
    Unsupported,
    /// Anything else.
    Other,
}

/// A change or question that the kernel refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{what}")]
pub struct KernelError {
    /// What was tried, on which object: a step's line, or the question.
    pub what: String,
    /// The kernel's words: its extended ACK if it gave one, and the error's name.
    pub cause: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
    /// The kind.
    pub failure: Failure,
}
