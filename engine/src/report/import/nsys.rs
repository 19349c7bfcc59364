//! Databases that Nsight Systems exports (`nsys export --type sqlite`): kernels, copies, calls of the runtime, NVTX ranges.
//!
//! Its tables are made only where they have rows, and their columns differ between versions; so what is there is asked for
//! first.

use rusqlite::{Connection, MAIN_DB, Row};
use rustc_hash::FxHashMap;

use super::TraceImportError;
use super::events::About;
use super::slices::{Collector, RawSlice};
use crate::trace::Imported;

/// Threads, as texts that live as long as what is collected.
type Threads = FxHashMap<i64, String>;

/// What is read of one table.
struct Table {
    name: &'static str,
    /// As Kineto calls it.
    category: &'static str,
    /// Names of columns of numbers of names in `StringIds`, the first that is there counts.
    names: &'static [&'static str],
    /// A column of the name itself.
    text: Option<&'static str>,
    /// Whether it is on a stream of a device.
    on_stream: bool,
}

const TABLES: [Table; 5] = [
    Table {
        name: "CUPTI_ACTIVITY_KIND_KERNEL",
        category: "kernel",
        names: &["demangledName", "shortName"],
        text: None,
        on_stream: true,
    },
    Table { name: "CUPTI_ACTIVITY_KIND_MEMCPY", category: "gpu_memcpy", names: &[], text: None, on_stream: true },
    Table { name: "CUPTI_ACTIVITY_KIND_MEMSET", category: "gpu_memset", names: &[], text: None, on_stream: true },
    Table {
        name: "CUPTI_ACTIVITY_KIND_RUNTIME",
        category: "cuda_runtime",
        names: &["nameId"],
        text: None,
        on_stream: false,
    },
    Table {
        name: "NVTX_EVENTS",
        category: "user_annotation",
        names: &["textId"],
        text: Some("text"),
        on_stream: false,
    },
];

/// What joins a call to its work is a number of its process: processes of one report have the same numbers.
#[derive(Default)]
struct Correlations(FxHashMap<(i64, i64), i64>);

impl Correlations {
    /// A number of its own for a process (bits 24 to 47 of a serialized identifier) and its correlation.
    fn of(&mut self, identifier: Option<i64>, correlation: Option<i64>) -> i64 {
        let Some(correlation) = correlation.filter(|number| *number != 0) else { return 0 };
        let process = identifier.map_or(0, |identifier| (identifier >> 24) & 0xff_ffff);
        let next = i64::try_from(self.0.len() + 1).unwrap_or(i64::MAX);
        *self.0.entry((process, correlation)).or_insert(next)
    }
}

fn failed(error: &rusqlite::Error) -> TraceImportError {
    TraceImportError::Database(error.to_string())
}

/// Reads a database.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Imported, TraceImportError> {
    let mut database = Connection::open_in_memory().map_err(|error| failed(&error))?;
    database.deserialize_read_exact(MAIN_DB, bytes, bytes.len(), true).map_err(|error| failed(&error))?;
    let known = TABLES.iter().map(|table| Ok((table, columns(&database, table.name)?)));
    let known: Vec<(&Table, Vec<String>)> = known.collect::<Result<_, TraceImportError>>()?;
    let known: Vec<_> = known.into_iter().filter(|(_, columns)| !columns.is_empty()).collect();
    if known.is_empty() {
        return Err(TraceImportError::Database(
            "it has none of the tables CUPTI_ACTIVITY_KIND_KERNEL, _MEMCPY, _RUNTIME or NVTX_EVENTS; expected what `nsys export --type sqlite` writes".to_owned(),
        ));
    }
    let (strings, mut threads) = (strings(&database)?, Threads::default());
    for (table, columns) in &known {
        if has(columns, "globalTid") {
            distinct(&database, table.name, &mut threads)?;
        }
    }
    let (mut collector, mut correlations) = (Collector::default(), Correlations::default());
    for (table, columns) in &known {
        rows(&database, table, columns, (&strings, &threads), &mut correlations, &mut collector)?;
    }
    collector.finish(name, &About::default())
}

