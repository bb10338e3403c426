//! A schema registry that is asked for each schema once.
//!
//! After Confluent's API, <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>, which others serve too.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::clock::Clock;
use crate::kafka::{NO_NAME, fill_in, is_name};
use crate::schema::{Reference, SchemaKind, SchemaText, SubjectVersion};

/// Media types that registries answer with.
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Schemas that one schema may refer to, directly or through others.
const REFERENCES_MAX: usize = 1_000;

/// Where the registry is and how it is asked. Secrets are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    url: String,
    authorization: Option<String>,
    authority: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    /// Bounds each answer, from the first byte asked to the last byte read.
    pub timeout: Duration,
    /// How often a question is asked again where the registry fails (5xx), is busy (429) or cannot be reached.
    pub retries: u32,
}

impl fmt::Debug for RegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = if self.authorization.is_some() { " with credentials" } else { "" };
        write!(f, "{}{with}", self.url)
    }
}

impl RegistrySettings {
    /// Names the registry at `url`, such as `https://registry:8081`.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Setting`] where it is no address, or holds credentials, which would then stand in histories and lists of
    /// processes.
    pub fn new(url: &str) -> Result<Self, RegistryError> {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let rest = rest.filter(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['?', '#', ' ']));
        let Some(rest) = rest else {
            return Err(RegistryError::setting("the registry", "is no address; write it as https://registry:8081"));
        };
        if rest.split('/').next().is_some_and(|host| host.contains('@')) {
            let problem =
                "holds credentials; write them to a file, as basic.auth.user.info=USER:PASSWORD, or to the environment";
            return Err(RegistryError::setting("the registry's address", problem));
        }
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            authorization: None,
            authority: None,
            certificate: None,
            timeout: Duration::from_secs(10),
            retries: 3,
        })
    }

    /// Takes `USER:PASSWORD` for basic authentication.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Setting`] where there is no colon.
    pub fn basic_auth(&mut self, user_info: &str) -> Result<(), RegistryError> {
        if !user_info.contains(':') {
            return Err(RegistryError::setting("basic.auth.user.info", "has no colon; write USER:PASSWORD"));
        }
        self.authorization = Some(format!("Basic {}", BASE64_STANDARD.encode(user_info.trim())));
        Ok(())
    }

    /// Takes lines of `name=value` as other clients of registries do: `basic.auth.user.info`, `bearer.auth.token`,
    /// `ssl.ca.location`, `ssl.certificate.location` and `ssl.key.location`, with or without `schema.registry.` ahead of them; `#` begins
    /// a comment, `${VAR}` and `${VAR:-default}` stand for environment variables, as in [`crate::kafka::Properties::from_file`].
    ///
    /// # Errors
    ///
    /// [`RegistryError::Setting`] with the line's number where a name is not known, or a variable is not set; no value is repeated.
    pub fn properties(&mut self, text: &str) -> Result<(), RegistryError> {
        self.read(text, |name| std::env::var(name).ok())
    }

    fn read(&mut self, text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<(), RegistryError> {
        let (mut certificate, mut key) = (None, None);
        for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
                return Err(RegistryError::setting(format!("line {number}"), "has no `=`; write name=value"));
            };
            let refused = |problem: String| RegistryError::setting(format!("line {number}"), problem);
            if !is_name(name) {
                // A value may stand in it, as in `bearer.auth.token: …`, so it is not repeated.
                return Err(refused(NO_NAME.to_owned()));
            }
            let value = &*fill_in(value, &variable).map_err(refused)?;
            match name.strip_prefix("schema.registry.").unwrap_or(name) {
                "basic.auth.user.info" => self.basic_auth(value)?,
                // Where Java's clients look for them; there is no other place here.
                "basic.auth.credentials.source" if value == "USER_INFO" => {}
                "bearer.auth.token" => self.authorization = Some(format!("Bearer {value}")),
                "ssl.ca.location" => self.authority = Some(value.into()),
                "ssl.certificate.location" => certificate = Some(PathBuf::from(value)),
                "ssl.key.location" => key = Some(PathBuf::from(value)),
                _ => {
                    let known = "basic.auth.user.info, bearer.auth.token, ssl.ca.location, ssl.certificate.location, \
                                 ssl.key.location";
                    let problem = format!("is no property of a registry; there are {known}");
                    return Err(RegistryError::setting(format!("line {number}: {name}"), problem));
                }
            }
        }
        match (certificate, key) {
            (Some(certificate), Some(key)) => self.certificate = Some((certificate, key)),
            (None, None) => {}
            _ => {
                let problem = "belongs with ssl.key.location: write both or none";
                return Err(RegistryError::setting("ssl.certificate.location", problem));
            }
        }
        Ok(())
    }
}

