//! `rehearsal report`: a run rendered again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};

use super::args::{ReportArguments, ReportFormat};
use super::exit::{Code, Failure};
use super::printer::Printer;
use crate::report::{Colours, Format, Report, TerminalStyle, render, terminal};

pub(super) fn report(arguments: &ReportArguments, printer: &Printer) -> Result<Code, Failure> {
    let (file, folder) = if arguments.run.is_dir() {
        (arguments.run.join("run.json"), Some(arguments.run.display().to_string()))
    } else {
        (arguments.run.clone(), arguments.run.parent().map(|folder| folder.display().to_string()))
    };
    let bytes = fs::read(&file).map_err(|error| {
        Failure::wrong(format!("could not read {}: {error}", file.display()), "Name a run's folder or its run.json.")
    })?;
    let report =
        Report::read(&bytes).map_err(|error| Failure::wrong(error, format!("The file is {}.", file.display())))?;
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
    match OpenOptions::new().write(true).create_new(true).open(out) {
        Ok(mut file) => file.write_all(text.as_bytes())?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::wrong(format!("{} exists already", out.display()), "Choose another file."));
        }
        Err(error) => return Err(Failure::surroundings(format!("could not write {}: {error}", out.display()), "")),
    }
    Ok(Code::Agree)
}
