//! What is measured, and how it becomes the figures of a device.

use super::Calibration;
use super::timing::{REPEATS, median, replay_each, scopes_of_one};
use crate::cluster::{ShaderRates, ShortRates};
use crate::cost;
use crate::exec::cpu::add::AddParams;
use crate::exec::cpu::attention::{AttentionParams, CAUSAL};
use crate::exec::cpu::attention_delta::AttentionDeltaParams;
use crate::exec::cpu::attention_grad_kv::AttentionGradKvParams;
use crate::exec::cpu::attention_grad_q::AttentionGradQParams;
use crate::exec::cpu::fill::FillParams;
use crate::exec::cpu::gelu::GeluParams;
use crate::exec::cpu::matmul::MatmulParams;
use crate::exec::cpu::peak::PeakParams;
use crate::exec::cpu::read::ReadParams;
use crate::exec::cpu::rms_norm::RmsNormParams;
use crate::exec::kernel::WORKGROUP_SIZE;
use crate::exec::ops::written_as;
use crate::exec::{Abilities, Backend, Dispatch, ExecError, Format, Recording, Slice, collectives};
use crate::scenario::Scenario;
use crate::units::{BytesPerSec, FlopsPerSec, Nanos};

/// Calls whose mean is the time of a kernel call, each of another kernel than the one before it.
const SMALL_CALLS: usize = 64;

/// Elements that such a call touches: so many workgroups that more than one multiprocessor must be woken, as by most calls of
/// a step; what they take themselves is taken off.
const SMALL: u32 = 4096;

/// Words that a small call reads or writes for each element, in the mean of a fill, a sum, a GELU and a copy; and those of a
/// copy.
const SMALL_WORDS: f64 = 2.0;

/// Sides of the product between two such calls: in a step, kernels that do something surround those that do little.
const BETWEEN: [u32; 3] = [64, 64, 64];

/// Elements of elementwise measurements: enough for all multiprocessors, few enough for a cache.
const ELEMENTS: u32 = 1 << 18;

/// Rounds of arithmetic that tell how many workgroups run at once: of one workgroup so many more that its call is short
/// beside them.
const ROUNDS: u32 = 1024;
const ROUNDS_OF_ONE: u32 = 8 * ROUNDS;

/// Workgroups of that measurement, which cannot tell of more.
const MANY: u32 = 1024;

/// Length of the rows of the norm that is measured.
const NORM_COLS: u32 = 256;

/// Contracted lengths of the two matrix products.
const DEPTHS: [u32; 2] = [32, 512];

/// Sides of the products by which short formats are measured.
const SHORT_SIDES: [u32; 3] = [128, 128, 128];

/// What is measured: kernels are faster or slower by shape, so those of the scenario's shapes count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Rows and columns of the matrix product.
    pub side: u32,
    /// Sequences, tokens, heads of keys, heads of queries for each, and features of a head.
    pub attention: [u32; 5],
    /// Whether a token attends only to those before it.
    pub causal: bool,
}

impl Measured {
    /// Products of a side, and attention over as many tokens, four heads of width 16.
    pub fn of_side(side: u32) -> Self {
        // Of fours, as most are: other products are made in a slower way, of which nothing is measured.
        let side = side.clamp(16, 512) / 4 * 4;
        Self { side, attention: [1, side, 4, 1, 16], causal: true }
    }

    /// As large as those of a rank of a scenario, as far as that can be measured in a moment.
    pub fn of(scenario: &Scenario) -> Self {
        let (model, strategy) = (scenario.model(), scenario.strategy());
        let of_side = Self::of_side(scenario.micro_batch_tokens());
        if model.convolutions.is_some() || model.recommender.is_some() {
            return of_side;
        }
        let sequence = scenario.micro_batch_tokens() / strategy.micro_batch.max(1) / strategy.context_parallel;
        let groups = model.kv_heads / strategy.tensor_parallel;
        let sizes = [strategy.micro_batch, sequence, groups, model.queries_per_group(), model.head_dim];
        let most = [4, 512, 4, 4, 128];
        let attention = std::array::from_fn(|at| sizes[at].clamp(1, most[at]));
        Self { attention, causal: model.is_causal(), ..of_side }
    }

    fn params(&self) -> AttentionParams {
        let scale = 1.0 / (self.attention[4] as f32).sqrt();
        AttentionParams {
            flags: if self.causal { CAUSAL } else { 0 },
            ..AttentionParams::causal(self.attention, scale)
        }
    }

