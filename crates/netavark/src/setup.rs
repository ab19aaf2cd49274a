//! `setup`: a container's networks, one after another, or none of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use crate::drivers::{self, Driver, Job, Plan};
use crate::{Error, Global, Host, Network, NetworkOptions, PerNetwork, Status};

/// Attaches the container whose namespace the file `netns` stands for; gives what Podman is told.
///
/// # Errors
/// If a network cannot be set up; nothing is left of the others then.
pub fn setup(global: &Global, netns: &Path) -> Result<String, Error> {
    File::open(netns).map_err(|cause| Error::io("invalid namespace path", &cause))?;
    let options = NetworkOptions::load(global)?;
    global.required_config("setup")?;
    let jobs = jobs(global, netns, &options)?;
    let drivers = jobs.iter().map(drivers::find).collect::<Result<Vec<_>, _>>()?;
    let plans = jobs.iter().zip(&drivers).map(|(job, driver)| driver.plan(job));
    let plans = plans.collect::<Result<Vec<_>, _>>()?;
    let mut host = Host::new(global);
    let statuses = make(&mut host, &jobs, &drivers, &plans)?;
    let text = serde_json::to_string(&statuses).map_err(|cause| Error::new(cause.to_string()))?;
    Ok(text + "\n")
}

fn jobs<'a>(global: &'a Global, netns: &'a Path, options: &'a NetworkOptions) -> Result<Vec<Job<'a>>, Error> {
    let job = |per| Ok(Job { global, netns, options, per, network: network_of(options, per)? });
    options.networks.all.iter().map(job).collect()
}

/// The definition of the network that a container is to be on.
///
/// # Errors
/// If it was not sent.
pub fn network_of<'a>(options: &'a NetworkOptions, per: &PerNetwork) -> Result<&'a Network, Error> {
    let missing = || Error::new(format!("network info for network {} not found", per.name));
    options.network_info.get(&per.name).ok_or_else(missing)
}

fn make<'a>(
    host: &mut Host<'_>,
    jobs: &'a [Job<'_>],
    drivers: &[Box<dyn Driver>],
    plans: &[Box<dyn Plan + '_>],
) -> Result<BTreeMap<&'a str, Status>, Error> {
    let mut statuses = BTreeMap::new();
    for (index, plan) in plans.iter().enumerate() {
        match plan.setup(host) {
            Ok(made) => {
                statuses.insert(jobs[index].network.name.as_str(), made.status);
            }
            Err(error) => {
                undo(host, &jobs[..index], drivers);
                return Err(error);
            }
        }
    }
    Ok(statuses)
}

/// Takes away what was set up before something failed. That is what is told, whatever this comes to.
fn undo(host: &mut Host<'_>, jobs: &[Job<'_>], drivers: &[Box<dyn Driver>]) {
    for (job, driver) in jobs.iter().zip(drivers).rev() {
        if let Err(error) = driver.teardown(job, host) {
            eprintln!("failed to cleanup network {} after setup failed: {error}", job.network.name);
        }
    }
}
