//! What should be of a plugin's part by now.

use linkspan_model::{Fixture, IfName, Mac, Part, Setting};

/// The fixtures of a part, but for what other parts have set otherwise. `parts` are all of an endpoint whose
/// interface is `own`; its MAC is to be `mac` if that is given.
pub fn expected(own: &IfName, parts: &[Part], part: &Part, mac: Option<Mac>) -> Vec<Fixture> {
    let others = parts.iter().filter(|other| other.owner != part.owner);
    let settings: Vec<(&IfName, Setting)> = others
        .flat_map(|other| &other.fixtures)
        .filter_map(|fixture| match fixture {
            Fixture::Setting { device, to, .. } => Some((device, *to)),
            _ => None,
        })
        .collect();
    let mut fixtures = part.fixtures.clone();
    for fixture in &mut fixtures {
        let (ifname, own_mac, own_mtu) = match fixture {
            Fixture::Veth(veth) => (&veth.ifname, &mut veth.mac, &mut veth.mtu),
            Fixture::Device(device) => (&device.ifname, &mut device.mac, &mut device.mtu),
            _ => continue,
        };
        if let Some(mac) = mac.filter(|_| ifname == own) {
            *own_mac = own_mac.map(|_| mac);
        }
        for (_, setting) in settings.iter().filter(|(device, _)| *device == ifname) {
            match setting {
                Setting::Mac(mac) => *own_mac = Some(*mac),
                Setting::Mtu(mtu) => *own_mtu = Some(*mtu),
                _ => {}
            }
        }
    }
    fixtures
}

#[cfg(test)]
mod tests {
    use linkspan_model::{DeviceFixture, DeviceKind};

    use super::*;

    fn mac(last: u8) -> Mac {
        Mac::from_bytes([2, 0, 0, 0, 0, last])
    }

    fn part(owner: &str, fixture: Fixture) -> Part {
        Part { owner: owner.to_owned(), fixtures: vec![fixture], ..Part::default() }
    }

    fn device(mac: Mac, mtu: u32) -> Fixture {
        let ifname = "eth0".parse().unwrap();
        let (mac, mtu) = (Some(mac), Some(mtu));
        Fixture::Device(DeviceFixture { ifname, kind: DeviceKind::Dummy, mac, mtu, ipv6: false })
    }

    fn setting(of: &str, to: Setting) -> Fixture {
        Fixture::Setting { device: of.parse().unwrap(), to, before: None }
    }

    #[test]
    fn what_others_have_set_since_is_theirs() {
        let main = part("dummy", device(mac(1), 1500));
        let with = |other: Fixture| vec![main.clone(), part("tuning", other)];
        assert_eq!(
            expected(&"eth0".parse().unwrap(), &with(setting("eth0", Setting::Mtu(1400))), &main, None),
            [device(mac(1), 1400)]
        );
        assert_eq!(
            expected(&"eth0".parse().unwrap(), &with(setting("eth0", Setting::Mac(mac(2)))), &main, None),
            [device(mac(2), 1500)]
        );
        assert_eq!(
            expected(&"eth0".parse().unwrap(), &with(setting("eth1", Setting::Mtu(1400))), &main, None),
            [device(mac(1), 1500)]
        );
        assert_eq!(
            expected(&"eth0".parse().unwrap(), std::slice::from_ref(&main), &main, Some(mac(3))),
            [device(mac(3), 1500)]
        );
        assert_eq!(
            expected(&"eth1".parse().unwrap(), std::slice::from_ref(&main), &main, Some(mac(3))),
            [device(mac(1), 1500)]
        );
    }
}
