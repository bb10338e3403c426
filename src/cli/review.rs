//! `rehearsal review`: patterns of a run, one by one: accepted, rejected or left for later.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::args::ReviewArguments;
use super::exit::{Code, Failure};
use super::printer::Printer;
use super::runs::report_of;
use crate::compare::{Acceptance, AcceptedShare, Change, Kind, Pattern, Standing, pattern_id, share_interval};
use crate::report::{Colours, Report, one_pattern};
use crate::scenario::{Decisions, author, day_in_words, today};
use crate::settings::Moment;

/// A run under review.
struct Review {
    report: Report,
    run: PathBuf,
    decisions: Decisions,
    author: Option<String>,
    today: i64,
}

/// What is said about one pattern.
struct Decision {
    accepts: bool,
    because: String,
    until: Option<String>,
}

pub(super) fn review(arguments: &ReviewArguments, printer: &Printer) -> Result<Code, Failure> {
    let mut review = Review::read(arguments)?;
    let decides = !arguments.accept.is_empty() || !arguments.reject.is_empty();
    if decides {
        review.decide_all(arguments)?;
        review.decisions.write()?;
    } else if !arguments.non_interactive {
        if !Printer::is_asked() {
            let hint = "`--non-interactive` lists what is open; `--accept PATTERN --because …` and `--reject PATTERN --because …` decide.";
            return Err(Failure::wrong("standard input is no terminal, so nobody can be asked", hint));
        }
        return review.ask_all(printer);
    }
    let open = review.open();
    if arguments.json {
        printer.result(&review.json(&open).to_string())?;
    } else {
        printer.result(&review.summary(&open))?;
    }
    // Whoever decided did what was asked; whoever only looks fails while something is open.
    Ok(if decides || open.is_empty() { Code::Agree } else { Code::Differ })
}

impl Review {
    fn read(arguments: &ReviewArguments) -> Result<Self, Failure> {
        let run = report_of(&arguments.run)?;
        let hint = "Name a run's folder or its run.json.";
        let bytes = fs::read(&run)
            .map_err(|error| Failure::wrong(format!("could not read {}: {error}", run.display()), hint))?;
        let mut report = Report::read(&bytes).map_err(|error| Failure::wrong(error, hint))?;
        // Earlier versions gave patterns no names.
        for pattern in report.patterns.iter_mut().filter(|pattern| pattern.id.is_empty()) {
            pattern.id = pattern_id(pattern.kind, &pattern.topic, pattern.path.as_deref(), pattern.change);
        }
        let scenario = arguments.scenario.clone().unwrap_or_else(|| PathBuf::from(&report.scenario.path));
        if !scenario.is_file() {
            let problem = if scenario.as_os_str().is_empty() {
                "the run has no scenario beside which decisions could be kept".to_owned()
            } else {
                format!("the scenario {} of the run is not there", scenario.display())
            };
            let hint =
                "Name it: `rehearsal review RUN --scenario scenarios/NAME.toml`, or review where the run was made.";
            return Err(Failure::wrong(problem, hint));
        }
        let decisions = Decisions::beside(&scenario)?;
        let folder = scenario.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let author = arguments.author.clone().or_else(|| author(folder));
        Ok(Self { report, run, decisions, author, today: today() })
    }

    /// Patterns that nobody has decided about, or whose acceptance does not stand for them.
    fn open(&self) -> Vec<&Pattern> {
        self.report.patterns.iter().filter(|pattern| is_asked_about(pattern) && !self.is_decided(pattern)).collect()
    }

    fn is_decided(&self, pattern: &Pattern) -> bool {
        self.decisions.of(&pattern.id).is_some_and(|decision| match decision.share {
            None => true,
            Some(share) => {
                let last = decision.until.as_deref().and_then(|until| Moment::of_date(until).ok());
                let expired = last.is_some_and(|last| day_in_words(self.today) > day_in_words(day_of(last)));
                !expired && share_interval(pattern.count, pattern.comparable).0 <= share.interval.1
            }
        })
    }

    /// Decides what the command line says; all of it can be decided, or none is.
    fn decide_all(&mut self, arguments: &ReviewArguments) -> Result<(), Failure> {
        let because = arguments.because.clone().unwrap_or_default();
        if because.trim().is_empty() {
            let hint = "Write why, such as `--because PAY-123`: whoever reads the file later wants to know.";
            return Err(Failure::wrong("--because says nothing", hint));
        }
        let until = arguments.until.as_deref().map(|until| self.day(until)).transpose();
        let until = until.map_err(|problem| Failure::wrong(format!("--until: {problem}"), ""))?;
        if let Some(id) = arguments.accept.iter().find(|id| arguments.reject.contains(id)) {
            return Err(Failure::wrong(format!("{id} is both accepted and rejected"), "Decide for one of the two."));
        }
        let accepted = arguments.accept.iter().map(|id| (id, true));
        for (id, accepts) in accepted.chain(arguments.reject.iter().map(|id| (id, false))) {
            let until = if accepts { until.clone() } else { None };
            self.decide(id, Decision { accepts, because: because.clone(), until })?;
        }
        Ok(())
    }

