//! Listens over UDP and TCP. What the zone knows is answered at once; what must be forwarded waits in a
//! task of its own, as many as there are places for.

use super::answer::{self, Step};
use super::upstream::Upstream;
use super::zone::Zone;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use parking_lot::RwLock;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const FORWARDED_AT_ONCE: usize = 1000;
const CONNECTIONS_AT_ONCE: usize = 256;
const TCP_IDLE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(500);
const LARGEST_QUERY: usize = 4096;

pub struct Resolver {
    pub zone: Arc<RwLock<Zone>>,
    pub upstream: Upstream,
}

enum Outcome {
    Ready(Vec<u8>),
    /// Has to ask others.
    Pending(Box<Pending>),
    Nothing,
}

struct Pending {
    query: Message,
    /// An answer that lacks the records of this question.
    partial: Option<(Message, Query)>,
}

/// Answers at `at` until `stop`; an address that cannot be had yet is tried again.
pub async fn run(at: SocketAddr, resolver: Arc<Resolver>, stop: CancellationToken) {
    let mut said = false;
    let (udp, tcp) = loop {
        match listen(at).await {
            Ok(sockets) => break sockets,
            Err(error) => {
                if !said {
                    tracing::warn!(%at, %error, "the cluster's DNS cannot listen yet");
                }
                said = true;
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
            return;
        }
    };
    serve(udp, tcp, resolver, stop).await;
}

pub async fn listen(at: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind(at).await?;
    // With port 0 (tests) both must end up on one.
    let tcp = TcpListener::bind(udp.local_addr()?).await?;
    Ok((udp, tcp))
}

pub async fn serve(udp: UdpSocket, tcp: TcpListener, resolver: Arc<Resolver>, stop: CancellationToken) {
    let over_udp = serve_udp(Arc::new(udp), resolver.clone());
    let over_tcp = serve_tcp(tcp, resolver);
    tokio::select! {
        () = over_udp => {}
        () = over_tcp => {}
        () = stop.cancelled() => {}
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, resolver: Arc<Resolver>) {
    let places = Arc::new(Semaphore::new(FORWARDED_AT_ONCE));
    let mut tasks = tokio::task::JoinSet::new();
    let mut buffer = vec![0; LARGEST_QUERY];
    loop {
        while tasks.try_join_next().is_some() {}
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An asker that is gone is told to us here as well; only a lasting error is worth a pause.
                if error.kind() != io::ErrorKind::ConnectionRefused {
                    tracing::debug!(%error, "receiving failed");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                continue;
            }
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        match resolver.begin(bytes, true) {
            Outcome::Ready(answer) => {
                let _ = socket.send_to(&answer, from).await;
            }
            Outcome::Pending(pending) => {
                // Over the limit the question is dropped, and asked again by whoever still waits.
                let Ok(place) = places.clone().try_acquire_owned() else { continue };
                let (resolver, socket, bytes) = (resolver.clone(), socket.clone(), bytes.to_vec());
                tasks.spawn(async move {
                    if let Some(answer) = resolver.finish(pending, &bytes, true).await {
                        let _ = socket.send_to(&answer, from).await;
                    }
                    drop(place);
                });
            }
            Outcome::Nothing => {}
        }
    }
}

async fn serve_tcp(listener: TcpListener, resolver: Arc<Resolver>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_AT_ONCE));
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "accepting failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let resolver = resolver.clone();
        tasks.spawn(async move {
            // The asker may leave at any point; there is nobody to tell.
            let _ = converse(stream, &resolver).await;
            drop(place);
        });
    }
}

async fn converse(mut stream: TcpStream, resolver: &Resolver) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let read = async {
            let mut query = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut query).await?;
            Ok::<_, io::Error>(query)
        };
        let query = tokio::time::timeout(TCP_IDLE, read).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let answer = match resolver.begin(&query, false) {
            Outcome::Ready(answer) => Some(answer),
            Outcome::Pending(pending) => resolver.finish(pending, &query, false).await,
            Outcome::Nothing => return Ok(()),
        };
        let Some(answer) = answer else { return Ok(()) };
        let mut framed = u16::try_from(answer.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
        framed.extend_from_slice(&answer);
        stream.write_all(&framed).await?;
    }
}

impl Resolver {
    fn begin(&self, bytes: &[u8], udp: bool) -> Outcome {
        let query = match Message::from_vec(bytes) {
            Ok(query) => query,
            Err(_) => return malformed(bytes),
        };
        let step = answer::step(&self.zone.read(), &query);
        match step {
            Step::Answer(message) => answer::encode(&query, message, udp).map_or(Outcome::Nothing, Outcome::Ready),
            Step::Forward => Outcome::Pending(Box::new(Pending { query, partial: None })),
            Step::Complete(message, name) => {
                let asked = query.queries.first().map_or(RecordType::A, Query::query_type);
                Outcome::Pending(Box::new(Pending { query, partial: Some((message, Query::query(name, asked))) }))
            }
            Step::Ignore => Outcome::Nothing,
        }
    }

    async fn finish(&self, pending: Box<Pending>, bytes: &[u8], udp: bool) -> Option<Vec<u8>> {
        let Pending { query, partial } = *pending;
        let failed = || answer::encode(&query, answer::refusal(&query, ResponseCode::ServFail), udp);
        let Some((mut message, rest)) = partial else {
            return match self.upstream.ask(bytes, udp).await {
                Some(answer) => Some(answer),
                None => failed(),
            };
        };
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(rest);
        let found = self.upstream.ask(&question.to_vec().ok()?, udp).await.and_then(|bytes| Message::from_vec(&bytes).ok());
        let Some(found) = found else { return failed() };
        message.metadata.response_code = found.metadata.response_code;
        message.metadata.truncation = found.metadata.truncation;
        message.metadata.authoritative = false;
        message.answers.extend(found.answers);
        message.authorities.extend(found.authorities);
        answer::encode(&query, message, udp)
    }
}

/// A question that cannot be read is told so, if at least its id can, and if it is no answer.
fn malformed(bytes: &[u8]) -> Outcome {
    match bytes {
        [a, b, flags, _, ..] if bytes.len() >= 12 && flags & 0x80 == 0 => {
            Outcome::Ready(vec![*a, *b, 0x80 | (flags & 0x79), 0x01, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        _ => Outcome::Nothing,
    }
}
