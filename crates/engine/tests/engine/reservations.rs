//! Addresses put aside in directories that other programs work in too.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use linkspan_model::{Holder, Reservation};
use linkspan_plan::ranges::{Range, RangeSet};

use crate::site::Site;

struct Fixture {
    site: Site,
    path: PathBuf,
    directory: String,
}

impl Fixture {
    fn new() -> Self {
        let site = Site::new();
        let path = site.run_directory().join("shared/web");
        let directory = path.to_str().unwrap().to_owned();
        Self { site, path, directory }
    }

    /// What is put aside for `eth0` of `container`, as text, or the refusal.
    fn reserve(&self, container: &str, subnets: &[&str], wanted: &[&str]) -> Result<Vec<String>, String> {
        let wanted: Vec<IpAddr> = wanted.iter().map(|address| address.parse().unwrap()).collect();
        let sets: Vec<RangeSet> = subnets.iter().map(|subnet| set(subnet)).collect();
        let reserved = self.site.engine().reserve(&self.directory, &holder(container), &sets, &wanted);
        reserved
            .map(|all| all.iter().map(|one| one.address.to_string()).collect())
            .map_err(|error| error.to_string())
    }

    fn release(&self, container: &str) {
        self.site.engine().release(&self.directory, &holder(container)).unwrap();
    }

    /// As another program does it.
    fn foreign(&self, address: &str, text: &str) {
        fs::create_dir_all(&self.path).unwrap();
        fs::write(self.path.join(address), text).unwrap();
        fs::write(self.path.join("last_reserved_ip.0"), address).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap()
    }

    /// The files that bear addresses.
    fn addresses(&self) -> Vec<String> {
        let names = fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.parse::<IpAddr>().is_ok());
        names.sort();
        names
    }
}

fn holder(container: &str) -> Holder {
    Holder { container: container.to_owned(), ifname: "eth0".to_owned() }
}

fn set(subnet: &str) -> RangeSet {
    RangeSet::new(vec![Range::new(subnet.parse().unwrap(), None, None, None).unwrap()]).unwrap()
}

const NET: &[&str] = &["10.1.2.0/29"];

#[test]
fn files_are_as_other_programs_expect_them() {
    let it = Fixture::new();
    let reserved = it.reserve("one", &["10.1.2.0/24", "2001:db8:1::/64"], &[]).unwrap();
    assert_eq!(reserved, ["10.1.2.2/24", "2001:db8:1::2/64"]);
    assert_eq!(
        (it.read("10.1.2.2").as_str(), it.read("2001:db8:1::2").as_str()),
        ("one\r\neth0", "one\r\neth0")
    );
    assert_eq!(it.read("last_reserved_ip.0"), "10.1.2.2");
    assert_eq!(it.read("last_reserved_ip.1"), "2001:db8:1::2");
    let mode = |name: &str| fs::metadata(it.path.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("10.1.2.2"), mode("")), (0o600, 0o755));
    assert!(it.path.join("lock").exists());
    it.release("one");
    assert_eq!(it.addresses(), [""; 0]);
    it.release("one");
}

#[test]
fn one_given_back_is_the_last_to_be_given_again() {
    let it = Fixture::new();
    for expected in ["10.1.2.2/29", "10.1.2.3/29", "10.1.2.4/29", "10.1.2.5/29", "10.1.2.6/29", "10.1.2.2/29"]
    {
        assert_eq!(it.reserve("a", NET, &[]).unwrap(), [expected]);
        it.release("a");
    }
}

#[test]
fn a_second_of_the_same_is_refused_and_a_full_set_too() {
    let it = Fixture::new();
    it.reserve("a", NET, &[]).unwrap();
    let refused = it.reserve("a", NET, &[]).unwrap_err();
    let expected = "failed to allocate for range 0: 10.1.2.2 has been allocated to a, duplicate allocation is not allowed";
    assert_eq!(refused, expected);
    let has_room = |subnet: &str| it.site.engine().has_room(&it.directory, &[set(subnet)]);
    has_room(NET[0]).unwrap();
    assert_eq!(
        it.reserve("a", &["10.9.0.0/24"], &[]).unwrap(),
        ["10.9.0.2/24"],
        "another set is another matter"
    );
    for name in ["b", "c", "d", "e"] {
        it.reserve(name, NET, &[]).unwrap();
    }
    let full = it.reserve("f", &["10.8.0.0/24", "10.1.2.0/29"], &[]).unwrap_err();
    let expected =
        "failed to allocate for range 1: no IP addresses available in range set: 10.1.2.1-10.1.2.6";
    assert_eq!(full, expected);
    assert!(
        !it.addresses().contains(&"10.8.0.2".to_owned()),
        "the first of two stays though the second failed"
    );
    it.release("b");
    assert_eq!(it.reserve("f", NET, &[]).unwrap(), ["10.1.2.3/29"]);
}