    fn decide(&mut self, id: &str, decision: Decision) -> Result<(), Failure> {
        let Some(pattern) = self.report.patterns.iter().find(|pattern| pattern.id == id) else {
            let known: Vec<&str> = self.open().iter().map(|pattern| pattern.id.as_str()).collect();
            let hint = if known.is_empty() {
                "Nothing is open.".to_owned()
            } else {
                format!("Open are {}.", known.join(", "))
            };
            return Err(Failure::wrong(format!("the run has no pattern {id}"), hint));
        };
        let decided = self.decided(pattern, decision)?;
        self.decisions.decide(decided);
        Ok(())
    }

    fn decided(&self, pattern: &Pattern, decision: Decision) -> Result<Acceptance, Failure> {
        let Pattern { id, kind, topic, path, change, .. } = pattern;
        if let Some(reason) = cannot_be_accepted(pattern).filter(|_| decision.accepts) {
            return Err(Failure::wrong(
                format!("{id} cannot be accepted: {reason}"),
                "Reject it, or mend what it says.",
            ));
        }
        let Some(by) = self.author.clone() else {
            let hint = "Write it: `--author 'Ada <ada@example.org>'`, or tell git (`git config user.name`).";
            return Err(Failure::wrong("nobody knows who decides", hint));
        };
        let share = decision.accepts.then(|| AcceptedShare {
            share: pattern.count as f64 / pattern.comparable.max(1) as f64,
            interval: share_interval(pattern.count, pattern.comparable),
        });
        Ok(Acceptance {
            id: id.clone(),
            kind: *kind,
            topic: topic.clone(),
            path: path.clone(),
            change: *change,
            share,
            because: decision.because.trim().to_owned(),
            by,
            on: day_in_words(self.today),
            until: decision.until,
        })
    }

    /// Reads the last day of an acceptance.
    fn day(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        let day = Moment::of_date(text).ok().filter(|_| text.len() == 10).map(day_of);
        let day = day.ok_or_else(|| format!("`{text}` is no day of the calendar; write it as 2026-12-31"))?;
        if day < self.today {
            return Err(format!("{text} has passed; today is {}", day_in_words(self.today)));
        }
        Ok(text.to_owned())
    }

    /// Goes through what is open at a terminal; what was decided is written at once, so that nothing is lost where it ends.
    fn ask_all(&mut self, printer: &Printer) -> Result<Code, Failure> {
        let open: Vec<Pattern> = self.open().into_iter().cloned().collect();
        let colours = if Printer::is_watched() { Colours::Ansi } else { Colours::Never };
        for (at, pattern) in open.iter().enumerate() {
            printer.result(&format!("\n{} of {}", at + 1, open.len()))?;
            printer.result(&one_pattern(&self.report, pattern, colours))?;
            match self.ask(pattern, printer)? {
                Answer::Decided(decision) => {
                    let decided = self.decided(pattern, decision)?;
                    self.decisions.decide(decided);
                    self.decisions.write()?;
                }
                Answer::Later => {}
                Answer::Quit => break,
            }
        }
        let open = self.open();
        printer.result(&format!("\n{}", self.summary(&open)))?;
        Ok(Code::Agree)
    }

    fn ask(&self, pattern: &Pattern, printer: &Printer) -> Result<Answer, Failure> {
        let barred = cannot_be_accepted(pattern);
        let question = match barred {
            None => "[a]ccept, [r]eject, [l]ater, [q]uit? ",
            Some(_) => "[r]eject, [l]ater, [q]uit? ",
        };
        if let Some(barred) = barred {
            printer.result(&format!("It cannot be accepted: {barred}."))?;
        }
        loop {
            let Some(answer) = printer.ask(question)? else { return Ok(Answer::Quit) };
            let accepts = match answer.trim().to_lowercase().as_str() {
                "a" | "accept" if barred.is_none() => true,
                "r" | "reject" => false,
                "l" | "later" | "" => return Ok(Answer::Later),
                "q" | "quit" => return Ok(Answer::Quit),
                _ => continue,
            };
            let Some(because) = ask_why(accepts, printer)? else { return Ok(Answer::Quit) };
            let until = if accepts { self.ask_until(printer)? } else { Some(String::new()) };
            let Some(until) = until.map(|until| Some(until).filter(|until| !until.is_empty())) else {
                return Ok(Answer::Quit);
            };
            return Ok(Answer::Decided(Decision { accepts, because, until }));
        }
    }

