//! What caches find of a trace, as table, CSV and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use crate::analysis::{CacheReport, InputReport};
use crate::sim::cache::Tier;
use crate::sim::input::InputBound;
use crate::trace::Origin;
use crate::units::Bytes;

/// Columns of capacities in a table for people; files have all.
const COLUMNS: usize = 7;

/// Where the chosen cache's reads were found, and the misses of every policy by capacity.
pub fn cache_table(name: &str, report: &CacheReport) -> String {
    let from = match report.origin {
        Origin::Imported => "requests imported, caches modelled",
        Origin::Modelled | Origin::Executed => "modelled",
    };
    let mut text = format!("{name}   [{from}]\n\n");
    let _ = writeln!(text, "  {} objects, {}", report.objects, report.object_bytes);
    let _ = writeln!(text, "  {} requests, {}, by {} nodes", report.requests, report.request_bytes, report.nodes);
    if report.run_one_in > 1 {
        let _ = writeln!(text, "  one object of {} stands for all", report.run_one_in);
    }
    let cache = &report.cache;
    let _ = writeln!(
        text,
        "  cache of a node: {} of {}, placement {}, warm-up {}, admission {}",
        cache.policy.name(),
        cache.capacity,
        cache.placement.name(),
        cache.warm_up.name(),
        cache.admission.name()
    );
    tiers(&mut text, report);
    if let Some(input) = &report.input {
        step(&mut text, input);
    }
    curves(&mut text, report);
    text
}

fn tiers(text: &mut String, report: &CacheReport) {
    let (total, last) = (report.run.total, report.run.intervals.last().map(|interval| interval.reads));
    let all = total.hits();
    let share = |part: f64, of: f64| format!("{:.2} %", part / of.max(1.0) * 100.0);
    let _ = writeln!(text, "\n  {:<10} {:>10} {:>10} {:>14} {:>16}", "found", "requests", "bytes", "", "at the end");
    for tier in Tier::ALL {
        let (requests, bytes) = (total.requests[tier as usize], total.bytes[tier as usize]);
        let at_end = last
            .map_or_else(String::new, |last| share(last.requests[tier as usize] as f64, last.hits().requests as f64));
        let _ = writeln!(
            text,
            "  {:<10} {:>10} {:>10} {:>14} {at_end:>16}",
            tier.name(),
            share(requests as f64, all.requests as f64),
            share(bytes.as_f64(), all.bytes.as_f64()),
            bytes.to_string(),
        );
    }
    let _ = writeln!(text, "  read before the first request: {}; read ahead: {}", report.run.warmed, report.run.ahead);
}

/// What a step waits for its samples.
fn step(text: &mut String, input: &InputReport) {
    let share = input.stall.secs() / input.step_time().secs().max(1e-12) * 100.0;
    let _ = writeln!(
        text,
        "\n  a step computes for {}, and waits {} for samples ({share:.1} %)",
        input.compute, input.stall
    );
    let _ = writeln!(text, "  {}", bound_text(input.run.bound));
    for stage in input.stages() {
        let rate = stage.rate.map(|rate| rate.to_string()).unwrap_or_default();
        let mark = if stage.is_bound { "  ← waited for" } else { "" };
        let _ = writeln!(text, "    {:<10} {:>6.1} % {rate:>12}{mark}", stage.stage.name(), stage.busy * 100.0);
    }
    if input.loader.evenness < 1.0 {
        let share = input.loader.evenness * 100.0;
        let _ = writeln!(
            text,
            "  the servers of storage deliver at most {share:.1} % of what they could: not every one always has a read"
        );
    }
    let _ = match input.least_capacity {
        Some(Bytes::ZERO) => writeln!(text, "  it would not wait without a cache either"),
        Some(bytes) => writeln!(text, "  the least cache of a node with which it does not wait: {bytes}"),
        None => writeln!(text, "  no cache is large enough for it not to wait"),
    };
}

fn bound_text(bound: InputBound) -> String {
    match bound {
        InputBound::None => "workers are ahead of the step".to_owned(),
        InputBound::Decode => "decoding is too slow: more workers, or less work for each sample".to_owned(),
        InputBound::Bandwidth(tier) => format!("the rate of the tier `{}` is too low", tier.name()),
        InputBound::Metadata => {
            "opening files is too slow: samples in larger files (data.samples.format), or more metadata servers"
                .to_owned()
        }
        InputBound::Network => "batches come too slowly from the nodes that make them".to_owned(),
        InputBound::Latency => "workers wait for first bytes: more workers, or larger objects".to_owned(),
        InputBound::Copy => "putting batches together, or copying them to the device, is too slow".to_owned(),
    }
}

fn curves(text: &mut String, report: &CacheReport) {
    let Some(first) = report.curves.first() else { return };
    let shown = report.some_points(COLUMNS);
    let _ = write!(text, "\n  misses of one cache, of all its requests");
    if report.one_in > 1 {
        let _ = write!(text, " (one object of {} stands for all)", report.one_in);
    }
    let _ = write!(text, "\n  {:<10}", "capacity");
    shown.iter().for_each(|&n| {
        let _ = write!(text, " {:>10}", first.points[n].capacity.to_string());
    });
    for curve in &report.curves {
        let _ = write!(text, "\n  {:<10}", curve.policy.name());
        for &n in &shown {
            let missed = 1.0 - curve.points[n].hits.rate();
            let _ = write!(text, " {:>10}", format!("{:.2} %", missed * 100.0));
        }
    }
    text.push('\n');
}

/// Every point of every curve, for spreadsheets.
pub fn cache_csv(report: &CacheReport) -> String {
    let mut text = String::from("policy,capacity_bytes,requests,hits,request_bytes,hit_bytes,one_in\n");
    for curve in &report.curves {
        for point in &curve.points {
            let hits = point.hits;
            let (policy, capacity, one_in) = (curve.policy.name(), point.capacity.0, report.one_in);
            let [bytes, hit_bytes] = [hits.bytes.0, hits.hit_bytes.0];
            let _ = writeln!(text, "{policy},{capacity},{},{},{bytes},{hit_bytes},{one_in}", hits.requests, hits.hits);
        }
    }
    text
}

/// What the chosen cache found over time, for spreadsheets.
pub fn cache_intervals_csv(report: &CacheReport) -> String {
    let mut text = String::from("from_request,tier,requests,bytes\n");
    for interval in &report.run.intervals {
        for tier in Tier::ALL {
            let (requests, bytes) = (interval.reads.requests[tier as usize], interval.reads.bytes[tier as usize].0);
            let _ = writeln!(text, "{},{},{requests},{bytes}", interval.from, tier.name());
        }
    }
    text
}

/// All of it, for programs.
pub fn cache_json(report: &CacheReport) -> String {
    format!("{:#}\n", json!({ "schema_version": SCHEMA_VERSION, "cache": report }))
}
