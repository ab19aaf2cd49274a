//! Addresses put aside in directories, for plugins of runtimes that share these with other programs.
//!
//! A file bears each address, and the store knows those that Linkspan made: so nobody reads a whole directory to find his
//! own. The row comes before the file and goes after it. What others did in the directory is looked for when the file of the
//! address given out last says that they were there, and when somebody asks for what the store does not know.

mod directory;

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use linkspan_model::{Holder, Reservation};
use linkspan_plan::Kernel;
use linkspan_plan::ranges::{self, Range, RangeSet};
use linkspan_store::Tx;

use crate::{Engine, Error};
use directory::Directory;

/// An address that was put aside, as a device has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// The address with the prefix length of its subnet.
    pub address: IpNet,
    /// The subnet's router.
    pub gateway: IpAddr,
}

impl<K: Kernel> Engine<K> {
    /// Puts aside in `directory` an address of each of `sets` for `holder`: those that are `wanted` from the sets that have
    /// them, else the next in turn.
    ///
    /// # Errors
    /// If a set has none left, or has one for `holder` already; if a wanted address is in use or in no set. Nothing is put
    /// aside then.
    pub fn reserve(
        &mut self,
        directory: &str,
        holder: &Holder,
        sets: &[RangeSet],
        wanted: &[IpAddr],
    ) -> Result<Vec<Reserved>, Error> {
        let wanted = ranges::assign(sets, wanted)?;
        let place = Directory::open(directory)?;
        let known = self.store.read(|tx| known(tx, directory, holder, sets.len()))?;
        self.clear_former(directory, &place, &known.former)?;
        let news = match known.last.iter().enumerate().any(|(number, last)| place.last(number) != *last) {
            true => self.unknown(directory, &place)?,
            false => Vec::new(),
        };
        refuse_second(&place, holder, sets, known.held.iter().chain(&news))?;
        loop {
            let chosen = choose(&place, sets, &wanted)?;
            let reserve =
                |chosen: &Reserved| Reservation { address: chosen.address.addr(), holder: holder.clone() };
            let reservations: Vec<Reservation> = chosen.iter().map(reserve).collect();
            self.store.write(|tx| note(tx, directory, &news, &reservations))?;
            let mut made = 0;
            let put = put_all(&place, &reservations, &mut made);
            if put.is_ok() && made == reservations.len() {
                return Ok(chosen);
            }
            // Without a failure somebody who does not heed the lock was faster; what he has is seen to be in use now.
            self.undo(|engine| {
                for reservation in &reservations[..made] {
                    place.remove(reservation)?;
                }
                engine.forget(directory, &reservations)
            });
            put?;
        }
    }

    /// Gives back all that is put aside in `directory` for `holder`, whoever did it.
    ///
    /// # Errors
    /// If that cannot be found out, or not be removed.
    pub fn release(&mut self, directory: &str, holder: &Holder) -> Result<(), Error> {
        let (known, has_more) = self.store.read(|tx| {
            let has_more = tx.was_served_by_another(directory, holder)?;
            Ok::<_, Error>((tx.reserved_for(directory, holder)?, has_more))
        })?;
        let known: Vec<_> = of(&known, holder).cloned().collect();
        if let Some(place) = Directory::find(directory)? {
            let mut found = false;
            for reservation in &known {
                found |= place.remove(reservation)?;
            }
            // Another program may have given its holder more since it was seen.
            if has_more || !found {
                for reservation in of(&place.all()?, holder) {
                    place.remove(reservation)?;
                }
            }
        }
        self.forget(directory, &known)
    }

