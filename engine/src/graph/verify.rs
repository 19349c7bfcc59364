//! What must hold of a graph after every pass. Tests run it after each of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Collective, CompressionStep, Direction, Op, OpGraph, OpKind, Placement, Role, Segment, Shape, Spread, StepGraph,
    Storage, Task, TensorId, Transfer,
};
use crate::cluster::Group;
use crate::scenario::Place;
use crate::trace::Name;

/// Why a graph is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// An op reads a value that no earlier op has written.
    #[error("op `{op}` reads `{tensor}` before it is written")]
    ReadBeforeWrite {
        /// The op.
        op: Name,
        /// The value.
        tensor: Name,
    },
    /// Shapes that an op puts together do not agree.
    #[error("op `{op}`: {what}")]
    Shape {
        /// The op.
        op: Name,
        /// What does not agree.
        what: Name,
    },
    /// A partial value is read as if it were whole, or reduced twice.
    #[error("op `{op}` reads the partial value `{tensor}` without a reduction")]
    PartialRead {
        /// The op.
        op: Name,
        /// The value.
        tensor: Name,
    },
    /// A partial value is reduced more than once.
    #[error("`{tensor}` is reduced {times} times")]
    ReducedTwice {
        /// The value.
        tensor: Name,
        /// How often.
        times: usize,
    },
    /// Sends and receives of two neighbouring stages do not pair up.
    #[error("transfer {transfer} of stage {stage} is not sent once and received once by its neighbour")]
    UnpairedTransfer {
        /// The sending stage.
        stage: usize,
        /// The transfer's number.
        transfer: u32,
    },
    /// Stages wait for each other in a circle.
    #[error("stage {stage} waits for a message that is sent only after one that it sends itself")]
    Circular {
        /// The first stage that waits forever.
        stage: usize,
    },
    /// An edge goes against the program order, so that a stream would wait for itself.
    #[error("stage {stage}: an edge of segment {segment} goes against the program order")]
    OrderContradictsEdge {
        /// The stage.
        stage: usize,
        /// Index of the segment.
        segment: usize,
    },
    /// A micro-batch reads a value that no task before has computed for it.
    #[error("stage {stage}: op `{op}` of micro-batch {micro_batch:?} reads `{tensor}`, which no task before writes")]
    MissingInput {
        /// The stage.
        stage: usize,
        /// The op.
        op: Name,
        /// The micro-batch; none in the update.
        micro_batch: Option<u32>,
        /// The value.
        tensor: Name,
    },
    /// What is allocated is not what is freed.
    #[error("stage {stage}: {allocated} allocations of a micro-batch, but {freed} frees")]
    Leak {
        /// The stage.
        stage: usize,
        /// Tensors allocated.
        allocated: usize,
        /// Tensors freed.
        freed: usize,
    },
}

impl OpGraph {
    /// Checks that values are written before they are read, that shapes agree, and that partial values are reduced
    /// exactly once.
    pub fn verify(&self) -> Result<(), GraphError> {
        let mut written: BTreeSet<TensorId> = BTreeSet::new();
        for op in &self.ops {
            for &id in &op.reads {
                let computed = matches!(self.tensor(id).role, Role::Activation);
                if computed && !written.contains(&id) {
                    return Err(GraphError::ReadBeforeWrite {
                        op: op.name.clone(),
                        tensor: self.tensor(id).name.clone(),
                    });
                }
            }
            self.verify_shapes(op)?;
            self.verify_placements(op)?;
            written.extend(&op.writes);
        }
        self.verify_reductions()
    }

