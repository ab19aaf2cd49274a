//! `bridge`: a veth pair, one side in the container, the other a port of the network's bridge.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use linkspan_aardvark::Entry;
use linkspan_engine::{FitRequest, Footing, random_id, random_mac};
use linkspan_model::{
    Attachment, BridgeFixture, BridgePort, Family, Fixture, Guests, IfName, Isolation, Mac, OwnBridge, Part,
    Published, Side, VethFixture,
};
use linkspan_plan::desired;

use super::{Driver, Job, Made, OWNER, Plan, inside, words};
use crate::addresses::{Addresses, METRIC};
use crate::firewall::Segment;
use crate::ports::published;
use crate::{BridgeMode, BridgeOptions, Error, Host, Status, host_interface_name};

/// The driver.
pub struct Bridge;

/// A container's place on a bridge.
struct Place<'a> {
    job: Job<'a>,
    attachment: Attachment,
    bridge: IfName,
    options: BridgeOptions,
    addresses: Addresses,
    mac: Option<Mac>,
    host_ifname: Option<IfName>,
    vrf: Option<IfName>,
    published: Vec<Published>,
}

impl Driver for Bridge {
    fn plan<'a>(&self, job: &Job<'a>) -> Result<Box<dyn Plan + 'a>, Error> {
        let bridge = job.network.network_interface.as_deref().filter(|name| !name.is_empty());
        let bridge = bridge.ok_or_else(|| Error::new("no bridge interface name given"))?.parse()?;
        let attachment = job.attachment()?;
        let addresses = Addresses::read(job.per, job.network)?;
        let options = BridgeOptions::read(job.network.options.as_ref())?;
        if addresses.is_dhcp && options.mode == BridgeMode::Managed {
            return Err(Error::new("cannot use dhcp ipam driver without using the option mode=unmanaged"));
        }
        let host_ifname = host_interface_name(job.per.options.as_ref()).map(str::parse).transpose()?;
        let vrf = options.vrf.as_deref().map(str::parse).transpose()?;
        let is_reached = options.mode == BridgeMode::Managed && !job.network.internal;
        let mappings = job.options.port_mappings.as_deref().filter(|_| is_reached).unwrap_or_default();
        let published = published(mappings, &families(&addresses))?;
        let mac = job.static_mac()?;
        let place =
            Place { job: *job, attachment, bridge, options, addresses, mac, host_ifname, vrf, published };
        Ok(Box::new(place))
    }

    fn teardown(&self, job: &Job<'_>, host: &mut Host<'_>) -> Result<(), Error> {
        job.detach(host)?;
        if host.engine()?.find_network(job.record()?.as_str())?.is_none() {
            let subnets = job.network.subnets.iter().flatten().map(|subnet| &subnet.subnet);
            host.firewall()?.distrust(subnets);
        }
        Ok(())
    }
}

/// The families that a container has addresses of.
fn families(addresses: &Addresses) -> Vec<Family> {
    let has = |family: &Family| {
        addresses.container.iter().any(|address| Family::of(address.ipnet.addr()) == *family)
    };
    [Family::V4, Family::V6].into_iter().filter(has).collect()
}

impl Plan for Place<'_> {
    fn setup(&self, host: &mut Host<'_>) -> Result<Made, Error> {
        let of_bridge = if self.is_managed() { Vec::new() } else { self.look(host)? };
        let first = self.addresses.container.first().map(|address| Mac::for_ip(address.ipnet.addr()));
        let mac = match self.mac.or(first) {
            Some(mac) => mac,
            None => random_mac()?,
        };
        let host_ifname = match &self.host_ifname {
            Some(name) => name.clone(),
            None => random_id()?.host_ifname(),
        };
        let guests = self.guests(host)?;
        let published = self.published(host)?;
        let routes = self.routes(host)?;
        let request = FitRequest {
            attachment: self.attachment.clone(),
            netns: self.job.netns.to_owned(),
            footing: Footing {
                mac: Some(mac),
                host: Some(host_ifname.clone()),
                leases: inside::leases(&self.addresses),
            },
            is_main: true,
            part: self.part(mac, host_ifname, routes, published),
            guests,
            labels: self.job.labels(),
        };
        host.engine()?.fit(&request).map_err(|error| words(error, &request))?;
        host.firewall()?.trust(&request.guests.trusted);
        Ok(self.made(mac, of_bridge))
    }
}

