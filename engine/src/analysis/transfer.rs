//! Ways to hand something large to many nodes, compared: methods, chunk sizes, streams, and how they grow with the nodes.

use serde::Serialize;

use crate::scenario::{MAX_CHUNKS, Scenario, Transfer, TransferMethod};
use crate::sim::transfer::{Handed, hand_out, ideal};
use crate::units::{Bytes, Nanos};

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TransferPoint {
    /// The chunk's bytes, the streams, or the receivers.
    pub at: u64,
    /// The time by the method.
    pub time: Nanos,
}

/// A method over the number of receivers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodCurve {
    /// Which.
    pub method: TransferMethod,
    /// Its times.
    pub points: Vec<TransferPoint>,
}

/// What handing something out takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TransferReport {
    /// What is handed out, and how.
    pub transfer: Transfer,
    /// No way is faster: every node receives all the time at its adapter's rate.
    pub ideal: Nanos,
    /// The chosen method.
    pub chosen: Handed,
    /// All of them.
    pub methods: Vec<Handed>,
    /// The chosen method over the size of a chunk.
    pub by_chunk: Vec<TransferPoint>,
    /// The same over the number of streams.
    pub by_streams: Vec<TransferPoint>,
    /// Every method over the number of receivers.
    pub by_receivers: Vec<MethodCurve>,
    /// The chance that no node of the job fails meanwhile, where failures are described.
    pub undisturbed: Option<f64>,
}

impl TransferReport {
    /// The size of a chunk with which the chosen method is fastest.
    pub fn best_chunk(&self) -> Option<Bytes> {
        self.by_chunk.iter().min_by_key(|point| (point.time, point.at)).map(|point| Bytes(point.at))
    }
}

/// The seed of all draws.
const SEED: u64 = 1;
/// Chunks over all receivers of a point of a curve, at most: curves are drawn while somebody waits.
const PLAYED: u64 = MAX_CHUNKS;

/// A comparison that is made one curve after the other.
#[derive(Clone, Debug)]
pub struct TransferStudy {
    report: TransferReport,
    /// Curves that are drawn.
    drawn: usize,
}

impl TransferStudy {
    /// What a scenario describes, by every method; none where it describes nothing.
    pub fn of(scenario: &Scenario) -> Option<Self> {
        Some(Self { report: methods(scenario)?, drawn: 0 })
    }

    /// Draws the next curve; false when all are.
    pub fn advance(&mut self) -> bool {
        let transfer = self.report.transfer;
        match self.drawn {
            0 => self.report.by_chunk = by_chunk(&transfer),
            1 => self.report.by_streams = by_streams(&transfer),
            number => match TransferMethod::ALL.get(number - 2) {
                Some(&method) => self.report.by_receivers.push(by_receivers(&transfer, method)),
                None => return false,
            },
        }
        self.drawn += 1;
        true
    }

    /// What is known by now.
    pub fn report(&self) -> &TransferReport {
        &self.report
    }
}

/// Compares what the scenario describes; none where it describes nothing.
pub fn transfer(scenario: &Scenario) -> Option<TransferReport> {
    let mut study = TransferStudy::of(scenario)?;
    while study.advance() {}
    Some(study.report)
}

/// Every method, without curves.
fn methods(scenario: &Scenario) -> Option<TransferReport> {
    let transfer = *scenario.transfer()?;
    let methods: Vec<Handed> = TransferMethod::ALL.iter().map(|&method| hand_out(&transfer, method, SEED)).collect();
    let chosen = methods.iter().copied().find(|handed| handed.method == transfer.method)?;
    let undisturbed = scenario.resilience().map(|resilience| {
        let [hardware, software] = resilience.reliability.failure_rate(scenario.cluster());
        libm::exp(-(hardware + software) * chosen.time.secs())
    });
    Some(TransferReport {
        transfer,
        ideal: ideal(&transfer),
        chosen,
        by_chunk: Vec::new(),
        by_streams: Vec::new(),
        by_receivers: Vec::new(),
        methods,
        undisturbed,
    })
}

fn chunks(transfer: &Transfer) -> u64 {
    transfer.size.0.div_ceil(transfer.chunk.0).saturating_mul(u64::from(transfer.receivers))
}

fn point(transfer: &Transfer, at: u64) -> TransferPoint {
    TransferPoint { at, time: hand_out(transfer, transfer.method, SEED).time }
}

/// Powers of two of a megabyte, up to all of it.
fn by_chunk(transfer: &Transfer) -> Vec<TransferPoint> {
    let sizes =
        (0..20).map(|power| 1_000_000_u64 << power).take_while(|&size| size < transfer.size.0.saturating_mul(2));
    let with = sizes.map(|size| Transfer { chunk: Bytes(size.min(transfer.size.0)), ..*transfer });
    with.filter(|transfer| chunks(transfer) <= PLAYED.min(MAX_CHUNKS)).map(|t| point(&t, t.chunk.0)).collect()
}

fn by_streams(transfer: &Transfer) -> Vec<TransferPoint> {
    if chunks(transfer) > PLAYED {
        return Vec::new();
    }
    (0..=6)
        .map(|power| 1_u32 << power)
        .map(|streams| point(&Transfer { streams, ..*transfer }, u64::from(streams)))
        .collect()
}

/// Powers of two, up to all of them.
fn by_receivers(transfer: &Transfer, method: TransferMethod) -> MethodCurve {
    let mut counts: Vec<u32> = (0..20).map(|power| 1_u32 << power).take_while(|&n| n < transfer.receivers).collect();
    counts.push(transfer.receivers);
    let with = counts.into_iter().map(|receivers| Transfer { receivers, method, ..*transfer });
    let points = with.filter(|t| chunks(t) <= PLAYED).map(|t| point(&t, u64::from(t.receivers)));
    MethodCurve { method, points: points.collect() }
}
