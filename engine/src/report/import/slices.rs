//! What a document says, collected and put in order.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde_json::value::RawValue;

use super::classes::{element_bytes, of_copy, of_kernel, of_ours};
use super::events::{About, Args, Event};
use super::lanes::{MAX_LANES, lanes};
use super::times::nanos;
use super::{MAX_SLICES, MAX_TRACKS, TraceImportError};
use crate::trace::{
    Activity, Collective, Flow, Imported, Label, LabelId, Launch, MemoryCurve, MemorySample, MemoryUse, Name, Origin,
    Phase, Span, Step, Stream, Trace, Track, TrackId,
};
use crate::units::{Bytes, Nanos};

/// A slice of a thread.
#[derive(Clone, Copy, Debug)]
struct Slice {
    thread: u32,
    label: LabelId,
    start: i64,
    duration: i64,
    /// What joins a call to its work; 0 where nothing does.
    correlation: i64,
}

/// A slice of a format that has no events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RawSlice<'a, 'b> {
    pub process: &'a str,
    pub thread: &'a str,
    /// What the thread is called, where it has a name.
    pub thread_name: Option<&'b str>,
    /// Of a device: its number and the stream's.
    pub stream: Option<(i64, i64)>,
    pub name: &'b str,
    /// As Kineto calls them: `kernel`, `gpu_memcpy`, `cuda_runtime`; all else is the host's.
    pub category: &'b str,
    /// The collective that it is, where the file says so.
    pub collective: Option<&'b str>,
    pub bytes: i64,
    /// What joins a call to its work; 0 where nothing does.
    pub correlation: i64,
    /// Nanoseconds.
    pub start: i64,
    /// Nanoseconds.
    pub duration: i64,
}

/// Where slices are: a thread of a process, or a stream of a device.
#[derive(Clone, Debug)]
struct Thread {
    process: u32,
    /// Of a device: its number and the stream's.
    stream: Option<(i64, i64)>,
    name: String,
    /// What it holds most of.
    time: [i64; Activity::ALL.len()],
}

/// An end of an arrow.
struct ArrowEnd {
    id: String,
    thread: u32,
    at: i64,
    is_start: bool,
    /// Whether it is bound to what is there, and not to what comes next.
    encloses: bool,
}

/// What slices with one label have in common: collectives differ by their sizes and groups, too.
type LabelKey = (Activity, &'static str, Name, i64, Option<Collective>);

/// Where an event is: a process, a stream of a device, a thread.
type Place<'a> = (u32, Option<(i64, i64)>, &'a str);

/// Collects events.
#[derive(Default)]
pub(super) struct Collector<'a> {
    processes: FxHashMap<&'a str, u32>,
    process_names: BTreeMap<u32, String>,
    threads: FxHashMap<Place<'a>, u32>,
    described: Vec<Thread>,
    labels: Vec<Label>,
    activities: Vec<Activity>,
    label_numbers: FxHashMap<LabelKey, LabelId>,
    collectives: BTreeMap<LabelId, Collective>,
    slices: Vec<Slice>,
    /// Slices that have begun, by thread.
    open: FxHashMap<u32, Vec<(LabelId, i64)>>,
    arrows: Vec<ArrowEnd>,
    /// Device, when, and bytes that tensors take then.
    memory: Vec<(i64, i64, u64)>,
    steps: Vec<(u32, Name, i64, i64)>,
    /// Whether a profiler of devices wrote it.
    has_device: bool,
    negative: u64,
    timeless: u64,
    unmatched: u64,
}

impl Args<'_> {
    /// Bytes of a collective as nccl-tests counts them: of the larger side of one rank.
    fn message(&self, class: &'static str) -> i64 {
        let [brought, got] = self.elements;
        let elements = if class == "reduce_scatter" { brought } else { brought.max(got) };
        elements.saturating_mul(self.dtype.as_deref().map_or(0, element_bytes))
    }

    fn collective(&self) -> Option<Collective> {
        let ranks = self.group_size.and_then(|ranks| u32::try_from(ranks).ok()).unwrap_or(0);
        let group = self.process_group.as_deref().unwrap_or("");
        (ranks > 0 || !group.is_empty()).then(|| Collective { group: group.into(), ranks })
    }
}

