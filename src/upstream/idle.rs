//! Connections that wait to be used again.
//!
//! Pingora's pool has a task for each that waits, and whoever takes one waits for that task to let go of it: two switches of tasks
//! and a timer for each exchange (docs/performance.md has figures). Here one is taken and put back at once, and a task for all
//! that one thread keeps of one endpoint, the sweeper, closes those that the upstream closed or that have waited too long.

use std::{
    cell::Cell,
    collections::VecDeque,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use pingora::protocols::Stream;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// The connections that wait, of every endpoint and thread.
#[derive(Debug)]
pub(super) struct Idle {
    /// How many may wait at once; those that have waited longest are closed first.
    most: usize,
    shelves: Mutex<Vec<Shelf>>,
}

/// Whose connections they are: an endpoint's, of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    endpoint: u64,
    lane: usize,
}

/// Those of one key: few enough to be looked through.
#[derive(Debug)]
struct Shelf {
    key: Key,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    /// Woken when something comes over one of them, from the moment that the sweeper first ran.
    sweeper: Option<Waker>,
}

#[derive(Debug)]
struct Waiting {
    stream: Stream,
    since: Instant,
    until: Instant,
}

thread_local! {
    /// Whose connections this thread uses.
    static LANE: Cell<usize> = const { Cell::new(0) };
}

/// Has this thread pool its connections apart from those of threads with other numbers. Threads that say nothing have 0.
///
/// Another thread's connection would wake that thread for each byte.
pub fn pool_apart(number: usize) {
    LANE.set(number);
}

impl Key {
    /// Of the endpoint with this number, on this thread.
    pub(super) fn of(endpoint: u64) -> Self {
        Self {
            endpoint,
            lane: LANE.get(),
        }
    }
}

impl Idle {
    /// None yet, and never more than `most`.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            shelves: Mutex::default(),
        })
    }

    /// The connection that was put back last under `key`, if one of them can still be used; and until when it can.
    pub(super) fn take(&self, key: Key, now: Instant) -> Option<(Stream, Instant)> {
        let mut shelves = self.shelves.lock();
        let shelf = shelves.iter_mut().find(|shelf| shelf.key == key)?;
        while let Some(mut waiting) = shelf.waiting.pop_back() {
            if now < waiting.until && is_quiet(&mut waiting.stream) {
                return Some((waiting.stream, waiting.until));
            }
        }
        None
    }

    /// Whether there is one under `key` that may be used.
    pub(super) fn has(&self, key: Key, now: Instant) -> bool {
        let shelves = self.shelves.lock();
        let waiting = shelves.iter().filter(|shelf| shelf.key == key);
        waiting
            .flat_map(|shelf| &shelf.waiting)
            .any(|w| now < w.until)
    }

    /// Keeps `stream`, which waits since `since`, under `key` for `timeout` at most.
    pub(super) fn put(
        self: &Arc<Self>,
        key: Key,
        stream: Stream,
        since: Instant,
        timeout: Duration,
    ) {
        let until = since + timeout;
        let mut waiting = Waiting {
            stream,
            since,
            until,
        };
        let mut shelves = self.shelves.lock();
        let known = shelves.iter().position(|shelf| shelf.key == key);
        let place = known.unwrap_or_else(|| {
            shelves.push(Shelf {
                key,
                waiting: VecDeque::new(),
                sweeper: None,
            });
            // Its own thread runs it: this one, whose runtime hears of what comes over its connections.
            tokio::spawn(sweep(Arc::downgrade(self), key, until));
            shelves.len() - 1
        });
        let shelf = &mut shelves[place];
        let quiet = match &shelf.sweeper {
            Some(sweeper) => poll_quiet(&mut waiting.stream, &mut Context::from_waker(sweeper)),
            // It looks at all of them when it first runs.
            None => true,
        };
        if !quiet {
            return;
        }
        shelf.waiting.push_back(waiting);
        let kept: usize = shelves.iter().map(|shelf| shelf.waiting.len()).sum();
        if kept > self.most {
            let since = |shelf: &Shelf| shelf.waiting.front().map(|waiting| waiting.since);
            let waits_longest = shelves
                .iter_mut()
                .filter(|shelf| !shelf.waiting.is_empty())
                .min_by_key(|shelf| since(shelf));
            let _closed = waits_longest.and_then(|shelf| shelf.waiting.pop_front());
        }
    }

    /// Closes what can be used no more under `key`, and answers until when the oldest of the others may wait; `None` where there
    /// is no other: then the key is forgotten.
    fn sweep(&self, key: Key, cx: &mut Context<'_>) -> Option<Instant> {
        let mut shelves = self.shelves.lock();
        let place = shelves.iter().position(|shelf| shelf.key == key)?;
        let shelf = &mut shelves[place];
        let now = Instant::now();
        shelf
            .waiting
            .retain_mut(|waiting| now < waiting.until && poll_quiet(&mut waiting.stream, cx));
        let Some(oldest) = shelf.waiting.front() else {
            shelves.swap_remove(place);
            return None;
        };
        shelf.sweeper = Some(cx.waker().clone());
        Some(oldest.until)
    }
}

