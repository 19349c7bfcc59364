//! Messages of the engine, which writes them in English, in the language of the interface: a message is recognised by what its
//! template leaves open, and what stands there is translated in the same way.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::{Language, language};

static CHINESE: LazyLock<Vec<Template>> =
    LazyLock::new(|| templates(include_str!("../../../../assets/i18n/messages.zh.toml")));

/// Letters of a template that are enough for it not to be met by chance.
const SURE: usize = 10;
/// How deep messages lie in messages.
const DEPTH: usize = 5;

/// A message whose parts are filled in.
struct Template {
    /// What stands between the parts that are filled in, at least a beginning.
    pieces: Vec<String>,
    translation: String,
}

/// All templates, those first that say most: they are the surest.
fn templates(text: &str) -> Vec<Template> {
    let table: BTreeMap<String, String> = toml::from_str(text).unwrap_or_default();
    let mut templates: Vec<Template> =
        table.into_iter().map(|(text, translation)| Template { pieces: pieces(&text), translation }).collect();
    templates.sort_by_key(|template| std::cmp::Reverse(template.length()));
    templates
}

/// What stands between braces and around them.
fn pieces(text: &str) -> Vec<String> {
    let mut rest = text;
    let mut pieces = Vec::new();
    while let Some((before, behind)) = rest.split_once('{') {
        pieces.push(before.to_owned());
        rest = behind.split_once('}').map_or("", |(_, behind)| behind);
    }
    pieces.push(rest.to_owned());
    pieces
}

impl Template {
    /// Letters that are not filled in.
    fn length(&self) -> usize {
        self.pieces.iter().map(String::len).sum()
    }

    /// What is filled in, where a message is of this kind.
    fn filled<'m>(&self, message: &'m str) -> Option<Vec<&'m str>> {
        let (first, others) = self.pieces.split_first()?;
        let mut rest = message.strip_prefix(first.as_str())?;
        let Some((last, inner)) = others.split_last() else { return rest.is_empty().then(Vec::new) };
        let mut filled = Vec::with_capacity(others.len());
        for piece in inner {
            let (part, behind) = rest.split_once(piece.as_str())?;
            filled.push(part);
            rest = behind;
        }
        filled.push(rest.strip_suffix(last.as_str())?);
        Some(filled)
    }

    fn translated(&self, filled: &[&str], depth: usize) -> String {
        let parts: Vec<Cow<'_, str>> = filled.iter().map(|part| translated(part, depth)).collect();
        let (mut text, mut next) = (String::new(), 0);
        let mut rest = self.translation.as_str();
        while let Some((before, behind)) = rest.split_once('{') {
            let (number, behind) = behind.split_once('}').unwrap_or(("", ""));
            let place = number.parse().unwrap_or(next);
            text.push_str(before);
            text.push_str(parts.get(place).map_or("", |part| part));
            (rest, next) = (behind, next + 1);
        }
        text + rest
    }
}

/// A message of the engine in the language of the interface; what nobody has translated stays as it is.
pub fn message(text: &str) -> Cow<'_, str> {
    if language() == Language::English { Cow::Borrowed(text) } else { translated(text, DEPTH) }
}

fn translated(text: &str, depth: usize) -> Cow<'_, str> {
    if depth == 0 || !text.contains(|c: char| c.is_ascii_alphabetic()) {
        return Cow::Borrowed(text);
    }
    let short = &CHINESE[long().len()..];
    let found = by_template(long(), text, depth).or_else(|| behind_a_name(text, depth));
    // Short ones are met by chance in what people and parsers write, so they count only inside others.
    let is_inside = depth < DEPTH && !text.contains('`');
    let in_short = || is_inside.then(|| by_template(short, text, depth)).flatten();
    let found = found.or_else(|| by_sentences(text, depth)).or_else(in_short);
    found.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Templates that are not met by chance.
fn long() -> &'static [Template] {
    &CHINESE[..CHINESE.partition_point(|template| template.length() >= SURE)]
}

fn by_template(templates: &[Template], text: &str, depth: usize) -> Option<String> {
    let (template, filled) = templates.iter().find_map(|template| Some((template, template.filled(text)?)))?;
    Some(template.translated(&filled, depth - 1))
}

/// What stands behind a name, as of a file, and a colon.
fn behind_a_name(text: &str, depth: usize) -> Option<String> {
    let mut from = 0;
    while let Some(at) = text[from..].find(": ").map(|at| from + at) {
        if let Some(behind) = by_template(long(), &text[at + 2..], depth) {
            return Some(format!("{}：{behind}", &text[..at]));
        }
        from = at + 2;
    }
    None
}

