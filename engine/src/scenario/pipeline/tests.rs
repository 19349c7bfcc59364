//! Schedules against the closed forms of their papers.

use super::order::{backward, forward, slot};
use super::*;

const ALL: [PipelineSchedule; 8] = [
    PipelineSchedule::DualPipe,
    PipelineSchedule::DualPipeV,
    PipelineSchedule::GPipe,
    PipelineSchedule::OneFOneB,
    PipelineSchedule::Interleaved,
    PipelineSchedule::ZeroBubbleH1,
    PipelineSchedule::ZeroBubbleH2,
    PipelineSchedule::ZeroBubbleV,
];

fn layout(schedule: &PipelineSchedule, stages: u32, chunks: u32) -> Layout {
    let layout = schedule.layout();
    let chunks = match schedule {
        PipelineSchedule::Interleaved => chunks,
        PipelineSchedule::ZeroBubbleV | PipelineSchedule::DualPipeV | PipelineSchedule::DualPipe => 2,
        _ => 1,
    };
    Layout { stages, chunks, layout }
}

/// Idle time of the stage that ends last, with passes of the given lengths.
fn bubble(schedule: &PipelineSchedule, stages: u32, chunks: u32, m: u32, durations: Durations) -> u64 {
    let layout = layout(schedule, stages, chunks);
    let slots = slots(schedule, layout, m, false);
    let end = dry_run(&slots, layout, m, durations).unwrap_or_else(|stuck| panic!("{schedule:?}: {stuck:?}"));
    let weights = slots[0].iter().any(|slot| slot.pass == Pass::Weight);
    let busy = durations.forward + durations.backward + if weights { durations.weight } else { 0 };
    end.into_iter().max().unwrap_or(0) - busy * u64::from(m * layout.chunks / layout.copies())
}

#[test]
fn every_pass_runs_once_and_can_be_kept() {
    let one = Durations { forward: 1, backward: 1, weight: 1 };
    for schedule in &ALL {
        for (stages, chunks, m) in [(1, 1, 1), (2, 2, 2), (4, 2, 4), (4, 3, 8), (3, 2, 12), (8, 2, 16)] {
            let layout = layout(schedule, stages, chunks);
            // DualPipe fills its V in both directions, so it takes two micro-batches for every stage.
            let dual = matches!(schedule, PipelineSchedule::DualPipeV | PipelineSchedule::DualPipe);
            let m = if dual { m.max(2 * stages) } else { m };
            if *schedule == PipelineSchedule::DualPipe && stages % 2 == 1 {
                continue;
            }
            let slots = slots(schedule, layout, m, false);
            let passes: &[Pass] = if schedule.splits_backward() {
                &[Pass::Forward, Pass::Backward, Pass::Weight]
            } else {
                &[Pass::Forward, Pass::Backward]
            };
            for of_stage in &slots {
                let mut sorted = of_stage.clone();
                sorted.sort_unstable();
                let own = m / layout.copies();
                let of_chunk = |chunk: u32| if layout.copies() == 1 { 0..m } else { chunk * own..(chunk + 1) * own };
                let all = passes.iter().flat_map(|&pass| {
                    (0..layout.chunks).flat_map(move |chunk| of_chunk(chunk).map(move |m| slot(pass, chunk, m)))
                });
                assert_eq!(sorted, all.collect::<Vec<_>>(), "{schedule:?} {stages} {chunks} {m}");
            }
            dry_run(&slots, layout, m, one).unwrap_or_else(|stuck| panic!("{schedule:?} {layout:?} {m}: {stuck:?}"));
        }
    }
}

#[test]
fn bubbles_of_gpipe_and_1f1b_are_those_of_the_papers() {
    // Huang et al. 2019, section 3: (p − 1) of m + p − 1 rounds; Narayanan et al. 2021, section 2.2.1: the same
    // for 1F1B, (p − 1)·(t_f + t_b).
    for (p, m) in [(2, 4), (4, 8), (8, 8), (8, 32)] {
        for durations in [(1, 2), (3, 5)].map(|(f, b)| Durations { forward: f, backward: b, weight: 0 }) {
            let expected = u64::from(p - 1) * (durations.forward + durations.backward);
            assert_eq!(bubble(&PipelineSchedule::GPipe, p, 1, m, durations), expected);
            assert_eq!(bubble(&PipelineSchedule::OneFOneB, p, 1, m, durations), expected);
        }
    }
}

