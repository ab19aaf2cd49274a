//! What Podman's backend asks its proxy, waiting for the answer.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use tokio::runtime::Builder;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use crate::wire::{LeaseMessage, NetworkConfig, path};

/// Where the proxy listens.
pub const SOCKET: &str = "/run/podman/nv-proxy.sock";
/// Where its directory is, if it is another.
pub const RUN_DIR: &str = "NETAVARK_PROXY_RUN_DIR_ENV";

/// An interface of a container, already up, that wants a lease or has one.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The bridge, or the device that it sits on.
    pub host_interface: String,
    /// The interface.
    pub interface: String,
    /// Its MAC.
    pub mac: String,
    /// The file that its namespace is known by.
    pub netns: String,
    /// The container's host name; may be empty.
    pub host_name: String,
    /// The container's identity, by which servers know it again.
    pub container: String,
}

/// What an interface has by its lease. Address and routes are there already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leased {
    /// The address with its prefix.
    pub address: Ipv4Net,
    /// The router, if there is one.
    pub gateway: Option<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// The domain to look names up in.
    pub domain: Option<String>,
}

/// Why there is no lease, in words that people know from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoLease(String);

impl fmt::Display for NoLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoLease {}

/// The proxy's socket.
pub fn socket() -> PathBuf {
    std::env::var_os(RUN_DIR)
        .map_or_else(|| PathBuf::from(SOCKET), |dir| Path::new(&dir).join("nv-proxy.sock"))
}

/// Gets a lease from the proxy that listens at `socket`, which gives the interface its address and routes and keeps them.
///
/// # Errors
/// If there is no proxy, or no server.
pub fn setup(socket: &Path, wanted: &Wanted) -> Result<Leased, NoLease> {
    let told = call(socket, path::SETUP, wanted, "get").and_then(|lease| read(&lease));
    told.map_err(|error| NoLease(format!("unable to obtain lease: {error}")))
}

/// Gives the lease of an interface back, which has to be there still. That there is none is no error.
///
/// # Errors
/// If there is no proxy.
pub fn teardown(socket: &Path, wanted: &Wanted) -> Result<(), NoLease> {
    call(socket, path::TEARDOWN, wanted, "drop").map(drop)
}

fn call(socket: &Path, path: &'static str, wanted: &Wanted, verb: &str) -> Result<LeaseMessage, NoLease> {
    let unheard = |error: &dyn fmt::Display| {
        let socket = socket.display();
        NoLease(format!("socket \"{socket}\": {error}, is the netavark-dhcp-proxy.socket unit enabled?"))
    };
    // The library's errors say less.
    UnixStream::connect(socket).map_err(|error| unheard(&error))?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| NoLease(format!("cannot wait for an answer: {error}")))?;
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display()));
        let endpoint = endpoint.map_err(|error| unheard(&error))?;
        let channel = endpoint.connect().await.map_err(|error| unheard(&error))?;
        let mut client = Grpc::new(channel);
        client.ready().await.map_err(|error| unheard(&error))?;
        let config = tonic::Request::new(config(wanted));
        let codec = ProstCodec::<NetworkConfig, LeaseMessage>::default();
        let answer = client.unary(config, PathAndQuery::from_static(path), codec).await;
        let told = |status: Status| NoLease(format!("{verb} DHCP lease: {}", status.message()));
        answer.map(tonic::Response::into_inner).map_err(told)
    })
}

fn config(wanted: &Wanted) -> NetworkConfig {
    NetworkConfig {
        host_iface: wanted.host_interface.clone(),
        container_iface: wanted.interface.clone(),
        container_mac_addr: wanted.mac.clone(),
        domain_name: String::new(),
        host_name: wanted.host_name.clone(),
        version: 0,
        ns_path: wanted.netns.clone(),
        container_id: wanted.container.clone(),
    }
}

fn read(lease: &LeaseMessage) -> Result<Leased, NoLease> {
    fn parse<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, NoLease> {
        text.parse().map_err(|_| NoLease(format!("bad {what} address: {text:?}")))
    }
    let mask: Ipv4Addr = parse("mask", &lease.subnet_mask)?;
    let address: Ipv4Addr = parse("container", &lease.yiaddr)?;
    let address = Ipv4Net::with_netmask(address, mask);
    Ok(Leased {
        address: address.map_err(|_| NoLease(format!("bad mask address: {mask}")))?,
        gateway: lease.gateways.first().map(|text| parse("gateway", text)).transpose()?,
        dns: lease.dns_servers.iter().map(|text| parse("dns", text)).collect::<Result<_, _>>()?,
        domain: Some(lease.domain_name.clone()).filter(|name| !name.is_empty()),
    })
}
