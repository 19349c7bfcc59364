//! The Chinese font, cut down to the characters of the translation.
//!
//! Done by hand after a change of the translation, since the result is kept in the repository.
//! Needs Python with fontTools and Debian's `fonts-noto-cjk`.

use crate::{paths, process};
use anyhow::{Context as _, Result, bail};
use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// Where Debian's `fonts-noto-cjk` puts it, and the number of the face `Noto Sans CJK SC` in it.
const SOURCE: &str = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc";
const FACE: &str = "--font-number=2";
const RESULT: &str = "assets/fonts/NotoSansSC-subset.otf";

/// Punctuation, and the language's own name, which the menu shows in every language.
const ALWAYS: &str = "◑▶⚠✓√∞÷中文，。、；：？！（）【】《》“”‘’—…·×→←↑↓≤≥≈±µ°％";

const OPTIONS: [&str; 7] = [
    FACE,
    "--no-hinting",
    "--layout-features=",
    "--no-layout-closure",
    "--drop-tables+=GSUB,GPOS,vhea,vmtx,VORG,BASE,DSIG",
    "--name-IDs=*",
    "--notdef-outline",
];

/// Writes the subset for a translation (`assets/i18n/zh.toml` when none is named).
///
/// # Errors
/// When the translation, the font or fontTools is missing.
pub fn subset(translation: Option<&str>) -> Result<()> {
    let translation = paths::root().join(translation.unwrap_or("assets/i18n/zh.toml"));
    let text = fs::read_to_string(&translation)
        .with_context(|| format!("expected the translation in {}", translation.display()))?;
    if !Path::new(SOURCE).is_file() {
        bail!("expected {SOURCE}; run: apt-get install fonts-noto-cjk");
    }
    let characters = characters(&text);
    let list = paths::target().join("font-characters.txt");
    fs::write(&list, characters.iter().collect::<String>())?;
    cut(&list, &paths::root().join(RESULT))?;
    let size = fs::metadata(paths::root().join(RESULT))?.len();
    println!("font: {RESULT} has {} characters in {} KiB", characters.len(), size.div_ceil(1024));
    Ok(())
}

/// Printable ASCII, what is always needed, and what the translation uses.
fn characters(text: &str) -> BTreeSet<char> {
    let used = text.chars().filter(|character| !character.is_control());
    (' '..='~').chain(ALWAYS.chars()).chain(used).collect()
}

fn cut(list: &Path, result: &Path) -> Result<()> {
    let mut python = Command::new("python3");
    python.args(["-m", "fontTools.subset", SOURCE]).args(OPTIONS);
    python.arg(format!("--text-file={}", list.display()));
    python.arg(format!("--output-file={}", result.display()));
    process::run(&mut python).context("fontTools is needed; to get it: pip install fonttools")
}

#[cfg(test)]
mod tests {
    use super::characters;

    #[test]
    fn every_character_once() {
        let found = characters("a = \"模型模型\"\n");
        assert!(found.contains(&'模') && found.contains(&'~') && !found.contains(&'\n'));
    }
}
