//! A scenario's text: variables replaced, every place still known by file, line and column.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::kafka::is_secret;

/// Something wrong with a scenario: where it stands, what it is, what to write instead. Prints as rustc does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: TextPlace,
    /// What is wrong, as a lowercase fragment.
    pub problem: String,
    /// What to write instead, as a sentence; empty where there is nothing to add.
    pub instead: String,
}

/// A place that a person can go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPlace {
    /// A stretch of one line of a file.
    Line {
        /// File, as it was given.
        path: PathBuf,
        /// Line, from one.
        line: usize,
        /// Column in characters, from one.
        column: usize,
        /// Characters of the stretch, at least one.
        width: usize,
        /// The line as it stands in the file, so with its variables.
        text: String,
    },
    /// An override of the command line.
    Override {
        /// The argument of `--set`.
        argument: String,
    },
}

impl Problem {
    /// Line of the file at which it stands; overrides come behind all lines.
    pub(super) fn line(&self) -> usize {
        match &self.place {
            TextPlace::Line { line, .. } => *line,
            TextPlace::Override { .. } => usize::MAX,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        match &self.place {
            TextPlace::Line { path, line, column, width, text } => {
                let margin = line.to_string().len();
                let (text, before, width) = &excerpt(text, column - 1, *width);
                // Tabs are kept in front of the caret, so that it stands below its character in every terminal.
                let indent: String = text.chars().take(*before).map(|c| if c == '\t' { c } else { ' ' }).collect();
                write!(f, "\n{:margin$}--> {}:{line}:{column}", "", path.display())?;
                write!(f, "\n{:margin$} |\n{line} | {text}\n{:margin$} | {indent}{}", "", "", "^".repeat(*width))?;
                if !self.instead.is_empty() {
                    write!(f, "\n{:margin$} = {}", "", self.instead)?;
                }
            }
            TextPlace::Override { argument } => {
                write!(f, "\n --> --set {argument}")?;
                if !self.instead.is_empty() {
                    write!(f, "\n  = {}", self.instead)?;
                }
            }
        }
        Ok(())
    }
}

/// Longest line that is shown whole, in characters.
const EXCERPT_MAX: usize = 160;

/// Cuts a long line to what stands around its stretch of `width` characters behind `before` others; returns it with both.
fn excerpt(line: &str, before: usize, width: usize) -> (String, usize, usize) {
    let length = line.chars().count();
    if length <= EXCERPT_MAX {
        return (line.to_owned(), before, width);
    }
    let start = before.saturating_sub(EXCERPT_MAX / 2).min(length - EXCERPT_MAX);
    let shown: String = line.chars().skip(start).take(EXCERPT_MAX).collect();
    let (head, tail) = (if start > 0 { "…" } else { "" }, if start + EXCERPT_MAX < length { "…" } else { "" });
    let before = before - start;
    (
        format!("{head}{shown}{tail}"),
        before + head.chars().count(),
        width.min(EXCERPT_MAX.saturating_sub(before)).max(1),
    )
}

/// A scenario's text after its variables were replaced, with what leads back to the file.
#[derive(Debug, Clone)]
pub(super) struct Source {
    path: PathBuf,
    file: String,
    text: String,
    pieces: Vec<Piece>,
    overrides: Vec<Override>,
}

/// An override of the command line, as TOML.
#[derive(Debug, Clone)]
pub(super) struct Override {
    /// Offset at which its line is thought to stand: behind the text and all overrides before it.
    pub(super) start: usize,
    /// The line, first with its value as it is, then with its value as text.
    pub(super) lines: [String; 2],
    argument: String,
}

/// A stretch of the replaced text and where it came from.
#[derive(Debug, Clone)]
struct Piece {
    text: Range<usize>,
    file: Range<usize>,
    /// Name of the variable that stood there; none where the text is the file's own.
    variable: Option<String>,
}

impl Source {
    /// Replaces `${VAR}` and `${VAR:-default}` in `file`, the text of the file at `path`, by what `variables` says.
    ///
    /// Comments are left alone, and `$${` stands for `${` itself. A default stands where the variable is unset or empty, as in
    /// a shell.
    ///
    /// # Errors
    ///
    /// Every variable that is unset and has no default, and every `${` that does not end.
    pub(super) fn new(
        path: &Path,
        file: String,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Problem>> {
        let mut source =
            Self { path: path.to_owned(), file, text: String::new(), pieces: Vec::new(), overrides: Vec::new() };
        let mut problems = Vec::new();
        let mut rest = 0;
        for found in references(&source.file) {
            source.keep(rest..found.range.start);
            rest = found.range.end;
            match found.replacement(variables) {
                Ok(value) => source.put(&value, found.range, found.name),
                Err((problem, instead)) => {
                    let place = source.file_place(found.range);
                    problems.push(Problem { place, problem, instead });
                }
            }
        }
        source.keep(rest..source.file.len());
        if problems.is_empty() { Ok(source) } else { Err(problems) }
    }

    /// Returns the text to parse.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the file's own text.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Lays overrides (`key=value`) behind the text, later ones last.
    #[must_use]
    pub(super) fn with_overrides(mut self, overrides: &[String]) -> Self {
        let mut start = self.text.len() + 1;
        for argument in overrides {
            // Without `=` neither line is TOML, which is what the parser then says.
            let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
            // `fault[1].kind` becomes the dotted key `fault.1.kind`, which TOML can read; digits index a list further down.
            let key = dotted(key);
            let text =
                if argument.contains('=') { serde_json::Value::from(value.trim()).to_string() } else { String::new() };
            let lines = [format!("{key} = {}", value.trim()), format!("{key} = {text}")];
            let length = lines[0].len().max(lines[1].len()) + 1;
            self.overrides.push(Override { start, lines, argument: argument.clone() });
            start += length;
        }
        self
    }

    /// Returns the overrides, in order.
    pub(super) fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    /// Returns the last override that sets `key` (`fault[0].kind`) or something inside it.
    pub(super) fn override_of(&self, key: &str) -> Option<&Override> {
        let key = dotted(key);
        self.overrides.iter().rev().find(|over| {
            let named = dotted(over.argument.split('=').next().unwrap_or_default());
            named.strip_prefix(&*key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// Makes the problem of the stretch `span` of the text; values of variables in it are named, not shown.
    pub(super) fn problem(&self, span: Range<usize>, problem: &str, instead: &str) -> Problem {
        let (problem, instead) = (self.masked(&span, problem), self.masked(&span, instead));
        Problem { place: self.place(span), problem, instead }
    }

    /// Writes `${NAME}` wherever `words` holds the value of a variable that was replaced in the stretch `span`: what came from
    /// the environment may be secret.
    pub(super) fn masked(&self, span: &Range<usize>, words: &str) -> String {
        let mut masked = words.to_owned();
        for piece in &self.pieces {
            if let Some(name) = &piece.variable
                && piece.text.start < span.end.max(span.start + 1)
                && span.start <= piece.text.end
                && !piece.text.is_empty()
            {
                masked = masked.replace(&self.text[piece.text.clone()], &format!("${{{name}}}"));
            }
        }
        masked
    }

    fn place(&self, span: Range<usize>) -> TextPlace {
        if span.start > self.text.len()
            && let Some(over) = self.overrides.iter().rev().find(|over| over.start <= span.start)
        {
            return TextPlace::Override { argument: shown(&over.argument) };
        }
        let start = self.in_file(span.start, false);
        let end = self.in_file(span.end, true).max(start);
        self.file_place(start..end)
    }

    fn in_file(&self, offset: usize, end: bool) -> usize {
        let piece =
            self.pieces.iter().find(|piece| if end { offset <= piece.text.end } else { offset < piece.text.end });
        match piece {
            Some(piece) if piece.variable.is_none() => piece.file.start + offset.saturating_sub(piece.text.start),
            Some(piece) if end => piece.file.end,
            Some(piece) => piece.file.start,
            None => self.file.len(),
        }
    }

    fn file_place(&self, span: Range<usize>) -> TextPlace {
        // An end of file is shown behind the last line that says something.
        let start = span.start.min(self.file.trim_end().len());
        let line_start = self.file[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.file[start..].find('\n').map_or(self.file.len(), |at| start + at);
        let end = span.end.clamp(start, line_end.max(start));
        TextPlace::Line {
            path: self.path.clone(),
            line: self.file[..line_start].matches('\n').count() + 1,
            column: self.file[line_start..start].chars().count() + 1,
            width: self.file[start..end].chars().count().max(1),
            text: without_secret(self.file[line_start..line_end].trim_end()),
        }
    }

    fn keep(&mut self, range: Range<usize>) {
        let start = self.text.len();
        self.text.push_str(&self.file[range.clone()]);
        self.pieces.push(Piece { text: start..self.text.len(), file: range, variable: None });
    }

    fn put(&mut self, value: &str, file: Range<usize>, variable: String) {
        let start = self.text.len();
        self.text.push_str(value);
        let variable = (!variable.is_empty()).then_some(variable);
        self.pieces.push(Piece { text: start..self.text.len(), file, variable });
    }
}

/// Returns an override as it may be shown: properties of a client may be secrets.
pub(super) fn shown(over: &str) -> String {
    let Some((key, value)) = over.split_once('=') else { return over.to_owned() };
    let name = dotted(key);
    let inside = name == "drive.properties" || name.starts_with("drive.properties.") || is_secret(&name);
    if inside || name == "drive" && value.contains("properties") {
        return format!("{key}=[redacted]");
    }
    over.to_owned()
}

/// Cuts a line of a file off behind the name of a client's property whose value is a secret.
fn without_secret(line: &str) -> String {
    let secret = line.match_indices('=').find(|(at, _)| is_secret(&line[..*at]));
    secret.map_or_else(|| line.to_owned(), |(at, _)| format!("{}= …", &line[..at]))
}

/// Writes `fault[1].kind` as `fault.1.kind`.
fn dotted(key: &str) -> String {
    key.trim().replace('[', ".").replace(']', "")
}

/// One `${…}` in a text.
struct Reference {
    range: Range<usize>,
    /// Empty for the escape `$${`.
    name: String,
    default: Option<String>,
    closed: bool,
}

impl Reference {
    fn replacement(&self, variables: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, String)> {
        let name = &self.name;
        if !self.closed {
            return Err(("`${` without its `}`".into(), "Write `${NAME}`, or `$${` for the two characters.".into()));
        }
        if name.is_empty() {
            return Ok("${".into());
        }
        match (variables(name).filter(|value| self.default.is_none() || !value.is_empty()), &self.default) {
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => Err((
                format!("the variable `{name}` is not set"),
                format!("Set it in the environment, or write `${{{name}:-default}}`."),
            )),
        }
    }
}

/// Finds every `${…}` outside of comments. Knows of TOML only what tells a comment from a `#` inside a string.
fn references(file: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut quote: Option<&str> = None;
    let mut at = 0;
    while at < file.len() {
        let rest = &file[at..];
        let step = rest.chars().next().map_or(1, char::len_utf8);
        at += if rest.starts_with("$${") {
            found.push(Reference { range: at..at + 3, name: String::new(), default: None, closed: true });
            3
        } else if rest.starts_with("${") {
            let reference = reference(rest, at);
            let length = reference.range.len();
            found.push(reference);
            length
        } else if let Some(open) = quote {
            if rest.starts_with(open) {
                quote = None;
                open.len()
            } else if open.starts_with('"') && rest.starts_with('\\') {
                1 + rest[1..].chars().next().map_or(0, char::len_utf8)
            } else {
                // A string of one line that was left open ends with its line; the parser will say so.
                if rest.starts_with('\n') && open.len() == 1 {
                    quote = None;
                }
                step
            }
        } else if let Some(open) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|open| rest.starts_with(open)) {
            quote = Some(open);
            open.len()
        } else if rest.starts_with('#') {
            rest.find('\n').unwrap_or(rest.len())
        } else {
            step
        };
    }
    found
}

fn reference(rest: &str, at: usize) -> Reference {
    let line = rest.split('\n').next().unwrap_or(rest);
    let Some(end) = line.find('}') else {
        return Reference { range: at..at + 2, name: String::new(), default: None, closed: false };
    };
    let inside = &line[2..end];
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (inside, None),
    };
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    Reference { range: at..at + end + 1, name: name.to_owned(), default, closed: valid }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(file: &str) -> Result<Source, Vec<Problem>> {
        let variables = |name: &str| match name {
            "HOME" => Some("/home/jo".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        Source::new(Path::new("a.toml"), file.to_owned(), &variables)
    }

    #[test]
    fn variables_are_replaced_in_text() {
        for (file, text) in [
            ("a = \"${HOME}/x\"", "a = \"/home/jo/x\""),
            ("a = ${PORT:-80}", "a = 80"),
            ("a = '${EMPTY:-none}'", "a = 'none'"),
            ("a = '${EMPTY}'", "a = ''"),
            ("a = '$${HOME}'", "a = '${HOME}'"),
            ("# ${NOBODY}\na = 1 # ${NOBODY}", "# ${NOBODY}\na = 1 # ${NOBODY}"),
            ("a = '#${HOME}'", "a = '#/home/jo'"),
            ("a = \"\\\"#${HOME}\"", "a = \"\\\"#/home/jo\""),
            ("a = '''\n#${HOME}'''", "a = '''\n#/home/jo'''"),
        ] {
            assert_eq!(source(file).unwrap().text(), text, "{file}");
        }
    }

    #[test]
    fn every_unset_variable_is_named_with_line_and_column() {
        let problems = source("a = 1\nb = '${NOBODY}'\nc = '${NOR_HIM}'\n").unwrap_err();
        assert_eq!(problems.len(), 2);
        let text = problems[0].to_string();
        assert!(text.contains("`NOBODY` is not set") && text.contains("a.toml:2:6"), "{text}");
        assert!(text.contains("${NOBODY:-default}"), "{text}");
        assert!(problems[1].to_string().contains("a.toml:3:6"));
    }

    #[test]
    fn a_reference_that_does_not_end_is_refused() {
        for file in ["a = '${HOME'", "a = '${}'", "a = '${A B}'"] {
            assert!(source(file).unwrap_err()[0].problem.contains("without its"), "{file}");
        }
    }

    #[test]
    fn places_behind_a_variable_are_those_of_the_file() {
        let source = source("a = ['${HOME}', 12]\n").unwrap();
        let at = source.text().find("12").unwrap();
        let problem = source.problem(at..at + 2, "12 is odd", "");
        assert_eq!(
            problem.to_string(),
            "12 is odd\n --> a.toml:1:17\n  |\n1 | a = ['${HOME}', 12]\n  |                 ^^"
        );
    }

    #[test]
    fn a_long_line_is_shown_around_its_stretch() {
        let file = format!("a = '{}' ; b = 1\n", "x".repeat(100_000));
        let source = source(&file).unwrap();
        for (stretch, marked) in [("a", "a"), (";", ";"), ("1", "1"), ("'xxx", "'xxx")] {
            let at = if stretch == "1" { file.rfind('1') } else { file.find(stretch) }.unwrap();
            let text = source.problem(at..at + stretch.len(), "odd", "").to_string();
            let lines: Vec<&str> = text.lines().collect();
            assert!(text.len() < 800, "{text}");
            let caret = lines[4].chars().position(|c| c == '^').unwrap();
            let shown: String = lines[3].chars().skip(caret).take(marked.len()).collect();
            assert_eq!(shown, marked, "{text}");
        }
    }

    #[test]
    fn the_value_of_a_variable_is_never_shown() {
        let source = source("a = '${HOME}'\n").unwrap();
        let problem = source.problem(4..14, "no folder `/home/jo`", "");
        assert_eq!(problem.problem, "no folder `${HOME}`");
        assert!(!problem.to_string().contains("/home/jo"));
    }

    #[test]
    fn what_a_client_keeps_secret_is_shown_nowhere() {
        for over in [
            "drive.properties.sasl.password=hunter2",
            "drive.properties={ 'ssl.key.password' = 'hunter2' }",
            "drive={ properties = { a = 'hunter2' } }",
        ] {
            let shown = shown(over);
            assert!(shown.ends_with("=[redacted]") && !shown.contains("hunter2"), "{shown}");
        }
        assert_eq!(shown("drive.settle=2s"), "drive.settle=2s");
        let file = "[drive]\nproperties = { a = 1, 'sasl.password' = 'hunter2' }\n";
        let source = Source::new(Path::new("a.toml"), file.to_owned(), &|_| None).unwrap();
        let said = source.problem(8..18, "wrong", "").to_string();
        assert!(said.contains("'sasl.password' = …") && !said.contains("hunter2"), "{said}");
    }
}
