//! What a disk is sure of, and what a loss of power may leave of the rest.
//!
//! Sure are the bytes that a file had when it was last synced, and the names that a folder had when it was last synced, and no
//! more, as POSIX has it: a synced file may be gone with its name, a rename may be undone, and each of the names in a folder may
//! have reached the disk or not, whatever came first. Of bytes nobody made sure of there may be all, none, a beginning, or some
//! blocks, with zeros or anything else in place of the others. A system that was killed without a loss of power keeps all it
//! has, and is no surer of it than before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::chance::Chance;
use super::steps::{Act, Step, Told};

/// Bytes that reach a disk together.
pub(crate) const BLOCK: usize = 512;

/// A folder with all below it. Paths are those that steps name.
pub(crate) struct Disk {
    folder: PathBuf,
    nodes: Vec<Node>,
    /// What the system shows.
    names: Names,
    /// What a loss of power leaves at least.
    sure: Names,
    /// Changes of names that nobody made sure of, in their order.
    unsure: Vec<Change>,
    /// A step that has begun.
    begun: Option<Step>,
}

/// Nodes by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names(BTreeMap<String, usize>);

#[derive(Debug, Clone)]
enum Node {
    Folder,
    File(File),
}

#[derive(Debug, Clone, Default)]
struct File {
    now: Vec<u8>,
    sure: Vec<u8>,
    /// Writes and changes of length since.
    unsure: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Change {
    Put(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

/// What a loss of power took away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Files whose bytes are not what they were.
    pub(crate) bytes: u64,
    /// Names that are gone, are there again, or stand for something else.
    pub(crate) names: u64,
}

impl Names {
    fn change(&mut self, change: &Change) {
        match change {
            Change::Put(path, node) => drop(self.0.insert(path.clone(), *node)),
            Change::Remove(path) => drop(self.0.remove(path)),
            Change::Rename(from, to, node) => {
                // The name it had may never have reached the disk.
                if self.0.get(from) == Some(node) {
                    self.0.remove(from);
                }
                self.0.insert(to.clone(), *node);
            }
        }
    }
}

impl Change {
    fn folder(&self) -> &Path {
        let (Self::Put(path, _) | Self::Rename(path, ..) | Self::Remove(path)) = self;
        Path::new(path).parent().unwrap_or(Path::new(""))
    }
}

impl Disk {
    /// Begins with an empty folder that is surely there.
    pub(crate) fn empty(folder: &Path) -> Self {
        let path = folder.to_str().unwrap().to_owned();
        let sure = Names([(path, 0)].into());
        let (names, nodes) = (sure.clone(), vec![Node::Folder]);
        Self { folder: folder.to_owned(), nodes, names, sure, unsure: Vec::new(), begun: None }
    }

    /// Follows what a process tells.
    pub(crate) fn follow(&mut self, told: &Told) {
        match told {
            Told::Begun(step) => self.begun = Some(step.clone()),
            Told::Done(result) => {
                let mut step = self.begun.take().expect("what is done was begun");
                if let Ok(number) = usize::try_from(*result) {
                    if step.act == Act::Write {
                        step.bytes.truncate(number);
                    }
                    self.apply(step);
                }
            }
            Told::Said(_) | Told::There => {}
        }
    }

    fn apply(&mut self, step: Step) {
        match step.act {
            Act::Create => self.put(step.path, Node::File(File::default())),
            Act::MakeFolder => self.put(step.path, Node::Folder),
            Act::Rename => {
                let node = self.names.0[&step.path];
                self.change(Change::Rename(step.path, String::from_utf8(step.bytes).unwrap(), node));
            }
            Act::Remove => self.change(Change::Remove(step.path)),
            Act::Write | Act::Truncate => {
                let file = self.file(&step.path);
                apply_to(&mut file.now, &step);
                file.unsure.push(step);
            }
            Act::Sync => self.sync(&step.path),
        }
    }

    fn put(&mut self, path: String, node: Node) {
        self.nodes.push(node);
        self.change(Change::Put(path, self.nodes.len() - 1));
    }

    fn change(&mut self, change: Change) {
        self.names.change(&change);
        self.unsure.push(change);
    }

    fn file(&mut self, path: &str) -> &mut File {
        let node = self.names.0.get(path).unwrap_or_else(|| panic!("{path} is written to and was never made"));
        let Node::File(file) = &mut self.nodes[*node] else { panic!("{path} is a folder") };
        file
    }

    fn sync(&mut self, path: &str) {
        match &mut self.nodes[self.names.0[path]] {
            Node::File(file) => {
                file.sure.clone_from(&file.now);
                file.unsure.clear();
            }
            Node::Folder => {
                for change in self.unsure.extract_if(.., |change| change.folder() == Path::new(path)) {
                    self.sure.change(&change);
                }
            }
        }
    }

    /// Ends with the process: finds out whether a step that it had begun was taken, and holds all that was told against what
    /// is there. Returns what does not agree.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let found = read(&self.folder);
        if let Some(mut step) = self.begun.take() {
            let there = |path: &str| found.contains_key(path);
            let taken = match step.act {
                Act::Create | Act::MakeFolder => there(&step.path) && !self.names.0.contains_key(&step.path),
                Act::Rename | Act::Remove => !there(&step.path),
                // Whether it came to its end nobody was told.
                Act::Sync => false,
                Act::Truncate => {
                    let length = found.get(&step.path).and_then(Option::as_ref).map(Vec::len);
                    length == Some(step.number as usize)
                }
                Act::Write => {
                    let length = found.get(&step.path).and_then(Option::as_ref).map_or(0, Vec::len);
                    step.bytes.truncate(length.saturating_sub(step.number as usize));
                    !step.bytes.is_empty()
                }
            };
            if taken {
                self.apply(step);
            }
        }
        let wrong = |path: &String| {
            let told = self.names.0.get(path).map(|node| match &self.nodes[*node] {
                Node::Folder => None,
                Node::File(file) => Some(&file.now),
            });
            told != found.get(path).map(Option::as_ref)
        };
        match self.names.0.keys().chain(found.keys()).find(|path| wrong(path)) {
            None => Ok(()),
            Some(path) => Err(format!("{path} is not what was told of it")),
        }
    }

    /// Takes a file away for good, as somebody may who is not the process; returns whether it was there.
    pub(crate) fn remove(&mut self, path: &Path) -> bool {
        let there = fs::remove_file(path).is_ok();
        if there {
            self.apply(Step::new(Act::Remove, path.to_str().unwrap()));
            self.sync(path.parent().unwrap().to_str().unwrap());
        }
        there
    }

    /// Loses power: what is sure stays, of everything else what `chance` leaves. That is then in the folder, and sure.
    pub(crate) fn lose_power(&mut self, chance: &mut Chance) -> Taken {
        let mut names = self.sure.clone();
        // All changes of names, none, the first ones, or any of them.
        let changes = self.unsure.len() as u64;
        let (manner, first) = (chance.below(4), chance.below(changes + 1));
        for (at, change) in (0..).zip(&self.unsure) {
            let kept = match manner {
                0 => false,
                1 => true,
                2 => at < first,
                _ => chance.below(2) == 0,
            };
            if kept {
                names.change(change);
            }
        }
        let before = self.names.clone();
        let bytes = self.leave(names, |file| file.left(chance));
        let differs = |path: &&String| before.0.get(*path) != self.names.0.get(*path);
        let paths: BTreeSet<&String> = before.0.keys().chain(self.names.0.keys()).collect();
        Taken { bytes, names: paths.into_iter().filter(differs).count() as u64 }
    }

    /// Loses power, and with it all that is not sure.
    pub(crate) fn lose_all(&mut self) {
        self.leave(self.sure.clone(), |file| file.sure.clone());
    }

    /// Leaves these names, and of files what `left` says; returns how many files are not what they were.
    fn leave(&mut self, mut names: Names, mut left: impl FnMut(&File) -> Vec<u8>) -> u64 {
        let orphans: Vec<String> = names.0.keys().filter(|path| !self.is_reached(&names, path)).cloned().collect();
        for path in orphans {
            names.0.remove(&path);
        }
        let mut changed = 0;
        for node in names.0.values() {
            if let Node::File(file) = &mut self.nodes[*node] {
                let left = left(file);
                changed += u64::from(left != file.now);
                *file = File { now: left.clone(), sure: left, unsure: Vec::new() };
            }
        }
        self.unsure.clear();
        (self.names, self.sure) = (names.clone(), names);
        self.write();
        changed
    }

    /// Whether all folders above the path are there.
    fn is_reached(&self, names: &Names, path: &str) -> bool {
        let mut above = Path::new(path).ancestors().skip(1).take_while(|above| above.starts_with(&self.folder));
        above.all(|above| names.0.contains_key(above.to_str().unwrap()))
    }

    /// Makes the folder what it is said to be.
    fn write(&self) {
        fs::remove_dir_all(&self.folder).unwrap();
        for (path, node) in &self.names.0 {
            match &self.nodes[*node] {
                Node::Folder => fs::create_dir(path).unwrap(),
                Node::File(file) => fs::write(path, &file.now).unwrap(),
            }
        }
    }
}

impl File {
    /// What a loss of power leaves.
    fn left(&self, chance: &mut Chance) -> Vec<u8> {
        if self.unsure.is_empty() {
            return self.sure.clone();
        }
        match chance.below(5) {
            0 => self.sure.clone(),
            1 => self.now.clone(),
            2 => self.beginning(chance),
            _ => self.blocks(chance),
        }
    }

