//! Work in the background: on a named thread natively, between frames in a browser.

mod advice;
mod caches;
mod logs;
mod memory;
mod traces;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shardlab_engine::analysis::{CacheReport, GoodputReport, GoodputStudy, TransferReport, TransferStudy};
use shardlab_engine::compare::{Comparison, predict_and_execute};
#[cfg(not(target_arch = "wasm32"))]
use shardlab_engine::compare::{LoadingOptions, LoadingReport, measure_loading};
use shardlab_engine::exec::{
    Backend, BackendInfo, BackendKind, BenchOptions, BenchReport, CheckpointForm, ExecError, Section, StepResult,
    Stored, Trainer, Tuning, open,
};
#[cfg(not(target_arch = "wasm32"))]
use shardlab_engine::exec::{Launcher, open_placed};
use shardlab_engine::scenario::{Scenario, ScenarioFile};
use shardlab_engine::search::{
    Attribution, Goal, Options, Outcome, Progress, Saved, Space, SweepPoint, search as find,
};
use shardlab_engine::units::Nanos;
use web_time::Instant;

pub use advice::Advised;
pub use caches::{CacheJob, Reads};
pub use memory::MemoryNews;

use super::data::OpenedTrace;
use super::i18n::t;
use super::kept::{self, KeptRun};

/// Runs a future to its end without blocking the interface.
#[cfg(not(target_arch = "wasm32"))]
pub fn spawn(name: &str, future: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::Builder::new().name(name.to_owned());
    // Where no thread can be started the work does not happen, and whoever waits for it sees the channel close.
    thread.spawn(move || pollster::block_on(future)).ok();
}

/// Runs a future to its end without blocking the interface.
#[cfg(target_arch = "wasm32")]
pub fn spawn(_name: &str, future: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(future);
}

/// As [`spawn`], of a future that must be made where it runs.
#[cfg(not(target_arch = "wasm32"))]
fn spawn_with<F: Future<Output = ()>>(name: &str, make: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || pollster::block_on(make())).ok();
}

/// As [`spawn`], of a future that must be made where it runs.
#[cfg(target_arch = "wasm32")]
fn spawn_with<F: Future<Output = ()> + 'static>(_name: &str, make: impl FnOnce() -> F + 'static) {
    wasm_bindgen_futures::spawn_local(make());
}

/// Lets the browser paint and handle input; natively the interface has a thread of its own.
#[cfg(not(target_arch = "wasm32"))]
pub async fn breathe() {}

/// Lets the browser paint and handle input.
#[cfg(target_arch = "wasm32")]
pub async fn breathe() {
    super::web::next_task().await;
}

/// What the interface asks of a running job.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
    /// Nobody wants what it has done.
    discarded: AtomicBool,
    paused: AtomicBool,
}

