//! Wherever values lie and however often they move, a step computes the same bits; what a policy plans is what is handed
//! out.

use shardlab_engine::exec::{BackendKind, PoolForecast, Traffic, Trainer, executable_graph, forecast};
use shardlab_engine::graph::lower;
use shardlab_engine::scenario::{PoolName, Scenario};
use shardlab_engine::units::Bytes;

use super::{Axes, MIXTURE, backend, model, on_cpu, parsed};

/// The same scenario with another policy.
fn pooled(model: &str, (dp, tp, pp): Axes, extra: &str, run: &str) -> Scenario {
    parsed(&format!(
        "[model]\n{model}\n[cluster]\ndevice = \"a100-80gb-sxm\"\nnodes = 2\n[strategy]\ndata_parallel = {dp}\n\
         tensor_parallel = {tp}\npipeline_parallel = {pp}\nglobal_batch = 8\nprecision = \"fp32\"\nbucket = \"20 kB\"\n\
         {extra}\n[data]\nsequence_length = 16\n[run]\nseed = 3\ngradient_clip = 0.5\n{run}\n"
    ))
}

/// What of a scenario is tried: model, mesh, strategy.
fn cases() -> Vec<(&'static str, Axes, &'static str)> {
    vec![
        (model(0), (1, 1, 1), "micro_batch = 2"),
        (model(1), (2, 1, 2), "recompute = \"full\""),
        (model(0), (1, 2, 2), "schedule = \"zb-h1\"\nsequence_parallel = true"),
        (model(0), (4, 1, 1), "zero_stage = 3\nmicro_batch = 1"),
        (model(0), (2, 1, 1), "zero_stage = 2\noffload_optimizer = \"host\"\noffload_activations = 1"),
        (MIXTURE, (2, 1, 1), "expert_parallel = 2"),
    ]
}

#[test]
fn every_policy_computes_the_same_bits() {
    for (model, mesh, extra) in cases() {
        let plain = pooled(model, mesh, extra, "");
        let reference = on_cpu(&plain, lower(&plain));
        for run in ["pool = \"reservation\"", "pool = \"paging\""] {
            let other = pooled(model, mesh, extra, run);
            let outcome = on_cpu(&other, lower(&other));
            let what = format!("{mesh:?} {extra} {run}");
            assert_eq!(outcome.loss.to_bits(), reference.loss.to_bits(), "{what}");
            assert!(outcome.gradients == reference.gradients, "{what}: gradients");
            assert!(outcome.parameters == reference.parameters, "{what}: parameters after {} steps", super::STEPS);
        }
    }
}

/// The forecast of a policy by stage.
fn planned(scenario: &Scenario, budget: Option<Bytes>) -> Vec<PoolForecast> {
    let policy = scenario.run().pool.name();
    let rows = forecast(&lower(scenario), budget).expect("the budget suffices");
    rows.into_iter().filter(|row| row.policy == policy).collect()
}

#[test]
fn what_a_policy_plans_is_what_it_hands_out() {
    let step = lower(&pooled(model(0), (2, 1, 2), "", ""));
    let least = forecast(&step, None).unwrap().iter().map(|row| row.least).max().unwrap();
    let budget = least + Bytes(least.0 / 4);
    let runs = [
        "".to_owned(),
        "pool = \"reservation\"".into(),
        format!("pool = \"paging\"\npool_budget = \"{} B\"", budget.0),
    ];
    for run in &runs {
        let scenario = pooled(model(0), (2, 1, 2), "", run);
        let rows = planned(&scenario, Some(budget));
        let mut trainer = pollster::block_on(Trainer::new(&scenario, backend(BackendKind::Cpu))).expect("it fits");
        let result = pollster::block_on(trainer.step()).expect("a step runs");
        let per_stage = trainer.step_graph().mesh.per_stage() as usize;
        for (rank, pool) in result.pools.iter().enumerate() {
            let row = &rows[rank / per_stage];
            let handed_out = (pool.usage.at_peak, pool.reserved, pool.away, pool.out, pool.back);
            assert_eq!((row.at_peak, row.reserved, row.away, row.out, row.back), handed_out, "{run} rank {rank}");
            assert!(
                pool.reserved >= row.least && (run.is_empty() || pool.reserved <= rows_of_best_fit(&scenario, rank))
            );
        }
        let pools = result.pools.iter().map(|pool| pool.reserved + pool.away).sum::<Bytes>();
        assert_eq!(trainer.created(), pools + trainer.staging(), "{run}: every buffer is accounted for");
        // A copy between the device and the host is a span on its stream.
        let pages = result
            .trace
            .spans
            .iter()
            .filter(|span| result.trace.labels[span.label.0 as usize].name.starts_with("page "));
        let moves: u32 = result.pools.iter().map(|pool| pool.out.moves + pool.back.moves).sum();
        assert_eq!(pages.count(), moves as usize, "{run}");
        let pages = scenario.run().pool.name() == PoolName::Paging;
        assert_eq!(result.pools.iter().any(|pool| pool.back != Traffic::default()), pages, "{run}");
    }
}

fn rows_of_best_fit(scenario: &Scenario, rank: usize) -> Bytes {
    let step = lower(scenario);
    let rows = forecast(&step, None).unwrap();
    let stage = rank / step.mesh.per_stage() as usize;
    let of = |row: &&PoolForecast| row.policy == PoolName::BestFit && row.stage as usize == stage;
    rows.iter().find(of).unwrap().reserved
}

#[test]
fn a_budget_that_is_too_small_is_refused_before_anything_runs() {
    let scenario = pooled(model(0), (1, 1, 1), "", "pool = \"paging\"\npool_budget = \"1 kB\"");
    let error = executable_graph(&scenario).expect_err("too small");
    let least = forecast(&lower(&scenario), None).unwrap()[0].least;
    assert!(error.to_string().contains(&least.to_string()) && error.to_string().contains("run.pool_budget"), "{error}");
}

#[test]
fn a_plan_that_needs_more_than_it_may_is_refused_with_both_figures_before_it_starts() {
    let with = |limit: &str| pooled(model(0), (1, 2, 1), "", &format!("memory_limit = \"{limit}\""));
    let enough = with("64 MB");
    let needed = executable_graph(&enough).expect("it fits").stages[0].memory.at_peak.total();
    let needed = Bytes(needed.0 * 2);
    let error = executable_graph(&with("100 kB")).expect_err("it does not").to_string();
    assert!(error.contains(&needed.to_string()) && error.contains("97.7 KiB"), "{error}");
    assert!(error.contains("raise run.memory_limit"), "{error}");
    assert!(executable_graph(&with(&format!("{} B", needed.0))).is_ok(), "all that is planned is enough");
}
