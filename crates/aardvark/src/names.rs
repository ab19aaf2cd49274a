//! What the files say, kept up to date with little reading.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use linkspan_dns::{Listen, Network, Style, Zones};

use crate::Error;
use crate::directory::{INTERNAL, PID_FILE, is_network};
use crate::file::{Head, Member};

/// Where name servers are asked.
const DNS_PORT: u16 = 53;
/// A file that was read sooner than this after its last change may have changed again without its times showing it.
const SETTLED: Duration = Duration::from_millis(100);
/// How much of two texts is compared at once.
const CHUNK: usize = 4096;

/// The networks of a directory, with everybody on them.
pub struct Names {
    directory: PathBuf,
    known: BTreeMap<String, Known>,
    zones: Zones,
}

/// What is known of a network, and by what it was learned.
#[derive(Default)]
struct Known {
    internal: bool,
    stamp: Option<Stamp>,
    head: Head,
    /// The lines behind the first.
    lines: String,
    /// How many lines each container has.
    counts: HashMap<String, usize>,
}

/// A file's state: while it is the same, the text is.
#[derive(PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Names {
    /// Those of a directory that has not been looked at yet.
    pub fn new(directory: &Path, style: Style) -> Self {
        Self { directory: directory.to_owned(), known: BTreeMap::new(), zones: Zones::new(style) }
    }

    /// Looks at the files of all networks that have changed. Gives what is wrong with them.
    pub fn look(&mut self) -> Vec<Error> {
        let mut networks: BTreeSet<String> = self.known.keys().cloned().collect();
        let mut problems = Vec::new();
        match fs::read_dir(&self.directory) {
            Ok(entries) => {
                for entry in entries.flatten().filter(|entry| entry.file_name() != PID_FILE) {
                    match entry.file_name().to_str() {
                        Some(name) => {
                            _ = networks.insert(name.strip_suffix(INTERNAL).unwrap_or(name).to_owned())
                        }
                        None => problems.push(Error::new(format!(
                            "{} is no network's name",
                            entry.file_name().to_string_lossy()
                        ))),
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => problems.push(Error::file("read", &self.directory)(error)),
        }
        for network in networks {
            self.look_at(&network, false, &mut problems);
        }
        problems
    }

    /// Looks at the files of these networks, whatever their times say. Gives what is wrong with them.
    pub fn look_only_at<'a>(&mut self, networks: impl IntoIterator<Item = &'a str>) -> Vec<Error> {
        let mut problems = Vec::new();
        for network in networks.into_iter().filter(|name| is_network(name)) {
            self.look_at(network, true, &mut problems);
        }
        problems
    }

    /// Whether there is no network.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The names as they are now.
    pub fn zones(&self) -> Zones {
        self.zones.clone()
    }

    /// Where they are asked for, at `port`.
    pub fn listen(&self, port: u16) -> Vec<Listen> {
        let all = self.known.iter().flat_map(|(name, known)| {
            known.head.listen.iter().map(|ip| (name.as_str(), SocketAddr::new(*ip, port)))
        });
        all.map(|(name, address)| Listen { network: name.into(), address, within: vec![] }).collect()
    }

    fn look_at(&mut self, network: &str, anyhow: bool, problems: &mut Vec<Error>) {
        let plain = self.directory.join(network);
        let suffixed = self.directory.join(format!("{network}{INTERNAL}"));
        for (path, internal) in [(plain, false), (suffixed, true)] {
            match self.read(network, &path, internal, anyhow) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return problems.push(Error::file("read", &path)(error)),
                Ok(None) => return,
                Ok(Some((stamp, text))) => {
                    let before = problems.len();
                    self.learn(network, internal, stamp, &text, problems);
                    let name = |problem: &mut Error| *problem = Error::because(path.display(), &problem);
                    return problems[before..].iter_mut().for_each(name);
                }
            }
        }
        self.known.remove(network);
        self.zones.remove_network(network);
    }

    /// A file's text, if that may have changed, with the state that it was read in, if that can be relied on.
    fn read(
        &self,
        network: &str,
        path: &Path,
        internal: bool,
        anyhow: bool,
    ) -> std::io::Result<Option<(Option<Stamp>, String)>> {
        let mut file = File::open(path)?;
        let facts = file.metadata()?;
        let stamp = Stamp {
            inode: facts.ino(),
            size: facts.size(),
            seconds: facts.mtime(),
            nanoseconds: facts.mtime_nsec(),
        };
        let known = self.known.get(network).filter(|known| known.internal == internal);
        if !anyhow && known.is_some_and(|known| known.stamp.as_ref() == Some(&stamp)) {
            return Ok(None);
        }
        let age = facts.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        let settled = age.is_some_and(|age| age > SETTLED);
        let mut bytes = Vec::with_capacity(usize::try_from(facts.size()).unwrap_or_default() + 1);
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned());
        Ok(Some((settled.then_some(stamp), text)))
    }

    fn learn(
        &mut self,
        network: &str,
        internal: bool,
        stamp: Option<Stamp>,
        text: &str,
        problems: &mut Vec<Error>,
    ) {
        let (first, lines) = text.split_once('\n').unwrap_or((text, ""));
        let head = match Head::parse(first) {
            Ok(head) => head,
            Err(error) => {
                // Somebody may be about to write it: what was known holds until the next look.
                self.known.entry(network.to_owned()).and_modify(|known| known.stamp = None);
                return problems.push(error);
            }
        };
        let is_new = !self.known.contains_key(network);
        let known = self.known.entry(network.to_owned()).or_default();
        if is_new || known.internal != internal || known.head.servers != head.servers {
            self.zones.set_network(network, Network { internal, servers: at_port(&head.servers) });
        }
        let old = std::mem::take(&mut known.lines);
        let (gone, come) = differing(&old, lines);
        let changed = known.count(gone, come, problems);
        for (id, last) in changed {
            match known.counts.get(&id) {
                None => self.zones.remove_member(network, &id),
                Some(_) => {
                    let lines = match last {
                        Some(line) if known.counts[&id] == 1 => line,
                        _ => lines,
                    };
                    self.zones.set_member(network, merged(lines, &id));
                }
            }
        }
        known.lines = lines.to_owned();
        known.head = head;
        known.internal = internal;
        known.stamp = stamp;
    }
}

