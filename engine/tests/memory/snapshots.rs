//! A snapshot as PyTorch lays it out; `snapshot.py` has made it.

use shardlab_engine::memory::Region;
use shardlab_engine::report::{PickleError, SnapshotError, memory_map_csv, memory_snapshot};
use shardlab_engine::trace::Origin;
use shardlab_engine::units::{Bytes, Nanos};

const SNAPSHOT: &[u8] = include_bytes!("snapshot.pickle");
const MB: u64 = 1 << 20;

#[test]
fn blocks_lie_where_and_when_the_events_say() {
    let (picture, device) = memory_snapshot(SNAPSHOT).unwrap();
    assert_eq!((picture.origin, device), (Origin::Imported, 0));
    let map = &picture.map;
    let block = |address: u64, from: usize| {
        let found = map.blocks.iter().find(|block| block.address == address * MB && block.from == from);
        let block = found.unwrap_or_else(|| panic!("nothing at {address} MB from {from} on: {:?}", map.blocks));
        (block.bytes.0 / MB, block.until, &*picture.values[block.value].name)
    };
    let end = picture.moments.len();
    assert_eq!(block(0, 0), (10, end, "load (train.py:10)"), "from before the first event to the end");
    assert_eq!(block(10, 0), (4, 4, "load (train.py:10)"), "from before the first event");
    assert_eq!(block(20, 1), (8, 6, "forward (train.py:20)"));
    assert_eq!(block(28, 2), (8, end, "forward (train.py:20)"));
    assert_eq!(block(20, 12), (6, end, "forward (train.py:20)"), "the same address again");
    // Addresses between segments are left out: the one at 4 GiB follows at once.
    assert_eq!(block(40, 8), (30, 10, "loss (train.py:30)"));
    assert_eq!(map.blocks.len(), 6);
    assert!(map.regions.contains(&Region { address: 60 * MB, bytes: Bytes(20 * MB), from: 7, until: 11 }));
    assert_eq!(map.reserved, Bytes(80 * MB));
    assert_eq!(map.allocated, Bytes((10 + 8 + 30) * MB));
    assert_eq!(picture.starts[1], Nanos(10_000));
    let failure = map.failure.unwrap();
    assert_eq!((failure.op, failure.asked), (13, Bytes(64 * MB)));
    assert_eq!((failure.held.allocated, failure.held.reserved), (Bytes(14 * MB), Bytes(40 * MB)));
    assert_eq!(memory_map_csv(&picture).lines().count(), 7);
}

