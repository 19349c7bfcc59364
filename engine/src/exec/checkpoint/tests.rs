#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::exec::loss_scale::LossScale;
use crate::exec::{ExecError, Format};
use crate::scenario::Precision;
use crate::units::Bytes;

/// More than anything here has.
const LIMIT: Bytes = Bytes(1 << 20);

/// Two ranks: the first tensor is a replica, the others are their own.
fn checkpoint(steps: u32) -> Checkpoint {
    let saved = |name: &str, words: &[u32]| Saved {
        name: name.into(),
        format: Format::Word,
        shape: [words.len(), 1],
        words: words.into(),
    };
    let floats = |from: u32| (from..from + 300).map(|n| (n as f32 / 7.0).to_bits()).collect::<Vec<u32>>();
    Checkpoint {
        progress: Progress { steps, updates: steps, loss_scale: LossScale::new(Precision::Fp32), made: None },
        tensors: vec![
            saved("0/1/weight", &floats(steps)),
            saved("0/2/moment", &floats(5)),
            saved("1/1/weight", &floats(steps)),
            saved("1/2/moment", &floats(9)),
        ],
    }
}

fn forms() -> impl Iterator<Item = CheckpointForm> {
    (0..8).map(|bits| CheckpointForm {
        sharded: bits & 1 == 1,
        compressed: bits & 2 == 2,
        once: bits & 4 == 4,
        reduced: false,
    })
}

/// What the files of a set are when one of them is `changed`.
fn unpacked(packed: &Packed, changed: &dyn Fn(&mut Vec<u8>)) -> Result<Checkpoint, ExecError> {
    packed.index.unpack(LIMIT, |name, _| {
        let place = packed.index.files.iter().position(|file| file.name == name).expect("a file of the set");
        let mut bytes = packed.files[place].clone();
        if place == 0 {
            changed(&mut bytes);
        }
        Ok(bytes)
    })
}

#[test]
fn what_is_packed_in_any_form_is_unpacked_to_the_bit() {
    for form in forms() {
        let packed = Packed::of(&checkpoint(7), form).expect("it is small");
        assert_eq!(packed.files.len(), if form.sharded { 2 } else { 1 }, "{form:?}");
        assert_eq!(packed.index.same.len(), usize::from(form.once), "{form:?}");
        let index = Index::of_bytes(&packed.index_bytes().expect("plain data")).expect("it was written");
        assert_eq!(index, packed.index);
        assert_eq!(unpacked(&packed, &|_| {}).expect("nothing was changed"), checkpoint(7), "{form:?}");
        if form.compressed {
            assert!(packed.bytes() < packed.raw_bytes(), "{form:?}");
        }
    }
}

#[test]
fn a_bit_that_was_changed_anywhere_and_a_byte_that_is_missing_are_noticed() {
    for form in forms() {
        let packed = Packed::of(&checkpoint(7), form).expect("it is small");
        for place in 0..packed.files[0].len() {
            let error = unpacked(&packed, &|bytes| bytes[place] ^= 1 << (place % 8)).expect_err("a bit was changed");
            assert!(matches!(&error, ExecError::Checkpoint(why) if why.contains("CRC-32")), "{form:?}: {error}");
        }
        let error = unpacked(&packed, &|bytes| bytes.truncate(bytes.len() - 1)).expect_err("a byte is missing");
        assert!(matches!(&error, ExecError::Checkpoint(why) if why.contains("were written")), "{form:?}: {error}");
    }
    // One file alone has the checksum of its numbers in it.
    let bytes = checkpoint(7).to_bytes().expect("it is small");
    let numbers = bytes.len() - 300 * 16;
    for place in (numbers..bytes.len()).step_by(97) {
        let mut changed = bytes.clone();
        changed[place] ^= 4;
        let error = Checkpoint::of_bytes(&changed).expect_err("a bit was changed").to_string();
        assert!(error.contains("CRC-32"), "{error}");
    }
}

