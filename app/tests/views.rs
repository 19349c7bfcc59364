//! The front end, driven without a window: what is on screen, and what happens to what a user does.
//!
//! Pictures are kept in `tests/snapshots`; `UPDATE_SNAPSHOTS=1` draws them anew.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]
#![cfg(feature = "gui")]

#[path = "../../engine/tests/cases/malformed.rs"]
mod malformed;

#[path = "../../engine/tests/cases/kineto.rs"]
mod kineto;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use egui::{Key, Modifiers, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use kineto::kineto;
use serde_json::Value;
use shardlab::gui::{App, Command, Language, Remote, Tab, set_language};
use shardlab_engine::scenario::Scenario;

/// The language is one for the whole process, so the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// An app, and the turn to use it.
struct Window {
    harness: Harness<'static, App>,
    _turn: MutexGuard<'static, ()>,
}

impl Window {
    fn new(language: Language) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let size = Vec2::new(1440.0, 860.0);
        let mut harness = Harness::builder().with_size(size).wgpu().build_eframe(|context| App::new(context));
        set_language(language);
        harness.run_ok();
        Self { harness, _turn: turn }
    }

    fn remote(&mut self, remote: &Remote) {
        let context = self.harness.ctx.clone();
        self.harness.state_mut().run_remote(remote, &context);
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.harness.state().state()).expect("the state is JSON")
    }

    /// Runs frames until the state is as wanted.
    fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            self.harness.step();
            let state = self.state();
            if wanted(&state) {
                self.harness.run_ok();
                return state;
            }
            assert!(Instant::now() < end, "expected {what}; last state: {state:#}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn preset(&mut self, name: &str) -> Value {
        self.remote(&Remote::Preset(name.to_owned()));
        self.harness.step();
        self.until(name, |state| state["ready"] == true && state["scenario"] == name)
    }

    fn press(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.harness.run_ok();
    }
}

#[test]
fn every_view_looks_as_kept() {
    let mut window = Window::new(Language::English);
    for tab in Tab::ALL {
        window.remote(&Remote::Tab(tab));
        window.harness.run_ok();
        window.harness.snapshot(tab.key());
    }
}

#[test]
fn a_device_is_measured_and_its_kernels_stand_under_the_roof() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Tab(Tab::Bench));
    window.harness.run_ok();
    window.harness.get_by_label("CPU").click();
    window.harness.run_ok();
    use shardlab_engine::exec::Section;
    window.remote(&Remote::Bench(vec![Section::Peak, Section::Memory, Section::Block]));
    let state = window.until("figures", |state| state["bench"]["figures"].as_u64().is_some_and(|n| n > 20));
    assert_eq!(state["bench"]["error"], Value::Null);
    assert_eq!(state["bench"]["device"], "CPU");
    assert_eq!(window.harness.get_all_by_label("Roofline").count(), 2, "a view, and the picture in this one");
    for label in ["fp32", "mlp up weight gradient (backward)"] {
        let _ = window.harness.get_by_label(label);
    }
    // What was kept of a run is what others are shown beside, also the next.
    let text = state["bench"]["report"].to_string();
    window.remote(&Remote::Drop { name: "old.json".to_owned(), text });
    let beside = |state: &Value| state["bench"]["compared"] == state["bench"]["figures"];
    window.until("both runs", |state| state["bench"]["beside"] == "old.json" && beside(state));
    let text = r#"{"backend": 3, "figures": []}"#.to_owned();
    window.remote(&Remote::Drop { name: "bad.json".to_owned(), text });
    window.until("an error", |state| state["toast"].as_str().is_some_and(|toast| toast.starts_with("bad.json: ")));
    window.until("both runs", |state| state["bench"]["beside"] == "old.json" && beside(state));
    picture(&mut window, "bench");
}

#[test]
fn the_interface_is_there_in_chinese() {
    let mut window = Window::new(Language::Chinese);
    window.harness.snapshot("chinese");
    set_language(Language::English);
}

/// What the engine refuses is said in the language of the window, at the field and in the log.
#[test]
fn refusals_of_the_engine_are_chinese_in_a_chinese_window() {
    let mut window = Window::new(Language::Chinese);
    window.remote(&Remote::Language("zh".to_owned()));
    window.remote(&Remote::Set("strategy.tensor_parallel".to_owned(), 3.into()));
    window.harness.run_ok();
    let refused: Vec<_> = window.harness.query_all_by_label_contains("不允许：应为").collect();
    assert!(!refused.is_empty(), "{}", window.state()["error"]);
    window.remote(&Remote::Command(Command::Undo));
    window.remote(&Remote::Tab(Tab::Execute));
    window.harness.run_ok();
    window.harness.get_by_label_contains("而一次执行最多可用");
    window.remote(&Remote::Drop { name: "cut.json".to_owned(), text: "{\"traceEvents\": [{".to_owned() });
    let state = window.until("an answer", |state| state["toast"].is_string());
    let told = window.harness.query_all_by_label_contains("文件被截断").count();
    assert_eq!(told, 1, "{}", state["toast"]);
    set_language(Language::English);
}

#[test]
fn a_step_that_does_not_fit_names_the_biggest_block() {
    let mut window = Window::new(Language::English);
    let state = window.preset("llama3-405b-16384xh100");
    assert_eq!(state["fits"], false);
    window.remote(&Remote::Tab(Tab::Memory));
    window.harness.run_ok();
    window.harness.snapshot("does_not_fit");
}

#[test]
fn a_schedule_that_fills_its_bubble_is_seen_in_the_timeline() {
    let mut window = Window::new(Language::English);
    window.preset("gpt-zero-bubble-8xa100");
    window.harness.snapshot("zero_bubble");
    window.harness.get_by_label("pipeline").click();
    window.harness.run_ok();
    window.harness.snapshot("pipeline");
    window.harness.key_press(Key::G);
    window.harness.run_ok();
    window.preset("llama3-8b-fsdp-64xh100");
    window.harness.snapshot("fsdp");
    window.preset("mixtral-8x7b-64xh100");
    window.harness.get_by_label("mixture of experts").click();
    window.harness.run_ok();
    window.harness.snapshot("experts");
    let ready = window.preset("llama3-8b-128k-64xh100");
    window.harness.snapshot("context");
    window.harness.run_ok();
    assert_eq!(window.state()["step_time_ns"], ready["step_time_ns"], "looking at fields changes none of them");
}

#[test]
fn images_and_recommenders_have_fields_of_their_own() {
    let mut window = Window::new(Language::English);
    window.preset("resnet-50-8xa100");
    window.harness.snapshot("images");
    let ready = window.preset("dlrm-dcnv2-16xh100");
    window.harness.snapshot("recommender");
    window.harness.run_ok();
    assert_eq!(window.state()["step_time_ns"], ready["step_time_ns"], "looking at fields changes none of them");
}

