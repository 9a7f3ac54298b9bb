//! CPU per event on the recording, from one run: `cargo bench --bench ratios`.
//!
//! The first rows are loops in one thread; the last ones are the program itself, as a process of its own between a fake Nomad
//! and a fake Loki, measured from outside: the embedded host, and Vector with the plugin where `vector/target/release` has it
//! (or `NOMAD_VECTOR` says where it is). At the end a flood: lines of 16 MiB, and a Loki that answers nothing. The floor is what
//! any program has to pay that looks into a payload: build its tree and drop it. Figures of one run belong together; compare ratios, not figures of different machines.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use nomad_events::envelope::{self, Line};
use nomad_events::frame::Splitter;
use nomad_events::options::{DEFAULT_MAX_LINE_BYTES, DEFAULT_QUEUE_BYTES, DEFAULT_TOPICS, Options};
use nomad_events::payload::value::Shaper;
use nomad_events::testing::loki::{FakeLoki, FakeLokiOptions, Fault, Gate};
use nomad_events::testing::nomad::FakeNomad;
use nomad_events::testing::recording::Recording;
use nomad_events::{Delivery, Event, EventStream, Item};
use vrl::value::Value;

/// As in the program: most of the cost is making and dropping small pieces of memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often the recording is served, with other indexes each time.
const REPEATS: u64 = 20;
/// Loops of one thread are run this often, and the best counts.
const ROUNDS: usize = 3;
/// How much CPU a round takes at least.
const ROUND: Duration = Duration::from_millis(400);
/// A process that has used no CPU for this long is done.
const QUIET: Duration = Duration::from_millis(1500);
/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(120);
/// How many lines of the longest kind the flood has: half a gigabyte.
const FLOOD_LINES: usize = 32;
/// Clock ticks per second in `/proc/PID/stat`, the same on every Linux.
const TICKS: f64 = 100.0;

/// How an event begins that the shipped configurations filter.
const NOISE: &str = "{\"Topic\":\"Node\",\"Type\":\"AllocationUpdated\",";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // `cargo test --all-targets` runs benches too, and wants to know only whether they start.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let corpus = Corpus::build()?;
    println!(
        "{} events of the default topics in {} lines, {:.0} MB\n",
        corpus.events,
        corpus.lines.len(),
        corpus.bytes as f64 / 1e6
    );
    println!(
        "{:<44} {:>9} {:>9} {:>9}",
        "", "us/event", "floor =", "peak MB"
    );

    let floor = loops(&corpus)?;
    let fakes = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("fakes")
        .enable_all()
        .build()?;
    engine(&corpus, &fakes, floor)?;
    let folder = tempfile::tempdir()?;
    let blackhole = folder.path().join("blackhole.toml");
    fs::write(&blackhole, to_blackhole()?)?;
    let configurations = [
        ("vector.toml to blackhole", blackhole.as_path()),
        ("vector.toml to Loki", Path::new("config/vector.toml")),
        ("talk.toml (route) to Loki", Path::new("config/talk.toml")),
    ];
    for host in [Some(Host::Embedded), Host::vector()] {
        let Some(host) = host else {
            println!("nomad-vector is left out: `cd vector && cargo build --release` makes it");
            continue;
        };
        for (name, config) in configurations {
            program(&corpus, &fakes, floor, &host, name, config)?;
        }
    }
    flood(&fakes)
}

