//! Random models under random strategies on up to sixteen ranks give what one rank gives.

use std::collections::{BTreeMap, BTreeSet};

use shardlab_engine::exec::executable_graph;
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::{Opened, Scenario, check, open as open_scenario};

use super::{equals, on_cpu};

/// Scenarios that are executed.
const CASES: usize = 160;

/// Draws at most: what a scenario may not say, or what cannot be executed, is drawn again.
const DRAWS: u64 = 4000;

/// Ranks at most.
const RANKS: u32 = 16;

/// A small deterministic source of choices (Steele et al. 2014, SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.next() % choices.len() as u64).unwrap()]
    }
}

/// What is said of a scenario, table by table; a reference has the same model, data and run.
#[derive(Clone, Debug)]
struct Drawn {
    model: String,
    /// Data, tensor, pipeline and context parallel ranks.
    mesh: [u32; 4],
    settings: Vec<(&'static str, &'static str)>,
    micro_batch: u32,
    sequence: u32,
    seed: u64,
}

impl Drawn {
    fn of(seed: u64) -> Self {
        let mut random = Random(seed);
        let mesh = loop {
            let axis = |random: &mut Random| random.one_of(&[1, 1, 2, 2, 4]);
            let mesh = [(); 4].map(|()| axis(&mut random));
            if (2..=RANKS).contains(&mesh.iter().product()) {
                break mesh;
            }
        };
        let mixture = random.one_of(&[false, false, true]);
        let model = model(&mut random, mesh, mixture);
        let settings = settings(&mut random, mesh, mixture);
        let sequence = 4 * mesh[1].max(2) * mesh[3] * random.one_of(&[1, 2]);
        Self { model, mesh, settings, micro_batch: random.one_of(&[1, 2]), sequence, seed }
    }

    /// The file of it, or of the same on one rank.
    fn text(&self, whole: bool) -> String {
        let [dp, tp, pp, cp] = if whole { [1; 4] } else { self.mesh };
        // How much room experts have decides what is computed.
        let counts = |key: &str| !whole || key == "capacity_factor";
        let settings = self.settings.iter().filter(|(key, _)| counts(key));
        let settings: String = settings.map(|(key, value)| format!("{key} = {value}\n")).collect();
        format!(
            "[model]\n{}\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 2\n[strategy]\ndata_parallel = {dp}\n\
             tensor_parallel = {tp}\npipeline_parallel = {pp}\ncontext_parallel = {cp}\nmicro_batch = {}\n\
             global_batch = 16\nprecision = \"fp32\"\nbucket = \"9 kB\"\n{settings}[data]\nsequence_length = {}\n\
             [run]\nseed = {}\ngradient_clip = 0.5\n",
            self.model, self.micro_batch, self.sequence, self.seed
        )
    }

    /// What it says, and the mesh's axes, as they are counted.
    fn said(&self) -> impl Iterator<Item = String> {
        let axes = ["dp", "tp", "pp", "cp"].into_iter().zip(self.mesh).filter(|(_, ranks)| *ranks > 1);
        let axes = axes.map(|(axis, _)| axis.to_owned());
        axes.chain(self.settings.iter().map(|(key, value)| format!("{key} = {value}")))
    }
}

/// A model that the tensor group and the stages can divide; all else is any number.
fn model(random: &mut Random, [_, tp, pp, cp]: [u32; 4], mixture: bool) -> String {
    // All-to-all over a sequence deals out heads.
    let kv_heads = tp * cp * random.one_of(&[1, 2]);
    let heads = kv_heads * random.one_of(&[1, 2, 3]);
    let layers = pp * random.one_of(&[1, 2]) + random.one_of(&[0, 0, 1]);
    let architecture = if mixture { "llama" } else { random.one_of(&["gpt", "llama"]) };
    let experts = if mixture { "experts = 8\nexperts_per_token = 2\nexpert_ffn_hidden = 16\n" } else { "" };
    let shared = if mixture { random.one_of(&["", "shared_experts = 1\n"]) } else { "" };
    let latent = if mixture { random.one_of(&["", "kv_rank = 6\nrope_dim = 4\nvalue_dim = 5\n"]) } else { "" };
    let window = if latent.is_empty() { random.one_of(&["", "", "window = 3\nwindow_interval = 2\n"]) } else { "" };
    let kv = if latent.is_empty() { format!("kv_heads = {kv_heads}\n") } else { String::new() };
    format!(
        "architecture = \"{architecture}\"\nlayers = {layers}\nhidden = {}\nheads = {heads}\n{kv}head_dim = {}\n\
         ffn_hidden = {}\nvocab = {}\npositions = 128\ntied_embeddings = {}\n{experts}{shared}{latent}{window}",
        random.one_of(&[6, 14, 20, 33]),
        random.one_of(&[2, 4, 6]),
        tp * random.one_of(&[5, 8, 13]),
        random.one_of(&[81, 88, 99, 127]),
        random.one_of(&[true, false]),
    )
}

