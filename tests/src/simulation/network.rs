//! A network in memory: connections that delay, wait in a partition, are reset, or stay half
//! open when a machine dies. Nothing is lost or reordered within one: TCP sees to that.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use meridian_runtime::net::{Arrived, Network, Simulated};
use meridian_runtime::tasks::{self, Task};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{mpsc, watch};

use super::events::Events;
use super::plan::draw;

const BUFFER_BYTES: usize = 64 << 10;
const PACKET_BYTES: usize = 16 << 10;
const BACKLOG: usize = 128;
/// A packet that takes longer counts as delayed.
const SLOW: Duration = Duration::from_millis(50);

/// The network; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Net(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    seed: u64,
    latency: Duration,
    events: Events,
    state: Mutex<State>,
    blocked: watch::Sender<BTreeSet<(IpAddr, IpAddr)>>,
}

#[derive(Debug, Default)]
struct State {
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Arrived>>,
    wires: Vec<Wire>,
    made: u64,
    traffic: BTreeMap<IpAddr, Traffic>,
}

/// Packets to one machine, over all connections.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    sent: u64,
    /// The newest that arrived.
    arrived: u64,
}

#[derive(Debug)]
struct Wire {
    ends: [IpAddr; 2],
    /// Tells which end is dead.
    dead: watch::Sender<Option<IpAddr>>,
    _carrier: Task<()>,
}

/// The network as one machine sees it.
#[derive(Debug)]
struct Machine {
    net: Net,
    ip: IpAddr,
}

/// The address of a machine.
pub(super) fn ip(machine: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(
        10,
        0,
        0,
        u8::try_from(machine + 1).unwrap_or(u8::MAX),
    ))
}

impl Net {
    pub(super) fn new(seed: u64, latency: Duration, events: Events) -> Self {
        Self(Arc::new(Shared {
            seed,
            latency,
            events,
            state: Mutex::default(),
            blocked: watch::Sender::default(),
        }))
    }

    pub(super) fn of(&self, machine: usize) -> Network {
        Network::Simulated(Arc::new(Machine {
            net: self.clone(),
            ip: ip(machine),
        }))
    }

    /// Connects from one machine to a port.
    pub(super) async fn connect(&self, from: IpAddr, to: SocketAddr) -> io::Result<DuplexStream> {
        self.passable(from, to.ip()).await;
        let (near, near_wire) = duplex(BUFFER_BYTES);
        let (far, far_wire) = duplex(BUFFER_BYTES);
        let number = {
            let mut state = self.0.state.lock();
            state.made += 1;
            state.made
        };
        self.delay(number, 0).await;
        let listener = self.0.state.lock().listeners.get(&to).cloned();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = listener.ok_or_else(refused)?;
        listener
            .try_send((far, SocketAddr::new(from, 1)))
            .map_err(|_| refused())?;
        let dead = watch::Sender::new(None);
        let carrying = carry(
            self.clone(),
            number,
            [from, to.ip()],
            near_wire,
            far_wire,
            dead.subscribe(),
        );
        let wire = Wire {
            ends: [from, to.ip()],
            dead,
            _carrier: tasks::spawn("wire", carrying),
        };
        let mut state = self.0.state.lock();
        state.wires.retain(|wire| !wire._carrier.is_finished());
        state.wires.push(wire);
        Ok(near)
    }

    /// Nothing passes between these two, in either direction, until it is healed.
    pub(super) fn block(&self, left: usize, right: usize, is_blocked: bool) {
        self.0.blocked.send_modify(|blocked| {
            for pair in [(ip(left), ip(right)), (ip(right), ip(left))] {
                if is_blocked {
                    blocked.insert(pair);
                } else {
                    blocked.remove(&pair);
                }
            }
        });
    }

    /// Resets all connections of a machine.
    pub(super) fn cut(&self, machine: usize) {
        let ip = ip(machine);
        self.0.state.lock().wires.retain(|wire| {
            let is_cut = wire.ends.contains(&ip) && !wire._carrier.is_finished();
            if is_cut {
                self.0.events.struck("a connection is reset");
            }
            !wire.ends.contains(&ip)
        });
    }

