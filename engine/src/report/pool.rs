//! What policies of handing out memory make of a step, as table, CSV and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use crate::exec::{PoolForecast, PoolStatistics};

/// A row for every stage and policy.
pub fn pool_table(name: &str, rows: &[PoolForecast]) -> String {
    let mut text = format!("{name}   [planned, of one rank of each stage; nothing was run]\n\n");
    let _ = writeln!(
        text,
        "  {:>5} {:<12} {:>12} {:>12} {:>9} {:>12} {:>18} {:>18}",
        "stage", "pool", "allocated", "reserved", "unused", "on the host", "paged out", "paged in"
    );
    for row in rows {
        let paged = |traffic: crate::exec::Traffic| {
            if traffic.moves == 0 { "-".to_owned() } else { format!("{} × {}", traffic.moves, traffic.bytes) }
        };
        let _ = writeln!(
            text,
            "  {:>5} {:<12} {:>12} {:>12} {:>7.1} % {:>12} {:>18} {:>18}",
            row.stage,
            row.policy.name(),
            row.allocated.to_string(),
            row.reserved.to_string(),
            row.fragmentation * 100.0,
            row.away.to_string(),
            paged(row.out),
            paged(row.back),
        );
    }
    if let Some(least) = rows.iter().map(|row| row.least).max() {
        let _ = writeln!(text, "\n  No policy can do with less than {least} on the device: the ops' own operands.");
    }
    text
}

/// The same for spreadsheets.
pub fn pool_csv(rows: &[PoolForecast]) -> String {
    let mut text = String::from(
        "stage,pool,allocated_bytes,reserved_bytes,fragmentation,away_bytes,out_moves,out_bytes,in_moves,in_bytes,least_bytes\n",
    );
    for row in rows {
        let PoolForecast { stage, allocated, reserved, fragmentation, away, out, back, least, .. } = row;
        let _ = writeln!(
            text,
            "{stage},{},{},{},{fragmentation:.4},{},{},{},{},{},{}",
            row.policy.name(),
            allocated.0,
            reserved.0,
            away.0,
            out.moves,
            out.bytes.0,
            back.moves,
            back.bytes.0,
            least.0
        );
    }
    text
}

/// The same for programs.
pub fn pool_json(rows: &[PoolForecast]) -> String {
    format!("{:#}\n", json!({ "schema_version": SCHEMA_VERSION, "origin": "modelled", "pools": rows }))
}

/// What the pool of an executed rank has handed out, in a line.
pub fn pool_line(pool: &PoolStatistics) -> String {
    let unused = pool.fragmentation() * 100.0;
    let mut text =
        format!("allocated at most {}, reserved {} ({unused:.1} % unused)", pool.usage.at_peak.total(), pool.reserved);
    if pool.out.moves + pool.back.moves > 0 {
        let (out, back) = (pool.out, pool.back);
        let _ = write!(
            text,
            "; each step pages {} out ({} moves) and {} in ({} moves)",
            out.bytes, out.moves, back.bytes, back.moves
        );
    }
    text
}
