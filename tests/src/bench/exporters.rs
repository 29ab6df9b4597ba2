//! What each exporter costs beyond intake and spool: the same load into an agent that delivers
//! it, and into one whose exporter takes another signal, so that the spool is written and nothing
//! more.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use meridian_proto::signal::Signal;
use tokio::task::JoinSet;

use crate::agent::{Agent, AgentSpec};
use crate::bench::aws_sink::{self, Actions, Taken};
use crate::bench::client::{self, Load};
use crate::bench::content::{Detail, ITEMS};
use crate::bench::options::Options;
use crate::bench::report::{Bound, Column, Part};
use crate::bench::targets::Delivered;
use crate::bench::{otlp_sink, progress};
use crate::lab::{self, Lab};

const CPU: Column = Column::new("CPU µs/item", 2);
const BEYOND: Column = Column::new("beyond intake and spool", 2);
const CALLS: Column = Column::new("calls", 0);
const ITEMS_PER_CALL: Column = Column::new("items/call", 1);
const CALLS_RATIO: Column = Column::new("calls ÷ fewest", 3);
const BYTES: Column = Column::new("bytes/item", 1);
const PEAK: Column = Column::new("peak RSS MiB", 0);

const WARM_UP_REQUESTS: u64 = 100;
const DRAINED_WITHIN: Duration = Duration::from_secs(300);
/// Limits of PutLogEvents.
const EVENTS_MAX: u64 = 10_000;
const EVENT_BYTES_MAX: u64 = 1_048_576;

/// An exporter and what it is given.
struct Case {
    name: &'static str,
    signal: Signal,
    detail: Detail,
    /// Key and entries; `ADDRESS` is where the far side is.
    exporter: (&'static str, &'static str),
    target_micros: Option<f64>,
}

const AWS: &str = "region: eu-central-1, endpoint_url: \"http://ADDRESS\", rate: 10000";
const OTLP: &str = "endpoint: \"http://ADDRESS\", protocol: grpc, compression: zstd, rate: 10000";

const BRIEF_LOGS: &str = "region: eu-central-1, endpoint_url: \"http://ADDRESS\", rate: 10000, resource_attributes: [service.name]";
const METRICS: &str = "region: eu-central-1, endpoint_url: \"http://ADDRESS\", rate: 10000, metrics: \
    {\"http.server.measure.*\": {dimensions: [service.name, \"http.request.method, http.route\"]}}";
const BRIEF: &str = "cloudwatch_logs, events of 300 bytes";

const CASES: [Case; 5] = [
    Case {
        name: "otlp (gRPC, zstd), spans",
        signal: Signal::Spans,
        detail: Detail::Full,
        exporter: ("otlp", OTLP),
        target_micros: Some(1.5),
    },
    Case {
        name: "xray, spans",
        signal: Signal::Spans,
        detail: Detail::Full,
        exporter: ("xray", AWS),
        target_micros: Some(4.0),
    },
    Case {
        name: BRIEF,
        signal: Signal::Logs,
        detail: Detail::Brief,
        exporter: ("cloudwatch_logs", BRIEF_LOGS),
        target_micros: Some(1.5),
    },
    Case {
        name: "cloudwatch_logs, events of 500 bytes",
        signal: Signal::Logs,
        detail: Detail::Full,
        exporter: ("cloudwatch_logs", AWS),
        target_micros: None,
    },
    Case {
        name: "cloudwatch_metrics, data points",
        signal: Signal::Metrics,
        detail: Detail::Full,
        exporter: ("cloudwatch_metrics", METRICS),
        target_micros: None,
    },
];

/// What takes nothing of this signal.
fn idle(signal: Signal) -> (&'static str, &'static str) {
    match signal {
        Signal::Logs => ("xray", AWS),
        Signal::Spans | Signal::Metrics => ("cloudwatch_logs", AWS),
    }
}

/// All of them, in rounds.
pub fn part(options: &Options) -> Part {
    let mut part = Part::new("exporters");
    for round in 1..=options.rounds {
        for case in &CASES {
            progress(&format!("round {round} of {}: {}", options.rounds, case.name));
            if let Err(fault) = measured(&mut part, case, options) {
                part.left_out.push(format!("left out: {}: {fault:#}", case.name));
            }
        }
    }
    for case in &CASES {
        if let Some(target) = case.target_micros {
            let what = format!("{}: CPU µs per item beyond intake and spool", case.name);
            let measured = part.median(case.name, BEYOND);
            part.goal(&what, Bound::AtMost, target, measured);
        }
    }
    let what = "PutLogEvents calls ÷ the fewest that its limits allow";
    let ratio = part.median(BRIEF, CALLS_RATIO);
    part.goal(what, Bound::AtMost, 1.05, ratio);
    part.note("beyond: less the CPU of the same load into an agent whose exporter takes another signal");
    part
}

