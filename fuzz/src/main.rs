//! Runs fuzz targets for some time: `bellbird-fuzz TARGET --seconds 600`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bellbird_fuzz::{
    Engine, Failure, TARGETS, Target, corpus_dir, load, minimise, run, select, store,
};
use clap::Parser;

/// Feeds targets with mutated inputs until the time is over or a property does not hold.
#[derive(Parser)]
struct Arguments {
    /// Which, or `all`; without one, all are listed
    target: Option<String>,
    /// How long each
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The same seed and corpus give the same inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run this file once and nothing else
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Put inputs with new outcomes into a folder of the target's name here
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Take over into the corpus what --keep has put here and what shows something new, at most
    /// so many as --take-max says
    #[arg(long, value_name = "FOLDER")]
    take: Option<PathBuf>,
    /// How many inputs to take over
    #[arg(long, default_value_t = 15)]
    take_max: usize,
    /// Where to put an input that fails
    #[arg(long, default_value = "target/fuzz", value_name = "FOLDER")]
    failures: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(name) = arguments.target.as_deref() else {
        TARGETS.iter().for_each(|target| println!("{:25} {}", target.name, target.checks));
        return ExitCode::SUCCESS;
    };
    let targets: Vec<&Target> =
        TARGETS.iter().filter(|target| name == "all" || name == target.name).collect();
    if targets.is_empty() {
        eprintln!("error: there is no target {name}; without a name, all are listed");
        return ExitCode::FAILURE;
    }
    say_each_panic_once();
    let mut failed = 0;
    for target in targets {
        if let Err(message) = act(target, &arguments) {
            eprintln!("{}: {message}", target.name);
            failed += 1;
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn act(target: &Target, arguments: &Arguments) -> Result<(), String> {
    if let Some(path) = &arguments.input {
        let input = std::fs::read(path).map_err(|error| error.to_string())?;
        return run(target, &input).map(|_| ()).map_err(|failure| failure.message);
    }
    if let Some(found) = &arguments.take {
        return take(target, &found.join(target.name), arguments.take_max);
    }
    fuzz(target, arguments)
}

/// Takes new inputs over into the corpus.
fn take(target: &Target, found: &std::path::Path, take_max: usize) -> Result<(), String> {
    let dir = corpus_dir().join(target.name);
    let (known, found) = (inputs(&dir)?, inputs(found)?);
    let selected = select(target, &known, &found).map_err(|failure| failure.message)?;
    // From the small ones to the large ones, evenly.
    let step = selected.len().div_ceil(take_max.max(1)).max(1);
    for input in selected.iter().skip(step - 1).step_by(step) {
        store(&dir, "found", input).map_err(|error| error.to_string())?;
    }
    println!("{}: {} of {} show something new", target.name, selected.len(), found.len());
    Ok(())
}

fn fuzz(target: &Target, arguments: &Arguments) -> Result<(), String> {
    let corpus = inputs(&corpus_dir().join(target.name))?;
    let mut engine = Engine::new(*target, corpus, arguments.seed);
    let fail = |failure| save(target, &minimise(target, failure, MINIMISING_RUNS), arguments);
    engine.replay().map_err(fail)?;
    let mut progress = Progress::new(target.name);
    let end = Duration::from_secs(arguments.seconds);
    let mut before = progress.started;
    while before - progress.started < end {
        if let Some(found) = engine.step().map_err(fail)? {
            progress.new += 1;
            if let Some(keep) = &arguments.keep
                && progress.new <= KEEP_MAX
            {
                let kept = store(&keep.join(target.name), "found", found);
                kept.map_err(|error| error.to_string())?;
            }
        }
        progress.runs += 1;
        let now = Instant::now();
        if now - before > SLOW && is_slow(target, engine.input()) {
            let message = format!("a run takes longer than {SLOW:?}");
            return Err(save(
                target,
                &Failure { input: engine.input().into(), message },
                arguments,
            ));
        }
        before = now;
        progress.tell_now_and_then(before);
    }
    progress.tell(before, "\n");
    Ok(())
}

fn inputs(dir: &std::path::Path) -> Result<Vec<Vec<u8>>, String> {
    let inputs = load(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(inputs.into_iter().map(|(_, input)| input).collect())
}

/// Whether it is the input: the machine may have been busy with something else.
fn is_slow(target: &Target, input: &[u8]) -> bool {
    (0..3).all(|_| {
        let started = Instant::now();
        run(target, input).is_err() || started.elapsed() > SLOW
    })
}

/// Writes an input that failed to a file, and says so.
fn save(target: &Target, failure: &Failure, arguments: &Arguments) -> String {
    let Failure { input, message } = failure;
    match store(&arguments.failures, target.name, input) {
        Ok(path) => format!("{message}\n{} bytes in {}", input.len(), path.display()),
        Err(error) => format!("{message}\n{input:02x?} ({error})"),
    }
}

/// Minimising panics a thousand times; the first one is enough to read.
fn say_each_panic_once() {
    static SAID: AtomicBool = AtomicBool::new(false);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !SAID.swap(true, Ordering::Relaxed) {
            usual(panic);
        }
    }));
}

/// How far it has come, on a line that is written over, or on one a minute in a file.
struct Progress {
    name: &'static str,
    started: Instant,
    runs: u64,
    new: u64,
    told: Instant,
    every: Duration,
    line_end: &'static str,
}

impl Progress {
    fn new(name: &'static str) -> Self {
        let started = Instant::now();
        let (every, line_end) =
            if std::io::stdout().is_terminal() { (1, "\r") } else { (60, "\n") };
        let every = Duration::from_secs(every);
        Self { name, started, runs: 0, new: 0, told: started, every, line_end }
    }

    fn tell_now_and_then(&mut self, now: Instant) {
        if now - self.told >= self.every {
            self.told = now;
            self.tell(now, self.line_end);
        }
    }

    fn tell(&self, now: Instant, line_end: &str) {
        let Self { name, started, runs, new, .. } = self;
        let seconds = (now - *started).as_secs_f64();
        let rate = *runs as f64 / seconds.max(0.001);
        print!("{name}: {seconds:.0} s, {runs} runs, {rate:.0}/s, {new} new outcomes  {line_end}");
        // Who closes the pipe does not want to read it.
        let _unwanted = std::io::stdout().flush();
    }
}

/// Inputs are small: whatever takes this long is a finding.
const SLOW: Duration = Duration::from_secs(2);
const MINIMISING_RUNS: usize = 4000;
/// Enough to choose from.
const KEEP_MAX: u64 = 20_000;
