//! What a job reads, in which order, and what caches keep of it: the words, as written and as checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::storage::{LoaderSettings, Preprocessing, SampleFormat, Storage};
use crate::units::Bytes;

/// The words of an enumeration as files and screens have them.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $word)] $variant),*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in files and on screen.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),*
                }
            }
        }
    };
}

words! {
    /// What leaves a cache that is full.
    CachePolicy {
        /// What came first.
        Fifo = "fifo",
        /// What was not used for longest.
        #[default]
        Lru = "lru",
        /// What was used least often.
        Lfu = "lfu",
        /// What came first, with a second chance for what was used since (Corbató 1968).
        Clock = "clock",
        /// A queue for what is new, a list by recency for what came back (Johnson & Shasha 1994).
        TwoQ = "2q",
        /// Divides its bytes between what is recent and what is frequent as misses say (Megiddo & Modha 2003).
        Arc = "arc",
        /// What has the longest distance between its last two uses (Jiang & Zhang 2002).
        Lirs = "lirs",
        /// Three queues: small, main, and one that only remembers (Yang et al. 2023).
        S3Fifo = "s3-fifo",
        /// A hand that goes through a queue (Zhang et al. 2024).
        Sieve = "sieve",
        /// In comes only what was used more often lately than what leaves for it (Einziger et al. 2017).
        WTinyLfu = "w-tinylfu",
        /// Nothing: what came first stays, as in CoorDL's MinIO (Mohan et al. 2021).
        Pinned = "none",
        /// Any object.
        Random = "random",
        /// What is used again last: the bound, since it knows what comes (Belady 1966).
        Belady = "belady",
    }
}

words! {
    /// In which order a job reads its samples.
    AccessPattern {
        /// Every sample once in an epoch, in an order of its own in every epoch.
        #[default]
        Epochs = "epochs",
        /// Several jobs read the same samples, each in its own order.
        Jobs = "jobs",
        /// As `jobs`, all from the same start; after every epoch the worse half of them ends (successive halving).
        Search = "search",
        /// Independent lookups by Zipf's law, as of the rows of an embedding table.
        Zipf = "zipf",
    }
}

words! {
    /// Which samples a node reads.
    Sampling {
        /// All nodes share out a new order of all samples in every epoch.
        #[default]
        Global = "global",
        /// Every node has its own samples, the same in every epoch.
        Sharded = "sharded",
        /// Every node reads all samples by itself.
        Node = "node",
    }
}

words! {
    /// What a cache holds before the first request.
    WarmUp {
        /// Nothing.
        #[default]
        None = "none",
        /// Objects in the order of their numbers, until it is full.
        Sequential = "sequential",
        /// Those that are read most often for their size, until it is full: as a profile of the same trace says.
        MostValuable = "most_valuable",
    }
}

words! {
    /// What comes into a cache at all.
    Admission {
        /// Everything that is read.
        #[default]
        All = "all",
        /// What is read for the second time.
        SecondRequest = "second_request",
        /// What is no larger than the mean of all objects.
        BelowMean = "below_mean",
    }
}

words! {
    /// On what a node keeps its cache.
    CacheMedium {
        /// In its memory.
        #[default]
        Memory = "memory",
        /// On its drives.
        Nvme = "nvme",
    }
}

words! {
    /// Where the caches of several nodes keep an object.
    CachePlacement {
        /// At the node that reads it.
        #[default]
        Node = "node",
        /// At the nodes to which consistent hashing gives it; others read it over the network.
        Partitioned = "partitioned",
        /// A tenth of every node's bytes as `node`, the rest as `partitioned`.
        TwoLevel = "two_level",
    }
}

pub(super) use words;

/// What is read, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplesFile {
    /// How many samples, shards or rows there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Bytes of one in the mean, for example `"110 KB"`.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub size: Option<Bytes>,
    /// Standard deviation of the logarithm of sizes (log-normal); 0 when left out: all are alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_spread: Option<f64>,
    /// How they lie in storage: `files`, `records` or `shards`.
    pub format: SampleFormat,
    /// Samples of a shard, for `shards`; as many as have 256 MiB when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_shard: Option<u32>,
}

/// In which order it is read, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessFile {
    /// `epochs`, `jobs`, `search` or `zipf`.
    pub pattern: AccessPattern,
    /// How often every sample is read; 3 when left out. The most rounds of a `search`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// Which samples a node reads: `global`, `sharded` or `node`.
    pub sampling: Sampling,
    /// Samples among which a reader picks the next one while it goes through them in order; the whole epoch when left
    /// out, of shards the samples of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Jobs that share the samples, for `jobs` and `search`; 8 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// The part of an epoch by which each job starts after the one before, for `jobs`; 0 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stagger: Option<f64>,
    /// All jobs read in the same order.
    pub coordinated: bool,
    /// Exponent of Zipf's law, for `zipf`; 1 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skew: Option<f64>,
    /// Lookups, for `zipf`; 1000000 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
}