#[test]
fn a_network_its_exceptions_and_the_critical_path_are_shown() {
    let mut window = Window::new(Language::English);
    window.preset("llama3-70b-leaf-spine-64xh100");
    for header in ["network and its algorithms", "stragglers, other devices, degraded links", "Critical path"] {
        window.harness.get_by_label(header).click();
        window.harness.run_ok();
    }
    let before = window.state();
    window.harness.get_by_label("Add").click();
    window.harness.step();
    let slower =
        window.until("a straggler", |state| state["ready"] == true && state["step_time_ns"] != before["step_time_ns"]);
    assert!(slower["step_time_ns"].as_i64() > before["step_time_ns"].as_i64(), "one slow node slows the step");
    picture(&mut window, "network");
}

#[test]
fn a_baseline_is_compared_with_what_comes_after() {
    let mut window = Window::new(Language::English);
    window.press(Modifiers::NONE, Key::B);
    window.preset("llama3-8b-16xh100");
    window.press(Modifiers::NONE, Key::Num4);
    // The notice that a run was pinned goes by itself.
    window.harness.input_mut().time = Some(60.0);
    window.harness.run_ok();
    assert_eq!(window.state()["screen"], "compare");
    let pinned = "llama2-7b-8xh100 · pp 2 × dp 2 × tp 2 · 1F1B · bf16 · recompute none · global batch 32 × 4096";
    window.harness.get_by_label(pinned);
    window.harness.snapshot("baseline");
    // Comparing is a mode: tables of other views have differences, too.
    window.harness.get_by_label("vs baseline llama2-7b-8xh100");
    let changes = |window: &Window| {
        let marks = ["▲ ", "▼ "].map(|mark| window.harness.query_all_by_label_contains(mark).count());
        marks.into_iter().sum::<usize>()
    };
    let of_panel = changes(&window);
    assert!(of_panel > 15, "{of_panel}");
    for tab in [Tab::Network, Tab::Roofline] {
        window.remote(&Remote::Tab(tab));
        window.harness.run_ok();
        assert!(changes(&window) > of_panel + 3, "{tab:?}: {} of {of_panel}", changes(&window));
        picture(&mut window, &format!("against.{}", tab.name()));
    }
}

#[test]
fn variants_stand_side_by_side_and_settings_say_why() {
    let mut window = Window::new(Language::English);
    window.press(Modifiers::NONE, Key::B);
    for (path, value) in [("strategy.recompute", "full"), ("strategy.schedule", "zb-h1")] {
        let before = window.state()["step_time_ns"].clone();
        window.remote(&Remote::Set(path.to_owned(), value.into()));
        window.harness.step();
        window.until(path, |state| state["ready"] == true && state["step_time_ns"] != before);
        window.press(Modifiers::NONE, Key::V);
    }
    window.remote(&Remote::Command(Command::Why));
    let state = window.until("causes", |state| state["compare"]["causes"].is_number());
    assert_eq!(state["compare"]["causes"], 2);
    assert_eq!(state["compare"]["pinned"].as_array().map(Vec::len), Some(3));
    window.harness.get_by_label("strategy.recompute: none → full");
    window.harness.input_mut().time = Some(60.0);
    window.harness.run_ok();
    window.harness.snapshot("variants");
    // A further run is the last column; the ninth is refused with a sentence.
    for _ in 0..6 {
        window.press(Modifiers::NONE, Key::V);
    }
    assert_eq!(window.state()["compare"]["pinned"].as_array().map(Vec::len), Some(8));
}

#[test]
fn advice_is_found_and_applied_by_a_click() {
    let mut window = Window::new(Language::English);
    let before = window.state()["step_time_ns"].as_i64();
    window.remote(&Remote::Command(Command::Advise));
    let state = window.until("all advice", |state| {
        state["advice"]["running"] == false && state["advice"]["found"].as_u64().is_some_and(|found| found > 3)
    });
    assert!(state["advice"]["together"].as_f64() > state["advice"]["gain"].as_f64().map(|gain| gain / 2.0));
    window.harness.snapshot("advice");
    window.harness.get_all_by_label("Pin").next().expect("a button").click();
    window.until("a pinned variant", |state| state["compare"]["pinned"].as_array().is_some_and(|all| all.len() == 2));
    window.harness.get_all_by_label("Apply").next().expect("a button").click();
    window.harness.run_ok();
    let state =
        window.until("a faster step", |state| state["ready"] == true && state["step_time_ns"].as_i64() != before);
    assert!(state["step_time_ns"].as_i64() < before, "{state}");
    window.press(Modifiers::COMMAND, Key::Z);
    window.until("the step as it was", |state| state["ready"] == true && state["step_time_ns"].as_i64() == before);
}

#[test]
fn a_chosen_part_of_the_time_limits_every_figure() {
    let mut window = Window::new(Language::English);
    assert!(window.harness.get_all_by_label("1.82 s").count() > 0);
    window.remote(&Remote::Choose(200_000_000, 450_000_000));
    window.harness.run_ok();
    window.harness.get_by_label("Chosen part");
    assert_eq!(window.harness.get_all_by_label("200 ms – 450 ms").count(), 2, "below the timeline and at the right");
    window.harness.snapshot("part");
    window.press(Modifiers::NONE, Key::Escape);
    assert!(window.harness.query_by_label("Chosen part").is_none());
}

#[test]
fn counters_stand_above_the_rows_and_faster_hardware_is_simulated() {
    let mut window = Window::new(Language::English);
    window.harness.get_by_label("counters").click();
    window.harness.run_ok();
    window.harness.snapshot("counters");
    window.remote(&Remote::Command(Command::WhatIf));
    let state = window.until("what faster hardware gains", |state| state["advice"]["faster"].as_u64() > Some(10));
    assert_eq!(state["screen"], "summary");
    window.harness.get_by_label("matmul rate");
}

#[test]
fn layers_are_folded_until_they_are_clicked() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Tab(Tab::Graph));
    window.harness.run_ok();
    window.harness.get_by_label("time").click();
    window.harness.run_ok();
    window.harness.snapshot("graph_time");
    window.harness.get_by_label("Unfold all").click();
    window.harness.get_by_label("bound").click();
    window.harness.run_ok();
    window.harness.snapshot("graph_bound");
}

/// Lines as Megatron-LM writes them: a slow step and a loss spike among others.
fn megatron_log(loss: f64) -> String {
    let line = |step: u32| {
        let ms = if step % 40 == 39 { 2600.0 } else { 1000.0 + f64::from(step % 7) };
        let loss = if step == 90 { 9.5 } else { loss + 8.0 / (1.0 + f64::from(step) / 15.0) };
        format!(
            " iteration {step:8}/     120 | consumed samples: {:12} | elapsed time per iteration (ms): {ms:.1} | throughput per GPU (TFLOP/s/GPU): 412.3 | learning rate: 1.0E-05 | global batch size:   256 | lm loss: {loss:.6E} | loss scale: 1.0 | grad norm: 1.3 | number of skipped iterations:   0 | number of nan iterations:   0 |\n",
            step * 256
        )
    };
    (1..=120).map(line).collect()
}

