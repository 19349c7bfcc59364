//! The command line as a user types it.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../../engine/tests/cases/malformed.rs"]
mod malformed;

#[path = "../../engine/tests/cases/kineto.rs"]
mod kineto;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use kineto::kineto;
use serde_json::Value;

fn shardlab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shardlab")).args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(arguments: &[&str]) -> Value {
    let output = shardlab(arguments);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{}", text(&output.stderr)))
}

/// A folder of this test that is empty at first.
fn folder(name: &str) -> PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

#[test]
fn the_document_of_a_simulation_has_what_machines_need() {
    let document = json(&["simulate", "gpt3-175b-1024xa100", "--json"]);
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["origin"], "modelled");
    assert_eq!(document["fits"], true);
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"));
    let parts = document["breakdown"].as_object().expect("a table");
    let sum: f64 = parts.values().map(number).sum();
    let step = number(&document["step_time_s"]);
    assert!((sum - step).abs() < 1e-9, "the breakdown adds up to {sum}, the step takes {step}");
    for key in ["tokens_per_s", "mfu", "bubble_fraction"] {
        assert!(number(&document[key]) > 0.0, "{key}");
    }
    for axis in ["tp", "dp", "pp"] {
        assert!(number(&document["exposed_communication_s"][axis]) >= 0.0, "{axis}");
    }
    let stages = document["peak_memory_bytes"].as_array().expect("a list");
    assert_eq!(stages.len(), 8);
    for stage in stages {
        let categories: f64 = stage["by_category"].as_object().expect("a table").values().map(number).sum();
        assert_eq!(categories, number(&stage["total"]));
    }
}

