//! From what was written, in whatever place, to a [`Config`] or to everything that is wrong.
//!
//! A file that cannot be understood ends it there: what is missing from such a file cannot be told from what is
//! hidden in it. All else is read to the end. Only the configuration file is opened, no secret.

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    Config, LoadError, credentials,
    effective::Effective,
    headers, histograms,
    layers::{self, Layer, Settings},
    limits, listeners,
    mistake::Mistakes,
    proxy,
    reader::Reader,
    routes, safety, schema, traces, yaml,
};
use crate::secret::Secret;

/// The places a configuration is written in.
///
/// No `Debug`: whoever exports a variable by the wrong name may have put a secret in it.
#[derive(Clone, Default)]
pub struct Sources {
    /// The YAML file.
    pub file: Option<PathBuf>,
    /// The flags that were given.
    pub flags: Vec<Flag>,
    /// The environment, see [`process_environment`]. Variables without the prefix are passed over.
    pub environment: Vec<(String, String)>,
}

/// A flag that sets a key.
#[derive(Clone)]
pub struct Flag {
    /// The key as a dotted path; or `routes`, with the names of all routes to be enabled, separated by commas.
    pub key: &'static str,
    /// The value as it was given.
    pub value: String,
    /// The flag's name, such as `--listen`.
    pub name: &'static str,
}

/// A configuration that may be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the program trusts.
    pub config: Config,
    /// What it was read from.
    pub effective: Effective,
    /// What is allowed and probably not meant.
    pub warnings: Vec<String>,
    /// What stood in the file, if there is one.
    pub text: Option<Secret>,
}

/// The effective configuration as a file that says the same again, and the warnings as comments below.
impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.effective.fmt(f)?;
        for warning in &self.warnings {
            write!(f, "\n# warning: {warning}")?;
        }
        if self.warnings.is_empty() {
            return Ok(());
        }
        f.write_str("\n")
    }
}

/// Of the process environment the variables that set keys, and those that name a proxy.
pub fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.to_str()?.to_owned();
            // What is not UTF-8 becomes U+FFFD, which no key but a path accepts.
            let value = value.to_string_lossy().into_owned();
            (name.starts_with(schema::VARIABLE_PREFIX) || proxy::is_variable(&name))
                .then_some((name, value))
        })
        .collect()
}

/// Reads and checks a configuration. Nothing but its file is opened, and nothing is bound or resolved.
///
/// # Errors
///
/// All that is wrong, at once.
pub fn load(sources: &Sources) -> Result<Loaded, LoadError> {
    load_with(sources, sources.file.as_deref().map(read_file))
}

/// The same, of a file that has been read: what is in it, or why that cannot be read.
///
/// # Errors
///
/// All that is wrong, at once.
pub fn load_with(
    sources: &Sources,
    text: Option<Result<Secret, String>>,
) -> Result<Loaded, LoadError> {
    let mut mistakes = Mistakes::default();
    let name = sources.file.as_deref().unwrap_or(Path::new(""));
    let (file, text) = match text {
        Some(Ok(text)) => (of_file(name, text.expose(), &mut mistakes), Some(text)),
        Some(Err(remedy)) => {
            mistakes.note("", name.display().to_string(), remedy);
            (None, None)
        }
        None => (Some(Layer::default()), None),
    };
    let environment = layers::of_environment(&sources.environment, &mut mistakes);
    let flags = layers::of_flags(&sources.flags, &mut mistakes);
    let Some(file) = file else {
        return Err(mistakes.into_error());
    };
    let settings = layers::merge([layers::defaults(), file, environment, flags]);
    let mut warnings = Vec::new();
    let of_layers = mistakes.len();
    let config = read(
        &settings,
        &sources.environment,
        &mut mistakes,
        &mut warnings,
    );
    mistakes.arrange(of_layers, schema::position);
    match config {
        Some(config) if mistakes.is_empty() => Ok(Loaded {
            effective: Effective::of(&config, &settings),
            config,
            warnings,
            text,
        }),
        _ => Err(mistakes.into_error()),
    }
}

