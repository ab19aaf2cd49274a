//! The flags of `network connect`.

use std::net::{Ipv4Addr, Ipv6Addr};

use clap::Args as ClapArgs;
use linkspan_model::{IfName, Mac, Name, Rate, Size};

use super::{address_v4, address_v6, parse};
use crate::complete;

#[derive(ClapArgs, Debug)]
pub struct ConnectArgs {
    /// The IPv4 address wanted.
    #[arg(long, value_name = "IP", value_parser = address_v4)]
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address wanted.
    #[arg(long, value_name = "IP", value_parser = address_v6)]
    pub ip6: Option<Ipv6Addr>,
    /// The MAC wanted; by default it follows the address.
    #[arg(long, value_name = "MAC", value_parser = parse::<Mac>)]
    pub mac_address: Option<Mac>,
    /// A further name for peers.
    #[arg(long, value_name = "NAME", value_parser = parse::<Name>)]
    pub alias: Vec<Name>,
    /// The interface's name inside, of a tap its name on the host.
    #[arg(long, value_name = "NAME", value_parser = parse::<IfName>)]
    pub ifname: Option<IfName>,
    /// The endpoint with the highest priority has the default route.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub gw_priority: i32,
    /// Give a virtual machine a tap on the network's bridge, which stays; prints what the machine has to know.
    #[arg(long)]
    pub tap: bool,
    /// The user who may open the tap without privileges, by number.
    #[arg(long, value_name = "UID", requires = "tap")]
    pub tap_owner: Option<u32>,
    #[command(flatten)]
    pub limits: LimitFlags,
    /// The network.
    #[arg(value_name = "NETWORK", add = complete::networks())]
    pub network: String,
    /// The sandbox, or the virtual machine: with --tap it is made if it is not there.
    #[arg(value_name = "SANDBOX", add = complete::sandboxes())]
    pub sandbox: String,
}

#[derive(ClapArgs, Debug)]
pub struct LimitFlags {
    /// The most that comes to the sandbox in a second, as in 10mbit.
    #[arg(long, value_name = "RATE", value_parser = parse::<Rate>)]
    pub ingress_rate: Option<Rate>,
    /// How much of it may come at once, as in 128kb.
    #[arg(long, value_name = "SIZE", value_parser = parse::<Size>, requires = "ingress_rate")]
    pub ingress_burst: Option<Size>,
    /// The most that the sandbox sends in a second.
    #[arg(long, value_name = "RATE", value_parser = parse::<Rate>)]
    pub egress_rate: Option<Rate>,
    /// How much of it may go at once.
    #[arg(long, value_name = "SIZE", value_parser = parse::<Size>, requires = "egress_rate")]
    pub egress_burst: Option<Size>,
}