#[test]
fn logs_of_training_runs_are_drawn_and_messages_are_kept() {
    let mut window = Window::new(Language::English);
    let drop = |name: &str, text: String| Remote::Drop { name: name.to_owned(), text };
    window.remote(&drop("run-a.log", megatron_log(2.0)));
    window.until("a log", |state| state["logs"]["logs"].as_array().is_some_and(|logs| logs.len() == 1));
    window.remote(&drop("run-b.txt", megatron_log(2.4)));
    let state = window.until("two logs", |state| state["logs"]["logs"].as_array().is_some_and(|logs| logs.len() == 2));
    assert_eq!(state["screen"], "logs");
    assert_eq!(state["logs"]["logs"][0]["framework"], "Megatron-LM");
    assert_eq!((&state["logs"]["logs"][0]["stalls"], &state["logs"]["logs"][0]["spikes"]), (&3.into(), &1.into()));
    window.harness.snapshot("training_log");
    window.remote(&drop("nothing.log", "hello\nworld\n".to_owned()));
    window.until("an error", |state| state["messages"] == 1);
    assert_eq!(window.state()["logs"]["logs"].as_array().map(Vec::len), Some(2), "what was open stays");
    window.harness.get_by_label("Messages (1)").click();
    window.harness.run_ok();
    assert!(window.harness.get_all_by_label_contains("nothing.log: none of the 2 lines").count() > 0);
}

#[test]
fn the_tour_has_five_steps_and_settings_change_what_they_say() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Command(Command::Tour));
    window.harness.run_ok();
    window.harness.snapshot("tour");
    for step in 1..5 {
        window.harness.get_by_label("Next").click();
        window.harness.run_ok();
        assert_eq!(window.state()["tour"], step);
    }
    window.harness.get_by_label("Done").click();
    window.harness.run_ok();
    assert_eq!(window.state()["tour"], Value::Null);
    window.press(Modifiers::COMMAND, Key::Comma);
    window.harness.get_by_label("light").click();
    window.harness.run_ok();
    window.harness.snapshot("settings");
}

/// Every view fits into small windows and large ones, in light colours and in Chinese.
#[test]
fn every_view_is_drawn_in_every_size_theme_and_language() {
    let mut window = Window::new(Language::Chinese);
    window.remote(&Remote::Language("zh".to_owned()));
    for size in [Vec2::new(900.0, 600.0), Vec2::new(3840.0, 2160.0)] {
        window.harness.set_size(size);
        for tab in Tab::ALL {
            window.remote(&Remote::Tab(tab));
            window.harness.run_ok();
        }
    }
    window.harness.set_size(Vec2::new(900.0, 600.0));
    window.remote(&Remote::Tab(Tab::Summary));
    window.harness.run_ok();
    window.harness.snapshot("small");
    set_language(Language::English);
}

/// Whoever hears the screen hears what everything is that can be pressed, chosen or written into.
#[test]
fn everything_that_can_be_used_has_a_name() {
    use egui::accesskit::Role;
    use egui_kittest::kittest::{By, NodeT as _};
    let is_used = |role| {
        matches!(
            role,
            Role::Button
                | Role::CheckBox
                | Role::RadioButton
                | Role::ComboBox
                | Role::TextInput
                | Role::MultilineTextInput
                | Role::SpinButton
                | Role::Slider
                | Role::Link
        )
    };
    let mut window = Window::new(Language::English);
    for tab in Tab::ALL {
        window.remote(&Remote::Tab(tab));
        window.harness.run_ok();
        let used = window.harness.query_all(By::new().predicate(move |node| is_used(node.role()))).count();
        assert!(used > 30, "{tab:?}: {used}");
        let nameless = By::new().predicate(move |node| {
            let name = node.label().or_else(|| node.placeholder().map(str::to_owned)).unwrap_or_default();
            is_used(node.role()) && name.trim().is_empty()
        });
        let found = window.harness.query_all(nameless).map(|node| format!("{:?}", node.accesskit_node()));
        let found: Vec<_> = found.collect();
        assert!(found.is_empty(), "{tab:?}: {found:#?}");
    }
}

/// What [`every_view_looks_as_kept`] does for the dark theme in English, in smaller windows to keep pictures small.
#[test]
fn every_view_looks_as_kept_in_both_themes_and_languages() {
    let mut window = Window::new(Language::English);
    window.harness.set_size(Vec2::new(1080.0, 680.0));
    let looks = [
        ("light_en", Remote::Command(Command::ToggleTheme)),
        ("light_zh", Remote::Language("zh".to_owned())),
        ("dark_zh", Remote::Command(Command::ToggleTheme)),
    ];
    for (look, change) in looks {
        window.remote(&change);
        for tab in Tab::ALL {
            window.remote(&Remote::Tab(tab));
            window.harness.run_ok();
            window.harness.snapshot(format!("{look}.{}", tab.name()));
        }
    }
    set_language(Language::English);
}

/// Every view goes out as shapes and as pixels, every run as a page; all of it is what it says it is.
#[test]
fn all_that_is_shown_can_be_exported() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::KeepExports);
    let count = |state: &Value| state["exports"].as_array().map_or(0, Vec::len);
    for (number, tab) in Tab::ALL.into_iter().enumerate() {
        window.remote(&Remote::Tab(tab));
        window.harness.run_ok();
        window.remote(&Remote::Command(Command::ExportSvg));
        window.until("a picture of a view", |state| count(state) == number + 1);
    }
    let before = count(&window.state());
    let commands = [
        Command::SaveScenario,
        Command::ExportJson,
        Command::ExportCsv,
        Command::ExportMemory,
        Command::ExportPerfetto,
        Command::ExportGraph,
        Command::ExportPage,
    ];
    commands.iter().for_each(|command| window.remote(&Remote::Command(*command)));
    window.until("all files", |state| count(state) == before + commands.len());
    let files = window.harness.state_mut().exports();
    for (name, content) in &files {
        assert!(content.len() > 500, "{name} has {} bytes", content.len());
        if name.ends_with(".svg") {
            let text = std::str::from_utf8(content).expect("text");
            assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"), "{name}");
            assert_eq!(text.matches("<g ").count(), text.matches("</g>").count(), "{name}");
            assert!(text.contains("<text "), "{name} has no text");
        }
    }
    let timeline = files.iter().find(|(name, _)| name.contains(".timeline.")).expect("the timeline");
    let text = std::str::from_utf8(&timeline.1).expect("text");
    assert!(text.contains(">stage 0 ×4<") && text.matches("<rect ").count() > 100, "slices and names are there");
    let trace = files.iter().find(|(name, _)| name.ends_with(".json.gz")).expect("the trace");
    assert_eq!(trace.1[..2], [0x1f, 0x8b], "gzip");
    let page = files.iter().find(|(name, _)| name.ends_with(".html")).expect("the page");
    let text = std::str::from_utf8(&page.1).expect("text");
    assert!(text.contains("<svg ") && !text.contains("http://") | text.contains("www.w3.org"));
    if let Some(folder) = std::env::var_os("SHARDLAB_PICTURES") {
        for (name, content) in &files {
            std::fs::write(Path::new(&folder).join(name), content).expect("it is written");
        }
    }
}