/// The text of a process's or thread's number.
fn key(raw: Option<&RawValue>) -> &str {
    raw.map_or("0", |raw| raw.get().trim_matches('"'))
}

impl<'a> Collector<'a> {
    /// Takes an event.
    pub(super) fn take(&mut self, event: &Event<'a>) -> Result<(), TraceImportError> {
        match &*event.ph {
            "X" => self.complete(event),
            "B" => self.begin(event),
            "E" => self.end(event),
            "M" => self.metadata(event),
            "i" | "I" => {
                self.memory_mark(event);
                Ok(())
            }
            "s" | "t" | "f" => self.arrow(event),
            _ => Ok(()),
        }
    }

    fn process(&mut self, pid: &'a str) -> u32 {
        let next = u32::try_from(self.processes.len()).unwrap_or(u32::MAX);
        *self.processes.entry(pid).or_insert(next)
    }

    /// The thread of an event, or the stream of a device where it says that it is on one.
    fn thread(&mut self, event: &Event<'a>, on_stream: bool) -> Result<u32, TraceImportError> {
        let (pid, tid) = (key(event.pid), key(event.tid));
        let stream = on_stream.then(|| {
            let of_thread = tid.trim_start_matches("stream ").parse().unwrap_or(0);
            let of_process = pid.parse().unwrap_or(0);
            (event.args.device.unwrap_or(of_process), event.args.stream.unwrap_or(of_thread))
        });
        self.thread_at(pid, tid, stream)
    }

    fn thread_at(&mut self, pid: &'a str, tid: &'a str, stream: Option<(i64, i64)>) -> Result<u32, TraceImportError> {
        let process = self.process(pid);
        // A stream is one wherever its events say that they are.
        let place = if stream.is_some() { (0, stream, "") } else { (process, None, tid) };
        if let Some(&known) = self.threads.get(&place) {
            return Ok(known);
        }
        if self.described.len() >= MAX_TRACKS {
            return Err(TraceImportError::TooMany { what: "threads and streams", limit: MAX_TRACKS });
        }
        let number = u32::try_from(self.described.len()).unwrap_or(u32::MAX);
        let name = stream.map_or_else(|| format!("thread {tid}"), |(_, stream)| format!("stream {stream}"));
        self.described.push(Thread { process, stream, name, time: [0; Activity::ALL.len()] });
        self.threads.insert(place, number);
        Ok(number)
    }

    fn label(&mut self, name: &str, activity: Activity, class: &'static str, bytes: i64) -> LabelId {
        self.label_of(name, activity, class, bytes, None)
    }

    fn label_of(
        &mut self,
        name: &str,
        activity: Activity,
        class: &'static str,
        bytes: i64,
        collective: Option<Collective>,
    ) -> LabelId {
        let name: Name = name.into();
        let size = if activity == Activity::Communication { bytes } else { 0 };
        let key = (activity, class, Name::clone(&name), size, collective);
        if let Some(&known) = self.label_numbers.get(&key) {
            return known;
        }
        let label = LabelId(u32::try_from(self.labels.len()).unwrap_or(u32::MAX));
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.labels.push(Label { name, class, phase: Phase::Forward, flops: 0, bytes });
        self.activities.push(activity);
        self.collectives.extend(key.4.clone().map(|collective| (label, collective)));
        self.label_numbers.insert(key, label);
        label
    }

    /// What an event is, and whether it is on a stream of a device.
    fn kind(&mut self, event: &Event<'a>) -> (Activity, &'static str, bool) {
        let name = event.name.as_deref().unwrap_or("");
        let category = event.cat.as_deref().unwrap_or("").to_ascii_lowercase();
        self.kind_of(name, &category, event.args.collective.as_deref())
    }

    fn kind_of(&mut self, name: &str, category: &str, collective: Option<&str>) -> (Activity, &'static str, bool) {
        let (activity, class) = match category {
            "kernel" => of_kernel(name, collective),
            "gpu_memcpy" | "memcpy" | "gpu_memset" | "memset" => (Activity::Memory, of_copy(name)),
            "cuda_runtime" | "cuda_driver" | "hip_runtime" | "xpu_runtime" | "runtime" => {
                return (Activity::Runtime, "host_update", false);
            }
            other => {
                let (activity, class) = of_ours(other);
                return (activity, class, false);
            }
        };
        self.has_device = true;
        (activity, class, true)
    }

