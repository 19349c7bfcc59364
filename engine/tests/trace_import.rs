//! Traces of other tools: what they say is kept to the nanosecond, and what is wrong with them is said.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "cases/kineto.rs"]
mod kineto;

use kineto::kineto;
use shardlab_engine::analysis::hta::{Change, trace_diff, trace_report};
use shardlab_engine::graph::lower;
use shardlab_engine::report::{import_trace, perfetto_json};
use shardlab_engine::scenario::Scenario;
use shardlab_engine::sim::simulate;
use shardlab_engine::trace::{Activity, Imported, Origin, Stream};
use shardlab_engine::units::Nanos;

fn read(text: &str) -> Imported {
    import_trace("run.json", text.as_bytes()).unwrap()
}

fn us(micros: i64) -> Nanos {
    Nanos(micros * 1000)
}

/// Two sizes of one kernel, in a group of eight: an all-gather of 8 MiB at the output, beside a product for half of its time.
#[test]
fn collectives_stand_by_group_kind_and_size_with_the_bandwidths_of_nccl_tests() {
    let nccl = |at: u32, dur: u32, name: &str, brought: u64, got: u64| {
        format!(
            r#"{{"ph":"X","cat":"kernel","name":"ncclDevKernel_Generic","pid":0,"tid":20,"ts":{at},"dur":{dur},"args":{{"device":0,"stream":20,
            "Collective name":"{name}","In msg nelems":{brought},"Out msg nelems":{got},"Group size":8,"dtype":"BFloat16","Process Group Description":"tp"}}}}"#
        )
    };
    let product =
        r#"{"ph":"X","cat":"kernel","name":"gemm","pid":0,"tid":7,"ts":150,"dur":50,"args":{"device":0,"stream":7}}"#;
    let events = [
        nccl(100, 100, "_allgather_base", 1 << 19, 1 << 22),
        nccl(300, 10, "_allgather_base", 1 << 16, 1 << 19),
        nccl(400, 20, "allreduce", 1 << 20, 1 << 20),
        nccl(500, 30, "_reduce_scatter_base", 1 << 22, 1 << 19),
        product.to_owned(),
    ];
    let report = trace_report(&read(&format!("[{}]", events.join(","))));
    let found: Vec<_> = report.collectives.iter().map(|row| (row.class, row.size.0 >> 20, row.exposed)).collect();
    let expected = [
        ("all_gather", 8, us(50)),
        ("reduce_scatter", 8, us(30)),
        ("all_reduce", 2, us(20)),
        ("all_gather", 1, us(10)),
    ];
    assert_eq!(found, expected);
    let [gather, _, reduce, _] = &report.collectives[..] else { panic!("four rows") };
    assert_eq!((&*gather.group, gather.ranks, gather.count), ("tp", 8, 1));
    let gb = |rate: Option<shardlab_engine::units::BytesPerSec>| (rate.expect("known").0 / 1e9 * 1e3).round() / 1e3;
    assert_eq!((gb(gather.algorithm_bandwidth()), gb(gather.bus_bandwidth())), (83.886, 73.4));
    assert_eq!((gb(reduce.algorithm_bandwidth()), gb(reduce.bus_bandwidth())), (104.858, 183.501));
    // A file that does not say sizes has rows without them.
    let silent = trace_report(&read(&kineto(0, 200, 300)));
    assert_eq!(silent.collectives.len(), 1);
    assert_eq!((silent.collectives[0].ranks, silent.collectives[0].algorithm_bandwidth()), (0, None));
}

#[test]
fn a_trace_of_pytorch_has_its_streams_calls_and_steps() {
    let imported = read(&kineto(3, 200, 300));
    let trace = &imported.trace;
    trace.verify().unwrap();
    assert_eq!((trace.origin, imported.groups.len(), &*imported.groups[0]), (Origin::Imported, 1, "rank 3"));
    let names: Vec<&str> = trace.tracks.iter().map(|track| track.name()).collect();
    assert_eq!(
        names,
        ["stream 7", "stream 20", "thread 99", "thread 99 · 1", "thread 99 · 2"],
        "calls lie below operators"
    );
    assert_eq!((trace.tracks[0].stream, trace.tracks[1].stream), (Stream::Compute, Stream::ModelComm));
    // Nanoseconds of a date in microseconds are kept.
    let reduce = trace.spans.iter().find(|span| trace.label(span).class == "all_reduce").unwrap();
    assert_eq!((reduce.start, reduce.duration), (Nanos(100_250), Nanos(300_125)));
    assert_eq!(imported.launches.len(), 3);
    assert!(
        imported
            .launches
            .iter()
            .all(|launch| trace.spans[launch.call as usize].start < trace.spans[launch.work as usize].start)
    );
    assert_eq!((imported.steps.len(), &*imported.steps[0].name), (1, "ProfilerStep#3"));
    assert!(imported.notes.is_empty(), "{:?}", imported.notes);
}

