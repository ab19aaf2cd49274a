//! `bandwidth`: limits how fast an interface is that another plugin made, at its other side on the host.

use std::path::Path;

use linkspan_model::{Fixture, Guests, IfName, Limit, LimitsFixture, Part, Rate, Size};
use sha2::{Digest, Sha512};

use crate::part::found;
use crate::{Call, CniError, CniResult, Host, Interface, Object, Plugin, Version};

const NAME: &str = "bandwidth";
/// Bits of a byte: the configuration counts those.
const BITS: u64 = 8;
/// What the names of ifb devices begin with, and how much of a hash follows.
const IFB: (&str, usize) = ("bwp", 12);
/// The keys of the limits, the rate and the burst of each way.
const KEYS: [(&str, &str); 2] = [("ingressRate", "ingressBurst"), ("egressRate", "egressBurst")];

/// The plugin.
pub struct Bandwidth;

/// Its configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Limits {
    /// Of what comes to the container.
    ingress: Option<Limit>,
    /// Of what it sends.
    egress: Option<Limit>,
}

impl Limits {
    /// What the configuration says, or else the runtime. The configuration counts as soon as it has one of the keys.
    fn read(call: &Call) -> Result<Self, CniError> {
        let configured = KEYS.iter().flat_map(|(rate, burst)| [*rate, *burst]);
        let none = Object::default();
        let object = if configured.into_iter().any(|key| call.config.get(key).is_some()) {
            &call.config
        } else {
            call.runtime()?.map_or(Ok(None), |runtime| runtime.object("bandwidth"))?.unwrap_or(&none)
        };
        let [ingress, egress] = KEYS;
        Ok(Self { ingress: limit(object, ingress)?, egress: limit(object, egress)? })
    }

    const fn is_none(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

fn limit(object: &Object, (rate_key, burst_key): (&str, &str)) -> Result<Option<Limit>, CniError> {
    let rate = object.number::<u64>(rate_key)?.unwrap_or_default();
    let burst = object.number::<u64>(burst_key)?.unwrap_or_default();
    match (rate, burst) {
        (0, 0) => return Ok(None),
        (0, _) => return Err(CniError::config("if burst is set, rate must also be set")),
        (_, 0) => return Err(CniError::config("if rate is set, burst must also be set")),
        _ => {}
    }
    for (key, bits) in [(rate_key, rate), (burst_key, burst)] {
        if bits < BITS {
            return Err(CniError::config(format!("{key} cannot be less than {BITS} bits")));
        }
    }
    let burst = u32::try_from(burst / BITS).ok().filter(|burst| *burst < u32::MAX);
    let burst = burst.ok_or_else(|| CniError::config("burst cannot be more than 4GB"))?;
    Ok(Some(Limit { rate: Rate::from_bytes(rate / BITS), burst: Size::from_bytes(burst) }))
}

/// The device that what a container sends waits in; by the same name the reference plugin finds it.
fn ifb(call: &Call) -> Result<IfName, CniError> {
    let (prefix, length) = IFB;
    let hash = format!("{:x}", Sha512::digest(format!("{}{}", call.name, call.container)));
    Ok(format!("{prefix}{}", &hash[..length]).parse()?)
}

/// The other side of the interface, on the host, which the plugin that made it has to have told of.
fn host_side(call: &Call, host: &mut Host, prev: &CniResult) -> Result<IfName, CniError> {
    if prev.interfaces.is_empty() {
        return Err(CniError::config("no interfaces provided"));
    }
    let device: IfName = call.ifname.parse()?;
    let peer = host.engine()?.kernel().peer_on_host(call.netns()?, &device)?;
    let peer = peer.ok_or_else(|| {
        CniError::other(format!("container interface {device} has no veth peer in host ns"))
            .because("only veth pairs can be limited")
    })?;
    let told = |interface: &Interface| interface.sandbox.is_none() && interface.name == peer.as_str();
    if prev.interfaces.iter().any(told) {
        return Ok(peer);
    }
    Err(CniError::other("no veth peer of container interface found in host ns")
        .because(format!("it is {peer}, which prevResult does not have")))
}

/// That nobody else limits the device or filters there, and nothing has the name of the ifb.
fn free(host: &mut Host, device: &IfName, ifb: &IfName) -> Result<(), CniError> {
    let kernel = host.engine()?.kernel();
    if let Some(queue) = kernel.queues(device)?.first() {
        return Err(CniError::other(format!("{device} has a queue of its own: {queue}")).because(format!(
            "remove it first, as with `tc qdisc delete dev {device} root` or `... ingress`"
        )));
    }
    if kernel.device(None, ifb)?.is_some() {
        return Err(CniError::other(format!("there is a device {ifb} already"))
            .because("it is left of another attachment of this container: delete that first"));
    }
    Ok(())
}

impl Plugin for Bandwidth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn versions(&self) -> &'static [Version] {
        Version::V030.and_later()
    }