fn has(columns: &[String], name: &str) -> bool {
    columns.iter().any(|column| column == name)
}

/// The columns of a table; none where it is not there.
fn columns(database: &Connection, table: &str) -> Result<Vec<String>, TraceImportError> {
    let mut query = database.prepare("SELECT info.name FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS info WHERE tables.type = 'table' AND tables.name = ?1").map_err(|error| failed(&error))?;
    let names = query.query_map([table], |row| row.get(0)).map_err(|error| failed(&error))?;
    names.collect::<Result<_, _>>().map_err(|error| failed(&error))
}

fn strings(database: &Connection) -> Result<FxHashMap<i64, String>, TraceImportError> {
    if columns(database, "StringIds")?.is_empty() {
        return Ok(FxHashMap::default());
    }
    let mut query = database.prepare("SELECT id, value FROM StringIds").map_err(|error| failed(&error))?;
    let pairs = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(|error| failed(&error))?;
    pairs.collect::<Result<_, _>>().map_err(|error| failed(&error))
}

/// A serialized thread has the process in bits 24 to 47 and the thread in the lowest 24 ("Common SQLite examples").
fn distinct(database: &Connection, table: &str, threads: &mut Threads) -> Result<(), TraceImportError> {
    let text = format!("SELECT DISTINCT globalTid FROM {table} WHERE globalTid IS NOT NULL");
    let mut query = database.prepare(&text).map_err(|error| failed(&error))?;
    let ids = query.query_map([], |row| row.get::<_, i64>(0)).map_err(|error| failed(&error))?;
    for id in ids {
        let id = id.map_err(|error| failed(&error))?;
        threads.entry(id).or_insert_with(|| (id & 0xff_ffff).to_string());
    }
    Ok(())
}

fn rows<'a>(
    database: &Connection,
    table: &Table,
    columns: &[String],
    names: (&FxHashMap<i64, String>, &'a Threads),
    correlations: &mut Correlations,
    collector: &mut Collector<'a>,
) -> Result<(), TraceImportError> {
    let column = |name: &str| if has(columns, name) { format!("\"{name}\"") } else { "NULL".to_owned() };
    let named = table.names.iter().find(|name| has(columns, name)).map_or("NULL".to_owned(), |name| column(name));
    let text = format!(
        "SELECT {}, {}, {}, {}, {}, {}, {}, {named}, {}, {}, {} FROM {}",
        column("start"),
        column("end"),
        column("deviceId"),
        column("streamId"),
        column("correlationId"),
        column("bytes"),
        column("globalTid"),
        table.text.map_or_else(|| "NULL".to_owned(), column),
        column("copyKind"),
        column("globalPid"),
        table.name
    );
    let mut query = database.prepare(&text).map_err(|error| failed(&error))?;
    let mut rows = query.query([]).map_err(|error| failed(&error))?;
    while let Some(row) = rows.next().map_err(|error| failed(&error))? {
        take(row, table, names, correlations, collector)?;
    }
    Ok(())
}

fn take<'a>(
    row: &Row<'_>,
    table: &Table,
    (strings, threads): (&FxHashMap<i64, String>, &'a Threads),
    correlations: &mut Correlations,
    collector: &mut Collector<'a>,
) -> Result<(), TraceImportError> {
    let number = |place: usize| row.get::<_, Option<i64>>(place).ok().flatten();
    // A mark has no end, and a range that was never closed has none either.
    let (Some(start), Some(end)) = (number(0), number(1)) else { return Ok(()) };
    let written: Option<String> = row.get(8).ok().flatten();
    let name = written.as_deref().or_else(|| strings.get(&number(7)?).map(String::as_str));
    let copied = number(9).map(copy_name);
    let name = name.or(copied).unwrap_or(if table.category == "gpu_memset" { "Memset" } else { "(no name)" });
    collector.slice(&RawSlice {
        process: "",
        thread: number(6).and_then(|id| threads.get(&id)).map_or("", String::as_str),
        thread_name: None,
        stream: table.on_stream.then(|| (number(2).unwrap_or(0), number(3).unwrap_or(0))),
        name,
        category: table.category,
        collective: None,
        bytes: number(5).unwrap_or(0),
        correlation: correlations.of(number(10).or(number(6)), number(4)),
        start,
        duration: end.saturating_sub(start),
    })
}

