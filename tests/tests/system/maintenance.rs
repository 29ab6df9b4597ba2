//! Merging, vacuum and cleaning in haste, by two aggregators on one store, while an agent moves
//! between them and another program reads an older version. That they also survive kill -9 is
//! in `crash`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use system_tests::agent::{Agent, AgentSpec};
use system_tests::aggregator::{Aggregator, AggregatorSpec};
use system_tests::damage::data_files;
use system_tests::lab;
use system_tests::load::{Load, exactly_once, stored};
use system_tests::peers;
use system_tests::proxy::Proxy;
use system_tests::wait::eventually;

const WITHIN: Duration = Duration::from_secs(90);

async fn merges(aggregators: [&Aggregator; 2]) -> Result<f64> {
    let mut sum = 0.0;
    for aggregator in aggregators {
        let metrics = aggregator.metrics().await?;
        sum += metrics.sum("meridian_aggregator_merges_total", &[("signal", "spans")]);
    }
    Ok(sum)
}

#[test]
fn two_aggregators_that_merge_and_clean_one_store_undo_nothing_and_an_older_reader_goes_on() {
    lab::run_heavy(|lab| async move {
        let mut spec = AggregatorSpec::new("first", &["eu"]).with_hasty_maintenance("20s");
        spec.store_url = format!("file://{}", lab.path("shared.store").display());
        spec.commit_interval = "500ms".to_owned();
        let first = Aggregator::start(&lab, spec.clone()).await?;
        spec.name = "second".to_owned();
        let second = Aggregator::start(&lab, spec).await?;
        let proxy = Proxy::start(first.ingest()).await?;
        let agent = Agent::start(&lab, AgentSpec::new("agent", "eu", proxy.address())).await?;
        let load = Load::start(agent.http(), 2, Duration::from_millis(20));
        first.answers().number("SELECT count(*) AS n FROM spans").await?;
        eventually(WITHIN, "a first merge", || async {
            ensure!(merges([&first, &second]).await? >= 1.0);
            Ok(())
        })
        .await?;

        let table = lab.path("shared.store/spans");
        let (ready, go) = (lab.path("ready"), lab.path("go"));
        let arguments = [&table, &ready, &go].map(|path| path.display().to_string());
        let arguments = arguments.each_ref().map(String::as_str);
        let reader = peers::python(&lab, "read_an_older_version.py", &arguments, WITHIN);
        let meanwhile = async {
            eventually(WITHIN, "the reader's beginning", || async {
                ensure!(ready.exists());
                Ok(())
            })
            .await?;
            let before = merges([&first, &second]).await?;
            proxy.pass(second.ingest());
            eventually(WITHIN, "three more merges", || async {
                ensure!(merges([&first, &second]).await? >= before + 3.0);
                Ok(())
            })
            .await?;
            proxy.pass(first.ingest());
            Ok::<_, anyhow::Error>(std::fs::write(&go, "")?)
        };
        let (printed, ()) = tokio::try_join!(reader, meanwhile)?;
        let read: Value = serde_json::from_str(printed.lines().last().context("an answer")?)?;
        ensure!(
            read["replaced"].as_u64() > Some(0),
            "nothing was replaced: {read}"
        );
        for rows in ["deltalake", "reopened", "duckdb"] {
            ensure!(read[rows] == read["expected"], "{rows}: {read}");
        }
        ensure!(read["newest"].as_u64() > read["expected"].as_u64(), "{read}");

        let told = load.finish().await?;
        agent.drained(Duration::from_secs(60)).await?;
        for aggregator in [&first, &second] {
            let answers = aggregator.answers();
            eventually(WITHIN, "both see all", || async {
                exactly_once(&told, &stored(&answers).await?)
            })
            .await?;
        }
        eventually(WITHIN, "the replaced files are vacuumed", || async {
            let files = data_files(&table)?.len();
            ensure!(files <= 12, "{files} files are there");
            Ok(())
        })
        .await?;
        exactly_once(&told, &stored(&first.answers()).await?)
    });
}
