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

/// Twelve images of three classes, of any size: each class has a colour of its own, in two formats.
fn images(folder: &std::path::Path) {
    for (class, color) in [("ants", [200, 30, 30]), ("bees", [30, 200, 30]), ("cats", [30, 30, 200])] {
        let place = folder.join(class);
        std::fs::create_dir_all(&place).unwrap();
        for number in 0..4_u32 {
            let of =
                |x: u32, y: u32| image::Rgb(color.map(|c: u8| c.saturating_add((x * 3 + y + number * 5) as u8 % 40)));
            let image = image::RgbImage::from_fn(40 + number * 7, 30 + number * 11, of);
            image.save(place.join(format!("{number}.{}", if number % 2 == 0 { "png" } else { "jpg" }))).unwrap();
        }
    }
    std::fs::write(folder.join(".hidden"), "not a sample").unwrap();
    std::fs::write(folder.join("README.md"), "not a sample").unwrap();
}

#[test]
fn a_folder_of_images_trains_a_model_and_every_class_is_told_from_the_others() {
    let scenario = Scenario::preset("tiny-resnet-folder-1").unwrap();
    let place = folder("images");
    images(&place);
    let samples = DiskSamples::open_or_make(&place, &scenario, 8, Bytes(1000)).unwrap();
    assert_eq!((samples.kind(), samples.count()), ("images", 12));
    for number in 0..12 {
        let content = samples.read(number).unwrap();
        assert_eq!(samples.size(number), Bytes(content.len() as u64));
        let sample = samples.decode(number, &content).unwrap();
        assert_eq!(sample["head targets"], [number / 4]);
        let pixels: Vec<f32> = sample["embedding images"].iter().map(|&bits| f32::from_bits(bits)).collect();
        assert_eq!(pixels.len(), 32 * 32 * 3);
        // The strongest colour of the middle pixel is the class's own.
        let middle = &pixels[(16 * 32 + 16) * 3..][..3];
        let strongest = (0..3_u32).max_by(|&a, &b| middle[a as usize].total_cmp(&middle[b as usize])).unwrap();
        assert_eq!(strongest, number / 4, "{middle:?}");
        assert!(pixels.iter().all(|shade| (-1.0..=1.0).contains(shade)));
    }
    let options = LoadingOptions { steps: 20, limit: None, ..loading(CachePolicy::Pinned, Bytes(10_000_000)) };
    let mut trainer = trainer(&scenario);
    let report = block_on(measure_loading(&scenario, &mut trainer, &place, options, &mut |_| true)).unwrap();
    let (first, last) = (report.losses[0], report.losses[19]);
    assert!(last < first * 0.7, "the loss goes from {first} to {last}");
    assert_eq!(report.loaded.samples - report.loaded.hits, 12, "each file is read once, and kept");
}

#[test]
fn images_that_are_damaged_or_of_too_many_classes_say_so() {
    let scenario = Scenario::preset("tiny-resnet-folder-1").unwrap();
    let place = folder("damaged");
    images(&place);
    let cut = place.join("bees").join("0.png");
    let content = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &content[..content.len() / 2]).unwrap();
    let samples = DiskSamples::open_or_make(&place, &scenario, 8, Bytes(1000)).unwrap();
    let error = samples.decode(4, &samples.read(4).unwrap()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("0.png"), "{error}");
    let llama = Scenario::preset("tiny-llama-1").unwrap();
    let refused = |scenario: &Scenario, place: &std::path::Path| {
        DiskSamples::open_or_make(place, scenario, 8, Bytes(1000)).map(|_| ()).unwrap_err().to_string()
    };
    assert!(refused(&llama, &place).contains("the model reads none"));
    for class in 0..9 {
        let of = place.join(format!("more {class}"));
        std::fs::create_dir_all(&of).unwrap();
        std::fs::write(of.join("a.png"), &content).unwrap();
    }
    assert!(refused(&scenario, &place).contains("model.classes = 12"), "{}", refused(&scenario, &place));
    let nothing = folder("nothing");
    std::fs::create_dir_all(&nothing).unwrap();
    std::fs::write(nothing.join("notes.md"), "").unwrap();
    assert!(refused(&scenario, &nothing).contains("choose an empty folder"));
}

