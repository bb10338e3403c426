//! Writes HTML whose elements are closed and whose text is escaped, because there is no other way to write any.

use crate::report::figures::{Lines, cut, visible};
use std::fmt::Write as _;

/// Characters of one text from a recording or build; longer ones are cut.
const TEXT_MAX: usize = 4_200;

/// The page so far.
pub(super) struct Page {
    html: String,
}

impl Page {
    pub(super) fn new() -> Self {
        Self { html: String::with_capacity(64 * 1024) }
    }

    pub(super) fn finish(self) -> String {
        self.html
    }

    /// Writes markup of this program's own; being `'static`, it cannot hold what a recording or build says.
    pub(super) fn markup(&mut self, markup: &'static str) {
        self.html.push_str(markup);
    }

    /// Writes text, escaped and cut to a bounded length.
    pub(super) fn text(&mut self, text: &str) {
        escape(&visible(&cut(text, TEXT_MAX), Lines::Keep), &mut self.html);
    }

    /// Writes an element; `tag` may hold attributes: `th scope="col"`.
    pub(super) fn inside(&mut self, tag: &'static str, write: impl FnOnce(&mut Self)) {
        self.html.push('<');
        self.html.push_str(tag);
        self.html.push('>');
        write(self);
        self.close(tag);
    }

    /// Writes an element with the id `name-number`.
    pub(super) fn inside_numbered(
        &mut self,
        tag: &'static str,
        name: &'static str,
        number: usize,
        write: impl FnOnce(&mut Self),
    ) {
        let _ = write!(self.html, "<{tag} id=\"{name}-{number}\">");
        write(self);
        self.close(tag);
    }

    /// Writes a link to the element with the id `name-number`.
    pub(super) fn link_numbered(&mut self, name: &'static str, number: usize, text: &str) {
        let _ = write!(self.html, "<a href=\"#{name}-{number}\">");
        self.text(text);
        self.html.push_str("</a>");
    }

    /// Writes an element that holds nothing but text.
    pub(super) fn leaf(&mut self, tag: &'static str, text: &str) {
        self.inside(tag, |page| page.text(text));
    }

    /// Writes a section with its heading.
    pub(super) fn section(&mut self, tag: &'static str, title: &str, write: impl FnOnce(&mut Self)) {
        self.inside(tag, |page| {
            page.leaf("h2", title);
            write(page);
        });
    }

    /// Writes a table that scrolls by itself where it is too wide: headings (those that begin with `#` stand over figures),
    /// then what `rows` writes.
    pub(super) fn table(&mut self, caption: &str, headings: &[&str], rows: impl FnOnce(&mut Self)) {
        self.inside("div class=\"scroll\" tabindex=\"0\"", |page| {
            let few_figures = headings.len() <= 3 && headings[1..].iter().all(|heading| heading.starts_with('#'));
            let tag = match headings.len() {
                _ if few_figures => "table class=\"narrow\"",
                ..6 => "table",
                _ => "table class=\"wide\"",
            };
            page.inside(tag, |page| {
                page.leaf("caption", caption);
                page.inside("thead", |page| {
                    page.inside("tr", |page| {
                        for heading in headings {
                            match heading.strip_prefix('#') {
                                Some(heading) => page.leaf("th scope=\"col\" class=\"figure\"", heading),
                                None => page.leaf("th scope=\"col\"", heading),
                            }
                        }
                    });
                });
                page.inside("tbody", rows);
            });
        });
    }

    /// Writes a row whose first cell is its heading and whose others are figures.
    pub(super) fn row_of_figures(&mut self, heading: &str, figures: &[String]) {
        self.inside("tr", |page| {
            page.leaf("th scope=\"row\"", heading);
            for figure in figures {
                page.leaf("td class=\"figure\"", figure);
            }
        });
    }

