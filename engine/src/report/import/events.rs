//! The events of a Chrome trace, one after the other: a file of a gigabyte is never a tree in memory.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// An event as it stands in the file; what nobody reads is left out.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(default, borrow)]
    pub ph: Cow<'a, str>,
    #[serde(default, borrow)]
    pub cat: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub name: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub pid: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub tid: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub ts: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub dur: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub bp: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub args: Args<'a>,
}

/// What is read of an event's arguments.
#[derive(Debug, Default)]
pub(super) struct Args<'a> {
    /// The name that a metadata event gives.
    pub name: Option<Cow<'a, str>>,
    /// The stream of the device.
    pub stream: Option<i64>,
    /// The device.
    pub device: Option<i64>,
    /// What joins a call to its work.
    pub correlation: Option<i64>,
    /// Bytes of a copy.
    pub bytes: Option<i64>,
    /// The collective of a kernel.
    pub collective: Option<Cow<'a, str>>,
    /// Elements that a rank brings to it, and that it gets.
    pub elements: [i64; 2],
    /// Their type, as PyTorch calls it.
    pub dtype: Option<Cow<'a, str>>,
    /// What its group of ranks is called.
    pub process_group: Option<Cow<'a, str>>,
    /// Ranks of its group.
    pub group_size: Option<i64>,
    /// Bytes of a device that tensors take, of a mark about memory.
    pub allocated: Option<i64>,
    /// 0 for the host.
    pub device_type: Option<i64>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Args<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArgsVisitor(std::marker::PhantomData))
    }
}

struct ArgsVisitor<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for ArgsVisitor<'a> {
    type Value = Args<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("arguments")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Args<'a>, M::Error> {
        let mut args = Args::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "name" => args.name = map.next_value::<Loose<'_>>()?.text(),
                "stream" => args.stream = map.next_value::<Loose<'_>>()?.whole(),
                "device" | "Device" => args.device = map.next_value::<Loose<'_>>()?.whole(),
                "correlation" => args.correlation = map.next_value::<Loose<'_>>()?.whole(),
                "bytes" => args.bytes = map.next_value::<Loose<'_>>()?.whole(),
                "Total Allocated" => args.allocated = map.next_value::<Loose<'_>>()?.whole(),
                "Device Type" => args.device_type = map.next_value::<Loose<'_>>()?.whole(),
                "Device Id" => args.device = map.next_value::<Loose<'_>>()?.whole(),
                "In msg nelems" => args.elements[0] = map.next_value::<Loose<'_>>()?.whole().unwrap_or(0),
                "Out msg nelems" => args.elements[1] = map.next_value::<Loose<'_>>()?.whole().unwrap_or(0),
                "dtype" => args.dtype = map.next_value::<Loose<'_>>()?.text(),
                "Group size" => args.group_size = map.next_value::<Loose<'_>>()?.whole(),
                "Process Group Description" => args.process_group = map.next_value::<Loose<'_>>()?.text(),
                "Collective name" => args.collective = map.next_value::<Loose<'_>>()?.text(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(args)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Args<'a>, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Args::default())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Args<'a>, E> {
        Ok(Args::default())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Args<'a>, E> {
        Ok(Args::default())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Args<'a>, E> {
        Ok(Args::default())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Args<'a>, E> {
        Ok(Args::default())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Args<'a>, E> {
        Ok(Args::default())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Args<'a>, E> {
        Ok(Args::default())
    }
}

/// A value that tools write as a number or as text.
struct Loose<'a>(&'a RawValue);

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self)
    }
}

impl<'a> Loose<'a> {
    fn whole(&self) -> Option<i64> {
        self.0.get().trim_matches('"').parse().ok()
    }

    fn text(&self) -> Option<Cow<'a, str>> {
        serde_json::from_str(self.0.get()).ok()
    }
}

/// What a document says beside its events.
#[derive(Debug, Default)]
pub(super) struct About {
    /// The rank of the process.
    pub rank: Option<u32>,
    /// Nanoseconds that are left out of every time.
    pub base: i64,
    /// Whether there was a list of events.
    pub has_events: bool,
}

#[derive(Deserialize)]
struct Distributed {
    #[serde(default)]
    rank: Option<u32>,
}

/// Reads a document: `{"traceEvents": [...], ...}` or the list alone. Every event goes to `sink`, which may end it.
pub(super) fn read<'a, E: fmt::Display>(
    json: &'a [u8],
    sink: &mut dyn FnMut(Event<'a>) -> Result<(), E>,
) -> Result<About, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let about = deserializer.deserialize_any(Document(sink))?;
    deserializer.end()?;
    Ok(about)
}

type Sink<'s, 'a, E> = &'s mut dyn FnMut(Event<'a>) -> Result<(), E>;

struct Document<'s, 'a, E>(Sink<'s, 'a, E>);

impl<'a, E: fmt::Display> Visitor<'a> for Document<'_, 'a, E> {
    type Value = About;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trace: an object with a list `traceEvents`, or a list of events")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<About, M::Error> {
        let mut about = About::default();
        while let Some(key) = map.next_key::<Cow<'a, str>>()? {
            match &*key {
                "traceEvents" => {
                    map.next_value_seed(Events(&mut *self.0))?;
                    about.has_events = true;
                }
                "distributedInfo" => {
                    let raw: &RawValue = map.next_value()?;
                    about.rank = serde_json::from_str::<Distributed>(raw.get()).ok().and_then(|found| found.rank);
                }
                "baseTimeNanoseconds" => {
                    about.base = map.next_value::<Loose<'_>>()?.whole().unwrap_or(0);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(about)
    }

    fn visit_seq<S: SeqAccess<'a>>(self, seq: S) -> Result<About, S::Error> {
        Events(self.0).visit_seq(seq)?;
        Ok(About { has_events: true, ..About::default() })
    }
}

struct Events<'s, 'a, E>(Sink<'s, 'a, E>);

impl<'a, E: fmt::Display> DeserializeSeed<'a> for Events<'_, 'a, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a, E: fmt::Display> Visitor<'a> for Events<'_, 'a, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<(), S::Error> {
        while let Some(event) = seq.next_element::<Event<'a>>()? {
            (self.0)(event).map_err(de::Error::custom)?;
        }
        Ok(())
    }
}
