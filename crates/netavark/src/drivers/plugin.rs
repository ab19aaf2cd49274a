//! Drivers of third parties. What they make is theirs to remember: nothing of it is on record here.

use std::path::PathBuf;

use linkspan_kernel::loopback;

use super::{Driver, Job, Made, Plan};
use crate::{Error, Host, PluginRequest, plugin};

/// The driver whose program is at a path.
pub struct Plugin(pub PathBuf);

/// A container's place on a network of such a driver.
struct Place<'a> {
    program: PathBuf,
    job: Job<'a>,
}

impl Driver for Plugin {
    fn plan<'a>(&self, job: &Job<'a>) -> Result<Box<dyn Plan + 'a>, Error> {
        Ok(Box::new(Place { program: self.0.clone(), job: *job }))
    }

    fn teardown(&self, job: &Job<'_>, _host: &mut Host<'_>) -> Result<(), Error> {
        plugin::teardown(&self.0, job.netns, &request(job))
    }
}

impl Plan for Place<'_> {
    fn setup(&self, _host: &mut Host<'_>) -> Result<Made, Error> {
        // Drivers leave it to this backend, which sets it up on the way elsewhere.
        loopback::up(self.job.netns)?;
        let status = plugin::setup(&self.program, self.job.netns, &request(&self.job))?;
        Ok(status.into())
    }
}

fn request<'a>(job: &Job<'a>) -> PluginRequest<'a> {
    PluginRequest {
        container_id: &job.options.container_id,
        container_name: &job.options.container_name,
        port_mappings: job.options.port_mappings.as_deref(),
        network: job.network,
        network_options: job.per,
    }
}
