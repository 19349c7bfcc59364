//! Traces of other tools, read in the background.

use shardlab_engine::exec::ExecError;
use shardlab_engine::report::import_trace;
use shardlab_engine::unpack::plain_name;

use super::{Job, Message};

impl Job {
    /// Reads a trace.
    pub fn trace(context: &egui::Context, name: String, bytes: Vec<u8>) -> Self {
        Self::start(context, "trace", move |reporter| async move {
            super::breathe().await;
            match import_trace(plain_name(&name), &bytes) {
                Ok(imported) => reporter.tell(Message::Imported(name, Box::new(imported))),
                Err(error) => reporter.tell(Message::Failed(format!("{name}: {error}"))),
            }
            Ok::<(), ExecError>(())
        })
    }
}
