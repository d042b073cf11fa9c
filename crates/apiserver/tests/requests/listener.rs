use crate::support::*;
use crate::tls::*;
use apiserver::{Operations, body, listener::Limits};
use http::{Request, Version};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_served_and_end_with_the_server() {
    let (s, root) = listen(Operations::default(), Limits::default()).await;
    let stranger = |path: &str| Request::get(format!("https://localhost{path}")).header("host", "localhost").body(body::empty()).unwrap();
    let (mut two, first) = s.http2(&root).await;
    let answer = two.send_request(stranger("/version")).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    assert_eq!(two.send_request(stranger(MAPS)).await.unwrap().status(), 401);
    let (mut one, second) = s.http1(&root).await;
    let answer = one.send_request(stranger("/readyz")).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_11);
    assert_eq!(text(answer).await, "ok");

    s.server.stop.cancel();
    let ended = async { (s.serving.await, first.await, second.await) };
    assert!(tokio::time::timeout(Duration::from_secs(20), ended).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_fails_first_then_what_is_under_way_ends_in_good_order() {
    let operations = Operations { shutdown_delay: Duration::from_secs(1), ..Operations::default() };
    let (s, root) = listen(operations, Limits::default()).await;
    let (mut client, connection) = s.http2(&root).await;
    let watch = client.send_request(request("GET", &format!("{MAPS}?watch=1"), "")).await.unwrap();
    assert_eq!(watch.status(), 200);
    // Half of a request; the rest comes once the server is going.
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<http_body::Frame<bytes::Bytes>, apiserver::BoxError>>(4);
    let slow = body::wrap(http_body_util::StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver)));
    let mut pending = request("POST", MAPS, "");
    *pending.body_mut() = slow;
    let pending = tokio::spawn(client.send_request(pending));
    let part = |text: &'static str| Ok(http_body::Frame::data(bytes::Bytes::from_static(text.as_bytes())));
    sender.send(part("{\"metadata\": {")).await.unwrap();

    s.server.stop.cancel();
    let ready = client.send_request(request("GET", "/readyz", "")).await.unwrap();
    assert_eq!(ready.status(), 500);
    assert!(text(ready).await.contains("[-]shutdown failed"));
    assert_eq!(client.send_request(request("GET", "/livez", "")).await.unwrap().status(), 200);

    // A clean end, not an error: the client watches on, elsewhere.
    let end = tokio::time::timeout(Duration::from_secs(20), watch.into_body().collect()).await.unwrap();
    end.expect("the watch ends as a watch does");
    sender.send(part("\"name\": \"late\"}}")).await.unwrap();
    drop(sender);
    assert_eq!(pending.await.unwrap().unwrap().status(), 201);
    drop(client);
    let ended = async { (s.serving.await, connection.await) };
    assert!(tokio::time::timeout(Duration::from_secs(20), ended).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let (s, old) = listen(Operations::default(), Limits::default()).await;
    let (mut before, _running) = s.http1(&old).await;
    assert!(before.send_request(request("GET", "/version", "")).await.unwrap().into_body().collect().await.is_ok());
    let (new, config) = certificate();
    s.tls.store(Arc::new(config));
    assert!(try_connect(s.address, &old, HTTP1).await.is_err());
    let (mut after, _running) = s.http1(&new).await;
    for client in [&mut before, &mut after] {
        let answer = client.send_request(request("GET", "/version", "")).await.unwrap();
        assert_eq!(answer.status(), 200);
        text(answer).await;
    }
}
