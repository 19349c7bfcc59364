//! What is known of some of a graph's tensors, by handle.

use super::TensorId;

/// A map from tensors that costs an index to look up, and is emptied in the time that it took to fill.
pub struct TensorMap<T> {
    of: Vec<Option<T>>,
    known: Vec<TensorId>,
}

impl<T: Copy> TensorMap<T> {
    /// An empty map for the tensors of a graph that has `tensors` of them.
    pub fn new(tensors: usize) -> Self {
        Self { of: vec![None; tensors], known: Vec::new() }
    }

    /// What is known of a tensor.
    pub fn get(&self, id: TensorId) -> Option<T> {
        self.of[id.index()]
    }

    /// Makes what is known of a tensor of what was known before.
    pub fn update(&mut self, id: TensorId, with: impl FnOnce(Option<T>) -> T) {
        let known = &mut self.of[id.index()];
        if known.is_none() {
            self.known.push(id);
        }
        *known = Some(with(*known));
    }

    /// The tensors of which something is known with that, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (TensorId, T)> {
        self.known.iter().filter_map(|&id| Some((id, self.get(id)?)))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for id in self.known.drain(..) {
            self.of[id.index()] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cleared_map_knows_nothing() {
        let (first, second) = (TensorId::new(2), TensorId::new(0));
        let mut map = TensorMap::new(3);
        map.update(first, |known| known.unwrap_or(0) + 1);
        map.update(second, |known| known.unwrap_or(0) + 1);
        map.update(first, |known| known.unwrap_or(0) + 1);
        assert_eq!(map.iter().collect::<Vec<_>>(), [(first, 2), (second, 1)]);
        map.clear();
        assert_eq!((map.get(first), map.iter().count()), (None, 0));
    }
}