    fn add(&self, call: &Call, host: &mut Host) -> Result<CniResult, CniError> {
        let Limits { ingress, egress } = Limits::read(call)?;
        let prev = call.prev.as_ref();
        if ingress.is_none() && egress.is_none() {
            return Ok(prev.cloned().unwrap_or_default());
        }
        let prev = prev.ok_or_else(|| CniError::config("must be called as chained plugin"))?;
        let ifb = ifb(call)?;
        // What a dead process left is in nobody's way.
        host.engine()?.settle()?;
        let device = host_side(call, host, prev)?;
        if host.found().is_none() {
            free(host, &device, &ifb)?;
        }
        let limits = LimitsFixture { device: device.clone(), ingress, egress, ifb: ifb.clone() };
        let fixtures = vec![Fixture::Limits(limits)];
        let part = Part { owner: NAME.to_owned(), fixtures, ..Part::default() };
        call.fit(host, (part, Guests::default()), found(call, prev, Some(device)), false)?;
        let mut result = prev.clone();
        if egress.is_some() {
            let mac = host.engine()?.kernel().device(None, &ifb)?.and_then(|ifb| ifb.mac);
            result.interfaces.push(Interface {
                name: ifb.to_string(),
                mac: mac.map(|mac| mac.to_string()),
                ..Interface::default()
            });
        }
        Ok(result)
    }

    fn del(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let left = Path::new("/sys/class/net").join(ifb(call)?.as_str());
        if Limits::read(call).is_ok_and(|limits| limits.is_none()) && !left.exists() {
            return Ok(());
        }
        call.unfit(host, NAME).map(drop)
    }

    fn check(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        let limits = Limits::read(call)?;
        let prev = call.prev.as_ref();
        let prev = prev.ok_or_else(|| CniError::config("must be called as a chained plugin"))?;
        if limits.is_none() {
            return Ok(());
        }
        host_side(call, host, prev)?;
        call.compare(host, NAME)
    }

    fn gc(&self, call: &Call, host: &mut Host) -> Result<(), CniError> {
        call.collect(host)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugins::pair::tests::call;

    fn read(config: Value) -> Result<String, String> {
        let text = |limit: Option<Limit>| limit.map_or("none".to_owned(), |limit| limit.to_string());
        let limits = Limits::read(&call(config)).map_err(|error| error.to_string())?;
        Ok(format!("{}, {}", text(limits.ingress), text(limits.egress)))
    }

    #[test]
    fn the_configuration_goes_before_the_runtime() {
        let both =
            json!({ "ingressRate": 8000, "ingressBurst": 80, "egressRate": 1_000_000, "egressBurst": 8000 });
        let read_both = "8kbit burst 10b, 1mbit burst 1000b";
        assert_eq!(read(both.clone()).unwrap(), read_both);
        assert_eq!(read(json!({ "runtimeConfig": { "bandWidth": both } })).unwrap(), read_both);
        assert_eq!(
            read(json!({ "runtimeConfig": { "bandwidth": both }, "egressRate": 0 })).unwrap(),
            "none, none"
        );
        assert_eq!(read(json!({ "runtimeConfig": {} })).unwrap(), "none, none");
    }

    #[test]
    fn a_rate_takes_a_burst() {
        let refused = |config| read(config).unwrap_err();
        assert_eq!(refused(json!({ "ingressRate": 8 })), "if rate is set, burst must also be set");
        assert_eq!(refused(json!({ "egressBurst": 8 })), "if burst is set, rate must also be set");
        let most = u64::from(u32::MAX) * 8;
        let of = |burst: u64| json!({ "egressRate": 8, "egressBurst": burst });
        assert_eq!(refused(of(most)), "burst cannot be more than 4GB");
        assert!(read(of(most - 1)).is_ok());
        assert!(refused(of(7)).contains("egressBurst"));
        assert!(refused(json!({ "egressRate": -8, "egressBurst": 8 })).contains("egressRate"));
    }

    #[test]
    fn an_ifb_is_called_as_others_call_it() {
        let mut call = call(json!({}));
        (call.name, call.container) = ("cni-plugin-bandwidth-test".to_owned(), "dummy".to_owned());
        assert_eq!(ifb(&call).unwrap().as_str(), "bwpa8eda89404b7");
    }
}
