//! How many questions wait for others, and for whom.

use std::collections::HashMap;
use std::fs;

use crate::Client;

/// How many may wait in all.
const MOST: usize = 4096;
/// Of so many descriptors one question may take one: each may be asked of three servers, and others need some too.
const DESCRIPTORS: usize = 5;
/// How many anyone may have waiting, as long as there is room.
const ANYONE: usize = 32;

/// Who waits. One asker gets half of the room that is left, so that there is always some for the next.
#[derive(Debug)]
pub struct Crowd {
    each: HashMap<Client, usize>,
    all: usize,
    most: usize,
}

impl Crowd {
    /// Room for as many as this process may have sockets for.
    pub fn new() -> Self {
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let files = files.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
        Self::of(files.map_or(MOST, |files| (files / DESCRIPTORS).clamp(ANYONE, MOST)))
    }

    fn of(most: usize) -> Self {
        Self { each: HashMap::new(), all: 0, most }
    }

    /// Lets one more question of `client` wait, if there is room.
    pub fn enter(&mut self, client: &Client) -> bool {
        let count = self.each.get(client).copied().unwrap_or(0);
        if self.all >= self.most || count >= ((self.most - self.all) / 2).max(ANYONE) {
            return false;
        }
        self.each.insert(client.clone(), count + 1);
        self.all += 1;
        true
    }

    /// A question of `client` waits no longer.
    pub fn leave(&mut self, client: &Client) {
        let Some(count) = self.each.get_mut(client) else { return };
        *count -= 1;
        self.all -= 1;
        if *count == 0 {
            self.each.remove(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(number: u8) -> Client {
        Client::Address(IpAddr::from([10, 0, 0, number]))
    }

    #[test]
    fn there_is_room_for_what_the_process_may_open() {
        assert!((ANYONE..=MOST).contains(&Crowd::new().most));
    }

    #[test]
    fn nobody_takes_all_the_room() {
        let mut crowd = Crowd::of(MOST);
        let takes =
            |crowd: &mut Crowd, number| (0..MOST).take_while(|_| crowd.enter(&client(number))).count();
        let greedy = takes(&mut crowd, 1);
        assert!((MOST / 4..=MOST / 2).contains(&greedy), "{greedy}");
        for number in 2..10 {
            assert!(takes(&mut crowd, number) >= ANYONE, "{number}");
        }
        assert!(crowd.all <= MOST);
        (0..greedy).for_each(|_| crowd.leave(&client(1)));
        assert!(!crowd.each.contains_key(&client(1)));
        assert!(crowd.enter(&client(10)));
        crowd.leave(&client(99));
    }
}
