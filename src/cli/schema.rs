//! `rehearsal schema`.

use super::exit::{Code, Failure};
use super::printer::Printer;
use crate::scenario::schema as scenario_schema;

pub(super) fn schema(printer: &Printer) -> Result<Code, Failure> {
    let text = serde_json::to_string_pretty(&scenario_schema()).map_err(|error| Failure::wrong(error, ""))?;
    printer.result(&text)?;
    Ok(Code::Agree)
}