impl Control {
    /// Whether to stop.
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// What a job tells the interface.
#[derive(Debug)]
pub enum Message {
    /// The device is open; a note says when it is not the one that was asked for.
    Opened(BackendInfo, Option<String>),
    /// The run goes on otherwise than its checkpoint was made.
    Otherwise(String),
    /// A step was trained.
    Step(Box<StepResult>),
    /// What the run can go on from, how many steps it has by then, and what keeping it took.
    Checkpoint(Checkpoint, Stored),
    /// Why what the run goes on from could not be kept for the next visit.
    NotKept(String),
    /// A run of an earlier visit is kept.
    Found(Box<KeptRun>),
    /// Share done.
    Progress(f32),
    /// How far a search is.
    Searching(Progress),
    /// A search has ended, or was stopped.
    Searched(Box<Space>, Box<Outcome>),
    /// What a benchmark measures, and the share that is done.
    Measuring(String, f32),
    /// A benchmark has ended.
    Benched(Box<BenchReport>),
    /// What is known of the ways to compute kernels.
    Tuned(Box<Tuning>),
    /// A trace of another tool was read.
    Imported(String, Box<shardlab_engine::trace::Imported>),
    /// A log of a training run was read.
    Logged(Box<super::logs::OpenLog>),
    /// A trace of reads was opened.
    Traced(Box<OpenedTrace>),
    /// Caches were compared.
    Cached(Box<CacheReport>),
    /// Something was found of a step's memory.
    Memory(Box<MemoryNews>),
    /// A run was fed from disk.
    #[cfg(not(target_arch = "wasm32"))]
    Fed(Box<LoadingReport>),
    /// A transfer was played.
    Moved(Box<TransferReport>),
    /// A long run was played.
    Kept(Box<GoodputReport>),
    /// Why two scenarios differ.
    Attributed(Box<Attribution>),
    /// What to change, as far as it is known.
    Advised(Box<Advised>),
    /// What a step would gain.
    WhatIf(Vec<shardlab_engine::analysis::WhatIf>),
    /// Points of a sweep.
    Swept(Vec<SweepPoint>),
    /// A comparison is finished.
    Compared(Box<Comparison>),
    /// It ended with an error.
    Failed(String),
    /// It ended.
    Done,
}

/// Time between checkpoints: on slow devices reading all weights back takes as long as some steps.
const CHECKPOINTS_APART: Duration = Duration::from_secs(10);

/// What a run can go on from: how many steps were trained, and a safetensors file.
pub type Checkpoint = (u32, Arc<Vec<u8>>);

/// What is trained, and how.
#[derive(Clone, Debug)]
pub struct Training {
    /// The scenario.
    pub scenario: Scenario,
    /// On which kind of device.
    pub kind: BackendKind,
    /// Until so many steps were trained.
    pub steps: u32,
    /// What is known of kernels.
    pub tuning: Tuning,
    /// Whether unknown ones are measured.
    pub tune: bool,
    /// Where it begins.
    pub from: Start,
    /// As what it is kept for the next visit, if it is.
    pub keep: Option<Box<ScenarioFile>>,
}

/// Where a run begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// With new weights.
    Anew,
    /// At a checkpoint.
    At(Checkpoint),
    /// At the one of an earlier visit.
    Kept,
}

/// A job that runs.
#[derive(Debug)]
pub struct Job {
    messages: flume::Receiver<Message>,
    control: Arc<Control>,
    finished: bool,
}

impl Job {
    /// Looks for a device that runs compute shaders.
    pub fn probe(context: &egui::Context) -> Self {
        Self::start(context, "probe", move |reporter| async move {
            open_or_cpu(&reporter, BackendKind::Wgpu).await?;
            Ok(())
        })
    }

    /// Looks whether a run of an earlier visit is kept.
    pub fn look_for_kept(context: &egui::Context) -> Self {
        Self::start(context, "kept", move |reporter| async move {
            match kept::get().await {
                Ok(Some((run, _))) => reporter.tell(Message::Found(Box::new(run))),
                Ok(None) => {}
                Err(error) => reporter.tell(Message::NotKept(error)),
            }
            Ok(())
        })
    }

    /// Forgets it.
    pub fn forget_kept(context: &egui::Context) -> Self {
        Self::start(context, "forget", move |_| async move {
            kept::forget().await;
            Ok(())
        })
    }

    /// Trains `steps` steps with the fastest known kernels; measures those that are not known if `tune`.
    pub fn train(context: &egui::Context, training: Training) -> Self {
        Self::start(context, "train", move |reporter| async move { train(&reporter, training).await })
    }

    /// Measures a device.
    pub fn bench(context: &egui::Context, kind: BackendKind, sections: Vec<Section>, tuning: Tuning) -> Self {
        Self::start(context, "bench", move |reporter| async move { bench(&reporter, kind, sections, tuning).await })
    }

    /// Searches a space of strategies.
    pub fn search(context: &egui::Context, space: Space, goal: Goal) -> Self {
        Self::start(context, "search", move |reporter| async move {
            let outcome = search(&reporter, &space, goal).await;
            reporter.tell(Message::Searched(Box::new(space), Box::new(outcome)));
            Ok(())
        })
    }

