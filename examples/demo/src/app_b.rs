//! App B: says which pod answered, and shows the request as it arrived, which is what one wants
//! behind an ingress.

use crate::http::{serve, text};
use ::http::StatusCode;
use std::error::Error;
use std::fmt::Write;

pub async fn run() -> Result<(), Box<dyn Error>> {
    let pod = std::env::var("HOSTNAME").unwrap_or_default();
    serve(move |request| {
        let mut body = format!("App B, served by {pod}\n{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            // Writing to a String cannot fail.
            let _ = writeln!(body, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        async move { text(StatusCode::OK, body) }
    })
    .await
}
