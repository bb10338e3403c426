//! A strict reader of markup: every element closed in its order, every attribute quoted, every reference known, no character
//! that XML forbids. What browsers forgive is an error here.

/// Elements of HTML that have no end.
const VOID: [&str; 2] = ["col", "meta"];

/// One element as it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    /// Names of the elements around it, outermost first.
    pub(crate) path: Vec<String>,
}

impl Element {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads markup and returns its elements in order, or says what is wrong and where.
pub(crate) fn read(markup: &str) -> Result<Vec<Element>, String> {
    let mut elements = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = markup;
    let at = |rest: &str| markup.len() - rest.len();
    if let Some(bad) = markup
        .chars()
        .find(|c| matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}'))
    {
        return Err(format!("forbidden character {bad:?}"));
    }
    while let Some(start) = rest.find('<') {
        references(&rest[..start])?;
        rest = &rest[start..];
        if rest.starts_with("<?") || rest.starts_with("<!doctype") {
            rest = rest.split_once('>').ok_or("declaration without end")?.1;
            continue;
        }
        if let Some(closing) = rest.strip_prefix("</") {
            let (name, after) = closing.split_once('>').ok_or("closing tag without end")?;
            let opened = open.pop();
            if opened.as_deref() != Some(name) {
                return Err(format!("</{name}> closes {opened:?} at byte {}", at(rest)));
            }
            rest = after;
            continue;
        }
        let (element, closed, after) = tag(&rest[1..]).ok_or_else(|| format!("broken tag at byte {}", at(rest)))?;
        rest = after;
        for (_, value) in &element.attributes {
            references(value)?;
        }
        let element = Element { path: open.clone(), ..element };
        if !closed && !VOID.contains(&element.name.as_str()) {
            open.push(element.name.clone());
        }
        // Style is raw text: it ends at its end tag, whatever stands in it.
        if element.name == "style" {
            rest = &rest[rest.find("</style>").ok_or("style without end")?..];
        }
        elements.push(element);
    }
    references(rest)?;
    if open.is_empty() { Ok(elements) } else { Err(format!("left open: {open:?}")) }
}

fn tag(text: &str) -> Option<(Element, bool, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '-')?;
    let (name, mut rest) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let mut attributes: Vec<(String, String)> = Vec::new();
    loop {
        let trimmed = rest.trim_start();
        if let Some(after) = trimmed.strip_prefix("/>") {
            return Some((Element { name: name.into(), attributes, path: Vec::new() }, true, after));
        }
        if let Some(after) = trimmed.strip_prefix('>') {
            return Some((Element { name: name.into(), attributes, path: Vec::new() }, false, after));
        }
        let end = trimmed.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != ':')?;
        let (key, after) = trimmed.split_at(end);
        if key.is_empty() || trimmed.len() == rest.len() || attributes.iter().any(|(known, _)| known == key) {
            return None;
        }
        // `open` of `details` stands without a value.
        let (value, after) = match after.strip_prefix("=\"") {
            Some(value) => value.split_once('"')?,
            None => ("", after),
        };
        if value.contains('<') {
            return None;
        }
        attributes.push((key.into(), value.into()));
        rest = after;
    }
}

fn references(text: &str) -> Result<(), String> {
    for (index, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&#39;"];
        if !known.iter().any(|reference| text[index..].starts_with(reference)) {
            return Err(format!("bare & in {:?}", &text[index..].chars().take(20).collect::<String>()));
        }
    }
    Ok(())
}

#[test]
fn the_strict_reader_refuses_what_is_broken() {
    for broken in [
        "<a><b></a></b>",
        "<a>",
        "</a>",
        "<a x=1></a>",
        "<a x=\"1\" x=\"2\"></a>",
        "a & b",
        "<a\u{1}></a>",
        "\u{0}",
        "<a x=\"<\"></a>",
        "< a>",
    ] {
        assert!(read(broken).is_err(), "{broken:?}");
    }
    assert_eq!(read("<?xml?><a x=\"1\"><b/>&amp;<meta y=\"2\"></a>").map(|elements| elements.len()), Ok(3));
}