    fn complete(&mut self, event: &Event<'a>) -> Result<(), TraceImportError> {
        let (Some(start), duration) = (event.ts.and_then(nanos), event.dur.and_then(nanos)) else {
            self.timeless += 1;
            return Ok(());
        };
        let duration = duration.unwrap_or(0);
        if duration < 0 || start.checked_add(duration).is_none() {
            self.negative += 1;
            return Ok(());
        }
        // Marks of the device's side repeat those of the host's.
        if event.cat.as_deref() == Some("gpu_user_annotation") {
            return Ok(());
        }
        let (activity, class, on_stream) = self.kind(event);
        let thread = self.thread(event, on_stream)?;
        let name = event.name.as_deref().unwrap_or("(no name)");
        let label = match activity {
            Activity::Communication => {
                let bytes = event.args.bytes.unwrap_or_else(|| event.args.message(class));
                self.label_of(name, activity, class, bytes, event.args.collective())
            }
            _ => self.label(name, activity, class, event.args.bytes.unwrap_or(0)),
        };
        if name.starts_with("ProfilerStep#") {
            let process = self.described[thread as usize].process;
            self.steps.push((process, name.into(), start, start + duration));
        }
        self.add(Slice { thread, label, start, duration, correlation: event.args.correlation.unwrap_or(0) })
    }

    /// Takes a slice of a format that has no events; one that ends before it begins is left out.
    pub(super) fn slice(&mut self, raw: &RawSlice<'a, '_>) -> Result<(), TraceImportError> {
        // Half of what a number holds, so that differences of two times are numbers, too.
        if raw.duration < 0 || raw.start.abs() > i64::MAX / 4 || raw.duration > i64::MAX / 4 {
            self.negative += 1;
            return Ok(());
        }
        let (activity, class, on_stream) = self.kind_of(raw.name, raw.category, raw.collective);
        let thread = self.thread_at(raw.process, raw.thread, raw.stream.filter(|_| on_stream))?;
        let label = self.label(raw.name, activity, class, raw.bytes);
        let Self { described, .. } = self;
        if let Some(name) = raw.thread_name {
            name.clone_into(&mut described[thread as usize].name);
        }
        let (start, duration, correlation) = (raw.start, raw.duration, raw.correlation);
        self.add(Slice { thread, label, start, duration, correlation })
    }

    fn add(&mut self, slice: Slice) -> Result<(), TraceImportError> {
        if self.slices.len() >= MAX_SLICES {
            return Err(TraceImportError::TooMany { what: "slices", limit: MAX_SLICES });
        }
        let activity = self.activities[slice.label.0 as usize];
        let time = &mut self.described[slice.thread as usize].time[activity as usize];
        *time = time.saturating_add(slice.duration);
        self.slices.push(slice);
        Ok(())
    }

    fn begin(&mut self, event: &Event<'a>) -> Result<(), TraceImportError> {
        let Some(start) = event.ts.and_then(nanos) else {
            self.timeless += 1;
            return Ok(());
        };
        let (activity, class, on_stream) = self.kind(event);
        let thread = self.thread(event, on_stream)?;
        let label = self.label(event.name.as_deref().unwrap_or("(no name)"), activity, class, 0);
        self.open.entry(thread).or_default().push((label, start));
        Ok(())
    }

    fn end(&mut self, event: &Event<'a>) -> Result<(), TraceImportError> {
        let at = event.ts.and_then(nanos);
        let place = (self.process(key(event.pid)), None, key(event.tid));
        let thread = self.threads.get(&place).copied();
        let begun = thread.and_then(|thread| Some((thread, self.open.get_mut(&thread)?.pop()?)));
        let (Some(at), Some((thread, (label, start)))) = (at, begun) else {
            self.unmatched += 1;
            return Ok(());
        };
        if at < start {
            self.negative += 1;
            return Ok(());
        }
        self.add(Slice { thread, label, start, duration: at.saturating_sub(start), correlation: 0 })
    }

