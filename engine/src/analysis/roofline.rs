//! The kernels of a step under the roofs of a device (Williams, Waterman & Patterson 2009, "Roofline"): operations for each
//! byte that is read or written, and operations per second; what bounds each.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cluster::{Device, RankId};
use crate::cost::{input_type, kernel_bound, matmul_peak, peak_of, work_on};
use crate::graph::{DType, Op, StepGraph};
use crate::scenario::Scenario;
use crate::trace::{Origin, Phase, Stream, Trace};
use crate::units::{BytesPerSec, FlopsPerSec, Nanos};

/// What a device does at most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Roofs {
    /// Operations per second by number format, matrix units first; the last is that of what is no product.
    pub peaks: Vec<(&'static str, FlopsPerSec)>,
    /// Of its memory.
    pub bandwidth: BytesPerSec,
}

impl Roofs {
    /// The roofs of a device for the formats in which a step computes products.
    pub fn of_device(step: &StepGraph, device: &Device) -> Self {
        let products = ops(step).filter(|op| op.kind.class() == "matmul" || op.kind.class() == "attention");
        let mut formats: Vec<DType> = products.map(|op| input_type(step, op)).collect();
        formats.sort_unstable_by(|a, b| matmul_peak(device, *b).0.total_cmp(&matmul_peak(device, *a).0));
        let mut peaks: Vec<_> =
            formats.into_iter().map(|format| (format_name(format), matmul_peak(device, format))).collect();
        peaks.dedup_by_key(|(_, peak)| peak.0.to_bits());
        peaks.push(("vector fp32", device.fp32));
        Self { peaks, bandwidth: device.memory_bandwidth }
    }

    /// Measured roofs are at least what the kernels themselves have reached: a benchmark may find less than a kernel does. A roof
    /// that the fastest kernel gives is called so.
    fn raised_to(mut self, kernels: &[StepKernel]) -> Self {
        let best = kernels.iter().map(|kernel| kernel.achieved().0).fold(0.0, f64::max);
        if let Some((name, peak)) = self.peaks.first_mut()
            && best > peak.0
        {
            (*name, peak.0) = ("reached", best);
        }
        self
    }

    /// The highest roof.
    pub fn peak(&self) -> FlopsPerSec {
        self.peaks.iter().map(|(_, peak)| *peak).fold(FlopsPerSec(0.0), |a, b| if b.0 > a.0 { b } else { a })
    }
}

/// A kernel of all layers alike, in a part of the step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepKernel {
    /// Its name, with a star for the number of the layer.
    pub name: String,
    /// Its class.
    pub class: &'static str,
    /// The part of the step.
    pub phase: Phase,
    /// How often it runs.
    pub count: u64,
    /// How long, together.
    pub time: Nanos,
    /// Operations, together.
    pub flops: u64,
    /// Bytes read and written, together.
    pub bytes: u64,
    /// The most that arithmetic and memory allow at its intensity; none where the device has not been measured.
    pub attainable: Option<FlopsPerSec>,
    /// What bounds it: `compute`, `memory`, or `launch`; none where that is not known.
    pub bound: Option<&'static str>,
}

impl StepKernel {
    /// Operations per byte.
    pub fn intensity(&self) -> f64 {
        self.flops as f64 / (self.bytes as f64).max(1.0)
    }

    /// Operations per second.
    pub fn achieved(&self) -> FlopsPerSec {
        FlopsPerSec(self.flops as f64 / self.time.secs().max(1e-12))
    }

    /// Achieved over attainable.
    pub fn share(&self) -> Option<f64> {
        self.attainable.map(|attainable| self.achieved().0 / attainable.0.max(1e-9))
    }
}

/// The kernels of a stage of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRoofline {
    /// Where the times come from.
    pub origin: Origin,
    /// The stage; of its groups of ranks the one that computes the longest.
    pub stage: u32,
    /// What the device does at most; none where it has not been measured.
    pub roofs: Option<Roofs>,
    /// Kernels that compute, those first that take most.
    pub kernels: Vec<StepKernel>,
}

/// As datasheets call the formats of products.
fn format_name(format: DType) -> &'static str {
    match format {
        DType::Bf16 => "bf16",
        DType::F16 => "fp16",
        DType::F8 | DType::F8Gradient | DType::F8Block => "fp8",
        DType::F4 => "fp4",
        DType::Tf32 => "tf32",
        DType::F32 | DType::U32 | DType::U8 => "fp32",
    }
}

