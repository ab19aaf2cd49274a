//! `teardown`: a container's networks go, each as far as it is there.

use std::path::Path;

use linkspan_kernel::signals;

use crate::drivers::{self, Job};
use crate::setup::{dns_port, network_of};
use crate::update::DNS;
use crate::{Error, Global, Host, Network, NetworkOptions, PerNetwork};

/// Detaches the container. Its namespace may be gone. Once begun, no signal but SIGKILL keeps it from its end: nobody would
/// come back for what is left.
///
/// # Errors
/// All that could not be taken away; what could is gone.
pub fn teardown(global: &Global, netns: &Path) -> Result<(), Error> {
    signals::refuse_to_end();
    let options = NetworkOptions::load(global)?;
    global.required_config("teardown")?;
    if !netns.exists() {
        eprintln!("container netns not found: {}", netns.display());
    }
    let mut errors: Vec<Error> = forget(global, &options).err().into_iter().collect();
    let mut host = Host::new(global);
    host.firewall()?;
    let gone = options.networks.all.iter().map(|per| leave(&mut host, global, netns, &options, per));
    errors.extend(gone.filter_map(Result::err));
    Error::all(errors)
}

/// Has the name server forget the container, before its addresses may be another's.
fn forget(global: &Global, options: &NetworkOptions) -> Result<(), Error> {
    let config = global.required_config("teardown")?;
    let has_names = |network: &&Network| network.dns_enabled && network.driver == "bridge";
    let networks: Vec<&str> =
        options.network_info.values().filter(has_names).map(|network| network.name.as_str()).collect();
    if networks.is_empty() {
        return Ok(());
    }
    linkspan_aardvark::leave(&config.join(DNS), &options.container_id, &networks)
        .map_err(|error| Error::new(format!("remove aardvark entries: {error}")))
}

fn leave(
    host: &mut Host<'_>,
    global: &Global,
    netns: &Path,
    options: &NetworkOptions,
    per: &PerNetwork,
) -> Result<(), Error> {
    let job = Job { global, netns, options, per, network: network_of(options, per)?, dns_port: dns_port()? };
    drivers::find(&job)?.teardown(&job, host)
}
