//! `linkspan network`.

use std::process::ExitCode;

use anstream::println;
use linkspan_engine::{Engine, NetworkRequest, NetworkView};
use linkspan_kernel::Host;
use linkspan_model::{BridgeOptions, Driver, IpamRequest, NetAttach, Network, ShapingRequest, Wire};

use crate::Outcome;
use crate::args::{ConnectArgs, Format, Global, NetworkCreate, map};
use crate::commands::guard;
use crate::commands::tap;
use crate::context::engine_to_change;
use crate::inspect;
use crate::output::{self, Problem};

/// Creates a network and prints its identity.
pub fn create(global: &Global, args: NetworkCreate) -> Outcome {
    let mut engine = engine_to_change(global)?;
    let request = NetworkRequest {
        name: args.name,
        driver: args.driver,
        ipam: IpamRequest {
            subnets: args.subnet,
            ranges: args.ip_range,
            gateways: args.gateway,
            aux: map(args.aux_address),
        },
        ipam_driver: args.ipam_driver,
        ipam_options: map(args.ipam_opt),
        options: map(args.opt),
        labels: map(args.label),
        internal: args.internal,
        ipv4: args.ipv4,
        ipv6: args.ipv6,
    };
    let confirm = match request.driver {
        Driver::Bridge => BridgeOptions::parse(&request.options)?.confirm,
        _ => None,
    };
    // Before anything is touched: it lives on if this process is killed or its terminal hangs up.
    let _guard = confirm.map(|_| guard::start(global, &request.name)).transpose()?;
    let network = engine.create_network(request)?;
    if let (Some(seconds), name) = (confirm, &network.name) {
        output::note(&format!(
            "network '{name}' is undone in {seconds} s unless somebody says `linkspan network confirm {name}`"
        ));
    }
    match global.format {
        Format::Table => println!("{}", network.id),
        Format::Json => output::json(&inspect::network(&NetworkView { network, endpoints: Vec::new() }))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists networks.
pub fn list(mut engine: Engine<Host>, format: Format) -> Outcome {
    let networks = engine.networks()?;
    if format == Format::Json {
        let bare = |network: Network| inspect::network(&NetworkView { network, endpoints: Vec::new() });
        output::json(&networks.into_iter().map(bare).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |network: &Network| {
        let guests = network.guests.iter();
        let homes = guests.clone().flat_map(|guests| guests.homes.iter());
        let pools = network.pools.iter().map(|pool| &pool.subnet);
        let subnets: Vec<_> = pools.chain(homes).map(ToString::to_string).collect();
        let bridges: Vec<_> = guests.flat_map(|guests| &guests.bridges).map(ToString::to_string).collect();
        let device = match &network.parent {
            Some(parent) => parent.device.to_string(),
            None if network.pools.is_empty() => bridges.join(","),
            None => network.bridge_name().to_string(),
        };
        let cells =
            [network.id.short(), network.name.to_string(), network.driver.to_string(), "local".to_owned()];
        cells.into_iter().chain([subnets.join(","), device]).collect()
    };
    output::table(
        &["NETWORK ID", "NAME", "DRIVER", "SCOPE", "SUBNET", "DEVICE"],
        networks.iter().map(row).collect(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Prints networks in Docker's shape.
pub fn inspect(mut engine: Engine<Host>, names: &[String]) -> Outcome {
    let views = names.iter().map(|name| engine.network(name)).collect::<Result<Vec<_>, _>>()?;
    output::json(&views.iter().map(inspect::network).collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}

/// Confirms a network that would be undone otherwise.
pub fn confirm(mut engine: Engine<Host>, name: &str) -> Outcome {
    println!("{}", engine.confirm_network(name)?.name);
    Ok(ExitCode::SUCCESS)
}

/// Removes networks, each for itself.
pub fn remove(mut engine: Engine<Host>, names: &[String]) -> Outcome {
    each(names, |name| {
        let removed = engine.remove_network(name)?;
        println!("{removed}");
        Ok(())
    })
}

/// Does `work` for every name; reports what fails and goes on.
pub fn each(names: &[String], mut work: impl FnMut(&str) -> Result<(), Problem>) -> Outcome {
    let mut code = ExitCode::SUCCESS;
    for name in names {
        if let Err(problem) = work(name) {
            code = problem.report();
        }
    }
    Ok(code)
}

/// Removes what is unused.
pub fn prune(mut engine: Engine<Host>) -> Outcome {
    for name in engine.prune_networks()? {
        println!("{name}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Attaches a sandbox. Of a tap it prints what the machine has to know.
pub fn connect(mut engine: Engine<Host>, args: ConnectArgs, format: Format) -> Outcome {
    let wire = if args.tap { Wire::Tap { owner: args.tap_owner } } else { Wire::Veth };
    let attach = NetAttach {
        network: args.network,
        ip: args.ip,
        ip6: args.ip6,
        mac: args.mac_address,
        aliases: args.alias,
        ifname: args.ifname,
        gw_priority: args.gw_priority,
        wire,
        shaping: ShapingRequest {
            ingress_rate: args.limits.ingress_rate,
            ingress_burst: args.limits.ingress_burst,
            egress_rate: args.limits.egress_rate,
            egress_burst: args.limits.egress_burst,
        },
    };
    let endpoint = engine.connect(&attach, &args.sandbox)?;
    if endpoint.is_tap() {
        tap::show(&endpoint, format)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Detaches a sandbox.
pub fn disconnect(mut engine: Engine<Host>, network: &str, sandbox: &str, force: bool) -> Outcome {
    engine.disconnect(network, sandbox, force)?;
    Ok(ExitCode::SUCCESS)
}
