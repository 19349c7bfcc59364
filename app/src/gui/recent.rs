//! Files that were opened last: natively by their paths; what is small by its text, too, since a page knows no paths.

use serde::{Deserialize, Serialize};

/// Files that are remembered.
const MOST: usize = 10;
/// Bytes of a file whose text is remembered, at most.
const SMALL: usize = 32 << 10;

/// A file that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentFile {
    /// Its name.
    pub name: String,
    /// Where it is, where that is known.
    #[serde(default)]
    pub path: Option<String>,
    /// What is in it, where it is small and its place is not known.
    #[serde(default)]
    pub text: Option<String>,
}

impl RecentFile {
    /// A file that was opened; none where it could not be opened again.
    pub fn new(name: &str, path: Option<String>, bytes: &[u8]) -> Option<Self> {
        let is_small = path.is_none() && bytes.len() <= SMALL;
        let text = is_small.then(|| std::str::from_utf8(bytes).ok().map(str::to_owned)).flatten();
        (path.is_some() || text.is_some()).then(|| Self { name: name.to_owned(), path, text })
    }

    /// Whether both are the same file.
    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.path == other.path
    }
}

/// Puts a file before all others.
pub fn remember(files: &mut Vec<RecentFile>, file: RecentFile) {
    files.retain(|known| !known.is_same(&file));
    files.insert(0, file);
    files.truncate(MOST);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_file_is_the_first_and_none_stands_twice() {
        let mut files = Vec::new();
        for number in 0..12 {
            let path = Some(format!("/runs/{}.json", number % 11));
            remember(&mut files, RecentFile::new("run.json", path, b"").expect("it has a place"));
        }
        assert_eq!(files.len(), MOST);
        assert_eq!(files[0].path.as_deref(), Some("/runs/0.json"));
        assert_eq!(files.iter().filter(|file| file.path == files[0].path).count(), 1);
    }

    #[test]
    fn a_page_remembers_small_texts_and_nothing_that_it_could_not_open_again() {
        assert_eq!(RecentFile::new("a.toml", None, b"x = 1").and_then(|file| file.text).as_deref(), Some("x = 1"));
        assert_eq!(RecentFile::new("a.gz", None, &[0x1f, 0x8b, 0xff]), None);
        assert_eq!(RecentFile::new("large.json", None, &[b' '; SMALL + 1]), None);
    }
}
