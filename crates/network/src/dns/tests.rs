//! The server as its askers see it, over real sockets.

use super::server::{Resolver, listen, serve};
use super::upstream::Upstream;
use super::zone::tests::zone;
use super::*;
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

async fn start(zone: Zone, upstream: Vec<SocketAddr>) -> SocketAddr {
    let (udp, tcp) = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let at = udp.local_addr().unwrap();
    let resolver = Resolver { zone: Arc::new(RwLock::new(zone)), upstream: Upstream::fixed(upstream) };
    tokio::spawn(serve(udp, tcp, Arc::new(resolver), CancellationToken::new()));
    at
}

fn question(name: &str, of: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), of));
    query
}

async fn udp(at: SocketAddr, query: &Message) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query.to_vec().unwrap(), at).await.unwrap();
    let mut buffer = vec![0; 65535];
    let length = socket.recv(&mut buffer).await.unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(answer.metadata.id, query.metadata.id);
    answer
}

async fn tcp(at: SocketAddr, query: &Message) -> Message {
    let bytes = query.to_vec().unwrap();
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_u16(bytes.len() as u16).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

#[tokio::test]
async fn names_are_answered_with_authority_and_so_is_their_absence() {
    let at = start(zone(), Vec::new()).await;
    let answer = udp(at, &question("WEB.n.svc.cluster.local.", RecordType::A)).await;
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    assert_eq!(answer.answers[0].data, RData::A(A::new(10, 43, 0, 80)));
    assert_eq!(answer.answers[0].name.to_ascii(), "WEB.n.svc.cluster.local.");

    let answer = udp(at, &question("web.n.svc.cluster.local.", RecordType::AAAA)).await;
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
    let answer = udp(at, &question("gone.n.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);

    let answer = tcp(at, &question("_sql._tcp.db.n.svc.cluster.local.", RecordType::SRV)).await;
    assert_eq!((answer.answers.len(), answer.additionals.len()), (2, 2), "with the targets' addresses");
    let answer = udp(at, &question("out.n.svc.cluster.local.", RecordType::A)).await;
    let types: Vec<_> = answer.answers.iter().map(Record::record_type).collect();
    assert_eq!(types, [RecordType::CNAME, RecordType::A]);
    let answer = udp(at, &question("example.com.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "nobody to ask");
}

#[tokio::test]
async fn other_names_are_asked_of_the_nodes_resolvers() {
    let resolver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let upstream = resolver.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = resolver.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = query.clone().into_response();
            answer.add_answer(Record::from_rdata(query.queries[0].name().clone(), 60, RData::A(A::new(192, 0, 2, 9))));
            // An answer to something else first, as a forger would send it.
            let mut forged = answer.clone();
            forged.metadata.id = forged.metadata.id.wrapping_add(1);
            let _ = resolver.send_to(&forged.to_vec().unwrap(), from).await;
            let _ = resolver.send_to(&answer.to_vec().unwrap(), from).await;
        }
    });
    // The first resolver is dead, and says so.
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let at = start(zone(), vec![dead, upstream]).await;
    let answer = udp(at, &question("example.com.", RecordType::A)).await;
    assert_eq!(answer.answers[0].data, RData::A(A::new(192, 0, 2, 9)));
    let answer = udp(at, &question("far.n.svc.cluster.local.", RecordType::A)).await;
    let names: Vec<_> = answer.answers.iter().map(|r| r.name.to_ascii()).collect();
    assert_eq!(names, ["far.n.svc.cluster.local.", "far.example."]);
}

#[tokio::test]
async fn what_does_not_fit_is_cut_and_whole_over_tcp() {
    let mut zone = zone();
    let endpoints: Vec<_> = (1..=200).map(|i| serde_json::json!({"addresses": [format!("10.42.1.{i}")]})).collect();
    let slice = serde_json::json!({"metadata": {"name": "db-2"}, "addressType": "IPv4", "ports": [], "endpoints": endpoints});
    let slice: EndpointSlice = serde_json::from_value(slice).unwrap();
    zone.set_slice(("n".into(), "db".into()), "db-2", Some(Arc::new(slice)));
    let at = start(zone, Vec::new()).await;
    let query = question("db.n.svc.cluster.local.", RecordType::A);
    let plain = udp(at, &query).await;
    assert!(plain.metadata.truncation && plain.answers.len() > 10);
    let mut large = query.clone();
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    large.edns = Some(edns);
    let extended = udp(at, &large).await;
    assert!(extended.metadata.truncation && extended.edns.is_some() && extended.answers.len() > plain.answers.len());
    let whole = tcp(at, &query).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 202);
}

#[tokio::test]
async fn nonsense_gets_an_error_or_silence_and_never_ends_the_server() {
    let at = start(zone(), Vec::new()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(at).await.unwrap();
    socket.send(b"x").await.unwrap();
    // An answer is not answered.
    socket.send(b"\x00\x01\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00").await.unwrap();
    socket.send(b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff\xff").await.unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).await.unwrap();
    assert_eq!((buffer[1], buffer[3] & 0xf, length), (7, 1, 12), "a format error");
    let answer = udp(at, &question("web.n.svc.cluster.local.", RecordType::AXFR)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}