#[test]
fn every_combination_is_drawn() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Tab(Tab::Search));
    let field = |path: &str, values: &str| (path.to_owned(), values.to_owned());
    window.remote(&Remote::Sweep(vec![
        field("strategy.tensor_parallel", "1, 2, 4"),
        field("strategy.micro_batch", "1, 2, 4"),
        field("strategy.recompute", "none, full"),
        field("strategy.zero_stage", "0, 1"),
    ]));
    let state = window.until("a sweep", |state| {
        state["search"]["sweep"]["running"] == false && state["search"]["sweep"]["points"] == 36
    });
    assert!(state["search"]["sweep"]["front"].as_u64() > Some(1));
    window.harness.snapshot("sweep");
    window.remote(&Remote::Sweep(vec![field("strategy.nothing", "1")]));
    window.harness.run_ok();
    assert!(window.state()["search"]["error"].as_str().is_some_and(|error| error.contains("strategy.nothing")));
}

#[test]
fn a_leaf_and_its_spine_show_how_busy_they_are() {
    let mut window = Window::new(Language::English);
    window.preset("llama3-70b-leaf-spine-64xh100");
    window.remote(&Remote::Tab(Tab::Network));
    window.harness.run_ok();
    window.harness.get_by_label("Busiest links");
    window.harness.snapshot("leaf_spine");
}

/// Bytes that ranks sent are counted, and kernels stand under roofs once the device has been measured.
#[test]
fn an_executed_step_has_its_traffic_and_its_roofline() {
    use shardlab_engine::exec::Section;
    let mut window = Window::new(Language::English);
    window.preset("tiny-gpt-dp2-tp2");
    window.remote(&Remote::Execute { steps: 2, backend: "cpu".to_owned() });
    window.until("two steps", |state| {
        state["execute"]["running"] == false && state["execute"]["steps"].as_array().map(Vec::len) == Some(2)
    });
    window.remote(&Remote::Tab(Tab::Execute));
    window.harness.run_ok();
    window.harness.get_by_label("Look at this step in the timeline").click();
    window.until("the executed trace", |state| state["shown"] == "executed");
    window.remote(&Remote::Tab(Tab::Network));
    window.harness.run_ok();
    window.harness.get_by_label_contains("Counted copy by copy");
    assert!(window.harness.query_by_label("Busiest links").is_none(), "its ranks share a device");
    picture(&mut window, "executed.network");
    window.remote(&Remote::Tab(Tab::Roofline));
    window.harness.run_ok();
    window.harness.get_by_label_contains("has not been measured");
    window.harness.get_by_label("layer * qkv weight gradient");
    window.remote(&Remote::Tab(Tab::Bench));
    window.harness.run_ok();
    window.harness.get_by_label("CPU").click();
    window.harness.run_ok();
    window.remote(&Remote::Bench(vec![Section::Peak, Section::Memory]));
    window.until("figures", |state| state["bench"]["figures"].as_u64().is_some_and(|n| n > 5));
    window.until("the end", |state| state["bench"]["running"] == false);
    window.remote(&Remote::Tab(Tab::Roofline));
    window.harness.run_ok();
    assert_eq!(window.state()["roofline"]["roofs"], 1);
    picture(&mut window, "executed.roofline");
}

#[test]
fn a_measured_device_is_taken_into_the_scenario() {
    let mut window = Window::new(Language::English);
    window.preset("tiny-llama-pp2-tp2");
    window.press(Modifiers::NONE, Key::Num4);
    window.harness.get_by_label("Prediction and execution here").click();
    window.harness.run_ok();
    let before = window.state()["step_time_ns"].clone();
    window.harness.get_by_label("Measure, predict, execute").click();
    window.until("a comparison", |state| state["compare"]["ratio"].is_f64());
    window.harness.get_by_label("By op, all layers together").click();
    window.harness.run_ok();
    window.harness.get_by_label("layer * attention gradient");
    window.harness.get_by_label("Predict for this device").click();
    let state = window.until("a prediction for it", |state| state["step_time_ns"] != before);
    assert_eq!(state["error"], Value::Null);
    window.harness.get_by_label_contains("4 devices");
}

#[test]
fn a_slice_tells_what_it_is() {
    let mut window = Window::new(Language::English);
    let names = window.harness.get_by_label("Timeline of the step").rect();
    let on_compute = names.lerp_inside(Vec2::new(0.5, 0.02));
    window.harness.hover_at(on_compute);
    window.harness.run_ok();
    window.harness.drag_at(on_compute);
    window.harness.drop_at(on_compute);
    window.harness.run_ok();
    window.harness.get_by_label("← Step");
    window.harness.snapshot("slice");
}

#[test]
fn changes_can_be_taken_back() {
    let mut window = Window::new(Language::English);
    let first = window.state();
    let second = window.preset("gpt2-124m-8xa100");
    assert_ne!(first["step_time_ns"], second["step_time_ns"]);
    window.press(Modifiers::COMMAND, Key::Z);
    window
        .until("the first run again", |state| state["ready"] == true && state["step_time_ns"] == first["step_time_ns"]);
    window.press(Modifiers::COMMAND, Key::Y);
    window.until("the second run again", |state| {
        state["ready"] == true && state["step_time_ns"] == second["step_time_ns"]
    });
}

#[test]
fn a_command_is_found_by_its_name() {
    let mut window = Window::new(Language::English);
    window.press(Modifiers::COMMAND, Key::K);
    for letter in ["g", "r", "a", "p", "h"] {
        window.harness.event(egui::Event::Text(letter.to_owned()));
        window.harness.run_ok();
    }
    window.harness.get_by_label("Export step graph as DOT…");
    assert!(window.harness.query_by_label("Fit timeline").is_none());
}

#[test]
fn the_shortcuts_are_listed() {
    let mut window = Window::new(Language::English);
    window.press(Modifiers::SHIFT, Key::Questionmark);
    window.harness.get_by_label_contains("zoom to the selected slice");
}

