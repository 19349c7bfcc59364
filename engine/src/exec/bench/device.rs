//! Arithmetic, memory, transfers and latencies.

use web_time::Instant;

use super::figures::size;
use super::{Bench, Figure, Section};
use crate::exec::calibrate::scopes_of_one;
use crate::exec::cpu::adamw::AdamwParams;
use crate::exec::cpu::add::AddParams;
use crate::exec::cpu::copy::CopyParams;
use crate::exec::cpu::fill::FillParams;
use crate::exec::cpu::gelu::GeluParams;
use crate::exec::cpu::peak::PeakParams;
use crate::exec::cpu::peak_half::PeakHalfParams;
use crate::exec::cpu::peak_int8::PeakInt8Params;
use crate::exec::cpu::peak_int32::PeakInt32Params;
use crate::exec::cpu::read::ReadParams;
use crate::exec::cpu::rms_norm::RmsNormParams;
use crate::exec::{BackendKind, Dispatch, ExecError, Format, Kernel, Recording, Slice};
use crate::units::Nanos;

/// Multiply-adds in flight in an invocation of `peak`.
const CHAINS: u64 = 8;

/// Invocations of `peak` and `read`: enough for all multiprocessors of large devices.
const LANES: u32 = 1 << 16;

/// Calls of a chain.
const CALLS: u32 = 256;

/// Bytes that a sample of an upload writes in all: long enough for the clock of a page, which ticks every tenth of a
/// millisecond.
const UPLOADED: u64 = 16 << 20;

/// Single calls whose median counts.
const SINGLE_CALLS: usize = 15;

