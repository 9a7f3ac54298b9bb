//! What the driver needs of Nomad, so that it can be driven without a socket.

use std::future::Future;

use bytes::Bytes;
use http_body_util::BodyExt;

use crate::changes::JobVersion;
use crate::error::{Error, ErrorKind, with_sources};
use crate::event::RaftIndex;
use crate::nomad::{self, Client, NamespaceList, Purpose, Subscription, Tables};
use crate::options::TopicFilter;

/// The agents of a region, by the number of their address.
pub(super) trait Agents: Send + Sync + 'static {
    type Body: Body;

    /// The address of that number, fit for logs.
    fn name(&self, endpoint: usize) -> String;

    /// Subscribes from `index` on, inclusive.
    fn subscribe(
        &self,
        endpoint: usize,
        index: RaftIndex,
    ) -> impl Future<Output = Result<Self::Body, Error>> + Send;

    /// The newest index of the subscribed topics.
    fn latest_index(
        &self,
        endpoint: usize,
    ) -> impl Future<Output = Result<RaftIndex, Error>> + Send;

    /// What the tables of these topics say.
    fn tables(
        &self,
        endpoint: usize,
        topics: &[TopicFilter],
    ) -> impl Future<Output = Result<Tables, Error>> + Send;

    /// The namespaces that the token can see.
    fn namespaces(
        &self,
        endpoint: usize,
    ) -> impl Future<Output = Result<NamespaceList, Error>> + Send;

    /// The versions of a job that Nomad still has, newest first.
    fn job_versions(
        &self,
        endpoint: usize,
        namespace: &str,
        job_id: &str,
    ) -> impl Future<Output = Result<Vec<JobVersion>, Error>> + Send;

    /// The same refusal, with its reason as far as that can be found out. Bounded in time.
    fn explain(
        &self,
        endpoint: usize,
        purpose: Purpose,
        refused: Error,
    ) -> impl Future<Output = Error> + Send;
}

/// The body of an accepted subscription.
pub(super) trait Body: Send {
    /// The next bytes; `None` at a clean end. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<Result<Bytes, Error>>> + Send;
}

impl Agents for Client {
    type Body = Subscription;

    fn name(&self, endpoint: usize) -> String {
        self.name(endpoint)
    }

    async fn subscribe(&self, endpoint: usize, index: RaftIndex) -> Result<Subscription, Error> {
        self.subscribe(endpoint, index).await
    }

    async fn latest_index(&self, endpoint: usize) -> Result<RaftIndex, Error> {
        self.latest_index(endpoint).await
    }

    async fn tables(&self, endpoint: usize, topics: &[TopicFilter]) -> Result<Tables, Error> {
        self.tables(endpoint, topics).await
    }

    async fn namespaces(&self, endpoint: usize) -> Result<NamespaceList, Error> {
        self.namespaces(endpoint).await
    }

    async fn job_versions(
        &self,
        endpoint: usize,
        namespace: &str,
        job_id: &str,
    ) -> Result<Vec<JobVersion>, Error> {
        self.job_versions(endpoint, namespace, job_id).await
    }

    async fn explain(&self, endpoint: usize, purpose: Purpose, refused: Error) -> Error {
        let facts = self.probe(endpoint, purpose).await;
        nomad::diagnose(&self.asked(), refused, &facts)
    }
}

impl Body for Subscription {
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        let frame = self.body.frame().await?;
        Some(match frame {
            Ok(frame) => Ok(frame.into_data().unwrap_or_default()),
            Err(error) => Err(Error::new(
                ErrorKind::Broken,
                format!("the connection broke: {}", with_sources(&error)),
            )),
        })
    }
}
