//! What a container is behind whose interface somebody else's plugin made.

use linkspan_model::{Fixture, Guests, IfName, Part, Side};

use crate::{Call, CniError, CniResult, Host};

/// The device on the host by which a container is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Behind {
    /// It.
    pub device: IfName,
    /// Whether it is a bridge, which others are behind too.
    pub is_bridge: bool,
}

impl Behind {
    /// Has the host reach what is published behind it, as our own plugins do by themselves.
    pub fn enter(self, part: &mut Part, guests: &mut Guests) {
        let key = format!("net/ipv4/conf/{}/route_localnet", self.device);
        part.fixtures.push(Fixture::Sysctl { side: Side::Host, key, value: "1".to_owned() });
        if self.is_bridge {
            guests.bridges.insert(self.device);
        } else {
            part.guest = Some(self.device);
        }
    }
}

/// The device of a container that no plugin of ours made: of those on the host in the result so far a bridge, or else the
/// last, which is the other side of its own.
///
/// # Errors
/// If the store or the kernel cannot be asked.
pub fn unless_known(call: &Call, prev: &CniResult, host: &mut Host) -> Result<Option<Behind>, CniError> {
    let attachment = call.attachment()?;
    let engine = host.engine()?;
    if engine.attachment(&attachment)?.is_some() {
        return Ok(None);
    }
    let mut last = None;
    for interface in prev.interfaces.iter().filter(|interface| interface.sandbox.is_none()) {
        let Ok(device) = interface.name.parse::<IfName>() else { continue };
        let Some(facts) = engine.kernel().device(None, &device)? else { continue };
        let behind = Behind { device, is_bridge: facts.kind == "bridge" };
        if behind.is_bridge {
            return Ok(Some(behind));
        }
        last = Some(behind);
    }
    Ok(last)
}