/// Whether nothing came over `stream`, not even its end: an upstream says nothing unasked, so that what comes is no answer. The
/// task of `cx` is woken when something does.
fn poll_quiet(stream: &mut Stream, cx: &mut Context<'_>) -> bool {
    let mut byte = [0];
    let mut read = ReadBuf::new(&mut byte);
    Pin::new(stream).poll_read(cx, &mut read).is_pending()
}

/// The same, waking nobody, and without regard to what else the task has done: what looks quiet for want of turns is not.
pub(super) fn is_quiet(stream: &mut Stream) -> bool {
    let looking = poll_fn(|cx| match poll_quiet(stream, cx) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    });
    unconstrained(looking).now_or_never().is_none()
}

/// Closes what can be used no more under `key`, until nothing waits there. `until`: when to look for the first time.
async fn sweep(idle: Weak<Idle>, key: Key, until: Instant) {
    let mut sleep: Pin<&mut Sleep> = pin!(sleep_until(until));
    let sweeping = poll_fn(|cx| {
        // Without the pool, nothing waits.
        while let Some(oldest) = idle.upgrade().and_then(|idle| idle.sweep(key, cx)) {
            sleep.as_mut().reset(oldest);
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    });
    unconstrained(sweeping).await;
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const KEY: Key = Key {
        endpoint: 1,
        lane: 0,
    };

    /// A connection as Pingora makes them, and its other end.
    async fn connected() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let near = pingora::protocols::l4::stream::Stream::from(near.expect("connected"));
        (Box::new(near), far.expect("accepted").0)
    }

    /// Waits until our side has closed the connection.
    async fn closed(far: &mut TcpStream) {
        let mut byte = [0];
        let end = timeout(LONG, far.read(&mut byte)).await;
        assert!(matches!(end.expect("closed in time"), Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn what_was_put_back_last_is_taken_first_and_of_its_own_key() {
        let idle = Idle::new(8);
        let other = Key { lane: 1, ..KEY };
        let (first, _far_1) = connected().await;
        let (second, _far_2) = connected().await;
        let ids = (first.id(), second.id());
        assert!(idle.take(KEY, Instant::now()).is_none());
        idle.put(KEY, first, Instant::now(), LONG);
        idle.put(KEY, second, Instant::now(), LONG);
        assert!(idle.take(other, Instant::now()).is_none());
        assert_eq!(
            idle.take(KEY, Instant::now())
                .map(|(stream, _)| stream.id()),
            Some(ids.1)
        );
        assert_eq!(
            idle.take(KEY, Instant::now())
                .map(|(stream, _)| stream.id()),
            Some(ids.0)
        );
        assert!(idle.take(KEY, Instant::now()).is_none());
    }

    #[tokio::test]
    async fn what_the_upstream_closed_is_closed_at_once_and_what_it_said_something_on_is_not_used()
    {
        let idle = Idle::new(8);
        let (near, mut far) = connected().await;
        idle.put(KEY, near, Instant::now(), LONG);
        // The sweeper has run, and again only when woken.
        tokio::task::yield_now().await;
        far.shutdown().await.expect("shut down");
        closed(&mut far).await;

        let (near, mut far) = connected().await;
        idle.put(KEY, near, Instant::now(), LONG);
        far.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            .await
            .expect("written");
        closed(&mut far).await;
        assert!(idle.take(KEY, Instant::now()).is_none());
    }

    #[tokio::test]
    async fn what_has_waited_too_long_is_closed_by_itself_and_what_has_not_is_kept() {
        let idle = Idle::new(8);
        let (old, mut far_of_old) = connected().await;
        let (young, _far) = connected().await;
        let id = young.id();
        idle.put(KEY, old, Instant::now(), Duration::from_millis(1));
        idle.put(KEY, young, Instant::now(), LONG);
        closed(&mut far_of_old).await;
        assert_eq!(
            idle.take(KEY, Instant::now())
                .map(|(stream, _)| stream.id()),
            Some(id)
        );
        let (usable, _far) = connected().await;
        let id = usable.id();
        let (expired, mut far) = connected().await;
        idle.put(KEY, usable, Instant::now(), LONG);
        idle.put(KEY, expired, Instant::now(), Duration::ZERO);
        let taken = idle.take(KEY, Instant::now());
        assert_eq!(taken.map(|(stream, _)| stream.id()), Some(id));
        closed(&mut far).await;
    }

    #[tokio::test]
    async fn no_more_are_kept_than_may_be_and_the_oldest_goes_first() {
        let idle = Idle::new(1);
        let (first, mut far) = connected().await;
        let (second, _far) = connected().await;
        let id = second.id();
        idle.put(KEY, first, Instant::now(), LONG);
        let other = Key { endpoint: 2, ..KEY };
        // It may wait less long, and has waited less.
        idle.put(other, second, Instant::now(), LONG / 2);
        closed(&mut far).await;
        assert_eq!(
            idle.take(other, Instant::now())
                .map(|(stream, _)| stream.id()),
            Some(id)
        );
        let none = Idle::new(0);
        let (near, mut far) = connected().await;
        none.put(KEY, near, Instant::now(), LONG);
        closed(&mut far).await;
        assert!(none.take(KEY, Instant::now()).is_none());
    }

    #[tokio::test]
    async fn with_the_pool_its_connections_end() {
        let idle = Idle::new(8);
        let (near, mut far) = connected().await;
        idle.put(KEY, near, Instant::now(), LONG);
        drop(idle);
        closed(&mut far).await;
    }
}