#[test]
fn training_gives_the_losses_of_the_engine_and_its_trace_can_be_looked_at() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Tab(Tab::Execute));
    window.remote(&Remote::Execute { steps: 3, backend: "cpu".to_owned() });
    let done = |state: &Value| {
        state["execute"]["running"] == false && state["execute"]["steps"].as_array().map(Vec::len) == Some(3)
    };
    let state = window.until("three steps", done);
    assert_eq!(state["preset"], "tiny-llama-1", "the default scenario is too large to execute");
    let losses: Vec<f64> =
        state["execute"]["steps"].as_array().into_iter().flatten().filter_map(|step| step["loss"].as_f64()).collect();
    assert_eq!(losses, engine_losses(3));
    window.harness.get_by_label("Look at this step in the timeline").click();
    window.until("the executed trace", |state| state["shown"] == "executed");
}

#[test]
fn a_policy_of_the_memory_pool_is_chosen_and_what_it_did_is_shown() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Preset("tiny-llama-1".to_owned()));
    window.until("the preset", |state| state["ready"] == true && state["preset"] == "tiny-llama-1");
    window.remote(&Remote::Tab(Tab::Execute));
    window.harness.run_ok();
    window.harness.get_all_by_label("paging to host").next().unwrap().click();
    let chosen = |state: &Value| state["ready"] == true && state["pool"] == "paging";
    window.until("the policy", chosen);
    window.remote(&Remote::Execute { steps: 2, backend: "cpu".to_owned() });
    let done = |state: &Value| {
        state["execute"]["running"] == false && state["execute"]["steps"].as_array().map(Vec::len) == Some(2)
    };
    let state = window.until("two steps", done);
    let pool = &state["execute"]["pools"][0];
    assert!(pool["in_moves"].as_u64().unwrap() > 0 && pool["reserved"].as_u64() < Some(2 << 20), "{pool:#}");
    let losses: Vec<f64> =
        state["execute"]["steps"].as_array().into_iter().flatten().filter_map(|step| step["loss"].as_f64()).collect();
    assert_eq!(losses, engine_losses(2), "where values lie changes nothing");
    let delta = egui::vec2(0.0, -2000.0);
    let (unit, modifiers, phase) = (egui::MouseWheelUnit::Point, Modifiers::NONE, egui::TouchPhase::Move);
    window.harness.event(egui::Event::MouseWheel {
        unit,
        delta,
        phase,
        modifiers,
        source: egui::MouseWheelSource::Unknown,
    });
    window.harness.run_ok();
    picture(&mut window, "pool");
}

#[test]
fn ranks_are_placed_in_threads_and_a_run_goes_on_from_its_checkpoint() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Preset("tiny-llama-pp2-tp2".to_owned()));
    window.until("the preset", |state| state["ready"] == true && state["preset"] == "tiny-llama-pp2-tp2");
    window.remote(&Remote::Tab(Tab::Execute));
    window.harness.run_ok();
    window.harness.get_by_label("adapters").click();
    window.harness.run_ok();
    window.remote(&Remote::Execute { steps: 2, backend: "cpu".to_owned() });
    let trained = |steps: usize| {
        move |state: &Value| {
            let execute = &state["execute"];
            execute["running"] == false && execute["steps"].as_array().map(Vec::len) == Some(steps)
        }
    };
    let state = window.until("two steps", trained(2));
    assert_eq!(state["execute"]["checkpoint"], 2, "{state:#}");
    picture(&mut window, "placement");
    window.harness.get_by_label("Go on from there").click();
    let every = Scenario::preset("tiny-llama-pp2-tp2").unwrap().run().steps as usize;
    let state = window.until("as many steps again", trained(2 + every));
    assert_eq!(state["execute"]["error"], Value::Null);
    assert!(window.harness.query_by_label("Save checkpoint").is_some());
}

#[test]
fn a_search_finds_strategies_and_one_can_be_applied() {
    let mut window = Window::new(Language::English);
    let before = window.state();
    window.remote(&Remote::Tab(Tab::Search));
    window.remote(&Remote::Search);
    let found = |state: &Value| state["search"]["running"] == false && state["search"]["found"].as_u64() == Some(10);
    let state = window.until("ten strategies", found);
    assert!(state["search"]["counts"]["pruned"].as_u64().unwrap() > 100, "{state:#}");
    picture(&mut window, "search");
    window.harness.get_by_label("apply 1").click();
    let applied = window
        .until("the best strategy", |state| state["ready"] == true && state["step_time_ns"] != before["step_time_ns"]);
    assert!(applied["step_time_ns"].as_i64() < before["step_time_ns"].as_i64(), "it is faster than what was there");
    assert_eq!(applied["fits"], true);
}

const READS: &str = "\n[data.samples]\ncount = 2000\nsize = \"1 MB\"\nsize_spread = 0.5\n[data.access]\nepochs = 4\n\
[data.cache]\npolicy = \"none\"\ncapacity = \"800 MB\"\n";

#[test]
fn caches_are_compared_and_a_policy_can_be_taken() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Tab(Tab::Data));
    let scenario = shardlab_engine::scenario::presets()[0].text.to_owned() + READS;
    window.remote(&Remote::Drop { name: "reads.toml".to_owned(), text: scenario });
    window.harness.step();
    window.until("a run", |state| state["ready"] == true);
    window.remote(&Remote::Cache);
    let played = |state: &Value| state["data"]["running"] == false && state["data"]["curves"].as_u64() == Some(13);
    let state = window.until("thirteen curves", played);
    assert_eq!((&state["data"]["requests"], &state["data"]["error"]), (&Value::from(8000), &Value::Null));
    // Two of five samples are kept, and found in three of four epochs.
    let rate = state["data"]["hit_rate"].as_f64().expect("a rate");
    assert!((rate - 0.3).abs() < 0.02, "{rate}");
    window.harness.run_ok();
    window.harness.snapshot("caches");
    window.remote(&Remote::Drop { name: "scan.csv".to_owned(), text: "object,size\na,10\nb,10\na,10\n".to_owned() });
    let state = window.until("the trace", |state| state["data"]["requests"].as_u64() == Some(3));
    assert_eq!(state["data"]["trace"], "scan.csv");
    window.remote(&Remote::Drop { name: "bad.csv".to_owned(), text: "object\na\n".to_owned() });
    let bad = |state: &Value| state["data"]["running"] == false && state["data"]["error"].is_string();
    let state = window.until("an error", bad);
    assert!(state["data"]["error"].as_str().is_some_and(|error| error.contains("no column `size`")), "{state:#}");
    assert_eq!(state["data"]["trace"], "scan.csv", "what was open stays");
}

#[test]
fn a_long_run_is_played_and_another_way_to_keep_it_can_be_taken() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Tab(Tab::Storage));
    window.harness.run_ok();
    window.harness.get_by_label("Describe them").click();
    let played = |state: &Value| state["ready"] == true && state["storage"]["goodput"].is_f64();
    let state = window.until("a goodput", played);
    let sharded = state["storage"]["goodput"].as_f64().expect("a share");
    assert!((0.8..1.0).contains(&sharded), "{sharded}");
    window.harness.run_ok();
    window.harness.snapshot("goodput");
    // In the legend of the chart, and in the table.
    window.harness.get_all_by_label("asynchronous").last().expect("a row").click();
    let better = |state: &Value| state["storage"]["goodput"].as_f64().is_some_and(|other| other > sharded);
    window.until("a better goodput", better);
}

