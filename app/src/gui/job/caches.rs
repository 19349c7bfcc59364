//! Caches that are compared in the background.

use std::sync::Arc;

use shardlab_engine::analysis::{CacheReport, CacheStudy, Feed, StudyOptions, suited};
use shardlab_engine::exec::ExecError;
use shardlab_engine::scenario::{Cache, Input, Scenario};
use shardlab_engine::sim::cache::{Requests, TraceFormat, import, requests_of};
use shardlab_engine::trace::Origin;

use super::{Job, Message, Reporter};
use crate::gui::data::OpenedTrace;

/// What is played.
#[derive(Debug)]
pub enum Reads {
    /// What a scenario describes, read by so many nodes, from a seed.
    Made(Box<Input>, u32, u64),
    /// A trace that is open.
    Trace(OpenedTrace),
    /// A file that is to be opened.
    File {
        /// Its name.
        name: String,
        /// What is in it.
        bytes: Vec<u8>,
    },
}

/// A comparison of caches.
#[derive(Debug)]
pub struct CacheJob {
    /// What is played.
    pub reads: Reads,
    /// Through which cache; one of a third of all objects where there is none.
    pub cache: Option<Cache>,
    /// The scenario whose step takes what is read, where there is one.
    pub feeds: Option<Scenario>,
    /// What is compared.
    pub options: StudyOptions,
}

/// Requests of the curves in a page: it has one thread, and that is the page's.
#[cfg(target_arch = "wasm32")]
const PLAYED_IN_A_PAGE: u64 = 60_000_000;

impl Job {
    /// Plays what is read through caches of every policy.
    pub fn cache(context: &egui::Context, job: CacheJob) -> Self {
        Self::start(context, "caches", move |reporter| async move {
            super::breathe().await;
            match prepared(&reporter, job) {
                Ok(study) => {
                    if let Some(report) = compared(&reporter, &study).await {
                        reporter.tell(Message::Cached(Box::new(report)));
                    }
                }
                Err(error) => reporter.tell(Message::Failed(error)),
            }
            Ok::<(), ExecError>(())
        })
    }
}

/// Reads or makes the requests.
fn prepared(reporter: &Reporter, job: CacheJob) -> Result<CacheStudy, String> {
    let CacheJob { reads, cache, feeds, options } = job;
    #[cfg(target_arch = "wasm32")]
    let options = StudyOptions { played: PLAYED_IN_A_PAGE, ..options };
    let (requests, nodes, origin) = match reads {
        Reads::Made(input, nodes, seed) => (Arc::new(requests_of(&input, nodes, seed)), nodes, Origin::Modelled),
        Reads::Trace(trace) => of_trace(trace.requests),
        Reads::File { name, bytes } => {
            let read = import(&bytes, TraceFormat::of_name(&name)).map_err(|error| format!("{name}: {error}"))?;
            let requests = Arc::new(read);
            reporter.tell(Message::Traced(Box::new(OpenedTrace { name, requests: Arc::clone(&requests) })));
            of_trace(requests)
        }
    };
    let cache = suited(cache, &requests, nodes, origin);
    Ok(CacheStudy::new(requests, cache, nodes, origin, options).feeding(feeds.as_ref().and_then(Feed::of)))
}

fn of_trace(requests: Arc<Requests>) -> (Arc<Requests>, u32, Origin) {
    let nodes = requests.nodes();
    (requests, nodes, Origin::Imported)
}

/// On all cores; none where it was stopped.
#[cfg(not(target_arch = "wasm32"))]
async fn compared(reporter: &Reporter, study: &CacheStudy) -> Option<CacheReport> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let points = study.on_threads(threads, &|share| {
        reporter.tell(Message::Progress(share));
        !reporter.control.is_cancelled()
    });
    points.map(|points| study.finish(&points))
}

/// Point after point, between which the page lives.
#[cfg(target_arch = "wasm32")]
async fn compared(reporter: &Reporter, study: &CacheStudy) -> Option<CacheReport> {
    let mut points = Vec::with_capacity(study.points());
    for number in 0..study.points() {
        points.push(study.point(number));
        reporter.tell(Message::Progress((number + 1) as f32 / study.points() as f32));
        if !reporter.go_on().await {
            return None;
        }
    }
    Some(study.finish(&points))
}