    /// Operations of attention: of every query with the keys that it sees.
    fn attention_flops(&self) -> f64 {
        let [batch, tokens, groups, queries, width] = self.attention.map(f64::from);
        let keys = if self.causal { (tokens + 1.0) / 2.0 } else { tokens };
        4.0 * batch * tokens * keys * groups * queries * width
    }

    /// Numbers that the largest of all buffers holds.
    fn elements(&self) -> u32 {
        let [batch, tokens, groups, queries, width] = self.attention;
        let qkv = batch * tokens * groups * (queries + 2) * width;
        qkv.max(4 * ELEMENTS).max(self.side * DEPTHS[1])
    }
}

/// Operations of the gradient of attention over those of attention: five products where that has two.
const OF_GRADIENT: f64 = 2.5;

/// Measures the device; takes about a second.
///
/// # Errors
/// When a kernel cannot run, or the device is lost.
pub async fn calibrate(backend: &mut Backend, measured: Measured) -> Result<Calibration, ExecError> {
    Calibrator::new(backend, measured).measure(backend).await
}

/// Measures a device, also again: what else runs on a machine changes from second to second.
#[derive(Clone, Copy, Debug)]
pub struct Calibrator {
    buffers: [Slice; 3],
    of: Measured,
}

impl Calibrator {
    /// Creates the buffers that are measured on, with numbers of all magnitudes below one.
    pub fn new(backend: &mut Backend, of: Measured) -> Self {
        let elements = of.elements();
        let buffers = [0; 3].map(|_| whole(backend, u64::from(elements) * 4));
        let mut state = 1_u32;
        let words: Vec<u32> = std::iter::repeat_with(|| {
            // A linear congruential generator (Numerical Recipes, section 7.1.4): any will do, if not all numbers are zero.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / (1 << 24) as f32 - 0.5).to_bits()
        })
        .take(elements as usize)
        .collect();
        for buffer in &buffers[..2] {
            backend.write(buffer.buffer, 0, &words);
        }
        Self { buffers, of }
    }

    /// Measures everything once.
    ///
    /// # Errors
    /// When a kernel cannot run, or the device is lost.
    pub async fn measure(&self, backend: &mut Backend) -> Result<Calibration, ExecError> {
        let [a, b, _] = self.buffers;
        let launch = self.launch(backend, SMALL).await?;
        let alone = self.launch(backend, 1).await?.min(launch);
        let shaders = self.shaders(backend, launch).await?;
        let own = Nanos::from_secs(small_work(&shaders));
        let launch = (launch - own).max(Nanos(launch.0 / 2));
        let shaders = ShaderRates {
            alone: alone.min(launch),
            chained: (shaders.chained - own).max(Nanos(shaders.chained.0 / 2)),
            ..shaders
        };
        let product = busy(median(backend, &matmul(SHORT_SIDES, self.buffers)).await?, launch);
        let at_once = shaders.at_once;
        let (matmul, depth) = self.matmul(backend, launch, at_once, self.buffers).await?;
        let (half_matmul, half_depth) = self.matmul(backend, launch, at_once, self.buffers.map(in_bf16)).await?;
        let attention = self.attention(backend, launch, at_once, self.buffers).await?;
        let half_attention = self.attention(backend, launch, at_once, self.buffers.map(in_bf16)).await?;
        let gradient = self.attention_gradient(backend, launch, at_once, self.buffers).await?;
        let half_gradient = self.attention_gradient(backend, launch, at_once, self.buffers.map(in_bf16)).await?;
        let copy = median(backend, &collectives::copy(a, 0, b, 0, ELEMENTS)).await?;
        Ok(Calibration {
            backend: backend.info().clone(),
            matmul,
            half_matmul,
            matmul_side: self.of.side,
            attention,
            vector: self.vector(backend, launch, &shaders).await?,
            memory_bandwidth: self.bandwidth(backend, launch).await?,
            launch_overhead: launch,
            copy_bandwidth: BytesPerSec(f64::from(ELEMENTS) * 4.0 / busy(copy, launch)),
            shaders: ShaderRates {
                depth,
                half_depth: Some(half_depth),
                half_attention: half_attention.0 / attention.0,
                norm_words_per_second: Some(self.norm(backend, launch).await?),
                attention_gradient: gradient.0 / attention.0,
                half_attention_gradient: half_gradient.0 / gradient.0,
                fp8: Some(self.short(backend, Format::E4m3, launch, product).await?),
                fp8_block: Some(self.short(backend, Format::E4m3Blocks, launch, product).await?),
                nvfp4: Some(self.short(backend, Format::E2m1Blocks, launch, product).await?),
                ..shaders
            },
        })
    }

