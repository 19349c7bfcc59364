//! One JSON document per result, with sorted keys.

use serde_json::{Map, Value, json};

use crate::analysis::{Breakdown, StepReport, exposed_communication, op_classes};
use crate::compare::Comparison;
use crate::exec::{BackendInfo, StepResult, Stored};
use crate::graph::StepGraph;
use crate::scenario::Scenario;
use crate::trace::{MemoryCategory, MemoryUse, Trace};
use crate::units::Nanos;
use crate::validate::{CollectiveOutcome, CollectiveRow, score_collectives};

/// Version of the documents' layout; it changes when a key changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// The figures of a simulated step.
pub fn report_json(scenario: &Scenario, step: &StepGraph, trace: &Trace, report: &StepReport) -> String {
    let mut document = figures(scenario, report);
    document.insert("cost".into(), json!(crate::analysis::run_cost(scenario, report)));
    document.insert("folded_groups".into(), json!(report.groups.len()));
    document.insert("spans".into(), json!(trace.spans.len()));
    document.insert("micro_batches".into(), json!(step.micro_batches));
    document.insert("ops".into(), ops(trace, 0));
    pretty(document)
}

/// The figures of an execution: the last step's, and the loss of every step.
pub fn execution_json(
    scenario: &Scenario,
    step: &StepGraph,
    backend: &BackendInfo,
    steps: &[StepResult],
    stored: Option<&Stored>,
) -> String {
    let Some(last) = steps.last() else { return pretty(Map::new()) };
    let report = crate::analysis::step_report(step, scenario, &last.trace);
    let mut document = figures(scenario, &report);
    // Ranks share one device: neither utilisation nor a bubble of the cluster can be read off such a run.
    for key in ["mfu", "hfu", "bubble_fraction"] {
        document.insert(key.into(), Value::Null);
    }
    document.insert("note".into(), json!("ranks share one machine; scaling cannot be derived from this run"));
    let (placement, ranks) = (scenario.run().placement, scenario.mesh().ranks());
    let workers = placement.workers(ranks);
    document.insert("placement".into(), json!({ "ranks": ranks, "on": placement.kind.name(), "workers": workers }));
    document.insert("backend".into(), json!(backend));
    document.insert("emulated".into(), json!(scenario.strategy().precision.is_emulated()));
    document.insert(
        "loss".into(),
        steps.iter().map(|s| json!({ "step": s.step, "loss": s.loss, "gradient_norm": s.gradient_norm })).collect(),
    );
    document.insert("tokens_per_s".into(), json!(last.tokens_per_s));
    document.insert("calls".into(), json!(last.calls));
    document.insert("checkpoint".into(), json!(stored));
    document.insert("outside_kernels".into(), json!(last.outside_kernels()));
    document.insert("encoding_per_call_ns".into(), json!(last.encoding_per_call()));
    document.insert("ops".into(), ops(&last.trace, 0));
    let moved = last.moved().into_iter().map(|(axis, bytes)| (axis.to_owned(), json!(bytes.0)));
    document.insert("bytes_moved".into(), Value::Object(moved.collect()));
    document.insert("traffic".into(), json!(last.trace.traffic));
    document.insert("allocated_bytes".into(), json!(last.reserved.0));
    let pools = last.pools.iter().map(|pool| {
        json!({
            "allocated_bytes": pool.usage.at_peak.total().0,
            "reserved_bytes": pool.reserved.0,
            "fragmentation": pool.fragmentation(),
            "away_bytes": pool.away.0,
            "out": pool.out,
            "in": pool.back,
        })
    });
    document.insert(
        "pool".into(),
        json!({ "policy": scenario.run().pool.name().name(), "ranks": pools.collect::<Vec<_>>() }),
    );
    pretty(document)
}

/// Prediction beside execution.
pub fn comparison_json(comparison: &Comparison) -> String {
    let rows = comparison.rows.iter().map(|row| {
        json!({
            "class": row.class,
            "predicted_s": row.predicted.secs(),
            "executed_s": row.executed.secs(),
            "ratio": row.ratio(),
        })
    });
    let ops = comparison.ops.iter().map(|row| {
        json!({
            "op": row.name,
            "class": row.class,
            "phase": row.phase.map(crate::trace::Phase::name),
            "times": row.count,
            "predicted_s": row.predicted.secs(),
            "executed_s": row.executed.secs(),
            "ratio": row.ratio(),
        })
    });
    let memory = comparison.memory.iter().map(|(stage, planned, allocated)| {
        json!({ "stage": stage, "planned_bytes": memory(planned), "allocated_bytes": memory(allocated) })
    });
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "backend": comparison.backend,
        "calibration": comparison.calibration,
        "predicted_step_s": comparison.predicted_step.secs(),
        "executed_step_s": comparison.executed_step.secs(),
        "ratio": comparison.ratio(),
        "op_classes": rows.collect::<Vec<_>>(),
        "ops": ops.collect::<Vec<_>>(),
        "memory": memory.collect::<Vec<_>>(),
        "memory_agrees": comparison.memory_agrees(),
    });
    format!("{document:#}\n")
}

