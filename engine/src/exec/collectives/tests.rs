//! Every way to exchange, among any number of ranks, of any number of elements.

use pollster::block_on;

use super::{Member, Ring};
use crate::exec::calibrate::scopes_of_one;
use crate::exec::{Backend, BackendKind, Recording, Slice, open};
use crate::graph::{Collective, Reduction};

/// What ranks do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    Ring(Collective),
    Tree,
    Broadcast,
}

const EXCHANGES: [Exchange; 8] = [
    Exchange::Ring(Collective::AllReduce(Reduction::Sum)),
    Exchange::Ring(Collective::AllReduce(Reduction::Max)),
    Exchange::Tree,
    Exchange::Ring(Collective::ReduceScatter),
    Exchange::Ring(Collective::AllGather),
    Exchange::Ring(Collective::AllToAll),
    Exchange::Ring(Collective::Shift),
    Exchange::Broadcast,
];

/// Elements that a rank brings and gets, where the largest of both are `count` for every rank.
fn sizes(exchange: Exchange, ranks: u32, count: u32) -> [u32; 2] {
    let all = ranks * count;
    match exchange {
        Exchange::Ring(Collective::ReduceScatter) => [all, count],
        Exchange::Ring(Collective::AllGather) => [count, all],
        Exchange::Ring(Collective::AllToAll) => [all, all],
        _ => [count, count],
    }
}

/// Whether what is brought and what is got are one buffer.
fn is_in_place(exchange: Exchange) -> bool {
    matches!(exchange, Exchange::Ring(Collective::AllReduce(_)) | Exchange::Tree | Exchange::Broadcast)
}

/// Element `i` of what a rank gets.
fn expected(exchange: Exchange, brought: &[Vec<f32>], rank: usize, i: usize) -> f32 {
    let (ranks, count) = (brought.len(), brought[0].len() / brought.len().max(1));
    let at = |i: usize| brought.iter().map(move |values| values[i]);
    match exchange {
        Exchange::Ring(Collective::AllReduce(Reduction::Max)) => at(i).fold(f32::MIN, f32::max),
        Exchange::Ring(Collective::AllReduce(_)) | Exchange::Tree => at(i).sum(),
        Exchange::Ring(Collective::ReduceScatter) => at(rank * count + i).sum(),
        Exchange::Ring(Collective::AllGather) => brought[i / brought[0].len()][i % brought[0].len()],
        Exchange::Ring(Collective::AllToAll) => brought[i / count][rank * count + i % count],
        Exchange::Ring(_) => brought[(rank + ranks - 1) % ranks][i],
        Exchange::Broadcast => brought[0][i],
    }
}

/// What every rank gets, and the bytes that were moved.
fn exchanged(backend: &mut Backend, exchange: Exchange, count: u32, brought: &[Vec<f32>]) -> (Vec<Vec<f32>>, u64) {
    let ranks = u32::try_from(brought.len()).unwrap();
    let [brings, gets] = sizes(exchange, ranks, count);
    let mut slice = |elements: u32| {
        let bytes = u64::from(elements) * 4;
        Slice::of_words(backend.create(bytes), 0, bytes)
    };
    let mut member = |_: &Vec<f32>| {
        let input = slice(brings);
        let output = if is_in_place(exchange) { input } else { slice(gets) };
        Member { input, output, scratch: Some(slice(brings.max(gets))) }
    };
    let members: Vec<Member> = brought.iter().map(&mut member).collect();
    let mut calls = Vec::new();
    let mut ring = Ring::new(&members, &mut calls);
    match exchange {
        Exchange::Ring(collective) => ring.run(collective),
        Exchange::Tree => ring.tree_all_reduce(),
        Exchange::Broadcast => ring.broadcast(),
    }
    let moved = ring.moved();
    let scopes = scopes_of_one(u32::try_from(calls.len()).unwrap());
    let recording = Recording { dispatches: calls, scopes };
    let got = block_on(async {
        for (member, values) in members.iter().zip(brought) {
            let words: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
            backend.write(member.input.buffer, 0, &words);
        }
        backend.prepare(&recording).await.unwrap();
        if !recording.dispatches.is_empty() {
            backend.replay(&recording).await.unwrap();
        }
        let mut got = Vec::new();
        for member in &members {
            got.push(backend.read(member.output.buffer, 0, gets as usize).await.unwrap());
        }
        got
    });
    (got, moved)
}

