//! Lines of 100 columns: wrapping, columns, colours.

use super::Colours;
use crate::report::figures::{Lines, cut, visible};
use std::fmt::Write as _;

/// Columns of the terminal that a report fits.
const WIDTH: usize = 100;

/// Column at which answers and facts begin.
const LABEL_WIDTH: usize = 22;

/// What a piece of text says by its colour. Nothing is said by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Quiet,
    Heading,
    Good,
    Bad,
    Unsure,
    Removed,
    Added,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Quiet => "\x1b[2m",
            Self::Heading => "\x1b[1m",
            Self::Good => "\x1b[1;32m",
            Self::Bad => "\x1b[1;31m",
            Self::Unsure => "\x1b[1;33m",
            Self::Removed => "\x1b[31m",
            Self::Added => "\x1b[32m",
        }
    }
}

/// The text so far.
pub(super) struct Printed {
    text: String,
    colours: Colours,
}

impl Printed {
    pub(super) fn new(colours: Colours) -> Self {
        Self { text: String::new(), colours }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Writes the verdict, standing out, and what it is about.
    pub(super) fn banner(&mut self, paint: Paint, verdict: &str, about: &str) {
        let room = WIDTH.saturating_sub(width(verdict) + 3);
        let about = fit(&visible(about, Lines::Show), room);
        self.painted(paint, verdict);
        self.text.push_str("   ");
        self.painted(Paint::Heading, &about);
        self.blank();
    }

    /// Writes a heading with what it means behind it, after an empty line.
    pub(super) fn heading(&mut self, title: &str, about: &str) {
        self.blank();
        self.painted(Paint::Heading, title);
        self.blank();
        if !about.is_empty() {
            self.wrapped(2, Paint::Quiet, about);
        }
    }

    /// Writes one line, cut where it is too long.
    pub(super) fn line(&mut self, indent: usize, paint: Paint, text: &str) {
        let text = fit(&visible(text, Lines::Show), WIDTH - indent);
        self.text.push_str(&" ".repeat(indent));
        self.painted(paint, &text);
        self.blank();
    }

    /// Writes a text over as many lines as it takes.
    pub(super) fn wrapped(&mut self, indent: usize, paint: Paint, text: &str) {
        self.wrapped_behind(&" ".repeat(indent), indent, paint, text);
    }

    /// Writes a text behind a bullet.
    pub(super) fn bullet(&mut self, text: &str) {
        self.wrapped_behind("  • ", 4, Paint::Plain, text);
    }

    /// Writes a label and a short text that stands out.
    pub(super) fn labelled(&mut self, label: &str, paint: Paint, text: &str) {
        let label = pad(label, LABEL_WIDTH, Align::Left);
        self.wrapped_behind(&label, LABEL_WIDTH, paint, text);
    }

    /// Writes a text below a labelled one.
    pub(super) fn under_label(&mut self, text: &str) {
        self.wrapped(LABEL_WIDTH, Paint::Plain, text);
    }

    /// Writes a label, a figure and what follows it.
    pub(super) fn fact(&mut self, label: &str, figure: &str, rest: &str) {
        let label = format!("  {}", pad(&fit(&visible(label, Lines::Show), 18), LABEL_WIDTH - 2, Align::Left));
        self.wrapped_behind(&label, LABEL_WIDTH, Paint::Plain, &format!("{figure}{rest}"));
    }

    /// Writes a label and a text that can be copied: on one line however long it is.
    pub(super) fn copyable(&mut self, label: &str, text: &str) {
        let _ = write!(self.text, "  {}", pad(label, LABEL_WIDTH - 2, Align::Left));
        self.painted(Paint::Heading, &visible(text, Lines::Show));
        self.blank();
    }

    /// Writes cells in columns of `widths`; the first is aligned left, and so are words, figures right. A first cell that is
    /// too long is continued below.
    pub(super) fn columns(&mut self, paint: Paint, cells: &[&str], widths: &[usize]) {
        let first = wrap(&visible(cells[0], Lines::Show), widths[0] - 2);
        let mut row = String::from("  ");
        row += &pad(first.first().map_or("", String::as_str), widths[0] - 2, Align::Left);
        for (cell, width) in cells.iter().zip(widths).skip(1) {
            row += "  ";
            row += &pad(&fit(&visible(cell, Lines::Show), width - 2), width - 2, Align::Right);
        }
        self.painted(paint, row.trim_end());
        self.blank();
        first.iter().skip(1).for_each(|rest| self.line(4, paint, rest));
    }

    fn wrapped_behind(&mut self, before: &str, indent: usize, paint: Paint, text: &str) {
        self.text.push_str(before);
        for (index, line) in wrap(&visible(text, Lines::Show), WIDTH - indent).iter().enumerate() {
            if index > 0 {
                self.blank();
                self.text.push_str(&" ".repeat(indent));
            }
            self.painted(paint, line);
        }
        self.blank();
    }

    fn painted(&mut self, paint: Paint, text: &str) {
        if self.colours == Colours::Ansi && paint != Paint::Plain && !text.is_empty() {
            let _ = write!(self.text, "{}{text}\x1b[0m", paint.code());
        } else {
            self.text.push_str(text);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Align {
    Left,
    Right,
}

/// Returns how many columns `text` takes: two for the wide characters of East Asian scripts and for pictographs.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    let wide = matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd);
    if wide { 2 } else { 1 }
}

fn pad(text: &str, to: usize, align: Align) -> String {
    let spaces = " ".repeat(to.saturating_sub(width(text)));
    match align {
        Align::Left => format!("{text}{spaces}"),
        Align::Right => format!("{spaces}{text}"),
    }
}

/// Cuts `text` to `most` columns.
fn fit(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 0;
    for c in text.chars() {
        taken += char_width(c);
        if taken >= most {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

/// Breaks `text` between words into lines of at most `most` columns; words that are longer are broken.
fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word = word.to_owned();
        if !line.is_empty() && width(&line) + 1 + width(&word) > most {
            lines.push(std::mem::take(&mut line));
        }
        while width(&word) > most {
            let head = head_of(&word, most);
            word = word.split_off(head.len());
            lines.push(head);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += &word;
    }
    lines.push(line);
    lines
}

fn head_of(word: &str, most: usize) -> String {
    let mut taken = 0;
    word.chars()
        .take_while(|c| {
            taken += char_width(*c);
            taken <= most
        })
        .collect()
}

/// Cuts two texts to the window in which they first differ, so that a long value shows what changed.
pub(super) fn around_difference(old: &str, new: &str, most: usize) -> (String, String) {
    let same = old.chars().zip(new.chars()).take_while(|(old, new)| old == new).count();
    let longest = old.chars().count().max(new.chars().count());
    // A third of the window stands before the first difference, unless the texts fit as they are or end sooner.
    let from = if longest <= most { 0 } else { same.saturating_sub(most / 3).min(longest + 1 - most) };
    let window = |text: &str| {
        let rest: String = text.chars().skip(from.min(text.chars().count())).collect();
        let shown = if from > 0 { format!("…{rest}") } else { rest };
        cut(&shown, most).into_owned()
    };
    (window(old), window(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words_and_long_words_within() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
    }

    #[test]
    fn a_long_value_is_shown_where_it_differs() {
        let (before, after) = ("a".repeat(200), "z".repeat(200));
        let (old, new) = around_difference(&format!("{before}1{after}"), &format!("{before}2{after}"), 30);
        assert_eq!(old, "…aaaaaaaaaa1zzzzzzzzzzzzzzzzz…");
        assert_eq!(new, "…aaaaaaaaaa2zzzzzzzzzzzzzzzzz…");
        assert_eq!(around_difference("short", "shorter", 30), ("short".to_owned(), "shorter".to_owned()));
        assert_eq!(around_difference("nothing", &after, 10).0, "nothing");
    }

    #[test]
    fn escape_sequences_of_others_do_not_reach_the_terminal() {
        let mut out = Printed::new(Colours::Never);
        out.bullet("\x1b[2Jgone");
        out.columns(Paint::Plain, &["\x07bell", "\x1b"], &[20, 10]);
        out.copyable("again", "rm \x08");
        assert!(!out.finish().chars().any(|c| c.is_control() && c != '\n'));
    }
}