    /// Asks for the last day, which may be empty; none where standard input has ended.
    fn ask_until(&self, printer: &Printer) -> Result<Option<String>, Failure> {
        loop {
            let Some(until) = printer.ask("Until which day (such as 2026-12-31; nothing for no end)? ")? else {
                return Ok(None);
            };
            if until.trim().is_empty() {
                return Ok(Some(String::new()));
            }
            match self.day(&until) {
                Ok(day) => return Ok(Some(day)),
                Err(problem) => printer.note(&problem),
            }
        }
    }

    fn summary(&self, open: &[&Pattern]) -> String {
        let mut text = String::new();
        for pattern in open {
            text += &one_pattern(&self.report, pattern, Colours::Never);
        }
        let (accepted, rejected): (Vec<_>, Vec<_>) = self.decisions.all().iter().partition(|one| one.share.is_some());
        let file = self.decisions.path().display();
        let _ = match (accepted.len(), rejected.len()) {
            (0, 0) => write!(text, "nothing decided"),
            (accepted, rejected) => write!(text, "{accepted} accepted, {rejected} rejected in {file}"),
        };
        let _ = match open.len() {
            0 => write!(text, "; nothing is open"),
            1 => write!(text, "; 1 pattern is open"),
            open => write!(text, "; {open} patterns are open"),
        };
        if !open.is_empty() {
            let _ = write!(
                text,
                "\n  = Decide with `rehearsal review {}`, or `--accept PATTERN --because …` and `--reject PATTERN --because …`.",
                self.run.parent().unwrap_or(&self.run).display()
            );
        }
        text
    }

    fn json(&self, open: &[&Pattern]) -> Json {
        let pattern = |pattern: &&Pattern| {
            json!({
                "pattern": pattern.id,
                "kind": pattern.kind,
                "topic": pattern.topic,
                "path": pattern.path,
                "change": pattern.change,
                "standing": pattern.standing,
                "count": pattern.count,
                "comparable": pattern.comparable,
                "interval": share_interval(pattern.count, pattern.comparable),
            })
        };
        let decided = |one: &Acceptance| {
            json!({
                "pattern": one.id,
                "decision": if one.share.is_some() { "accepted" } else { "rejected" },
                "share": one.share.map(|share| share.share),
                "interval": one.share.map(|share| share.interval),
                "because": one.because,
                "by": one.by,
                "on": one.on,
                "until": one.until,
            })
        };
        json!({
            "run": self.run.display().to_string(),
            "file": self.decisions.path().display().to_string(),
            "open": open.iter().map(pattern).collect::<Vec<_>>(),
            "decided": self.decisions.all().iter().map(decided).collect::<Vec<_>>(),
        })
    }
}

/// Asks why; none where standard input has ended.
fn ask_why(accepts: bool, printer: &Printer) -> Result<Option<String>, Failure> {
    let question = if accepts { "Why is it intended (such as PAY-123)? " } else { "Why is it wrong? " };
    loop {
        match printer.ask(question)? {
            Some(because) if because.trim().is_empty() => {}
            because => return Ok(because),
        }
    }
}

/// What a person answers.
enum Answer {
    Decided(Decision),
    Later,
    Quit,
}

/// Whether a pattern is one that somebody has to decide about.
fn is_asked_about(pattern: &Pattern) -> bool {
    !pattern.information && matches!(pattern.standing, Standing::Proven | Standing::Suspected)
}

/// Why a pattern cannot be accepted; none for most.
fn cannot_be_accepted(pattern: &Pattern) -> Option<&'static str> {
    if matches!(pattern.kind, Kind::Died | Kind::NoProgress | Kind::Unseen) {
        return Some("it is how new ended, not what it wrote");
    }
    if pattern.change == Some(Change::NotMade) {
        return Some("the scenario expects what did not take place; mend `[[expected]]`");
    }
    if pattern.topic.starts_with('(') {
        return Some("several patterns are counted in it");
    }
    (pattern.comparable == 0).then_some("the run does not say how many outputs could differ so; run it again")
}

/// Day since 1970-01-01.
fn day_of(moment: Moment) -> i64 {
    moment.ms().div_euclid(86_400_000)
}
