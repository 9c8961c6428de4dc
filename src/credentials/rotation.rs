//! What requests are signed with, replaced while they are being signed.
//!
//! A credential is a pair of username and secret. There is a current one and perhaps a next one, which becomes current when
//! Ingo has refused the one and accepted the other. A signature takes an atomic load and no lock; whoever changes something
//! takes a lock among themselves. Nothing here reads a file, and no secret is ever shown.

use std::{
    collections::BTreeMap,
    fmt, iter,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use parking_lot::Mutex;

use super::{
    files::File,
    read::{SecretError, header, read_secret},
};
use crate::{
    config::{Credentials, SecretSource},
    secret::Secret,
    signing::{Algorithm, BodyDigest, HeaderOrder, Signer, Unsigned},
    watch::{Watched, Watching},
};

/// Within which a refusal may be Ingo's not knowing a new secret yet.
const JUST_ROTATED: Duration = Duration::from_secs(120);

/// What a secret is for. The names stand in log lines and in `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// `credentials.secret_file`.
    Current,
    /// `credentials.next_secret_file`.
    Next,
    /// `credentials.api_key_file`.
    ApiKey,
}

impl Part {
    /// The key of the configuration that names its file.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Current => "credentials.secret_file",
            Self::Next => "credentials.next_secret_file",
            Self::ApiKey => "credentials.api_key_file",
        }
    }
}

/// A username and what its secret signs with. Told from another by its address: two of the same content are two.
#[derive(Debug)]
pub struct Credential {
    /// Signs requests; its key state is computed once.
    pub signer: Signer,
    username: String,
    /// Signs alike for whatever pair is the same one, however it is configured to sign.
    pair: Signer,
    part: Part,
    /// When it came in place of another; empty: it has been there from the start.
    taken: OnceLock<Instant>,
}

/// What a tenant signs with, and what may replace it.
pub struct Rotation {
    in_use: ArcSwap<InUse>,
    settings: Credentials,
    /// Whoever changes `in_use` holds this.
    book: Mutex<Book>,
    /// Read for every scrape, written once in a blue moon: no lock.
    loaded_at: AtomicU64,
    /// Goes on where this came in place of another.
    failures: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
struct InUse {
    current: Arc<Credential>,
    /// `None` where there is none, or where it was refused while the current one was accepted.
    next: Option<Arc<Credential>>,
    api_key: Option<HeaderValue>,
}

/// What is known besides.
#[derive(Debug, Default)]
struct Book {
    /// The files that were read, until someone watches them.
    files: Vec<(Part, SecretSource, Secret)>,
    /// What is wrong now, for people.
    troubles: BTreeMap<Part, String>,
    /// Whether what is configured as next is in use.
    switched: bool,
}

impl Rotation {
    /// Reads the secrets that `settings` names.
    ///
    /// # Errors
    /// The first [`SecretError`].
    pub fn load(settings: &Credentials) -> Result<Self, SecretError> {
        let mut files = Vec::new();
        let mut read = |part, source: &SecretSource| {
            let secret = read_secret(source)?;
            warn_of_carriage_return(part, &secret);
            files.push((part, source.clone(), secret.clone()));
            Ok::<_, SecretError>(secret)
        };
        let current = read(Part::Current, &settings.secret)?;
        let next = settings
            .next
            .as_ref()
            .map(|next| read(Part::Next, &next.secret))
            .transpose()?;
        let api_key = settings
            .api_key
            .as_ref()
            .map(|source| header(source, read(Part::ApiKey, source)?))
            .transpose()?;
        let in_use = InUse {
            current: Arc::new(Credential::new(settings, Part::Current, &current)),
            next: next.map(|secret| Arc::new(Credential::new(settings, Part::Next, &secret))),
            api_key,
        };
        Ok(Self::new(settings.clone(), in_use, files))
    }

    /// A credential with `secret`, which stays what it is: the secret that `settings` names is not read.
    pub fn fixed(settings: &Credentials, secret: &Secret) -> Self {
        let in_use = InUse {
            current: Arc::new(Credential::new(settings, Part::Current, secret)),
            next: None,
            api_key: None,
        };
        Self::new(settings.clone(), in_use, Vec::new())
    }

