//! The document: the scenario as it is edited, the last good run of it, the baseline, and the way back.

use std::sync::{Arc, OnceLock};

use shardlab_engine::analysis::{
    HeatRow, NetworkReport, OpClassTime, Reserved, StepReport, Straggler, executed_network, heat_map, network,
    op_classes, reserved, slow_groups, step_report,
};
use shardlab_engine::exec::{PoolForecast, Tuning, forecast};
use shardlab_engine::graph::{StepGraph, lower};
use shardlab_engine::report::PageRun;
use shardlab_engine::scenario::{
    DEFAULT_PRESET, PoolPolicy, Scenario, ScenarioError, ScenarioFile, check, preset_file,
};
use shardlab_engine::sim::{Slack, critical_spans, simulate, slack};
use shardlab_engine::trace::{Origin, Trace};
use web_time::Instant;

use super::i18n::t;
use super::job::{breathe, spawn};
use super::pinned::{MOST_PINNED, Pinned, StoredPin};
use super::timeline::{Drawn, TrackIndex};

/// A scenario, lowered and simulated.
#[derive(Debug)]
pub struct Run {
    /// What was asked for, as it was written.
    pub file: ScenarioFile,
    /// The same, checked.
    pub scenario: Scenario,
    /// What it was lowered to.
    pub step: StepGraph,
    /// What the simulation gave.
    pub trace: Trace,
    /// Its figures.
    pub report: StepReport,
    /// Spans by track.
    pub index: TrackIndex,
    /// Seconds that lowering and simulating took.
    pub seconds: f64,
    /// Which spans are on the critical path, once a timeline wanted them.
    on_path: OnceLock<Option<Vec<bool>>>,
    /// The critical path, once it was asked for.
    critical: OnceLock<Vec<Slack>>,
    /// What a caching allocator reserves on the fullest stage, once it was asked for.
    reserved: OnceLock<Reserved>,
    /// Groups of ranks that hold others up, once they were asked for.
    slow: OnceLock<Vec<Straggler>>,
    /// Time by class of op, once it was asked for.
    classes: OnceLock<Vec<OpClassTime>>,
    /// Ranks over time, once they were asked for.
    heat: OnceLock<Vec<HeatRow>>,
    /// What it sends where, once it was asked for.
    network: OnceLock<NetworkReport>,
    /// What each policy of handing out memory would do, once it was asked for.
    pools: OnceLock<Result<Vec<PoolForecast>, String>>,
}

