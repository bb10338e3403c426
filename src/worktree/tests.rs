//! Trees of real repositories, made by `git` in temporary folders.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::*;
use crate::clock::{SimulatedClock, Stop};

/// A repository with two commits, and a cache beside it.
struct Desk {
    folder: TempDir,
    cache: Cache,
}

/// Runs git as a person would.
fn git(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::new("git");
    for name in REDIRECTIONS {
        command.env_remove(name);
    }
    let identity = ["-c", "user.name=Jo", "-c", "user.email=jo@pay.example", "-c", "commit.gpgsign=false"];
    let output = command.arg("-C").arg(folder).args(identity).args(words).output().unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        let desk = Self { folder, cache };
        fs::create_dir_all(desk.repo().join("pay/src")).unwrap();
        git(&desk.repo(), &["init", "--quiet", "-b", "main"]);
        for amount in ["one", "two"] {
            fs::write(desk.repo().join("pay/src/amount"), amount).unwrap();
            fs::write(desk.repo().join(".gitignore"), "target\n").unwrap();
            git(&desk.repo(), &["add", "."]);
            git(&desk.repo(), &["commit", "--quiet", "-m", amount]);
        }
        desk
    }

    /// Its folder, without links, as git names it.
    fn repo(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("repo")
    }

    fn wanted(&self, revision: &str) -> Wanted {
        let repository = Repository::around(&self.repo().join("pay")).unwrap().unwrap();
        let commit = repository.commit(revision).unwrap().unwrap();
        let place = repository.place(Path::new(".")).unwrap();
        Wanted { repository, commit, place, build: vec![vec!["make".into()]] }
    }

    fn take(
        &self,
        wanted: &Wanted,
        make: impl Fn(&Path) -> Result<(), WorktreeError>,
    ) -> Result<Standing, WorktreeError> {
        self.cache.take(wanted, &SimulatedClock::new(), &Stop::new(), &|_| (), make)
    }

    /// What stands in the cache, without the locks.
    fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("cache")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| !name.contains(".lock")).collect();
        names.sort();
        names
    }

    /// All that must stay as it is in the user's own worktree.
    fn own(&self) -> (String, String, Vec<u8>, String) {
        let repo = self.repo();
        (
            git(&repo, &["--no-optional-locks", "status", "--porcelain=v2", "--branch"]),
            git(&repo, &["for-each-ref"]),
            fs::read(repo.join(".git/index")).unwrap(),
            fs::read_to_string(repo.join(".git/HEAD")).unwrap(),
        )
    }
}

fn compile(directory: &Path) -> Result<(), WorktreeError> {
    fs::create_dir_all(directory.join("target")).unwrap();
    fs::copy(directory.join("src/amount"), directory.join("target/program")).map(|_| ()).map_err(WorktreeError::io("x"))
}

#[test]
fn a_tree_is_made_once_and_the_users_own_stays_as_it_is() {
    let desk = Desk::new();
    // As somebody leaves it over lunch: staged, changed, new.
    fs::write(desk.repo().join("pay/staged"), "staged").unwrap();
    git(&desk.repo(), &["add", "pay/staged"]);
    fs::write(desk.repo().join("pay/src/amount"), "three").unwrap();
    fs::write(desk.repo().join("new"), "new").unwrap();
    let before = desk.own();
    let times = Cell::new(0);
    let make = |directory: &Path| {
        times.set(times.get() + 1);
        compile(directory)
    };
    let wanted = desk.wanted("HEAD~1");
    let first = desk.take(&wanted, make).unwrap();
    let second = desk.take(&wanted, make).unwrap();
    assert_eq!((times.get(), &first.hash), (1, &second.hash));
    let directory = desk.cache.directory(&wanted);
    assert!(directory.ends_with("repo/pay"), "{}", directory.display());
    assert_eq!(fs::read_to_string(directory.join("target/program")).unwrap(), "one");
    assert!(!directory.join("staged").exists() && !directory.join("../new").exists());
    assert_eq!(desk.own(), before);
}

#[test]
fn other_commands_another_place_and_another_commit_make_another_tree() {
    let desk = Desk::new();
    let wanted = desk.wanted("main");
    let others = [
        desk.wanted("main~1"),
        Wanted { build: vec![vec!["make".into(), "all".into()]], ..wanted.clone() },
        Wanted { build: vec![vec!["make".into()], Vec::new()], ..wanted.clone() },
        Wanted { place: "pay/src".into(), ..wanted.clone() },
    ];
    let mut keys: Vec<String> = others.iter().chain([&wanted]).map(Wanted::key).collect();
    assert!(keys.iter().all(|key| key.len() == 12 + 1 + 20), "{keys:?}");
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 5);
    assert_eq!(desk.wanted("HEAD").key(), wanted.key());
}

#[test]
fn where_it_cannot_be_made_nothing_is_left_and_the_next_try_begins_anew() {
    let desk = Desk::new();
    let wanted = desk.wanted("main");
    let refused = desk.take(&wanted, |directory| {
        compile(directory)?;
        Err(WorktreeError::Stopped)
    });
    assert!(matches!(refused, Err(WorktreeError::Stopped)));
    assert_eq!(desk.kept(), Vec::<String>::new());
    assert_eq!(git(&desk.repo(), &["worktree", "list"]).lines().count(), 1);
    desk.take(&wanted, compile).unwrap();
}