impl Known {
    /// Counts lines that are gone and that have come. Gives the containers they are of, each with its last line that has come.
    fn count<'a>(
        &mut self,
        gone: &'a str,
        come: &'a str,
        problems: &mut Vec<Error>,
    ) -> BTreeMap<String, Option<&'a str>> {
        let mut changed = BTreeMap::new();
        for member in gone.lines().filter_map(|line| Member::parse(line).ok()) {
            if let Some(count) = self.counts.get_mut(&member.id) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&member.id);
                }
            }
            changed.insert(member.id, None);
        }
        for line in come.lines().filter(|line| !line.is_empty()) {
            match Member::parse(line) {
                Ok(member) => {
                    *self.counts.entry(member.id.clone()).or_default() += 1;
                    changed.insert(member.id, Some(line));
                }
                Err(error) => problems.push(error),
            }
        }
        changed
    }
}

/// All that the lines of a container say.
fn merged(lines: &str, id: &str) -> linkspan_dns::Member {
    let own = |line: &&str| line.strip_prefix(id).is_some_and(|rest| rest.starts_with(' '));
    let members = lines.lines().filter(own).filter_map(|line| Member::parse(line).ok());
    let mut all = linkspan_dns::Member { container: id.to_owned(), ..Default::default() };
    for member in members {
        all.addresses.extend(member.addresses);
        all.names.extend(member.names);
        all.servers.extend(at_port(&member.servers));
    }
    all
}

fn at_port(servers: &[IpAddr]) -> Vec<SocketAddr> {
    servers.iter().map(|ip| SocketAddr::new(*ip, DNS_PORT)).collect()
}

