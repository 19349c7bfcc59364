//! What a frame costs the processor while the timeline shows a million spans: the whole window is laid out, drawn as
//! shapes and cut into triangles, all that is done before the graphics device has its turn.
//!
//! `cargo bench -p shardlab --bench timeline`; 16.7 ms are a frame of sixty in a second.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark fails by panicking")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use egui::epaint::{ClippedPrimitive, Primitive};
use egui::{Event, Key, Modifiers, Vec2};
use egui_kittest::Harness;
use serde_json::Value;
use shardlab::gui::{App, Language, Remote, set_language};

/// Ranks of the trace, each with streams of compute and of communication.
const RANKS: usize = 8;
/// Slices of each rank and stream.
const SLICES: usize = 62_500;

/// A Chrome trace of a million slices, every one of its own length.
fn million() -> String {
    let mut text = String::from("[");
    for track in 0..RANKS * 2 {
        let (pid, tid) = (track / 2, track % 2);
        for slice in 0..SLICES {
            let (start, length) = (slice * 100 + track, 40 + slice * 7 % 53);
            let comma = if track + slice == 0 { "" } else { "," };
            write!(
                text,
                r#"{comma}{{"ph":"X","name":"op {}","pid":{pid},"tid":{tid},"ts":{start},"dur":{length}}}"#,
                slice % 90
            )
            .expect("a string takes all");
        }
    }
    text.push(']');
    text
}

fn window() -> Harness<'static, App> {
    set_language(Language::English);
    let mut harness = Harness::builder().with_size(Vec2::new(1920.0, 1080.0)).build_eframe(|context| App::new(context));
    harness.step();
    let context = harness.ctx.clone();
    harness.state_mut().run_remote(&Remote::Drop { name: "million.json".to_owned(), text: million() }, &context);
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        harness.step();
        let state: Value = serde_json::from_str(&harness.state().state()).expect("the state is JSON");
        if state["traces"]["slices"] == RANKS * 2 * SLICES {
            return harness;
        }
        assert!(Instant::now() < end, "expected a million slices; last state: {state:#}");
    }
}

/// One frame while a key is held that was not before, up to its triangles.
fn frame(harness: &mut Harness<'static, App>, held: Key, before: Key) -> usize {
    let event =
        |key, pressed| Event::Key { key, physical_key: None, pressed, repeat: false, modifiers: Modifiers::NONE };
    harness.input_mut().events.extend([event(before, false), event(held, true)]);
    harness.step();
    let shapes = harness.output().shapes.clone();
    harness.ctx.tessellate(shapes, 1.0).iter().map(triangles).sum()
}

fn triangles(part: &ClippedPrimitive) -> usize {
    match &part.primitive {
        Primitive::Mesh(mesh) => mesh.indices.len() / 3,
        Primitive::Callback(_) => 0,
    }
}

/// Frames of `W`, each of which shows 0.94 of the time of the one before: a tenth, then a thousandth of all.
const ZOOMS: [(&str, usize); 3] = [("all", 0), ("a tenth", 37), ("a thousandth", 75)];

fn frames(criterion: &mut Criterion) {
    let mut harness = window();
    let mut group = criterion.benchmark_group("timeline of a million spans");
    group.sample_size(20);
    for (name, zooms) in ZOOMS {
        for _ in 0..zooms {
            frame(&mut harness, Key::W, Key::A);
        }
        println!("{name}: {} triangles", frame(&mut harness, Key::A, Key::W));
        let mut keys = (Key::D, Key::A);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                keys = (keys.1, keys.0);
                frame(&mut harness, keys.0, keys.1)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