    fn new(settings: Credentials, in_use: InUse, files: Vec<(Part, SecretSource, Secret)>) -> Self {
        let rotation = Self {
            in_use: ArcSwap::from_pointee(in_use),
            settings,
            book: Mutex::new(Book {
                files,
                ..Book::default()
            }),
            loaded_at: AtomicU64::new(0),
            failures: Arc::default(),
        };
        rotation.loaded_now();
        rotation
    }

    /// Goes on where `former` stops: with its count of failures, and with what came in place of another.
    #[must_use]
    pub fn after(mut self, former: &Self) -> Self {
        self.failures = former.failures.clone();
        let current = &self.in_use.load().current;
        let former = former.in_use.load();
        let mut known = iter::once(&former.current).chain(&former.next);
        let taken = match known.find(|known| known.is_pair_of(current)) {
            Some(same) => same.taken.get().copied(),
            None => Some(Instant::now()),
        };
        if let Some(taken) = taken {
            current.taken.get_or_init(|| taken);
        }
        self
    }

    /// Takes over what becomes of the files, until the answer is dropped.
    pub fn watch(self: &Arc<Self>) -> Watching {
        let files = std::mem::take(&mut self.book.lock().files);
        let watched = files.into_iter().filter_map(|(part, source, held)| {
            // An environment variable does not change.
            let SecretSource::File(path) = source.clone() else {
                return None;
            };
            let rotation = self.clone();
            let file = File {
                rotation,
                part,
                source,
            };
            Watched::new(&[&path], vec![held], file)
        });
        Watching::over("secret-files", watched.collect())
    }

    /// What to sign with: `preferred`, where it is still one of those in use, and the current one otherwise.
    pub fn signing(&self, preferred: Option<&Arc<Credential>>) -> Arc<Credential> {
        let in_use = self.in_use.load();
        let next = in_use.next.as_ref();
        match (preferred, next) {
            (Some(preferred), Some(next)) if Arc::ptr_eq(preferred, next) => next.clone(),
            _ => in_use.current.clone(),
        }
    }

    /// The Banking Platform's `api_key`, hidden from debug output.
    pub fn api_key(&self) -> Option<HeaderValue> {
        self.in_use.load().api_key.clone()
    }

    /// What else to sign with where Ingo refused `refused`; `None` where there is nothing else.
    ///
    /// Where another exchange made the next one current meanwhile, or a file brought a new secret, that is it.
    pub fn instead_of(&self, refused: &Arc<Credential>) -> Option<Arc<Credential>> {
        let in_use = self.in_use.load();
        if Arc::ptr_eq(&in_use.current, refused) {
            in_use.next.clone()
        } else {
            Some(in_use.current.clone())
        }
    }

    /// Takes note that Ingo accepted a signature of `used`. If that is the next one, which is used only where the current one
    /// was refused, it becomes current; of many exchanges that find this out at once, one does it.
    pub fn accepted(&self, used: &Arc<Credential>) {
        let is_next = |in_use: &InUse| {
            let next = in_use.next.as_ref();
            next.is_some_and(|next| Arc::ptr_eq(next, used))
        };
        if !is_next(&self.in_use.load()) {
            return;
        }
        let mut book = self.book.lock();
        let in_use = self.in_use.load_full();
        if !is_next(&in_use) {
            return;
        }
        self.in_use.store(Arc::new(InUse {
            current: used.clone(),
            next: None,
            api_key: in_use.api_key.clone(),
        }));
        book.switched = used.part == Part::Next;
        tracing::warn!(
            refused_username = in_use.current.username,
            username = used.username,
            secret = used.part.key(),
            "Ingo refused the current credential and accepted the next one, which is current from now on; {}",
            remedy(used.part)
        );
    }

    /// The username that is signed with now, and the one that may replace it.
    pub fn usernames(&self) -> (String, Option<String>) {
        let in_use = self.in_use.load();
        let next = in_use.next.as_ref().map(|next| next.username.clone());
        (in_use.current.username.clone(), next)
    }

    /// When a secret was last taken, at the start or since, in seconds since 1970.
    pub fn loaded_at(&self) -> u64 {
        self.loaded_at.load(Ordering::Relaxed)
    }

