//! Texts: case, trimming, truncation, affixes, other separators, escapes and encodings.

use super::sides::Sides;
use super::votes::{Explains, Votes};
use super::{Claim, Evidence};

/// Longest affix that is told.
const AFFIX_MAX: usize = 24;

/// Shortest text that must be left for an affix to be one.
const LEFT_MIN: usize = 1;

/// An explanation of two texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TextWay {
    /// New is old in lower case.
    Lower,
    /// New is old in upper case.
    Upper,
    /// Both are the same but for case.
    Case,
    /// New is old without spaces around it; or old is new so.
    Trimmed { new_is: bool },
    /// The same but for how many spaces stand where.
    Spaces,
    /// New is the first so many characters of old; or old those of new.
    Characters { new_is: bool, kept: usize },
    /// As `Characters`, in bytes of UTF-8, less what would part a character.
    Bytes { new_is: bool, kept: usize },
    /// New is what stands in old before this character; or old is what stands so in new.
    Before { new_is: bool, mark: char },
    /// New is what stands in old behind this character; or old is what stands so in new.
    Behind { new_is: bool, mark: char },
    /// One side has this in front.
    Prefix { new_is: bool, affix: String },
    /// One side has this at its end.
    Suffix { new_is: bool, affix: String },
    /// New reads bytes of UTF-8 as Latin-1; or old does.
    Latin { new_is: bool },
    /// New has something else for each character that is no ASCII; or old does.
    Ascii { new_is: bool },
    /// The same letters, some of them composed of a letter and a mark.
    Composed { new_is: bool },
    /// One side escapes characters in this way.
    Escaped { new_is: bool, form: Escape },
    /// The same letters and digits between other separators.
    Separators,
    /// Zeros in front, on the one side or the other.
    Zeros { new_is: bool },
}

impl Explains for TextWay {
    fn kind(&self) -> u8 {
        match self {
            TextWay::Characters { .. } => 1,
            TextWay::Bytes { .. } => 2,
            TextWay::Prefix { .. } => 3,
            TextWay::Suffix { .. } => 4,
            TextWay::Before { .. } | TextWay::Behind { .. } => 5,
            _ => 0,
        }
    }
}

/// How characters are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Escape {
    Html,
    Percent,
    Backslash,
}

/// Finds what explains two texts.
pub(super) fn ways(sides: &Sides<'_, '_>) -> Vec<TextWay> {
    let Some((old, new)) = sides.old.text().zip(sides.new.text()) else { return Vec::new() };
    let mut ways = Vec::new();
    if old == new {
        return ways;
    }
    cases(old, new, &mut ways);
    for (from, to, new_is) in [(old, new, true), (new, old, false)] {
        one_way(from, to, new_is, &mut ways);
    }
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if old.trim() != new.trim() && squeezed(old) == squeezed(new) {
        ways.push(TextWay::Spaces);
    }
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let own = letters(old);
    if own == letters(new) && !own.is_empty() && squeezed(old) != squeezed(new) {
        ways.push(TextWay::Separators);
    }
    ways
}

fn cases(old: &str, new: &str, ways: &mut Vec<TextWay>) {
    if new == old.to_lowercase() {
        ways.push(TextWay::Lower);
    }
    if new == old.to_uppercase() {
        ways.push(TextWay::Upper);
    }
    if old.to_lowercase() == new.to_lowercase() {
        ways.push(TextWay::Case);
    }
}

/// Finds what makes `to` of `from`.
fn one_way(from: &str, to: &str, new_is: bool, ways: &mut Vec<TextWay>) {
    if to == from.trim() {
        ways.push(TextWay::Trimmed { new_is });
    }
    cut(from, to, new_is, ways);
    // What was put in front of or behind `from` to make `to`.
    let is_affix = |affix: &&str| !affix.is_empty() && affix.chars().count() <= AFFIX_MAX;
    if from.chars().count() >= LEFT_MIN {
        if let Some(affix) = to.strip_suffix(from).filter(is_affix) {
            ways.push(TextWay::Prefix { new_is, affix: affix.to_owned() });
            if affix.chars().all(|c| c == '0') && from.chars().all(|c| c.is_ascii_digit()) {
                ways.push(TextWay::Zeros { new_is });
            }
        }
        if let Some(affix) = to.strip_prefix(from).filter(is_affix) {
            ways.push(TextWay::Suffix { new_is, affix: affix.to_owned() });
        }
    }
    if !from.is_ascii() {
        if from.bytes().map(char::from).eq(to.chars()) {
            ways.push(TextWay::Latin { new_is });
        }
        if is_in_ascii(from, to) {
            ways.push(TextWay::Ascii { new_is });
        }
    }
    if is_composed(from, to) {
        ways.push(TextWay::Composed { new_is });
    }
    for form in [Escape::Html, Escape::Percent, Escape::Backslash] {
        if unescaped(to, form).is_some_and(|plain| plain == from) {
            ways.push(TextWay::Escaped { new_is, form });
        }
    }
}