#[test]
fn rounding_to_bf16_is_to_the_nearest_and_what_was_rounded_is_widened() {
    for saved in checkpoint(7).tensors {
        let widened = saved.clone().rounded().widened();
        assert_eq!((widened.shape, widened.words.len()), (saved.shape, saved.words.len()));
        for (&wide, &exact) in widened.words.iter().zip(&saved.words) {
            let (wide, exact) = (f32::from_bits(wide), f32::from_bits(exact));
            assert!((wide - exact).abs() <= exact.abs() / 256.0, "{exact} became {wide}");
        }
    }
}

/// An empty folder of this test.
fn folder(name: &str) -> PathBuf {
    let target = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/checkpoints");
    let path = target.join(format!("{name}-{}", std::process::id()));
    fs::remove_dir_all(&path).ok();
    path
}

fn save(folder: &CheckpointFolder, step: u32) {
    let form = CheckpointForm { sharded: true, compressed: true, once: true, reduced: false };
    folder.save(&Packed::of(&checkpoint(step), form).expect("it is small")).expect("there is room");
}

#[test]
fn a_folder_keeps_the_last_and_falls_back_where_one_was_damaged() {
    let path = folder("last");
    let store = CheckpointFolder::open(&path, 2).expect("it can be made");
    assert!(store.latest(LIMIT).expect("it can be read").is_none());
    (1..=4).for_each(|step| save(&store, step));
    assert_eq!(store.steps(), Ok(vec![3, 4]));
    assert_eq!(store.latest(LIMIT).expect("it is whole").expect("there is one").checkpoint, checkpoint(4));
    // The same step again, as after going back: it gives way.
    save(&store, 4);
    assert_eq!(store.steps(), Ok(vec![3, 4]));
    let file = path.join("step-00000004/rank-00000.safetensors.zst");
    fs::write(&file, &fs::read(&file).expect("it is there")[1..]).expect("it can be written");
    let found = store.latest(LIMIT).expect("the one before is whole").expect("there is one");
    assert_eq!((found.checkpoint, found.passed_over.len()), (checkpoint(3), 1));
    assert!(found.passed_over[0].contains("rank-00000.safetensors.zst"), "{:?}", found.passed_over);
    fs::remove_file(path.join("step-00000003/index.json")).expect("it is there");
    assert!(store.latest(LIMIT).is_err(), "none is whole");
    fs::remove_dir_all(&path).ok();
}

#[test]
fn what_an_interrupted_run_has_left_is_removed_and_never_read() {
    let path = folder("partial");
    let store = CheckpointFolder::open(&path, 2).expect("it can be made");
    save(&store, 1);
    fs::rename(path.join("step-00000001"), path.join(".partial-00000002")).expect("it can be renamed");
    assert!(store.latest(LIMIT).expect("it can be read").is_none(), "what is not whole is no checkpoint");
    drop(store);
    CheckpointFolder::open(&path, 2).expect("it is there");
    let left: Vec<_> =
        fs::read_dir(&path).expect("it is there").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, [".lock"]);
    fs::remove_dir_all(&path).ok();
}

/// Writes an index anew, with a checksum that is right.
fn forge(path: &std::path::Path, change: impl Fn(&mut Index)) {
    let mut index = Index::of_bytes(&fs::read(path).expect("it is there")).expect("it is whole");
    change(&mut index);
    let forged = Packed { index, files: Vec::new() }.index_bytes().expect("plain data");
    fs::write(path, forged).expect("it can be written");
}