    /// How often a file that changed could not be taken.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What is not as it should be, a line for each thing. Signing goes on all the same.
    pub fn troubles(&self) -> Vec<String> {
        let book = self.book.lock();
        let mut lines: Vec<String> = book.troubles.values().cloned().collect();
        if book.switched {
            lines.push(format!(
                "Ingo refused the current credential, and the next one is in use; {}",
                remedy(Part::Next)
            ));
        }
        lines
    }

    /// Signs with `secret` from now on, or sends it, as `part` says.
    pub(super) fn take(&self, part: Part, secret: Secret) -> Result<(), SecretError> {
        let api_key = match (part, &self.settings.api_key) {
            (Part::ApiKey, Some(source)) => Some(header(source, secret.clone())?),
            _ => None,
        };
        let mut book = self.book.lock();
        let mut in_use = InUse::clone(&self.in_use.load_full());
        match part {
            Part::Current | Part::Next => {
                let credential = Arc::new(Credential {
                    taken: Instant::now().into(),
                    ..Credential::new(&self.settings, part, &secret)
                });
                // After a switch the file of the former one brings what will be next.
                if in_use.current.part == part {
                    in_use.current = credential;
                } else {
                    in_use.next = Some(credential);
                }
            }
            Part::ApiKey => in_use.api_key = api_key,
        }
        self.in_use.store(Arc::new(in_use));
        book.troubles.remove(&part);
        drop(book);
        self.loaded_now();
        warn_of_carriage_return(part, &secret);
        tracing::info!(
            secret = part.key(),
            "a secret was loaded and is used from now on"
        );
        Ok(())
    }

    /// Takes note that what `part` needs could not be taken: counted, logged, and told to whoever asks for readiness.
    pub(super) fn trouble(&self, part: Part, what: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(secret = part.key(), "{what}; the one before stays in use");
        let line = format!("{what}; the one before stays in use");
        self.book.lock().troubles.insert(part, line);
    }

    /// Takes note that the file of `part` is as it was before there was trouble with it.
    pub(super) fn recovered(&self, part: Part) {
        if self.book.lock().troubles.remove(&part).is_some() {
            tracing::info!(
                secret = part.key(),
                "the file holds the secret in use again"
            );
        }
    }

    fn loaded_now(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        self.loaded_at
            .store(since.unwrap_or_default().as_secs(), Ordering::Relaxed);
    }
}

/// What to do after a switch to the credential of `part`.
fn remedy(part: Part) -> &'static str {
    match part {
        Part::Next => {
            "put it in credentials.username and credentials.secret_file, leave next_username and next_secret_file out until Ingo issues another, and reload"
        }
        Part::Current | Part::ApiKey => {
            "leave next_username and next_secret_file out, or put there what Ingo issues next, and reload"
        }
    }
}

/// Editors on Windows leave it at the end of a file, and then Ingo refuses each request: a hint that the 401 does not give.
fn warn_of_carriage_return(part: Part, secret: &Secret) {
    if secret.expose().ends_with(b"\r") {
        tracing::warn!(
            secret = part.key(),
            "the secret ends in a carriage return, as Windows ends lines, and is used with it; if none was issued, convert the file (dos2unix) or write it anew"
        );
    }
}

impl Credential {
    fn new(settings: &Credentials, part: Part, secret: &Secret) -> Self {
        let username = match (part, &settings.next) {
            (Part::Next, Some(next)) => &next.username,
            _ => &settings.username,
        };
        let signer = |algorithm, order| Signer::new(username, secret, algorithm, order);
        Self {
            signer: signer(settings.algorithm, settings.signed_headers.clone()),
            username: username.clone(),
            pair: signer(Algorithm::HmacSha512, HeaderOrder::ORDER_A),
            part,
            taken: OnceLock::new(),
        }
    }

    /// Whether both are the same username and secret: a key cannot be read back to compare it, so a fixed request is signed.
    fn is_pair_of(&self, other: &Self) -> bool {
        authorization(&self.pair) == authorization(&other.pair)
    }

