//! What a measured trace says, by the names and formulas of Holistic Trace Analysis (Meta, 2022), so that its numbers can be
//! held against that tool's.
//!
//! * temporal breakdown: of the time from the first kernel to the last, **idle** is when none runs, **compute** when one that
//!   computes does, **non-compute** when only others do,
//! * **overlap** is (computing while communicating) / communicating,
//! * **idle** time of a stream is *host wait* where the next kernel was launched after the last had ended, *kernel wait* where
//!   they follow within 30 ns, *other* elsewhere,
//! * **queue length** is what was launched on a stream and has not begun,
//! * **collectives** stand by group, kind and size, with the bandwidths of nccl-tests,
//! * the **critical path** goes back from what ends last to what it waited for.

mod beside;
mod collectives;
mod critical;
mod diff;
mod intervals;
mod kernels;
mod queue;

use serde::Serialize;

use crate::trace::{Activity, Imported, Name};
use crate::units::Nanos;

pub use beside::{Beside, BesideRow, beside};
pub use collectives::{CollectiveRow, collectives};
pub use critical::{CriticalPath, critical_path};
pub use diff::{Change, DiffRow, trace_diff};
pub use kernels::{ClassTime, KernelRow};
pub use queue::{IdleParts, Queue};

use intervals::Intervals;
use kernels::{class_times, kernels};

/// A rank's device over the time of a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankReport {
    /// Its group of tracks.
    pub group: u32,
    /// What it is called.
    pub name: Name,
    /// From the first kernel to the last.
    pub kernel_time: Nanos,
    /// No kernel runs.
    pub idle: Nanos,
    /// A kernel that computes runs.
    pub compute: Nanos,
    /// Only others run.
    pub non_compute: Nanos,
    /// Kernels that communicate run, whatever else does.
    pub communication: Nanos,
    /// Copies and fills run, whatever else does.
    pub memory: Nanos,
    /// Of the communication, the part beside which something computes; none without communication.
    pub overlap: Option<f64>,
    /// Of what streams that compute idle between kernels, why.
    pub waits: IdleParts,
    /// What waited on its streams.
    pub queue: Queue,
    /// Whether it looks like the one that others wait for.
    pub is_straggler: bool,
}

/// What a trace says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceReport {
    /// Of every rank that has a device.
    pub ranks: Vec<RankReport>,
    /// Kernels of all ranks, the longest together first.
    pub kernels: Vec<KernelRow>,
    /// The same by class.
    pub classes: Vec<ClassTime>,
    /// Collectives by group, kind and size.
    pub collectives: Vec<CollectiveRow>,
}

/// A rank computes so much longer than the median to be called slow.
const SLOW: f64 = 1.05;

/// What a trace says of its ranks and kernels.
pub fn trace_report(imported: &Imported) -> TraceReport {
    let busy = Busy::by_group(imported).into_iter();
    let waits = IdleParts::by_group(imported).into_iter().zip(Queue::by_group(imported));
    let ranks = (0..).zip(&imported.groups).zip(busy.zip(waits));
    let mut ranks: Vec<RankReport> =
        ranks.filter_map(|((group, name), (busy, waits))| busy.report(group, name, waits)).collect();
    mark_stragglers(&mut ranks);
    let kernels = kernels(imported);
    let classes = class_times(&kernels, imported.groups.len());
    TraceReport { ranks, kernels, classes, collectives: collectives(imported) }
}

/// When kernels of a rank run, by what they are.
#[derive(Clone, Default)]
struct Busy {
    compute: Vec<(Nanos, Nanos)>,
    communication: Vec<(Nanos, Nanos)>,
    memory: Vec<(Nanos, Nanos)>,
}

impl Busy {
    fn by_group(imported: &Imported) -> Vec<Self> {
        let mut of_group = vec![Self::default(); imported.groups.len()];
        for span in &imported.trace.spans {
            let Some(busy) = of_group.get_mut(imported.trace.track(span).group as usize) else { continue };
            match imported.activity(span) {
                Activity::Computation => busy.compute.push((span.start, span.end())),
                Activity::Communication => busy.communication.push((span.start, span.end())),
                Activity::Memory => busy.memory.push((span.start, span.end())),
                Activity::Runtime | Activity::Host => {}
            }
        }
        of_group
    }

    fn report(self, group: u32, name: &Name, (waits, queue): (IdleParts, Queue)) -> Option<RankReport> {
        let device = Intervals::of([&self.compute[..], &self.communication, &self.memory].concat());
        let [compute, communication, memory] = [self.compute, self.communication, self.memory].map(Intervals::of);
        let (first, last) = device.ends()?;
        let (kernel_time, busy) = (last - first, device.length());
        let overlap = (communication.length() > Nanos::ZERO)
            .then(|| communication.common(&compute).secs() / communication.length().secs());
        Some(RankReport {
            group,
            name: name.clone(),
            kernel_time,
            idle: kernel_time - busy,
            compute: compute.length(),
            non_compute: busy - compute.length(),
            communication: communication.length(),
            memory: memory.length(),
            overlap,
            waits,
            queue,
            is_straggler: false,
        })
    }
}

/// A rank that computes longer than the others and communicates shorter is the one for which they wait in collectives.
fn mark_stragglers(ranks: &mut [RankReport]) {
    let median = |of: fn(&RankReport) -> Nanos, ranks: &[RankReport]| {
        let mut all: Vec<Nanos> = ranks.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    if ranks.len() < 2 {
        return;
    }
    let (compute, communication) = (median(|rank| rank.compute, ranks), median(|rank| rank.communication, ranks));
    for rank in ranks {
        let is_slow = rank.compute.secs() > compute.secs() * SLOW;
        rank.is_straggler = is_slow && rank.communication < communication;
    }
}
