//! Files that come in: picked in a dialog or dropped on the window.

use shardlab_engine::scenario::{MAX_FILE_BYTES, Opened, ScenarioError, ScenarioFile, check, check_model};
use shardlab_engine::units::Bytes;
use shardlab_engine::unpack::plain_name;

use super::i18n::t_with;
use super::job::spawn;
use super::recent::RecentFile;

/// A file that comes in.
#[derive(Debug)]
pub struct Arrival {
    /// Its name.
    pub name: String,
    /// Where it is, where that is known.
    pub path: Option<String>,
    /// What is in it, or why it could not be read.
    pub bytes: Result<Vec<u8>, String>,
}

/// Ends of the names of traces of reads.
pub const TRACE_ENDS: &[&str] = &["csv", "bin", "oraclegeneral", "trace"];

/// The same as a dialog has them: behind a name of a compressed file only the last end counts.
const PICKED_ENDS: &[&str] = &["csv", "bin", "oraclegeneral", "trace", "gz", "zst"];

/// Ends of the names of memory snapshots.
pub const SNAPSHOT_ENDS: &[&str] = &["pickle", "pkl"];

/// Whether a file is a memory snapshot of PyTorch, by its name.
pub fn is_snapshot(name: &str) -> bool {
    ends(name, SNAPSHOT_ENDS)
}

fn ends(name: &str, ends: &[&str]) -> bool {
    let end = plain_name(name).rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    ends.contains(&end.as_str())
}

/// Bytes of a trace that is opened, at most.
const MAX_TRACE_BYTES: u64 = if cfg!(target_arch = "wasm32") { 256 << 20 } else { 2 << 30 };

/// Whether a file is a trace of reads, by its name.
pub fn is_trace(name: &str) -> bool {
    ends(name, TRACE_ENDS)
}

/// Whether a file is what `shardlab bench --json` or the Bench screen has written.
pub fn is_bench(name: &str, bytes: &[u8]) -> bool {
    /// Bytes in which it says so.
    const HEAD: usize = 4096;
    let head = &bytes[..bytes.len().min(HEAD)];
    let says = |word: &[u8]| head.windows(word.len()).any(|part| part == word);
    ends(name, &["json"]) && says(b"\"backend\"") && says(b"\"figures\"")
}

/// Whether a file is a trace of a profiler: JSON that has events, plain or compressed.
pub fn is_profile(name: &str, bytes: &[u8]) -> bool {
    /// Bytes in which a trace says that it is one, where it comes as an object: what devices there are comes before.
    const HEAD: usize = 1 << 20;
    if ends(name, &["sqlite", "et", "chakra"]) {
        return true;
    }
    let name_says_so = ends(name, &["json"]);
    if !name_says_so || plain_name(name) != name {
        return name_says_so;
    }
    let head = &bytes[..bytes.len().min(HEAD)];
    let events = b"\"traceEvents\"";
    head.trim_ascii_start().starts_with(b"[") || head.windows(events.len()).any(|part| part == events)
}

/// Ends of the names of logs.
const LOG_ENDS: &[&str] = &["log", "txt", "out", "err"];

/// Whether a file is a log of a training run, by its name or by its lines.
pub fn is_log(name: &str, bytes: &[u8]) -> bool {
    ends(name, LOG_ENDS) || shardlab_engine::report::is_training_log(bytes)
}

/// How many bytes of a file are read, and what is said of one with more.
fn limit(name: &str) -> (u64, String) {
    let most = Bytes(MAX_TRACE_BYTES);
    if is_trace(name) {
        return (most.0, t_with("open.trace_too_large", most));
    }
    if is_snapshot(name) || ends(name, &["json", "sqlite", "et", "chakra"]) || ends(name, LOG_ENDS) {
        return (most.0, t_with("open.profile_too_large", most));
    }
    (MAX_FILE_BYTES, ScenarioError::TooLarge { limit: MAX_FILE_BYTES }.to_string())
}

/// Reads files in the background and hands them over.
#[derive(Debug)]
pub struct Opener {
    send: flume::Sender<Arrival>,
    receive: flume::Receiver<Arrival>,
}

impl Default for Opener {
    fn default() -> Self {
        let (send, receive) = flume::unbounded();
        Self { send, receive }
    }
}

