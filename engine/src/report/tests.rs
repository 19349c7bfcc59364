//! What the exported documents must hold.

use serde_json::Value;

use super::*;
use crate::analysis::step_report;
use crate::graph::lower;
use crate::scenario::Scenario;
use crate::sim::simulate;

fn simulated(preset: &str) -> (Scenario, crate::graph::StepGraph, crate::trace::Trace) {
    let scenario = Scenario::preset(preset).expect("a preset");
    let step = lower(&scenario);
    let trace = simulate(&step, &scenario);
    (scenario, step, trace)
}

#[test]
fn the_parts_of_the_json_breakdown_add_up_to_the_step_time() {
    for preset in ["llama2-7b-8xh100", "gpt2-124m-8xa100", "llama3-405b-16384xh100"] {
        let (scenario, step, trace) = simulated(preset);
        let report = step_report(&step, &scenario, &trace);
        let document: Value = serde_json::from_str(&report_json(&scenario, &step, &trace, &report)).expect("JSON");
        let parts: f64 = document["breakdown"].as_object().expect("a table").values().filter_map(Value::as_f64).sum();
        let step_time = document["step_time_s"].as_f64().expect("a number");
        // Each of nine parts is rounded to a double of nanoseconds.
        assert!((parts - step_time).abs() < 1e-8, "{preset}: {parts} s and {step_time} s");
        assert_eq!(document["schema_version"], 1);
    }
}

/// Time in nanoseconds of a decimal number of microseconds.
fn nanos(value: &Value) -> i64 {
    (value.as_f64().expect("a number") * 1000.0).round() as i64
}

#[test]
fn perfetto_slices_on_a_thread_are_disjoint_and_flows_pair_up() {
    let (_, _, trace) = simulated("llama2-7b-8xh100");
    slices_are_disjoint(&trace);
}

#[test]
fn an_executed_step_opens_in_perfetto_too() {
    use crate::exec::{BackendKind, Trainer, open};
    let scenario = Scenario::preset("tiny-llama-pp2-tp2").expect("a preset");
    let trace = pollster::block_on(async {
        let backend = open(BackendKind::Cpu).await.expect("the CPU is there");
        let mut trainer = Trainer::new(&scenario, backend).await.expect("it can be trained");
        trainer.step().await.expect("a step").trace
    });
    trace.verify().expect("well-formed");
    slices_are_disjoint(&trace);
    // Of 2 tensor ranks and as many micro-batches, an activation forward and a gradient back.
    let micro_batches = scenario.micro_batches();
    assert_eq!(trace.flows.len() as u32, 2 * 2 * micro_batches, "every message joins its two ends");
}

fn slices_are_disjoint(trace: &crate::trace::Trace) {
    let document: Value = serde_json::from_str(&perfetto_json(trace)).expect("JSON");
    let events = document["traceEvents"].as_array().expect("events");
    let of = |phase: &'static str| events.iter().filter(move |event| event["ph"] == phase);
    let mut slices: Vec<_> =
        of("X").map(|e| (e["pid"].as_u64(), e["tid"].as_u64(), nanos(&e["ts"]), nanos(&e["dur"]))).collect();
    assert_eq!(slices.len(), trace.spans.len());
    slices.sort_unstable();
    for pair in slices.windows(2) {
        let ((pid, tid, start, duration), next) = (pair[0], pair[1]);
        assert!((pid, tid) != (next.0, next.1) || start + duration <= next.2, "{pair:?} overlap");
    }
    assert_eq!(of("s").count(), trace.flows.len());
    assert_eq!(of("f").count(), trace.flows.len());
    assert!(of("C").count() > 0, "memory counters");
}

#[test]
fn csv_tables_have_as_many_fields_in_every_row() {
    let (_, _, trace) = simulated("gpt2-124m-8xa100");
    for table in [op_table_csv(&trace), memory_csv(&trace)] {
        let mut rows = table.lines().map(|row| row.split(',').count());
        let header = rows.next().expect("a header");
        assert!(header > 3 && rows.all(|fields| fields == header));
    }
}

#[test]
fn the_table_says_what_does_not_fit() {
    let (scenario, step, trace) = simulated("llama3-405b-16384xh100");
    let table = report_table(&scenario, &trace, &step_report(&step, &scenario, &trace));
    assert!(table.contains("DOES NOT FIT") && table.contains("the biggest block is activations"), "{table}");
}
