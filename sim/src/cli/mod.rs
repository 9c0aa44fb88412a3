//! The command line: reads arguments, calls the runner, prints. Thin on purpose.
//!
//! stdout carries the result, stderr progress and messages; what a command ends with is an exit
//! code that scripts rely on. Only here does anything look at the machine: its clock (to say how
//! long a run took), its environment, its signals.
//!
//! It refuses to define commands that do not exist in this build.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

/// Prints a line of the result, see [`say`].
macro_rules! sayln {
    ($($text:tt)*) => { $crate::cli::say(&format!("{}\n", format_args!($($text)*))) };
}

mod arguments;
mod defects;
mod feed;
mod hunt;
mod list;
mod machine;
mod merge;
mod meta;
mod progress;
mod run;
mod serve;
mod shrink;
mod suite;
mod trace;

use std::path::Path;
use std::process::ExitCode;

use backdate_reports::store::write_whole;
use backdate_reports::summary::{Summary, pretty_json};
use backdate_reports::text::quoted;
use clap::Parser;
use serde::Serialize;

use crate::runner::exit;
use arguments::{Arguments, Command, Common};

/// Runs the command that the arguments ask for.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { exit::USAGE } else { exit::PASS };
            // A closed pipe is no reason to fail.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let ended = match arguments.command {
        Command::Run(command) => run::run(&command),
        Command::Feed(command) => feed::feed(&command),
        Command::Meta(command) => meta::meta(&command),
        Command::Suite(command) => suite::suite(&command),
        Command::Merge(command) => merge::merge(&command),
        Command::SweepWorker(command) => suite::worker(&command),
        Command::Shrink(command) => shrink::shrink(&command),
        Command::Hunt(command) => hunt::hunt(&command),
        Command::HuntWorker(command) => hunt::worker(&command),
        Command::List(command) => list::list(&command),
        Command::Trace(command) => trace::trace(&command),
        Command::Migrate(command) => serve::migrate(&command),
        Command::Serve(command) => serve::serve(&command),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code)
        }
    }
}

/// A command that could not do its work.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// The arguments or a file are wrong.
    fn usage(message: impl ToString) -> Self {
        Self { code: exit::USAGE, message: message.to_string() }
    }

    /// The machine is in the way.
    fn environment(message: impl ToString) -> Self {
        Self { code: exit::ENVIRONMENT, message: message.to_string() }
    }
}

impl From<crate::real::RealError> for Failure {
    fn from(error: crate::real::RealError) -> Self {
        match error {
            crate::real::RealError::Usage(message) => Self::usage(message),
            crate::real::RealError::Environment(message) => Self::environment(message),
        }
    }
}

/// Writes the summary where `--json` asks for it, and the block for people unless it is on stdout.
fn publish(summary: &Summary, common: &Common, repeat: &str) -> Result<(), Failure> {
    if !write_json(common.json.as_deref(), summary)? {
        say(&backdate_reports::text::closing_block(summary, repeat));
    }
    Ok(())
}

/// Writes a result where `--json` asks for it; whether that was stdout, which then takes nothing
/// else.
fn write_json(target: Option<&Path>, result: &(impl Serialize + ?Sized)) -> Result<bool, Failure> {
    let Some(path) = target else { return Ok(false) };
    let text = pretty_json(result);
    let is_stdout = path.as_os_str() == "-";
    if is_stdout {
        say(&text)
    } else {
        write_file(path, &text)?
    }
    Ok(is_stdout)
}

/// Writes a part of the result to stdout.
fn say(text: &str) {
    use std::io::Write;
    // The reader may have seen enough and closed the pipe: no reason to fail.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    write_whole(path, text)
        .map_err(|error| Failure::environment(format!("{}: {error}", path.display())))
}

fn create_folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path)
        .map_err(|error| Failure::environment(format!("{}: {error}", path.display())))
}
