//! Worker threads, each with a runtime of its own: a connection stays on the thread that accepted it, and so do the connections
//! to Ingo that its exchanges use.
//!
//! Sharing work between threads costs each wake-up of a task more than it saves here, where a task is an exchange of 50 µs
//! (docs/performance.md). What exchanges share is shared by all lanes: budgets, turns, keys, metrics.

use std::{
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use tokio::{
    runtime::{Builder, Handle, RuntimeFlavor},
    sync::oneshot,
};

use crate::{allocator, upstream::pool_apart};

/// The threads beside the one that runs the server. They end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    handles: Vec<Handle>,
    _run: Vec<oneshot::Sender<()>>,
}

impl Lanes {
    /// Starts what is missing to `threads`. None where the server's own runtime has several threads already.
    pub(super) fn beside_this_one(threads: usize) -> Self {
        let mut lanes = Self::default();
        if Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread {
            return lanes;
        }
        for number in 1..threads {
            match lane(number) {
                Ok((handle, run)) => {
                    lanes.handles.push(handle);
                    lanes._run.push(run);
                }
                Err(error) => {
                    tracing::error!(%error, running = number, "the system refused a worker thread, so fewer run than threads says; raise the limit on threads (ulimit -u, TasksMax, pids.max)");
                    break;
                }
            }
        }
        lanes
    }

    /// The runtimes to serve on, besides the server's own.
    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

fn lane(number: usize) -> io::Result<(Handle, oneshot::Sender<()>)> {
    let (tell, told) = sync_channel(1);
    let (run, over) = oneshot::channel();
    thread::Builder::new()
        .name(format!("lane-{number}"))
        .spawn(move || drive(number, &tell, over))?;
    let handle = told
        .recv()
        .map_err(|_| io::Error::other("the thread ended"))??;
    Ok((handle, run))
}

fn drive(number: usize, tell: &SyncSender<io::Result<Handle>>, over: oneshot::Receiver<()>) {
    pool_apart(number);
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever waits for it is still there: it waits.
            let _told = tell.send(Err(error));
            return;
        }
    };
    let _told = tell.send(Ok(runtime.handle().clone()));
    runtime.spawn(allocator::give_back());
    // Dropped or not, it is over.
    let _over = runtime.block_on(over);
    runtime.shutdown_background();
}
