//! Kernels of a step under the roofs of a device: as table, CSV and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use crate::analysis::{StepKernel, StepRoofline};

/// For people; the first `top` kernels, or all for 0.
pub fn roofline_table(name: &str, roofline: &StepRoofline, top: usize) -> String {
    let mut text = format!("{name}   [{}]   stage {}\n\n", roofline.origin.name(), roofline.stage);
    if let Some(roofs) = &roofline.roofs {
        for (format, peak) in &roofs.peaks {
            let _ = writeln!(text, "  roof {format:<14} {:>14}", peak.to_string());
        }
        let _ = writeln!(text, "  memory {:<12} {:>14}\n", "", roofs.bandwidth.to_string());
    }
    let _ = writeln!(
        text,
        "  {:<44} {:<16} {:>7} {:>11} {:>9} {:>14} {:>14} {:>7}  bound",
        "kernel", "phase", "count", "time", "FLOP/B", "achieved", "attainable", "share"
    );
    let shown = if top == 0 { roofline.kernels.len() } else { top };
    for kernel in roofline.kernels.iter().take(shown) {
        text.push_str(&line(kernel));
    }
    let left = roofline.kernels.len().saturating_sub(shown);
    if left > 0 {
        let _ = writeln!(text, "  … and {left} more; --top 0 shows all");
    }
    text
}

fn line(kernel: &StepKernel) -> String {
    let attainable = kernel.attainable.map_or_else(|| "–".to_owned(), |rate| rate.to_string());
    let share = kernel.share().map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0));
    format!(
        "  {:<44} {:<16} {:>7} {:>11} {:>9.2} {:>14} {attainable:>14} {share:>7}  {}\n",
        kernel.name,
        kernel.phase.name(),
        kernel.count,
        kernel.time.to_string(),
        kernel.intensity(),
        kernel.achieved().to_string(),
        kernel.bound.unwrap_or("–")
    )
}

/// A line for each kernel.
pub fn roofline_csv(roofline: &StepRoofline) -> String {
    let mut text = String::from(
        "kernel,class,phase,count,time_ns,flops,bytes,intensity_flop_per_byte,achieved_flop_per_s,attainable_flop_per_s,share,bound\n",
    );
    for kernel in &roofline.kernels {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.6e}"));
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{:.6},{:.6e},{},{},{}",
            super::csv::quoted(&kernel.name),
            kernel.class,
            kernel.phase.name(),
            kernel.count,
            kernel.time.0,
            kernel.flops,
            kernel.bytes,
            kernel.intensity(),
            kernel.achieved().0,
            number(kernel.attainable.map(|rate| rate.0)),
            number(kernel.share()),
            kernel.bound.unwrap_or("")
        );
    }
    text
}

/// For machines.
pub fn roofline_json(name: &str, roofline: &StepRoofline) -> String {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": roofline.origin,
        "scenario": name,
        "roofline": roofline,
    });
    format!("{document:#}\n")
}
