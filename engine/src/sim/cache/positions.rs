//! A set of places in a trace whose largest is found at once.

/// Places below a bound, as a tree of bits: a bit of a level says whether a word of the level below has any.
#[derive(Debug)]
pub struct Positions {
    /// The lowest level first; the last one is a single word.
    levels: Vec<Vec<u64>>,
}

impl Positions {
    /// None of `bound` places.
    pub fn new(bound: usize) -> Self {
        let mut levels = vec![vec![0; bound.div_ceil(64).max(1)]];
        while let Some(words) = levels.last().map(Vec::len).filter(|&words| words > 1) {
            levels.push(vec![0; words.div_ceil(64)]);
        }
        Self { levels }
    }

    /// Adds a place.
    pub fn insert(&mut self, place: usize) {
        let mut place = place;
        for level in &mut self.levels {
            let word = &mut level[place / 64];
            let was_empty = *word == 0;
            *word |= 1 << (place % 64);
            if !was_empty {
                return;
            }
            place /= 64;
        }
    }

    /// Takes a place out.
    pub fn remove(&mut self, place: usize) {
        let mut place = place;
        for level in &mut self.levels {
            let word = &mut level[place / 64];
            *word &= !(1 << (place % 64));
            if *word != 0 {
                return;
            }
            place /= 64;
        }
    }

    /// The largest place.
    pub fn largest(&self) -> Option<usize> {
        let mut place = 0;
        for level in self.levels.iter().rev() {
            let bit = level[place].checked_ilog2()?;
            place = place * 64 + bit as usize;
        }
        Some(place)
    }
}
