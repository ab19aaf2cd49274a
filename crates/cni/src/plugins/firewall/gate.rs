//! The way through a firewall that drops what nobody has accepted, as iptables sets it up for others.

use linkspan_kernel::firewall::Firewall;
use linkspan_model::{Admission, IfName};

use crate::{CniError, CniResult};

/// The chain that the reference plugin has for this too.
const CHAIN: &str = "CNI-FORWARD";
/// The chain of the administrator, by default.
const ADMIN: &str = "CNI-ADMIN";

/// The device on the host by which packets of a container come and go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Door {
    pub device: IfName,
    /// Whether it is the container's alone, as the other side of its veth pair, and no bridge.
    pub is_own: bool,
}

impl Door {
    /// By the result so far: a bridge comes before its port, and the host's place in a VLAN of it after that.
    pub fn of(prev: &CniResult) -> Option<Self> {
        let names = prev.interfaces.iter().filter(|interface| interface.sandbox.is_none());
        let devices: Vec<IfName> = names.filter_map(|interface| interface.name.parse().ok()).collect();
        match devices.as_slice() {
            [] => None,
            [device] => Some(Self { device: device.clone(), is_own: true }),
            [bridge, _] => Some(Self { device: bridge.clone(), is_own: false }),
            [.., last] => Some(Self { device: last.clone(), is_own: false }),
        }
    }

    /// What lets the container's packets pass here: nothing where nothing is dropped, unless the administrator has a chain
    /// for them, `admin`, that is to be asked.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn admissions(&self, prev: &CniResult, admin: Option<&str>) -> Result<Vec<Admission>, CniError> {
        let mut firewall = Firewall::open()?;
        let mut admissions = Vec::new();
        for ipv6 in [false, true] {
            let concerned = prev.ips.iter().any(|ip| ip.address.addr().is_ipv6() == ipv6);
            if concerned && (admin.is_some() || firewall.drops_forwarded(ipv6)?) {
                admissions.push(Admission {
                    device: self.device.clone(),
                    ipv6,
                    chain: CHAIN.to_owned(),
                    admin: Some(admin.unwrap_or(ADMIN).to_owned()),
                    service: None,
                });
            }
        }
        Ok(admissions)
    }
}

/// Those of `admissions` that do not hold.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn missing(admissions: Vec<Admission>) -> Result<Vec<Admission>, CniError> {
    let mut missing = Vec::new();
    if admissions.is_empty() {
        return Ok(missing);
    }
    let mut firewall = Firewall::open()?;
    for admission in admissions {
        if !firewall.admits(&admission)? {
            missing.push(admission);
        }
    }
    Ok(missing)
}

/// Whether anybody may have been let pass here.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn is_there() -> Result<bool, CniError> {
    Ok(Firewall::open()?.has_beside_forward(CHAIN)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interface;

    fn door(devices: &[&str]) -> Option<(String, bool)> {
        let on_host =
            devices.iter().map(|name| (*name, None)).chain([("eth0", Some("/run/netns/a".to_owned()))]);
        let interfaces = on_host
            .map(|(name, sandbox)| Interface { name: name.to_owned(), sandbox, ..Interface::default() })
            .collect();
        let door = Door::of(&CniResult { interfaces, ..CniResult::default() })?;
        Some((door.device.to_string(), door.is_own))
    }

    #[test]
    fn packets_come_by_a_bridge_or_by_the_other_side_of_a_pair() {
        assert_eq!(door(&[]), None, "macvlan");
        assert_eq!(door(&["veth1"]), Some(("veth1".to_owned(), true)), "ptp");
        assert_eq!(door(&["cni0", "veth1"]), Some(("cni0".to_owned(), false)), "bridge");
        assert_eq!(
            door(&["cni0", "veth1", "cni0.7"]),
            Some(("cni0.7".to_owned(), false)),
            "a VLAN of a bridge"
        );
    }
}
