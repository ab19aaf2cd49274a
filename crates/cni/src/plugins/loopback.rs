//! `loopback`: the device lo of a container. It is always there and has no state but up or down, so nothing of it is
//! written down.

use linkspan_kernel::loopback::{down, is_up, up};
use linkspan_kernel::netns::Namespace;
use linkspan_plan::{Failure, KernelError};

use crate::{Call, CniError, CniResult, Host, Interface, Ip, Plugin};

const NAME: &str = "lo";

/// The plugin.
pub struct Loopback;

impl Plugin for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn add(&self, call: &Call, _host: &mut Host) -> Result<CniResult, CniError> {
        let netns = call.netns()?;
        let addresses = up(netns)?;
        if let Some(other) = addresses.iter().find(|address| !address.addr().is_loopback()) {
            return Err(CniError::other(format!("lo has the address {other}"))
                .because("it must have none but 127.0.0.0/8 and ::1"));
        }
        if let Some(prev) = &call.prev {
            return Ok(prev.clone());
        }
        let first = |is_ipv4: bool| addresses.iter().find(move |address| address.addr().is_ipv4() == is_ipv4);
        let ip = |address| Ip { address, gateway: None, interface: Some(0) };
        Ok(CniResult {
            interfaces: vec![Interface {
                name: NAME.to_owned(),
                mac: Some("00:00:00:00:00:00".to_owned()),
                sandbox: Some(netns.display().to_string()),
                ..Interface::default()
            }],
            ips: [first(true), first(false)].into_iter().flatten().copied().map(ip).collect(),
            ..CniResult::default()
        })
    }

    fn del(&self, call: &Call, _host: &mut Host) -> Result<(), CniError> {
        let Some(netns) = &call.netns else { return Ok(()) };
        match down(netns) {
            Err(KernelError { failure: Failure::NotFound, .. }) => Ok(()),
            // What is left of a pin whose namespace is gone is a file like any other.
            Err(_) if netns.is_file() && Namespace::open(netns).is_err() => Ok(()),
            other => Ok(other?),
        }
    }

    fn check(&self, call: &Call, _host: &mut Host) -> Result<(), CniError> {
        if is_up(call.netns()?)? { Ok(()) } else { Err(CniError::other("loopback interface is down")) }
    }
}
