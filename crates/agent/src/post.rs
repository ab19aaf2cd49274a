//! Where the agent meets those who have something to tell it: a socket in the run directory.
//!
//! Each tells one line: the name of a sandbox, or nothing for everything there is. The answer is [`DONE`], or why not.
//! Who holds the directory's lock decides whether there is an agent.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use linkspan_kernel::station;

/// What the agent says when it has done what it was told.
pub const DONE: &str = "done";
/// Whoever may connect may have anything looked up anew, so only the user who runs it all.
const MODE: u32 = 0o600;
/// Between two looks whether the lock is free.
const GLANCE: Duration = Duration::from_millis(1);

/// The meeting place of one run directory.
#[derive(Clone, Debug)]
pub struct Post {
    directory: PathBuf,
}

impl Post {
    /// That of the run directory `directory`.
    pub const fn of(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    /// Connects to the agent.
    ///
    /// # Errors
    /// If there is none, or it takes nobody in for as long as `patience`.
    pub fn connect(&self, patience: Duration) -> io::Result<UnixStream> {
        station::connect(&self.socket(), patience)
    }

    /// Has the say whether there is an agent, until what this gives is closed.
    ///
    /// # Errors
    /// If somebody else has it until `deadline`.
    pub fn lock(&self, deadline: Instant) -> io::Result<File> {
        fs::create_dir_all(&self.directory)?;
        let lock = File::open(&self.directory)?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(fs::TryLockError::Error(error)) => return Err(error),
                Err(fs::TryLockError::WouldBlock) if Instant::now() > deadline => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(fs::TryLockError::WouldBlock) => sleep(GLANCE),
            }
        }
    }

    /// Makes the socket, in place of one that an agent has left. To be called by who has the lock.
    ///
    /// # Errors
    /// If the directory does not take it.
    pub fn open(&self) -> io::Result<UnixListener> {
        let path = self.socket();
        self.close()?;
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(MODE))?;
        Ok(listener)
    }

    /// Removes the socket.
    ///
    /// # Errors
    /// If the directory does not let it go.
    pub fn close(&self) -> io::Result<()> {
        match fs::remove_file(self.socket()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// What tells the socket from another at the same place; none if there is none.
    pub fn mark(&self) -> Option<(u64, u64)> {
        mark(&self.socket())
    }
}

/// What tells a file from another at the same place; none if there is none.
pub fn mark(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|facts| (facts.dev(), facts.ino()))
}
