//! `linkspan sandbox` and `linkspan port`.

use std::process::ExitCode;

use anstream::println;
use linkspan_engine::{DEFAULT, Engine, SandboxRequest, SandboxView};
use linkspan_kernel::Host;
use linkspan_model::{Name, NamespaceSource, NetAttach, NetSpec};

use crate::args::{Format, SandboxCreate, SandboxFlags, map};
use crate::commands::network::each;
use crate::output::Problem;
use crate::{Outcome, inspect, output};

/// What the flags ask for.
pub fn request(flags: SandboxFlags, name: Name) -> Result<SandboxRequest, Problem> {
    Ok(SandboxRequest {
        namespace: flags.namespace(),
        name,
        nets: nets(&flags)?,
        publish: flags.publish,
        publish_all: flags.publish_all,
        expose: flags.expose,
        links: flags.link,
        hostname: flags.hostname.map(String::from),
        dns: flags.dns,
        add_hosts: flags.add_host,
        ephemeral: false,
        labels: map(flags.label),
    })
}

/// What it is to be attached to, with --ip, --ip6 and --mac-address said of the only network.
fn nets(flags: &SandboxFlags) -> Result<Vec<NetSpec>, Problem> {
    let SandboxFlags { net, ip, ip6, mac_address: mac, .. } = flags;
    let wanted = [("--ip", ip.is_some()), ("--ip6", ip6.is_some()), ("--mac-address", mac.is_some())];
    let Some((flag, _)) = wanted.into_iter().find(|(_, given)| *given) else { return Ok(net.clone()) };
    let mut attach = match net.as_slice() {
        [] => NetAttach::to(DEFAULT),
        [NetSpec::Attach(attach)] => attach.clone(),
        [_] => {
            let reason = "a sandbox in the host's network, in another sandbox's or in none gets no address";
            return Err(Problem::new(format!("{flag} needs a network")).because(reason));
        }
        _ => {
            let problem = Problem::new(format!("{flag} does not say which network it is about"));
            return Err(problem.hint("say it with each network: --net NETWORK,ip=A,ip6=A,mac=M"));
        }
    };
    let said = [attach.ip.is_some(), attach.ip6.is_some(), attach.mac.is_some()];
    let mut both = wanted.into_iter().zip(said);
    if let Some(((flag, _), _)) = both.find(|((_, given), said)| *given && *said) {
        return Err(
            Problem::new(format!("{flag} says again what --net says")).hint("leave it out of one of the two")
        );
    }
    attach.ip = attach.ip.or(*ip);
    attach.ip6 = attach.ip6.or(*ip6);
    attach.mac = attach.mac.or(*mac);
    Ok(vec![NetSpec::Attach(attach)])
}

/// Creates a sandbox and prints its name.
pub fn create(mut engine: Engine<Host>, args: SandboxCreate, format: Format) -> Outcome {
    let view = engine.create_sandbox(&request(args.flags, args.name)?)?;
    match format {
        Format::Table => println!("{}", view.sandbox.name),
        Format::Json => output::json(&inspect::sandbox(&engine.sandbox(view.sandbox.name.as_str())?))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists sandboxes.
pub fn list(mut engine: Engine<Host>, format: Format) -> Outcome {
    let sandboxes = engine.sandboxes()?;
    if format == Format::Json {
        output::json(&sandboxes.iter().map(inspect::sandbox).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let headings = ["NAME", "NETWORKS", "ADDRESSES", "PORTS", "CREATED", "LABELS"];
    output::table(&headings, sandboxes.iter().map(row).collect());
    Ok(ExitCode::SUCCESS)
}

fn row(view: &SandboxView) -> Vec<String> {
    let networks = match &view.sandbox.namespace {
        NamespaceSource::Host => "host".to_owned(),
        NamespaceSource::Sandbox(other) => format!("container:{other}"),
        _ if view.attached.is_empty() => "none".to_owned(),
        _ => joined(view.attached.iter().map(|(_, network)| network.name.to_string())),
    };
    let leases = view.attached.iter().flat_map(|(endpoint, _)| &endpoint.leases);
    vec![
        view.sandbox.name.to_string(),
        networks,
        joined(leases.map(|lease| lease.address.to_string())),
        inspect::published(view).map(ToString::to_string).collect::<Vec<_>>().join(", "),
        inspect::time(view.sandbox.created),
        joined(view.sandbox.labels.iter().map(|(key, value)| format!("{key}={value}"))),
    ]
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

/// Prints sandboxes in the shape of Docker's NetworkSettings.
pub fn inspect(mut engine: Engine<Host>, names: &[String]) -> Outcome {
    let views = names.iter().map(|name| engine.sandbox(name)).collect::<Result<Vec<_>, _>>()?;
    output::json(&views.iter().map(inspect::sandbox).collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}

/// Removes sandboxes, each for itself.
pub fn remove(mut engine: Engine<Host>, names: &[String], force: bool) -> Outcome {
    each(names, |name| {
        engine.remove_sandbox(name, force)?;
        println!("{name}");
        Ok(())
    })
}

/// Prints published ports as `docker port` does.
pub fn ports(mut engine: Engine<Host>, name: &str, format: Format) -> Outcome {
    let view = engine.sandbox(name)?;
    if format == Format::Json {
        output::json(&inspect::ports(&view))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (target, bindings) in inspect::ports(&view) {
        for binding in bindings {
            println!("{target} -> {binding}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