#[test]
fn the_formulas_are_those_of_holistic_trace_analysis() {
    let imported = read(&kineto(0, 200, 300));
    let report = trace_report(&imported);
    let rank = &report.ranks[0];
    // Kernels at 30.25 to 230.375, 100.25 to 400.375, and 500.25 to 700.375.
    assert_eq!(rank.kernel_time, Nanos(670_125));
    assert_eq!(rank.compute, Nanos(2 * 200_125));
    assert_eq!(rank.non_compute, Nanos(400_375 - 230_375));
    assert_eq!(rank.idle, Nanos(500_250 - 400_375));
    assert_eq!(rank.idle + rank.compute + rank.non_compute, rank.kernel_time, "the parts are all of it");
    let overlap = rank.overlap.unwrap();
    assert!((overlap - 130_125.0 / 300_125.0).abs() < 1e-12, "{overlap}");
    // The third kernel was launched at 400, when the first had ended: the host is waited for.
    assert_eq!((rank.waits.host_wait, rank.waits.other), (Nanos(500_250 - 230_375), Nanos::ZERO));
    assert_eq!((rank.queue.launches, rank.queue.max), (3, 2));
    let gemm = &report.kernels[0];
    assert_eq!((gemm.count, gemm.sum, gemm.class), (2, Nanos(400_250), "matmul"));
    assert_eq!(report.kernels[1].activity, Activity::Communication);
}

#[test]
fn ranks_of_a_run_lie_beside_each_other_and_the_slow_one_is_named() {
    let ranks = [(0, 200, 300), (1, 260, 240), (2, 200, 300), (3, 201, 299)];
    let all = ranks.map(|(rank, matmul, reduce)| read(&kineto(rank, matmul, reduce)));
    let merged = Imported::merged(all.into_iter().collect()).unwrap();
    merged.trace.verify().unwrap();
    assert_eq!(merged.groups.iter().map(|name| &**name).collect::<Vec<_>>(), ["rank 0", "rank 1", "rank 2", "rank 3"]);
    let report = trace_report(&merged);
    let slow: Vec<&str> = report.ranks.iter().filter(|rank| rank.is_straggler).map(|rank| &*rank.name).collect();
    assert_eq!(slow, ["rank 1"], "it computes longest, and others wait for it in the collective");
    assert_eq!(
        report.kernels.iter().map(|row| row.count).collect::<Vec<_>>(),
        [8, 4],
        "kernels of all ranks count together"
    );
}

#[test]
fn two_runs_differ_kernel_by_kernel() {
    let (before, after) =
        (read(&kineto(0, 200, 300)), read(&kineto(0, 150, 300).replace("AllReduce", "ReduceScatter")));
    let rows = trace_diff(&trace_report(&before), &trace_report(&after));
    let of = |part: &str| rows.iter().find(|row| row.name.contains(part)).unwrap();
    assert_eq!((of("AllReduce").change, of("ReduceScatter").change), (Change::Deleted, Change::Added));
    assert_eq!((of("gemm").change, of("gemm").difference()), (Change::Unchanged, us(-100)));
}

#[test]
fn what_this_program_writes_it_reads_again() {
    let scenario = Scenario::preset("tiny-llama-pp2-tp2").unwrap();
    let trace = simulate(&lower(&scenario), &scenario);
    let imported = read(&perfetto_json(&trace));
    assert!(imported.notes.is_empty(), "{:?}", imported.notes);
    assert_eq!(imported.trace.spans.len(), trace.spans.len());
    let first = trace.spans.iter().map(|span| span.start).min().unwrap();
    assert_eq!(imported.trace.step_time, trace.step_time - first, "times count from the first slice");
    assert_eq!(imported.trace.flows.len(), trace.flows.len());
    let sum = |trace: &shardlab_engine::trace::Trace, stream: Stream| -> Nanos {
        trace.spans.iter().filter(|span| trace.track(span).stream == stream).map(|span| span.duration).sum()
    };
    for stream in Stream::ALL {
        assert_eq!(sum(&imported.trace, stream), sum(&trace, stream), "{}", stream.name());
    }
    let matmuls = trace_report(&imported).classes.iter().find(|class| class.class == "matmul").map(|class| class.count);
    let of_class = trace.spans.iter().filter(|span| trace.label(span).class == "matmul").count() as u64;
    assert_eq!(matmuls, Some(of_class));
}

