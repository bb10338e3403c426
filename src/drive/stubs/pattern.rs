//! Paths that a rule fits: `/v1/charges/{id}`, `/static/*`.

use std::collections::BTreeMap;

use regex::Regex;

/// A path with places that anything may stand in.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    names: Vec<String>,
}

impl Pattern {
    /// Reads a pattern: `*` stands for anything, even nothing; `{name}` for one segment, or a part of one.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a lowercase fragment.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if !text.starts_with(['/', '*']) {
            return Err(format!("`{text}` begins with no slash"));
        }
        if text.contains(['?', '#']) {
            return Err(format!("`{text}` holds more than a path"));
        }
        let (mut regex, mut names, mut rest) = (String::from("^"), Vec::new(), text);
        while let Some(at) = rest.find(['*', '{', '}']) {
            regex += &regex::escape(&rest[..at]);
            let sign = rest.as_bytes()[at];
            rest = &rest[at + 1..];
            if sign == b'*' {
                regex += ".*";
                continue;
            }
            let (name, behind) = rest.split_once('}').filter(|_| sign == b'{').unwrap_or_default();
            let is_name = !name.is_empty() && name.chars().all(|sign| sign.is_ascii_alphanumeric() || sign == '_');
            if !is_name || names.iter().any(|other| other == name) {
                return Err(format!("`{text}` has braces without a name of their own in them"));
            }
            regex += "([^/]+)";
            names.push(name.to_owned());
            rest = behind;
        }
        regex += &regex::escape(rest);
        regex.push('$');
        Ok(Self { regex: Regex::new(&regex).map_err(|error| error.to_string())?, names })
    }

    /// Names in braces, in their order.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// What stands for each name; none where the path is another.
    pub(super) fn fit(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let found = self.regex.captures(path)?;
        let texts = found.iter().skip(1).map(|text| text.map_or("", |text| text.as_str()).to_owned());
        Some(self.names.iter().cloned().zip(texts).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_fits_by_segments_and_by_anything() {
        for (pattern, path, found) in [
            ("*", "/anything/at/all", Some("")),
            ("/v1/charges", "/v1/charges", Some("")),
            ("/v1/charges", "/v1/charges/7", None),
            ("/v1/charges", "/x/v1/charges", None),
            ("/v1/charges/{id}", "/v1/charges/ch_7", Some("ch_7")),
            ("/v1/charges/{id}", "/v1/charges/ch_7/refund", None),
            ("/v1/charges/{id}", "/v1/charges/", None),
            ("/v1/{what}/*", "/v1/charges/7/refund", Some("charges")),
            ("/v1/{id}.json", "/v1/7.json", Some("7")),
            ("/v1/{id}.json", "/v1/7xjson", None),
        ] {
            let fit = Pattern::read(pattern).unwrap().fit(path);
            assert_eq!(fit.map(|names| names.into_values().next().unwrap_or_default()).as_deref(), found, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        for text in ["", "v1", "/a?b=1", "/{}", "/{a", "/a}", "/{a}/{a}", "/{a b}"] {
            assert!(Pattern::read(text).is_err(), "{text}");
        }
    }
}
