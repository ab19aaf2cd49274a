use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};

use super::*;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 50);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 2);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(1_000_000 + seconds)
}

fn identity() -> Identity {
    Identity {
        mac: "02:00:00:00:00:01".parse().unwrap(),
        client_id: b"\0c1".to_vec(),
        host_name: Some("web".to_owned()),
        options: Vec::new(),
        asked: Vec::new(),
        broadcast: false,
    }
}

fn client() -> Client {
    Client::new(identity(), 1, at(0))
}

/// The messages of actions, with whom they go to.
fn said(actions: &[Action]) -> Vec<(Message, Option<Ipv4Addr>)> {
    let message = |action: &Action| match action {
        Action::Send { message, to, .. } => Some((Message::decode(&mut Decoder::new(message)).unwrap(), *to)),
        _ => None,
    };
    actions.iter().filter_map(message).collect()
}

fn only(actions: &[Action]) -> (Message, Option<Ipv4Addr>) {
    let said = said(actions);
    assert_eq!((said.len(), actions.len()), (1, 1), "{actions:?}");
    said.into_iter().next().unwrap()
}

fn kind(message: &Message) -> MessageType {
    message.opts().msg_type().unwrap()
}

/// What a server says to a message: a lease of two minutes, or a refusal.
fn answer(to: &Message, kind: MessageType, address: Ipv4Addr, server: Ipv4Addr) -> Vec<u8> {
    let mut reply = to.clone();
    reply.set_opcode(Opcode::BootReply).set_ciaddr(Ipv4Addr::UNSPECIFIED);
    let options = reply.opts_mut();
    options.clear();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(server));
    if kind != MessageType::Nak {
        options.insert(DhcpOption::AddressLeaseTime(120));
        options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
        reply.set_yiaddr(address);
    }
    reply.to_vec().unwrap()
}

fn is_bound(actions: &[Action]) -> bool {
    matches!(actions, [Action::Bound(lease)] if lease.address.addr() == ADDRESS)
}

/// A client that was given a lease at second 0.
fn bound() -> Client {
    let mut client = client();
    let (discover, _) = only(&client.tick(at(0)));
    let (request, _) = only(&client.hear(&answer(&discover, MessageType::Offer, ADDRESS, SERVER), at(0)));
    assert!(is_bound(&client.hear(&answer(&request, MessageType::Ack, ADDRESS, SERVER), at(0))));
    client
}

/// What the client says by itself until `end`, with the seconds.
fn until(client: &mut Client, end: u64) -> Vec<(u64, Vec<Action>)> {
    let mut all = Vec::new();
    while let Some(due) = client.due().filter(|due| *due <= at(end)) {
        all.push(((due - at(0)).as_secs(), client.tick(due)));
    }
    all
}

#[test]
fn a_lease_is_found_taken_and_held() {
    let mut client = client();
    assert_eq!((client.due(), client.listens()), (Some(at(0)), true));
    let (discover, to) = only(&client.tick(at(0)));
    assert_eq!((kind(&discover), to, discover.flags().broadcast()), (MessageType::Discover, None, false));
    let asked = |message: &Message, code| message.opts().get(code).cloned();
    let host_name = Some(DhcpOption::Hostname("web".to_owned()));
    assert_eq!(asked(&discover, OptionCode::Hostname), host_name);
    let client_id = Some(DhcpOption::ClientIdentifier(b"\0c1".to_vec()));
    assert_eq!(asked(&discover, OptionCode::ClientIdentifier), client_id);
    let actions = client.hear(&answer(&discover, MessageType::Offer, ADDRESS, SERVER), at(1));
    let (request, to) = only(&actions);
    assert_eq!((kind(&request), to, request.xid()), (MessageType::Request, None, discover.xid()));
    assert_eq!(
        asked(&request, OptionCode::RequestedIpAddress),
        Some(DhcpOption::RequestedIpAddress(ADDRESS))
    );
    assert_eq!(asked(&request, OptionCode::ServerIdentifier), Some(DhcpOption::ServerIdentifier(SERVER)));
    assert_eq!(asked(&request, OptionCode::ClientIdentifier), client_id);
    assert!(is_bound(&client.hear(&answer(&request, MessageType::Ack, ADDRESS, SERVER), at(3))));
    // The lease counts from the request; half of it later it is renewed.
    assert_eq!((client.since(), client.due(), client.listens()), (Some(at(1)), Some(at(61)), false));
}