#[test]
fn what_a_program_that_was_killed_left_half_made_is_never_used() {
    let desk = Desk::new();
    let wanted = desk.wanted("main");
    desk.take(&wanted, compile).unwrap();
    let directory = desk.cache.directory(&wanted);
    fs::remove_file(directory.join("../../made.json")).unwrap();
    fs::write(directory.join("target/program"), "half").unwrap();
    desk.take(&wanted, compile).unwrap();
    assert_eq!(fs::read_to_string(directory.join("target/program")).unwrap(), "two");
}

#[test]
fn a_tree_that_was_changed_or_lost_since_is_made_anew() {
    let desk = Desk::new();
    let wanted = desk.wanted("main");
    let directory = desk.cache.directory(&wanted);
    let mut hashes = vec![desk.take(&wanted, compile).unwrap().hash];
    for change in [
        |directory: &Path| fs::write(directory.join("src/amount"), "four").unwrap(),
        |directory: &Path| fs::write(directory.join("new"), "new").unwrap(),
        |directory: &Path| fs::remove_dir_all(directory.join("..")).unwrap(),
        |directory: &Path| fs::remove_file(directory.join("../.git")).unwrap(),
    ] {
        change(&directory);
        hashes.push(desk.take(&wanted, compile).unwrap().hash);
        assert_eq!(fs::read_to_string(directory.join("src/amount")).unwrap(), "two");
        assert!(!directory.join("new").exists());
    }
    // What its own commands leave of new files is no change.
    let leaving = |directory: &Path| fs::write(directory.join("made"), "made").map_err(WorktreeError::io("x"));
    let other = Wanted { build: Vec::new(), ..wanted.clone() };
    let hash = desk.take(&other, leaving).unwrap().hash;
    assert_eq!(desk.take(&other, |_| Err(WorktreeError::Stopped)).unwrap().hash, hash);
}

#[test]
fn of_many_that_want_a_tree_at_once_one_makes_it() {
    let desk = Desk::new();
    let wanted = desk.wanted("main");
    let (times, within) = (AtomicU32::new(0), AtomicU32::new(0));
    let make = |directory: &Path| {
        assert_eq!(within.fetch_add(1, Ordering::SeqCst), 0, "two made it at once");
        times.fetch_add(1, Ordering::SeqCst);
        let compiled = compile(directory);
        within.fetch_sub(1, Ordering::SeqCst);
        compiled
    };
    let hashes: Vec<String> = std::thread::scope(|scope| {
        let take = || desk.cache.take(&wanted, &SimulatedClock::new(), &Stop::new(), &|_| (), make).unwrap().hash;
        let takers: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
        takers.into_iter().map(|taker| taker.join().unwrap()).collect()
    });
    assert_eq!(times.into_inner(), 1);
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
}

#[test]
fn a_tree_in_use_is_not_made_anew_under_whoever_uses_it() {
    let desk = Desk::new();
    let wanted = desk.wanted("main");
    let used = desk.take(&wanted, compile).unwrap();
    fs::write(desk.cache.directory(&wanted).join("src/amount"), "four").unwrap();
    let (stop, steps) = (Stop::new(), RefCell::new(Vec::new()));
    let heard = |step| {
        steps.borrow_mut().push(step);
        stop.raise();
    };
    let make = |_: &Path| -> Result<(), WorktreeError> { panic!("it is in use") };
    let refused = desk.cache.take(&wanted, &SimulatedClock::new(), &stop, &heard, make);
    assert!(matches!(refused, Err(WorktreeError::Stopped)), "{refused:?}");
    drop(used);
    desk.take(&wanted, compile).unwrap();
    assert_eq!(fs::read_to_string(desk.cache.directory(&wanted).join("src/amount")).unwrap(), "two");
}

#[test]
fn of_very_many_trees_those_not_used_for_longest_go_unless_they_are_in_use() {
    let desk = Desk::new();
    let one = |number: u32| Wanted { build: vec![vec![number.to_string()]], ..desk.wanted("main") };
    let used = desk.take(&one(0), compile).unwrap();
    for number in 1..27 {
        drop(desk.take(&one(number), compile).unwrap());
        // A file system that counts time coarsely would not tell which was used first.
        let lock = desk.folder.path().join("cache").join(format!("{}.lock", one(number).key()));
        let at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(number));
        fs::File::options().write(true).open(lock).unwrap().set_modified(at).unwrap();
    }
    let there: Vec<u32> = (0..27).filter(|number| desk.cache.directory(&one(*number)).exists()).collect();
    assert!(there.len() <= 25 && there.contains(&0) && there.contains(&26), "{there:?}");
    assert!(!there.contains(&1), "{there:?}");
    drop(used);
}