fn measured(part: &mut Part, case: &Case, options: &Options) -> Result<()> {
    let requests = (options.items / u64::from(ITEMS)).max(1);
    let run = |exporter| {
        let load = |requests| Load {
            detail: case.detail,
            ..Load::full(case.signal, requests)
        };
        let loads = [WARM_UP_REQUESTS.min(requests), requests].map(load);
        lab::attempt(move |lab| async move { cost(&lab, exporter, loads).await })
    };
    let base = run(idle(case.signal))?;
    let cost = run(case.exporter)?;
    let items = (requests * u64::from(ITEMS)) as f64;
    part.record(case.name, CPU, cost.micros);
    part.record(case.name, BEYOND, cost.micros - base.micros);
    part.record(case.name, PEAK, cost.peak_mib);
    if cost.taken.calls > 0 {
        part.record(case.name, CALLS, cost.taken.calls as f64);
        part.record(case.name, ITEMS_PER_CALL, items / cost.taken.calls as f64);
    }
    part.record(case.name, BYTES, cost.taken.bytes as f64 / items);
    if case.exporter.0 == "cloudwatch_logs" {
        let bytes = cost.taken.bytes.div_ceil(EVENT_BYTES_MAX);
        let fewest = cost.taken.items.div_ceil(EVENTS_MAX).max(bytes).max(1);
        part.record(case.name, CALLS_RATIO, cost.taken.calls as f64 / fewest as f64);
    }
    Ok(())
}

struct Cost {
    micros: f64,
    peak_mib: f64,
    taken: Taken,
}

/// Sends the second load, after the first one to warm up.
async fn cost(lab: &Arc<Lab>, (key, entries): (&str, &str), [warm_up, load]: [Load; 2]) -> Result<Cost> {
    let items = load.items() as f64;
    let mut serving = JoinSet::new();
    let (actions, delivered) = (Actions::default(), Arc::new(Delivered::default()));
    let address = match key {
        "otlp" => otlp_sink::listen(&mut serving, Arc::clone(&delivered)).await?,
        _ => aws_sink::listen(&mut serving, Arc::clone(&actions)).await?,
    };
    let entries = entries.replace("ADDRESS", &address.to_string());
    let mut spec = AgentSpec::with_others("agent", "eu-central-1", &[(key, &entries)]);
    spec.environment = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        .map(|name| (name.to_owned(), "bench".to_owned()))
        .to_vec();
    let agent = Agent::start(lab, spec).await?;
    client::send(agent.grpc(), warm_up).await?;
    agent.drained(DRAINED_WITHIN).await?;
    let so_far = || {
        let of_otlp = delivered.so_far();
        let data = |action: &str| !action.contains("Create") && !action.contains("Retention");
        actions.lock().iter().filter(|(action, _)| data(action)).fold(
            Taken {
                calls: 0,
                items: of_otlp.0,
                bytes: of_otlp.1,
            },
            |sum, (_, taken)| Taken {
                calls: sum.calls + taken.calls,
                items: sum.items + taken.items,
                bytes: sum.bytes + taken.bytes,
            },
        )
    };
    let (before, warm) = (agent.process.cpu()?, so_far());
    client::send(agent.grpc(), load).await?;
    agent.drained(DRAINED_WITHIN).await?;
    let (after, taken) = (agent.process.cpu()?, so_far());
    let dropped = agent
        .metrics()
        .await?
        .sum("meridian_agent_dropped_items_total", &[("reason", "refused")]);
    ensure!(dropped == 0.0, "{dropped} items were refused by the far side");
    Ok(Cost {
        micros: (after.total() - before.total()).as_secs_f64() * 1e6 / items,
        peak_mib: agent.process.resident_bytes_peak()? as f64 / (1024.0 * 1024.0),
        taken: Taken {
            calls: taken.calls - warm.calls,
            items: taken.items - warm.items,
            bytes: taken.bytes - warm.bytes,
        },
    })
}