fn cut(from: &str, to: &str, new_is: bool, ways: &mut Vec<TextWay>) {
    // Dots that stand for what was cut belong to what was kept.
    let plain = ["…", "..."].iter().find_map(|dots| to.strip_suffix(dots)).filter(|plain| from.starts_with(plain));
    let start = if from.starts_with(to) { to } else { plain.unwrap_or("") };
    if (to.is_empty() || !start.is_empty()) && from.len() > start.len() {
        ways.push(TextWay::Characters { new_is, kept: to.chars().count() });
        // Cut at this many bytes, or at up to three more that would have parted the next character.
        let next = from[start.len()..].chars().next().map_or(1, char::len_utf8);
        ways.extend((0..next).map(|more| TextWay::Bytes { new_is, kept: to.len() + more }));
    }
    let is_mark = |c: &char| !c.is_alphanumeric();
    if !to.is_empty() {
        let mark = from.strip_prefix(to).and_then(|rest| rest.chars().next()).filter(is_mark);
        ways.extend(mark.filter(|mark| !to.contains(*mark)).map(|mark| TextWay::Before { new_is, mark }));
        let mark = from.strip_suffix(to).and_then(|rest| rest.chars().next_back()).filter(is_mark);
        ways.extend(mark.filter(|mark| !to.contains(*mark)).map(|mark| TextWay::Behind { new_is, mark }));
    }
}

/// Whether each character of `from` that is no ASCII has one other in `to`, all others being the same.
fn is_in_ascii(from: &str, to: &str) -> bool {
    let (mut own, mut other) = (from.chars(), to.chars());
    let mut replaced = 0;
    loop {
        match (own.next(), other.next()) {
            (None, None) => return replaced > 0,
            (Some(one), Some(another)) if one == another => {}
            (Some(one), Some('?' | '\u{fffd}' | '_')) if !one.is_ascii() => replaced += 1,
            _ => return false,
        }
    }
}

/// Letters that are composed of an ASCII letter and a mark, in Latin-1 and Latin Extended-A, with what they are composed of.
/// Enough to tell a text in composed form from one that is not; other scripts tell nothing.
const COMPOSED: &str = "ÀA\u{300}ÁA\u{301}ÂA\u{302}ÃA\u{303}ÄA\u{308}ÅA\u{30a}ÇC\u{327}ÈE\u{300}ÉE\u{301}ÊE\u{302}ËE\u{308}ÌI\u{300}ÍI\u{301}ÎI\u{302}ÏI\u{308}ÑN\u{303}ÒO\u{300}ÓO\u{301}ÔO\u{302}ÕO\u{303}ÖO\u{308}ÙU\u{300}ÚU\u{301}ÛU\u{302}ÜU\u{308}ÝY\u{301}àa\u{300}áa\u{301}âa\u{302}ãa\u{303}äa\u{308}åa\u{30a}çc\u{327}èe\u{300}ée\u{301}êe\u{302}ëe\u{308}ìi\u{300}íi\u{301}îi\u{302}ïi\u{308}ñn\u{303}òo\u{300}óo\u{301}ôo\u{302}õo\u{303}öo\u{308}ùu\u{300}úu\u{301}ûu\u{302}üu\u{308}ýy\u{301}ÿy\u{308}ćc\u{301}čc\u{30c}ĎD\u{30c}ęe\u{328}ěe\u{30c}ğg\u{306}ńn\u{301}ňn\u{30c}őo\u{30b}řr\u{30c}śs\u{301}šs\u{30c}Šs\u{30c}ůu\u{30a}űu\u{30b}źz\u{301}żz\u{307}žz\u{30c}";

/// Whether `to` is `from` with some letters in front of their marks joined with them.
fn is_composed(from: &str, to: &str) -> bool {
    if !from.chars().any(|c| ('\u{300}'..'\u{370}').contains(&c)) {
        return false;
    }
    let mut composed = String::with_capacity(from.len());
    for character in from.chars() {
        let last = composed.chars().next_back();
        match last.and_then(|letter| joined(letter, character)) {
            Some(letter) => {
                composed.pop();
                composed.push(letter);
            }
            None => composed.push(character),
        }
    }
    composed == to
}

fn joined(letter: char, mark: char) -> Option<char> {
    let all: Vec<char> = COMPOSED.chars().collect();
    all.chunks_exact(3).find(|three| three[1] == letter && three[2] == mark).map(|three| three[0])
}

