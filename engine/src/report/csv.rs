//! Tables as CSV, one file per table.

use std::fmt::Write as _;

use crate::analysis::op_classes;
use crate::compare::Comparison;
use crate::trace::{MemoryCategory, Phase, Trace};

/// Time, count and work by class of op, for every group of ranks.
pub fn op_table_csv(trace: &Trace) -> String {
    let mut text = String::from("group,stage,class,count,time_ns,flops,bytes\n");
    let mut groups: Vec<(u32, u32)> = trace.tracks.iter().map(|track| (track.group, track.stage)).collect();
    groups.dedup();
    for (group, stage) in groups {
        for class in op_classes(trace, group) {
            let (name, count, time, flops, bytes) =
                (class.class, class.count, class.time.0, class.flops.0, class.bytes);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{group},{stage},{name},{count},{time},{flops:.0},{bytes}");
        }
    }
    text
}

/// Memory over time of every group of ranks, by category.
pub fn memory_csv(trace: &Trace) -> String {
    let mut text = String::from("group,stage,time_ns");
    for category in MemoryCategory::ALL {
        let _ = write!(text, ",{}_bytes", category.name());
    }
    text.push('\n');
    for curve in &trace.memory {
        for sample in &curve.samples {
            let _ = write!(text, "{},{},{}", curve.group, curve.stage, sample.at.0);
            for category in MemoryCategory::ALL {
                let _ = write!(text, ",{}", sample.used.get(category).0);
            }
            text.push('\n');
        }
    }
    text
}

/// Loss and throughput of every executed step.
pub fn loss_csv(steps: impl IntoIterator<Item = (u32, f64, f64)>) -> String {
    let mut text = String::from("step,loss,tokens_per_s\n");
    for (step, loss, tokens_per_s) in steps {
        let _ = writeln!(text, "{step},{loss},{tokens_per_s}");
    }
    text
}

/// Predicted and executed time by class of op, and of the step.
pub fn comparison_csv(comparison: &Comparison) -> String {
    let mut text = String::from("class,predicted_ns,executed_ns,ratio\n");
    for row in &comparison.rows {
        let _ = writeln!(text, "{},{},{},{}", row.class, row.predicted.0, row.executed.0, known(row.ratio()));
    }
    let (predicted, executed) = (comparison.predicted_step.0, comparison.executed_step.0);
    let _ = writeln!(text, "step,{predicted},{executed},{}", comparison.ratio());
    text
}

/// Predicted and executed time by op, all layers together.
pub fn op_comparison_csv(comparison: &Comparison) -> String {
    let mut text = String::from("op,class,phase,times,predicted_ns,executed_ns,ratio\n");
    for row in &comparison.ops {
        let (name, phase, ratio) = (quoted(&row.name), row.phase.map_or("", Phase::name), known(row.ratio()));
        let (predicted, executed) = (row.predicted.0, row.executed.0);
        let _ = writeln!(text, "{name},{},{phase},{},{predicted},{executed},{ratio}", row.class, row.count);
    }
    text
}

/// A figure, or nothing where it is not known.
fn known(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, |figure| figure.to_string())
}

/// A value in quotes: names of kernels, files and scenarios may have commas and quotes (RFC 4180, section 2).
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
