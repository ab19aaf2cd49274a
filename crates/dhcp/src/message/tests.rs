use super::*;

fn identity() -> Identity {
    Identity {
        mac: "02:00:00:00:00:01".parse().unwrap(),
        client_id: Vec::new(),
        host_name: None,
        options: Vec::new(),
        asked: Vec::new(),
        broadcast: false,
    }
}

/// The lease that is read from an acknowledgement with `options`.
fn leased(address: [u8; 4], options: impl IntoIterator<Item = DhcpOption>) -> Option<Lease> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(7, none, address.into(), none, none, &identity().mac.bytes());
    message.set_opcode(Opcode::BootReply);
    message.opts_mut().insert(DhcpOption::MessageType(MessageType::Ack));
    message.opts_mut().insert(DhcpOption::ServerIdentifier([10, 1, 2, 1].into()));
    message.opts_mut().insert(DhcpOption::AddressLeaseTime(3600));
    message.opts_mut().extend_with(options);
    match identity().read(&message.to_vec().unwrap(), 7)? {
        Reply::Ack(lease) => Some(lease),
        other => panic!("{other:?}"),
    }
}

const ADDRESS: [u8; 4] = [10, 1, 2, 50];
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 254);

#[test]
fn all_that_a_server_says_is_read() {
    let lease = leased(
        ADDRESS,
        [
            DhcpOption::SubnetMask([255, 255, 254, 0].into()),
            DhcpOption::Router(vec![ROUTER, [10, 1, 2, 253].into()]),
            DhcpOption::DomainNameServer(vec![[10, 0, 0, 53].into()]),
            DhcpOption::DomainName("example.org\0".to_owned()),
            DhcpOption::Hostname("web".to_owned()),
            DhcpOption::InterfaceMtu(1400),
            DhcpOption::BroadcastAddr([10, 1, 3, 255].into()),
            DhcpOption::NtpServers(vec![[10, 0, 0, 123].into()]),
            DhcpOption::Renewal(600),
            DhcpOption::Rebinding(1200),
        ],
    )
    .unwrap();
    assert_eq!(lease.address.to_string(), "10.1.2.50/23");
    assert_eq!((lease.seconds, lease.renewal, lease.rebinding), (3600, 600, 1200));
    assert_eq!((lease.domain.as_deref(), lease.host_name.as_deref()), (Some("example.org"), Some("web")));
    assert_eq!((lease.mtu, lease.broadcast), (Some(1400), Some([10, 1, 3, 255].into())));
    assert_eq!((lease.dns.len(), lease.ntp.len(), lease.routers.len()), (1, 1, 2));
    let addressing = lease.addressing();
    assert_eq!(addressing.routes, [(Ipv4Net::default(), Some(ROUTER))]);
}

#[test]
fn classless_routes_go_before_routers_and_classful_ones() {
    let default = Ipv4Net::default();
    let net: Ipv4Net = "10.9.0.0/16".parse().unwrap();
    let classless = [(net, Ipv4Addr::UNSPECIFIED), (default, Ipv4Addr::new(10, 1, 2, 9))];
    let others = [
        DhcpOption::Router(vec![ROUTER]),
        DhcpOption::StaticRoutingTable(vec![([172, 16, 0, 0].into(), ROUTER), ([0, 0, 0, 0].into(), ROUTER)]),
    ];
    let all = others.clone().into_iter().chain([DhcpOption::ClasslessStaticRoute(classless.to_vec())]);
    let lease = leased(ADDRESS, all).unwrap();
    assert_eq!(lease.routers, [Ipv4Addr::new(10, 1, 2, 9)]);
    assert_eq!(lease.addressing().routes, [(net, None), (default, Some([10, 1, 2, 9].into()))]);
    let lease = leased(ADDRESS, others).unwrap();
    let classful = ("172.16.0.0/16".parse().unwrap(), Some(ROUTER));
    assert_eq!(lease.addressing().routes, [classful, (default, Some(ROUTER))]);
    let inward = DhcpOption::ClasslessStaticRoute(vec![(net, ROUTER)]);
    let lease = leased(ADDRESS, [DhcpOption::Router(vec![ROUTER]), inward]).unwrap();
    assert_eq!((lease.routers.len(), lease.addressing().routes.len()), (0, 1));
}

#[test]
fn what_a_lease_needs_is_looked_for() {
    let mask = |mask: [u8; 4]| DhcpOption::SubnetMask(mask.into());
    assert_eq!(leased(ADDRESS, [mask([255, 0, 255, 0])]), None);
    for address in [[0; 4], [255; 4], [127, 0, 0, 1], [224, 0, 0, 1]] {
        assert_eq!(leased(address, []), None, "{address:?}");
    }
    // Without a mask the class says the prefix.
    for (address, prefix) in [(ADDRESS, 8), ([172, 16, 0, 2], 16), ([192, 0, 2, 2], 24)] {
        assert_eq!(leased(address, []).unwrap().address.prefix_len(), prefix);
    }
}

#[test]
fn times_that_make_no_sense_are_not_the_servers() {
    let times = |seconds, renewal, rebinding| {
        let options = [
            DhcpOption::AddressLeaseTime(seconds),
            DhcpOption::Renewal(renewal),
            DhcpOption::Rebinding(rebinding),
        ];
        let lease = leased(ADDRESS, options).unwrap();
        (lease.seconds, lease.renewal, lease.rebinding)
    };
    assert_eq!(times(800, 10, 20), (800, 10, 20));
    assert_eq!(times(800, 0, 0), (800, 400, 700));
    assert_eq!(times(800, 900, 1000), (800, 400, 700));
    assert_eq!(times(800, 300, 200), (800, 200, 200));
    assert_eq!(times(0, 0, 0), (10, 5, 9));
    assert_eq!(times(FOREVER, 10, 20), (FOREVER, FOREVER, FOREVER));
}

#[test]
fn options_of_the_user_are_said_and_asked_for() {
    let mut identity = identity();
    identity.client_id = b"\0default".to_vec();
    identity.options =
        vec![(60, b"vendor".to_vec()), (61, b"mine".to_vec()), (12, b"name".to_vec()), (200, vec![1])];
    identity.asked = vec![3, 1];
    identity.broadcast = true;
    let bytes = identity.write(7, 1, Saying::Discover(None));
    assert!(bytes.len() >= 300);
    let message = Message::decode(&mut Decoder::new(&bytes)).unwrap();
    let options = message.opts();
    assert!(message.flags().broadcast());
    let said = |code: u8| options.get(OptionCode::from(code)).cloned();
    assert_eq!(said(60), Some(DhcpOption::ClassIdentifier(b"vendor".to_vec())));
    assert_eq!(said(61), Some(DhcpOption::ClientIdentifier(b"mine".to_vec())));
    assert_eq!(said(12), Some(DhcpOption::Hostname("name".to_owned())));
    assert_eq!(said(200), Some(DhcpOption::Unknown(UnknownOption::new(OptionCode::from(200), vec![1]))));
    let asked = vec![OptionCode::Router, OptionCode::SubnetMask];
    assert_eq!(said(55), Some(DhcpOption::ParameterRequestList(asked)));
}
