//! The arguments of every command, with the help that explains them.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::exit::Failure;
use crate::recording::{Location, Target};

/// Rehearses a stream processor's next release on yesterday's production.
#[derive(Debug, Parser)]
#[command(name = "rehearsal", version, max_term_width = 110, propagate_version = true, after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 agree · 1 differ · 2 wrong arguments, scenario or recording
            3 no verdict · 4 the surroundings failed, try again
            70 a fault of ours

Examples:
  rehearsal demo                               the whole job on real events
  rehearsal run scenarios/compensation.toml    a verdict on two builds";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs the whole job on real events: captures a broker, replays into two builds, reports
    Demo(DemoArguments),
    /// Captures topics of a Kafka cluster to a recording, leaving no trace on the cluster
    Capture(CaptureArguments),
    /// Makes a recording of files: NDJSON, `kcat -J` lines or CSV
    Import(ImportArguments),
    /// Shows what is in a recording: counts, span, rates, gaps, disorder
    Inspect(InspectArguments),
    /// Cuts a recording to a time, topics, keys or a share of keys: an incident becomes a scenario
    Slice(SliceArguments),
    /// Masks a recording by a policy, to another recording
    Mask(MaskArguments),
    /// Plans a scenario without driving: deliveries, faults, and what a run will cost
    Plan(PlanArguments),
    /// Plans, drives both builds, compares and reports
    Run(RunArguments),
    /// Drives one build with a recording, without comparing
    Replay(ReplayArguments),
    /// Removes what drives that were killed left on the cluster of a scenario
    Sweep(SweepArguments),
    /// Compares outcomes again
    Compare(CompareArguments),
    /// Tells what the rules of a comparison would miss
    #[command(
        subcommand,
        after_help = "Examples:\n  rehearsal rules check scenario.toml target/rehearsal/compensation/latest"
    )]
    Rules(RulesCommand),
    /// Renders a run again
    Report(ReportArguments),
    /// Goes through the patterns of a run: accepts what is intended, rejects what is not
    Review(ReviewArguments),
    /// Writes a first scenario for a recording, each guess with its reason
    Init(InitArguments),
    /// Prints the JSON Schema of scenarios, so that editors complete them
    #[command(after_help = "Examples:\n  rehearsal schema > scenario.schema.json")]
    Schema,
    /// Runs one of the sample builds, reading events on standard input
    #[command(after_help = "Examples:\n  rehearsal sample --list\n  rehearsal sample compensation-old < events.ndjson")]
    Sample(SampleArguments),
}

/// How a scenario is changed from the command line.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Changes {
    /// Overrides a key of the scenario; the value is TOML, else text. May be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Overrides the seed of all draws
    #[arg(long, value_name = "NUMBER")]
    pub(super) seed: Option<u64>,
    /// Injects exactly the faults of an earlier run's log, drawing none
    #[arg(long, value_name = "LOG")]
    pub(super) faults: Option<PathBuf>,
    /// Takes the old build from a revision of the scenario's repository, or from a folder; `.` is the one here, as it is
    #[arg(long, value_name = "REVISION|FOLDER", value_parser = NonEmptyStringValueParser::new())]
    pub(super) old: Option<String>,
    /// Takes the new build from there
    #[arg(long, value_name = "REVISION|FOLDER", value_parser = NonEmptyStringValueParser::new())]
    pub(super) new: Option<String>,
}

/// Where a run goes.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Out {
    /// Writes the run to this folder, never to a store; default is target/rehearsal/SCENARIO/0001 and so on
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: Option<PathBuf>,
    /// Replaces a run that stands at --out
    #[arg(long, requires = "out")]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Fills an in-process broker with a month of real flights, captures it while it
fills, checks that every event came through byte for byte, replays with
redelivery and reordering into two builds of a compensation service, and says
what the new one broke. Exit code 1: the new build is broken on purpose.

Examples:
  rehearsal demo
  rehearsal demo --exit-zero")]