impl Run {
    /// As a report knows it.
    pub fn page(&self) -> PageRun<'_> {
        let Self { file, scenario, step, trace, report, .. } = self;
        PageRun { file, scenario, step, trace, report }
    }

    /// Its trace as it is drawn.
    pub fn drawn(&self) -> Drawn<'_> {
        Drawn { trace: &self.trace, index: &self.index, groups: &[], critical: None }
    }

    /// The same with its critical path, which is found when it is first asked for; only a modelled step has one.
    pub fn drawn_with_path(&self) -> Drawn<'_> {
        let find = || critical_spans(&self.step, &self.scenario, &self.trace);
        let is_modelled = self.trace.origin == Origin::Modelled;
        let critical = is_modelled.then(|| self.on_path.get_or_init(find).as_deref()).flatten();
        Drawn { critical, ..self.drawn() }
    }

    /// What the critical path consists of, and what other ops have to spare; found when it is first asked for.
    pub fn critical_path(&self) -> &[Slack] {
        self.critical.get_or_init(|| slack(&self.step, &self.scenario))
    }

    /// What a caching allocator reserves on the stage that needs the most; found when it is first asked for.
    pub fn reserved(&self) -> Reserved {
        *self.reserved.get_or_init(|| reserved(&self.step, self.report.fit.stage))
    }

    /// Groups of ranks that hold others of their stage up; found when it is first asked for.
    pub fn slow_groups(&self) -> &[Straggler] {
        self.slow.get_or_init(|| slow_groups(&self.trace, SLOWER))
    }

    /// Time by class of op on the stage that the step waits for; found when it is first asked for.
    pub fn classes(&self) -> &[OpClassTime] {
        self.classes.get_or_init(|| op_classes(&self.trace, self.critical_group()))
    }

    /// The first group of ranks of the stage that the step waits for.
    fn critical_group(&self) -> u32 {
        self.trace.group_of_stage(self.report.critical_stage).unwrap_or(0)
    }

    /// Ranks over time; found when it is first asked for.
    pub fn heat(&self) -> &[HeatRow] {
        self.heat.get_or_init(|| heat_map(&self.trace, HEAT_PARTS))
    }

    /// What the step sends where; found when it is first asked for.
    pub fn network(&self) -> &NetworkReport {
        let find = || match self.trace.origin {
            Origin::Executed => executed_network(&self.trace, self.critical_group()),
            _ => network(&self.step, &self.scenario, &self.trace, self.critical_group()),
        };
        self.network.get_or_init(find)
    }

    /// What each policy of handing out memory would do, or why a budget is too small; found when it is first asked for.
    pub fn pools(&self) -> &Result<Vec<PoolForecast>, String> {
        let budget = match self.scenario.run().pool {
            PoolPolicy::Paging { budget } => budget,
            _ => None,
        };
        self.pools.get_or_init(|| forecast(&self.step, budget).map_err(|error| error.to_string()))
    }

    /// Checks, lowers and simulates a scenario.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn new(file: ScenarioFile) -> Result<Self, ScenarioError> {
        let scenario = check(&file)?;
        let begin = Instant::now();
        let step = lower(&scenario);
        let trace = simulate(&step, &scenario);
        let report = step_report(&step, &scenario, &trace);
        let seconds = begin.elapsed().as_secs_f64();
        Ok(Self { file, seconds, ..Self::assembled(scenario, step, trace, report) })
    }

    /// As [`Run::new`], of what was checked, with room to paint between the stages of the work; `None` once `wanted` says
    /// no: a newer edit is there.
    async fn in_background(file: ScenarioFile, scenario: Scenario, wanted: impl Fn() -> bool) -> Option<Self> {
        let begin = Instant::now();
        breathe().await;
        let step = wanted().then(|| lower(&scenario))?;
        breathe().await;
        let trace = wanted().then(|| simulate(&step, &scenario))?;
        breathe().await;
        let report = wanted().then(|| step_report(&step, &scenario, &trace))?;
        let seconds = begin.elapsed().as_secs_f64();
        Some(Self { file, seconds, ..Self::assembled(scenario, step, trace, report) })
    }

    /// The same around a trace that came from elsewhere: an execution.
    pub fn of_trace(file: ScenarioFile, scenario: Scenario, trace: Trace) -> Self {
        let step = lower(&scenario);
        let report = step_report(&step, &scenario, &trace);
        Self { file, ..Self::assembled(scenario, step, trace, report) }
    }

    /// All that belongs to a trace, with nothing found yet that is found when it is asked for.
    fn assembled(scenario: Scenario, step: StepGraph, trace: Trace, report: StepReport) -> Self {
        let index = TrackIndex::new(&trace);
        let (critical, reserved, pools) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let (on_path, slow) = (OnceLock::new(), OnceLock::new());
        let (heat, network, classes) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let (file, seconds) = (ScenarioFile::default(), 0.0);
        Self {
            file,
            scenario,
            step,
            trace,
            report,
            index,
            seconds,
            on_path,
            critical,
            reserved,
            slow,
            classes,
            heat,
            network,
            pools,
        }
    }
}

/// The least by which a group of ranks is slower than the median of its stage to be named.
const SLOWER: f64 = 0.02;
/// Parts of the step in a heat map.
const HEAT_PARTS: usize = 240;
/// Seconds within which changes count as one edit.
const ONE_EDIT: f64 = 0.6;
/// Edits that can be undone.
const HISTORY: usize = 100;

/// What a run is pinned from.
#[derive(Clone, Debug)]
pub enum PinSource {
    /// It is simulated.
    Scenario(Box<ScenarioFile>),
    /// It was executed or imported, and kept.
    Stored(StoredPin),
    /// Another version wrote it.
    Unknown(String),
}

/// A run that is about to be pinned.
#[derive(Debug)]
struct Pinning {
    source: PinSource,
    receive: flume::Receiver<Result<Pinned, String>>,
}

