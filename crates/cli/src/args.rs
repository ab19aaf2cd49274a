//! The flags, as they are written. Their values are checked by the types that they become.

mod connect;
mod runtimes;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ipnet::IpNet;
use linkspan_engine::{RUN_DIR, STATE_DIR};
use linkspan_model::{
    Driver, HostAlias, HostName, Invalid, LinkSpec, Mac, Name, NetSpec, PublishSpec, TargetPort,
};

use crate::complete;
use crate::deferred::Deferred;
use crate::help;

pub use connect::ConnectArgs;
pub use runtimes::{CniCommand, NetavarkCommand};

/// Container networking that explains itself: bridge networks, published ports, names and namespaces.
#[derive(Parser, Debug)]
#[command(
    name = "linkspan",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
#[command(after_help = "Examples:
  linkspan network create --subnet 10.7.0.0/24 lab
  linkspan sandbox create --net lab -p 8080:80 web
  linkspan exec web -- ip address
  linkspan run --net lab -- ping -c1 web
  linkspan demo                               the whole story, on a throwaway host")]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(ClapArgs, Debug, Clone)]
pub struct Global {
    /// Where networks and leases are remembered.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = STATE_DIR.variable,
        default_value = STATE_DIR.default,
        hide_env = true
    )]
    pub state_dir: PathBuf,
    /// Where the files of running sandboxes are.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = RUN_DIR.variable,
        default_value = RUN_DIR.default,
        hide_env = true
    )]
    pub run_dir: PathBuf,
    /// How lists and results are printed.
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// Print each step that changes the kernel.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Never colour the output.
    #[arg(long, global = true)]
    pub no_color: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// JSON, stable.
    Json,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create, show and remove networks, and attach sandboxes to them.
    #[command(subcommand)]
    Network(Deferred<NetworkCommand>),
    /// Create, show, enter and remove sandboxes.
    #[command(subcommand)]
    Sandbox(Deferred<SandboxCommand>),
    /// Run a command in a sandbox of its own, removed when the command ends.
    #[command(after_help = "Examples:
  linkspan run -- ip address
  linkspan run --net lab -p 8080:80 --name web -- busybox httpd -f -p 80
  linkspan run --net none -- sh")]
    Run(Deferred<RunArgs>),
    /// Run a command in a sandbox (short for `sandbox exec`).
    #[command(after_help = "Example:
  linkspan exec web -- ss -tln")]
    Exec(ExecArgs),
    /// Show a sandbox's published ports.
    #[command(after_help = "Example:
  linkspan port web")]
    Port {
        /// The sandbox.
        #[arg(value_name = "SANDBOX", add = complete::sandboxes())]
        sandbox: String,
    },
    /// Print what `apply` would change.
    #[command(after_help = "Examples:
  linkspan plan -f lab.toml
  linkspan plan -f lab.toml --format json
  linkspan plan --schema > lab.schema.json     for editors")]
    Plan(PlanArgs),
    /// Make networks, sandboxes and programs what a file says, and check that they work.
    #[command(after_help = "Examples:
  linkspan apply -f lab.toml
  linkspan apply -f examples/nat-publish.toml --no-check

  # lab.toml
  network.lan = { subnet = \"10.7.0.0/24\" }
  sandbox.web = { net = \"lan\", publish = \"8080:80\", run = \"busybox httpd -f -p 80\" }
  sandbox.pc = { net = \"lan\" }
  check = [{ from = \"pc\", ping = \"web\" }]

Only what differs is changed. If a change fails, all are undone.")]
    Apply(ApplyArgs),
    /// Remove everything that `apply` made of a file.
    #[command(after_help = "Example:
  linkspan delete -f lab.toml")]
    Delete(FileArgs),
    /// Finish what was interrupted, remove leftovers, restore what the kernel lost.
    #[command(after_help = "Examples:
  linkspan repair --dry-run      what would be done
  linkspan repair                e.g. after `nft flush ruleset`")]
    Repair {
        /// Only print what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Serve container runtimes as their CNI plugins.
    #[command(subcommand)]
    Cni(Deferred<CniCommand>),
    /// Serve Podman as its network backend.
    #[command(subcommand, after_help = help::NETAVARK)]
    Netavark(Deferred<NetavarkCommand>),
    /// Answer for the names of sandboxes, inside each of them. Commands start it when one is there, and it ends behind the
    /// last.
    #[command(after_help = "Example:
  linkspan agent                 in sight, say to see what it does")]
    Agent {
        /// Whether the socket that it hears commands at was given to it by one.
        #[arg(long, hide = true)]
        given: bool,
    },
    /// Serve the names of Podman's networks, as its aardvark-dns does.
    #[command(name = "aardvark-dns", disable_help_flag = true, disable_version_flag = true)]
    #[command(after_help = "Example:
  linkspan aardvark-dns --config /run/containers/networks/aardvark-dns -p 53 run")]
    AardvarkDns {
        /// What follows the program's name there; `--help` tells.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARG")]
        words: Vec<OsString>,
    },
    /// Show on a throwaway host how packets reach containers, step by step; needs no root.
    #[command(after_help = "Example:
  linkspan demo")]
    Demo,
    /// Print a completion script.
    #[command(after_help = "Example:
  linkspan completion bash > /etc/bash_completion.d/linkspan")]
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write one for each command.
    #[command(after_help = "Examples:
  linkspan man | man -l -
  linkspan man --dir /usr/local/share/man/man1")]
    Man {
        /// Write a page for each command into this directory.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Print the version.
    Version,
}

#[derive(Subcommand, Debug)]
pub enum NetworkCommand {
    /// Create a network.
    #[command(after_help = help::NETWORK_CREATE)]
    Create(Deferred<NetworkCreate>),
    /// List networks.
    #[command(
        alias = "list",
        after_help = "Example:
  linkspan network ls --format json"
    )]
    Ls,
    /// Show networks with the sandboxes on them, as JSON in Docker's shape.
    #[command(after_help = "Example:
  linkspan network inspect bridge lab")]
    Inspect {
        /// The networks, by name, identity or its beginning.
        #[arg(required = true, value_name = "NAME", add = complete::networks())]
        names: Vec<String>,
    },
    /// Remove networks that nothing is attached to.
    #[command(
        alias = "remove",
        after_help = "Example:
  linkspan network rm lab"
    )]
    Rm {
        /// The networks.
        #[arg(required = true, value_name = "NAME", add = complete::networks())]
        names: Vec<String>,
    },
    /// Remove every network that nothing is attached to.
    #[command(after_help = "Example:
  linkspan network prune")]
    Prune,
    /// Confirm a network whose uplink is put back otherwise (linkspan.uplink.confirm): the host is still reached.
    #[command(after_help = "Examples:
  linkspan network create -o linkspan.uplink=eth0 -o linkspan.uplink.confirm=30s lan
  linkspan network confirm lan")]
    Confirm {
        /// The network.
        #[arg(value_name = "NAME", add = complete::networks())]
        name: String,
    },
    /// Undo a network that nobody confirms: started by `create`, not by hand.
    #[command(hide = true)]
    Guard {
        /// The network.
        #[arg(value_name = "NAME", value_parser = parse::<Name>)]
        name: Name,
    },
    /// Attach a sandbox to one more network.
    #[command(after_help = "Examples:
  linkspan network connect lab web
  linkspan network connect --ip 10.7.0.9 --alias db --ifname lan0 lab web
  linkspan network connect --ingress-rate 10mbit --egress-rate 2mbit lab web
  linkspan network connect --tap lab vm")]
    Connect(Deferred<ConnectArgs>),
    /// Detach a sandbox from a network.
    #[command(after_help = "Example:
  linkspan network disconnect lab web")]
    Disconnect {
        /// Also if ports are published through it, or it is not attached.
        #[arg(short, long)]
        force: bool,
        /// The network.
        #[arg(value_name = "NETWORK", add = complete::networks())]
        network: String,
        /// The sandbox.
        #[arg(value_name = "SANDBOX", add = complete::sandboxes())]
        sandbox: String,
    },
}

#[derive(ClapArgs, Debug)]
pub struct NetworkCreate {
    /// What moves the packets: bridge, macvlan or ipvlan.
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge", value_parser = parse::<Driver>)]
    pub driver: Driver,
    /// A subnet; several may be given. Without one, a free one is chosen.
    #[arg(long, value_name = "CIDR", value_parser = subnet)]
    pub subnet: Vec<IpNet>,
    /// The part of a subnet that addresses are chosen from.
    #[arg(long, value_name = "CIDR", value_parser = subnet)]
    pub ip_range: Vec<IpNet>,
    /// The bridge's own address in a subnet, by default the first; on macvlan and ipvlan the LAN's router.
    #[arg(long, value_name = "IP", value_parser = address)]
    pub gateway: Vec<IpAddr>,
    /// A reserved address. DefaultGatewayIPv4=IP makes IP the sandboxes' default gateway.
    #[arg(long, value_name = "NAME=IP", value_parser = aux_address)]
    pub aux_address: Vec<(String, IpAddr)>,
    /// What gives out addresses.
    #[arg(long, value_name = "DRIVER", default_value = "default")]
    pub ipam_driver: String,
    /// An option of the IPAM driver.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub ipam_opt: Vec<(String, String)>,
    /// An option of the driver, Docker's keys and more; all are listed below.
    #[arg(short = 'o', long = "opt", value_name = "KEY=VALUE", value_parser = key_value)]
    pub opt: Vec<(String, String)>,
    /// Reach nothing outside.
    #[arg(long)]
    pub internal: bool,
    /// Have IPv4; a free subnet is chosen if none is given. With `--ipv4=false` and --ipv6, sandboxes have IPv6 only.
    #[arg(long, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1,
        require_equals = true, action = ArgAction::Set)]
    pub ipv4: bool,
    /// Have IPv6 too; a subnet is made if none is given.
    #[arg(long)]
    pub ipv6: bool,
    /// A label, for people and their tools.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// The network's name.
    #[arg(value_name = "NAME", value_parser = parse::<Name>)]
    pub name: Name,
}

