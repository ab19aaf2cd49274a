//! The directory with a file for each network: who writes into it, and how.
//!
//! Writers take turns by a lock on a file next to the directory. Readers do not, so what they may find is always
//! whole: a line is appended in one piece, and everything else is written next to the directory and moved into it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::file::{self, Head, Member};

/// What the name of an internal network's file ends with.
pub const INTERNAL: &str = "%int";
/// The file with the server's process number.
pub const PID_FILE: &str = "aardvark.pid";
const LOCK_FILE: &str = "aardvark.lock";

/// The directory.
#[derive(Clone, Copy, Debug)]
pub struct Directory<'a>(pub &'a Path);

/// Keeps other writers away while it lives.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

impl Directory<'_> {
    /// Makes it where it is missing, with those above it.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(self) -> Result<(), Error> {
        if self.0.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o755).create(self.0).map_err(Error::file("make", self.0))
    }

    /// Waits until nobody else writes.
    ///
    /// # Errors
    /// If the lock's file cannot be made.
    pub fn turn(self) -> Result<Turn, Error> {
        let (path, lock) = self.lock_file()?;
        lock.lock().map_err(Error::file("lock", &path))?;
        Ok(Turn { _lock: lock })
    }

    /// The turn to write, unless somebody else has it.
    ///
    /// # Errors
    /// If the lock's file cannot be made.
    pub fn try_turn(self) -> Result<Option<Turn>, Error> {
        let (_, lock) = self.lock_file()?;
        Ok(lock.try_lock().is_ok().then_some(Turn { _lock: lock }))
    }

    fn lock_file(self) -> Result<(PathBuf, File), Error> {
        let path = self.above().join(LOCK_FILE);
        let file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(Error::file("open", &path))?;
        Ok((path, file))
    }

    /// Where what belongs to the directory but is no network's file has its place.
    fn above(self) -> PathBuf {
        self.0.parent().unwrap_or(self.0).to_owned()
    }

    /// A file next to the directory, named after it.
    pub fn beside(self, ending: &str) -> PathBuf {
        let mut name = self.0.file_name().unwrap_or_default().to_owned();
        name.push(ending);
        self.above().join(name)
    }

    /// The server's process number, if the directory has one that can be read.
    pub fn server(self) -> Option<i32> {
        fs::read_to_string(self.0.join(PID_FILE)).ok()?.trim().parse().ok()
    }

    /// Writes a container into a network's file, instead of what that says of it. The file begins with `head` if it is
    /// made now.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn enter(self, network: &str, internal: bool, head: &Head, member: &Member) -> Result<(), Error> {
        let [plain, suffixed] = self.files(network)?;
        let (path, other) = if internal { (suffixed, plain) } else { (plain, suffixed) };
        match fs::rename(&other, &path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::file("rename", &other)(error));
            }
            _ => {}
        }
        let Some(text) = read(&path)? else {
            return self.write(&path, format!("{head}\n{member}\n").as_bytes());
        };
        if lines(&text).skip(1).any(|line| file::id(line) == member.id.as_bytes()) {
            let mut others = without(&text, &member.id).0;
            others.extend(format!("{member}\n").bytes());
            return self.write(&path, &others);
        }
        let unfinished = text.last().is_some_and(|byte| *byte != b'\n');
        let line = format!("{}{member}\n", if unfinished { "\n" } else { "" });
        let append = || OpenOptions::new().append(true).open(&path)?.write_all(line.as_bytes());
        append().map_err(Error::file("write", &path))
    }

    /// Takes a container out of a network's file, and the file away with the last one; whether anything was changed.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn leave(self, network: &str, container: &str) -> Result<bool, Error> {
        let mut changed = false;
        for path in self.files(network)? {
            let Some(text) = read(&path)? else { continue };
            let (rest, members) = without(&text, container);
            if members == 0 {
                fs::remove_file(&path).map_err(Error::file("remove", &path))?;
            } else if rest.len() != text.len() {
                self.write(&path, &rest)?;
            } else {
                continue;
            }
            changed = true;
        }
        Ok(changed)
    }

    /// Gives a network other name servers; whether that is a change. A network without a file has nobody to ask for it.
    ///
    /// # Errors
    /// If one of `servers` is the network's own, or a file cannot be read or written.
    pub fn update(self, network: &str, servers: &[IpAddr]) -> Result<bool, Error> {
        let mut changed = false;
        for path in self.files(network)? {
            let Some(text) = read(&path)? else { continue };
            let (first, rest) = match text.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&text[..end], &text[end + 1..]),
                None => (&text[..], &[][..]),
            };
            let head = Head::parse(&String::from_utf8_lossy(first))
                .map_err(|error| Error::because(format_args!("cannot read {}", path.display()), error))?;
            if let Some(own) = servers.iter().find(|server| head.listen.contains(server)) {
                return Err(crate::entry::own_server("network DNS server", own, network));
            }
            if head.servers != servers {
                let head = Head { servers: servers.to_vec(), ..head };
                self.write(&path, &[format!("{head}\n").as_bytes(), rest].concat())?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// The names that a network's file may have: if it leads elsewhere, and if it is internal.
    fn files(self, network: &str) -> Result<[PathBuf; 2], Error> {
        if !is_network(network) {
            return Err(Error::new(format!("network {network:?} cannot have a file of that name")));
        }
        Ok([self.0.join(network), self.0.join(format!("{network}{INTERNAL}"))])
    }

    fn write(self, path: &Path, text: &[u8]) -> Result<(), Error> {
        let new = self.beside(".new");
        fs::write(&new, text).map_err(Error::file("write", &new))?;
        fs::rename(&new, path).map_err(Error::file("write", path))
    }
}