/// A dictionary of short texts and numbers as a pickle.
fn dict(entries: &[(&str, Item<'_>)]) -> Vec<u8> {
    let mut bytes = b"}(".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend([0x8c, u8::try_from(text.len()).unwrap()]);
        bytes.extend(text.as_bytes());
    };
    for (key, value) in entries {
        text(&mut bytes, key);
        match value {
            Item::Text(value) => text(&mut bytes, value),
            Item::Int(value) => {
                bytes.extend([0x8a, 8]);
                bytes.extend(value.to_le_bytes());
            }
            Item::List(items) => {
                bytes.extend(b"](");
                items.iter().for_each(|item| bytes.extend(item));
                bytes.push(b'e');
            }
        }
    }
    bytes.push(b'u');
    bytes
}

enum Item<'a> {
    Text(&'a str),
    Int(i64),
    List(Vec<Vec<u8>>),
}

fn snapshot(segments: Vec<Vec<u8>>, traces: Vec<Vec<Vec<u8>>>) -> Vec<u8> {
    let lists = traces.into_iter().map(|events| {
        let mut list = b"](".to_vec();
        events.iter().for_each(|event| list.extend(event));
        list.push(b'e');
        list
    });
    let whole = dict(&[("segments", Item::List(segments)), ("device_traces", Item::List(lists.collect()))]);
    [b"\x80\x04", whole.as_slice(), b"."].concat()
}

fn event(action: &str, address: i64, size: i64) -> Vec<u8> {
    dict(&[("action", Item::Text(action)), ("addr", Item::Int(address)), ("size", Item::Int(size))])
}

fn segment(device: i64, address: i64, size: i64, used: i64) -> Vec<u8> {
    let block = dict(&[("size", Item::Int(used)), ("state", Item::Text("active_allocated"))]);
    let blocks = Item::List(vec![block]);
    let place = [("device", Item::Int(device)), ("address", Item::Int(address)), ("total_size", Item::Int(size))];
    let [device, address, size] = place;
    dict(&[device, address, size, ("blocks", blocks)])
}

/// Recording begins after the warm-up: a part of a segment was mapped before, another part is while it is recorded.
#[test]
fn pages_that_were_mapped_before_recording_count() {
    let mb = i64::try_from(MB).unwrap();
    let base = 0x7f00_0000_0000;
    let grown =
        snapshot(vec![segment(0, base, 40 * mb, 36 * mb)], vec![vec![event("segment_map", base + 20 * mb, 20 * mb)]]);
    let (picture, _) = memory_snapshot(&grown).unwrap();
    assert_eq!((picture.map.allocated, picture.map.reserved), (Bytes(36 * MB), Bytes(40 * MB)));
    assert!(
        picture.map.blocks.iter().all(|block| block.address + block.bytes.0 <= 40 * MB),
        "{:?}",
        picture.map.blocks
    );
    // What is unmapped is a page from before and one that was mapped meanwhile.
    let events = vec![event("segment_map", base + 20 * mb, 20 * mb), event("segment_unmap", base, 40 * mb)];
    let (picture, _) = memory_snapshot(&snapshot(Vec::new(), vec![events])).unwrap();
    assert_eq!(picture.map.reserved, Bytes(40 * MB));
}

#[test]
fn a_device_without_events_is_found_by_its_segments() {
    let mb = i64::try_from(MB).unwrap();
    let bytes = snapshot(vec![segment(3, 0x7f00_0000_0000, 20 * mb, 10 * mb)], vec![Vec::new(); 4]);
    let (picture, device) = memory_snapshot(&bytes).unwrap();
    assert_eq!((device, picture.map.reserved), (3, Bytes(20 * MB)));
}

#[test]
fn what_is_no_snapshot_is_refused_with_a_reason() {
    let refused = |bytes: &[u8]| memory_snapshot(bytes).map(|_| ()).unwrap_err();
    assert!(matches!(refused(b""), SnapshotError::Pickle(PickleError::Truncated(0))));
    assert!(matches!(refused(b"not a pickle"), SnapshotError::Pickle(_)));
    for length in [SNAPSHOT.len() / 2, SNAPSHOT.len() - 1] {
        assert!(matches!(refused(&SNAPSHOT[..length]), SnapshotError::Pickle(_)), "cut at {length}");
    }
    assert_eq!(refused(b"\x80\x04}."), SnapshotError::Missing("segments"));
    let empty = refused(b"\x80\x04}(\x8c\x08segments]\x8c\x0ddevice_traces]u.");
    assert_eq!(empty, SnapshotError::Empty);
    // os.system is never called, nor anything else.
    assert!(matches!(
        refused(b"cos\nsystem\n(S'true'\ntR."),
        SnapshotError::Pickle(PickleError::Operation { at: 0, code: b'c' })
    ));
    // A segment of a negative size.
    let negative = b"\x80\x04}(\x8c\x08segments]}(\x8c\x07addressK\x00\x8c\x0atotal_sizeJ\xff\xff\xff\xffua\x8c\x0ddevice_traces]u.";
    assert_eq!(refused(negative), SnapshotError::Field { place: "segment", number: 0, field: "total_size" });
    // Sizes that no sum could hold.
    let mut huge = b"\x80\x04}(\x8c\x08segments](".to_vec();
    for number in 0..3 {
        huge.extend(b"}(\x8c\x07addressK");
        huge.push(number);
        huge.extend(b"\x8c\x0atotal_size\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fu");
    }
    huge.extend(b"e\x8c\x0ddevice_traces]u.");
    assert_eq!(refused(&huge), SnapshotError::TooLarge { limit: 1 << 60 });
    // As deep as the file says: no call is as deep.
    let mut deep = b"\x80\x04".to_vec();
    deep.extend(std::iter::repeat_n(b']', 1_000_000));
    deep.extend(std::iter::repeat_n(b'a', 999_999));
    deep.push(b'.');
    assert_eq!(refused(&deep), SnapshotError::Missing("segments"));
}
