//! Files of a simulated node that are changed by the same commands as a real one's, with the same guard.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proxmox::guard::{self, FileChange};
use transport::Output;

/// The files that are changed, by name.
pub(crate) trait Store: Send + Sync {
    /// What one holds.
    fn content(&self, name: &str) -> Result<Option<String>, String>;

    /// Has it hold this, and brings that into force.
    fn put(&self, name: &str, text: Option<&str>) -> Result<(), String>;
}

/// A change that waits to be confirmed.
#[derive(Debug, Clone)]
struct Armed {
    site: String,
    token: u64,
    /// What was there first.
    old: Vec<(String, Option<String>)>,
}

#[derive(Debug, Default)]
struct State {
    armed: Option<Armed>,
    confirmed: u64,
    tokens: u64,
}

/// What changes the files.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimGuard {
    state: Arc<Mutex<State>>,
}

impl SimGuard {
    /// The site whose change waits.
    pub(crate) fn unconfirmed(&self) -> Option<String> {
        self.lock().armed.as_ref().map(|armed| armed.site.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a command of [`proxmox::guard::Guard`], whose words after the script are `words`.
    pub(crate) fn run(&self, store: &(impl Store + Clone + 'static), words: &[&str], stdin: &[u8]) -> Output {
        match words {
            ["apply", _, _, _, _, _, site, seconds, ..] => match (guard::parse(stdin), seconds.parse()) {
                (Ok(changes), Ok(seconds)) => self.apply(store, site, &changes, Duration::from_secs(seconds)),
                (Err(error), _) => exit_with(255, error),
                (_, Err(_)) => exit_with(255, "no time to wait"),
            },
            ["confirm", _, _, _, _, _, token] => self.confirm(token),
            ["cancel", _, _, _, _, _, token] => {
                self.restore(store, token.parse().unwrap_or_default());
                self.confirm("")
            }
            _ => exit_with(255, "unknown words"),
        }
    }

    fn apply(
        &self,
        store: &(impl Store + Clone + 'static),
        site: &str,
        changes: &[FileChange],
        wait: Duration,
    ) -> Output {
        let mut state = self.lock();
        if let Some(armed) = state.armed.as_ref().filter(|armed| armed.site != site) {
            return exit_with(5, format!("busy {}", armed.site));
        }
        let mut old = state.armed.clone().map(|armed| armed.old).unwrap_or_default();
        for change in changes {
            let Ok(now) = store.content(&change.name) else { return exit_with(255, "cannot read") };
            if now != change.old && now != change.new {
                return exit_with(3, format!("modified {}", change.name));
            }
            if old.iter().all(|(name, _)| *name != change.name) {
                old.push((change.name.clone(), now));
            }
        }
        state.tokens += 1;
        let token = state.tokens;
        state.armed = Some(Armed { site: site.to_owned(), token, old });
        drop(state);
        for change in changes {
            if let Err(why) = store.put(&change.name, change.new.as_deref()) {
                self.restore(store, token);
                return exit_with(6, format!("refused\n{why}"));
            }
        }
        let (own, store) = (self.clone(), store.clone());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            own.restore(&store, token);
        });
        exit_with(0, format!("armed {token}"))
    }

    /// Puts back what was there first, unless that was settled already.
    fn restore(&self, store: &impl Store, token: u64) {
        let armed = self.lock().armed.take_if(|armed| armed.token == token);
        for (name, text) in armed.into_iter().flat_map(|armed| armed.old.into_iter().rev()) {
            // In memory it cannot fail; in a folder that cannot be written nothing was changed either.
            let _ = store.put(&name, text.as_deref());
        }
    }

    fn confirm(&self, token: &str) -> Output {
        let mut state = self.lock();
        let token: u64 = token.parse().unwrap_or_default();
        if state.armed.take_if(|armed| armed.token == token).is_some() {
            state.confirmed = token;
        }
        if token != 0 && state.confirmed == token {
            exit_with(0, "confirmed")
        } else {
            exit_with(4, "restored")
        }
    }
}

pub(super) fn exit_with(status: i32, line: impl std::fmt::Display) -> Output {
    Output { status, stdout: format!("{line}\n").into_bytes(), stderr: Vec::new() }
}
