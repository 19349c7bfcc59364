//! Policies as their papers define them, on lists, without a thought of speed.

/// Hits of each policy that is written here, with room for so many objects.
pub fn all(trace: &[u32], capacity: usize) -> [(&'static str, u64); 6] {
    [
        ("fifo", fifo(trace, capacity)),
        ("lru", lru(trace, capacity)),
        ("lfu", lfu(trace, capacity)),
        ("clock", clock(trace, capacity)),
        ("sieve", sieve(trace, capacity)),
        ("none", pinned(trace, capacity)),
    ]
}

/// Counts the requests for which `step` says that the object was there.
fn count(trace: &[u32], mut step: impl FnMut(u32) -> bool) -> u64 {
    trace.iter().filter(|&&object| step(object)).count() as u64
}

fn fifo(trace: &[u32], capacity: usize) -> u64 {
    let mut queue = Vec::new();
    count(trace, |object| {
        let hit = queue.contains(&object);
        if !hit {
            queue.push(object);
            let surplus = queue.len().saturating_sub(capacity);
            queue.drain(..surplus);
        }
        hit
    })
}

fn lru(trace: &[u32], capacity: usize) -> u64 {
    let mut queue: Vec<u32> = Vec::new();
    count(trace, |object| {
        let hit = queue.contains(&object);
        queue.retain(|&other| other != object);
        queue.push(object);
        let surplus = queue.len().saturating_sub(capacity);
        queue.drain(..surplus);
        hit
    })
}

/// Of those used least often, the one that was not used for longest.
fn lfu(trace: &[u32], capacity: usize) -> u64 {
    let (mut here, mut now): (Vec<(u32, u32, u32)>, u32) = (Vec::new(), 0);
    count(trace, |object| {
        now += 1;
        if let Some((_, uses, last)) = here.iter_mut().find(|(other, ..)| *other == object) {
            (*uses, *last) = (*uses + 1, now);
            return true;
        }
        if here.len() == capacity {
            let worst = *here.iter().min_by_key(|(_, uses, last)| (*uses, *last)).expect("it is full");
            here.retain(|entry| *entry != worst);
        }
        here.push((object, 1, now));
        false
    })
}

fn clock(trace: &[u32], capacity: usize) -> u64 {
    let mut queue: Vec<(u32, bool)> = Vec::new();
    count(trace, |object| {
        if let Some((_, used)) = queue.iter_mut().find(|(other, _)| *other == object) {
            *used = true;
            return true;
        }
        while queue.len() == capacity {
            let (oldest, used) = queue.remove(0);
            if used {
                queue.push((oldest, false));
            }
        }
        queue.push((object, false));
        false
    })
}

/// Zhang et al. 2024, algorithm 1: the head of the list is its end here.
fn sieve(trace: &[u32], capacity: usize) -> u64 {
    let mut queue: Vec<(u32, bool)> = Vec::new();
    let mut hand: Option<u32> = None;
    count(trace, |object| {
        if let Some((_, visited)) = queue.iter_mut().find(|(other, _)| *other == object) {
            *visited = true;
            return true;
        }
        if queue.len() == capacity {
            let mut at = hand.and_then(|hand| queue.iter().position(|(other, _)| *other == hand)).unwrap_or(0);
            while queue[at].1 {
                queue[at].1 = false;
                at = (at + 1) % queue.len();
            }
            hand = queue.get(at + 1).map(|(next, _)| *next);
            queue.remove(at);
        }
        queue.push((object, false));
        false
    })
}

fn pinned(trace: &[u32], capacity: usize) -> u64 {
    let mut here: Vec<u32> = Vec::new();
    count(trace, |object| {
        let hit = here.contains(&object);
        if !hit && here.len() < capacity {
            here.push(object);
        }
        hit
    })
}

/// The most hits of any way to keep at most so many objects: what is read may come in for any other, or not at all.
pub fn best(trace: &[u32], capacity: usize) -> u64 {
    best_from(trace, &[], capacity)
}

fn best_from(trace: &[u32], here: &[u32], capacity: usize) -> u64 {
    let Some((&object, rest)) = trace.split_first() else { return 0 };
    if here.contains(&object) {
        return 1 + best_from(rest, here, capacity);
    }
    let without = best_from(rest, here, capacity);
    let with = |leaves: Option<usize>| {
        let mut next: Vec<u32> = here.to_vec();
        leaves.map(|place| next.remove(place));
        next.push(object);
        best_from(rest, &next, capacity)
    };
    let choices: Vec<u64> =
        if here.len() < capacity { vec![with(None)] } else { (0..here.len()).map(|place| with(Some(place))).collect() };
    choices.into_iter().fold(without, u64::max)
}