#[test]
fn what_is_handed_to_many_nodes_is_compared() {
    let mut window = Window::new(Language::English);
    window.preset("checkpoint-broadcast-512");
    window.remote(&Remote::Tab(Tab::Storage));
    window.harness.run_ok();
    window.harness.get_all_by_label("Moving data").last().expect("a page").click();
    let drawn = |state: &Value| {
        let moving = &state["storage"]["moving"];
        moving["time_ns"].is_i64() && moving["running"] == false
    };
    let state = window.until("a transfer", drawn);
    let chain = state["storage"]["moving"]["time_ns"].as_i64();
    assert!(chain >= state["storage"]["moving"]["ideal_ns"].as_i64());
    window.harness.run_ok();
    window.harness.snapshot("moving");
    // In the table, and then in the legend of the chart.
    window.harness.get_all_by_label("direct").next().expect("a row").click();
    window.until("a slower way", |state| state["storage"]["moving"]["time_ns"].as_i64() > chain);
}

#[test]
fn a_run_is_fed_from_a_folder() {
    let mut window = Window::new(Language::English);
    window.preset("tiny-llama-1");
    window.remote(&Remote::Tab(Tab::Execute));
    window.harness.run_ok();
    window.harness.get_by_label("Fed from disk").click();
    window.harness.run_ok();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fed-from-a-folder");
    let _ = std::fs::remove_dir_all(&folder);
    let path = window.harness.get_by_label("path");
    path.focus();
    path.type_text(&folder.to_string_lossy());
    window.harness.run_ok();
    // The first button trains from memory, the second from the folder.
    window.harness.get_all_by_label("Train").last().expect("a button").click();
    let fed = |state: &Value| state["execute"]["feed"]["waits"].as_u64() == Some(40);
    window.until("forty steps", fed);
    picture(&mut window, "fed");
    assert!(folder.join("samples.json").exists());
    // A file that is cut off in the middle ends the run with its name; the app goes on.
    let cut = folder.join("00000003.sample");
    let content = std::fs::read(&cut).expect("a sample");
    std::fs::write(&cut, &content[..content.len() / 2]).expect("it is written");
    window.harness.get_all_by_label("Train").last().expect("a button").click();
    let told =
        |state: &Value| state["execute"]["feed"]["error"].as_str().is_some_and(|e| e.contains("00000003.sample"));
    window.until("an error about the sample", told);
    std::fs::write(&cut, &content).expect("it is written");
    window.harness.get_all_by_label("Train").last().expect("a button").click();
    window.until("forty steps again", |state| fed(state) && state["execute"]["feed"]["error"].is_null());
}

/// A picture that is not kept, because what is on it depends on how fast the machine is: for looking at.
fn picture(window: &mut Window, name: &str) {
    let image = window.harness.render().expect("a picture");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    image.save(folder.join(format!("{name}.png"))).expect("the picture is written");
}

#[test]
fn training_can_be_paused_stopped_and_cancelled() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Tab(Tab::Execute));
    let steps = |state: &Value| state["execute"]["steps"].as_array().map_or(0, Vec::len);
    window.remote(&Remote::Execute { steps: 1_000_000, backend: "cpu".to_owned() });
    window.until("some steps", |state| steps(state) >= 2);
    window.remote(&Remote::Pause(true));
    let paused = window.until("a pause", |state| state["execute"]["paused"] == true);
    // The step that was under way may still arrive, no more.
    std::thread::sleep(Duration::from_millis(300));
    window.harness.step();
    assert!(steps(&window.state()) <= steps(&paused) + 1);
    // A scenario that cannot be executed comes on screen: what runs can still be stopped.
    window.preset("gpt3-175b-1024xa100");
    window.harness.get_by_label("Resume").click();
    window.until("more steps", |state| steps(state) > steps(&paused) + 1);
    window.harness.get_by_label("Stop").click();
    let stopped = window.until("the end", |state| state["execute"]["running"] == false);
    assert!(steps(&stopped) > steps(&paused), "what was trained stays");
    window.remote(&Remote::Execute { steps: 1_000_000, backend: "cpu".to_owned() });
    window.until("some steps again", |state| (1..steps(&stopped)).contains(&steps(state)));
    window.remote(&Remote::Cancel);
    let cancelled = window.until("nothing", |state| state["execute"]["running"] == false);
    assert_eq!(steps(&cancelled), 0);
}

/// The same training without the app.
fn engine_losses(steps: usize) -> Vec<f64> {
    use shardlab_engine::exec::{BackendKind, Trainer, open};
    let scenario = Scenario::preset("tiny-llama-1").expect("a preset");
    pollster::block_on(async {
        let backend = open(BackendKind::Cpu).await.expect("the CPU is there");
        let mut trainer = Trainer::new(&scenario, backend).await.expect("it can be trained");
        let mut losses = Vec::new();
        for _ in 0..steps {
            losses.push(trainer.step().await.expect("a step").loss);
        }
        losses
    })
}

/// A file that somebody drops on the window.
#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

impl Window {
    fn drop_file(&mut self, path: PathBuf) {
        self.harness.input_mut().dropped_files.push(Arc::new(Dropped(path)));
        self.harness.step();
    }
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dropped");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a file can be written");
    path
}

