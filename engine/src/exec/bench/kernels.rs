//! Matrix products in all their ways, and the kernels of a transformer block.

use std::collections::BTreeMap;

use super::{Bench, Clock, Figure, LONGEST_CALL, Section, Unit, share};
use crate::exec::cpu::matmul::MatmulParams;
use crate::exec::cpu::matmul_half::MatmulHalfParams;
use crate::exec::cpu::matmul_int8::MatmulInt8Params;
use crate::exec::cpu::quantize_rows::QuantizeRowsParams;
use crate::exec::{Dispatch, ExecError, Format, Recording, Slice, Trainer, Tuning, shape_key};
use crate::scenario::{Opened, check, open};
use crate::trace::Phase;
use crate::units::{FlopsPerSec, Nanos};

/// A layer whose kernels are neither tiny nor slow on a software device, twice, so that one has neighbours.
const BLOCK: &str = "
name = \"a transformer block\"
[model]
architecture = \"llama\"
layers = 2
hidden = 256
heads = 4
kv_heads = 2
ffn_hidden = 688
vocab = 96
positions = 128
[cluster]
device = \"a100-80gb-sxm\"
[strategy]
data_parallel = 1
micro_batch = 2
global_batch = 2
precision = \"fp32\"
[data]
sequence_length = 128
";

/// Steps of which the median counts, after one.
const STEPS: usize = 3;

impl<'a> Bench<'a> {
    /// Square products of numbers in 32 and in 16 bits, by all ways.
    pub(super) async fn matmul(&mut self, largest: u32, tuning: &mut Tuning) -> Result<(), ExecError> {
        for format in [Format::Word, Format::Bf16, Format::F16] {
            self.products(largest, format, tuning).await?;
        }
        if self.backend.computes_halves() {
            self.half_products(largest).await?;
        }
        self.integer_products(largest).await
    }

    /// Square products in half-precision arithmetic.
    async fn half_products(&mut self, largest: u32) -> Result<(), ExecError> {
        let mut side = 64;
        while side <= largest {
            self.tell("matmul")?;
            let elements = u64::from(side) * u64::from(side);
            let [a, b] = [0, 1].map(|buffer| self.slice(buffer, elements / 2));
            // Both factors lie along the sums.
            let params = MatmulParams { b_row_stride: 1, b_col_stride: side, ..MatmulParams::square(side) };
            let call = Dispatch::new(&MatmulHalfParams(params), [a, b, a, self.slice(2, elements)])
                .by_default(self.backend.abilities());
            let nanos = self.time(&call).await?;
            let name = format!("{side} x {side} x {side} in fp16 arithmetic");
            let mut figure =
                Figure::arithmetic(Section::Matmul, name, nanos, [2 * elements * u64::from(side), 8 * elements]);
            figure.detail = format!("{}, sums of 16 products in fp16", call.kernel.name_of(call.family));
            self.add(figure);
            if nanos > LONGEST_CALL {
                break;
            }
            side *= 2;
        }
        Ok(())
    }

    /// Square products of integers in eight bits, by packed dot products; what it takes to quantize both factors is in the
    /// detail.
    async fn integer_products(&mut self, largest: u32) -> Result<(), ExecError> {
        let mut side = 64;
        while side <= largest {
            self.tell("matmul")?;
            let elements = u64::from(side) * u64::from(side);
            let words = |buffer: usize, first: u64, n: u64| Slice { offset: first * 4, ..self.slice(buffer, n) };
            // The integers of a factor, then its scales.
            let (packed, scales) = (elements / 4, elements / 4);
            let [a, b] = [0, 1].map(|buffer| [words(buffer, 0, packed), words(buffer, scales, side.into())]);
            let c = words(2, 0, elements);
            let quantize = QuantizeRowsParams { rows: side, cols: side, row_stride: side, col_stride: 1 };
            let quantize = Dispatch::new(&quantize, [c, a[0], a[1]]);
            let words = side / 4;
            let product = MatmulInt8Params { m: side, n: side, words, batches: 1, ..MatmulInt8Params::default() };
            let product = Dispatch::new(&product, [a[0], b[0], a[1], c, a[1], b[1]]);
            let before = self.time(&quantize).await?;
            let nanos = self.time(&product).await?;
            let name = format!("{side} x {side} x {side} in int8");
            let work = [2 * elements * u64::from(side), 6 * elements];
            let mut figure = Figure::arithmetic(Section::Matmul, name, nanos, work);
            figure.detail = format!("{}, quantize_rows {before} for each factor", product.kernel.name());
            self.add(figure);
            if nanos > LONGEST_CALL {
                break;
            }
            side *= 2;
        }
        Ok(())
    }

    async fn products(&mut self, largest: u32, format: Format, tuning: &mut Tuning) -> Result<(), ExecError> {
        let mut side = 64;
        while side <= largest {
            self.tell("matmul")?;
            let elements = u64::from(side) * u64::from(side);
            let [a, b, c] = [0, 1, 2].map(|buffer| self.slice_in(format, buffer, elements));
            let call = Dispatch::new(&MatmulParams::square(side), [a, b, a, c]);
            let nanos = self.product(side, &call, tuning).await?;
            if nanos > LONGEST_CALL {
                break;
            }
            side *= 2;
        }
        Ok(())
    }