    fn verify_shapes(&self, op: &Op) -> Result<(), GraphError> {
        let shape = |id: &TensorId| self.tensor(*id).local;
        let reads: Vec<Shape> = op.reads.iter().map(shape).collect();
        let writes: Vec<Shape> = op.writes.iter().map(shape).collect();
        let fits = match (op.kind, &reads[..], &writes[..]) {
            (OpKind::Matmul { transpose_a, transpose_b, .. }, [a, b, ..], [c, ..]) => {
                let (m, k) = if transpose_a { (a.cols, a.rows) } else { (a.rows, a.cols) };
                let (k2, n) = if transpose_b { (b.cols, b.rows) } else { (b.rows, b.cols) };
                (m, n) == (c.rows, c.cols) && k == k2
            }
            (OpKind::GroupedMatmul { transpose_a, transpose_b, .. }, [a, b], [c]) => {
                // Weights of all experts lie below each other, as many as the whole is longer than one.
                let (rows, one) = match (transpose_a, transpose_b) {
                    (true, _) => (a.rows == b.rows && b.cols == c.cols, (c.rows, a.cols)),
                    (false, true) => (a.rows == c.rows && a.cols == b.cols, (b.rows, c.cols)),
                    (false, false) => (a.rows == c.rows && b.cols == c.cols, (b.rows, a.cols)),
                };
                rows && one.0.is_multiple_of(one.1.max(1))
            }
            (OpKind::Route, [scores], [weights, assignment, choices]) => {
                scores.rows == weights.rows && weights == assignment && weights == choices
            }
            (OpKind::RouteGrad, [scores, assignment, dweights], [dscores]) => {
                scores == dscores && assignment == dweights
            }
            (OpKind::Dispatch, [x, assignment], [rows]) => x.rows == assignment.rows && x.cols == rows.cols,
            (OpKind::DispatchGrad, [drows, assignment], [dx]) => dx.rows == assignment.rows && dx.cols == drows.cols,
            (OpKind::Combine, [rows, weights, assignment], [y]) => {
                weights == assignment && y.rows == weights.rows && rows.cols == y.cols
            }
            (OpKind::CombineGrad, [rows, weights, _, dy], [drows, dweights]) => {
                rows == drows && weights == dweights && dy.rows == weights.rows
            }
            (OpKind::LatentJoin, [q, kv, key], [qkv]) => [q, kv, key].iter().all(|part| part.rows == qkv.rows),
            (OpKind::LatentJoinGrad, [dqkv], parts @ [_, _, _]) => parts.iter().all(|part| part.rows == dqkv.rows),
            (OpKind::KeysValues, [whole], [part]) | (OpKind::KeysValuesGrad, [part], [whole]) => {
                whole.rows == part.rows && whole.cols > part.cols
            }
            (OpKind::ContextAttention { .. }, [qkv, _], [out, _]) => qkv.rows == out.rows && qkv.cols > out.cols,
            (OpKind::ContextAttentionGrad { .. }, [qkv, kv, out, _, dout], [dqkv, dkv, _]) => {
                qkv == dqkv && kv == dkv && out == dout
            }
            (OpKind::Add | OpKind::Residual { .. } | OpKind::GeluGrad, [a, b, ..], [c, ..]) => a == b && b == c,
            (OpKind::Dropout, [x, _], [y, mask]) | (OpKind::DropoutGrad, [x, mask], [y]) => x == y && y == mask,
            (OpKind::Gelu | OpKind::Norm | OpKind::Rope { .. } | OpKind::Cast, [x, ..], [y, ..]) => x == y,
            (OpKind::Load, [], written) => !written.is_empty(),
            (OpKind::ToHost, [x], [y]) | (OpKind::FromHost, [x, ..], [y]) => x == y,
            (OpKind::Relu | OpKind::Tanh, [x], [y]) => x == y,
            (OpKind::ReluGrad | OpKind::TanhGrad, [y, dy], [dx]) => y == dy && dy == dx,
            (OpKind::GatherRows, [x, _], [y]) | (OpKind::GatherRowsGrad, [y, _], [x]) => x.cols == y.cols,
            (OpKind::ClassToken, [x, token], [y]) => x.cols == y.cols && token.elements() == u64::from(y.cols),
            (OpKind::ClassTokenGrad, [dy], [dx]) => dx.cols == dy.cols,
            (OpKind::ClassTokenWeightGrad, [dy], [dtoken]) => dtoken.elements() == u64::from(dy.cols),
            (OpKind::ClassSums, [logits, targets], [sums]) => {
                targets.rows >= logits.rows && sums.rows == logits.rows && sums.cols == 2
            }
            (OpKind::ClassSumsGrad, [logits, sums, _], [dlogits]) => logits == dlogits && sums.rows == logits.rows,
            (OpKind::Convolution(_) | OpKind::ConvolutionInputGrad(_) | OpKind::ConvolutionWeightGrad(_), _, _) => {
                convolves(op.kind, &reads, &writes)
            }
            (OpKind::BatchNorm, [x, weight, shift], [y, sums]) => {
                x == y && weight == shift && u64::from(x.cols) == weight.elements() && sums.rows == x.cols
            }
            (OpKind::GroupNorm(groups), [x, weight, shift], [y, statistics]) => {
                let fits = x == y && weight == shift && u64::from(x.cols) == weight.elements();
                fits && x.cols.is_multiple_of(groups) && statistics.rows.is_multiple_of(groups)
            }
            (OpKind::GroupNormGrad(_), [x, _, _, dy], [dx]) => x == dy && dy == dx,
            (OpKind::GroupNormGradParameters(_), [x, _, dy], [dweight, dshift]) => {
                x == dy && dweight == dshift && dweight.elements() == u64::from(x.cols)
            }
            (OpKind::BatchNormGrad, [x, _, statistics, dy], [dx, sums]) => x == dy && dy == dx && statistics == sums,
            (OpKind::BatchNormGradParameters, [sums], [dweight, dshift]) => {
                dweight == dshift && dweight.elements() == u64::from(sums.rows)
            }
            (OpKind::Pool(_), [x], [y]) => x.cols == y.cols && x.rows >= y.rows,
            (OpKind::PoolGrad(_), [x, y, dy], [dx]) => x == dx && y == dy,
            (OpKind::EmbeddingBag, [ids, table], [y]) => table.cols == y.cols && ids.rows >= y.rows,
            (OpKind::EmbeddingBagUpdate, [_, dy], [table, state]) => dy.cols == table.cols && state.rows == table.rows,
            (OpKind::Interaction, [dense, vectors], [y]) => dense.rows == y.rows && dense.cols == vectors.cols,
            (OpKind::InteractionGrad, [dense, vectors, dy], [ddense, dvectors]) => {
                dense == ddense && vectors == dvectors && dense.rows == dy.rows
            }
            (OpKind::Cross, [first, x, u], [y]) => [x, u, y].iter().all(|shape| *shape == first),
            (OpKind::CrossGrad, [first, u, dy], [dfirst, du]) => {
                [u, dy, dfirst, du].iter().all(|shape| *shape == first)
            }
            (OpKind::BinaryLoss, [logits, targets], [loss]) => logits.rows == targets.rows && loss.elements() == 1,
            (OpKind::BinaryLossGrad, [logits, _], [dlogits]) => logits == dlogits,
            (OpKind::NormGrad, [x, _, _, dy], [dx, ..]) => x == dy && dy == dx,
            (OpKind::SiluGrad, [x, dgate, dup], [dx]) => x == dx && dgate == dup && x.cols == 2 * dgate.cols,
            (OpKind::Gate, [x, gate], [y]) => gate == y && x.cols == 2 * y.cols,
            (OpKind::GateGrad, [x, gate, dy], [dgate, dup]) => {
                [gate, dy, dup].iter().all(|shape| *shape == dgate) && x.cols == 2 * dy.cols
            }
            (OpKind::SwiGlu | OpKind::Silu, [x], [y]) => x.rows == y.rows && x.cols == 2 * y.cols,
            (OpKind::SwiGluGrad, [x, dy], [dx]) => x == dx && x.rows == dy.rows && x.cols == 2 * dy.cols,
            (OpKind::Embedding, [ids, table], [x]) => ids.rows == x.rows && table.cols == x.cols,
            (OpKind::EmbeddingGrad, [ids, dx], [dtable]) => ids.rows == dx.rows && dx.cols == dtable.cols,
            (OpKind::Position, [x, table], [y]) => x == y && table.cols == x.cols,
            (OpKind::PositionGrad, [dy], [dtable]) => dy.cols == dtable.cols,
            (OpKind::ColumnSum, [dy], [dbias]) => u64::from(dy.cols) == dbias.elements(),
            (OpKind::NormGradParameters, [x, _, dy], dweights) => {
                x == dy && dweights.iter().all(|d| d.elements() == u64::from(x.cols))
            }
            (OpKind::RowMax, [logits], [max]) => logits.rows == max.rows && max.cols == 1,
            (OpKind::SumExp, [logits, max, targets], [sums]) => {
                [max.rows, targets.rows, sums.rows].iter().all(|&rows| rows == logits.rows) && sums.cols == 2
            }
            (OpKind::CrossEntropyGrad, [logits, max, sums, targets], [dlogits]) => {
                [max.rows, sums.rows, targets.rows].iter().all(|&rows| rows == logits.rows) && logits == dlogits
            }
            (OpKind::CrossEntropy, [sums], [loss]) => sums.cols == 2 && loss.elements() == 1,
            (OpKind::SumSquares { .. }, [_], [norm]) => norm.elements() == 1,
            (OpKind::Update { .. }, [g, norm, _, ..], [p, ..]) => norm.elements() == 1 && p.elements() == g.elements(),
            (OpKind::Momentum, [g, norm, _], [u, m]) => norm.elements() == 1 && u == g && m == g,
            (OpKind::Orthogonalize, [from], [to, gram, square, product]) => {
                from == to && gram == square && product == to
            }
            (OpKind::Attention, [qkv], [out, ..]) => qkv.rows == out.rows && qkv.cols > out.cols,
            (OpKind::AttentionScores, [qkv], [scores]) => qkv.rows == scores.rows,
            (OpKind::AttentionSoftmax, [scores], [p]) => scores == p,
            (OpKind::AttentionValues, [p, qkv], [out]) => p.rows == qkv.rows && qkv.rows == out.rows,
            (OpKind::AttentionValuesGrad, [p, qkv, dout], [dp, dv]) => p == dp && dout == dv && qkv.rows == dv.rows,
            (OpKind::AttentionSoftmaxGrad, [p, dp], [dscores]) => p == dp && dp == dscores,
            (OpKind::AttentionScoresGrad, [_, qkv, _], [dqkv]) => qkv == dqkv,
            (OpKind::AttentionGrad, [qkv, out, _, dout], [dqkv, ..]) => qkv == dqkv && out == dout,
            (OpKind::Collective { collective, .. }, [from, ..], [to, ..]) => match collective {
                Collective::AllReduce(_) => from.elements() == to.elements(),
                Collective::ReduceScatter | Collective::Push => from.elements() >= to.elements(),
                Collective::AllGather | Collective::Pull => from.elements() <= to.elements(),
                Collective::AllToAll | Collective::AllToAllOnce { .. } => from.elements() == to.elements(),
                Collective::Shift => from == to,
            },
            (OpKind::Split, [whole], parts) | (OpKind::Join, parts, [whole]) => {
                parts.iter().map(|part| part.elements()).sum::<u64>() == whole.elements()
            }
            (OpKind::Fill(_), [], [_]) | (OpKind::Send(_), [_], []) | (OpKind::Receive(_), [], [_]) => true,
            // No other op has so many inputs and outputs.
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let list =
            |shapes: &[Shape]| shapes.iter().map(|s| format!("{}×{}", s.rows, s.cols)).collect::<Vec<_>>().join(", ");
        let what = format!("{} does not take {} to {}", op.kind.class(), list(&reads), list(&writes));
        Err(GraphError::Shape { op: op.name.clone(), what: what.into() })
    }

    fn verify_placements(&self, op: &Op) -> Result<(), GraphError> {
        if matches!(op.kind, OpKind::Collective { .. }) {
            return Ok(());
        }
        let partial = |id: &&TensorId| matches!(self.tensor(**id).placement, Placement::Partial(_));
        match op.reads.iter().find(partial) {
            Some(&id) => Err(GraphError::PartialRead { op: op.name.clone(), tensor: self.tensor(id).name.clone() }),
            None => Ok(()),
        }
    }

    fn verify_reductions(&self) -> Result<(), GraphError> {
        for (index, tensor) in self.tensors.iter().enumerate() {
            let id = TensorId::new(index);
            let reduces = |op: &&Op| matches!(op.kind, OpKind::Collective { .. }) && op.reads.contains(&id);
            // A value that is only computed by chunks is reduced by chunks.
            let written = || self.ops.iter().any(|op| op.writes.contains(&id));
            if matches!(tensor.placement, Placement::Partial(_)) && written() {
                let times = self.ops.iter().filter(reduces).count();
                if times != 1 {
                    return Err(GraphError::ReducedTwice { tensor: tensor.name.clone(), times });
                }
            }
        }
        Ok(())
    }
}

/// Whether the shapes of an image, of a kernel and of its result belong together: a pixel of the result for each that a
/// stride leaves, and a row of the kernel for every pixel of its window and channel.
fn convolves(kind: OpKind, reads: &[Shape], writes: &[Shape]) -> bool {
    let (window, x, weight, y) = match (kind, reads, writes) {
        (OpKind::Convolution(window), [x, weight], [y]) => (window, x, weight, y),
        (OpKind::ConvolutionInputGrad(window), [dy, weight], [dx]) => (window, dx, weight, dy),
        (OpKind::ConvolutionWeightGrad(window), [x, dy], [dweight]) => (window, x, dweight, dy),
        _ => return false,
    };
    let fewer = u64::from(y.rows) * u64::from(window.stride).pow(2) >= u64::from(x.rows) && y.rows <= x.rows;
    fewer && weight.rows == window.side * window.side * x.cols && weight.cols == y.cols
}

impl StepGraph {
    /// Checks that every send has its receive, that no stream order contradicts a data edge, and that every
    /// micro-batch frees what it allocates.
    pub fn verify(&self) -> Result<(), GraphError> {
        for (stage, program) in self.stages.iter().enumerate() {
            for (segment, body) in program.segments.iter().enumerate() {
                if body.graph.raw_edges().iter().any(|edge| edge.source() >= edge.target()) {
                    return Err(GraphError::OrderContradictsEdge { stage, segment });
                }
            }
            self.verify_inputs(stage)?;
            self.verify_memory(stage)?;
        }
        self.verify_buckets()?;
        self.verify_transfers()?;
        self.verify_order()
    }

