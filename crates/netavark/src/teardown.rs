//! `teardown`: a container's networks go, each as far as it is there.

use std::path::Path;

use crate::drivers::{self, Job};
use crate::setup::network_of;
use crate::{Error, Global, Host, NetworkOptions, PerNetwork};

/// Detaches the container. Its namespace may be gone.
///
/// # Errors
/// All that could not be taken away; what could is gone.
pub fn teardown(global: &Global, netns: &Path) -> Result<(), Error> {
    let options = NetworkOptions::load(global)?;
    global.required_config("teardown")?;
    if !netns.exists() {
        eprintln!("container netns not found: {}", netns.display());
    }
    let mut host = Host::new(global);
    let gone = options.networks.all.iter().map(|per| leave(&mut host, global, netns, &options, per));
    Error::all(gone.filter_map(Result::err).collect())
}

fn leave(
    host: &mut Host<'_>,
    global: &Global,
    netns: &Path,
    options: &NetworkOptions,
    per: &PerNetwork,
) -> Result<(), Error> {
    let job = Job { global, netns, options, per, network: network_of(options, per)? };
    drivers::find(&job)?.teardown(&job, host)
}
