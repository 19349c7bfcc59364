//! Ring collectives between the buffers of ranks (Thakur et al. 2005): every chunk really moves, in the order in
//! which a ring would move it, so results are bit-reproducible.

use std::collections::BTreeMap;

use super::cpu::copy::CopyParams;
use super::cpu::reduce::ReduceParams;
use super::{Dispatch, Format, Slice};
use crate::graph::{Collective, Reduction, Shape};

/// The buffers with which one rank takes part.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// What it brings.
    pub input: Slice,
    /// What it gets; the same as `input` for an all-reduce.
    pub output: Slice,
    /// Where a chunk is received before it is reduced.
    pub scratch: Option<Slice>,
}

/// Writes a collective down and counts the bytes that it moves from rank to rank.
pub struct Ring<'a> {
    members: &'a [Member],
    dispatches: &'a mut Vec<Dispatch>,
    /// Blocks of which a rank's chunk of a value consists, each from another part of it.
    blocks: u32,
    /// Bytes moved so far from a member to another, by their places in the ring.
    pub sent: BTreeMap<(usize, usize), u64>,
}

impl<'a> Ring<'a> {
    /// A ring of `members` in order.
    pub fn new(members: &'a [Member], dispatches: &'a mut Vec<Dispatch>) -> Self {
        Self { members, dispatches, blocks: 1, sent: BTreeMap::new() }
    }

    /// The same, where a rank has a block of every one of so many parts of a value.
    pub fn dealt(self, blocks: u32) -> Self {
        Self { blocks, ..self }
    }

    /// Writes down `collective`.
    pub fn run(&mut self, collective: Collective) {
        match collective {
            Collective::AllReduce(reduction) => {
                self.reduce_scatter(reduction);
                self.all_gather();
            }
            Collective::ReduceScatter => {
                self.reduce_scatter(Reduction::Sum);
                self.keep_own_chunk();
            }
            // An owner gets its chunk of every rank.
            Collective::Push => self.all_to_all(),
            Collective::AllGather | Collective::Pull => {
                self.place_own_chunk();
                self.all_gather();
            }
            Collective::AllToAll | Collective::AllToAllOnce { .. } => self.all_to_all(),
            Collective::Shift => self.shift(),
        }
    }

    /// Terms go up a binary tree, in which rank `r` has the children `2r + 1` and `2r + 2`, and the sum comes down.
    pub fn tree_all_reduce(&mut self) {
        let elements = self.members[0].input.elements();
        for rank in (1..self.ranks()).rev() {
            let (from, to) = (self.members[rank], self.members[(rank - 1) / 2]);
            self.copy(from.input, 0, to.scratch.unwrap_or(to.output), 0, elements);
            self.reduce(to, 0, 0, elements, Reduction::Sum);
            self.count(rank, (rank - 1) / 2, elements);
        }
        for rank in 1..self.ranks() {
            self.hand_on((rank - 1) / 2, rank, elements);
        }
    }

    /// What the first rank has goes along the ring.
    pub fn broadcast(&mut self) {
        let elements = self.members[0].input.elements();
        for rank in 1..self.ranks() {
            self.hand_on(rank - 1, rank, elements);
        }
    }

    /// Bytes moved so far, over all ranks.
    pub fn moved(&self) -> u64 {
        self.sent.values().sum()
    }

    /// Counts some elements that one member sends to another.
    fn count(&mut self, from: usize, to: usize, elements: u32) {
        if from != to {
            *self.sent.entry((from, to)).or_default() += self.bytes(elements);
        }
    }

    fn hand_on(&mut self, from: usize, to: usize, elements: u32) {
        self.copy(self.members[from].output, 0, self.members[to].output, 0, elements);
        self.count(from, to, elements);
    }

    /// Bytes of some elements of what is exchanged.
    fn bytes(&self, elements: u32) -> u64 {
        u64::from(elements) * self.members[0].input.format.size()
    }

    fn ranks(&self) -> usize {
        self.members.len()
    }

    /// First element and number of elements of chunk `index` of a value of `elements`.
    fn chunk(&self, elements: u64, index: usize) -> (u32, u32) {
        let size = elements.div_ceil(self.ranks() as u64);
        let start = (size * index as u64).min(elements);
        let end = (start + size).min(elements);
        let word = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        (word(start), word(end - start))
    }

    /// The blocks of chunk `index` of a value of `elements`: where each begins in the value, and how long it is.
    fn blocks(&self, elements: u64, index: usize) -> Vec<(u32, u32)> {
        if self.blocks == 1 {
            return vec![self.chunk(elements, index)];
        }
        let part = u32::try_from(elements).unwrap_or(u32::MAX) / self.blocks;
        let block = part / u32::try_from(self.ranks()).unwrap_or(1);
        let first = block * u32::try_from(index).unwrap_or(u32::MAX);
        (0..self.blocks).map(|number| (number * part + first, block)).collect()
    }

    /// After `n - 1` rounds, rank `r` holds the reduction of chunk `r` in its input buffer.
    fn reduce_scatter(&mut self, reduction: Reduction) {
        let (n, elements) = (self.ranks(), u64::from(self.members[0].input.elements()));
        for round in 0..n - 1 {
            let sent = |rank: usize| (rank + 2 * n - round - 1) % n;
            for rank in 0..n {
                let to = self.members[(rank + 1) % n];
                let mut received = 0;
                for (start, count) in self.blocks(elements, sent(rank)) {
                    self.copy(self.members[rank].input, start, to.scratch.unwrap_or(to.output), received, count);
                    self.count(rank, (rank + 1) % n, count);
                    received += count;
                }
            }
            for rank in 0..n {
                let mut received = 0;
                for (start, count) in self.blocks(elements, sent((rank + n - 1) % n)) {
                    self.reduce(self.members[rank], received, start, count, reduction);
                    received += count;
                }
            }
        }
    }

