//! Properties of librdkafka that users hand through, secrets among them.

use std::fmt;
use std::path::{Path, PathBuf};

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

/// Whom properties are handed to. Some belong to it: with another value it would not do what it is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A capture, which leaves no trace on the cluster that it reads.
    Capture,
    /// A drive over a cluster, which has topics and a group of its own there.
    Drive,
}

/// Properties that belong to a capture.
const OF_CAPTURE: &[&str] = &[
    "allow.auto.create.topics",
    "auto.commit.enable",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "metadata.broker.list",
    "offset.store.method",
];

/// Properties that belong to a drive.
const OF_DRIVE: &[&str] = &[
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "isolation.level",
    "metadata.broker.list",
    "offset.store.method",
    "partitioner",
    "request.required.acks",
    "transactional.id",
];

impl Owner {
    fn reserved(self) -> &'static [&'static str] {
        match self {
            Self::Capture => OF_CAPTURE,
            Self::Drive => OF_DRIVE,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Capture => "belongs to the capture, which joins no group, commits nothing and creates nothing",
            Self::Drive => {
                "belongs to the drive, which produces each event once, to its partition, and reads what is committed"
            }
        }
    }
}

/// Why properties cannot be used. No variant holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// A property cannot be used.
    #[error("{name} {problem}")]
    Property {
        /// Its name.
        name: String,
        /// What is wrong, as a lowercase fragment.
        problem: String,
    },
    /// A file of properties cannot be read.
    #[error("could not read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A line of a file of properties cannot be used.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, as a lowercase fragment.
        problem: String,
    },
    /// No client can be made of the properties.
    #[error("the client cannot be made: {reason}")]
    Client {
        /// What librdkafka says.
        reason: String,
    },
}

