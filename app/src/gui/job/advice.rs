//! What to change, why two scenarios differ, and every combination of some fields, simulated in the background.

use std::sync::Arc;

use shardlab_engine::analysis::WhatIfStudy;
use shardlab_engine::exec::ExecError;
use shardlab_engine::scenario::ScenarioFile;
use shardlab_engine::search::{Advice, AdviceSearch, AttributionSearch, Space, Sweep};

use super::{Job, Message};
use crate::gui::session::Run;

/// How much faster.
const TWICE: f64 = 2.0;

/// What a search for changes has found so far.
#[derive(Clone, Debug)]
pub struct Advised {
    /// Single changes, the best first.
    pub found: Vec<Advice>,
    /// The best of them together.
    pub together: Option<Advice>,
    /// The share that is done.
    pub share: f32,
}

impl Advised {
    fn of(search: &AdviceSearch) -> Self {
        let (found, together) = (search.found().to_vec(), search.together().cloned());
        Self { found, together, share: search.share() }
    }
}

impl Job {
    /// Looks for changes that make a scenario faster.
    pub fn advice(context: &egui::Context, file: ScenarioFile) -> Self {
        Self::start(context, "advice", move |reporter| async move {
            super::breathe().await;
            let mut search = match AdviceSearch::new(&file) {
                Ok(search) => search,
                Err(error) => {
                    reporter.tell(Message::Failed(error.to_string()));
                    return Ok::<(), ExecError>(());
                }
            };
            loop {
                let more = search.advance();
                reporter.tell(Message::Advised(Box::new(Advised::of(&search))));
                if !more || !reporter.go_on().await {
                    return Ok(());
                }
            }
        })
    }

    /// Asks which setting makes which part of a difference.
    pub fn attribution(context: &egui::Context, baseline: ScenarioFile, variant: ScenarioFile) -> Self {
        Self::start(context, "attribution", move |reporter| async move {
            let mut search = AttributionSearch::new(&baseline, &variant);
            while search.advance() {
                reporter.tell(Message::Progress(search.share()));
                if !reporter.go_on().await {
                    return Ok::<(), ExecError>(());
                }
            }
            match search.attribution() {
                Some(found) => reporter.tell(Message::Attributed(Box::new(found.clone()))),
                None => reporter.tell(Message::Failed("one of the two scenarios is not valid".to_owned())),
            }
            Ok(())
        })
    }

    /// Simulates a step with every piece of hardware and every class of ops twice as fast.
    pub fn what_if(context: &egui::Context, run: Arc<Run>) -> Self {
        Self::start(context, "what-if", move |reporter| async move {
            super::breathe().await;
            let mut study = WhatIfStudy::new(&run.trace, TWICE);
            while study.advance(&run.step, &run.scenario) {
                reporter.tell(Message::Progress(study.share()));
                if !reporter.go_on().await {
                    return Ok(());
                }
            }
            reporter.tell(Message::WhatIf(study.found()));
            Ok::<(), ExecError>(())
        })
    }

    /// Simulates every combination of a space.
    pub fn sweep(context: &egui::Context, space: Space) -> Self {
        Self::start(context, "sweep", move |reporter| async move {
            let mut sweep = Sweep::new(space, (0, 1));
            let mut told = 0;
            loop {
                let more = sweep.advance();
                let stop = !reporter.go_on().await;
                if sweep.points().len() - told >= 16 || !more || stop {
                    reporter.tell(Message::Swept(sweep.points()[told..].to_vec()));
                    told = sweep.points().len();
                }
                if !more || stop {
                    return Ok::<(), ExecError>(());
                }
            }
        })
    }
}
