//! `rehearsal report`: a run rendered again.

use std::fs;
use std::path::PathBuf;

use super::args::{ReportArguments, ReportFormat};
use super::exit::{Code, Failure};
use super::printer::Printer;
use super::runs::report_of;
use super::whole::write_text;
use crate::report::{Colours, Format, Report, ReportError, TerminalStyle, render, terminal};

/// A file that is no report, by its own name: `run.json` may be called anything.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be rendered")]
struct Unreadable {
    path: PathBuf,
    source: ReportError,
}

pub(super) fn report(arguments: &ReportArguments, printer: &Printer) -> Result<Code, Failure> {
    let file = report_of(&arguments.run)?;
    let folder = file.parent().map(|folder| folder.display().to_string());
    let bytes = fs::read(&file).map_err(|error| {
        Failure::wrong(format!("could not read {}: {error}", file.display()), "Name a run's folder or its run.json.")
    })?;
    let report = Report::read(&bytes)
        .map_err(|source| Failure::wrong(Unreadable { path: file, source }, "Name a run's folder or its run.json."))?;
    let text = match arguments.format {
        ReportFormat::Terminal if arguments.out.is_none() => {
            let colours = if Printer::is_watched() { Colours::Ansi } else { Colours::Never };
            terminal(&report, TerminalStyle { colours, folder: folder.as_deref() })
        }
        ReportFormat::Terminal => render(&report, Format::Terminal),
        ReportFormat::Html => render(&report, Format::Html),
        // As it stands: a number read and written again may differ in its last digit.
        ReportFormat::Json => String::from_utf8_lossy(&bytes).into_owned(),
        ReportFormat::Junit => render(&report, Format::Junit),
        ReportFormat::Markdown => render(&report, Format::Markdown),
    };
    let Some(out) = &arguments.out else {
        printer.result(&text)?;
        return Ok(Code::Agree);
    };
    write_text(out, &text)?;
    Ok(Code::Agree)
}
