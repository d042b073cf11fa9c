//! One question to one webhook.

use super::super::Request;
use super::super::matching::Match;
use super::Shown;
use super::hook::Hook;
use super::review::{self, Response};
use crate::metrics::Answered;
use crate::webhook::{CallError, Limits, Webhooks};
use meta::ApiError;

/// More than any object may have, its patch included.
const BYTES: usize = 8 << 20;

pub enum Failure {
    /// There is no usable answer; what then, the failure policy says. With the code that the call counts under.
    Call(u16, String),
    /// The webhook says no.
    Denied(ApiError),
    /// It cannot be asked, or the server cannot do what it wants.
    Server(ApiError),
}

impl Failure {
    pub fn answered(&self, hook: &Hook) -> Answered {
        match self {
            Self::Call(code, _) => Answered::Nothing { code: *code, rejected: !hook.ignores_failure },
            Self::Denied(error) => Answered::No(error.code),
            Self::Server(_) => Answered::Wrong,
        }
    }

    pub fn into_error(self, webhook: &str) -> ApiError {
        match self {
            Self::Call(_, why) => ApiError::internal(format!("failed calling webhook {webhook:?}: {why}")),
            Self::Denied(error) | Self::Server(error) => error,
        }
    }
}

pub async fn ask(
    webhooks: &Webhooks,
    hook: &Hook,
    request: &Request<'_>,
    found: &Match,
    shown: &Shown,
    mutating: bool,
) -> Result<Response, Failure> {
    if request.dry_run && !hook.dry_runs {
        return Err(Failure::Server(ApiError::bad_request(format!("admission webhook {:?} does not support dry run", hook.name))));
    }
    let Some(version) = hook.versions.iter().find(|v| matches!(v.as_str(), "v1" | "v1beta1")) else {
        let why = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
        return Err(Failure::Call(400, why.into()));
    };
    let Some(endpoint) = &hook.endpoint else {
        return Err(Failure::Call(400, "could not get REST client: webhook configuration must have either service or URL".into()));
    };
    let uid = uuid::Uuid::new_v4().to_string();
    let review = review::request(&uid, version, request, found, shown);
    let limits = Limits { timeout: hook.timeout, announced: true, bytes: BYTES };
    let failed = |error: CallError| {
        let code = match &error {
            CallError::Status(status) => status.code,
            CallError::Config(_) => 400,
            CallError::Transport(..) | CallError::Json(_) => 503,
        };
        Failure::Call(code, format!("failed to call webhook: {error}"))
    };
    let answer = webhooks.post(endpoint, &review, limits).await.map_err(failed)?;
    let response = review::response(&answer, version, &uid, mutating).map_err(|why| Failure::Call(503, why))?;
    for (key, text) in &response.annotations {
        request.warnings.annotate(format!("{}/{key}", hook.name), text.as_str());
    }
    request.warnings.extend(response.warnings.iter().cloned());
    if response.allowed { Ok(response) } else { Err(Failure::Denied(review::denial(&hook.name, response.result.as_ref()))) }
}
