//! What a run does when its device is lost or has no memory left: it ends with an error that says so, and goes on from its
//! checkpoint on another device.

use std::time::Duration;

use pollster::block_on;

use super::device::{Failure, reported};
use super::{GpuBackend, OpenDevice};
use crate::exec::bench::{BenchOptions, Section, bench};
use crate::exec::{Backend, CheckpointForm, ExecError, Trainer, Tuning};
use crate::scenario::Scenario;

/// A device, what destroys it, and what it reports; nothing where there is none.
fn device() -> Option<(Backend, wgpu::Device, Failure)> {
    match block_on(OpenDevice::open()) {
        Ok(open) => {
            let (device, failure) = (open.device.clone(), open.failure.clone());
            Some((Backend::of_gpu(GpuBackend::of(open)), device, failure))
        }
        Err(error) => {
            assert!(std::env::var_os("SHARDLAB_REQUIRE_GPU").is_none(), "a GPU is required: {error}");
            eprintln!("skipped, since there is no GPU: {error}");
            None
        }
    }
}

fn scenario() -> Scenario {
    Scenario::preset("tiny-llama-1").expect("it is a preset")
}

fn trainer(backend: Backend) -> Trainer {
    block_on(Trainer::new(&scenario(), backend)).expect("it is executable")
}

fn checkpoint(trainer: &mut Trainer) -> Vec<u8> {
    let mut files = Vec::new();
    let stored = trainer.store(CheckpointForm::default(), |packed| {
        files = packed.files;
        std::future::ready(Ok(()))
    });
    block_on(stored).expect("the device is there");
    files.swap_remove(0)
}

fn losses(trainer: &mut Trainer, steps: usize) -> Vec<f64> {
    (0..steps).map(|_| block_on(trainer.step()).expect("the device is there").loss).collect()
}

#[test]
fn a_run_whose_device_is_lost_goes_on_from_its_checkpoint_on_another() {
    let Some((backend, ..)) = device() else { return };
    let whole = losses(&mut trainer(backend), 5);
    let Some((backend, lost, _)) = device() else { return };
    let mut run = trainer(backend);
    assert_eq!(losses(&mut run, 2), whole[..2]);
    let kept = checkpoint(&mut run);
    lost.destroy();
    for _ in 0..2 {
        let error = block_on(run.step()).expect_err("there is no device");
        assert_eq!(error, ExecError::Lost("it was destroyed".to_owned()));
    }
    let Some((backend, ..)) = device() else { return };
    let mut run = trainer(backend);
    assert_eq!(block_on(run.resume(&kept)), Ok(2));
    assert_eq!(losses(&mut run, 3), whole[2..]);
}

#[test]
fn a_device_may_be_lost_in_the_middle_of_a_step() {
    for delay in [0, 3, 11, 29] {
        let Some((backend, lost, _)) = device() else { return };
        let mut run = trainer(backend);
        losses(&mut run, 1);
        let destroys = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(delay));
            lost.destroy();
        });
        let error = (0..10_000).find_map(|_| block_on(run.step()).err());
        assert_eq!(error, Some(ExecError::Lost("it was destroyed".to_owned())), "after {delay} ms");
        destroys.join().expect("it only destroys");
    }
}

#[test]
fn a_benchmark_on_a_device_that_is_lost_ends_with_that() {
    let Some((backend, lost, _)) = device() else { return };
    lost.destroy();
    let options = BenchOptions { sections: vec![Section::Memory], ..BenchOptions::default() };
    let error = block_on(bench(backend, &options, &mut Tuning::default(), &mut |_, _| true)).err();
    assert_eq!(error, Some(ExecError::Lost("it was destroyed".to_owned())));
}

/// wgpu loses a device that has no memory left, and then says why; or the other way round.
#[test]
fn that_there_is_no_memory_says_more_than_that_a_device_was_lost() {
    let no_memory = || ExecError::OutOfMemory("none is left".to_owned());
    let orders = [[no_memory(), ExecError::Lost("x".to_owned())], [ExecError::Lost("x".to_owned()), no_memory()]];
    for order in orders {
        let failure = Failure::default();
        failure.note(ExecError::Device("what follows from it".to_owned()));
        order.into_iter().for_each(|error| failure.note(error));
        failure.note(ExecError::Device("what follows from it".to_owned()));
        assert_eq!(failure.get(), Some(no_memory()));
    }
}

#[test]
fn a_run_that_finds_no_memory_ends_with_what_to_do() {
    let Some((backend, _, failure)) = device() else { return };
    let mut run = trainer(backend);
    let source = Box::new(std::io::Error::other("Not enough memory left."));
    failure.note(reported(&wgpu::Error::OutOfMemory { source }));
    let error = block_on(run.step()).expect_err("there is no memory");
    assert_eq!(error, ExecError::OutOfMemory("Not enough memory left.".to_owned()));
    assert!(error.to_string().contains("close what else uses the device"), "{error}");
}