    /// Takes down what others have put aside in `directory`; how much of it was not known.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn take_stock(&mut self, directory: &str) -> Result<usize, Error> {
        let Some(place) = Directory::find(directory)? else { return Ok(0) };
        let news = self.unknown(directory, &place)?;
        self.store.write(|tx| note(tx, directory, &news, &[]))?;
        Ok(news.len())
    }

    /// Whether something is put aside in `directory` for `holder`, whoever did it.
    ///
    /// # Errors
    /// If that cannot be found out.
    pub fn is_reserved(&mut self, directory: &str, holder: &Holder) -> Result<bool, Error> {
        let known = self.store.read(|tx| tx.reserved_for(directory, holder))?;
        let Some(place) = Directory::find(directory)? else { return Ok(false) };
        Ok(known.iter().any(|reservation| place.holds(reservation))
            || place.all()?.iter().any(|reservation| holder.owns(&reservation.holder)))
    }

    /// Whether each of `sets` has an address left in `directory`.
    ///
    /// # Errors
    /// If one has none, or that cannot be found out.
    pub fn has_room(&mut self, directory: &str, sets: &[RangeSet]) -> Result<(), Error> {
        let Some(place) = Directory::find(directory)? else { return Ok(()) };
        choose(&place, sets, &vec![None; sets.len()]).map(drop)
    }

    /// Gives back all that is put aside in `directory`, whoever did it, but for those that are `alive`; what it was. One
    /// without an interface stands for all of its container's.
    ///
    /// # Errors
    /// If that cannot be found out, or not be removed.
    pub fn release_others(&mut self, directory: &str, alive: &[Holder]) -> Result<Vec<Reservation>, Error> {
        let is_alive = |found: &Holder| alive.iter().any(|holder| holder.owns(found) || found.owns(holder));
        let is_stale = |reservation: &Reservation| !is_alive(&reservation.holder);
        let mut released = Vec::new();
        let place = Directory::find(directory)?;
        if let Some(place) = &place {
            for reservation in place.all()?.into_iter().filter(is_stale) {
                if place.remove(&reservation)? {
                    released.push(reservation);
                }
            }
        }
        let known = self.store.read(|tx| tx.reserved_in(directory))?;
        let gone = known.into_iter().filter(|known| place.as_ref().is_none_or(|place| !place.holds(known)));
        self.forget(directory, &gone.collect::<Vec<_>>())?;
        Ok(released)
    }

    /// Removes the files of addresses that were put aside before the host booted. What cannot be done now, as somebody is
    /// at work in the directory, is done before the next address is put aside there.
    pub(crate) fn clear_former_reservations(&mut self) -> Result<(), Error> {
        for directory in self.store.read(|tx| tx.former_directories())? {
            let former = self.store.read(|tx| tx.formerly_reserved(&directory))?;
            let cleared = match Directory::try_find(&directory) {
                Ok(Some(place)) => self.clear_former(&directory, &place, &former),
                Ok(None) => self.forget(&directory, &former),
                Err(error) => Err(error),
            };
            if let Err(error) = cleared {
                self.note(format!(
                    "addresses in {directory} are still put aside since before the boot: {error}"
                ));
            }
        }
        Ok(())
    }

    fn clear_former(
        &mut self,
        directory: &str,
        place: &Directory,
        former: &[Reservation],
    ) -> Result<(), Error> {
        for reservation in former {
            place.remove(reservation)?;
        }
        self.forget(directory, former)
    }

    /// What is put aside in `directory` and not known of.
    fn unknown(&mut self, directory: &str, place: &Directory) -> Result<Vec<Reservation>, Error> {
        let known = self.store.read(|tx| tx.reserved_in(directory))?;
        let known: HashSet<_> = known.into_iter().collect();
        let mut all = place.all()?;
        all.retain(|found| !found.holder.container.is_empty() && !known.contains(found));
        Ok(all)
    }

    fn forget(&mut self, directory: &str, reservations: &[Reservation]) -> Result<(), Error> {
        if reservations.is_empty() {
            return Ok(());
        }
        self.store.write(|tx| {
            reservations
                .iter()
                .try_for_each(|gone| tx.unreserve(directory, gone.address))
                .map_err(Error::from)
        })
    }
}

/// What the store knows of a directory that is of interest to a holder.
struct Known {
    /// What was put aside before the host booted.
    former: Vec<Reservation>,
    /// The address put aside last of each range set.
    last: Vec<Option<IpAddr>>,
    /// What the holder has.
    held: Vec<Reservation>,
}