#[test]
fn texts_are_read_as_bytes_where_they_lie() {
    let scenario = Scenario::preset("tiny-llama-bytes-1").unwrap();
    let place = folder("texts");
    std::fs::create_dir_all(&place).unwrap();
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(60);
    std::fs::write(place.join("a.txt"), &text[..1000]).unwrap();
    std::fs::write(place.join("b.txt"), &text[1000..]).unwrap();
    let samples = DiskSamples::open_or_make(&place, &scenario, 8, Bytes(1000)).unwrap();
    assert_eq!((samples.kind(), samples.count()), ("texts", 999 / 64 + (text.len() as u32 - 1001) / 64));
    let of = |number: u32| samples.decode(number, &samples.read(number).unwrap()).unwrap();
    let bytes: Vec<u32> = text.bytes().map(u32::from).collect();
    assert_eq!(of(1)["embedding tokens"], bytes[64..128]);
    assert_eq!(of(1)["head targets"], bytes[65..129]);
    assert_eq!(of(15)["embedding tokens"], bytes[1000..1064], "the second text begins");
    let options = LoadingOptions { steps: 20, limit: None, ..loading(CachePolicy::Lru, Bytes(1)) };
    let report = block_on(measure_loading(&scenario, &mut trainer(&scenario), &place, options, &mut |_| true)).unwrap();
    assert!(report.losses[19] < report.losses[0] * 0.8, "{:?}", report.losses);
    let error = DiskSamples::open_or_make(&place, &Scenario::preset("tiny-llama-1").unwrap(), 8, Bytes(1000));
    assert!(error.map(|_| ()).unwrap_err().to_string().contains("model.vocab = 256"));
}

/// What was trained stays, and the run goes on when the text is whole again.
#[test]
fn a_text_that_is_cut_off_while_it_is_read_ends_the_run_with_its_name() {
    let scenario = Scenario::preset("tiny-llama-bytes-1").unwrap();
    let place = folder("cut");
    std::fs::create_dir_all(&place).unwrap();
    let (path, text) = (place.join("a.txt"), "To be cut off in the middle. ".repeat(100));
    std::fs::write(&path, &text).unwrap();
    let samples = DiskSamples::open_or_make(&place, &scenario, 8, Bytes(1000)).unwrap();
    let batch = scenario.strategy().global_batch;
    let order: Vec<Asked> = (0..batch * 2).map(|sample| Asked { sample, ..Asked::default() }).collect();
    let options = LoaderOptions { batch, workers: 1, prefetch: 1, limit: None };
    let start = || DiskLoader::start(samples.clone(), options, order.clone());
    let mut trainer = trainer(&scenario);
    std::fs::write(&path, &text[..64 * batch as usize + 20]).unwrap();
    let mut loader = start();
    trainer.give(loader.next_batch().unwrap().unwrap());
    let first = block_on(trainer.step()).unwrap();
    let error = loader.next_batch().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("a.txt") && error.contains("ends before byte"), "{error}");
    std::fs::write(&path, &text).unwrap();
    let mut loader = start();
    loader.next_batch().unwrap();
    trainer.give(loader.next_batch().unwrap().unwrap());
    let second = block_on(trainer.step()).unwrap();
    assert_eq!((first.step, second.step), (1, 2));
}

#[test]
fn what_is_no_file_and_what_another_model_reads_is_passed_over() {
    let (llama, resnet) =
        (Scenario::preset("tiny-llama-bytes-1").unwrap(), Scenario::preset("tiny-resnet-folder-1").unwrap());
    let place = folder("mixed");
    images(&place);
    std::fs::write(place.join("notes.txt"), "some text ".repeat(100)).unwrap();
    for name in ["ants/folder.png", "folder.txt"] {
        std::fs::create_dir_all(place.join(name)).unwrap();
    }
    let of = |scenario: &Scenario| DiskSamples::open_or_make(&place, scenario, 8, Bytes(1000)).unwrap();
    assert_eq!((of(&llama).kind(), of(&llama).count()), ("texts", 999 / 64));
    assert_eq!((of(&resnet).kind(), of(&resnet).count()), ("images", 12));
}

#[test]
fn samples_whose_making_was_interrupted_are_made_anew() {
    let scenario = Scenario::preset("tiny-llama-1").unwrap();
    let place = folder("interrupted");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("00000000.sample"), "half of it").unwrap();
    let samples = DiskSamples::open_or_make(&place, &scenario, 8, Bytes(1000)).unwrap();
    assert_eq!((samples.kind(), samples.count()), ("written", 8));
    assert!(samples.decode(0, &samples.read(0).unwrap()).is_ok());
}

#[test]
fn an_image_of_very_many_pixels_is_refused_before_it_is_decoded() {
    let scenario = Scenario::preset("tiny-resnet-folder-1").unwrap();
    let place = folder("huge");
    std::fs::create_dir_all(place.join("a")).unwrap();
    image::GrayImage::new(9000, 9000).save(place.join("a").join("huge.png")).unwrap();
    let samples = DiskSamples::open_or_make(&place, &scenario, 8, Bytes(1000)).unwrap();
    let error = samples.decode(0, &samples.read(0).unwrap()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("9000 x 9000 pixels") && error.contains("huge.png"), "{error}");
}
