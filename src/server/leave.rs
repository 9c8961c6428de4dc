//! The way out: nothing new is taken, what runs may finish, and whoever asks is told what is waited for.
//!
//! Nothing is cut off before its time: a call that moves money and is cut off has no outcome that anybody knows, and
//! orchestrators, terminals and the scripts between repeat a signal without meaning more by it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    config::Shutdown,
    lifecycle::{Lifecycle, Stage},
    listener::Deaf,
    telemetry::Metrics,
};

/// HTTP/2 callers are given this long to take what was written for them and to hear that the connection ends; so is whoever
/// posted `/quitquitquit`.
const FLUSH: Duration = Duration::from_secs(1);

/// Stops taking connections by `stop_callers` and `accepting`, and waits for what runs.
pub(super) async fn leave(
    lifecycle: &Lifecycle,
    metrics: &Metrics,
    shutdown: &Shutdown,
    stop_callers: watch::Sender<bool>,
    mut accepting: JoinSet<Result<(), Deaf>>,
) {
    let delay = delay(lifecycle, shutdown);
    tracing::info!(
        exchanges_in_flight = lifecycle.running(),
        money_exchanges = metrics.running_money(),
        delay_seconds = delay.as_secs_f64(),
        limit_seconds = shutdown.limit.as_secs_f64(),
        "draining"
    );
    // Over, or cut short by whoever knows that nobody comes any more.
    let _passed = timeout(delay, lifecycle.reached(Stage::Draining)).await;
    lifecycle.advance(Stage::Draining);
    // Whoever is accepting reads this; if nobody is, nothing needs to stop.
    let _told = stop_callers.send(true);
    while accepting.join_next().await.is_some() {}
    if timeout(shutdown.limit, lifecycle.idle()).await.is_err() {
        tracing::warn!(
            exchanges_in_flight = lifecycle.running(),
            money_exchanges = metrics.running_money(),
            "exchanges were cut off, because shutdown_limit passed before they ended; their outcome is not known: where money moves look at the command unresolved, and raise shutdown_limit"
        );
    }
    let _flushed_or_late = timeout(FLUSH, lifecycle.flushed()).await;
}

/// Says what is waited for, and for how long at most, each time that `asked` is notified.
pub(super) async fn tell(
    lifecycle: Lifecycle,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    asked: Arc<Notify>,
) {
    let mut until = Instant::now() + delay(&lifecycle, &shutdown) + shutdown.limit;
    let mut delayed = true;
    loop {
        tokio::select! {
            // The delay is over, or was cut short.
            () = lifecycle.reached(Stage::Draining), if delayed => {
                delayed = false;
                until = Instant::now() + shutdown.limit;
            }
            () = asked.notified() => tracing::info!(
                exchanges_in_flight = lifecycle.running(),
                money_exchanges = metrics.running_money(),
                seconds_left = until.saturating_duration_since(Instant::now()).as_secs_f64(),
                "still draining; a further signal does not hurry it: the process ends when these exchanges have ended, or are cut off when seconds_left have passed"
            ),
        }
    }
}

fn delay(lifecycle: &Lifecycle, shutdown: &Shutdown) -> Duration {
    match lifecycle.stage() {
        Stage::Draining => Duration::ZERO,
        Stage::Serving | Stage::Leaving => shutdown.delay,
    }
}
