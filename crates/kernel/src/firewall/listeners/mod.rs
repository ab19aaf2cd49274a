//! Who listens on a port of the host: a port that is published would be taken from it silently.

mod diag;
mod probe;
mod process;

use std::net::IpAddr;

use linkspan_model::{PortRange, Protocol};
use linkspan_plan::{Failure, KernelError, PortHolder};
use nix::errno::Errno;

use crate::error::Refusal;

use probe::Outcome;

/// Up to this many ports, trying to bind each is cheaper than asking for every listener in the range.
const PROBED: u32 = 4;

/// The first socket of this network namespace that receives what is sent to one of `ports` on `address`,
/// unspecified for every address of the host. Connected sockets are no obstacle: their flows are tracked.
///
/// # Errors
/// If the kernel cannot be asked; [`Failure::NotFound`] if the host has no such address.
pub fn port_holder(
    protocol: Protocol,
    address: IpAddr,
    ports: PortRange,
) -> Result<Option<PortHolder>, KernelError> {
    let refused = |errno: Errno| refused(protocol, address, ports, errno);
    if ports.count() > PROBED {
        // Port 0 is any free one: this tells whether the host has the address.
        return match probe::bind(protocol, address, 0).map_err(refused)? {
            Outcome::NoProtocol => Ok(None),
            Outcome::NoAddress => Err(refused(Errno::EADDRNOTAVAIL)),
            Outcome::Free | Outcome::Taken | Outcome::Forbidden => range_holder(protocol, address, ports),
        };
    }
    for port in ports.ports() {
        let taken = match probe::bind(protocol, address, port).map_err(refused)? {
            Outcome::Free => false,
            Outcome::Taken | Outcome::Forbidden => true,
            Outcome::NoProtocol => return Ok(None),
            Outcome::NoAddress => return Err(refused(Errno::EADDRNOTAVAIL)),
        };
        if taken && let Some(holder) = range_holder(protocol, address, PortRange::single(port))? {
            return Ok(Some(holder));
        }
    }
    Ok(None)
}

/// As [`port_holder`], from the kernel's list of sockets; if it has none, from trying each port.
fn range_holder(
    protocol: Protocol,
    address: IpAddr,
    ports: PortRange,
) -> Result<Option<PortHolder>, KernelError> {
    let Ok(listeners) = diag::listeners(protocol, address, ports) else {
        let taken = |port: &u16| probe::bind(protocol, address, *port) == Ok(Outcome::Taken);
        return Ok(ports.ports().find(taken).map(|port| PortHolder { port, process: None }));
    };
    let first = listeners.into_iter().filter(|listener| listener.hears(address)).min_by_key(|one| one.port);
    Ok(first.map(|listener| PortHolder {
        port: listener.port,
        process: process::of_socket(listener.inode).map(|process| process.to_string()),
    }))
}

fn refused(protocol: Protocol, address: IpAddr, ports: PortRange, errno: Errno) -> KernelError {
    let refusal = match errno {
        Errno::EADDRNOTAVAIL => {
            Refusal::new(Failure::NotFound, format!("this host has no address {address}"))
        }
        errno => Refusal::from(errno),
    };
    refusal.of(format!("see whether {protocol} {ports} of {address} is free"))
}
