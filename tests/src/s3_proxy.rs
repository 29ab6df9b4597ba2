//! A proxy before an S3 server that misbehaves as S3 and networks do: it throttles, is slow,
//! hangs, is away, or loses the answer to a put that took effect. It speaks HTTP/1.1, one
//! request per connection, and understands only where a request ends; signatures stay valid
//! because the header Host is passed on as it came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ports::free_address;

const HEAD_BYTES_MAX: usize = 64 * 1024;
const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code>\
    <Message>Please reduce your request rate.</Message></Error>";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Nothing,
    /// So many of a hundred requests are answered 503 SlowDown.
    SlowDown(u8),
    /// Every request takes so long.
    Slow(Duration),
    /// No request is answered until this is over.
    Stuck,
    /// Every connection is closed at once.
    Away,
    /// So many of a hundred puts take effect, and their connection is cut within the answer.
    PutAnswerLost(u8),
}

/// A running proxy.
pub struct S3Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    met: Arc<AtomicU64>,
    _acceptor: JoinSet<()>,
}

impl S3Proxy {
    /// Starts a proxy before `target`.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let address = free_address();
        let listener = TcpListener::bind(address).await?;
        let (fault, state) = watch::channel(Fault::Nothing);
        let met = Arc::new(AtomicU64::new(0));
        let line = Line {
            target,
            fault: state,
            met: Arc::clone(&met),
        };
        let mut acceptor = JoinSet::new();
        acceptor.spawn(accept(listener, line));
        Ok(Self {
            address,
            fault,
            met,
            _acceptor: acceptor,
        })
    }

    /// Where to connect instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this happens; answers how many requests met what was before.
    pub fn set(&self, fault: Fault) -> u64 {
        let met = self.met.swap(0, Ordering::Relaxed);
        self.fault.send_replace(fault);
        met
    }

    /// How many requests have met the present fault.
    pub fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
struct Line {
    target: SocketAddr,
    fault: watch::Receiver<Fault>,
    met: Arc<AtomicU64>,
}

async fn accept(listener: TcpListener, line: Line) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let line = line.clone();
        connections.spawn(async move {
            // Whoever hangs up early has his reasons.
            line.serve(client).await.ok();
        });
    }
}

impl Line {
    async fn serve(mut self, mut client: TcpStream) -> Result<()> {
        let fault = *self.fault.borrow_and_update();
        if fault == Fault::Away {
            self.count();
            return Ok(());
        }
        let request = Request::read(&mut client).await?;
        match fault {
            Fault::Nothing | Fault::Away => {}
            Fault::SlowDown(share) => {
                if self.hits(share) {
                    let answer = format!(
                        "HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\nconnection: close\r\n\
                         content-length: {}\r\n\r\n{SLOW_DOWN}",
                        SLOW_DOWN.len()
                    );
                    client.write_all(answer.as_bytes()).await?;
                    return Ok(());
                }
            }
            Fault::Slow(delay) => {
                self.count();
                tokio::time::sleep(delay).await;
            }
            Fault::Stuck => {
                self.count();
                self.fault.wait_for(|now| *now != Fault::Stuck).await?;
                return Ok(());
            }
            Fault::PutAnswerLost(share) => {
                if request.is_put() && self.hits(share) {
                    let answer = request.forward(self.target).await?;
                    client.write_all(&answer[..answer.len().min(20)]).await?;
                    return Ok(());
                }
            }
        }
        let answer = request.forward(self.target).await?;
        client.write_all(&answer).await?;
        Ok(client.shutdown().await?)
    }

    fn count(&self) {
        self.met.fetch_add(1, Ordering::Relaxed);
    }

    fn hits(&self, share: u8) -> bool {
        let hits = rand::random_range(0..100) < share;
        if hits {
            self.count();
        }
        hits
    }
}

/// A request as it came.
struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    async fn read(client: &mut TcpStream) -> Result<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if bytes.len() > HEAD_BYTES_MAX || client.read_buf(&mut bytes).await? == 0 {
                bail!("no whole head in {} bytes", bytes.len());
            }
        };
        let mut body = bytes.split_off(end);
        let head = String::from_utf8(bytes)?;
        let length = header(&head, "content-length").map_or(Ok(0), str::parse)?;
        while body.len() < length {
            if client.read_buf(&mut body).await? == 0 {
                bail!("the body ends early");
            }
        }
        Ok(Self { head, body })
    }

    fn is_put(&self) -> bool {
        self.head.starts_with("PUT ")
    }

    /// The whole answer, after which the server closes.
    async fn forward(&self, target: SocketAddr) -> Result<Vec<u8>> {
        let (first, rest) = self.head.split_once("\r\n").context("a request line")?;
        let mut server = TcpStream::connect(target).await?;
        let head = format!("{first}\r\nconnection: close\r\n{rest}");
        server.write_all(head.as_bytes()).await?;
        server.write_all(&self.body).await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
