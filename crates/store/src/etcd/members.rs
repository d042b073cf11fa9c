//! The members of an etcd, one channel each: which to ask, and what a failure means.
//!
//! A member that cannot be reached, or is without a leader, has done nothing, so the next is asked. Where a member
//! fell silent after it was asked, reads are repeated elsewhere; what becomes of a write is its caller's to find out.

use super::EtcdConfig;
use crate::Error;
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a request may take, all attempts together. etcd itself gives up on a request after 7 s.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// How long one member may be silent about a question that another can answer.
const ATTEMPT: Duration = Duration::from_millis(2500);
/// Between two rounds over all members. An election takes a second or two.
const ROUND: Duration = Duration::from_millis(100);

pub struct Members {
    members: Vec<(String, Client)>,
    current: AtomicUsize,
}

/// Why a request to one member failed.
pub enum Failure {
    /// Nothing has happened, and it can be asked of another.
    NotDone(Error),
    /// It may have happened.
    Unknown(Error),
    /// An answer.
    Refused(Error),
}

impl Failure {
    pub fn error(self) -> Error {
        let (Self::NotDone(error) | Self::Unknown(error) | Self::Refused(error)) = self;
        error
    }
}

impl Members {
    pub async fn new(config: &EtcdConfig) -> Result<Self, Error> {
        if config.endpoints.is_empty() {
            return Err(Error::Other("no etcd endpoint is named".into()));
        }
        let mut members = Vec::new();
        for endpoint in &config.endpoints {
            // A member without a leader refuses at once, rather than being silent about what the others decide.
            let mut options = ConnectOptions::new()
                .with_connect_timeout(Duration::from_secs(2))
                .with_keep_alive(Duration::from_secs(3), Duration::from_secs(3))
                .with_keep_alive_while_idle(true)
                .with_require_leader(true);
            if endpoint.starts_with("https://") {
                let mut tls = TlsOptions::new();
                if let Some(ca) = &config.ca {
                    tls = tls.ca_certificate(Certificate::from_pem(ca));
                }
                if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
                    tls = tls.identity(Identity::from_pem(certificate, key));
                }
                options = options.with_tls(tls);
            }
            let client = Client::connect([endpoint], Some(options)).await;
            members.push((endpoint.clone(), client.map_err(|e| Error::Other(format!("{endpoint}: {e}")))?));
        }
        Ok(Self { members, current: AtomicUsize::new(0) })
    }

    pub fn all(&self) -> &[(String, Client)] {
        &self.members
    }

    /// The member to ask now, and its place.
    pub fn current(&self) -> (usize, Client) {
        let at = self.current.load(Ordering::Relaxed) % self.members.len();
        (at, self.members[at].1.clone())
    }

    /// The member at `at` has failed; the next is asked from now on, unless somebody has moved on already.
    pub fn avoid(&self, at: usize) {
        // Whoever comes second has nothing to do.
        let _ = self.current.compare_exchange(at, (at + 1) % self.members.len(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks what changes nothing, of one member after another.
    pub async fn read<T, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let end = Instant::now() + PATIENCE;
        for round in 1.. {
            let (at, client) = self.current();
            let attempt = (Instant::now() + ATTEMPT).min(end);
            let error = match timeout_at(attempt, ask(client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => match failure(&error) {
                    Failure::Refused(error) => return Err(error),
                    other => other.error(),
                },
                Err(_) => silent(&self.members[at].0),
            };
            self.avoid(at);
            self.pause(round).await;
            if Instant::now() >= end {
                return Err(error);
            }
        }
        Err(silent("it"))
    }

    /// Asks what may happen once: of another member only where it has certainly not happened yet.
    pub async fn once<T, F>(&self, ask: impl Fn(Client) -> F, end: Instant, attempt: Duration) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        for round in 1.. {
            let (at, client) = self.current();
            let failure = match timeout_at((Instant::now() + attempt).min(end), ask(client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => failure(&error),
                Err(_) => Failure::Unknown(silent(&self.members[at].0)),
            };
            if matches!(failure, Failure::Refused(_)) {
                return Err(failure);
            }
            self.avoid(at);
            if matches!(failure, Failure::Unknown(_)) || Instant::now() + ROUND >= end {
                return Err(failure);
            }
            self.pause(round).await;
        }
        Err(Failure::Unknown(silent("it")))
    }

    /// Each member is asked once before anybody waits.
    async fn pause(&self, round: usize) {
        if round.is_multiple_of(self.members.len()) {
            sleep(ROUND).await;
        }
    }
}

fn silent(endpoint: &str) -> Error {
    Error::Timeout(format!("etcdserver: request timed out ({endpoint} did not answer in time)"))
}

/// The texts are etcd's API (api/v3rpc/rpctypes/error.go); several share a code.
pub fn failure(error: &etcd_client::Error) -> Failure {
    let etcd_client::Error::GRpcStatus(status) = error else {
        return Failure::Unknown(Error::Unavailable(error.to_string()));
    };
    let text = status.message();
    let has = |what: &str| text.contains(what);
    if has("required revision has been compacted") {
        return Failure::Refused(Error::Compacted { requested: 0, oldest: 0 });
    }
    if has("required revision is a future revision") {
        return Failure::Refused(Error::FutureRevision(0));
    }
    if has("requested lease not found") {
        return Failure::Refused(Error::LeaseNotFound(0));
    }
    if has("database space exceeded") {
        return Failure::Refused(Error::NoSpace(text.into()));
    }
    if has("etcdserver: no leader") || has("too many requests") {
        return Failure::NotDone(Error::Unavailable(text.into()));
    }
    if never_sent(status) {
        return Failure::NotDone(Error::Unavailable(format!("etcd cannot be reached: {}", cause(status))));
    }
    match i32::from(status.code()) {
        // Cancelled, unknown, deadline exceeded, aborted, unavailable: also what a connection that broke after
        // the request was sent looks like.
        1 | 2 | 4 | 10 | 14 => Failure::Unknown(Error::Timeout(if text.is_empty() { cause(status) } else { text.into() })),
        // Internal is what HTTP/2 says of a stream that the other end cut.
        13 => Failure::Unknown(Error::Timeout(text.into())),
        _ => Failure::Refused(Error::Other(text.into())),
    }
}

/// The connection was refused, so nobody has heard the request.
fn never_sent(status: &tonic::Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.downcast_ref::<tonic::ConnectError>().is_some() {
            return true;
        }
        if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        source = error.source();
    }
    false
}

fn cause(status: &tonic::Status) -> String {
    let mut text = status.message().to_string();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}
