//! An agent made by hand that speaks the stream: for what no real agent does, such as a
//! clock that is minutes fast or a protocol of the future.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use meridian_proto::stream::aggregator_client::AggregatorClient;
use meridian_proto::stream::{
    AgentMessage, AggregatorMessage, Heartbeat, Hello, Welcome, agent_message, aggregator_message,
};
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::transport::Endpoint;

/// A stream that an aggregator has welcomed.
pub struct FakeAgent {
    outgoing: mpsc::Sender<AgentMessage>,
    incoming: Streaming<AggregatorMessage>,
}

/// A `Hello` of a new agent whose clock says `now_unix_nanos`.
pub fn hello(region: &str, node: &str, now_unix_nanos: u64) -> Hello {
    Hello {
        protocol: meridian_proto::PROTOCOL,
        agent_id: rand::random::<[u8; 16]>().to_vec().into(),
        region: region.to_owned(),
        cluster: "test".to_owned(),
        node: node.to_owned(),
        version: "by hand".to_owned(),
        started_unix_nanos: now_unix_nanos,
        now_unix_nanos,
        ..Hello::default()
    }
}

impl FakeAgent {
    /// Opens a stream and says hello; the error is how the aggregator refused it.
    pub async fn connect(aggregator: SocketAddr, hello: Hello) -> Result<(Self, Welcome)> {
        let channel = Endpoint::from_shared(format!("http://{aggregator}"))?
            .connect()
            .await?;
        let mut client = AggregatorClient::new(channel);
        let (outgoing, messages) = mpsc::channel(16);
        outgoing.send(message(agent_message::Kind::Hello(hello))).await?;
        let messages = futures::stream::unfold(messages, |mut messages| async {
            messages.recv().await.map(|message| (message, messages))
        });
        let mut incoming = client.deliver(messages).await?.into_inner();
        let first = incoming.message().await?.and_then(|message| message.kind);
        let Some(aggregator_message::Kind::Welcome(welcome)) = first else {
            anyhow::bail!("the first message is no Welcome: {first:?}");
        };
        Ok((Self { outgoing, incoming }, welcome))
    }

    /// Says that everything before `watermark_unix_nanos` has been sent.
    pub async fn heartbeat(&self, watermark_unix_nanos: u64) -> Result<()> {
        let now_unix_nanos = watermark_unix_nanos;
        let heartbeat = Heartbeat {
            watermark_unix_nanos,
            now_unix_nanos,
            ..Heartbeat::default()
        };
        self.send(agent_message::Kind::Heartbeat(heartbeat)).await
    }

    /// Sends any message.
    pub async fn send(&self, kind: agent_message::Kind) -> Result<()> {
        self.outgoing
            .send(message(kind))
            .await
            .context("the stream has ended")
    }

    /// Both directions, for who sends and hears at the same time.
    pub fn split(self) -> (mpsc::Sender<AgentMessage>, Streaming<AggregatorMessage>) {
        (self.outgoing, self.incoming)
    }

    /// The aggregator's next message; an error is how it ended the stream.
    pub async fn next(&mut self) -> Result<Option<AggregatorMessage>> {
        Ok(self.incoming.message().await?)
    }
}

/// A message of this kind.
pub fn message(kind: agent_message::Kind) -> AgentMessage {
    AgentMessage { kind: Some(kind) }
}