/// Settings of the strategy: each is said or left out.
fn settings(random: &mut Random, [dp, tp, pp, cp]: [u32; 4], mixture: bool) -> Vec<(&'static str, &'static str)> {
    let mut settings = Vec::new();
    let mut say = |key, choices: &[&'static str], applies: bool, random: &mut Random| {
        // It is drawn in any case, so that one setting does not change the next.
        let value = random.one_of(choices);
        if applies && !value.is_empty() {
            settings.push((key, value));
        }
    };
    const ON: &[&str] = &["", "true"];
    const OFF: &[&str] = &["", "false"];
    let schedules = [
        "\"gpipe\"",
        "\"1f1b\"",
        "\"interleaved\"",
        "\"zb-h1\"",
        "\"zb-h2\"",
        "\"zb-v\"",
        "\"dualpipe-v\"",
        "\"dualpipe\"",
    ];
    say("schedule", &schedules, pp > 1, random);
    say("zero_stage", &["", "1", "2", "3"], dp * cp > 1, random);
    say("sharding_group", &["", "", "2"], dp > 2, random);
    say("reshard_after_forward", OFF, dp > 1, random);
    say("prefetch", &["", "0", "2"], dp > 1, random);
    say("overlap_parameters", OFF, dp > 1, random);
    say("overlap_gradients", OFF, dp > 1, random);
    say("sequence_parallel", ON, tp > 1, random);
    say("keep_gathered", ON, tp > 1, random);
    say("tensor_chunks", &["", "", "2"], tp > 1, random);
    say("context_method", &["\"ring\"", "\"all_gather\"", "\"all_to_all\""], cp > 1, random);
    say("recompute", &["", "\"selective\"", "\"full\""], true, random);
    say("recompute_interval", &["", "2"], true, random);
    say("attention", &["", "", "\"unfused\""], true, random);
    say("kernels", &["", "", "\"eager\""], true, random);
    say("overlap_micro_batches", &["", "", "true"], true, random);
    say("offload_optimizer", &["", "", "\"host\"", "\"nvme\""], true, random);
    say("offload_activations", &["", "", "1"], true, random);
    say("capacity_factor", &["4.0"], mixture, random);
    say("expert_parallel", &["", "2", "4"], mixture, random);
    say("expert_tensor_parallel", &["", "", "2"], mixture, random);
    say("expert_dispatch", &["", "\"once_per_node\""], mixture, random);
    settings
}

/// The scenario in a text, if it is one that can be executed.
fn executable(text: &str) -> Option<Scenario> {
    let Ok(Opened::Scenario(file)) = open_scenario(text.as_bytes()) else { panic!("it is written well: {text}") };
    let scenario = check(&file).ok()?;
    executable_graph(&scenario).is_ok().then_some(scenario)
}

/// What settings must have been seen with, so that draws which are refused hide none.
const SEEN: [&str; 33] = [
    "dp",
    "tp",
    "pp",
    "cp",
    "schedule = \"gpipe\"",
    "schedule = \"1f1b\"",
    "schedule = \"interleaved\"",
    "schedule = \"zb-h1\"",
    "schedule = \"zb-h2\"",
    "schedule = \"zb-v\"",
    "schedule = \"dualpipe-v\"",
    "schedule = \"dualpipe\"",
    "zero_stage = 1",
    "zero_stage = 2",
    "zero_stage = 3",
    "sharding_group = 2",
    "reshard_after_forward = false",
    "prefetch = 0",
    "sequence_parallel = true",
    "keep_gathered = true",
    "tensor_chunks = 2",
    "context_method = \"ring\"",
    "context_method = \"all_gather\"",
    "context_method = \"all_to_all\"",
    "recompute = \"selective\"",
    "recompute = \"full\"",
    "attention = \"unfused\"",
    "kernels = \"eager\"",
    "overlap_micro_batches = true",
    "offload_optimizer = \"host\"",
    "offload_activations = 1",
    "expert_parallel = 2",
    "expert_tensor_parallel = 2",
];

#[test]
fn random_models_under_random_strategies_equal_one_rank() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (mut executed, mut ranks) = (0, BTreeSet::new());
    for seed in 0..DRAWS {
        let drawn = Drawn::of(seed);
        let text = drawn.text(false);
        let Some(sharded) = executable(&text) else { continue };
        let single = executable(&drawn.text(true)).unwrap_or_else(|| panic!("one rank can: {}", drawn.text(true)));
        let reference = on_cpu(&single, lower(&single));
        equals(&sharded, &reference, &text);
        drawn.said().for_each(|said| *seen.entry(said).or_default() += 1);
        ranks.insert(sharded.mesh().ranks());
        executed += 1;
        if executed == CASES {
            break;
        }
    }
    let missing: Vec<_> = SEEN.iter().filter(|said| !seen.contains_key(**said)).collect();
    assert!(missing.is_empty(), "of {executed} none has {missing:?}: {seen:?}");
    assert_eq!((executed, ranks.last()), (CASES, Some(&RANKS)), "{ranks:?}");
}
