//! Reading where this Debian system gets its packages from.

use anyhow::{Context as _, Result};
use std::{fs, path::PathBuf};

/// Address and `[signed-by=…]` of the host's own Debian source, in either notation.
///
/// # Errors
/// When no Debian archive is configured.
pub fn host_source() -> Result<(String, String)> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(folder.flatten().map(|entry| entry.path()));
    }
    files.sort();
    files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|text| source_in(&text))
        .context("expected a Debian source with the component `main` under /etc/apt, found none")
}

/// The first source of a file that is a Debian archive's `main`.
fn source_in(text: &str) -> Option<(String, String)> {
    text.split("\n\n").find_map(deb822_source).or_else(|| text.lines().find_map(line_source))
}

fn deb822_source(paragraph: &str) -> Option<(String, String)> {
    let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let address = field("URIs:")?.split_whitespace().next()?;
    let main = field("Components:")?.split_whitespace().any(|word| word == "main");
    let key = field("Signed-By:").filter(|key| key.starts_with('/'));
    let options = key.map_or_else(String::new, |key| format!("[signed-by={key}] "));
    (main && is_debian(address)).then(|| (address.to_owned(), options))
}

fn line_source(line: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((options, rest)) => (format!("[{options}] "), rest),
        None => (String::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let address = words.next()?;
    (words.any(|word| word == "main") && is_debian(address)).then(|| (address.to_owned(), options))
}

/// Archives of releases end in `/debian`; those of security fixes and third parties do not.
fn is_debian(address: &str) -> bool {
    address.trim_end_matches('/').ends_with("/debian")
}

#[cfg(test)]
mod tests {
    use super::source_in;

    #[test]
    fn both_notations_of_a_source_are_read() {
        let new = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: \
                   main\nSigned-By: /usr/share/keyrings/k.gpg\n";
        let old = "# a comment\ndeb [arch=amd64] http://mirror.example/debian/ bookworm main\n";
        let address = |text| source_in(text).map(|(address, _)| address);
        assert_eq!(address(new).as_deref(), Some("http://mirror.example/debian"));
        assert_eq!(address(old).as_deref(), Some("http://mirror.example/debian/"));
        assert_eq!(address("deb http://mirror.example/other stable main"), None);
    }
}