pub(super) struct DemoArguments {
    /// Prints run.json instead of a page to read
    #[arg(long)]
    pub(super) json: bool,
    /// Ends with 0 whatever the verdict
    #[arg(long)]
    pub(super) exit_zero: bool,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("topics").required(true).multiple(true)), after_help = "\
Partitions are assigned, no group is joined, nothing is committed or produced.
What came is on the disk within five seconds. A capture that was cut off
(killed, no power, a full disk) goes on when it is started again with the same
--out: nothing is lost, nothing stands there twice. Ctrl-C and SIGTERM seal.

TOPICS is a name, a list (orders,payments), some partitions (orders:0,1) or a
regular expression that begins with ^ (^flights-.*).

Without a word about the end, all that stands there at the start is captured
(--until-caught-up). --for and --events end it earlier, or by themselves.
Partitions that topics get while it runs, and topics that a pattern chooses, are
taken from their first events on where no end was given that is known by then.

Examples:
  rehearsal capture --brokers kafka:9092 --topic flights --out recordings/all
  rehearsal capture --brokers kafka:9092 --topic '^orders-.*' --table prices \\
      --output-topic invoices --from 2013-01-05T00:00:00Z \\
      --until 2013-01-06T00:00:00Z --out recordings/saturday
  rehearsal capture --config client.properties --topic orders --from latest \\
      --for 10m --out recordings/now
  rehearsal capture --brokers kafka:9092 --topic orders:0,1 \\
      --from orders:0=100,orders:1=250 --events 10000 --out recordings/some
  rehearsal capture --brokers kafka:9092 --topic orders --mask mask.toml \\
      --strict-privacy --out recordings/masked
  rehearsal capture --brokers kafka:9093 -X security.protocol=ssl \\
      --topic orders --follow --out recordings/until-ctrl-c
  rehearsal capture --brokers kafka:9092 --topic orders --out recordings/some \\
      --registry https://registry:8081 --registry-config registry.properties
  rehearsal capture --brokers kafka:9092 --topic orders --follow \\
      --out s3://recordings/orders

To a store, closed segments are uploaded while the capture goes on, and the
recording is there once it is sealed. Until a segment is in the store it is safe
on this machine's disk, in the spool: the same command goes on from both.")]
pub(super) struct CaptureArguments {
    /// Brokers to begin with; default: bootstrap.servers of --config
    #[arg(long, value_name = "HOST:PORT,…", required_unless_present = "config", value_parser = NonEmptyStringValueParser::new())]
    pub(super) brokers: Option<String>,
    /// Topics that are handed to builds; may be given more than once
    #[arg(long, group = "topics", value_name = "TOPICS", value_parser = NonEmptyStringValueParser::new())]
    pub(super) topic: Vec<String>,
    /// Topics that production's own build wrote
    #[arg(long, group = "topics", value_name = "TOPICS", value_parser = NonEmptyStringValueParser::new())]
    pub(super) output_topic: Vec<String>,
    /// Compacted topics that are handed to builds; the last value of each key ahead of the start comes along
    #[arg(long, group = "topics", value_name = "TOPICS", value_parser = NonEmptyStringValueParser::new())]
    pub(super) table: Vec<String>,
    /// Topics that hold a processor's state
    #[arg(long, group = "topics", value_name = "TOPICS", value_parser = NonEmptyStringValueParser::new())]
    pub(super) changelog: Vec<String>,
    /// Captures these partitions only, of all topics that name none
    #[arg(long, value_name = "NUMBER,…", value_delimiter = ',', value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: Vec<i32>,
    /// Recording to write, a folder or s3://, gs://, az://; one that was cut off is gone on with, one that is sealed is refused
    #[arg(long, value_name = "RECORDING", value_parser = location())]
    pub(super) out: Location,
    #[command(flatten)]
    pub(super) spool: SpoolArguments,
    /// Goes on where the cluster deleted events before they were taken; the ledger of gaps names them
    #[arg(long)]
    pub(super) allow_gaps: bool,
    /// Where partitions begin: earliest (default), latest, a time (RFC 3339), offset:100, or TOPIC:PARTITION=OFFSET for one
    #[arg(long, value_name = "START,…", value_delimiter = ',')]
    pub(super) from: Vec<String>,
    #[command(flatten)]
    pub(super) end: CaptureEndArguments,
    /// Takes the events of transactions that are open or were aborted, too
    #[arg(long)]
    pub(super) uncommitted: bool,
    #[command(flatten)]
    pub(super) privacy: PrivacyArguments,
    /// Reads properties of librdkafka (TLS, SASL) from a file of name=value lines; ${VAR} stands for an environment variable
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Sets a property of librdkafka, ahead of --config; may be given more than once
    #[arg(short = 'X', long = "set", value_name = "PROPERTY=VALUE")]
    pub(super) set: Vec<String>,
    #[command(flatten)]
    pub(super) schemas: RegistryArguments,
    /// Prints what happens as JSON, one object a line: progress once a second, and a summary at the end
    #[arg(long)]
    pub(super) json: bool,
}