/// Memory when lines of 16 MiB come and Loki answers nothing, beside what the options allow.
fn flood(fakes: &tokio::runtime::Runtime) -> Result<()> {
    const MIB: usize = 1 << 20;
    let nomad = fakes.block_on(FakeNomad::builder().buffer_size(2 * FLOOD_LINES).start())?;
    let idle = watch(
        fakes,
        &Host::Embedded,
        &nomad.url(),
        Path::new("config/vector.toml"),
        0,
        true,
    )?;
    let filler = "x".repeat(4000);
    let event = format!(
        r#"{{"Topic":"Job","Type":"JobRegistered","Key":"web","Namespace":"default","Payload":{{"Job":{{"ID":"web","Name":"{filler}"}}}}}}"#
    );
    let events = vec![event.as_str(); (DEFAULT_MAX_LINE_BYTES - 100) / (event.len() + 1)].join(",");
    for index in 0..FLOOD_LINES {
        // The fake does not look into them, or it would need more memory than what is measured.
        let line = format!(r#"{{"Index":{},"Events":[{events}]}}"#, 10 + index);
        nomad.append_opaque(5, line);
    }
    let flooded = watch(
        fakes,
        &Host::Embedded,
        &nomad.url(),
        Path::new("config/vector.toml"),
        0,
        true,
    )?;
    // The text in the queue and as much in trees; a line that grows, is complete, and is read; batches of the sink, as records
    // and as requests.
    let allowed = 2 * DEFAULT_QUEUE_BYTES + 4 * DEFAULT_MAX_LINE_BYTES + 2 * (4 + 1) * MIB;
    println!(
        "\n{FLOOD_LINES} lines of {} MiB, Loki answers nothing: {:.0} MB more than idle ({:.0} MB); the options allow {:.0} MB",
        DEFAULT_MAX_LINE_BYTES / MIB,
        flooded.peak_mb - idle.peak_mb,
        idle.peak_mb,
        allowed as f64 / MIB as f64
    );
    Ok(())
}

/// The programs that run these configurations.
enum Host {
    /// `nomad-events`.
    Embedded,
    /// `nomad-vector`, by its path.
    Vector(PathBuf),
}

impl Host {
    /// Vector with the plugin, if it has been built.
    fn vector() -> Option<Self> {
        let built = std::env::var_os("NOMAD_VECTOR").map_or_else(
            || PathBuf::from("vector/target/release/nomad-vector"),
            PathBuf::from,
        );
        built.exists().then_some(Self::Vector(built))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "nomad-events",
            Self::Vector(_) => "nomad-vector",
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::Embedded => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_nomad-events"));
                command.args(["--quiet", "run", "--config"]);
                command
            }
            Self::Vector(program) => {
                let mut command = Command::new(program);
                command.args(["--quiet", "--config"]);
                command
            }
        }
    }
}

/// The recommended configuration with another sink.
fn to_blackhole() -> std::io::Result<String> {
    let text = fs::read_to_string("config/vector.toml")?;
    let before = text.split("[sinks.loki]").next().unwrap_or_default();
    Ok(format!(
        "{before}[sinks.none]\ntype = \"blackhole\"\ninputs = [\"parse_events_*\", \"parse_notices\"]\n"
    ))
}

/// The recording, several times over.
struct Corpus {
    lines: Vec<Bytes>,
    /// How many of them are the recording once.
    lines_once: usize,
    bytes: usize,
    /// Events of the topics that are subscribed to by default.
    events: u64,
    /// Those that the filter of the shipped configurations lets pass.
    shipped: u64,
}

impl Corpus {
    fn build() -> Result<Self> {
        let recording = Recording::embedded();
        let batches: Vec<Bytes> = recording.batches().collect();
        let mut corpus = Self {
            lines: Vec::new(),
            lines_once: batches.len(),
            bytes: 0,
            events: 0,
            shipped: 0,
        };
        for repeat in 0..REPEATS {
            for line in &batches {
                let Line::Batch(batch) = envelope::parse(line)? else {
                    continue;
                };
                let text = std::str::from_utf8(line)?;
                let from = format!("\"Index\":{},", batch.index);
                let to = format!("\"Index\":{},", batch.index.0 + repeat * 10_000);
                corpus.lines.push(Bytes::from(text.replace(&from, &to)));
            }
        }
        corpus.bytes = corpus.lines.iter().map(Bytes::len).sum();
        let mut dropped = 0;
        for line in &corpus.lines {
            let text = std::str::from_utf8(line)?;
            corpus.events += DEFAULT_TOPICS
                .iter()
                .map(|topic| text.matches(&format!("{{\"Topic\":\"{topic}\",")).count() as u64)
                .sum::<u64>();
            dropped += text.matches(NOISE).count() as u64;
        }
        corpus.shipped = corpus.events - dropped;
        Ok(corpus)
    }

    /// The recording once.
    fn once(&self) -> &[Bytes] {
        &self.lines[..self.lines_once]
    }

    async fn serve(&self) -> std::io::Result<FakeNomad> {
        FakeNomad::builder()
            .buffer_size(self.lines.len())
            .lines(self.lines.iter().cloned())
            .start()
            .await
    }
}

