//! What must hold of a graph after every pass. Tests run it after each of them.

use std::collections::BTreeSet;

use super::{Op, OpGraph, OpKind, Placement, Role, Segment, StepGraph, TensorId};

/// Why a graph is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// An op reads a value that no earlier op has written.
    #[error("op `{op}` reads `{tensor}` before it is written")]
    ReadBeforeWrite {
        /// The op.
        op: String,
        /// The value.
        tensor: String,
    },
    /// Shapes that an op puts together do not agree.
    #[error("op `{op}`: {what}")]
    Shape {
        /// The op.
        op: String,
        /// What does not agree.
        what: String,
    },
    /// A partial value is read as if it were whole, or reduced twice.
    #[error("op `{op}` reads the partial value `{tensor}` without a reduction")]
    PartialRead {
        /// The op.
        op: String,
        /// The value.
        tensor: String,
    },
    /// A partial value is reduced more than once.
    #[error("`{tensor}` is reduced {times} times")]
    ReducedTwice {
        /// The value.
        tensor: String,
        /// How often.
        times: usize,
    },
    /// Sends and receives of two neighbouring stages do not pair up.
    #[error("stage {stage} sends {sent:?} but its neighbour receives {received:?}")]
    UnpairedTransfer {
        /// The sending stage.
        stage: usize,
        /// Names of tensors sent.
        sent: Vec<String>,
        /// Names of tensors received.
        received: Vec<String>,
    },
    /// An edge goes against the program order, so that a stream would wait for itself.
    #[error("stage {stage}: an edge of segment {segment} goes against the program order")]
    OrderContradictsEdge {
        /// The stage.
        stage: usize,
        /// Index of the segment.
        segment: usize,
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
                    return Err(GraphError::ReadBeforeWrite { op: op.name.clone(), tensor: self.tensor(id).name.clone() });
                }
            }
            self.verify_shapes(op)?;
            self.verify_placements(op)?;
            written.extend(&op.writes);
        }
        self.verify_reductions()
    }

    fn verify_shapes(&self, op: &Op) -> Result<(), GraphError> {
        let OpKind::Matmul { transpose_a, transpose_b, .. } = op.kind else { return Ok(()) };
        let local = |id: TensorId| self.tensor(id).local;
        let (a, b, c) = (local(op.reads[0]), local(op.reads[1]), local(op.writes[0]));
        let (m, k) = if transpose_a { (a.cols, a.rows) } else { (a.rows, a.cols) };
        let (k2, n) = if transpose_b { (b.cols, b.rows) } else { (b.rows, b.cols) };
        if (m, n) == (c.rows, c.cols) && k == k2 {
            return Ok(());
        }
        let what = format!("({m} × {k}) · ({k2} × {n}) does not give {} × {}", c.rows, c.cols);
        Err(GraphError::Shape { op: op.name.clone(), what })
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
            if matches!(tensor.placement, Placement::Partial(_)) {
                let times = self.ops.iter().filter(reduces).count();
                if times != 1 {
                    return Err(GraphError::ReducedTwice { tensor: tensor.name.clone(), times });
                }
            }
        }
        Ok(())
    }
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
            self.verify_memory(stage)?;
        }
        (1..self.stages.len()).try_for_each(|stage| self.verify_transfers(stage))
    }

    fn verify_memory(&self, stage: usize) -> Result<(), GraphError> {
        let program = &self.stages[stage];
        let count = |pick: fn(&Segment) -> &Vec<Vec<TensorId>>| -> usize {
            program.tasks.iter().map(|&task| pick(program.segment(task)).iter().map(Vec::len).sum::<usize>()).sum()
        };
        let (allocated, freed) = (count(|s| &s.memory.allocates), count(|s| &s.memory.frees));
        if allocated == freed { Ok(()) } else { Err(GraphError::Leak { stage, allocated, freed }) }
    }

    /// Transfers between `stage - 1` and `stage`, in both directions.
    fn verify_transfers(&self, stage: usize) -> Result<(), GraphError> {
        use super::Direction::{Next, Previous};
        for (from, to, direction) in [(stage - 1, stage, Next), (stage, stage - 1, Previous)] {
            let sent = self.transferred(from, OpKind::Send(direction));
            let received = self.transferred(to, OpKind::Receive(direction));
            if sent != received {
                return Err(GraphError::UnpairedTransfer { stage: from, sent, received });
            }
        }
        Ok(())
    }

    fn transferred(&self, stage: usize, kind: OpKind) -> Vec<String> {
        let program = &self.stages[stage];
        let ops = program.tasks.iter().flat_map(|&task| program.segment(task).ops());
        let tensors = ops.filter(|op| op.kind == kind).flat_map(|op| op.reads.iter().chain(&op.writes));
        tensors.map(|&id| self.tensor(id).name.clone()).collect()
    }
}
