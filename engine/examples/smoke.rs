//! smoke
use shardlab_engine::*;
fn main() {
    for p in scenario::presets() {
        let s = scenario::Scenario::preset(p.name).unwrap();
        let t0 = std::time::Instant::now();
        let g = graph::lower(&s);
        let t1 = std::time::Instant::now();
        let t = sim::simulate(&g, &s);
        let t2 = std::time::Instant::now();
        let r = analysis::step_report(&g, &s, &t);
        let t3 = std::time::Instant::now();
        println!("{} lower {:?} sim {:?} report {:?} spans {} step {} mfu {:.3} hfu {:.3} bubble {:.3} tok/s {:.0} fits {} {} {:?}", p.name, t1-t0, t2-t1, t3-t2, t.spans.len(), r.step_time, r.mfu, r.hfu, r.bubble_fraction, r.tokens_per_s, r.fit.fits, r.fit.needed, r.fit.biggest);
        println!("   {:?}", r.breakdown.parts().map(|(n, v)| format!("{n} {v}")));
        g.verify().unwrap();
        t.verify().unwrap();
        assert_eq!(r.breakdown.total(), t.step_time);
    }
}