/// The lines of `old` and of `new` that are between those which both begin with, and those which both end with.
fn differing<'a>(old: &'a str, new: &'a str) -> (&'a str, &'a str) {
    let same = |a: &[u8], b: &[u8]| a == b;
    let chunks = old.as_bytes().chunks(CHUNK).zip(new.as_bytes().chunks(CHUNK));
    let whole = chunks.take_while(|(a, b)| same(a, b)).map(|(a, _)| a.len()).sum::<usize>();
    let bytes = old.as_bytes()[whole..].iter().zip(&new.as_bytes()[whole..]);
    let common = whole + bytes.take_while(|(a, b)| a == b).count();
    let start = new.as_bytes()[..common].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (old, new) = (&old[start..], &new[start..]);
    let tail = |text: &'a str| text.as_bytes().rchunks(CHUNK);
    let whole: usize = tail(old).zip(tail(new)).take_while(|(a, b)| same(a, b)).map(|(a, _)| a.len()).sum();
    let rest = |text: &'a str| text.as_bytes()[..text.len() - whole].iter().rev();
    let common = whole + rest(old).zip(rest(new)).take_while(|(a, b)| a == b).count();
    // A line is common if the end of the one before it is, or nothing is before it in either.
    let tail = &new.as_bytes()[new.len() - common..];
    let begins = |text: &str| common == text.len();
    let cut = if begins(old) && begins(new) {
        0
    } else {
        tail.iter().position(|byte| *byte == b'\n').map_or(tail.len(), |at| at + 1)
    };
    let kept = common - cut;
    (&old[..old.len() - kept], &new[..new.len() - kept])
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use linkspan_dns::{Asker, Question, Verdict};
    use proptest::prelude::*;

    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("linkspan-known-{}-{number}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Names {
            Names::new(&self.0, Style::Podman { suffixes: vec!["dns.podman".to_owned()], forward: true })
        }

        fn write(&self, network: &str, text: &str) {
            fs::write(self.0.join(network), text).unwrap();
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    fn asked(names: &Names, network: &str, name: &str) -> Verdict {
        let from = "192.0.2.1".parse().unwrap();
        names.zones().decide(Asker::Address { from, network }, Question { name: name.as_bytes(), kind: 1 })
    }

    fn addresses(names: &Names, network: &str, name: &str) -> Vec<String> {
        match asked(names, network, name) {
            Verdict::Answer(answer) => match answer.records {
                linkspan_dns::Records::V4(all) => all.iter().map(ToString::to_string).collect(),
                other => panic!("{other:?}"),
            },
            _ => vec![],
        }
    }

    #[test]
    fn networks_and_containers_come_change_and_go() {
        let place = Place::new();
        let mut names = place.names();
        place.write("one", "10.0.0.1 9.9.9.9\na 10.0.0.2  web\nb 10.0.0.3  db\n");
        place.write("two%int", "10.1.0.1,fd00::1\nc 10.1.0.2  Web\n");
        place.write(PID_FILE, "17");
        assert!(names.look().is_empty());
        assert_eq!(names.listen(53).len(), 3);
        assert_eq!(addresses(&names, "one", "web"), ["10.0.0.2"]);
        assert_eq!(addresses(&names, "two", "web"), ["10.1.0.2"]);
        assert_eq!(asked(&names, "two", "elsewhere"), Verdict::NxDomain);
        assert!(matches!(asked(&names, "one", "elsewhere"), Verdict::Forward(servers) if servers.len() == 1));
        place.write("one", "10.0.0.1\nb 10.0.0.3  db\nd 10.0.0.4  web,db\n");
        fs::remove_file(place.0.join("two%int")).unwrap();
        assert!(names.look().is_empty());
        assert_eq!(names.listen(53).len(), 1);
        assert_eq!(addresses(&names, "one", "web"), ["10.0.0.4"]);
        assert_eq!(addresses(&names, "one", "db"), ["10.0.0.3", "10.0.0.4"]);
        assert!(matches!(asked(&names, "one", "elsewhere"), Verdict::Forward(servers) if servers.is_empty()));
        fs::remove_file(place.0.join("one")).unwrap();
        assert!(names.look_only_at(["one"]).is_empty());
        assert!(names.is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_no_other() {
        let place = Place::new();
        let mut names = place.names();
        place.write("one", "10.0.0.1\na 10.0.0.2\nb 10.0.0.x  db\nc 10.0.0.4  web\n");
        let problems = names.look();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[1].to_string().ends_with("one: \"10.0.0.x\" is no address"), "{}", problems[1]);
        assert_eq!(addresses(&names, "one", "web"), ["10.0.0.4"]);
    }

    #[test]
    fn what_was_known_holds_while_somebody_writes() {
        let place = Place::new();
        let mut names = place.names();
        place.write("one", "10.0.0.1\na 10.0.0.2  web\n");
        names.look();
        place.write("one", "");
        assert_eq!(names.look().len(), 1);
        assert_eq!(addresses(&names, "one", "web"), ["10.0.0.2"]);
        assert_eq!(names.listen(53).len(), 1);
    }

    #[test]
    fn lines_of_one_container_are_taken_together() {
        let place = Place::new();
        let mut names = place.names();
        place.write("one", "10.0.0.1\na 10.0.0.2  web\nb 10.0.0.9  b\na 10.0.0.3  web\n");
        names.look();
        assert_eq!(addresses(&names, "one", "web"), ["10.0.0.2", "10.0.0.3"]);
        place.write("one", "10.0.0.1\na 10.0.0.2  web\nb 10.0.0.9  b\n");
        names.look();
        assert_eq!(addresses(&names, "one", "web"), ["10.0.0.2"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_change_leads_to_what_reading_anew_would(
            texts in proptest::collection::vec("(([a-c] 10[.]0[.]0[.][1-9] {2}[w-z](,[w-z])?|[a-c .]{0,6})\n){0,6}", 1..5),
        ) {
            let place = Place::new();
            let mut kept = place.names();
            for text in &texts {
                place.write("one", &format!("10.0.0.1\n{text}"));
                kept.look();
                let mut anew = place.names();
                anew.look();
                for name in ["w", "x", "y", "z"] {
                    let sorted = |names: &Names| {
                        let mut all = addresses(names, "one", name);
                        all.sort();
                        all
                    };
                    prop_assert_eq!(sorted(&kept), sorted(&anew), "{} in {:?}", name, text);
                }
            }
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,40}", more in proptest::collection::vec(any::<u8>(), 0..60)) {
            let place = Place::new();
            let mut names = place.names();
            for bytes in [text.as_bytes(), &more, &[b"10.0.0.1\n", &more[..]].concat()] {
                fs::write(place.0.join("one"), bytes).unwrap();
                names.look();
            }
        }
    }
}
