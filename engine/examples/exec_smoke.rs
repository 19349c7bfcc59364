//! smoke
use shardlab_engine::exec::*;
use shardlab_engine::*;
fn main() {
    let kind = if std::env::args().nth(1).as_deref() == Some("wgpu") { BackendKind::Wgpu } else { BackendKind::Cpu };
    for p in ["tiny-llama-1", "tiny-gpt-dp2-tp2", "tiny-llama-pp2-tp2", "small-llama-8ranks"] {
        let s = scenario::Scenario::preset(p).unwrap();
        pollster::block_on(async {
            let t0 = std::time::Instant::now();
            let b = open(kind).await.unwrap();
            println!("{p}: {:?}", b.info());
            let mut t = Trainer::new(&s, b).await.unwrap();
            println!("  new {:?}", t0.elapsed());
            for i in 0..5 {
                let r = t.step().await.unwrap();
                println!("  step {} loss {:.5} wall {} trace {} tok/s {:.0} spans {} moved {:?}", r.step, r.loss, r.wall, r.trace.step_time, r.tokens_per_s, r.trace.spans.len(), r.moved);
                if i == 0 {
                    r.trace.verify().unwrap();
                    for (stage, pool) in t.step_graph().stages.iter().zip(t.pools().iter().step_by((t.step_graph().mesh.dp * t.step_graph().mesh.tp) as usize)) {
                        assert_eq!(stage.memory.at_peak, pool.at_peak);
                        assert_eq!(stage.memory.peaks, pool.peaks);
                        println!("  mem ok {} reserved {}", pool.at_peak.total(), pool.reserved);
                    }
                }
            }
        });
    }
}
