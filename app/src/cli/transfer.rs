//! `shardlab transfer`.

use anyhow::Context as _;
use shardlab_engine::{analysis, report};

use super::args::TransferOptions;
use super::output::{print, write_file};
use super::{Answer, input};

/// Plays how something large comes to many nodes.
pub fn transfer(options: &TransferOptions) -> anyhow::Result<Answer> {
    let mut file = input::scenario_file(&options.scenario)?;
    if options.size.is_some() || options.receivers.is_some() {
        let table = file.transfer.get_or_insert_default();
        table.size = options.size.or(table.size);
        table.receivers = options.receivers.or(table.receivers);
    }
    let scenario = input::checked(&options.scenario, &file)?;
    let found = analysis::transfer(&scenario).with_context(|| {
        format!(
            "`{}` hands nothing out: add a table [transfer]; an empty one hands what the run keeps to all other nodes",
            options.scenario
        )
    })?;
    if let Some(path) = &options.csv {
        write_file(path, &report::transfer_csv(&found))?;
    }
    let name = scenario.name();
    print(&if options.json { report::transfer_json(name, &found) } else { report::transfer_table(name, &found) })?;
    Ok(Answer::Yes)
}
