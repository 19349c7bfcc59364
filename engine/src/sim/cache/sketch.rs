//! How often objects were used lately, roughly and in little memory: a count-min sketch of four-bit counters that are
//! halved now and then (Einziger, Friedman and Manes 2017, "TinyLFU", section 3).

use super::ObjectId;

/// Rows of the sketch.
const ROWS: u64 = 4;

/// The largest count.
const MOST: u64 = 15;

/// Uses are counted for ten times as many requests as there are objects, then all counts are halved.
const SAMPLE: u64 = 10;

/// Approximate counts of uses.
#[derive(Debug)]
pub struct Sketch {
    /// Sixteen counters in each word.
    words: Vec<u64>,
    mask: u64,
    /// Counted since the last halving, and when the next one is due.
    counted: u64,
    sample: u64,
}

impl Sketch {
    /// For a cache of about so many objects.
    pub fn new(objects: u64) -> Self {
        let words = objects.clamp(16, 1 << 28).next_power_of_two();
        let zeros = vec![0; usize::try_from(words).unwrap_or(16)];
        Self { words: zeros, mask: words - 1, counted: 0, sample: SAMPLE * objects.max(16) }
    }

    /// Counts a use.
    pub fn count(&mut self, object: ObjectId) {
        let mut grew = false;
        for (word, shift) in self.places(object) {
            let word = &mut self.words[word];
            if (*word >> shift) & MOST < MOST {
                *word += 1 << shift;
                grew = true;
            }
        }
        self.counted += u64::from(grew);
        if self.counted >= self.sample {
            self.halve();
        }
    }

    /// Uses of an object, at least as many as there were since the last halvings, and at most 15.
    pub fn uses(&self, object: ObjectId) -> u64 {
        let counts = self.places(object).into_iter().map(|(word, shift)| (self.words[word] >> shift) & MOST);
        counts.min().unwrap_or(0)
    }

    /// Bytes that the counters take.
    pub fn memory(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    fn halve(&mut self) {
        self.words.iter_mut().for_each(|word| *word = (*word >> 1) & 0x7777_7777_7777_7777);
        self.counted /= 2;
    }

    /// Word and bit of an object's counter in every row.
    #[expect(clippy::cast_possible_truncation, reason = "a place is less than the number of words")]
    fn places(&self, object: ObjectId) -> [(usize, u32); ROWS as usize] {
        let hash = mixed(u64::from(object.0));
        std::array::from_fn(|row| {
            let of_row = hash.rotate_left(16 * row as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let counter = 4 * (row as u32 * 4 + (of_row >> 62) as u32);
            (((of_row >> 16) & self.mask) as usize, counter)
        })
    }
}

/// A number that looks random and is always the same (Steele, Lea and Flood 2014, "SplitMix").
pub fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