    /// Writes a shape of a chart: an empty element with numbers for attributes.
    pub(super) fn shape(&mut self, tag: &'static str, attributes: &[(&'static str, f64)]) {
        self.open_shape(tag, attributes);
        self.close(tag);
    }

    /// Writes a line through `points`.
    pub(super) fn points(&mut self, tag: &'static str, points: impl Iterator<Item = (f64, f64)>) {
        let _ = write!(self.html, "<{tag} points=\"");
        for (at, (x, y)) in points.enumerate() {
            let _ = write!(self.html, "{}{x:.1},{y:.1}", if at > 0 { " " } else { "" });
        }
        self.html.push_str("\">");
        self.close(tag);
    }

    /// Writes a text of a chart at a place.
    pub(super) fn shape_text(&mut self, tag: &'static str, attributes: &[(&'static str, f64)], text: &str) {
        self.open_shape(tag, attributes);
        self.text(text);
        self.close(tag);
    }

    /// Writes a drawing of `width` times `height` units that scales with the page; `label` is read out instead of it.
    pub(super) fn drawing(&mut self, width: f64, height: f64, label: &'static str, write: impl FnOnce(&mut Self)) {
        let _ = write!(self.html, "<svg role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {width:.0} {height:.0}\">");
        write(self);
        self.close("svg");
    }

    fn open_shape(&mut self, tag: &'static str, attributes: &[(&'static str, f64)]) {
        self.html.push('<');
        self.html.push_str(tag);
        for (name, value) in attributes {
            let _ = write!(self.html, " {name}=\"{value:.1}\"");
        }
        self.html.push('>');
    }

    /// Writes items until `bytes` are spent, then says how many were left out; returns how many were written.
    pub(super) fn within<T>(
        &mut self,
        bytes: usize,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> usize {
        let start = self.html.len();
        for (written, item) in items.enumerate() {
            let mark = self.html.len();
            write(self, item);
            if self.html.len() - start > bytes {
                self.html.truncate(mark);
                return written;
            }
        }
        usize::MAX
    }

    /// Writes a list within `bytes`, with a sentence on what was left out.
    pub(super) fn list<T>(&mut self, bytes: usize, what: &str, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        let mut written = usize::MAX;
        self.inside("ul", |page| {
            written = page.within(bytes, items.iter(), |page, item| page.inside("li", |page| write(page, item)));
        });
        self.left_out(written, items.len(), what);
    }

    /// Writes what another page holds.
    pub(super) fn append(&mut self, other: &Self) {
        self.html.push_str(&other.html);
    }

    /// Says how many of `all` were left out, if any.
    pub(super) fn left_out(&mut self, written: usize, all: usize, what: &str) {
        if written < all {
            let left = crate::report::figures::count((all - written) as u64);
            self.leaf(
                "p class=\"left-out\"",
                &format!("{left} more {what} are left out to keep this page small; run.json has all of them."),
            );
        }
    }

    fn close(&mut self, tag: &'static str) {
        let name = tag.split_once(' ').map_or(tag, |(name, _)| name);
        self.html.push_str("</");
        self.html.push_str(name);
        self.html.push('>');
        if matches!(
            name,
            "p" | "li"
                | "tr"
                | "section"
                | "article"
                | "table"
                | "ul"
                | "dl"
                | "details"
                | "h1"
                | "h2"
                | "h3"
                | "style"
                | "title"
                | "head"
                | "div"
        ) {
            self.html.push('\n');
        }
    }
}

fn escape(shown: &str, html: &mut String) {
    for c in shown.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut page = Page::new();
        page.leaf("p class=\"x\"", "<script>alert('&')</script>\0");
        assert_eq!(page.finish(), "<p class=\"x\">&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;␀</p>\n");
    }

    #[test]
    fn a_list_over_its_bytes_says_what_it_left_out() {
        let mut page = Page::new();
        page.list(40, "things", &["a"; 1_000], |page, item| page.text(item));
        let html = page.finish();
        assert_eq!(html.matches("<li>").count(), 3);
        assert!(html.contains("997 more things are left out"), "{html}");
    }
}