#[test]
fn who_does_not_answer_is_asked_again_ever_more_slowly() {
    let mut client = client();
    let times: Vec<u64> = until(&mut client, 400).into_iter().map(|(time, _)| time).collect();
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, least) in gaps.iter().zip([1, 2, 4, 8, 16, 32, 64, 64]) {
        assert!((least..=least + least / 4 + 1).contains(gap), "{gaps:?}");
    }
}

#[test]
fn the_first_of_several_offers_is_taken_and_the_wrong_server_is_not_heard() {
    let mut client = client();
    let (discover, _) = only(&client.tick(at(0)));
    let (request, _) = only(&client.hear(&answer(&discover, MessageType::Offer, ADDRESS, SERVER), at(0)));
    let late = answer(&discover, MessageType::Offer, Ipv4Addr::new(10, 1, 2, 77), OTHER);
    assert_eq!(client.hear(&late, at(0)), []);
    for (kind, address, server) in [
        (MessageType::Ack, ADDRESS, OTHER),
        (MessageType::Nak, ADDRESS, OTHER),
        (MessageType::Ack, OTHER, SERVER),
    ] {
        assert_eq!(client.hear(&answer(&request, kind, address, server), at(0)), [], "{kind:?}");
    }
    let mut foreign = request.clone();
    foreign.set_xid(request.xid().wrapping_add(1));
    assert_eq!(client.hear(&answer(&foreign, MessageType::Ack, ADDRESS, SERVER), at(0)), []);
    let mut foreign = request.clone();
    foreign.set_chaddr(&[2, 0, 0, 0, 0, 9]);
    assert_eq!(client.hear(&answer(&foreign, MessageType::Ack, ADDRESS, SERVER), at(0)), []);
    assert!(is_bound(&client.hear(&answer(&request, MessageType::Ack, ADDRESS, SERVER), at(0))));
}

#[test]
fn an_offer_that_is_not_kept_is_given_up() {
    let mut client = client();
    let (discover, _) = only(&client.tick(at(0)));
    client.hear(&answer(&discover, MessageType::Offer, ADDRESS, SERVER), at(0));
    let kinds: Vec<MessageType> =
        until(&mut client, 30).iter().map(|(_, actions)| kind(&only(actions).0)).collect();
    assert_eq!(
        &kinds[..4],
        [MessageType::Request, MessageType::Request, MessageType::Request, MessageType::Discover]
    );
}

#[test]
fn refusals_are_followed_by_ever_longer_pauses() {
    let mut client = client();
    let mut now = at(0);
    let (mut discover, _) = only(&client.tick(now));
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let (request, _) = only(&client.hear(&answer(&discover, MessageType::Offer, ADDRESS, SERVER), now));
        let mut actions = client.hear(&answer(&request, MessageType::Nak, ADDRESS, SERVER), now);
        let began = now;
        if actions.is_empty() {
            now = client.due().unwrap();
            actions = client.tick(now);
        }
        pauses.push((now - began).as_secs());
        discover = only(&actions).0;
    }
    assert_eq!(pauses, [0, 2, 4, 8]);
}

#[test]
fn a_lease_is_renewed_with_its_server_and_then_with_any() {
    let mut client = bound();
    let all = until(&mut client, 119);
    let (at_renewal, first) = &all[0];
    let (request, to) = only(first);
    assert_eq!((*at_renewal, kind(&request), to), (60, MessageType::Request, Some(SERVER)));
    assert_eq!((request.ciaddr(), request.opts().get(OptionCode::ServerIdentifier)), (ADDRESS, None));
    assert_eq!(request.opts().get(OptionCode::RequestedIpAddress), None);
    let to_any = all.iter().find(|(_, actions)| only(actions).1.is_none()).unwrap();
    assert_eq!(to_any.0, 105);
    // From whomever it comes, more time is more time.
    let (rebind, _) = only(&all.last().unwrap().1);
    assert!(is_bound(&client.hear(&answer(&rebind, MessageType::Ack, ADDRESS, OTHER), at(119))));
    assert_eq!(client.lease().map(|lease| lease.server), Some(OTHER));
    assert_eq!(client.due(), Some(client.since().unwrap() + Duration::from_secs(60)));
}