    /// Plays a long run of a scenario whose step takes so long.
    pub fn goodput(context: &egui::Context, scenario: Scenario, step: Nanos) -> Self {
        Self::start(context, "goodput", move |reporter| async move {
            let Some(study) = GoodputStudy::of(&scenario, step) else { return Ok(()) };
            let mut modes = Vec::new();
            for mode in study.modes() {
                if !reporter.go_on().await {
                    return Ok(());
                }
                modes.extend(study.play(mode));
            }
            if let Some(report) = study.finish(modes) {
                reporter.tell(Message::Kept(Box::new(report)));
            }
            Ok(())
        })
    }

    /// Trains with samples that threads read from a folder.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn feed(
        context: &egui::Context,
        scenario: Scenario,
        folder: std::path::PathBuf,
        options: LoadingOptions,
    ) -> Self {
        Self::start(context, "feed", move |reporter| async move {
            let backend = open_or_cpu(&reporter, BackendKind::Wgpu).await?;
            let mut trainer = Trainer::new(&scenario, backend).await?;
            let mut progress = |share: f32| {
                reporter.tell(Message::Progress(share));
                !reporter.control.is_cancelled()
            };
            let report = measure_loading(&scenario, &mut trainer, &folder, options, &mut progress).await?;
            reporter.tell(Message::Fed(Box::new(report)));
            Ok(())
        })
    }

    /// Plays how something large comes to many nodes.
    pub fn transfer(context: &egui::Context, scenario: Scenario) -> Self {
        Self::start(context, "transfer", move |reporter| async move {
            breathe().await;
            let Some(mut study) = TransferStudy::of(&scenario) else { return Ok(()) };
            let mut more = true;
            while more && reporter.go_on().await {
                more = study.advance();
                reporter.tell(Message::Moved(Box::new(study.report().clone())));
            }
            Ok(())
        })
    }

    /// Measures, predicts and executes.
    pub fn compare(context: &egui::Context, scenario: Scenario, kind: BackendKind, steps: u32) -> Self {
        Self::start(context, "compare", move |reporter| async move { compare(&reporter, &scenario, kind, steps).await })
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn start<F>(context: &egui::Context, name: &str, make: impl FnOnce(Reporter) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), ExecError>>,
    {
        let (job, reporter) = Self::channel(context);
        spawn_with(name, move || run(make, reporter));
        job
    }

    #[cfg(target_arch = "wasm32")]
    fn start<F>(context: &egui::Context, name: &str, make: impl FnOnce(Reporter) -> F + 'static) -> Self
    where
        F: Future<Output = Result<(), ExecError>> + 'static,
    {
        let (job, reporter) = Self::channel(context);
        spawn_with(name, move || run(make, reporter));
        job
    }

    fn channel(context: &egui::Context) -> (Self, Reporter) {
        let (send, messages) = flume::unbounded();
        let control = Arc::new(Control::default());
        let reporter = Reporter { send, control: Arc::clone(&control), context: context.clone() };
        (Self { messages, control, finished: false }, reporter)
    }

    /// What it has told since the last call.
    pub fn receive(&mut self) -> Vec<Message> {
        let mut messages: Vec<Message> = self.messages.try_iter().collect();
        let ended = |message: &Message| matches!(message, Message::Done | Message::Failed(_));
        self.finished |= messages.iter().any(ended);
        // A job that ends without a word has panicked.
        if !self.finished && self.messages.is_disconnected() {
            self.finished = true;
            messages.push(Message::Failed(t("job.stopped").to_owned()));
        }
        messages
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        !self.finished
    }

    /// Asks it to stop after the current step.
    pub fn cancel(&self) {
        self.control.cancelled.store(true, Ordering::Relaxed);
    }

    /// Pauses or resumes it.
    pub fn set_paused(&self, paused: bool) {
        self.control.paused.store(paused, Ordering::Relaxed);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.control.paused.load(Ordering::Relaxed)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.control.discarded.store(true, Ordering::Relaxed);
        self.cancel();
    }
}

/// A job's side of the channel.
#[derive(Clone)]
struct Reporter {
    send: flume::Sender<Message>,
    control: Arc<Control>,
    context: egui::Context,
}

impl Reporter {
    fn tell(&self, message: Message) {
        self.send.send(message).ok();
        self.context.request_repaint();
    }

    /// Waits while paused; false when cancelled.
    async fn go_on(&self) -> bool {
        breathe().await;
        while self.control.paused.load(Ordering::Relaxed) && !self.control.is_cancelled() {
            rest().await;
        }
        !self.control.is_cancelled()
    }
}

/// A short rest in a pause.
#[cfg(not(target_arch = "wasm32"))]
async fn rest() {
    std::thread::sleep(Duration::from_millis(50));
}

/// A short rest in a pause.
#[cfg(target_arch = "wasm32")]
async fn rest() {
    breathe().await;
}

async fn run<F>(make: impl FnOnce(Reporter) -> F, reporter: Reporter)
where
    F: Future<Output = Result<(), ExecError>>,
{
    let outcome = make(reporter.clone()).await;
    reporter.tell(match outcome {
        Ok(()) | Err(ExecError::Cancelled) => Message::Done,
        Err(error) => Message::Failed(error.to_string()),
    });
}

/// Opens the backend, or the CPU where there is no GPU, and says so.
async fn open_or_cpu(reporter: &Reporter, kind: BackendKind) -> Result<Backend, ExecError> {
    let (backend, note) = match open(kind).await {
        Ok(backend) => (backend, None),
        Err(error) if kind == BackendKind::Wgpu => (open(BackendKind::Cpu).await?, Some(error.to_string())),
        Err(error) => return Err(error),
    };
    reporter.tell(Message::Opened(backend.info().clone(), note));
    Ok(backend)
}

/// The same with ranks where the scenario wants them. What goes wrong with workers is told, not worked around.
#[cfg(not(target_arch = "wasm32"))]
async fn open_for(reporter: &Reporter, scenario: &Scenario, kind: BackendKind) -> Result<Backend, ExecError> {
    let (placement, ranks) = (scenario.run().placement, scenario.mesh().ranks());
    if placement.workers(ranks) == 1 {
        return open_or_cpu(reporter, kind).await;
    }
    let backend = open_placed(kind, placement, ranks, &Launcher::this_program()?).await?;
    reporter.tell(Message::Opened(backend.info().clone(), None));
    Ok(backend)
}

/// In a page all ranks are on one device.
#[cfg(target_arch = "wasm32")]
async fn open_for(reporter: &Reporter, _: &Scenario, kind: BackendKind) -> Result<Backend, ExecError> {
    open_or_cpu(reporter, kind).await
}

async fn bench(
    reporter: &Reporter,
    kind: BackendKind,
    sections: Vec<Section>,
    mut tuning: Tuning,
) -> Result<(), ExecError> {
    let backend = open_or_cpu(reporter, kind).await?;
    let mut progress = |what: &str, share: f32| {
        reporter.tell(Message::Measuring(what.to_owned(), share));
        !reporter.control.is_cancelled()
    };
    let options = BenchOptions { sections, ..BenchOptions::default() };
    let measured = shardlab_engine::exec::bench(backend, &options, &mut tuning, &mut progress).await;
    // What was found of kernels stays, also where it was stopped.
    reporter.tell(Message::Tuned(Box::new(tuning)));
    reporter.tell(Message::Benched(Box::new(measured?.0)));
    Ok(())
}

async fn train(reporter: &Reporter, training: Training) -> Result<(), ExecError> {
    let Training { scenario, kind, steps, mut tuning, tune, from, keep } = training;
    let graph = shardlab_engine::exec::executable_graph(&scenario)?;
    let backend = open_for(reporter, &scenario, kind).await?;
    let mut trainer = Trainer::of_graph(&scenario, graph, backend).await?;
    let mut progress = |done: usize, all: usize| {
        reporter.tell(Message::Measuring("tune".to_owned(), done as f32 / all.max(1) as f32));
        !reporter.control.is_cancelled()
    };
    trainer.tune(&mut tuning, tune, &mut progress).await?;
    reporter.tell(Message::Tuned(Box::new(tuning)));
    let trained = match &from {
        Start::At((_, bytes)) => trainer.resume(bytes).await?,
        Start::Kept => {
            let gone = || ExecError::Checkpoint("it is no longer there".to_owned());
            let (_, bytes) = kept::get().await.map_err(ExecError::Checkpoint)?.ok_or_else(gone)?;
            trainer.resume(&bytes).await?
        }
        Start::Anew => 0,
    };
    if let Some(otherwise) = trainer.goes_on_otherwise() {
        reporter.tell(Message::Otherwise(otherwise));
    }
    let keep = keep.map(|file| KeptRun { name: scenario.name().to_owned(), steps: 0, bytes: 0, file: *file });
    let (mut saved, mut unsaved) = (Instant::now(), false);
    for _ in trained..steps {
        if !reporter.go_on().await {
            break;
        }
        let result = trainer.step().await?;
        reporter.tell(Message::Step(Box::new(result)));
        unsaved = true;
        if saved.elapsed() > CHECKPOINTS_APART {
            save(reporter, &mut trainer, keep.as_ref()).await?;
            (saved, unsaved) = (Instant::now(), false);
        }
    }
    if unsaved && !reporter.control.discarded.load(Ordering::Relaxed) {
        save(reporter, &mut trainer, keep.as_ref()).await?;
    }
    Ok(())
}

/// Hands over what the run goes on from, and keeps it for the next visit.
async fn save(reporter: &Reporter, trainer: &mut Trainer, keep: Option<&KeptRun>) -> Result<(), ExecError> {
    let made = std::cell::RefCell::new(None);
    let stored = trainer.store(CheckpointForm::default(), |packed| {
        let made = &made;
        async move {
            let Some(bytes) = packed.files.into_iter().next() else { return Ok(()) };
            if let Some(run) = keep {
                let run = KeptRun { steps: packed.index.steps, bytes: bytes.len() as u64, ..run.clone() };
                // A full storage is no reason to stop the run.
                if let Err(error) = kept::put(&run, &bytes).await {
                    reporter.tell(Message::NotKept(error));
                }
            }
            made.replace(Some(bytes));
            Ok(())
        }
    });
    let stored = stored.await?;
    if let Some(bytes) = made.into_inner() {
        reporter.tell(Message::Checkpoint((stored.steps, Arc::new(bytes)), stored));
    }
    Ok(())
}

async fn compare(reporter: &Reporter, scenario: &Scenario, kind: BackendKind, steps: u32) -> Result<(), ExecError> {
    let backend = open_or_cpu(reporter, kind).await?;
    let mut progress = |done: f32| {
        reporter.tell(Message::Progress(done));
        !reporter.control.is_cancelled()
    };
    let comparison = predict_and_execute(scenario, backend, steps, &mut progress).await?;
    reporter.tell(Message::Compared(Box::new(comparison)));
    Ok(())
}

/// Searches on all cores until the end, or until it is stopped.
#[cfg(not(target_arch = "wasm32"))]
async fn search(reporter: &Reporter, space: &Space, goal: Goal) -> Outcome {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    find(space, &Options { goal, workers, ..Options::default() }, Saved::default(), &|progress| {
        reporter.tell(Message::Searching(progress));
        !reporter.control.is_cancelled()
    })
}

/// Searches in slices, so that the page stays alive: each goes on where the one before was stopped.
#[cfg(target_arch = "wasm32")]
async fn search(reporter: &Reporter, space: &Space, goal: Goal) -> Outcome {
    const SLICE: Duration = Duration::from_millis(80);
    let options = Options { goal, ..Options::default() };
    let mut saved = Saved::default();
    loop {
        let (started, known) = (Instant::now(), saved.simulated.len() as u64);
        let outcome = find(space, &options, saved, &|progress| {
            reporter.tell(Message::Searching(progress));
            progress.simulated <= known || started.elapsed() < SLICE
        });
        let stop = !reporter.go_on().await;
        if outcome.complete || stop {
            return outcome;
        }
        saved = outcome.saved;
    }
}
