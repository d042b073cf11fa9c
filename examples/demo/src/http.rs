//! The HTTP server both applications stand on: requests go to one function, SIGTERM ends it once
//! the requests under way are answered.

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub type Answer = Response<Full<Bytes>>;

pub fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(::http::header::CONTENT_TYPE, ::http::HeaderValue::from_static(content_type));
    response
}

pub fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.into())
}

/// Serves on `$PORT` (8080) until SIGTERM.
pub async fn serve<F, Fut>(handle: F) -> Result<(), Box<dyn Error>>
where
    F: Fn(Request<Incoming>) -> Fut + Clone + 'static,
    Fut: Future<Output = Answer> + 'static,
{
    let port: u16 = std::env::var("PORT").ok().map_or(Ok(8080), |p| p.parse())?;
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    let mut stop = signal(SignalKind::terminate())?;
    let graceful = GracefulShutdown::new();
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(error) => {
                            eprintln!("accept: {error}");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            continue;
                        }
                    },
                    _ = stop.recv() => break,
                };
                let handle = handle.clone();
                let service = hyper::service::service_fn(move |request| {
                    let answer = handle(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let builder = auto::Builder::new(LocalExecutor);
                let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
                tokio::task::spawn_local(async move {
                    // A client that goes away mid-request is its own affair.
                    let _ = connection.await;
                });
            }
        })
        .await;
    println!("stopping");
    local.run_until(async { tokio::time::timeout(Duration::from_secs(10), graceful.shutdown()).await }).await?;
    Ok(())
}

/// Everything runs on the one thread, so nothing needs to be `Send`.
#[derive(Clone)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
