//! Bars for the drives of a run.

use std::collections::BTreeMap;
use std::sync::Mutex;

use indicatif::ProgressBar;

use super::printer::Printer;
use crate::scenario::Watcher;

/// Shows each drive as a bar; shows nothing where standard error is no terminal.
pub(super) struct Progress<'a> {
    printer: &'a Printer,
    scenario: &'a str,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(printer: &'a Printer, scenario: &'a str) -> Self {
        Self { printer, scenario, bars: Mutex::new(BTreeMap::new()) }
    }

    /// Takes all bars away.
    pub(super) fn clear(&self) {
        for bar in self.lock().values() {
            bar.finish_and_clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, ProgressBar>> {
        self.bars.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn making_of(role: &str) -> String {
    format!("make {role}")
}

impl Watcher for Progress<'_> {
    fn note(&self, text: &str) {
        self.printer.note(&format!("{}: {text}", self.scenario));
    }

    fn making(&self, role: &str, command: &str, line: &str) {
        let mut bars = self.lock();
        let name = making_of(role);
        let bar = bars.entry(name.clone()).or_insert_with(|| self.printer.bar(&name, None));
        if bar.is_hidden() && line.is_empty() {
            // Nobody watches; a log shall say what took the time.
            self.printer.note(&format!("{}: {role}: {command}", self.scenario));
        }
        bar.set_message(if line.is_empty() { command.to_owned() } else { format!("{command}: {line}") });
    }

    fn made(&self, role: &str) {
        if let Some(bar) = self.lock().remove(&making_of(role)) {
            bar.finish_and_clear();
        }
    }

    fn started(&self, drive: &str, deliveries: u64) {
        self.lock().insert(drive.to_owned(), self.printer.bar(drive, Some(deliveries)));
    }

    fn sent(&self, drive: &str, sent: u64) {
        if let Some(bar) = self.lock().get(drive) {
            bar.set_position(sent);
        }
    }

    fn ended(&self, drive: &str, ending: &str) {
        if let Some(bar) = self.lock().get(drive) {
            bar.finish_with_message(ending.to_owned());
        }
    }
}