#[derive(Subcommand, Debug)]
pub enum SandboxCommand {
    /// Create a sandbox: a network namespace with its attachments, seen by `ip netns`.
    #[command(after_help = "Examples:
  linkspan sandbox create web
  linkspan sandbox create --net lab --ip 10.7.0.9 -p 127.0.0.1:8080:80 web
  linkspan sandbox create --net lab --net backend,gw-priority=10 -P --expose 80 web
  linkspan sandbox create --net container:web debug
  linkspan sandbox create --pid 4711 --net lab adopted")]
    Create(Box<Deferred<SandboxCreate>>),
    /// List sandboxes.
    #[command(
        alias = "list",
        after_help = "Example:
  linkspan sandbox ls"
    )]
    Ls,
    /// Show sandboxes as JSON in the shape of Docker's NetworkSettings.
    #[command(after_help = "Example:
  linkspan sandbox inspect web")]
    Inspect {
        /// The sandboxes.
        #[arg(required = true, value_name = "NAME", add = complete::sandboxes())]
        names: Vec<String>,
    },
    /// Remove sandboxes.
    #[command(
        alias = "remove",
        after_help = "Example:
  linkspan sandbox rm web"
    )]
    Rm {
        /// One that is not there is no error.
        #[arg(short, long)]
        force: bool,
        /// The sandboxes.
        #[arg(required = true, value_name = "NAME", add = complete::sandboxes())]
        names: Vec<String>,
    },
    /// Run a command in a sandbox.
    #[command(after_help = "Example:
  linkspan sandbox exec web -- ss -tln")]
    Exec(ExecArgs),
}