#[test]
fn a_lease_that_nobody_renews_ends() {
    let mut client = bound();
    let all = until(&mut client, 120);
    let (time, actions) = all.last().unwrap();
    assert_eq!((*time, &actions[0]), (120, &Action::Lost));
    let (discover, _) = said(actions).remove(0);
    assert_eq!(kind(&discover), MessageType::Discover);
    // The old address would be welcome.
    let wanted = Some(&DhcpOption::RequestedIpAddress(ADDRESS));
    assert_eq!(discover.opts().get(OptionCode::RequestedIpAddress), wanted);
    assert_eq!(client.lease(), None);
}

#[test]
fn a_refused_renewal_ends_the_lease_at_once() {
    let mut client = bound();
    let (request, _) = only(&client.tick(at(60)));
    let actions = client.hear(&answer(&request, MessageType::Nak, ADDRESS, SERVER), at(60));
    assert_eq!(actions[0], Action::Lost);
    let (discover, _) = said(&actions).remove(0);
    assert_eq!(discover.opts().get(OptionCode::RequestedIpAddress), None);
    let next = Ipv4Addr::new(10, 1, 2, 60);
    let (request, _) = only(&client.hear(&answer(&discover, MessageType::Offer, next, SERVER), at(60)));
    let actions = client.hear(&answer(&request, MessageType::Ack, next, SERVER), at(60));
    assert!(matches!(&actions[..], [Action::Bound(lease)] if lease.address.addr() == next));
}

fn resumed(age: u64) -> Client {
    let lease = bound().lease().unwrap().clone();
    Client::resumed(identity(), 2, at(age), lease, at(0))
}

#[test]
fn after_a_restart_the_address_is_asked_for_again() {
    let mut client = resumed(50);
    let (reboot, to) = only(&client.tick(at(50)));
    assert_eq!((kind(&reboot), to, reboot.ciaddr()), (MessageType::Request, None, Ipv4Addr::UNSPECIFIED));
    let wanted = Some(&DhcpOption::RequestedIpAddress(ADDRESS));
    assert_eq!(reboot.opts().get(OptionCode::RequestedIpAddress), wanted);
    assert_eq!(reboot.opts().get(OptionCode::ServerIdentifier), None);
    assert!(is_bound(&client.hear(&answer(&reboot, MessageType::Ack, ADDRESS, SERVER), at(51))));
    assert_eq!(client.since(), Some(at(50)));
    let mut client = resumed(50);
    let (reboot, _) = only(&client.tick(at(50)));
    let actions = client.hear(&answer(&reboot, MessageType::Nak, ADDRESS, SERVER), at(51));
    assert_eq!((&actions[0], kind(&said(&actions)[0].0)), (&Action::Lost, MessageType::Discover));
}

#[test]
fn after_a_restart_without_a_server_the_rest_of_the_lease_holds() {
    let mut client = resumed(10);
    let all = until(&mut client, 40);
    assert!(is_bound(&all.last().unwrap().1), "{all:?}");
    assert_eq!((client.since(), client.due()), (Some(at(0)), Some(at(60))));
    // One that is over is not.
    let mut client = resumed(130);
    let actions = client.tick(at(130));
    assert_eq!(actions[0], Action::Lost);
}

#[test]
fn a_lease_is_given_back_to_its_server() {
    assert_eq!(client().release(), None);
    let actions = [bound().release().unwrap()];
    let (release, to) = only(&actions);
    assert_eq!((kind(&release), to, release.ciaddr()), (MessageType::Release, Some(SERVER), ADDRESS));
    let server = Some(&DhcpOption::ServerIdentifier(SERVER));
    assert_eq!(release.opts().get(OptionCode::ServerIdentifier), server);
    assert_eq!(release.opts().get(OptionCode::RequestedIpAddress), None);
    let client_id = Some(&DhcpOption::ClientIdentifier(b"\0c1".to_vec()));
    assert_eq!(release.opts().get(OptionCode::ClientIdentifier), client_id);
}

#[test]
fn nothing_that_is_heard_upsets_it() {
    let mut client = client();
    let (discover, _) = only(&client.tick(at(0)));
    let good = answer(&discover, MessageType::Offer, ADDRESS, SERVER);
    for length in 0..240 {
        assert_eq!(client.hear(&good[..length], at(0)), [], "{length}");
    }
    for at_byte in 0..good.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bad = good.clone();
            bad[at_byte] = value;
            _ = self::client().hear(&bad, at(0));
            let mut other = self::client();
            other.tick(at(0));
            _ = other.hear(&bad, at(0));
        }
    }
}