/// Whether a network of this name can have a file.
pub fn is_network(name: &str) -> bool {
    !matches!(name, "" | "." | ".." | PID_FILE) && !name.contains(['/', '\0'])
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(at, line)| *at == 0 || !line.is_empty())
        .map(|(_, line)| line)
}

/// A file without the lines of `container`, and how many of containers are left.
fn without(text: &[u8], container: &str) -> (Vec<u8>, usize) {
    let mut rest = Vec::with_capacity(text.len());
    let mut members = 0;
    for (at, line) in lines(text).enumerate() {
        if at > 0 && file::id(line) == container.as_bytes() {
            continue;
        }
        members += usize::from(at > 0);
        rest.extend_from_slice(line);
        rest.push(b'\n');
    }
    (rest, members)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// A directory of its own for a test.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let top = std::env::temp_dir().join(format!("linkspan-names-{}-{number}", std::process::id()));
            Directory(&top.join("dns")).make().unwrap();
            Self(top.join("dns"))
        }

        fn directory(&self) -> Directory<'_> {
            Directory(&self.0)
        }

        fn text(&self, network: &str) -> Option<String> {
            fs::read_to_string(self.0.join(network)).ok()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(self.0.parent().unwrap());
        }
    }

    fn head() -> Head {
        Head::parse("10.89.0.1").unwrap()
    }

    fn member(line: &str) -> Member {
        Member::parse(line).unwrap()
    }

    #[test]
    fn containers_come_and_go() {
        let place = Place::new();
        let (a, b) = (member("a 10.89.0.2  web"), member("b 10.89.0.3 fd00::3 db,b 9.9.9.9"));
        place.directory().enter("net", false, &head(), &a).unwrap();
        place.directory().enter("net", false, &head(), &b).unwrap();
        let both = "10.89.0.1\na 10.89.0.2  web\nb 10.89.0.3 fd00::3 db,b 9.9.9.9\n";
        assert_eq!(place.text("net").unwrap(), both);
        place.directory().enter("net", false, &head(), &member("a 10.89.0.4  web")).unwrap();
        assert!(place.text("net").unwrap().ends_with("9.9.9.9\na 10.89.0.4  web\n"));
        assert!(place.directory().leave("net", "b").unwrap());
        assert!(!place.directory().leave("net", "b").unwrap());
        assert_eq!(place.text("net").unwrap(), "10.89.0.1\na 10.89.0.4  web\n");
        assert!(place.directory().leave("net", "a").unwrap());
        assert_eq!(place.text("net"), None);
        assert!(!place.directory().leave("net", "a").unwrap());
    }

    #[test]
    fn an_identity_within_another_is_not_that() {
        let place = Place::new();
        place.directory().enter("net", false, &head(), &member("aa 10.89.0.2  a")).unwrap();
        place.directory().leave("net", "a").unwrap();
        assert_eq!(place.text("net").unwrap(), "10.89.0.1\naa 10.89.0.2  a\n");
    }

    #[test]
    fn an_internal_networks_file_says_so_in_its_name() {
        let place = Place::new();
        place.directory().enter("net", false, &head(), &member("a 10.89.0.2  a")).unwrap();
        place.directory().enter("net", true, &head(), &member("b 10.89.0.3  b")).unwrap();
        assert_eq!(place.text("net"), None);
        assert_eq!(place.text("net%int").unwrap(), "10.89.0.1\na 10.89.0.2  a\nb 10.89.0.3  b\n");
        place.directory().update("net", &["9.9.9.9".parse().unwrap()]).unwrap();
        assert!(place.text("net%int").unwrap().starts_with("10.89.0.1 9.9.9.9\na "));
        place.directory().leave("net", "a").unwrap();
        place.directory().leave("net", "b").unwrap();
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0);
    }

    #[test]
    fn a_networks_servers_are_replaced_but_not_by_itself() {
        let place = Place::new();
        place.directory().enter("net", false, &head(), &member("a 10.89.0.2  a")).unwrap();
        let servers: Vec<IpAddr> = vec!["9.9.9.9".parse().unwrap(), "fd00::9".parse().unwrap()];
        assert!(place.directory().update("net", &servers).unwrap());
        assert_eq!(place.text("net").unwrap(), "10.89.0.1 9.9.9.9,fd00::9\na 10.89.0.2  a\n");
        assert!(!place.directory().update("net", &servers).unwrap());
        assert!(place.directory().update("net", &["10.89.0.1".parse().unwrap()]).is_err());
        assert!(place.directory().update("net", &[]).unwrap());
        assert_eq!(place.text("net").unwrap(), "10.89.0.1\na 10.89.0.2  a\n");
        assert!(!place.directory().update("other", &servers).unwrap());
    }

    #[test]
    fn no_network_is_another_file() {
        let place = Place::new();
        for name in ["", ".", "..", "../x", PID_FILE] {
            assert!(place.directory().enter(name, false, &head(), &member("a   ")).is_err(), "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_others_wrote_is_kept(text in "[ a-c,.0-9\n]{0,60}") {
            let place = Place::new();
            let whole = format!("10.89.0.1\nz 10.89.0.9  z\n{text}");
            fs::write(place.0.join("net"), &whole).unwrap();
            place.directory().enter("net", false, &head(), &member("q 10.89.0.2  q")).unwrap();
            place.directory().leave("net", "q").unwrap();
            let kept = |text: &str| lines(text.as_bytes()).map(<[u8]>::to_vec).collect::<Vec<_>>();
            prop_assert_eq!(kept(&place.text("net").unwrap()), kept(&whole));
        }
    }
}
