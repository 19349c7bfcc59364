//! What a benchmark finds, and where its kernels stand under the device's roof.

use serde::{Deserialize, Serialize};

use crate::exec::BackendInfo;
use crate::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos};

/// What a figure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Arithmetic without memory.
    Peak,
    /// Reading, writing and copying over working sets.
    Memory,
    /// Uploads and downloads.
    Transfer,
    /// What calls cost, however little they do.
    Latency,
    /// Matrix products over sizes.
    Matmul,
    /// The kernels of a transformer block, forward and backward.
    Block,
    /// Collectives between ranks that share the device.
    Collectives,
}

impl Section {
    /// All sections in the order in which they run.
    pub const ALL: [Self; 7] =
        [Self::Peak, Self::Memory, Self::Transfer, Self::Latency, Self::Matmul, Self::Block, Self::Collectives];

    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peak => "peak",
            Self::Memory => "memory",
            Self::Transfer => "transfer",
            Self::Latency => "latency",
            Self::Matmul => "matmul",
            Self::Block => "block",
            Self::Collectives => "collectives",
        }
    }

    /// What its figures mean and how they are timed, for the command line.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Peak => {
                "multiply-adds in registers, eight independent chains an invocation: fp32, fp16 where the device has it and int32 by vector width, int8 four in a word"
            }
            Self::Memory => {
                "bytes read and written by a kernel over its time, by the bytes of fp32 that it touches; what is copied into 16 bits is rounded on the way"
            }
            Self::Transfer => {
                "writes of 16 MiB in all until a read behind them is done, and single mapped reads, on the host's clock"
            }
            Self::Latency => "chains of calls that do nothing, and single submissions, on the host's clock",
            Self::Matmul => {
                "square products by the fastest way, of fp32 or of 16 bits that are widened to fp32; the others stand behind it"
            }
            Self::Block => "ops of one layer in a training step, median of three steps; share of the roof behind",
            Self::Collectives => "rings of copies between buffers of one device: no wire, so no scaling follows",
        }
    }
}

/// What a figure's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// More is better.
    FlopsPerSec,
    /// More is better.
    BytesPerSec,
    /// Less is better.
    Seconds,
}

/// Whose clock a figure is timed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The device's, in the way that the backend times kernels (`BackendInfo::timing`).
    #[default]
    Device,
    /// The host's.
    Host,
}

/// How fine the clocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quanta {
    /// What all times between timestamps of the device were multiples of; none where kernels are timed by the host's clock.
    pub device: Option<Nanos>,
    /// By how much the host's clock goes on at least.
    pub host: Nanos,
}

impl Quanta {
    /// Of a clock.
    pub fn of(&self, clock: Clock) -> Nanos {
        match clock {
            Clock::Device => self.device.unwrap_or(self.host),
            Clock::Host => self.host,
        }
    }
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is about.
    pub section: Section,
    /// What was measured; with the section the key by which runs are compared.
    pub name: String,
    /// In operations, bytes, or seconds.
    pub value: f64,
    /// Of the value.
    pub unit: Unit,
    /// Time of a call.
    pub nanos: Nanos,
    /// By which it was timed.
    #[serde(default)]
    pub clock: Clock,
    /// Floating-point operations of a call.
    pub flops: u64,
    /// Bytes that a call reads and writes, or moves.
    pub bytes: u64,
    /// What else there is to say.
    pub detail: String,
    /// The columns of nccl-tests, of a collective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchanged: Option<Exchanged>,
}

/// What nccl-tests says of a collective beside its size and time. The ranks share one device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchanged {
    /// Ranks that took part.
    pub ranks: u32,
    /// Elements, of fp32.
    pub count: u64,
    /// Bytes a second of what counts.
    pub algbw: f64,
    /// The same times what a ring sends of it at least (nccl-tests, PERFORMANCE.md).
    pub busbw: f64,
    /// Bytes that were moved between buffers of the ranks.
    pub moved: u64,
    /// Elements that are not what they should be.
    pub wrong: u64,
}