/// Takes back an escape; none where there is nothing to take back.
fn unescaped(text: &str, form: Escape) -> Option<String> {
    match form {
        Escape::Html if text.contains('&') => {
            let pairs = [
                ("&lt;", "<"),
                ("&gt;", ">"),
                ("&quot;", "\""),
                ("&#39;", "'"),
                ("&#x27;", "'"),
                ("&apos;", "'"),
                ("&amp;", "&"),
            ];
            Some(pairs.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain)))
        }
        Escape::Percent if text.contains(['%', '+']) => {
            let mut bytes = Vec::with_capacity(text.len());
            let mut rest = text.bytes();
            while let Some(byte) = rest.next() {
                bytes.push(match byte {
                    b'%' => {
                        let digits = [rest.next()?, rest.next()?];
                        u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                    }
                    b'+' => b' ',
                    plain => plain,
                });
            }
            String::from_utf8(bytes).ok()
        }
        Escape::Backslash if text.contains('\\') => serde_json::from_str(&format!("\"{text}\"")).ok(),
        _ => None,
    }
}

/// Says which explanations hold for enough differences.
pub(super) fn claims(votes: &Votes<TextWay>, evidence: &Evidence<'_>) -> Vec<Claim> {
    let several = evidence.pairs >= 3;
    let holding = votes.all().filter(|(_, count)| several && evidence.is_enough(*count));
    holding.filter_map(|(way, explains)| say(way, explains, evidence)).collect()
}

fn say(way: &TextWay, explains: u64, evidence: &Evidence<'_>) -> Option<Claim> {
    let path = evidence.path;
    let side = |new_is: bool| if new_is { ("new", "old") } else { ("old", "new") };
    let claim = |name: &'static str, rank: u8, says: String| Some(Claim { name, rank, explains, says });
    match way {
        TextWay::Lower => claim("case", 1, format!("new writes {path} in lower case")),
        TextWay::Upper => claim("case", 1, format!("new writes {path} in upper case")),
        TextWay::Case => claim("case", 2, format!("new writes {path} in another case")),
        TextWay::Trimmed { new_is: true } => claim("trimming", 1, format!("new trims the spaces around {path}")),
        TextWay::Trimmed { new_is: false } => {
            claim("trimming", 1, format!("new has spaces around {path} that old trims"))
        }
        TextWay::Spaces => claim("trimming", 2, format!("new has other spaces within {path}")),
        TextWay::Characters { new_is, kept } => {
            let verb = if *new_is { "new cuts" } else { "new no longer cuts" };
            claim("truncation", 2, format!("{verb} {path} to {kept} characters"))
        }
        TextWay::Bytes { new_is, kept } => {
            let verb = if *new_is { "new cuts" } else { "new no longer cuts" };
            claim("truncation", 3, format!("{verb} {path} to {kept} bytes"))
        }
        TextWay::Before { new_is, mark } => {
            let (one, other) = side(*new_is);
            claim("truncation", 2, format!("{one} keeps of {path} what stands before `{mark}` in {other}'s"))
        }
        TextWay::Behind { new_is, mark } => {
            let (one, other) = side(*new_is);
            claim("truncation", 2, format!("{one} keeps of {path} what stands behind `{mark}` in {other}'s"))
        }
        TextWay::Prefix { new_is, affix } => {
            let verb = if *new_is { "puts" } else { "no longer puts" };
            claim("affix", 1, format!("new {verb} `{affix}` in front of {path}"))
        }
        TextWay::Suffix { new_is, affix } => {
            let verb = if *new_is { "puts" } else { "no longer puts" };
            claim("affix", 1, format!("new {verb} `{affix}` behind {path}"))
        }
        TextWay::Latin { new_is } => {
            claim("encoding", 1, format!("{} reads UTF-8 as Latin-1 at {path}", side(*new_is).0))
        }
        TextWay::Ascii { new_is } => {
            claim("encoding", 1, format!("{} replaces letters outside of ASCII at {path}", side(*new_is).0))
        }
        TextWay::Composed { new_is } => {
            let (one, other) = side(*new_is);
            claim(
                "unicode-form",
                1,
                format!("{one} writes {path} with composed letters, {other} with letters and marks"),
            )
        }
        TextWay::Escaped { new_is, form } => {
            let form = match form {
                Escape::Html => "HTML",
                Escape::Percent => "a URL",
                Escape::Backslash => "JSON",
            };
            let verb = if *new_is { "escapes" } else { "no longer escapes" };
            claim("escape", 1, format!("new {verb} {path} as in {form}"))
        }
        TextWay::Separators => {
            claim("format", 3, format!("new writes {path} with other separators, letters and digits as before"))
        }
        TextWay::Zeros { new_is } => {
            let verb = if *new_is { "fills up" } else { "no longer fills up" };
            claim("format", 0, format!("new {verb} {path} with zeros in front"))
        }
    }
}
