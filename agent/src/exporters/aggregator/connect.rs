//! Opens a stream: TCP, TLS where the URL says so, HTTP/2, Hello, Welcome; all of it within one
//! timeout. Hello is asked for only when there is somebody to say it to. It tries once; trying
//! again is the exporter's business.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use meridian_proto::stream::aggregator_client::AggregatorClient;
use meridian_proto::stream::{
    AgentMessage, AggregatorMessage, Hello, Welcome, agent_message, aggregator_message,
};
use meridian_runtime::config::HttpUrl;
use meridian_runtime::net::{Network, Simulated};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::error::SessionError;

/// Messages between the exporter and the connection: a heartbeat, a batch, and one of each that
/// the connection is writing. Payloads held here are beside the window's, and as bounded.
const OUTBOUND_MESSAGES_MAX: usize = 4;
/// A peer that is stopped or cut off is noticed after both of these.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What an aggregator sends is small: an Ack of three signals, a Welcome.
const INBOUND_BYTES_MAX: usize = 64 * 1024;

/// Both directions of an open stream.
#[derive(Debug)]
pub struct Stream {
    /// To the aggregator.
    pub outbound: mpsc::Sender<AgentMessage>,
    /// From the aggregator.
    pub inbound: Streaming<AggregatorMessage>,
}

/// Opens a stream and waits for the aggregator's Welcome.
pub async fn open(
    network: &Network,
    url: &HttpUrl,
    timeout: Duration,
    hello: impl Future<Output = Hello>,
) -> Result<(Stream, Welcome), SessionError> {
    let opened = async {
        let channel = connect(network, url, timeout)
            .await
            .map_err(SessionError::Connect)?;
        greet(channel, hello.await).await
    };
    tokio::time::timeout(timeout, opened)
        .await
        .unwrap_or(Err(SessionError::NoWelcome))
}

async fn connect(
    network: &Network,
    url: &HttpUrl,
    timeout: Duration,
) -> Result<Channel, tonic::transport::Error> {
    let mut endpoint = Endpoint::from_shared(url.as_str().to_owned())?
        .user_agent(concat!("meridian-agent/", env!("CARGO_PKG_VERSION")))?
        .connect_timeout(timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    if url.is_tls() {
        endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
    }
    match network {
        Network::System => endpoint.connect().await,
        Network::Simulated(network) => {
            let network = Arc::clone(network);
            let connector = move |uri| connect_simulated(Arc::clone(&network), uri);
            endpoint
                .connect_with_connector(tower::service_fn(connector))
                .await
        }
    }
}

async fn connect_simulated(network: Arc<dyn Simulated>, uri: Uri) -> io::Result<TokioIo<DuplexStream>> {
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    network.connect(authority).await.map(TokioIo::new)
}

async fn greet(channel: Channel, hello: Hello) -> Result<(Stream, Welcome), SessionError> {
    let (outbound, messages) = mpsc::channel(OUTBOUND_MESSAGES_MAX);
    let hello = AgentMessage {
        kind: Some(agent_message::Kind::Hello(hello)),
    };
    outbound.try_send(hello).map_err(|_| SessionError::Ended)?;
    let mut client = AggregatorClient::new(channel).max_decoding_message_size(INBOUND_BYTES_MAX);
    let mut inbound = client.deliver(ReceiverStream::new(messages)).await?.into_inner();
    loop {
        let message = inbound.message().await?.ok_or(SessionError::Ended)?;
        match message.kind {
            Some(aggregator_message::Kind::Welcome(welcome)) => {
                return Ok((Stream { outbound, inbound }, welcome));
            }
            Some(aggregator_message::Kind::Ack(_)) => return Err(SessionError::Unwelcome),
            // A later revision may have more to say before it.
            None => {}
        }
    }
}
