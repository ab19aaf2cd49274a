//! A directory where each file bears the address that it is named after, as programs that give out addresses share it.
//!
//! Beside them are `lock`, which whoever works in it holds (flock(2)), and `last_reserved_ip.N`: the address that was given
//! out last of range set N. A file says for what its address is put aside: container, line break (CR LF), interface.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use linkspan_model::{Holder, Reservation};

use crate::Error;

/// What parts container and interface.
const BREAK: &str = "\r\n";

/// A directory, held.
pub(super) struct Directory {
    path: PathBuf,
    /// Its lock; released when it is closed.
    _lock: File,
}

impl Directory {
    /// The directory at `path`, made (mode 0755) if it is not there, once others are done with it.
    pub(super) fn open(path: &str) -> Result<Self, Error> {
        let path = Path::new(path);
        let lock = match lock_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
                made.map_err(Error::file("create", path))?;
                lock_file(path)
            }
            opened => opened,
        };
        Self::locked(path, lock)
    }

    /// The directory at `path` if it is there, once others are done with it.
    pub(super) fn find(path: &str) -> Result<Option<Self>, Error> {
        let path = Path::new(path);
        match lock_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => Self::locked(path, opened).map(Some),
        }
    }

    /// The directory at `path` if it is there.
    ///
    /// # Errors
    /// [`Error::Overtaken`] if somebody is at work in it; others if it cannot be used.
    pub(super) fn try_find(path: &str) -> Result<Option<Self>, Error> {
        let path = Path::new(path);
        let lock = match lock_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(Error::file("lock", path))?,
        };
        lock.try_lock().map_err(|_| Error::Overtaken)?;
        Ok(Some(Self { path: path.to_owned(), _lock: lock }))
    }

    fn locked(path: &Path, lock: io::Result<File>) -> Result<Self, Error> {
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(Error::file("lock", path))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Whether nobody has `address`.
    pub(super) fn is_free(&self, address: IpAddr) -> Result<bool, Error> {
        let file = self.file(address);
        match fs::symlink_metadata(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            found => found.map(|_| false).map_err(Error::file("read", &file)),
        }
    }

    /// Whether `reservation` is still as it was written. An empty file is one whose writer was killed.
    pub(super) fn holds(&self, reservation: &Reservation) -> bool {
        let found = self.holder(reservation.address);
        found.is_some_and(|found| found.container.is_empty() || reservation.holder.owns(&found))
    }

    /// For what the file of `address` says that it is put aside; empty if it says nothing.
    fn holder(&self, address: IpAddr) -> Option<Holder> {
        let text = fs::read(self.file(address)).ok()?;
        let text = String::from_utf8_lossy(&text);
        let (container, ifname) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
        Some(Holder { container: container.trim().to_owned(), ifname: ifname.trim().to_owned() })
    }

    /// Puts an address aside; not if somebody has it.
    pub(super) fn put(&self, reservation: &Reservation) -> Result<bool, Error> {
        let path = self.file(reservation.address);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            made => made.map_err(Error::file("create", &path))?,
        };
        let Holder { container, ifname } = &reservation.holder;
        let written = file.write_all(format!("{container}{BREAK}{ifname}").as_bytes());
        if written.is_err() {
            // What nobody can be found by is nobody's.
            let _ = fs::remove_file(&path);
        }
        written.map(|()| true).map_err(Error::file("write", &path))
    }

    /// Gives `reservation` back, unless another has the address by now; whether it was there.
    pub(super) fn remove(&self, reservation: &Reservation) -> Result<bool, Error> {
        if !self.holds(reservation) {
            return Ok(false);
        }
        let path = self.file(reservation.address);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true).map_err(Error::file("remove", &path)),
        }
    }

    /// Which address was given out last of range set `number`, if that can be read.
    pub(super) fn last(&self, number: usize) -> Option<IpAddr> {
        fs::read_to_string(self.last_file(number)).ok()?.trim().parse().ok()
    }

    /// Notes which address was given out last of range set `number`.
    pub(super) fn set_last(&self, number: usize, address: IpAddr) -> Result<(), Error> {
        let path = self.last_file(number);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(address.to_string().as_bytes()))
            .map_err(Error::file("write", &path))
    }

    /// Everything that is put aside here, whoever did it.
    pub(super) fn all(&self) -> Result<Vec<Reservation>, Error> {
        let failed = || Error::file("read", &self.path);
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            let address = name.to_str().and_then(|name| name.parse().ok());
            all.extend(
                address.and_then(|address| Some(Reservation { address, holder: self.holder(address)? })),
            );
        }
        Ok(all)
    }

    fn file(&self, address: IpAddr) -> PathBuf {
        self.path.join(address.to_string())
    }

    fn last_file(&self, number: usize) -> PathBuf {
        self.path.join(format!("last_reserved_ip.{number}"))
    }
}

fn lock_file(directory: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join("lock"))
}