    /// Plays the tasks in order: what an op reads was written before, for the same micro-batch or the whole step.
    fn verify_inputs(&self, stage: usize) -> Result<(), GraphError> {
        let program = &self.stages[stage];
        let mut written: BTreeSet<(TensorId, Option<u32>)> = BTreeSet::new();
        for task in &program.tasks {
            for op in program.segment(*task).ops() {
                self.verify_views(op)?;
                let computed = |id: &&TensorId| self.tensor(**id).role == Role::Activation;
                let there = |id: TensorId| written.contains(&(id, task.micro_batch)) || written.contains(&(id, None));
                if let Some(&id) = op.reads.iter().filter(computed).find(|&&id| !there(self.storage_of(id))) {
                    let (op, tensor) = (op.name.clone(), self.tensor(id).name.clone());
                    return Err(GraphError::MissingInput { stage, op, micro_batch: task.micro_batch, tensor });
                }
                written.extend(op.writes.iter().map(|&id| (self.storage_of(id), task.micro_batch)));
            }
        }
        Ok(())
    }

    /// Splitting and joining moves nothing, so the parts must lie where the whole lies.
    fn verify_views(&self, op: &Op) -> Result<(), GraphError> {
        let mut ids = op.reads.iter().chain(&op.writes).map(|&id| self.storage_of(id));
        let whole = ids.next();
        if !matches!(op.kind, OpKind::Split | OpKind::Join) || ids.all(|id| Some(id) == whole) {
            return Ok(());
        }
        Err(GraphError::Shape { op: op.name.clone(), what: "its parts are not views of its whole".into() })
    }