#[test]
fn files_that_are_wrong_say_what_to_do() {
    let error = |bytes: &[u8]| import_trace("x.json", bytes).unwrap_err().to_string();
    let good = kineto(0, 200, 300);
    for length in [0, 1, 40, good.len() / 2, good.len() - 1] {
        let said = error(&good.as_bytes()[..length]);
        assert!(said.contains("truncated") || said.contains("no JSON"), "{length}: {said}");
    }
    assert!(error(b"{\"traceEvents\": 5}").contains("a list of events"));
    assert!(error(b"{\"traceEvents\": [5]}").contains("`ph`"));
    assert!(error(b"{\"traceEvents\": [{\"ph\": 3}]}").contains("line 1"));
    assert!(
        error(b"{}").contains("no slices") && error(b"[]").contains("no slices") && error(b"\"x\"").contains("a trace")
    );
    assert!(error(&[0x1f, 0x8b, 8, 0, 0]).contains("truncated or damaged"));
    let threads: Vec<String> = (0..1_000_000 / 64)
        .map(|tid| format!(r#"{{"ph":"X","name":"a","pid":1,"tid":{tid},"ts":1,"dur":1}}"#))
        .collect();
    assert!(error(format!("[{}]", threads.join(",")).as_bytes()).contains("more than 10000 threads"));
}

#[test]
fn what_cannot_be_is_left_out_and_counted() {
    let x = |tid: &str, ts: &str, dur: &str| {
        format!(r#"{{"ph":"X","name":"a","pid":1,"tid":{tid},"ts":{ts},"dur":{dur}}}"#)
    };
    let flow = |ph: &str, id: u32, tid: u32, ts: u32| {
        format!(r#"{{"ph":"{ph}","id":{id},"pid":1,"tid":{tid},"ts":{ts},"bp":"e","cat":"c"}}"#)
    };
    let events = [
        x("1", "5", "-3"),
        x("1", "\"soon\"", "3"),
        x("1", "-10", "5"),
        x("1", "0", "10"),
        // It overlaps the one before, and does not lie in it.
        x("1", "5", "10"),
        x("2", "0", "100"),
        r#"{"ph":"E","pid":1,"tid":1,"ts":50}"#.to_owned(),
        r#"{"ph":"B","name":"b","pid":1,"tid":3,"ts":50}"#.to_owned(),
        r#"{"ph":"C","name":"counter","pid":1,"ts":1,"args":{"value":[1,{"a":null}]}}"#.to_owned(),
        // Arrows in a circle.
        flow("s", 1, 1, 2),
        flow("f", 1, 2, 50),
        flow("s", 2, 2, 50),
        flow("f", 2, 1, 12),
        flow("f", 9, 1, 2),
    ];
    let imported = read(&format!("[{}]", events.join(",")));
    imported.trace.verify().unwrap();
    assert_eq!(imported.trace.spans.len(), 4);
    assert_eq!(imported.trace.step_time, us(110), "from -10 to 100");
    assert!(imported.trace.flows.len() <= 2);
    let notes = imported.notes.join("; ");
    for part in ["1 slices end before", "1 events have no time", "1 ends have no beginning", "1 slices have no end"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

/// `profile_memory=True`: marks of the device's allocator become its curve; those of the host do not.
#[test]
fn marks_of_memory_become_a_curve_of_their_rank() {
    let text = r#"{"distributedInfo": {"rank": 3}, "traceEvents": [
        {"ph":"X","cat":"kernel","name":"gemm","pid":0,"tid":7,"ts":100,"dur":50,"args":{"device":0,"stream":7}},
        {"ph":"i","s":"t","cat":"cpu_instant_event","name":"[memory]","pid":1,"tid":1,"ts":90,"args":{"Device Type":1,"Device Id":0,"Total Allocated":1000,"Bytes":1000}},
        {"ph":"i","s":"t","cat":"cpu_instant_event","name":"[memory]","pid":1,"tid":1,"ts":120,"args":{"Device Type":1,"Device Id":0,"Total Allocated":5000,"Bytes":4000}},
        {"ph":"i","s":"t","cat":"cpu_instant_event","name":"[memory]","pid":1,"tid":1,"ts":130,"args":{"Device Type":0,"Device Id":-1,"Total Allocated":77,"Bytes":77}}]}"#;
    let imported = import_trace("rank3.json", text.as_bytes()).expect("a trace");
    let [curve] = imported.trace.memory.as_slice() else { panic!("one curve, got {:?}", imported.trace.memory) };
    let samples: Vec<(i64, u64)> = curve.samples.iter().map(|s| (s.at.0, s.used.total().0)).collect();
    assert_eq!(samples, [(0, 1000), (20_000, 5000)]);
    let both = Imported::merged(vec![imported.clone(), imported]).expect("two ranks");
    assert_eq!(both.trace.memory.iter().map(|curve| curve.group).collect::<Vec<_>>(), [0, 1]);
}