#[test]
fn a_malformed_file_that_is_dropped_gives_an_error_and_changes_nothing() {
    let mut window = Window::new(Language::English);
    let before = window.state();
    for (number, case) in malformed::cases().iter().enumerate() {
        window.drop_file(file(&format!("{number}.toml"), &case.bytes));
        let state = window.state();
        let toast = state["toast"].as_str().unwrap_or_else(|| panic!("{}: no error is shown", case.name));
        assert!(toast.contains(case.says), "{}: expected `{}` in: {toast}", case.name, case.says);
        assert!(toast.starts_with(&format!("{number}.toml")), "{toast}");
        assert_eq!(state["step_time_ns"], before["step_time_ns"], "{}", case.name);
    }
    window.drop_file(PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    assert!(window.state()["toast"].is_string(), "a folder is no scenario");
}

#[test]
fn a_scenario_that_is_dropped_is_simulated() {
    let mut window = Window::new(Language::English);
    window.drop_file(file("mine.toml", format!("name = \"mine\"\n{}", malformed::VALID).as_bytes()));
    let state = window.until("the dropped scenario", |state| state["ready"] == true && state["scenario"] == "mine");
    assert_eq!(state["recent"], serde_json::json!(["mine.toml"]));
    // It opens again from the menu.
    window.preset("tiny-llama-1");
    for label in ["File", "Open recent", "mine.toml"] {
        window.harness.get_by_label(label).click();
        window.harness.run_ok();
    }
    window.until("the scenario again", |state| state["ready"] == true && state["scenario"] == "mine");
}

#[test]
fn a_hugging_face_config_that_is_dropped_replaces_the_model() {
    let config = r#"{"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}"#;
    let mut window = Window::new(Language::English);
    let before = window.state()["step_time_ns"].clone();
    window.drop_file(file("config.json", config.as_bytes()));
    let state = window.until("the new model", |state| state["ready"] == true && state["step_time_ns"] != before);
    assert_eq!(state["error"], Value::Null, "{state:#}");
}

#[test]
fn a_step_that_does_not_fit_shows_what_breaks_and_what_would_fit() {
    let mut window = Window::new(Language::English);
    window.preset("oom-13b");
    window.remote(&Remote::Tab(Tab::Memory));
    window.harness.run_ok();
    window.harness.get_by_label("Memory map").click();
    // A wheel turns until the last change was tried.
    window.until("a map", |state| {
        let memory = &state["memory"];
        memory["blocks"].as_u64() > Some(100) && memory["running"] == false && memory["fitting"].is_u64()
    });
    window.harness.snapshot("memory_map");
    window.harness.get_by_label("Allocators & fit").click();
    let state = window.until("changes", |state| {
        let memory = &state["memory"];
        memory["running"] == false && memory["rows"] == 7 && memory["fitting"].as_u64() > Some(2)
    });
    window.harness.snapshot("memory_fit");
    // The first change that fits is taken.
    let takes: Vec<_> = window.harness.get_all_by_label("apply").collect();
    takes[usize::try_from(state["memory"]["treatments"].as_u64().expect("a number")).expect("few")].click();
    drop(takes);
    window.until("a step that fits", |state| state["ready"] == true && state["fits"] == true);
}

#[test]
fn a_snapshot_of_pytorch_opens_as_a_map() {
    let mut window = Window::new(Language::Chinese);
    let context = window.harness.ctx.clone();
    let bytes = include_bytes!("../../engine/tests/memory/snapshot.pickle").to_vec();
    window.harness.state_mut().open(&context, "run.pickle", bytes);
    window.until("a snapshot", |state| state["memory"]["snapshot"] == "run.pickle" && state["screen"] == "memory");
    window.harness.snapshot("memory_snapshot");
    window.harness.state_mut().open(&context, "cut.pickle", b"\x80\x04]".to_vec());
    let state = window.until("an error", |state| state["toast"].is_string());
    assert!(state["toast"].as_str().is_some_and(|text| text.contains("cut.pickle")), "{state:#}");
    assert_eq!(state["memory"]["snapshot"], "run.pickle", "what was open stays");
}

#[test]
fn storage_and_checkpoints_are_shown_stage_by_stage_in_light() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Command(Command::ToggleTheme));
    window.preset("small-files-metadata");
    window.remote(&Remote::Tab(Tab::Data));
    window.remote(&Remote::Cache);
    window.until("a report", |state| state["data"]["running"] == false && state["data"]["stall_ns"] != Value::Null);
    window.harness.get_by_label_contains("Opening files is too slow");
    picture(&mut window, "light.data");
    window.preset("checkpoint-levels-512");
    window.remote(&Remote::Tab(Tab::Storage));
    window.until("a long run", |state| {
        state["storage"]["running"] == false && state["storage"]["goodput"] != Value::Null
    });
    window.harness.get_by_label_contains("back, software failed");
    picture(&mut window, "light.storage");
}

#[test]
fn traces_of_ranks_that_are_dropped_lie_beside_each_other_and_are_compared() {
    let mut window = Window::new(Language::English);
    let drop = |window: &mut Window, name: &str, text: String| {
        window.remote(&Remote::Drop { name: name.to_owned(), text });
        window.until("a trace", |state| state["traces"]["running"] == false);
    };
    for rank in 0..4 {
        let matmul = if rank == 1 { 260 } else { 200 };
        drop(&mut window, &format!("rank{rank}.pt.trace.json"), kineto(rank, matmul, 500 - matmul));
    }
    let state = window.state();
    assert_eq!((&state["screen"], &state["traces"]["groups"]), (&"traces".into(), &4.into()), "{}", state["traces"]);
    picture(&mut window, "traces.timeline");
    window.harness.get_by_label("Ranks").click();
    window.harness.run_steps(3);
    window.harness.get_by_label_contains("rank 1 computes longer");
    picture(&mut window, "traces.ranks");
    window.harness.get_by_label("Collectives").click();
    window.harness.run_steps(3);
    window.harness.get_by_label_contains("By group, kind and size");
    picture(&mut window, "traces.collectives");
    window.harness.get_by_label("Beside the scenario").click();
    window.harness.run_steps(3);
    picture(&mut window, "traces.beside");
    drop(
        &mut window,
        "after.json",
        kineto(7, 150, 300).replace("\"rank\": 7", "\"rank\": 0").replace("AllReduce", "ReduceScatter"),
    );
    let state = window.state();
    assert_eq!(
        (&state["traces"]["name"], &state["traces"]["baseline"]),
        (&"after.json".into(), &"rank0.pt.trace.json".into())
    );
    assert_eq!(state["traces"]["differences"], 3);
    window.harness.get_by_label_contains("Difference to").click();
    window.harness.run_steps(3);
    window.harness.get_by_label("deleted");
    picture(&mut window, "traces.difference");
}

#[test]
fn a_trace_that_is_wrong_gives_a_sentence_and_leaves_what_is_open() {
    let mut window = Window::new(Language::English);
    let drop = |window: &mut Window, name: &str, text: &str| {
        window.remote(&Remote::Drop { name: name.to_owned(), text: text.to_owned() });
        window.until("an answer", |state| state["traces"]["running"] == false);
    };
    let good = kineto(0, 200, 300);
    drop(&mut window, "good.json", &good);
    for (name, text, said) in [
        ("cut.json", &good[..good.len() - 9], "truncated"),
        ("types.json", "{\"traceEvents\": [{\"ph\": 7}]}", "line 1"),
        ("empty.json", "[]", "no slices"),
        ("packed.json.gz", "\u{1f}not gzip", "no JSON"),
    ] {
        drop(&mut window, name, text);
        let state = window.state();
        let toast = state["toast"].as_str().unwrap_or_default().to_owned();
        assert!(toast.contains(said) && toast.contains(name), "{name}: {toast}");
        assert_eq!(state["traces"]["name"], "good.json");
    }
}

