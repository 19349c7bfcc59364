"""Hit counts of libCacheSim (PyPI `libcachesim`) on traces that `caches/traces.rs` makes too.

    python3 engine/tests/caches/reference.py > engine/tests/caches/reference.csv

A trace is made by integers alone, so both programs read the same one.
"""

import sys

import libcachesim as lcs

MASK = (1 << 64) - 1


def mixed(number):
    z = (number + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def trace(requests, objects, scans, varied):
    """Some objects are read often, and every `scans`-th request belongs to a scan of others."""
    for number in range(requests):
        x = mixed(number) >> 32
        cube = (((x * x) >> 32) * x) >> 32
        obj = objects + number // scans % objects if scans and number % scans == 0 else (cube * objects) >> 32
        yield obj, 1 + mixed(obj) % 1000 if varied else 1


POLICIES = {
    "fifo": lcs.FIFO,
    "lru": lcs.LRU,
    "lfu": lcs.LFU,
    "clock": lcs.Clock,
    "2q": lcs.TwoQ,
    "arc": lcs.ARC,
    "lirs": lcs.LIRS,
    "s3-fifo": lcs.S3FIFO,
    "sieve": lcs.Sieve,
}

TRACES = {"hot": (200_000, 20_000, 0, False), "scans": (200_000, 20_000, 5, False), "varied": (200_000, 20_000, 5, True)}


def main():
    print("trace,policy,capacity,requests,hits")
    for name, settings in TRACES.items():
        reads = list(trace(*settings))
        total = sum({obj: size for obj, size in reads}.values())
        for share in (100, 10, 3):
            for policy, make in POLICIES.items():
                cache = make(cache_size=total // share)
                hits = 0
                for obj, size in reads:
                    request = lcs.Request()
                    request.obj_id, request.obj_size = obj, size
                    hits += cache.get(request)
                print(f"{name},{policy},{total // share},{len(reads)},{hits}")
            sys.stdout.flush()


main()