impl Opener {
    /// Asks for a file.
    pub fn ask(&self, context: &egui::Context) {
        let (send, context) = (self.send.clone(), context.clone());
        spawn("open", async move {
            let dialog = rfd::AsyncFileDialog::new()
                .add_filter("TOML, JSON, Megatron-LM", &["toml", "json", "sh"])
                .add_filter("CSV, oracleGeneral", PICKED_ENDS)
                .add_filter("PyTorch profiler, Chrome, Nsight Systems, Chakra", &["json", "gz", "sqlite", "et"])
                .add_filter("PyTorch memory snapshot", SNAPSHOT_ENDS)
                .add_filter("Megatron-LM, torchtitan, NeMo", LOG_ENDS);
            if let Some(handle) = dialog.pick_file().await {
                let (name, path) = (handle.file_name(), picked_path(&handle));
                send.send(Arrival { name, path, bytes: read_picked(&handle).await }).ok();
                context.request_repaint();
            }
        });
    }

    /// Opens a file again.
    pub fn again(&self, context: &egui::Context, file: RecentFile) {
        let (send, context) = (self.send.clone(), context.clone());
        spawn("open", async move {
            let RecentFile { name, path, text } = file;
            let bytes = match (&path, text) {
                (_, Some(text)) => Ok(text.into_bytes()),
                (Some(path), None) => read_path(std::path::Path::new(path)).map_err(|error| format!("{path}: {error}")),
                (None, None) => return,
            };
            send.send(Arrival { name, path, bytes }).ok();
            context.request_repaint();
        });
    }

    /// Takes what was dropped on the window in this frame.
    pub fn take_dropped(&self, context: &egui::Context) {
        for file in context.input(|input| input.raw.dropped_files.clone()) {
            let name = file.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.take(context, name, &file);
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn take(&self, _: &egui::Context, name: String, file: &egui::DroppedFileHandle) {
        let path = Some(file.path().display().to_string());
        self.send.send(Arrival { name, path, bytes: read_path(file.path()) }).ok();
    }

    #[cfg(target_arch = "wasm32")]
    fn take(&self, context: &egui::Context, name: String, file: &egui::DroppedFileHandle) {
        let (send, context, file) = (self.send.clone(), context.clone(), file.clone());
        spawn("open", async move {
            let bytes = match file.web_file().map(|file| file.size()) {
                Some(size) if size > limit(&name).0 as f64 => Err(limit(&name).1),
                _ => file.bytes_async().await,
            };
            send.send(Arrival { name, path: None, bytes }).ok();
            context.request_repaint();
        });
    }

    /// What has arrived since the last call.
    pub fn received(&self) -> Vec<Arrival> {
        self.receive.try_iter().collect()
    }
}

/// Reads one byte more than a file may have: what is larger is noticed and never read whole.
#[cfg(not(target_arch = "wasm32"))]
fn read_path(path: &std::path::Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let (most, too_large) = limit(&path.to_string_lossy());
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most { Err(too_large) } else { Ok(bytes) }
}

/// A page has no files of its own.
#[cfg(target_arch = "wasm32")]
fn read_path(_: &std::path::Path) -> Result<Vec<u8>, String> {
    Err(super::i18n::t("open.no_paths").to_owned())
}

#[cfg(not(target_arch = "wasm32"))]
#[expect(clippy::unnecessary_wraps, reason = "a page knows no paths")]
fn picked_path(handle: &rfd::FileHandle) -> Option<String> {
    Some(handle.path().display().to_string())
}

#[cfg(target_arch = "wasm32")]
fn picked_path(_: &rfd::FileHandle) -> Option<String> {
    None
}

#[cfg(not(target_arch = "wasm32"))]
async fn read_picked(handle: &rfd::FileHandle) -> Result<Vec<u8>, String> {
    read_path(handle.path())
}

#[cfg(target_arch = "wasm32")]
async fn read_picked(handle: &rfd::FileHandle) -> Result<Vec<u8>, String> {
    Ok(handle.read().await)
}

/// The scenario in a file. A Hugging Face `config.json` replaces the model of the scenario on screen.
///
/// # Errors
/// What is wrong with the file. A scenario is checked whole; of a model only the model, since the form then shows
/// where the strategy on screen does not go with it.
pub fn open(bytes: &[u8], current: &ScenarioFile) -> Result<(ScenarioFile, Vec<String>), ScenarioError> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ScenarioError::TooLarge { limit: MAX_FILE_BYTES });
    }
    match shardlab_engine::scenario::open(bytes)? {
        Opened::Scenario(file) => {
            check(&file)?;
            Ok((*file, Vec::new()))
        }
        Opened::Settings(settings) => {
            check(&settings.file)?;
            Ok((settings.file, settings.left_out))
        }
        Opened::Model(model) => {
            check_model(&model)?;
            Ok((current.with_model(*model), Vec::new()))
        }
    }
}