#[test]
fn a_timeline_is_searched_folded_pinned_chosen_from_and_reduced_to_its_critical_path() {
    let mut window = Window::new(Language::English);
    window.remote(&Remote::Tab(Tab::Timeline));
    window.remote(&Remote::Command(Command::CriticalPath));
    assert_eq!(window.state()["timeline"]["critical"], true);
    window.harness.run_steps(2);
    picture(&mut window, "timeline.critical");
    window.remote(&Remote::Command(Command::CriticalPath));
    window.remote(&Remote::Command(Command::Find));
    window.harness.run_steps(2);
    for letter in ["q", "k", "v"] {
        window.harness.event(egui::Event::Text(letter.to_owned()));
    }
    window.harness.run_steps(2);
    window.harness.key_press(Key::Enter);
    window.harness.run_steps(3);
    window.harness.get_by_label_contains("1 / ");
    picture(&mut window, "timeline.found");
    // Names of groups and streams stand at the left of the rows.
    let figure = window.harness.get_by_label("Timeline of the step").rect();
    let click = |window: &mut Window, at: egui::Pos2| {
        window.harness.hover_at(at);
        window.harness.run_steps(1);
        window.harness.drag_at(at);
        window.harness.drop_at(at);
        window.harness.run_steps(2);
    };
    click(&mut window, figure.min + egui::vec2(120.0, 40.0));
    assert_eq!(window.state()["timeline"]["pinned"], 1);
    click(&mut window, figure.min + egui::vec2(20.0, 60.0));
    assert_eq!(window.state()["timeline"]["folded"], 1);
    let [from, until] = [300.0, 600.0].map(|x| figure.min + egui::vec2(x, 30.0));
    drag(&mut window, [from, until], Modifiers::NONE);
    assert!(window.state()["timeline"]["area"].as_f64().unwrap_or_default() > 0.0, "{}", window.state()["timeline"]);
    window.harness.get_by_label_contains("Chosen:");
    picture(&mut window, "timeline.area");
    window.harness.key_press(Key::Escape);
    window.harness.run_steps(2);
    assert_eq!(window.state()["timeline"]["area"], Value::Null);
    // With Shift the same moves what is in sight, once that is not all.
    for _ in 0..20 {
        window.harness.key_down(Key::W);
        window.harness.run_steps(1);
        window.harness.key_up(Key::W);
    }
    window.harness.run_steps(3);
    let before = window.state()["timeline"].clone();
    drag(&mut window, [until, from], Modifiers::SHIFT);
    let after = window.state()["timeline"].clone();
    assert_eq!((&after["area"], &after["shown"]), (&Value::Null, &before["shown"]));
    assert!(after["from"].as_f64() > before["from"].as_f64(), "{before} {after}");
}

/// Drags with the primary button.
fn drag(window: &mut Window, [from, until]: [egui::Pos2; 2], modifiers: Modifiers) {
    let button =
        |pos, pressed| egui::Event::PointerButton { pos, button: egui::PointerButton::Primary, pressed, modifiers };
    window.harness.hover_at(from);
    window.harness.event_modifiers(button(from, true), modifiers);
    window.harness.run_steps(1);
    for at in [from.lerp(until, 0.3), until] {
        window.harness.event_modifiers(egui::Event::PointerMoved(at), modifiers);
        window.harness.run_steps(1);
    }
    window.harness.event_modifiers(button(until, false), modifiers);
    window.harness.run_steps(2);
}

/// Keys that other tools have taught: beside those of the menu, others do the same.
#[test]
fn hands_that_know_other_tools_find_their_keys() {
    let mut window = Window::new(Language::English);
    window.press(Modifiers::NONE, Key::F1);
    assert_eq!(window.state()["help"], true);
    window.press(Modifiers::NONE, Key::F1);
    window.press(Modifiers::COMMAND | Modifiers::SHIFT, Key::P);
    assert_eq!(window.state()["palette"], true);
    window.press(Modifiers::NONE, Key::Escape);
    let first = window.state()["step_time_ns"].clone();
    window.remote(&Remote::Set("strategy.tensor_parallel".to_owned(), 4.into()));
    let state = window.until("a change", |state| state["ready"] == true && state["step_time_ns"] != first);
    let changed = state["step_time_ns"].clone();
    window.press(Modifiers::COMMAND, Key::Z);
    window.until("what was before", |state| state["ready"] == true && state["step_time_ns"] != changed);
    window.press(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    window.until("the change again", |state| state["ready"] == true && state["step_time_ns"] == changed);
    // A message is selected: `]` leads to where it is received, `[` back.
    window.remote(&Remote::Tab(Tab::Timeline));
    let scenario = Scenario::preset("llama2-7b-8xh100").expect("a preset");
    window.preset("llama2-7b-8xh100");
    let trace = shardlab_engine::sim::simulate(&shardlab_engine::graph::lower(&scenario), &scenario);
    let flow = trace.flows[3];
    window.remote(&Remote::Select(flow.from));
    window.press(Modifiers::NONE, Key::CloseBracket);
    assert_eq!(window.state()["selected"], flow.to);
    window.press(Modifiers::NONE, Key::OpenBracket);
    assert_eq!(window.state()["selected"], flow.from);
    // F brings it to the middle of what is around it, F F lets it fill the view.
    window.press(Modifiers::NONE, Key::F);
    let around = window.state()["timeline"]["shown"].as_f64().expect("a length");
    window.press(Modifiers::NONE, Key::F);
    let filled = window.state()["timeline"]["shown"].as_f64().expect("a length");
    assert!((around / filled - 5.0).abs() < 0.01, "{around} {filled}");
}

#[test]
fn a_link_holds_the_scenario_and_the_view_and_rubbish_changes_nothing() {
    let mut window = Window::new(Language::English);
    window.preset("llama3-8b-16xh100");
    window.remote(&Remote::Tab(Tab::Memory));
    window.remote(&Remote::Command(Command::Share));
    let copied = window.state()["link"].as_str().expect("a link was copied").to_owned();
    window.preset("gpt2-124m-8xa100");
    window.remote(&Remote::Tab(Tab::Graph));
    // Pasted where nobody types.
    window.harness.event(egui::Event::Paste(copied.clone()));
    window.harness.run_steps(2);
    let state = window.until("the scenario of the link", |state| state["scenario"] == "llama3-8b-16xh100");
    assert_eq!(state["screen"], "memory");
    for rubbish in ["#s=1.!", &copied[..copied.len() / 2], "#s=9.abc"] {
        window.remote(&Remote::Link(rubbish.to_owned()));
        let state = window.state();
        assert!(state["toast"].as_str().is_some_and(|toast| toast.contains("link")), "{rubbish}: {}", state["toast"]);
        assert_eq!(state["scenario"], "llama3-8b-16xh100");
    }
    let text = "[model]\npreset = \"llama2-7b\"\n[cluster]\ndevice = \"h100-80gb-sxm\"\nnodes = 4\n[strategy]\nglobal_batch = 64\n";
    window.harness.event(egui::Event::Paste(text.to_owned()));
    window.harness.run_steps(2);
    window.until("the pasted scenario", |state| state["scenario"] != "llama3-8b-16xh100" && state["ready"] == true);
}
