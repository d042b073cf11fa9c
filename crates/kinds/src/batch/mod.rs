//! batch/v1: work that ends.

mod cron_job;
mod job;
mod job_spec;
mod job_status;
pub mod schedule;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(cron_job::CronJob), Arc::new(job::Job)]
}
