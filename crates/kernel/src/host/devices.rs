//! What frontends ask about single devices, on the host or in a namespace that they were given.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ipnet::IpNet;
use linkspan_model::{IfName, Mac, Name, RouteFixture, Side};
use linkspan_plan::KernelError;
use nix::errno::Errno;

use super::{Host, find};
use crate::error::Result;
use crate::netlink::{Family, Socket};
use crate::netns::{self, Namespace};
use crate::rtnl::address::{self, Address};
use crate::rtnl::carry::{self, GivenRoute};
use crate::rtnl::device::Device;
use crate::rtnl::route::{self, NewRoute, Route};
use crate::rtnl::{link, qdisc, rule};
use crate::sysctl;

/// What is known of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceFacts {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: IfName,
    /// Its kind as the kernel calls it, as `bridge` or `veth`; `device` for hardware and loopback.
    pub kind: String,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is up, be it without carrier.
    pub up: bool,
    /// Whether it is loopback.
    pub loopback: bool,
    /// Whether it was told to take every frame (IFF_PROMISC).
    pub promisc: bool,
    /// Whether it was told to take every multicast (IFF_ALLMULTI).
    pub allmulti: bool,
    /// How many frames may wait to be sent.
    pub tx_queue: u32,
    /// The index of the device that it is under: a bridge, a VRF.
    pub master: Option<u32>,
    /// The index of the other side of a veth pair, or of the device that it sits on, in the namespace of that one.
    pub peer: Option<u32>,
    /// Another name, as people gave it.
    pub alias: Option<String>,
    /// The table of a VRF.
    pub vrf_table: Option<u32>,
    /// Its addresses, link-local ones too.
    pub addresses: Vec<IpNet>,
}

impl DeviceFacts {
    fn new(device: Device, addresses: &BTreeMap<u32, Vec<IpNet>>) -> Option<Self> {
        Some(Self {
            index: device.link.index,
            name: device.link.name.parse().ok()?,
            up: device.link.is_up(),
            loopback: device.link.is_loopback(),
            addresses: addresses.get(&device.link.index).cloned().unwrap_or_default(),
            kind: device.link.kind.unwrap_or_else(|| "device".to_owned()),
            mac: device.link.mac,
            mtu: device.link.mtu,
            promisc: device.promisc,
            allmulti: device.allmulti,
            tx_queue: device.tx_queue,
            master: device.link.master,
            peer: device.link.peer,
            alias: device.alias,
            vrf_table: device.vrf_table,
        })
    }
}

type Answer<T> = std::result::Result<T, KernelError>;

/// Questions about devices. `netns` is the file that a namespace is known by; the host's own without one.
impl Host {
    /// The device called `name`; none if there is none such.
    ///
    /// # Errors
    /// If the namespace is not there, or the kernel cannot be asked.
    pub fn device(&mut self, netns: Option<&Path>, name: &IfName) -> Answer<Option<DeviceFacts>> {
        let look = |socket: &mut Socket| {
            let found = find(socket, vec![link::get(name)], Device::parse)?.into_iter().next().flatten();
            let Some(found) = found else { return Ok(None) };
            let addresses = addresses(socket, found.link.index)?;
            Ok(DeviceFacts::new(found, &addresses))
        };
        self.ask(netns, look).map_err(|refusal| refusal.of(format!("look at {name}")))
    }