impl Place<'_> {
    fn is_managed(&self) -> bool {
        self.options.mode == BridgeMode::Managed
    }

    /// The addresses that others have given a bridge, for a name server to listen on.
    fn look(&self, host: &mut Host<'_>) -> Result<Vec<IpAddr>, Error> {
        let found =
            host.engine()?.kernel().device(None, &self.bridge).map_err(linkspan_engine::Error::from)?;
        let Some(found) = found else {
            let what = "in unmanaged mode, the bridge must already exist on the host";
            return Err(Error::new(format!("{what}: Netlink error: No such device (os error 19)")));
        };
        let is_usable = |address: &IpAddr| match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        };
        let addresses: Vec<_> = found.addresses.iter().map(IpNet::addr).filter(is_usable).collect();
        if addresses.is_empty() && self.job.network.dns_enabled {
            return Err(Error::new(format!(
                "bridge '{}' in unmanaged mode has no usable IP addresses. Aardvark-dns requires at least one \
                 address (should not be an IPv6 link-local address) to bind to. Please add an IP address or \
                 disable DNS for this network (--disable-dns).",
                self.bridge
            )));
        }
        Ok(addresses)
    }

    fn part(&self, mac: Mac, host_ifname: IfName, routes: Vec<Fixture>, published: Vec<Published>) -> Part {
        let has_ipv6 = self.addresses.container.iter().any(|address| address.ipnet.addr().is_ipv6());
        let mut fixtures = Vec::new();
        if self.options.vlan.is_some() && !self.is_managed() {
            let (mtu, promisc, vlan_filtering) = (None, false, true);
            let name = self.bridge.clone();
            fixtures.push(Fixture::Bridge(BridgeFixture { name, mtu, promisc, vlan_filtering }));
        }
        fixtures.push(Fixture::Veth(VethFixture {
            host: host_ifname,
            ifname: self.attachment.ifname.clone(),
            mac: Some(mac),
            mtu: self.options.mtu,
            port: Some(BridgePort {
                bridge: self.bridge.clone(),
                hairpin: !self.published.is_empty(),
                isolated: false,
                vlan: self.options.vlan.unwrap_or_default(),
                trunk: Vec::new(),
                keep_default_vlan: true,
                open: !self.is_managed(),
            }),
            down: false,
            ipv6: has_ipv6,
            loose: self.is_managed(),
        }));
        let ifname = &self.attachment.ifname;
        fixtures.extend(inside::addresses(ifname, &self.addresses));
        fixtures.extend(routes);
        let of_address = self.addresses.container.first().map(|first| Mac::for_ip(first.ipnet.addr()));
        if of_address.is_some_and(|usual| usual != mac) {
            // Who had the address before may be remembered by another MAC.
            fixtures.push(Fixture::Announce { device: ifname.clone() });
        }
        Part { owner: OWNER.to_owned(), fixtures, published, own_table: true, ..Part::default() }
    }

    fn routes(&self, host: &mut Host<'_>) -> Result<Vec<Fixture>, Error> {
        let mut routes = Vec::new();
        let ifname = &self.attachment.ifname;
        if !self.job.network.internal && !self.options.no_default_route {
            let metric = self.options.metric.unwrap_or(METRIC);
            routes.extend(inside::default_routes(ifname, &self.addresses, metric));
        }
        if !self.addresses.routes.is_empty() {
            let kernel = host.engine()?.kernel();
            routes.extend(inside::static_routes(kernel, self.job.netns, ifname, &self.addresses)?);
        }
        Ok(routes)
    }

    /// What is published, if this program keeps the firewall.
    fn published(&self, host: &mut Host<'_>) -> Result<Vec<Published>, Error> {
        if self.published.is_empty() || !host.firewall()?.has_rules() {
            return Ok(Vec::new());
        }
        host.firewall()?.refuse_strict()?;
        Ok(self.published.clone())
    }

    /// What holds for all of the network's containers; nothing for a bridge that somebody else looks after.
    fn guests(&self, host: &mut Host<'_>) -> Result<Guests, Error> {
        if !self.is_managed() {
            return Ok(Guests { passing: true, ..Guests::default() });
        }
        let guests = host.firewall()?.guests(&self.segment());
        Ok(Guests { ground: self.ground(), ..guests? })
    }

    fn segment(&self) -> Segment {
        let network = self.job.network;
        let usual = if self.job.is_podman6() { Isolation::Strict } else { Isolation::Open };
        let outbound = [self.options.outbound4.map(IpAddr::V4), self.options.outbound6.map(IpAddr::V6)];
        let listen = self.addresses.gateways.iter().filter(|_| network.dns_enabled);
        Segment {
            bridge: self.bridge.clone(),
            internal: network.internal,
            isolation: self.options.isolate.unwrap_or(usual),
            outbound: outbound.into_iter().flatten().collect(),
            subnets: network.subnets.iter().flatten().map(|subnet| subnet.subnet).collect(),
            dns: listen.map(|gateway| SocketAddr::new(gateway.addr(), self.job.dns_port)).collect(),
        }
    }

    /// What is made for all of the network's containers.
    fn ground(&self) -> Vec<Fixture> {
        let forwards = !self.job.network.internal;
        let bridge = Fixture::OwnBridge(OwnBridge {
            name: self.bridge.clone(),
            mtu: self.options.mtu,
            vlan_filtering: self.options.vlan.is_some(),
            vrf: self.vrf.clone(),
            gateways: self.addresses.gateways.clone(),
            forwards,
        });
        let forward =
            |key: &str| Fixture::Sysctl { side: Side::Host, key: key.to_owned(), value: "1".to_owned() };
        let v4 = forwards.then(|| forward(desired::FORWARD_V4));
        let v6 = (forwards && self.addresses.has_ipv6).then(|| forward(desired::FORWARD_V6));
        [bridge].into_iter().chain(v4).chain(v6).collect()
    }

    fn made(&self, mac: Mac, of_bridge: Vec<IpAddr>) -> Made {
        let Job { options, network, per, .. } = self.job;
        let interface = crate::Interface {
            mac_address: mac.to_string(),
            subnets: Some(self.addresses.container.clone()),
        };
        let mut status = Status {
            dns_search_domains: Some(Vec::new()),
            dns_server_ips: Some(options.dns_servers.clone().unwrap_or_default()),
            interfaces: Some([(per.interface_name.clone(), interface)].into()),
        };
        if !network.dns_enabled {
            return Made { status, names: None };
        }
        let listen = if self.is_managed() {
            self.addresses.gateways.iter().map(IpNet::addr).collect()
        } else {
            of_bridge
        };
        status.dns_server_ips = Some(listen.clone());
        status.dns_search_domains = Some(vec!["dns.podman".to_owned()]);
        let names = [options.container_name.clone()].into_iter().chain(per.aliases.iter().flatten().cloned());
        let names = Entry {
            network: network.name.clone(),
            internal: network.internal,
            listen,
            servers: network.network_dns_servers.clone().unwrap_or_default(),
            container: options.container_id.clone(),
            addresses: self.addresses.container.iter().map(|address| address.ipnet.addr()).collect(),
            names: names.collect(),
            dns: options.dns_servers.clone().unwrap_or_default(),
        };
        Made { status, names: Some(names) }
    }
}
