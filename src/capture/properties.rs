//! Properties of librdkafka that users hand through, secrets among them.

use std::fmt;
use std::str::FromStr;

use super::CaptureError;

/// Properties that belong to the capture: with another value it would leave a trace on the cluster or read something else.
const RESERVED: &[&str] = &[
    "allow.auto.create.topics",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "metadata.broker.list",
    "offset.store.method",
];

/// Extra properties of librdkafka, in order. Their values may be secrets and are never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Properties(Vec<(String, String)>);

impl Properties {
    /// Sets the property `name` of librdkafka, such as `security.protocol`, to `value`.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Property`] where the property belongs to the capture.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), CaptureError> {
        if RESERVED.contains(&name) {
            let problem = "belongs to the capture, which joins no group, commits nothing and creates nothing";
            return Err(CaptureError::Property { name: name.to_owned(), problem: problem.to_owned() });
        }
        self.0.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Returns names and values in the order in which they were set.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromStr for Properties {
    type Err = CaptureError;

    /// Reads one `name=value`.
    fn from_str(text: &str) -> Result<Self, CaptureError> {
        let Some((name, value)) = text.split_once('=') else {
            // What stands there may be a secret whose name was forgotten, so it is not repeated.
            let problem = "has no `=`; write name=value, as in security.protocol=ssl".to_owned();
            return Err(CaptureError::Property { name: "a property".to_owned(), problem });
        };
        let mut properties = Self::default();
        properties.set(name.trim(), value)?;
        Ok(properties)
    }
}

impl Extend<Properties> for Properties {
    fn extend<T: IntoIterator<Item = Properties>>(&mut self, more: T) {
        self.0.extend(more.into_iter().flat_map(|properties| properties.0));
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_never_shown() {
        let properties: Properties = "sasl.password=hunter2".parse().unwrap();
        assert_eq!(format!("{properties:?}"), r#"["sasl.password"]"#);
        assert!(!"hunter2".parse::<Properties>().unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        let properties: Properties = "sasl.password=a=b".parse().unwrap();
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("sasl.password", "a=b")]);
    }

    #[test]
    fn what_belongs_to_the_capture_is_refused_by_name() {
        for name in RESERVED {
            let refused = format!("{name}=x").parse::<Properties>().unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
        }
    }
}