/// What is kept of it, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheFile {
    /// `fifo`, `lru`, `lfu`, `clock`, `2q`, `arc`, `lirs`, `s3-fifo`, `sieve`, `w-tinylfu`, `none`, `random` or `belady`.
    pub policy: CachePolicy,
    /// Bytes of the cache of a node, for example `"400 GB"`; a third of what is read when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub capacity: Option<Bytes>,
    /// Bytes of a second cache on the node's drives behind one in its memory, for example `"4 TB"`; none when left out. What
    /// comes from storage stays in both.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub drives: Option<Bytes>,
    /// On what it lies: the node's `memory`, whose size it must not exceed, or its drives, `nvme`.
    pub medium: CacheMedium,
    /// What it holds before the first request: `none`, `sequential` or `most_valuable`.
    pub warm_up: WarmUp,
    /// What comes in: `all`, `second_request` or `below_mean`.
    pub admission: Admission,
    /// Objects behind one that was not there, by number, that are read with it; 0 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_ahead: Option<u32>,
    /// Where the caches of several nodes keep an object: `node`, `partitioned` or `two_level`.
    pub placement: CachePlacement,
    /// Nodes that keep the same object, for `partitioned` and `two_level`; 1 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The part of the requests after which the cache of the first node is lost; never when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_after: Option<f64>,
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Samples {
    /// How many there are.
    pub count: u32,
    /// Bytes of one in the mean.
    pub size: Bytes,
    /// Standard deviation of the logarithm of sizes.
    pub size_spread: f64,
    /// How they lie in storage.
    pub format: SampleFormat,
    /// Samples of a shard; 1 for other formats.
    pub per_shard: u32,
}

/// In which order it is read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Access {
    /// The pattern.
    pub pattern: AccessPattern,
    /// How often every sample is read.
    pub epochs: u32,
    /// Which samples a node reads.
    pub sampling: Sampling,
    /// Samples among which the next one is picked; all of an epoch when there is none.
    pub window: Option<u32>,
    /// Jobs that share the samples; 1 for other patterns.
    pub jobs: u32,
    /// The part of an epoch by which each job starts later.
    pub stagger: f64,
    /// Whether all jobs read in the same order.
    pub coordinated: bool,
    /// Exponent of Zipf's law.
    pub skew: f64,
    /// Lookups of Zipf's law.
    pub requests: u32,
}

impl Access {
    /// How many of `nodes` nodes read all samples by themselves: 1 where they share them out.
    pub fn readers(&self, nodes: u32) -> u32 {
        let alone = self.sampling == Sampling::Node && self.pattern == AccessPattern::Epochs;
        if alone { nodes } else { 1 }
    }
}

/// What is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cache {
    /// What leaves.
    pub policy: CachePolicy,
    /// Bytes of the cache of a node.
    pub capacity: Bytes,
    /// Bytes of a second cache on the node's drives, behind one in its memory.
    pub drives: Option<Bytes>,
    /// On what it lies.
    pub medium: CacheMedium,
    /// What it holds before the first request.
    pub warm_up: WarmUp,
    /// What comes in.
    pub admission: Admission,
    /// Objects that are read with one that was not there.
    pub read_ahead: u32,
    /// Where the caches of several nodes keep an object.
    pub placement: CachePlacement,
    /// Nodes that keep the same object.
    pub replicas: u32,
    /// The part of the requests after which the cache of the first node is lost.
    pub lost_after: Option<f64>,
}

impl Cache {
    /// The default cache of so many bytes.
    pub fn with_capacity(capacity: Bytes) -> Self {
        Self {
            policy: CachePolicy::default(),
            capacity,
            drives: None,
            medium: CacheMedium::default(),
            warm_up: WarmUp::default(),
            admission: Admission::default(),
            read_ahead: 0,
            placement: CachePlacement::default(),
            replicas: 1,
            lost_after: None,
        }
    }
}

/// The way of a job's data: what is read, in which order, from where, what is kept of it, and how it becomes batches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Input {
    /// What is read.
    pub samples: Samples,
    /// In which order.
    pub access: Access,
    /// What is kept.
    pub cache: Cache,
    /// Where it lies.
    pub storage: Storage,
    /// How it becomes batches.
    pub loader: LoaderSettings,
    /// Who reads and decodes, where that are nodes beside the cluster.
    pub preprocessing: Option<Preprocessing>,
}

impl Input {
    /// Nodes that read, of a cluster with so many: each has a cache.
    pub fn reading_nodes(&self, cluster_nodes: u32) -> u32 {
        self.preprocessing.map_or(cluster_nodes, |others| others.nodes)
    }
}