/// Every measured row with its prediction or why it was left out, and the summaries.
pub fn validation_json(rows: &[crate::validate::Row]) -> String {
    let mut document = Map::new();
    document.insert("schema_version".into(), json!(SCHEMA_VERSION));
    document.insert("rows".into(), json!(rows));
    document.insert("summaries".into(), json!(crate::validate::summaries(rows)));
    document.insert("choices".into(), json!(crate::validate::regrets(rows)));
    pretty(document)
}

fn figures(scenario: &Scenario, report: &StepReport) -> Map<String, Value> {
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| {
        document.insert(key.to_owned(), value);
    };
    put("schema_version", json!(SCHEMA_VERSION));
    put("scenario", json!(scenario.name()));
    put("origin", json!(report.origin));
    put("ranks", json!(scenario.mesh().ranks()));
    put("mesh", json!(scenario.mesh()));
    put("step_time_s", json!(report.step_time.secs()));
    put("mean_step_time_s", json!(report.mean_step_time.secs()));
    put("step_time_interval_s", json!(report.interval.map(|bounds| bounds.map(Nanos::secs))));
    put("tokens_per_s", json!(report.tokens_per_s));
    put("repeated_layers", json!(report.repeated_layers));
    put("outside_bytes", json!(report.outside));
    put("samples_per_s", json!(report.samples_per_s));
    put("mfu", json!(report.mfu));
    put("hfu", json!(report.hfu));
    put("model_flops", json!(report.model_flops));
    put("bubble_fraction", json!(report.bubble_fraction));
    put("exposed_communication_s", seconds(exposed_communication(&report.breakdown).into_iter()));
    put("breakdown", breakdown(&report.breakdown));
    put("critical_stage", json!(report.critical_stage));
    let peak = |peak: &crate::analysis::StagePeak| json!({ "stage": peak.stage, "total": peak.total.0, "by_category": memory(&peak.used) });
    put("peak_memory_bytes", report.peak_memory.iter().map(peak).collect());
    put("fits", json!(report.fit.fits));
    put("fit", json!(report.fit));
    document
}

/// Parts of the step time in seconds; they add up to `step_time_s`.
fn breakdown(parts: &Breakdown) -> Value {
    seconds(parts.parts().into_iter())
}

fn seconds(parts: impl Iterator<Item = (&'static str, Nanos)>) -> Value {
    Value::Object(parts.map(|(name, time)| (name.to_owned(), json!(time.secs()))).collect())
}

fn memory(used: &MemoryUse) -> Value {
    let bytes = |category: MemoryCategory| (category.name().to_owned(), json!(used.get(category).0));
    Value::Object(MemoryCategory::ALL.map(bytes).into_iter().collect())
}

fn ops(trace: &Trace, group: u32) -> Value {
    let class = |class: crate::analysis::OpClassTime| {
        json!({
            "class": class.class,
            "count": class.count,
            "time_s": class.time.secs(),
            "flops": class.flops,
            "bytes": class.bytes,
        })
    };
    op_classes(trace, group).into_iter().map(class).collect()
}

fn pretty(document: Map<String, Value>) -> String {
    format!("{:#}\n", Value::Object(document))
}

/// Measured collectives beside their predictions.
pub fn collectives_json(rows: &[CollectiveRow], outcomes: &[Result<CollectiveOutcome, String>]) -> String {
    let entry = |(row, outcome): (&CollectiveRow, &Result<CollectiveOutcome, String>)| match outcome {
        Ok(outcome) => json!(outcome),
        Err(reason) => json!({ "id": row.id, "left_out": reason }),
    };
    let predicted: Vec<CollectiveOutcome> = outcomes.iter().filter_map(|outcome| outcome.clone().ok()).collect();
    let (all, by_setup) = score_collectives(&predicted, 1_000_000);
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "rows": rows.iter().zip(outcomes).map(entry).collect::<Vec<_>>(),
        "above_1_mb": { "all": all, "by_setup": by_setup },
    });
    format!("{document:#}\n")
}
