//! Traces as torch.profiler writes them.

/// A rank as torch.profiler writes it: two matmuls of some microseconds on stream 7 and an all-reduce on stream 20 between
/// them, each launched from the host, under an operator.
pub fn kineto(rank: u32, matmul: u32, reduce: u32) -> String {
    let base = 1_700_000_000_000_000_u64;
    let kernel = |name: &str, stream: u32, at: u64, dur: u32, correlation: u32| {
        format!(
            r#"{{"ph": "X", "cat": "kernel", "name": "{name}", "pid": 0, "tid": {stream}, "ts": {at}.250, "dur": {dur}.125,
             "args": {{"device": 0, "stream": {stream}, "correlation": {correlation}, "External id": 5, "grid": [1, 2, 3]}}}}"#
        )
    };
    let call = |at: u64, correlation: u32| {
        format!(
            r#"{{"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 4711, "tid": 99, "ts": {at}, "dur": 4,
             "args": {{"cbid": 211, "correlation": {correlation}}}}}"#
        )
    };
    let events = [
        r#"{"ph": "M", "name": "process_name", "pid": 4711, "tid": 0, "args": {"name": "python"}}"#.to_owned(),
        r#"{"ph": "M", "name": "process_sort_index", "pid": 4711, "tid": 0, "args": {"sort_index": 5}}"#.to_owned(),
        format!(r#"{{"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 4711, "tid": 99, "ts": {base}, "dur": 60}}"#),
        format!(r#"{{"ph": "X", "cat": "user_annotation", "name": "ProfilerStep#3", "pid": 4711, "tid": 99, "ts": {base}, "dur": 900}}"#),
        call(base + 10, 1),
        call(base + 20, 2),
        call(base + 400, 3),
        kernel("ampere_bf16_s16816gemm_bf16_128x128", 7, base + 30, matmul, 1),
        kernel("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 20, base + 100, reduce, 2),
        kernel("ampere_bf16_s16816gemm_bf16_128x128", 7, base + 500, matmul, 3),
        r#"{"ph": "i", "cat": "cpu_instant_event", "name": "[memory]", "pid": 4711, "tid": 99, "ts": 1, "s": "t", "args": {"Total Allocated": 1}}"#.to_owned(),
        format!(r#"{{"ph": "s", "id": 1, "pid": 4711, "tid": 99, "ts": {base}, "cat": "ac2g", "name": "ac2g"}}"#),
    ];
    format!(
        r#"{{"schemaVersion": 1, "deviceProperties": [{{"id": 0, "name": "H100"}}], "distributedInfo": {{"backend": "nccl", "rank": {rank}, "world_size": 2}},
        "traceEvents": [{}], "traceName": "x.json"}}"#,
        events.join(",\n")
    )
}