impl Figure {
    /// A rate of arithmetic.
    pub fn arithmetic(section: Section, name: String, nanos: Nanos, [flops, bytes]: [u64; 2]) -> Self {
        let value = flops as f64 / nanos.secs().max(1e-12);
        Self {
            section,
            name,
            value,
            unit: Unit::FlopsPerSec,
            nanos,
            clock: Clock::Device,
            flops,
            bytes,
            detail: String::new(),
            exchanged: None,
        }
    }

    /// A bandwidth.
    pub fn bandwidth(section: Section, name: String, nanos: Nanos, bytes: u64) -> Self {
        let value = bytes as f64 / nanos.secs().max(1e-12);
        Self {
            section,
            name,
            value,
            unit: Unit::BytesPerSec,
            nanos,
            clock: Clock::Device,
            flops: 0,
            bytes,
            detail: String::new(),
            exchanged: None,
        }
    }

    /// A time.
    pub fn latency(name: String, nanos: Nanos) -> Self {
        let (section, value, unit, clock) = (Section::Latency, nanos.secs(), Unit::Seconds, Clock::Device);
        let (detail, exchanged) = (String::new(), None);
        Self { section, name, value, unit, nanos, clock, flops: 0, bytes: 0, detail, exchanged }
    }

    /// The same, timed by the host's clock.
    #[must_use]
    pub fn on_host(self) -> Self {
        Self { clock: Clock::Host, ..self }
    }

    /// The value with its unit.
    pub fn written(&self) -> String {
        match self.unit {
            Unit::FlopsPerSec => FlopsPerSec(self.value).to_string(),
            Unit::BytesPerSec => BytesPerSec(self.value).to_string(),
            Unit::Seconds => self.nanos.to_string(),
        }
    }

    /// By which factor it is better than `old`.
    pub fn gain_over(&self, old: &Self) -> f64 {
        match self.unit {
            Unit::Seconds => old.value / self.value.max(1e-12),
            Unit::FlopsPerSec | Unit::BytesPerSec => self.value / old.value.max(1e-12),
        }
    }
}

/// All that was measured of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// The device, and how its kernels are timed.
    pub backend: BackendInfo,
    /// How fine the clocks are; not known of older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quanta: Option<Quanta>,
    /// In the order in which they were measured.
    pub figures: Vec<Figure>,
}

/// A kernel under the roof (Williams, Waterman & Patterson 2009, "Roofline").
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RooflinePoint {
    /// The kernel.
    pub name: String,
    /// Operations per byte.
    pub intensity: f64,
    /// Operations per second.
    pub achieved: f64,
    /// The most that the device's arithmetic and memory allow at that intensity.
    pub attainable: f64,
    /// Whether memory is what bounds it.
    pub memory_bound: bool,
}

impl RooflinePoint {
    /// Achieved over attainable; above 1 where caches serve what the bytes are counted for.
    pub fn share(&self) -> f64 {
        self.achieved / self.attainable.max(1e-9)
    }
}

impl BenchReport {
    /// Operations per second at most in the arithmetic of a kernel, as measured: of that alone, or of a product where that is
    /// faster.
    fn peak_of(&self, figure: &Figure) -> f64 {
        // In fewer bits only these compute; what is kept in 16 bits is widened first.
        let other = ["int8", "fp16 arithmetic"].into_iter().find(|other| figure.name.contains(other));
        match other {
            Some("int8") => self.fastest(|figure| figure.name.contains("int8")),
            Some(_) => self.fastest(|figure| {
                figure.name.contains("fp16 arithmetic")
                    || figure.section == Section::Peak && figure.name.contains("fp16")
            }),
            None => self.fp32_peak(),
        }
    }

    /// Operations per second at most in fp32, in which kernels compute: of arithmetic alone, or of a product in fp32.
    pub fn fp32_peak(&self) -> f64 {
        self.fastest(|figure| match figure.section {
            Section::Peak => figure.name.starts_with("fp32"),
            Section::Matmul => !["int8", "bf16", "fp16", "fp8"].iter().any(|other| figure.name.contains(other)),
            _ => false,
        })
    }

    /// The highest of some rates of operations.
    fn fastest(&self, wanted: impl Fn(&Figure) -> bool) -> f64 {
        let rates = self.figures.iter().filter(|figure| figure.unit == Unit::FlopsPerSec && wanted(figure));
        rates.map(|figure| figure.value).fold(0.0, f64::max)
    }