    /// The fastest way to compute a product; the others stand in its detail.
    async fn product(&mut self, side: u32, call: &Dispatch, tuning: &mut Tuning) -> Result<Nanos, ExecError> {
        let recording = Recording { dispatches: vec![call.clone()], scopes: Vec::new() };
        let (progress, share) = (&mut self.progress, share(self.sections_done, self.sections));
        tuning.measure(&mut self.backend, &recording, &mut |_, _| progress("matmul", share)).await?;
        let mut chosen = recording;
        tuning.apply(&self.backend, &mut chosen);
        let call = &chosen.dispatches[0];
        let nanos = self.time(call).await?;
        let n = u64::from(side);
        let format = call.bindings[0].format;
        let in_format = if format == Format::Word { String::new() } else { format!(" in {}", format.precision()) };
        let name = format!("{side} x {side} x {side}{in_format}");
        let moved = 3 * format.size() * n * n;
        let mut figure = Figure::arithmetic(Section::Matmul, name, nanos, [2 * n * n * n, moved]);
        let tuned = tuning.of_device(&self.backend).and_then(|shapes| shapes.get(&shape_key(call)?));
        let ways = tuned.map(|tuned| {
            let rate = |nanos: Nanos| FlopsPerSec(tuned.flops as f64 / nanos.secs().max(1e-12));
            let ways = tuned.candidates.iter().map(|way| format!("{} {}", way.family, rate(way.nanos)));
            ways.collect::<Vec<_>>().join(", ")
        });
        figure.detail = ways.unwrap_or_else(|| call.kernel.name().to_owned());
        self.add(figure);
        Ok(nanos)
    }

    /// Trains some steps and takes one layer's ops from them.
    pub(super) async fn block(mut self, tuning: &mut Tuning) -> Result<Self, ExecError> {
        self.tell("block")?;
        let Ok(Opened::Scenario(file)) = open(BLOCK.as_bytes()) else { return Ok(self) };
        let Ok(scenario) = check(&file) else { return Ok(self) };
        let Self { backend, buffers, bytes, figures, progress, sections, sections_done } = self;
        let mut trainer = Trainer::new(&scenario, backend).await?;
        // Finding the ways takes the most of it.
        let done = |part: f32| share(sections_done, sections) + part / sections.max(1) as f32;
        trainer.tune(tuning, true, &mut |known, all| progress("block", done(known as f32 / all as f32))).await?;
        let mut times: BTreeMap<(Phase, String), Op> = BTreeMap::new();
        for step in 0..=STEPS {
            if !progress("block", done(1.0)) {
                return Err(ExecError::Cancelled);
            }
            let trace = trainer.step().await?.trace;
            let mut of_step: BTreeMap<(Phase, String), Op> = BTreeMap::new();
            for span in &trace.spans {
                let label = trace.label(span);
                let Some(name) = label.name.strip_prefix("layer 1 ") else { continue };
                if label.phase == Phase::Update {
                    continue;
                }
                let op = of_step.entry((label.phase, name.to_owned())).or_default();
                op.add(span.duration, [label.flops, label.bytes]);
            }
            for (key, op) in of_step.into_iter().filter(|_| step > 0) {
                times.entry(key).or_default().join(op);
            }
        }
        let backend = trainer.into_backend();
        let mut bench = Self { backend, buffers, bytes, figures, progress, sections, sections_done };
        times.into_iter().for_each(|((phase, name), op)| bench.add(op.figure(phase, name)));
        Ok(bench)
    }
}

/// Times of an op in several steps, and its work in one.
#[derive(Default)]
struct Op {
    times: Vec<Nanos>,
    work: [u64; 2],
}

impl Op {
    fn add(&mut self, time: Nanos, [flops, bytes]: [u64; 2]) {
        match self.times.first_mut() {
            Some(sum) => *sum += time,
            None => self.times.push(time),
        }
        self.work = [self.work[0] + flops, self.work[1] + bytes];
    }

    fn join(&mut self, other: Self) {
        self.times.extend(other.times);
        self.work = other.work;
    }

    fn figure(mut self, phase: Phase, name: String) -> Figure {
        self.times.sort_unstable();
        let nanos = self.times.get(self.times.len() / 2).copied().unwrap_or(Nanos(1)).max(Nanos(1));
        let name = if phase == Phase::Forward { name } else { format!("{name} ({})", phase.name()) };
        let [flops, bytes] = self.work;
        if flops > 0 {
            return Figure::arithmetic(Section::Block, name, nanos, self.work);
        }
        let value = nanos.secs();
        let (section, unit, detail) = (Section::Block, Unit::Seconds, String::new());
        Figure { section, name, value, unit, nanos, clock: Clock::Device, flops, bytes, detail, exchanged: None }
    }
}
