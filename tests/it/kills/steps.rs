//! Steps on files, as the process that takes them tells them to the one that watches.

use std::path::Path;

/// What is done to a file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// A file that did not exist is made.
    Create = 1,
    /// A folder is made.
    MakeFolder,
    /// `bytes` are written at `number`.
    Write,
    /// The length becomes `number`.
    Truncate,
    /// Bytes of a file, or names of a folder, are made sure of.
    Sync,
    /// It is renamed to the path in `bytes`.
    Rename,
    /// It is removed.
    Remove,
}

const ACTS: [Act; 7] = [Act::Create, Act::MakeFolder, Act::Write, Act::Truncate, Act::Sync, Act::Rename, Act::Remove];

/// What a step is taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    Segment = 1,
    /// The folder of segments.
    Segments,
    Manifest,
    Lock,
    /// The folder of the recording, or what is above it.
    Folder,
    /// A segment that is being gathered, ahead of its rename.
    Gathered,
}

const OBJECTS: [Object; 6] =
    [Object::Segment, Object::Segments, Object::Manifest, Object::Lock, Object::Folder, Object::Gathered];

impl Object {
    pub(crate) fn at(path: &str) -> Self {
        let path = Path::new(path);
        match path.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
            "segments" => Self::Segments,
            "writer.lock" => Self::Lock,
            name if name.starts_with("manifest.json") => Self::Manifest,
            name if name.ends_with(".parquet.new") => Self::Gathered,
            _ if path.parent().is_some_and(|above| above.ends_with("segments")) => Self::Segment,
            _ => Self::Folder,
        }
    }
}

/// One step on a file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) act: Act,
    pub(crate) path: String,
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Step {
    pub(crate) fn new(act: Act, path: impl Into<String>) -> Self {
        Self { act, path: path.into(), number: 0, bytes: Vec::new() }
    }
}

/// What a process tells, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// A step is about to be taken.
    Begun(Step),
    /// The step begun last has ended; below zero it has failed, after a write it is how much was written.
    Done(i64),
    /// What the process says of itself.
    Said(String),
    /// The place is reached that the watcher asked for.
    There,
}

/// What was told, and the time of the monotonic clock before it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at_ns: u64,
    pub(crate) told: Told,
}

const DONE: u8 = 101;
const SAID: u8 = 102;
const THERE: u8 = 103;

impl Record {
    /// Length of what follows, time, kind, number, length of the path, path, bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, number, path, bytes) = match &self.told {
            Told::Begun(step) => (step.act as u8, step.number, step.path.as_str(), step.bytes.as_slice()),
            Told::Done(result) => (DONE, result.cast_unsigned(), "", &[][..]),
            Told::Said(text) => (SAID, 0, "", text.as_bytes()),
            Told::There => (THERE, 0, "", &[][..]),
        };
        let length = 8 + 1 + 8 + 2 + path.len() + bytes.len();
        let mut encoded = Vec::with_capacity(4 + length);
        encoded.extend((length as u32).to_le_bytes());
        encoded.extend(self.at_ns.to_le_bytes());
        encoded.push(kind);
        encoded.extend(number.to_le_bytes());
        encoded.extend((path.len() as u16).to_le_bytes());
        encoded.extend(path.as_bytes());
        encoded.extend(bytes);
        encoded
    }

    /// Takes the first record off `bytes`; none where it is not whole.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let length = u32::from_le_bytes(bytes.get(..4)?.try_into().unwrap()) as usize;
        let body = bytes.get(4..4 + length)?;
        let at_ns = u64::from_le_bytes(body[..8].try_into().unwrap());
        let number = u64::from_le_bytes(body[9..17].try_into().unwrap());
        let (path, rest) = body[19..].split_at(u16::from_le_bytes(body[17..19].try_into().unwrap()).into());
        let path = String::from_utf8(path.to_vec()).unwrap();
        let told = match body[8] {
            DONE => Told::Done(number.cast_signed()),
            SAID => Told::Said(String::from_utf8(rest.to_vec()).unwrap()),
            THERE => Told::There,
            act => Told::Begun(Step { act: ACTS[usize::from(act) - 1], path, number, bytes: rest.to_vec() }),
        };
        bytes.drain(..4 + length);
        Some(Self { at_ns, told })
    }
}

/// From when on steps count towards a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    Start = 1,
    /// The process has made a segment.
    Segment,
    /// It was asked to seal.
    Asked,
}

const SINCES: [Since; 3] = [Since::Start, Since::Segment, Since::Asked];

/// What a process does at the place it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum There {
    /// It stands still ahead of the step.
    Ahead = 1,
    /// It stands still behind it.
    Behind,
    /// It goes on.
    GoOn,
}

const THERES: [There; 3] = [There::Ahead, There::Behind, There::GoOn];

/// A place among the steps of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) act: Act,
    pub(crate) object: Object,
    /// How many such steps there are to be until then, this one among them.
    pub(crate) count: u64,
    pub(crate) since: Since,
    pub(crate) there: There,
}

impl Place {
    pub(crate) fn to_text(self) -> String {
        let Self { act, object, count, since, there } = self;
        format!("{} {} {count} {} {}", act as u8, object as u8, since as u8, there as u8)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<usize> = text.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [act, object, count, since, there] = numbers[..] else { return None };
        Some(Self {
            act: ACTS[act - 1],
            object: OBJECTS[object - 1],
            count: count as u64,
            since: SINCES[since - 1],
            there: THERES[there - 1],
        })
    }
}
