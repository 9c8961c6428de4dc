//! The configuration taken anew while exchanges run: on SIGHUP, and on change of its file where that is switched on.
//!
//! Validated first, applied whole or not at all. Exchanges in flight keep what they began with. A change of what was made once
//! at the start, such as a socket, is refused with the names of its keys, so that what runs is always what one file says.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::watch, time::timeout};

use super::{
    StartError,
    assemble::{Assembly, Process},
};
use crate::{
    config::{LoadError, Sources, is_read_at_start, load_with, read_file},
    exchange::Current,
    secret::Secret,
    telemetry::{CONFIGURATION_TARGET, Metrics},
    watch::{User, Watched, Watching, Wish},
};

/// What is configured now, and how it is replaced.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) process: Process,
    pub(super) current: Current,
    /// Locked for a moment only, to take it or to replace it: files may hang, and whoever leaves must not wait for them.
    pub(super) assembly: Mutex<Arc<Assembly>>,
}

/// A configuration that was not taken over.
#[derive(Debug)]
enum Refused {
    /// It has mistakes.
    Mistakes(LoadError),
    /// It changes what is read at the start only: these keys.
    NeedsRestart(Vec<String>),
    /// Something that it names cannot be used.
    Unusable(StartError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mistakes(error) => error.fmt(f),
            Self::NeedsRestart(keys) => write!(
                f,
                "what changes {} needs a restart; restart the process, or put the former value back and reload",
                keys.join(", ")
            ),
            Self::Unusable(error) => error.fmt(f),
        }
    }
}

impl Configured {
    /// Takes over what `sources` say now, `text` being what stands in their file. Answers which keys have changed.
    fn reload(
        &self,
        sources: &Sources,
        text: Option<Result<Secret, String>>,
    ) -> Result<Vec<String>, Refused> {
        let loaded = load_with(sources, text).map_err(Refused::Mistakes)?;
        let former = self.assembly.lock().clone();
        let changed = former.loaded.effective.changes(&loaded.effective);
        let fixed: Vec<_> = (changed.iter().filter(|key| is_read_at_start(key)))
            .cloned()
            .collect();
        if !fixed.is_empty() {
            return Err(Refused::NeedsRestart(fixed));
        }
        let made = Assembly::make(&self.process, loaded, None, Some(&former));
        let made = Arc::new(made.map_err(Refused::Unusable)?);
        for warning in &made.loaded.warnings {
            if !former.loaded.warnings.contains(warning) {
                tracing::warn!(target: CONFIGURATION_TARGET, "{warning}");
            }
        }
        self.current.replace(made.proxy.clone());
        *self.assembly.lock() = made;
        Ok(changed)
    }
}

/// The configuration file, and whether it is to be taken anew now.
struct File {
    configured: Arc<Configured>,
    sources: Sources,
    on_change: bool,
    asked: Arc<Asked>,
    /// How often it had been asked for when the file was last read.
    reading: AtomicU64,
    runtime: Handle,
}

/// How often a reload was asked for, and how many of those have been dealt with: by what was read after they were asked.
#[derive(Debug, Default)]
struct Asked {
    times: AtomicU64,
    dealt_with: watch::Sender<u64>,
}

impl Asked {
    fn is_waiting(&self, time: u64) -> bool {
        *self.dealt_with.borrow() < time
    }

    async fn over(&self, time: u64) {
        let mut dealt_with = self.dealt_with.subscribe();
        // The sender lives in `self`, so it cannot be gone.
        let _over = dealt_with.wait_for(|dealt_with| *dealt_with >= time).await;
    }
}

impl File {
    fn dealt_with(&self) {
        let reading = self.reading.load(Ordering::Acquire);
        self.asked.dealt_with.send_replace(reading);
    }
}

impl User for File {
    fn read(&self) -> Result<Vec<Secret>, String> {
        let asked = self.asked.times.load(Ordering::Acquire);
        self.reading.store(asked, Ordering::Release);
        let Some(file) = &self.sources.file else {
            return Ok(Vec::new());
        };
        match read_file(file) {
            Ok(text) => Ok(vec![text]),
            Err(why) => Err(format!("{}: {why}", file.display())),
        }
    }

