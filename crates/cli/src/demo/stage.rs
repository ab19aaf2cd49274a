//! Things that happen inside the namespaces of the demo.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use linkspan_kernel::netns::{Namespace, pin_path};
use linkspan_model::Name;

use crate::output::Problem;

/// How long a connection is waited for; every one here is on the same machine.
const PATIENCE: Duration = Duration::from_millis(800);

/// What came of a request.
pub enum Page {
    /// The page.
    Text(String),
    /// Nothing, and why.
    None(String),
}

/// Does `work` on a thread inside the namespace pinned as `name`, or where the program is if `name` is empty.
pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T, Problem> {
    let namespace = open(name)?;
    let entered = || {
        if let Some(namespace) = namespace {
            namespace.enter().map_err(|errno| Problem::new(format!("cannot enter {name}")).because(errno))?;
        }
        Ok(work())
    };
    thread::scope(|scope| scope.spawn(entered).join())
        .unwrap_or_else(|_| Err(Problem::new("the scene broke off")))
}

fn open(name: &str) -> Result<Option<Namespace>, Problem> {
    if name.is_empty() {
        return Ok(None);
    }
    let name: Name = name.parse()?;
    let opened = Namespace::open(&pin_path(&name));
    opened.map(Some).map_err(|cause| Problem::new(format!("cannot open namespace {name}")).because(cause))
}

/// Starts a web server inside `name` whose page says whose request it sees. It ends with the program.
pub fn serve(name: &str, address: SocketAddr) -> Result<(), Problem> {
    let namespace = open(name)?;
    let (ready, listening) = mpsc::channel();
    let owner = name.to_owned();
    thread::spawn(move || {
        let bound = || -> io::Result<TcpListener> {
            namespace.map_or(Ok(()), |namespace| namespace.enter().map_err(io::Error::from))?;
            TcpListener::bind(address)
        };
        match bound() {
            Ok(listener) => {
                _ = ready.send(Ok(()));
                // The namespace is held by this thread's file only while it lives, and it lives as long as the demo.
                listener.incoming().flatten().for_each(|stream| answer(stream, &owner).unwrap_or_default());
            }
            Err(error) => _ = ready.send(Err(error)),
        }
    });
    let started = listening.recv().map_err(|cause| Problem::new("the web server died").because(cause))?;
    started.map_err(|cause| Problem::new(format!("no web server in {name}")).because(cause))
}

fn answer(mut stream: TcpStream, owner: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    _ = stream.read(&mut [0; 1024])?;
    let page = format!("{owner} says hello to {}", stream.peer_addr()?.ip());
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{page}", page.len())
}

/// Fetches the page at `address` from inside `name`.
pub fn fetch(name: &str, address: SocketAddr) -> Result<Page, Problem> {
    let request = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply.split_once("\r\n\r\n").map(|(_, page)| page.to_owned()).unwrap_or_default())
    };
    Ok(match inside(name, request)? {
        Ok(text) => Page::Text(text),
        Err(error) => Page::None(error.to_string()),
    })
}
