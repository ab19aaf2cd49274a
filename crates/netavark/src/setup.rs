//! `setup`: a container's networks, one after another, or none of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use linkspan_aardvark::{Entry, Start};

use crate::drivers::{self, Driver, Job, Made, Plan};
use crate::update::DNS;
use crate::{Error, Global, Host, Network, NetworkOptions, PerNetwork, Status, leases};

/// The name server, unless the command line names one.
const SERVER: &str = "/usr/libexec/podman/aardvark-dns";

/// Attaches the container whose namespace the file `netns` stands for; gives what Podman is told.
///
/// # Errors
/// If a network cannot be set up; nothing is left of the others then.
pub fn setup(global: &Global, netns: &Path) -> Result<String, Error> {
    File::open(netns).map_err(|cause| Error::io("invalid namespace path", &cause))?;
    let options = NetworkOptions::load(global)?;
    let mut host = Host::new(global);
    host.firewall()?;
    global.required_config("setup")?;
    let dns_port = dns_port()?;
    let job = |per| {
        Ok(Job { global, netns, options: &options, per, network: network_of(&options, per)?, dns_port })
    };
    let jobs = options.networks.all.iter().map(job).collect::<Result<Vec<_>, Error>>()?;
    let drivers = jobs.iter().map(drivers::find).collect::<Result<Vec<_>, _>>()?;
    let plans = jobs.iter().zip(&drivers).map(|(job, driver)| driver.plan(job));
    let plans = plans.collect::<Result<Vec<_>, _>>()?;
    let made = make(&mut host, &jobs, &drivers, &plans)?;
    let entries: Vec<Entry> = made.iter().filter_map(|made| made.names.clone()).collect();
    if let Err(error) = enter(global, &entries, dns_port) {
        undo(&mut host, &jobs, &drivers);
        return Err(error);
    }
    let names = jobs.iter().map(|job| job.network.name.as_str());
    let statuses: BTreeMap<&str, &Status> = names.zip(made.iter().map(|made| &made.status)).collect();
    let text = serde_json::to_string(&statuses).map_err(|cause| Error::new(cause.to_string()))?;
    Ok(text + "\n")
}

/// The port that the name server listens on.
///
/// # Errors
/// If `NETAVARK_DNS_PORT` is no port.
pub fn dns_port() -> Result<u16, Error> {
    const DOMAIN: u16 = 53;
    let Ok(text) = std::env::var("NETAVARK_DNS_PORT") else { return Ok(DOMAIN) };
    text.parse().map_err(|cause| Error::new(format!("Invalid NETAVARK_DNS_PORT {text}: {cause}")))
}

/// The definition of the network that a container is to be on.
///
/// # Errors
/// If it was not sent.
pub fn network_of<'a>(options: &'a NetworkOptions, per: &PerNetwork) -> Result<&'a Network, Error> {
    let missing = || Error::new(format!("network info for network {} not found", per.name));
    options.network_info.get(&per.name).ok_or_else(missing)
}

fn make(
    host: &mut Host<'_>,
    jobs: &[Job<'_>],
    drivers: &[Box<dyn Driver>],
    plans: &[Box<dyn Plan + '_>],
) -> Result<Vec<Made>, Error> {
    let mut all = Vec::new();
    for (index, plan) in plans.iter().enumerate() {
        match set_up(host, &jobs[index], plan.as_ref()) {
            Ok(made) => all.push(made),
            Err(error) => {
                undo(host, &jobs[..index], drivers);
                return Err(error);
            }
        }
    }
    Ok(all)
}

/// Sets one network up, with what is leased for it.
fn set_up(host: &mut Host<'_>, job: &Job<'_>, plan: &dyn Plan) -> Result<Made, Error> {
    let mut made = plan.setup(host)?;
    match leases::complete(job, &mut made) {
        Ok(()) => Ok(made),
        Err(error) => {
            if let Err(other) = job.remove(host) {
                eprintln!("failed to cleanup network {} after setup failed: {other}", job.network.name);
            }
            Err(error)
        }
    }
}

/// Has the name server know the container, if there is one.
fn enter(global: &Global, entries: &[Entry], port: u16) -> Result<(), Error> {
    let Some(config) = &global.config else { return Ok(()) };
    let binary = global.aardvark.as_deref().unwrap_or(Path::new(SERVER));
    if entries.is_empty() || !binary.exists() {
        return Ok(());
    }
    let start = Start { binary, port, rootless: global.rootless };
    let entered = linkspan_aardvark::enter(&config.join(DNS), entries, &start);
    let warnings =
        entered.map_err(|error| Error::new(format!("error while applying dns entries: {error}")))?;
    warnings.iter().for_each(|warning| eprintln!("{warning}"));
    Ok(())
}

/// Takes away what was set up before something failed. That is what is told, whatever this comes to.
fn undo(host: &mut Host<'_>, jobs: &[Job<'_>], drivers: &[Box<dyn Driver>]) {
    for (job, driver) in jobs.iter().zip(drivers).rev() {
        if let Err(error) = driver.teardown(job, host) {
            eprintln!("failed to cleanup network {} after setup failed: {error}", job.network.name);
        }
    }
}