    fn take(&mut self, found: &[Secret]) -> Result<(), String> {
        let text = found.first().cloned().map(Ok);
        let changed = self
            .configured
            .reload(&self.sources, text)
            .map_err(|refused| refused.to_string())?;
        self.dealt_with();
        self.configured.process.metrics.reloaded(true);
        tracing::info!(changed = changed.join(", "), "configuration reloaded");
        let upstreams = self.configured.assembly.lock().proxy.tls.upstreams.clone();
        self.runtime.spawn(async move { upstreams.warm_up().await });
        Ok(())
    }

    fn complain(&mut self, what: &str) {
        self.dealt_with();
        self.configured.process.metrics.reloaded(false);
        tracing::error!("the configuration was not reloaded, the one before stays in use: {what}");
    }

    /// The file says again what is in use.
    fn recovered(&mut self) {
        let metrics = &self.configured.process.metrics;
        if self.on_change && metrics.last_reload_failed() {
            metrics.reloaded(true);
            tracing::info!("the configuration file says again what is in use");
        }
    }

    fn wish(&self) -> Wish {
        let asked = self.asked.times.load(Ordering::Acquire);
        match (self.asked.is_waiting(asked), self.on_change) {
            (true, _) => Wish::Everything,
            (false, true) => Wish::Changes,
            (false, false) => Wish::Nothing,
        }
    }
}

/// Nothing of a reload takes so long, unless a file system hangs.
const HANGS: Duration = Duration::from_secs(10);

/// Asks a proxy to take its configuration anew.
#[derive(Debug)]
pub(super) struct Reload {
    asked: Arc<Asked>,
    metrics: Arc<Metrics>,
    /// `None`: there is nothing that could be read again.
    watching: Option<Watching>,
}

impl Reload {
    /// Watches the file of `sources`, until the answer is dropped. To be called within the runtime.
    pub(super) fn of(configured: &Arc<Configured>, sources: Sources) -> Self {
        let (on_change, held) = {
            let assembly = configured.assembly.lock().clone();
            let loaded = &assembly.loaded;
            (loaded.config.reload_on_change, loaded.text.clone())
        };
        let asked = Arc::new(Asked::default());
        let path = sources.file.clone();
        let file = File {
            configured: configured.clone(),
            sources,
            on_change,
            asked: asked.clone(),
            reading: AtomicU64::new(0),
            runtime: Handle::current(),
        };
        let paths: Vec<&Path> = path.as_deref().into_iter().collect();
        let held = held.into_iter().collect();
        let watched = Watched::new(&paths, held, file);
        Self {
            asked,
            metrics: configured.process.metrics.clone(),
            watching: watched.map(|watched| Watching::over("configuration", vec![watched])),
        }
    }

    /// Has the configuration taken anew, in a moment: what comes of it is logged, and told by the metric. The answer is to be
    /// waited for, and is ready once that is over or hangs.
    pub(super) fn ask(&self) -> impl Future<Output = ()> + use<> {
        let time = self.watching.as_ref().map(|watching| {
            let time = self.asked.times.fetch_add(1, Ordering::AcqRel) + 1;
            watching.look_now();
            time
        });
        let (asked, metrics) = (self.asked.clone(), self.metrics.clone());
        async move {
            let Some(time) = time else {
                tracing::warn!(
                    "the configuration did not come from a file that could be read again, so it is not reloaded; restart to change it"
                );
                return;
            };
            if timeout(HANGS, asked.over(time)).await.is_err() {
                metrics.reloaded(false);
                tracing::error!(
                    "the reload has not ended after 10 s, the configuration before stays in use: somebody is still writing the file, or a file system hangs that the configuration or its secrets are on; see who has it open (lsof) and the mounts"
                );
            }
        }
    }
}
