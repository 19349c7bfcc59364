//! What is found when it is first drawn, and again only when what it is found from has changed: a frame has no time to find it.

use std::sync::Arc;

/// One and the same thing, not one that is alike.
#[derive(Debug)]
pub struct Same<T>(pub Arc<T>);

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A value and what it was found from.
#[derive(Debug)]
pub struct FoundOnce<K, V>(Option<(K, V)>);

impl<K, V> Default for FoundOnce<K, V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: PartialEq, V> FoundOnce<K, V> {
    /// The value that belongs to a key.
    pub fn get(&mut self, key: K, find: impl FnOnce() -> V) -> &V {
        let known = self.0.take().filter(|(of, _)| *of == key);
        &self.0.insert(known.unwrap_or_else(|| (key, find()))).1
    }

    /// The value that was found last.
    pub fn last(&self) -> Option<&V> {
        self.0.as_ref().map(|(_, value)| value)
    }

    /// Forgets it.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_again_when_its_key_changes() {
        let (mut found, mut times) = (FoundOnce::default(), 0);
        for key in [1, 1, 2, 2, 1] {
            found.get(key, || times += 1);
        }
        assert_eq!(times, 3);
    }
}