    /// The MAC of a device of the host; none if there is none such. No other question is answered as quickly.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn mac(&mut self, name: &IfName) -> Answer<Option<Mac>> {
        let found = find(&mut self.route, vec![link::get(name)], Device::parse);
        let found = found.map_err(|refusal| refusal.of(format!("look at {name}")))?;
        Ok(found.into_iter().next().flatten().and_then(|found| found.link.mac))
    }

    /// All devices.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn devices(&mut self, netns: Option<&Path>) -> Answer<Vec<DeviceFacts>> {
        let look = |socket: &mut Socket| {
            let addresses = addresses(socket, 0)?;
            let answers = socket.dump(link::dump)?;
            let found = answers.iter().filter_map(|answer| Device::parse(&answer.body));
            Ok(found.filter_map(|device| DeviceFacts::new(device, &addresses)).collect())
        };
        self.ask(netns, look).map_err(|refusal| refusal.of("list the devices"))
    }

    /// The device that the default route leaves by, of IPv4 if there is one.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn device_of_default_route(&mut self, netns: Option<&Path>) -> Answer<Option<IfName>> {
        let look = |socket: &mut Socket| {
            let answers = socket.dump(route::dump)?;
            let routes = answers.iter().filter_map(|answer| Route::parse(&answer.body));
            let defaults = routes.filter(|route| route.destination.is_none());
            let Some(index) = defaults.min_by_key(|route| route.family).and_then(|route| route.index) else {
                return Ok(None);
            };
            let found = find(socket, vec![link::get_by_index(index)], Device::parse)?;
            Ok(found.into_iter().flatten().find_map(|device| device.link.name.parse().ok()))
        };
        self.ask(netns, look).map_err(|refusal| refusal.of("look for the default route"))
    }

    /// The device on the host that is the other side of a veth pair, whose side `ifname` is in `netns`; none if that is
    /// no veth pair, or its other side is elsewhere.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn peer_on_host(&mut self, netns: &Path, ifname: &IfName) -> Answer<Option<IfName>> {
        let Some(inside) = self.device(Some(netns), ifname)?.filter(|device| device.kind == "veth") else {
            return Ok(None);
        };
        let look = |socket: &mut Socket| {
            let Some(index) = inside.peer else { return Ok(None) };
            let found = find(socket, vec![link::get_by_index(index)], Device::parse)?;
            let found = found.into_iter().flatten().next();
            let ours = |device: &Device| device.kind() == "veth" && device.link.peer == Some(inside.index);
            Ok(found.filter(ours).and_then(|device| device.link.name.parse().ok()))
        };
        self.ask(None, look).map_err(|refusal| refusal.of(format!("look for the other side of {ifname}")))
    }

    /// The kinds of the queues, and of the hooks for filters, that a device of the host was given, as `tbf` and `clsact`;
    /// not of those that the kernel gives.
    ///
    /// # Errors
    /// As [`device`](Self::device); if the device is not there.
    pub fn queues(&mut self, name: &IfName) -> Answer<Vec<String>> {
        let look = |socket: &mut Socket| {
            let index = super::live_link(socket, name)?.index;
            // There may be none of a kind, which is an error.
            let (answers, _) = socket.attempt(vec![qdisc::get_root(index), qdisc::get_ingress(index)])?;
            Ok(answers.iter().filter_map(|answer| qdisc::given(&answer.body)).collect())
        };
        self.ask(None, look).map_err(|refusal| refusal.of(format!("look at the queues of {name}")))
    }

    /// The unicast routes of the main table that leave by a device of a namespace, the kernel's own too.
    ///
    /// # Errors
    /// As [`device`](Self::device); if the device is not there.
    pub fn routes_of(&mut self, netns: &Path, name: &IfName) -> Answer<Vec<RouteFixture>> {
        let look = |socket: &mut Socket| {
            let index = super::live_link(socket, name)?.index;
            let answers = socket.dump(route::dump)?;
            let routes = answers.iter().filter_map(|answer| NewRoute::parse(&answer.body));
            let main = u32::from(libc::RT_TABLE_MAIN);
            let by_it = routes.filter(|route| route.index == index && route.table == main);
            Ok(by_it.map(|route| as_fixture(&route, name)).collect())
        };
        self.ask(Some(netns), look).map_err(|refusal| refusal.of(format!("list the routes by {name}")))
    }

    /// The routing tables of a namespace that have routes, or that a rule names.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn tables_in_use(&mut self, netns: &Path) -> Answer<BTreeSet<u32>> {
        let look = |socket: &mut Socket| {
            let routes = socket.dump(carry::dump_routes)?;
            let routes = routes.into_iter().filter_map(|answer| GivenRoute::new(answer.body));
            let mut tables: BTreeSet<u32> = routes.map(|route| route.table()).collect();
            let rules = socket.dump(rule::dump)?;
            tables.extend(rules.iter().filter_map(|answer| rule::table(&answer.body)));
            Ok(tables)
        };
        self.ask(Some(netns), look).map_err(|refusal| refusal.of("list the routing tables"))
    }

    /// The value of a sysctl in a namespace, by its path below /proc/sys, as `net/core/somaxconn`; none if there is none
    /// such.
    ///
    /// # Errors
    /// As [`device`](Self::device).
    pub fn sysctl(&mut self, netns: &Path, key: &str) -> Answer<Option<String>> {
        let look = || netns::at(netns)?.within(&self.home, || sysctl::read(key))?;
        look().map_err(|refusal| refusal.of(format!("read sysctl {key}")))
    }

    /// The network device of a directory of sysfs, as `/sys/devices/pci0000:00/0000:00:03.0`; none if it has none.
    pub fn device_in(&self, path: &str) -> Option<IfName> {
        let mut names = fs::read_dir(Path::new(path).join("net")).ok()?.flatten();
        names.find_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// The network device at an address of a bus, as `0000:00:03.0` of `pci`; none if it has none.
    pub fn device_on_bus(&self, bus: &str, id: &str) -> Option<IfName> {
        let directory = on_bus(bus, id)?;
        let virtio = || {
            let below = fs::read_dir(&directory).ok()?.flatten();
            let mut below = below.filter(|entry| entry.file_name().to_string_lossy().starts_with("virtio"));
            below.find_map(|entry| self.device_in(&entry.path().to_string_lossy()))
        };
        self.device_in(&directory).or_else(virtio)
    }

    /// Removes the veth pair with the side `name` in `netns`, if it is there, whoever made it. In the host's own namespace
    /// it is left alone unless `may_be_own`.
    ///
    /// # Errors
    /// If the kernel does not let it go.
    pub fn remove_veth(&mut self, netns: &Path, name: &IfName, may_be_own: bool) -> Answer<()> {
        let Ok(namespace) = Namespace::open(netns) else { return Ok(()) };
        if namespace.is(&self.home) && !may_be_own {
            return Ok(());
        }
        let remove = |socket: &mut Socket| {
            let found = find(socket, vec![link::get(name)], Device::parse)?.into_iter().next().flatten();
            if found.is_none_or(|found| found.link.kind.as_deref() != Some("veth")) {
                return Ok(());
            }
            match socket.batch(vec![link::delete(name)]) {
                Err(error) if error.errno == Errno::ENODEV => Ok(()),
                done => Ok(done.map(drop)?),
            }
        };
        self.ask(Some(netns), remove).map_err(|refusal| refusal.of(format!("remove {name}")))
    }

    /// Whether a bus has something at an address.
    pub fn is_on_bus(&self, bus: &str, id: &str) -> bool {
        on_bus(bus, id).is_some_and(|directory| Path::new(&directory).exists())
    }

    /// The driver of what is at an address of a bus.
    pub fn driver_on_bus(&self, bus: &str, id: &str) -> Option<String> {
        let driver = fs::read_link(Path::new(&on_bus(bus, id)?).join("driver")).ok()?;
        Some(driver.file_name()?.to_str()?.to_owned())
    }

    /// Asks in a namespace. One that is pinned where sandboxes are is opened once.
    fn ask<T>(&mut self, netns: Option<&Path>, look: impl FnOnce(&mut Socket) -> Result<T>) -> Result<T> {
        let Some(path) = netns else { return look(&mut self.route) };
        if let Some(name) = pinned(path)
            && let Some(sandbox) = self.sandbox(&name)?
        {
            return look(&mut sandbox.route);
        }
        let mut socket = netns::at(path)?.within(&self.home, || Socket::open(Family::Route))??;
        look(&mut socket)
    }
}