#[test]
fn interleaving_divides_the_bubble_by_the_chunks() {
    // Narayanan et al. 2021, section 2.2.2: (p − 1)·(t_f + t_b)/v, with passes of a chunk 1/v as long.
    for (p, v, m) in [(2, 2, 4), (4, 2, 8), (4, 3, 12), (8, 4, 32)] {
        let chunk = Durations { forward: 1, backward: 2, weight: 0 };
        assert_eq!(bubble(&PipelineSchedule::Interleaved, p, v, m, chunk), u64::from(p - 1) * 3, "{p} {v} {m}");
    }
}

#[test]
fn zero_bubble_h1_has_a_third_of_the_bubble_of_1f1b() {
    // Qi et al. 2023, table 1: (p − 1)·(t_f + t_b − t_w).
    for (p, m) in [(2, 4), (4, 8), (8, 24)] {
        for (f, b, w) in [(1, 1, 1), (10, 10, 9), (10, 11, 10)] {
            let durations = Durations { forward: f, backward: b, weight: w };
            let expected = u64::from(p - 1) * (f + b - w);
            assert_eq!(bubble(&PipelineSchedule::ZeroBubbleH1, p, 1, m, durations), expected, "{p} {m} {durations:?}");
        }
    }
}

#[test]
fn zero_bubble_h2_leaves_no_stage_idle_once_it_has_begun() {
    // Qi et al. 2023, table 1: (p − 1)·(t_f + t_b − 2t_w), which is nothing with passes of equal length. What is left is
    // that stages begin one after the other, and end so: the last as many passes later as there are stages before it.
    for (p, m) in [(2, 4), (4, 8), (4, 16), (8, 24)] {
        let one = Durations { forward: 1, backward: 1, weight: 1 };
        assert_eq!(bubble(&PipelineSchedule::ZeroBubbleH2, p, 1, m, one), u64::from(p - 1), "{p} {m}");
        let layout = layout(&PipelineSchedule::ZeroBubbleH2, p, 1);
        let ends = dry_run(&slots(&PipelineSchedule::ZeroBubbleH2, layout, m, false), layout, m, one);
        let expected: Vec<u64> = (0..p).map(|stage| u64::from(3 * m + stage)).collect();
        assert_eq!(ends.expect("a published order"), expected, "{p} {m}: no stage waits after its first pass");
    }
}

#[test]
fn zero_bubble_v_has_no_bubble_but_the_first_forwards() {
    // Qi et al. 2024, section 4: with passes of equal length the only idle time of the last stage is that before
    // its first forward, p − 1; ours is at most that on every stage.
    for (p, m) in [(2, 4), (4, 8), (4, 16), (8, 24)] {
        let one = Durations { forward: 1, backward: 1, weight: 1 };
        let idle = bubble(&PipelineSchedule::ZeroBubbleV, p, 2, m, one);
        assert!(idle <= u64::from(p - 1), "{p} {m}: {idle}");
    }
}

#[test]
fn zero_bubble_h2_holds_twice_as_many_but_one() {
    // Qi et al. 2023, table 1: (2p − 1) micro-batches on the first stage, where H1 holds p; no other holds more.
    let (p, m) = (4, 16);
    let slots = slots(&PipelineSchedule::ZeroBubbleH2, layout(&PipelineSchedule::ZeroBubbleH2, p, 1), m, false);
    let most = |of_stage: &Vec<Slot>| {
        let held = of_stage.iter().scan(0_i32, |held, slot| {
            *held += i32::from(slot.pass == Pass::Forward) - i32::from(slot.pass == Pass::Weight);
            Some(*held)
        });
        held.max()
    };
    assert_eq!(slots.iter().map(most).collect::<Vec<_>>(), vec![Some(7); 4]);
}

