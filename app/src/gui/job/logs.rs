//! Logs of training runs, read in the background.

use shardlab_engine::analysis::log_findings;
use shardlab_engine::exec::ExecError;
use shardlab_engine::report::training_log;

use super::{Job, Message};
use crate::gui::logs::OpenLog;

impl Job {
    /// Reads a log.
    pub fn training_log(context: &egui::Context, name: String, bytes: Vec<u8>) -> Self {
        Self::start(context, "log", move |reporter| async move {
            super::breathe().await;
            match training_log(&bytes) {
                Ok(log) => {
                    let found = log_findings(&log);
                    reporter.tell(Message::Logged(Box::new(OpenLog { name, log, found })));
                }
                Err(error) => reporter.tell(Message::Failed(format!("{name}: {error}"))),
            }
            Ok::<(), ExecError>(())
        })
    }
}
