//! The command line: arguments to calls of the library, errors to exit codes. One file a command.
//!
//! Exit codes: 0 agree · 1 differ · 2 wrong arguments, scenario or recording · 3 no verdict · 4 the surroundings failed, try
//! again · 70 a fault of ours. What never happens here: work that the library cannot do; printing outside of `printer.rs`.

mod args;
mod capture;
mod capture_words;
mod compare;
mod demo;
mod exit;
mod import;
mod init;
mod inspect;
mod inspect_schemas;
mod mask;
mod plan;
mod printer;
mod progress;
mod replay;
mod report;
mod review;
mod rules;
mod run;
mod runs;
mod sample;
mod schema;
mod signal;
mod slice;
mod sweep;
mod whole;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Command};
use exit::{Code, Failure};
use printer::Printer;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    // First of all: a launcher has no threads and says nothing.
    if let Some(code) = crate::drive::launch_if_asked() {
        return code;
    }
    let printer = Printer::new();
    printer::report_panics();
    // A panic is a fault of ours wherever it happens; the hook has said so by the time it arrives here.
    let code = catch_unwind(AssertUnwindSafe(|| answer(std::env::args_os(), &printer)));
    ExitCode::from(code.unwrap_or(Code::Fault) as u8)
}

/// Returns the command line as clap sees it, so that documents can be held against it.
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

fn answer(arguments: impl IntoIterator<Item = OsString>, printer: &Printer) -> Code {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(message) => return printer.usage(&message),
    };
    match dispatch(&arguments.command, printer) {
        Ok(code) => code,
        Err(failure) => {
            printer.failure(&failure);
            failure.code
        }
    }
}

fn dispatch(command: &Command, printer: &Printer) -> Result<Code, Failure> {
    match command {
        Command::Demo(arguments) => demo::demo(arguments, printer),
        Command::Capture(arguments) => capture::capture(arguments, printer),
        Command::Import(arguments) => import::import(arguments, printer),
        Command::Inspect(arguments) => told(arguments.json, inspect::inspect(arguments, printer), printer),
        Command::Slice(arguments) => told(arguments.json, slice::slice(arguments, printer), printer),
        Command::Mask(arguments) => told(arguments.json, mask::mask(arguments, printer), printer),
        Command::Plan(arguments) => plan::plan(arguments, printer),
        Command::Run(arguments) => run::run(arguments, printer),
        Command::Replay(arguments) => replay::replay(arguments, printer),
        Command::Sweep(arguments) => sweep::sweep(arguments, printer),
        Command::Compare(arguments) => compare::compare(arguments, printer),
        Command::Rules(args::RulesCommand::Check(arguments)) => rules::check(arguments, printer),
        Command::Report(arguments) => report::report(arguments, printer),
        Command::Review(arguments) => told(arguments.json, review::review(arguments, printer), printer),
        Command::Init(arguments) => init::init(arguments, printer),
        Command::Schema => schema::schema(printer),
        Command::Sample(arguments) => sample::sample(arguments, printer),
    }
}

/// Where JSON is asked for, an error is told in JSON too, beside what standard error says.
fn told(json: bool, done: Result<Code, Failure>, printer: &Printer) -> Result<Code, Failure> {
    if let Err(failure) = &done
        && json
        && let Some(line) = capture_words::error_line(failure)
    {
        printer.result(&line.to_string())?;
    }
    done
}