/// Every section is read, whatever is wrong with the others.
fn read(
    settings: &Settings,
    environment: &[(String, String)],
    mistakes: &mut Mistakes,
    warnings: &mut Vec<String>,
) -> Option<Config> {
    let reader = &mut Reader::new(settings, mistakes);
    let process = limits::read_process(reader);
    let routes = routes::read(reader, warnings);
    let enabled = routes.as_ref().map(|(_, routes)| routes.as_slice());
    let safety = safety::read(reader, enabled, warnings);
    let shutdown = limits::read_shutdown(reader, enabled, warnings);
    let listeners = listeners::read(reader, warnings);
    let credentials = credentials::read(reader);
    let proxy = proxy::read(reader, environment, enabled, warnings);
    let upstream = limits::read_upstream(reader, proxy, enabled);
    let max_response_bytes = upstream.as_ref().map(|u| u.max_response_bytes);
    let limits = limits::read_limits(reader, max_response_bytes);
    let headers = headers::read(reader);
    let buckets = histograms::read(reader);
    let tracing = traces::read(reader, warnings);
    let (threads, log_format, reload_on_change) = process?;
    let (environment, routes) = routes?;
    Some(Config {
        environment,
        listeners: listeners?,
        credentials: credentials?,
        routes,
        upstream: upstream?,
        limits: limits?,
        safety: safety?,
        headers: headers?,
        shutdown: shutdown?,
        log_format,
        threads,
        reload_on_change,
        buckets: buckets?,
        tracing: tracing?,
    })
}

fn of_file(path: &Path, text: &[u8], mistakes: &mut Mistakes) -> Option<Layer> {
    let file = path.display().to_string();
    let Ok(text) = str::from_utf8(text) else {
        mistakes.note("", file, "is not UTF-8");
        return None;
    };
    let entries = yaml::parse(&file, text, mistakes)?;
    Some(layers::of_file(&file, &entries, mistakes))
}

/// No configuration is this large; a device or a log file named by mistake may be.
const LARGEST_FILE: u64 = 1 << 20;

/// Reads a configuration file.
///
/// # Errors
///
/// What is wrong with the file, in words that follow its name.
pub fn read_file(path: &Path) -> Result<Secret, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        // The kind alone: it names no value, and reads the same on every system.
        .map_err(|error| format!("cannot be read: {}", error.kind()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err("is larger than 1 MiB; no configuration is".to_owned());
    }
    // A value may be a secret in the wrong place.
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(key: &'static str, value: &str) -> Flag {
        Flag {
            key,
            value: value.to_owned(),
            name: "--flag",
        }
    }

    fn variable(name: &str, value: &str) -> (String, String) {
        (format!("INGO_PROXY__{name}"), value.to_owned())
    }

    fn least() -> Sources {
        Sources {
            file: None,
            flags: vec![
                flag("environment", "sandbox"),
                flag("credentials.username", "0123"),
                flag("credentials.secret_file", "/run/secret"),
            ],
            environment: Vec::new(),
        }
    }

    #[test]
    fn three_flags_are_enough() {
        let loaded = load(&least()).expect("valid");
        assert_eq!(loaded.config.credentials.username, "0123");
        assert_eq!(loaded.config.routes.len(), 1);
        assert!(loaded.warnings.is_empty());
    }

    #[test]
    fn without_anything_it_is_said_what_to_set_and_how() {
        let error = load(&Sources::default()).expect_err("incomplete");
        assert_eq!(
            error.to_string(),
            "the configuration has 3 mistakes:\n  \
             environment: is not set, and the route create_session has no URL; set --environment, \
             INGO_PROXY__ENVIRONMENT or environment in the file; or for a host of your own --upstream, \
             INGO_PROXY__UPSTREAM__URL or upstream.url in the file\n  \
             credentials.username: is not set; set --username, INGO_PROXY__CREDENTIALS__USERNAME or \
             credentials.username in the file\n  \
             credentials.secret_file: is not set; set --secret-file, INGO_PROXY__CREDENTIALS__SECRET_FILE or \
             credentials.secret_file in the file, or name an environment variable with credentials.secret_env"
        );
    }

    #[test]
    fn a_flag_beats_a_variable_beats_the_file_beats_a_default() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::io::Write::write_all(
            &mut file,
            b"limits: {queue_length: 1, body_bytes: 1KiB, target_bytes: 4KiB}\nthreads: 1\n",
        )
        .expect("written");
        let mut sources = least();
        sources.file = Some(file.path().to_owned());
        sources.environment = vec![
            variable("LIMITS__QUEUE_LENGTH", "2"),
            variable("LIMITS__BODY_BYTES", "2KiB"),
            variable("THREADS", "2"),
        ];
        sources.flags.push(flag("threads", "3"));
        let config = load(&sources).expect("valid").config;
        assert_eq!(config.threads, 3);
        assert_eq!(config.limits.queue_length, 2);
        assert_eq!(config.limits.body_bytes, 2048);
        assert_eq!(config.limits.target_bytes, 4096);
        assert_eq!(config.limits.header_bytes, 32 * 1024);
    }

    #[test]
    fn a_missing_file_is_told_and_nothing_is_concluded_from_it() {
        let sources = Sources {
            file: Some("/nonexistent/proxy.yaml".into()),
            ..Sources::default()
        };
        assert_eq!(
            load(&sources).expect_err("no file").to_string(),
            "the configuration has 1 mistake:\n  /nonexistent/proxy.yaml: cannot be read: entity not found"
        );
    }
}
