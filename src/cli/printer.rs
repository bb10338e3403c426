//! The only file that prints: results on standard output, everything else on standard error.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit::{Code, Failure};

/// How work of known length is drawn; the message takes what is left of the line and no more.
const BAR: &str = "{prefix:14} {bar:32} {human_pos}/{human_len} {eta} {wide_msg}";
/// How work is drawn whose length nobody knows.
const SPINNER: &str = "{prefix} {spinner} {wide_msg}";

/// Prints, and draws progress on standard error where that is a terminal.
#[derive(Debug)]
pub(super) struct Printer {
    bars: MultiProgress,
}

impl Printer {
    pub(super) fn new() -> Self {
        let target =
            if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target) }
    }

    /// Whether somebody watches standard output.
    pub(super) fn is_watched() -> bool {
        io::stdout().is_terminal()
    }

    /// Prints a result with a line break behind it where it has none.
    pub(super) fn result(&self, text: &str) -> io::Result<()> {
        self.bars.suspend(|| {
            let mut out = StandardOutput(io::stdout().lock());
            out.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                out.write_all(b"\n")?;
            }
            out.flush()
        })
    }

    /// Whether somebody can be asked: standard input is a terminal.
    pub(super) fn is_asked() -> bool {
        io::stdin().is_terminal()
    }

    /// Asks a question on standard error and reads the line that answers it; none where standard input has ended.
    pub(super) fn ask(&self, question: &str) -> io::Result<Option<String>> {
        self.bars.suspend(|| {
            let mut out = io::stderr().lock();
            out.write_all(question.as_bytes())?;
            out.flush()?;
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line)?;
            Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
        })
    }

    /// Opens standard output for a long result.
    pub(super) fn stream() -> impl io::Write + use<> {
        io::BufWriter::with_capacity(1 << 16, StandardOutput(io::stdout().lock()))
    }

    /// Opens standard output for a build that this program carries: its lines are its own, and it flushes them itself.
    pub(super) fn build_output() -> impl io::Write + use<> {
        Self::stream()
    }

    /// Says something on the way, on standard error.
    pub(super) fn note(&self, text: &str) {
        // Whoever closed standard error does not want to hear that it is closed.
        self.bars.suspend(|| drop(writeln!(io::stderr(), "{text}")));
    }

    /// Says why a command stopped: once, with its causes, and what to do.
    pub(super) fn failure(&self, failure: &Failure) {
        if let Some(error) = &failure.error {
            self.note(&in_words(error.as_ref(), &failure.hint));
        }
    }

    /// Prints what clap has to say: help and version as results, errors as errors.
    pub(super) fn usage(&self, message: &clap::Error) -> Code {
        let styled = message.render();
        let show = |terminal: bool| if terminal { styled.ansi().to_string() } else { styled.to_string() };
        if message.use_stderr() {
            self.note(show(io::stderr().is_terminal()).trim_end());
            Code::Wrong
        } else {
            match self.result(&show(io::stdout().is_terminal())).map_err(Failure::from) {
                Ok(()) => Code::Agree,
                Err(failure) => {
                    self.failure(&failure);
                    failure.code
                }
            }
        }
    }

    /// Adds a bar for work of `length` units; hidden where nobody watches.
    pub(super) fn bar(&self, label: &str, length: Option<u64>) -> ProgressBar {
        let bar = match length {
            Some(length) => ProgressBar::new(length),
            None => ProgressBar::new_spinner(),
        };
        let template = if length.is_some() { BAR } else { SPINNER };
        let bar = self.bars.add(bar);
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(label.to_owned());
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        bar
    }
}

/// Standard output, whose errors say that it is meant.
struct StandardOutput(io::StdoutLock<'static>);

impl io::Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(unwritten)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(unwritten)
    }
}

/// Why a result could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("could not write to standard output")]
struct Unwritten(#[source] io::Error);

fn unwritten(error: io::Error) -> io::Error {
    // The kind stays what it is: a pipe that was closed is known by it.
    io::Error::new(error.kind(), Unwritten(error))
}

/// Makes every panic say that it is ours and how to tell us.
pub(super) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        let said = panic.payload();
        let said = said.downcast_ref::<&str>().copied().or_else(|| said.downcast_ref::<String>().map(String::as_str));
        let _ = writeln!(
            io::stderr(),
            "error: a fault in rehearsal itself{place}: {}\n  = This is never your fault: please report it with the command you ran.",
            said.unwrap_or("without a message")
        );
    }));
}

fn in_words(error: &(dyn Error + 'static), hint: &str) -> String {
    let mut text = format!("error: {error}");
    let mut said = text.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Errors that show their source themselves are not repeated.
        if !said.contains(&cause_text) {
            let _ = write!(text, "\n  caused by: {cause_text}");
            said.push_str(&cause_text);
        }
        next = cause.source();
    }
    if !hint.is_empty() {
        let _ = write!(text, "\n  = {hint}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not read {0}")]
    struct Outer(&'static str, #[source] io::Error);

    #[test]
    fn what_bars_are_drawn_by_can_be_read_and_leaves_the_message_the_rest_of_the_line() {
        for template in [BAR, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok() && template.ends_with("{wide_msg}"), "{template}");
        }
    }

    #[test]
    fn an_error_is_printed_once_with_its_causes_and_a_hint() {
        let error = Outer("a.toml", io::Error::other("the disk is on fire"));
        assert_eq!(
            in_words(&error, "Call somebody."),
            "error: could not read a.toml\n  caused by: the disk is on fire\n  = Call somebody."
        );
    }
}
