//! Taps, and limits of ports and taps.

use std::collections::BTreeMap;

use linkspan_model::{IfName, Limit, Rate, Size};
use linkspan_plan::{Detour, Failure, Scope, Shaper, State, Step, Tap};
use nix::errno::Errno;

use super::apply::IPV6_MINIMUM_MTU;
use super::{Host, find_link, live_bridge, live_link, send_tolerant};
use crate::error::{Refusal, Result};
use crate::netlink::Error;
use crate::rtnl::link::{self, Link};
use crate::rtnl::qdisc;
use crate::tun::{self, Opening};

pub(super) const MISSING: &str = "the kernel lacks it: load the modules sch_tbf, sch_ingress, cls_u32, act_mirred and ifb \
                       (CONFIG_NET_SCH_TBF, _SCH_INGRESS, _CLS_U32, _ACT_MIRRED, CONFIG_IFB)";
/// What is said of a limit that is not there.
const NO_LIMIT: Limit = Limit { rate: Rate::from_bytes(0), burst: Size::from_bytes(0) };

impl Host {
    /// It is up at once, and passes frames as soon as somebody has opened it.
    pub(super) fn create_tap(&mut self, name: &IfName, tap: &Tap) -> Result<()> {
        let bridge = live_bridge(&mut self.route, &tap.bridge)?.index;
        tun::create(name, Opening { owner: tap.owner, ..Opening::default() })?;
        let no_link_local = self.ipv6 && tap.mtu >= IPV6_MINIMUM_MTU;
        let messages = vec![
            link::plug_in(name, bridge, tap.mtu),
            link::configure_port(name, tap.isolated, false, no_link_local),
        ];
        self.route.batch(messages).map_err(|error| super::port::full_bridge(error, &tap.bridge))?;
        Ok(())
    }

    pub(super) fn shape(&mut self, device: &IfName, shaper: &Shaper) -> Result<()> {
        let lacking = |error: Error| {
            Refusal::from(error).hint(Failure::NotFound, MISSING).hint(Failure::Unsupported, MISSING)
        };
        let port = live_link(&mut self.route, device)?;
        let mut messages: Vec<_> =
            shaper.ingress.iter().map(|limit| qdisc::token_bucket(port.index, *limit)).collect();
        if let Some(Detour { ifb, limit, .. }) = &shaper.egress {
            self.route.batch(vec![link::create_ifb(ifb, port.mtu)]).map_err(lacking)?;
            let waits_in = live_link(&mut self.route, ifb)?.index;
            let no_link_local = self.ipv6 && port.mtu >= IPV6_MINIMUM_MTU;
            messages.push(link::bring_up(waits_in, no_link_local));
            messages.push(qdisc::token_bucket(waits_in, *limit));
            messages.push(qdisc::create_clsact(port.index));
            messages.push(qdisc::redirect(port.index, waits_in));
        }
        self.route.batch(messages).map_err(lacking)?;
        Ok(())
    }

    /// Takes their queues and filters from the devices of `steps` that stay; those of the others go with them.
    pub(super) fn unshape(&mut self, steps: &[Step], doomed: &[&IfName]) -> Result<()> {
        for step in steps {
            let Step::Unshape(device, _) = step else { continue };
            if doomed.contains(&device) {
                continue;
            }
            let Some(link) = find_link(&mut self.route, device)? else { continue };
            let messages = vec![qdisc::delete_root(link.index), qdisc::delete_clsact(link.index)];
            // What the kernel says of queues that it made by itself.
            send_tolerant(&mut self.route, messages, &[Errno::ENOENT, Errno::EINVAL, Errno::ENODEV])?;
        }
        Ok(())
    }

    pub(super) fn observe_taps(
        &mut self,
        scope: &Scope,
        devices: &BTreeMap<IfName, Link>,
        bridges: &mut BTreeMap<u32, IfName>,
        state: &mut State,
    ) -> Result<()> {
        for (name, link) in devices.iter().filter(|(name, _)| scope.taps.contains(*name)) {
            let tap = Tap {
                bridge: self.master(link, bridges)?,
                mtu: link.mtu,
                isolated: link.isolated,
                owner: link.tap_owner,
            };
            state.taps.insert(name.clone(), tap);
        }
        Ok(())
    }

    pub(super) fn observe_shapers(
        &mut self,
        scope: &Scope,
        devices: &BTreeMap<IfName, Link>,
        state: &mut State,
    ) -> Result<()> {
        for (name, ifb) in &scope.shapers {
            let device = devices.get(name);
            let ingress = device.map_or(Ok(None), |device| self.limit(device))?;
            let egress = ifb.as_ref().map_or(Ok(None), |ifb| self.detour(device, ifb, devices.get(ifb)))?;
            if ingress.is_some() || egress.is_some() {
                state.shapers.insert(name.clone(), Shaper { ingress, egress });
            }
        }
        Ok(())
    }

    /// What comes in at a device and waits in an ifb, or what is left of that: an ifb that nothing feeds, a filter that
    /// leads nowhere.
    fn detour(
        &mut self,
        device: Option<&Link>,
        ifb: &IfName,
        waits_in: Option<&Link>,
    ) -> Result<Option<Detour>> {
        let limit = waits_in.map_or(Ok(None), |ifb| self.limit(ifb))?;
        let redirects = device.map_or(Ok(false), |device| self.redirects(device))?;
        let fed = redirects && limit.is_some();
        let detour = Detour { ifb: ifb.clone(), limit: limit.unwrap_or(NO_LIMIT), fed };
        Ok((redirects || waits_in.is_some()).then_some(detour))
    }

    /// The limit of what a device sends.
    fn limit(&mut self, device: &Link) -> Result<Option<Limit>> {
        let (answers, _) = self.route.attempt(vec![qdisc::get_root(device.index)])?;
        Ok(answers.first().and_then(|answer| qdisc::limit(&answer.body)))
    }

    /// Whether what comes in at a device is led elsewhere.
    fn redirects(&mut self, device: &Link) -> Result<bool> {
        match self.route.dump(|| qdisc::dump_filters(device.index)) {
            Err(error) if matches!(error.errno, Errno::ENODEV | Errno::ENOENT | Errno::EINVAL) => Ok(false),
            answers => Ok(answers?.iter().any(|answer| qdisc::is_redirect(&answer.body))),
        }
    }
}