#[test]
fn a_step_that_does_not_fit_answers_with_one() {
    let output = shardlab(&["simulate", "llama3-405b-16384xh100"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("DOES NOT FIT"), "{}", text(&output.stdout));
    assert_eq!(shardlab(&["simulate", "llama2-7b-8xh100"]).status.code(), Some(0));
}

#[test]
fn an_execution_tells_loss_ops_and_bytes() {
    let document = json(&["execute", "tiny-gpt-dp2-tp2", "--steps", "3", "--backend", "cpu", "--json"]);
    assert_eq!(document["origin"], "executed");
    let losses = document["loss"].as_array().expect("a list");
    assert_eq!(losses.len(), 3);
    assert!(losses.iter().all(|step| step["loss"].as_f64().is_some_and(f64::is_finite)));
    assert!(document["bytes_moved"]["tp"].as_u64() > Some(0));
    assert!(document["bytes_moved"]["dp"].as_u64() > Some(0));
    assert!(document["ops"].as_array().is_some_and(|ops| ops.iter().any(|op| op["class"] == "matmul")));
    assert_eq!(document["mfu"], Value::Null, "ranks share one device");
}

#[test]
fn a_comparison_predicts_memory_to_the_byte() {
    let document = json(&["compare", "tiny-llama-pp2-tp2", "--steps", "2", "--backend", "cpu", "--json"]);
    assert_eq!(document["memory_agrees"], true);
    assert_eq!(document["memory"].as_array().map(Vec::len), Some(2));
    assert!(document["op_classes"].as_array().is_some_and(|rows| rows.len() > 5));
    assert!(document["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0));
    let table = text(&shardlab(&["compare", "tiny-llama-1", "--steps", "1", "--backend", "cpu", "--csv", "-"]).stdout);
    assert!(table.starts_with("class,predicted_ns,executed_ns,ratio") && table.contains("\nstep,"), "{table}");
}

#[test]
fn results_are_written_as_csv_and_for_perfetto() {
    let folder = folder("exports");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (csv, memory, trace) = (path("ops.csv"), path("memory.csv"), path("trace.json"));
    let output =
        shardlab(&["simulate", "gpt2-124m-8xa100", "--csv", &csv, "--memory-csv", &memory, "--perfetto", &trace]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let read = |path: &str| std::fs::read_to_string(path).expect("the file is there");
    assert!(read(&csv).starts_with("group,stage,class,count,time_ns"));
    assert!(read(&memory).lines().count() > 10);
    let trace: Value = serde_json::from_str(&read(&trace)).expect("the trace is JSON");
    assert!(trace["traceEvents"].as_array().is_some_and(|events| events.len() > 100));
}

#[test]
fn pictures_rooflines_and_executed_traffic_go_out() {
    let folder = folder("pictures");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let read = |path: &str| std::fs::read_to_string(path).expect("the file is there");
    let pictures = path("svg");
    let output = shardlab(&["simulate", "llama2-7b-8xh100", "--pictures", &pictures]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for name in ["timeline", "breakdown", "ranks", "memory.stage0.rank0", "memory.stage1.rank4"] {
        let svg = read(&format!("{pictures}/{name}.svg"));
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{name}");
    }
    let document = json(&["roofline", "llama2-7b-8xh100", "--json"]);
    let kernels = document["roofline"]["kernels"].as_array().expect("kernels");
    assert!(kernels.iter().any(|kernel| kernel["bound"] == "memory") && kernels.len() > 20);
    let csv = path("roofline.csv");
    let output = shardlab(&["roofline", "llama2-7b-8xh100", "--stage", "0", "--csv", &csv]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("roof bf16") && read(&csv).lines().count() > kernels.len() / 2);
    let output = shardlab(&["roofline", "llama2-7b-8xh100", "--stage", "7"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("the pipeline has 2"), "{}", text(&output.stderr));
    let traffic = path("traffic.csv");
    let document =
        json(&["execute", "tiny-gpt-dp2-tp2", "--steps", "1", "--backend", "cpu", "--json", "--traffic-csv", &traffic]);
    let sent: u64 =
        read(&traffic).lines().skip(1).filter_map(|line| line.rsplit(',').next()?.parse::<u64>().ok()).sum();
    let moved: u64 = document["bytes_moved"].as_object().expect("axes").values().filter_map(Value::as_u64).sum();
    assert_eq!(sent, moved, "what goes out is what was counted");
}

#[test]
fn a_trace_is_played_through_caches() {
    let folder = folder("caches");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (trace, csv, over_time) = (path("reads.csv"), path("misses.csv"), path("time.csv"));
    // A scan over ten objects, again and again: recency finds nothing in a cache of nine, the optimum eight of nine.
    let lines: String = (0..1000).map(|n| format!("{},100\n", n % 10)).collect();
    std::fs::write(&trace, format!("object,size\n{lines}")).expect("a file can be written");
    let play = |more: &[&str]| json(&[&["cache", "--trace", &trace, "--json"], more].concat());
    let document = play(&["--policy", "lru", "--capacity", "900B", "--policies", "lru,belady", "--capacities", "900B"]);
    let cache = &document["cache"];
    assert_eq!(cache["origin"], "imported");
    assert_eq!((&cache["requests"], &cache["objects"]), (&Value::from(1000), &Value::from(10)));
    assert_eq!(cache["run"]["total"]["requests"][0], 0, "LRU and a scan");
    assert_eq!(cache["curves"][0]["points"][0]["hits"]["hits"], 0);
    assert_eq!(cache["curves"][1]["points"][0]["hits"]["hits"], 891, "nine of ten objects, after the first round");
    let output = shardlab(&["cache", "--trace", &trace, "--csv", &csv, "--intervals-csv", &over_time]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("w-tinylfu"), "{}", text(&output.stdout));
    let read = |path: &str| std::fs::read_to_string(path).expect("the file is there");
    assert!(read(&csv).starts_with("policy,capacity_bytes") && read(&csv).lines().count() > 100);
    assert!(read(&over_time).starts_with("from_request,tier"));
}

#[test]
fn a_long_run_tells_what_counts_and_the_best_interval() {
    let folder = folder("goodput");
    let csv = folder.join("goodput.csv").to_string_lossy().into_owned();
    let document = json(&["goodput", "checkpoint-goodput-16k", "--json", "--csv", &csv]);
    let goodput = &document["goodput"];
    let modes = goodput["modes"].as_array().expect("a list");
    assert_eq!(modes.len(), 5);
    // 2048 nodes and their devices fail every three hours (Dubey et al. 2024: 419 times in 54 days).
    let hours = goodput["mtbf"].as_f64().expect("a time") / 3.6e12;
    assert!((hours - 54.0 * 24.0 / 419.0).abs() < 0.1, "{hours}");
    let total: f64 = ["useful", "checkpoints", "lost", "down", "reading", "waiting"]
        .iter()
        .map(|part| goodput["chosen"]["time"][part].as_f64().expect("a time"))
        .sum();
    assert!((total / (54.0 * 86_400e9) - 1.0).abs() < 1e-6, "the parts are all of the 54 days");
    assert!(std::fs::read_to_string(&csv).expect("the file is there").starts_with("mode,interval_steps,goodput"));
    let table = text(&shardlab(&["goodput", "checkpoint-goodput-16k"]).stdout);
    assert!(table.contains("Young") && table.contains("peer_memory"), "{table}");
    let output = shardlab(&["goodput", "llama2-7b-8xh100"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("add a table [checkpoint] or [reliability]"), "{}", text(&output.stderr));
}

#[test]
fn what_cannot_be_cached_is_said() {
    let folder = folder("no caches");
    let trace = folder.join("bad.csv");
    std::fs::write(&trace, "object,size\na,10\nb,-1\n").expect("a file can be written");
    let trace = trace.to_string_lossy();
    for (arguments, says) in [
        (vec!["cache", "--trace", &*trace], "line 3: `size` is `-1`"),
        (vec!["cache", "--trace", "nowhere.csv"], "cannot open `nowhere.csv`"),
        (vec!["cache", "llama2-7b-8xh100"], "add a table [data.samples]"),
        (vec!["cache", "--policies", "mru"], "`mru` is no policy: expected one of fifo"),
        (vec!["cache", "--capacities", "0B"], "at least 1 byte"),
    ] {
        let output = shardlab(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn the_same_scenario_gives_the_same_bytes() {
    let once = || shardlab(&["simulate", "llama3-8b-16xh100", "--json"]).stdout;
    assert_eq!(once(), once());
}

#[test]
fn a_scenario_comes_by_preset_file_or_standard_input() {
    let folder = folder("inputs");
    let preset = shardlab(&["presets", "--show", "llama2-7b-8xh100"]).stdout;
    let file = folder.join("mine.toml");
    std::fs::write(&file, &preset).expect("a file can be written");
    let by_file = json(&["simulate", &file.to_string_lossy(), "--json"]);
    assert_eq!(by_file["step_time_s"], json(&["simulate", "llama2-7b-8xh100", "--json"])["step_time_s"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_shardlab"))
        .args(["simulate", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("it reads").write_all(&preset).expect("it takes the text");
    let output = child.wait_with_output().expect("it ends");
    let by_pipe: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!(by_pipe["step_time_s"], by_file["step_time_s"]);
}

#[test]
fn a_hugging_face_config_is_simulated_on_the_default_cluster() {
    let config = r#"{"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "intermediate_size": 11008, "vocab_size": 32000, "max_position_embeddings": 4096, "hidden_act": "silu"}"#;
    let file = folder("config").join("config.json");
    std::fs::write(&file, config).expect("a file can be written");
    let document = json(&["simulate", &file.to_string_lossy(), "--json"]);
    assert_eq!(document["step_time_s"], json(&["simulate", "llama2-7b-8xh100", "--json"])["step_time_s"]);
}

#[test]
fn the_schema_describes_every_preset_key() {
    let schema = json(&["schema"]);
    for preset in json(&["presets", "--json"])["presets"].as_array().expect("a list") {
        let name = preset["name"].as_str().expect("a name");
        let file = text(&shardlab(&["presets", "--show", name]).stdout);
        let file: toml::Table = toml::from_str(&file).expect("presets are TOML");
        let file = serde_json::to_value(file).expect("a table");
        assert_eq!(undescribed(&file, &schema, &schema, ""), None, "{name}");
    }
}

/// The first key of `value` that its schema does not have.
fn undescribed(value: &Value, schema: &Value, root: &Value, path: &str) -> Option<String> {
    let resolve = |schema: &Value| {
        let optional = schema["anyOf"].as_array().and_then(|options| options.iter().find(|o| o["$ref"].is_string()));
        let reference = optional.unwrap_or(schema)["$ref"].as_str().map(|name| name.trim_start_matches('#').to_owned());
        reference.and_then(|name| root.pointer(&name).cloned()).unwrap_or_else(|| schema.clone())
    };
    let schema = resolve(schema);
    let table = value.as_object()?;
    table.iter().find_map(|(key, inner)| match schema["properties"].get(key) {
        Some(described) => undescribed(inner, described, root, &format!("{path}.{key}")),
        None => Some(format!("{path}.{key}")),
    })
}

#[test]
fn every_op_stands_beside_its_prediction() {
    let arguments = ["compare", "tiny-llama-paged-1", "--steps", "2", "--backend", "cpu", "--ops"];
    let document = json(&[&arguments[..], &["--json"]].concat());
    let ops = document["ops"].as_array().expect("rows of ops");
    let sum = |key: &str, class: &str| -> f64 {
        let of_class = ops.iter().filter(|op| op["class"] == class);
        of_class.map(|op| op[key].as_f64().expect("a time")).sum()
    };
    for class in document["op_classes"].as_array().expect("rows of classes") {
        let name = class["class"].as_str().expect("a name");
        let of_ops = sum("predicted_s", name);
        assert!((of_ops - class["predicted_s"].as_f64().expect("a time")).abs() < 1e-9, "{name}: {of_ops} in {class}");
    }
    let pages = ops.iter().find(|op| op["op"] == "pages" && op["class"] == "to_host").expect("pages are ops, too");
    assert!(pages["times"].as_u64() > Some(0) && pages["predicted_s"].as_f64() > Some(0.0), "{pages}");
    let csv = text(&shardlab(&[&arguments[..], &["--csv", "-"]].concat()).stdout);
    assert!(csv.starts_with("op,class,phase,times,predicted_ns,executed_ns,ratio\n"), "{csv:.200}");
    assert!(csv.contains("\"layer * qkv\",matmul,forward,"), "{csv:.2000}");
    let several = shardlab(&["compare", "tiny-llama-1", "tiny-gpt-dp2-tp2", "--ops"]);
    assert_eq!(several.status.code(), Some(2));
    assert!(text(&several.stderr).contains("give one scenario"));
}

#[test]
fn this_device_is_measured() {
    let document = json(&["calibrate", "--backend", "cpu", "--json"]);
    assert_eq!(document["schema_version"], 1);
    for rate in ["matmul", "memory_bandwidth", "copy_bandwidth"] {
        assert!(document[rate].as_f64().is_some_and(|rate| rate > 0.0), "{rate} in {document:#}");
    }
    for format in ["fp8", "fp8_block", "nvfp4"] {
        let rate = &document["shaders"][format]["encoded_per_second"];
        assert!(rate.as_f64().is_some_and(|rate| rate > 0.0), "{format} in {document:#}");
    }
}

#[test]
fn a_graph_is_printed_for_graphviz_and_a_completion_for_the_shell() {
    let dot = text(&shardlab(&["graph", "tiny-llama-pp2-tp2"]).stdout);
    assert!(dot.starts_with("digraph") && dot.contains("layer 0 qkv") && dot.contains("->"), "{dot:.300}");
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
    let script = text(&shardlab(&["completions", "bash"]).stdout);
    assert!(script.contains("simulate") && script.contains("--perfetto"));
}

#[test]
fn only_one_result_goes_to_standard_output() {
    let output = shardlab(&["simulate", "gpt2-124m-8xa100", "--json", "--perfetto", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && text(&output.stderr).contains("give the others a file"));
}

#[test]
fn what_was_typed_wrongly_is_answered_with_two() {
    for arguments in
        [&["simulate", "llama2-7b-8xh10"][..], &["simulate", "no/such/file.toml"], &["fly"], &["simulate", "/"]]
    {
        let output = shardlab(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn malformed_files_give_an_error_and_no_panic() {
    let folder = folder("malformed");
    for (number, case) in malformed::cases().iter().enumerate() {
        let file = folder.join(format!("{number}.toml"));
        std::fs::write(&file, &case.bytes).expect("a file can be written");
        let output = shardlab(&["simulate", &file.to_string_lossy()]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{}: {message}", case.name);
        assert!(message.contains(case.says), "{}: expected `{}` in: {message}", case.name, case.says);
        assert!(!message.contains("panicked"), "{}: {message}", case.name);
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_shardlab"))
        .args(["graph", "llama2-7b-8xh100", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("panicked"));
}

#[test]
fn published_measurements_are_predicted_and_wrong_files_refused() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/cases/measurements.csv");
    let document = json(&["validate", file, "--quality", "A", "--json"]);
    assert!(document["rows"].as_array().is_some_and(|rows| rows.len() > 10));
    assert!(document["summaries"].as_array().is_some_and(|rows| rows.iter().any(|row| row["name"] == "all")));
    let table = text(&shardlab(&["validate", file]).stdout);
    assert!(table.contains("korthikanti") && table.contains("left out") && table.contains("farthest apart"), "{table}");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for arguments in [["validate", "no/such.csv"], ["validate", manifest], ["fit", manifest]] {
        let output = shardlab(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stdout));
        assert!(!output.stderr.is_empty() && !text(&output.stderr).contains("panicked"));
    }
}

#[test]
fn a_search_prints_writes_and_goes_on_from_its_state() {
    let folder = folder("search");
    let (state, best) = (folder.join("state.json"), folder.join("best.toml"));
    let (state, best) = (state.to_str().expect("text"), best.to_str().expect("text"));
    let space = ["--vary", "strategy.tensor_parallel=1,2,4,8", "--vary", "strategy.pipeline_parallel=1,2,4"];
    let base = ["search", "llama2-7b-8xh100", "--json", "--state", state, "--write-best", best];
    let arguments: Vec<&str> = base.into_iter().chain(space).collect();
    let document = json(&arguments);
    assert_eq!(document["strategies"], 12);
    assert_eq!(document["complete"], true);
    let found = document["found"].as_array().expect("a list");
    let time = |found: &Value| found["step_time_s"].as_f64().expect("a number");
    assert!(found.len() > 2 && found.windows(2).all(|pair| time(&pair[0]) <= time(&pair[1])));
    // The best is written as a scenario that gives what the search said.
    let again = json(&["simulate", best, "--json"]);
    assert_eq!(again["step_time_s"], found[0]["step_time_s"]);
    assert_eq!(json(&arguments)["found"], document["found"], "a search that goes on finds the same");
    let other = shardlab(&["search", "llama2-7b-8xh100", "--state", state, "--vary", "strategy.micro_batch=1,2"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("another space"), "{}", text(&other.stderr));
    let wrong = shardlab(&["search", "--vary", "strategy.micro_batch"]);
    assert!(text(&wrong.stderr).contains('='), "{}", text(&wrong.stderr));
    let nothing = shardlab(&["search", "llama3-405b-16384xh100", "--vary", "strategy.micro_batch=64"]);
    assert_eq!(nothing.status.code(), Some(1), "none fits");
}

#[test]
fn a_step_is_explained_and_what_would_make_it_faster() {
    let document = json(&["explain", "mixtral-8x7b-64xh100", "--json"]);
    let ops = document["ops"].as_array().expect("a list");
    assert!(ops.iter().any(|op| op["formula"].as_str().is_some_and(|formula| formula.starts_with("max("))));
    assert!(ops.iter().any(|op| op["formula"].as_str().is_some_and(|formula| formula.contains("direct of"))));
    for list in ["memory", "constants"] {
        assert!(document[list].as_array().is_some_and(|lines| lines.len() > 10), "{list}");
    }
    let table = text(&shardlab(&["explain", "gpt2-124m-8xa100"]).stdout);
    assert!(table.contains("numbers that this rests on") && table.contains("layer * qkv"), "{table}");
    let what_if = json(&["what-if", "llama2-7b-8xh100", "--json", "--factor", "2"]);
    let gains: Vec<f64> =
        what_if["changes"].as_array().into_iter().flatten().filter_map(|change| change["gain"].as_f64()).collect();
    assert!(gains.len() > 10 && gains.windows(2).all(|pair| pair[0] >= pair[1]) && gains[0] > 0.2, "{gains:?}");
    assert_eq!(shardlab(&["what-if", "--factor", "nan"]).status.code(), Some(2));
}

#[test]
fn measured_collectives_are_predicted() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/cases/collectives.csv");
    let document = json(&["validate", file, "--json"]);
    assert!(document["above_1_mb"]["all"]["median"].as_f64().expect("a number") < 0.1);
    assert!(text(&shardlab(&["validate", file]).stdout).contains("bus bandwidths"));
}

#[test]
fn a_device_is_measured_and_compared_with_itself() {
    let folder = folder("bench");
    let (old, csv) = (folder.join("old.json"), folder.join("figures.csv"));
    let (sections, csv) = ("peak,latency,collectives", csv.to_str().expect("text"));
    let bench = shardlab(&["bench", "--backend", "cpu", "--only", sections, "--json", "--csv", csv]);
    assert_eq!(bench.status.code(), Some(0), "{}", text(&bench.stderr));
    std::fs::write(&old, &bench.stdout).expect("a file is written");
    let document: Value = serde_json::from_slice(&bench.stdout).expect("one document");
    let figures = document["figures"].as_array().expect("a list");
    assert!(figures.iter().all(|figure| figure["value"].as_f64().is_some_and(|value| value > 0.0)), "{figures:?}");
    let detail = |figure: &Value| figure["detail"].as_str().unwrap_or_default().to_owned();
    let exchanged: Vec<_> = figures.iter().filter(|figure| figure["section"] == "collectives").map(detail).collect();
    assert!(exchanged.len() >= 14 && exchanged.iter().all(|detail| detail.ends_with("#wrong 0")), "{exchanged:?}");
    let table = std::fs::read_to_string(csv).expect("a table");
    assert!(
        table.starts_with("section,name,value,unit,time_s,clock,quantum_s,flops,bytes,ranks,count,type,"),
        "{table}"
    );
    let columns = table.lines().next().map_or(0, |head| head.split(',').count());
    assert_eq!(table.lines().count(), figures.len() + 1);
    let quantum = document["quanta"]["host"].as_f64().expect("nanoseconds");
    assert!(quantum >= 1.0 && document["quanta"]["device"].is_null(), "twins are timed by the host's clock");
    let exchanged: Vec<&str> = table.lines().filter(|line| line.starts_with("collectives,")).collect();
    // The last column but one is what is wrong, the last one says it in words.
    let is_right = |line: &&str| line.split(',').count() >= columns && line.contains(",0,\"4 ranks");
    assert!(exchanged.len() >= 14 && exchanged.iter().all(is_right), "{table}");
    let old = old.to_str().expect("text");
    let again = shardlab(&["bench", "--backend", "cpu", "--only", "latency", "--compare", old, "--describe"]);
    assert!(
        text(&again.stdout).contains(" x") && text(&again.stdout).contains("host's clock"),
        "{}",
        text(&again.stdout)
    );
    for wrong in [&["bench", "--only", "speed"][..], &["bench", "--compare", "no such file"]] {
        assert_eq!(shardlab(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn kernels_are_tuned_once() {
    let file = folder("tune").join("tuning.json");
    let path = file.to_str().expect("text");
    let executed =
        |tune: &str| shardlab(&["execute", "tiny-llama-1", "--backend", "cpu", "--steps", "1", "--tune", tune]);
    assert_eq!(executed(path).status.code(), Some(0));
    let kept = std::fs::read_to_string(&file).expect("measurements are kept");
    assert!(serde_json::from_str::<Value>(&kept).is_ok(), "{kept}");
    std::fs::write(&file, "nonsense").expect("a file is written");
    let refused = executed(path);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("no file of kernel measurements"), "{}", text(&refused.stderr));
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "nonsense", "nothing is overwritten");
}

#[test]
fn what_can_only_be_simulated_is_not_executed() {
    let tiny = "[cluster]\ndevice = \"a100-80gb-sxm\"\n[model]\npreset = \"tiny-llama\"\n[strategy]\nglobal_batch = 8\ndata_parallel = 2\n";
    let cases = [
        ("precision = \"nvfp4\"\nzero_stage = 1\n", "strategy.zero_stage"),
        ("precision = \"fp32\"\nupdate = \"asynchronous\"\n", "run.gradient_clip"),
    ];
    let folder = folder("only_simulated");
    for (strategy, reason) in cases {
        let path = folder.join("scenario.toml");
        std::fs::write(&path, format!("{tiny}{strategy}")).expect("a file is written");
        let path = path.to_str().expect("text");
        let simulated = shardlab(&["simulate", path]);
        assert_eq!(simulated.status.code(), Some(0), "{reason}: {}", text(&simulated.stderr));
        let executed = shardlab(&["execute", path, "--backend", "cpu", "--steps", "1"]);
        assert_eq!(executed.status.code(), Some(2), "{reason}");
        assert!(text(&executed.stderr).contains(reason), "{}", text(&executed.stderr));
    }
}

/// The processes that a process has started.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<String> {
    let is_child = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.split_whitespace().nth(1) == Some(&parent.to_string()))
    };
    let processes = std::fs::read_dir("/proc").expect("it is there").flatten();
    processes.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_child).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_whose_device_is_gone_says_where_it_can_go_on_and_ends_there_with_the_same_bits() {
    let file = folder("checkpoint").join("run.safetensors");
    let path = file.to_str().expect("text");
    let run = ["execute", "tiny-llama-processes-4", "--backend", "cpu", "--steps", "10", "--json"];
    let checkpoint = ["--checkpoint", path, "--checkpoint-interval", "2"];
    let mut program = Command::new(env!("CARGO_BIN_EXE_shardlab"));
    program.args(run).args(checkpoint).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = program.spawn().expect("the program starts");
    while !file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let workers = children(program.id());
    assert_eq!(workers.len(), 4, "each rank is a process");
    Command::new("kill").args(["-9", &workers[2]]).status().expect("it runs");
    let output = program.wait_with_output().expect("it ends");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("worker 2 has ended") && said.contains("--resume"), "{said}");

    let resumed = json(&[&run[..], &["--placement", "device", "--resume", path]].concat());
    let whole = json(&[&run[..], &["--placement", "adapters", "--workers", "2"]].concat());
    let last = |document: &Value| document["loss"].as_array().and_then(|steps| steps.last().cloned()).expect("steps");
    assert_eq!((&last(&resumed)["loss"], &last(&resumed)["step"]), (&last(&whole)["loss"], &last(&whole)["step"]));

    let bytes = std::fs::read(&file).expect("it is there");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("a file is written");
    let refused = shardlab(&[&run[..], &["--resume", path]].concat());
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("the checkpoint cannot be used"), "{}", text(&refused.stderr));
}

#[test]
fn what_does_not_fit_is_named_with_what_would() {
    let folder = folder("memory");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (csv, map) = (path("allocators.csv"), path("map.csv"));
    let output = shardlab(&["memory", "--activations", "--csv", &csv, "--map-csv", &map]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for part in ["* caching", "What breaks first (caching): before `layer", "strategy.micro_batch = 1", "compress"] {
        assert!(table.contains(part), "{part} is in {table}");
    }
    assert_eq!(std::fs::read_to_string(&csv).expect("a file").lines().count(), 8);
    assert!(std::fs::read_to_string(&map).expect("a file").contains("activations,0,\"layer 0 "));
    let document = json(&["memory", "llama2-7b-8xh100", "--allocator", "offsets", "--json"]);
    assert_eq!((&document["allocator"], &document["ways"]), (&"offsets".into(), &Value::Null));
    let rows = document["allocators"].as_array().expect("a list");
    let of = |name: &str| rows.iter().find(|row| row["allocator"] == name).expect("an allocator");
    assert!(of("offsets")["reserved"].as_u64() <= of("caching")["reserved"].as_u64());
    let bad = shardlab(&["memory", "llama2-7b-8xh100", "--stage", "2"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).contains("the scenario has 2 pipeline stages"), "{}", text(&bad.stderr));
}

#[test]
fn a_snapshot_of_pytorch_is_read_and_what_is_none_is_refused() {
    let snapshot = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/memory/snapshot.pickle");
    let output = shardlab(&["memory", "--snapshot", snapshot]);
    assert_eq!(output.status.code(), Some(1), "it ran out of memory");
    let table = text(&output.stdout);
    for part in ["[imported]", "14 events, 6 blocks", "out of memory at event 13", "loss (train.py:30)", "offsets"] {
        assert!(table.contains(part), "{part} is in {table}");
    }
    assert_eq!(json(&["memory", "--snapshot", snapshot, "--json"])["reserved"], 80 << 20);
    let file = folder("snapshots").join("cut.pickle");
    let whole = std::fs::read(snapshot).expect("a file");
    std::fs::write(&file, &whole[..whole.len() / 2]).expect("it is written");
    let cut = shardlab(&["memory", "--snapshot", &file.to_string_lossy()]);
    assert_eq!(cut.status.code(), Some(2));
    assert!(text(&cut.stderr).contains("the pickle ends at byte"), "{}", text(&cut.stderr));
}

/// A run so small that a step takes some milliseconds.
const SMALL: &str = "[model]\narchitecture = \"llama\"\nlayers = 2\nhidden = 16\nheads = 2\nffn_hidden = 32\nvocab = 80\n\
positions = 16\n[cluster]\ndevice = \"a100-80gb-sxm\"\n[strategy]\ndata_parallel = 2\nzero_stage = 1\nglobal_batch = 4\n\
precision = \"bf16\"\n[data]\nsequence_length = 16\n[run]\nsteps = 60\n";

/// The files of the last checkpoint in a folder.
fn last_checkpoint(folder: &std::path::Path, step: u32) -> Vec<Vec<u8>> {
    let folder = folder.join(format!("step-{step:08}"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the last step was kept")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file")).collect()
}

/// Killed (SIGKILL) at any moment, also while it writes: what goes on from there ends with the very same files.
#[test]
fn a_run_that_was_killed_fifty_times_ends_with_the_weights_of_one_that_was_not() {
    const KILLS: u32 = 50;
    const STEPS: u32 = 60;
    let folder = folder("killed");
    let scenario = folder.join("small.toml");
    std::fs::write(&scenario, SMALL).expect("it is written");
    let steps = STEPS.to_string();
    let run = |place: &std::path::Path, resume: bool| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_shardlab"));
        program.args(["execute", "--backend", "cpu", "--steps", &steps, "--checkpoint-interval", "1"]);
        program.arg("--checkpoint-sharded").arg("--checkpoint-zstd").arg("--checkpoint").arg(place).arg(&scenario);
        if resume {
            program.arg("--resume").arg(place);
        }
        program.stdout(Stdio::null()).stderr(Stdio::null());
        program
    };
    let whole = folder.join("whole");
    assert!(run(&whole, false).status().expect("it starts").success());
    let expected = last_checkpoint(&whole, STEPS);
    let (mut killed, mut attempt, mut seed) = (0, 0, 12_345_u64);
    let mut random = move |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % most
    };
    while killed < KILLS {
        let place = folder.join(format!("attempt-{attempt}"));
        std::fs::create_dir_all(&place).expect("a folder can be made");
        let mut child = run(&place, true).spawn().expect("it starts");
        std::thread::sleep(std::time::Duration::from_micros(random(120_000)));
        if child.try_wait().expect("it can be asked").is_none() {
            child.kill().expect("it can be killed");
            killed += 1;
        }
        child.wait().expect("it has ended");
        // Of a run that was too fast to be killed once more, the end is looked at, and another is begun.
        if place.join(format!("step-{STEPS:08}")).exists() {
            assert!(last_checkpoint(&place, STEPS) == expected, "attempt {attempt}, after {killed} kills");
            attempt += 1;
        }
    }
    let place = folder.join(format!("attempt-{attempt}"));
    std::fs::create_dir_all(&place).expect("a folder can be made");
    assert!(run(&place, true).status().expect("it starts").success(), "the last one runs to its end");
    assert!(last_checkpoint(&place, STEPS) == expected, "after {killed} kills");
}

#[test]
fn a_checkpoint_that_was_damaged_gives_way_to_the_one_before_and_a_full_disk_loses_nothing() {
    let folder = folder("damaged");
    let scenario = folder.join("small.toml").to_string_lossy().into_owned();
    std::fs::write(&scenario, SMALL).expect("it is written");
    let place = folder.join("kept").to_string_lossy().into_owned();
    let run = ["execute", &scenario, "--backend", "cpu", "--checkpoint", &place, "--checkpoint-interval", "1"];
    let output = shardlab(&[&run[..], &["--steps", "3"]].concat());
    assert!(text(&output.stdout).contains("checkpoint of step 3"), "{}", text(&output.stdout));
    let file = folder.join("kept/step-00000003/model.safetensors");
    let mut bytes = std::fs::read(&file).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("it is written");
    // A shell that lets files grow to 8 KiB only, and has the program told instead of killed.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
    let mut full = Command::new("sh");
    full.args(["-c", script, env!("CARGO_BIN_EXE_shardlab")]).args(run).args(["--steps", "4", "--resume", &place]);
    let output = full.output().expect("it starts");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("was changed: its CRC-32"), "{said}");
    assert!(said.contains("cannot write") && said.contains("what was there is untouched"), "{said}");
    let other = folder.join("other.toml");
    std::fs::write(&other, format!("{SMALL}learning_rate = 0.125\n")).expect("it is written");
    let other = other.to_string_lossy().into_owned();
    let other = shardlab(&["execute", &other, "--backend", "cpu", "--steps", "4", "--resume", &place]);
    let said = text(&other.stderr);
    assert!(said.contains("was made with run.learning_rate = ") && said.contains("now 0.125"), "{said}");
    let resumed = json(&[&run[..], &["--steps", "4", "--resume", &place, "--json"]].concat());
    assert_eq!(resumed["checkpoint"]["steps"], 4);
    assert_eq!(resumed["loss"][0]["step"], 3, "step 3 was damaged, so it is trained again");
}

#[test]
fn every_form_of_a_checkpoint_is_measured_beside_what_is_modelled() {
    let csv = folder("forms").join("forms.csv").to_string_lossy().into_owned();
    let arguments = ["--backend", "cpu", "--times", "1", "--json", "--csv", &csv];
    // Handles of two digits among those of three are in another order as texts.
    let document = json(&[&["checkpoint", "tiny-llama-1"], &arguments[..]].concat());
    assert!(document["checkpoints"]["rows"].as_array().expect("a list")[..4].iter().all(|row| row["exact"] == true));
    let document = json(&[&["checkpoint", "tiny-llama-fsdp-dp4"], &arguments[..]].concat());
    let rows = document["checkpoints"]["rows"].as_array().expect("a list");
    assert_eq!(rows.len(), 5);
    for row in rows {
        assert_eq!(row["exact"], row["name"] != "bf16", "{row}");
        let (found, said) =
            (row["stored"]["raw"].as_f64().expect("bytes"), row["modelled_bytes"].as_f64().expect("bytes"));
        // Names, shapes and padded slices come to the numbers.
        assert!(found >= said && found < said * 1.05, "{row}");
    }
    assert_eq!(std::fs::read_to_string(&csv).expect("a file").lines().count(), 6);
}

#[test]
fn a_run_that_needs_more_memory_than_it_may_is_refused_before_it_starts() {
    let refused = shardlab(&["execute", "tiny-llama-1", "--backend", "cpu", "--steps", "1", "--memory-limit", "1MB"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("raise run.memory_limit") && said.contains("977 KiB"), "{said}");
    let allowed = ["execute", "tiny-llama-1", "--backend", "cpu", "--steps", "1", "--memory-limit", "8MB"];
    assert_eq!(shardlab(&allowed).status.code(), Some(0));
}

#[test]
fn a_run_is_fed_from_disk_and_its_waits_stand_beside_those_that_are_modelled() {
    let place = folder("load").to_string_lossy().into_owned();
    let arguments =
        ["load", "tiny-llama-1", "--backend", "cpu", "--folder", &place, "--count", "64", "--bytes", "20KB"];
    let slow = ["--steps", "6", "--limit", "1MB/s", "--json"];
    let document = json(&[&arguments[..], &slow].concat());
    let nanos = |side: &str| document[side]["wait"].as_f64().expect("a time");
    // A batch of 160 kB takes 160 ms at least; what a step takes meanwhile depends on the machine.
    assert!(
        nanos("modelled") > 0.0 && document["loading"]["loaded"]["read"].as_u64() >= Some(6 * 8 * 20_000),
        "{document}"
    );
    assert_eq!(document["executed"]["hits"], document["modelled"]["hits"]);
    let table = text(&shardlab(&[&arguments[..], &["--steps", "3"]].concat()).stdout);
    assert!(table.contains("a step waits") && table.contains("[executed beside modelled]"), "{table}");
    let bad = shardlab(&[&arguments[..], &["--policy", "magic"]].concat());
    assert!(text(&bad.stderr).contains("expected one of fifo, lru"), "{}", text(&bad.stderr));
    let other = shardlab(&["load", "tiny-resnet-dp2", "--backend", "cpu", "--folder", &place]);
    assert!(text(&other.stderr).contains("choose an empty folder"), "{}", text(&other.stderr));
    let cut = std::path::Path::new(&place).join("00000003.sample");
    let content = std::fs::read(&cut).expect("a sample");
    std::fs::write(&cut, &content[..content.len() / 2]).expect("it is written");
    let cut = shardlab(&[&arguments[..], &["--steps", "9"]].concat());
    assert_eq!(cut.status.code(), Some(2));
    assert!(text(&cut.stderr).contains("00000003.sample"), "{}", text(&cut.stderr));
}

#[test]
fn traces_of_ranks_are_analysed_compared_and_put_beside_a_scenario() {
    let folder = folder("traces");
    for rank in 0..2 {
        std::fs::write(folder.join(format!("rank{rank}.json")), kineto(rank, 200, 300)).expect("it is written");
    }
    let other = folder.join("other");
    std::fs::create_dir_all(&other).expect("a folder");
    std::fs::write(other.join("a.json"), kineto(0, 150, 300)).expect("it is written");
    let [ranks, other, csv] =
        [folder.clone(), other, folder.join("csv")].map(|path| path.to_string_lossy().into_owned());
    let document =
        json(&["trace", &ranks, "--baseline", &other, "--scenario", "tiny-llama-1", "--json", "--csv", &csv]);
    assert_eq!(document["report"]["ranks"].as_array().map(Vec::len), Some(2));
    assert_eq!(document["diff"][0]["counts"], serde_json::json!([2, 4]));
    assert_eq!(document["beside"]["times"][0]["what"], "step");
    let table = std::fs::read_to_string(folder.join("csv/temporal_breakdown.csv")).expect("a table");
    assert!(table.starts_with("rank,idle_time(us),compute_time(us)") && table.contains("\"rank 1\""), "{table}");
    let output = shardlab(&["trace", &ranks]);
    assert!(
        text(&output.stdout).contains("[imported]") && text(&output.stderr).contains("2 files, each taken for a rank")
    );
    let wrong = folder.join("wrong.json");
    std::fs::write(&wrong, "{\"traceEvents\": [").expect("it is written");
    let output = shardlab(&["trace", &wrong.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("truncated"), "{}", text(&output.stderr));
}

#[test]
fn a_link_is_taken_where_a_scenario_is() {
    let printed = text(&shardlab(&["link", "tiny-llama-1", "--view", "memory"]).stdout);
    let own = json(&["simulate", "tiny-llama-1", "--json"]);
    let linked = json(&["simulate", printed.trim(), "--json"]);
    assert_eq!(linked["step_time_ns"], own["step_time_ns"]);
    assert_eq!(linked, own, "all of it");
    let output = shardlab(&["simulate", &printed.trim()[..printed.len() / 2]]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("the link is damaged"), "{}", text(&output.stderr));
}

#[test]
fn scenarios_stand_side_by_side_and_settings_say_why() {
    let folder = folder("variants");
    let variant = folder.join("variant.toml");
    let preset = text(&shardlab(&["presets", "--show", "llama2-7b-8xh100"]).stdout);
    std::fs::write(
        &variant,
        format!("{preset}\n[budget]\ntokens = 2e12\nprice = 2.5\n").replace("\"none\"", "\"full\""),
    )
    .expect("it is written");
    let variant = variant.to_str().expect("text");
    let changed = text(&std::fs::read(variant).expect("it is there")).contains("\"full\"");
    let csv = folder.join("figures.csv");
    let document =
        json(&["compare", "llama2-7b-8xh100", variant, "--why", "--json", "--csv", csv.to_str().expect("text")]);
    let variants = document["variants"].as_array().expect("a list");
    assert_eq!(variants.len(), 2);
    assert_eq!(variants[1]["figures"]["money_per_million"].as_f64().map(|money| money > 0.0), Some(true));
    let differ: Vec<&str> =
        document["settings"].as_array().expect("a list").iter().filter_map(|s| s["path"].as_str()).collect();
    assert!(differ.contains(&"budget.price"), "{differ:?}");
    assert_eq!(differ.contains(&"strategy.recompute"), changed);
    let why = &document["causes"][0];
    let sum: i64 = why["causes"].as_array().expect("causes").iter().filter_map(|cause| cause["time"].as_i64()).sum();
    assert_eq!(Some(sum), why["time"].as_i64(), "shares add up");
    assert!(text(&std::fs::read(csv).expect("a table")).starts_with("figure,unit,"));
    let table = text(&shardlab(&["compare", "llama2-7b-8xh100", variant]).stdout);
    assert!(table.contains("[1]") && table.contains("setting that differs"), "{table}");
    let nothing = shardlab(&["compare", "tiny-llama-1", "--why"]);
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn advice_is_given_and_written_as_a_scenario() {
    let folder = folder("advice");
    let best = folder.join("best.toml");
    let path = best.to_str().expect("text");
    let document = json(&["advise", "llama2-7b-8xh100", "--json", "--write-best", path]);
    let advice = document["advice"].as_array().expect("a list");
    assert!(advice.len() > 3 && advice.iter().all(|one| one["gain"].as_f64() > Some(0.0)));
    let step = |scenario: &str| json(&["simulate", scenario, "--json"])["step_time_s"].as_f64().expect("seconds");
    assert!(step(path) < step("llama2-7b-8xh100"));
    assert!(text(&shardlab(&["advise", "oom-13b"]).stdout).contains("it does not fit"));
}

#[test]
fn shards_of_a_sweep_are_the_whole() {
    let folder = folder("sweep");
    let vary = ["--vary", "strategy.tensor_parallel=1,2,4,3", "--vary", "strategy.micro_batch=1,2"];
    let whole = json(&[&["sweep", "llama2-7b-8xh100", "--json"][..], &vary].concat());
    let points = whole["points"].as_array().expect("a list");
    assert_eq!(points.len(), 8);
    assert!(points.iter().any(|point| point["invalid"].is_string()), "three slices do not divide 32 heads");
    let parts: Vec<String> = (1..=3)
        .map(|part| {
            let path = folder.join(format!("part-{part}.jsonl")).to_str().expect("text").to_owned();
            let shard = format!("{part}/3");
            let arguments = [&["sweep", "llama2-7b-8xh100", "--shard", &shard, "--points", &path][..], &vary].concat();
            assert!(shardlab(&arguments).status.code().is_some_and(|code| code < 2));
            path
        })
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let merged = json(&[&["sweep", "llama2-7b-8xh100", "--json"][..], &vary, &["--merge"], &parts].concat());
    assert_eq!(merged, whole);
    let other =
        shardlab(&[&["sweep", "llama2-7b-8xh100", "--vary", "strategy.micro_batch=4", "--merge"][..], &parts].concat());
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("another sweep"), "{}", text(&other.stderr));
    let script = text(&shardlab(&[&["sweep", "llama2-7b-8xh100", "--emit-slurm"][..], &vary].concat()).stdout);
    assert!(script.starts_with("#!/bin/sh\n") && script.contains("#SBATCH --array=1-8"), "{script}");
}

#[test]
fn a_page_needs_nothing_else_and_the_network_is_told() {
    let folder = folder("report");
    let page = folder.join("page.html");
    let arguments = ["report", "llama2-7b-8xh100", "gpt2-124m-8xa100", "--why", "--out", page.to_str().expect("text")];
    assert_eq!(shardlab(&arguments).status.code(), Some(0));
    let page = text(&std::fs::read(page).expect("it is there"));
    assert!(page.matches("<svg ").count() > 6 && page.ends_with("</html>\n"));
    for outside in ["src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "a page that opens without a network has no {outside}");
    }
    let network = json(&["network", "llama3-70b-leaf-spine-64xh100", "--json"]);
    assert!(network["network"]["axes"].as_array().is_some_and(|axes| axes.len() > 2));
    let packed = folder.join("trace.json.gz");
    shardlab(&["simulate", "--perfetto", packed.to_str().expect("text")]);
    let bytes = std::fs::read(&packed).expect("it is there");
    assert_eq!(bytes[..2], [0x1f, 0x8b]);
    assert_eq!(shardlab(&["trace", packed.to_str().expect("text")]).status.code(), Some(0), "it is read again");
}

#[test]
fn logs_and_settings_of_frameworks_are_read() {
    let folder = folder("frameworks");
    let log = folder.join("run.log");
    let lines: String = (1..=60)
        .map(|step| format!("[titan] 2026-02-24 19:{:02}:{:02},500 - root - INFO - step: {step:2}  loss:  {:.4}  grad_norm: 1.5  memory: 66.91GiB(37.51%)  tps: 10,050  tflops: 314.71  mfu: 13.99%\n", step / 60, step % 60, 9.0 / f64::from(step)))
        .collect();
    std::fs::write(&log, lines).expect("it is written");
    let document = json(&["log", log.to_str().expect("text"), "--json"]);
    assert_eq!(
        (&document["log"]["framework"], document["log"]["steps"].as_array().map(Vec::len)),
        (&"torchtitan".into(), Some(60))
    );
    assert_eq!(document["findings"]["median_seconds"], 1.0);
    let wrong = shardlab(&["log", "Cargo.toml"]);
    assert_eq!(wrong.status.code(), Some(2));
    let script = folder.join("train.sh");
    std::fs::write(&script, "torchrun --nproc_per_node 8 --nnodes 2 pretrain_gpt.py --num-layers 24 --hidden-size 2048 --num-attention-heads 16 --seq-length 2048 --max-position-embeddings 2048 --micro-batch-size 2 --global-batch-size 64 --tensor-model-parallel-size 2 --bf16 --some-option 7").expect("it is written");
    let output = shardlab(&["simulate", script.to_str().expect("text"), "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["origin"], "modelled");
    let said = text(&output.stderr);
    assert!(said.contains("Megatron-LM") && said.contains("--some-option 7"), "{said}");
}