    /// Passes chunks around until every rank has all of them in its output buffer.
    fn all_gather(&mut self) {
        let (n, elements) = (self.ranks(), u64::from(self.members[0].output.elements()));
        for round in 0..n - 1 {
            for rank in 0..n {
                let (from, to) = (self.members[rank].output, self.members[(rank + 1) % n].output);
                for (start, count) in self.blocks(elements, (rank + n - round) % n) {
                    self.copy(from, start, to, start, count);
                    self.count(rank, (rank + 1) % n, count);
                }
            }
        }
    }

    /// Chunk `j` of rank `i` becomes chunk `i` of rank `j`.
    fn all_to_all(&mut self) {
        let (n, elements) = (self.ranks(), u64::from(self.members[0].input.elements()));
        for (from, to) in (0..n).flat_map(|from| (0..n).map(move |to| (from, to))) {
            let ((source, count), (target, _)) = (self.chunk(elements, to), self.chunk(elements, from));
            self.copy(self.members[from].input, source, self.members[to].output, target, count);
            self.count(from, to, count);
        }
    }

    /// Rows of some tokens with all heads become rows of all tokens with some heads, or the other way round. A rank has
    /// every `n`-th token of a sequence; all of them are in order.
    pub fn exchange_heads(&mut self, from: Shape, to: Shape) {
        let n = self.ranks() as u32;
        let spreads = to.rows > from.rows;
        let (rows, cols) = if spreads { (from.rows, to.cols) } else { (to.rows, from.cols) };
        for (source, target) in (0..n).flat_map(|source| (0..n).map(move |target| (source, target))) {
            // Heads are blocks of columns where all are, tokens every n-th row where all of these are.
            let params = CopyParams {
                rows,
                cols,
                src_offset: target * cols,
                src_stride: n * cols,
                dst_offset: source * cols,
                dst_stride: n * cols,
                pad: [0; 2],
            };
            let (from, to) = (self.members[source as usize].input, self.members[target as usize].output);
            self.dispatches.push(Dispatch::new(&params, [from, to]));
            self.count(source as usize, target as usize, rows * cols);
        }
    }

    /// Every rank's value goes to the next.
    fn shift(&mut self) {
        let n = self.ranks();
        for rank in 0..n {
            let (from, to) = (self.members[rank].input, self.members[(rank + 1) % n].output);
            let (start, count) = (0, from.elements());
            self.copy(from, start, to, start, count);
            self.count(rank, (rank + 1) % n, count);
        }
    }

    fn keep_own_chunk(&mut self) {
        for (rank, member) in self.members.iter().enumerate() {
            let mut kept = 0;
            for (start, count) in self.blocks(member.input.elements().into(), rank) {
                self.copy(member.input, start, member.output, kept, count);
                kept += count;
            }
        }
    }

    fn place_own_chunk(&mut self) {
        for (rank, member) in self.members.iter().enumerate() {
            let mut placed = 0;
            for (start, count) in self.blocks(member.output.elements().into(), rank) {
                self.copy(member.input, placed, member.output, start, count);
                placed += count;
            }
        }
    }

    fn copy(&mut self, from: Slice, source: u32, to: Slice, target: u32, count: u32) {
        // A slice that lies in its whole is there already.
        let first = |slice: Slice, element: u32| slice.offset + u64::from(element) * slice.format.size();
        let (start, end) = (first(from, source), first(to, target));
        if count > 0 && (from.buffer, start) != (to.buffer, end) {
            self.dispatches.push(copy(from, source, to, target, count));
        }
    }

    /// Reduces what lies in the scratch space from element `from` on into the input from element `start` on.
    fn reduce(&mut self, member: Member, from: u32, start: u32, count: u32, reduction: Reduction) {
        if count > 0 {
            let op = if reduction == Reduction::Sum { 0 } else { 1 };
            let (scratch, src) = member.scratch.unwrap_or(member.output).aligned();
            let (input, dst) = member.input.aligned();
            let params = ReduceParams { n: count, op, dst_offset: dst + start, src_offset: src + from };
            self.dispatches.push(Dispatch::new(&params, [scratch, input]));
        }
    }
}

/// Copies `count` elements from element `source` of `from` to element `target` of `to`, in another format where these
/// differ.
pub fn copy(from: Slice, source: u32, to: Slice, target: u32, count: u32) -> Dispatch {
    let ((from, before), (to, ahead)) = (from.aligned(), to.aligned());
    let (source, target) = (source + before, target + ahead);
    let [pairs_from, pairs_to] = [from, to].map(|slice| Slice { format: Format::Word, ..slice });
    let alike = from.format == to.format && from.format.is_packed();
    if alike && [source, target, count].iter().all(|n| n.is_multiple_of(2)) {
        return copy_elements(pairs_from, source / 2, pairs_to, target / 2, count / 2);
    }
    copy_elements(from, source, to, target, count)
}

fn copy_elements(from: Slice, source: u32, to: Slice, target: u32, count: u32) -> Dispatch {
    let params = CopyParams {
        rows: 1,
        cols: count,
        src_offset: source,
        src_stride: count,
        dst_offset: target,
        dst_stride: count,
        pad: [0; 2],
    };
    Dispatch::new(&params, [from, to])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
