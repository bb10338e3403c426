//! `rehearsal sample`: one of the builds that the program carries.

use std::fmt::Write as _;
use std::io;

use super::args::SampleArguments;
use super::exit::{Code, Failure};
use super::printer::Printer;
use crate::samples::{Sample, sample as find, samples};

pub(super) fn sample(arguments: &SampleArguments, printer: &Printer) -> Result<Code, Failure> {
    let Some(name) = arguments.name.as_deref().filter(|_| !arguments.list) else {
        printer.result(&list())?;
        return Ok(Code::Agree);
    };
    let Some(sample) = find(name) else {
        let distance = |sample: &Sample| strsim::damerau_levenshtein(sample.name, name);
        let near =
            samples().iter().min_by_key(|sample| distance(sample)).filter(|near| distance(near) <= name.len() / 3);
        let meant = near.map_or_else(String::new, |near| format!("Did you mean `{}`? ", near.name));
        let hint = format!("{meant}`rehearsal sample --list` names them all.");
        return Err(Failure::wrong(format!("there is no sample build `{name}`"), hint));
    };
    let mut input = io::BufReader::with_capacity(1 << 16, io::stdin().lock());
    sample.run(&mut input, &mut Printer::build_output()).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Failure::wrong(error, "A sample reads what every build is handed: lines of JSON with topic, partition, offset, timestamp_ms, key and value."),
        _ => error.into(),
    })?;
    Ok(Code::Agree)
}

fn list() -> String {
    let width = samples().iter().map(|sample| sample.name.len()).max().unwrap_or(0);
    samples().iter().fold(String::new(), |mut text, sample| {
        let _ = writeln!(text, "{:width$}  {}", sample.name, sample.about);
        text
    })
}