    /// Names of processes and threads.
    fn metadata(&mut self, event: &Event<'a>) -> Result<(), TraceImportError> {
        let Args { name: Some(given), .. } = &event.args else { return Ok(()) };
        let given = given.chars().take(80).collect::<String>();
        match event.name.as_deref() {
            Some("process_name") => {
                let process = self.process(key(event.pid));
                self.process_names.insert(process, given);
            }
            Some("thread_name") => {
                let process = self.process(key(event.pid));
                // A thread without a slice needs no place.
                let thread = self.thread(event, false)?;
                self.described[thread as usize] =
                    Thread { name: given, process, ..self.described[thread as usize].clone() };
            }
            _ => {}
        }
        Ok(())
    }

    /// What PyTorch's profiler says of memory (`profile_memory=True`): how much tensors of a device take.
    fn memory_mark(&mut self, event: &Event<'a>) {
        let Args { allocated: Some(bytes), device_type, device, .. } = &event.args else { return };
        let is_memory = event.name.as_deref() == Some("[memory]") && *device_type != Some(0);
        if let (true, Some(at), Ok(bytes)) = (is_memory, event.ts.and_then(nanos), u64::try_from(*bytes))
            && self.memory.len() < MAX_SLICES
        {
            self.memory.push((device.unwrap_or(0), at, bytes));
        }
    }

    /// Memory of each device over time; what is before the first slice counts from its beginning.
    fn memory_curves(&mut self, first: i64, groups: &Groups) -> Vec<MemoryCurve> {
        self.memory.sort_by_key(|&(device, at, _)| (device, at));
        let curve = |marks: &[(i64, i64, u64)]| {
            let group = groups.of_device.get(&marks[0].0).copied().unwrap_or(0);
            let sample = |&(_, at, bytes): &(i64, i64, u64)| MemorySample {
                at: Nanos(at.saturating_sub(first).max(0)),
                used: MemoryUse { activations: Bytes(bytes), ..MemoryUse::default() },
            };
            MemoryCurve { group, stage: group, samples: marks.iter().map(sample).collect() }
        };
        self.memory.chunk_by(|a, b| a.0 == b.0).map(curve).collect()
    }

    fn arrow(&mut self, event: &Event<'a>) -> Result<(), TraceImportError> {
        // What joins calls to kernels is known by their correlation.
        if event.cat.as_deref().is_some_and(|category| ["ac2g", "async_cpu_to_gpu", "async_gpu"].contains(&category)) {
            return Ok(());
        }
        let (Some(at), Some(id)) = (event.ts.and_then(nanos), event.id) else { return Ok(()) };
        if self.arrows.len() >= MAX_SLICES {
            return Err(TraceImportError::TooMany { what: "ends of arrows", limit: MAX_SLICES });
        }
        let thread = self.thread(event, false)?;
        let is_start = event.ph == "s";
        let encloses = is_start || event.bp.as_deref() == Some("e");
        let id = format!("{}/{}", event.cat.as_deref().unwrap_or(""), id.get());
        self.arrows.push(ArrowEnd { id, thread, at, is_start, encloses });
        Ok(())
    }

    /// Puts all in order.
    pub(super) fn finish(mut self, name: &str, about: &About) -> Result<Imported, TraceImportError> {
        let unended: usize = self.open.values().map(Vec::len).sum();
        let first = self.slices.iter().map(|slice| slice.start).min().ok_or(TraceImportError::NoSlices)?;
        let last = self.slices.iter().map(|slice| slice.start + slice.duration).max().unwrap_or(first);
        let groups = self.groups(name, about);
        let placed = self.place(first, &groups.of_thread);
        let launches = placed.launches(&self.slices, &self.activities);
        let mut flows = self.flows(&placed);
        flows.extend(launches.iter().map(|launch| Flow { from: launch.call, to: launch.work }));
        let steps = self.steps.iter().map(|(process, name, from, until)| Step {
            group: groups.of_process.get(process).copied().unwrap_or(0),
            name: Name::clone(name),
            from: Nanos(from - first),
            until: Nanos(until - first),
        });
        let steps = steps.collect();
        let memory = self.memory_curves(first, &groups);
        let notes = self.notes(unended, placed.left_out);
        let Placed { tracks, spans, .. } = placed;
        let trace = Trace {
            origin: Origin::Imported,
            labels: self.labels,
            tracks,
            spans,
            flows,
            host_waits: Vec::new(),
            memory,
            traffic: Vec::new(),
            step_time: Nanos(last.saturating_sub(first)),
        };
        Ok(Imported {
            trace,
            activities: self.activities,
            groups: groups.names,
            launches,
            steps,
            collectives: self.collectives,
            notes,
        })
    }

