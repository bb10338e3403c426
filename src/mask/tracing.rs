//! Ids of traces and spans: sixteen hexadecimal digits or more, which now and then are all decimal and pass for a payment card's
//! number. Digits alone do not tell them apart, the name that stands with them does.

use super::detect::says_card;

/// Words of a name that say that an id of tracing follows, by themselves.
const WORDS: [&str; 8] = ["trace", "traces", "span", "spans", "traceid", "spanid", "parentspanid", "parentid"];

/// Words of a name that says nothing but that it is an id of what it stands in.
const ID_WORDS: [&str; 4] = ["id", "ids", "parent", "parentid"];

/// Whether the names that lead to a value, the innermost first, say that the whole of it is an id of tracing: `trace_id`,
/// `X-B3-SpanId`, `id` within `span`. A name that speaks of a card never does.
pub(super) fn names_id<'n>(mut names: impl Iterator<Item = &'n str>) -> bool {
    let Some(innermost) = names.next() else { return false };
    let words = words_of(innermost);
    if words.iter().any(|word| says_card(word.as_bytes())) {
        return false;
    }
    let says_tracing = |words: &[String]| words.iter().any(|word| WORDS.contains(&word.as_str()) && word != "parentid");
    let is_id_alone = words.iter().all(|word| ID_WORDS.contains(&word.as_str()));
    says_tracing(&words) || is_id_alone && names.next().is_some_and(|around| says_tracing(&words_of(around)))
}

/// Words of a name, in lower case: apart by signs, or by a capital behind a small letter.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (letter.is_alphanumeric(), words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tracing_are_told_from_all_others() {
        for (names, expected) in [
            (&["trace_id"][..], true),
            (&["traceId"], true),
            (&["X-B3-SpanId"], true),
            (&["X-B3-ParentSpanId"], true),
            (&["dd.trace_id"], true),
            (&["parentspanid"], true),
            (&["trace"], true),
            (&["id", "span"], true),
            (&["id", "spans"], true),
            (&["parent_id", "span"], true),
            (&["id"], false),
            (&["id", "payment"], false),
            (&["parent_id"], false),
            (&["number", "trace"], false),
            (&["card", "trace"], false),
            (&["trace_card"], false),
            (&["pan", "span"], false),
            (&["spanner"], false),
            (&["retrace"], false),
            (&["order_id"], false),
            (&["value"], false),
            (&[], false),
        ] {
            assert_eq!(names_id(names.iter().copied()), expected, "{names:?}");
        }
    }
}