#[test]
fn the_first_stage_of_1f1b_holds_as_many_micro_batches_as_there_are_stages() {
    for schedule in [PipelineSchedule::OneFOneB, PipelineSchedule::ZeroBubbleH1] {
        let slots = slots(&schedule, layout(&schedule, 4, 1), 16, false);
        let last = if schedule.splits_backward() { Pass::Weight } else { Pass::Backward };
        for of_stage in &slots {
            let (mut in_flight, mut most) = (0_i32, 0);
            for slot in of_stage {
                in_flight += i32::from(slot.pass == Pass::Forward) - i32::from(slot.pass == last);
                most = most.max(in_flight);
            }
            assert!(most <= 4, "Narayanan et al. 2021, section 2.2; Qi et al. 2023, section 3: {most}");
        }
    }
}

#[test]
fn paired_orders_can_be_kept_and_pair_all_that_is_steady() {
    let one = Durations { forward: 1, backward: 1, weight: 1 };
    for (schedule, stages, chunks, m) in [
        (PipelineSchedule::OneFOneB, 1, 1, 8),
        (PipelineSchedule::OneFOneB, 4, 1, 16),
        (PipelineSchedule::Interleaved, 4, 2, 16),
        (PipelineSchedule::DualPipeV, 4, 2, 16),
        (PipelineSchedule::DualPipeV, 1, 2, 5),
        (PipelineSchedule::DualPipe, 4, 2, 16),
    ] {
        let layout = layout(&schedule, stages, chunks);
        let slots = slots(&schedule, layout, m, true);
        dry_run(&slots, layout, m, one).unwrap_or_else(|stuck| panic!("{schedule:?} {stages}: {stuck:?}"));
        for (stage, of_stage) in (0..).zip(&slots) {
            let pairs = of_stage
                .windows(2)
                .filter(|pair| (pair[0].pass, pair[1].pass) == (Pass::Backward, Pass::Forward) && pair[0] != pair[1]);
            let all = (m * layout.chunks / layout.copies()) as usize;
            // What is in flight before the first pair and behind the last is not paired.
            let unpaired = match schedule {
                PipelineSchedule::OneFOneB => 2 * (stages - 1 - stage) + 1,
                PipelineSchedule::Interleaved => 2 * (stages - 1 - stage) + (layout.chunks - 1) * stages + 1,
                _ => 4 * stages,
            };
            assert!(pairs.count() + unpaired as usize >= all, "{schedule:?} {stages}, stage {stage}");
        }
    }
}

#[test]
fn dual_pipe_v_has_no_larger_bubble_than_its_paper_says() {
    // deepseek-ai/DualPipe, table of its README: (PP/2 − 1)·(F&B + B − 3W) on PP/2 devices. With passes of length one a
    // backward with its weights takes 2 and a pair 3: 2·(p − 1) on p devices.
    for (p, m) in [(2, 4), (4, 8), (4, 16), (8, 24)] {
        let one = Durations { forward: 1, backward: 1, weight: 1 };
        let idle = bubble(&PipelineSchedule::DualPipeV, p, 2, m, one);
        assert!(idle <= 2 * u64::from(p - 1), "{p} {m}: {idle}");
    }
}

#[test]
fn dual_pipe_has_the_bubble_of_a_v_half_as_long() {
    // deepseek-ai/DualPipe, table of its README: both have a bubble of (PP/2 − 1) units, DualPipeV on half the devices.
    for (p, m) in [(2, 4), (4, 8), (8, 16), (8, 40)] {
        let one = Durations { forward: 1, backward: 1, weight: 1 };
        let both_ends = bubble(&PipelineSchedule::DualPipe, p, 2, m, one);
        assert_eq!(both_ends, bubble(&PipelineSchedule::DualPipeV, p / 2, 2, m / 2, one), "{p} {m}");
    }
}

#[test]
fn a_circle_is_found() {
    let layout = Layout { stages: 2, chunks: 1, layout: ChunkLayout::Loop };
    let circular = vec![vec![backward(0), forward(0)], vec![forward(0), backward(0)]];
    let one = Durations { forward: 1, backward: 1, weight: 1 };
    assert_eq!(dry_run(&circular, layout, 1, one), Err(Stuck { stage: 0, slot: backward(0) }));
}
