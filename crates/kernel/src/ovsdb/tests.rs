//! Against a server that says what each test wants it to say.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use linkspan_plan::Failure;
use serde_json::{Value, json};

use super::Switch;
use super::client::Client;
use super::frame::{Frames, LIMIT};

/// A client, and a server that sends what `answer` gives for each request, piece by piece. In the end it gives the
/// requests.
fn server(
    mut answer: impl FnMut(&Value) -> Vec<Vec<u8>> + Send + 'static,
) -> (Switch, JoinHandle<Vec<Value>>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut frames, mut requests) = (Frames::default(), Vec::new());
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = theirs.read(&mut buffer) {
            frames.push(&buffer[..length]);
            while let Some(request) = frames.next().unwrap() {
                for piece in answer(&request) {
                    // The client may have had enough.
                    _ = theirs.write_all(&piece);
                }
                requests.push(request);
            }
        }
        requests
    });
    (Switch::over(Client::new(ours), "/fake/db.sock".into()), thread)
}

fn reply(request: &Value, results: &Value) -> Vec<Vec<u8>> {
    vec![json!({ "id": request["id"], "result": results, "error": null }).to_string().into_bytes()]
}

/// A database with the bridge br0, which behaves as long as `fails` says nothing of an operation.
fn database(request: &Value, fails: impl Fn(&Value) -> Option<Value>) -> Vec<Vec<u8>> {
    let result = |operation: &Value| match (operation["op"].as_str().unwrap(), operation["table"].as_str()) {
        ("select", Some("Bridge")) => json!({ "rows": [{ "name": "br0", "datapath_type": "netdev" }] }),
        ("select", Some("Port")) => json!({ "rows": [{ "_uuid": ["uuid", "p"] }] }),
        ("select", Some("Interface")) => json!({ "rows": [{ "ofport": 3, "error": ["set", []] }] }),
        ("select", Some(_)) => json!({ "rows": [{ "next_cfg": 7, "cur_cfg": 7 }] }),
        ("insert", _) => json!({ "uuid": ["uuid", "x"] }),
        ("mutate", _) => json!({ "count": 1 }),
        ("wait" | "comment", _) => json!({}),
        _ => panic!("{operation}"),
    };
    let operations = &request["params"].as_array().unwrap()[1..];
    let results: Vec<Value> = operations.iter().map(|op| fails(op).unwrap_or_else(|| result(op))).collect();
    reply(request, &json!(results))
}

#[test]
fn a_port_comes_in_one_transaction_and_goes_in_one() {
    let (mut switch, thread) = server(|request| database(request, |_| None));
    switch.add_port("br0", "veth0", "cafe").unwrap();
    switch.remove_port("veth0").unwrap();
    assert_eq!(switch.bridge_of("veth0").unwrap().as_deref(), Some("br0"));
    drop(switch);
    let requests = thread.join().unwrap();
    let operations = |at: usize| -> Vec<&str> {
        let params = requests[at]["params"].as_array().unwrap();
        params[1..].iter().map(|operation| operation["op"].as_str().unwrap()).collect()
    };
    assert_eq!(operations(0), ["wait", "insert", "insert", "mutate", "mutate", "select", "comment"]);
    assert_eq!(
        requests[0]["params"][3]["row"]["external_ids"],
        json!(["map", [["linkspan-network", "cafe"]]])
    );
    assert_eq!(operations(4), ["mutate", "mutate", "comment"]);
}

#[test]
fn answers_may_come_in_pieces_between_other_messages() {
    let (mut switch, thread) = server(|request| {
        if request["method"].is_null() {
            return Vec::new();
        }
        let echo = json!({ "method": "echo", "params": ["alive?"], "id": "echo" }).to_string();
        let news = json!({ "method": "update", "params": [null, {}], "id": null }).to_string();
        let old = json!({ "id": 0, "result": [], "error": null }).to_string();
        let answer = database(request, |_| None).concat();
        let mut pieces = vec![echo.into_bytes(), (news + &old).into_bytes()];
        pieces.extend(answer.chunks(5).map(<[u8]>::to_vec));
        pieces
    });
    assert_eq!(switch.bridge_kind("br0").unwrap(), "netdev");
    drop(switch);
    let requests = thread.join().unwrap();
    assert_eq!(requests[1], json!({ "id": "echo", "result": ["alive?"], "error": null }));
}