/// What nobody may see.
#[derive(Debug, Args)]
pub(super) struct PrivacyArguments {
    /// Masks events by this policy before anything touches the disk
    #[arg(long, value_name = "POLICY")]
    pub(super) mask: Option<PathBuf>,
    /// Refuses what looks personal and no rule masks, instead of warning
    #[arg(long)]
    pub(super) strict_privacy: bool,
}

/// Where schemas come from.
#[derive(Debug, Args)]
pub(super) struct RegistryArguments {
    /// Asks this schema registry for each schema that events refer to and keeps it in the recording
    #[arg(long, value_name = "URL")]
    pub(super) registry: Option<String>,
    /// Reads credentials and certificates for the registry from a file; else `REHEARSAL_REGISTRY_AUTH` holds `USER:PASSWORD`
    #[arg(long, value_name = "FILE", requires = "registry")]
    pub(super) registry_config: Option<PathBuf>,
    /// Ends the capture where a schema cannot be fetched; by default values then stay bytes, with a warning
    #[arg(long, requires = "registry")]
    pub(super) require_schemas: bool,
}

/// How a recording is written to a store.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SpoolArguments {
    /// To a store: keeps in this folder what is not there yet; default: one below `$XDG_STATE_HOME/rehearsal/spool`
    #[arg(long, value_name = "FOLDER")]
    pub(super) spool: Option<PathBuf>,
    /// To a store: takes over from a writer that is gone for good, as the store names it
    #[arg(long)]
    pub(super) take_over: bool,
}

impl SpoolArguments {
    /// Says where to write a recording, and how. What only stores have is refused for a folder: whoever names it means a store.
    pub(super) fn target(&self, out: &Location) -> Result<Target, Failure> {
        if let Location::Directory(_) = out {
            let given = [("--spool", self.spool.is_some()), ("--take-over", self.take_over)];
            if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
                let problem = format!("{option} is for a recording in a store, and {out} is a folder");
                return Err(Failure::wrong(problem, format!("Leave {option} away, or name s3://, gs:// or az://.")));
            }
        }
        Ok(Target::from(out).spooled_in(self.spool.clone()).taking_over(self.take_over))
    }
}

/// Reads where a recording lies: a folder, or an address in a store.
fn location() -> LocationParser {
    LocationParser
}

/// Says what is wrong with an address without repeating it: it may hold a password.
#[derive(Debug, Clone, Copy)]
struct LocationParser;

impl TypedValueParser for LocationParser {
    type Value = Location;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        Location::parse(value).map_err(|error| {
            let argument = argument.map(|argument| format!("'{argument}': ")).unwrap_or_default();
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{argument}{error}\n")).with_cmd(command)
        })
    }
}

