//! The device that another is made on: `master`, `mtu` and `linkInContainer` of macvlan, ipvlan and vlan.

use std::path::Path;

use linkspan_model::{IfName, Mac, Side};

use crate::error::Code;
use crate::{Call, CniError, Host};

/// What the configuration says of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Its name; without one, the device of the default route.
    pub name: Option<IfName>,
    /// Where it is.
    pub side: Side,
    /// The MTU of the new device in bytes; 0 for the master's.
    pub mtu: i64,
}

/// What it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Master {
    /// Its name.
    pub name: IfName,
    /// Where it is.
    pub side: Side,
    /// Its MAC.
    pub mac: Mac,
    /// Its MTU in bytes.
    pub mtu: u32,
}

impl Asked {
    /// Reads the keys.
    ///
    /// # Errors
    /// Code 6 if one is of the wrong kind, 7 if the name is none.
    pub fn read(call: &Call) -> Result<Self, CniError> {
        let config = &call.config;
        let name = config.text("master")?.map(|name| name.parse()).transpose()?;
        let is_inside = config.boolean("linkInContainer")?.unwrap_or_default();
        let side = if is_inside { Side::Inside } else { Side::Host };
        Ok(Self { name, side, mtu: config.number("mtu")?.unwrap_or_default() })
    }

    /// Finds it.
    ///
    /// # Errors
    /// If it is not there.
    pub fn find(&self, call: &Call, host: &mut Host) -> Result<Master, CniError> {
        let netns = match self.side {
            Side::Inside => Some(call.netns()?.as_path()),
            Side::Host => None,
        };
        let name = match &self.name {
            Some(name) => name.clone(),
            None => default(host, netns)?,
        };
        let found = host.engine()?.kernel().device(netns, &name)?;
        let found = found.ok_or_else(|| absent(&name, self.side))?;
        Ok(Master { name, side: self.side, mac: found.mac.unwrap_or_default(), mtu: found.mtu })
    }

    /// That a device on `master` can have the MTU; none if it has the master's anyway.
    ///
    /// # Errors
    /// Code 7 if it is larger than the master's.
    pub fn mtu_on(&self, master: &Master) -> Result<Option<u32>, CniError> {
        match u32::try_from(self.mtu) {
            Ok(mtu) if mtu <= master.mtu => Ok((mtu > 0).then_some(mtu)),
            _ => Err(CniError::config(format!(
                "invalid MTU {}, must be [0, master MTU({})]",
                self.mtu, master.mtu
            ))),
        }
    }

    /// At STATUS: that the master is on the host, if it is named and to be there.
    ///
    /// # Errors
    /// Code 50 if it is not.
    pub fn expect(&self, host: &mut Host) -> Result<(), CniError> {
        let Some(name) = self.name.as_ref().filter(|_| self.side == Side::Host) else { return Ok(()) };
        match host.engine()?.kernel().device(None, name)? {
            Some(_) => Ok(()),
            None => Err(CniError { code: Code::UNAVAILABLE, ..absent(name, self.side) }),
        }
    }
}

fn default(host: &mut Host, netns: Option<&Path>) -> Result<IfName, CniError> {
    let found = host.engine()?.kernel().device_of_default_route(netns)?;
    found.ok_or_else(|| CniError::other("no default route interface found").because("name a master"))
}

fn absent(name: &IfName, side: Side) -> CniError {
    CniError::other(format!("failed to lookup master {:?}", name.as_str()))
        .because(format!("there is no device of that name in {side}"))
}
