//! Accepting connections, and what becomes of each after a request.
//!
//! All connections belong to one set of tasks: dropping the accepting task closes them, whatever they are doing.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    State,
    receive::{Next, receive},
    wire::Wire,
};

/// How long a connection may ask for nothing. nginx's default; what Ingo's gateway does is not documented.
const IDLE: Duration = Duration::from_secs(75);
/// Connections open at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 4096;
/// How long a client may take to read an answer after which the connection is closed.
const LINGER: Duration = Duration::from_secs(2);

/// Serves `listener` for as long as it is polled.
pub(super) async fn accept(listener: TcpListener, state: Arc<State>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    let mut connection = 0;
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted; raise the limit on open files (ulimit -n)");
                // Out of file descriptors, for instance: trying at once again would only burn time.
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        connection += 1;
        let state = state.clone();
        open.spawn(async move {
            let _place = place;
            converse(&state, stream, connection).await;
        });
        // Those that have ended need not be kept.
        while open.try_join_next().is_some() {}
    }
}

async fn converse(state: &State, stream: TcpStream, connection: u64) {
    // Small writes must arrive as they are written; without it a dribbled answer comes in lumps.
    let _set = stream.set_nodelay(true);
    let mut wire = Wire::new(stream, state.body_bytes);
    while let Ok(Ok(true)) = timeout(IDLE, wire.begun()).await {
        match receive(state, &mut wire, connection).await {
            Next::Keep => {}
            Next::Close => {
                let _closed_or_late = timeout(LINGER, wire.close()).await;
                return;
            }
            Next::CloseIdle(after) => {
                sleep(after).await;
                return;
            }
            Next::Reset => {
                wire.reset();
                return;
            }
        }
    }
}
