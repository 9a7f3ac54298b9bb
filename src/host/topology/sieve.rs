//! A stream of which only some events are wanted.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use super::pipeline::Feed;
use crate::event::Event;
use crate::stream::Item;

/// Passes on notices, and the events that `keep` wants. A batch of which nothing is left is passed on empty: it has to be
/// answered, or its place in the queue would never become free.
pub(super) struct Sieve<F, K> {
    pub(super) feed: F,
    pub(super) keep: K,
}

impl<F, K> Stream for Sieve<F, K>
where
    F: Feed,
    K: FnMut(&Event) -> bool + Send + Unpin + 'static,
{
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let Self { feed, keep } = self.get_mut();
        Pin::new(feed).poll_next(cx).map(|item| match item {
            Some(Item::Batch(mut batch)) => {
                batch.events.retain(|event| keep(event));
                Some(Item::Batch(batch))
            }
            other => other,
        })
    }
}

impl<F, K> Feed for Sieve<F, K>
where
    F: Feed,
    K: FnMut(&Event) -> bool + Send + Unpin + 'static,
{
    type Answer = F::Answer;

    fn answer(&self) -> F::Answer {
        self.feed.answer()
    }

    fn close(self, deadline: Duration) -> impl Future<Output = usize> + Send {
        self.feed.close(deadline)
    }
}
