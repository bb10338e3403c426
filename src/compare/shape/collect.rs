//! Where values at the ends of paths stand in a text.

use std::ops::Range;

use crate::compare::json::{DEPTH_MAX, Lexer, NoJson};
use crate::compare::paths::{Automaton, Mask};

/// Places of the values at the ends of the paths of `automaton`, in order of appearance.
pub(super) fn collect(text: &str, automaton: &Automaton) -> Result<Vec<Range<usize>>, NoJson> {
    let mut collector = Collector { lexer: Lexer::new(text.as_bytes())?, automaton, found: Vec::new() };
    collector.value((automaton.start(), 0), 0)?;
    Ok(collector.found)
}

/// Goes over a value.
struct Collector<'a> {
    lexer: Lexer<'a>,
    automaton: &'a Automaton,
    found: Vec<Range<usize>>,
}

impl Collector<'_> {
    fn value(&mut self, (mask, ends): (Mask, u32), depth: u32) -> Result<(), NoJson> {
        if depth > DEPTH_MAX {
            return Err(NoJson);
        }
        let first = self.lexer.peek()?;
        let from = self.lexer.at;
        let number = self.found.len();
        if ends != 0 {
            self.found.push(from..from);
        }
        match first {
            b'{' => self.object(mask, depth)?,
            b'[' => self.array(mask, depth)?,
            _ => skip_leaf(&mut self.lexer, first)?,
        }
        if ends != 0 {
            self.found[number] = from..self.lexer.at;
        }
        Ok(())
    }

    fn object(&mut self, mask: Mask, depth: u32) -> Result<(), NoJson> {
        self.lexer.take(b'{')?;
        if self.lexer.peek()? == b'}' {
            self.lexer.at += 1;
            return Ok(());
        }
        loop {
            self.lexer.peek()?;
            let name = self.lexer.string()?;
            self.lexer.take(b':')?;
            let step = if mask == 0 { (0, 0) } else { self.automaton.name(mask, &name) };
            self.value(step, depth + 1)?;
            if !self.lexer.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, mask: Mask, depth: u32) -> Result<(), NoJson> {
        self.lexer.take(b'[')?;
        if self.lexer.peek()? == b']' {
            self.lexer.at += 1;
            return Ok(());
        }
        for index in 0.. {
            let step = if mask == 0 { (0, 0) } else { self.automaton.index(mask, index) };
            self.value(step, depth + 1)?;
            if !self.lexer.more(b']')? {
                break;
            }
        }
        Ok(())
    }
}

pub(super) fn skip_leaf(lexer: &mut Lexer<'_>, first: u8) -> Result<(), NoJson> {
    match first {
        b'"' => lexer.string().map(|_| ()),
        b'n' => lexer.word("null"),
        b't' => lexer.word("true"),
        b'f' => lexer.word("false"),
        _ => lexer.number().map(|_| ()),
    }
}