    fn notes(&self, unended: usize, left_out: u64) -> Vec<String> {
        let deep = format!("slices lie deeper than {MAX_LANES} levels and are left out");
        let said = [
            (self.negative, "slices end before they begin and are left out"),
            (self.timeless, "events have no time and are left out"),
            (self.unmatched, "ends have no beginning and are left out"),
            (unended as u64, "slices have no end and are left out"),
            (left_out, &deep),
        ];
        said.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }

    /// Ranks where a profiler of devices wrote the file, else processes.
    fn groups(&self, name: &str, about: &About) -> Groups {
        let mut groups = Groups::default();
        let called = about.rank.map_or_else(|| name.to_owned(), |rank| format!("rank {rank}"));
        let mut numbers: BTreeMap<i64, u32> = BTreeMap::new();
        if self.has_device {
            let devices = self.described.iter().filter_map(|thread| Some(thread.stream?.0));
            for device in devices.collect::<std::collections::BTreeSet<_>>() {
                numbers.insert(device, u32::try_from(numbers.len()).unwrap_or(u32::MAX));
            }
            groups.of_device.clone_from(&numbers);
            let several = numbers.len() > 1;
            let of_device = |device: &i64| {
                if several { format!("{called} · device {device}").into() } else { called.as_str().into() }
            };
            groups.names = numbers.keys().map(of_device).collect();
            let of_thread =
                |thread: &Thread| thread.stream.map_or(0, |(device, _)| numbers.get(&device).copied().unwrap_or(0));
            groups.of_thread = self.described.iter().map(of_thread).collect();
            return groups;
        }
        for thread in &self.described {
            let next = u32::try_from(groups.of_process.len()).unwrap_or(u32::MAX);
            let group = *groups.of_process.entry(thread.process).or_insert(next);
            if group == next {
                let named = self.process_names.get(&thread.process).cloned();
                groups.names.push(named.unwrap_or_else(|| format!("{called} {}", thread.process)).into());
            }
            groups.of_thread.push(group);
        }
        groups
    }

    /// Slices on lanes of their threads, as spans of tracks.
    fn place(&mut self, first: i64, groups: &[u32]) -> Placed {
        let slices = &mut self.slices;
        slices.sort_by_key(|slice| (slice.thread, slice.start, -slice.duration));
        let mut placed = Placed {
            tracks: Vec::new(),
            spans: Vec::with_capacity(slices.len()),
            of_slice: vec![None; slices.len()],
            left_out: 0,
        };
        // Streams of a device before threads of its host.
        let mut order: Vec<usize> = (0..self.described.len()).collect();
        order.sort_by_key(|&thread| {
            (groups[thread], self.described[thread].stream.is_none(), self.described[thread].stream, thread)
        });
        let starts: Vec<usize> = (0..=self.described.len())
            .map(|thread| slices.partition_point(|slice| (slice.thread as usize) < thread))
            .collect();
        for thread in order {
            let range = starts[thread]..starts[thread + 1];
            let of_thread = &slices[range.clone()];
            let lanes = lanes(of_thread.iter().map(|slice| (slice.start, slice.start + slice.duration)));
            let base = placed.tracks.len();
            let count = lanes.iter().flatten().max().map_or(0, |lane| lane + 1);
            for lane in 0..count {
                placed.tracks.push(self.described[thread].track(groups[thread], lane));
            }
            for ((number, slice), lane) in range.zip(of_thread).zip(lanes) {
                let Some(lane) = lane else {
                    placed.left_out += 1;
                    continue;
                };
                placed.of_slice[number] = u32::try_from(placed.spans.len()).ok();
                placed.spans.push(Span {
                    track: TrackId(u32::try_from(base + lane).unwrap_or(u32::MAX)),
                    label: slice.label,
                    start: Nanos(slice.start - first),
                    duration: Nanos(slice.duration),
                    micro_batch: Span::NO_MICRO_BATCH,
                });
            }
        }
        placed
    }

