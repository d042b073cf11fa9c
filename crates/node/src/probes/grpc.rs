//! `grpc.health.v1.Health/Check`.

use super::Outcome;
use std::time::Duration;
use tonic::transport::Endpoint;
use tonic::{Code, Request};

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

pub async fn check(address: &str, service: &str, limit: Duration) -> Outcome {
    let timed_out = || {
        Outcome::Failure(format!("timeout: failed to connect service {address:?} within {}s: context deadline exceeded", limit.as_secs()))
    };
    tokio::time::timeout(limit, call(address, service)).await.unwrap_or_else(|_| timed_out())
}

async fn call(address: &str, service: &str) -> Outcome {
    let endpoint = match Endpoint::from_shared(format!("http://{address}")) {
        Ok(endpoint) => endpoint,
        Err(error) => return Outcome::Unknown(error.to_string()),
    };
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => return Outcome::Failure(format!("error: failed to connect service at {address:?}: {error}")),
    };
    let mut client = tonic::client::Grpc::new(channel);
    if let Err(error) = client.ready().await {
        return Outcome::Failure(format!("error: failed to connect service at {address:?}: {error}"));
    }
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    match client.unary(Request::new(HealthCheckRequest { service: service.to_string() }), path, codec).await {
        Ok(answer) if answer.get_ref().status == SERVING => Outcome::Success,
        Ok(answer) => {
            let status =
                ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"].get(usize::try_from(answer.get_ref().status).unwrap_or(0));
            Outcome::Failure(format!("service unhealthy (responded with {:?})", status.unwrap_or(&"UNKNOWN")))
        }
        Err(status) if status.code() == Code::Unimplemented => Outcome::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            status.message()
        )),
        Err(status) => Outcome::Failure(format!("error: health rpc probe failed: {status}")),
    }
}