    /// Every micro-batch frees what it allocates, once, and nothing is used before or after.
    fn verify_memory(&self, stage: usize) -> Result<(), GraphError> {
        let program = &self.stages[stage];
        let mut alive: BTreeSet<(TensorId, Option<u32>)> = BTreeSet::new();
        let (mut allocated, mut freed) = (0, 0);
        for task in &program.tasks {
            let segment = program.segment(*task);
            for ((op, births), deaths) in segment.ops().zip(&segment.memory.allocates).zip(&segment.memory.frees) {
                allocated += births.len();
                alive.extend(births.iter().map(|&id| (id, task.micro_batch)));
                let roots = op.reads.iter().chain(&op.writes).map(|&id| self.storage_of(id));
                let here = |id: TensorId| self.tensor(id).place == Place::Device;
                let mut transient = roots.filter(|&id| !self.tensor(id).role.is_persistent() && here(id));
                if let Some(id) = transient.find(|&id| !alive.contains(&(id, task.micro_batch))) {
                    let (op, tensor) = (op.name.clone(), self.tensor(id).name.clone());
                    return Err(GraphError::MissingInput { stage, op, micro_batch: task.micro_batch, tensor });
                }
                freed += deaths.iter().filter(|&&id| alive.remove(&(id, task.micro_batch))).count();
            }
        }
        if alive.is_empty() && allocated == freed { Ok(()) } else { Err(GraphError::Leak { stage, allocated, freed }) }
    }