    /// The rate of attention, on a device that is full of it.
    async fn attention(
        &self,
        backend: &mut Backend,
        launch: Nanos,
        at_once: u32,
        [a, b, _]: [Slice; 3],
    ) -> Result<FlopsPerSec, ExecError> {
        let [_, _, statistics] = self.buffers;
        let call = Dispatch::new(&self.of.params(), [a, a, b, statistics]).by_default(backend.abilities());
        let filled = filled(at_once, call.grid);
        let seconds = busy(median(backend, &call).await?, launch);
        Ok(FlopsPerSec(self.of.attention_flops() / seconds / filled))
    }

    /// The same of its gradient: sums of rows, then queries, then keys and values.
    async fn attention_gradient(
        &self,
        backend: &mut Backend,
        launch: Nanos,
        at_once: u32,
        [a, _, c]: [Slice; 3],
    ) -> Result<FlopsPerSec, ExecError> {
        // Statistics of rows stay in fp32.
        let ([rows, sums, _], params) = (self.buffers, self.of.params());
        let delta = Dispatch::new(&AttentionDeltaParams(params), [a, a, sums]);
        let of_queries = Dispatch::new(&AttentionGradQParams(params), [a, a, a, rows, rows, c]);
        let of_keys = Dispatch::new(&AttentionGradKvParams(params), [a, a, a, rows, rows, c]);
        let mut seconds = 0.0;
        for call in [delta, of_queries, of_keys].map(|call| call.by_default(backend.abilities())) {
            seconds += busy(median(backend, &call).await?, launch) * filled(at_once, call.grid);
        }
        Ok(FlopsPerSec(OF_GRADIENT * self.of.attention_flops() / seconds))
    }

    /// How fast a short format is read, by how much longer a product takes than the `whole` seconds of one in fp32, and
    /// written.
    async fn short(
        &self,
        backend: &mut Backend,
        format: Format,
        launch: Nanos,
        whole: f64,
    ) -> Result<ShortRates, ExecError> {
        let [a, b, c] = self.buffers;
        let of_format = |slice: Slice| Slice { format, ..slice };
        let short = busy(median(backend, &matmul(SHORT_SIDES, [of_format(a), of_format(b), c])).await?, launch);
        let reads: f64 = product_of(backend.abilities()).reads().iter().sum();
        let widened = SHORT_SIDES.map(f64::from).iter().product::<f64>() * reads;
        let mut encoding = 0.0;
        for call in written_as(a, of_format(c), ELEMENTS) {
            encoding += busy(median(backend, &call).await?, launch);
        }
        Ok(ShortRates {
            // However little longer the product takes, by noise it may even be shorter.
            decoded_per_second: widened / (short - whole).max(whole / 100.0),
            encoded_per_second: f64::from(ELEMENTS) / encoding,
        })
    }

    /// Time of a call that does next to nothing with `n` elements, between kernels that compute, as in a step: the mean of
    /// most of them.
    async fn launch(&self, backend: &mut Backend, n: u32) -> Result<Nanos, ExecError> {
        let [a, b, c] = self.buffers;
        let kinds = [
            Dispatch::new(&FillParams { n, value: 0.0, pad: [0; 2] }, [c]),
            Dispatch::new(&AddParams { n, pad: [0; 3] }, [a, b, c]),
            Dispatch::new(&GeluParams { n, pad: [0; 3] }, [a, c]),
            collectives::copy(a, 0, c, 0, n),
        ];
        let product = matmul(BETWEEN, self.buffers);
        let small = kinds.into_iter().cycle().take(SMALL_CALLS);
        let calls = small.flat_map(|call| [product.clone(), call]).collect();
        let mut times: Vec<Nanos> = replay_each(backend, calls).await?.into_iter().skip(1).step_by(2).collect();
        times.sort_unstable();
        let most = &times[times.len() / 10..times.len() - times.len() / 10];
        let all: i64 = most.iter().map(|time| time.0).sum();
        Ok(Nanos(all / i64::try_from(most.len()).unwrap_or(1).max(1)).max(Nanos(1)))
    }

