//! Where libfaketime lies.

use std::fs;
use std::path::{Path, PathBuf};

/// File that builds are started with: the one for programs of several threads, which serves others as well.
const NAME: &str = "libfaketimeMT.so.1";

/// Where distributions put their libraries.
const ROOTS: [&str; 4] = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib"];

/// Finds it: in `faketime/` of a folder of libraries, or of one below that for a kind of machine, such as
/// `/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1` on Debian.
pub(super) fn find() -> Option<PathBuf> {
    ROOTS.iter().find_map(|root| find_below(Path::new(root)))
}

fn find_below(root: &Path) -> Option<PathBuf> {
    let own = format!("{}-linux", std::env::consts::ARCH);
    let below = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    // Those for other machines lie beside it.
    let is_own = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&own));
    let mut folders: Vec<PathBuf> = below.filter(is_own).collect();
    folders.sort();
    let places = [root.to_owned()].into_iter().chain(folders);
    let places = places.flat_map(|folder| [folder.join("faketime").join(NAME), folder.join(NAME)]);
    places.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_where_distributions_put_it_and_only_for_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let put = |place: &str| {
            let path = root.join(place).join(NAME);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        assert_eq!(find_below(root), None);
        put("sparc-linux-gnu/faketime");
        assert_eq!(find_below(root), None);
        let debian = put(&format!("{}-linux-gnu/faketime", std::env::consts::ARCH));
        assert_eq!(find_below(root), Some(debian));
        let fedora = put("faketime");
        assert_eq!(find_below(root), Some(fedora));
    }
}
