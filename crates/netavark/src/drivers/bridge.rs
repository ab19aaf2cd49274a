//! `bridge`: a veth pair, one side in the container, the other a port of the network's bridge.

use super::{Driver, Job, Made, Plan};
use crate::addresses::Addresses;
use crate::{Error, Host};

/// The driver.
pub struct Bridge;

/// A container's place on a bridge.
struct Place {
    addresses: Addresses,
}

impl Driver for Bridge {
    fn plan<'a>(&self, job: &Job<'a>) -> Result<Box<dyn Plan + 'a>, Error> {
        Ok(Box::new(Place { addresses: Addresses::read(job.per, job.network)? }))
    }
}

impl Plan for Place {
    fn setup(&self, _host: &mut Host<'_>) -> Result<Made, Error> {
        Err(Error::new(format!("{} addresses cannot be given yet", self.addresses.container.len())))
    }
}