    /// Bytes per second of a copy that no cache holds: of the largest working set.
    pub fn memory_bandwidth(&self) -> f64 {
        let copies = self.figures.iter().filter(|f| f.section == Section::Memory && f.name.starts_with("copy"));
        copies.max_by_key(|figure| figure.bytes).map_or(0.0, |figure| figure.value)
    }

    /// Kernels of the block, and matrix products, under the roof; none where peak and bandwidth were not measured.
    pub fn roofline(&self) -> Vec<RooflinePoint> {
        let bandwidth = self.memory_bandwidth();
        let placed = |figure: &Figure| {
            let (counts, peak) = (matches!(figure.section, Section::Block | Section::Matmul), self.peak_of(figure));
            if !counts || figure.flops == 0 || figure.bytes == 0 || peak <= 0.0 || bandwidth <= 0.0 {
                return None;
            }
            let intensity = figure.flops as f64 / figure.bytes as f64;
            Some(RooflinePoint {
                name: figure.name.clone(),
                intensity,
                achieved: figure.flops as f64 / figure.nanos.secs().max(1e-12),
                attainable: peak.min(intensity * bandwidth),
                memory_bound: intensity * bandwidth < peak,
            })
        };
        self.figures.iter().filter_map(placed).collect()
    }

    /// The figure of another run with the same name.
    pub fn same_as(&self, figure: &Figure) -> Option<&Figure> {
        self.figures.iter().find(|other| (other.section, &other.name) == (figure.section, &figure.name))
    }
}

/// A size as people write it in the names of figures.
pub(super) fn size(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::BackendKind;

    fn report() -> BenchReport {
        let backend =
            BackendInfo { kind: BackendKind::Cpu, name: "a device".into(), detail: String::new(), timing: "cpu clock" };
        let second = Nanos(1_000_000_000);
        let figures = vec![
            Figure::arithmetic(Section::Peak, "fp32".into(), second, [1000, 0]),
            Figure::bandwidth(Section::Memory, "copy 1".into(), second, 400),
            Figure::bandwidth(Section::Memory, "copy 2".into(), Nanos(8_000_000_000), 800),
            Figure::arithmetic(Section::Peak, "int8, packed".into(), second, [4000, 0]),
            Figure::arithmetic(Section::Matmul, "64 x 64 x 64 in int8".into(), second, [2000, 10]),
            Figure::arithmetic(Section::Block, "add".into(), second, [50, 100]),
            Figure::arithmetic(Section::Block, "product".into(), second, [600, 10]),
        ];
        BenchReport { backend, quanta: None, figures }
    }

    #[test]
    fn kernels_stand_under_the_roof_that_was_measured() {
        // Copies of the largest working set: 100 B/s; so 0.5 operations a byte allow 50 a second.
        let points = report().roofline();
        assert_eq!(points.len(), 3);
        assert!((points[0].share() - 0.5).abs() < 1e-9, "integers have a roof of their own");
        let points = &points[1..];
        assert!(points[0].memory_bound && (points[0].attainable - 50.0).abs() < 1e-9);
        assert!((points[0].share() - 1.0).abs() < 1e-9);
        assert!(!points[1].memory_bound && (points[1].share() - 0.6).abs() < 1e-9);
    }

    #[test]
    fn reports_are_read_as_they_are_written_and_compared_by_name() {
        let report = report();
        let text = serde_json::to_string(&report).expect("it is written");
        let again: BenchReport = serde_json::from_str(&text).expect("it is read");
        assert_eq!(again, report);
        let slower = Figure { value: 500.0, ..report.figures[0].clone() };
        assert_eq!(report.same_as(&slower), Some(&report.figures[0]));
        assert!((report.figures[0].gain_over(&slower) - 2.0).abs() < 1e-12);
        let (fast, slow) = (Figure::latency("x".into(), Nanos(5)), Figure::latency("x".into(), Nanos(10)));
        assert!((fast.gain_over(&slow) - 2.0).abs() < 1e-12, "less time is better");
    }
}