#[derive(ClapArgs, Debug)]
pub struct SandboxCreate {
    #[command(flatten)]
    pub flags: SandboxFlags,
    /// The sandbox's name.
    #[arg(value_name = "NAME", value_parser = parse::<Name>)]
    pub name: Name,
}

#[derive(ClapArgs, Debug)]
pub struct ExecArgs {
    /// The sandbox.
    #[arg(value_name = "NAME", add = complete::sandboxes())]
    pub name: String,
    /// The command.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

#[derive(ClapArgs, Debug)]
pub struct FileArgs {
    /// The file, TOML.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(ClapArgs, Debug)]
pub struct PlanArgs {
    /// The file, TOML.
    #[arg(short, long, value_name = "FILE", required_unless_present = "schema")]
    pub file: Option<PathBuf>,
    /// Print the JSON schema of such files instead.
    #[arg(long, conflicts_with = "file")]
    pub schema: bool,
}

#[derive(ClapArgs, Debug)]
pub struct ApplyArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Leave the file's checks out.
    #[arg(long)]
    pub no_check: bool,
}

#[derive(ClapArgs, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub flags: SandboxFlags,
    /// The sandbox's name; by default one is made up.
    #[arg(long, value_name = "NAME", value_parser = parse::<Name>)]
    pub name: Option<Name>,
    /// The command.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

#[derive(ClapArgs, Debug)]
pub struct SandboxFlags {
    /// What to attach to: NETWORK[,ip=A][,ip6=A][,mac=M][,alias=N][,ifname=N][,gw-priority=N], host, none or
    /// container:NAME. By default the network `bridge`. Limits: [,ingress-rate=10mbit][,ingress-burst=128kb]
    /// [,egress-rate=R][,egress-burst=B].
    #[arg(long = "net", alias = "network", value_name = "SPEC", value_parser = parse::<NetSpec>, add = complete::nets())]
    pub net: Vec<NetSpec>,
    /// The IPv4 address wanted, on the one network; with several, each has its own in --net.
    #[arg(long, value_name = "IP", value_parser = address_v4)]
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address wanted.
    #[arg(long, value_name = "IP", value_parser = address_v6)]
    pub ip6: Option<Ipv6Addr>,
    /// The MAC wanted; by default it follows the address.
    #[arg(long, value_name = "MAC", value_parser = parse::<Mac>)]
    pub mac_address: Option<Mac>,
    /// Publish ports: [HOSTIP:][HOSTPORT[-END]:]PORT[-END][/tcp|udp|sctp].
    #[arg(short, long, value_name = "PUBLISH", value_parser = parse::<PublishSpec>)]
    pub publish: Vec<PublishSpec>,
    /// Publish every exposed port on a free host port from 49153 up.
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// A port that the sandbox serves, for -P.
    #[arg(long, value_name = "PORT", value_parser = parse::<TargetPort>)]
    pub expose: Vec<TargetPort>,
    /// Know another sandbox under a further name.
    #[arg(long, value_name = "SANDBOX:ALIAS", value_parser = parse::<LinkSpec>)]
    pub link: Vec<LinkSpec>,
    /// The host name inside.
    #[arg(long, value_name = "NAME", value_parser = parse::<HostName>)]
    pub hostname: Option<HostName>,
    /// A name server instead of the host's.
    #[arg(long, value_name = "IP", value_parser = address)]
    pub dns: Vec<IpAddr>,
    /// A further name in its hosts file; the address may be `host-gateway`.
    #[arg(long, value_name = "NAME:IP", value_parser = parse::<HostAlias>)]
    pub add_host: Vec<HostAlias>,
    /// A label, for people and their tools.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Take the namespace of a process instead of making one.
    #[arg(long, value_name = "PID", conflicts_with = "netns")]
    pub pid: Option<u32>,
    /// Take this namespace instead of making one.
    #[arg(long, value_name = "PATH")]
    pub netns: Option<PathBuf>,
}

impl SandboxFlags {
    /// The namespace to take, if one is named.
    pub fn namespace(&self) -> Option<PathBuf> {
        let of_process = self.pid.map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        self.netns.as_ref().map(absolute).or(of_process)
    }
}

/// Pairs as a map; the last of a key wins.
pub fn map<V>(pairs: Vec<(String, V)>) -> BTreeMap<String, V> {
    pairs.into_iter().collect()
}

fn parse<T: std::str::FromStr<Err = Invalid>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: Invalid| error.one_line())
}

fn subnet(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| "it takes an address and a prefix length, as in 10.7.0.0/24".to_owned())
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "it takes an IP address".to_owned())
}

fn address_v4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| "it takes an IPv4 address".to_owned())
}

fn address_v6(text: &str) -> Result<Ipv6Addr, String> {
    text.parse().map_err(|_| "it takes an IPv6 address".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "it takes KEY=VALUE".to_owned())?;
    Ok((key.to_owned(), value.to_owned()))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() { Err("it takes KEY=VALUE".to_owned()) } else { Ok((key.to_owned(), value.to_owned())) }
}

fn aux_address(text: &str) -> Result<(String, IpAddr), String> {
    let (name, ip) = key_value(text).map_err(|_| "it takes NAME=IP".to_owned())?;
    Ok((name, address(&ip)?))
}
