//! One request, hop by hop.

use blueprint::names::GuestName;
use managers::trace::{self, Finding, Place, State, Walk};
use plan::Desired;

use crate::error::{Error, Kind};
use crate::site::Site;

/// A request that was followed.
#[derive(Debug)]
pub struct Traced {
    /// The name that was asked for.
    pub name: String,
    /// What stands for a client outside.
    pub outside: String,
    /// The hops, from each place.
    pub walks: Vec<Walk>,
}

impl Traced {
    /// The worst of all hops.
    pub fn state(&self) -> State {
        self.walks.iter().map(Walk::state).max().unwrap_or(State::Good)
    }

    /// The first hop that breaks, from the first place where one does.
    pub fn worst(&self) -> Option<&Finding> {
        let broken = |f: &&Finding| f.state == State::Broken;
        self.walks.iter().find_map(|walk| walk.findings.iter().find(broken))
    }

    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        let worst = self.state();
        serde_json::json!({
            "name": self.name, "ok": worst == State::Good, "state": worst, "outside": self.outside,
            "walks": self.walks.iter().map(Walk::json).collect::<Vec<_>>(),
        })
    }
}

/// What is to be followed, and from where.
#[derive(Debug)]
pub struct Question {
    path: trace::Path,
    from: Vec<Place>,
}

impl Question {
    /// A request to `name` from each of the places `from`; from where it usually comes where none are given. Known on
    /// paper, before anything is contacted.
    ///
    /// # Errors
    /// When nothing has that name, or no place is called so.
    pub fn new(desired: &Desired, name: &str, from: &[String]) -> Result<Self, Error> {
        let path =
            trace::path(desired, name).map_err(|failure| Error { kind: Kind::Usage, ..failure.into() })?;
        let from = from.iter().map(|name| place(desired, name)).collect::<Result<_, _>>()?;
        Ok(Self { path, from })
    }
}

impl Site {
    /// Follows a request.
    ///
    /// # Errors
    /// When nothing runs because the lab is simulated, or nothing can be looked at.
    pub async fn trace(&self, question: &Question) -> Result<Traced, Error> {
        if self.connection.simulated() {
            return Err(Error::failed(
                "lab::simulated",
                "the lab is simulated: nothing runs in it, so there is no request to follow",
            )
            .hint(
                "phoenix-cli graph shows what depends on what; phoenix-cli explain service.NAME the way on paper",
            ));
        }
        let walks = trace::trace(&self.observer(), &question.path, &question.from).await?;
        let node = self.connection.node.as_ref();
        let outside = node.map_or_else(|| "this machine".to_owned(), |node| node.place());
        Ok(Traced { name: question.path.name.clone(), outside, walks })
    }
}

/// A place by what a person calls it.
fn place(desired: &Desired, name: &str) -> Result<Place, Error> {
    let bare = name.strip_prefix("container.").unwrap_or(name);
    if name == "outside" {
        return Ok(Place::Outside);
    }
    let gateway = desired.services.values().find_map(|s| s.gateway()).map(|via| &via.on);
    let found = desired.guests.values().find(|c| c.name == bare || c.id.to_string() == name).map(|c| &c.name);
    match found.or_else(|| gateway.filter(|_| name == "gateway")) {
        Some(guest) => Ok(Place::Guest(guest.to_string())),
        None => {
            let names: Vec<&str> = desired.guests.keys().map(GuestName::as_str).collect();
            Err(Error::usage("guest::unknown", format!("no container is called `{name}`"))
                .hint(format!("there are: outside, {}", names.join(", "))))
        }
    }
}
