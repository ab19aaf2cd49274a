//! Addresses that a DHCP server leases: the proxy, a process of its own, asks for them through the interface that was made,
//! gives them to it, and keeps them.

use ipnet::IpNet;
use linkspan_dhcp::{NoLease, Wanted};

use crate::drivers::{Job, Made};
use crate::{Address, Error, Host};

impl From<NoLease> for Error {
    fn from(error: NoLease) -> Self {
        Self::new(error.to_string())
    }
}

/// Whether a network's addresses are leased.
fn is_leased(job: &Job<'_>) -> bool {
    let options = job.network.ipam_options.as_ref();
    options.and_then(|options| options.get("driver")).is_some_and(|driver| driver == "dhcp")
}

/// Gets a lease for what was set up, where the network's addresses are leased, and completes what is told of it.
///
/// # Errors
/// If there is no proxy or no server.
pub fn complete(job: &Job<'_>, made: &mut Made) -> Result<(), Error> {
    if !is_leased(job) {
        return Ok(());
    }
    let interface =
        made.status.interfaces.as_mut().and_then(|all| all.get_mut(job.per.interface_name.as_str()));
    let Some(interface) = interface else { return Ok(()) };
    let leased = linkspan_dhcp::setup(&linkspan_dhcp::socket(), &wanted(job, interface.mac_address.clone()))?;
    interface.subnets = Some(vec![Address { gateway: leased.gateway, ipnet: IpNet::V4(leased.address) }]);
    if let Some(names) = &mut made.names {
        names.addresses.push(leased.address.addr().into());
        return Ok(());
    }
    if job.options.dns_servers.is_none() && !leased.dns.is_empty() {
        made.status.dns_server_ips = Some(leased.dns);
    }
    if let Some(domain) = leased.domain {
        made.status.dns_search_domains = Some(vec![domain]);
    }
    Ok(())
}

/// Gives the lease of an endpoint back, while its interface is there.
///
/// # Errors
/// If there is no proxy.
pub fn give_back(job: &Job<'_>, host: &mut Host<'_>) -> Result<(), Error> {
    if !is_leased(job) {
        return Ok(());
    }
    // Without a record nothing was set up, or it is gone already.
    let Some((endpoint, ..)) = host.engine()?.attachment(&job.attachment()?)? else { return Ok(()) };
    let wanted = wanted(job, endpoint.mac.to_string());
    Ok(linkspan_dhcp::teardown(&linkspan_dhcp::socket(), &wanted)?)
}

fn wanted(job: &Job<'_>, mac: String) -> Wanted {
    Wanted {
        host_interface: job.network.network_interface.clone().unwrap_or_default(),
        interface: job.per.interface_name.clone(),
        mac,
        netns: job.netns.to_string_lossy().into_owned(),
        host_name: job.options.container_hostname.clone().unwrap_or_default(),
        container: job.options.container_id.clone(),
    }
}