    /// Every transfer of every micro-batch is sent once, and received once by the neighbour to which it goes.
    fn verify_transfers(&self) -> Result<(), GraphError> {
        let stages = self.stages.len();
        let mut sent: BTreeMap<(Transfer, Option<u32>), usize> = BTreeMap::new();
        let mut received = sent.clone();
        for (stage, task, op) in self.instances() {
            let (list, transfer, from) = match op.kind {
                OpKind::Send(transfer) => (&mut sent, transfer, stage),
                OpKind::Receive(transfer) => {
                    let back = if transfer.direction == Direction::Next { stages - 1 } else { 1 };
                    (&mut received, transfer, (stage + back) % stages)
                }
                _ => continue,
            };
            if list.insert((transfer, task.micro_batch), from).is_some() {
                return Err(GraphError::UnpairedTransfer { stage, transfer: transfer.number });
            }
        }
        let both = sent.iter().chain(&received);
        let mut unpaired = both.filter(|(key, from)| [&sent, &received].iter().any(|list| list.get(key) != Some(from)));
        unpaired.next().map_or(Ok(()), |((transfer, _), &stage)| {
            Err(GraphError::UnpairedTransfer { stage, transfer: transfer.number })
        })
    }

    /// All ops of all stages as often as they run.
    fn instances(&self) -> impl Iterator<Item = (usize, Task, &Op)> {
        self.stages.iter().enumerate().flat_map(|(stage, program)| {
            let of_task = move |&task: &Task| program.segment(task).ops().map(move |op| (stage, task, op));
            program.tasks.iter().flat_map(of_task)
        })
    }