    /// Whether it came in place of another so lately that Ingo may not know it yet.
    pub fn is_just_rotated(&self) -> bool {
        (self.taken.get()).is_some_and(|at| at.elapsed() < JUST_ROTATED)
    }
}

/// The `Authorization` of a fixed request: tells whose signature it is.
fn authorization(signer: &Signer) -> String {
    let request = Unsigned {
        method: "POST",
        target: b"/",
        digest: &BodyDigest::of(b"{}"),
    };
    signer.sign(request, UNIX_EPOCH).authorization
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("in_use", &self.in_use.load())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;
    use crate::config::NextCredential;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    /// A current and a next credential, and an `api_key`, from files that are gone when this is.
    fn pair() -> Rotation {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, name).expect("a file can be written there");
            SecretSource::File(path)
        };
        let settings = Credentials {
            username: "acme".to_owned(),
            secret: file("current"),
            algorithm: Algorithm::HmacSha512,
            signed_headers: HeaderOrder::ORDER_A,
            api_key: Some(file("key")),
            next: Some(NextCredential {
                username: "acme-next".to_owned(),
                secret: file("next"),
            }),
        };
        Rotation::load(&settings).expect("all files are there")
    }

    #[test]
    fn a_secret_that_is_taken_signs_from_then_on_and_only_its_own_part() {
        let rotation = pair();
        let before = rotation.signing(None);
        let next = rotation.instead_of(&before).expect("there is a next one");
        rotation
            .take(Part::Current, secret("new"))
            .expect("a secret");
        let after = rotation.signing(None);
        assert_ne!(authorization(&before.signer), authorization(&after.signer));
        assert!(authorization(&after.signer).contains(r#"username="acme""#));
        let still = rotation.instead_of(&after).expect("there is a next one");
        assert!(Arc::ptr_eq(&next, &still));
        // Whoever was refused with the former one has something better to sign with.
        let better = rotation.instead_of(&before).expect("the new one");
        assert!(Arc::ptr_eq(&better, &after));
    }

    #[test]
    fn what_was_preferred_and_is_no_longer_in_use_is_not_signed_with() {
        let rotation = pair();
        let current = rotation.signing(None);
        let next = rotation.instead_of(&current).expect("there is a next one");
        assert!(Arc::ptr_eq(&rotation.signing(Some(&next)), &next));
        rotation
            .take(Part::Next, secret("newer"))
            .expect("a secret");
        assert!(Arc::ptr_eq(&rotation.signing(Some(&next)), &current));
    }

    #[test]
    fn the_next_one_becomes_current_once_however_many_find_out_at_once() {
        for _ in 0..50 {
            let rotation = Arc::new(pair());
            let current = rotation.signing(None);
            let next = rotation.instead_of(&current).expect("there is a next one");
            let together = Arc::new(Barrier::new(8));
            let finders = (0..8).map(|_| {
                let (rotation, together) = (rotation.clone(), together.clone());
                let (current, next) = (current.clone(), next.clone());
                thread::spawn(move || {
                    together.wait();
                    rotation.accepted(&next);
                    // Late answers to what the former one signed change nothing.
                    rotation.accepted(&current);
                    rotation.signing(None)
                })
            });
            for finder in finders.collect::<Vec<_>>() {
                let used = finder.join().expect("no thread panics");
                assert!(Arc::ptr_eq(&used, &next));
            }
            assert!(rotation.instead_of(&next).is_none(), "nothing to flap to");
            assert_eq!(rotation.troubles().len(), 1);
        }
    }

    #[test]
    fn an_api_key_is_replaced_and_one_that_cannot_be_sent_is_not() {
        let rotation = pair();
        let credential = rotation.signing(None);
        assert_eq!(rotation.api_key().expect("there is one"), "key");
        rotation.take(Part::ApiKey, secret("newer")).expect("a key");
        assert_eq!(rotation.api_key().expect("there is one"), "newer");
        assert!(rotation.take(Part::ApiKey, secret("two\nlines")).is_err());
        assert_eq!(rotation.api_key().expect("there is one"), "newer");
        assert!(Arc::ptr_eq(&credential, &rotation.signing(None)));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", pair());
        assert!(shown.contains("acme-next"), "{shown}");
        assert!(!shown.contains("key\""), "{shown}");
    }
}