/// Why a registry cannot be asked. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A setting cannot be used.
    #[error("{name} {problem}")]
    Setting {
        /// Its name.
        name: String,
        /// What is wrong, as a lowercase fragment.
        problem: String,
    },
    /// The registry did not answer, or failed, as often as it was asked.
    #[error("the registry {url} could not be asked for {what}: {reason}")]
    Unreachable {
        /// Its address.
        url: String,
        /// What it was asked for.
        what: String,
        /// What went wrong last.
        reason: String,
    },
    /// No secure connection comes about: asked again, it would not either.
    #[error("no secure connection to the registry {url}: {reason}")]
    Insecure {
        /// Its address.
        url: String,
        /// What is wrong, as a lowercase fragment.
        reason: String,
    },
    /// The registry refuses who asks.
    #[error("the registry {url} refuses to answer ({status}): its credentials are missing or wrong")]
    Refused {
        /// Its address.
        url: String,
        /// Status of the answer.
        status: u16,
    },
    /// The registry does not know what it was asked for.
    #[error("the registry {url} has no {what}")]
    Missing {
        /// Its address.
        url: String,
        /// What it was asked for.
        what: String,
    },
    /// The answer is not what a registry answers.
    #[error("{url} did not answer like a registry when asked for {what}: {reason}")]
    Strange {
        /// Its address.
        url: String,
        /// What it was asked for.
        what: String,
        /// What is wrong, as a lowercase fragment.
        reason: String,
    },
}

impl RegistryError {
    fn setting(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Setting { name: name.into(), problem: problem.into() }
    }
}

/// A registry that is asked.
pub struct Registry<'c> {
    settings: RegistrySettings,
    agent: ureq::Agent,
    clock: &'c dyn Clock,
}

impl fmt::Debug for Registry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

#[derive(Deserialize)]
struct SchemaAnswer {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<ReferenceAnswer>>,
}

#[derive(Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ReferenceAnswer {
    name: String,
    subject: String,
    version: i32,
}

