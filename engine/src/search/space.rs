//! The fields that vary, and their combinations by number.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Model;
use crate::scenario::{Opened, Scenario, ScenarioError, ScenarioFile, ScheduleName, StrategyFile, open};

/// A field and the values that it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// Its path, for example `strategy.tensor_parallel`.
    pub path: String,
    /// Its values.
    pub values: Vec<Value>,
}

/// Why a space cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// A field has no value.
    #[error("`{0}` has no values; expected at least one, for example strategy.tensor_parallel=1,2,4")]
    NoValues(String),
    /// A field is named twice.
    #[error("`{0}` is given twice; give all of its values at once")]
    Twice(String),
    /// A path leads nowhere.
    #[error("`{0}` is no field of a scenario; expected a path such as strategy.tensor_parallel (`shardlab schema`)")]
    NoField(String),
    /// There are more combinations than can be numbered.
    #[error("the space has more than {0} combinations; give fewer values")]
    TooMany(u64),
    /// A value is not allowed there, or the scenario itself is not valid.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

/// Combinations, at most.
const MOST: u64 = 1 << 32;

type Copy = fn(&StrategyFile, &mut StrategyFile);

macro_rules! strategy_fields {
    ($($field:ident)*) => {
        /// The fields of a strategy that can vary, with how each is taken over.
        const FIELDS: &[(&str, Copy)] = &[
            $((stringify!($field), |from, to| to.$field.clone_from(&from.$field))),*
        ];
    };
}

strategy_fields! {
    data_parallel tensor_parallel sequence_parallel keep_gathered tensor_chunks rank_order context_parallel context_method expert_parallel
    expert_tensor_parallel capacity_factor expert_dispatch pipeline_parallel schedule overlap_micro_batches virtual_stages custom_schedule chunk_layout
    stage_layers micro_batch global_batch precision gradient_format optimizer attention kernels recompute recompute_budget recompute_modules recompute_interval
    cuda_graphs overlap_gradients bucket offload_optimizer offload_parameters offload_activations compress_activations update staleness sync_interval gradient_compression compression_share compression_rank zero_stage sharding_group overlap_parameters prefetch reshard_after_forward
}

/// A field of the strategy with a file for each of its values.
#[derive(Clone, Debug)]
struct Inner {
    copy: Copy,
    files: Vec<StrategyFile>,
}

/// All combinations of the values of some fields of a scenario.
#[derive(Clone, Debug)]
pub struct Space {
    /// The fields.
    pub axes: Vec<Axis>,
    /// The scenario for every combination of fields outside the strategy.
    bases: Vec<ScenarioFile>,
    inner: Vec<Inner>,
    inner_count: u64,
}

impl Space {
    /// The space around `file` in which `axes` vary.
    ///
    /// Where the mesh varies, replicas, sharding group and layers of stages follow it, unless they vary themselves.
    ///
    /// # Errors
    /// When a path is no field, a value is of another type, or there are too many combinations.
    pub fn new(file: &ScenarioFile, axes: Vec<Axis>) -> Result<Self, SpaceError> {
        let mut base = file.clone();
        follow(&mut base.strategy, &axes);
        for (index, axis) in axes.iter().enumerate() {
            if axis.values.is_empty() {
                return Err(SpaceError::NoValues(axis.path.clone()));
            }
            if axes[..index].iter().any(|other| other.path == axis.path) {
                return Err(SpaceError::Twice(axis.path.clone()));
            }
        }
        let count = axes.iter().try_fold(1_u64, |n, axis| n.checked_mul(axis.values.len() as u64));
        if count.is_none_or(|count| count > MOST) {
            return Err(SpaceError::TooMany(MOST));
        }
        let (mut bases, mut inner) = (vec![base.clone()], Vec::new());
        for axis in &axes {
            let files = axis.values.iter().map(|value| with(&base, &axis.path, value));
            let files = files.collect::<Result<Vec<_>, _>>()?;
            match strategy_field(&axis.path) {
                Some(copy) => inner.push(Inner { copy, files: files.into_iter().map(|file| file.strategy).collect() }),
                None => bases = vary(&bases, axis)?,
            }
        }
        let inner_count = inner.iter().map(|axis| axis.files.len() as u64).product();
        Ok(Self { axes, bases, inner, inner_count })
    }

    /// Number of combinations.
    pub fn len(&self) -> u64 {
        self.bases.len() as u64 * self.inner_count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The scenario with number `index`.
    pub fn file(&self, index: u64) -> ScenarioFile {
        let mut file = self.bases[self.base_of(index)].clone();
        self.set_strategy(index, &mut file.strategy);
        file
    }

    /// The value of every axis, in their order.
    pub fn values(&self, index: u64) -> Vec<&Value> {
        let place = |rest: &mut u64, axis: &Axis| {
            let n = axis.values.len() as u64;
            let value = usize::try_from(*rest % n).unwrap_or(0);
            *rest /= n;
            value
        };
        // Fields of the strategy count fastest, the last of them first; then the others likewise.
        let (mut inner, mut outer) = (index % self.inner_count.max(1), index / self.inner_count.max(1));
        let mut values: Vec<&Value> = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            let rest = if strategy_field(&axis.path).is_some() { &mut inner } else { &mut outer };
            values.push(&axis.values[place(rest, axis)]);
        }
        values.reverse();
        values
    }

    /// The scenarios that fields outside the strategy make.
    pub(super) fn bases(&self) -> &[ScenarioFile] {
        &self.bases
    }