#[test]
fn refusals_are_told_in_the_servers_words() {
    let error = json!({ "error": "constraint violation", "details": "two rows of Port have the name veth0" });
    let refuse = error.clone();
    let (mut switch, _thread) = server(move |request| {
        database(request, |operation| (operation["op"] == "insert").then(|| refuse.clone()))
    });
    let told = switch.add_port("br0", "veth0", "cafe").unwrap_err().of("x").cause;
    assert!(told.contains("constraint violation: two rows of Port have the name veth0"), "{told}");

    // A transaction that fails as it is committed has one result more than operations.
    let (mut switch, _thread) = server(move |request| reply(request, &json!([{ "rows": [] }, error])));
    assert!(switch.bridge_kind("br0").unwrap_err().of("x").cause.contains("constraint violation"));

    let (mut switch, _thread) = server(|request| {
        vec![json!({ "id": request["id"], "result": null, "error": "unknown database" }).to_string().into()]
    });
    assert!(switch.bridge_kind("br0").unwrap_err().of("x").cause.contains("unknown database"));
}

#[test]
fn a_bridge_that_is_not_there_is_said_with_what_makes_it() {
    let (mut switch, _thread) = server(|request| reply(request, &json!([{ "rows": [] }])));
    let error = switch.bridge_kind("br9").unwrap_err().of("x");
    assert_eq!((error.failure, error.cause.as_str()), (Failure::NotFound, "Open vSwitch has no bridge br9"));
    assert!(error.hint.unwrap().contains("ovs-vsctl add-br br9"));
}

#[test]
fn a_port_that_the_daemon_does_not_take_is_refused() {
    let (mut switch, _thread) = server(|request| {
        database(request, |operation| {
            let bad = json!({ "rows": [{ "ofport": -1, "error": "could not open network device" }] });
            (operation["table"] == "Interface" && operation["op"] == "select").then_some(bad)
        })
    });
    let error = switch.add_port("br0", "veth0", "cafe").unwrap_err().of("x");
    assert!(error.cause.contains("could not open network device"), "{}", error.cause);
}

#[test]
fn a_daemon_that_does_not_run_is_said() {
    let (mut switch, _thread) = server(|request| {
        database(request, |operation| match (operation["op"].as_str(), &operation["columns"][0]) {
            (Some("select"), column) if column == "cur_cfg" => Some(json!({ "rows": [{ "cur_cfg": 6 }] })),
            (Some("wait"), column) if column == "cur_cfg" => Some(json!({ "error": "timed out" })),
            _ => None,
        })
    });
    switch.patience = Duration::from_millis(20);
    let error = switch.add_port("br0", "veth0", "cafe").unwrap_err().of("x");
    assert!(error.cause.contains("ovs-vswitchd has not looked"), "{}", error.cause);
}

#[test]
fn odd_answers_are_errors() {
    let odd: [&[u8]; 10] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\xff\xfe",
        br#"{"id":1,"result":7,"error":null}"#,
        br#"{"id":1,"result":[],"error":null}"#,
        br#"{"id":1,"result":[null],"error":null}"#,
        br#"{"id":1,"result":[{"rows":7}],"error":null}"#,
        br#"{"id":1,"result":[{"rows":[]},{}],"error":null}"#,
        br#"{"id":1,"result":[{"error":{"deep":1}}],"error":null}"#,
        br#"{"id":1,"error":[[]]}"#,
        br#"{"id":1}"#,
    ];
    for answer in odd {
        let (mut switch, _thread) = server(move |_| vec![answer.to_vec()]);
        let error = switch.bridge_kind("br0").unwrap_err().of("x");
        assert_eq!(error.failure, Failure::Other, "{}", String::from_utf8_lossy(answer));
    }
    // Rows without what was asked for are no names and no numbers.
    let (mut switch, _thread) = server(|request| reply(request, &json!([{ "rows": [7] }])));
    assert_eq!(switch.bridge_of("veth0").unwrap(), None);
}

#[test]
fn too_much_and_nothing_are_errors() {
    let (mut switch, _thread) = server(|_| vec![b"{\"id\":\"".to_vec(), vec![b'x'; LIMIT + 1]]);
    assert!(switch.bridge_kind("br0").unwrap_err().of("x").cause.contains("more than"));
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let mut switch = Switch::over(Client::new(ours), "/fake/db.sock".into());
    assert!(switch.bridge_kind("br0").unwrap_err().of("x").cause.contains("/fake/db.sock"));
}

#[test]
fn nobody_at_the_socket_is_no_error_of_looking() {
    let absent = std::env::temp_dir().join("linkspan-no-such-socket");
    assert!(matches!(Client::connect(&absent), Err(super::Fault::Absent(_))));
    let long = "x".repeat(200);
    assert!(matches!(Client::connect(long.as_ref()), Err(super::Fault::Broken(_))));
}
