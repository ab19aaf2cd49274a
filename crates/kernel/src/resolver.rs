//! A name server's sockets inside a sandbox.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;

use linkspan_model::NAME_SERVER;
use linkspan_plan::KernelError;
use nix::errno::Errno;

use crate::error::Refusal;
use crate::firewall::Firewall;
use crate::netns::{self, Namespace};
use crate::reaper::Reaper;

/// What questions come in at, in the namespace of a sandbox. The namespace stays alive with it.
#[derive(Debug)]
pub struct Resolver {
    /// Questions over UDP.
    pub udp: UdpSocket,
    /// Questions over TCP.
    pub tcp: TcpListener,
    /// What leads them there.
    pub lead: Lead,
}

/// What leads questions asked at [`NAME_SERVER`] to the sockets of a [`Resolver`].
#[derive(Debug)]
pub struct Lead {
    /// The ports of UDP and TCP.
    ports: (u16, u16),
    firewall: Firewall,
    namespace: Namespace,
}

impl Resolver {
    /// Opens it in the namespace that the file `path` stands for, at ports that nobody has there; what another has left
    /// of one is replaced. None if that namespace's loopback is down, so that nobody can ask.
    ///
    /// # Errors
    /// If the namespace is not there, is the host's own, or the kernel refuses.
    pub fn open(path: &Path) -> Result<Option<Self>, KernelError> {
        let refused = |refusal: Refusal| refusal.of(format!("answer names in {}", path.display()));
        let failed = |error: &io::Error| refused(netns::errno(error).into());
        let home = Namespace::own().map_err(|error| failed(&error))?;
        let namespace = netns::foreign(path, &home).map_err(refused)?;
        let inside = namespace.within(&home, || {
            let udp = UdpSocket::bind((NAME_SERVER, 0))?;
            let tcp = TcpListener::bind((NAME_SERVER, 0))?;
            // Not by the file of a pin, which could not be unmounted as long as it is open.
            Ok::<_, io::Error>((udp, tcp, Firewall::open(), Namespace::own()?))
        });
        let (udp, tcp, firewall, namespace) = match inside.map_err(refused)? {
            Err(error) if error.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32) => return Ok(None),
            inside => inside.map_err(|error| failed(&error))?,
        };
        let port = |bound: io::Result<SocketAddr>| bound.map_err(|error| failed(&error)).map(|at| at.port());
        let ports = (port(udp.local_addr())?, port(tcp.local_addr())?);
        let mut lead = Lead { ports, firewall: firewall?, namespace };
        lead.renew()?;
        Ok(Some(Self { udp, tcp, lead }))
    }
}

impl Lead {
    /// Whether `path` stands for the namespace that it is in.
    pub fn is_at(&self, path: &Path) -> bool {
        self.namespace.is_at(path)
    }

    /// Makes it again, should somebody have removed it.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn renew(&mut self) -> Result<(), KernelError> {
        self.firewall.lead_questions(NAME_SERVER, self.ports)
    }

    /// Removes it, so that questions go nowhere. Dropped within 100 ms after that, it takes the kernel a while.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove(&mut self) -> Result<(), KernelError> {
        self.firewall.leave_questions()
    }
}

/// Removes what leads questions to a [`Resolver`] in `namespace`, as far as it is there.
pub(crate) fn remove(namespace: &Namespace, home: &Namespace) -> Result<(), KernelError> {
    let entered = namespace.within(home, || {
        let mut firewall = Firewall::open()?;
        firewall.leave_questions()?;
        Ok(firewall)
    });
    let firewall = entered.map_err(|refusal| refusal.of("answer no names in a namespace"))??;
    // Closing it takes the kernel a while, which a child waits.
    drop(Reaper::hold(firewall.as_fd()));
    Ok(())
}
