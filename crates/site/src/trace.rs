//! One request, hop by hop.

use blueprint::model::Blueprint;
use blueprint::names::GuestName;
use managers::trace::{self, Declared, Finding, Path, State, Vantage, Verdict, Walk};
use plan::{Address, Desired};

use crate::error::{Error, ErrorKind};
use crate::site::Site;

/// A request that was followed.
#[derive(Debug)]
pub struct Traced {
    /// The way it should take.
    pub path: Path,
    /// What stands for a client outside.
    pub outside: String,
    /// The hops, from each place.
    pub walks: Vec<Walk>,
    /// What it all comes to.
    pub verdict: Verdict,
}

impl Traced {
    /// The first hop that breaks, from the first place where one does.
    pub fn worst(&self) -> Option<&Finding> {
        let broken = |f: &&Finding| f.state == State::Broken;
        self.walks.iter().find_map(|walk| walk.findings.iter().find(broken))
    }

    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        let state = self.verdict.state;
        serde_json::json!({
            "name": self.path.name, "ok": state == State::Good, "state": state, "outside": self.outside,
            "note": self.path.note, "walks": self.walks.iter().map(Walk::json).collect::<Vec<_>>(),
            "verdict": self.verdict.json(),
        })
    }
}

/// What is to be followed, and from where.
#[derive(Debug)]
pub struct Question {
    declared: Declared,
    path: Path,
    from: Vec<Vantage>,
}

impl Question {
    /// A request to `name` from each of the places `from`; from where it usually comes where none are given. Known on
    /// paper, before anything is contacted.
    ///
    /// # Errors
    /// When nothing has that name, or no place is called so.
    pub fn new(blueprint: &Blueprint, desired: &Desired, name: &str, from: &[String]) -> Result<Self, Error> {
        let declared = Declared::of(blueprint, desired);
        let path = trace::path::find(desired, &declared, name)
            .map_err(|failure| Error { kind: ErrorKind::Usage, ..failure.into() })?;
        let from = from.iter().map(|name| vantage(desired, name)).collect::<Result<_, _>>()?;
        Ok(Self { declared, path, from })
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
        let Question { declared, path, from } = question;
        let walks = trace::trace(&self.observer(), declared, path, from).await?;
        let node = self.connection.ways.first();
        let outside = node.map_or_else(|| "this machine".to_owned(), |node| node.place());
        let verdict = trace::verdict(path, &walks);
        Ok(Traced { path: path.clone(), outside, walks, verdict })
    }
}

/// A vantage by what a person calls it.
fn vantage(desired: &Desired, name: &str) -> Result<Vantage, Error> {
    let address = name.parse::<Address>().ok();
    let guest = address.as_ref().and_then(|address| desired.guest(address));
    if name == "outside" {
        return Ok(Vantage::Outside);
    }
    let called = || desired.guests.values().find(|c| c.name == *name || c.id.to_string() == name);
    let found = guest.or_else(called).map(|c| &c.name);
    match found.or_else(|| desired.front_door().filter(|_| name == "gateway")) {
        Some(guest) => Ok(Vantage::Guest(guest.to_string())),
        None => {
            let names: Vec<&str> = desired.guests.keys().map(GuestName::as_str).collect();
            Err(Error::usage("guest::unknown", format!("no container is called `{name}`"))
                .hint(format!("there are: outside, {}", names.join(", "))))
        }
    }
}
