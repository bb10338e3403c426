//! Topics by pattern.

/// A name of topics in which `*` stands for any number of letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicPattern(String);

impl TopicPattern {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether `topic` is meant.
    pub(super) fn matches(&self, topic: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == topic };
        let Some(mut left) = topic.strip_prefix(first) else { return false };
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return left.ends_with(part);
            }
            match left.find(part) {
                Some(at) => left = &left[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, topic, expected) in [
            ("orders", "orders", true),
            ("orders", "orders-2", false),
            ("*", "orders", true),
            ("orders-*", "orders-eu", true),
            ("orders-*", "orders", false),
            ("*.private", "eu.private", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("a*ba", "aba", true),
            ("ab*ba", "aba", false),
            ("**", "", true),
        ] {
            assert_eq!(TopicPattern::new(pattern).matches(topic), expected, "{pattern} {topic}");
        }
    }
}