    /// Arrows between what their ends are bound to; those that go back in time are left out.
    fn flows(&self, placed: &Placed) -> Vec<Flow> {
        let mut from: FxHashMap<&str, u32> = FxHashMap::default();
        let mut flows = Vec::new();
        for end in &self.arrows {
            let Some(span) = self.bound(end, placed) else { continue };
            if end.is_start {
                from.insert(&end.id, span);
            } else if let Some(&start) = from.get(end.id.as_str())
                && placed.spans[span as usize].end() >= placed.spans[start as usize].start
            {
                flows.push(Flow { from: start, to: span });
            }
        }
        flows
    }

    /// The slice to which an end of an arrow is bound: the innermost that is there, or the next one.
    fn bound(&self, end: &ArrowEnd, placed: &Placed) -> Option<u32> {
        let before = self.slices.partition_point(|slice| (slice.thread, slice.start) <= (end.thread, end.at));
        let on_thread = |slice: &&Slice| slice.thread == end.thread;
        if !end.encloses {
            let next = self.slices.get(before).filter(on_thread);
            if next.is_some() {
                return placed.of_slice[before];
            }
        }
        let mut place = before.checked_sub(1)?;
        // Nested calls are few deep.
        for _ in 0..MAX_LANES {
            let slice = self.slices.get(place).filter(on_thread)?;
            if slice.start + slice.duration >= end.at {
                return placed.of_slice[place];
            }
            place = place.checked_sub(1)?;
        }
        None
    }
}

#[derive(Default)]
struct Groups {
    /// Of a device by its number.
    of_device: BTreeMap<i64, u32>,
    names: Vec<Name>,
    of_thread: Vec<u32>,
    of_process: FxHashMap<u32, u32>,
}

impl Thread {
    fn track(&self, group: u32, lane: usize) -> Track {
        let name = if lane == 0 { self.name.clone() } else { format!("{} · {lane}", self.name) };
        let stream = self.as_ours();
        Track { group, stage: 0, rank: group, ranks: 1, stream, name: Some(name.into()) }
    }

    /// The stream of ours that it is like: by name where this program wrote it, else by what it holds most of.
    fn as_ours(&self) -> Stream {
        if let Some(known) = Stream::ALL.into_iter().find(|stream| stream.name() == self.name) {
            return known;
        }
        let most = Activity::ALL.into_iter().max_by_key(|&activity| (self.time[activity as usize], activity));
        match most {
            Some(Activity::Computation) => Stream::Compute,
            Some(Activity::Communication) => Stream::ModelComm,
            Some(Activity::Memory) => Stream::FromHost,
            _ => Stream::Host,
        }
    }
}

/// Slices that have their places.
struct Placed {
    tracks: Vec<Track>,
    spans: Vec<Span>,
    /// The span of each slice.
    of_slice: Vec<Option<u32>>,
    left_out: u64,
}

impl Placed {
    /// Joins calls to their work by what the profiler calls a correlation.
    fn launches(&self, slices: &[Slice], activities: &[Activity]) -> Vec<Launch> {
        let mut calls: FxHashMap<i64, u32> = FxHashMap::default();
        let of = |wanted: fn(Activity) -> bool| {
            slices.iter().zip(&self.of_slice).filter_map(move |(slice, span)| {
                let fits = slice.correlation != 0 && wanted(activities[slice.label.0 as usize]);
                (*span).filter(|_| fits).map(|span| (slice.correlation, span))
            })
        };
        calls.extend(of(|activity| activity == Activity::Runtime));
        let joined = of(Activity::is_on_device).filter_map(|(correlation, work)| {
            let call = calls.get(&correlation).copied()?;
            // Clocks of host and device differ a little; what would go back in time is no cause.
            (self.spans[work as usize].end() >= self.spans[call as usize].start).then_some(Launch { call, work })
        });
        joined.collect()
    }
}