    /// Every gradient is reduced over the replicas exactly once: what is kept for the step once in it, what is kept
    /// for a micro-batch once in each.
    fn verify_buckets(&self) -> Result<(), GraphError> {
        let mut reduced: BTreeMap<TensorId, usize> = BTreeMap::new();
        for (_, _, op) in self.instances() {
            let root = |id: &TensorId| self.storage_of(*id);
            let written = op.writes.iter().filter(|id| self.tensor(**id).role == Role::Gradient).map(root);
            for id in written.collect::<Vec<_>>() {
                reduced.entry(id).or_default();
            }
            let reduces = match op.kind {
                OpKind::Collective { group: Group::Data | Group::ExpertData, .. } => true,
                // What is made smaller is reduced as it then is, over all copies or over those that share them.
                OpKind::Compression(
                    CompressionStep::Narrow | CompressionStep::Select | CompressionStep::Project { .. },
                ) => !matches!(self.tensor(op.reads[0]).storage, Storage::Slice { .. }),
                OpKind::Collective { collective, group: Group::Shard | Group::ExpertShard } => {
                    matches!(collective, Collective::ReduceScatter | Collective::Push)
                }
                _ => false,
            };
            if reduces && let Some(times) = op.reads.first().map(root).and_then(|id| reduced.get_mut(&id)) {
                *times += 1;
            }
        }
        let expected = |id: TensorId| match self.tensor(id).role {
            _ if self.copies_of(id) == 1 => 0,
            Role::Bucket if !self.sums_replicas && self.mesh.shard == 1 => 0,
            Role::GradientBuffer => (self.micro_batches / self.mesh.images()) as usize,
            _ => 1,
        };
        match reduced.into_iter().find(|&(id, times)| times != expected(id)) {
            Some((id, times)) => Err(GraphError::ReducedTwice { tensor: self.tensor(id).name.clone(), times }),
            None => Ok(()),
        }
    }

    /// Ranks that hold copies of a weight or its gradient.
    fn copies_of(&self, id: TensorId) -> u32 {
        let of_experts = self.tensor(id).spread == Spread::Experts;
        if of_experts { self.mesh.expert_copies() } else { self.mesh.copies() }
    }

    /// Plays all programs: no stage waits for what waits for it.
    fn verify_order(&self) -> Result<(), GraphError> {
        let mut at = vec![0_usize; self.stages.len()];
        let mut sent: BTreeSet<(u32, Option<u32>)> = BTreeSet::new();
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for (stage, program) in self.stages.iter().enumerate() {
                while let Some(&task) = program.tasks.get(at[stage])
                    && self.can_run(program.segment(task), task, &sent)
                {
                    let sends = program.segment(task).ops().filter_map(|op| match op.kind {
                        OpKind::Send(transfer) => Some((transfer.number, task.micro_batch)),
                        _ => None,
                    });
                    sent.extend(sends);
                    at[stage] += 1;
                    moved = true;
                }
            }
        }
        match self.stages.iter().zip(at).position(|(program, at)| at < program.tasks.len()) {
            Some(stage) => Err(GraphError::Circular { stage }),
            None => Ok(()),
        }
    }

    /// Whether all that a segment receives was sent.
    fn can_run(&self, segment: &Segment, task: Task, sent: &BTreeSet<(u32, Option<u32>)>) -> bool {
        segment.ops().all(|op| match op.kind {
            OpKind::Receive(transfer) => sent.contains(&(transfer.number, task.micro_batch)),
            _ => true,
        })
    }
}