/// A row of the table.
fn row(name: &str, micros: f64, floor: Option<f64>, peak_mb: Option<f64>) {
    let ratio = floor.map_or_else(String::new, |floor| format!("{:.2}", micros / floor));
    let peak = peak_mb.map_or_else(String::new, |peak| format!("{peak:.0}"));
    println!("{name:<44} {micros:>9.2} {ratio:>9} {peak:>9}");
}

/// The loops of one thread. Gives the floor.
fn loops(corpus: &Corpus) -> Result<f64> {
    // One recording is enough for a loop, and stays in memory as one block, as a socket would deliver it.
    let lines = corpus.once();
    let mut block = Vec::new();
    for line in lines {
        block.extend_from_slice(line);
        block.push(b'\n');
    }
    let block = Bytes::from(block);
    let mut payloads: Vec<Event> = Vec::new();
    let mut events = 0.0;
    for line in lines {
        if let Line::Batch(batch) = envelope::parse(line)? {
            events += batch.events.len() as f64;
        }
    }

    let split = best(events, || {
        let mut splitter = Splitter::new(usize::MAX / 2);
        for chunk in block.chunks(64 * 1024) {
            splitter.push(block.slice_ref(chunk));
            while let Some(frame) = splitter.next_frame() {
                std::hint::black_box(&frame);
            }
        }
    })?;
    row("lines split", split, None, None);

    let parsed = best(events, || {
        for line in lines {
            std::hint::black_box(envelope::parse(line).is_ok());
        }
    })?;
    row("envelope, payload left as text", parsed, None, None);

    collect_events(corpus, &mut payloads)?;
    let floor = best(payloads.len() as f64, || {
        for event in &payloads {
            std::hint::black_box(serde_json::from_slice::<Value>(&event.payload).is_ok());
        }
    })?;
    row(
        "payload to Value (serde) and drop: the floor",
        floor,
        Some(floor),
        None,
    );

    let shaper = Shaper::new(true, None);
    let shaped = best(payloads.len() as f64, || {
        for event in &payloads {
            std::hint::black_box(&shaper.log_event(event));
        }
    })?;
    row(
        "log event: Value, redacted, with its id",
        shaped,
        Some(floor),
        None,
    );
    Ok(floor)
}

/// The events of one recording, as the engine hands them out.
fn collect_events(corpus: &Corpus, into: &mut Vec<Event>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let lines = corpus.once().to_vec();
    let wanted = corpus.events / REPEATS;
    runtime.block_on(async {
        let fake = FakeNomad::builder()
            .buffer_size(lines.len())
            .lines(lines)
            .start()
            .await?;
        follow(&fake.url(), wanted, |events| into.extend(events)).await
    })
}

/// Follows the stream until so many events have come.
async fn follow(url: &str, wanted: u64, mut take: impl FnMut(Vec<Event>)) -> Result<()> {
    let mut options = Options::default();
    options.endpoints = Some(vec![url.to_owned()]);
    let mut stream = EventStream::follow(options.settings(|_| None)?);
    let acknowledger = stream.acknowledger();
    let mut seen = 0;
    while seen < wanted {
        match stream.next().await {
            Some(Item::Batch(batch)) => {
                seen += batch.events.len() as u64;
                acknowledger.resolve(batch.id, Delivery::Delivered);
                take(batch.events);
            }
            Some(_) => {}
            None => return Err("the stream has ended".into()),
        }
    }
    Ok(())
}

/// The engine alone: socket, lines, envelopes, times, queue. The fake's threads do not count.
fn engine(corpus: &Corpus, fakes: &tokio::runtime::Runtime, floor: f64) -> Result<()> {
    let fake = fakes.block_on(corpus.serve())?;
    let url = fake.url();
    let events = corpus.events;
    let micros = std::thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || -> std::result::Result<f64, String> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            let before = thread_cpu().map_err(|error| error.to_string())?;
            runtime
                .block_on(follow(&url, events, drop))
                .map_err(|error| error.to_string())?;
            let after = thread_cpu().map_err(|error| error.to_string())?;
            Ok((after - before).as_secs_f64() * 1e6 / events as f64)
        })?
        .join()
        .map_err(|_| "the engine's thread panicked")??;
    row("engine: socket to dated events", micros, Some(floor), None);
    Ok(())
}

