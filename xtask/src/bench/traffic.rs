//! A TCP server and a client in namespaces: this program again, started there.

use std::env;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Doing as _, Failure, Result};

const PATIENCE: Duration = Duration::from_secs(2);

/// A server process, which ends with the value.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program in a namespace.
fn in_namespace(namespace: &str) -> Result<Command> {
    let program = env::current_exe().doing("cannot tell the path of this program")?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).arg(program).stdin(Stdio::null());
    Ok(command)
}

/// Starts a server in a namespace; it listens when this returns.
pub fn server(namespace: &str, ports: &[u16]) -> Result<Server> {
    let mut command = in_namespace(namespace)?;
    command.arg("serve").args(ports.iter().map(ToString::to_string)).stdout(Stdio::piped());
    let mut server = Server(command.spawn().doing("cannot start nsenter")?);
    let mut line = String::new();
    if let Some(output) = server.0.stdout.take() {
        BufReader::new(output).read_line(&mut line).doing("cannot hear from the server")?;
    }
    if line.is_empty() { Err(Failure::new("the server does not start")) } else { Ok(server) }
}

/// Connects from a namespace to the ports by turns; how long each connection took.
pub fn connects(namespace: &str, host: &str, ports: &[u16], count: u32) -> Result<Vec<(u16, Duration)>> {
    let mut command = in_namespace(namespace)?;
    command.args(["connect", host, &count.to_string()]).args(ports.iter().map(ToString::to_string));
    let output = command.output().doing("cannot start nsenter")?;
    if !output.status.success() {
        return Err(Failure::new("the client failed").cause(String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sample = |line: &str| {
        let (port, nanoseconds) = line.split_once(' ')?;
        Some((port.parse().ok()?, Duration::from_nanos(nanoseconds.parse().ok()?)))
    };
    Ok(text.lines().filter_map(sample).collect())
}

/// `xtask serve PORT...`: accepts connections, and closes each when the other side does.
pub fn serve(arguments: &[String]) -> Result<ExitCode> {
    let mut threads = Vec::new();
    for port in ports(arguments)? {
        let listener =
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).doing(format!("cannot listen on {port}"))?;
        threads.push(thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0]);
            }
        }));
    }
    println!("listening");
    for thread in threads {
        let _ = thread.join();
    }
    Ok(ExitCode::SUCCESS)
}

/// `xtask connect ADDRESS COUNT PORT...`: prints a line with port and nanoseconds for each connection.
pub fn connect(arguments: &[String]) -> Result<ExitCode> {
    let [address, count, rest @ ..] = arguments else {
        return Err(Failure::usage("connect takes an address, a count and ports"));
    };
    let address: IpAddr = address.parse().doing(format!("bad address {address}"))?;
    let count: u32 = count.parse().doing(format!("bad count {count}"))?;
    let ports = ports(rest)?;
    for turn in 0..=count {
        for &port in &ports {
            let start = Instant::now();
            let stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE);
            let taken = start.elapsed();
            drop(stream.doing(format!("cannot connect to port {port}"))?);
            // The first turn resolves neighbours.
            if turn > 0 {
                println!("{port} {}", taken.as_nanos());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn ports(arguments: &[String]) -> Result<Vec<u16>> {
    arguments.iter().map(|port| port.parse().doing(format!("bad port {port}"))).collect()
}
