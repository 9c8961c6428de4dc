//! Digests of bodies: of exchanges that are there at the same time, side by side.
//!
//! While others run, an exchange that has its body steps back once, so that those whose bodies are there too can come to the same point;
//! whichever goes on first makes the digests of as many as the processor can. Under load a digest is most of what a large body costs, and
//! side by side eight take two and a half times as long as one, or four twice as long (docs/performance.md).

use std::{
    cell::RefCell,
    iter::once,
    mem,
    ops::RangeInclusive,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::{
    signing::BodyDigest,
    telemetry::{Phase, Stopwatch},
};

/// Bodies of other sizes are digested alone: smaller ones are done in about the time that stepping back takes, and larger ones would have
/// small ones wait for them.
const SIZES: RangeInclusive<usize> = 4 * 1024..=256 * 1024;
/// With fewer exchanges running there cannot be as many bodies as are worth taking together.
const BUSY: usize = 3;

/// An exchange that waits for its digest.
struct Waiting {
    body: Bytes,
    digest: Mutex<Option<BodyDigest>>,
}

thread_local! {
    /// Weak, so that whoever is gone wants no digest and holds no body.
    static WAITING: RefCell<Vec<Weak<Waiting>>> = RefCell::default();
}

/// The digest of `body`, for one of `running` exchanges, in [`Phase::Sign`]; the time in which others go first is [`Phase::Queue`]'s.
pub(super) async fn digest(body: &Bytes, running: usize, stopwatch: &mut Stopwatch) -> BodyDigest {
    if !SIZES.contains(&body.len()) || running < BUSY || BodyDigest::at_once() == 1 {
        return BodyDigest::of(body);
    }
    let own = Arc::new(Waiting {
        body: body.clone(),
        digest: Mutex::default(),
    });
    WAITING.with_borrow_mut(|waiting| waiting.push(Arc::downgrade(&own)));
    stopwatch.enter(Phase::Queue);
    yield_now().await;
    stopwatch.enter(Phase::Sign);
    let made = own.digest.lock().take();
    made.unwrap_or_else(|| {
        let batch = batch(&own);
        let bodies: Vec<&[u8]> = batch.iter().map(|one| &*one.body).collect();
        let mut digests = BodyDigest::of_each(&bodies).into_iter();
        let first = digests.next().expect("its own is the first of the batch");
        for (other, digest) in batch[1..].iter().zip(digests) {
            *other.digest.lock() = Some(digest);
        }
        first
    })
}

/// `own`, and of the others on this thread those that have waited longest, as many as are digested at once. They wait no longer.
fn batch(own: &Arc<Waiting>) -> Vec<Arc<Waiting>> {
    WAITING.with_borrow_mut(|waiting| {
        waiting.retain(|one| one.as_ptr() != Arc::as_ptr(own));
        let mut waited = mem::take(waiting).into_iter();
        let others = waited.by_ref().filter_map(|one| one.upgrade());
        let batch = once(own.clone())
            .chain(others)
            .take(BodyDigest::at_once())
            .collect();
        *waiting = waited.collect();
        batch
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    /// More than are digested at once, of all kinds of lengths.
    fn bodies() -> Vec<Bytes> {
        let body = |i: u8| vec![i; usize::from(i) * 700].into();
        (0..40).map(body).collect()
    }

    async fn digested(body: Bytes, running: usize) -> BodyDigest {
        digest(&body, running, &mut Stopwatch::start(Instant::now())).await
    }

    fn wait(body: Bytes) -> Arc<Waiting> {
        let digest = Mutex::default();
        let one = Arc::new(Waiting { body, digest });
        WAITING.with_borrow_mut(|waiting| waiting.push(Arc::downgrade(&one)));
        one
    }

    #[tokio::test]
    async fn exchanges_that_come_together_each_get_the_digest_of_their_own_body() {
        let bodies = bodies();
        let digests = join_all(bodies.iter().map(|b| digested(b.clone(), bodies.len()))).await;
        for (body, digest) in bodies.iter().zip(digests) {
            assert_eq!(digest, BodyDigest::of(body));
        }
        WAITING.with_borrow(|waiting| assert!(waiting.is_empty()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn exchanges_that_change_threads_get_it_as_well() {
        let bodies = bodies();
        let digests = bodies.iter().cloned().map(|body| {
            tokio::spawn(async move { (digested(body.clone(), BUSY).await, BodyDigest::of(&body)) })
        });
        for done in join_all(digests).await {
            let (digest, expected) = done.expect("it does not panic");
            assert_eq!(digest, expected);
        }
    }

    #[test]
    fn whoever_goes_on_is_digested_with_those_that_have_waited_longest() {
        let all: Vec<_> = bodies()[..12].iter().cloned().map(wait).collect();
        let batch = batch(&all[11]);
        let expected = once(&all[11]).chain(&all).take(BodyDigest::at_once());
        assert!(batch.iter().map(Arc::as_ptr).eq(expected.map(Arc::as_ptr)));
        let left = 12 - batch.len();
        WAITING.with_borrow(|waiting| assert_eq!(waiting.len(), left));
    }

    #[tokio::test]
    async fn an_exchange_that_is_digested_by_another_does_not_digest_again() {
        if BodyDigest::at_once() == 1 {
            // Nobody waits on such a processor.
            return;
        }
        let (first, second) = (bodies().remove(30), bodies().remove(31));
        let mut stopwatch = Stopwatch::start(Instant::now());
        let mut waits = Box::pin(digest(&first, BUSY, &mut stopwatch));
        assert!(waits.as_mut().now_or_never().is_none());
        // The other one waits behind it, goes on before it, and leaves it what nobody else could.
        let other = wait(second);
        for one in &batch(&other)[1..] {
            *one.digest.lock() = Some(BodyDigest::of(b"of the other"));
        }
        assert_eq!(waits.await, BodyDigest::of(b"of the other"));
    }

    #[tokio::test]
    async fn an_exchange_that_ends_while_it_waits_leaves_nothing_behind() {
        let (gone, stays) = (bodies().remove(30), bodies().remove(31));
        let mut stopwatch = Stopwatch::start(Instant::now());
        let waits = digest(&gone, BUSY, &mut stopwatch).now_or_never();
        assert!(waits.is_none() || BodyDigest::at_once() == 1);
        assert!(gone.is_unique());
        assert_eq!(digested(stays.clone(), BUSY).await, BodyDigest::of(&stays));
        WAITING.with_borrow(|waiting| assert!(waiting.is_empty()));
    }

    #[tokio::test]
    async fn an_exchange_with_an_odd_size_or_without_company_waits_for_nobody() {
        let sized = |size| Bytes::from(vec![b'x'; size]);
        for (body, running) in [
            (sized(SIZES.start() - 1), 100),
            (sized(SIZES.end() + 1), 100),
            (sized(*SIZES.start()), BUSY - 1),
        ] {
            assert!(digested(body, running).now_or_never().is_some());
        }
    }
}
