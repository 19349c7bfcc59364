//! The fonts, cut down: the Chinese one to the characters of the translation, those of Latin letters to the scripts and signs
//! of technical texts, those of signs to what the interface uses.
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

/// Writes the subset for a translation (`assets/i18n/zh.toml` when none is named), and for what the engine says.
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
    let messages = fs::read_to_string(paths::root().join("assets/i18n/messages.zh.toml"))?;
    let characters = characters(&(text + &messages));
    let list = paths::target().join("font-characters.txt");
    fs::write(&list, characters.iter().collect::<String>())?;
    cut(&list, &paths::root().join(RESULT))?;
    let size = fs::metadata(paths::root().join(RESULT))?.len();
    println!("font: {RESULT} has {} characters in {} KiB", characters.len(), size.div_ceil(1024));
    LATIN.iter().try_for_each(|font| font.cut())
}

/// A font that egui ships, and what is left of it.
struct Latin {
    bytes: &'static [u8],
    result: &'static str,
    /// Ranges of characters, as fontTools takes them.
    characters: &'static str,
}

/// Latin, Greek and Cyrillic letters, punctuation, money, arrows, mathematics, shapes.
const LETTERS: &str = "U+20-7E,U+A0-17F,U+192,U+218-21B,U+2C6-2DD,U+370-3FF,U+400-45F,U+490-491,U+2000-206F,U+2070-209F,U+20A0-20BF,U+2100-214F,U+2190-21FF,U+2200-22FF,U+2500-25FF,U+FB01-FB02";
/// Signs of buttons and marks.
const SIGNS: &str = "U+2190-21FF,U+25A0-25FF,U+23E9-23FA,U+2600-2604,U+260E,U+2611,U+263A,U+2699-269B,U+26A0-26A1,U+2702,U+2705,U+270F,U+2713-2718,U+2728,U+274C,U+2753-2757,U+2795-2797,U+2B05-2B07,U+1F310,U+1F4A1,U+1F4BB,U+1F4BE,U+1F4C1-1F4CE,U+1F50D,U+1F517,U+1F527,U+1F5D9";

const LATIN: [Latin; 4] = [
    Latin {
        bytes: epaint_default_fonts::UBUNTU_LIGHT,
        result: "assets/fonts/Ubuntu-Light-subset.ttf",
        characters: LETTERS,
    },
    Latin {
        bytes: epaint_default_fonts::HACK_REGULAR,
        result: "assets/fonts/Hack-Regular-subset.ttf",
        characters: LETTERS,
    },
    Latin {
        bytes: epaint_default_fonts::NOTO_EMOJI_REGULAR,
        result: "assets/fonts/NotoEmoji-subset.ttf",
        characters: SIGNS,
    },
    Latin { bytes: epaint_default_fonts::EMOJI_ICON, result: "assets/fonts/emoji-icon-subset.ttf", characters: SIGNS },
];

impl Latin {
    fn cut(&self) -> Result<()> {
        let source = paths::target().join("font-source.ttf");
        fs::write(&source, self.bytes)?;
        let result = paths::root().join(self.result);
        let mut python = Command::new("python3");
        python.args(["-m", "fontTools.subset"]).arg(&source).args(["--no-hinting", "--layout-features=kern,liga,mark"]);
        python.arg(format!("--unicodes={}", self.characters)).args(["--name-IDs=*", "--notdef-outline"]);
        python.arg(format!("--output-file={}", result.display()));
        process::run(&mut python).context("fontTools is needed; to get it: pip install fonttools")?;
        println!("font: {} has {} KiB", self.result, fs::metadata(&result)?.len().div_ceil(1024));
        Ok(())
    }
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