/// The document.
#[derive(Debug)]
pub struct Session {
    /// The scenario as edited; may be invalid.
    pub file: ScenarioFile,
    /// The preset it came from.
    pub preset: Option<&'static str>,
    /// What is wrong with it, if anything. The last good run stays.
    pub error: Option<ScenarioError>,
    /// The last good run.
    pub run: Arc<Run>,
    /// The last executed step that somebody wanted to look at.
    pub executed: Option<Arc<Run>>,
    /// The device on which it was executed.
    pub executed_on: Option<String>,
    /// Whether the views show it instead of the simulated run.
    pub show_executed: bool,
    /// Runs that are compared; the first is the baseline.
    pub pinned: Vec<Arc<Pinned>>,
    /// Runs that are about to be pinned, in the order in which they were asked for.
    pinning: Vec<Pinning>,
    /// What was pinned on an earlier visit and cannot be read by this version, or not now: kept, so that the next may.
    unread: Vec<PinSource>,
    /// Whether pinned runs are kept for the next visit; not where nothing else is, as in tests.
    pub keeps: bool,
    /// Why some are not.
    told: (flume::Sender<String>, flume::Receiver<String>),
    /// Why something that was asked for was not done.
    pub refusals: Vec<String>,
    /// What was measured of the ways to compute kernels, on the devices of this machine.
    pub tuning: Tuning,
    /// Files that views want to save: name and text.
    pub saves: Vec<(String, Vec<u8>)>,
    /// Whether a view wants a file to be picked and opened.
    pub wants_file: bool,
    past: Vec<ScenarioFile>,
    future: Vec<ScenarioFile>,
    /// Seconds of the interface's clock at the last edit.
    edited: f64,
    /// The scenario that was checked last.
    checked: ScenarioFile,
    pending: Option<flume::Receiver<Run>>,
}

impl Session {
    /// Asks the person where to keep something.
    pub fn save(&mut self, name: String, content: impl Into<Vec<u8>>) {
        self.saves.push((name, content.into()));
    }

    /// The default scenario, already simulated: the first thing to see is a finished run.
    ///
    /// # Errors
    /// When the default preset is not valid; a test excludes it.
    pub fn new() -> Result<Self, ScenarioError> {
        let file = preset_file(DEFAULT_PRESET)?;
        let run = Arc::new(Run::new(file.clone())?);
        Ok(Self {
            checked: file.clone(),
            file,
            preset: Some(DEFAULT_PRESET),
            error: None,
            run,
            executed: None,
            executed_on: None,
            show_executed: false,
            pinned: Vec::new(),
            pinning: Vec::new(),
            unread: Vec::new(),
            keeps: false,
            told: flume::unbounded(),
            refusals: Vec::new(),
            tuning: Tuning::default(),
            saves: Vec::new(),
            wants_file: false,
            past: Vec::new(),
            future: Vec::new(),
            edited: f64::NEG_INFINITY,
            pending: None,
        })
    }

    /// Replaces the scenario.
    pub fn load(&mut self, file: ScenarioFile, preset: Option<&'static str>) {
        self.file = file;
        self.preset = preset;
        self.edited = f64::NEG_INFINITY;
    }

    /// Loads a preset.
    pub fn load_preset(&mut self, name: &'static str) {
        match preset_file(name) {
            Ok(file) => self.load(file, Some(name)),
            Err(error) => self.error = Some(error),
        }
    }

    /// Checks what was edited and simulates it in the background; call it every frame. True when a new run is there.
    pub fn update(&mut self, context: &egui::Context) -> bool {
        if self.file != self.checked {
            self.remember(context.input(|input| input.time));
            self.check(context);
        }
        self.receive()
    }

    /// Keeps what was before an edit. Dragging a number is many edits in a row, and goes back as one.
    fn remember(&mut self, now: f64) {
        let before = std::mem::replace(&mut self.checked, self.file.clone());
        if now - self.edited > ONE_EDIT {
            self.past.push(before);
            let surplus = self.past.len().saturating_sub(HISTORY);
            self.past.drain(..surplus);
        }
        self.edited = now;
        self.future.clear();
    }

    fn check(&mut self, context: &egui::Context) {
        match check(&self.file) {
            Ok(scenario) => {
                self.error = None;
                self.start(scenario, context);
            }
            Err(error) => {
                self.error = Some(error);
                self.pending = None;
            }
        }
    }

