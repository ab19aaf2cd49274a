//! `macvlan` and `ipvlan`: a device in the container that sits on one of the host's.
//!
//! Its neighbours are those of the host's device, and no firewall, name server or published port is between them.

use linkspan_engine::{FitRequest, Footing, random_mac};
use linkspan_kernel::Host as Kernel;
use linkspan_model::{
    DeviceFixture, DeviceKind, Fixture, Guests, IfName, IpvlanMode, Mac, MacvlanMode, Part, Side,
};

use super::{Driver, Job, Made, OWNER, Plan, inside};
use crate::addresses::Addresses;
use crate::options::DeviceOptions;
use crate::{Error, Host, Interface, Status};

/// The metric of default routes: lower than a bridge's, so that these go first.
const METRIC: u32 = 99;

/// The drivers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDevice {
    /// `macvlan`: the device has a MAC of its own.
    Macvlan,
    /// `ipvlan`: it has that of the one below.
    Ipvlan,
}

/// What is below a device, and what it is.
struct Place<'a> {
    job: Job<'a>,
    ifname: IfName,
    kind: Kind,
    mac: Option<Mac>,
    options: DeviceOptions,
    addresses: Addresses,
}

#[derive(Clone, Copy)]
enum Kind {
    Macvlan(MacvlanMode),
    Ipvlan(IpvlanMode),
}

impl Driver for OnDevice {
    fn plan<'a>(&self, job: &Job<'a>) -> Result<Box<dyn Plan + 'a>, Error> {
        let ifname = job.ifname()?;
        let options = DeviceOptions::read(job.network.options.as_ref())?;
        let addresses = Addresses::read(job.per, job.network)?;
        let kind = match self {
            Self::Macvlan => Kind::Macvlan(options.macvlan_mode()?),
            Self::Ipvlan if addresses.is_dhcp => {
                return Err(Error::new("ipam driver dhcp is not supported with ipvlan"));
            }
            Self::Ipvlan => Kind::Ipvlan(options.ipvlan_mode()?),
        };
        let mac = match self {
            Self::Macvlan => job.static_mac()?,
            Self::Ipvlan => None,
        };
        Ok(Box::new(Place { job: *job, ifname, kind, mac, options, addresses }))
    }
}

impl Plan for Place<'_> {
    fn setup(&self, host: &mut Host<'_>) -> Result<Made, Error> {
        let engine = host.engine()?;
        let kernel = engine.kernel();
        let master = self.master(kernel)?;
        let mac = self.own_mac()?;
        let mut fixtures = vec![Fixture::Device(self.device(&master.name, mac))];
        fixtures.extend(self.no_autoconf(kernel)?);
        fixtures.extend(inside::addresses(&self.ifname, &self.addresses));
        fixtures.extend(self.routes(kernel)?);
        if !self.addresses.container.is_empty() {
            fixtures.push(Fixture::Announce { device: self.ifname.clone() });
        }
        let part = Part { owner: OWNER.to_owned(), fixtures, ..Part::default() };
        let mac = mac.unwrap_or(master.mac);
        let leases = inside::leases(&self.addresses);
        engine.fit(&FitRequest {
            attachment: self.job.attachment()?,
            netns: self.job.netns.to_owned(),
            footing: Footing { mac: Some(mac), host: None, leases },
            is_main: true,
            part,
            guests: Guests { passing: true, ..Guests::default() },
            labels: self.job.labels(),
        })?;
        Ok(self.status(mac).into())
    }
}

/// The device below.
struct Master {
    name: IfName,
    mac: Mac,
}

impl Place<'_> {
    /// The device that is named, or that of the default route.
    fn master(&self, kernel: &mut Kernel) -> Result<Master, Error> {
        let named = self.job.network.network_interface.as_deref().filter(|name| !name.is_empty());
        let name = match named {
            Some(name) => name.parse()?,
            None => kernel
                .device_of_default_route(None)?
                .ok_or_else(|| Error::new("failed to get default route interface"))?,
        };
        let found = kernel.device(None, &name)?;
        let found = found.ok_or_else(|| Error::new(format!("parent interface {name} does not exist")))?;
        Ok(Master { name, mac: found.mac.unwrap_or_default() })
    }

    /// The device's own MAC; none if it has that of the one below.
    fn own_mac(&self) -> Result<Option<Mac>, Error> {
        match self.kind {
            Kind::Ipvlan(_) | Kind::Macvlan(MacvlanMode::Passthru) => Ok(self.mac),
            Kind::Macvlan(_) => Ok(Some(self.mac.map_or_else(random_mac, Ok)?)),
        }
    }

    fn device(&self, master: &IfName, mac: Option<Mac>) -> DeviceFixture {
        let (side, master) = (Side::Host, master.clone());
        DeviceFixture {
            ifname: self.ifname.clone(),
            kind: match self.kind {
                Kind::Macvlan(mode) => DeviceKind::Macvlan {
                    side,
                    master,
                    mode,
                    broadcast_queue: None,
                    broadcast_cutoff: self.options.broadcast_cutoff,
                },
                Kind::Ipvlan(mode) => DeviceKind::Ipvlan { side, master, mode },
            },
            mac,
            mtu: self.options.mtu,
            ipv6: self.addresses.has_ipv6,
        }
    }

    /// Keeps the interface from taking addresses that Podman did not give, if the namespace has IPv6.
    fn no_autoconf(&self, kernel: &mut Kernel) -> Result<Option<Fixture>, Error> {
        let now = kernel.sysctl(self.job.netns, "net/ipv6/conf/default/autoconf")?;
        Ok(now.filter(|now| now != "0").map(|_| Fixture::Sysctl {
            side: Side::Inside,
            key: format!("net/ipv6/conf/{}/autoconf", self.ifname),
            value: "0".to_owned(),
        }))
    }

    fn routes(&self, kernel: &mut Kernel) -> Result<Vec<Fixture>, Error> {
        let mut routes = Vec::new();
        if !self.job.network.internal && !self.options.no_default_route {
            let metric = self.options.metric.unwrap_or(METRIC);
            routes.extend(inside::default_routes(&self.ifname, &self.addresses, metric));
        }
        routes.extend(inside::static_routes(kernel, self.job.netns, &self.ifname, &self.addresses)?);
        Ok(routes)
    }

    fn status(&self, mac: Mac) -> Status {
        let subnets = Some(self.addresses.container.clone());
        let interface = Interface { mac_address: mac.to_string(), subnets };
        Status {
            dns_search_domains: Some(Vec::new()),
            dns_server_ips: Some(self.job.options.dns_servers.clone().unwrap_or_default()),
            interfaces: Some([(self.ifname.to_string(), interface)].into()),
        }
    }
}