#[test]
fn an_index_that_was_changed_or_forged_is_refused() {
    let path = folder("crafted");
    let store = CheckpointFolder::open(&path, 2).expect("it can be made");
    save(&store, 1);
    let index = path.join("step-00000001/index.json");
    let whole = fs::read(&index).expect("it is there");
    let refused = |why: &str| {
        let error = store.latest(LIMIT).map(|_| ()).expect_err("it was changed").to_string();
        assert!(error.contains(why), "{why}: {error}");
        fs::write(&index, &whole).expect("it can be written");
    };
    for place in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(&index, changed).expect("it can be written");
        refused("index.json");
    }
    forge(&index, |index| index.files[0].name = "../../secret".to_owned());
    refused("no file beside the index");
    forge(&index, |index| index.version = 2);
    refused("version 2");
    forge(&index, |index| index.steps = 9);
    refused("of step 1");
    forge(&index, |index| index.files.push(index.files[0].clone()));
    refused("twice");
    forge(&index, |index| index.files[0].raw_bytes = 1 << 40);
    refused("no more than");
    forge(&index, |index| drop(index.same.insert("1/1/weight".to_owned(), "0/2/moment".to_owned())));
    refused("not the same tensor");
    forge(&index, |index| drop(index.same.insert("1/2/moment".to_owned(), "0/2/moment".to_owned())));
    refused("twice");
    assert!(store.latest(LIMIT).is_ok());
    fs::remove_dir_all(&path).ok();
}

#[test]
fn whatever_was_being_replaced_comes_back() {
    let path = folder("replaced");
    save(&CheckpointFolder::open(&path, 1).expect("it can be made"), 3);
    // Killed between the two renames.
    fs::rename(path.join("step-00000003"), path.join(".old-00000003")).expect("it can be renamed");
    let found = CheckpointFolder::at(&path).latest(LIMIT).expect("it can be read").expect("it is found where it is");
    assert_eq!(found.checkpoint, checkpoint(3));
    let store = CheckpointFolder::open(&path, 1).expect("it is there");
    assert!(path.join("step-00000003/index.json").exists() && !path.join(".old-00000003").exists());
    assert_eq!(store.load(3, LIMIT).expect("it is whole"), checkpoint(3));
    fs::remove_dir_all(&path).ok();
}

#[test]
fn what_others_have_written_there_stays_and_runs_are_not_mixed() {
    let path = folder("others");
    for name in [".old-photos", ".partial-thesis", "step-1", "step-00000001"] {
        fs::create_dir_all(path.join(name)).expect("it can be made");
        fs::write(path.join(name).join("mine"), "mine").expect("it can be written");
    }
    let store = CheckpointFolder::open(&path, 1).expect("it is there");
    (2..=4).for_each(|step| save(&store, step));
    for name in [".old-photos", ".partial-thesis", "step-1", "step-00000001"] {
        assert!(path.join(name).join("mine").exists(), "{name}");
    }
    let second = CheckpointFolder::open(&path, 1).map(|_| ()).expect_err("one run writes at a time").to_string();
    assert!(second.contains("another run writes there"), "{second}");
    let mixed = store.begin(2, LIMIT).expect_err("step 4 is of a run that went further").to_string();
    assert!(mixed.contains("step 4") && mixed.contains("--resume"), "{mixed}");
    assert_eq!(store.begin(4, LIMIT), Ok(()));
    // One that cannot be used is set aside, so that it does not count as kept.
    let file = path.join("step-00000004/index.json");
    fs::write(&file, "{}").expect("it can be written");
    assert_eq!(store.begin(3, LIMIT), Ok(()));
    assert!(path.join("damaged-00000004").exists());
    fs::remove_dir_all(&path).ok();
}

#[test]
fn every_learning_rate_is_read_as_it_was_written() {
    let mut checkpoint = checkpoint(3);
    for learning_rate in [0.000_111_851_192_399_386_73, 1e-4, 0.1 + 0.2, f64::MIN_POSITIVE, 3.0e-5 / 7.0] {
        checkpoint.progress.made = Some(Made { seed: u64::MAX, learning_rate });
        let bytes = checkpoint.to_bytes().expect("a file");
        let read = Checkpoint::of_bytes(&bytes).expect("the same");
        assert_eq!(read.progress.made.map(|made| made.learning_rate.to_bits()), Some(learning_rate.to_bits()));
    }
}
