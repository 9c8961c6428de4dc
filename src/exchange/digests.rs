//! Digests of bodies: of exchanges that are there at the same time, side by side.
//!
//! An exchange that has its body steps back once, so that others whose bodies are there too can come to the same point; the first that goes
//! on makes the digests of all. Under load a digest is most of what a large body costs, and this most of it less
//! (docs/performance.md).

use std::{
    cell::RefCell,
    mem,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::signing::BodyDigest;

/// A smaller body is digested in less time than stepping back takes.
const LARGE: usize = 1024;
/// With fewer exchanges at work there is nobody to wait for: digests are made side by side from three on.
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

/// The digest of `body`, for one of `running` exchanges.
pub(super) async fn digest(body: &Bytes, running: usize) -> BodyDigest {
    if body.len() < LARGE || running < BUSY || BodyDigest::at_once() == 1 {
        return BodyDigest::of(body);
    }
    let own = Arc::new(Waiting {
        body: body.clone(),
        digest: Mutex::default(),
    });
    WAITING.with_borrow_mut(|waiting| waiting.push(Arc::downgrade(&own)));
    yield_now().await;
    let made = own.digest.lock().take();
    made.unwrap_or_else(|| {
        digest_waiting();
        let made = own.digest.lock().take();
        // On a runtime of several threads it may stand in the list of another one.
        made.unwrap_or_else(|| BodyDigest::of(body))
    })
}

/// Makes the digests of those that have waited longest, as many as are made at once.
fn digest_waiting() {
    let batch: Vec<Arc<Waiting>> = WAITING.with_borrow_mut(|waiting| {
        let mut there = mem::take(waiting).into_iter();
        let batch = there
            .by_ref()
            .filter_map(|one| one.upgrade())
            .take(BodyDigest::at_once())
            .collect();
        *waiting = there.collect();
        batch
    });
    let bodies: Vec<&[u8]> = batch.iter().map(|one| &*one.body).collect();
    for (one, digest) in batch.iter().zip(BodyDigest::of_each(&bodies)) {
        *one.digest.lock() = Some(digest);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    /// More than are digested at once, of all kinds of lengths.
    fn bodies() -> Vec<Bytes> {
        let body = |i: u8| vec![i; usize::from(i) * 700].into();
        (0..40).map(body).collect()
    }

    #[tokio::test]
    async fn exchanges_that_come_together_each_get_the_digest_of_their_own_body() {
        let bodies = bodies();
        let digests = join_all(bodies.iter().map(|body| digest(body, bodies.len()))).await;
        for (body, digest) in bodies.iter().zip(digests) {
            assert_eq!(digest, BodyDigest::of(body));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn exchanges_that_change_threads_get_it_as_well() {
        let bodies = bodies();
        let digests = bodies.iter().cloned().map(|body| {
            tokio::spawn(async move { (digest(&body, BUSY).await, BodyDigest::of(&body)) })
        });
        for done in join_all(digests).await {
            let (digest, expected) = done.expect("it does not panic");
            assert_eq!(digest, expected);
        }
    }

    #[tokio::test]
    async fn an_exchange_that_ends_while_it_waits_leaves_nothing_behind() {
        let (gone, stays) = (bodies().remove(30), bodies().remove(31));
        assert!(digest(&gone, BUSY).now_or_never().is_none() || BodyDigest::at_once() == 1);
        assert!(gone.is_unique());
        assert_eq!(digest(&stays, BUSY).await, BodyDigest::of(&stays));
        WAITING.with_borrow(|waiting| assert!(waiting.is_empty()));
    }

    #[tokio::test]
    async fn an_exchange_with_a_small_body_or_without_company_waits_for_nobody() {
        let (small, large) = (Bytes::from_static(b"{}"), bodies().remove(30));
        assert!(digest(&small, 100).now_or_never().is_some());
        assert!(digest(&large, BUSY - 1).now_or_never().is_some());
    }
}