#[test]
fn wanted_addresses_are_given_or_refused() {
    let it = Fixture::new();
    let both = it.reserve("a", &["10.1.2.0/24", "10.1.3.0/24"], &["10.1.3.77", "10.1.2.88"]).unwrap();
    assert_eq!(both, ["10.1.2.88/24", "10.1.3.77/24"]);
    let taken = it.reserve("b", &["10.1.2.0/24"], &["10.1.2.88"]).unwrap_err();
    assert!(taken.contains("10.1.2.88 is not available in range set 10.1.2.1-10.1.2.254"), "{taken}");
    let left = it.reserve("b", &["10.1.2.0/24"], &["10.1.2.90", "10.9.9.9"]).unwrap_err();
    assert_eq!(left, "failed to allocate all requested IPs: 10.9.9.9");
    assert_eq!(it.addresses(), ["10.1.2.88", "10.1.3.77"]);
}

#[test]
fn what_others_put_there_counts() {
    let it = Fixture::new();
    it.foreign("10.1.2.2", "theirs\r\neth0");
    assert_eq!(it.reserve("ours", NET, &[]).unwrap(), ["10.1.2.3/29"]);
    assert!(it.reserve("theirs", NET, &[]).unwrap_err().contains("duplicate"));
    it.foreign("10.1.2.4", "later\r\neth0");
    assert!(it.reserve("later", NET, &[]).unwrap_err().contains("duplicate"));
    assert_eq!(it.reserve("next", NET, &[]).unwrap(), ["10.1.2.5/29"]);
    assert!(
        it.reserve("later", NET, &[]).unwrap_err().contains("duplicate"),
        "though they were not there since"
    );
    for name in ["ours", "theirs", "later", "next"] {
        assert!(it.site.engine().is_reserved(&it.directory, &holder(name)).unwrap());
        it.release(name);
        assert!(!it.site.engine().is_reserved(&it.directory, &holder(name)).unwrap());
    }
    assert_eq!(it.addresses(), [""; 0]);
}

#[test]
fn another_program_was_seen_half_way() {
    let it = Fixture::new();
    it.foreign("10.1.2.2", "theirs\r\neth0");
    it.reserve("ours", NET, &[]).unwrap();
    it.foreign("fd00::2", "theirs\r\neth0");
    it.release("theirs");
    assert_eq!(it.addresses(), ["10.1.2.3"]);
}

#[test]
fn what_others_took_away_or_rewrote_does_not_count() {
    let it = Fixture::new();
    it.reserve("gone", NET, &[]).unwrap();
    fs::remove_file(it.path.join("10.1.2.2")).unwrap();
    assert_eq!(it.reserve("gone", NET, &[]).unwrap(), ["10.1.2.3/29"]);
    it.reserve("moved", NET, &[]).unwrap();
    it.foreign("10.1.2.4", "another\r\neth0");
    it.release("moved");
    assert_eq!(it.addresses(), ["10.1.2.3", "10.1.2.4"], "another has it by now");
    it.foreign("10.1.2.3", "gone");
    it.release("gone");
    assert_eq!(it.addresses(), ["10.1.2.4"], "the container's, without an interface");
}

#[test]
fn old_files_bear_the_container_alone() {
    let it = Fixture::new();
    it.foreign("10.1.2.2", " old \n");
    it.foreign("10.1.2.3", "both");
    it.foreign("10.1.2.4", "both\n eth0 ");
    it.release("both");
    assert_eq!(
        it.addresses(),
        ["10.1.2.2", "10.1.2.3"],
        "one bears the interface, so the other is not meant"
    );
    it.release("both");
    it.release("old");
    assert_eq!(it.addresses(), [""; 0]);
}

