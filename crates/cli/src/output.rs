//! What people read: aligned tables, and errors that say what failed, why, and what to do.

use std::process::ExitCode;

use anstream::{ColorChoice, eprintln, print, println};
use anstyle::{AnsiColor, Style};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use comfy_table::{ContentArrangement, Table, presets};
use linkspan_engine::Error;
use linkspan_model::Invalid;
use linkspan_plan::KernelError;
use serde::Serialize;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const ERROR: Style = AnsiColor::Red.on_default().bold();
const CAUSE: Style = AnsiColor::Yellow.on_default();
const HINT: Style = AnsiColor::Cyan.on_default();
const STEP: Style = AnsiColor::BrightBlack.on_default();

/// Has colours used on a terminal, or never.
pub fn use_colour(wanted: bool) {
    if wanted { ColorChoice::Auto } else { ColorChoice::Never }.write_global();
}

/// A failed command: what, why, what to do, and the exit code.
#[derive(Debug)]
pub struct Problem {
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
    code: u8,
}

impl Problem {
    /// A failure in `what`.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), causes: Vec::new(), hint: None, code: FAILED }
    }

    /// Adds the reason.
    pub fn because(mut self, cause: impl ToString) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit code, as for a command that could not be run.
    pub const fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Prints it and gives the exit code.
    pub fn report(&self) -> ExitCode {
        eprintln!("{ERROR}error:{ERROR:#} {}", self.what);
        for cause in &self.causes {
            eprintln!("{CAUSE}cause:{CAUSE:#} {cause}");
        }
        if let Some(hint) = &self.hint {
            eprintln!("{HINT}hint:{HINT:#} {hint}");
        }
        ExitCode::from(self.code)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { what: error.to_string(), causes: error.causes(), hint: error.hint(), code: FAILED }
    }
}

impl From<KernelError> for Problem {
    fn from(error: KernelError) -> Self {
        Error::from(error).into()
    }
}

impl From<Invalid> for Problem {
    fn from(error: Invalid) -> Self {
        Error::from(error).into()
    }
}

/// Reports what clap refused in our own form; help and version are no errors.
pub fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        print!("{}", error.render().ansi());
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprintln!("{}", error.render().ansi());
        return ExitCode::from(USAGE);
    }
    let text = error.render().to_string();
    let mut paragraphs = text.trim_start_matches("error: ").split("\n\n");
    let mut lines = paragraphs.next().unwrap_or_default().lines();
    let first = lines.next().unwrap_or_default();
    let missing: Vec<_> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut problem =
        Problem::new(format!("{first}{}{}", if missing.is_empty() { "" } else { " " }, missing.join(", ")));
    problem.hint =
        Some(suggestion(error).unwrap_or_else(|| "--help lists what it takes, with examples".to_owned()));
    problem.code(USAGE).report()
}

fn suggestion(error: &clap::Error) -> Option<String> {
    [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
        .into_iter()
        .filter_map(|kind| error.get(kind))
        .find_map(|value| match value {
            ContextValue::String(text) => Some(text.clone()),
            // The likeliest is the last.
            ContextValue::Strings(texts) => texts.last().cloned(),
            _ => None,
        })
        .map(|known| format!("did you mean {known}?"))
}

/// Prints rows under headings, columns aligned.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.to_vec());
    table.add_rows(rows);
    let last = headings.len().saturating_sub(1);
    for column in table.column_iter_mut() {
        let right = if column.index == last { 0 } else { 3 };
        column.set_padding((0, right));
    }
    for line in table.lines() {
        println!("{}", line.trim_end());
    }
}

/// Prints a value as JSON.
///
/// # Errors
/// If it has no JSON form.
pub fn json(value: &impl Serialize) -> Result<(), Problem> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Problem::new("the result has no JSON form").because(e))?;
    println!("{text}");
    Ok(())
}

/// Prints a step, for `-v`.
pub fn step(step: &impl std::fmt::Display) {
    eprintln!("{STEP}+ {step}{STEP:#}");
}

/// Prints what the user should know.
pub fn note(text: &str) {
    eprintln!("{HINT}note:{HINT:#} {text}");
}
