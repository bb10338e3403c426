//! `rehearsal capture`: Kafka to a recording.

use std::str::FromStr;

use super::args::{CaptureArguments, CaptureEndArguments, RegistryArguments};
use super::capture_words::Telling;
use super::exit::{Code, Failure};
use super::mask::{detection, policy, warn};
use super::printer::Printer;
use super::signal::raise_on_interrupt;
use crate::capture::{
    CaptureError, CaptureSettings, PartitionStart, RegistrySettings, TopicChoice, Until, capture as capture_topics,
};
use crate::clock::{Stop, SystemClock};
use crate::kafka::{Owner, Properties};
use crate::recording::Role;
use crate::settings::Span;

pub(super) fn capture(arguments: &CaptureArguments, printer: &Printer) -> Result<Code, Failure> {
    super::told(arguments.json, captured(arguments, printer), printer)
}

fn captured(arguments: &CaptureArguments, printer: &Printer) -> Result<Code, Failure> {
    let settings = settings(arguments)?;
    let stop = Stop::new();
    raise_on_interrupt(&stop);
    let mut telling = Telling::new(arguments, printer);
    let target = arguments.spool.target(&arguments.out)?;
    telling.spool = target.spool()?;
    let report =
        capture_topics(&settings, target, &SystemClock::start(), &stop, &mut |progress| telling.take(progress));
    telling.end();
    let report = report?;
    warn(&report.sightings, printer);
    for warning in &report.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    telling.summary(&report)?;
    Ok(Code::Agree)
}

fn settings(arguments: &CaptureArguments) -> Result<CaptureSettings, Failure> {
    let properties = properties(arguments)?;
    let brokers = arguments.brokers.as_deref().or(properties.brokers()).ok_or_else(|| {
        Failure::wrong("no brokers are named", "Write `--brokers HOST:PORT`, or bootstrap.servers into --config.")
    })?;
    let mut settings = CaptureSettings::new(brokers, Vec::<String>::new());
    for (option, role, lists) in [
        ("--topic", Role::Input, &arguments.topic),
        ("--output-topic", Role::Output, &arguments.output_topic),
        ("--table", Role::Table, &arguments.table),
        ("--changelog", Role::Changelog, &arguments.changelog),
    ] {
        for list in lists {
            let choices = TopicChoice::parse(list, role);
            settings.topics.extend(choices.map_err(|problem| Failure::wrong(format!("{option}: {problem}"), ""))?);
        }
    }
    settings.partitions = arguments.partition.iter().copied().collect();
    for start in &arguments.from {
        if start.contains('=') {
            let PartitionStart { partition, offset } = read("--from", start)?;
            settings.offsets.insert(partition, offset);
        } else {
            settings.from = read("--from", start)?;
        }
    }
    settings.until = until(&arguments.end)?;
    settings.events_max = arguments.end.events;
    settings.duration_max =
        arguments.end.duration.as_deref().map(|text| read("--for", text)).transpose()?.map(|Span(long)| long);
    settings.uncommitted = arguments.uncommitted;
    settings.allow_gaps = arguments.allow_gaps;
    settings.properties = properties;
    settings.mask = policy(arguments.privacy.mask.as_deref())?;
    settings.detection = detection(arguments.privacy.strict_privacy);
    settings.registry = registry(&arguments.schemas)?;
    settings.require_schemas = arguments.schemas.require_schemas;
    Ok(settings)
}

fn until(end: &CaptureEndArguments) -> Result<Until, Failure> {
    let bounded = end.duration.is_some() || end.events.is_some();
    match &end.until {
        Some(text) => read("--until", text),
        None if end.until_caught_up => Ok(Until::End),
        None if end.follow || bounded => Ok(Until::Stopped),
        None => Ok(Until::End),
    }
}

fn registry(arguments: &RegistryArguments) -> Result<Option<RegistrySettings>, Failure> {
    let Some(url) = &arguments.registry else { return Ok(None) };
    let mut settings = RegistrySettings::new(url)?;
    if let Ok(user_info) = std::env::var("REHEARSAL_REGISTRY_AUTH") {
        settings.basic_auth(&user_info)?;
    }
    if let Some(path) = &arguments.registry_config {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::wrong(format!("--registry-config {}: {error}", path.display()), ""))?;
        settings.properties(&text).map_err(|error| Failure::wrong(format!("{}: {error}", path.display()), ""))?;
    }
    Ok(Some(settings))
}

fn read<T: FromStr<Err = String>>(name: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|problem: String| Failure::wrong(format!("{name}: {problem}"), ""))
}

/// Reads the file of properties, and those of the command line behind it, which count more.
fn properties(arguments: &CaptureArguments) -> Result<Properties, Failure> {
    let mut properties = match &arguments.config {
        Some(path) => Properties::from_file(path, Owner::Capture).map_err(CaptureError::from)?,
        None => Properties::of(Owner::Capture),
    };
    for argument in &arguments.set {
        properties.extend([Properties::parse(argument, Owner::Capture).map_err(CaptureError::from)?]);
    }
    Ok(properties)
}
