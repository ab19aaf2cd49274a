//! What a server has leased.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use linkspan_kernel::leased::Addressing;
use serde::{Deserialize, Serialize};

/// An address with all that a server said along with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// The address with its prefix, host bits and all.
    pub address: Ipv4Net,
    /// Who gave it (option 54).
    pub server: Ipv4Addr,
    /// The next server to boot from, as the message's own field has it.
    pub next_server: Ipv4Addr,
    /// For how many seconds; [`FOREVER`] without end.
    pub seconds: u32,
    /// After how many seconds the server is asked to renew it (T1).
    pub renewal: u32,
    /// After how many seconds any server is asked (T2).
    pub rebinding: u32,
    /// Routers, the preferred one first.
    pub routers: Vec<Ipv4Addr>,
    /// Routes (options 121 and 33), with 0.0.0.0 for what is on the link.
    pub routes: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// The domain to look names up in.
    pub domain: Option<String>,
    /// The client's host name as the server has it.
    pub host_name: Option<String>,
    /// The broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// The MTU in bytes.
    pub mtu: Option<u16>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
}

/// The duration of a lease that does not end (RFC 2131, 3.3).
pub const FOREVER: u32 = u32::MAX;

impl Lease {
    /// What an interface has by it.
    pub fn addressing(&self) -> Addressing {
        let hop = |router: &Ipv4Addr| (!router.is_unspecified()).then_some(*router);
        let mut routes: Vec<_> = self.routes.iter().map(|(to, router)| (to.trunc(), hop(router))).collect();
        if let Some(router) = self.routers.first() {
            let default = (Ipv4Net::default(), Some(*router));
            if !routes.contains(&default) {
                routes.push(default);
            }
        }
        Addressing { address: self.address, routes }
    }
}