    /// Starts a simulation; the receiver of an older one is dropped, so the latest wins.
    fn start(&mut self, scenario: Scenario, context: &egui::Context) {
        let (send, receive) = flume::bounded(1);
        let (context, file) = (context.clone(), self.file.clone());
        self.pending = Some(receive);
        spawn("simulate", async move {
            if let Some(run) = Run::in_background(file, scenario, || !send.is_disconnected()).await {
                send.send(run).ok();
                context.request_repaint();
            }
        });
    }

    /// The step with which the one on screen is compared: the first that is pinned, unless that is this one, or one of another
    /// origin, since what is executed here says nothing about a cluster. Compare sets these beside each other.
    pub fn baseline(&self) -> Option<&Arc<Run>> {
        let (run, shown) = (self.pinned.first()?.run()?, self.shown());
        (!Arc::ptr_eq(run, shown) && run.trace.origin == shown.trace.origin).then_some(run)
    }

    /// Whether no more runs can be pinned.
    pub fn is_full(&self) -> bool {
        self.pinned.len() + self.pinning.len() >= MOST_PINNED
    }

    /// Whether another run can be pinned; where not, somebody is told.
    fn has_room(&mut self) -> bool {
        if self.is_full() {
            self.refusals.push(t("compare.full").to_owned());
        }
        !self.is_full()
    }

    /// Forgets all that is pinned, and what is about to be.
    pub fn unpin(&mut self) {
        self.pinned.clear();
        self.pinning.clear();
        self.unread.clear();
    }

    /// What is pinned or about to be, the baseline first, as the next visit finds it.
    pub fn pinned_sources(&self) -> impl Iterator<Item = PinSource> {
        let source = |pinned: &Arc<Pinned>| match pinned.modelled_file() {
            Some(file) => Some(PinSource::Scenario(Box::new(file.clone()))),
            None => pinned.stored().map(PinSource::Stored),
        };
        let done = self.pinned.iter().filter_map(source);
        done.chain(self.pinning.iter().map(|pinning| pinning.source.clone())).chain(self.unread.iter().cloned())
    }

    /// Keeps a run behind the others, unless there are enough.
    pub fn pin(&mut self, run: Pinned) {
        if self.has_room() {
            self.add_pinned(run);
        }
    }

    /// Runs of one name are told apart by a number.
    fn add_pinned(&mut self, mut run: Pinned) {
        let name = run.name.clone();
        let is_taken = |name: &str| self.pinned.iter().any(|pinned| pinned.name == name);
        let numbered = (2..).map(|number| format!("{name} #{number}")).find(|name| !is_taken(name));
        if is_taken(&name) {
            run.name = numbered.unwrap_or(name);
        }
        self.keep(&mut run);
        self.pinned.push(Arc::new(run));
    }

    /// Keeps a run for the next visit.
    fn keep(&self, run: &mut Pinned) {
        if self.keeps && !run.has_place() {
            run.keep(self.told.0.clone());
        }
    }

    /// Makes what is on screen the baseline; the variants stay.
    pub fn pin_baseline(&mut self) {
        self.pin_as_baseline(Pinned::of_run(Arc::clone(self.shown())));
    }

    /// Makes a run the baseline; the variants stay.
    pub fn pin_as_baseline(&mut self, mut baseline: Pinned) {
        self.keep(&mut baseline);
        let baseline = Arc::new(baseline);
        match self.pinned.first_mut() {
            Some(first) => *first = baseline,
            None => self.pinned.push(baseline),
        }
    }

    /// Keeps what is on screen.
    pub fn pin_shown(&mut self) {
        self.pin(Pinned::of_run(Arc::clone(self.shown())));
    }

    /// Simulates a scenario of an earlier visit in the background, or reads a run of one, and keeps it.
    pub fn pin_kept(&mut self, source: PinSource, context: &egui::Context) {
        if self.is_full() {
            return self.unread.push(source);
        }
        match source {
            PinSource::Scenario(file) => match check(&file) {
                Ok(scenario) => self.start_pinned(*file, scenario, context),
                Err(error) => {
                    self.refusals.push(format!("{}: {error}", t("settings.not_restored")));
                    self.unread.push(PinSource::Scenario(file));
                }
            },
            PinSource::Unknown(_) => {
                self.refusals.push(t("settings.not_restored").to_owned());
                self.unread.push(source);
            }
            PinSource::Stored(stored) => self.start_reading(stored, context),
        }
    }

