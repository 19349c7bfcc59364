"""Writes snapshot.pickle: a memory snapshot as torch.cuda.memory._dump_snapshot lays it out (torch/cuda/_memory_viz.py).

Made by hand, so that every kind of event is in it and what it shows is known: run `python3 snapshot.py` here.
"""
import pickle

MB = 1 << 20
BASE = 0x7F0000000000


def frames(name, line):
    # As in real stacks, the framework's own calls come first.
    return [
        {"filename": "/usr/lib/python3/dist-packages/torch/nn/modules/linear.py", "line": 116, "name": "forward"},
        {"filename": "/home/me/train.py", "line": line, "name": name},
        {"filename": "/home/me/train.py", "line": 99, "name": "<module>"},
    ]


weights, forward, loss = frames("load", 10), frames("forward", 20), frames("loss", 30)
big = BASE + (1 << 32)


def event(action, addr, size, frames, us):
    entry = {"action": action, "size": size, "stream": 0, "time_us": us, "frames": frames}
    if action != "oom":
        entry["addr"] = addr
    else:
        entry["device_free"] = 3 * MB
    return entry


trace = [
    event("segment_alloc", BASE + 20 * MB, 20 * MB, forward, 1000),
    event("alloc", BASE + 20 * MB, 8 * MB, forward, 1010),
    event("alloc", BASE + 28 * MB, 8 * MB, forward, 1020),
    # Allocated before anything was recorded.
    event("free_requested", BASE + 10 * MB, 4 * MB, weights, 1030),
    event("free_completed", BASE + 10 * MB, 4 * MB, weights, 1030),
    event("free_requested", BASE + 20 * MB, 8 * MB, forward, 1040),
    event("free_completed", BASE + 20 * MB, 8 * MB, forward, 1041),
    event("segment_map", big, 40 * MB, loss, 1050),
    event("alloc", big, 30 * MB, loss, 1051),
    event("free_requested", big, 30 * MB, loss, 1060),
    event("free_completed", big, 30 * MB, loss, 1060),
    event("segment_unmap", big + 20 * MB, 20 * MB, loss, 1061),
    event("alloc", BASE + 20 * MB, 6 * MB, forward, 1070),
    event("oom", 0, 64 * MB, loss, 1080),
]

segments = [
    {
        "device": 0, "address": BASE, "total_size": 20 * MB, "stream": 0, "segment_type": "large",
        "allocated_size": 10 * MB, "active_size": 10 * MB,
        "blocks": [
            {"address": BASE, "size": 10 * MB, "requested_size": 10 * MB, "state": "active_allocated",
             "frames": weights},
            {"address": BASE + 10 * MB, "size": 10 * MB, "requested_size": 0, "state": "inactive", "frames": []},
        ],
    },
    {
        "device": 0, "address": BASE + 20 * MB, "total_size": 20 * MB, "stream": 0, "segment_type": "large",
        "allocated_size": 14 * MB, "active_size": 14 * MB,
        "blocks": [
            {"address": BASE + 20 * MB, "size": 6 * MB, "requested_size": 6 * MB, "state": "active_allocated",
             "frames": forward},
            {"address": BASE + 26 * MB, "size": 2 * MB, "requested_size": 0, "state": "inactive", "frames": []},
            {"address": BASE + 28 * MB, "size": 8 * MB, "requested_size": 8 * MB, "state": "active_allocated",
             "frames": forward},
            {"address": BASE + 36 * MB, "size": 4 * MB, "requested_size": 0, "state": "inactive", "frames": []},
        ],
    },
    {
        "device": 0, "address": big, "total_size": 20 * MB, "stream": 0, "segment_type": "large",
        "allocated_size": 0, "active_size": 0,
        "blocks": [{"address": big, "size": 20 * MB, "requested_size": 0, "state": "inactive", "frames": []}],
    },
]

snapshot = {"segments": segments, "device_traces": [trace, []], "allocator_settings": {"expandable_segments": False}}
if __name__ == "__main__":
    with open("snapshot.pickle", "wb") as file:
        pickle.dump(snapshot, file)
