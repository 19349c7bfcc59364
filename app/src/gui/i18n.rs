//! Texts in English and Chinese, by key.
//!
//! * `messages` has what the engine says.

mod messages;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

pub use messages::message;

/// A language of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Language {
    /// English.
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// Its code in files and in the state that tests read.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }
}

type Table = BTreeMap<String, String>;

static CHINESE: AtomicBool = AtomicBool::new(false);
static EN: LazyLock<Table> = LazyLock::new(|| table(include_str!("../../../assets/i18n/en.toml")));
static ZH: LazyLock<Table> = LazyLock::new(|| table(include_str!("../../../assets/i18n/zh.toml")));

/// The tables are part of the program and a test reads them, so an error cannot reach a user.
fn table(text: &str) -> Table {
    toml::from_str(text).unwrap_or_default()
}

/// Chooses the language of the whole interface.
pub fn set_language(language: Language) {
    CHINESE.store(language == Language::Chinese, Ordering::Relaxed);
}

/// The language in use.
pub fn language() -> Language {
    if CHINESE.load(Ordering::Relaxed) { Language::Chinese } else { Language::English }
}

/// The text of `key`. A missing Chinese text falls back to English, a missing key shows itself.
pub fn t(key: &'static str) -> &'static str {
    find(key).unwrap_or(key)
}

/// The text of a key that is put together at run time, or the last part of the key where there is none: names of
/// op classes and the like, which are the same in all languages.
pub fn t_or_name(prefix: &str, name: &'static str) -> &'static str {
    find(&format!("{prefix}.{name}")).unwrap_or(name)
}

/// The explanation of `key`, where it has one.
pub fn tip(key: &str) -> Option<&'static str> {
    find(&format!("{key}.tip"))
}

/// The unit of the field `key` with a space before it; nothing where it is a plain number.
pub fn unit(key: &str) -> String {
    find(&format!("{key}.unit")).map_or_else(String::new, |unit| format!(" {unit}"))
}

/// As [`unit`], in the singular where there is one of it.
pub fn unit_of(key: &str, count: u32) -> String {
    let one = if count == 1 { find(&format!("{key}.unit.one")) } else { None };
    one.map_or_else(|| unit(key), |unit| format!(" {unit}"))
}

fn find(key: &str) -> Option<&'static str> {
    let chinese = (language() == Language::Chinese).then(|| ZH.get(key)).flatten();
    chinese.or_else(|| EN.get(key)).map(String::as_str)
}

/// The text of `key` with `{}` replaced by `value`.
pub fn t_with(key: &'static str, value: impl std::fmt::Display) -> String {
    t(key).replacen("{}", &value.to_string(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_have_the_same_keys_and_placeholders() {
        let keys = |table: &Table| table.keys().cloned().collect::<Vec<_>>();
        assert!(EN.len() > 100, "the table parses");
        assert_eq!(keys(&EN), keys(&ZH));
        for (key, text) in EN.iter() {
            assert_eq!(text.matches("{}").count(), ZH[key].matches("{}").count(), "{key}");
        }
    }

    /// Literals that look like keys, in all files of the interface.
    fn literals(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                literals(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            let quoted = text.split('"').skip(1).step_by(2).filter(|text| text.contains('.'));
            let is_key =
                |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c));
            found.extend(quoted.filter(is_key).map(str::to_owned));
        }
    }

    #[test]
    fn every_key_in_the_code_has_a_text() {
        let mut found = Vec::new();
        literals(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gui"), &mut found);
        let groups: std::collections::BTreeSet<&str> = EN.keys().filter_map(|key| key.split('.').next()).collect();
        // Paths of scenario fields and names of files look like keys too.
        let others = ["model.", "cluster.", "strategy.", "data."];
        let is_file = |key: &str| key.ends_with(".csv") || key.ends_with(".json");
        let is_text = |key: &&String| {
            let is_other = is_file(key) || others.iter().any(|other| key.starts_with(other));
            groups.contains(key.split('.').next().unwrap_or("")) && !is_other
        };
        let keys: Vec<_> = found.iter().filter(is_text).collect();
        assert!(keys.len() > 100, "{} keys were found", keys.len());
        // A beginning that is put before a name, as in `t_or_name("network.unit", "node")`.
        let is_beginning = |key: &str| EN.keys().any(|known| known.starts_with(&format!("{key}.")));
        let missing: Vec<_> = keys.iter().filter(|key| !EN.contains_key(key.as_str()) && !is_beginning(key)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_subset_font_has_every_character_of_the_chinese_texts() {
        let font = include_bytes!("../../../assets/fonts/NotoSansSC-subset.otf");
        let mut fonts = egui::FontDefinitions::empty();
        fonts.font_data.insert("zh".into(), egui::FontData::from_static(font).into());
        fonts.families.insert(egui::FontFamily::Proportional, vec!["zh".into()]);
        fonts.families.insert(egui::FontFamily::Monospace, vec!["zh".into()]);
        let context = egui::Context::default();
        context.set_fonts(fonts);
        let mut output = context.run_ui(egui::RawInput::default(), |ui| {
            let messages = include_str!("../../../assets/i18n/messages.zh.toml");
            for c in ZH.values().flat_map(|text| text.chars()).chain(messages.chars()).filter(|c| !c.is_control()) {
                let has = ui.ctx().fonts_mut(|fonts| fonts.has_glyph(&egui::FontId::proportional(14.0), c));
                assert!(has, "{c} is missing: run `cargo xtask font`");
            }
        });
        output.textures_delta.clear();
    }
}