#[test]
fn whoever_is_killed_half_way_leaves_nothing_in_the_way() {
    let it = Fixture::new();
    it.reserve("a", NET, &[]).unwrap();
    // Killed between the row and the file, and within writing the file.
    let killed = Reservation { address: "10.1.2.3".parse().unwrap(), holder: holder("b") };
    it.site.store().write(|tx| tx.reserve(&it.directory, &killed)).unwrap();
    assert_eq!(it.reserve("b", NET, &[]).unwrap(), ["10.1.2.3/29"]);
    fs::write(it.path.join("10.1.2.3"), "").unwrap();
    it.release("b");
    assert_eq!(it.addresses(), ["10.1.2.2"]);
    symlink("/nowhere", it.path.join("10.1.2.4")).unwrap();
    assert_eq!(it.reserve("c", NET, &[]).unwrap(), ["10.1.2.5/29"]);
}

#[test]
fn what_cannot_be_written_whole_is_not_written_at_all() {
    let it = Fixture::new();
    fs::create_dir_all(it.path.join("last_reserved_ip.1")).unwrap();
    let failed = it.reserve("a", &["10.1.2.0/29", "fd00::/64"], &[]).unwrap_err();
    assert!(failed.contains("last_reserved_ip.1"), "{failed}");
    assert_eq!(it.addresses(), [""; 0]);
    assert!(it.site.store().read(|tx| tx.reserved_in(&it.directory)).unwrap().is_empty());
}

#[test]
fn nothing_outlives_the_boot() {
    let mut it = Fixture::new();
    it.reserve("a", NET, &[]).unwrap();
    it.reserve("b", NET, &[]).unwrap();
    it.site.reboot();
    // Before Linkspan does anything in this boot.
    it.foreign("10.1.2.3", "new\r\neth0");
    it.site.engine();
    assert_eq!(it.addresses(), ["10.1.2.3"]);
    assert!(it.site.store().read(|tx| tx.former_directories()).unwrap().is_empty());
    // Somebody is at work in the directory while the first command runs.
    let busy = fs::File::open(it.path.join("lock")).unwrap();
    it.reserve("c", NET, &[]).unwrap();
    it.site.reboot();
    busy.lock().unwrap();
    it.site.engine();
    assert_eq!(it.addresses(), ["10.1.2.3", "10.1.2.4"]);
    busy.unlock().unwrap();
    assert_eq!(it.reserve("d", NET, &[]).unwrap(), ["10.1.2.5/29"]);
    assert_eq!(it.addresses(), ["10.1.2.5"], "what was taken over goes too");
}

#[test]
fn only_what_is_alive_stays() {
    let it = Fixture::new();
    for name in ["a", "b"] {
        it.reserve(name, NET, &[]).unwrap();
    }
    it.foreign("10.1.2.4", "c\r\neth0");
    it.foreign("10.1.2.5", "d\r\neth0");
    it.foreign("10.1.2.6", "e");
    it.foreign("10.1.2.7", "");
    let alive = ["a", "c", "e"].map(holder);
    let released = it.site.engine().release_others(&it.directory, &alive).unwrap();
    let released: BTreeSet<String> = released.iter().map(|one| one.address.to_string()).collect();
    assert_eq!(released, ["10.1.2.3", "10.1.2.5", "10.1.2.7"].map(str::to_owned).into());
    assert_eq!(it.addresses(), ["10.1.2.2", "10.1.2.4", "10.1.2.6"]);
    let any = Holder { ifname: String::new(), ..holder("a") };
    it.site.engine().release_others(&it.directory, &[any]).unwrap();
    assert_eq!(it.addresses(), ["10.1.2.2"]);
    it.site.engine().release_others(&it.directory, &[]).unwrap();
    assert_eq!(it.addresses(), [""; 0]);
    assert!(it.site.store().read(|tx| tx.reserved_in(&it.directory)).unwrap().is_empty());
}

#[test]
fn a_crowd_gets_different_addresses() {
    let it = Fixture::new();
    let all: Vec<String> = std::thread::scope(|scope| {
        let work = |number: usize| {
            let it =
                Fixture { site: it.site.again(), path: it.path.clone(), directory: it.directory.clone() };
            scope.spawn(move || it.reserve(&format!("c{number}"), &["10.1.2.0/24"], &[]).unwrap().remove(0))
        };
        let threads: Vec<_> = (0..40).map(work).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 40);
}