    /// Simulates a scenario in the background and keeps it; the baseline is what is on screen, where there is none yet.
    pub fn pin_file(&mut self, file: ScenarioFile, context: &egui::Context) {
        let scenario = match check(&file) {
            Ok(scenario) => scenario,
            Err(error) => return self.refusals.push(error.to_string()),
        };
        if self.pinned.is_empty() {
            self.pin_baseline();
        }
        if self.has_room() {
            self.start_pinned(file, scenario, context);
        }
    }

    fn start_pinned(&mut self, file: ScenarioFile, scenario: Scenario, context: &egui::Context) {
        let (send, context) = (self.wait_for(PinSource::Scenario(Box::new(file.clone()))), context.clone());
        spawn("pin", async move {
            if let Some(run) = Run::in_background(file, scenario, || !send.is_disconnected()).await {
                send.send(Ok(Pinned::of_run(Arc::new(run)))).ok();
                context.request_repaint();
            }
        });
    }

    fn start_reading(&mut self, stored: StoredPin, context: &egui::Context) {
        let (send, context) = (self.wait_for(PinSource::Stored(stored.clone())), context.clone());
        spawn("pin", async move {
            send.send(Pinned::read(stored).await).ok();
            context.request_repaint();
        });
    }

    /// A place behind those that are about to be pinned.
    fn wait_for(&mut self, source: PinSource) -> flume::Sender<Result<Pinned, String>> {
        let (send, receive) = flume::bounded(1);
        self.pinning.push(Pinning { source, receive });
        send
    }

    /// Takes what was simulated to be pinned.
    fn receive_pinned(&mut self) {
        // In the order in which they were asked for, whichever is ready first.
        while let Some(next) = self.pinning.first() {
            let received = next.receive.try_recv();
            if matches!(received, Err(flume::TryRecvError::Empty)) {
                return;
            }
            let pinning = self.pinning.remove(0);
            match received {
                Ok(Ok(pinned)) => self.add_pinned(pinned),
                Ok(Err(error)) => {
                    self.refusals.push(error);
                    self.unread.push(pinning.source);
                }
                Err(_) => {}
            }
        }
    }

    fn receive(&mut self) -> bool {
        self.receive_pinned();
        self.refusals.extend(self.told.1.try_iter());
        let Some(run) = self.pending.as_ref().and_then(|receive| receive.try_recv().ok()) else { return false };
        self.run = Arc::new(run);
        self.pending = None;
        self.show_executed = false;
        true
    }

    /// What the views show: the simulated run, or the executed step.
    pub fn shown(&self) -> &Arc<Run> {
        self.executed.as_ref().filter(|_| self.show_executed).unwrap_or(&self.run)
    }

    /// Whether a simulation is under way.
    pub fn is_busy(&self) -> bool {
        self.pending.is_some()
    }

    /// Goes back one edit.
    pub fn undo(&mut self, context: &egui::Context) {
        if let Some(file) = self.past.pop() {
            self.future.push(self.checked.clone());
            self.restore(file, context);
        }
    }

    /// Goes forward again.
    pub fn redo(&mut self, context: &egui::Context) {
        if let Some(file) = self.future.pop() {
            self.past.push(self.checked.clone());
            self.restore(file, context);
        }
    }

    fn restore(&mut self, file: ScenarioFile, context: &egui::Context) {
        self.file = file.clone();
        self.checked = file;
        self.edited = f64::NEG_INFINITY;
        self.check(context);
    }

    /// The path in the file that the error names, and the message.
    pub fn error_at(&self) -> Option<(String, String)> {
        let error = self.error.as_ref()?;
        let path = match error {
            ScenarioError::Invalid { path, .. } => (*path).to_owned(),
            ScenarioError::WrongType { path, .. } | ScenarioError::UnknownKey { path, .. } => path.clone(),
            _ => String::new(),
        };
        Some((path, error.to_string()))
    }
}