/// Sentences one by one.
fn by_sentences(text: &str, depth: usize) -> Option<String> {
    let (first, second) = text.split_once(". ")?;
    let (whole, rest) = (format!("{first}."), translated(second, depth - 1));
    let first = translated(&whole, depth - 1);
    let space = if first.ends_with('.') { " " } else { "" };
    (first != whole || rest != second).then(|| format!("{first}{space}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shardlab_engine::scenario::{check, preset_file};

    fn chinese(text: &str) -> String {
        translated(text, DEPTH).into_owned()
    }

    #[test]
    fn messages_are_translated_with_what_is_filled_in() {
        assert_eq!(
            chinese("`strategy.zero_stage` = 4 is not allowed: expected 0, 1, 2 or 3. 3 shards the most."),
            "`strategy.zero_stage` = 4 不允许：应为0、1、2 或 3。3 切分得最多。"
        );
        assert_eq!(
            chinese(
                "x.json: the trace has more than 10000 threads and streams, which is as many as are read; export fewer steps"
            ),
            "x.json：轨迹中的线程和流超过可读的 10000 个；请导出更少的步"
        );
        let cut = "cut.json: the trace cannot be read in line 1, column 18: EOF while parsing an object. It is truncated: copy it again, or let the profiler finish writing";
        assert_eq!(
            chinese(cut),
            "cut.json：轨迹在第 1 行第 18 列无法读取：EOF while parsing an object。文件被截断：请重新复制，或等分析器写完"
        );
        let stays = ["run.toml: No such file or directory (os error 2)", "opened this or that.toml", "llama2-7b (2)"];
        stays.iter().for_each(|text| assert_eq!(chinese(text), *text));
        assert_eq!(chinese("nobody has written this"), "nobody has written this");
    }

    #[test]
    fn what_the_form_refuses_is_said_in_chinese() {
        let mut file = preset_file("llama2-7b-8xh100").expect("a preset");
        file.strategy.tensor_parallel = 3;
        let english = check(&file).expect_err("three does not divide").to_string();
        let text = chinese(&english);
        assert!(
            text.contains("不允许：应为") && !text.contains("expected") && !text.contains("divis"),
            "{english} → {text}"
        );
    }

    /// The literals of a call, with their braces.
    fn literals(body: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut rest = body;
        while let Some(at) = rest.find('"') {
            let mut text = String::new();
            let mut characters = rest[at + 1..].char_indices();
            let mut end = rest.len();
            while let Some((place, c)) = characters.next() {
                match c {
                    '"' => {
                        end = at + 1 + place + 1;
                        break;
                    }
                    '\\' => match characters.next() {
                        Some((_, '\n')) | None => {}
                        Some((_, escaped)) => text.push(escaped),
                    },
                    c => text.push(c),
                }
            }
            found.push(text);
            rest = &rest[end.min(rest.len())..];
        }
        found
    }

    /// The text of a call from its opening bracket on to the one that closes it.
    fn call(text: &str) -> &str {
        let (mut depth, mut quoted, mut escaped) = (0_i32, false, false);
        for (place, c) in text.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted => {
                    depth -= 1;
                    if depth == 0 {
                        return &text[..place];
                    }
                }
                _ => {}
            }
        }
        text
    }

    fn sources(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                found.push(text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned());
            }
        }
    }

    /// Words that a person reads, not a name, a value, or a mere frame of what is filled in.
    fn is_sentence(text: &str) -> bool {
        !text.starts_with("{tp}") && pieces(text).concat().split_whitespace().filter(|word| word.len() > 1).count() > 1
    }

    #[test]
    fn every_error_of_the_engine_and_every_reason_of_a_refusal_is_there() {
        let mut texts = Vec::new();
        sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src"), &mut texts);
        let table: BTreeMap<String, String> =
            toml::from_str(include_str!("../../../../assets/i18n/messages.zh.toml")).expect("it parses");
        let mut missing = Vec::new();
        let mut seen = 0;
        for text in &texts {
            for (at, start) in text.match_indices("#[error(").chain(text.match_indices("invalid(")) {
                let body = call(&text[at + start.len() - 1..]);
                // The first literal of an error is its message, of a refusal its field.
                let all = literals(body);
                let said: Vec<_> = if start == "#[error(" { all.into_iter().take(1).collect() } else { all };
                for text in said.into_iter().filter(|text| is_sentence(text)) {
                    seen += 1;
                    if !table.contains_key(&text) {
                        missing.push(text);
                    }
                }
            }
        }
        assert!(seen > 150, "{seen} messages were found");
        assert!(missing.is_empty(), "without Chinese: {missing:#?}");
    }

    #[test]
    fn both_sides_have_as_many_places() {
        for template in CHINESE.iter() {
            let places = pieces(&template.translation).len();
            assert_eq!(template.pieces.len(), places, "{:?} {}", template.pieces, template.translation);
        }
    }
}
