//! A run that is fed from disk trains on what one trains on that is fed from memory, and waits at least as long as its storage
//! takes.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use pollster::block_on;
use shardlab_engine::compare::{LoadingOptions, measure_loading};
use shardlab_engine::exec::{Asked, BackendKind, DiskLoader, DiskSamples, LoaderOptions, Trainer, open};
use shardlab_engine::scenario::{CachePolicy, Scenario};
use shardlab_engine::units::{Bytes, BytesPerSec};

fn folder(name: &str) -> PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("loading").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn trainer(scenario: &Scenario) -> Trainer {
    let backend = block_on(open(BackendKind::Cpu)).unwrap();
    block_on(Trainer::new(scenario, backend)).unwrap()
}

#[test]
fn samples_from_disk_give_the_losses_of_samples_from_memory() {
    for preset in ["tiny-llama-1", "tiny-bert-pp2", "tiny-resnet-dp2", "tiny-dlrm-dp2"] {
        let scenario = Scenario::preset(preset).unwrap();
        let batch = scenario.strategy().global_batch;
        let samples = DiskSamples::open_or_make(&folder(preset), &scenario, batch * 3, Bytes(4000)).unwrap();
        let order = (0..batch * 3).map(|sample| Asked { sample, ..Asked::default() }).collect();
        let options = LoaderOptions { batch, workers: 2, prefetch: 2, limit: None };
        let mut loader = DiskLoader::start(samples, options, order);
        let (mut fed, mut own) = (trainer(&scenario), trainer(&scenario));
        while let Some(samples) = loader.next_batch().unwrap() {
            fed.give(samples);
            let (from_disk, from_memory) = (block_on(fed.step()).unwrap(), block_on(own.step()).unwrap());
            assert_eq!(from_disk.loss.to_bits(), from_memory.loss.to_bits(), "{preset}, step {}", from_disk.step);
        }
        assert_eq!(block_on(fed.step()).unwrap().step, 4, "{preset}: three batches were loaded");
        let loaded = loader.loaded();
        assert_eq!((loaded.samples, loaded.hits), (u64::from(batch) * 3, 0));
    }
}

fn loading(policy: CachePolicy, capacity: Bytes) -> LoadingOptions {
    LoadingOptions {
        steps: 12,
        count: 24,
        bytes: Bytes(20_000),
        workers: 1,
        prefetch: 2,
        limit: Some(BytesPerSec(4e6)),
        policy,
        capacity,
    }
}

#[test]
fn caches_of_real_bytes_find_what_the_simulated_find_and_nothing_is_faster_than_its_storage() {
    let scenario = Scenario::preset("tiny-llama-1").unwrap();
    let (mut trainer, folder) = (trainer(&scenario), folder("cached"));
    for (policy, capacity) in [
        (CachePolicy::Lru, Bytes(1)),
        (CachePolicy::Lru, Bytes(240_000)),
        (CachePolicy::Pinned, Bytes(240_000)),
        (CachePolicy::S3Fifo, Bytes(240_000)),
        (CachePolicy::Belady, Bytes(240_000)),
    ] {
        let options = loading(policy, capacity);
        let report = block_on(measure_loading(&scenario, &mut trainer, &folder, options, &mut |_| true)).unwrap();
        assert!((report.hits() - report.modelled_hits).abs() < 1e-9, "{policy:?}: {report:?}");
        assert_eq!((report.waits.len(), report.losses.len()), (12, 12));
        // A limit cannot be beaten: all that was read took its time, whatever else the machine did meanwhile.
        let read = report.loaded.read.as_f64() / 4e6;
        assert!(report.loaded.reading.secs() > read * 0.9, "{policy:?}: {} for {read} s", report.loaded.reading);
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_its_path() {
    let scenario = Scenario::preset("tiny-llama-1").unwrap();
    let place = folder("refused");
    let samples = DiskSamples::open_or_make(&place, &scenario, 8, Bytes(1000)).unwrap();
    let other = Scenario::preset("tiny-resnet-dp2").unwrap();
    let error = DiskSamples::open_or_make(&place, &other, 8, Bytes(1000)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("refused") && error.contains("choose an empty folder"), "{error}");
    assert!(samples.decode(3, b"nothing").is_err());
    std::fs::remove_file(place.join("00000003.sample")).unwrap();
    let order = (0..8).map(|sample| Asked { sample, ..Asked::default() }).collect();
    let options = LoaderOptions { batch: 8, workers: 3, prefetch: 1, limit: None };
    let mut loader = DiskLoader::start(samples, options, order);
    let error = loader.next_batch().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("00000003.sample"), "{error}");
    std::fs::write(place.join("samples.json"), "{").unwrap();
    let error = DiskSamples::open_or_make(&place, &scenario, 8, Bytes(1000)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("samples.json") || error.contains("refused"), "{error}");
}
