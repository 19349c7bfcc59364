#!/bin/sh
# What docs/GPU.md has, on the machine on which it is started: `docs/gpu.sh FOLDER`.
# Takes some minutes after building; the kernels' twins come last, since their shaders are many to compile.
set -e
out=${1:?a folder for what is measured}
mkdir -p "$out"
cargo build --release -p shardlab --no-default-features --features gpu
target/release/shardlab bench --largest 4096 --tune "$out/tuning.json" --json > "$out/bench.json"
cargo bench -p shardlab-engine --bench predicted | tee "$out/predicted.txt"
cargo bench -p shardlab-engine --bench steps | tee "$out/steps.txt"
for scenario in tiny-llama-1 tiny-resnet-dp2 tiny-dlrm-dp2 tiny-llama-fp8-dp2 small-llama-8ranks; do
    target/release/shardlab compare "$scenario" --json > "$out/compare-$scenario.json"
done
SHARDLAB_REQUIRE_GPU=1 cargo test --release -p shardlab-engine --test kernels
SHARDLAB_REQUIRE_GPU=1 cargo test --release -p shardlab-engine --test equivalence -- gpu