impl Bench<'_> {
    /// The rate of multiply-adds by type and vector width.
    pub(super) async fn peak(&mut self) -> Result<(), ExecError> {
        let floats = |rounds| PeakParams { n: LANES, rounds, factor: 0.5, pad: [0] };
        if self.backend.info().kind == BackendKind::Cpu {
            // The twin has no vectors.
            return self.peak_of("fp32".to_owned(), 1, |rounds, out| Dispatch::new(&floats(rounds), [out])).await;
        }
        self.peak_by_width("fp32", |rounds, out| Dispatch::new(&floats(rounds), [out])).await?;
        if self.backend.computes_halves() {
            self.peak_by_width("fp16", |rounds, out| Dispatch::new(&PeakHalfParams(floats(rounds)), [out])).await?;
        }
        let integers = |rounds| PeakInt32Params { n: LANES, rounds, factor: 3, zero: 0 };
        self.peak_by_width("int32", |rounds, out| Dispatch::new(&integers(rounds), [out])).await?;
        let packed = |rounds| PeakInt8Params { n: LANES, rounds, word: 0x0102_0304, pad: 0 };
        // A word is a vector of four.
        self.peak_of("int8, packed".to_owned(), 4, |rounds, out| Dispatch::new(&packed(rounds), [out])).await
    }

    /// The rate of a kernel that has a way for each width.
    async fn peak_by_width(&mut self, name: &str, call: impl Fn(u32, Slice) -> Dispatch) -> Result<(), ExecError> {
        for (family, width) in [(0, 1), (1, 2), (2, 4)] {
            let name = if width == 1 { name.to_owned() } else { format!("{name} x{width}") };
            self.peak_of(name, width, |rounds, out| call(rounds, out).by(family)).await?;
        }
        Ok(())
    }

    /// The rate of a kernel of as many chains, of as many multiply-adds each in a round.
    async fn peak_of(
        &mut self,
        name: String,
        width: u64,
        call: impl Fn(u32, Slice) -> Dispatch,
    ) -> Result<(), ExecError> {
        self.tell("peak")?;
        let (mut rounds, mut nanos) = (16_u32, Nanos(1));
        // Long enough that starting does not count.
        while rounds <= 1 << 14 {
            nanos = self.time(&call(rounds, self.slice(2, LANES.into()))).await?;
            if nanos > Nanos(20_000_000) {
                break;
            }
            rounds *= 4;
        }
        let flops = 2 * CHAINS * width * u64::from(rounds.min(1 << 14)) * u64::from(LANES);
        self.add(Figure::arithmetic(Section::Peak, name, nanos, [flops, 0]));
        Ok(())
    }

    /// Bandwidth over working sets.
    pub(super) async fn memory(&mut self) -> Result<(), ExecError> {
        let copies = [Format::Word, Format::Bf16, Format::F16].map(|format| ("copy", format));
        for (what, format) in [("read", Format::Word), ("write", Format::Word)].into_iter().chain(copies) {
            let mut bytes = 256_u64 << 10;
            while bytes <= self.bytes {
                self.tell("memory")?;
                let n = u32::try_from(bytes / 4).unwrap_or(u32::MAX);
                let (call, moved) = match what {
                    "read" => {
                        let params = ReadParams { rows: (n / LANES).max(1), lanes: LANES.min(n), pad: [0; 2] };
                        let buffers = [self.slice(0, n.into()), self.slice(1, LANES.into())];
                        (Dispatch::new(&params, buffers), bytes)
                    }
                    "write" => {
                        let params = FillParams { n, value: 1.0, pad: [0; 2] };
                        (Dispatch::new(&params, [self.slice(1, n.into())]), bytes)
                    }
                    _ => {
                        let params =
                            CopyParams { rows: 1, cols: n, src_stride: n, dst_stride: n, ..CopyParams::default() };
                        let to = self.slice_in(format, 1, n.into());
                        (Dispatch::new(&params, [self.slice(0, n.into()), to]), bytes + to.size)
                    }
                };
                let nanos = self.time_by_default(call).await?;
                let into = if format == Format::Word { String::new() } else { format!("into {} ", format.precision()) };
                self.add(Figure::bandwidth(Section::Memory, format!("{what} {into}{}", size(bytes)), nanos, moved));
                bytes *= 8;
            }
        }
        self.bound_by_memory().await
    }

    /// What kernels that are bound by memory reach of its bandwidth, on numbers that no cache holds.
    async fn bound_by_memory(&mut self) -> Result<(), ExecError> {
        self.tell("memory")?;
        let n = u32::try_from(self.bytes / 4).unwrap_or(u32::MAX).min(1 << 27);
        let cols = 4096;
        // Half of them, so that the statistics lie behind the results.
        let (rows, eps, pad) = (n / cols / 2, 1e-5, [0; 3]);
        let of = |buffer: usize| self.slice(buffer, n.into());
        let [a, b, c] = [0, 1, 2].map(of);
        // One of several parts of a buffer: a call may write one only if it reads none of the same buffer.
        let part = |buffer: usize, parts: u32, number: u64| {
            let size = u64::from(n / parts) * 4;
            Slice { offset: number * size, size, ..self.slice(buffer, 1) }
        };
        let rms = RmsNormParams { rows, cols, eps, pad: [0] };
        let states = [part(0, 4, 0), part(0, 4, 1), part(0, 4, 2), part(1, 4, 0), part(1, 4, 1), part(1, 4, 2)];
        let words = u64::from(n) * 4;
        let calls = [
            ("add", Dispatch::new(&AddParams { n, pad }, [a, b, c]), 3 * words),
            ("gelu", Dispatch::new(&GeluParams { n, pad }, [a, b]), 2 * words),
            (
                "rms norm",
                Dispatch::new(&rms, [part(0, 2, 0), self.slice(1, cols.into()), part(2, 2, 0), part(2, 2, 1)]),
                words,
            ),
            ("adamw", Dispatch::new(&AdamwParams { n: n / 4, decayed: 0, pad: [0; 2] }, states), 7 * words / 4),
        ];
        for (name, call, moved) in calls {
            let nanos = self.time_by_default(call).await?;
            let name = format!("{name} {}", size(words));
            self.add(Figure::bandwidth(Section::Memory, name, nanos, moved));
        }
        Ok(())
    }

    /// Uploads and downloads.
    pub(super) async fn transfer(&mut self) -> Result<(), ExecError> {
        for bytes in [64_u64 << 10, 1 << 20, 16 << 20] {
            self.tell("transfer")?;
            let words = vec![0_u32; usize::try_from(bytes / 4).unwrap_or(0)];
            let (mut up, mut down, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
            let writes = UPLOADED / bytes;
            for _ in 0..5 {
                nothing.push(self.read_back(1).await?);
                let begin = Instant::now();
                for _ in 0..writes {
                    self.backend.write(self.buffers[0], 0, &words);
                }
                self.backend.read(self.buffers[0], 0, 1).await?;
                up.push(since(begin));
                down.push(self.read_back(words.len()).await?);
            }
            // The read that waits for the uploads takes its time too.
            let all = median(&mut up) - median(&mut nothing);
            let up = Nanos(all.0 / i64::try_from(writes).unwrap_or(1)).max(Nanos(1));
            self.add(Figure::bandwidth(Section::Transfer, format!("upload {}", size(bytes)), up, bytes).on_host());
            let down =
                Figure::bandwidth(Section::Transfer, format!("download {}", size(bytes)), median(&mut down), bytes);
            self.add(down.on_host());
        }
        Ok(())
    }

    async fn read_back(&mut self, words: usize) -> Result<Nanos, ExecError> {
        let begin = Instant::now();
        self.backend.read(self.buffers[0], 0, words).await?;
        Ok(since(begin))
    }

    /// What calls cost.
    pub(super) async fn latency(&mut self) -> Result<(), ExecError> {
        self.tell("latency")?;
        let nothing = Dispatch::new(&FillParams { n: 1, ..FillParams::default() }, [self.slice(2, 1)]);
        debug_assert_eq!(nothing.kernel, Kernel::Fill);
        let chain = Recording { dispatches: vec![nothing.clone(); CALLS as usize], scopes: scopes_of_one(CALLS) };
        let Replays { device, all, encoding, submitting } = self.replays(&chain).await?;
        let each = |time: Nanos| Nanos(time.0 / i64::from(CALLS)).max(Nanos(1));
        self.add(Figure::latency("call in a chain, on the device".to_owned(), each(device)));
        self.add(Figure::latency("call in a chain, until all are done".to_owned(), each(all)).on_host());
        // Not where calls are timed one by one.
        if encoding > Nanos::ZERO {
            self.add(Figure::latency("call in a chain, written by the host".to_owned(), each(encoding)).on_host());
            self.add(Figure::latency("call in a chain, handed to the driver".to_owned(), each(submitting)).on_host());
        }
        let single = Recording { dispatches: vec![nothing], scopes: scopes_of_one(1) };
        let Replays { all, submitting, .. } = self.replays(&single).await?;
        self.add(Figure::latency("submission of one call, until it is done".to_owned(), all).on_host());
        if submitting > Nanos::ZERO {
            self.add(Figure::latency("submission of one call, handed to the driver".to_owned(), submitting).on_host());
        }
        let mut reads = Vec::new();
        for _ in 0..SINGLE_CALLS {
            reads.push(self.read_back(1).await?);
        }
        let reads = median(&mut reads);
        self.add(Figure::latency("read of 4 bytes".to_owned(), reads).on_host());
        Ok(())
    }

    /// Median times of a recording of one scope.
    async fn replays(&mut self, recording: &Recording) -> Result<Replays, ExecError> {
        self.backend.prepare(recording).await?;
        let mut times = [(); 4].map(|()| Vec::new());
        for _ in 0..=SINGLE_CALLS {
            let begin = Instant::now();
            let scope = self.backend.replay(recording).await?.of_one();
            let all = since(begin);
            let device = scope.first().map_or(Nanos(1), |&(start, end)| end - start);
            let host = self.backend.host().unwrap_or_default();
            let found = [device, all, host.encoding, host.submitting];
            times.iter_mut().zip(found).for_each(|(times, found)| times.push(found));
        }
        // The first one compiles.
        let [device, all, encoding, submitting] = times.map(|mut times| median(&mut times[1..]));
        Ok(Replays { device, all, encoding, submitting })
    }
}

/// What a recording takes in the median.
struct Replays {
    /// On the device.
    device: Nanos,
    /// Until all is done, on the host's clock, as what follows.
    all: Nanos,
    /// Writing the calls into a command buffer.
    encoding: Nanos,
    /// Handing it to the driver.
    submitting: Nanos,
}

fn since(begin: Instant) -> Nanos {
    Nanos::from(begin.elapsed()).max(Nanos(1))
}

fn median(times: &mut [Nanos]) -> Nanos {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(Nanos(1))
}
