//! Apache Kafka, started for tests and ended with them.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tempfile::TempDir;

/// What the script exits with where Kafka cannot be had.
const MISSING: i32 = 75;

/// Brokers of Apache Kafka on this machine. They end when this is dropped, and also when the test's process dies.
pub(crate) struct Cluster {
    /// Where they listen.
    pub(crate) brokers: String,
    /// Where they listen with SASL over TLS; empty where they do not.
    pub(crate) secure_brokers: String,
    /// Holds `ca.pem`, which signs the certificate of such a listener, and `other.pem`, which does not.
    pub(crate) files: PathBuf,
    child: Child,
    commands: Option<ChildStdin>,
    answers: Mutex<Lines<BufReader<ChildStdout>>>,
    _folder: TempDir,
}

impl Cluster {
    /// The one broker that tests share; topics are each test's own. None where Kafka cannot be had, which is said aloud, and
    /// fails where `REHEARSAL_KAFKA` is `required`.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::of(1)?);
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// A cluster of so many brokers.
    pub(crate) fn of(brokers: u32) -> Option<Self> {
        Self::with(&[&brokers.to_string()])
    }

    /// One broker that listens with SASL over TLS, too.
    pub(crate) fn secure() -> Option<Self> {
        Self::with(&["1", "secure"])
    }

    fn with(arguments: &[&str]) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let files = folder.path().join("brokers");
        let mut child = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/cluster"))
            .arg(&files)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let Some(ready) = answers.next() else {
            let mut complaint = String::new();
            child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
            let code = child.wait().unwrap().code();
            assert_eq!(code, Some(MISSING), "Kafka does not start: {complaint}");
            let required = std::env::var("REHEARSAL_KAFKA").is_ok_and(|value| value == "required");
            assert!(!required, "Kafka cannot be had: {complaint}");
            // Past what captures the output of tests: what is left out must be seen.
            let mut stderr = std::io::stderr();
            writeln!(stderr, "LEFT OUT: {}: {}", std::thread::current().name().unwrap_or("a test"), complaint.trim())
                .unwrap();
            return None;
        };
        let ready = ready.unwrap();
        let addresses = ready.strip_prefix("ready ").unwrap();
        let (brokers, secure_brokers) = addresses.split_once(' ').unwrap_or((addresses, ""));
        let (brokers, secure_brokers) = (brokers.to_owned(), secure_brokers.to_owned());
        Some(Self { brokers, secure_brokers, files, child, commands, answers: Mutex::new(answers), _folder: folder })
    }

    /// Client configuration that finds the cluster.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// Makes a topic. `settings` are Kafka's own.
    pub(crate) fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let made = wait(self.admin().create_topics([&new], &options())).unwrap();
        for result in made {
            result.unwrap();
        }
    }

    /// Makes a topic of one partition on these brokers, the first of which leads it.
    pub(crate) fn create_on(&self, topic: &str, brokers: &[i32], settings: &[(&str, &str)]) {
        let placed = [brokers];
        let mut new = NewTopic::new(topic, 1, TopicReplication::Variable(&placed));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        wait(self.admin().create_topics([&new], &options())).unwrap().into_iter().for_each(|made| drop(made.unwrap()));
    }

    /// Gives a topic more partitions, so many in all.
    pub(crate) fn grow(&self, topic: &str, partitions: usize) {
        let grown = wait(self.admin().create_partitions([&NewPartitions::new(topic, partitions)], &options()));
        grown.unwrap().into_iter().for_each(|result| drop(result.unwrap()));
    }

    /// Makes a topic of one partition; returns whether there was none of its name any more.
    pub(crate) fn try_create(&self, topic: &str) -> bool {
        let new = NewTopic::new(topic, 1, TopicReplication::Fixed(-1));
        wait(self.admin().create_topics([&new], &options())).unwrap().iter().all(Result::is_ok)
    }

    /// Deletes all events of a partition ahead of `offset`, as retention does.
    pub(crate) fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        let deleted = wait(self.admin().delete_records(&before, &options())).unwrap();
        deleted.elements().iter().for_each(|one| one.error().unwrap());
    }

    /// Deletes a topic.
    pub(crate) fn delete(&self, topic: &str) {
        for result in wait(self.admin().delete_topics(&[topic], &options())).unwrap() {
            result.unwrap();
        }
    }

    /// Stops a broker, counted from 1, as an operator does.
    pub(crate) fn stop(&mut self, broker: u32) {
        self.command(&format!("stop {broker}"));
    }

    /// Kills a broker: nobody leads in its place what it alone has all of.
    pub(crate) fn kill(&mut self, broker: u32) {
        self.command(&format!("kill {broker}"));
    }

    /// Starts a broker again, where it was, and waits until it serves.
    pub(crate) fn start(&mut self, broker: u32) {
        self.command(&format!("start {broker}"));
    }

    /// Lets Java's own client write odd events to `topic`, and returns a line of JSON for each.
    pub(crate) fn produce_odd_events(&mut self, topic: &str) -> Vec<String> {
        self.command(&format!("produce {topic}"))
    }

    /// Sends a command and returns the lines that came ahead of the answer.
    fn command(&mut self, command: &str) -> Vec<String> {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
        let mut said = Vec::new();
        for line in self.answers.get_mut().unwrap() {
            match line.unwrap() {
                line if line == "done" => return said,
                line => said.push(line),
            }
        }
        let mut complaint = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        panic!("`{command}` failed: {complaint}");
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The end of its input ends the script, and that ends the brokers.
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