impl<'c> Registry<'c> {
    /// Prepares to ask; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Setting`] where a certificate or a key cannot be read.
    pub fn new(settings: RegistrySettings, clock: &'c dyn Clock) -> Result<Self, RegistryError> {
        let mut tls = TlsConfig::builder().provider(TlsProvider::NativeTls);
        // Without the bundled roots, those of the system are trusted.
        tls = tls.root_certs(match &settings.authority {
            Some(path) => RootCerts::new_with_certs(&certificates("ssl.ca.location", path)?),
            None => RootCerts::PlatformVerifier,
        });
        if let Some((certificate, key)) = &settings.certificate {
            let chain = certificates("ssl.certificate.location", certificate)?;
            let pem = read("ssl.key.location", key)?;
            let key = PrivateKey::from_pem(&pem)
                .map_err(|_| RegistryError::setting("ssl.key.location", format!("{} holds no key", key.display())))?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            // An answer from elsewhere would be asked for with the same credentials.
            .max_redirects(0)
            .user_agent(concat!("rehearsal/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        Ok(Self { settings, agent: config.new_agent(), clock })
    }

    /// Asks whether the registry is there and answers who asks: a wrong address is better known before a capture than after.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Unreachable`] and [`RegistryError::Refused`]; [`RegistryError::Strange`] where something else answers, of
    /// which each schema would seem to be missing.
    pub fn check(&self) -> Result<(), RegistryError> {
        let types = self.ask::<Vec<String>>("/schemas/types", "the types of schemas it knows");
        let answered = match types {
            // Not every registry knows this question; each knows its subjects.
            Err(RegistryError::Strange { .. }) => self.ask::<Vec<String>>("/subjects", "its subjects"),
            answered => answered,
        };
        match answered {
            Ok(_) | Err(RegistryError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks for the schema `id`, all that it refers to, and the subjects it stands under.
    ///
    /// # Errors
    ///
    /// [`RegistryError`], each with what was asked for.
    pub fn schema(&self, id: i32) -> Result<SchemaText, RegistryError> {
        let what = format!("schema {id}");
        let answer: SchemaAnswer = self.ask(&format!("/schemas/ids/{id}"), &what)?;
        let Some(kind) = SchemaKind::of_registry(answer.schema_type.as_deref()) else {
            let reason = "its type is neither AVRO, nor PROTOBUF, nor JSON".to_owned();
            return Err(RegistryError::Strange { url: self.settings.url.clone(), what, reason });
        };
        let mut references = Vec::new();
        let mut met = BTreeSet::new();
        self.resolve(answer.references.unwrap_or_default(), &mut met, &mut references, 0)?;
        // An older registry does not know this question; the schema can be read without the answer.
        let subjects = match self.ask::<Vec<SubjectVersion>>(&format!("/schemas/ids/{id}/versions"), &what) {
            Ok(mut subjects) => {
                subjects.sort();
                subjects
            }
            Err(RegistryError::Missing { .. } | RegistryError::Strange { .. } | RegistryError::Refused { .. }) => {
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        Ok(SchemaText { id, kind, schema: answer.schema, references, subjects })
    }

    /// Asks for what a schema refers to, each behind what it refers to itself.
    fn resolve(
        &self,
        wanted: Vec<ReferenceAnswer>,
        met: &mut BTreeSet<ReferenceAnswer>,
        found: &mut Vec<Reference>,
        depth: usize,
    ) -> Result<(), RegistryError> {
        for reference in wanted {
            if !met.insert(reference.clone()) {
                continue;
            }
            let what = format!("version {} of {}", reference.version, reference.subject);
            if met.len() > REFERENCES_MAX || depth > 100 {
                let reason = "the schemas refer to each other without end".to_owned();
                return Err(RegistryError::Strange { url: self.settings.url.clone(), what, reason });
            }
            let path = format!("/subjects/{}/versions/{}", escaped(&reference.subject), reference.version);
            let answer: SchemaAnswer = self.ask(&path, &what)?;
            self.resolve(answer.references.unwrap_or_default(), met, found, depth + 1)?;
            let ReferenceAnswer { name, subject, version } = reference;
            // Two ways may lead to one name; the definition is the first's, as with other clients.
            if found.iter().all(|known| known.name != name) {
                found.push(Reference { name, subject, version, schema: answer.schema });
            }
        }
        Ok(())
    }

    fn ask<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<T, RegistryError> {
        let url = self.settings.url.clone();
        let mut wait = Duration::from_millis(200);
        let mut left = self.settings.retries;
        loop {
            let reason = match self.answer(path) {
                Ok((200, text)) => {
                    return serde_json::from_slice(&text).map_err(|error| RegistryError::Strange {
                        url,
                        what: what.to_owned(),
                        reason: error.to_string(),
                    });
                }
                Ok((404, text)) if is_of_a_registry(&text) => {
                    return Err(RegistryError::Missing { url, what: what.to_owned() });
                }
                Ok((status @ (401 | 403), _)) => return Err(RegistryError::Refused { url, status }),
                Ok((status, _)) if status == 429 || status >= 500 => format!("it answered {status}"),
                Ok((status, _)) => {
                    let reason = format!("it answered {status}");
                    return Err(RegistryError::Strange { url, what: what.to_owned(), reason });
                }
                Err(error) => match secure(&error) {
                    Some(reason) => return Err(RegistryError::Insecure { url, reason }),
                    None => error.to_string(),
                },
            };
            if left == 0 {
                return Err(RegistryError::Unreachable { url, what: what.to_owned(), reason });
            }
            left -= 1;
            self.clock.wait_until(self.clock.now() + wait);
            wait *= 2;
        }
    }

    fn answer(&self, path: &str) -> Result<(u16, Vec<u8>), ureq::Error> {
        let mut request = self.agent.get(format!("{}{path}", self.settings.url)).header("Accept", ACCEPT);
        if let Some(authorization) = &self.settings.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.call()?;
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok((response.status().as_u16(), text))
    }
}

/// Whether an answer of failure is a registry's, which has a number of its own; any other server answers so, too, to what it does not
/// know.
fn is_of_a_registry(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Failure {
        #[serde(rename = "error_code")]
        _error_code: i64,
    }
    serde_json::from_slice::<Failure>(text).is_ok()
}

/// Says why no secure connection came about, where that is what failed.
fn secure(error: &ureq::Error) -> Option<String> {
    let said = match error {
        ureq::Error::NativeTls(error) => error.to_string(),
        ureq::Error::Tls(said) => (*said).to_owned(),
        _ => return None,
    };
    // OpenSSL's words, which name lines of its sources as well.
    Some(if said.contains("certificate verify failed") {
        "its certificate is not trusted, or is another host's".to_owned()
    } else if said.contains("wrong version number") || said.contains("http request") {
        "it answers, but not in TLS".to_owned()
    } else {
        said
    })
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, RegistryError> {
    std::fs::read(path).map_err(|error| RegistryError::setting(name, format!("{}: {error}", path.display())))
}

fn certificates(name: &str, path: &Path) -> Result<Vec<Certificate<'static>>, RegistryError> {
    let pem = read(name, path)?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(RegistryError::setting(name, format!("{} holds no certificate", path.display())));
    }
    Ok(found)
}

/// A subject as one step of a path.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_credentials_in_it_are_refused_unseen() {
        for url in ["http://registry:8081", "https://registry/ccompat/v7/"] {
            assert!(RegistrySettings::new(url).is_ok(), "{url}");
        }
        for url in ["registry:8081", "http://", "https:///x", "ftp://x", "http://x?y", "https://me:hunter2@registry"] {
            let said = RegistrySettings::new(url).unwrap_err().to_string();
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn properties_are_read_and_secrets_never_shown() {
        let mut settings = RegistrySettings::new("http://registry").unwrap();
        settings.properties("# mine\nbasic.auth.user.info = me:hunter2\n\nssl.ca.location=/ca.pem\n").unwrap();
        assert_eq!(settings.authorization.as_deref(), Some("Basic bWU6aHVudGVyMg=="));
        assert_eq!(format!("{settings:?}"), "http://registry with credentials");
        for (text, place) in [
            ("hunter2", "line 1 has no `=`"),
            ("\npassword=hunter2", "line 2: password is no property"),
            ("basic.auth.user.info=hunter2", "basic.auth.user.info has no colon"),
            ("ssl.key.location=hunter2", "ssl.certificate.location belongs with"),
            ("bearer.auth.token: hunter2=", "line 1 has more than a name"),
            ("basic.auth.user.info: me:hunter2 = x", "line 1 has more than a name"),
            ("basic.auth.credentials.source=hunter2", "line 1: basic.auth.credentials.source is no property"),
            ("bearer.auth.token=hunter2${REHEARSAL_NOBODY}", "line 1 names the environment variable REHEARSAL_NOBODY"),
        ] {
            let said = settings.properties(text).unwrap_err().to_string();
            assert!(said.starts_with(place) && !said.contains("hunter2"), "{said}");
        }
        // As Java's clients have it, with the secret elsewhere.
        let text = "basic.auth.credentials.source=USER_INFO\nschema.registry.basic.auth.user.info=me:${PW}";
        settings.authorization = None;
        settings.read(text, |name| (name == "PW").then(|| "hunter2".to_owned())).unwrap();
        assert_eq!(settings.authorization.as_deref(), Some("Basic bWU6aHVudGVyMg=="));
    }

    #[test]
    fn a_subject_is_one_step_of_a_path() {
        assert_eq!(escaped("a/b c-value_1.x~ü"), "a%2Fb%20c-value_1.x~%C3%BC");
    }
}