/// The name that a file pins a namespace under, if it is one of those pins.
fn pinned(path: &Path) -> Option<Name> {
    let name: Name = path.file_name()?.to_str()?.parse().ok()?;
    (netns::pin_path(&name) == path).then_some(name)
}

/// Where sysfs has what is at an address of a bus; none if that is no address.
fn on_bus(bus: &str, id: &str) -> Option<String> {
    let plain = !id.is_empty() && id != "." && id != ".." && !id.contains('/');
    plain.then(|| format!("/sys/bus/{bus}/devices/{id}"))
}

/// The addresses of one device, or with index 0 of all.
fn addresses(socket: &mut Socket, index: u32) -> Result<BTreeMap<u32, Vec<IpNet>>> {
    let answers = match socket.dump(|| address::dump(index)) {
        // It went away meanwhile.
        Err(error) if error.errno == Errno::ENODEV => Vec::new(),
        answers => answers?,
    };
    let mut found: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
    for address in answers.iter().filter_map(|answer| Address::parse(&answer.body)) {
        found.entry(address.index).or_default().push(address.net);
    }
    Ok(found)
}

fn as_fixture(route: &NewRoute, device: &IfName) -> RouteFixture {
    RouteFixture {
        side: Side::Inside,
        to: route.to,
        device: device.clone(),
        via: route.via,
        onlink: route.onlink,
        source: route.source,
        table: None,
        scope: Some(route.scope),
        priority: route.priority,
        mtu: route.mtu,
        advmss: route.advmss,
        shared: false,
    }
}