/// A program, in a process of its own.
fn program(
    corpus: &Corpus,
    fakes: &tokio::runtime::Runtime,
    floor: f64,
    host: &Host,
    name: &str,
    config: &Path,
) -> Result<()> {
    // What the start costs (compiling the programs, mostly) is measured without events and taken off.
    let empty = fakes.block_on(FakeNomad::builder().start())?;
    let idle = watch(fakes, host, &empty.url(), config, 0, false)?;
    let nomad = fakes.block_on(corpus.serve())?;
    let wanted = if name.ends_with("Loki") {
        corpus.shipped
    } else {
        0
    };
    let busy = watch(fakes, host, &nomad.url(), config, wanted, false)?;
    let micros = (busy.cpu_seconds - idle.cpu_seconds) * 1e6 / corpus.events as f64;
    let name = format!("{}, {name}", host.name());
    row(&name, micros, Some(floor), Some(busy.peak_mb));
    Ok(())
}

/// What a process has used.
struct Usage {
    cpu_seconds: f64,
    peak_mb: f64,
}

/// Runs the program until it has nothing to do any more; at least `wanted` entries must have come to Loki, which may be silent.
fn watch(
    fakes: &tokio::runtime::Runtime,
    host: &Host,
    nomad: &str,
    config: &Path,
    wanted: u64,
    silent: bool,
) -> Result<Usage> {
    let loki = fakes.block_on(FakeLoki::start_with(
        FakeLokiOptions::default().with_kept_entries(0),
    ))?;
    if silent {
        loki.afterwards(Some(Fault::Hold(Gate::new())));
    }
    // Each run begins anew.
    let data = tempfile::tempdir()?;
    let child = host
        .command()
        .arg(config)
        .env_clear()
        .env("NOMAD_ADDR", nomad)
        .env("LOKI_ADDR", loki.url())
        .env("NOMAD_EVENTS_DATA_DIR", data.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let child = Running(child);
    let deadline = deadline();
    let mut last = child.usage()?;
    loop {
        pause(QUIET);
        let now = child.usage()?;
        let arrived = loki.pushed() as u64 >= wanted;
        if arrived && now.cpu_seconds - last.cpu_seconds < 0.03 {
            return Ok(now);
        }
        if std::time::SystemTime::now() > deadline {
            return Err(format!("{} of {wanted} entries came in {LIMIT:?}", loki.pushed()).into());
        }
        last = now;
    }
}

fn deadline() -> std::time::SystemTime {
    std::time::SystemTime::now() + LIMIT
}

/// Waits; a bench has no runtime of its own to wait on.
#[allow(clippy::disallowed_methods)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A process that is ended when dropped.
struct Running(Child);

impl Running {
    fn usage(&self) -> Result<Usage> {
        let folder = format!("/proc/{}", self.0.id());
        let stat = fs::read_to_string(format!("{folder}/stat"))?;
        // The name, in brackets, may hold blanks: fields are counted behind it. utime and stime are the 14th and 15th.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |place: usize| {
            fields
                .get(place)
                .and_then(|field| field.parse::<f64>().ok())
                .ok_or("no CPU time")
        };
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let peak_kb: f64 = status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmHWM:")?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .ok_or("no peak memory")?;
        Ok(Usage {
            cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS,
            peak_mb: peak_kb / 1024.0,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The best of some rounds, in microseconds of this thread's CPU per event.
fn best(events: f64, mut round: impl FnMut()) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let before = thread_cpu()?;
        let mut times = 0.0;
        // The kernel's account of a thread moves at ticks of some milliseconds.
        let spent = loop {
            round();
            times += 1.0;
            let spent = thread_cpu()? - before;
            if spent >= ROUND {
                break spent;
            }
        };
        best = best.min(spent.as_secs_f64() / times);
    }
    Ok(best * 1e6 / events)
}

/// CPU time of this thread, from the scheduler's own account.
fn thread_cpu() -> std::io::Result<Duration> {
    let account = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = account.split(' ').next().and_then(|text| text.parse().ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| std::io::Error::other("the kernel keeps no account of threads"))
}