/// A name with a star for the number of the layer, or of the bucket.
pub fn kernel_name(name: &str) -> String {
    let mut text = name.to_owned();
    for word in ["layer ", "bucket "] {
        if let Some(at) = text.find(word).map(|at| at + word.len()) {
            let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
            if digits > 0 {
                text.replace_range(at..at + digits, "*");
            }
        }
    }
    text
}

/// The group of ranks of a stage that computes the longest, the first of equals: with stragglers there are several.
fn slowest_group(trace: &Trace, stage: u32) -> u32 {
    let mut times: BTreeMap<u32, Nanos> = BTreeMap::new();
    for span in &trace.spans {
        let track = trace.track(span);
        if track.stage == stage && track.stream == Stream::Compute {
            *times.entry(track.group).or_default() += span.duration;
        }
    }
    times.into_iter().rev().max_by_key(|(_, time)| *time).map_or(0, |(group, _)| group)
}

/// The device on which a group of ranks runs.
fn device_of<'a>(scenario: &'a Scenario, trace: &Trace, group: u32) -> &'a Device {
    let rank = trace.tracks.iter().find(|track| track.group == group).map_or(0, |track| track.rank);
    scenario.cluster().device_of(RankId(rank))
}

fn ops(step: &StepGraph) -> impl Iterator<Item = &Op> {
    step.stages.iter().flat_map(|stage| &stage.segments).flat_map(|segment| segment.ops())
}

/// Places the kernels of a stage under the roofs. `roofs` are those that were measured, for a step that was executed; one
/// that was modelled has those of its device.
pub fn step_roofline(
    step: &StepGraph,
    scenario: &Scenario,
    trace: &Trace,
    stage: u32,
    roofs: Option<Roofs>,
) -> StepRoofline {
    let is_modelled = trace.origin == Origin::Modelled;
    let group = slowest_group(trace, stage);
    let device = device_of(scenario, trace, group);
    let roofs = if is_modelled { Some(Roofs::of_device(step, device)) } else { roofs };
    let known = Known::of(step, device, stage);
    let mut kernels = kernels(trace, group);
    let roofs = roofs.map(|roofs| if is_modelled { roofs } else { roofs.raised_to(&kernels) });
    for kernel in &mut kernels {
        let of = known.0.get(&(kernel.name.clone(), kernel.phase));
        kernel.attainable = roofs.as_ref().map(|roofs| attainable(kernel, roofs, of.filter(|_| is_modelled)));
        kernel.bound = match (of, &roofs) {
            (Some(of), _) if is_modelled => Some(of.bound),
            (_, Some(roofs)) => Some(by_intensity(kernel, roofs)),
            _ => None,
        };
    }
    StepRoofline { origin: trace.origin, stage, roofs, kernels }
}

/// The lower of its own roof and of what memory feeds.
fn attainable(kernel: &StepKernel, roofs: &Roofs, of: Option<&OfOp>) -> FlopsPerSec {
    let peak = of.map_or(roofs.peak(), |of| of.peak);
    FlopsPerSec(peak.0.min(kernel.intensity() * roofs.bandwidth.0))
}

fn by_intensity(kernel: &StepKernel, roofs: &Roofs) -> &'static str {
    if kernel.intensity() * roofs.bandwidth.0 < roofs.peak().0 { "memory" } else { "compute" }
}

/// What the cost model says of an op.
struct OfOp {
    peak: FlopsPerSec,
    bound: &'static str,
}

/// By name and phase.
struct Known(BTreeMap<(String, Phase), OfOp>);

impl Known {
    fn of(step: &StepGraph, device: &Device, stage: u32) -> Self {
        let stage = step.stages.get(stage as usize).into_iter();
        let mut known = BTreeMap::new();
        for op in stage.flat_map(|stage| &stage.segments).flat_map(|segment| segment.ops()) {
            known.entry((kernel_name(&op.name), op.phase)).or_insert_with(|| {
                let (work, format) = (work_on(device, &step.dims, &step.tensors, op), input_type(step, op));
                let bound = kernel_bound(device, &work, format).name();
                let is_product = work.matmul_flops.0 * 2.0 > work.flops.0;
                OfOp { peak: if is_product { peak_of(device, &work, format) } else { device.fp32 }, bound }
            });
        }
        Self(known)
    }
}