/// Bytes that all ranks together send of `count` elements each, at least: what a ring or a tree sends, with nothing twice.
fn least(exchange: Exchange, ranks: u64, count: u64) -> u64 {
    4 * count
        * match exchange {
            Exchange::Ring(Collective::AllReduce(_)) | Exchange::Tree => 2 * (ranks - 1),
            Exchange::Ring(Collective::Shift) if ranks > 1 => ranks,
            Exchange::Ring(Collective::Shift) => 0,
            Exchange::Broadcast => ranks - 1,
            Exchange::Ring(_) => ranks * (ranks - 1),
        }
}

fn every_exchange(backend: &mut Backend, ranks: &[u32], counts: &[u32]) {
    for (exchange, &ranks, &count) in
        EXCHANGES.iter().flat_map(|e| ranks.iter().flat_map(move |r| counts.iter().map(move |c| (*e, r, c))))
    {
        let what = format!("{exchange:?}, {ranks} ranks, {count} elements");
        let [brings, gets] = sizes(exchange, ranks, count);
        // Whole numbers, whose sums are exact in any order.
        let value = |rank: u32, i: u32| f32::from(u16::try_from((rank + 1) * (1 + i % 97) % 1009).unwrap());
        let brought: Vec<Vec<f32>> = (0..ranks).map(|r| (0..brings).map(|i| value(r, i)).collect()).collect();
        let (got, moved) = exchanged(backend, exchange, count, &brought);
        for (rank, got) in got.iter().enumerate() {
            let expected: Vec<f32> = (0..gets as usize).map(|i| expected(exchange, &brought, rank, i)).collect();
            assert_eq!(got, &expected, "{what}, rank {rank}");
        }
        assert_eq!(moved, least(exchange, ranks.into(), count.into()), "{what}");
        // Numbers that are rounded in every sum: the same bits again, and after an all-reduce on all ranks.
        let thirds: Vec<Vec<f32>> = brought.iter().map(|values| values.iter().map(|x| x / 3.0).collect()).collect();
        let bits = |(got, _): (Vec<Vec<f32>>, u64)| -> Vec<Vec<u32>> {
            got.iter().map(|values| values.iter().map(|x| x.to_bits()).collect()).collect()
        };
        let [once, again] = [(); 2].map(|()| bits(exchanged(backend, exchange, count, &thirds)));
        assert_eq!(once, again, "{what}");
        if matches!(exchange, Exchange::Ring(Collective::AllReduce(_)) | Exchange::Tree) {
            assert!(once.iter().all(|values| values == &once[0]), "{what}: ranks have drifted apart");
        }
    }
}

#[test]
fn twins_exchange_among_any_number_of_ranks() {
    let mut backend = block_on(open(BackendKind::Cpu)).unwrap();
    every_exchange(&mut backend, &[1, 2, 3, 4, 5, 7, 8, 16], &[1, 2, 3, 7, 64, 97, 1000]);
}

#[cfg(feature = "gpu")]
#[test]
fn a_device_exchanges_among_any_number_of_ranks() {
    match block_on(open(BackendKind::Wgpu)) {
        Ok(mut backend) => every_exchange(&mut backend, &[1, 3, 4, 7, 16], &[1, 5, 97, 1000]),
        Err(error) => {
            assert!(std::env::var_os("SHARDLAB_REQUIRE_GPU").is_none(), "a GPU is required: {error}");
            eprintln!("SKIPPED: needs compute shaders; {error}");
        }
    }
}
