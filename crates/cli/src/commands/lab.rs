//! `linkspan plan`, `apply` and `delete`: whole labs from a file.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anstream::{print, println};
use linkspan_blueprint::{
    Change, Found, Lab, Line, Records, SCHEMA, Steps, Verdict, Watch, Worker, between, lines, removal,
    try_all,
};
use linkspan_engine::{Engine, Error};
use linkspan_kernel::{Host, privilege, signals};
use serde::Serialize;

use crate::Outcome;
use crate::args::{ApplyArgs, FileArgs, Format, Global, PlanArgs};
use crate::context::engine;
use crate::output::{self, Problem};

/// From when on progress is shown.
const LONG: Duration = Duration::from_secs(1);
/// Between two looks of the progress.
const BLINK: Duration = Duration::from_millis(100);

/// Prints what `apply` would change, or the schema.
pub fn plan(global: &Global, args: &PlanArgs) -> Outcome {
    let Some(file) = &args.file else {
        print!("{SCHEMA}");
        return Ok(ExitCode::SUCCESS);
    };
    let session = Session::open(global, file)?;
    let found = session.look(&mut engine(global)?)?;
    let steps = between(&session.lab, &found)?;
    let lines = session.lines(&steps);
    match global.format {
        Format::Json => output::json(&lines)?,
        Format::Table => tell(&lines, "no difference"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes everything what the file says, and checks it.
pub fn apply(global: &Global, args: &ApplyArgs) -> Outcome {
    privilege::check()?;
    let session = Session::open(global, &args.file.file)?;
    let mut engine = engine(global)?;
    let _alone = engine.hold_lab(&session.lab.name)?;
    engine.settle()?;
    let steps = between(&session.lab, &session.look(&mut engine)?)?;
    let changes = session.lines(&steps);
    session.carry_out(&steps)?;
    let mut report = Report { lab: session.lab.name.to_string(), changes, checks: Vec::new() };
    if global.format == Format::Table {
        tell(&report.changes, "nothing to change");
    }
    if !args.no_check && !session.lab.checks.is_empty() {
        let found = session.look(&mut engine)?;
        report.checks = try_all(&session.lab.checks, &found, engine.files());
    }
    if global.format == Format::Json {
        output::json(&report)?;
    } else if !report.checks.is_empty() {
        table(&report.checks);
    }
    report.judge(&session, &mut engine)
}

/// Removes what belongs to the file's lab.
pub fn delete(global: &Global, args: &FileArgs) -> Outcome {
    privilege::check()?;
    let session = Session::open(global, &args.file)?;
    let mut engine = engine(global)?;
    let _alone = engine.hold_lab(&session.lab.name)?;
    engine.settle()?;
    let found = session.look(&mut engine)?;
    let steps = removal(&session.lab, &found)?;
    let changes = session.lines(&steps);
    session.carry_out(&steps)?;
    match global.format {
        Format::Json => output::json(&changes)?,
        Format::Table => tell(&changes, "nothing to remove"),
    }
    Ok(ExitCode::SUCCESS)
}

/// One file, on one host.
struct Session<'a> {
    global: &'a Global,
    lab: Lab,
    records: Records,
}

impl<'a> Session<'a> {
    fn open(global: &'a Global, file: &Path) -> Result<Self, Problem> {
        let text = fs::read_to_string(file)
            .map_err(|error| Problem::new(format!("cannot read {}", file.display())).because(error))?;
        let lab = Lab::read(file, &text)?;
        let records = Records::of(&global.run_dir, &lab.name);
        Ok(Self { global, lab, records })
    }

    fn look(&self, engine: &mut Engine<Host>) -> Result<Found, Error> {
        Found::look(engine, &self.records, &self.lab.name)
    }

    fn lines(&self, steps: &Steps) -> Vec<Line> {
        let changes: Vec<Change> = steps.iter().flatten().cloned().collect();
        lines(&changes)
    }

    /// Carries changes out with signals held back: whoever interrupts it finds what was before.
    fn carry_out(&self, steps: &Steps) -> Result<(), Problem> {
        let _held = signals::Held::new();
        let progress = Progress::new();
        let open = || engine(self.global);
        let worker = Worker { open: &open, records: &self.records, watch: &progress };
        let done = worker.apply(steps);
        progress.clear();
        done.map_err(|error| {
            let problem = Problem::from(error);
            if signals::Held::has_come() {
                // It takes effect when it is held no longer, and nobody would come to report.
                problem.report();
            }
            problem
        })
    }
}

/// What `apply` did, for `--format json`.
#[derive(Serialize)]
struct Report {
    lab: String,
    changes: Vec<Line>,
    checks: Vec<Verdict>,
}

impl Report {
    fn judge(&self, session: &Session<'_>, engine: &mut Engine<Host>) -> Outcome {
        let failed = self.checks.iter().filter(|verdict| !verdict.ok).count();
        if failed == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let mut problem = Problem::new(format!("{failed} of {} checks failed", self.checks.len()));
        for program in session.look(engine)?.programs.iter().filter(|program| !program.runs) {
            let words =
                session.records.last_words(program).map(|words| format!(": {words}")).unwrap_or_default();
            problem =
                problem.because(format!("'{}' in {} has ended{words}", program.command, program.sandbox));
        }
        Err(problem.hint("everything is up as the file says; `linkspan delete -f` removes it"))
    }
}

fn tell(lines: &[Line], otherwise: &str) {
    match lines {
        [] => println!("{otherwise}"),
        lines => lines.iter().for_each(|line| println!("{line}")),
    }
}

fn table(checks: &[Verdict]) {
    let row = |verdict: &Verdict| {
        let check = format!("{}{}", verdict.check, if verdict.fails { ", fails" } else { "" });
        let result = if verdict.ok { "ok" } else { "FAILED" };
        vec![verdict.from.clone(), check, result.to_owned(), verdict.seen.clone()]
    };
    output::table(&["FROM", "CHECK", "RESULT", "SEEN"], checks.iter().map(row).collect());
}

/// A line on the terminal that counts, once the work takes a while.
struct Progress {
    start: Instant,
    shown: Mutex<Option<Instant>>,
}

impl Progress {
    fn new() -> Self {
        Self { start: Instant::now(), shown: Mutex::new(None) }
    }

    fn clear(&self) {
        if self.shown.lock().is_ok_and(|shown| shown.is_some()) {
            eprint!("\r\x1b[K");
        }
    }
}

impl Watch for Progress {
    fn made(&self, count: usize, of: usize) {
        let mut error = std::io::stderr();
        if self.start.elapsed() < LONG || !error.is_terminal() {
            return;
        }
        let Ok(mut shown) = self.shown.lock() else { return };
        if shown.is_none_or(|at| at.elapsed() >= BLINK) {
            *shown = Some(Instant::now());
            _ = write!(error, "\r\x1b[K{count} of {of} changes");
            _ = error.flush();
        }
    }

    fn stops(&self) -> bool {
        signals::Held::has_come()
    }

    fn note(&self, text: &str) {
        output::note(text);
    }
}