/// CUPTI's kinds of copies (`CUpti_ActivityMemcpyKind`).
fn copy_name(kind: i64) -> &'static str {
    match kind {
        1 => "Memcpy HtoD",
        2 => "Memcpy DtoH",
        8 => "Memcpy DtoD",
        10 => "Memcpy PtoP",
        _ => "Memcpy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Activity;

    /// A database as Nsight Systems lays it out, as bytes.
    fn database(more: &str) -> Vec<u8> {
        let mut database = Connection::open_in_memory().expect("memory");
        database
            .execute_batch(&format!(
                "CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
                 INSERT INTO StringIds VALUES (1, 'sm90_xmma_gemm_bf16'), (2, 'ncclDevKernel_AllReduce_Sum_bf16'), (3, 'cudaLaunchKernel');
                 {more}"
            ))
            .expect("valid SQL");
        database.serialize(MAIN_DB).expect("bytes").to_vec()
    }

    const TABLES: &str = "
        CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, streamId INT, correlationId INT, globalPid INT, demangledName INT);
        INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (1000, 1700, 0, 7, 11, 281479288520704, 1), (1500, 2500, 0, 20, 11, 281479305297920, 2);
        CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, globalTid INT, correlationId INT, nameId INT);
        INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (900, 950, 281479288520705, 11, 3);
        CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, deviceId INT, streamId INT, correlationId INT, bytes INT, copyKind INT);
        INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (2600, 2700, 0, 7, 13, 4096, 1);
        CREATE TABLE NVTX_EVENTS (start INT, end INT, text TEXT, globalTid INT, textId INT);
        INSERT INTO NVTX_EVENTS VALUES (800, 2800, 'forward', 281479288520705, NULL), (100, NULL, 'mark', 281479288520705, NULL);";

    #[test]
    fn kernels_copies_calls_and_ranges_are_read_to_the_nanosecond() {
        let imported = read("report", &database(TABLES)).expect("a trace");
        let trace = &imported.trace;
        assert_eq!(trace.spans.len(), 5);
        let find = |name: &str| {
            let span = trace.spans.iter().find(|span| &*trace.label(span).name == name).expect(name);
            (span.start.0, span.duration.0, imported.activity(span))
        };
        assert_eq!(find("sm90_xmma_gemm_bf16"), (200, 700, Activity::Computation));
        assert_eq!(find("ncclDevKernel_AllReduce_Sum_bf16"), (700, 1000, Activity::Communication));
        assert_eq!(find("Memcpy HtoD"), (1800, 100, Activity::Memory));
        assert_eq!(find("forward"), (0, 2000, Activity::Host));
        assert_eq!(imported.launches.len(), 1, "the call put the kernel on the device");
    }

    #[test]
    fn a_table_that_is_missing_is_no_error_and_a_foreign_database_is_one() {
        let only = TABLES.split("CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME").next().expect("the first table");
        assert_eq!(read("report", &database(only)).expect("a trace").trace.spans.len(), 2);
        let error = read("other", &database("CREATE TABLE people (name TEXT);")).expect_err("no trace").to_string();
        assert!(error.contains("nsys export"), "{error}");
        let mut cut = database(TABLES);
        cut.truncate(cut.len() / 2);
        assert!(read("cut", &cut).is_err());
    }
}
