//! Advisory locks on objects: one byte each of the lock file.
//!
//! They belong to an open file description (fcntl(2), F_OFD_SETLK), so the kernel takes them back when their
//! process ends, however it ends, and two of one process exclude each other like those of two.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::StoreError;

const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// How an object is locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Together with others that lock it so.
    Shared,
    /// Alone.
    Exclusive,
}

/// A lock that is held; dropping it releases it.
///
/// A forked child shares it: the parent's drop releases it for both, but if the parent is killed it stays until
/// the child ends. It does not survive exec.
#[derive(Debug)]
#[must_use = "dropping a lock releases it"]
pub struct Lock {
    file: File,
    byte: i64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, were there no forked child that has the file open too. It cannot fail on a lock held.
        let _ = set(&self.file, self.byte, libc::F_UNLCK);
    }
}

/// Takes the lock on the byte that `text` stands for; none if others were in the way for all of `patience`.
pub(crate) fn lock(
    path: &Path,
    text: &str,
    mode: Mode,
    patience: Duration,
) -> Result<Option<Lock>, StoreError> {
    let failed = |cause: std::io::Error| StoreError::Open { path: path.to_owned(), cause: cause.into() };
    let file = open(path).map_err(failed)?;
    let byte = byte_of(text);
    let kind = if mode == Mode::Shared { libc::F_RDLCK } else { libc::F_WRLCK };
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match set(&file, byte, kind) {
            Ok(()) => return Ok(Some(Lock { file, byte })),
            Err(Errno::EAGAIN | Errno::EACCES) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        let left = patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        sleep(pause.min(left));
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// The lock file, under a file description of its own.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn set(file: &File, byte: i64, kind: libc::c_int) -> nix::Result<()> {
    let range = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&range)).map(drop)
}

/// Where in the file the lock on `text` is: its 64-bit FNV-1a hash, less the sign.
fn byte_of(text: &str) -> i64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::byte_of;

    #[test]
    fn the_byte_never_moves() {
        // Processes of different versions must meet; reference values of FNV-1a.
        assert_eq!(byte_of(""), (0xcbf2_9ce4_8422_2325_u64 >> 1) as i64);
        assert_eq!(byte_of("foobar"), (0x8594_4171_f739_67e8_u64 >> 1) as i64);
    }
}
