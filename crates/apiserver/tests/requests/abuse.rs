//! What hostile or broken clients send: each gets its answer or loses its connection, and everybody else is served.

use crate::support::*;
use crate::tls::*;
use apiserver::{Operations, body, listener::Limits};
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Nothing is asserted of how long things take; only that they end.
const END: Duration = Duration::from_secs(60);

async fn ends<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(END, future).await.expect("it does not end")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_and_the_next_one_is_not() {
    let (s, root) = listen(Operations::default(), Limits::default()).await;
    let large = format!(r#"{{"metadata":{{"name":"a"}},"data":{{"x":"{}"}}}}"#, "y".repeat(3 << 20));
    let (mut two, _running) = s.http2(&root).await;
    let (mut one, _connection) = s.http1(&root).await;
    for answer in
        [ends(two.send_request(request("POST", MAPS, large.clone()))).await, ends(one.send_request(request("POST", MAPS, large))).await]
    {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 413);
        let status = ends(status(answer)).await;
        assert_eq!(
            (&status["reason"], &status["message"]),
            (&json!("RequestEntityTooLarge"), &json!("Request entity too large: limit is 3145728"))
        );
    }
    let (mut again, _running) = s.http2(&root).await;
    assert_eq!(ends(again.send_request(request("POST", MAPS, r#"{"metadata":{"name":"a"}}"#))).await.unwrap().status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_headers_or_a_body_by_the_byte_is_not_waited_for() {
    let limits = Limits { headers: Duration::from_millis(300), handshake: Duration::from_millis(300), ..Limits::default() };
    let (s, root) = listen(Operations::default(), limits).await;
    // Not even a handshake.
    let mut silent = tokio::net::TcpStream::connect(s.address).await.unwrap();
    assert_eq!(ends(silent.read(&mut [0; 16])).await.unwrap_or(0), 0);
    let mut slow = s.connect(&root, HTTP1).await;
    slow.write_all(b"GET /version HTTP/1.1\r\nHost: localho").await.unwrap();
    let mut rest = Vec::new();
    // Closed, with or without a word.
    let _ = ends(slow.read_to_end(&mut rest)).await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    let (mut client, _running) = s.http2(&root).await;
    let (never, receiver) = tokio::sync::mpsc::channel::<Result<http_body::Frame<bytes::Bytes>, apiserver::BoxError>>(1);
    let mut pending = request("POST", &format!("{MAPS}?timeout=1s"), "");
    *pending.body_mut() = body::wrap(http_body_util::StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver)));
    let answer = ends(client.send_request(pending)).await.unwrap();
    assert_eq!(answer.status(), 504);
    assert_eq!(ends(status(answer)).await["reason"], "Timeout");
    drop(never);
    assert_eq!(ends(client.send_request(request("GET", "/version", ""))).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_is_forgotten() {
    let (s, root) = listen(Operations::default(), Limits::default()).await;
    for text in [
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer master\r\nContent-Length: 1000\r\n\r\n{\"metadata\"",
        "\0\0\0",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0",
    ] {
        let mut half = s.connect(&root, HTTP1).await;
        half.write_all(text.as_bytes()).await.unwrap();
        drop(half);
    }
    let (mut client, _running) = s.http1(&root).await;
    let maps = ends(client.send_request(request("GET", MAPS, ""))).await.unwrap();
    assert_eq!(ends(status(maps)).await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_have_a_limit() {
    let (s, root) = listen(Operations::default(), Limits::default()).await;
    let (mut two, _running) = s.http2(&root).await;
    let mut large = request("GET", "/version", "");
    large.headers_mut().insert("x-large", "x".repeat(100 << 10).parse().unwrap());
    match ends(two.send_request(large)).await {
        Ok(answer) => assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => assert!(error.is_canceled() || error.to_string().contains("http2"), "{error}"),
    }
    let mut one = s.connect(&root, HTTP1).await;
    let line = format!("x-large: {}\r\n", "x".repeat(1000));
    let _ = one.write_all(b"GET /version HTTP/1.1\r\nHost: localhost\r\n").await;
    for _ in 0..2000 {
        if one.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = ends(one.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let (mut again, _running) = s.http1(&root).await;
    assert_eq!(ends(again.send_request(request("GET", "/version", ""))).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_opened_and_reset_cost_their_connection_and_nobody_else() {
    let (s, root) = listen(Operations::default(), Limits::default()).await;
    let (mut other, _other) = s.http2(&root).await;
    let (mut hostile, _hostile) = s.http2(&root).await;
    for _ in 0..3000 {
        let mut started = Box::pin(hostile.send_request(request("GET", MAPS, "")));
        // Begun, then dropped, which resets the stream.
        let _ = futures::poll!(&mut started);
        drop(started);
        tokio::task::yield_now().await;
    }
    assert_eq!(ends(other.send_request(request("GET", "/version", ""))).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_documents_are_bad_requests() {
    let (s, _dir) = server().await;
    let deep = |open: &str| bytes::Bytes::from(open.repeat(200_000));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..30 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb += &format!("a{n}: &a{n} [{aliases}]\n");
    }
    let gzipped: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let protobuf = "application/vnd.kubernetes.protobuf";
    for (content, bytes) in [
        (JSON, deep("[")),
        (JSON, deep("{\"a\":")),
        ("application/yaml", deep("[")),
        ("application/yaml", deep("- ")),
        ("application/yaml", deep("{a: ")),
        ("application/yaml", bomb.into()),
        (JSON, bytes::Bytes::from_static(b"{\"metadata\":{\"name\":\"\xff\xfe\"}}")),
        ("application/yaml", bytes::Bytes::from_static(b"metadata: {name: \"\xff\xfe\"}")),
        (JSON, bytes::Bytes::from_static(b"{\"metadata\":{\"name\":\"a\"}}{}")),
        (JSON, bytes::Bytes::from_static(gzipped)),
        (protobuf, bytes::Bytes::from_static(b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
        (protobuf, deep("k8s\0\x0a")),
    ] {
        let start = bytes.slice(..bytes.len().min(20));
        let answer = ends(s.send("POST", MAPS, &[("content-type", content)], bytes)).await;
        assert_eq!(answer.status(), 400, "{content} {start:?}");
    }
    for kind in [MERGE, STRATEGIC, "application/json-patch+json", APPLY] {
        s.map("a").await;
        let answer = ends(s.send("PATCH", &format!("{MAPS}/a?fieldManager=m"), &[("content-type", kind)], deep("{\"a\":"))).await;
        assert_eq!(answer.status(), 400, "{kind}");
        s.delete(&format!("{MAPS}/a"), Value::Null).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_queries_of_any_kind_are_answered() {
    let (s, _dir) = server().await;
    s.map("a").await;
    for (uri, code) in [
        ("/api//v1/namespaces/default/configmaps/a", 404),
        ("//api/v1/namespaces/default/configmaps/a", 404),
        ("/api/v1/namespaces/default/configmaps/a/", 200),
        ("/api/v1/namespaces/%2e%2e/configmaps/a", 400),
        ("/api/v1/namespaces/default/configmaps/..", 400),
        ("/api/v1/namespaces/default/configmaps/x%2Fa", 400),
        ("/api/v1/namespaces/default%2Fconfigmaps/configmaps/a", 400),
        ("/api/v1/namespaces/default/configmaps/%zz", 400),
        ("/api/v1/namespaces/default/configmaps/%ff%fe", 404),
        ("/../../etc/passwd", 404),
        ("/api/v1/../v1/pods", 404),
        ("/api/v1/namespaces/default/configmaps?limit=nonsense", 422),
        ("/api/v1/namespaces/default/configmaps?limit=-1", 422),
        ("/api/v1/namespaces/default/configmaps?continue=nonsense", 400),
        ("/api/v1/namespaces/default/configmaps?labelSelector=%ff%fe%3D", 400),
        ("/api/v1/namespaces/default/configmaps?fieldSelector=%00", 400),
        ("/api/v1/namespaces/default/configmaps?resourceVersion=-3", 422),
        ("/api/v1/namespaces/default/configmaps?timeout=soon", 400),
        ("/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=soon", 422),
        ("/api/v1/namespaces/default/configmaps?&&&==&=a", 200),
    ] {
        let answer = ends(s.get(uri)).await;
        assert_eq!(answer.code, code, "{uri}: {}", answer.body);
        assert!(code == 200 || answer.body["kind"] == "Status", "{uri}: {}", answer.body);
    }
    let long = format!("{MAPS}/{}", "x".repeat(60_000));
    assert_eq!(ends(s.get(&long)).await.code, 404);
    assert_eq!(ends(s.call("BREW", MAPS, JSON, Value::Null)).await.code, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_are_compressed_for_those_who_take_it() {
    let (s, _dir) = server().await;
    let gzip = [("accept-encoding", "gzip")];
    s.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"x": "y".repeat(200 << 10)}})).await.expect(201);
    let plain = s.send("GET", MAPS, &[], String::new()).await;
    assert!(!plain.headers().contains_key("content-encoding"));
    let packed = s.send("GET", MAPS, &gzip, String::new()).await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let short = s.send("GET", "/api/v1/namespaces/default", &gzip, String::new()).await;
    assert!(!short.headers().contains_key("content-encoding"));
    // Nobody else's page may read an answer.
    let origin = s.send("GET", MAPS, &[("origin", "https://elsewhere")], String::new()).await;
    assert!(!origin.headers().contains_key("access-control-allow-origin"));
}
