//! Asking the node's resolvers about names outside the cluster. Their bytes are passed on as they are.

use parking_lot::Mutex;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const PATIENCE: Duration = Duration::from_secs(2);
/// Askers give up after five seconds, most of them; somebody should have answered by then.
const TRIES: usize = 3;
const PORT: u16 = 53;
const HEADER: usize = 12;

pub struct Upstream {
    resolv_conf: PathBuf,
    /// Our own addresses: a question sent there would come back.
    ourselves: Vec<IpAddr>,
    known: Mutex<(Option<SystemTime>, Vec<SocketAddr>)>,
}

impl Upstream {
    pub fn new(resolv_conf: PathBuf, ourselves: Vec<IpAddr>) -> Self {
        Self { resolv_conf, ourselves, known: Mutex::default() }
    }

    #[cfg(test)]
    pub fn fixed(servers: Vec<SocketAddr>) -> Self {
        Self { resolv_conf: PathBuf::new(), ourselves: Vec::new(), known: Mutex::new((None, servers)) }
    }

    /// Sends the query on; `None` when no resolver answered. Its id is replaced on the way, and put back.
    pub async fn ask(&self, query: &[u8], udp: bool) -> Option<Vec<u8>> {
        let servers = self.servers();
        for server in servers.iter().cycle().take(TRIES.max(servers.len()).min(servers.len() * 2)) {
            let asked = async { if udp { over_udp(*server, query).await } else { over_tcp(*server, query).await } };
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a resolver failed"),
                Err(_) => tracing::debug!(%server, "a resolver did not answer"),
            }
        }
        None
    }

    /// The resolvers of the file, read again when it was changed.
    fn servers(&self) -> Vec<SocketAddr> {
        let modified = std::fs::metadata(&self.resolv_conf).and_then(|m| m.modified()).ok();
        let mut known = self.known.lock();
        if modified.is_some() && known.0 != modified {
            let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
            *known = (modified, parse(&text, &self.ourselves));
        }
        known.1.clone()
    }
}

fn parse(text: &str, ourselves: &[IpAddr]) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if !ourselves.contains(&address) {
            servers.push(SocketAddr::new(address, PORT));
        }
    }
    servers
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    // A port of its own for each question, and connected: what comes from elsewhere is not seen.
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).await?;
    socket.connect(server).await?;
    let sent = with_id(query, rand::random())?;
    socket.send(&sent).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = buffer.get(..length).filter(|answer| answers(answer, &sent)) {
            return with_id(answer, id(query));
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let sent = with_id(query, rand::random())?;
    let length = u16::try_from(sent.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(&sent);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if !answers(&answer, &sent) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to another question"));
    }
    with_id(&answer, id(query))
}

fn id(message: &[u8]) -> [u8; 2] {
    message.first_chunk().copied().unwrap_or_default()
}

fn with_id(message: &[u8], id: [u8; 2]) -> io::Result<Vec<u8>> {
    let mut message = message.to_vec();
    *message.first_chunk_mut().ok_or(io::ErrorKind::UnexpectedEof)? = id;
    Ok(message)
}

/// The same id and question, and the bit that says "answer".
fn answers(answer: &[u8], sent: &[u8]) -> bool {
    if answer.len() < HEADER || id(answer) != id(sent) || answer[2] & 0x80 == 0 {
        return false;
    }
    // Some resolvers leave the question out of an error.
    if answer[4..6] == [0, 0] {
        return answer[3] & 0x0f != 0;
    }
    let question = question(sent).unwrap_or_default();
    answer.get(HEADER..HEADER + question.len()).is_some_and(|theirs| theirs.eq_ignore_ascii_case(question))
}

/// The first question's bytes: labels, type and class.
fn question(message: &[u8]) -> Option<&[u8]> {
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1 + length;
        match length {
            0 => return message.get(HEADER..at + 4),
            64.. => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_from_the_file_but_never_ourselves() {
        let text =
            "# a comment\nsearch example.com\nnameserver 10.43.0.10\nnameserver 192.0.2.1\n nameserver 2001:db8::1\nnameserver junk\n";
        let servers = parse(text, &["10.43.0.10".parse().unwrap()]);
        assert_eq!(servers, ["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()]);
    }

    #[test]
    fn an_answer_must_fit_the_question() {
        let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01";
        let mut answer = query.to_vec();
        assert!(!answers(&answer, query), "a question is no answer");
        answer[2] |= 0x80;
        assert!(answers(&answer, query));
        answer[13] = b'A';
        assert!(answers(&answer, query), "case may change");
        answer[13] = b'b';
        assert!(!answers(&answer, query));
        assert!(!answers(&answer[..11], query));
    }
}
