//! A schedule as a user writes it: for every stage a text such as `"F0 F1 B0 F2 B1 B2"`.
//!
//! A slot is `F`, `B` or `W` with a micro-batch and, on stages with several model chunks, `.` and the chunk: `F3.1`.

use super::{Pass, Slot};

/// A word that is no slot, or a slot that there cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSlot {
    /// The word as written.
    pub word: String,
    /// What it must be.
    pub expected: String,
}

/// The slots of a stage.
///
/// # Errors
/// On the first word that is not a slot of `micro_batches` and `chunks`, and where a pass is missing or there twice.
pub fn parse(text: &str, micro_batches: u32, chunks: u32) -> Result<Vec<Slot>, BadSlot> {
    let slots: Vec<Slot> =
        text.split_whitespace().map(|word| slot(word, micro_batches, chunks)).collect::<Result<_, _>>()?;
    let mut seen = slots.clone();
    seen.sort_unstable();
    if let Some(twice) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(BadSlot { word: twice[0].to_string(), expected: "every slot once".to_owned() });
    }
    let weights = seen.iter().any(|slot| slot.pass == Pass::Weight);
    for pass in [Pass::Forward, Pass::Backward, Pass::Weight].into_iter().take(if weights { 3 } else { 2 }) {
        for chunk in 0..chunks {
            for micro_batch in 0..micro_batches {
                let slot = Slot { pass, chunk, micro_batch };
                if seen.binary_search(&slot).is_err() {
                    let expected =
                        format!("`{slot}` too: every pass of {micro_batches} micro-batches and {chunks} chunks");
                    return Err(BadSlot { word: text.chars().take(60).collect(), expected });
                }
            }
        }
    }
    Ok(slots)
}

fn slot(word: &str, micro_batches: u32, chunks: u32) -> Result<Slot, BadSlot> {
    let bad = || BadSlot {
        word: word.chars().take(40).collect(),
        expected: format!(
            "F, B or W with a micro-batch below {micro_batches}, and behind a point a chunk below {chunks}, such as `F0`{}",
            if chunks > 1 { " or `F0.1`" } else { "" }
        ),
    };
    let pass = match word.chars().next() {
        Some('F' | 'f') => Pass::Forward,
        Some('B' | 'b') => Pass::Backward,
        Some('W' | 'w') => Pass::Weight,
        _ => return Err(bad()),
    };
    let (micro_batch, chunk) = word[1..].split_once('.').unwrap_or((&word[1..], "0"));
    let number = |text: &str, below: u32| text.parse().ok().filter(|&n| n < below);
    match (number(micro_batch, micro_batches), number(chunk, chunks)) {
        (Some(micro_batch), Some(chunk)) => Ok(Slot { pass, chunk, micro_batch }),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read_as_they_are_written() {
        let text = "F0 F1 B0 B1 W0 W1";
        let slots = parse(text, 2, 1).expect("a schedule");
        assert_eq!(slots.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), text);
        assert!(parse("F0 F0.1 B0.1 B0", 1, 2).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| parse(text, 2, 1).map_or_else(|bad| format!("{bad:?}"), |_| String::new());
        assert!(wrong("F0 X1").contains("X1"));
        assert!(wrong("F0 F2 B0 B1").contains("below 2"));
        assert!(wrong("F0 F1 B0").contains("`B1` too"));
        assert!(wrong("F0 F1 B0 B1 B1").contains("once"));
        assert!(wrong("F0 F1 B0 B1 W0").contains("`W1` too"));
        assert!(wrong("F0é").contains("F0é"));
    }
}