/// Other names of librdkafka for the same property, each ahead of the one that is used here. Both set, it would be chance which
/// counts.
const ALIASES: [(&str, &str); 10] = [
    ("acks", "request.required.acks"),
    ("compression.type", "compression.codec"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("retries", "message.send.max.retries"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
];

/// Names of the brokers' addresses, which a file of properties may give.
const BROKERS: [&str; 2] = ["bootstrap.servers", "metadata.broker.list"];

/// Parts of the names of properties whose values are secrets.
const SECRET: [&str; 7] = ["password", "secret", "token", "oauthbearer.config", ".pem", "sasl.username", "jaas"];

/// Extra properties of librdkafka, in order; of a property that stands twice the last counts, by whichever of its names. Their values may be secrets and are
/// never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Properties {
    owner: Owner,
    pairs: Vec<(String, String)>,
    brokers: Option<String>,
}

impl Properties {
    /// Makes an empty list for `owner`.
    pub fn of(owner: Owner) -> Self {
        Self { owner, pairs: Vec::new(), brokers: None }
    }

    /// Sets the property `name` of librdkafka, such as `security.protocol`, to `value`.
    ///
    /// # Errors
    ///
    /// [`PropertyError::Property`] where the property belongs to the owner of the list, or is one of Java's.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), PropertyError> {
        let refuse = |problem: String| Err(PropertyError::Property { name: name.to_owned(), problem });
        if !is_name(name) {
            // A value may stand in it, as in `sasl.password: …`, so it is not repeated.
            let name = "a property".to_owned();
            return Err(PropertyError::Property { name, problem: NO_NAME.to_owned() });
        }
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
        let known = alias.map_or(name, |(_, name)| name);
        if self.owner.reserved().contains(&known) {
            return refuse(self.owner.why().to_owned());
        }
        if let Some(instead) = of_java(name) {
            return refuse(format!("is one of Java's: {instead}"));
        }
        self.pairs.push((known.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Reads one `name=value` for `owner`.
    ///
    /// # Errors
    ///
    /// As [`Properties::set`], and where there is no `=`.
    pub fn parse(text: &str, owner: Owner) -> Result<Self, PropertyError> {
        let Some((name, value)) = text.split_once('=') else {
            // What stands there may be a secret whose name was forgotten, so it is not repeated.
            let problem = "has no `=`; write name=value, as in security.protocol=ssl".to_owned();
            return Err(PropertyError::Property { name: "a property".to_owned(), problem });
        };
        let mut properties = Self::of(owner);
        properties.set(name.trim(), value)?;
        Ok(properties)
    }

    /// Reads a file of properties for `owner`, as librdkafka's tools and Java's clients know it: one `name=value` a line, lines that
    /// begin with `#` or `!` say nothing, `${VAR}` and `${VAR:-default}` stand for environment variables. `bootstrap.servers` is kept
    /// apart, as [`Properties::brokers`].
    ///
    /// # Errors
    ///
    /// [`PropertyError::File`] where the file cannot be read, [`PropertyError::Line`] with file and line for what stands in it. Neither
    /// shows a value.
    pub fn from_file(path: &Path, owner: Owner) -> Result<Self, PropertyError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| PropertyError::File { path: path.to_owned(), source })?;
        Self::read(&text, path, owner, |name| std::env::var(name).ok())
    }

    fn read(
        text: &str,
        path: &Path,
        owner: Owner,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, PropertyError> {
        let mut properties = Self::of(owner);
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let mut read = || {
                let (name, value) = line.split_once('=').ok_or_else(|| "has no `=`; write name=value".to_owned())?;
                let (name, value) = (name.trim(), fill_in(value.trim(), &variable)?);
                if BROKERS.contains(&name) {
                    properties.brokers = Some(value);
                    return Ok(());
                }
                properties.set(name, &value).map_err(|error| error.to_string())
            };
            read().map_err(|problem| PropertyError::Line { path: path.to_owned(), line: number + 1, problem })?;
        }
        Ok(properties)
    }

    /// Returns the brokers that a file named, as `HOST:PORT`, joined by commas.
    pub fn brokers(&self) -> Option<&str> {
        self.brokers.as_deref()
    }

    /// Takes the values of secrets out of what somebody else wrote, such as librdkafka in an error.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut secrets: Vec<&str> =
            self.iter().filter(|(name, value)| is_secret(name) && !value.is_empty()).map(|(_, value)| value).collect();
        // The longest first: one secret may be part of another.
        secrets.sort_by_key(|value| std::cmp::Reverse(value.len()));
        secrets.into_iter().fold(text.to_owned(), |text, value| text.replace(value, "[redacted]"))
    }

    /// Says why librdkafka made no client of these properties; its own words repeat the value, which may be a secret.
    pub(crate) fn refused(&self, error: KafkaError) -> PropertyError {
        let KafkaError::ClientConfig(result, _, name, _) = error else {
            return PropertyError::Client { reason: self.scrub(&error.to_string()) };
        };
        let problem = match result {
            RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => "is no property of librdkafka",
            _ if name.starts_with("sasl.oauthbearer") => {
                "has a value that this build of librdkafka does not take (it has no libcurl, so no OIDC)"
            }
            _ => "has a value that librdkafka does not take",
        };
        PropertyError::Property { name, problem: problem.to_owned() }
    }

    /// Returns names and values in the order in which they were set.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What is wrong with a text that is no name of a property.
pub(crate) const NO_NAME: &str =
    "has more than a name ahead of its first `=`; write name=value, the name of letters, digits, `.`, `-` and `_`";

/// Whether a text may be the name of a property, and nothing else.
pub(crate) fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.bytes().all(is_part)
}

/// Whether a text names a property whose value is a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|part| name.contains(part))
}

/// Refuses addresses of brokers that name a user: what stands ahead of the host may be a password, and addresses stand in errors.
pub(crate) fn check_brokers(brokers: &str) -> Result<(), PropertyError> {
    if !brokers.contains('@') {
        return Ok(());
    }
    let problem =
        "names a user with a broker; write HOST:PORT alone, and sasl.username and sasl.password as properties";
    Err(PropertyError::Property { name: "bootstrap.servers".to_owned(), problem: problem.to_owned() })
}

