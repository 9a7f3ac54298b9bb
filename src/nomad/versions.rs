//! The versions of a job, with what each has changed.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Client;
use super::request::Query;
use crate::changes::{self, JobVersion};
use crate::error::{Error, ErrorKind};

impl Client {
    /// The versions of a job that Nomad still has, newest first. Needs `read-job` in the namespace, as the job's events do.
    ///
    /// Asks the leader: the version of an event that has just come is not known yet to a server that lags.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or the answer is longer than its limit.
    pub(crate) async fn job_versions(
        &self,
        endpoint: usize,
        namespace: &str,
        job_id: &str,
    ) -> Result<Vec<JobVersion>, Error> {
        // An ID may have blanks, slashes and question marks.
        let job_id = utf8_percent_encode(job_id, NON_ALPHANUMERIC);
        let mut query = Query::new(&format!("/v1/job/{job_id}/versions"));
        query.add("diffs", "true");
        query.add("namespace", namespace);
        if let Some(region) = &self.settings.region {
            query.add("region", region);
        }
        let (body, _) = self.read_list(endpoint, &query.finish()).await?;
        changes::read(&body).ok_or_else(|| {
            Error::new(
                ErrorKind::List,
                format!(
                    "what {} answers is no list of versions",
                    self.name(endpoint)
                ),
            )
        })
    }
}
