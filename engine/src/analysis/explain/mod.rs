//! Where each second and each byte of a modelled step goes, with the formula and the numbers in it.
//!
//! * `ops`: kernels and collectives of the critical stage, those that cost the same together,
//! * `memory`: what is in use on the fullest stage when it is fullest,
//! * `constants`: every number of the device and the links, and where it comes from.

mod constants;
mod memory;
mod ops;

pub use constants::{Constant, constants};
pub use memory::{MemoryLine, memory_lines};
pub use ops::{OpLine, op_lines};

/// A name without its numbers, so that layers and buckets stand together.
fn family(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !text.ends_with('*') {
            text.push('*');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::step_report;
    use crate::graph::lower;
    use crate::scenario::{Scenario, presets};
    use crate::sim::simulate;
    use crate::trace::Stream;

    #[test]
    fn names_lose_their_numbers() {
        assert_eq!(family("layer 12 qkv"), "layer * qkv");
        assert_eq!(family("gradient bucket 7 all-reduce"), "gradient bucket * all-reduce");
    }

    /// Nothing is left out: kernels add up to the breakdown's compute, memory to the peak.
    #[test]
    fn lines_add_up_to_what_is_reported() {
        for preset in presets() {
            let scenario = Scenario::preset(preset.name).expect("a preset");
            let step = lower(&scenario);
            let report = step_report(&step, &scenario, &simulate(&step, &scenario));
            let lines = op_lines(&step, &scenario, report.critical_stage);
            let compute = lines.iter().filter(|line| line.stream == Stream::Compute).map(|line| line.total).sum();
            assert_eq!(report.breakdown.compute(), compute, "{}", preset.name);
            let stage = report.fit.stage;
            let bytes: u64 = memory_lines(&step, stage).iter().map(|line| line.total.0).sum();
            assert_eq!(report.peak_memory[stage as usize].total.0, bytes, "{}", preset.name);
        }
    }
}