/// Where a capture ends.
#[derive(Debug, Args)]
pub(super) struct CaptureEndArguments {
    /// Ends ahead of this event time (RFC 3339), waiting for one to come; end, stopped, count:100 and 10m are taken, too
    #[arg(long, value_name = "TIME", conflicts_with_all = ["until_caught_up", "follow"])]
    pub(super) until: Option<String>,
    /// Ends where each partition ended when the capture began; the default
    #[arg(long, conflicts_with = "follow")]
    pub(super) until_caught_up: bool,
    /// Goes on until it is told to stop (Ctrl-C, SIGTERM), which seals what was taken
    #[arg(long)]
    pub(super) follow: bool,
    /// Ends after this long, such as 10m
    #[arg(long = "for", value_name = "DURATION")]
    pub(super) duration: Option<String>,
    /// Ends after this many events
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) events: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Bytes stay bytes: null, empty, headers, timestamps and their types come through
as they are.

Examples:
  rehearsal import flights-2013-01.ndjson.gz --out recordings/flights
  kcat -C -J -e -b kafka:9092 -t flights | rehearsal import - --out recording
  rehearsal import orders.csv --topic orders --key-column order_id \\
      --time-column created_at --out recordings/orders
  rehearsal import orders.ndjson --out s3://recordings/orders")]
