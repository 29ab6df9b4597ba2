//! Statements up to their plan: each ends with a plan or an error that says something, and never
//! in a panic of ours or without a stack. Nothing is executed.
//!
//! The first byte says whether the rest is a statement or chooses one out of a grammar.

mod grammar;

use std::collections::BTreeSet;
use std::panic;
use std::sync::{Once, OnceLock};
use std::time::Duration;

use meridian_aggregator::config::CoverageConfig;
use meridian_aggregator::coverage::Coverage;
use meridian_aggregator::query::{Engine, Format, Limits, Params, QueryError, Question};
use meridian_aggregator::store::Store;
use meridian_runtime::clock::Clock;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

use crate::choices::Choices;

/// Planning cannot be interrupted within a rule: what takes this long is a fault of the limits.
const PLAN_TIMEOUT: Duration = Duration::from_secs(120);

/// Where libraries have panicked, which ends a query with an error.
static FOREIGN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

pub(crate) fn run(data: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(tell_panics_apart);
    let sql = statement(data);
    let (engine, runtime) = engine();
    let planned = runtime.block_on(engine.plan(Question::sql(sql.as_str(), Params::new(), Format::Json)));
    let Err(error) = planned else { return };
    assert!(!error.to_string().is_empty());
    assert!(
        !matches!(
            error,
            QueryError::Timeout { .. } | QueryError::NotRunning(_) | QueryError::TooMany { .. }
        ),
        "{error}: {sql}"
    );
    if let QueryError::Panicked { message } = &error {
        assert!(!FOREIGN.lock().is_empty(), "a panic of our own: {message}: {sql}");
    }
}

/// The statement that an input is.
pub fn statement(data: &[u8]) -> String {
    let mut choices = Choices::new(data);
    if choices.flag() {
        grammar::statement(&mut choices)
    } else {
        String::from_utf8_lossy(choices.rest()).into_owned()
    }
}

/// Where libraries have panicked so far.
pub fn foreign_panics() -> Vec<String> {
    FOREIGN.lock().iter().cloned().collect()
}

fn engine() -> &'static (Engine, Runtime) {
    static ENGINE: OnceLock<(Engine, Runtime)> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let _entered = runtime.enter();
        let coverage = Coverage::new(CoverageConfig::default(), vec!["eu".to_owned()]);
        let clock = Clock::manual(1_800_000_000_000_000_000).0;
        let limits = Limits {
            query_timeout: PLAN_TIMEOUT,
            ..Limits::default()
        };
        let engine = Engine::new(Store::empty(), coverage, clock, limits);
        let engine = engine.expect("the engine starts");
        drop(_entered);
        (engine, runtime)
    })
}

/// libFuzzer ends the process at any panic. One of a library while planning is caught by the
/// engine, and is told to the client: only where it was is noted.
fn tell_panics_apart() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let file = info.location().map_or("", |location| location.file());
        let is_planning = std::thread::current().name() == Some("query-plan");
        if is_planning && (file.contains("/registry/") || file.contains("/rustc/")) {
            let place = info.location().map(ToString::to_string);
            FOREIGN.lock().extend(place);
        } else {
            before(info);
        }
    }));
}
