//! Programs that read a question and print an answer: plugins of others.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::iter;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::pipe2;

use linkspan_plan::KernelError;

use crate::child::{self, Image};
use crate::error::Refusal;
use crate::netns;
use crate::process::{self, Failed};
use crate::setup::Call;

/// How often a program is tried that is just being written.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// What a program said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Its exit code, or 128 and the number of the signal that killed it.
    pub code: i32,
    /// What it printed on standard output.
    pub output: Vec<u8>,
}

/// Runs `program` with `args` to its end, with `input` to read, and `env` in addition to this process's environment. Its
/// standard error is this process's.
///
/// # Errors
/// If it could not be executed.
pub fn ask(
    program: &Path,
    args: &[OsString],
    env: &[(OsString, OsString)],
    input: &[u8],
) -> Result<Reply, KernelError> {
    let argv: Vec<OsString> = iter::once(program.into()).chain(args.iter().cloned()).collect();
    let mut tries = 0..TRIES;
    loop {
        match attempt(&argv, env, input) {
            Err(Failed { exec: Some(Errno::ETXTBSY), .. }) if tries.next().is_some() => sleep(PAUSE),
            other => return other.map_err(|failed| failed.error),
        }
    }
}

fn attempt(argv: &[OsString], env: &[(OsString, OsString)], input: &[u8]) -> Result<Reply, Failed> {
    let cannot = |error: io::Error| {
        let program = argv.first().map(Path::new).unwrap_or(Path::new(""));
        Failed::from(Refusal::from(netns::errno(&error)).of(format!("execute {}", program.display())))
    };
    let image = Image::new(argv, env).map_err(cannot)?;
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| cannot(errno.into()))?;
    let calls = [Call::Streams { input: question(input).map_err(cannot)?.into(), output: writer }];
    let pid = process::start(&calls, &image, argv)?;
    // The program has the writing end alone, so that its end is seen.
    drop(calls);
    let mut output = Vec::new();
    let read = File::from(reader).read_to_end(&mut output);
    let code = child::wait(pid).map_err(|errno| cannot(errno.into()))?;
    read.map_err(cannot)?;
    Ok(Reply { code, output })
}

/// A file in memory: unlike a pipe, it takes all of the question before anybody reads it.
fn question(input: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("question", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::thread;

    use linkspan_plan::Failure;

    use super::*;

    fn program(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("linkspan-ask-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_program_reads_the_question_and_answers() {
        let path = program("cat", "#!/bin/sh\necho \"$WORD $1\"\ncat\nexit 7\n");
        let long = vec![b'x'; 1 << 20];
        let reply = ask(&path, &["world".into()], &[("WORD".into(), "hello".into())], &long).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(reply.code, 7);
        assert!(reply.output.starts_with(b"hello world\nxxx"));
        assert_eq!(reply.output.len(), long.len() + 12);
    }

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        let error = ask(Path::new("/there/is/none"), &[], &[], b"").unwrap_err();
        assert_eq!(error.failure, Failure::NotFound);
        assert_eq!(error.what, "execute /there/is/none");
    }

    #[test]
    fn a_program_that_is_being_written_is_waited_for() {
        let path = program("busy", "#!/bin/sh\necho done\n");
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        let end = thread::spawn(move || {
            sleep(PAUSE * 3);
            drop(writer);
        });
        let reply = ask(&path, &[], &[], b"");
        end.join().unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(reply.unwrap().output, b"done\n");
    }
}