/// Kernels of a group of ranks that compute something.
fn kernels(trace: &Trace, group: u32) -> Vec<StepKernel> {
    let mut of_label: BTreeMap<u32, (u64, Nanos)> = BTreeMap::new();
    for span in &trace.spans {
        let track = trace.track(span);
        if track.group == group && track.stream == Stream::Compute {
            let sum = of_label.entry(span.label.0).or_default();
            *sum = (sum.0 + 1, sum.1 + span.duration);
        }
    }
    let mut kernels: BTreeMap<(String, Phase), StepKernel> = BTreeMap::new();
    for (label, (count, time)) in of_label {
        let label = &trace.labels[label as usize];
        let name = kernel_name(&label.name);
        let kernel = kernels.entry((name.clone(), label.phase)).or_insert_with(|| StepKernel {
            name,
            class: label.class,
            phase: label.phase,
            count: 0,
            time: Nanos::ZERO,
            flops: 0,
            bytes: 0,
            attainable: None,
            bound: None,
        });
        (kernel.count, kernel.time) = (kernel.count + count, kernel.time + time);
        kernel.flops = kernel.flops.saturating_add(label.flops.saturating_mul(count));
        kernel.bytes = kernel.bytes.saturating_add(label.bytes.saturating_mul(count));
    }
    let mut kernels: Vec<StepKernel> = kernels.into_values().filter(|kernel| kernel.time > Nanos::ZERO).collect();
    kernels.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| (&a.name, a.phase).cmp(&(&b.name, b.phase))));
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::lower;
    use crate::sim::simulate;

    fn of(preset: &str) -> (StepRoofline, Trace) {
        let scenario = Scenario::preset(preset).expect("a preset");
        let step = lower(&scenario);
        let trace = simulate(&step, &scenario);
        (step_roofline(&step, &scenario, &trace, 0, None), trace)
    }

    #[test]
    fn no_modelled_kernel_is_above_its_roof_and_products_are_where_they_should_be() {
        for preset in [
            "llama2-7b-8xh100",
            "mixtral-8x7b-64xh100",
            "resnet-50-8xa100",
            "llama3-8b-capped-8xh100",
            "llama3-8b-straggler-16xh100",
        ] {
            let (found, _) = of(preset);
            assert!(
                found.kernels.iter().all(|kernel| kernel.share().is_some_and(|share| share <= 1.0 + 1e-6)),
                "{preset}"
            );
        }
        assert_eq!(kernel_name("layer 12 convolution 3 weight gradient"), "layer * convolution 3 weight gradient");
        let (found, _) = of("llama2-7b-8xh100");
        let named = |name: &str| found.kernels.iter().find(|kernel| kernel.name == name).expect("it runs");
        let product = named("layer * mlp up");
        assert_eq!((product.class, product.bound), ("matmul", Some("compute")));
        assert!(product.share() > Some(0.4), "{product:?}");
        assert_eq!(named("layer * mlp norm").bound, Some("memory"));
        assert!(named("layer * mlp norm").intensity() < 10.0);
    }

    #[test]
    fn kernels_add_up_to_what_the_stage_computes() {
        let (found, trace) = of("llama2-7b-8xh100");
        let of_stage = |span: &&crate::trace::Span| {
            let track = trace.track(span);
            track.group == 0 && track.stream == Stream::Compute
        };
        let time: Nanos = trace.spans.iter().filter(of_stage).map(|span| span.duration).sum();
        assert_eq!(found.kernels.iter().map(|kernel| kernel.time).sum::<Nanos>(), time);
        let flops: u64 = trace.spans.iter().filter(of_stage).map(|span| trace.label(span).flops).sum();
        assert_eq!(found.kernels.iter().map(|kernel| kernel.flops).sum::<u64>(), flops);
    }

    #[test]
    fn an_execution_has_only_roofs_that_were_measured() {
        let scenario = Scenario::preset("llama2-7b-8xh100").expect("a preset");
        let step = lower(&scenario);
        let executed = Trace { origin: Origin::Executed, ..simulate(&step, &scenario) };
        let found = step_roofline(&step, &scenario, &executed, 0, None);
        assert!(found.roofs.is_none() && found.kernels.iter().all(|kernel| kernel.bound.is_none()));
        let roofs = Roofs { peaks: vec![("measured", FlopsPerSec(1e12))], bandwidth: BytesPerSec(1e11) };
        let found = step_roofline(&step, &scenario, &executed, 0, Some(roofs));
        let best = found.kernels.iter().map(|kernel| kernel.achieved().0).fold(1e12, f64::max);
        assert_eq!(found.roofs.expect("measured").peaks[0].1.0, best, "no kernel is above what it has done");
        assert!(found.kernels.iter().all(|kernel| kernel.attainable.is_some_and(|rate| rate.0 <= best)));
    }
}
