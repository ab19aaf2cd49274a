//! The way to the agent, for those who change what it answers.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, Instant};

use linkspan_engine::Answerer;
use linkspan_kernel::station;
use linkspan_model::Name;

use crate::post::{DONE, Post};

/// How long a command waits for the agent, which has a great deal to do only if it has just been started.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long one waits that has only something to tell.
const HASTE: Duration = Duration::from_millis(20);
/// An agent that ends just then is replaced, and its successor might end too.
const ATTEMPTS: u32 = 5;

/// The way to the agent of one state and run directory.
#[derive(Clone, Debug)]
pub struct Door {
    arguments: Vec<OsString>,
    post: Post,
}

impl Door {
    /// The way to the agent that reads the store in `state`, and is met in `run`.
    pub fn new(state: &Path, run: &Path) -> Self {
        let whole = |path: &Path| absolute(path).unwrap_or_else(|_| path.to_owned());
        let directories = [("--state-dir", whole(state)), ("--run-dir", whole(run))];
        let mut arguments: Vec<OsString> = directories
            .into_iter()
            .flat_map(|(flag, path): (_, PathBuf)| [flag.into(), path.into()])
            .collect();
        arguments.extend(["agent", "--given"].map(OsString::from));
        Self { arguments, post: Post::of(whole(run)) }
    }

    /// Starts the agent, unless somebody else has meanwhile. Until it is ready, it lets those who connect wait.
    fn start(&self, deadline: Instant) -> io::Result<UnixStream> {
        let _lock = self.post.lock(deadline)?;
        let left = deadline.saturating_duration_since(Instant::now());
        match self.post.connect(left) {
            Err(error) if is_absent(&error) => {}
            connected => return connected,
        }
        let listener = self.post.open()?;
        station::start(&self.arguments, &listener).map_err(io::Error::other)?;
        self.post.connect(left)
    }

    fn tell(&self, line: &str, asks: bool) -> io::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = ErrorKind::ConnectionReset.into();
        for _ in 0..ATTEMPTS {
            let left = deadline.saturating_duration_since(Instant::now());
            let stream = match self.post.connect(left) {
                Err(error) if is_absent(&error) && !asks => return Ok(DONE.to_owned()),
                Err(error) if is_absent(&error) => self.start(deadline)?,
                connected => connected?,
            };
            match ask(stream, line, deadline) {
                Err(error) if is_end(&error) => last = error,
                answered => return answered,
            }
        }
        Err(last)
    }
}

impl Answerer for Door {
    fn changed(&mut self, sandbox: Option<&Name>, asks: bool) -> Result<(), String> {
        match self.tell(sandbox.map_or("", Name::as_str), asks) {
            Ok(answer) if answer == DONE => Ok(()),
            Ok(answer) => Err(answer),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(format!("the agent says nothing for {} s", PATIENCE.as_secs()))
            }
            Err(error) => Err(format!("the agent cannot be spoken to: {error}")),
        }
    }

    fn left(&mut self, sandbox: &Name) {
        // Where nobody is, nobody answers for it; one that has no room looks by itself some time.
        if let Ok(mut stream) = self.post.connect(HASTE) {
            _ = stream.write_all(format!("{sandbox}\n").as_bytes());
        }
    }
}

fn ask(mut stream: UnixStream, line: &str, deadline: Instant) -> io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes())?;
    let left = deadline.saturating_duration_since(Instant::now());
    stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    // It has ended before it came to this one.
    if answer.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(answer.trim_end().to_owned()) }
}

/// Whether nobody serves the socket.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

/// Whether who served it has ended meanwhile.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// A run directory of one test's own, gone with it.
    struct Directory(PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("linkspan-door-{test}-{}", std::process::id()));
            _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn door(&self) -> Door {
            Door::new(&self.0, &self.0)
        }

        /// Somebody who hears one line at a time, and gives these answers.
        fn agent(&self, answers: &'static [&'static str]) -> thread::JoinHandle<Vec<String>> {
            let listener = UnixListener::bind(self.0.join("agent.sock")).unwrap();
            thread::spawn(move || {
                let hear = |answer: &&str| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut line = String::new();
                    BufReader::new(&stream).read_line(&mut line).unwrap();
                    // Who only tells something may be gone by now.
                    _ = stream.write_all(answer.as_bytes());
                    line
                };
                answers.iter().map(hear).collect()
            })
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_has_changed_is_told_and_the_answer_waited_for() {
        let directory = Directory::new("told");
        let agent = directory.agent(&[DONE, "no such store", DONE]);
        let mut door = directory.door();
        assert_eq!(door.changed(Some(&"web".parse().unwrap()), true), Ok(()));
        assert_eq!(door.changed(None, true), Err("no such store".to_owned()));
        door.left(&"db".parse().unwrap());
        assert_eq!(agent.join().unwrap(), ["web\n", "\n", "db\n"]);
    }

    #[test]
    fn who_does_not_ask_starts_nobody() {
        let directory = Directory::new("nobody");
        // What a killed agent leaves is nobody.
        drop(UnixListener::bind(directory.0.join("agent.sock")).unwrap());
        let mut door = directory.door();
        assert_eq!(door.changed(Some(&"web".parse().unwrap()), false), Ok(()));
        door.left(&"web".parse().unwrap());
    }

    #[test]
    fn one_that_ends_before_it_has_heard_is_asked_again() {
        let directory = Directory::new("again");
        let agent = directory.agent(&["", DONE]);
        assert_eq!(directory.door().changed(Some(&"web".parse().unwrap()), true), Ok(()));
        assert_eq!(agent.join().unwrap().len(), 2);
    }

    #[test]
    fn one_that_says_nothing_is_not_waited_for_forever() {
        let directory = Directory::new("silent");
        let _listener = UnixListener::bind(directory.0.join("agent.sock")).unwrap();
        let error = directory.door().changed(Some(&"web".parse().unwrap()), true).unwrap_err();
        assert!(error.contains("says nothing"), "{error}");
    }
}
