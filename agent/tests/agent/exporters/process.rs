//! The whole agent in this process: built from a configuration, fed over HTTP, drained.

use std::time::Duration;

use meridian_agent::app::Agent;
use meridian_agent::config::Config;
use meridian_runtime::clock::Clock;
use meridian_runtime::config::Document;
use meridian_runtime::shutdown::Shutdown;
use meridian_runtime::tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::fake::Fake;
use super::rig::{eventually, logs};

fn config(directory: &std::path::Path, fake: &Fake) -> Config {
    let text = format!(
        "
region: eu-central-1
cluster: prod-eu
node: node-1
receivers: {{ otlp: {{ grpc: 127.0.0.1:0, http: 127.0.0.1:0 }} }}
spool: {{ path: {} }}
exporters: {{ aggregator: {{ endpoint: http://{}, batch_linger: 10m }} }}
admin: {{ listen: 127.0.0.1:0 }}
",
        directory.display(),
        fake.address
    );
    Document::parse("agent.yaml", &text, &|_| None)
        .and_then(Config::read)
        .expect("no faults")
}

/// One HTTP/1.1 exchange on a connection of its own; the answer with its head.
pub async fn exchange(address: std::net::SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the agent listens");
    let head = format!(
        "{head} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(body).await.expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_ready_takes_logs_and_delivers_them_at_its_end() {
    let fake = Fake::start(&[]).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let agent = Agent::start(config(directory.path(), &fake), Clock::system())
        .await
        .expect("the agent starts");
    let (addresses, spool) = (agent.addresses(), agent.spool().clone());
    let shutdown = std::sync::Arc::new(Shutdown::manual());
    let requested = std::sync::Arc::clone(&shutdown);
    let running = tasks::spawn("agent", async move { agent.run(&requested).await });

    eventually("a heartbeat", || fake.seen.lock().heartbeats > 0).await;
    let ready = exchange(addresses.admin, "GET /readyz", &[]).await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let accepted = exchange(addresses.http, "POST /v1/logs", &logs(42)).await;
    assert!(accepted.starts_with("HTTP/1.1 200"), "{accepted}");
    let text = exchange(addresses.admin, "GET /metrics", &[]).await;
    assert!(text.contains("meridian_agent_accepted_items_total{receiver=\"otlp\",signal=\"logs\"} 42"));
    assert!(text.contains("meridian_agent_pending_items{exporter=\"aggregator\",signal=\"logs\"} 42"));
    assert_eq!(fake.seen.lock().rows(), 0, "the batch still lingers");

    shutdown.request();
    let ended = tokio::time::timeout(Duration::from_secs(20), running).await;
    ended.expect("in time").expect("no panic").expect("a clean end");
    let goodbyes = fake.seen.lock().goodbyes.clone();
    assert_eq!((fake.seen.lock().rows(), goodbyes), (42, vec![0]));
    assert_eq!(spool.pending("aggregator").items, 0);
    TcpStream::connect(addresses.http)
        .await
        .expect_err("nobody listens any more");
}