    /// The first steps, the last of which may have come half-way.
    fn beginning(&self, chance: &mut Chance) -> Vec<u8> {
        let mut left = self.sure.clone();
        let steps = chance.below(self.unsure.len() as u64) as usize;
        for step in &self.unsure[..steps] {
            apply_to(&mut left, step);
        }
        let mut half = self.unsure[steps].clone();
        half.bytes.truncate(chance.below(half.bytes.len() as u64 + 1) as usize);
        if half.act == Act::Write && !half.bytes.is_empty() {
            apply_to(&mut left, &half);
        }
        left
    }

    /// The whole length, with some blocks as they were before, as zeros where there was nothing, or as anything.
    fn blocks(&self, chance: &mut Chance) -> Vec<u8> {
        let mut left = self.now.clone();
        let blocks = |left: &[u8]| (0..left.len()).step_by(BLOCK).map(|at| at..(at + BLOCK).min(left.len())).collect();
        let mut changed: Vec<Range<usize>> = blocks(&left);
        changed.retain(|block| self.sure.get(block.clone()) != Some(&left[block.clone()]));
        if changed.is_empty() {
            return left;
        }
        // One of them, some that follow one another, or any: of many a footer would hardly ever be whole.
        let (first, last) = (chance.below(changed.len() as u64), chance.below(changed.len() as u64));
        let (manner, garbage) = (chance.below(3), chance.below(2) == 0);
        for (number, block) in (0..).zip(changed) {
            let gone = match manner {
                0 => number == first,
                1 => (first.min(last)..=first.max(last)).contains(&number),
                _ => chance.below(2) == 0,
            };
            if gone {
                for at in block {
                    left[at] = match self.sure.get(at) {
                        Some(before) => *before,
                        None if garbage => chance.below(256) as u8,
                        None => 0,
                    };
                }
            }
        }
        left
    }
}

fn apply_to(bytes: &mut Vec<u8>, step: &Step) {
    let at = step.number as usize;
    if step.act == Act::Truncate {
        return bytes.resize(at, 0);
    }
    let end = at + step.bytes.len();
    bytes.resize(bytes.len().max(end), 0);
    bytes[at..end].copy_from_slice(&step.bytes);
}

/// All that is in a folder, itself too: the bytes of files, and folders without.
pub(crate) fn read(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::from([(folder.to_str().unwrap().to_owned(), None)]);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut read(&path));
        } else {
            found.insert(path.to_str().unwrap().to_owned(), Some(fs::read(&path).unwrap()));
        }
    }
    found
}