    /// Which of them a combination belongs to.
    pub(super) fn base_of(&self, index: u64) -> usize {
        usize::try_from(index / self.inner_count.max(1)).unwrap_or(usize::MAX)
    }

    /// Sets all fields of the strategy that vary.
    pub(super) fn set_strategy(&self, index: u64, strategy: &mut StrategyFile) {
        let mut rest = index % self.inner_count.max(1);
        for axis in self.inner.iter().rev() {
            let n = axis.files.len() as u64;
            (axis.copy)(&axis.files[usize::try_from(rest % n).unwrap_or(0)], strategy);
            rest /= n;
        }
    }
}

fn strategy_field(path: &str) -> Option<Copy> {
    let name = path.strip_prefix("strategy.")?;
    FIELDS.iter().find(|(field, _)| *field == name).map(|(_, copy)| *copy)
}

/// Forgets what would contradict a mesh that varies.
fn follow(strategy: &mut StrategyFile, axes: &[Axis]) {
    let varies = |name: &str| axes.iter().any(|axis| axis.path == name);
    let axes_of_mesh = ["tensor_parallel", "context_parallel", "pipeline_parallel"];
    let mesh = axes_of_mesh.iter().any(|name| varies(&format!("strategy.{name}")));
    if mesh || varies("cluster.nodes") {
        follow_mesh(strategy);
    }
    if mesh || varies("strategy.virtual_stages") || varies("strategy.schedule") || varies("model.layers") {
        strategy.stage_layers.clear();
    }
}

/// Replicas and their groups follow the mesh.
pub(super) fn follow_mesh(strategy: &mut StrategyFile) {
    strategy.data_parallel = None;
    strategy.sharding_group = None;
}

/// Every base with every value of an axis.
fn vary(bases: &[ScenarioFile], axis: &Axis) -> Result<Vec<ScenarioFile>, SpaceError> {
    let pairs = bases.iter().flat_map(|base| axis.values.iter().map(move |value| (base, value)));
    pairs.map(|(base, value)| with(base, &axis.path, value)).collect()
}

/// The file with another value at `path`, read as if it had been written so.
pub(super) fn with(file: &ScenarioFile, path: &str, value: &Value) -> Result<ScenarioFile, SpaceError> {
    let mut document = serde_json::to_value(file).unwrap_or_default();
    let mut place = &mut document;
    for key in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = &mut place[key];
    }
    *place = value.clone();
    match open(document.to_string().as_bytes()) {
        Ok(Opened::Scenario(file)) => Ok(*file),
        Ok(Opened::Model(_) | Opened::Settings(_)) => Err(SpaceError::NoField(path.to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// The space that people search first: the mesh, the micro-batch, the schedule, recomputation and sharding. What the
/// scenario has now is in it, so that the best is never worse.
pub fn default_space(scenario: &Scenario) -> Vec<Axis> {
    let (model, cluster, s) = (scenario.model(), scenario.cluster(), scenario.strategy());
    let axis = |path: &str, values: Vec<Value>| Axis { path: format!("strategy.{path}"), values };
    let up_to = |most: u32| -> Vec<u32> { (0..12).map(|power| 1 << power).filter(|&n| n <= most).collect() };
    let numbers = |path: &str, mut list: Vec<u32>, now: u32| {
        list.push(now);
        list.sort_unstable();
        list.dedup();
        axis(path, list.into_iter().map(Value::from).collect())
    };
    let names = |path: &str, list: &[&str], now: &str| {
        let more = (!list.contains(&now)).then_some(now);
        axis(path, list.iter().copied().chain(more).map(Value::from).collect())
    };
    let slices = up_to(cluster.devices_per_node).into_iter().filter(|n| model.kv_heads.is_multiple_of(*n)).collect();
    let stages = up_to(model.layers.min(cluster.devices()).min(64));
    // An order of one's own holds for one pipeline only.
    let schedule = Some(s.schedule.name()).filter(|name| *name != ScheduleName::Custom).unwrap_or_default();
    let mut axes = vec![
        numbers("tensor_parallel", slices, s.tensor_parallel),
        axis("sequence_parallel", vec![false.into(), true.into()]),
        numbers("pipeline_parallel", stages, s.pipeline_parallel),
        names("schedule", &["1f1b", "interleaved", "zb-h1"], schedule.name()),
        numbers("virtual_stages", vec![1, 2, 4], s.virtual_stages),
        numbers("micro_batch", vec![1, 2, 4, 8], s.micro_batch),
        names("recompute", &["none", "selective", "full"], s.recompute.name()),
        numbers("zero_stage", vec![0, 1, 2, 3], s.zero as u32),
    ];
    if scenario.data().sequence_length >= LONG || s.context_parallel > 1 {
        axes.push(numbers("context_parallel", up_to(16), s.context_parallel));
    }
    axes.extend(expert_axis(model, cluster.devices(), axis));
    axes
}

/// Sequences from this length on are worth sharing among ranks.
const LONG: u32 = 16_384;

fn expert_axis(model: &Model, devices: u32, axis: impl Fn(&str, Vec<Value>) -> Axis) -> Option<Axis> {
    let mixture = model.mixture?;
    let divisors = (1..=mixture.experts.min(devices)).filter(|n| mixture.experts.is_multiple_of(*n));
    Some(axis("expert_parallel", divisors.map(Value::from).collect()))
}