pub(super) struct ImportArguments {
    /// Files to read, in order; `-` is standard input; names ending in .gz are decompressed
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Recording to write, a folder or s3://, gs://, az://; refused if it exists
    #[arg(long, value_name = "RECORDING", value_parser = location())]
    pub(super) out: Location,
    #[command(flatten)]
    pub(super) spool: SpoolArguments,
    /// What the files are; default: told from their names and first lines
    #[arg(long, value_enum)]
    pub(super) format: Option<Format>,
    /// Topic of events that name none
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// Number of partitions over which events that name none are spread, by the hash of their key
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
    pub(super) partitions: i32,
    /// CSV: the column that is the key, where rows become JSON objects
    #[arg(long, value_name = "COLUMN")]
    pub(super) key_column: Option<String>,
    /// CSV: the column that is the event's own time
    #[arg(long, value_name = "COLUMN")]
    pub(super) time_column: Option<String>,
    /// Prints what was imported as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One event a line: `topic`, `partition`, `offset`, `timestamp_ms`, `key`, `value`, `headers`
    Ndjson,
    /// What `kcat -J` and `rehearsal inspect --events` print
    Kcat,
    /// A table with a header line
    Csv,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that stands for itself")]
#[command(after_help = "\
Examples:
  rehearsal inspect recordings/flights
  rehearsal inspect recordings/flights --verify
  rehearsal inspect recordings/flights --events | head -3 | jq .
  rehearsal inspect recordings/orders --schemas
  rehearsal inspect recordings/cut-off --rebuild    once nothing writes it
  rehearsal inspect s3://recordings/flights --verify

Stores (s3://, gs://, az://) are read with the credentials of the environment,
as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_ENDPOINT_URL names another
S3 than Amazon's.")]
pub(super) struct InspectArguments {
    /// Recording to look into: a folder, or s3://, gs://, az://
    #[arg(value_parser = location())]
    pub(super) recording: Location,
    /// Checks every hash, column and offset
    #[arg(long)]
    pub(super) verify: bool,
    /// Writes a manifest that is missing or was never sealed again from the segments, then looks
    #[arg(long)]
    pub(super) rebuild: bool,
    #[command(flatten)]
    pub(super) spool: SpoolArguments,
    /// Prints the events as `kcat -J` does, one a line; what a schema of the recording describes, and MessagePack, as the
    /// JSON that it says
    #[arg(long, conflicts_with_all = ["verify", "json"])]
    pub(super) events: bool,
    /// Lists the schemas that events refer to, and says of each pair that follows on each other what reads what
    #[arg(long, conflicts_with_all = ["verify", "events"])]
    pub(super) schemas: bool,
    /// Prints keys and values as the bytes that they are, as an import reads them
    #[arg(long, requires = "events")]
    pub(super) raw: bool,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Events keep their bytes, offsets, partitions and times. Tables and changelogs
come as they stood when the slice begins, the last value of each key, whatever
keys are asked for.

Examples:
  rehearsal slice recordings/monday --around 2013-01-07T09:14:00Z \\
      --span 10m --out recordings/incident
  rehearsal slice recordings/flights --from 2013-01-05 --to 2013-01-06 \\
      --out recordings/saturday
  rehearsal slice recordings/year --share 0.01 --out recordings/sample
  rehearsal slice s3://recordings/monday --key 4711 --out recordings/one")]
pub(super) struct SliceArguments {
    /// Recording to cut from: a folder, or s3://, gs://, az://
    #[arg(value_parser = location())]
    pub(super) recording: Location,
    /// Recording to write, a folder or s3://, gs://, az://; refused if it exists
    #[arg(long, value_name = "RECORDING", value_parser = location())]
    pub(super) out: Location,
    #[command(flatten)]
    pub(super) spool: SpoolArguments,
    /// First event time to keep, such as 2013-01-05T00:00:00Z
    #[arg(long, value_name = "DATE")]
    pub(super) from: Option<String>,
    /// Event time at which the slice ends
    #[arg(long, value_name = "DATE")]
    pub(super) to: Option<String>,
    /// Event time in the middle of the slice
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "to"], requires = "span")]
    pub(super) around: Option<String>,
    /// Length of the slice around that time, half of it ahead
    #[arg(long, value_name = "DURATION", requires = "around")]
    pub(super) span: Option<String>,
    /// Topic to keep; may stand several times, or as a list; default: all
    #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
    pub(super) topic: Vec<String>,
    /// Key to keep; may stand several times; refused where no event of the slice has any; default: all
    #[arg(long, value_name = "KEY")]
    pub(super) key: Vec<String>,
    /// Share of keys to keep, as 0.1 or 10%; a key is kept in all topics or in none
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(super) share: Option<f64>,
    /// Leaves tables and changelogs out
    #[arg(long)]
    pub(super) without_tables: bool,
    /// Prints what was kept as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Tokens are the same for the same value in every topic, so joins survive. What no
rule touches keeps its bytes; a masked key keeps its partition.

Examples:
  export REHEARSAL_MASK_KEY=$(openssl rand -hex 32)
  rehearsal mask recordings/orders --policy mask.toml --out recordings/masked

mask.toml:
  key-env = \"REHEARSAL_MASK_KEY\"
  [[rule]]
  topics = [\"orders\", \"payments-*\"]
  value = [\"$.customer.email\"]
  key = true
  method = \"token\"      # token · redact · drop · shift · bucket")]
pub(super) struct MaskArguments {
    /// Recording to mask, a folder or s3://, gs://, az://; it stays as it is
    #[arg(value_parser = location())]
    pub(super) recording: Location,
    /// Policy: what is masked, and how
    #[arg(long, value_name = "FILE")]
    pub(super) policy: PathBuf,
    /// Recording to write, a folder or s3://, gs://, az://, whole or not at all; refused if it exists
    #[arg(long, value_name = "RECORDING", value_parser = location())]
    pub(super) out: Location,
    #[command(flatten)]
    pub(super) spool: SpoolArguments,
    /// Refuses what still looks personal, instead of warning
    #[arg(long)]
    pub(super) strict_privacy: bool,
    /// Prints what was masked as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rehearsal plan scenario.toml
  rehearsal plan scenario.toml --seed 8 --set pace.speed=60 --out plan.parquet
  rehearsal plan scenario.toml --faults run/faults.ndjson
  rehearsal plan scenario.toml --against recorded      what that would cost")]
pub(super) struct PlanArguments {
    /// Scenario
    pub(super) scenario: PathBuf,
    #[command(flatten)]
    pub(super) changes: Changes,
    /// Plans a run that holds new against what production wrote, as `run --against` does; `[old]` may be missing then
    #[arg(long, value_name = "OUTCOME|recorded", conflicts_with = "old", value_parser = NonEmptyStringValueParser::new())]
    pub(super) against: Option<String>,
    /// Writes the deliveries to this Parquet file; refused if it exists
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A drive over a cluster ([drive] broker = \"HOST:PORT\") removes its topics and its
group however it ends. One that is killed cannot; the next run names what it
left. Whatever begins with rehearsal-WHEN-MARK and whose group has no members
is removed: give --drive where other runs may be about to start.

Examples:
  rehearsal sweep scenario.toml --list
  rehearsal sweep scenario.toml --drive rehearsal-20260105093000-1a2b3c4d")]
pub(super) struct SweepArguments {
    /// Scenario that names the cluster
    pub(super) scenario: PathBuf,
    #[command(flatten)]
    pub(super) changes: Changes,
    /// Removes what this drive left, and nothing else
    #[arg(long, value_name = "NAME")]
    pub(super) drive: Option<String>,
    /// Removes nothing, and says what there is
    #[arg(long)]
    pub(super) list: bool,
    /// Prints JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Several scenarios and folders of them may be given: all are checked before any
is started, one summary is printed, and the gravest exit code stands (70 over 1
over 4 over 3 over 0).

Examples:
  rehearsal run scenario.toml
  rehearsal run scenarios/ --exit-zero
  rehearsal run scenario.toml --seed 8 --set 'fault[0].probability=0.1'
  rehearsal run scenario.toml --json | jq .verdict
  rehearsal run --old main --new . scenario.toml       the folder as it is
  rehearsal run --old v1.4 --new HEAD~1 scenario.toml
  rehearsal run --old ../release --new . scenario.toml --fresh
  rehearsal run scenario.toml --against recorded       no old build: production

A revision is checked out to a tree in $XDG_CACHE_HOME/rehearsal/builds (or
below ~/.cache), made there by the scenario's `build` commands once, and used by
later runs. An outcome of old is used again where plan, build, flags, rules of
driving and machine are those of an earlier run in target/rehearsal and no gate
is on timing; the report says so.")]
pub(super) struct RunArguments {
    /// Scenarios, or folders in which every .toml file is one
    #[arg(required = true, value_name = "SCENARIO")]
    pub(super) scenarios: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) changes: Changes,
    /// Holds new against what production wrote instead of an old build: an outcome, or `recorded`, the output topics in the recording
    #[arg(long, value_name = "OUTCOME|recorded", conflicts_with = "old", value_parser = NonEmptyStringValueParser::new())]
    pub(super) against: Option<String>,
    /// Drives old in any case, instead of using an outcome of an earlier run again
    #[arg(long)]
    pub(super) fresh: bool,
    /// What becomes of expected and accepted changes that no longer apply
    #[arg(long, value_enum, default_value = "warn", value_name = "HOW")]
    pub(super) stale: Stale,
    #[command(flatten)]
    pub(super) out: Out,
    /// Prints run.json; of several scenarios, one array of them
    #[arg(long)]
    pub(super) json: bool,
    /// Ends with 0 whatever the verdict; errors keep their codes
    #[arg(long)]
    pub(super) exit_zero: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rehearsal replay recordings/flights --out outcome -- ./build --flag
  rehearsal replay recordings/flights --speed 3600 --out outcome -- ./build
  rehearsal replay recordings/flights --set drive.payload=value --out outcome \\
      -- jq -c --unbuffered .")]
pub(super) struct ReplayArguments {
    /// Recording to hand over: a folder, or s3://, gs://, az://
    #[arg(value_parser = location())]
    pub(super) recording: Location,
    /// Outcome to write, always a folder; refused if it exists
    #[arg(long, value_name = "OUTCOME")]
    pub(super) out: PathBuf,
    /// Hands over so many times faster than recorded; default: without waiting
    #[arg(long, value_name = "TIMES", value_parser = above_zero)]
    pub(super) speed: Option<f64>,
    /// Sets a key as a scenario would; may be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Seed of all draws
    #[arg(long, value_name = "NUMBER")]
    pub(super) seed: Option<u64>,
    /// Injects exactly the faults of an earlier run's log
    #[arg(long, value_name = "LOG")]
    pub(super) faults: Option<PathBuf>,
    /// Prints how the drive ended as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// The build's command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
With one drive of old nothing is known of noise: every difference is suspected,
and the exit code is 3 where a gated kind is there, else 0.

Examples:
  rehearsal compare run run
  rehearsal compare run/outcomes/old run/outcomes/new
  rehearsal compare old new --old-again old-again --rules scenario.toml")]
pub(super) struct CompareArguments {
    /// Outcome of the old build, or a run: then the old build's, with its further drives as noise
    pub(super) old: PathBuf,
    /// Outcome of the new build, or a run: then the new build's
    pub(super) new: PathBuf,
    /// Another drive of the old build: the noise; may be given more than once
    #[arg(long, value_name = "OUTCOME")]
    pub(super) old_again: Vec<PathBuf>,
    /// Takes [compare], [[expected]], [gates] and [warnings] from this file, and what was accepted beside it; the rest may be missing
    #[arg(long, value_name = "SCENARIO")]
    pub(super) rules: Option<PathBuf>,
    /// Overrides a key of the rules; may be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// What becomes of expected and accepted changes that no longer apply
    #[arg(long, value_enum, default_value = "warn", value_name = "HOW")]
    pub(super) stale: Stale,
    #[command(flatten)]
    pub(super) out: Out,
    /// Prints run.json
    #[arg(long)]
    pub(super) json: bool,
    /// Ends with 0 whatever the verdict; errors keep their codes
    #[arg(long)]
    pub(super) exit_zero: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Corrupts outputs at random and counts how many the rules would still catch, and which rule hides which
    Check(RulesCheckArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each corruption is made alone and compared with what it was made of: a number by
one in its last place, by 1 % or by sign, a text cut, a member or an element
gone, an output lost, doubled, under another key, and so on. The same seed makes
the same corruptions. Exit code 0 says that it was done, 1 that less is caught
than --at-least asks for, 3 that there was nothing to corrupt.

Examples:
  rehearsal rules check scenario.toml target/rehearsal/compensation/latest
  rehearsal rules check scenario.toml run/outcomes/old --json
  rehearsal rules check rules.toml run --at-least 95%")]
pub(super) struct RulesCheckArguments {
    /// Takes [compare] from this file; the rest may be missing
    #[arg(value_name = "SCENARIO")]
    pub(super) rules: PathBuf,
    /// Outcome whose outputs are corrupted, or a run: then the old build's
    pub(super) outcome: PathBuf,
    /// Corruptions to make
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(super) count: u64,
    /// Seed of all draws; default: the scenario's
    #[arg(long, value_name = "NUMBER")]
    pub(super) seed: Option<u64>,
    /// Overrides a key of the rules; may be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Ends with 1 where the rules catch a smaller share of what is not equal anyway
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(super) at_least: Option<f64>,
    /// Prints the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Reads a share such as `95%` or `0.95`.
fn percent(text: &str) -> Result<f64, String> {
    let share = match text.trim().strip_suffix('%') {
        Some(number) => number.trim().parse::<f64>().map(|number| number / 100.0),
        None => text.trim().parse(),
    };
    share.ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "is no share; write 95% or 0.95".to_owned())
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rehearsal report target/rehearsal/compensation/latest
  rehearsal report target/rehearsal/compensation --format markdown \\
      >> $GITHUB_STEP_SUMMARY
  rehearsal report run --format html --out report.html")]
pub(super) struct ReportArguments {
    /// Run: its folder, its run.json, or the folder of all runs of a scenario, whose last one is meant
    pub(super) run: PathBuf,
    /// What to render
    #[arg(long, value_enum, default_value = "terminal")]
    pub(super) format: ReportFormat,
    /// Writes to this file instead of standard output; refused if it exists
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// What `run` prints
    Terminal,
    /// One page that opens offline
    Html,
    /// run.json
    Json,
    /// JUnit XML
    Junit,
    /// Markdown
    Markdown,
}

/// What becomes of an expectation that no longer applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Stale {
    /// It is said
    Warn,
    /// The verdict is differ: a gate `stale-expectations = 0`
    Fail,
}

impl Stale {
    /// Returns the override that it comes to.
    pub(super) fn overrides(self) -> Option<String> {
        (self == Self::Fail).then(|| "gates.stale-expectations=0".to_owned())
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
At a terminal each pattern that is open is shown with its examples and asked
about. What is accepted is written with who, why and until when to
NAME.accepted.toml beside the scenario: not its count but its share of the
outputs that could differ so, with an interval (99 %, exact). `run` and
`compare --rules` read that file. A pattern is a difference again when its share
lies beyond the interval or its last day has passed. What is rejected stays a
difference and is not asked about again.

With --non-interactive, exit code 1 says that something is open.

Examples:
  rehearsal review target/rehearsal/payouts
  rehearsal review run --non-interactive --json | jq '.open[].pattern'
  rehearsal review run --accept 1a2b3c4d --because PAY-123 --until 2026-12-31
  rehearsal review run --reject 5e6f7a8b --because 'rounds the wrong way'")]
pub(super) struct ReviewArguments {
    /// Run: its folder, its run.json, or the folder of all runs of a scenario, whose last one is meant
    pub(super) run: PathBuf,
    /// Scenario beside which decisions are kept; default: the one that was run
    #[arg(long, value_name = "FILE")]
    pub(super) scenario: Option<PathBuf>,
    /// Accepts the pattern of this name, as reports show it; may be given more than once
    #[arg(long, value_name = "PATTERN", requires = "because")]
    pub(super) accept: Vec<String>,
    /// Rejects the pattern of this name; may be given more than once
    #[arg(long, value_name = "PATTERN", requires = "because")]
    pub(super) reject: Vec<String>,
    /// Why, such as the number of a ticket
    #[arg(long, value_name = "REASON")]
    pub(super) because: Option<String>,
    /// Last day on which what is accepted stands (UTC)
    #[arg(long, value_name = "DAY", requires = "accept")]
    pub(super) until: Option<String>,
    /// Who decides; default: what git says of whoever works there, else $USER
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) author: Option<String>,
    /// Asks nothing: lists what is open, and fails while something is
    #[arg(long, conflicts_with_all = ["accept", "reject"])]
    pub(super) non_interactive: bool,
    /// Prints what is open and what was decided as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rehearsal init recordings/flights
  rehearsal init recordings/flights --out scenarios/flights.toml
  rehearsal init recordings/flights --out -")]
pub(super) struct InitArguments {
    /// Recording to look at: a folder, or s3://, gs://, az://
    #[arg(value_parser = location())]
    pub(super) recording: Location,
    /// File to write, refused if it exists; `-` is standard output; default: the recording's name with .toml
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct SampleArguments {
    /// Name of the build
    #[arg(required_unless_present = "list")]
    pub(super) name: Option<String>,
    /// Prints the names of all sample builds
    #[arg(long)]
    pub(super) list: bool,
}

/// Reads a share as a number or in percent.
fn share(text: &str) -> Result<f64, String> {
    let (number, of) = text.trim().strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().map_err(|_| "write it as 0.1 or 10%".to_owned())?;
    Ok(share / of)
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "write a number above zero, such as 3600".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_contradict_nothing() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{}", command.get_name());
            // A terminal of the usual width breaks no line of it.
            assert!(help.lines().all(|line| line.chars().count() <= 80), "{}", command.get_name());
        }
    }
}
