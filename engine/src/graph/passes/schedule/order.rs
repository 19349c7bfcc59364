//! The order in which a stage works through its micro-batches.

use crate::graph::{Segment, SegmentId, SegmentKind, Task};
use crate::scenario::{PipelineSchedule, Scenario};

/// Forward (`true`) or backward of a micro-batch, in the order of `schedule` on stage `stage` of `stages`.
pub fn task_order(schedule: PipelineSchedule, stage: u32, stages: u32, micro_batches: u32) -> Vec<(bool, u32)> {
    let all = 0..micro_batches;
    match schedule {
        PipelineSchedule::GPipe => all.clone().map(|m| (true, m)).chain(all.map(|m| (false, m))).collect(),
        PipelineSchedule::OneFOneB => {
            let warm_up = (stages - 1 - stage).min(micro_batches);
            let steady = (warm_up..micro_batches).flat_map(|m| [(true, m), (false, m - warm_up)]);
            let cool_down = (micro_batches - warm_up..micro_batches).map(|m| (false, m));
            (0..warm_up).map(|m| (true, m)).chain(steady).chain(cool_down).collect()
        }
    }
}

/// The tasks of a stage: begin, micro-batches, update.
pub(super) fn tasks(stage: usize, segments: &[Segment], scenario: &Scenario) -> Vec<Task> {
    #[expect(clippy::cast_possible_truncation, reason = "stages and segments are few")]
    let find = |kind: SegmentKind| segments.iter().position(|s| s.kind == kind).map(|i| SegmentId(i as u32));
    let once = |kind| find(kind).map(|segment| Task { segment, micro_batch: None });
    let micro_batches = scenario.micro_batches();
    let strategy = scenario.strategy();
    let stage = u32::try_from(stage).unwrap_or(u32::MAX);
    let order = task_order(strategy.schedule, stage, strategy.pipeline_parallel, micro_batches);
    let middle = order.into_iter().filter_map(|(forward, m)| {
        let last = (!forward && m + 1 == micro_batches).then(|| find(SegmentKind::BackwardLast)).flatten();
        let kind = if forward { SegmentKind::Forward } else { SegmentKind::Backward };
        Some(Task { segment: last.or_else(|| find(kind))?, micro_batch: Some(m) })
    });
    once(SegmentKind::Begin).into_iter().chain(middle).chain(once(SegmentKind::Update)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_micro_batch_runs_forward_before_backward_once() {
        for schedule in [PipelineSchedule::GPipe, PipelineSchedule::OneFOneB] {
            for (stages, micro_batches) in [(1, 1), (4, 2), (4, 8), (3, 7)] {
                for stage in 0..stages {
                    let order = task_order(schedule, stage, stages, micro_batches);
                    assert_eq!(order.len(), 2 * micro_batches as usize, "{schedule:?}");
                    for m in 0..micro_batches {
                        let at = |forward| order.iter().position(|&task| task == (forward, m));
                        assert!(
                            at(true) < at(false) && at(true).is_some(),
                            "{schedule:?} stage {stage} micro-batch {m}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_stage_of_1f1b_holds_as_many_micro_batches_as_there_are_stages() {
        let order = task_order(PipelineSchedule::OneFOneB, 0, 4, 16);
        let (mut in_flight, mut most) = (0_i32, 0);
        for (forward, _) in order {
            in_flight += if forward { 1 } else { -1 };
            most = most.max(in_flight);
        }
        assert_eq!(most, 4, "Narayanan et al. 2021, section 2.2");
    }
}
