//! Where there is no inotify nothing is told of files: they are looked at every second.

use std::{
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use super::{Location, drain, wait_for};

/// Knows of nothing but the byte that comes by `woken`.
pub(super) struct Told {
    woken: Option<UnixStream>,
}

impl Told {
    pub(super) fn of<'a>(
        _files: impl Iterator<Item = &'a Location>,
        woken: Option<UnixStream>,
    ) -> Self {
        Self { woken }
    }

    pub(super) fn watch(&mut self) {}

    pub(super) fn wait(&mut self, patience: Duration) {
        let woken = self.woken.as_ref().map(|woken| woken as &dyn AsFd);
        let sources: Vec<&dyn AsFd> = woken.into_iter().collect();
        wait_for(&sources, patience);
        self.hear();
    }

    pub(super) fn hear(&mut self) -> bool {
        self.woken.as_ref().is_some_and(drain)
    }

    pub(super) fn is_written(&self, _path: &Path) -> bool {
        false
    }
}
