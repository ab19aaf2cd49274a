//! The CRI plugin of containerd, as a Kubernetes node drives it: gRPC over its socket, spoken with curl.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::containerd::{Containerd, IMAGE, SOCKET};
use super::{conflists, host, use_conflist};
use crate::support::{ROOT, Traces, here, run_as_root, served, sh};

/// A protobuf message, field by field (protobuf.dev, "Encoding").
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// Adds a field that is a number.
    fn number(mut self, field: u8, value: u64) -> Self {
        self.0.push(field << 3);
        self.varint(value)
    }

    /// Adds a field that is text.
    fn text(self, field: u8, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// Adds a field that is another message.
    fn message(self, field: u8, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    fn bytes(mut self, field: u8, value: &[u8]) -> Self {
        self.0.push(field << 3 | 2);
        self = self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }
}

/// Calls a method of `runtime.v1.RuntimeService`; gives the message that comes back.
#[allow(clippy::disallowed_methods, reason = "curl speaks HTTP/2 for the test")]
fn call(containerd: &Containerd, method: &str, message: &Message) -> Vec<u8> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-m", "60", "--http2-prior-knowledge", "--unix-socket", SOCKET]);
    curl.args(["-D", "/run/headers", "-H", "content-type: application/grpc", "-H", "te: trailers"]);
    curl.args(["--data-binary", "@-", &format!("http://localhost/runtime.v1.RuntimeService/{method}")]);
    let mut child = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run curl");
    let length = u32::try_from(message.0.len()).expect("a short message").to_be_bytes();
    let frame = [&[0], length.as_slice(), &message.0].concat();
    child.stdin.take().expect("its input").write_all(&frame).expect("write a message");
    let answer = child.wait_with_output().expect("wait for curl").stdout;
    let headers = fs::read_to_string("/run/headers").unwrap_or_default();
    assert!(headers.contains("grpc-status: 0"), "{method}: {headers}\n{}", containerd.log());
    answer.get(5..).expect("a message").to_vec()
}

/// A pod with a port of the host published for its port 80 (`PodSandboxConfig`); containerd keeps its logs in /run.
fn pod(name: &str, host_port: u64) -> Message {
    let metadata =
        Message::default().text(1, name).text(2, &format!("uid-{name}")).text(3, "default").number(4, 1);
    let port = Message::default().number(2, 80).number(3, host_port);
    let options = Message::default().message(1, &Message::default().number(1, 0));
    Message::default()
        .message(1, &metadata)
        .text(2, name)
        .text(3, "/run/pods")
        .message(5, &port)
        .message(8, &Message::default().message(2, &options))
}

/// Starts a pod; gives its identifier.
fn start(containerd: &Containerd, pod: &Message) -> String {
    let answer = call(containerd, "RunPodSandbox", &Message::default().message(1, pod));
    String::from_utf8(answer[2..].to_vec()).expect("an identifier")
}

fn remove(containerd: &Containerd, id: &str) {
    for method in ["StopPodSandbox", "RemovePodSandbox"] {
        call(containerd, method, &Message::default().text(1, id));
    }
}

/// Makes the file of an image whose containers serve HTTP at port 80.
fn make_image() {
    sh(&format!("mkdir /run/image && tar -C {ROOT} -cf /run/image/layer.tar ."));
    let digest = sh("sha256sum /run/image/layer.tar");
    let digest = digest.split_whitespace().next().expect("a digest");
    let config = format!(
        "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{{\"Cmd\":[\"/bin/httpd\",\"-f\",\"-p\",\"80\"]}},\
         \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:{digest}\"]}}}}"
    );
    let manifest =
        "[{\"Config\":\"config.json\",\"RepoTags\":[\"test/busybox:1\"],\"Layers\":[\"layer.tar\"]}]";
    fs::write("/run/image/config.json", config).expect("write the image's configuration");
    fs::write("/run/image/manifest.json", manifest).expect("write the image's manifest");
    sh("tar -C /run/image -cf /run/image.tar manifest.json config.json layer.tar");
}

#[test]
fn pods_of_a_kubernetes_node_publish_ports() {
    run_as_root(here!(), || {
        let Some(world) = host(&["containerd", "ctr", "runc", "tar", "sha256sum"]) else { return };
        make_image();
        for list in conflists() {
            use_conflist(&list);
            let containerd = Containerd::start();
            containerd.ctr("-n k8s.io image import --snapshotter native /run/image.tar");
            assert!(containerd.ctr("-n k8s.io image ls -q").contains(IMAGE));
            remove(&containerd, &start(&containerd, &pod("first", 8000)));
            let before = Traces::find();
            let pods = [8081, 8082].map(|port| start(&containerd, &pod(&format!("pod{port}"), port)));
            for port in [8081, 8082] {
                world.outside.enter(|| assert!(served(&format!("192.0.2.1:{port}")), "{list:#}"));
                assert!(served(&format!("127.0.0.1:{port}")), "{list:#}");
            }
            remove(&containerd, &pods[0]);
            world.outside.enter(|| assert!(served("192.0.2.1:8082"), "{list:#}"));
            remove(&containerd, &pods[1]);
            before.are_all();
        }
    });
}