    /// Time of a call between others of the same scope.
    async fn chained(&self, backend: &mut Backend) -> Result<Nanos, ExecError> {
        let [a, _, c] = self.buffers;
        let nothing = collectives::copy(a, 0, c, 0, SMALL);
        let calls = u32::try_from(SMALL_CALLS).unwrap_or(u32::MAX);
        let chain = Recording { dispatches: vec![nothing; SMALL_CALLS], scopes: scopes_of_one(calls) };
        backend.prepare(&chain).await?;
        let mut times = Vec::with_capacity(REPEATS);
        for _ in 0..=REPEATS {
            let of_chain = backend.replay(&chain).await?.of_one();
            times.extend(of_chain.first().map(|&(start, end)| end - start));
        }
        // The first one compiles.
        let times = &mut times[1..];
        times.sort_unstable();
        Ok(Nanos(times[times.len() / 2].0 / i64::from(calls)).max(Nanos(1)))
    }

    /// What workgroups cost, how many run at once, and how fast they read.
    async fn shaders(&self, backend: &mut Backend, launch: Nanos) -> Result<ShaderRates, ExecError> {
        let [a, _, c] = self.buffers;
        let arithmetic = |workgroups: u32, rounds: u32| {
            let params = PeakParams { n: workgroups * WORKGROUP_SIZE, rounds, factor: 0.5, pad: [0] };
            Dispatch::new(&params, [c])
        };
        let one = median(backend, &arithmetic(1, ROUNDS_OF_ONE)).await?;
        let one = busy(one, launch) * f64::from(ROUNDS) / f64::from(ROUNDS_OF_ONE);
        let many = busy(median(backend, &arithmetic(MANY, ROUNDS)).await?, launch);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
        let at_once = (f64::from(MANY) * one / many).round().clamp(1.0, f64::from(MANY)) as u32;
        let lanes = ELEMENTS / 64;
        let read = Dispatch::new(&ReadParams { rows: 64, lanes, pad: [0; 2] }, [a, c]);
        let filled = filled(at_once, read.grid);
        let words_per_second = f64::from(ELEMENTS) / busy(median(backend, &read).await?, launch) / filled;
        let fill = Dispatch::new(&FillParams { n: ELEMENTS, value: 0.0, pad: [0; 2] }, [c]);
        let writing = f64::from(ELEMENTS) / words_per_second;
        let starting = (busy(median(backend, &fill).await?, launch) - writing).max(0.0);
        let workgroup = Nanos::from_secs(starting * f64::from(at_once) / f64::from(ELEMENTS / WORKGROUP_SIZE));
        let product = product_of(backend.abilities());
        let rates =
            ShaderRates { at_once, workgroup, words_per_second, chained: self.chained(backend).await?, ..product };
        Ok(ShaderRates { halves_per_second: self.halves(backend, launch, &rates).await?, ..rates })
    }

    /// Numbers in 16 bits that are read or written per second, when two are added.
    async fn halves(&self, backend: &mut Backend, launch: Nanos, shaders: &ShaderRates) -> Result<f64, ExecError> {
        let add = Dispatch::new(&AddParams { n: ELEMENTS, pad: [0; 3] }, self.buffers.map(in_bf16));
        let all = busy(median(backend, &add).await?, launch);
        let starting = starting(shaders, ELEMENTS);
        Ok(3.0 * f64::from(ELEMENTS) / (all - starting).max(all / 10.0))
    }

    /// The rate of a matrix product, and the length of its contraction at which it reaches half of that.
    async fn matmul(
        &self,
        backend: &mut Backend,
        launch: Nanos,
        at_once: u32,
        buffers: [Slice; 3],
    ) -> Result<(FlopsPerSec, f64), ExecError> {
        let mut seconds = [0.0; 2];
        for (seconds, k) in seconds.iter_mut().zip(DEPTHS) {
            *seconds = busy(median(backend, &matmul([self.of.side, self.of.side, k], buffers)).await?, launch);
        }
        let [short, long] = DEPTHS.map(f64::from);
        let of_one = ((seconds[1] - seconds[0]) / (long - short)).max(1e-12);
        let depth = (seconds[0] / of_one - short).max(0.0);
        let rate = 2.0 * f64::from(self.of.side).powi(2) / of_one;
        Ok((FlopsPerSec(rate / cost::tiles_filled(at_once, self.of.side, backend.abilities().tile())), depth))
    }