#[test]
fn revisions_are_found_as_people_write_them() {
    let desk = Desk::new();
    git(&desk.repo(), &["tag", "-a", "v1", "-m", "first", "HEAD~1"]);
    let repository = Repository::around(&desk.repo()).unwrap().unwrap();
    let head = git(&desk.repo(), &["rev-parse", "HEAD"]);
    let first = git(&desk.repo(), &["rev-parse", "HEAD~1"]);
    for (revision, commit) in [
        ("main", Some(&head)),
        ("HEAD", Some(&head)),
        (&head[..8], Some(&head)),
        ("v1", Some(&first)),
        ("main~1", Some(&first)),
    ] {
        assert_eq!(repository.commit(revision).unwrap().as_ref(), commit, "{revision}");
    }
    for revision in ["nowhere", "", "--all", "main:pay", "HEAD~7"] {
        assert_eq!(repository.commit(revision).unwrap(), None, "{revision}");
    }
    assert!(repository.has_folder(&head, Path::new("")).unwrap());
    assert!(repository.has_folder(&head, Path::new("pay/src")).unwrap());
    assert!(!repository.has_folder(&head, Path::new("pay/src/amount")).unwrap());
    assert!(!repository.has_folder(&head, Path::new("pey")).unwrap());
}

#[test]
fn places_are_told_from_where_the_scenario_lies() {
    let desk = Desk::new();
    let repository = Repository::around(&desk.repo().join("pay/src")).unwrap().unwrap();
    assert_eq!(repository.top(), desk.repo());
    let whole = desk.repo().join("pay");
    for (directory, place) in [
        (".", Some("pay/src")),
        ("..", Some("pay")),
        ("../..", Some("")),
        ("../../../elsewhere", None),
        ("../../pay/./src", Some("pay/src")),
        (whole.to_str().unwrap(), Some("pay")),
        ("/", None),
    ] {
        assert_eq!(repository.place(Path::new(directory)), place.map(PathBuf::from), "{directory}");
    }
    assert_eq!(Repository::around(desk.folder.path()).unwrap(), None);
}

#[test]
fn a_dirty_tree_is_known_by_the_contents_of_what_changed() {
    let desk = Desk::new();
    let repo = desk.repo();
    let of = || Changes::of(&repo, &[repo.join("runs")]).unwrap().hash;
    assert_eq!(of(), None);
    fs::create_dir(repo.join("runs")).unwrap();
    fs::write(repo.join("runs/0001"), "a run").unwrap();
    fs::create_dir(repo.join("target")).unwrap();
    fs::write(repo.join("target/ignored"), "ignored").unwrap();
    assert_eq!(of(), None);
    fs::write(repo.join("pay/src/amount"), "five").unwrap();
    let changed = of().unwrap();
    git(&repo, &["add", "."]);
    git(&repo, &["reset", "--quiet", "runs"]);
    assert_eq!(of(), Some(changed.clone()), "staged or not, it is the same");
    fs::write(repo.join("pay/src/amount"), "six ").unwrap();
    let other = of().unwrap();
    assert_ne!(other, changed);
    fs::write(repo.join("pay/src/amount"), "five").unwrap();
    assert_eq!(of(), Some(changed.clone()), "as it was");
    fs::write(repo.join("new file"), "new").unwrap();
    let new = of().unwrap();
    assert_ne!(new, changed);
    std::os::unix::fs::symlink("new file", repo.join("link")).unwrap();
    assert_ne!(of().unwrap(), new);
    fs::remove_file(repo.join("link")).unwrap();
    fs::remove_file(repo.join("pay/src/amount")).unwrap();
    assert!(![changed, other, new].contains(&of().unwrap()));
}

#[test]
fn files_that_git_ignores_are_looked_at_for_whether_they_are_the_same() {
    let desk = Desk::new();
    let repository = Repository::around(&desk.repo()).unwrap().unwrap();
    let of = || {
        let mut hash = Fingerprint::new();
        beside_git(&mut hash, &repository, &[desk.repo().join("target/runs")]).unwrap();
        hash.finish()
    };
    let bare = of();
    fs::create_dir_all(desk.repo().join("target/runs")).unwrap();
    fs::write(desk.repo().join("target/program"), "one").unwrap();
    let built = of();
    assert_ne!(built, bare);
    fs::write(desk.repo().join("target/runs/0001"), "a run").unwrap();
    assert_eq!(of(), built);
    fs::write(desk.repo().join("target/program"), "two").unwrap();
    assert_ne!(of(), built);
}

#[test]
fn a_folder_is_made_by_one_at_a_time() {
    let desk = Desk::new();
    let (within, waiting, most) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let make = |log: &Path| -> Result<(), WorktreeError> {
                    most.fetch_max(within.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    assert!(!log.exists());
                    // Not before somebody else waits for it, or is in here, too.
                    while waiting.load(Ordering::SeqCst) == 0 && most.load(Ordering::SeqCst) < 2 {
                        std::thread::yield_now();
                    }
                    fs::write(log, "said").unwrap();
                    within.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                };
                let waits = |_| {
                    waiting.fetch_add(1, Ordering::SeqCst);
                };
                desk.cache.alone(&desk.repo(), &Stop::new(), &waits, make).unwrap();
            });
        }
    });
    assert_eq!(most.into_inner(), 1);
}