impl Extend<Properties> for Properties {
    fn extend<T: IntoIterator<Item = Properties>>(&mut self, more: T) {
        for properties in more {
            self.pairs.extend(properties.pairs);
            self.brokers = properties.brokers.or_else(|| self.brokers.take());
        }
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

/// Says what librdkafka has in place of a property that only Java's clients know.
fn of_java(name: &str) -> Option<&'static str> {
    match name {
        "sasl.jaas.config" => Some("write sasl.username and sasl.password"),
        "ssl.truststore.location" | "ssl.truststore.password" | "ssl.truststore.type" => {
            Some("write ssl.ca.location, a file of PEM certificates")
        }
        _ => None,
    }
}

/// Puts the values of variables in the place of `${VAR}` and `${VAR:-default}`.
pub(crate) fn fill_in(text: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((ahead, behind)) = rest.split_once("${") {
        let (name, behind) = behind.split_once('}').ok_or_else(|| "has a `${` without its `}`".to_owned())?;
        let (name, default) = name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
        let value = variable(name).or_else(|| default.map(str::to_owned));
        filled.push_str(ahead);
        filled.push_str(&value.ok_or_else(|| format!("names the environment variable {name}, which is not set"))?);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_never_shown() {
        let properties: Properties = Properties::parse("sasl.password=hunter2", Owner::Capture).unwrap();
        assert_eq!(format!("{properties:?}"), r#"["sasl.password"]"#);
        assert!(!Properties::parse("hunter2", Owner::Capture).unwrap_err().to_string().contains("hunter2"));
        // As Java's properties may be written; secrets in base64 end so.
        for text in ["sasl.password: hunter2=", "sasl.password hunter2=", "=hunter2"] {
            for owner in [Owner::Capture, Owner::Drive] {
                let refused = Properties::parse(text, owner).unwrap_err().to_string();
                assert!(!refused.contains("hunter2") && refused.contains("write name=value"), "{refused}");
            }
            let refused = Properties::read(text, Path::new("f"), Owner::Capture, |_| None).unwrap_err().to_string();
            assert!(!refused.contains("hunter2") && refused.starts_with("f:1: a property has more"), "{refused}");
        }
    }

    #[test]
    fn the_last_of_two_names_of_a_property_counts() {
        for (first, last, name) in [
            ("sasl.mechanisms", "sasl.mechanism", "sasl.mechanisms"),
            ("sasl.mechanism", "sasl.mechanisms", "sasl.mechanisms"),
            ("fetch.message.max.bytes", "max.partition.fetch.bytes", "fetch.message.max.bytes"),
        ] {
            let mut properties: Properties = Properties::parse(&format!("{first}=1"), Owner::Capture).unwrap();
            properties.extend([Properties::parse(&format!("{last}=2"), Owner::Capture).unwrap()]);
            assert_eq!(properties.iter().collect::<Vec<_>>(), [(name, "1"), (name, "2")]);
        }
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        let properties: Properties = Properties::parse("sasl.password=a=b", Owner::Capture).unwrap();
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("sasl.password", "a=b")]);
    }

    #[test]
    fn a_file_is_read_with_its_variables_and_brokers() {
        let text = "# TLS\n! and SASL\n\nbootstrap.servers = kafka:9093\nsecurity.protocol=sasl_ssl\n\
            sasl.password = a${SECRET}=#b \nsasl.username=${NOBODY:-me}\n";
        let set = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
        let properties = Properties::read(text, Path::new("client.properties"), Owner::Capture, set).unwrap();
        assert_eq!(properties.brokers(), Some("kafka:9093"));
        assert_eq!(
            properties.iter().collect::<Vec<_>>(),
            [("security.protocol", "sasl_ssl"), ("sasl.password", "ahunter2=#b"), ("sasl.username", "me")]
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_never_shown() {
        for (line, says) in [
            ("hunter2", "has no `=`"),
            ("sasl.password=hunter2${", "without its `}`"),
            ("sasl.password=hunter2${NOBODY}", "NOBODY, which is not set"),
            ("group.id=hunter2", "group.id belongs to the capture"),
            ("sasl.jaas.config=hunter2", "sasl.username"),
        ] {
            let error = Properties::read(&format!("\n{line}"), Path::new("a.properties"), Owner::Capture, |_| None)
                .unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("a.properties:2") && shown.contains(says), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn secrets_are_taken_out_of_the_words_of_others() {
        let mut properties = Properties::of(Owner::Capture);
        for (name, value) in
            [("sasl.password", "hunter2"), ("ssl.key.password", "hunter2-and-more"), ("security.protocol", "sasl_ssl")]
        {
            properties.set(name, value).unwrap();
        }
        let said = "sasl_ssl://a: hunter2 and hunter2-and-more were refused";
        assert_eq!(properties.scrub(said), "sasl_ssl://a: [redacted] and [redacted] were refused");
    }

    #[test]
    fn what_belongs_to_the_owner_is_refused_by_name() {
        for owner in [Owner::Capture, Owner::Drive] {
            for name in owner.reserved() {
                let refused = Properties::parse(&format!("{name}=x"), owner).unwrap_err().to_string();
                assert!(refused.contains(name) && refused.contains("belongs to"), "{refused}");
            }
        }
        // By another name, too.
        let refused = Properties::parse("acks=1", Owner::Drive).unwrap_err().to_string();
        assert!(refused.contains("acks belongs to the drive"), "{refused}");
        assert!(Properties::parse("isolation.level=read_uncommitted", Owner::Capture).is_ok());
    }
}