    /// Arithmetic of GELU beside what its workgroups cost and what they read.
    async fn vector(
        &self,
        backend: &mut Backend,
        launch: Nanos,
        shaders: &ShaderRates,
    ) -> Result<FlopsPerSec, ExecError> {
        let [a, b, _] = self.buffers;
        let gelu = Dispatch::new(&GeluParams { n: ELEMENTS, pad: [0; 3] }, [a, b]);
        let all = busy(median(backend, &gelu).await?, launch);
        let starting = starting(shaders, ELEMENTS);
        let moving = 2.0 * f64::from(ELEMENTS) / shaders.words_per_second;
        // At least a tenth is arithmetic, whatever the noise.
        Ok(FlopsPerSec(8.0 * f64::from(ELEMENTS) / (all - starting - moving).max(all / 10.0)))
    }

    /// Words that a norm reads or writes per second: it goes through its rows twice, and through the weight once for each.
    async fn norm(&self, backend: &mut Backend, launch: Nanos) -> Result<f64, ExecError> {
        let [a, b, c] = self.buffers;
        let (rows, cols, size) = (ELEMENTS / NORM_COLS, NORM_COLS, u64::from(ELEMENTS) * 4);
        let (c, statistics) = (Slice { size, ..c }, Slice { offset: size, size, ..c });
        let norm = RmsNormParams { rows, cols, eps: 1e-5, pad: [0] };
        let call = Dispatch::new(&norm, [a, b, c, statistics]).by_default(backend.abilities());
        Ok(4.0 * f64::from(ELEMENTS) / busy(median(backend, &call).await?, launch))
    }

    /// The best of reading, and of adding.
    async fn bandwidth(&self, backend: &mut Backend, launch: Nanos) -> Result<BytesPerSec, ExecError> {
        let [a, b, c] = self.buffers;
        let elements = 4 * ELEMENTS;
        let lanes = elements / 64;
        let read = Dispatch::new(&ReadParams { rows: 64, lanes, pad: [0; 2] }, [a, c]);
        let add = Dispatch::new(&AddParams { n: elements, pad: [0; 3] }, [a, b, c]);
        let read = f64::from(elements) * 4.0 / busy(median(backend, &read).await?, launch);
        let add = f64::from(elements) * 12.0 / busy(median(backend, &add).await?, launch);
        Ok(BytesPerSec(read.max(add)))
    }
}

/// The share of a device that so many workgroups keep busy until the last of them ends.
fn filled(at_once: u32, grid: [u32; 3]) -> f64 {
    let workgroups = grid.iter().product::<u32>().max(1);
    f64::from(workgroups) / f64::from(workgroups.next_multiple_of(at_once.max(1)))
}

/// Seconds beyond the launch overhead, at least a nanosecond.
fn busy(time: Nanos, launch: Nanos) -> f64 {
    (time - launch).max(Nanos(1)).secs()
}

/// Seconds that a small call takes beside the call itself.
fn small_work(shaders: &ShaderRates) -> f64 {
    SMALL_WORDS * f64::from(SMALL) / shaders.words_per_second + starting(shaders, SMALL)
}

/// Seconds that the workgroups of an elementwise kernel take to start and end.
fn starting(shaders: &ShaderRates, elements: u32) -> f64 {
    shaders.workgroup.secs() * f64::from(elements / WORKGROUP_SIZE) / f64::from(shaders.at_once)
}

fn in_bf16(slice: Slice) -> Slice {
    Slice { format: Format::Bf16, ..slice }
}

fn whole(backend: &mut Backend, bytes: u64) -> Slice {
    Slice::of_words(backend.create(bytes), 0, bytes)
}

/// How a device makes products and attention, with nothing measured yet.
fn product_of(device: Abilities) -> ShaderRates {
    let (tile, shares, queries) = (device.tile(), device.shares(), device.queries());
    ShaderRates { shared: device.many, tile, shares, queries, ..ShaderRates::UNMEASURED }
}

fn matmul([m, n, k]: [u32; 3], [a, b, c]: [Slice; 3]) -> Dispatch {
    let square = MatmulParams::square(m);
    Dispatch::new(&MatmulParams { m, n, k, a_row_stride: k, b_row_stride: n, ..square }, [a, b, a, c])
}