    /// The machine's process is gone; its peers hear of it, or do not.
    pub(super) fn crash(&self, machine: usize, is_silent: bool) {
        let ip = ip(machine);
        self.0
            .state
            .lock()
            .listeners
            .retain(|address, _| address.ip() != ip);
        if !is_silent {
            return self.cut(machine);
        }
        for wire in &self.0.state.lock().wires {
            if wire.ends.contains(&ip) {
                self.0.events.struck("a connection stays half open");
                wire.dead.send_replace(Some(ip));
            }
        }
    }

    async fn passable(&self, from: IpAddr, to: IpAddr) {
        let mut blocked = self.0.blocked.subscribe();
        if blocked.borrow().contains(&(from, to)) {
            self.0.events.struck("a packet waits in a partition");
        }
        // The sender is in `self`.
        blocked
            .wait_for(|blocked| !blocked.contains(&(from, to)))
            .await
            .ok();
    }

    async fn delay(&self, wire: u64, packet: u64) {
        let most = u64::try_from(self.0.latency.as_micros()).unwrap_or(u64::MAX);
        let delay = Duration::from_micros(100 + draw(self.0.seed, &[1, wire, packet]) % most);
        if delay > SLOW {
            self.0.events.struck("a packet is delayed by more than 50 ms");
        }
        tokio::time::sleep(delay).await;
    }

    /// A packet leaves; returns its number among those to that machine.
    fn sent(&self, to: IpAddr) -> u64 {
        let mut state = self.0.state.lock();
        let traffic = state.traffic.entry(to).or_default();
        traffic.sent += 1;
        traffic.sent
    }

    fn arrived(&self, to: IpAddr, number: u64) {
        let mut state = self.0.state.lock();
        let traffic = state.traffic.entry(to).or_default();
        if number < traffic.arrived {
            self.0
                .events
                .struck("a packet is overtaken by one of another connection");
        }
        traffic.arrived = traffic.arrived.max(number);
    }
}

impl Simulated for Machine {
    fn bind(&self, address: SocketAddr) -> io::Result<(SocketAddr, mpsc::Receiver<Arrived>)> {
        let address = SocketAddr::new(self.ip, address.port());
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.net.0.state.lock().listeners.insert(address, sender);
        Ok((address, receiver))
    }

    fn connect(&self, authority: String) -> BoxFuture<'static, io::Result<DuplexStream>> {
        let (net, from) = (self.net.clone(), self.ip);
        async move {
            let address = authority.parse().map_err(io::Error::other)?;
            net.connect(from, address).await
        }
        .boxed()
    }
}

async fn carry(
    net: Net,
    number: u64,
    [near, far]: [IpAddr; 2],
    near_wire: DuplexStream,
    far_wire: DuplexStream,
    mut dead: watch::Receiver<Option<IpAddr>>,
) {
    let (mut near_read, mut near_write) = split(near_wire);
    let (mut far_read, mut far_write) = split(far_wire);
    let died = async {
        let dead = dead.wait_for(Option::is_some).await;
        dead.map_or(near, |dead| dead.unwrap_or(near))
    };
    let there = one_way(&net, number * 2, (near, far), &mut near_read, &mut far_write);
    let back = one_way(&net, number * 2 + 1, (far, near), &mut far_read, &mut near_write);
    let dead = tokio::select! {
        biased;
        dead = died => dead,
        _ = async { tokio::join!(there, back) } => return,
    };
    // The living end hears nothing, for ever.
    if dead == near {
        drop((near_read, near_write));
    } else {
        drop((far_read, far_write));
    }
    std::future::pending::<()>().await;
}

async fn one_way(
    net: &Net,
    number: u64,
    (from, to): (IpAddr, IpAddr),
    read: &mut ReadHalf<DuplexStream>,
    write: &mut WriteHalf<DuplexStream>,
) {
    let mut packet = vec![0; PACKET_BYTES];
    for count in 1.. {
        let bytes = read.read(&mut packet).await.unwrap_or(0);
        let sent = net.sent(to);
        net.passable(from, to).await;
        net.delay(number, count).await;
        net.arrived(to, sent);
        if bytes == 0 || write.write_all(&packet[..bytes]).await.is_err() {
            break;
        }
    }
    // The other end may be gone.
    write.shutdown().await.ok();
}