fn known(tx: &Tx<'_>, directory: &str, holder: &Holder, sets: usize) -> Result<Known, Error> {
    let last = (0..).take(sets).map(|number| tx.last_reserved(directory, number));
    Ok(Known {
        last: last.collect::<Result<_, _>>()?,
        former: tx.formerly_reserved(directory)?,
        held: tx.reserved_for(directory, holder)?,
    })
}

/// Writes down what is about to be put aside, and what others have.
fn note(tx: &Tx<'_>, directory: &str, news: &[Reservation], ours: &[Reservation]) -> Result<(), Error> {
    for reservation in news {
        tx.reserved_by_another(directory, reservation)?;
    }
    for reservation in ours {
        tx.reserve(directory, reservation)?;
    }
    for (number, reservation) in (0..).zip(ours) {
        tx.set_last_reserved(directory, number, reservation.address)?;
    }
    Ok(())
}

/// What of `all` is the holder's: early files, which bear no interface, only if none bears this one.
fn of<'a>(all: &'a [Reservation], holder: &'a Holder) -> impl Iterator<Item = &'a Reservation> {
    let has_own = all.iter().any(|reservation| reservation.holder == *holder);
    all.iter().filter(move |reservation| match has_own {
        true => reservation.holder == *holder,
        false => holder.owns(&reservation.holder),
    })
}

fn refuse_second<'a>(
    place: &Directory,
    holder: &Holder,
    sets: &[RangeSet],
    held: impl Iterator<Item = &'a Reservation>,
) -> Result<(), Error> {
    let set_of = |held: &Reservation| sets.iter().position(|set| set.range_of(held.address).is_some());
    let theirs = held.filter(|held| holder.owns(&held.holder) && place.holds(held));
    let second = theirs.filter_map(|held| Some((set_of(held)?, held.address))).min();
    second.map_or(Ok(()), |(number, address)| {
        let container = &holder.container;
        Err(refused(
            number,
            &format!("{address} has been allocated to {container}, duplicate allocation is not allowed"),
        ))
    })
}

/// That range set `number` gives no address.
fn refused(number: usize, why: &str) -> Error {
    // In the words of the programs that share the directories: users look for them.
    Error::refused(format!("failed to allocate for range {number}: {why}"))
}

/// A free address of each set: the one that is wanted, or the next in turn.
fn choose(place: &Directory, sets: &[RangeSet], wanted: &[Option<IpAddr>]) -> Result<Vec<Reserved>, Error> {
    let mut chosen = Vec::new();
    for ((number, set), wanted) in sets.iter().enumerate().zip(wanted) {
        let found = match wanted {
            Some(wanted) => {
                first_free(place, set.range_of(*wanted).map(|range| (*wanted, range)).into_iter())?
            }
            None => first_free(place, set.in_turn(place.last(number)))?,
        };
        chosen.push(found.ok_or_else(|| match wanted {
            Some(wanted) => {
                refused(number, &format!("requested IP address {wanted} is not available in range set {set}"))
            }
            None => refused(number, &format!("no IP addresses available in range set: {set}")),
        })?);
    }
    Ok(chosen)
}

fn first_free<'a>(
    place: &Directory,
    candidates: impl Iterator<Item = (IpAddr, &'a Range)>,
) -> Result<Option<Reserved>, Error> {
    for (address, range) in candidates {
        if place.is_free(address)? {
            let address = IpNet::new_assert(address, range.subnet.prefix_len());
            return Ok(Some(Reserved { address, gateway: range.gateway }));
        }
    }
    Ok(None)
}

/// Makes the files of `reservations` until somebody is in the way, and counts those `made`.
fn put_all(place: &Directory, reservations: &[Reservation], made: &mut usize) -> Result<(), Error> {
    for (number, reservation) in reservations.iter().enumerate() {
        if !place.put(reservation)? {
            break;
        }
        *made += 1;
        place.set_last(number, reservation.address)?;
    }
    Ok(())
}
